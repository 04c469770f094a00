//! The highest rate that holds a latency goal: which rates are tried, in which order, and what came of them.
//!
//! Steps go up geometrically until one fails, then halve the gap between the highest that held and the lowest that did not;
//! the highest is confirmed by a longer run. A step holds if its p99 does, nothing was refused, and the generator was in
//! time, to a tenth of the goal: one in which it was late says nothing about the server, is tried once more, and then bounds
//! the search as what it is.

mod report;
mod search;

use serde::{Deserialize, Serialize};

pub use report::{SweepReport, table, write_folder};
pub use search::{Next, Search, Sought};

/// Why a step did not hold the goal, or that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Held,
    /// The p99 was above the goal.
    AboveGoal,
    /// The server refused records.
    Refused,
    /// Records, or connections, were lost: the server could not keep up, or is gone.
    Lost,
    /// Less was acknowledged than the rate asks for.
    Behind,
    /// The generator did not keep its schedule: the rate is beyond it, whatever the server does.
    GeneratorLate,
    /// There is no room on the disk for what such a step writes.
    NoRoom,
}

impl Verdict {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::AboveGoal => "above the goal",
            Self::Refused => "records were refused",
            Self::Lost => "records or connections were lost",
            Self::Behind => "less was acknowledged than sent",
            Self::GeneratorLate => "the generator was late, so this is its limit, not the server's",
            Self::NoRoom => "no room on the disk for a step at this rate",
        }
    }
}

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Records a second asked for.
    pub rate: f64,
    /// Whether it was the longer run that confirms the highest rate.
    pub confirms: bool,
    /// Whether it held the goal.
    pub verdict: Verdict,
    /// Records a second acknowledged.
    pub records_per_s: f64,
    /// Bytes a second acknowledged.
    pub bytes_per_s: f64,
    /// Median, 99th and 99.9th percentile of the latency of acknowledgements.
    pub acked_ns: [u64; 3],
    /// The same from end to end, if there were subscribers.
    pub pushed_ns: Option<[u64; 3]>,
    /// Records refused.
    pub refused: u64,
    /// The share of the batches that left late.
    pub late_share: f64,
    /// Seconds that were measured.
    pub seconds: f64,
}

impl Step {
    /// The latency that is held against the goal: from end to end if there were subscribers.
    pub fn p99_ns(&self) -> u64 {
        self.pushed_ns.unwrap_or(self.acked_ns)[1]
    }
}

#[cfg(test)]
mod tests;
