//! What records are like, as it is told in one word each: sizes and keys.

use std::str::FromStr;

use frame::limits::LARGE_RECORD_BYTES_MAX;

use super::DATA_BYTES_MAX;
use crate::units::{ParseUnitError, parse_bytes};

/// How large records are: their data, without the key. As people write them, what the API takes of both together stands for
/// [`DATA_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sizes {
    /// All alike.
    Fixed(usize),
    /// Every size from the first to the second equally likely.
    Uniform(usize, usize),
    /// Log-normal around a median, cut at [`DATA_BYTES_MAX`]; most real sizes look like this.
    LogNormal {
        /// The median.
        median: usize,
        /// The deviation of the size's logarithm.
        sigma: f64,
    },
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = |text: &str| -> Result<usize, String> {
            let bytes = parse_bytes(text).map_err(|e: ParseUnitError| e.to_string())?;
            match usize::try_from(bytes) {
                Ok(bytes) if bytes <= DATA_BYTES_MAX => Ok(bytes),
                Ok(LARGE_RECORD_BYTES_MAX) => Ok(DATA_BYTES_MAX),
                _ => Err(format!(
                    "{text} is more than {DATA_BYTES_MAX} bytes, the most a generated record may hold beside its key; 10MiB stands for that"
                )),
            }
        };
        if let Some(range) = text.strip_prefix("uniform:") {
            let (from, to) = range.split_once("..").ok_or_else(|| sizes_help(text))?;
            let (from, to) = (size(from)?, size(to)?);
            return if from <= to { Ok(Self::Uniform(from, to)) } else { Err(sizes_help(text)) };
        }
        if let Some(parts) = text.strip_prefix("lognormal:") {
            let (median, sigma) = parts.split_once(',').ok_or_else(|| sizes_help(text))?;
            let sigma: f64 = sigma.parse().map_err(|_| sizes_help(text))?;
            if !(0.0..=5.0).contains(&sigma) {
                return Err(sizes_help(text));
            }
            let median = size(median)?.max(1);
            return Ok(Self::LogNormal { median, sigma });
        }
        size(text).map(Self::Fixed)
    }
}

fn sizes_help(text: &str) -> String {
    format!("{text:?} is not a size of records; give 1KiB, uniform:100..4KiB or lognormal:1KiB,0.8 (median, deviation)")
}

impl Sizes {
    /// The largest record there can be.
    pub fn largest(self) -> usize {
        match self {
            Self::Fixed(bytes) | Self::Uniform(_, bytes) => bytes,
            Self::LogNormal { .. } => DATA_BYTES_MAX,
        }
    }

    /// The smallest record there can be.
    pub fn smallest(self) -> usize {
        match self {
            Self::Fixed(bytes) | Self::Uniform(bytes, _) => bytes,
            Self::LogNormal { .. } => 1,
        }
    }

    /// The mean, to turn a rate in records into one in bytes.
    pub fn mean(self) -> f64 {
        match self {
            Self::Fixed(bytes) => bytes as f64,
            Self::Uniform(from, to) => (from + to) as f64 / 2.0,
            Self::LogNormal { median, sigma } => {
                (median as f64 * (sigma * sigma / 2.0).exp()).min(DATA_BYTES_MAX as f64)
            }
        }
    }
}

/// Under which keys records are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keys {
    /// Each record has a key of its own.
    Distinct,
    /// So many keys, equally likely.
    Uniform(u64),
    /// So many keys, the k-th with a weight of 1/k to the power of the exponent.
    Zipf {
        /// How many.
        keys: u64,
        /// The exponent.
        exponent: f64,
    },
    /// One key takes this share of the records; each of the others has a key of its own.
    Hot(f64),
}

impl FromStr for Keys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || {
            format!(
                "{text:?} is not a choice of keys; give distinct, uniform:1000 (keys), zipf:1000,1.1 (keys, exponent) or hot:0.5 (share of one key)"
            )
        };
        let (kind, rest) = text.split_once(':').unwrap_or((text, ""));
        let count = |text: &str| text.parse().ok().filter(|&keys: &u64| keys > 0).ok_or_else(help);
        match kind {
            "distinct" if rest.is_empty() => Ok(Self::Distinct),
            "uniform" => Ok(Self::Uniform(count(rest)?)),
            "zipf" => {
                let (keys, exponent) = rest.split_once(',').ok_or_else(help)?;
                let exponent = exponent.parse().ok().filter(|e| (0.0..=10.0).contains(e));
                Ok(Self::Zipf { keys: count(keys)?, exponent: exponent.ok_or_else(help)? })
            }
            "hot" => {
                let share = rest.parse().ok().filter(|share| (0.0..=1.0).contains(share));
                Ok(Self::Hot(share.ok_or_else(help)?))
            }
            _ => Err(help()),
        }
    }
}
