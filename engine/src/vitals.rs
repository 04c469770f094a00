//! What a reactor looks like at one moment, for those who watch it: counts since the start, queues, memory by use, laggards.
//!
//! It is put together on the reactor's thread, when somebody asks. Nothing is shared with other threads meanwhile, and nothing
//! is kept for it but a count here and a time there: no record costs more for being watched.

use std::fmt;

use frame::{Sequence, ShardId};
use hdrhistogram::Histogram;

use crate::limits::{COMMIT_NS_MAX, COMMIT_NS_MIN};
use crate::{Compacted, Stats};

/// A reactor at one moment.
#[derive(Clone, Debug)]
pub struct Vitals {
    /// What has happened since the start.
    pub stats: Stats,
    /// How long commit batches took from the start of their write until it was on stable storage, in nanoseconds.
    pub commits_ns: Histogram<u64>,
    /// What waits, and what is in flight.
    pub queues: Queues,
    /// Memory, by what uses it.
    pub memory: Vec<Use>,
    /// Connections of its own, those that are idle as well.
    pub connections: usize,
    /// Subscriptions of its shards.
    pub subscriptions: usize,
    /// Segments of its journal.
    pub segments: Segments,
    /// Whether appends are refused for want of space.
    pub has_no_room: bool,
    /// What was compacted since the start.
    pub compacted: Compacted,
    /// The subscribers that are furthest behind, furthest first: at most [`crate::limits::LAGS_MAX`].
    pub lags: Vec<Lag>,
}

/// What waits, and what is in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Queues {
    /// Bytes of frames that wait for a commit batch.
    pub intake_bytes: usize,
    /// Shards that they are of.
    pub intake_shards: usize,
    /// Commit batches that are being written, or wait for one before them.
    pub commits_in_flight: usize,
    /// Read requests that are not answered.
    pub reads: usize,
    /// Bytes that were handed to other reactors, and not settled.
    pub handed_bytes: usize,
    /// Calls of other threads that are not answered.
    pub calls: usize,
    /// Subscribers whose next records are being read from the disk.
    pub parked: usize,
}

/// Memory of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Use {
    /// What for, in one word.
    pub what: &'static str,
    /// Bytes in use.
    pub bytes: usize,
    /// Bytes that it may take.
    pub budget_bytes: usize,
}

/// Segments of a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Segments {
    /// All there are: sealed, open and ready.
    pub count: usize,
    /// Those ready for use.
    pub ready: usize,
    /// Bytes of one, unless it was compacted.
    pub bytes: u32,
    /// Bytes of all.
    pub used_bytes: u64,
}

/// A subscriber that is behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lag {
    /// The stream.
    pub stream: String,
    /// The shard.
    pub shard: ShardId,
    /// Who: a number while it is connected.
    pub subscriber: u64,
    /// Records that it has not been sent.
    pub records: u64,
    /// The next one.
    pub next: Sequence,
}

/// Times of commits, within fixed bounds: recording one allocates nothing.
pub(crate) struct Times(Histogram<u64>);

impl Times {
    pub(crate) fn new() -> Times {
        Times(Histogram::new_with_bounds(COMMIT_NS_MIN, COMMIT_NS_MAX, 2).expect("the bounds are apart"))
    }

    #[inline]
    pub(crate) fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    pub(crate) fn histogram(&self) -> Histogram<u64> {
        self.0.clone()
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Times({} of them)", self.0.len())
    }
}
