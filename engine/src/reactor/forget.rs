//! Closed shards are forgotten once all of their records have expired, so that a stream may be split and merged for ever.
//!
//! ```text
//!   the first reactor                                                         all reactors
//!   closed for as long as records are kept, or trimmed to the end (and what it was made of is forgotten)
//!   forget, durable ----------announced--------------------------------------> who has it pushed is told of the children
//!                                                                             nothing of it is kept, nobody finds it
//! ```
//!
//! The catalog alone tells what has expired by its time: nothing in a shard arrived after its children were made. Of streams with
//! a limit in bytes the trim points of all owners tell, who trim a shard to its end once nothing of it is left. Nothing of it has to
//! be done twice, nor undone: a shard that is not forgotten as the process dies is found again by the next life. Its records are dead
//! as those of a deleted stream are.

use super::*;
use crate::catalog::Closed;
use crate::limits::{FORGET_LOOK_NS, LOOK_STEP_NS};
use crate::space::ClosedShard;
use crate::trims::Trim;

/// Which closed shards were looked at.
#[derive(Debug, Default)]
pub(super) struct Forgetting {
    /// When to look on; and behind which stream.
    at_ns: u64,
    after: StreamId,
    /// Whether a command is on its way to the disk.
    is_telling: bool,
}

impl Forgetting {
    /// What was to be forgotten is.
    pub(super) fn told(&mut self) {
        self.is_telling = false;
    }

    /// It could not be stored now.
    pub(super) fn refused(&mut self, now_ns: u64) {
        (self.is_telling, self.at_ns) = (false, now_ns + FORGET_LOOK_NS);
    }

    /// When there is something to do.
    pub(super) fn next_ns(&self) -> Option<u64> {
        (!self.is_telling).then_some(self.at_ns)
    }
}

impl<I: Io> Reactor<I> {
    /// Looks for closed shards of which nothing is kept any more: own ones of streams with a limit in bytes, and, as the first reactor,
    /// those that may be forgotten, a stream after the other.
    pub(super) fn look_for_closed(&mut self) {
        let now_ns = self.io.mono_ns();
        let is_due = self.reshardings.forgetting.next_ns().is_some_and(|at_ns| at_ns <= now_ns);
        let goes_on = self.journal.poisoned().is_none() && self.life == Life::Running;
        if !is_due || !goes_on {
            return;
        }
        let is_first_of_all = self.reshardings.forgetting.after == StreamId::default();
        let has_closed = is_first_of_all && self.trim_emptied();
        if self.owners.own() != 0 {
            self.reshardings.forgetting.at_ns = if has_closed { now_ns + FORGET_LOOK_NS } else { u64::MAX };
            return;
        }
        let mut found = (None, None);
        if let Some(now_ms) = self.clock.expiry_ms(&self.io) {
            // Whoever is told of the children may ask any reactor for them.
            let may_go = |shard, closed: &Closed, has_expired| {
                let is_over = has_expired || self.first_kept(shard) >= closed.end;
                is_over && !self.reshardings.is_news(closed.children.first)
            };
            found = self.planned.plan_forget(self.reshardings.forgetting.after, now_ms, may_go);
        }
        let (forget, after) = found;
        self.reshardings.forgetting.at_ns = match after {
            Some(_) => now_ns + LOOK_STEP_NS,
            None if self.planned.may_forget() => now_ns + FORGET_LOOK_NS,
            None => u64::MAX,
        };
        self.reshardings.forgetting.after = after.unwrap_or_default();
        if let Some(forget) = forget {
            self.reshardings.forgetting.is_telling = true;
            self.store(forget, Vec::new());
        }
    }

    /// Trims own closed shards of streams with a limit in bytes to their ends once nothing of them is left. Whether any are not trimmed so
    /// far.
    fn trim_emptied(&mut self) -> bool {
        self.note_sealed();
        let limited = self.catalog.streams().filter(|stream| stream.retention.bytes.is_some());
        let closed = limited.flat_map(|stream| stream.closed().map(|closed| (stream.stream, closed)));
        let is_left = |&(_, (shard, closed)): &(StreamId, (ShardId, Closed))| {
            self.owners.is_own(shard) && self.shards.first_kept(shard) < closed.end
        };
        let closed_shard = |(stream, (shard, closed)): (StreamId, (ShardId, Closed))| ClosedShard {
            stream,
            end: Trim { shard, to: closed.end },
            is_unsealed: self.journal.holds_unsealed(shard),
        };
        let closed: Vec<ClosedShard> = closed.filter(is_left).map(closed_shard).collect();
        self.space.trim_emptied((self.journal.open_segment(), self.journal.moment()), &closed);
        !closed.is_empty()
    }

    /// A shard was closed, or more or less is kept of a stream.
    pub(super) fn look_for_closed_soon(&mut self) {
        self.reshardings.forgetting.at_ns = self.reshardings.forgetting.at_ns.min(self.io.mono_ns() + FORGET_LOOK_NS);
    }

    /// From where a shard is kept, whoever owns it.
    pub(super) fn first_kept(&self, shard: ShardId) -> Sequence {
        if self.owners.is_own(shard) { self.shards.first_kept(shard) } else { self.exchange().trim(shard) }
    }

    /// Closed shards are about to be forgotten: whoever has them pushed goes on in their children, nothing is kept about them.
    pub(super) fn leave_behind(&mut self, stream: StreamId, shards: &[ShardId]) {
        for &shard in shards {
            let closed = self.catalog.stream(stream).and_then(|stream| stream.find(shard)?.closed);
            let Some(closed) = closed else { continue };
            self.end_pushes_of_closed(shard, &closed);
            self.buckets.forget(shard);
            self.shards.forget_trim(shard);
            self.journal.producers.forget(shard);
        }
    }
}
