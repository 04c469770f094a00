//! What a reader wants, and what it found out on the way, so that it need not look for it again.

use frame::segment::{Cursor, ShardRow};
use frame::{Sequence, ShardId};

use crate::journal::Sealed;
use crate::limits::{REACTORS_MAX, READ_RESULT_BYTES_MAX};

/// What is wanted of a shard: records from a number on, and from a time on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(super) shard: ShardId,
    pub(super) from: Sequence,
    pub(super) since_ms: u64,
    pub(super) bytes_max: usize,
    pub(super) frames_max: u32,
    /// How many read on and on, the asker among them: what comes next is read ahead for them. None, if this read is all.
    pub(super) sharers: usize,
    /// How far it was looked for what `since_ms` stands for.
    pub(super) search: Search,
    /// Where the one before it found its first record, so that this one need not search again.
    pub(super) mark: Option<Mark>,
}

/// How far it was looked for a time, journal after journal: so that what is kept of footers need not have room for one of each.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Search {
    /// The journals that were looked at, a bit each.
    pub(super) journals: u64,
    /// The least number that it may stand for in those.
    pub(super) least: Option<Sequence>,
    /// Whether that was all, and what is wanted takes account of it.
    pub(super) is_over: bool,
}

const _: () = assert!(REACTORS_MAX <= u64::BITS as usize);

/// A place among the extents of a sealed segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    /// How often segments had been compacted when it was found.
    pub(super) compactions: u32,
    pub(super) sealed: Sealed,
    pub(super) row: ShardRow,
    pub(super) cursor: Cursor,
}

impl Wanted {
    /// Records numbered `from` or higher that arrived at `since_ms` or later: at most so many bytes of frames, but one frame
    /// if there is one.
    pub(crate) fn new(shard: ShardId, from: Sequence, since_ms: u64, bytes_max: u32) -> Wanted {
        let bytes_max = (bytes_max as usize).min(READ_RESULT_BYTES_MAX);
        let (from, frames_max) = (from.max(Sequence(1)), u32::MAX);
        let (sharers, search, mark) = (0, Search::default(), None);
        Wanted { shard, from, since_ms, bytes_max, frames_max, sharers, search, mark }
    }

    /// The same, but no more frames than so many, and one if there is one.
    pub(crate) fn of_frames(self, frames_max: u32) -> Wanted {
        Wanted { frames_max, ..self }
    }

    /// The same, by one of so many that read on and on, and where it was the last time, or how far it had looked.
    pub(crate) fn going_on(self, sharers: usize, (mark, search): (Option<Mark>, Search)) -> Wanted {
        Wanted { sharers, mark, search, ..self }
    }

    /// Where it goes on: what is before was passed over.
    pub(crate) fn from(&self) -> Sequence {
        self.from
    }

    /// Where it was found.
    pub(crate) fn mark(&self) -> Option<Mark> {
        self.mark
    }

    /// How far it was looked for its time.
    pub(crate) fn search(&self) -> Search {
        self.search
    }
}
