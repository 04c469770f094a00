//! One file for each target of the project: what is measured, against what, within which bound.

mod catch_up;
mod catch_up_beside;
mod drops;
mod fairness;
mod fresh;
mod http;
mod ingest;
mod latency;
mod memory;
mod push;
mod restart;
mod shards;
mod small_batches;
mod small_records;
mod space;
mod two_reactors;

use jiff::Timestamp;

use crate::args::Target;
use crate::bench::Bench;
use crate::error::PairsError;
use crate::load::Space;
use crate::pair::Part;
use crate::point::{LimitPoint, ServerPoint};
use crate::report::{self, Verdict};
use crate::sweep::{self, Sweep};

/// The server's point where none was swept or given.
const SERVER_USUAL: ServerPoint = ServerPoint::new(4, 4, 500);

/// The limit's point of a smoke run.
const LIMIT_USUAL: LimitPoint = LimitPoint { size_bytes: 256 << 10, connections: 2, writes: 4 };

/// What a target's file hands back.
#[derive(Debug)]
pub(crate) struct Findings {
    /// The target, in the project's words.
    pub(crate) goal: &'static str,
    /// What a reader must know of how it was measured.
    pub(crate) notes: Vec<String>,
    pub(crate) sweeps: Vec<Sweep>,
    pub(crate) parts: Vec<Part>,
}

/// Measures one target and writes its folder.
pub(crate) fn run(bench: &Bench, target: Target) -> Result<Verdict, PairsError> {
    let started = Timestamp::now();
    bench.begin(target);
    let findings = match target {
        Target::Ingest => ingest::run(bench),
        Target::Fresh => fresh::run(bench),
        Target::SmallBatches => small_batches::run(bench),
        Target::SmallRecords => small_records::run(bench),
        Target::Latency => latency::run(bench),
        Target::Shards => shards::run(bench),
        Target::TwoReactors => two_reactors::run(bench),
        Target::Push => push::run(bench),
        Target::CatchUp => catch_up::run(bench),
        Target::CatchUpBeside => catch_up_beside::run(bench),
        Target::Fairness => fairness::run(bench),
        Target::Drops => drops::run(bench),
        Target::Memory => memory::run(bench),
        Target::Restart => restart::run(bench),
        Target::Space => space::run(bench),
        Target::HttpPutRecords => http::put_records::run(bench),
        Target::HttpPutRecord => http::put_record::run(bench),
        Target::HttpGetRecords => http::get_records::run(bench),
        Target::HttpPush => http::push::run(bench),
        Target::HttpIdle => http::idle::run(bench),
        Target::HttpCost => http::cost::run(bench),
        Target::All => unreachable!("it was taken apart"),
    }?;
    if findings.sweeps.is_empty() && findings.parts.iter().all(|part| part.pairs.is_empty()) {
        // Why was said when it happened.
        return Ok(Verdict::NotRun);
    }
    report::write(bench, target, started, findings)
}

/// The points of both sides: given, found before, or swept now.
fn best_points(bench: &Bench, space: Space) -> Result<(ServerPoint, LimitPoint, Vec<Sweep>), PairsError> {
    let options = &bench.options;
    let known = bench.best.borrow().filter(|_| space == Space::Written);
    let usual = options.quick.then_some((SERVER_USUAL, LIMIT_USUAL));
    let known = known.or(usual);
    let mut sweeps = Vec::new();
    let limit = match options.limit_point.or(known.map(|points| points.1)) {
        Some(point) => point,
        None => {
            let (point, sweep) = sweep::limit(bench, space)?;
            sweeps.push(sweep);
            point
        }
    };
    let server = match options.server_point.or(known.map(|points| points.0)) {
        Some(point) => point,
        None => {
            let (point, sweep) = sweep::server(bench, space)?;
            sweeps.push(sweep);
            point
        }
    };
    if space == Space::Written {
        *bench.best.borrow_mut() = Some((server, limit));
    }
    bench.say(&format!("points: server {server}, limit {limit}"));
    Ok((server, limit, sweeps))
}

/// The server's point for what only loads it: given, found before, or the usual one.
fn server_point(bench: &Bench) -> ServerPoint {
    let found = bench.best.borrow().map(|points| points.0);
    bench.options.server_point.or(found).unwrap_or(SERVER_USUAL)
}
