//! Pairs in the order A B B A, each side only when the disk is steady. Every pair is kept.

use serde::Serialize;

use crate::bench::{Bench, Steadiness};
use crate::error::PairsError;
use crate::measure::{Bound, Measure, Measured};
use crate::side::Side;
use crate::stolen::Stolen;
use crate::units::show;

/// A side with the state of the machine when it began.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Taken {
    pub(crate) before: Steadiness,
    #[serde(flatten)]
    pub(crate) side: Side,
}

/// Two sides, measured one after the other.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Pair {
    /// `AB` or `BA`.
    pub(crate) order: &'static str,
    pub(crate) a: Taken,
    pub(crate) b: Taken,
}

impl Pair {
    /// Whether the disk was steady before both.
    pub(crate) fn is_steady(&self) -> bool {
        self.a.before.steady && self.b.before.steady
    }

    fn is_void(&self) -> bool {
        self.a.side.is_void() || self.b.side.is_void()
    }
}

/// Who is compared with whom, and in what.
pub(crate) struct Plan {
    pub(crate) title: &'static str,
    pub(crate) name_a: &'static str,
    pub(crate) name_b: &'static str,
    pub(crate) measures: Vec<Measure>,
}

impl Plan {
    fn sum_up(self, pairs: Vec<Pair>, stopped: Option<String>) -> Part {
        let sum_up = |measure: Measure| {
            let values = pairs.iter().map(|pair| measure.value(&pair.a.side, &pair.b.side)).collect();
            measure.sum_up(values)
        };
        // Without a pair there is nothing to sum up.
        let measures = if pairs.is_empty() { Vec::new() } else { self.measures.into_iter().map(sum_up).collect() };
        Part { title: self.title, name_a: self.name_a, name_b: self.name_b, measures, stopped, pairs }
    }
}

/// All pairs of one comparison, and what they come to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Part {
    pub(crate) title: &'static str,
    pub(crate) name_a: &'static str,
    pub(crate) name_b: &'static str,
    pub(crate) measures: Vec<Measured>,
    /// Why there are fewer pairs than asked for.
    pub(crate) stopped: Option<String>,
    pub(crate) pairs: Vec<Pair>,
}

impl Part {
    /// Whether no measure has a bound.
    pub(crate) fn is_unbound(&self) -> bool {
        self.measures.iter().all(|measured| measured.measure.bound == Bound::Unset)
    }

    /// Whether the median of every measure keeps its bound.
    pub(crate) fn reached(&self) -> bool {
        self.measures.iter().all(|measured| measured.reached)
    }

    /// Whether a run in it was void, or it was stopped early.
    pub(crate) fn is_void(&self) -> bool {
        self.stopped.is_some() || self.pairs.iter().any(Pair::is_void)
    }
}

/// The parts of a target, in their order. Once one was stopped no further one is measured, and what there is is kept.
pub(crate) struct Parts<'a> {
    bench: &'a Bench,
    parts: Vec<Part>,
}

impl<'a> Parts<'a> {
    pub(crate) fn new(bench: &'a Bench) -> Self {
        Self { bench, parts: Vec::new() }
    }

    /// Measures one more.
    pub(crate) fn add(&mut self, measure: impl FnOnce() -> Part) {
        if self.parts.iter().all(|part| part.stopped.is_none()) {
            self.parts.push(measure());
        }
    }

    /// Measures one more, after something that may fail: that stops it before its first pair.
    pub(crate) fn try_add(&mut self, title: &'static str, measure: impl FnOnce() -> Result<Part, PairsError>) {
        let bench = self.bench;
        self.add(|| {
            measure().unwrap_or_else(|error| {
                let plan = Plan { title, name_a: "-", name_b: "-", measures: Vec::new() };
                plan.sum_up(Vec::new(), Some(told(bench, &error)))
            })
        });
    }

    pub(crate) fn all(self) -> Vec<Part> {
        self.parts
    }
}

/// Measures the pairs. What fails or is stopped ends them early, and is told.
pub(crate) fn run(
    bench: &Bench,
    plan: Plan,
    a: &mut dyn FnMut() -> Result<Side, PairsError>,
    b: &mut dyn FnMut() -> Result<Side, PairsError>,
) -> Part {
    let (pairs, stopped) = until_stopped(bench, &mut |number| one(bench, &plan, number, a, b));
    plan.sum_up(pairs, stopped)
}

/// Measures a side and what it was before, round after round. The worst of all decides, not the median.
pub(crate) fn rounds(bench: &Bench, plan: Plan, round: &mut dyn FnMut() -> Result<(Side, Side), PairsError>) -> Part {
    let (pairs, stopped) = until_stopped(bench, &mut |number| {
        let before = bench.steady()?;
        let (since, flushes) = (Stolen::now(), bench.flushes.now());
        let (a, b) = round()?;
        let [a, b] = [a, b].map(|side| side.beside_others(since).flushed(flushes, bench.flushes.now()));
        let figures = plan.measures.iter().map(|measure| measure.figure_a);
        let figures: Vec<_> = figures.map(|name| format!("{} {name}", show(a.figure(name)))).collect();
        bench.say(&format!("{}, {} of {}: {}", plan.title, number + 1, bench.pairs(), figures.join(", ")));
        let taken = |side| Taken { before: before.clone(), side };
        Ok(Pair { order: "AB", a: taken(a), b: taken(b) })
    });
    let part = plan.sum_up(pairs, stopped);
    let measures = part.measures.into_iter().map(Measured::by_the_worst).collect();
    Part { measures, ..part }
}

/// Pair after pair, and why there are fewer than asked for.
fn until_stopped(bench: &Bench, pair: &mut dyn FnMut(u32) -> Result<Pair, PairsError>) -> (Vec<Pair>, Option<String>) {
    let mut pairs = Vec::new();
    for number in 0..bench.pairs() {
        match pair(number) {
            Ok(pair) => pairs.push(pair),
            Err(error) => return (pairs, Some(told(bench, &error))),
        }
    }
    (pairs, None)
}

/// Says what stopped a part, and how its result puts it.
fn told(bench: &Bench, error: &PairsError) -> String {
    bench.say(&error.to_string());
    bench.without_directory(&error.to_string())
}

fn one(
    bench: &Bench,
    plan: &Plan,
    number: u32,
    a: &mut dyn FnMut() -> Result<Side, PairsError>,
    b: &mut dyn FnMut() -> Result<Side, PairsError>,
) -> Result<Pair, PairsError> {
    let take = |name: &str, side: &mut dyn FnMut() -> Result<Side, PairsError>| {
        let before = bench.steady()?;
        let (since, flushes) = (Stolen::now(), bench.flushes.now());
        let side = side()?.beside_others(since).flushed(flushes, bench.flushes.now());
        let figures = side.figures.iter().map(|(name, value)| format!("{} {name}", show(*value)));
        let figures = figures.collect::<Vec<_>>().join(", ");
        bench.say(&format!("{}, pair {} of {}: {name}: {figures}", plan.title, number + 1, bench.pairs()));
        Ok(Taken { before, side })
    };
    // Each pair turns the order of the one before: A B, B A, A B.
    let (order, a, b) = if number.is_multiple_of(2) {
        let a = take(plan.name_a, a)?;
        ("AB", a, take(plan.name_b, b)?)
    } else {
        let b = take(plan.name_b, b)?;
        ("BA", take(plan.name_a, a)?, b)
    };
    for measure in &plan.measures {
        bench.say(&format!("  {}: {}", measure.title, show(measure.value(&a.side, &b.side))));
    }
    Ok(Pair { order, a, b })
}

#[cfg(test)]
mod tests;
