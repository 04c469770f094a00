//! What producers that number their records sent behind a record that was refused as its shard was being split, merged or moved.
//!
//! The shard's owner knows nothing of such a refusal: it is made where the record was received. Nor do the children, to which
//! what follows goes. So it is kept here, a connection's apart: until the lowest of those refused has come again on it, nothing
//! above that goes to any shard of the stream, and what follows goes in its order. A producer that left the connection begins with the
//! lowest on the next one.

use std::collections::BTreeMap;

use frame::{ProducerId, RecordNumber, StreamId};

use crate::limits::GATES_MAX;
use crate::producers::Owed;
use crate::token::Peer;

/// Whose records wait.
pub(crate) type Sender = (Peer, StreamId, ProducerId);

/// All of one reactor.
#[derive(Debug, Default)]
pub(crate) struct Gates(BTreeMap<Sender, Owed>);

impl Gates {
    /// Whether a record may go on. If it may not, it waits for those before it.
    pub(crate) fn lets_in(&mut self, sender: Sender, RecordNumber(number): RecordNumber) -> bool {
        let Some(owed) = self.0.get_mut(&sender) else { return true };
        if !owed.lets_in(number) {
            *owed = owed.refused(number);
            return false;
        }
        match owed.after(number) {
            Some(left) => *owed = left,
            None => drop(self.0.remove(&sender)),
        }
        true
    }

    /// A record was refused.
    pub(crate) fn refuse(&mut self, sender: Sender, RecordNumber(number): RecordNumber) {
        let owed = self.0.get(&sender).map_or(Owed::of(number), |owed| owed.owing(number));
        self.0.insert(sender, owed);
        if self.0.len() > GATES_MAX {
            self.0.pop_first();
        }
    }

    /// A connection has ended.
    pub(crate) fn forget(&mut self, peer: Peer) {
        if !self.0.is_empty() {
            self.0.retain(|(of, ..), _| *of != peer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_a_refusal_waits_for_it() {
        let mut gates = Gates::default();
        let sender = |slot| (Peer { slot, life: 1 }, StreamId(1), ProducerId(7));
        gates.refuse(sender(1), RecordNumber(5));
        gates.refuse(sender(1), RecordNumber(8));
        assert!(!gates.lets_in(sender(1), RecordNumber(20)));
        assert!(gates.lets_in(sender(2), RecordNumber(20)), "another connection");
        for number in [5, 8, 20] {
            assert!(gates.lets_in(sender(1), RecordNumber(number)), "number {number}");
        }
        assert!(gates.0.is_empty());
        gates.refuse(sender(1), RecordNumber(5));
        gates.forget(Peer { slot: 1, life: 1 });
        assert!(gates.lets_in(sender(1), RecordNumber(6)));
    }

    #[test]
    fn they_are_bounded() {
        let mut gates = Gates::default();
        let sender = |producer| (Peer::default(), StreamId(1), ProducerId(producer));
        (1..=2 * GATES_MAX as u64).for_each(|producer| gates.refuse(sender(producer), RecordNumber(1)));
        assert_eq!(gates.0.len(), GATES_MAX);
    }
}
