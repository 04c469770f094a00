//! Durable ingest into pre-written space, at the best points of both sides.

use super::{Findings, best_points};
use crate::bench::Bench;
use crate::chain::Chain;
use crate::error::PairsError;
use crate::load::{Load, Space};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Plan};
use crate::side::MB_PER_S;
use crate::sweep;

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let (server, limit, sweeps) = best_points(bench, Space::Written)?;
    let load = Load::new(bench, server, Space::Written);
    let chain = Chain::new(bench, limit, Space::Written);
    let bound = Bound::AtLeast(0.75);
    let plan = Plan {
        title: "durable ingest",
        name_a: "server",
        name_b: "limit (b)",
        measures: vec![Measure::ratio("ingest", "throughput, server by limit (b)", MB_PER_S, bound)],
    };
    let part = pair::run(bench, plan, &mut || load.run(bench), &mut || chain.run(bench));
    Ok(Findings {
        goal: "1 KiB records in batches of 100 to 1,000 reach at least 75 % of the best point of limit (b).",
        notes: vec![
            format!("Server at {server} (connections x batches in flight x records a batch), limit at {limit} (message x connections x writes in flight)."),
            "Both fill the space that they write into right before they are measured. The server's MB/s count data and keys, the limit's whole messages.".to_owned(),
            sweep::note(),
        ],
        sweeps,
        parts: vec![part],
    })
}
