//! What the Kinesis API takes and gives over HTTP: a file for each operation. Here is what they share: the best number of
//! connections of a side, and emulators as the other side.

pub(super) mod cost;
pub(super) mod get_records;
pub(super) mod idle;
pub(super) mod push;
pub(super) mod put_record;
pub(super) mod put_records;

use std::path::Path;

use clap::ValueEnum;
use serde_json::Value;

use crate::bench::Bench;
use crate::emulator::Emulator;
use crate::error::PairsError;
use crate::http::HttpLoad;
use crate::load::RECORDS_PER_S;
use crate::measure::{Bound, Measure};
use crate::pair::{self, Parts, Plan};
use crate::side::{MB_PER_S, Side, number};
use crate::sweep::{Sweep, Tried};
use crate::units::show;

/// Seconds that a number of connections is tried, and bytes that are written meanwhile at most.
const TRIED_S: f64 = 2.0;
const TRIED_BYTES_MAX: u64 = 1 << 30;

/// What is written in a measurement at most, unless told otherwise.
const BYTES_MAX: u64 = 3 << 30;

/// What an operation is to reach beside emulators.
struct Beside {
    /// Of the fastest in memory.
    memory: Bound,
    /// Of the fastest that syncs.
    synced: Bound,
    /// What is compared.
    figure: &'static str,
}

/// One run of a load on a side.
type RunOn<'a> = dyn FnMut(HttpLoad) -> Result<Side, PairsError> + 'a;

/// A closed loop within what is written at most.
fn load(bench: &Bench, operation: &'static str, connections: u32) -> HttpLoad {
    let load = HttpLoad::new(bench, operation, connections);
    HttpLoad { bytes: load.bytes.min(BYTES_MAX), ..load }
}

/// The number of connections with which a side is fastest.
fn best(
    bench: &Bench,
    side: &'static str,
    (operation, connections): (&'static str, &[u32]),
    run: &mut RunOn<'_>,
) -> Result<(u32, Sweep), PairsError> {
    let (mut best, mut tried) = ((connections[0], f64::NEG_INFINITY), Vec::new());
    // A smoke run tries one.
    let count = if bench.options.quick { 1 } else { connections.len() };
    for &connections in &connections[..count] {
        let base = load(bench, operation, connections);
        let load = HttpLoad { seconds: base.seconds.min(TRIED_S), bytes: base.bytes.min(TRIED_BYTES_MAX), ..base };
        let side_run = run(load)?.sound()?;
        let rate = side_run.figure(RECORDS_PER_S);
        bench.say(&format!("{side}, {connections} connections: {} records/s", show(rate)));
        if rate > best.1 {
            best = (connections, rate);
        }
        tried.push(Tried { point: connections.to_string(), mb_per_s: vec![side_run.figure(MB_PER_S)] });
    }
    Ok((best.0, Sweep { side, best: format!("{} connections", best.0), tried }))
}

/// The emulators that are measured, and where they were put.
fn emulators(bench: &Bench) -> Vec<(Emulator, &Path)> {
    let Some(installed) = bench.options.emulators.as_deref() else { return Vec::new() };
    let chosen = &bench.options.emulator;
    let all = Emulator::value_variants().iter().copied();
    all.filter(|one| chosen.is_empty() || chosen.contains(one)).map(|one| (one, installed)).collect()
}

/// Starts each of them once: one that does not is told before anything is measured.
fn check_emulators(bench: &Bench) -> Result<(), PairsError> {
    emulators(bench).into_iter().try_for_each(|(emulator, installed)| emulator.start(bench, installed).map(drop))
}

/// Ours against each of the emulators, a part each; what was swept for them.
fn beside_emulators(
    bench: &Bench,
    parts: &mut Parts<'_>,
    beside: &Beside,
    (ours, theirs): (HttpLoad, &[u32]),
) -> Vec<Sweep> {
    let mut sweeps = Vec::new();
    for (emulator, installed) in emulators(bench) {
        let mut run = |load: HttpLoad| load.on_emulator(bench, emulator, installed);
        parts.try_add(emulator.name(), || {
            let (connections, sweep) = best(bench, emulator.name(), (ours.operation, theirs), &mut run)?;
            sweeps.push(sweep);
            let load = HttpLoad { connections, ..ours };
            let bound = if emulator.syncs() { beside.synced } else { beside.memory };
            let title = "records a second, server by emulator";
            let plan = Plan {
                title: emulator.name(),
                name_a: "server",
                name_b: emulator.name(),
                measures: vec![Measure::ratio(emulator.name(), title, beside.figure, bound)],
            };
            Ok(pair::run(bench, plan, &mut || ours.on_server(bench), &mut || run(load)))
        });
    }
    sweeps
}

/// Limit (a) with one durable write of 4 KiB at a time: its command, and what it found.
fn durable_write(bench: &Bench) -> Result<(String, Value), PairsError> {
    bench.limit(&[
        "write".to_owned(),
        "--size=4k".to_owned(),
        "--depth=1".to_owned(),
        format!("--seconds={}", bench.seconds()),
        "--file-bytes=256m".to_owned(),
        format!("--core={}", bench.cores().server),
        format!("--dir={}", bench.directory()),
    ])
}

/// A percentile of its latency, in microseconds.
fn latency(command: &str, found: &Value, percentile: &str) -> Result<f64, PairsError> {
    let missing = format!("latency_us/{percentile}");
    let told = number(found, &format!("/figures/{missing}"));
    told.ok_or_else(|| PairsError::Result { command: command.to_owned(), missing })
}

/// What a reader must know of all of them.
fn notes(bench: &Bench) -> Vec<String> {
    let mut notes = vec![
        "One generator drives all sides, from one core; it signs every request, and ours verifies the signature. Our acknowledgements are durable, and no quotas hold. The server's other threads and the other sides run where the kernel puts them.".to_owned(),
        "`load busy` is the generator's core: near 1, the generator is what limits that side.".to_owned(),
    ];
    if bench.options.emulators.is_none() {
        notes.push("No emulators were measured: `--emulators` names none.".to_owned());
    }
    notes
}
