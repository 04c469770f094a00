//! What others than the main producers got: those beside them, subscribers, catch-up readers.

use serde::{Deserialize, Serialize};

use super::verification::told;
use super::{LateReport, Measured, Percentiles};
use crate::native::Consumed;

/// What was acknowledged to producers beside the main ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BesideReport {
    /// What was measured.
    pub measured: Measured,
    /// Lateness of an open loop.
    pub late: Option<LateReport>,
}

/// What subscribers were pushed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PushReport {
    /// How many they were, those left out that took nothing.
    pub subscribers: u32,
    /// Records that all of them took together, from the first to the last.
    pub records_total: u64,
    /// Records of other runs that they took with them.
    #[serde(default)]
    pub foreign: u64,
    /// Records timed from their arrival at the server, in whole milliseconds, for they don't tell when they were meant to be
    /// sent.
    #[serde(default)]
    pub by_arrival: u64,
    /// Bytes a second, data and keys, that they took together while producing was measured.
    pub bytes_per_s: f64,
    /// From the intended time of a record to its being taken.
    pub latency_ns: Percentiles,
    /// What is wrong with what they took: how many faults, and the first ones in words.
    pub faults: u64,
    /// The first ones.
    pub faults_told: Vec<String>,
}

impl PushReport {
    /// Sums up what they took; the rate until producing ended.
    pub fn new(subscribers: u32, pushed: &Consumed, produced_until_ns: u64) -> Self {
        let (faults, faults_told) = told("subscriber", &pushed.faults);
        Self {
            subscribers,
            records_total: pushed.records,
            foreign: pushed.foreign,
            by_arrival: pushed.by_arrival,
            bytes_per_s: pushed.recorder.bytes_per_s_until(produced_until_ns),
            latency_ns: Percentiles::of(pushed.recorder.latency()),
            faults,
            faults_told,
        }
    }
}

/// What catch-up readers took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CatchUpReport {
    /// How many they were.
    pub readers: u32,
    /// Records that all of them took together, those from before the run included.
    pub records_total: u64,
    /// How often they came to the newest record and began again.
    pub passes: u64,
    /// Bytes a second, data and keys, that they took together while producing was measured.
    pub bytes_per_s: f64,
    /// How long an answer took, a count a record.
    pub answer_ns: Percentiles,
    /// What is wrong with what they took: how many faults, and the first ones in words.
    pub faults: u64,
    /// The first ones.
    pub faults_told: Vec<String>,
}

impl CatchUpReport {
    /// Sums up what they took; the rate until producing ended.
    pub fn new(readers: u32, caught_up: &Consumed, produced_until_ns: u64) -> Self {
        let (faults, faults_told) = told("catch-up reader", &caught_up.faults);
        Self {
            readers,
            records_total: caught_up.records + caught_up.foreign,
            passes: caught_up.passes,
            bytes_per_s: caught_up.recorder.bytes_per_s_until(produced_until_ns),
            answer_ns: Percentiles::of(caught_up.recorder.latency()),
            faults,
            faults_told,
        }
    }
}
