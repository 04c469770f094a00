//! What became of the records.

use serde::{Deserialize, Serialize};

use crate::native::Consumed;
use crate::verify::{FAULTS_TOLD_MAX, Faults, Verdict};

/// What became of the records.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VerificationReport {
    /// Whether everything read back is as it must be.
    pub good: bool,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records refused.
    pub refused: u64,
    /// How many for which reason.
    pub refused_by_reason: Vec<(String, u64)>,
    /// Records whose fate was unknown.
    pub unknown: u64,
    /// Those of the unknown that are there.
    pub unknown_present: u64,
    /// Records read back, those of other runs left out.
    pub read: u64,
    /// Records of other runs that were read with them.
    #[serde(default)]
    pub foreign: u64,
    /// How long that took.
    pub read_seconds: f64,
    /// Bytes a second, data and keys, while reading back.
    pub read_bytes_per_s: f64,
    /// What is wrong: how many faults, and the first ones in words.
    pub faults: u64,
    /// The first ones.
    pub faults_told: Vec<String>,
}

impl VerificationReport {
    /// A verification that did not come to its end.
    pub fn failed(reason: String, refused_by_reason: Vec<(String, u64)>) -> Self {
        let refused = refused_by_reason.iter().map(|(_, count)| count).sum();
        Self { refused, refused_by_reason, faults_told: vec![reason], ..Self::nothing(false) }
    }

    /// A run of which nothing was to be read back.
    pub fn not_read(acknowledged: u64, refused_by_reason: Vec<(String, u64)>) -> Self {
        let refused = refused_by_reason.iter().map(|(_, count)| count).sum();
        Self { acknowledged, refused, refused_by_reason, ..Self::nothing(true) }
    }

    /// Of nothing yet.
    pub fn nothing(good: bool) -> Self {
        Self {
            good,
            acknowledged: 0,
            refused: 0,
            refused_by_reason: Vec::new(),
            unknown: 0,
            unknown_present: 0,
            read: 0,
            foreign: 0,
            read_seconds: 0.0,
            read_bytes_per_s: 0.0,
            faults: 0,
            faults_told: Vec::new(),
        }
    }

    /// Sums up a verdict.
    pub fn new(verdict: &Verdict, refused_by_reason: Vec<(String, u64)>, read_seconds: f64, read_bytes: u64) -> Self {
        Self {
            good: verdict.good(),
            acknowledged: verdict.acknowledged,
            refused: verdict.refused,
            refused_by_reason,
            unknown: verdict.unknown,
            unknown_present: verdict.unknown_present,
            read: verdict.read,
            foreign: verdict.foreign,
            read_seconds,
            read_bytes_per_s: if read_seconds > 0.0 { read_bytes as f64 / read_seconds } else { 0.0 },
            faults: verdict.faults.count(),
            faults_told: verdict.faults.told().iter().map(ToString::to_string).collect(),
        }
    }

    /// Sums up what consumers took of a stream that somebody else wrote.
    pub fn consumed(consumed: &Consumed) -> Self {
        let (faults, faults_told) = told("consumer", &consumed.faults);
        let read = consumed.records + consumed.foreign;
        Self { read, faults, faults_told, ..Self::nothing(faults == 0) }
    }
}

/// How many faults consumers found, and the first ones in words.
pub(super) fn told(name: &str, found: &[Faults]) -> (u64, Vec<String>) {
    let told = found.iter().enumerate();
    let told = told.flat_map(|(at, faults)| faults.told().iter().map(move |fault| (at, fault)));
    let told = told.take(FAULTS_TOLD_MAX).map(|(at, fault)| format!("{name} {at}: {fault}")).collect();
    (found.iter().map(Faults::count).sum(), told)
}
