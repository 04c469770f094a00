//! The power goes, again and again, under a real kernel and a disk with a volatile cache: nothing acknowledged is lost.
//!
//! Each life: open what the last cut left, one append, compare everything, load, cut at a
//! random moment: an arbitrary part of what was not flushed is gone. Lives have one to three reactors, shards are split, merged and moved
//! meanwhile, and on two of three disks records expire and segments are dropped or compacted. The engine runs in this process, on the ring or on threads
//! from life to life, so that tests can strike out its wish for durability, and must then see a loss. `MILLSTREAM_CUTS` says how many cuts
//! under full load, else 100 where `CI` is set and 8 elsewhere, and others come between them; `MILLSTREAM_SEED` repeats a run's
//! moments as far as threads allow.

#[path = "support/engine.rs"]
mod process;
mod support;

#[path = "support/ledger_tests.rs"]
mod ledger_tests;

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cutdisk::{Counters, Cut, CutDisk, require_or_skip};
use engine::{Config, Damage, Stats};
use io::{Completion, Io, IoKind, Op, Pool, Received, Ring, Threads, Token, Wait};
use process::Engine;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use support::REACTORS_MAX;
use support::expiry::Keeping;
use support::ledger::{Extent, Ledger, Wrong};
use support::load::{self, Load};
use support::segments;
use support::totals::Totals;
use tempfile::TempDir;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const WRITERS: usize = 5;
const SEGMENT_BYTES: u64 = 4 << 20;
/// It lies in memory, and nothing in it is ever given back: after so many cuts a new one is taken.
const DISK_BYTES: u64 = 512 << 20;
const CUTS_PER_DISK: usize = 10;
/// So many cuts can't all come at a moment when nothing is in the disk's cache.
const CUTS_THAT_TEAR: u64 = 30;
const KINDS: [IoKind; 2] = [IoKind::Ring, IoKind::Threads];
/// How long anything may take before the engine counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);
/// A life's load, at most. What is still in flight then comes on top.
const LOAD_BYTES_MAX: u64 = 12 << 20;
/// Ready segments where they are pre-written: more than a life's load fills.
const PREWRITTEN_SEGMENTS: usize = 8;

/// When the power goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Moment {
    /// So long after the engine began to open the directory.
    Opening(Duration),
    /// When so many bytes were acknowledged, with as much as clients can send under way.
    Loaded(u64),
    /// Then too, but only after flushes have begun to fail, the first one taking with it what was not flushed yet.
    FlushesFail(u64),
    /// So long after the load ended: while the journal marks itself idle.
    Idle(Duration),
    /// So long after records had expired, once the load has ended: while segments are dropped.
    Expired(Duration),
    /// So long after what lives of segments began to be copied, once the load has ended: while that takes their place.
    Compacting(Duration),
    /// So long after a clean shutdown was asked for, under load.
    Stopping(Duration),
}

impl Moment {
    /// Whether clients send as much as they can, and the engine stores it.
    fn is_under_load(self) -> bool {
        matches!(self, Moment::Loaded(_) | Moment::FlushesFail(_))
    }
}

/// Where a life's batches go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Space {
    /// Segments filled with zeros before the load began.
    Prewritten,
    /// Segments that were only allocated: each write makes metadata.
    Allocated,
}

/// What a life runs on, and how many reactors it has.
type Site = (IoKind, usize);

/// A disk, the data directory on it, and what is known of its contents.
struct Bench {
    disk: CutDisk,
    ledger: Ledger,
    /// How long the newest opening took.
    opening: Duration,
    /// The moments so far, and on what.
    moments: Vec<(Moment, Site)>,
    cuts: Vec<Cut>,
    // Dropped after the disk.
    _dir: TempDir,
}

/// What a run has come to.
#[derive(Default)]
struct Tally {
    cuts: Vec<Cut>,
    disks: usize,
    totals: Totals,
    counters: Counters,
}

impl Bench {
    fn start(seed: u64, keeping: Keeping) -> Outcome<Option<Bench>> {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let Some(mut disk) = require_or_skip(CutDisk::start(dir.path(), DISK_BYTES, seed)) else {
            return Ok(None);
        };
        disk.mkfs()?;
        disk.mount()?;
        let opening = Duration::from_millis(50);
        Ok(Some(Bench {
            disk,
            ledger: Ledger::keeping(keeping),
            opening,
            moments: Vec::new(),
            cuts: Vec::new(),
            _dir: dir,
        }))
    }

    fn data(&self) -> PathBuf {
        self.disk.path().join("data")
    }

