//! PutRecord of 1 KiB: one connection against the least that HTTP and the disk take, many against emulators.

use super::{Beside, beside_emulators, best, check_emulators, durable_write, latency, load, notes};
use crate::bench::Bench;
use crate::error::PairsError;
use crate::http::HttpLoad;
use crate::load::RECORDS_PER_S;
use crate::measure::{Bound, Measure};
use crate::pair::{self, Part, Parts, Plan};
use crate::side::{P50_US, Side};
use crate::targets::Findings;

const OPERATION: &str = "put-record";

const CONNECTIONS: [u32; 3] = [64, 16, 256];

/// Bytes that are written: each record takes a block.
const BYTES_MAX: u64 = 512 << 20;

/// The medians of both parts of the limit.
const HTTP_P50_US: &str = "limit (e) p50 us";
const WRITE_P50_US: &str = "4 KiB write p50 us";

const MANY: &str = "many connections";

pub(in crate::targets) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    check_emulators(bench)?;
    let single = HttpLoad { bytes: BYTES_MAX.min(bench.bytes()), ..load(bench, OPERATION, 1) };
    let (mut parts, mut sweeps, mut ours) = (Parts::new(bench), Vec::new(), single);
    parts.add(|| one_connection(bench, single));
    parts.try_add(MANY, || {
        let (connections, swept) = best(bench, "server", (OPERATION, &CONNECTIONS), &mut |load| load.on_server(bench))?;
        sweeps.push(swept);
        ours.connections = connections;
        Ok(by_limit(bench, ours))
    });
    let beside = Beside { memory: Bound::AtLeast(3.0), synced: Bound::AtLeast(50.0), figure: RECORDS_PER_S };
    sweeps.extend(beside_emulators(bench, &mut parts, &beside, (ours, &CONNECTIONS[..2])));
    Ok(Findings {
        goal: "PutRecord of 1 KB, best of 16 to 256 connections: at least 3 times the fastest emulator in memory and 50 times the fastest that syncs; at one connection p50 at most 1.5 times limit (e) plus one durable 4 KiB write.",
        notes: notes(bench),
        sweeps,
        parts: parts.all(),
    })
}

fn one_connection(bench: &Bench, load: HttpLoad) -> Part {
    let title = "p50, server by limit (e) plus one durable 4 KiB write";
    let plan = Plan {
        title: "one connection",
        name_a: "server",
        name_b: "limit (e) and a write",
        measures: vec![Measure::ratio("single-p50", title, P50_US, Bound::AtMost(1.5))],
    };
    let mut limit = || -> Result<Side, PairsError> {
        let (command, found) = durable_write(bench)?;
        let mut side = load.on_limit(bench)?;
        let (disk, http) = (latency(&command, &found, "p50")?, side.figure(P50_US));
        side.figures.extend([(HTTP_P50_US, http), (WRITE_P50_US, disk), (P50_US, http + disk)]);
        side.command = format!("{command}; {}", side.command);
        Ok(side)
    };
    pair::run(bench, plan, &mut || load.on_server(bench), &mut limit)
}

/// What share of the least that HTTP takes many connections get, which no target sets.
fn by_limit(bench: &Bench, load: HttpLoad) -> Part {
    let title = "records a second, server by limit (e)";
    let plan = Plan {
        title: MANY,
        name_a: "server",
        name_b: "limit (e)",
        measures: vec![Measure::ratio("many", title, RECORDS_PER_S, Bound::Unset)],
    };
    pair::run(bench, plan, &mut || load.on_server(bench), &mut || load.on_limit(bench))
}
