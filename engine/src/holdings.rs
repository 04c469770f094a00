//! What each reactor holds of streams with a limit in bytes. A limit is the whole stream's, so none can tell from its own part what
//! is too much: each publishes what it has whenever that changes, and reckons with what the others have published.
//!
//! A shard that is moved is never counted twice: what was published under other owners than the reader's counts as nothing until
//! its publisher has seen the move as well. So in doubt too much is kept for a moment, never too little.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use frame::StreamId;

/// Bytes of each stream that has a limit.
pub(crate) type Held = BTreeMap<StreamId, u64>;

/// What one reactor published: after so many moves, so much.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Holding {
    moves: u64,
    held: Held,
}

/// What all have published.
#[derive(Default, Debug)]
pub(crate) struct Holdings {
    of: Mutex<BTreeMap<usize, Holding>>,
    changes: AtomicU64,
}

impl Holdings {
    /// Reactor `own` holds so much, after so many moves. Tells whether that is news.
    pub(crate) fn publish(&self, own: usize, moves: u64, held: Held) -> bool {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let holding = Holding { moves, held };
        let is_news = of.get(&own) != Some(&holding);
        if is_news {
            of.insert(own, holding);
            self.changes.fetch_add(1, Ordering::Release);
        }
        is_news
    }

    /// Rises with whatever is published.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What all but `own` hold together, of those that have seen as many moves.
    pub(crate) fn of_others(&self, own: usize, moves: u64) -> Held {
        let of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Held::new();
        for (_, holding) in of.iter().filter(|(reactor, holding)| **reactor != own && holding.moves == moves) {
            holding.held.iter().for_each(|(&stream, bytes)| *all.entry(stream).or_default() += bytes);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_count_once_they_have_seen_the_same_moves() {
        let holdings = Holdings::default();
        let held = |bytes| Held::from([(StreamId(1), bytes)]);
        assert!(
            holdings.publish(0, 0, held(600)) && holdings.publish(1, 0, held(300)) && holdings.publish(2, 0, held(50))
        );
        assert!(!holdings.publish(2, 0, held(50)), "that is no news");
        assert_eq!((holdings.changes(), holdings.of_others(1, 0)), (3, held(650)));
        // A shard came here from reactor 0, which has not seen it leave.
        assert!(holdings.publish(1, 1, held(900)));
        assert_eq!(holdings.of_others(1, 1), Held::new());
        assert!(holdings.publish(0, 1, Held::new()) && holdings.publish(2, 1, held(50)));
        assert_eq!((holdings.of_others(1, 1), holdings.of_others(2, 1)), (held(50), held(900)));
    }
}
