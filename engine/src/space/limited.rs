//! Streams with a limit in bytes: what of them is held here and may stay, and closed shards of which nothing is left.
//!
//! Numbers that recovery skipped lie in no segment. So a shard that was closed behind some is not trimmed to its end with its records,
//! nor is one in which nothing was ever stored. But the oldest of a stream goes first, whichever shard's it is: once nothing of the
//! stream lives in any segment up to the one that was open when the shard was known to be closed, nothing of the shard does.

use std::collections::BTreeMap;

use frame::{ShardId, StreamId};

use super::Space;
use crate::holdings::Held;
use crate::journal::{Moment, Sealed, SegmentId};
use crate::trims::Trim;

/// How old a segment is: when it was sealed, and, among those that were sealed at once, when the newest record of a stream with a limit
/// in it arrived. No shard has records in several journals that were sealed at once, so a clock has no say over its order.
pub(super) type Age = (Moment, u64);

/// An own closed shard of a stream with a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClosedShard {
    pub(crate) stream: StreamId,
    /// It, and where it ended.
    pub(crate) end: Trim,
    /// Whether records of it may lie in no sealed segment yet.
    pub(crate) is_unsealed: bool,
}

impl Space {
    /// Others hold more or less than they did.
    pub(crate) fn others_changed(&mut self) {
        self.held_changed = true;
    }

    /// What is held here of streams with a limit, if that is to be shared out and all of it is known.
    pub(crate) fn held_to_share(&mut self) -> Option<&Held> {
        (self.queue.is_empty() && std::mem::take(&mut self.held_changed)).then_some(&self.held)
    }

    /// Not more than this may stay of streams with a limit: of what is held here the newest. Where that is less than there is, the
    /// segment is looked at again.
    pub(crate) fn apply_limits(&mut self, mut may_stay: Held) {
        self.allowed.clear();
        may_stay.retain(|stream, bytes| self.held.get(stream).is_some_and(|held| held > bytes));
        if may_stay.is_empty() {
            return;
        }
        for segment in self.newest_first() {
            let Some(known) = self.segments.get(&segment) else { continue };
            for (&stream, &bytes) in &known.limited {
                let Some(left) = may_stay.get_mut(&stream) else { continue };
                if bytes > *left {
                    self.allowed.insert((segment, stream), *left);
                    self.queue.insert(segment);
                }
                *left = left.saturating_sub(bytes);
            }
        }
    }

    /// Segments with records of streams that have a limit, in an order in which each shard's numbers fall, and each journal's. So what
    /// goes of a shard takes nothing along that is to stay.
    pub(super) fn newest_first(&self) -> Vec<SegmentId> {
        let mut after: Option<(SegmentId, Age)> = None;
        let mut all: Vec<(Age, SegmentId)> = Vec::new();
        for (&segment, known) in self.segments.iter().rev().filter(|(_, known)| !known.limited.is_empty()) {
            // A clock may have gone back, and of a footer that was made later nobody knows when its segment was left.
            let after_it = after.filter(|(after, _)| after.journal == segment.journal);
            let age = after_it.map_or(known.age, |(_, age)| age.min(known.age));
            after = Some((segment, age));
            all.push((age, segment));
        }
        all.sort_unstable_by(|one, other| other.cmp(one));
        all.into_iter().map(|(_, segment)| segment).collect()
    }

    /// Trims those closed shards to their ends of which nothing is left. They are all that there are and not trimmed so far; `open` is the
    /// segment that records are written to, `now` when it would be sealed now.
    pub(crate) fn trim_emptied(&mut self, (open, now): (SegmentId, Moment), closed: &[ClosedShard]) {
        let by = |shard: &ShardId| self.closed_by.get(shard).copied().unwrap_or((open, now));
        self.closed_by = closed.iter().map(|ClosedShard { end, .. }| (end.shard, by(&end.shard))).collect();
        let is_known = self.segments.values().all(|known| known.is_looked_at);
        if !self.is_settled() || self.looks_once_more || self.is_moving() || !is_known {
            return;
        }
        // Of each stream, the oldest segment of this journal in which it lives, and when that of another journal was sealed.
        let mut oldest: BTreeMap<StreamId, (Option<SegmentId>, Option<Moment>)> = BTreeMap::new();
        for (&segment, known) in &self.segments {
            let (sealed_at, _) = known.age;
            for &stream in known.limited.keys() {
                let (own, others) = oldest.entry(stream).or_default();
                if segment.journal == open.journal {
                    own.get_or_insert(segment);
                } else {
                    *others = Some(others.map_or(sealed_at, |oldest| oldest.min(sealed_at)));
                }
            }
        }
        for ClosedShard { stream, end, .. } in closed.iter().filter(|closed| !closed.is_unsealed) {
            let (own, others) = oldest.get(stream).copied().unwrap_or_default();
            let (segment, moment) = self.closed_by[&end.shard];
            if own.is_none_or(|own| own > segment) && others.is_none_or(|others| others > moment) {
                self.found.insert(end.shard, end.to);
            }
        }
    }

    /// What lived of a run of segments is in the newest of them.
    pub(super) fn closed_shards_moved(&mut self, run: &[Sealed], newest: SegmentId) {
        let Some(oldest) = run.iter().map(|sealed| sealed.segment).min() else { return };
        let of_run = self.closed_by.values_mut().filter(|(by, _)| (oldest..newest).contains(by));
        of_run.for_each(|(by, _)| *by = newest);
    }
}
