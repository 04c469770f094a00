//! How readers leave a segment that is dropped, or that a copy takes the place of.

use super::{State, Window, Windows};
use crate::journal::SegmentId;
use crate::reads::Reads;

impl Reads {
    /// Has whoever comes to these segments wait, and to no others.
    pub(crate) fn hold_back(&mut self, segments: &[SegmentId]) {
        self.windows.hold_back(segments);
    }

    /// Whether no read of a segment is in flight, or needed.
    pub(crate) fn rests(&self, segment: SegmentId) -> bool {
        self.windows.rests(segment)
    }

    /// Lets go of all that was read of a segment. `false` while a read of it is in flight, or needed.
    pub(crate) fn let_go(&mut self, segment: SegmentId) -> bool {
        self.windows.let_go(segment)
    }
}

impl Windows {
    /// Has whoever comes to these segments wait, and to no others, so that what is being read there comes to its end.
    pub(in crate::reads) fn hold_back(&mut self, segments: &[SegmentId]) {
        self.held_back.clear();
        self.held_back.extend_from_slice(segments);
        for slot in segments.iter().flat_map(|&segment| self.slots_of(segment)).collect::<Vec<u32>>() {
            let Window { state, users, is_awaited, is_wish, .. } = &self.slots[slot];
            // What was to be read ahead is not waited for.
            if matches!(state, State::Queued(_)) && *users == 0 && !is_awaited && !is_wish {
                self.forget(slot);
            }
        }
    }

    /// Whether nothing of a segment is being read, is to be, or is used.
    pub(in crate::reads) fn rests(&self, segment: SegmentId) -> bool {
        let is_there = |window: &&Window| window.place.is_some_and(|place| place.segment == segment);
        let rests = |window: &Window| window.users == 0 && matches!(window.state, State::Ready(_) | State::Failed);
        self.slots.iter().filter(is_there).all(rests)
    }

    /// Forgets what was read of a segment. `false` unless it rests.
    pub(in crate::reads) fn let_go(&mut self, segment: SegmentId) -> bool {
        if !self.rests(segment) {
            return false;
        }
        for slot in self.slots_of(segment) {
            self.idle.remove(&self.slots[slot].idle_since);
            self.forget(slot);
        }
        true
    }

    fn slots_of(&self, segment: SegmentId) -> Vec<u32> {
        self.by_place.range((segment, 0)..=(segment, u64::MAX)).map(|(_, &slot)| slot).collect()
    }
}
