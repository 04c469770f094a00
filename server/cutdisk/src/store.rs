//! The disk's contents: what is durable, what is only in the volatile cache, what a cut keeps.
//!
//! No I/O and no threads here. Invariants: `current` is `durable` with the cache's writes applied
//! in order, but for the ranges in `doomed`; the cache's writes are in order of completion.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// The unit in which a cut keeps or drops, in bytes.
pub const SECTOR_BYTES: usize = 512;

/// The most that the volatile cache holds, in bytes.
pub const CACHE_BYTES_MAX: usize = 64 << 20;

/// The rule by which a cut keeps sectors of the volatile cache. Ages are counted in sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Nothing is kept.
    Nothing,
    /// Everything is kept, as if the cache had been written out just in time.
    Everything,
    /// Each sector is kept with a probability drawn for this cut. Tears most writes.
    Sectors,
    /// Each write is kept or dropped as a whole, with a probability drawn for this cut.
    Writes,
    /// Everything up to a moment in time is kept, nothing after it. Tears at most one write.
    Prefix,
    /// Only some of the newest sectors are kept, at most an eighth.
    Newest,
    /// Only some of the oldest sectors are kept, at most an eighth.
    Oldest,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Profile; 7] = [
        Profile::Nothing,
        Profile::Everything,
        Profile::Sectors,
        Profile::Writes,
        Profile::Prefix,
        Profile::Newest,
        Profile::Oldest,
    ];
}

/// What one cut found in the volatile cache and what it left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The rule that this cut followed.
    pub profile: Profile,
    /// Whether the power went as a flush arrived.
    pub at_flush: bool,
    /// Writes in the cache.
    pub writes_pending: u64,
    /// Writes of which some sectors were kept and some dropped.
    pub writes_torn: u64,
    /// Sectors in the cache, counted once for each write.
    pub sectors_pending: u64,
    /// Sectors that became durable.
    pub sectors_kept: u64,
    /// Sectors that were lost.
    pub sectors_dropped: u64,
}

/// What the disk has done since it was started. Only operations that succeeded count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Reads answered.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes answered.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Flushes answered.
    pub flushes: u64,
    /// Flushes that were made to fail.
    pub flushes_failed: u64,
    /// Times that the cache was over its limit and its oldest half became durable by itself.
    pub destages: u64,
}

/// One completed write in the cache; its bytes lie at `bytes` in the cache's log.
#[derive(Clone, Debug)]
struct Pending {
    offset: usize,
    bytes: Range<usize>,
}

impl Pending {
    fn target(&self) -> Range<usize> {
        self.offset..self.offset + self.bytes.len()
    }

    fn sectors(&self) -> usize {
        self.bytes.len() / SECTOR_BYTES
    }
}

/// A disk's contents. Offsets and lengths are multiples of [`SECTOR_BYTES`] and in bounds.
pub(crate) struct Store {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Pending>,
    log: Vec<u8>,
    doomed: Vec<Range<usize>>,
    cache_bytes_max: usize,
    rng: StdRng,
    deck: Vec<(Profile, bool)>,
    pub(crate) counters: Counters,
}

impl Store {
    /// An empty disk; memory is taken as it is written, at most twice `bytes` plus the cache.
    pub(crate) fn new(bytes: usize, cache_bytes_max: usize, seed: u64) -> Store {
        assert_eq!(bytes % SECTOR_BYTES, 0, "a disk consists of whole sectors");
        Store {
            durable: vec![0; bytes],
            current: vec![0; bytes],
            pending: Vec::new(),
            log: Vec::new(),
            doomed: Vec::new(),
            cache_bytes_max,
            rng: StdRng::seed_from_u64(seed),
            deck: Vec::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.current.len()
    }

    /// Whether there are completed writes that are not durable yet.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The bytes as the last completed writes left them, durable or not.
    pub(crate) fn read(&mut self, range: Range<usize>) -> &[u8] {
        self.counters.reads += 1;
        self.counters.read_bytes += range.len() as u64;
        &self.current[range]
    }

    /// Completes a write: it is in the cache, behind all earlier ones.
    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        assert!(offset.is_multiple_of(SECTOR_BYTES) && data.len().is_multiple_of(SECTOR_BYTES));
        self.counters.writes += 1;
        self.counters.written_bytes += data.len() as u64;
        self.current[offset..offset + data.len()].copy_from_slice(data);
        let start = self.log.len();
        self.log.extend_from_slice(data);
        self.pending.push(Pending { offset, bytes: start..self.log.len() });
        if self.log.len() > self.cache_bytes_max {
            self.destage_oldest();
        }
    }

