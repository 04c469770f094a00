//! The fault injector tested by itself: a disk that loses what was not flushed, and nothing else.

mod records;

use std::error::Error;
use std::io::{self, BufRead, BufReader, IoSlice, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cutdisk::{Cut, CutDisk, Profile, require_or_skip};
use records::{
    Aligned, DURABLE, Life, NOT_DURABLE, RECORD_BYTES, allocate, count_lost, open_direct, prewrite, read_record,
    write_record, write_until_cut,
};
use rustix::io::{Errno, ReadWriteFlags};
use tempfile::TempDir;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const MIB: usize = 1 << 20;
const WRITERS: u64 = 3;
const FILE_BYTES: usize = 16 * MIB;
const BALLAST_BYTES: usize = 8 * MIB;
const BLOCK_BYTES: usize = 256 << 10;
const ACKS_BEFORE_CUT: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);
const AT_ONCE: Duration = Duration::ZERO;
/// Each profile comes up at once and at a flush.
const ROUND: u64 = 2 * Profile::ALL.len() as u64;

/// A mounted disk of 128 MiB, below a directory of its own.
struct Bench {
    disk: CutDisk,
    // Dropped after the disk.
    dir: TempDir,
}

impl Bench {
    fn start(seed: u64) -> Outcome<Option<Bench>> {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let Some(mut disk) = require_or_skip(CutDisk::start(dir.path(), 128 << 20, seed)) else {
            return Ok(None);
        };
        disk.mkfs()?;
        disk.mount()?;
        Ok(Some(Bench { disk, dir }))
    }

    fn cut_and_restore(&mut self, profile: Profile) -> Outcome<Cut> {
        let cut = self.disk.cut_by(profile, AT_ONCE)?;
        self.disk.restore()?;
        Ok(cut)
    }

    /// Makes the files that [`Bench::cycle`] writes to.
    fn prepare(&self) -> io::Result<()> {
        for writer in 0..WRITERS {
            let path = self.disk.path().join(format!("records-{writer}"));
            prewrite(&path, FILE_BYTES)?;
        }
        prewrite(&self.disk.path().join("ballast"), BALLAST_BYTES)
    }

    /// Writers under load, a cut, the disk restored. Returns the cut and the writers' lives.
    fn cycle(&mut self, first: u64, flags: ReadWriteFlags) -> Outcome<(Cut, Vec<Life>)> {
        let (acks, acked) = mpsc::channel();
        let path = self.disk.path().join("ballast");
        let ballast = thread::spawn(move || write_ballast(&path));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let path = self.disk.path().join(format!("records-{writer}"));
                let acks = acks.clone();
                let places = (FILE_BYTES / RECORD_BYTES) as u64;
                thread::spawn(move || write_until_cut(path, first, places, flags, &acks))
            })
            .collect();
        for _ in 0..ACKS_BEFORE_CUT {
            acked.recv_timeout(PATIENCE)?;
        }
        let cut = self.disk.cut()?;
        ballast.join().expect("the ballast ends with an error, not a panic");
        let lives = writers
            .into_iter()
            .map(|writer| writer.join().expect("a writer ends with an error, not a panic"))
            .collect();
        self.disk.restore()?;
        Ok((cut, lives))
    }
}

/// Writes large blocks round and round, without a flush, until the power is cut.
fn write_ballast(path: &Path) {
    let Ok(file) = open_direct(path) else { return };
    let mut block = Aligned::new(BLOCK_BYTES);
    block.slice().fill(0xba);
    for offset in (0..BALLAST_BYTES).step_by(BLOCK_BYTES).cycle() {
        let block = &[IoSlice::new(block.slice())];
        if rustix::io::pwritev2(&file, block, offset as u64, NOT_DURABLE).is_err() {
            return;
        }
    }
}

