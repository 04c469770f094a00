//! A set of numbers kept as runs, so that what a shard gave one after another takes the room of one pair.

use super::Number;

/// Numbers in rising runs that neither touch nor overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    /// First and last number of each run.
    runs: Vec<(Number, Number)>,
    /// The run that grew last: the next number most often belongs to it.
    warm: usize,
}

impl Runs {
    /// Adds a number; `false` if it was there.
    pub(crate) fn insert(&mut self, number: Number) -> bool {
        if let Some(&(_, last)) = self.runs.get(self.warm)
            && number == last.next()
            && self.runs.get(self.warm + 1).is_none_or(|next| next.0 > number.next())
        {
            self.runs[self.warm].1 = number;
            return true;
        }
        let at = self.ended_before(number);
        if self.runs.get(at).is_some_and(|run| run.0 <= number) {
            return false;
        }
        let joins_before = at > 0 && self.runs[at - 1].1.next() == number;
        let joins_after = self.runs.get(at).is_some_and(|run| run.0 == number.next());
        self.warm = match (joins_before, joins_after) {
            (true, true) => {
                self.runs[at - 1].1 = self.runs[at].1;
                self.runs.remove(at);
                at - 1
            }
            (true, false) => {
                self.runs[at - 1].1 = number;
                at - 1
            }
            (false, true) => {
                self.runs[at].0 = number;
                at
            }
            (false, false) => {
                self.runs.insert(at, (number, number));
                at
            }
        };
        true
    }

    /// How many runs end before a number. Numbers come nearly in order, so it is looked for from the end, ever further away.
    fn ended_before(&self, number: Number) -> usize {
        let (count, mut back) = (self.runs.len(), 1);
        while back < count && self.runs[count - back].1 >= number {
            back *= 2;
        }
        let (from, to) = (count.saturating_sub(back), count - back / 2);
        from + self.runs[from..to].partition_point(|run| run.1 < number)
    }

    /// The numbers that are here and not there, as runs.
    pub(crate) fn without(&self, other: &Runs) -> Vec<(Number, Number)> {
        let (mut left, mut at) = (Vec::new(), 0);
        for &(mut first, last) in &self.runs {
            at += other.runs[at..].partition_point(|run| run.1 < first);
            for &(from, to) in other.runs[at..].iter().take_while(|run| run.0 <= last) {
                if from > first {
                    left.push((first, from.before()));
                }
                first = to.next();
            }
            if first <= last {
                left.push((first, last));
            }
        }
        left
    }

    /// Forgets the numbers after this one.
    pub(crate) fn cut_after(&mut self, number: Number) {
        self.runs.truncate(self.runs.partition_point(|run| run.0 <= number));
        if let Some(run) = self.runs.last_mut() {
            run.1 = run.1.min(number);
        }
        self.warm = self.runs.len().saturating_sub(1);
    }

    /// Takes in another set and returns a number that both had, if there is one. What lies before the other stays as it is: so
    /// what is handed over as it comes costs no more the more there is.
    pub(crate) fn merge(&mut self, other: Runs) -> Option<Number> {
        let &(begin, _) = other.runs.first()?;
        // The last one before it may touch it.
        let before = self.runs.partition_point(|run| run.1 < begin).saturating_sub(1);
        let mut rest = self.runs.split_off(before);
        rest.extend(other.runs);
        rest.sort_unstable();
        let mut shared = None;
        for (first, last) in rest {
            match self.runs.last_mut() {
                Some(run) if first <= run.1 => {
                    shared = shared.or(Some(first));
                    run.1 = run.1.max(last);
                }
                Some(run) if first == run.1.next() => run.1 = last,
                _ => self.runs.push((first, last)),
            }
        }
        self.warm = self.runs.len().saturating_sub(1);
        shared
    }

    /// The runs, rising.
    pub(crate) fn as_slice(&self) -> &[(Number, Number)] {
        &self.runs
    }
}

/// Every number of a run.
pub(crate) fn numbers((first, last): (Number, Number)) -> impl Iterator<Item = Number> {
    std::iter::successors(Some(first), move |&number| (number < last).then(|| number.next()))
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[test]
    fn what_others_lack_is_found() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut draw = || (0..60).map(Number::new).filter(|_| random.random_bool(0.7)).collect::<Vec<_>>();
            let (mine, theirs) = (draw(), draw());
            let runs = |numbers: &[Number]| {
                let mut runs = Runs::default();
                numbers.iter().for_each(|&number| assert!(runs.insert(number)));
                runs
            };
            let left = runs(&mine).without(&runs(&theirs));
            let left: Vec<Number> = left.into_iter().flat_map(super::numbers).collect();
            let due: Vec<Number> = mine.into_iter().filter(|number| !theirs.contains(number)).collect();
            assert_eq!(left, due);
        }
    }

    #[test]
    fn any_order_gives_the_same_runs() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let mut numbers: Vec<Number> = (1..200).map(Number::new).filter(|_| random.random_bool(0.8)).collect();
            let mut want: Vec<(Number, Number)> = Vec::new();
            for &number in &numbers {
                match want.last_mut() {
                    Some(run) if run.1.next() == number => run.1 = number,
                    _ => want.push((number, number)),
                }
            }
            numbers.shuffle(&mut random);
            let (left, right) = numbers.split_at(numbers.len() / 3);
            let (mut one, mut two) = (Runs::default(), Runs::default());
            assert!(left.iter().all(|&n| one.insert(n)) && right.iter().all(|&n| two.insert(n)));
            assert!(!one.insert(left[0]), "it was there");
            assert_eq!(one.merge(two), None);
            assert_eq!(one.as_slice(), want, "seed {seed}");
        }
    }

    #[test]
    fn what_is_handed_over_in_turn_gives_the_same_runs() {
        for seed in 0..200 {
            let mut random = StdRng::seed_from_u64(seed);
            let numbers: Vec<Number> = (1..400).map(Number::new).filter(|_| random.random_bool(0.9)).collect();
            let (mut whole, mut handed) = (Runs::default(), Runs::default());
            numbers.iter().for_each(|&number| assert!(whole.insert(number)));
            // Two hand over in turn, each what it had since.
            for part in numbers.chunks(37) {
                let mut two = [Runs::default(), Runs::default()];
                part.iter().for_each(|&number| assert!(two[usize::from(random.random_bool(0.5))].insert(number)));
                two.into_iter().for_each(|one| assert_eq!(handed.merge(one), None));
            }
            assert_eq!(handed.as_slice(), whole.as_slice(), "seed {seed}");
            let again = numbers[random.random_range(0..numbers.len())];
            let mut twice = Runs::default();
            assert!(twice.insert(again));
            assert!(handed.merge(twice).is_some(), "seed {seed}");
        }
    }

    #[test]
    fn a_merge_reports_what_both_had() {
        let (mut one, mut two) = (Runs::default(), Runs::default());
        (5..10).map(Number::new).for_each(|n| assert!(one.insert(n)));
        (9..12).map(Number::new).for_each(|n| assert!(two.insert(n)));
        assert_eq!(one.merge(two), Some(Number::new(9)));
        assert_eq!(one.as_slice(), [(Number::new(5), Number::new(11))]);
    }
}