    /// Makes every completed write durable.
    pub(crate) fn flush(&mut self) {
        self.counters.flushes += 1;
        for write in self.pending.drain(..) {
            self.durable[write.target()].copy_from_slice(&self.log[write.bytes]);
        }
        self.log.clear();
    }

    /// Fails a flush: what is in the cache will never become durable.
    pub(crate) fn fail_flush(&mut self) {
        self.counters.flushes_failed += 1;
        self.doomed.extend(self.pending.drain(..).map(|write| write.target()));
        self.log.clear();
    }

    /// The profile of the next cut, and whether it waits for a flush. Every such pair comes up once
    /// before any comes up again.
    pub(crate) fn draw(&mut self) -> (Profile, bool) {
        if self.deck.is_empty() {
            for at_flush in [false, true] {
                self.deck.extend(Profile::ALL.map(|profile| (profile, at_flush)));
            }
            self.deck.shuffle(&mut self.rng);
        }
        self.deck.pop().expect("the deck was filled above")
    }

    /// Empties the cache: keeps what the profile says, forgets the rest.
    pub(crate) fn cut(&mut self, profile: Profile) -> Cut {
        let pending = std::mem::take(&mut self.pending);
        let sectors_pending = pending.iter().map(Pending::sectors).sum();
        let mut lot = Lot::draw(profile, sectors_pending, &mut self.rng);
        let mut cut = Cut {
            profile,
            at_flush: false,
            writes_pending: pending.len() as u64,
            writes_torn: 0,
            sectors_pending: sectors_pending as u64,
            sectors_kept: 0,
            sectors_dropped: 0,
        };
        for write in &pending {
            let kept = self.keep(write, &mut lot);
            cut.writes_torn += u64::from(kept > 0 && kept < write.sectors());
            cut.sectors_kept += kept as u64;
            cut.sectors_dropped += (write.sectors() - kept) as u64;
        }
        for range in pending.iter().map(Pending::target).chain(self.doomed.drain(..)) {
            self.current[range.clone()].copy_from_slice(&self.durable[range]);
        }
        self.log.clear();
        cut
    }

    /// Makes the lucky sectors of one write durable and counts them.
    fn keep(&mut self, write: &Pending, lot: &mut Lot) -> usize {
        lot.next_write(&mut self.rng);
        let mut kept = 0;
        for sector in 0..write.sectors() {
            if lot.next_sector(&mut self.rng) {
                let at = sector * SECTOR_BYTES;
                let to = write.offset + at;
                let from = write.bytes.start + at;
                self.durable[to..to + SECTOR_BYTES].copy_from_slice(&self.log[from..from + SECTOR_BYTES]);
                kept += 1;
            }
        }
        kept
    }

    /// Makes the older half of the cache durable, as a disk does on its own when its cache is full.
    fn destage_oldest(&mut self) {
        self.counters.destages += 1;
        let half = self.log.len() / 2;
        let count = self.pending.partition_point(|write| write.bytes.start < half);
        let mut freed = 0;
        for write in self.pending.drain(..count) {
            freed = write.bytes.end;
            self.durable[write.target()].copy_from_slice(&self.log[write.bytes]);
        }
        self.log.drain(..freed);
        for write in &mut self.pending {
            write.bytes = write.bytes.start - freed..write.bytes.end - freed;
        }
    }
}

/// One cut's draw: asked once for every write and every sector, from the oldest to the newest.
struct Lot {
    profile: Profile,
    probability: f64,
    kept_ages: Range<usize>,
    age: usize,
    write_kept: bool,
}

impl Lot {
    fn draw(profile: Profile, sectors: usize, rng: &mut StdRng) -> Lot {
        let few = rng.random_range(0..=sectors.div_ceil(8));
        let kept_ages = match profile {
            Profile::Everything | Profile::Sectors | Profile::Writes => 0..sectors,
            Profile::Nothing => 0..0,
            Profile::Prefix => 0..rng.random_range(0..=sectors),
            Profile::Newest => sectors - few..sectors,
            Profile::Oldest => 0..few,
        };
        Lot { profile, probability: rng.random(), kept_ages, age: 0, write_kept: true }
    }

    fn next_write(&mut self, rng: &mut StdRng) {
        self.write_kept = self.profile != Profile::Writes || rng.random_bool(self.probability);
    }

    fn next_sector(&mut self, rng: &mut StdRng) -> bool {
        let in_range = self.kept_ages.contains(&self.age);
        self.age += 1;
        let lucky = self.profile != Profile::Sectors || rng.random_bool(self.probability);
        in_range && self.write_kept && lucky
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