    fn begin(&self, (kind, reactors): Site, mut config: Config, flushes: Flushes) -> Engine {
        config.memory_bytes *= reactors;
        match kind {
            IoKind::Ring => Engine::begin(&self.data(), (config, reactors), move |io: Ring| Watched { io, flushes }),
            IoKind::Threads => {
                Engine::begin(&self.data(), (config, reactors), move |io: Threads| Watched { io, flushes })
            }
        }
    }

    /// One life, from opening to the cut, after which the disk is there again.
    fn life(&mut self, (moment, site): (Moment, Site), config: Config, flushes: Flushes) -> Outcome {
        let mut engine = self.begin(site, config.clone(), flushes);
        self.moments.push((moment, site));
        self.ledger.begin_life();
        if let Moment::Opening(after) = moment {
            std::thread::sleep(after);
            self.cut()?;
            // It may have been quicker than the cut.
            if engine.opened(PATIENCE).is_ok() {
                engine.leave();
            }
            engine.end(PATIENCE);
        } else {
            let load = self.load(&mut engine)?;
            self.end(engine, load, moment, &config)?;
        }
        self.disk.restore()?;
        Ok(())
    }

    /// Gets an engine to where it is under load: one append, everything so far compared, clients at work.
    fn load(&mut self, engine: &mut Engine) -> Outcome<Load> {
        let began = Instant::now();
        let opened = engine.opened(PATIENCE)?;
        self.opening = began.elapsed();
        let found = opened.recovered.damage;
        if !found.is_empty() {
            return Err(DamageFound(found).into());
        }
        let mut client = load::connect(opened.address)?;
        let streams = load::streams(&mut client, &mut self.ledger)?;
        load::append_one(&mut client, &mut self.ledger, &streams[0])?;
        self.ledger.compare(&mut client, Extent::All)?;
        Ok(Load::start(&client, opened.address, &mut self.ledger, &streams, WRITERS))
    }

    /// Cuts at the moment. The engine sees its disk fail: it refuses appends, answers everybody, and can be dropped.
    fn end(&mut self, engine: Engine, load: Load, moment: Moment, config: &Config) -> Outcome {
        let bytes = match moment {
            Moment::Loaded(bytes) | Moment::FlushesFail(bytes) => bytes,
            Moment::Opening(_) | Moment::Idle(_) | Moment::Stopping(_) => 1 << 20,
            Moment::Expired(_) | Moment::Compacting(_) => 1 << 20,
        };
        let progress = Arc::clone(&load.progress);
        if !progress.wait(PATIENCE, |counts| counts.acked_bytes >= bytes) {
            return Err(format!("the engine hangs: {:?}", progress.counts()).into());
        }
        match moment {
            Moment::Loaded(_) | Moment::Opening(_) => {
                self.cut()?;
                let all = refused(engine, load, &mut self.ledger)?;
                let is_prewritten = |stats: &Stats| stats.written_bytes < PREWRITTEN_SEGMENTS as u64 * SEGMENT_BYTES;
                assert!(!config.prewrite || all.iter().all(is_prewritten));
            }
            Moment::FlushesFail(_) => {
                self.disk.fail_flushes(u64::MAX);
                refused(engine, load, &mut self.ledger)?;
                self.cut()?;
            }
            Moment::Idle(after) | Moment::Expired(after) | Moment::Compacting(after) => {
                let address = load.address;
                load.join(&mut self.ledger)?;
                match moment {
                    Moment::Expired(_) => load::await_expiry(address, &mut self.ledger)?,
                    Moment::Compacting(_) => segments::await_compaction(&self.data())?,
                    _ => {}
                }
                std::thread::sleep(after);
                self.cut()?;
                engine.leave();
                engine.end(PATIENCE);
            }
            Moment::Stopping(after) => {
                engine.shut_down();
                std::thread::sleep(after);
                self.cut()?;
                engine.end(PATIENCE);
                load.join(&mut self.ledger)?;
            }
        }
        Ok(())
    }

    fn describe(&self, error: &dyn Error, space: Space) -> String {
        let Bench { moments, cuts, ledger, .. } = self;
        format!(
            "{space:?}, {:?}: {error}; the moments of this disk: {moments:?}; the newest cut: {:?}",
            ledger.how_kept(),
            cuts.last()
        )
    }

    fn cut(&mut self) -> Outcome {
        let cut = self.disk.cut()?;
        self.cuts.push(cut);
        Ok(())
    }

