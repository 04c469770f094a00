//! Compaction: finds what is mostly dead, or short and many, has it copied, and lets readers go over to the copy.
//!
//! ```text
//!   Space: what lives of each segment -> a run -> Compactor -> [in place on disk]
//!       -> nobody reads in the old ones -> journal: the new one instead -> the old ones: off the disk
//! ```

use super::*;
use crate::compaction::{Ground, InPlace, Worth, choose, is_worth_it, join};
use crate::journal::Doomed;
use crate::limits::{COMPACTION_RUN_MAX, LOOK_NS};
use crate::space::View;

impl<I: Io> Reactor<I> {
    /// Does what is due.
    pub(super) fn compact(&mut self) {
        self.go_over_to_copy();
        let is_free = self.space.is_settled() && !self.space.is_moving();
        if is_free && self.compactor.is_due(self.space.changes(), self.io.mono_ns()) {
            self.begin_compaction();
        }
        if !self.compactor.is_busy() {
            return;
        }
        let expiry_ms = self.clock.expiry_ms(&self.io);
        let is_full = self.journal.segments.is_full();
        let is_appending = !self.journal.is_quiet();
        let segment_bytes = self.journal.segment_bytes();
        let Reactor { io, journal, owners, catalog, shards, compactor, scheduler, .. } = self;
        let view = View { owners, catalog, shards, expiry_ms };
        let footers = &mut journal.footers;
        compactor.advance(io, scheduler, &mut Ground { footers, view, segment_bytes, is_appending, is_full });
    }

    /// Looks for a run that is worth it, in each journal that is this reactor's to keep.
    fn begin_compaction(&mut self) {
        self.compactor.rest(self.space.changes(), self.io.mono_ns(), LOOK_NS);
        let journals: std::collections::BTreeSet<JournalNumber> =
            self.journal.all_sealed().map(|sealed| sealed.segment.journal).collect();
        let segment_bytes = u64::from(self.journal.segment_bytes());
        let worth = if self.journal.segments.is_full() { Worth::Full } else { Worth::Usual };
        // A row tells where a shard's numbers begin and end. Made of two, it would span what lies in another journal between
        // them, and a number would be looked for in both.
        let run_max = if self.journal.histories() == 1 { COMPACTION_RUN_MAX } else { 1 };
        for journal in journals {
            let mut all = self.space.compactable(journal);
            let is_worth_it = is_worth_it(&all, segment_bytes, worth);
            // What is joined takes as much room as before, and some until the old ones are gone.
            let may_join = worth == Worth::Usual && join(&all, segment_bytes, run_max).is_some();
            if !is_worth_it && !may_join {
                continue;
            }
            all.iter_mut().for_each(|entry| entry.may_move &= self.may_compact(&entry.sealed));
            let run = is_worth_it.then(|| choose(&all, segment_bytes, worth, run_max)).flatten();
            let joined = || may_join.then(|| join(&all, segment_bytes, run_max)).flatten();
            let Some(run) = run.or_else(joined) else { continue };
            let run = &all[run];
            let Some(dir) = run.last().map(|newest| self.directories.of(newest.sealed.segment)) else { return };
            return self.compactor.begin(run, dir, segment_bytes);
        }
    }

    /// Whether what lives of a segment may go elsewhere: no start needs it as it is, and its footer is on disk.
    fn may_compact(&self, sealed: &Sealed) -> bool {
        let segment = sealed.segment;
        // A run lies in one directory: where its journal makes new segments.
        let is_at_home = self.directories.of(segment) == self.directories.of_journal(segment.journal);
        let is_on_disk = !self.journal.footers.is_pinned(segment);
        is_at_home && is_on_disk && self.compactor.may_take(segment, self.io.mono_ns()) && self.may_drop(segment)
    }

    /// Has readers find the copy, once none is at the segments that it takes the place of; and drops those.
    pub(super) fn go_over_to_copy(&mut self) {
        let Some(replaced) = self.compactor.replaced() else { return self.reads.hold_back(&[]) };
        let run: Vec<SegmentId> = replaced.iter().map(|sealed| sealed.segment).collect();
        // Readers that go on and on would leave no moment between them. Who comes now reads the copy.
        self.reads.hold_back(&run);
        if !run.iter().all(|&segment| self.looking_at != Some(segment) && self.reads.rests(segment)) {
            return;
        }
        run.into_iter().for_each(|segment| assert!(self.let_go(segment), "it rests"));
        self.reads.hold_back(&[]);
        let Some(InPlace { run, dir, sealed, footer }) = self.compactor.take_in_place() else { return };
        let is_own = sealed.segment.journal == self.journal.number();
        self.journal.segments.compacted(u64::from(sealed.bytes), is_own);
        self.journal.replace(&run, sealed, footer);
        self.space.compacted(&run, sealed);
        for old in run {
            let is_named = old.segment != sealed.segment;
            let (segment, file, bytes) = (old.segment, old.file, u64::from(old.bytes));
            self.drops.add(Doomed { segment, dir, file, bytes, kept_bytes: 0, is_named });
        }
    }

    /// A step of compaction has completed.
    pub(super) fn compacted(&mut self, completion: Completion) {
        if self.journal.poisoned().is_some() {
            return self.compactor.abandon(&mut self.scheduler);
        }
        if let Err(errno) = self.compactor.complete(&self.io, &mut self.scheduler, completion) {
            self.compactor.abandon(&mut self.scheduler);
            self.journal.poison(errno);
            self.poison(errno);
        }
    }
}
