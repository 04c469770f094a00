//! Many shards against few, on the same server.

use super::{Findings, server_point};
use crate::bench::Bench;
use crate::error::PairsError;
use crate::load::{Load, Space, Subscribers};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Plan};
use crate::side::MB_PER_S;

const MANY: u32 = 1000;
const FEW: u32 = 8;

/// With many shards each commit batch carries a longer table.
const GROWTH: f64 = 1.2;

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let point = server_point(bench);
    // As one subscriber: shard by shard, reading a thousand back takes minutes, of single blocks that lie far apart.
    let subscribers = Subscribers { read_back: true, ..Subscribers::default() };
    let load = |shards| Load { shards, growth: GROWTH, subscribers, ..Load::new(bench, point, Space::Written) };
    let (many, few) = (load(MANY), load(FEW));
    let bound = Bound::AtLeast(0.85);
    let plan = Plan {
        title: "many shards",
        name_a: "1,000 shards",
        name_b: "8 shards",
        measures: vec![Measure::ratio("shards", "throughput, 1,000 shards by 8", MB_PER_S, bound)],
    };
    let part = pair::run(bench, plan, &mut || many.run(bench), &mut || few.run(bench));
    Ok(Findings {
        goal: "1,000 shards written evenly reach at least 85 % of the throughput of 8.",
        notes: vec![format!("Server at {point}; distinct keys spread the records evenly over the shards.")],
        sweeps: Vec::new(),
        parts: vec![part],
    })
}
