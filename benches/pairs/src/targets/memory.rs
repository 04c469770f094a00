//! Memory: what an idle connection and an idle shard cost, and what is resident while all kinds of clients press at once.

mod crowd;

use std::fs;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use frame::Retention;
use serde_json::json;

use self::crowd::Crowd;
use super::Findings;
use crate::bench::Bench;
use crate::error::PairsError;
use crate::load::{self, LARGE_BYTES, Load, Space, Subscribers};
use crate::measure::{Bound, Measure};
use crate::pair::{self, Plan};
use crate::point::ServerPoint;
use crate::resident::Resident;
use crate::server::Server;
use crate::side::{SECONDS, Side, number};
use crate::wire::{Metrics, Wire};

/// The budget, unless a `--server-arg` says otherwise.
const BUDGET: &str = "--memory-bytes=512MiB";

/// Clients that say nothing, and shards that nobody writes to any more.
const IDLE: usize = 10_000;

/// Who writes as fast as it goes, each with one batch in flight.
const BUSY: ServerPoint = ServerPoint::new(1000, 1, 10);

/// Connections that send records of 10 MiB, one after the other.
const LARGE: u32 = 4;

/// Subscribers that never take anything.
const STALLED: u32 = 20;

/// Seconds of all that.
const PRESS_S: f64 = 30.0;

/// What both loads write at most.
const BUSY_BYTES_MAX: u64 = 12 << 30;
const LARGE_BYTES_MAX: u64 = 8 << 30;

/// A run that is shorter than this share of what was asked for was ended by the bytes.
const WHOLE_MIN: f64 = 0.9;

/// Seconds that a round takes beside: ten thousand of each made before, everything read back after.
const AROUND_S: f64 = 45.0;

/// Records that are written to the idle shards, each under a key of its own: six a shard, so nearly all have some.
const IDLE_RECORDS: u64 = 6 * IDLE as u64;

/// Bytes of one with its key.
const IDLE_RECORD_BYTES: u64 = 116;

const PEAK: &str = "peak by budget";
const PEAK_MB: &str = "peak MB";
const PSS_MB: &str = "highest PSS MB";
const PINNED_MB: &str = "pinned MB";
const CONNECTIONS: &str = "most connections";
const LARGE_MB_PER_S: &str = "large MB/s";
const SCANNED_MB_PER_S: &str = "scanned MB/s";
const CONNECTION_BYTES: &str = "bytes a connection";
const SHARD_BYTES: &str = "bytes a shard";
const MADE_BYTES: &str = "bytes a shard only made";
const REST_MB: &str = "at rest MB";
const IDLE_MB: &str = "with all that is idle MB";
const BUDGET_MB: &str = "budget MB";

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let seconds = if bench.options.quick { 1.0 } else { bench.options.seconds.unwrap_or(PRESS_S) };
    bench.announce(
        &format!("memory: 10,000 idle connections and shards, then {seconds} s of 1,000 busy connections, 10 MiB records, stalled subscribers and a reader of everything"),
        seconds + AROUND_S,
        1,
    );
    let plan = Plan { title: "memory", name_a: "server", name_b: "before", measures: measures() };
    let part = pair::rounds(bench, plan, &mut || round(bench, seconds));
    Ok(Findings {
        goal: "Resident memory within the budget plus 10 % under 1,000 busy and 10,000 idle connections, 10 MiB records, stalled readers, and a reader that scans everything; an idle connection costs under 16 KiB, an open idle shard under 4 KiB.",
        notes: vec![
            "Each row is a server of its own. The worst of all decides, not the median.".to_owned(),
            "The peak is VmHWM, the most that was ever resident since the server began, by the budget that it was given. It includes the ring's buffers, which are part of what is resident; those that are registered with it are told as pinned. Socket buffers are the kernel's, and not among them.".to_owned(),
            format!("What is idle: resident memory with {IDLE} connections that shook hands, less before, for each; then with a stream of {IDLE} shards that each had a few records of 100 bytes, less before, for each. The tail of those records, which has a budget of its own, is among that."),
            format!("Then all at once, with those idle ones still there: {} connections with 10 records of 1 KiB and one batch in flight over 8 shards; {LARGE} that send records of 10 MiB; {STALLED} subscribers that take nothing, and one that does; one reader that reads all from the first record to the newest, over and over.", BUSY.connections),
            "Afterwards every idle connection is asked whether it is there, and everything is read back, or the run is void.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: vec![part],
    })
}

