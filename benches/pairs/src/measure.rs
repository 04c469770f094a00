//! What is asked of a pair: one number out of two figures, and the bound that the project sets for it.

use serde::Serialize;

use crate::side::Side;
use crate::units::show;

/// How a pair becomes one number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Compare {
    /// A's figure by B's.
    Ratio,
    /// The same after so much is taken off A's: "at most 1.5 times plus 200" is "less 200, at most 1.5 times".
    RatioLess(f64),
    /// A's figure less B's.
    Difference,
    /// A's figure alone.
    First,
}

/// What the number must be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// Whatever it is: no target says.
    Unset,
}

impl Bound {
    /// The bound itself, if there is one.
    pub(crate) fn value(self) -> Option<f64> {
        match self {
            Self::AtLeast(bound) | Self::AtMost(bound) => Some(bound),
            Self::Unset => None,
        }
    }

    /// Whether a number keeps it. What is no number does not, nor what was divided by nothing.
    pub(crate) fn holds(self, value: f64) -> bool {
        let is_within = match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::Unset => true,
        };
        value.is_finite() && is_within
    }

    /// In words.
    pub(crate) fn text(self) -> String {
        match self {
            Self::AtLeast(bound) => format!("at least {}", show(bound)),
            Self::AtMost(bound) => format!("at most {}", show(bound)),
            Self::Unset => "-".to_owned(),
        }
    }

    /// Whether a number that keeps it, or does not, has reached it, in words.
    pub(crate) fn outcome(self, holds: bool) -> &'static str {
        match self {
            _ if !holds => "missed",
            Self::AtLeast(_) | Self::AtMost(_) => "reached",
            Self::Unset => "-",
        }
    }

    /// Without a bound, the farthest from the median. What is no number is worse than any.
    fn worst(self, values: &[f64]) -> f64 {
        if values.iter().any(|value| value.is_nan()) {
            return f64::NAN;
        }
        let middle = median(values);
        let worse = |a: f64, b: f64| match self {
            Self::AtLeast(_) => a.min(b),
            Self::AtMost(_) => a.max(b),
            Self::Unset if (b - middle).abs() > (a - middle).abs() => b,
            Self::Unset => a,
        };
        values.iter().copied().reduce(worse).unwrap_or(f64::NAN)
    }
}

/// One number of every pair, and its bound.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measure {
    /// The name of its plot.
    pub(crate) slug: &'static str,
    /// What it is, for people.
    pub(crate) title: &'static str,
    pub(crate) figure_a: &'static str,
    pub(crate) figure_b: &'static str,
    pub(crate) compare: Compare,
    pub(crate) bound: Bound,
}

impl Measure {
    /// The same figure of both sides, one by the other.
    pub(crate) fn ratio(slug: &'static str, title: &'static str, figure: &'static str, bound: Bound) -> Self {
        Self { slug, title, figure_a: figure, figure_b: figure, compare: Compare::Ratio, bound }
    }

    /// A figure of the first side alone.
    pub(crate) fn first(slug: &'static str, title: &'static str, figure: &'static str, bound: Bound) -> Self {
        Self { compare: Compare::First, ..Self::ratio(slug, title, figure, bound) }
    }

    /// The number of one pair.
    pub(crate) fn value(&self, a: &Side, b: &Side) -> f64 {
        let (a, b) = (a.figure(self.figure_a), b.figure(self.figure_b));
        match self.compare {
            Compare::Ratio => a / b,
            Compare::RatioLess(less) => (a - less) / b,
            Compare::Difference => a - b,
            Compare::First => a,
        }
    }

    /// What all pairs come to. The median of pairs of which one has no number reaches nothing: that one would be anywhere.
    pub(crate) fn sum_up(self, values: Vec<f64>) -> Measured {
        let (median, worst) = (median(&values), self.bound.worst(&values));
        Measured {
            reached: self.bound.holds(median) && !worst.is_nan(),
            worst_reached: self.bound.holds(worst),
            measure: self,
            values,
            median,
            worst,
        }
    }
}

