//! The limit's side: one run of `limit chain`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::bench::Bench;
use crate::error::PairsError;
use crate::load::Space;
use crate::point::LimitPoint;
use crate::side::{MB_PER_S, P50_US, P99_US, SECONDS, Side, number};

/// Messages a second.
pub(crate) const OPS_PER_S: &str = "messages/s";

/// Allocated space comes in whole files of this size.
const FILE_BYTES: u64 = 256 << 20;

/// One run of limit (b).
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) point: LimitPoint,
    /// Messages in flight on each connection; none for what keeps twice the writes in flight over all of them.
    pub(crate) inflight: Option<u32>,
    /// Messages a second of an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) warmup_s: f64,
    pub(crate) space: Space,
    /// Bytes that are prepared; allocated space ends the run.
    pub(crate) file_bytes: u64,
}

impl Chain {
    /// A closed loop, in as much prepared space as the server has.
    pub(crate) fn new(bench: &Bench, point: LimitPoint, space: Space) -> Self {
        Self {
            point,
            inflight: None,
            rate: None,
            seconds: bench.seconds(),
            warmup_s: bench.warmup_s(),
            space,
            file_bytes: file_bytes(bench.bytes()),
        }
    }

    /// Runs it.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Side, PairsError> {
        bench.check_space(self.file_bytes)?;
        let mut arguments = vec![
            "chain".to_owned(),
            format!("--size={}", self.point.size_bytes),
            format!("--connections={}", self.point.connections),
            format!("--writes={}", self.point.writes),
        ];
        arguments.extend(self.inflight.map(|inflight| format!("--inflight={inflight}")));
        arguments.extend(self.rate.map(|rate| format!("--rate={rate:.2}")));
        arguments.extend(timing(bench, self.seconds, self.warmup_s, self.space, self.file_bytes));
        let (command, detail) = bench.limit(&arguments)?;
        side(command, detail)
    }
}

/// The space of a run, in whole files.
pub(crate) fn file_bytes(bytes: u64) -> u64 {
    if bytes < FILE_BYTES { bytes.next_multiple_of(1 << 20) } else { bytes.next_multiple_of(FILE_BYTES) }
}

/// Where and how long a run is, single or swept.
pub(crate) fn timing(bench: &Bench, seconds: f64, warmup_s: f64, space: Space, file_bytes: u64) -> Vec<String> {
    vec![
        format!("--seconds={seconds}"),
        format!("--warmup={warmup_s}"),
        format!("--core={}", bench.cores().server),
        format!("--client-core={}", bench.cores().load),
        format!("--prepare={}", space.name()),
        format!("--file-bytes={file_bytes}"),
        format!("--dir={}", bench.directory()),
    ]
}

/// Reads what the limit program printed.
fn side(command: String, detail: Value) -> Result<Side, PairsError> {
    let need = |path: &str| {
        number(&detail, path).ok_or_else(|| PairsError::Result { command: command.clone(), missing: path.to_owned() })
    };
    let figures = BTreeMap::from([
        (MB_PER_S, need("/figures/mb_per_s")?),
        (SECONDS, need("/figures/seconds")?),
        (OPS_PER_S, need("/figures/ops_per_s")?),
        (P50_US, need("/figures/latency_us/p50")?),
        (P99_US, need("/figures/latency_us/p99")?),
    ]);
    let mut marks = Vec::new();
    if detail["registered_buffers"] == false {
        marks.push("slower: the locked-memory limit is too low for registered buffers".to_owned());
    }
    Ok(Side { command, figures, marks, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_comes_in_whole_files() {
        assert_eq!(file_bytes(6 << 30), 6 << 30);
        assert_eq!(file_bytes((6 << 30) + 1), (6 << 30) + FILE_BYTES);
        assert_eq!(file_bytes(5_000_000), 5 << 20);
    }
}
