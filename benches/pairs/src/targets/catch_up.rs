//! Catching up: everything read from the disk and pushed to one subscriber.

use super::{Findings, server_point};
use crate::bench::Bench;
use crate::error::PairsError;
use crate::load::{Load, READ_BACK_MB_PER_S, Space, Subscribers};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Part, Parts, Plan};
use crate::reading;
use crate::side::MB_PER_S;

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let mut parts = Parts::new(bench);
    parts.add(|| alone(bench, 8, 0.6));
    parts.add(|| alone(bench, 1000, 0.3));
    Ok(Findings {
        goal: "Alone, at least 60 % of the lower of fio's sequential direct read and limit (c) to one socket; all of 1,000 shards in one sweep at no less than half of that.",
        notes: vec![
            "One subscriber of all shards over one connection, from the first record to the last, each record verified; the limit's receiver compares and hashes as well.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: parts.all(),
    })
}

fn alone(bench: &Bench, shards: u32, least: f64) -> Part {
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
