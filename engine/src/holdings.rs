//! What each reactor holds of streams with a limit in bytes, and how much of that may stay. A limit is the whole stream's, so none
//! can tell from its own part what is too much.
//!
//! ```text
//!   a reactor's bytes, looked over --> [share] what all hold, under one lock --> how much of its own may stay --> what goes
//!                                         \--> the others look again
//! ```
//!
//! Where all hold too much, what goes is shared out by what each holds. But nobody gives up more than is too much beside what the
//! others have said will stay: so whoever looks when, together they never go below the limit. A shard that moves is never counted
//! twice: what somebody said under other owners than the reader's is nothing, until it has seen the move as well. In doubt too
//! much is kept for a moment.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use frame::StreamId;

/// Bytes of each stream that has a limit.
pub(crate) type Held = BTreeMap<StreamId, u64>;

/// Of one stream: what there is, and what of it is to stay.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Part {
    held: u64,
    stays: u64,
}

/// What one reactor has said, after so many moves.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Holding {
    moves: u64,
    parts: BTreeMap<StreamId, Part>,
}

/// What all have said. Held for as long as a few numbers are added up, and only when what somebody holds has changed.
#[derive(Default, Debug)]
pub(crate) struct Holdings(Mutex<BTreeMap<usize, Holding>>);

impl Holdings {
    /// Reactor `own` holds so much, after so many moves. How much of each stream may stay, and whether others are to look again.
    pub(crate) fn share(
        &self,
        (own, moves): (usize, u64),
        held: &Held,
        limit: impl Fn(StreamId) -> Option<u64>,
    ) -> (Held, bool) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let others = |stream| {
            let others = said.iter().filter(|(reactor, other)| **reactor != own && other.moves == moves);
            let parts = others.filter_map(|(_, other)| other.parts.get(&stream));
            parts.fold(Part::default(), |all, part| Part { held: all.held + part.held, stays: all.stays + part.stays })
        };
        let part = |(&stream, &held): (&StreamId, &u64)| {
            let stays = limit(stream).map_or(held, |limit| stays(limit, held, others(stream)));
            (stream, Part { held, stays })
        };
        let holding = Holding { moves, parts: held.iter().map(part).collect() };
        let may_stay = holding.parts.iter().map(|(&stream, part)| (stream, part.stays)).collect();
        let is_news = said.get(&own) != Some(&holding);
        said.insert(own, holding);
        (may_stay, is_news)
    }
}

/// How much may stay of what is held here.
fn stays(limit: u64, held: u64, others: Part) -> u64 {
    let all = u128::from(held) + u128::from(others.held);
    if all <= u128::from(limit) {
        return held;
    }
    let part = (u128::from(limit) * u128::from(held) / all) as u64;
    part.max(limit.saturating_sub(others.stays)).min(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 1000;

    fn share(holdings: &Holdings, own: usize, moves: u64, bytes: u64) -> (u64, bool) {
        let (stay, is_news) = holdings.share((own, moves), &Held::from([(StreamId(1), bytes)]), |_| Some(LIMIT));
        (stay[&StreamId(1)], is_news)
    }

    #[test]
    fn what_is_too_much_goes_by_what_each_holds() {
        let holdings = Holdings::default();
        assert_eq!(share(&holdings, 0, 0, 900), (900, true));
        assert_eq!(share(&holdings, 0, 0, 900), (900, false), "that is no news");
        assert_eq!(share(&holdings, 1, 0, 600), (400, true));
        assert_eq!(share(&holdings, 0, 0, 900), (600, true));
        let (stay, _) = holdings.share((0, 0), &Held::from([(StreamId(1), 900), (StreamId(2), 5000)]), |_| None);
        assert_eq!(stay, Held::from([(StreamId(1), 900), (StreamId(2), 5000)]), "without a limit all stays");
    }

    /// Bug: who looked again while others were at dropping what was too much dropped that as well. Mechanism: others were seen with
    /// what they had, not with what they would have. Fix: nobody gives up more than is too much beside what is to stay at others.
    #[test]
    fn whoever_looks_when_nothing_goes_below_the_limit() {
        for order in 0..500_u64 {
            let holdings = Holdings::default();
            let mut held = [5000, 5000, 5000];
            let mut stays = held;
            let mut seed = order;
            for step in 0..200 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let own = (seed >> 33) as usize % 3;
                // It drops what it was to drop, or takes something in, or has only been told to look again.
                match (seed >> 40) % 4 {
                    0 | 1 => held[own] = held[own].min(stays[own]),
                    2 if step < 150 => held[own] = held[own].min(stays[own]) + (seed >> 50) % 50,
                    _ => {}
                }
                stays[own] = share(&holdings, own, 0, held[own]).0;
                assert!(stays.iter().sum::<u64>() >= LIMIT, "order {order}, step {step}: {stays:?}");
            }
            for own in (0..3).cycle().take(120) {
                held[own] = held[own].min(stays[own]);
                stays[own] = share(&holdings, own, 0, held[own]).0;
            }
            assert!((LIMIT..LIMIT + 3).contains(&stays.iter().sum::<u64>()), "order {order}: {stays:?}");
        }
    }

    #[test]
    fn others_count_once_they_have_seen_the_same_moves() {
        let holdings = Holdings::default();
        assert_eq!(share(&holdings, 0, 0, 600).0, 600);
        assert_eq!(share(&holdings, 1, 0, 300).0, 300);
        // A shard came here from reactor 0, which has not seen it leave.
        assert_eq!(share(&holdings, 1, 1, 900).0, 900);
        assert_eq!(share(&holdings, 0, 1, 0).0, 0);
        assert_eq!(share(&holdings, 2, 1, 200).0, 181);
    }
}