fn measures() -> Vec<Measure> {
    vec![
        Measure::first("peak", "the most that was resident, by the budget", PEAK, Bound::AtMost(1.1)),
        Measure::first(
            "connection",
            "bytes that an idle connection costs",
            CONNECTION_BYTES,
            Bound::AtMost((16 << 10) as f64),
        ),
        Measure::first("shard", "bytes that an open idle shard costs", SHARD_BYTES, Bound::AtMost((4 << 10) as f64)),
    ]
}

/// A server of its own: at rest, with what is idle, and pressed.
fn round(bench: &Bench, seconds: f64) -> Result<(Side, Side), PairsError> {
    let load = pressing(bench, seconds);
    bench.check_space((load.bytes as f64 * load.growth) as u64 + LARGE_BYTES_MAX * 11 / 10)?;
    let directory = bench.path().join("memory");
    let failed = |source| PairsError::File { path: directory.clone(), source };
    fs::create_dir_all(&directory).map_err(failed)?;
    // Before the server starts, which has it from here.
    let room = crowd::room();
    let mut arguments = bench.server_arguments();
    if !arguments.iter().any(|argument| argument.starts_with("--memory-bytes")) {
        arguments.push(BUDGET.to_owned());
    }
    arguments.push("--admin=127.0.0.1:0".to_owned());
    let server = Server::start(&bench.programs.millstream, &directory, bench.cores().server, &arguments)?;
    let budget = Metrics::of(server.door("admin"))?.sum("millstream_memory_budget_bytes")?;
    let look = || Resident::of(server.pid());

    let rest = look()?;
    let idle = IDLE.min(room.saturating_sub(2 * BUSY.connections as usize));
    let mut crowd = Crowd::new(server.address(), idle)?;
    let crowded = look()?;
    let shards = IDLE as u32;
    let made = Wire::connect(server.address())?.create("idle", shards, Retention::NONE)?;
    made.map_err(|failure| PairsError::Wire(format!("it made no stream of {shards} shards: {failure}")))?;
    let only_made = look()?;
    write_idle(bench, &server)?;
    let settled = look()?;
    let (mut side, pressed) = press(bench, &server, &load)?;

    let each = |after: Resident, before: Resident, count: usize| (after.now - before.now) / count as f64;
    let mb = |bytes: f64| bytes / 1e6;
    side.figures.extend([
        (PEAK, pressed.most.peak / budget),
        (PEAK_MB, mb(pressed.most.peak)),
        (PSS_MB, mb(pressed.most.proportional)),
        (PINNED_MB, mb(pressed.most.pinned)),
        (CONNECTIONS, pressed.connections),
        (CONNECTION_BYTES, each(crowded, rest, idle)),
        (SHARD_BYTES, each(settled, crowded, IDLE)),
        (MADE_BYTES, each(only_made, crowded, IDLE)),
    ]);
    let (gone, why) = crowd.gone();
    if let Some(why) = why {
        side.marks.push(format!("void: {gone} of {idle} idle connections were gone: {why}"));
    }
    if idle < IDLE {
        side.marks.push(format!("fewer: {idle} idle connections, as no more files may be open here (ulimit -n)"));
    }
    if side.figure(SECONDS) < seconds * WHOLE_MIN {
        side.marks.push(format!("shorter: the bytes were written in {:.0} of {seconds} s", side.figure(SECONDS)));
    }
    side.detail["resident_mib"] = json!(pressed.rows);
    side.command = format!("{}; {}", server.command(), side.command);
    let figures =
        [(REST_MB, rest.now), (IDLE_MB, settled.now), (BUDGET_MB, budget)].map(|(name, bytes)| (name, mb(bytes)));
    let before = Side { command: "the same".to_owned(), figures: figures.into(), marks: Vec::new(), detail: json!({}) };
    drop(crowd);
    server.stop()?;
    fs::remove_dir_all(&directory).map_err(failed)?;
    Ok((side, before))
}

