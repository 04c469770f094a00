//! `kill -9`, again and again, on the real server under full load: nothing acknowledged is lost, changed or reordered.
//!
//! Each life: start on what the last one left, one append, compare everything, load, kill at a
//! random moment. Lives have one to three reactors, shards are split, merged and moved meanwhile, and in two of three data directories
//! records expire and segments are dropped or compacted. Settings differ from life to life, and so does what they run on,
//! io_uring or plain threads: each takes up what the others left. `MILLSTREAM_KILLS` says how many kills under load, else 100 where
//! `CI` is set and 10 elsewhere, and others come between them; `MILLSTREAM_SEED` repeats a run's moments and settings as far as
//! threads allow.

#[path = "support/server.rs"]
mod process;
mod support;

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use process::Server;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::expiry::Keeping;
use support::ledger::{Extent, Ledger};
use support::load::{self, Load};
use support::segments;
use support::totals::Totals;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const WRITERS: usize = 5;
/// A data directory is left after so many kills under load, so that the disk it takes stays small.
const KILLS_PER_DIRECTORY: u64 = 15;
/// So many kills can't all come beside what is done meanwhile.
const KILLS_AMID: u64 = 50;
/// How long anything may take before the server counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// The target is 2 s (see the benchmarks); this is a test on any machine, in a debug build.
const FIRST_APPEND_MAX: Duration = Duration::from_secs(20);

/// When a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    /// So long after the process was started, whatever it does then.
    Starting(Duration),
    /// As soon as the load's first record was acknowledged.
    FirstAck,
    /// When so many bytes were acknowledged.
    Loaded(u64),
    /// So long after the load ended: while the journal marks itself idle.
    Idle(Duration),
    /// So long after records had expired, under load: while segments are dropped.
    Expired(Duration),
    /// So long after what lives of segments began to be copied, under load: while that takes their place.
    Compacting(Duration),
    /// So long after a clean shutdown was asked for, under load.
    Stopping(Duration),
}

impl Moment {
    /// Whether clients send as much as they can, and the server stores it.
    fn is_under_load(self) -> bool {
        matches!(self, Moment::FirstAck | Moment::Loaded(_) | Moment::Expired(_) | Moment::Compacting(_))
    }
}

/// What a run has come to.
#[derive(Default)]
struct Tally {
    kills: u64,
    /// Of those.
    under_load: u64,
    directories: usize,
    totals: Totals,
    /// From a kill under load to the first append acknowledged after it.
    first_appends: Vec<Duration>,
    /// How long the newest start took until it was ready.
    start: Duration,
}

#[test]
fn acknowledged_records_survive_every_kill() -> Outcome {
    let kills = support::repetitions("MILLSTREAM_KILLS", 100, 10);
    let seed = support::seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut tally = Tally { start: Duration::from_millis(200), ..Tally::default() };
    let started = Instant::now();
    let per_directory = KILLS_PER_DIRECTORY.min(kills.div_ceil(2));
    while tally.under_load < kills {
        let keeping = Keeping::ALL[tally.directories % Keeping::ALL.len()];
        tally.directories += 1;
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let until = kills.min(tally.under_load + per_directory);
        if let Err(error) = directory(&scratch.path().join("data"), keeping, &mut rng, until, &mut tally) {
            let kept = scratch.keep();
            let kill = tally.kills;
            return Err(format!("seed {seed}, {keeping:?}, kill {kill}: {error}\nkept: {}", kept.display()).into());
        }
    }
    println!(
        "{} kills, {} of them under load, in {:.1?}: {}",
        tally.kills,
        tally.under_load,
        started.elapsed(),
        tally.totals
    );
    if kills >= KILLS_AMID {
        tally.totals.assert_all_was_at_stake(kills);
        assert!(tally.totals.moves > 0, "crashes are to come as shards move");
    }
    tally.first_appends.sort_unstable();
    let slowest = tally.first_appends.last().copied().unwrap_or_default();
    let median = tally.first_appends.get(tally.first_appends.len() / 2).copied().unwrap_or_default();
    println!("first append after a kill under load: median {median:.1?}, slowest {slowest:.1?}");
    assert!(slowest < FIRST_APPEND_MAX, "the first append took {slowest:?}");
    Ok(())
}

/// Lives of one data directory, until so many kills under load are reached; then a clean end, after which everything is read twice.
fn directory(data: &Path, keeping: Keeping, rng: &mut StdRng, until: u64, tally: &mut Tally) -> Outcome {
    let mut ledger = Ledger::keeping(keeping);
    let mut killed_under_load = None;
    while tally.under_load < until {
        let moment = draw(rng, tally.start, keeping);
        let mut server = Server::spawn(data, &settings(rng))?;
        let spawned = Instant::now();
        ledger.begin_life();
        if let Moment::Starting(after) = moment {
            std::thread::sleep(after);
            tally.kills += u64::from(server.kill()?);
            continue;
        }
        let load = begin(&mut server, &mut ledger, tally, spawned, killed_under_load.take())
            .map_err(|error| format!("before {moment:?}: {error}\n{}", server.log_end()))?;
        let killed = end(&mut server, load, &mut ledger, data, moment)
            .map_err(|error| format!("{moment:?}: {error}\n{}", server.log_end()))?;
        tally.kills += u64::from(killed);
        let under_load = killed && moment.is_under_load();
        tally.under_load += u64::from(under_load);
        ledger.look(data)?;
        killed_under_load = under_load.then(Instant::now);
    }
    for _ in 0..2 {
        let mut server = Server::spawn(data, &[])?;
        ledger.begin_life();
        close(&mut server, &mut ledger).map_err(|error| format!("at the end: {error}\n{}", server.log_end()))?;
        server.terminate();
        let status = server.wait()?;
        assert!(status.success(), "a clean shutdown ended with {status}:\n{}", server.log_end());
    }
    tally.totals.add(ledger.totals(data)?);
    Ok(())
}

