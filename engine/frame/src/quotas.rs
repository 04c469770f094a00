//! What one shard takes in and gives out a second: on the wire, in the catalog's commands, and as people write it: `service`,
//! `none`, or what is to be other than that, such as `service,write-bytes=4MiB,reads=none`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

/// Bytes of [`Quotas::encode`].
pub const QUOTAS_BYTES: usize = 24;

/// So much a second; `None`: without limit.
pub type Rate = Option<NonZeroU32>;

/// What each shard of a stream takes in and gives out a second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quotas {
    /// Bytes of data and partition keys taken in.
    pub write_bytes: Rate,
    /// Records taken in.
    pub write_records: Rate,
    /// Bytes of data and partition keys given to all who read, together. One answer may be of any
    /// size; where it leaves a debt, the next read waits until it is paid.
    pub read_bytes: Rate,
    /// Reads, of all who read together.
    pub reads: Rate,
    /// Bytes of data and partition keys pushed to each subscriber.
    pub push_bytes: Rate,
}

impl Quotas {
    /// No limits.
    pub const NONE: Quotas =
        Quotas { write_bytes: None, write_records: None, read_bytes: None, reads: None, push_bytes: None };

    /// The limits that the service documents for a shard: 1 MiB and 1,000 records a second in, 2 MiB and 5 reads a second
    /// out, and 2 MiB a second to each consumer.
    pub const SERVICE: Quotas = Quotas {
        write_bytes: NonZeroU32::new(1 << 20),
        write_records: NonZeroU32::new(1000),
        read_bytes: NonZeroU32::new(2 << 20),
        reads: NonZeroU32::new(5),
        push_bytes: NonZeroU32::new(2 << 20),
    };

    /// Whether a read may find that others had their share.
    pub fn has_read_quotas(&self) -> bool {
        self.read_bytes.is_some() || self.reads.is_some()
    }

    /// Whether a record may find that others had their share.
    pub fn has_write_quotas(&self) -> bool {
        self.write_bytes.is_some() || self.write_records.is_some()
    }

    /// Five numbers of 4 bytes, 0 for no limit, and 4 zeros.
    pub fn encode(&self) -> [u8; QUOTAS_BYTES] {
        let mut out = [0; QUOTAS_BYTES];
        let rates = [self.write_bytes, self.write_records, self.read_bytes, self.reads, self.push_bytes];
        for (bytes, rate) in out.chunks_exact_mut(4).zip(rates) {
            bytes.copy_from_slice(&rate.map_or(0, NonZeroU32::get).to_le_bytes());
        }
        out
    }

    /// What [`Quotas::encode`] made.
    pub fn decode(bytes: &[u8; QUOTAS_BYTES]) -> Quotas {
        let rate = |at: usize| {
            let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.first_chunk());
            NonZeroU32::new(bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes)))
        };
        Quotas {
            write_bytes: rate(0),
            write_records: rate(4),
            read_bytes: rate(8),
            reads: rate(12),
            push_bytes: rate(16),
        }
    }
}

/// What is to become of quotas.
#[derive(Clone, Debug)]
pub struct QuotasChange {
    /// Where they begin; as they are, if nothing.
    base: Option<Quotas>,
    rates: Vec<(Which, Rate)>,
}

/// One of the quotas.
type Which = fn(&mut Quotas) -> &mut Rate;

/// A quota by its name.
struct Named {
    name: &'static str,
    which: Which,
    is_bytes: bool,
}

const NAMED: [Named; 5] = [
    Named { name: "write-bytes", which: |quotas| &mut quotas.write_bytes, is_bytes: true },
    Named { name: "write-records", which: |quotas| &mut quotas.write_records, is_bytes: false },
    Named { name: "read-bytes", which: |quotas| &mut quotas.read_bytes, is_bytes: true },
    Named { name: "reads", which: |quotas| &mut quotas.reads, is_bytes: false },
    Named { name: "push-bytes", which: |quotas| &mut quotas.push_bytes, is_bytes: true },
];

impl QuotasChange {
    /// The quotas after the change.
    pub fn of(&self, quotas: Quotas) -> Quotas {
        let mut quotas = self.base.unwrap_or(quotas);
        for (which, rate) in &self.rates {
            *which(&mut quotas) = *rate;
        }
        quotas
    }
}

impl FromStr for QuotasChange {
    type Err = String;

    fn from_str(text: &str) -> Result<QuotasChange, String> {
        let mut change = QuotasChange { base: None, rates: Vec::new() };
        for (at, word) in text.split(',').map(str::trim).enumerate() {
            match (at, word) {
                (0, "service") => change.base = Some(Quotas::SERVICE),
                (0, "none") => change.base = Some(Quotas::NONE),
                _ => change.rates.push(rate(word)?),
            }
        }
        Ok(change)
    }
}

fn rate(word: &str) -> Result<(Which, Rate), String> {
    let unknown = || {
        let names = NAMED.map(|named| named.name).join(", ");
        format!("`{word}` is no quota; write service, none, or NAME=NUMBER or NAME=none with one of {names}")
    };
    let (name, value) = word.split_once('=').ok_or_else(unknown)?;
    let named = NAMED.iter().find(|named| named.name == name.trim()).ok_or_else(unknown)?;
    let value = value.trim();
    if value == "none" {
        return Ok((named.which, None));
    }
    let number = if named.is_bytes { bytes(value) } else { value.parse().ok() };
    let number =
        number.ok_or_else(|| format!("`{value}` is not a number; write for example 1000, or 4MiB of bytes"))?;
    let rate = u32::try_from(number).ok().and_then(NonZeroU32::new);
    rate.map(|rate| (named.which, Some(rate)))
        .ok_or_else(|| format!("{name} is from 1 to {} a second, or none", u32::MAX))
}

impl fmt::Display for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Quotas::SERVICE => return f.write_str("service"),
            Quotas::NONE => return f.write_str("none"),
            _ => {}
        }
        let mut quotas = *self;
        for (at, Named { name, which, is_bytes }) in NAMED.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match which(&mut quotas) {
                None => write!(f, "{comma}{name}=none")?,
                Some(rate) if *is_bytes => write!(f, "{comma}{name}={}", Bytes(rate.get()))?,
                Some(rate) => write!(f, "{comma}{name}={rate}")?,
            }
        }
        Ok(())
    }
}

/// A number of bytes, in the largest unit that leaves no rest.
struct Bytes(u32);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, shift)| self.0.trailing_zeros() >= *shift);
        match unit {
            Some((name, shift)) => write!(f, "{}{name}", self.0 >> shift),
            None => self.0.fmt(f),
        }
    }
}

const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

/// A number of bytes as people write it: `64KiB`, `4MiB`, `1000000`.
fn bytes(text: &str) -> Option<u64> {
    let unit = UNITS.iter().find_map(|(name, shift)| Some((text.strip_suffix(name)?, shift)));
    match unit {
        Some((number, shift)) => number.trim().parse::<u64>().ok()?.checked_mul(1 << shift),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
#[path = "quotas_tests.rs"]
mod tests;
