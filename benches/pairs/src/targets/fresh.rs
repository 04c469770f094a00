//! Durable ingest from an empty directory: no segment was written before and none is used twice.

use super::{Findings, best_points};
use crate::bench::Bench;
use crate::chain::{Chain, file_bytes};
use crate::error::PairsError;
use crate::load::{Load, Space};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Plan};
use crate::side::MB_PER_S;
use crate::sweep;
use crate::units::show_bytes;

/// Seconds and bytes, whichever is first.
const SECONDS: f64 = 60.0;
const BYTES: u64 = 16 << 30;

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let (server, limit, sweeps) = best_points(bench, Space::Allocated)?;
    let base = Load::new(bench, server, Space::Allocated);
    // A tenth and some segments are for headers and for what is ready ahead.
    let affordable = (bench.affordable_bytes()? as f64 * 0.88) as u64;
    let (seconds, bytes) = match bench.options.quick {
        true => (base.seconds, base.bytes),
        false => (SECONDS - base.warmup_s, bench.options.bytes.unwrap_or(BYTES).min(affordable)),
    };
    let load = Load { seconds, bytes, ..base };
    let chain = Chain { seconds, file_bytes: file_bytes(bytes), ..Chain::new(bench, limit, Space::Allocated) };
    let bound = Bound::AtLeast(0.70);
    let plan = Plan {
        title: "durable ingest, fresh directory",
        name_a: "server",
        name_b: "limit (b)",
        measures: vec![Measure::ratio("fresh", "throughput, server by limit (b)", MB_PER_S, bound)],
    };
    let part = pair::run(bench, plan, &mut || load.run(bench), &mut || chain.run(bench));
    let size = show_bytes(bytes);
    Ok(Findings {
        goal: "On a fresh directory with an empty segment pool, until 60 s or 16 GiB, no segment recycled: at least 70 % of limit (b) writing into allocated space.",
        notes: vec![
            format!("Server at {server}, limit at {limit}; {seconds} s or {size}, whichever is first."),
            "The limit's files are allocated before its clock starts; the server allocates its own while it writes."
                .to_owned(),
            sweep::note(),
        ],
        sweeps,
        parts: vec![part],
    })
}