/// A few records to nearly each of the idle shards.
fn write_idle(bench: &Bench, server: &Server) -> Result<(), PairsError> {
    let base = Load::new(bench, ServerPoint::new(4, 4, 500), Space::Allocated);
    let bytes = IDLE_RECORDS * IDLE_RECORD_BYTES;
    let load = Load { shards: IDLE as u32, record_bytes: 100, bytes, seconds: 60.0, warmup_s: 0.0, ..base };
    let mut arguments = load.arguments();
    arguments.extend(["--stream=idle".to_owned(), format!("--target={}", server.address())]);
    arguments.push(format!("--dir={}", bench.directory()));
    let (command, detail) = bench.load(&arguments)?;
    load::side(command, detail)?.sound().map(drop)
}

/// All that presses.
fn pressing(bench: &Bench, seconds: f64) -> Load {
    let bytes = bench.options.bytes.unwrap_or(if bench.options.quick { bench.bytes() } else { BUSY_BYTES_MAX });
    let large = LARGE_BYTES_MAX
        .min((bytes as f64 / BUSY_BYTES_MAX as f64 * LARGE_BYTES_MAX as f64) as u64)
        .max(2 * LARGE_BYTES);
    let subscribers = Subscribers { count: 1, stalled: STALLED, ..Subscribers::default() };
    let beside = format!("connections={LARGE},inflight=1,batch-records=1,record-bytes={LARGE_BYTES},bytes={large}");
    let base = Load::new(bench, BUSY, Space::Allocated);
    Load { seconds, bytes, growth: 1.5, subscribers, beside: Some(beside), ..base }
}

/// What was seen while it was pressed.
struct Pressed {
    /// The highest of each.
    most: Resident,
    connections: f64,
    /// Resident MiB, once a second.
    rows: Vec<f64>,
}

fn press(bench: &Bench, server: &Server, load: &Load) -> Result<(Side, Pressed), PairsError> {
    let mut arguments = load.arguments();
    arguments.extend(["--workload=mixed", "--catch-up=1"].map(str::to_owned));
    arguments.extend([format!("--target={}", server.address()), format!("--dir={}", bench.directory())]);
    let (pid, admin) = (server.pid(), server.door("admin"));
    let (stop, stopped) = mpsc::channel::<()>();
    let every = Duration::from_secs_f64(if bench.options.quick { 0.1 } else { 1.0 });
    let (watched, loaded) = thread::scope(|scope| {
        let watcher = scope.spawn(move || -> Result<Pressed, PairsError> {
            let mut seen = Pressed { most: Resident::default(), connections: 0.0, rows: Vec::new() };
            loop {
                let is_last = stopped.recv_timeout(every) != Err(mpsc::RecvTimeoutError::Timeout);
                let now = Resident::of(pid)?;
                seen.most = seen.most.max(now);
                seen.rows.push((now.now / f64::from(1 << 20)).round());
                if is_last {
                    return Ok(seen);
                }
                seen.connections = seen.connections.max(Metrics::of(admin)?.sum("millstream_connections")?);
            }
        });
        let loaded = bench.load(&arguments);
        drop(stop);
        (watcher.join().expect("the watcher does not panic"), loaded)
    });
    let (command, detail) = loaded?;
    let mut side = load::side(command, detail)?;
    for (name, path) in [(LARGE_MB_PER_S, "/beside/measured/bytes_per_s"), (SCANNED_MB_PER_S, "/caught_up/bytes_per_s")]
    {
        side.figures.insert(name, number(&side.detail, path).unwrap_or(f64::NAN) / 1e6);
    }
    Ok((side, watched?))
}
