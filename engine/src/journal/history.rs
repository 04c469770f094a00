//! What was sealed: of this journal, and of others that hold records of this reactor's shards. It begins at any segment, and
//! has gaps where some were dropped.

use std::sync::Arc;

use frame::segment::Footer;

use super::{Journal, Sealed, SegmentId};

impl Journal {
    /// How many journals records of this reactor's shards lie in, this one among them.
    pub(crate) fn histories(&self) -> usize {
        1 + self.closed.len()
    }

    /// The sealed segments of one of them; of this one, if it is number 0.
    pub(crate) fn history(&self, at: usize) -> &[Sealed] {
        at.checked_sub(1).map_or(&self.sealed, |at| &self.closed[at])
    }

    /// All of them.
    pub(crate) fn all_sealed(&self) -> impl Iterator<Item = &Sealed> {
        self.sealed.iter().chain(self.closed.iter().flatten())
    }

    /// Whether a start of this journal needs a segment, whatever lives in it. It begins at the newest whose footer is on disk
    /// and intact, so that of two of them one may be damaged. Both must tell of all damage that is known: what this life found
    /// is in the footers that it makes.
    pub(crate) fn is_needed_to_begin(&self, segment: SegmentId) -> bool {
        let on_disk = self.sealed.iter().rev().filter(|sealed| !self.footers.is_pinned(sealed.segment));
        let tells_all = |newest: &SegmentId| self.damage.is_empty() || newest.number >= self.began_in;
        let needed = on_disk.map(|sealed| sealed.segment).nth(1).filter(tells_all);
        needed.is_none_or(|needed| segment >= needed)
    }

    /// Bytes of each of its segments.
    pub(crate) fn segment_bytes(&self) -> u32 {
        self.blueprint.segment_bytes
    }

    /// Whether no footer is on its way to the disk.
    pub(crate) fn is_sealing_nothing(&self) -> bool {
        self.sealer.is_idle()
    }

    /// How often segments were compacted. A place among the extents of one that was found before is of no use any more.
    pub(crate) fn compactions(&self) -> u32 {
        self.compactions
    }

    /// What lived of `run` lies in `sealed` from now on.
    pub(crate) fn replace(&mut self, run: &[Sealed], sealed: Sealed, footer: Arc<Footer>) {
        let newest = sealed.segment;
        for old in self.sealed.iter_mut().chain(self.closed.iter_mut().flatten()).filter(|old| old.segment == newest) {
            *old = sealed;
        }
        run.iter().filter(|old| old.segment != newest).for_each(|old| self.forget(old.segment));
        if newest.journal == self.number() {
            self.cache.forget_to(newest.number);
        }
        self.footers.forget(newest);
        self.footers.insert(newest, footer);
        self.compactions = self.compactions.wrapping_add(1);
    }

    /// Nothing that lives lies in a sealed segment: no read looks there any more.
    pub(crate) fn forget(&mut self, segment: SegmentId) {
        self.sealed.retain(|sealed| sealed.segment != segment);
        self.closed.iter_mut().for_each(|list| list.retain(|sealed| sealed.segment != segment));
        self.closed.retain(|list| !list.is_empty());
        self.footers.forget(segment);
    }
}
