//! Records that were sent, and of which no answer tells what became: none came, or it was an error of the server's, or said nothing of
//! use. They count as unanswered until the end of the run, for a server that fails at once is no faster for it. Until then they are
//! kept in little room: those meant to be sent close together are one.

use std::collections::BTreeMap;

use crate::recorder::{BatchTimes, Recorder, SLOT_NS};

/// One core's, of a group of producers.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// By the slot in which they were meant to be sent.
    slots: BTreeMap<u64, Slot>,
}

/// Counted as long as the first of them.
#[derive(Debug)]
struct Slot {
    intended_ns: u64,
    sent_ns: u64,
    records: u64,
}

impl Unanswered {
    /// Adds some of one request.
    pub(super) fn add(&mut self, BatchTimes { intended_ns, sent_ns, .. }: BatchTimes, records: u64) {
        let slot = self.slots.entry(intended_ns / SLOT_NS).or_insert(Slot { intended_ns, sent_ns, records: 0 });
        slot.intended_ns = slot.intended_ns.min(intended_ns);
        slot.sent_ns = slot.sent_ns.min(sent_ns);
        slot.records += records;
    }

    /// Counts them, at the end.
    pub(super) fn tell(self, recorder: &mut Recorder, until_ns: u64) {
        for Slot { intended_ns, sent_ns, records } in self.slots.into_values() {
            recorder.unanswered(BatchTimes { intended_ns, sent_ns, acked_ns: until_ns }, records);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug, found on reading: a server that failed at half of its requests had the latency of the other half, without a mark. Mechanism:
    /// what it failed at counted nowhere. Fix: it counts as unanswered to the end, in a bounded room.
    #[test]
    fn what_a_server_fails_at_takes_until_the_end() {
        const S: u64 = 1_000_000_000;
        let (mut recorder, mut unanswered) = (Recorder::new(0, u64::MAX), Unanswered::default());
        for at in 0..10_000 {
            let intended_ns = at * (S / 1000);
            let times = BatchTimes { intended_ns, sent_ns: intended_ns + 7, acked_ns: intended_ns + 1000 };
            recorder.acknowledged(times, 3, 30);
            unanswered.add(times, 3);
        }
        assert_eq!(unanswered.slots.len(), 100);
        unanswered.tell(&mut recorder, 20 * S);
        assert_eq!((recorder.unanswered_records(), recorder.total().records), (30_000, 30_000));
        let [p49, p51, p99] = [49.0, 51.0, 99.0].map(|percent| recorder.latency().value_at_percentile(percent));
        assert!(p49 < 2000 && p51 >= 10 * S && p99 >= 19 * S, "{p49} {p51} {p99}");
    }
}
