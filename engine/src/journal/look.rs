//! What a journal tells those who watch it.

use super::Journal;
use crate::vitals::Segments;

impl Journal {
    /// Batches that are being written, or wait for one before them.
    pub(crate) fn commits_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Extents that the index holds.
    pub(crate) fn extents(&self) -> usize {
        self.open.extents
    }

    /// How many segments there are.
    pub(crate) fn segment_counts(&self) -> Segments {
        let ready = self.segments.ready();
        let count = self.sealed.len() + self.closing.len() + 1 + ready;
        Segments { count, ready, bytes: self.blueprint.segment_bytes, used_bytes: self.segments.used_bytes() }
    }
}
