//! Stretches of segments.

use std::ops::Range;

use frame::limits::BLOCK_BYTES;
use io::FileId;

use crate::journal::SegmentId;

/// A stretch of a segment, in whole blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::reads) struct Place {
    pub(in crate::reads) segment: SegmentId,
    pub(in crate::reads) file: FileId,
    pub(in crate::reads) start: u64,
    pub(in crate::reads) end: u64,
}

impl Place {
    pub(in crate::reads) fn bytes(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Bytes that it takes out of the pool.
    pub(super) fn held_bytes(&self) -> usize {
        io::Pool::piece_bytes(self.bytes())
    }

    /// Whether it is no more than the blocks of a stretch.
    pub(in crate::reads) fn is_of(&self, range: &Range<u64>) -> bool {
        let block = BLOCK_BYTES as u64;
        self.start == range.start / block * block && self.end == range.end.next_multiple_of(block)
    }

    pub(in crate::reads) fn contains(&self, segment: SegmentId, range: &Range<u64>) -> bool {
        self.segment == segment && self.start <= range.start && range.end <= self.end
    }
}
