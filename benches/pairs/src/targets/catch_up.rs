//! Catching up: everything read from the disk and pushed to one subscriber, alone and beside ingest.

use std::cell::Cell;

use super::{Findings, server_point};
use crate::bench::Bench;
use crate::error::PairsError;
use crate::load::{Load, PUSHED_MB_PER_S, READ_BACK_MB_PER_S, Space, Subscribers};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Part, Plan};
use crate::reading;
use crate::side::MB_PER_S;

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let mut parts = vec![alone(bench, 8, 0.6)?, alone(bench, 1000, 0.3)?];
    parts.extend(beside(bench)?);
    Ok(Findings {
        goal: "Alone, at least 60 % of the lower of fio's sequential direct read and limit (c) to one socket; all of 1,000 shards in one sweep at no less than half of that; beside full ingest, ingest keeps at least 80 % of its rate while catch-up gets at least 80 % of what limit (d) reads at that write rate.",
        notes: vec![
            "One subscriber of all shards over one connection, from the first record to the last, each record verified; the limit's receiver compares and hashes as well.".to_owned(),
            "Beside ingest the subscriber begins with the first record as the warm-up ends. Limit (d) writes at the rate of the server\'s newest run; of its budgets that counts which reads most and leaves the writes 98 % of their rate.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts,
    })
}

fn alone(bench: &Bench, shards: u32, least: f64) -> Result<Part, PairsError> {
    let subscribers = Subscribers { read_back: true, ..Subscribers::default() };
    let base = Load::new(bench, server_point(bench), Space::Written);
    let load = Load { shards, growth: 1.2, subscribers, ..base };
    let (title, slug) = if shards > 8 { ("1,000 shards", "sweep") } else { ("8 shards", "alone") };
    let rate = Measure::ratio(slug, "bytes a second, by the lower limit", MB_PER_S, Bound::AtLeast(least));
    let plan = Plan {
        title,
        name_a: "server",
        name_b: "fio, limit (c)",
        measures: vec![Measure { figure_a: READ_BACK_MB_PER_S, ..rate }],
    };
    pair::run(bench, plan, &mut || load.run(bench), &mut || reading::run(bench))
}

fn beside(bench: &Bench) -> Result<Vec<Part>, PairsError> {
    let alone = Load::new(bench, server_point(bench), Space::Written);
    let subscribers = Subscribers { count: 1, after_s: bench.warmup_s(), ..Subscribers::default() };
    let beside = Load { subscribers, ..alone.clone() };
    let ingest = Measure::ratio("ingest", "ingest, beside catching up by alone", MB_PER_S, Bound::AtLeast(0.8));
    let plan =
        Plan { title: "beside full ingest", name_a: "with a subscriber", name_b: "alone", measures: vec![ingest] };
    let kept = pair::run(bench, plan, &mut || beside.run(bench), &mut || alone.run(bench))?;
    let pushed = Measure {
        figure_a: PUSHED_MB_PER_S,
        ..Measure::ratio("pushed", "pushed beside ingest, by limit (d)", MB_PER_S, Bound::AtLeast(0.8))
    };
    let plan = Plan {
        title: "what catching up gets beside full ingest",
        name_a: "with a subscriber",
        name_b: "limit (d)",
        measures: vec![pushed],
    };
    // The limit writes at the rate of the newest run of the server.
    let written = Cell::new(0.0);
    let mut server = || {
        let side = beside.run(bench)?;
        written.set(side.figure(MB_PER_S));
        Ok(side)
    };
    let got = pair::run(bench, plan, &mut server, &mut || reading::beside(bench, written.get()))?;
    Ok(vec![kept, got])
}