    /// Clean ends, after which everything is read again. What was not acknowledged of numbered records is stored before.
    fn close(&mut self) -> Outcome {
        for site in KINDS.into_iter().zip([1, REACTORS_MAX as usize]) {
            let mut engine = self.begin(site, config(Space::Allocated, 4), Flushes::Kept);
            self.ledger.begin_life();
            let opened = engine.opened(PATIENCE)?;
            let mut client = load::connect(opened.address)?;
            let streams = load::streams(&mut client, &mut self.ledger)?;
            self.ledger.compare(&mut client, Extent::All)?;
            load::settle(opened.address, &mut self.ledger, &streams)?;
            load::streams(&mut client, &mut self.ledger)?;
            self.ledger.compare(&mut client, Extent::New)?;
            drop(client);
            engine.shut_down();
            let all = engine.end(PATIENCE);
            assert!(!all.is_empty() && all.iter().all(|stats| stats.poisoned.is_none()));
        }
        Ok(())
    }
}

/// The disk has failed: the engine refuses appends and answers everybody, until it is dropped.
fn refused(engine: Engine, load: Load, ledger: &mut Ledger) -> Outcome<Vec<Stats>> {
    if !load.progress.wait(PATIENCE, |counts| counts.refused > 0) {
        return Err("no append was refused after the disk had failed".into());
    }
    load.join(ledger)?;
    engine.leave();
    let all = engine.end(PATIENCE);
    assert!(all.iter().any(|stats| stats.poisoned.is_some()), "no journal is poisoned");
    Ok(all)
}

/// The engine itself found that durable records are gone.
#[derive(Debug)]
struct DamageFound(Damage);

impl fmt::Display for DamageFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { stretches, records } = &self.0;
        let first = stretches.first();
        write!(
            f,
            "recovery found {} damaged stretches, {first:?} first, with {} runs of records",
            stretches.len(),
            records.len()
        )
    }
}

impl Error for DamageFound {}

