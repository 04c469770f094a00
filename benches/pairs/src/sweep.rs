//! Finds the best point of each side before the pairs, which measure it afresh.
//!
//! The best of many noisy points is partly luck, so the first few are measured again and their medians decide.

use serde::Serialize;
use serde_json::Value;

use crate::bench::Bench;
use crate::chain::{Chain, file_bytes, timing};
use crate::error::PairsError;
use crate::load::{Load, Space};
use crate::measure::median;
use crate::point::{LimitPoint, ServerPoint};
use crate::side::{MB_PER_S, number};
use crate::units::{show, show_bytes};

/// Seconds that a point counts.
const SECONDS: f64 = 2.0;

/// Bytes that a point writes at most.
const BYTES_MAX: u64 = 3 << 30;

/// Points that are measured again.
const AGAIN: usize = 4;

/// How often they are, in turn.
const ROUNDS: usize = 2;

/// The load: batches in flight on a connection, and records in each.
const LOADS: [(u32, u32); 5] = [(8, 100), (8, 250), (16, 250), (8, 500), (4, 1000)];
const CONNECTIONS: [u32; 3] = [1, 2, 4];

/// The server's settings.
const WRITES: [u32; 3] = [8, 16, 32];
const BATCH_BYTES: [u64; 3] = [256 << 10, 512 << 10, 1 << 20];

/// One point of a sweep.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tried {
    pub(crate) point: String,
    /// In the order in which they were measured.
    pub(crate) mb_per_s: Vec<f64>,
}

/// What was tried for one side, and what was chosen.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sweep {
    pub(crate) side: &'static str,
    pub(crate) best: String,
    pub(crate) tried: Vec<Tried>,
}

/// The best point of the server: first of the load, then of the server's settings under that load.
pub(crate) fn server(bench: &Bench, space: Space) -> Result<(ServerPoint, Sweep), PairsError> {
    let loads = CONNECTIONS.iter().flat_map(|&connections| {
        LOADS.iter().map(move |&(inflight, records)| ServerPoint::new(connections, inflight, records))
    });
    let (load, mut tried) = best_server(bench, space, loads.collect())?;
    let settings = WRITES.iter().flat_map(|&writes| {
        let batches = BATCH_BYTES.iter();
        batches.map(move |&bytes| ServerPoint { writes: Some(writes), batch_bytes: Some(bytes), ..load })
    });
    let (best, more) = best_server(bench, space, settings.collect())?;
    tried.extend(more);
    Ok((best, Sweep { side: "server", best: best.to_string(), tried }))
}

/// The best load at one batch size, on a server with the default settings.
pub(crate) fn server_at_batch(bench: &Bench, batch_records: u32) -> Result<(ServerPoint, Sweep), PairsError> {
    let points = [(1, 16), (2, 8), (2, 16), (4, 4), (4, 8), (4, 16), (8, 8), (16, 4)];
    let points = points.map(|(connections, inflight)| ServerPoint::new(connections, inflight, batch_records));
    let (best, tried) = best_server(bench, Space::Written, points.to_vec())?;
    Ok((best, Sweep { side: "server", best: best.to_string(), tried }))
}

fn best_server(bench: &Bench, space: Space, points: Vec<ServerPoint>) -> Result<(ServerPoint, Vec<Tried>), PairsError> {
    let measure = |point: ServerPoint| {
        let base = Load::new(bench, point, space);
        let load = Load { seconds: SECONDS, warmup_s: 0.5, bytes: base.bytes.min(BYTES_MAX), ..base };
        Ok(load.run(bench)?.sound()?.figure(MB_PER_S))
    };
    let mut rates = Vec::new();
    for point in points {
        let rate = measure(point)?;
        bench.say(&format!("sweep: server {point}: {} MB/s", show(rate)));
        rates.push((point, vec![rate]));
    }
    settle(bench, rates, measure)
}

/// The best point of limit (b).
pub(crate) fn limit(bench: &Bench, space: Space) -> Result<(LimitPoint, Sweep), PairsError> {
    let bytes = file_bytes(bench.bytes().min(BYTES_MAX));
    bench.check_space(bytes)?;
    let mut arguments = vec!["chain".to_owned(), "--sweep".to_owned()];
    arguments.push("--size=256k,512k,1m".to_owned());
    arguments.push("--connections=1,2".to_owned());
    arguments.push("--writes=4,8,16".to_owned());
    arguments.extend(timing(bench, SECONDS, 0.5, space, bytes));
    bench.say("sweep: limit chain");
    let (command, found) = bench.limit(&arguments)?;
    let missing = || PairsError::Result { command: command.clone(), missing: "points".to_owned() };
    let points = found["points"].as_array().ok_or_else(missing)?;
    let rates: Option<Vec<_>> = points.iter().map(read_point).collect();
    let measure = |point: LimitPoint| {
        let base = Chain::new(bench, point, space);
        let chain = Chain { seconds: SECONDS, warmup_s: 0.5, file_bytes: bytes, ..base };
        chain.run(bench).map(|side| side.figure(MB_PER_S))
    };
    let (best, tried) = settle(bench, rates.ok_or_else(missing)?, measure)?;
    Ok((best, Sweep { side: "limit", best: best.to_string(), tried }))
}

fn read_point(point: &Value) -> Option<(LimitPoint, Vec<f64>)> {
    let count = |name: &str| u32::try_from(point[name].as_u64()?).ok();
    let size_bytes = point["size_bytes"].as_u64()?;
    let found = LimitPoint { size_bytes, connections: count("connections")?, writes: count("writes")? };
    Some((found, vec![number(point, "/figures/mb_per_s")?]))
}

/// Measures the first few again, in turn, and takes the one with the highest median.
fn settle<P: Copy + std::fmt::Display>(
    bench: &Bench,
    mut rates: Vec<(P, Vec<f64>)>,
    mut measure: impl FnMut(P) -> Result<f64, PairsError>,
) -> Result<(P, Vec<Tried>), PairsError> {
    rates.sort_by(|a, b| b.1[0].total_cmp(&a.1[0]));
    for _ in 0..ROUNDS {
        for (point, rates) in rates.iter_mut().take(AGAIN) {
            let rate = measure(*point)?;
            bench.say(&format!("sweep: again {point}: {} MB/s, {} at first", show(rate), show(rates[0])));
            rates.push(rate);
        }
    }
    let finalists = rates.iter().take(AGAIN);
    let best = finalists.max_by(|a, b| median(&a.1).total_cmp(&median(&b.1))).expect("a sweep has points").0;
    let tried = rates.into_iter().map(|(point, mb_per_s)| Tried { point: point.to_string(), mb_per_s });
    Ok((best, tried.collect()))
}

/// How much a point writes, for the result's notes.
pub(crate) fn note() -> String {
    format!("Sweeps count {SECONDS} s or {} a point.", show_bytes(BYTES_MAX))
}
