//! Catching up beside full ingest: what is left of both.

use serde_json::json;

use super::{Findings, server_point};
use crate::bench::Bench;
use crate::error::PairsError;
use crate::load::{Load, PUSHED_MB_PER_S, Space, Subscribers};
use crate::measure::{Bound, Compare, Measure};
use crate::pair::{self, Plan};
use crate::reading;
use crate::side::{MB_PER_S, SECONDS, Side};

/// Seconds of ingest that are counted where the bytes are enough, and the fewest that tell anything.
const INGEST_S: f64 = 6.0;
const WINDOW_S_MIN: f64 = 5.0;

/// What those seconds take of a fast disk.
const BYTES: u64 = 16 << 30;

/// Segments are filled before and made again behind the writer, so the room is for twice as much, and a little.
const ROOM_TIMES: f64 = 2.3;

/// What limit (d) read at the write rate that the server reached, and wrote meanwhile.
const LIMIT_MB_PER_S: &str = "limit (d) MB/s";
const LIMIT_WRITTEN_MB_PER_S: &str = "limit (d) written MB/s";
const BY_LIMIT: &str = "pushed by limit (d)";

/// Seconds that a pair takes beside what is counted: the space is filled before, the rest caught up with and everything read
/// back after, and limit (d) tries some budgets.
const AROUND_S: f64 = 95.0;

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let alone = load(bench)?;
    let subscribers = Subscribers { count: 1, after_s: bench.warmup_s(), ..Subscribers::default() };
    let beside = Load { subscribers, ..alone.clone() };
    bench.announce(
        "catch-up-beside: full ingest with a subscriber that catches up, then limit (d) at that rate, and ingest alone",
        2.0 * alone.seconds + AROUND_S,
        3,
    );
    let title = "pushed beside ingest, by what limit (d) reads beside as many writes";
    let by_limit = Measure::ratio("pushed", title, BY_LIMIT, Bound::AtLeast(0.8));
    let plan = Plan {
        title: "beside full ingest",
        name_a: "with a subscriber",
        name_b: "alone",
        measures: vec![
            Measure::ratio("ingest", "ingest, beside catching up by alone", MB_PER_S, Bound::AtLeast(0.8)),
            Measure { compare: Compare::First, ..by_limit },
        ],
    };
    let part = pair::run(bench, plan, &mut || held_against_limit(bench, &beside), &mut || whole(bench, &alone));
    Ok(Findings {
        goal: "Beside full ingest, ingest keeps at least 80 % of its rate while catch-up gets at least 80 % of what limit (d) reads at that write rate.",
        notes: vec![
            "The subscriber begins with the first record as the warm-up ends, so it is far behind until the ingest stops. What it is pushed counts from then until that, as the ingest does, and no longer; a run is void in which that is less than 5 s. It verifies each record.".to_owned(),
            "Limit (d) runs right after each run with a subscriber, once the disk is steady, and writes at the very rate that the server reached in it. A sweep finds about how much it can read beside, in 1.5 s a budget; three budgets around that are then measured for as long as the server's least window. The one counts that reads most and leaves the writes 98 % of their rate. Where none does the run is void.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: vec![part],
    })
}

/// As fast as it goes, for long enough where the disk has room.
fn load(bench: &Bench) -> Result<Load, PairsError> {
    let base = Load::new(bench, server_point(bench), Space::Written);
    if bench.options.quick {
        return Ok(base);
    }
    let room = (bench.affordable_bytes()? as f64 / ROOM_TIMES) as u64;
    let bytes = bench.options.bytes.unwrap_or(BYTES.min(room));
    Ok(Load { seconds: bench.options.seconds.unwrap_or(INGEST_S), bytes, ..base })
}

/// A run of the server whose window is long enough.
fn whole(bench: &Bench, load: &Load) -> Result<Side, PairsError> {
    let mut side = load.run(bench)?;
    let seconds = side.figure(SECONDS);
    if seconds < WINDOW_S_MIN && !bench.options.quick {
        let why = "the bytes were written before; more --bytes make it longer, where the disk has room";
        side.marks.push(format!("void: {seconds:.1} s were counted, and {WINDOW_S_MIN} tell something: {why}"));
    }
    Ok(side)
}

/// The same with a subscriber, and what limit (d) reads at the rate that was reached.
fn held_against_limit(bench: &Bench, load: &Load) -> Result<Side, PairsError> {
    let mut side = whole(bench, load)?;
    let before = bench.steady()?;
    let limit = reading::beside(bench, side.figure(MB_PER_S), WINDOW_S_MIN)?;
    let read = limit.figure(MB_PER_S);
    side.figures.extend([
        (LIMIT_MB_PER_S, read),
        (LIMIT_WRITTEN_MB_PER_S, limit.figure(reading::WRITTEN_MB_PER_S)),
        (BY_LIMIT, side.figure(PUSHED_MB_PER_S) / read),
    ]);
    if !before.steady {
        side.marks.push("not steady: the disk before limit (d)".to_owned());
    }
    side.marks.extend(limit.marks);
    side.detail["limit"] = json!({ "before": before, "found": limit.detail });
    side.command = format!("{}; {}", side.command, limit.command);
    Ok(side)
}