/// A measure over all pairs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measured {
    #[serde(flatten)]
    pub(crate) measure: Measure,
    /// In the order of the pairs.
    pub(crate) values: Vec<f64>,
    pub(crate) median: f64,
    pub(crate) worst: f64,
    /// Whether the median keeps the bound.
    pub(crate) reached: bool,
    /// Whether every pair does.
    pub(crate) worst_reached: bool,
}

impl Measured {
    /// The same where the worst decides: what must hold always.
    pub(crate) fn by_the_worst(self) -> Self {
        Self { reached: self.worst_reached, ..self }
    }
}

/// The middle value, or the mean of the two.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len() / 2, sorted.len() % 2) {
        (0, 0) => f64::NAN,
        (middle, 0) => f64::midpoint(sorted[middle - 1], sorted[middle]),
        (middle, _) => sorted[middle],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::*;

    fn side(figure: f64) -> Side {
        let figures = BTreeMap::from([("f", figure)]);
        Side { command: String::new(), figures, marks: Vec::new(), detail: Value::Null }
    }

    fn measure(compare: Compare, bound: Bound) -> Measure {
        Measure { slug: "s", title: "t", figure_a: "f", figure_b: "f", compare, bound }
    }

    #[test]
    fn pairs_become_numbers() {
        let value = |compare| measure(compare, Bound::AtMost(1.5)).value(&side(500.0), &side(200.0));
        let all = [Compare::Ratio, Compare::RatioLess(200.0), Compare::Difference, Compare::First].map(value);
        assert_eq!(all, [2.5, 1.5, 300.0, 500.0]);
    }

    #[test]
    fn the_median_decides_and_the_worst_is_told() {
        let least = measure(Compare::Ratio, Bound::AtLeast(0.75)).sum_up(vec![0.9, 0.7, 0.8, 0.76]);
        assert!((least.median - 0.78).abs() < 1e-9 && least.worst == 0.7);
        assert!(least.reached && !least.worst_reached);
        let most = measure(Compare::Ratio, Bound::AtMost(1.3)).sum_up(vec![1.4, 1.2, 1.5]);
        assert_eq!((most.median, most.worst, most.reached), (1.4, 1.5, false));
        let always = measure(Compare::Ratio, Bound::AtLeast(0.75)).sum_up(vec![0.9, 0.7, 0.8]).by_the_worst();
        assert!(always.median == 0.8 && !always.reached);
        let unset = measure(Compare::Ratio, Bound::Unset).sum_up(vec![0.9, 0.7, 0.8, 1.3]);
        assert_eq!((unset.worst, unset.reached, Bound::Unset.outcome(true)), (1.3, true, "-"));
    }

    #[test]
    fn no_number_reaches_nothing() {
        assert!(!measure(Compare::Ratio, Bound::AtMost(1.0)).sum_up(Vec::new()).reached);
        assert!(!Bound::AtLeast(0.0).holds(f64::NAN) && !Bound::AtMost(9.0).holds(f64::NAN));
        assert!(!Bound::Unset.holds(f64::NAN));
    }

    /// Bug, found on reading: a pair without a number made a target reached that the others missed. Mechanism: the least of numbers
    /// and none is a number, and a median sorts none behind all of them. Fix: none is the worst, and with it nothing is reached.
    #[test]
    fn pairs_without_a_number_reach_nothing() {
        for bound in [Bound::AtLeast(5.0), Bound::AtMost(7.0), Bound::Unset] {
            let measured = measure(Compare::Ratio, bound).sum_up(vec![5.8, 6.0, f64::NAN, 6.5, f64::NAN]);
            assert!(measured.worst.is_nan() && !measured.reached && !measured.worst_reached, "{bound:?}");
        }
    }

    /// Bug: a ratio by a side that did nothing reached every bound. Mechanism: infinity is more than any number. Fix: only what is
    /// finite keeps a bound.
    #[test]
    fn what_is_divided_by_nothing_reaches_nothing() {
        assert!(!Bound::AtLeast(5.0).holds(f64::INFINITY) && !Bound::AtMost(5.0).holds(f64::NEG_INFINITY));
        let ratio = measure(Compare::Ratio, Bound::AtLeast(5.0));
        let value = ratio.value(&side(500.0), &side(0.0));
        assert!(!ratio.sum_up(vec![value]).reached);
    }
}
