//! What may be missing of a data directory's records: what has expired, and nothing else.
//!
//! By time a record may be gone once its stream's retention has passed since its life began, which was before it was sent. Of
//! a stream with a limit in bytes anything may be gone, as long as what is left comes to the limit, less the one extent of each
//! reactor that did not fit.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use engine::limits::BATCH_BYTES_TARGET;
use frame::{Retention, Sequence, StreamId};

use super::REACTORS_MAX;
use super::wrong::Wrong;

const LIMIT_BYTES: u64 = 8 << 20;
const UNFIT_BYTES_MAX: u64 = REACTORS_MAX as u64 * BATCH_BYTES_TARGET as u64;
const _: () = assert!(UNFIT_BYTES_MAX < LIMIT_BYTES / 2, "a limit that nobody keeps is to be seen");

/// Times are kept in milliseconds, and rounded more than once.
const ROUNDING: Duration = Duration::from_millis(20);

/// How long the streams of a data directory are kept.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Keeping {
    /// For ever.
    #[default]
    ForEver,
    /// Some for a second, and one up to a number of bytes: so segments die as the load goes on, and with every start.
    Shortly,
    /// Most for a second, and one among them for ever: so segments come to be mostly dead, and are compacted.
    Partly,
}

impl Keeping {
    /// In turn.
    pub(crate) const ALL: [Keeping; 3] = [Keeping::ForEver, Keeping::Shortly, Keeping::Partly];

    /// How a stream of so many shards is kept.
    pub(crate) fn of_shards(self, shards: u32) -> Retention {
        match (self, shards) {
            (Keeping::ForEver, _) | (Keeping::Partly, 1) => Retention::NONE,
            (Keeping::Shortly, 1) => Retention { bytes: NonZeroU64::new(LIMIT_BYTES), ..Retention::NONE },
            (Keeping::Shortly | Keeping::Partly, _) => Retention::of_seconds(1),
        }
    }
}

/// A record that was compared.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) sequence: Sequence,
    pub(crate) hash: u64,
    /// Of its sender.
    pub(crate) life: u32,
    pub(crate) bytes: u32,
}

/// The records of a shard that were compared and have not expired since, by rising number.
#[derive(Default)]
pub(crate) struct Compared(Vec<Found>);

impl Compared {
    pub(crate) fn add(&mut self, found: Found) {
        self.0.push(found);
    }

    pub(crate) fn has(&self, sequence: Sequence) -> bool {
        self.0.binary_search_by_key(&sequence, |found| found.sequence).is_ok()
    }

    /// Compares them once more.
    pub(crate) fn again(&mut self) -> Again<'_> {
        let before = std::mem::take(&mut self.0);
        Again { before: before.into_iter().peekable(), kept: &mut self.0 }
    }

    fn bytes(&self) -> u64 {
        self.0.iter().map(|found| u64::from(found.bytes)).sum()
    }
}

/// A second reading of what was compared, in order.
pub(crate) struct Again<'a> {
    before: Peekable<std::vec::IntoIter<Found>>,
    kept: &'a mut Vec<Found>,
}

impl Again<'_> {
    /// A record is read. Whether it was there before; what should have come first is missing.
    pub(crate) fn find(
        &mut self,
        sequence: Sequence,
        hash: u64,
        mut missing: impl FnMut(&Found) -> Result<(), Wrong>,
    ) -> Result<bool, Wrong> {
        while let Some(gone) = self.before.next_if(|found| found.sequence < sequence) {
            missing(&gone)?;
        }
        let same = self.before.next_if(|found| found.sequence == sequence && found.hash == hash);
        self.kept.extend(same);
        Ok(same.is_some())
    }

    /// Nothing more is read.
    pub(crate) fn end(mut self, mut missing: impl FnMut(&Found) -> Result<(), Wrong>) -> Result<(), Wrong> {
        self.before.try_for_each(|gone| missing(&gone))
    }
}

struct Stream {
    retention: Retention,
    /// Records that are gone.
    gone: u64,
}

/// What expires of which stream.
#[derive(Default)]
pub(crate) struct Expiry {
    /// When each life began.
    began: BTreeMap<u32, Instant>,
    streams: BTreeMap<StreamId, Stream>,
}

impl Expiry {
    pub(crate) fn begin_life(&mut self, life: u32) {
        self.began.insert(life, Instant::now());
    }

    pub(crate) fn stream(&mut self, stream: StreamId, retention: Retention) {
        self.streams.entry(stream).or_insert(Stream { retention, gone: 0 });
    }

    /// Whether any record of a stream may be gone.
    pub(crate) fn may_expire(&self, stream: StreamId) -> bool {
        self.streams[&stream].retention != Retention::NONE
    }

    /// Whether a record of that life may be gone by now.
    pub(crate) fn may_be_gone(&self, stream: StreamId, life: u32) -> bool {
        let Retention { seconds, bytes } = self.streams[&stream].retention;
        let age = self.began[&life].elapsed() + ROUNDING;
        bytes.is_some() || seconds.is_some_and(|seconds| age >= Duration::from_secs(seconds.get().into()))
    }

    /// A record is gone. Whether it may be.
    pub(crate) fn is_gone(&mut self, stream: StreamId, life: u32) -> bool {
        let may_be = self.may_be_gone(stream, life);
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.gone += u64::from(may_be);
        }
        may_be
    }

    /// Records that were found to be gone.
    pub(crate) fn gone(&self) -> u64 {
        self.streams.values().map(|stream| stream.gone).sum()
    }

    /// Of what went for a limit's sake no more went than had to.
    pub(crate) fn check_limits<'a>(
        &self,
        shards: impl Iterator<Item = (StreamId, &'a Compared)> + Clone,
    ) -> Result<(), Wrong> {
        for (&stream, known) in self.streams.iter().filter(|(_, known)| known.gone > 0) {
            let Some(limit) = known.retention.bytes.map(NonZeroU64::get) else { continue };
            let of_stream = shards.clone().filter(|(of, _)| *of == stream);
            let kept = of_stream.map(|(_, compared)| compared.bytes()).sum();
            if kept + UNFIT_BYTES_MAX < limit {
                return Err(Wrong::OverTrimmed { stream, kept, limit });
            }
        }
        Ok(())
    }
}
