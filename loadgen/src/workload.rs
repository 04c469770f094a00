//! Generated records: how large, under which keys, and with what content, all from one seed.
//!
//! Making a record must cost little beside sending it, so content is cut out of one block of random bytes. Its first
//! bytes tell which record of which lane it is, and these decide where it was cut: anyone who knows the seed can say of
//! each byte read back whether it is right.

use std::str::FromStr;
use std::sync::Arc;

use frame::limits::{LARGE_RECORD_BYTES_MAX, RECORD_BYTES_MAX};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal, Zipf};

use crate::units::{ParseUnitError, parse_bytes};

/// A generated partition key in bytes: sixteen hexadecimal digits.
pub const KEY_BYTES: usize = 16;

/// The largest data of a generated record.
pub const DATA_BYTES_MAX: usize = LARGE_RECORD_BYTES_MAX - KEY_BYTES;

/// Where log-normal sizes are cut: what one frame holds, so that batches are made for such.
pub const LOG_NORMAL_BYTES_MAX: usize = RECORD_BYTES_MAX - KEY_BYTES;

/// What a record begins with, as far as it is long enough: its lane and its number in the lane.
const STAMP_BYTES: usize = 16;

/// Random bytes beyond the longest record, so that equal content is rare.
const BLOCK_SPARE_BYTES: usize = 256 * 1024;

