//! Push: end to end, to many subscribers, as fast as it goes, and beside one that takes nothing.

use super::Findings;
use crate::bench::Bench;
use crate::error::PairsError;
use crate::fanout;
use crate::load::{Load, PUSHED_BY_ACK, PUSHED_MB_PER_S, PUSHED_P99_US, Space, Subscribers};
use crate::measure::{Bound, Compare, Measure};
use crate::pair::{self, Part, Parts, Plan};
use crate::point::ServerPoint;
use crate::side::{MB_PER_S, Side};

/// Records of 1 KiB with their keys, as producers on their own send them.
const POINT: ServerPoint = ServerPoint::new(4, 16, 10);

/// As fast as it goes, in larger batches.
const FULL: ServerPoint = ServerPoint::new(2, 2, 100);

const RECORD_BYTES: f64 = 1040.0;

const SUBSCRIBERS: u32 = 20;

/// The records' rate is told in a little more than MB/s, as keys count.
fn rate(mb_per_s: f64) -> Option<f64> {
    Some(mb_per_s * 1e6 / RECORD_BYTES)
}

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let mut parts = Parts::new(bench);
    for part in [end_to_end, many, highest, stalled] {
        parts.add(|| part(bench));
    }
    Ok(Findings {
        goal: "End to end p99 at most 1.25 times the ack's p99 plus 100 microseconds at 10 MB/s; 20 subscribers on one shard at 20 MB/s in, each complete and in order, p99 at most twice one subscriber's; the highest total at least 70 % of limit (c) to 20 sockets; with one of them stalled, p99 of the others within 10 % and ingest within 5 %.",
        notes: vec![
            "One shard; every subscriber holds what it was pushed against the account of all that was acknowledged, or the run is void.".to_owned(),
            "`pushed by acked` is the p99 from the intended time to a subscriber, less 100 us, by the p99 of the acknowledgements of the same run.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: parts.all(),
    })
}

fn load(bench: &Bench, rate: Option<f64>, count: u32, stalled: u32) -> Load {
    let point = if rate.is_some() { POINT } else { FULL };
    let base = Load::new(bench, point, Space::Written);
    let subscribers = Subscribers { count, stalled, ..Subscribers::default() };
    Load { shards: 1, rate, growth: 1.6, subscribers, ..base }
}

fn end_to_end(bench: &Bench) -> Part {
    let (one, none) = (load(bench, rate(10.0), 1, 0), load(bench, rate(10.0), 0, 0));
    let bound = Bound::AtMost(1.25);
    let title = "p99 end to end less 100 us, by the ack's of the same run";
    let by_ack = Measure::ratio("end-to-end", title, PUSHED_BY_ACK, bound);
    let plan = Plan {
        title: "end to end at 10 MB/s",
        name_a: "one subscriber",
        name_b: "none",
        measures: vec![Measure { compare: Compare::First, ..by_ack }],
    };
    pair::run(bench, plan, &mut || one.run(bench), &mut || none.run(bench))
}

fn many(bench: &Bench) -> Part {
    let (many, one) = (load(bench, rate(20.0), SUBSCRIBERS, 0), load(bench, rate(20.0), 1, 0));
    let bound = Bound::AtMost(2.0);
    let plan = Plan {
        title: "20 subscribers at 20 MB/s",
        name_a: "20 subscribers",
        name_b: "one subscriber",
        measures: vec![Measure::ratio("many", "p99 end to end, 20 subscribers by one", PUSHED_P99_US, bound)],
    };
    pair::run(bench, plan, &mut || many.run(bench), &mut || one.run(bench))
}

fn highest(bench: &Bench) -> Part {
    let many = load(bench, None, SUBSCRIBERS, 0);
    let title = "bytes a second to 20 subscribers, server by limit (c)";
    let total = Measure::ratio("total", title, MB_PER_S, Bound::AtLeast(0.7));
    let plan = Plan {
        title: "as much as goes to 20 subscribers",
        name_a: "server",
        name_b: "limit (c)",
        measures: vec![Measure { figure_a: PUSHED_MB_PER_S, ..total }],
    };
    pair::run(bench, plan, &mut || many.run(bench), &mut || fanout::run(bench, SUBSCRIBERS))
}

fn stalled(bench: &Bench) -> Part {
    let others = SUBSCRIBERS - 1;
    let (beside, alone) = (load(bench, rate(20.0), others, 1), load(bench, rate(20.0), others, 0));
    let run = |load: &Load| -> Result<Side, PairsError> { load.run(bench) };
    let plan = Plan {
        title: "one of 20 stalled, at 20 MB/s",
        name_a: "19 beside a stalled one",
        name_b: "19",
        measures: vec![
            Measure::ratio("stalled-p99", "p99 of the others, by without", PUSHED_P99_US, Bound::AtMost(1.1)),
            Measure::ratio("stalled-ingest", "ingest, by without", MB_PER_S, Bound::AtLeast(0.95)),
        ],
    };
    pair::run(bench, plan, &mut || run(&beside), &mut || run(&alone))
}
