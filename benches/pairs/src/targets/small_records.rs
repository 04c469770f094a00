//! What a small record costs the processor, in hashes of its key.

use super::Findings;
use crate::bench::Bench;
use crate::error::PairsError;
use crate::hash::{self, HASH_NS};
use crate::load::{CPU_NS_PER_RECORD, Load, Space};
use crate::measure::{Bound, Compare, Measure};
use crate::pair::{self, Plan};
use crate::point::ServerPoint;

/// Batches may be built ahead; large ones spread what a batch costs.
const POINT: ServerPoint = ServerPoint::new(4, 4, 2000);

/// 116 bytes of data and key become a frame of 168 or so.
const GROWTH: f64 = 1.8;

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let point = bench.options.server_point.unwrap_or(POINT);
    let base = Load::new(bench, point, Space::Written);
    let load = Load { record_bytes: 100, growth: GROWTH, bytes: base.bytes / 2, ..base };
    let measure = Measure {
        slug: "small-records",
        title: "processor time of a record by that of an MD5 of its key",
        figure_a: CPU_NS_PER_RECORD,
        figure_b: HASH_NS,
        compare: Compare::Ratio,
        bound: Bound::AtMost(3.3),
    };
    let plan = Plan { title: "small records", name_a: "server", name_b: "MD5", measures: vec![measure] };
    let seconds = bench.seconds() / 5.0;
    let core = bench.cores().server;
    let part = pair::run(bench, plan, &mut || load.run(bench), &mut || hash::run(core, seconds));
    Ok(Findings {
        goal: "Processor time of the reactor thread plus its kernel workers for each record of 100 bytes is at most 3.3 times an MD5 of the same 16-byte key in the same run; keys distinct.",
        notes: vec![
            format!("Server at {point} with 16-byte keys, all different. The time is that of the threads reactor-* and iou-wrk-* in /proc/PID/task, after the warm-up, by the records acknowledged in it."),
            "Beside it: the busy time of the whole machine for each record, the generator and everything else included.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: vec![part],
    })
}
