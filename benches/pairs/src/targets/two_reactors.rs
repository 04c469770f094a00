//! Two reactors against one on a machine of two cores, which the load is on as well.

use super::{Findings, server_point};
use crate::bench::Bench;
use crate::error::PairsError;
use crate::load::{Load, MACHINE_S_PER_GB, Space};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Plan};
use crate::side::MB_PER_S;

/// Some seconds of a fast disk: in less than that the clock of /proc/stat is coarse.
const BYTES: u64 = 10 << 30;

/// Seconds that a side takes beside what is counted: the space is filled before, everything read back after.
const AROUND_S: f64 = 22.0;

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let point = server_point(bench);
    let base = Load::new(bench, point, Space::Written);
    let bytes = if bench.options.quick { base.bytes } else { bench.options.bytes.unwrap_or(BYTES) };
    let one = Load { bytes, ..base };
    let two = Load { reactors: 2, is_on_both_cores: true, ..one.clone() };
    bench.announce(
        "two-reactors: the same load on two reactors and on one, as fast as it goes",
        2.0 * (bench.warmup_s() + bench.seconds() + AROUND_S),
        2,
    );
    let plan = Plan {
        title: "two reactors",
        name_a: "two reactors",
        name_b: "one reactor",
        measures: vec![
            Measure::ratio("throughput", "throughput, two reactors by one", MB_PER_S, Bound::AtLeast(0.9)),
            Measure::ratio(
                "cpu",
                "processor time of the whole machine for a gigabyte, two reactors by one",
                MACHINE_S_PER_GB,
                Bound::AtMost(1.15),
            ),
        ],
    };
    let part = pair::run(bench, plan, &mut || two.run(bench), &mut || one.run(bench));
    Ok(Findings {
        goal: "Two reactors on two cores with the load on the same machine: at least 90 % of one, and system-wide CPU per GB within 15 %.",
        notes: vec![
            format!("The same closed loop of 1 KiB records over 8 shards on both: {point} (connections x batches in flight x records a batch), and the same memory budget."),
            "One reactor is placed as it is best, alone on the server's core with the generator's one thread on the other. Two reactors have a core each, and the generator a thread on each of them with half of the connections: on one core alone it would hold up one reactor and leave the other idle.".to_owned(),
            "Processor time is all that /proc/stat counts as busy on all cores, whoever had it, from the end of the warm-up until the load stops, by the data and keys acknowledged in that time.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: vec![part],
    })
}
