//! Fairness: many small shards beside one that takes the largest records as fast as they come.

use std::collections::BTreeMap;

use serde_json::json;

use super::Findings;
use crate::bench::Bench;
use crate::error::PairsError;
use crate::load::{LARGE_BYTES, Load, Space};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Plan};
use crate::point::ServerPoint;
use crate::side::{P99_US, SECONDS, Side, number};

/// As producers of small shards send: far from what the machine can do.
const POINT: ServerPoint = ServerPoint::new(4, 16, 10);
const SHARDS: u32 = 100;
const RECORDS_PER_S: f64 = 20_000.0;

/// Bytes that the small ones write at most. As many segments are made ready, which the large records use as well.
const BYTES_MAX: u64 = 3 << 30;

/// The p99 less what two durable writes of 1 MiB need at depth one.
const P99_LESS_WRITES_US: &str = "p99 us less two writes";
/// What one of them needs, on average.
const WRITE_US: &str = "1 MiB write us";
/// What was written beside.
const LARGE_MB_PER_S: &str = "large MB/s";

/// What the large records write at most.
const LARGE_BYTES_MAX: u64 = 16 << 30;

/// A run that is shorter than this share of what was asked for was ended by the bytes of one of the loads.
const WHOLE_MIN: f64 = 0.9;

/// Seconds that a pair takes beside what is counted: segments are filled before, everything read back after.
const AROUND_S: f64 = 25.0;

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let base = Load::new(bench, POINT, Space::Written);
    let bytes = base.bytes.min(BYTES_MAX);
    let load = Load { shards: SHARDS, rate: Some(RECORDS_PER_S), growth: 1.6, bytes, ..base };
    let measure = Measure {
        figure_a: P99_LESS_WRITES_US,
        ..Measure::ratio("fairness", "p99 beside large records less two writes, by alone", P99_US, Bound::AtMost(2.0))
    };
    let plan = Plan {
        title: "100 small shards beside one with records of 10 MiB",
        name_a: "beside large records",
        name_b: "alone",
        measures: vec![measure],
    };
    bench.announce(
        "fairness: 100 small shards beside one with records of 10 MiB, and alone",
        2.0 * (bench.warmup_s() + bench.seconds()) + AROUND_S,
        2,
    );
    let part = pair::run(bench, plan, &mut || beside(bench, &load), &mut || load.run(bench));
    Ok(Findings {
        goal: "One shard with 10 MiB records and no limit beside 100 small ones: their p99 at most twice what it is alone plus the time that limit (a) needs that day for two durable 1 MiB writes at depth one.",
        notes: vec![
            "Small: an open loop of 20,000 records/s of 1 KiB in batches of 10 over 100 shards. Large: a closed loop, one record in flight on each of two connections, from the same process.".to_owned(),
            "`late batches` are those of the small ones that left later than 100 us and 10 % of the median after their time; one thread paces both loads, and both sides are paced alike.".to_owned(),
            "The time of a write is limit (a)'s mean at depth one, measured right before each run beside large records.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: vec![part],
    })
}

fn beside(bench: &Bench, load: &Load) -> Result<Side, PairsError> {
    let write_us = write_us(bench)?;
    let large =
        format!("shards=1,connections=2,inflight=1,batch-records=1,record-bytes={LARGE_BYTES},bytes={LARGE_BYTES_MAX}");
    let mut side = Load { beside: Some(large), ..load.clone() }.run(bench)?;
    let p99_us = side.figure(P99_US);
    side.figures.extend(BTreeMap::from([(P99_LESS_WRITES_US, p99_us - 2.0 * write_us), (WRITE_US, write_us)]));
    side.detail["write_us"] = json!(write_us);
    let large = number(&side.detail, "/beside/measured/bytes_per_s").unwrap_or(f64::NAN);
    side.figures.insert(LARGE_MB_PER_S, large / 1e6);
    if side.figure(SECONDS) < bench.seconds() * WHOLE_MIN {
        side.marks.push("void: the load beside it ended early".to_owned());
    }
    Ok(side)
}

/// What a durable write of 1 MiB needs at depth one.
fn write_us(bench: &Bench) -> Result<f64, PairsError> {
    let arguments = [
        "write".to_owned(),
        "--size=1m".to_owned(),
        "--depth=1".to_owned(),
        format!("--seconds={}", if bench.options.quick { 0.05 } else { 1.0 }),
        format!("--file-bytes={}", if bench.options.quick { 16 << 20 } else { 512 << 20 }),
        format!("--core={}", bench.cores().server),
        format!("--dir={}", bench.directory()),
    ];
    let (command, detail) = bench.limit(&arguments)?;
    let mean = number(&detail, "/figures/latency_us/mean");
    mean.ok_or_else(|| PairsError::Result { command, missing: "latency_us/mean".to_owned() })
}