/// How large records are: their data, without the key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sizes {
    /// All alike.
    Fixed(usize),
    /// Every size from the first to the second equally likely.
    Uniform(usize, usize),
    /// Log-normal around a median, cut at [`LOG_NORMAL_BYTES_MAX`]; most real sizes look like this.
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
                _ => Err(format!("{text} is more than {DATA_BYTES_MAX} bytes, the most a generated record may hold")),
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
            if median > LOG_NORMAL_BYTES_MAX {
                return Err(format!("a median of {median} is more than {LOG_NORMAL_BYTES_MAX}, where sizes are cut"));
            }
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
            Self::LogNormal { .. } => LOG_NORMAL_BYTES_MAX,
        }
    }

    /// The mean, to turn a rate in records into one in bytes.
    pub fn mean(self) -> f64 {
        match self {
            Self::Fixed(bytes) => bytes as f64,
            Self::Uniform(from, to) => (from + to) as f64 / 2.0,
            Self::LogNormal { median, sigma } => {
                (median as f64 * (sigma * sigma / 2.0).exp()).min(LOG_NORMAL_BYTES_MAX as f64)
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

/// What is written, the same for all lanes of a run.
#[derive(Clone, Debug)]
pub struct Recipe {
    sizes: Sizes,
    keys: Keys,
    seed: u64,
    block: Arc<[u8]>,
}

impl Recipe {
    /// Fills the block of random bytes.
    pub fn new(sizes: Sizes, keys: Keys, seed: u64) -> Self {
        let mut block = vec![0; sizes.largest() + BLOCK_SPARE_BYTES];
        StdRng::seed_from_u64(seed).fill_bytes(&mut block);
        Self { sizes, keys, seed, block: block.into() }
    }

    /// The maker of one lane's records: a lane is a client core.
    pub fn lane(&self, lane: u32) -> Lane {
        let zipf = match self.keys {
            Keys::Zipf { keys, exponent } => Some(Zipf::new(keys as f64, exponent).expect("parsing bounded both")),
            _ => None,
        };
        let log_normal = match self.sizes {
            Sizes::LogNormal { median, sigma } => {
                Some(LogNormal::new((median as f64).ln(), sigma).expect("parsing bounded both"))
            }
            _ => None,
        };
        Lane {
            recipe: self.clone(),
            lane,
            intended_us: 0,
            next: 0,
            random: StdRng::seed_from_u64(scramble(self.seed ^ u64::from(lane))),
            zipf,
            log_normal,
        }
    }

    /// The largest data of a record.
    pub fn largest(&self) -> usize {
        self.sizes.largest()
    }

    /// Whether `data` is what some lane wrote, as far as its own stamp tells.
    pub fn recognises(&self, data: &[u8]) -> bool {
        let Some((stamp, rest)) = data.split_first_chunk::<STAMP_BYTES>() else { return true };
        let (lane, number) = (half(stamp, 0) as u32, half(stamp, 8));
        rest == self.cut(lane, number, rest.len())
    }

    /// When the record was meant to be sent, by its stamp, as [`Lane::intend`] was told.
    pub fn intended_us(data: &[u8]) -> Option<u32> {
        let (stamp, _) = data.split_first_chunk::<STAMP_BYTES>()?;
        Some((half(stamp, 0) >> 32) as u32)
    }

    /// The content of a record after its stamp.
    fn cut(&self, lane: u32, number: u64, bytes: usize) -> &[u8] {
        let room = self.block.len() - bytes + 1;
        let at = scramble(number ^ u64::from(lane).rotate_left(40)) as usize % room;
        &self.block[at..at + bytes]
    }
}

/// Makes one lane's records.
#[derive(Debug)]
pub struct Lane {
    recipe: Recipe,
    lane: u32,
    intended_us: u32,
    next: u64,
    random: StdRng,
    zipf: Option<Zipf<f64>>,
    log_normal: Option<LogNormal<f64>>,
}

/// One record, in parts that have not been copied yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Made<'a> {
    /// Its partition key.
    pub key: [u8; KEY_BYTES],
    stamp: [u8; STAMP_BYTES],
    stamp_bytes: usize,
    content: &'a [u8],
}

impl Made<'_> {
    /// Its data: the stamp, as far as it fits, and the content.
    pub fn data(&self) -> [&[u8]; 2] {
        [&self.stamp[..self.stamp_bytes], self.content]
    }
}

impl Lane {
    /// The next record.
    pub fn record(&mut self) -> Made<'_> {
        let number = self.next;
        let key = self.key();
        let bytes = self.size();
        let mut stamp = [0; STAMP_BYTES];
        stamp[..4].copy_from_slice(&self.lane.to_le_bytes());
        stamp[4..8].copy_from_slice(&self.intended_us.to_le_bytes());
        stamp[8..].copy_from_slice(&number.to_le_bytes());
        let content = self.recipe.cut(self.lane, number, bytes.saturating_sub(STAMP_BYTES));
        Made { key, stamp, stamp_bytes: bytes.min(STAMP_BYTES), content }
    }

    /// The records to come are meant to be sent then: microseconds since the start of the run, which wrap around.
    pub fn intend(&mut self, us: u32) {
        self.intended_us = us;
    }

    /// The next record's key alone, for data that brings none; it counts as a record.
    pub fn key(&mut self) -> [u8; KEY_BYTES] {
        let own = u64::from(self.lane).rotate_left(40) ^ self.next;
        self.next += 1;
        let choice = match self.recipe.keys {
            Keys::Distinct => own,
            Keys::Uniform(keys) => self.random.random_range(0..keys),
            Keys::Zipf { .. } => {
                let zipf = self.zipf.as_ref().expect("made with the lane");
                zipf.sample(&mut self.random) as u64
            }
            Keys::Hot(share) if self.random.random_bool(share) => u64::MAX,
            Keys::Hot(_) => own,
        };
        hexadecimal(scramble(choice ^ self.recipe.seed))
    }

    fn size(&mut self) -> usize {
        match self.recipe.sizes {
            Sizes::Fixed(bytes) => bytes,
            Sizes::Uniform(from, to) => self.random.random_range(from..=to),
            Sizes::LogNormal { .. } => {
                let size = self.log_normal.as_ref().expect("made with the lane").sample(&mut self.random);
                (size as usize).clamp(1, LOG_NORMAL_BYTES_MAX)
            }
        }
    }
}

fn half(stamp: &[u8; STAMP_BYTES], at: usize) -> u64 {
    stamp[at..].first_chunk().map_or(0, |half| u64::from_le_bytes(*half))
}

