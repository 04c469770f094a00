//! How long and how much of a stream is kept: on the wire, in the catalog's commands, and as people write it: `24h`, `90s`,
//! `none`.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};
use std::str::FromStr;

use crate::quotas::Quotas;

/// Bytes of [`Retention::encode`].
pub const RETENTION_BYTES: usize = 16;

/// How long and how much of a stream is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Retention {
    /// A record expires so long after its arrival; `None`: never.
    pub seconds: Option<NonZeroU32>,
    /// Of a stream that takes more bytes on disk the oldest records go; `None`: it may take any number.
    pub bytes: Option<NonZeroU64>,
}

impl Retention {
    /// All, for ever.
    pub const NONE: Retention = Retention { seconds: None, bytes: None };

    /// Records expire so many seconds after their arrival; with 0 never.
    pub const fn of_seconds(seconds: u32) -> Retention {
        Retention { seconds: NonZeroU32::new(seconds), bytes: None }
    }

    /// Seconds (4 bytes), 4 zeros, bytes (8); 0 where there is no limit.
    pub fn encode(&self) -> [u8; RETENTION_BYTES] {
        let mut out = [0; RETENTION_BYTES];
        let (seconds, bytes) = out.split_at_mut(8);
        seconds[..4].copy_from_slice(&self.seconds.map_or(0, NonZeroU32::get).to_le_bytes());
        bytes.copy_from_slice(&self.bytes.map_or(0, NonZeroU64::get).to_le_bytes());
        out
    }

    /// What [`Retention::encode`] made.
    pub fn decode(bytes: &[u8; RETENTION_BYTES]) -> Retention {
        let [s0, s1, s2, s3, _, _, _, _, limit @ ..] = *bytes;
        Retention {
            seconds: NonZeroU32::new(u32::from_le_bytes([s0, s1, s2, s3])),
            bytes: NonZeroU64::new(u64::from_le_bytes(limit)),
        }
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            Some(seconds) => write!(f, "{}", Period(Some(seconds)))?,
            None if self.bytes.is_none() => return f.write_str("none"),
            None => {}
        }
        match self.bytes {
            Some(bytes) if self.seconds.is_some() => write!(f, ", {bytes} bytes at most"),
            Some(bytes) => write!(f, "{bytes} bytes at most"),
            None => Ok(()),
        }
    }
}

/// A time as people write it: `90s`, `15m`, `24h`, `7d`, or `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Period(pub Option<NonZeroU32>);

const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Period, String> {
        if text == "none" {
            return Ok(Period(None));
        }
        let unit = UNITS.iter().find_map(|&(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
        let number = unit.and_then(|(number, unit)| number.parse::<u32>().ok()?.checked_mul(unit));
        let seconds = number.and_then(NonZeroU32::new);
        let unknown = || format!("`{text}` is no time; write none, or for example 90s, 15m, 24h or 7d");
        seconds.map(|seconds| Period(Some(seconds))).ok_or_else(unknown)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(seconds) = self.0 else { return f.write_str("none") };
        // Days as hours: that is how the service counts.
        let unit = UNITS.iter().skip(1).find(|(_, unit)| seconds.get().is_multiple_of(*unit));
        let &(name, unit) = unit.unwrap_or(&('s', 1));
        write!(f, "{}{name}", seconds.get() / unit)
    }
}

/// What a stream is made with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What each of its shards takes in and gives out a second.
    pub quotas: Quotas,
    /// What is kept of it.
    pub retention: Retention,
}

impl From<Quotas> for Settings {
    /// All of it is kept, for ever.
    fn from(quotas: Quotas) -> Settings {
        Settings { quotas, retention: Retention::NONE }
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
