//! Ten segments dropped at once, in the midst of a steady load: what records take around it.

mod watch;

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use frame::{Retention, frame as record};
use jiff::Timestamp;
use serde_json::json;

use self::watch::{Watched, watch};
use super::Findings;
use crate::bench::Bench;
use crate::error::PairsError;
use crate::load::{self, Load, Space};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Plan};
use crate::point::ServerPoint;
use crate::server::Server;
use crate::side::{P99_US, P999_US, Side};
use crate::wire::{Metrics, Wire};

/// How many go at once.
const SEGMENTS: usize = 10;

/// As producers of small shards send: far from what the machine can do.
const POINT: ServerPoint = ServerPoint::new(4, 16, 10);
const RECORDS_PER_S: f64 = 20_000.0;

/// Seconds that are counted, with the drop in their midst, and before them.
const SECONDS: f64 = 10.0;
const WARMUP_S: f64 = 2.0;

/// The load begins so long after its generator is started, by when that has made its stream.
const LEAD: Duration = Duration::from_millis(1500);

/// What the load writes in a second at most: more than it is asked to.
const BYTES_PER_S: u64 = 32 << 20;

/// The stream that goes.
const DOOMED: &str = "doomed";

/// The one that is written after it, and how many segments: a server keeps its newest two that are sealed, and the first of
/// these holds the last of the other stream.
const BEHIND: &str = "behind";
const SEGMENTS_BEHIND: usize = 3;

/// Who fills them: so many at once, batches of so many records of so many bytes.
const FILLERS: u32 = 4;
const FILL_RECORDS: u32 = 32;
const FILL_DATA_BYTES: usize = 8 << 10;

/// How often the number of segments is looked at meanwhile.
const FILL_LOOK: Duration = Duration::from_millis(10);

/// Seconds that a side takes beside what is counted: the segments are filled before, everything read back after.
const AROUND_S: f64 = 8.0;

const DROPPED: &str = "segments dropped";
const DROPPED_S: &str = "s until all were";
const FREED_MB: &str = "freed MB";
const FREED_S: &str = "s until all was";

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let (seconds, warmup_s) = match bench.options.quick {
        true => (3.0, 0.1),
        false => (bench.options.seconds.unwrap_or(SECONDS), WARMUP_S),
    };
    let base = Load::new(bench, POINT, Space::Allocated);
    let bytes = (seconds + warmup_s).ceil() as u64 * BYTES_PER_S;
    let load = Load { rate: Some(RECORDS_PER_S), growth: 1.6, seconds, warmup_s, bytes, ..base };
    bench.announce(
        &format!("drops: {seconds} s with ten segments dropped in their midst, and without"),
        2.0 * (seconds + warmup_s + AROUND_S),
        2,
    );
    let plan = Plan {
        title: "ten segments dropped at once",
        name_a: "with a drop",
        name_b: "without",
        measures: vec![
            Measure::ratio("p99", "p99 around the drop, by without", P99_US, Bound::AtMost(1.3)),
            Measure::ratio("p999", "p99.9 around the drop, by without", P999_US, Bound::AtMost(1.5)),
        ],
    };
    let part = pair::run(bench, plan, &mut || one(bench, &load, true), &mut || one(bench, &load, false));
    Ok(Findings {
        goal: "Ten segments dropped at once: p99 of the 10 s around it at most 1.3 times, p99.9 at most 1.5 times that of 10 s without, medians of ten.",
        notes: vec![
            format!("Each side is a server of its own with ten segments of {} MiB that hold nothing but one stream, and three behind them of another, as a server keeps the newest it has sealed. Then an open loop of 20,000 records/s of 1 KiB in batches of 10 over 8 shards of a third; in the midst of what is counted the first stream is deleted, or is not.", bench.segment_bytes() >> 20),
            "Void where fewer than ten sealed segments went in the seconds that are counted, as their names in the data directory tell ten times a second, or where one went without a drop.".to_owned(),
            "What is freed is told beside it, as it takes longer: files are cut step by step. Segments that the server had a use for are not freed.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: vec![part],
    })
}

