//! Streams with a limit in bytes: what of them is held here and may stay, and closed shards of which nothing is left.
//!
//! Numbers that recovery skipped lie in no segment. So a shard that was closed behind some is not trimmed to its end with its records,
//! nor is one in which nothing was ever stored. But the oldest of a stream goes first, whichever shard's it is: once nothing of the
//! stream lives in any segment up to the one that was open when the shard was known to be closed, nothing of the shard does.

use std::collections::BTreeMap;

use frame::{JournalNumber, ShardId, StreamId};

use super::Space;
use crate::holdings::Held;
use crate::journal::{Sealed, SegmentId};
use crate::trims::Trim;

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
    pub(crate) fn apply_limits(&mut self, own: JournalNumber, mut may_stay: Held) {
        self.allowed.clear();
        may_stay.retain(|stream, bytes| self.held.get(stream).is_some_and(|held| held > bytes));
        if may_stay.is_empty() {
            return;
        }
        let (new, old): (Vec<_>, Vec<_>) = self.segments.iter().rev().partition(|(of, _)| of.journal == own);
        for (segment, known) in new.into_iter().chain(old) {
            for (&stream, &bytes) in &known.limited {
                let Some(left) = may_stay.get_mut(&stream) else { continue };
                if bytes > *left {
                    self.allowed.insert((*segment, stream), *left);
                    self.queue.insert(*segment);
                }
                *left = left.saturating_sub(bytes);
            }
        }
    }

    /// Trims those closed shards to their ends of which nothing is left. They are all that there are and not trimmed so far; `open` is the
    /// segment that records are written to.
    pub(crate) fn trim_emptied(&mut self, open: SegmentId, closed: &[ClosedShard]) {
        let by = |shard: &ShardId| self.closed_by.get(shard).copied().unwrap_or(open);
        self.closed_by = closed.iter().map(|ClosedShard { end, .. }| (end.shard, by(&end.shard))).collect();
        let is_known = self.segments.values().all(|known| known.is_looked_at);
        if !self.is_settled() || self.looks_once_more || self.is_moving() || !is_known {
            return;
        }
        // Of each stream, the oldest segment of this journal in which it lives; any other journal's is older.
        let mut oldest: BTreeMap<StreamId, SegmentId> = BTreeMap::new();
        let first = SegmentId { number: frame::SegmentNumber(0), ..open };
        for (&segment, known) in &self.segments {
            let segment = if segment.journal == open.journal { segment } else { first };
            for &stream in known.limited.keys() {
                let known = oldest.entry(stream).or_insert(segment);
                *known = segment.min(*known);
            }
        }
        for ClosedShard { stream, end, .. } in closed.iter().filter(|closed| !closed.is_unsealed) {
            if oldest.get(stream).is_none_or(|oldest| *oldest > self.closed_by[&end.shard]) {
                self.found.insert(end.shard, end.to);
            }
        }
    }

    /// What lived of a run of segments is in the newest of them.
    pub(super) fn closed_shards_moved(&mut self, run: &[Sealed], newest: SegmentId) {
        let Some(oldest) = run.iter().map(|sealed| sealed.segment).min() else { return };
        self.closed_by.values_mut().filter(|by| (oldest..newest).contains(*by)).for_each(|by| *by = newest);
    }
}