/// A permutation of the 64-bit numbers without pattern (the finaliser of SplitMix64): distinct stays distinct.
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Sixteen digits, eight at a time: each byte of a word holds one.
fn hexadecimal(number: u64) -> [u8; KEY_BYTES] {
    const LOW: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut digits = [0; KEY_BYTES];
    for (word, half) in digits.chunks_exact_mut(8).zip([number >> 32, number & 0xffff_ffff]) {
        let pairs = (half | half << 16) & 0x0000_ffff_0000_ffff;
        let bytes = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
        let nibbles = (bytes | bytes << 4) & LOW;
        // Six more carries a nibble past nine into the next bit, which says that its digit is a letter.
        let letters = (nibbles + 6 * ONES) >> 4 & ONES;
        let text = nibbles + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'9' - 1);
        word.copy_from_slice(&text.to_be_bytes());
    }
    digits
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn recipe(sizes: &str, keys: &str) -> Recipe {
        Recipe::new(sizes.parse().unwrap(), keys.parse().unwrap(), 42)
    }

    fn key_counts(keys: &str, records: usize) -> Vec<usize> {
        let mut lane = recipe("16", keys).lane(0);
        let mut counts = HashMap::<Vec<u8>, usize>::new();
        for _ in 0..records {
            *counts.entry(lane.record().key.to_vec()).or_default() += 1;
        }
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        counts
    }

    #[test]
    fn the_seed_decides_everything() {
        let recipe = recipe("uniform:0..2KiB", "zipf:100,1.0");
        let (mut one, mut two, mut other) = (recipe.lane(1), recipe.lane(1), recipe.lane(2));
        let mut differ = 0;
        for _ in 0..1000 {
            let record = one.record();
            assert_eq!(record, two.record());
            differ += usize::from(record != other.record());
        }
        assert!(differ > 990);
    }

    #[test]
    fn records_are_unique_and_recognised() {
        let recipe = recipe("100", "distinct");
        let mut seen = HashSet::new();
        for lane in 0..3 {
            let mut lane = recipe.lane(lane);
            for _ in 0..10_000 {
                let record = lane.record();
                let data = record.data().concat();
                assert!(recipe.recognises(&data));
                assert!(seen.insert(data) && seen.insert(record.key.to_vec()));
            }
        }
        let mut lane = recipe.lane(0);
        let data = lane.record().data().concat();
        // The time in the stamp is guarded by the record's checksum alone.
        for byte in (0..4).chain(8..data.len()) {
            let mut changed = data.clone();
            changed[byte] ^= 1;
            assert!(!recipe.recognises(&changed), "byte {byte}");
        }
    }

    #[test]
    fn keys_are_hexadecimal() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 0x9a9a_9a9a_0f0f_f0f0] {
            assert_eq!(hexadecimal(number), format!("{number:016x}").as_bytes());
        }
    }

    #[test]
    fn sizes_follow_their_distribution() {
        let sizes = |text: &str| {
            let mut lane = recipe(text, "distinct").lane(0);
            let mut sizes: Vec<usize> = (0..20_001).map(|_| lane.record().data().concat().len()).collect();
            sizes.sort_unstable();
            sizes
        };
        assert!(sizes("7").iter().all(|&size| size == 7));
        let uniform = sizes("uniform:100..1100");
        assert!((uniform[0], uniform[20_000]) >= (100, 1090) && uniform[0] < 110 && uniform[20_000] <= 1100);
        assert!(uniform[10_000].abs_diff(600) < 30);
        let log_normal = sizes("lognormal:1000,1.0");
        assert!(log_normal[10_000].abs_diff(1000) < 50, "median {}", log_normal[10_000]);
        assert!(log_normal[16_827].abs_diff(2718) < 200, "one deviation up {}", log_normal[16_827]);
        let mean = log_normal.iter().sum::<usize>() as f64 / 20_001.0;
        let said = "lognormal:1000,1.0".parse::<Sizes>().unwrap().mean();
        assert!((mean / said - 1.0).abs() < 0.05, "{mean} {said}");
    }

    #[test]
    fn keys_follow_their_distribution() {
        assert_eq!(key_counts("distinct", 10_000).len(), 10_000);
        let uniform = key_counts("uniform:10", 10_000);
        assert_eq!(uniform.len(), 10);
        assert!(uniform[0] < 1200 && uniform[9] > 800);
        let zipf = key_counts("zipf:1000,1.0", 100_000);
        let harmonic: f64 = (1..=1000).map(|k| 1.0 / f64::from(k)).sum();
        assert!((zipf[0] as f64 / (100_000.0 / harmonic) - 1.0).abs() < 0.05, "{}", zipf[0]);
        assert!((zipf[0] as f64 / zipf[1] as f64 - 2.0).abs() < 0.2);
        let hot = key_counts("hot:0.25", 10_000);
        assert!(hot[0].abs_diff(2500) < 150 && hot[1] == 1);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "x", "uniform:5", "uniform:9..3", "lognormal:1KiB", "lognormal:1KiB,-1", "11MiB"] {
            assert!(text.parse::<Sizes>().is_err(), "{text}");
        }
        for text in ["", "x", "uniform:0", "zipf:5", "zipf:5,x", "hot:2", "distinct:1"] {
            assert!(text.parse::<Keys>().is_err(), "{text}");
        }
    }
}
