//! What happened, step by step: a hash always, the lines themselves when somebody wants to read them; and how often each
//! fault was injected.

use std::collections::BTreeMap;
use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The record of a run. Two runs of one seed have the same hash.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    steps: u64,
    prints: bool,
    scratch: String,
    tally: BTreeMap<&'static str, u64>,
}

impl Trace {
    /// A record that prints every line as it comes, or keeps the hash alone.
    pub fn new(prints: bool) -> Trace {
        Trace { prints, ..Trace::default() }
    }

    /// Whether lines are printed.
    pub fn prints(&self) -> bool {
        self.prints
    }

    /// Adds a step.
    pub fn step(&mut self, at_ns: u64, line: fmt::Arguments<'_>) {
        self.scratch.clear();
        let written = fmt::write(&mut self.scratch, line);
        debug_assert!(written.is_ok(), "a string takes everything");
        self.hash = xxh3_64_with_seed(self.scratch.as_bytes(), self.hash ^ at_ns);
        self.steps += 1;
        if self.prints {
            println!("{:>14.6} ms  {}", at_ns as f64 / 1e6, self.scratch);
        }
    }

    /// Counts an injected fault, or a rare branch that was reached.
    pub fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// The hash of all steps.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many steps.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How often each fault was injected or rare branch reached.
    pub fn tally(&self) -> &BTreeMap<&'static str, u64> {
        &self.tally
    }
}
