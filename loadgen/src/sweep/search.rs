//! Which rate comes next. It knows no clock, server or run: only what steps came to.

use super::Verdict;

/// How much each step is above the one before, until one fails.
const STEP_UP: f64 = 2.0;

/// Bisecting ends when the lowest rate that failed is above the highest that held by less than this.
const NEAR: f64 = 1.06;

/// Going down from a first rate that fails ends below this share of it.
const DOWN_MAX: f64 = 1.0 / 1024.0;

/// How far below a rate that was not confirmed the next is confirmed.
const STEP_BACK: f64 = 0.9;

/// How often a highest rate is confirmed before the search ends without.
const CONFIRMATIONS_MAX: u32 = 4;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    /// Try this rate.
    Try(f64),
    /// Confirm this rate by a longer run.
    Confirm(f64),
    /// Nothing is left to do.
    Done,
}

/// A rate and what stopped the search above it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sought {
    /// The highest rate that held, if one did.
    pub rate: Option<f64>,
    /// Whether a longer run confirmed it.
    pub confirmed: bool,
    /// The lowest rate above it that failed, and how.
    pub stopped_by: Option<(f64, Verdict)>,
}

/// A search under way.
#[derive(Clone, Debug)]
pub struct Search {
    first: f64,
    /// Rates that held, and were not taken back.
    held: Vec<f64>,
    failed: Option<(f64, Verdict)>,
    /// A rate at which the generator was late, once.
    late: Option<f64>,
    confirmed: bool,
    confirmations: u32,
    /// Below a rate that was not confirmed short runs prove little: this one is confirmed next.
    retreat: Option<f64>,
}

impl Search {
    /// Begins at a rate.
    pub fn new(first: f64) -> Self {
        Self { first, held: Vec::new(), failed: None, late: None, confirmed: false, confirmations: 0, retreat: None }
    }

    fn highest(&self) -> Option<f64> {
        self.held.iter().copied().reduce(f64::max)
    }

    /// What comes next.
    pub fn next(&self) -> Next {
        if self.confirmed || self.confirmations >= CONFIRMATIONS_MAX {
            return Next::Done;
        }
        if let Some(retreat) = self.retreat {
            return Next::Confirm(retreat);
        }
        match (self.highest(), self.failed) {
            (None, None) => Next::Try(self.first),
            (None, Some((failed, _))) if failed / STEP_UP < self.first * DOWN_MAX => Next::Done,
            (None, Some((failed, _))) => Next::Try(failed / STEP_UP),
            (Some(highest), None) => Next::Try(highest * STEP_UP),
            (Some(highest), Some((failed, _))) if failed / highest > NEAR => Next::Try((failed * highest).sqrt()),
            (Some(highest), Some(_)) => Next::Confirm(highest),
        }
    }

    /// What comes next where no further step is allowed but one: to confirm what there is.
    pub fn last(&self) -> Next {
        match self.highest() {
            Some(highest) if !self.confirmed => Next::Confirm(highest),
            _ => Next::Done,
        }
    }

    /// Takes what a step came to.
    pub fn tried(&mut self, rate: f64, verdict: Verdict) {
        match verdict {
            Verdict::Held => {
                self.held.push(rate);
                self.late = None;
            }
            // A busy moment of this machine: tried once more.
            Verdict::GeneratorLate if self.late != Some(rate) => self.late = Some(rate),
            _ => self.fail(rate, verdict),
        }
    }

    /// Takes what the longer run at a rate came to. Where it failed the rate did not hold after all.
    pub fn confirmed(&mut self, rate: f64, verdict: Verdict) {
        self.confirmations += 1;
        if verdict == Verdict::Held {
            self.held.push(rate);
            self.confirmed = true;
            return;
        }
        self.held.retain(|&held| held < rate);
        self.fail(rate, verdict);
        self.retreat = Some(rate * STEP_BACK);
    }

    fn fail(&mut self, rate: f64, verdict: Verdict) {
        self.late = None;
        if self.failed.is_none_or(|(failed, _)| rate < failed) {
            self.failed = Some((rate, verdict));
        }
    }

    /// What was found so far.
    pub fn found(&self) -> Sought {
        Sought { rate: self.highest(), confirmed: self.confirmed, stopped_by: self.failed }
    }
}
