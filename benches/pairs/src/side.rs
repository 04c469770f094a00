//! One measurement of one side.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde::Serialize;
use serde_json::Value;

use crate::error::PairsError;
use crate::stolen::{self, Stolen};

/// Figures that measures compare and that the result's table shows, by name.
pub(crate) const MB_PER_S: &str = "MB/s";
/// The median latency.
pub(crate) const P50_US: &str = "p50 us";
/// The 99th percentile.
pub(crate) const P99_US: &str = "p99 us";

/// The latency that one record in a thousand exceeds.
pub(crate) const P999_US: &str = "p99.9 us";

/// Seconds that were counted: fewer than asked for where the bytes were written before.
pub(crate) const SECONDS: &str = "s";

/// What a hypervisor kept of the processors meanwhile.
pub(crate) const STOLEN_PERCENT: &str = "stolen %";

/// Flushes of the device meanwhile, whoever asked for them.
pub(crate) const FLUSHES: &str = "device flushes";

/// What one side did.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Side {
    /// The command, directories left out.
    pub(crate) command: String,
    /// What is compared and shown.
    pub(crate) figures: BTreeMap<&'static str, f64>,
    /// What must be known before the figures are believed.
    pub(crate) marks: Vec<String>,
    /// All that the program printed, series left out.
    pub(crate) detail: Value,
}

impl Side {
    /// A figure that the side is known to have.
    pub(crate) fn figure(&self, name: &str) -> f64 {
        self.figures.get(name).copied().unwrap_or(f64::NAN)
    }

    /// Itself, with what a hypervisor kept meanwhile: where the side tells it of what it measured, that; else of all of it.
    pub(crate) fn beside_others(mut self, since: Stolen) -> Self {
        let percent = Stolen::now().percent_since(since);
        if let Entry::Vacant(vacant) = self.figures.entry(STOLEN_PERCENT) {
            self.marks.extend(stolen::mark(*vacant.insert(percent)));
        }
        self
    }

    /// Itself, with how many flushes the device completed meanwhile, if it counts them.
    pub(crate) fn flushed(mut self, before: Option<u64>, after: Option<u64>) -> Self {
        if let (Some(before), Some(after)) = (before, after) {
            self.figures.insert(FLUSHES, after.saturating_sub(before) as f64);
        }
        self
    }

    /// Whether nothing can be concluded from it.
    pub(crate) fn is_void(&self) -> bool {
        self.marks.iter().any(|mark| mark.starts_with("void"))
    }

    /// Itself, unless it is void.
    pub(crate) fn sound(self) -> Result<Self, PairsError> {
        if self.is_void() {
            return Err(PairsError::Void { command: self.command, marks: self.marks.join("; ") });
        }
        Ok(self)
    }
}

/// A number in a result by its path, such as `/measured/seconds`.
pub(crate) fn number(value: &Value, path: &str) -> Option<f64> {
    value.pointer(path)?.as_f64()
}
