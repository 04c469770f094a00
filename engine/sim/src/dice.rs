//! Randomness from one seed: an independent stream for every component, so that one more draw in one of them leaves the
//! others as they were.

use std::ops::RangeInclusive;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use xxhash_rust::xxh3::xxh3_64;

/// One component's stream of decisions.
#[derive(Debug)]
pub struct Dice(StdRng);

impl Dice {
    /// The stream of `component` in life number `life` of the run that `seed` names.
    pub fn new(seed: u64, life: u64, component: &str) -> Dice {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&life.to_le_bytes());
        key[16..24].copy_from_slice(&xxh3_64(component.as_bytes()).to_le_bytes());
        Dice(StdRng::from_seed(key))
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.0.random_bool(probability.min(1.0))
    }

    /// Any number of the range, each as likely as the other.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        self.0.random_range(range)
    }

    /// A number of the range, each order of magnitude as likely as the other. The range starts above 0.
    pub fn skewed(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (low, high) = (*range.start() as f64, *range.end() as f64 + 1.0);
        let drawn = (low.ln() + (high.ln() - low.ln()) * self.0.random::<f64>()).exp();
        (drawn as u64).clamp(*range.start(), *range.end())
    }

    /// One of the items.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// An index below `length`.
    ///
    /// # Panics
    /// If `length` is 0.
    pub fn index(&mut self, length: usize) -> usize {
        self.0.random_range(0..length)
    }

    /// Puts the items in a random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// 16 random bytes.
    pub fn bytes(&mut self) -> [u8; 16] {
        self.0.random()
    }

    /// A seed for something else.
    pub fn seed(&mut self) -> u64 {
        self.0.random()
    }
}
