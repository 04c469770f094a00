//! A commit batch on its way to the disk: what becomes true when it is durable.

use frame::batch::Extent;
use frame::segment::PlacedExtent;
use frame::{Position, Sequence, ShardId};
use io::{Buf, DirId};

use super::Journal;
use crate::producers::Placed;

/// How many records of one append a commit batch carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    /// The append's slot.
    pub(crate) append: u32,
    /// Its records in this batch.
    pub(crate) records: u32,
}

impl Share {
    /// Counts one more record of `append`.
    pub(crate) fn add(shares: &mut Vec<Share>, append: u32) {
        match shares.last_mut() {
            Some(share) if share.append == append => share.records += 1,
            _ => shares.push(Share { append, records: 1 }),
        }
    }
}

/// One commit batch, from its closing to its acknowledgements. Reused.
#[derive(Debug, Default)]
pub(crate) struct Commit {
    /// Where it lies.
    pub(crate) position: Position,
    /// Its length.
    pub(crate) length: u32,
    /// Its bytes, until the cache of the tail takes them over.
    pub(crate) buf: Option<Buf>,
    /// Its frames, by shard.
    pub(crate) extents: Vec<Extent>,
    /// Whose records it carries.
    pub(crate) shares: Vec<Share>,
    /// Whether a part of a large record is among them.
    pub(crate) has_part: bool,
    /// The shard whose extent ends within a large record, and the number of that record's first part.
    pub(crate) open: Option<(ShardId, Sequence)>,
    /// Producers' numbers in it.
    pub(crate) placed: Vec<Placed>,
    /// When its write began.
    pub(crate) began_ns: u64,
    /// Whether its write has completed; those before it may not have.
    pub(crate) written: bool,
}

/// Room that a commit has from the start: extents, shares and numbers of a batch of small records of many producers.
const ROOM: usize = 2048;

impl Commit {
    /// An empty one, with room.
    pub(crate) fn with_room() -> Commit {
        let (extents, shares) = (Vec::with_capacity(ROOM), Vec::with_capacity(ROOM));
        Commit { extents, shares, placed: Vec::with_capacity(ROOM), ..Commit::default() }
    }

    /// The place after it.
    pub(crate) fn end(&self) -> Position {
        self.position.advance(self.length)
    }

    /// Empties it for the next use.
    pub(crate) fn clear(&mut self) {
        self.buf = None;
        self.extents.clear();
        self.shares.clear();
        self.placed.clear();
        (self.written, self.has_part, self.open) = (false, false, None);
    }
}

/// An extent's place in its segment.
pub(crate) fn place(batch: Position, extent: &Extent) -> PlacedExtent {
    PlacedExtent {
        offset: batch.offset() + extent.offset,
        length: extent.length,
        count: extent.count,
        first_sequence: extent.first_sequence,
        arrival_ms: extent.arrival_ms,
    }
}

impl Journal {
    /// Where a batch, or the header of a segment, is written and waits for the flushes that it ran beside.
    pub(crate) fn waits_for_flush(&self) -> impl Iterator<Item = DirId> {
        let header = self.segments.waits_for_flush().then_some(self.blueprint.dir);
        let is_good = self.poisoned.is_none();
        self.oldest_written().into_iter().chain(header).filter(move |_| is_good)
    }

    /// Where the oldest batch in flight lies, if it is written. The segment that a life begins in may be elsewhere than those it makes.
    pub(super) fn oldest_written(&self) -> Option<DirId> {
        let segment = self.in_flight.front().filter(|commit| commit.written)?.position.segment();
        let left = self.closing.iter().find(|left| left.number == segment);
        Some(left.unwrap_or(&self.open).dir)
    }
}
