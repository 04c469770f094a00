//! GetRecords of 10,000 records of 1 KiB, as the generator reads back what it wrote: four shards at a time, each over a
//! connection of its own.

use super::{Beside, beside_emulators, check_emulators, load, notes};
use crate::bench::Bench;
use crate::error::PairsError;
use crate::fanout;
use crate::http::{HttpLoad, READ_RECORDS_PER_S};
use crate::load::READ_BACK_MB_PER_S;
use crate::measure::{Bound, Measure};
use crate::pair::{self, Parts, Plan};
use crate::side::MB_PER_S;
use crate::targets::Findings;

/// Of which each is read in answers of 10,000 records.
const SHARDS: u32 = 4;

/// What is written to be read, if that is done within the time: some seconds of either.
const BYTES_MAX: u64 = 1 << 30;

const CONNECTIONS_OF_EMULATORS: [u32; 1] = [4];

pub(in crate::targets) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    check_emulators(bench)?;
    let base = load(bench, "put-records", 4);
    let ours = HttpLoad { shards: SHARDS, bytes: base.bytes.min(BYTES_MAX), ..base };
    let share = Measure::ratio("limit", "bytes a second, server by limit (c)", MB_PER_S, Bound::Unset);
    let plan = Plan {
        title: "by limit (c) to as many sockets",
        name_a: "server",
        name_b: "limit (c)",
        measures: vec![Measure { figure_a: READ_BACK_MB_PER_S, ..share }],
    };
    let mut parts = Parts::new(bench);
    parts.add(|| pair::run(bench, plan, &mut || ours.on_server(bench), &mut || fanout::run(bench, SHARDS)));
    let bound = Bound::AtLeast(6.0);
    let beside = Beside { memory: bound, synced: bound, figure: READ_RECORDS_PER_S };
    let sweeps = beside_emulators(bench, &mut parts, &beside, (ours, &CONNECTIONS_OF_EMULATORS));
    let mut notes = notes(bench);
    notes.push(
        "What is read is decoded and held against the account of what was written, on the generator's core.".to_owned(),
    );
    Ok(Findings {
        goal: "GetRecords of 10,000 records of 1 KB: at least 6 times the fastest emulator.",
        notes,
        sweeps,
        parts: parts.all(),
    })
}
