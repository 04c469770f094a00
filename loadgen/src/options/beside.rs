//! A second load beside the first, told in one line.

use std::fmt;
use std::str::FromStr;

use super::parse_rate;
use crate::schedule::Arrivals;
use crate::units::parse_bytes;
use crate::workload::{Keys, Sizes};

/// A second load; what it does not tell is as the first load's default.
#[derive(Clone, Debug, PartialEq)]
pub struct Beside {
    text: String,
    /// Streams to write.
    pub streams: u32,
    /// Shards of each.
    pub shards: u32,
    /// The name of its stream, or what those of several begin with.
    pub stream: Option<String>,
    /// Connections.
    pub connections: u32,
    /// Records a batch.
    pub batch_records: u32,
    /// Batches in flight on each connection, in a closed loop.
    pub inflight: u32,
    /// How large records are.
    pub record_bytes: Sizes,
    /// Under which keys.
    pub keys: Keys,
    /// Records a second of an open loop.
    pub rate: Option<f64>,
    /// How the batches of an open loop are spread.
    pub arrivals: Arrivals,
    /// Bytes to send at most.
    pub bytes: Option<u64>,
}

/// The most of anything that is counted.
const COUNT_MAX: u32 = 10_000;

impl Beside {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            streams: 1,
            shards: 1,
            stream: None,
            connections: 1,
            batch_records: 1,
            inflight: 1,
            record_bytes: Sizes::Fixed(1024),
            keys: Keys::Distinct,
            rate: None,
            arrivals: Arrivals::Constant,
            bytes: None,
        }
    }
}

impl FromStr for Beside {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut beside = Self::new(text);
        for setting in settings(text) {
            let Some((name, value)) = setting.split_once('=') else {
                return Err(format!("{setting:?} is not a setting; give such as connections=2,record-bytes=10MiB"));
            };
            let told = |error: String| format!("{name}: {error}");
            let count = || match value.parse() {
                Ok(count) if (1..=COUNT_MAX).contains(&count) => Ok(count),
                _ => Err(told(format!("{value:?} is not a number from 1 to {COUNT_MAX}"))),
            };
            match name {
                "streams" => beside.streams = count()?,
                "shards" => beside.shards = count()?,
                "stream" => beside.stream = Some(value.to_owned()),
                "connections" => beside.connections = count()?,
                "batch-records" => beside.batch_records = count()?,
                "inflight" => beside.inflight = count()?,
                "record-bytes" => beside.record_bytes = value.parse().map_err(told)?,
                "keys" => beside.keys = value.parse().map_err(told)?,
                "rate" => beside.rate = Some(parse_rate(value).map_err(told)?),
                "arrivals" => beside.arrivals = value.parse().map_err(told)?,
                "bytes" => beside.bytes = Some(parse_bytes(value).map_err(|error| told(error.to_string()))?),
                _ => {
                    return Err(format!(
                        "there is no setting {name:?}; there are streams, shards, stream, connections, batch-records, inflight, record-bytes, keys, rate, arrivals and bytes"
                    ));
                }
            }
        }
        Ok(beside)
    }
}

/// The settings between commas; a part without an equals sign goes on with the value before it, as in `zipf:1000,1.1`.
fn settings(text: &str) -> Vec<String> {
    let mut settings: Vec<String> = Vec::new();
    for part in text.split(',') {
        match settings.last_mut() {
            Some(last) if !part.contains('=') => {
                last.push(',');
                last.push_str(part);
            }
            _ => settings.push(part.to_owned()),
        }
    }
    settings
}

impl fmt::Display for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_load_is_told_in_one_line() {
        let beside: Beside = "connections=2,keys=zipf:1000,1.1,record-bytes=10MB,rate=2k,bytes=1GiB".parse().unwrap();
        assert_eq!((beside.connections, beside.inflight, beside.rate), (2, 1, Some(2000.0)));
        assert_eq!(beside.keys, Keys::Zipf { keys: 1000, exponent: 1.1 });
        assert_eq!((beside.record_bytes, beside.bytes), (Sizes::Fixed(10_000_000), Some(1 << 30)));
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, part) in [
            ("", "is not a setting"),
            ("connections", "is not a setting"),
            ("connections=0", "connections: \"0\" is not a number"),
            ("speed=3", "there is no setting \"speed\""),
            ("record-bytes=much", "record-bytes: "),
            ("rate=-1", "rate: \"-1\" is not a number"),
            ("rate=0", "rate: a rate is above 0"),
            ("rate=101M", "rate: no generator hands out more than 100,000,000"),
        ] {
            let error = text.parse::<Beside>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
