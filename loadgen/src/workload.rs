//! Generated records: how large, under which keys, and with what content, all from one seed.
//!
//! Making a record must cost little beside sending it, so content is cut out of one block of random bytes. Its first
//! bytes, the stamp, tell which record of which lane of which run it is, and these decide where it was cut: anyone who knows
//! the seed can say of each byte read back whether it is right, and whether a record is another run's.

mod choices;

use std::ops::Range;
use std::sync::Arc;

use frame::limits::LARGE_RECORD_BYTES_MAX;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal, Zipf};

pub use choices::{Keys, Sizes};

/// A generated partition key in bytes: sixteen hexadecimal digits.
pub const KEY_BYTES: usize = 16;

/// The largest data of a generated record.
pub const DATA_BYTES_MAX: usize = LARGE_RECORD_BYTES_MAX - KEY_BYTES;

/// What a record begins with, as far as it is long enough: see [`Stamp`].
pub const STAMP_BYTES: usize = 16;

/// Loads of one run at most: producers, and others beside them.
pub const GROUPS_MAX: usize = 2;

/// Lanes of one of them: a lane is a client core.
pub const LANES_MAX: usize = 128;

const _: () = assert!(GROUPS_MAX * LANES_MAX <= 1 << LANE_BITS);

/// Random bytes beyond the longest record, so that equal content is rare.
const BLOCK_SPARE_BYTES: usize = 256 * 1024;

/// Which run a record is of, so that several may write one stream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RunId(u32);

impl RunId {
    /// Of as many bits of `number` as a stamp has room for.
    pub fn new(number: u64) -> Self {
        Self((number & bits(RUN_BITS)) as u32)
    }
}

const LANE_BITS: u32 = 8;
const RUN_BITS: u32 = 24;
const TIME_BITS: u32 = 48;
const NUMBER_BITS: u32 = 48;

const _: () = assert!(LANE_BITS + RUN_BITS + TIME_BITS + NUMBER_BITS == 8 * STAMP_BYTES as u32);

const fn bits(count: u32) -> u64 {
    (1 << count) - 1
}

/// Which record it is, and when it was meant to be sent.
///
/// ```text
///   bytes  0      1        4              10           16
///          | lane |  run   | intended, us |   number   |    little-endian
/// ```
///
/// A time of 0 is none: the record was built before it was known when it would be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    lane: u8,
    run: RunId,
    /// Microseconds since 1970, which wrap around after nine years.
    intended_us: Option<u64>,
    number: u64,
}

impl Stamp {
    /// The stamp of a record of a generator, if it is long enough to have one.
    pub fn of(data: &[u8]) -> Option<Self> {
        let word = u128::from_le_bytes(*data.first_chunk::<STAMP_BYTES>()?);
        let field = |from: u32, count: u32| (word >> from) as u64 & bits(count);
        Some(Self {
            lane: field(0, LANE_BITS) as u8,
            run: RunId(field(LANE_BITS, RUN_BITS) as u32),
            intended_us: Some(field(32, TIME_BITS)).filter(|&us| us > 0),
            number: field(32 + TIME_BITS, NUMBER_BITS),
        })
    }

    fn encode(self) -> [u8; STAMP_BYTES] {
        let Self { lane, run, intended_us, number } = self;
        let low = u64::from(lane) | u64::from(run.0) << LANE_BITS;
        let time = intended_us.map_or(0, |us| (us & bits(TIME_BITS)).max(1));
        let number = number & bits(NUMBER_BITS);
        (u128::from(low) | u128::from(time) << 32 | u128::from(number) << (32 + TIME_BITS)).to_le_bytes()
    }

    /// How long after the intended time `now_us` is, in microseconds since 1970; below 0 where clocks differ. `None` if it tells no
    /// time.
    pub fn age_us(&self, now_us: u64) -> Option<i64> {
        let spare = u64::BITS - TIME_BITS;
        Some(((now_us.wrapping_sub(self.intended_us?) << spare) as i64) >> spare)
    }
}

/// What is written, the same for all lanes of a group of producers.
#[derive(Clone, Debug)]
pub struct Recipe {
    sizes: Sizes,
    keys: Keys,
    seed: u64,
    run: RunId,
    group: usize,
    block: Arc<[u8]>,
}

impl Recipe {
    /// Fills the block of random bytes.
    pub fn new(sizes: Sizes, keys: Keys, seed: u64) -> Self {
        let mut block = vec![0; sizes.largest() + BLOCK_SPARE_BYTES];
        StdRng::seed_from_u64(seed).fill_bytes(&mut block);
        Self { sizes, keys, seed, run: RunId::default(), group: 0, block: block.into() }
    }

    /// The same for one group of the producers of a run.
    ///
    /// # Panics
    /// If the group isn't below [`GROUPS_MAX`].
    pub fn of(mut self, run: RunId, group: usize) -> Self {
        assert!(group < GROUPS_MAX, "group {group}");
        (self.run, self.group) = (run, group);
        self
    }

    /// Which run it is of, in a number.
    pub(crate) fn run(&self) -> u64 {
        u64::from(self.run.0)
    }

