//! Times of an open loop that came when nobody was left to send for them. They are told of at the end, as no answer came until then,
//! and are kept in little room until then, however many they are: those close together are one.

use super::core::{Core, Due};

/// Times closer than this are one...
const GAP_NS_MIN: u64 = 1_000_000;

/// ... or than this part of the run so far, where that is more: some thousands are kept of a run of days.
const GAP_PARTS: u64 = 1000;

/// Times close together.
#[derive(Debug, PartialEq)]
struct Span {
    first_ns: u64,
    batches: u32,
    records: u64,
}

/// What nobody sends.
#[derive(Debug, Default)]
pub(super) struct Missed {
    spans: Vec<Span>,
}

impl Missed {
    /// Adds a time, later than all before it.
    pub(super) fn push(&mut self, (due_ns, records): Due) {
        match self.spans.last_mut() {
            Some(span) if due_ns.saturating_sub(span.first_ns) < GAP_NS_MIN.max(due_ns / GAP_PARTS) => {
                span.batches = span.batches.saturating_add(1);
                span.records += records;
            }
            _ => self.spans.push(Span { first_ns: due_ns, batches: 1, records }),
        }
    }

    /// Tells of them, each as long without an answer as the first of those close to it.
    pub(super) fn tell(&mut self, core: &Core, group: usize, until_ns: u64) {
        for Span { first_ns, batches, records } in self.spans.drain(..) {
            core.unserved_in_all(group, (first_ns, records), until_ns, batches);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug, found on reading: what was due on a connection that was gone grew without a bound. Mechanism: each time was kept, and none
    /// of them counted against the bound. Fix: those close together are one.
    #[test]
    fn many_take_little_room() {
        let mut missed = Missed::default();
        (0..10_000_000).for_each(|at| missed.push((at * 1000, 2)));
        let spans = &missed.spans;
        assert!(spans.len() < 5000, "{} of ten seconds", spans.len());
        let all = |of: fn(&Span) -> u64| spans.iter().map(of).sum::<u64>();
        assert_eq!((all(|span| u64::from(span.batches)), all(|span| span.records)), (10_000_000, 20_000_000));
        assert_eq!((spans[0].first_ns, spans[1].first_ns, spans[0].batches), (0, 1_000_000, 1000));
    }
}
