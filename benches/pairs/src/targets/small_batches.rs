//! Many connections with one small batch each.

use super::Findings;
use crate::bench::Bench;
use crate::chain::{Chain, OPS_PER_S};
use crate::error::PairsError;
use crate::load::{Load, RECORDS_PER_S, Space};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Plan};
use crate::point::{LimitPoint, ServerPoint};
use crate::side::Side;

const BATCHES_PER_S: &str = "batches/s";

const CONNECTIONS: u32 = 16;

/// Ten records with their headers, in whole blocks.
const MESSAGE_BYTES: u64 = 12 << 10;

/// Small commit batches pad to whole blocks.
const GROWTH: f64 = 1.5;

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let server = ServerPoint::new(CONNECTIONS, 1, 10);
    let load = Load { growth: GROWTH, ..Load::new(bench, server, Space::Written) };
    let limit = LimitPoint { size_bytes: MESSAGE_BYTES, connections: CONNECTIONS, writes: CONNECTIONS };
    let chain = Chain { inflight: Some(1), ..Chain::new(bench, limit, Space::Written) };
    let bound = Bound::AtLeast(0.75);
    // A batch of the server and a message of the limit are the same work, although their bytes differ.
    let measure = Measure {
        figure_a: BATCHES_PER_S,
        figure_b: OPS_PER_S,
        ..Measure::ratio("small-batches", "batches by messages a second, server by limit (b)", "", bound)
    };
    let plan = Plan { title: "small batches", name_a: "server", name_b: "limit (b)", measures: vec![measure] };
    let part = pair::run(bench, plan, &mut || batches(&load, bench), &mut || chain.run(bench));
    Ok(Findings {
        goal: "16 connections with 10 records of 1 KiB each and one batch in flight reach at least 75 % of limit (b) at 16 in flight of 12 KiB.",
        notes: vec!["Ten records are 10.4 KB of data and keys and one message is 12.3 KB, so batches are held against messages, not bytes.".to_owned()],
        sweeps: Vec::new(),
        parts: vec![part],
    })
}

fn batches(load: &Load, bench: &Bench) -> Result<Side, PairsError> {
    let mut side = load.run(bench)?;
    let batches_per_s = side.figure(RECORDS_PER_S) / f64::from(load.point.batch_records);
    side.figures.insert(BATCHES_PER_S, batches_per_s);
    Ok(side)
}