/// Whether something acknowledged, or shown to a reader, is gone; or is refused to readers, as the server sees that it is.
fn is_loss(error: &(dyn Error + 'static)) -> bool {
    let lost = |wrong: &Wrong| {
        use Wrong::*;
        let is_gone = matches!(wrong, Lost { .. } | Vanished { .. } | Rewritten { .. } | Damaged { .. });
        is_gone || matches!(wrong, GivenAgain { .. } | Stream { .. })
    };
    error.is::<DamageFound>() || error.downcast_ref().is_some_and(lost)
}

fn config(space: Space, writes_in_flight: usize) -> Config {
    let prewrite = space == Space::Prewritten;
    Config {
        segment_bytes: SEGMENT_BYTES as u32,
        memory_bytes: 128 << 20,
        segments_ready: if prewrite { PREWRITTEN_SEGMENTS } else { 1 },
        prewrite,
        writes_in_flight,
        ..Config::default()
    }
}

fn draw(rng: &mut StdRng, opening: Duration, keeping: Keeping) -> Moment {
    let kinds = match keeping {
        Keeping::ForEver => 20,
        Keeping::Shortly => 24,
        Keeping::Partly => 28,
    };
    match rng.random_range(0..kinds) {
        0..4 => Moment::Opening(opening.mul_f64(rng.random_range(0.0..1.1))),
        4..13 => Moment::Loaded((1 << rng.random_range(12..24)).min(LOAD_BYTES_MAX)),
        13..15 => Moment::FlushesFail((1 << rng.random_range(12..24)).min(LOAD_BYTES_MAX)),
        15..17 => Moment::Idle(Duration::from_micros(rng.random_range(0..12_000))),
        17..20 => Moment::Stopping(Duration::from_micros(rng.random_range(0..50_000))),
        _ if keeping == Keeping::Partly => Moment::Compacting(Duration::from_micros(1 << rng.random_range(0..13))),
        _ => Moment::Expired(Duration::from_micros(rng.random_range(0..30_000))),
    }
}

/// So many cuts under load, and others, on as many disks as it takes. `false` where this machine can't.
fn survive(space: Space, under_load: u64, rng: &mut StdRng, tally: &mut Tally) -> Outcome<bool> {
    let mut left = under_load;
    while left > 0 {
        let keeping = Keeping::ALL[tally.disks % Keeping::ALL.len()];
        tally.disks += 1;
        let Some(mut bench) = Bench::start(rng.random(), keeping)? else { return Ok(false) };
        while left > 0 && bench.cuts.len() < CUTS_PER_DISK {
            let moment = draw(rng, bench.opening, keeping);
            left -= u64::from(moment.is_under_load());
            let config = config(space, [1, 2, 4, 16][rng.random_range(0..4)]);
            let site = (KINDS[rng.random_range(0..KINDS.len())], rng.random_range(1..=REACTORS_MAX as usize));
            let mut outcome = bench.life((moment, site), config, Flushes::Kept);
            if !matches!(moment, Moment::Opening(_)) {
                let data = bench.data();
                outcome = outcome.and_then(|()| bench.ledger.look(&data));
            }
            outcome.map_err(|error| bench.describe(error.as_ref(), space))?;
        }
        let closed = bench.close();
        closed.map_err(|error| bench.describe(error.as_ref(), space))?;
        tally.totals.add(bench.ledger.totals(&bench.data())?);
        let counters = bench.disk.counters();
        tally.counters.flushes += counters.flushes;
        tally.counters.written_bytes += counters.written_bytes;
        tally.cuts.append(&mut bench.cuts);
    }
    Ok(true)
}

#[test]
fn acknowledged_records_survive_every_cut() -> Outcome {
    let cuts = support::repetitions("MILLSTREAM_CUTS", 100, 8);
    let mut rng = StdRng::seed_from_u64(support::seed());
    let mut tally = Tally::default();
    let started = Instant::now();
    for (space, share) in [(Space::Prewritten, cuts / 2), (Space::Allocated, cuts - cuts / 2)] {
        if !survive(space, share, &mut rng, &mut tally)? {
            return Ok(());
        }
    }
    println!("{} cuts, {cuts} of them under load, in {:.1?}: {}", tally.cuts.len(), started.elapsed(), tally.totals);
    let sum = |what: fn(&Cut) -> u64| tally.cuts.iter().map(what).sum::<u64>();
    let (dropped, torn) = (sum(|cut| cut.sectors_dropped), sum(|cut| cut.writes_torn));
    let Counters { flushes, written_bytes, .. } = tally.counters;
    println!("{dropped} sectors dropped, {torn} writes torn; {flushes} flushes for {} MiB", written_bytes >> 20);
    // Had nothing been at stake, the test would prove nothing. A few cuts may all come at an idle moment.
    if cuts >= CUTS_THAT_TEAR {
        assert!(dropped > 0 && torn > 0);
        tally.totals.assert_all_was_at_stake(cuts);
        assert!(tally.totals.moves > 0, "cuts are to come as shards move");
    }
    Ok(())
}

#[test]
fn on_the_ring_without_the_durable_flag_a_loss_is_seen_within_5_cuts() -> Outcome {
    a_loss_is_seen_within_5_cuts(IoKind::Ring)
}

#[test]
fn on_threads_without_the_durable_flag_a_loss_is_seen_within_5_cuts() -> Outcome {
    a_loss_is_seen_within_5_cuts(IoKind::Threads)
}

fn a_loss_is_seen_within_5_cuts(kind: IoKind) -> Outcome {
    let Some(mut bench) = Bench::start(support::seed(), Keeping::ForEver)? else {
        return Ok(());
    };
    for cuts in 0..5 {
        // What the last cut took is seen by the next life.
        let site = (kind, 1);
        let Err(error) = bench.life((Moment::Loaded(2 << 20), site), config(Space::Prewritten, 4), Flushes::Stripped)
        else {
            continue;
        };
        return seen(error, cuts);
    }
    match bench.close() {
        Err(error) => seen(error, 5),
        Ok(()) => Err("nothing was lost in 5 cuts although nothing was flushed".into()),
    }
}

/// What is wrong after so many cuts is a loss.
fn seen(error: Box<dyn Error>, cuts: u64) -> Outcome {
    if !is_loss(error.as_ref()) {
        return Err(format!("after {cuts} cuts: {error}, which is no loss").into());
    }
    println!("seen after {cuts} cuts: {error}");
    Ok(())
}

/// What becomes of the engine's wish to have a write durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flushes {
    /// It is granted.
    Kept,
    /// It is struck out: writes complete in the disk's volatile cache. The engine can't know.
    Stripped,
}

/// An `Io` with the test's hand on every write.
struct Watched<I> {
    io: I,
    flushes: Flushes,
}

impl<I: Io> Io for Watched<I> {
    fn submit(&mut self, op: Op, token: Token) {
        let op = match op {
            Op::Write { file, offset, buf, durable } => {
                Op::Write { file, offset, buf, durable: durable && self.flushes == Flushes::Kept }
            }
            op => op,
        };
        self.io.submit(op, token);
    }

    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) {
        self.io.turn(wait, completions);
    }

    fn received(&self, received: Received) -> &[u8] {
        self.io.received(received)
    }

    fn recycle(&mut self, received: Received) {
        self.io.recycle(received);
    }

    fn receive_buffers(&self) -> usize {
        self.io.receive_buffers()
    }

    fn directories(&self) -> usize {
        self.io.directories()
    }

    fn pool(&self) -> &Pool {
        self.io.pool()
    }

    fn mono_ns(&self) -> u64 {
        self.io.mono_ns()
    }

    fn wall_ms(&self) -> u64 {
        self.io.wall_ms()
    }

    fn boottime_ms(&self) -> u64 {
        self.io.boottime_ms()
    }

    fn boot(&self) -> u32 {
        self.io.boot()
    }

    fn random(&mut self) -> [u8; 16] {
        self.io.random()
    }
}
