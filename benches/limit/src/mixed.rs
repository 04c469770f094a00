//! Limit (d): durable writes at a given rate beside direct reads under a budget of bytes a second, one thread for both.

use std::time::{Duration, Instant};

use io_uring::{opcode, types};
use serde::Serialize;

use crate::device::Device;
use crate::error::LimitError;
use crate::report::{Figures, Latencies, nanos};
use crate::ring::{Memory, Ring};
use crate::target::{Position, Target};
use crate::usage::Usage;
use crate::write::write_entry;

/// Marks the completion of a read.
const READ_BIT: u64 = 1 << 63;

/// What is written and read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) size_bytes: u64,
    pub(crate) write_depth: usize,
    pub(crate) read_depth: usize,
    /// Bytes a second.
    pub(crate) write_rate: u64,
    pub(crate) read_budget: u64,
}

/// What a run found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) writes: Figures,
    pub(crate) reads: Figures,
}

/// Operations of one kind: when the next is due, and those in flight.
struct Lane {
    interval_s: f64,
    begun: u64,
    free: Vec<usize>,
    started: Vec<Instant>,
    latencies: Latencies,
}

impl Lane {
    fn new(rate: u64, size_bytes: u64, depth: usize, now: Instant) -> Self {
        let interval_s = if rate == 0 { f64::INFINITY } else { size_bytes as f64 / rate as f64 };
        let (free, started) = ((0..depth).rev().collect(), vec![now; depth]);
        Self { interval_s, begun: 0, free, started, latencies: Latencies::new() }
    }

    /// How long until the next is due; zero if it is.
    fn due_in(&self, since_start: Duration) -> Duration {
        let due_s = self.begun as f64 * self.interval_s;
        Duration::try_from_secs_f64(due_s - since_start.as_secs_f64()).unwrap_or(match due_s.is_finite() {
            true => Duration::ZERO,
            false => Duration::MAX,
        })
    }

    fn begin(&mut self, now: Instant) -> Option<usize> {
        let slot = self.free.pop()?;
        self.started[slot] = now;
        self.begun += 1;
        Some(slot)
    }

    fn end(&mut self, slot: usize, now: Instant) {
        self.latencies.record(nanos(now.duration_since(self.started[slot])));
        self.free.push(slot);
    }

    fn is_idle(&self) -> bool {
        self.free.len() == self.started.len()
    }
}

/// Runs for `seconds`. What falls behind its rate is not made up for by more in flight.
pub(crate) fn run(
    (written, read): (&mut Target, &mut Target),
    point: Point,
    seconds: f64,
    device: Option<&Device>,
) -> Result<Run, LimitError> {
    let Point { size_bytes, write_depth, read_depth, .. } = point;
    let mut ring = Ring::new(write_depth + read_depth)?;
    let size = u32::try_from(size_bytes).expect("checked with the arguments");
    let memory = Memory::new(write_depth + read_depth, size as usize)?;
    let files = written.descriptors();
    let first_read = u32::try_from(files.len()).expect("files are few");
    ring.register_files(&[files, read.descriptors()].concat())?;
    let registered = ring.register_memory(&memory)?;
    let before = Usage::now(device);
    let started = Instant::now();
    let mut writes = Lane::new(point.write_rate, size_bytes, write_depth, started);
    let mut reads = Lane::new(point.read_budget, size_bytes, read_depth, started);
    let deadline = started + Duration::from_secs_f64(seconds);
    let mut now = started;
    loop {
        let mut wait = deadline.saturating_duration_since(now);
        while now < deadline && !writes.free.is_empty() && writes.due_in(now - started).is_zero() {
            let position = written.next(size_bytes).expect("written space wraps");
            let slot = writes.begin(now).expect("just looked");
            let entry = write_entry(&memory, slot, size, position, libc::RWF_DSYNC, registered).user_data(slot as u64);
            // SAFETY: `memory` is dropped after the ring, and nothing writes into the slot.
            unsafe { ring.push(&entry) }?;
        }
        while now < deadline && !reads.free.is_empty() && reads.due_in(now - started).is_zero() {
            let Position { file, offset } = read.next(size_bytes).expect("written space wraps");
            let slot = reads.begin(now).expect("just looked");
            let address = memory.at(write_depth + slot);
            let entry = opcode::Read::new(types::Fixed(first_read + file), address, size).offset(offset).build();
            // SAFETY: as above, and the slot is not used again before its completion.
            unsafe { ring.push(&entry.user_data(slot as u64 | READ_BIT)) }?;
        }
        if now >= deadline && writes.is_idle() && reads.is_idle() {
            break;
        }
        for lane in [&writes, &reads] {
            if !lane.free.is_empty() {
                wait = wait.min(lane.due_in(now - started));
            }
        }
        if now < deadline {
            ring.turn_within(wait)?;
        } else {
            ring.turn()?;
        }
        now = Instant::now();
        while let Some(done) = ring.completion() {
            let is_read = done.user_data() & READ_BIT != 0;
            let slot = usize::try_from(done.user_data() & !READ_BIT).expect("slots are few");
            if i64::from(done.result()) != i64::from(size) {
                return Err(match is_read {
                    true => LimitError::from_read(done.result(), size),
                    false => LimitError::from_write(done.result(), size),
                });
            }
            if is_read { reads.end(slot, now) } else { writes.end(slot, now) }
        }
    }
    let elapsed_s = started.elapsed().as_secs_f64();
    let usage = Usage::now(device).since(before);
    drop(ring);
    Ok(Run {
        writes: Figures::new(&writes.latencies, size_bytes, elapsed_s, usage),
        reads: Figures::new(&reads.latencies, size_bytes, elapsed_s, usage),
    })
}
