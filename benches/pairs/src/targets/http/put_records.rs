//! PutRecords of 500 records of 1 KiB.

use super::{Beside, beside_emulators, best, check_emulators, load, notes};
use crate::bench::Bench;
use crate::chain::Chain;
use crate::error::PairsError;
use crate::http::{BATCH_RECORDS, HttpLoad};
use crate::load::{RECORDS_PER_S, Space};
use crate::measure::{Bound, Compare, Measure, median};
use crate::pair::{self, Part, Parts, Plan};
use crate::point::LimitPoint;
use crate::side::{MB_PER_S, P99_US, Side};
use crate::targets::Findings;

const OPERATION: &str = "put-records";

const CONNECTIONS: [u32; 5] = [4, 1, 2, 8, 16];

/// Emulators have one thread, or one lock.
const CONNECTIONS_OF_EMULATORS: [u32; 2] = [4, 1];

/// What 500 records of 1 KiB are to limit (b).
const LIMIT: LimitPoint = LimitPoint { size_bytes: 512 << 10, connections: 4, writes: 8 };

/// What a p99 at half of the highest rate may have beyond limit (b)'s.
const MARGIN_US: f64 = 5000.0;

/// Rates of both limits.
const CHAIN_MB_PER_S: &str = "limit (b) MB/s";
const HTTP_MB_PER_S: &str = "limit (e) MB/s";

pub(in crate::targets) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    check_emulators(bench)?;
    // Of the gateway and of limit (e) alike.
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
    let with_threads = |load: HttpLoad| HttpLoad { threads: Some(threads), ..load };
    let (connections, of_server) =
        best(bench, "server", (OPERATION, &CONNECTIONS), &mut |load| with_threads(load).on_server(bench))?;
    let (limit_connections, of_limit) =
        best(bench, "limit (e)", (OPERATION, &CONNECTIONS), &mut |load| with_threads(load).on_limit(bench))?;
    let ours = with_threads(load(bench, OPERATION, connections));
    let point = bench.options.limit_point.unwrap_or(LIMIT);
    let mut notes = notes(bench);
    notes.push(format!("The gateway and limit (e) have all cores but one, {threads}, as threads."));
    notes.push(format!("Limit (b) at {point}, limit (e) and the server with as many connections as were best."));
    let (mut parts, mut half) = (Parts::new(bench), f64::NAN);
    parts.add(|| {
        let limits = by_limits(bench, ours, HttpLoad { connections: limit_connections, ..ours }, point);
        let rates: Vec<f64> = limits.pairs.iter().map(|pair| pair.a.side.figure(RECORDS_PER_S)).collect();
        half = median(&rates) / 2.0;
        limits
    });
    parts.add(|| {
        notes.push(format!("At half rate: {half:.0} records/s."));
        half_rate(bench, ours, half, point)
    });
    let beside = Beside { memory: Bound::AtLeast(5.0), synced: Bound::AtLeast(50.0), figure: RECORDS_PER_S };
    let sweeps = beside_emulators(bench, &mut parts, &beside, (ours, &CONNECTIONS_OF_EMULATORS));
    Ok(Findings {
        goal: "PutRecords of 500 records of 1 KB, best of 1 to 16 connections: at least 70 % of the lower of limit (b) at 512 KiB and limit (e); at least 5 times the fastest emulator in memory and 50 times the fastest that syncs. p99 at half of our highest rate: at most limit (b)'s at that rate plus 5 ms.",
        notes,
        sweeps: [vec![of_server, of_limit], sweeps].concat(),
        parts: parts.all(),
    })
}

fn by_limits(bench: &Bench, ours: HttpLoad, http: HttpLoad, point: LimitPoint) -> Part {
    let chain = chain(bench, point);
    let title = "bytes a second, server by the lower of limits (b) and (e)";
    let plan = Plan {
        title: "by the limits",
        name_a: "server",
        name_b: "limits",
        measures: vec![Measure::ratio("limits", title, MB_PER_S, Bound::AtLeast(0.7))],
    };
    let mut limits = || -> Result<Side, PairsError> {
        let (by_disk, mut side) = (chain.run(bench)?, http.on_limit(bench)?);
        let (disk, http) = (by_disk.figure(MB_PER_S), side.figure(MB_PER_S));
        side.figures.extend([(CHAIN_MB_PER_S, disk), (HTTP_MB_PER_S, http), (MB_PER_S, disk.min(http))]);
        side.marks.extend(by_disk.marks);
        side.command = format!("{}; {}", by_disk.command, side.command);
        Ok(side)
    };
    pair::run(bench, plan, &mut || ours.on_server(bench), &mut limits)
}

fn half_rate(bench: &Bench, ours: HttpLoad, records_per_s: f64, point: LimitPoint) -> Part {
    // Enough connections that none is waited for.
    let ours = HttpLoad { rate: Some(records_per_s), connections: 16, ..ours };
    let chain = Chain { rate: Some(records_per_s / f64::from(BATCH_RECORDS)), ..chain(bench, point) };
    let more = "p99 of the server, less limit (b)'s, in microseconds";
    let measure = Measure::ratio("half-p99", more, P99_US, Bound::AtMost(MARGIN_US));
    let plan = Plan {
        title: "at half of the highest rate",
        name_a: "server",
        name_b: "limit (b)",
        measures: vec![Measure { compare: Compare::Difference, ..measure }],
    };
    pair::run(bench, plan, &mut || ours.on_server(bench), &mut || chain.run(bench))
}

fn chain(bench: &Bench, point: LimitPoint) -> Chain {
    Chain::new(bench, point, Space::Written)
}