fn is_io_error(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

#[test]
fn acknowledged_and_flushed_records_survive_every_cut() -> Outcome {
    let Some(mut bench) = Bench::start(1)? else {
        return Ok(());
    };
    bench.prepare()?;
    let before = bench.disk.counters();
    let started = Instant::now();
    let mut cuts = Vec::new();
    let mut acked = 0;
    for number in 0..2 * ROUND {
        let (cut, lives) = bench.cycle(1 + number * 1_000_000, DURABLE)?;
        println!("{cut:?}");
        for life in &lives {
            assert_eq!(count_lost(life)?, 0, "lost by cut {number}, {cut:?}");
            assert!(life.error.raw_os_error().is_some(), "{}", life.error);
            acked += life.acked;
        }
        cuts.push(cut);
    }
    let spent = started.elapsed();
    let flushes = bench.disk.counters().flushes - before.flushes;
    println!(
        "{} cuts in {spent:.1?}, {:.2} a second; {acked} records acked, {flushes} flushes",
        cuts.len(),
        cuts.len() as f64 / spent.as_secs_f64(),
    );
    // Had nothing been at stake, the test would prove nothing.
    let sum = |what: fn(&Cut) -> u64| cuts.iter().map(what).sum::<u64>();
    assert!(sum(|cut| cut.sectors_dropped) > 0);
    assert!(sum(|cut| cut.sectors_kept) > 0);
    assert!(sum(|cut| cut.writes_torn) > 0);
    assert!(sum(|cut| u64::from(cut.at_flush)) > 0);
    Ok(())
}

#[test]
fn acknowledged_records_without_a_flush_are_lost_within_5_cuts() -> Outcome {
    let Some(mut bench) = Bench::start(2)? else {
        return Ok(());
    };
    bench.prepare()?;
    for number in 0..5 {
        let (_, lives) = bench.cycle(1 + number * 1_000_000, NOT_DURABLE)?;
        for life in &lives {
            if count_lost(life)? > 0 {
                return Ok(());
            }
        }
    }
    Err("the disk kept what nobody flushed, 5 times".into())
}

#[test]
fn a_write_into_allocated_space_survives_only_with_a_flush() -> Outcome {
    let Some(mut bench) = Bench::start(3)? else {
        return Ok(());
    };
    let mut number = 1;
    // Even where all of the cache is kept: ext4 has not yet noted that the space was written.
    for profile in Profile::ALL {
        for flags in [DURABLE, NOT_DURABLE] {
            let path = bench.disk.path().join(format!("allocated-{number}"));
            allocate(&path, MIB)?;
            let file = open_direct(&path)?;
            write_record(&file, 3, number, flags)?;
            assert_eq!(read_record(&file, 3)?, [number; 8]);
            drop(file);
            let cut = bench.cut_and_restore(profile)?;
            let expected = if flags == DURABLE { number } else { 0 };
            let there = read_record(&open_direct(&path)?, 3)?;
            assert_eq!(there, [expected; 8], "{flags:?}, {cut:?}");
            number += 1;
        }
    }
    Ok(())
}

#[test]
fn a_failing_flush_is_seen_by_the_writer_and_its_data_is_gone() -> Outcome {
    let Some(mut bench) = Bench::start(4)? else {
        return Ok(());
    };
    let path = bench.disk.path().join("records");
    prewrite(&path, MIB)?;
    let file = open_direct(&path)?;
    write_record(&file, 0, 1, DURABLE)?;
    bench.disk.fail_flushes(1);
    let refused = write_record(&file, 1, 2, DURABLE).expect_err("the flush failed");
    assert!(is_io_error(&refused), "{refused}");
    assert_eq!(bench.disk.counters().flushes_failed, 1);
    // The trap: the next flush succeeds and the data is still read, but it will not survive.
    write_record(&file, 2, 3, DURABLE)?;
    assert_eq!(read_record(&file, 1)?, [2; 8]);
    drop(file);
    bench.cut_and_restore(Profile::Everything)?;
    let file = open_direct(&path)?;
    for (place, survivor) in [(0, 1), (1, 0), (2, 3)] {
        assert_eq!(read_record(&file, place)?, [survivor; 8]);
    }
    Ok(())
}

#[test]
fn a_file_open_across_a_cut_stays_dead_and_harms_nothing() -> Outcome {
    let Some(mut bench) = Bench::start(5)? else {
        return Ok(());
    };
    let path = bench.disk.path().join("records");
    prewrite(&path, MIB)?;
    let old = open_direct(&path)?;
    write_record(&old, 0, 1, DURABLE)?;
    bench.disk.cut_by(Profile::Nothing, AT_ONCE)?;
    let dead = write_record(&old, 0, 2, DURABLE).expect_err("the power is off");
    assert!(is_io_error(&dead), "{dead}");
    assert!(open_direct(&path).is_err());
    let made = std::fs::write(&path, "on the wrong disk");
    assert!(made.is_err(), "a file was made below the mount point");
    bench.disk.restore()?;
    assert!(write_record(&old, 0, 3, DURABLE).is_err());
    assert!(read_record(&old, 0).is_err());
    let new = open_direct(&path)?;
    assert_eq!(read_record(&new, 0)?, [1; 8]);
    write_record(&new, 0, 4, DURABLE)?;
    assert_eq!(read_record(&new, 0)?, [4; 8]);
    Ok(())
}

#[test]
fn nothing_is_left_behind_even_by_a_panic_with_a_file_open() -> Outcome {
    let Some(Bench { disk, dir }) = Bench::start(6)? else {
        return Ok(());
    };
    let path = disk.path().join("records");
    prewrite(&path, MIB)?;
    let panicked = thread::spawn(move || {
        // Closed after the disk is dropped.
        let _held = open_direct(&path).expect("it was just made");
        let _disk = disk;
        panic!("on purpose");
    });
    assert!(panicked.join().is_err());
    assert_eq!(mounts_below(dir.path())?, 0);
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
    Ok(())
}

/// Set for the child process of the test below: the directory to start a disk in.
const VICTIM_DIR: &str = "CUTDISK_VICTIM_DIR";

#[test]
fn what_a_killed_process_left_is_swept_by_the_next_start() -> Outcome {
    if let Some(dir) = std::env::var_os(VICTIM_DIR) {
        return be_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    if require_or_skip(CutDisk::start(dir.path(), MIB as u64, 8)).is_none() {
        return Ok(());
    }
    let mut victim = Command::new(std::env::current_exe()?)
        .args(["--exact", "what_a_killed_process_left_is_swept_by_the_next_start"])
        .arg("--nocapture")
        .env(VICTIM_DIR, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let said = BufReader::new(victim.stdout.take().ok_or("no stdout")?);
    let ready = said.lines().map_while(Result::ok).any(|line| line.contains(READY));
    victim.kill()?;
    victim.wait()?;
    assert!(ready, "the victim never had a disk");
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 1);
    assert_eq!(mounts_below(dir.path())?, 2);
    let disk = CutDisk::start(dir.path(), MIB as u64, 9)?;
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 1);
    assert_eq!(mounts_below(dir.path())?, 1);
    drop(disk);
    assert_eq!(std::fs::read_dir(dir.path())?.count(), 0);
    Ok(())
}

const READY: &str = "the victim is ready";

/// Mounts a disk, with something written to it, and waits for the end.
fn be_killed(dir: &Path) -> Outcome {
    let mut disk = CutDisk::start(dir, 64 << 20, 10)?;
    disk.mkfs()?;
    disk.mount()?;
    std::fs::write(disk.path().join("dirty"), [1; 1 << 20])?;
    println!("{READY}");
    // Returns when the parent is gone, so that nobody is left waiting.
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn mounts_below(dir: &Path) -> Outcome<usize> {
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let name = dir.file_name().and_then(|name| name.to_str());
    let name = name.ok_or("a temporary directory has a name")?;
    Ok(mounts.lines().filter(|line| line.contains(name)).count())
}

#[test]
fn the_disk_carries_a_load() -> Outcome {
    const STREAM_BYTES: usize = 64 * MIB;
    let Some(bench) = Bench::start(7)? else {
        return Ok(());
    };
    let path = bench.disk.path().join("stream");
    prewrite(&path, STREAM_BYTES)?;
    let file = open_direct(&path)?;
    let mut block = Aligned::new(BLOCK_BYTES);
    let mut measure = |what, flags: Option<ReadWriteFlags>| -> Outcome<f64> {
        let started = Instant::now();
        for offset in (0..STREAM_BYTES as u64).step_by(BLOCK_BYTES) {
            let moved = match flags {
                Some(flags) => rustix::io::pwritev2(&file, &[IoSlice::new(block.slice())], offset, flags)?,
                None => rustix::io::pread(&file, block.slice(), offset)?,
            };
            assert_eq!(moved, BLOCK_BYTES);
        }
        let rate = (STREAM_BYTES / MIB) as f64 / started.elapsed().as_secs_f64();
        println!("{what} in blocks of 256 KiB, one at a time: {rate:.0} MiB/s");
        Ok(rate)
    };
    let before = bench.disk.counters();
    let unflushed = measure("written without flushes", Some(NOT_DURABLE))?;
    let flushed = measure("written and flushed each", Some(DURABLE))?;
    let read = measure("read", None)?;
    let after = bench.disk.counters();
    let blocks = (STREAM_BYTES / BLOCK_BYTES) as u64;
    assert!(after.flushes - before.flushes >= blocks);
    assert!(after.written_bytes - before.written_bytes >= 2 * STREAM_BYTES as u64);
    assert!(unflushed.min(flushed).min(read) > 20.0, "too slow for a load");
    Ok(())
}