/// Compares everything, has what was not acknowledged of numbered records stored, and compares that.
fn close(server: &mut Server, ledger: &mut Ledger) -> Outcome {
    let address = server.ready()?;
    let mut client = load::connect(address)?;
    let streams = load::streams(&mut client, ledger)?;
    ledger.compare(&mut client, Extent::All)?;
    load::settle(address, ledger, &streams)?;
    load::streams(&mut client, ledger)?;
    Ok(ledger.compare(&mut client, Extent::New)?)
}

/// Gets a started server to where it is under load: one append, everything so far compared, clients at work.
fn begin(
    server: &mut Server,
    ledger: &mut Ledger,
    tally: &mut Tally,
    spawned: Instant,
    killed: Option<Instant>,
) -> Outcome<Load> {
    let address = server.ready()?;
    tally.start = spawned.elapsed();
    let mut client = load::connect(address)?;
    let streams = load::streams(&mut client, ledger)?;
    load::append_one(&mut client, ledger, &streams[0])?;
    tally.first_appends.extend(killed.map(|killed| killed.elapsed()));
    ledger.compare(&mut client, Extent::All)?;
    Ok(Load::start(&client, address, ledger, &streams, WRITERS))
}

/// Ends the server at its moment. Whether by the kill.
fn end(server: &mut Server, load: Load, ledger: &mut Ledger, data: &Path, moment: Moment) -> Outcome<bool> {
    let bytes = match moment {
        Moment::Loaded(bytes) => bytes,
        Moment::Idle(_) | Moment::Expired(_) | Moment::Compacting(_) | Moment::Stopping(_) => 2 << 20,
        Moment::FirstAck | Moment::Starting(_) => 1,
    };
    let progress = std::sync::Arc::clone(&load.progress);
    if !progress.wait(PATIENCE, |counts| counts.acked_bytes >= bytes) {
        return Err(format!("the server hangs: {:?}", progress.counts()).into());
    }
    match moment {
        Moment::Idle(after) => {
            load.join(ledger)?;
            std::thread::sleep(after);
            return Ok(server.kill()?);
        }
        Moment::Expired(after) => {
            load::await_expiry(load.address, ledger)?;
            std::thread::sleep(after);
        }
        Moment::Compacting(after) => {
            segments::await_compaction(data)?;
            std::thread::sleep(after);
        }
        Moment::Stopping(after) => {
            server.terminate();
            std::thread::sleep(after);
        }
        Moment::FirstAck | Moment::Loaded(_) | Moment::Starting(_) => {}
    }
    let killed = server.kill()?;
    load.join(ledger)?;
    Ok(killed)
}

fn draw(rng: &mut StdRng, start: Duration, keeping: Keeping) -> Moment {
    let kinds = match keeping {
        Keeping::ForEver => 20,
        Keeping::Shortly => 24,
        Keeping::Partly => 28,
    };
    match rng.random_range(0..kinds) {
        0..4 => Moment::Starting(start.mul_f64(rng.random_range(0.0..1.1))),
        4..6 => Moment::FirstAck,
        6..16 => Moment::Loaded(1 << rng.random_range(12..27)),
        16..18 => Moment::Idle(Duration::from_micros(rng.random_range(0..12_000))),
        18..20 => Moment::Stopping(Duration::from_micros(rng.random_range(0..30_000))),
        _ if keeping == Keeping::Partly => Moment::Compacting(Duration::from_micros(1 << rng.random_range(0..13))),
        _ => Moment::Expired(Duration::from_micros(rng.random_range(0..30_000))),
    }
}

/// Small segments, so that they are rolled, sealed and made all the time; the rest differs from life to life.
fn settings(rng: &mut StdRng) -> Vec<String> {
    let reactors = rng.random_range(1..=support::REACTORS_MAX);
    let mut one_of = |choices: &[&str]| choices[rng.random_range(0..choices.len())].to_owned();
    let settings = [
        ("--io", one_of(&["ring", "threads"])),
        ("--segment-bytes", one_of(&["4MiB", "8MiB"])),
        ("--reactors", reactors.to_string()),
        ("--memory-bytes", format!("{}MiB", reactors * 128)),
        ("--segments-ready", one_of(&["1", "2", "3"])),
        ("--writes-in-flight", one_of(&["1", "2", "4", "16", "32"])),
        ("--batch-bytes", one_of(&["16KiB", "64KiB", "256KiB", "1MiB"])),
        ("--prewrite", one_of(&["false", "false", "true"])),
    ];
    settings.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}
