//! Latency: one record at a time, and an open loop at half of the highest rate.

use super::Findings;
use crate::bench::Bench;
use crate::chain::Chain;
use crate::error::PairsError;
use crate::load::{Load, RECORDS_PER_S, Space};
use crate::measure::{Bound, Compare, Measure};
use crate::pair::{self, Part, Parts, Plan};
use crate::point::{LimitPoint, ServerPoint};
use crate::side::{P50_US, P99_US};
use crate::sweep::{self, Sweep};

/// One record is one block.
const RECORD_MESSAGE_BYTES: u64 = 4 << 10;

/// A batch of the open loop, and a message that holds its data and keys in whole blocks.
const BATCH_RECORDS: u32 = 100;
const BATCH_MESSAGE_BYTES: u64 = 104 << 10;

/// Writes that the limit may have in flight in the open loop: more than it ever needs at half of a rate.
const OPEN_WRITES: u32 = 16;

/// One record at a time is padded to a block of its own.
const RECORD_GROWTH: f64 = 4.2;
/// Bytes of it that no disk here takes in the time that is measured.
const RECORD_BYTES_MAX: u64 = 512 << 20;

const OPEN_LOOP: &str = "open loop at half rate";

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let mut notes =
        vec!["The measure of p99 takes 200 us off the server's first, so that its bound is 1.5 times.".to_owned()];
    let (mut parts, mut sweeps) = (Parts::new(bench), Vec::new());
    parts.add(|| one_record(bench));
    parts.try_add(OPEN_LOOP, || {
        let (rate, point, swept) = highest_rate(bench)?;
        sweeps = swept;
        let batches = rate / 2.0 / f64::from(BATCH_RECORDS);
        notes.push(format!(
            "Open loop: {rate:.0} records/s was the highest rate, at {point}; measured at half, {batches:.0} batches/s, against messages of 104 KiB at the same rate over as many connections."
        ));
        Ok(open_loop(bench, rate / 2.0, point))
    });
    Ok(Findings {
        goal: "One record at a time: p50 at most 1.3 times, p99 at most 1.5 times plus 200 microseconds that of limit (b) with one 4 KiB write. Open loop, batches of 100 x 1 KiB at half of the highest rate for that batch size: the same bounds against limit (b) at that rate.",
        notes,
        sweeps,
        parts: parts.all(),
    })
}

fn one_record(bench: &Bench) -> Part {
    let base = Load::new(bench, ServerPoint::new(1, 1, 1), Space::Written);
    let load = Load { growth: RECORD_GROWTH, bytes: base.bytes.min(RECORD_BYTES_MAX), ..base };
    let limit = LimitPoint { size_bytes: RECORD_MESSAGE_BYTES, connections: 1, writes: 1 };
    let chain = Chain { inflight: Some(1), ..Chain::new(bench, limit, Space::Written) };
    let plan = Plan {
        title: "one record at a time",
        name_a: "server",
        name_b: "limit (b)",
        measures: bounds("single-p50", "single-p99"),
    };
    pair::run(bench, plan, &mut || load.run(bench), &mut || chain.run(bench))
}

fn open_loop(bench: &Bench, records_per_s: f64, point: ServerPoint) -> Part {
    let load = Load { rate: Some(records_per_s), ..Load::new(bench, point, Space::Written) };
    let limit = LimitPoint { size_bytes: BATCH_MESSAGE_BYTES, connections: point.connections, writes: OPEN_WRITES };
    let rate = Some(records_per_s / f64::from(BATCH_RECORDS));
    let chain = Chain { rate, ..Chain::new(bench, limit, Space::Written) };
    let plan =
        Plan { title: OPEN_LOOP, name_a: "server", name_b: "limit (b)", measures: bounds("open-p50", "open-p99") };
    pair::run(bench, plan, &mut || load.run(bench), &mut || chain.run(bench))
}

fn bounds(p50: &'static str, p99: &'static str) -> Vec<Measure> {
    let more = Measure::ratio(p99, "p99 less 200 us, server by limit (b)", P99_US, Bound::AtMost(1.5));
    vec![
        Measure::ratio(p50, "p50, server by limit (b)", P50_US, Bound::AtMost(1.3)),
        Measure { compare: Compare::RatioLess(200.0), ..more },
    ]
}

/// The highest rate for the batch size, and where it was found.
fn highest_rate(bench: &Bench) -> Result<(f64, ServerPoint, Vec<Sweep>), PairsError> {
    let given = bench.options.server_point.or(bench.options.quick.then_some(ServerPoint::new(2, 4, BATCH_RECORDS)));
    let (point, sweeps) = match given {
        Some(point) => (ServerPoint { batch_records: BATCH_RECORDS, ..point }, Vec::new()),
        None => {
            let (point, sweep) = sweep::server_at_batch(bench, BATCH_RECORDS)?;
            (point, vec![sweep])
        }
    };
    let afresh = Load::new(bench, point, Space::Written).run(bench)?.sound()?;
    Ok((afresh.figure(RECORDS_PER_S), point, sweeps))
}