    /// The maker of one lane's records: a lane is a client core.
    ///
    /// # Panics
    /// If the lane isn't below [`LANES_MAX`].
    pub fn lane(&self, lane: usize) -> Lane {
        assert!(lane < LANES_MAX, "lane {lane}");
        let lane = (self.group * LANES_MAX + lane) as u8;
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
            intended_us: None,
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

    /// The content of a record after its stamp.
    fn cut(&self, lane: u8, number: u64, bytes: usize) -> &[u8] {
        &self.block[self.place(lane, number, bytes)]
    }

    /// Where that lies in the block.
    fn place(&self, lane: u8, number: u64, bytes: usize) -> Range<usize> {
        let room = self.block.len() - bytes + 1;
        let at = scramble(number ^ u64::from(lane).rotate_left(40)) as usize % room;
        at..at + bytes
    }
}

/// Whose a record is, as far as its own stamp tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// This run's, and every byte is right; or it is too short to have a stamp.
    Own,
    /// Another run's.
    Foreign,
    /// It says that it is this run's, and differs from what was made.
    Wrong,
}

/// What all producers of a run make.
#[derive(Clone, Debug)]
pub struct Contents(Arc<[Recipe]>);

impl Contents {
    /// By the recipes of its groups, in their order.
    pub fn new(recipes: &[Recipe]) -> Self {
        Self(recipes.into())
    }

    /// Whose a record is.
    #[inline]
    pub fn origin(&self, data: &[u8]) -> Origin {
        let Some(stamp) = Stamp::of(data) else { return Origin::Own };
        if self.0.first().is_none_or(|recipe| recipe.run != stamp.run) {
            return Origin::Foreign;
        }
        let Some(recipe) = self.0.get(usize::from(stamp.lane) / LANES_MAX) else { return Origin::Wrong };
        let rest = &data[STAMP_BYTES..];
        let is_right = rest.len() <= recipe.block.len() && rest == recipe.cut(stamp.lane, stamp.number, rest.len());
        if is_right { Origin::Own } else { Origin::Wrong }
    }
}

/// Makes one lane's records.
#[derive(Debug)]
pub struct Lane {
    recipe: Recipe,
    lane: u8,
    intended_us: Option<u64>,
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

/// One record that does not hold up its lane.
#[derive(Clone, Debug)]
pub struct OwnedRecord {
    /// Its partition key.
    pub key: [u8; KEY_BYTES],
    stamp: [u8; STAMP_BYTES],
    stamp_bytes: usize,
    block: Arc<[u8]>,
    /// Where its content lies in the block.
    content: Range<usize>,
}

impl OwnedRecord {
    /// Bytes of its data.
    pub fn data_bytes(&self) -> usize {
        self.stamp_bytes + self.content.len()
    }

    /// Its data from one place to another, as far as it goes, in pieces.
    pub fn data(&self, from: usize, to: usize) -> [&[u8]; 2] {
        let (from, to) = (from.min(self.data_bytes()), to.min(self.data_bytes()));
        let stamp = &self.stamp[from.min(self.stamp_bytes)..to.min(self.stamp_bytes)];
        let within = |at: usize| self.content.start + at.saturating_sub(self.stamp_bytes);
        [stamp, &self.block[within(from)..within(to)]]
    }
}

/// A record that is decided, and not made yet.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    number: u64,
    /// Its partition key.
    pub key: [u8; KEY_BYTES],
    /// Bytes of its data.
    pub bytes: usize,
}

impl Lane {
    /// Decides the next record.
    pub fn draw(&mut self) -> Drawn {
        let (bytes, number) = (self.size(), self.next);
        Drawn { number, key: self.key(), bytes }
    }

    /// Makes a record that was drawn.
    pub fn make(&self, drawn: &Drawn) -> Made<'_> {
        let &Drawn { number, key, bytes } = drawn;
        let stamp = Stamp { lane: self.lane, run: self.recipe.run, intended_us: self.intended_us, number }.encode();
        let content = self.recipe.cut(self.lane, number, bytes.saturating_sub(STAMP_BYTES));
        Made { key, stamp, stamp_bytes: bytes.min(STAMP_BYTES), content }
    }

    /// The same, apart from the lane: a large one is taken up piece by piece.
    pub fn make_owned(&self, drawn: &Drawn) -> OwnedRecord {
        let Made { key, stamp, stamp_bytes, content } = self.make(drawn);
        let content = self.recipe.place(self.lane, drawn.number, content.len());
        OwnedRecord { key, stamp, stamp_bytes, block: Arc::clone(&self.recipe.block), content }
    }

    /// The next record.
    pub fn record(&mut self) -> Made<'_> {
        let drawn = self.draw();
        self.make(&drawn)
    }

    /// The largest data of a record.
    pub fn largest(&self) -> usize {
        self.recipe.largest()
    }

    /// The records made from now on are meant to be sent then: microseconds since 1970, if that is known.
    pub fn intend(&mut self, us: Option<u64>) {
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
                (size as usize).clamp(1, DATA_BYTES_MAX)
            }
        }
    }
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
#[path = "workload_tests.rs"]
mod tests;
