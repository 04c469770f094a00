//! Puts together what a reactor looks like, for whoever watches it.

use super::*;
use crate::journal::INDEX_ENTRY_BYTES;
use crate::limits::{LAGS_MAX, LOOKS_WAITING_MAX, RECEIVE_BUFFER_BYTES};
use crate::vitals::{Lag, Queues, Use, Vitals};

impl<I: Io> Reactor<I> {
    /// Answers those who look at this reactor, whatever else it has to do: one that is full, or refuses appends, is looked at
    /// first of all.
    pub(super) fn show(&mut self) {
        // Most turns are looked at by nobody.
        if self.waiting.as_ref().is_none_or(|waiting| waiting.looks.is_empty()) {
            return;
        }
        for _ in 0..LOOKS_WAITING_MAX {
            let Some(reply) = self.waiting.as_ref().and_then(|waiting| waiting.looks.pop()) else { return };
            reply(self.vitals());
        }
    }

    fn vitals(&self) -> Vitals {
        let lags = self.lags();
        Vitals {
            stats: self.stats(),
            commits_ns: self.commit_times.histogram(),
            queues: Queues {
                intake_bytes: self.intake.bytes(),
                intake_shards: self.intake.active_shards(),
                commits_in_flight: self.journal.commits_in_flight(),
                reads: self.reads.in_progress(),
                handed_bytes: self.peers.unsettled_bytes(),
                calls: self.callers.in_use() + self.calls_waiting(),
                parked: self.subscriptions.parked(),
            },
            memory: self.memory(),
            connections: self.clients(),
            subscriptions: self.subscriptions.len(),
            segments: self.journal.segment_counts(),
            has_no_room: self.has_no_room(),
            compacted: self.compactor.done,
            lags,
        }
    }

    fn memory(&self) -> Vec<Use> {
        let shares = Memory::share(self.config.memory_bytes / self.owners.reactors());
        let pool = self.io.pool();
        let received = self.intake.held_buffers() * RECEIVE_BUFFER_BYTES;
        let of = |what, bytes, budget_bytes| Use { what, bytes, budget_bytes };
        vec![
            of("receive", received, shares.receive_bytes),
            // Commit batches, the tail, windows and sends share it.
            of("pool", pool.used_bytes(), pool.capacity_bytes()),
            of("tail", self.journal.cache.held_bytes(), pool.capacity_bytes() / 2),
            of("windows", self.reads.held_bytes(), self.reads.budget_bytes()),
            of("footers", self.journal.footers.bytes(), shares.footer_bytes),
            of("index", self.journal.extents() * INDEX_ENTRY_BYTES, shares.index_bytes),
            of("large", self.intake.large.bytes(), shares.large_bytes),
            of("backlog", self.backlog.bytes(), shares.backlog_bytes()),
            of("guests", self.for_guests.bytes() + self.peers.told_bytes(), shares.guests_bytes()),
        ]
    }

    /// The subscribers that are furthest behind.
    fn lags(&self) -> Vec<Lag> {
        let mut behind: Vec<_> = self.subscriptions.behind(&self.shards).collect();
        if behind.len() > LAGS_MAX {
            behind.select_nth_unstable_by_key(LAGS_MAX, |&(records, _)| std::cmp::Reverse(records));
            behind.truncate(LAGS_MAX);
        }
        behind.sort_by_key(|&(records, _)| std::cmp::Reverse(records));
        let lag = |(records, subscription): (u64, &crate::subscriptions::Subscription)| Lag {
            stream: self.catalog.stream(subscription.stream).map_or_else(String::new, |stream| stream.name.clone()),
            shard: subscription.shard,
            subscriber: subscription.number(),
            records,
            next: subscription.next,
        };
        behind.into_iter().map(lag).collect()
    }
}
