//! Planted bugs: a world that lies to the engine, or an engine that would ignore what the world says, must be found
//! within a bounded number of seeds. Otherwise the many seeds that pass prove nothing.

use std::collections::BTreeMap;

use io::{Completion, FileOp, Io, Op, Payload, Pool, Received, Token, Wait};
use sim::{Options, Profile, SimIo, run_with};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bug {
    /// Durable writes are plain ones.
    NoDurableFlag,
    /// Writes complete before the disk has them.
    EarlyCompletion,
    /// One durable write in twenty completes and never happens.
    LostWrite,
    /// Failed writes pass for good ones.
    ErrorIgnored,
    /// Short writes pass for whole ones.
    ShortIgnored,
    /// The directory is never flushed.
    NoSyncDir,
    /// Files are never flushed.
    NoSync,
    /// One read in twenty brings what was asked for before.
    StaleRead,
}

/// The first byte of tokens that the engine must not see; it uses low ones.
const HIDDEN: u64 = 0xee;

/// A world with a bug between it and the engine.
struct Buggy {
    io: SimIo,
    bug: Bug,
    /// Bytes of the writes in flight.
    writes: BTreeMap<Token, usize>,
    /// Completions made up, to be delivered at the next turn.
    made_up: Vec<Completion>,
    count: u32,
    last_read: Vec<u8>,
}

impl Buggy {
    fn new(io: SimIo, bug: Bug) -> Buggy {
        Buggy { io, bug, writes: BTreeMap::new(), made_up: Vec::new(), count: 0, last_read: Vec::new() }
    }

    fn complete_now(&mut self, token: Token, result: i32) {
        self.made_up.push(Completion { token, result, more: false, payload: Payload::None });
    }

    /// Whether a completion is to be seen, and as what.
    fn tamper(&mut self, completion: &mut Completion) -> bool {
        if completion.token.0 >> 56 == HIDDEN {
            return false;
        }
        let written = self.writes.remove(&completion.token);
        match (self.bug, written) {
            (Bug::ErrorIgnored, Some(bytes)) if completion.result < 0 => completion.result = bytes as i32,
            (Bug::ShortIgnored, Some(bytes)) if completion.result >= 0 => completion.result = bytes as i32,
            _ => {}
        }
        if let (Bug::StaleRead, Payload::Buf(buf)) = (self.bug, &mut completion.payload) {
            self.count += 1;
            if self.count.is_multiple_of(20) && self.last_read.len() >= buf.len() {
                let length = buf.len();
                buf.copy_from_slice(&self.last_read[..length]);
            }
            self.last_read = buf.to_vec();
        }
        true
    }
}

impl Io for Buggy {
    fn submit(&mut self, op: Op, token: Token) {
        let op = match op {
            Op::Write { file, offset, buf, durable } => {
                let bytes = buf.len();
                self.count += u32::from(durable && self.bug == Bug::LostWrite);
                if self.bug == Bug::LostWrite && durable && self.count.is_multiple_of(20) {
                    return self.complete_now(token, bytes as i32);
                }
                if self.bug == Bug::EarlyCompletion {
                    self.complete_now(token, bytes as i32);
                    self.count += 1;
                    let hidden = Token(HIDDEN << 56 | u64::from(self.count));
                    return self.io.submit(Op::Write { file, offset, buf, durable }, hidden);
                }
                self.writes.insert(token, bytes);
                Op::Write { file, offset, buf, durable: durable && self.bug != Bug::NoDurableFlag }
            }
            Op::File(FileOp::SyncDir(_)) if self.bug == Bug::NoSyncDir => return self.complete_now(token, 0),
            Op::File(FileOp::Sync(_)) if self.bug == Bug::NoSync => return self.complete_now(token, 0),
            op => op,
        };
        self.io.submit(op, token);
    }

    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) {
        let wait = if self.made_up.is_empty() { wait } else { Wait::No };
        let mut real = Vec::new();
        let made_up = std::mem::take(&mut self.made_up);
        self.io.turn(wait, &mut real);
        real.retain_mut(|completion| self.tamper(completion));
        completions.extend(made_up);
        completions.append(&mut real);
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

    fn random(&mut self) -> [u8; 16] {
        self.io.random()
    }
}

/// The harness must find the bug within so many seeds.
fn must_be_found(bug: Bug, profile: Profile, seeds: u64) {
    std::panic::set_hook(Box::new(|_| {}));
    let find = |seed| run_with(seed, profile, Options::default(), |io| Buggy::new(io, bug)).err();
    // A promise must be seen broken: an engine that stumbles over a lie is not enough.
    let found = (0..seeds).filter_map(find).find(|failure| failure.breach.rule != "panic");
    let _ = std::panic::take_hook();
    match found {
        Some(failure) => println!("{bug:?}: found by {failure}"),
        None => panic!("{seeds} seeds of profile {profile:?} did not find {bug:?}: the harness is blind to it"),
    }
}

#[test]
fn a_missing_durable_flag_is_found() {
    must_be_found(Bug::NoDurableFlag, Profile::Crash, 100);
}

#[test]
fn early_completions_are_found() {
    must_be_found(Bug::EarlyCompletion, Profile::Crash, 100);
}

#[test]
fn lost_writes_are_found() {
    must_be_found(Bug::LostWrite, Profile::Crash, 100);
}

#[test]
fn ignored_errors_are_found() {
    must_be_found(Bug::ErrorIgnored, Profile::Faults, 400);
}

#[test]
fn ignored_short_writes_are_found() {
    must_be_found(Bug::ShortIgnored, Profile::Faults, 400);
}

#[test]
fn a_missing_directory_flush_is_found() {
    must_be_found(Bug::NoSyncDir, Profile::Crash, 400);
}

#[test]
fn a_missing_file_flush_is_found() {
    must_be_found(Bug::NoSync, Profile::Crash, 2000);
}

#[test]
fn stale_reads_are_found() {
    must_be_found(Bug::StaleRead, Profile::Crash, 100);
}
