//! Which splits and merges bring a stream to shards of equal size: rounds of steps that don't touch each other.

use crate::gateway::steps::Step;

/// A boundary of shards that is off by this part of a shard's hash keys, or less, is where it should be: what is divided in other
/// ways than at once is rounded otherwise.
const TOLERANCE_SHIFT: u32 = 20;

/// What can be done at once on the way to `target` shards, by the open shards' hash keys in their order; nothing if they are
/// there.
pub(super) fn round(open: &[(u128, u128)], target: u32) -> Vec<Step> {
    let wanted = Wanted::of(target);
    let mut steps = Vec::new();
    let mut at = 0;
    while let Some(&(start, end)) = open.get(at) {
        let next = open.get(at + 1);
        let may_merge = |&(next_start, next_end): &(u128, u128)| {
            !wanted.is_at(next_start) && wanted.within(next_start, next_end).is_none()
        };
        if let Some(key) = wanted.within(start, end) {
            steps.push(Step::Split(at, key));
        } else if next.is_some_and(may_merge) {
            steps.push(Step::Merge(at));
            at += 1;
        }
        at += 1;
    }
    steps
}

/// Where shards are to begin.
struct Wanted {
    shards: u128,
    /// Hash keys of a shard.
    width: u128,
    tolerance: u128,
}

impl Wanted {
    fn of(shards: u32) -> Wanted {
        let shards = u128::from(shards.max(1));
        // Of 2^128, which is one more than there is room for; all of them are one shard's if there is one.
        let is_even = u128::MAX % shards == shards - 1;
        let width = (u128::MAX / shards).saturating_add(u128::from(is_even));
        Wanted { shards, width, tolerance: width >> TOLERANCE_SHIFT }
    }

    /// Whether a shard is to begin here.
    fn is_at(&self, key: u128) -> bool {
        let below = key / self.width;
        let is_near =
            |number: u128| (1..self.shards).contains(&number) && (number * self.width).abs_diff(key) <= self.tolerance;
        is_near(below) || is_near(below + 1)
    }

    /// Where a shard with these hash keys is to be split, if it is: of several places in the middle.
    fn within(&self, start: u128, end: u128) -> Option<u128> {
        let first = start.saturating_add(self.tolerance) / self.width + 1;
        let last = (end.saturating_sub(self.tolerance) / self.width).min(self.shards - 1);
        (first <= last).then(|| (first + last).div_ceil(2) * self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uniform(shards: u32) -> Vec<(u128, u128)> {
        let width = Wanted::of(shards).width;
        let start = |shard: u32| u128::from(shard) * width;
        (0..shards)
            .map(|shard| (start(shard), if shard + 1 < shards { start(shard + 1) - 1 } else { u128::MAX }))
            .collect()
    }

    /// Goes through all rounds. Splits, merges, and the most that were open at once.
    fn all_rounds(open: &mut Vec<(u128, u128)>, target: u32) -> (usize, usize, usize) {
        let (mut splits, mut merges, mut most) = (0, 0, open.len());
        for _ in 0..100 {
            let steps = round(open, target);
            if steps.is_empty() {
                return (splits, merges, most);
            }
            let mut after = Vec::new();
            let mut from = 0;
            for step in steps {
                match step {
                    Step::Split(at, key) => {
                        after.extend_from_slice(&open[from..at]);
                        let (start, end) = open[at];
                        assert!(start < key && key <= end, "{key} is no place to split {start} to {end}");
                        after.extend([(start, key - 1), (key, end)]);
                        (from, splits) = (at + 1, splits + 1);
                    }
                    Step::Merge(at) => {
                        after.extend_from_slice(&open[from..at]);
                        after.push((open[at].0, open[at + 1].1));
                        (from, merges) = (at + 2, merges + 1);
                    }
                }
            }
            after.extend_from_slice(&open[from..]);
            *open = after;
            most = most.max(open.len());
        }
        panic!("it does not come to an end: {} shards on the way to {target}", open.len());
    }

    #[test]
    fn any_number_becomes_any_other_of_equal_shards() {
        for from in 1..=24 {
            for target in 1..=48 {
                let mut open = uniform(from);
                all_rounds(&mut open, target);
                assert_eq!(open.len(), target as usize, "{from} to {target}");
                let wanted = Wanted::of(target);
                assert_eq!((open[0].0, open[open.len() - 1].1), (0, u128::MAX));
                for pair in open.windows(2) {
                    assert_eq!(pair[0].1 + 1, pair[1].0, "{from} to {target}: they meet");
                    assert!(wanted.is_at(pair[1].0), "{from} to {target}: {} is off", pair[1].0);
                }
            }
        }
    }

    #[test]
    fn twice_as_many_are_splits_alone_and_half_as_many_are_merges_alone() {
        for shards in [1, 2, 3, 5, 7, 100, 999, 5000] {
            let mut open = uniform(shards);
            let count = shards as usize;
            assert_eq!(all_rounds(&mut open, 2 * shards), (count, 0, 2 * count), "{shards}");
            assert_eq!(all_rounds(&mut open, shards), (0, count, 2 * count), "{shards}");
        }
    }

    #[test]
    fn what_is_not_equal_becomes_so() {
        let mut open = vec![(0, 9), (10, 1 << 127), ((1 << 127) + 1, u128::MAX)];
        assert_eq!(all_rounds(&mut open, 2), (0, 1, 3));
        assert_eq!(open, [(0, 1 << 127), ((1 << 127) + 1, u128::MAX)], "a key off is near enough");
        let mut open = uniform(2);
        assert_eq!(all_rounds(&mut open, 3), (2, 1, 4), "shards that live shortly are made of what lies across");
    }
}