/// One load beside as many segments, which are dropped in its midst or stay.
fn one(bench: &Bench, load: &Load, is_with_drop: bool) -> Result<Side, PairsError> {
    bench.check_space((SEGMENTS + SEGMENTS_BEHIND + 4) as u64 * bench.segment_bytes() + 2 * load.bytes)?;
    let directory = bench.path().join("drops");
    let failed = |source| PairsError::File { path: directory.clone(), source };
    fs::create_dir_all(&directory).map_err(failed)?;
    let mut arguments = load.server_arguments(bench);
    arguments.extend(["--http=127.0.0.1:0", "--admin=127.0.0.1:0"].map(str::to_owned));
    let server = Server::start(&bench.programs.millstream, &directory, bench.cores().server, &arguments)?;
    fill(bench, &server, DOOMED, SEGMENTS)?;
    fill(bench, &server, BEHIND, SEGMENTS + SEGMENTS_BEHIND)?;

    let starts = Instant::now() + LEAD;
    let counted = starts + Duration::from_secs_f64(load.warmup_s);
    let midst = counted + Duration::from_secs_f64(load.seconds / 2.0);
    let ends = counted + Duration::from_secs_f64(load.seconds);
    let starts_at = Timestamp::now() + starts.duration_since(Instant::now());
    let mut arguments = load.arguments();
    arguments.push(format!("--target={}", server.address()));
    arguments.push(format!("--start-at={starts_at}"));
    arguments.push(format!("--dir={}", bench.directory()));
    let doors = (server.door("admin").to_owned(), server.door("http").to_owned());
    let data = directory.join("data");
    let drop_at = is_with_drop.then_some(midst);
    let (watched, loaded) = thread::scope(|scope| {
        let watcher =
            scope.spawn(|| watch((&doors.0, &data), counted..ends, drop_at.map(|at| (at, doors.1.as_str(), DOOMED))));
        let loaded = bench.load(&arguments);
        (watcher.join().expect("the watcher does not panic"), loaded)
    });
    let (command, detail) = loaded?;
    let mut side = load::side(command, detail)?;
    side.command = format!("{}; {}", server.command(), side.command);
    server.stop()?;
    fs::remove_dir_all(&directory).map_err(failed)?;
    tell(&mut side, &watched?, is_with_drop);
    Ok(side)
}

/// Writes one stream until so many segments are sealed.
fn fill(bench: &Bench, server: &Server, name: &str, segments: usize) -> Result<(), PairsError> {
    let stream = Wire::connect(server.address())?.create(name, 1, Retention::NONE)?;
    let stream = stream.map_err(|failure| PairsError::Wire(format!("it made no stream: {failure}")))?.stream;
    let mut frames = Vec::new();
    for number in 0..FILL_RECORDS {
        record::encode(&mut frames, &number.to_le_bytes(), None, &[7; FILL_DATA_BYTES]).expect("it is not too large");
    }
    let is_full = AtomicBool::new(false);
    let write = || {
        let mut wire = Wire::connect(server.address())?;
        while !is_full.load(Ordering::Relaxed) {
            if let Err(failure) = wire.append(stream, FILL_RECORDS, &frames)? {
                return Err(PairsError::Wire(format!("it refused what fills segments: {failure}")));
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let fillers: Vec<_> = (0..FILLERS).map(|_| scope.spawn(write)).collect();
        // The one that is open is not among them.
        let looked = loop {
            match watch::taken(&Metrics::of(server.door("admin"))?) {
                Ok(taken) if taken <= segments as f64 && !bench.interrupted() => {}
                looked => break looked,
            }
            if fillers.iter().any(|filler| filler.is_finished()) {
                break Ok(0.0);
            }
            thread::sleep(FILL_LOOK);
        };
        is_full.store(true, Ordering::Relaxed);
        fillers.into_iter().try_for_each(|filler| filler.join().expect("fillers do not panic"))?;
        looked.map(drop)
    })
}

/// What went meanwhile, and whether that is what was to go.
fn tell(side: &mut Side, watched: &Watched, is_with_drop: bool) {
    side.figures.insert(DROPPED, watched.dropped as f64);
    side.detail["segments"] =
        json!({ "columns": "s after the drop, segments taken, MB of all", "samples": watched.rows() });
    if is_with_drop {
        let told = [(DROPPED_S, watched.dropped_s), (FREED_MB, watched.freed_bytes / 1e6), (FREED_S, watched.freed_s)];
        side.figures.extend(told);
    }
    match is_with_drop {
        true if watched.dropped < SEGMENTS => {
            side.marks.push(format!("void: {} segments were dropped while it was measured", watched.dropped));
        }
        false if watched.dropped > 0 => {
            side.marks.push(format!("void: {} segments were dropped, and none was to be", watched.dropped));
        }
        _ => {}
    }
}
