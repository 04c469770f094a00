//! Limit (a): sequential O_DIRECT writes with a number of them in flight, nothing else.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use io_uring::{opcode, squeue, types};
use serde::Serialize;

use crate::device::Device;
use crate::error::LimitError;
use crate::report::{Figures, Latencies, nanos};
use crate::ring::{Memory, Ring};
use crate::target::{Position, Target};
use crate::usage::Usage;

/// Marks the completion of the flush that follows a write.
const FLUSH_BIT: u64 = 1 << 63;

/// How a write is made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Flush {
    /// RWF_DSYNC on the write itself.
    Dsync,
    /// A plain write with a linked fdatasync; both count as one operation.
    Fdatasync,
    /// Not at all: what the device takes into its volatile cache.
    None,
}

/// One point: what is written and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) size_bytes: u64,
    pub(crate) depth: usize,
    pub(crate) flush: Flush,
    /// Memory that the data comes from in turn; less than a buffer for each write in flight counts as that.
    pub(crate) source_bytes: u64,
}

impl Point {
    /// How many buffers the data comes from.
    pub(crate) fn buffers(self) -> usize {
        let buffers = usize::try_from(self.source_bytes / self.size_bytes).unwrap_or(usize::MAX);
        buffers.max(self.depth)
    }
}

/// What a run at one point found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) figures: Figures,
    /// False where the locked-memory limit was too low for registered buffers.
    pub(crate) registered_buffers: bool,
    /// Allocated space ran out before the time did.
    pub(crate) space_used_up: bool,
}

/// Writes for `seconds`, or until allocated space is used up. Every write that was started is counted, and the clock
/// stops with the last of them.
pub(crate) fn run(target: &mut Target, point: Point, seconds: f64, device: Option<&Device>) -> Result<Run, LimitError> {
    let mut writer = Writer::new(target, point)?;
    let before = Usage::now(device);
    let started = Instant::now();
    let deadline = started + Duration::from_secs_f64(seconds);
    let space_used_up = writer.write_until(target, started, deadline)?;
    let elapsed_s = started.elapsed().as_secs_f64();
    let usage = Usage::now(device).since(before);
    Ok(Run {
        figures: Figures::new(&writer.latencies, point.size_bytes, elapsed_s, usage),
        registered_buffers: writer.registered,
        space_used_up,
    })
}

/// A ring, with buffers that are only read, so that two writes may share one.
struct Writer {
    ring: Ring,
    memory: Memory,
    registered: bool,
    point: Point,
    size: u32,
    next_buffer: usize,
    /// For each place in flight, when its write was started.
    started: Vec<Instant>,
    latencies: Latencies,
}

impl Writer {
    fn new(target: &Target, point: Point) -> Result<Self, LimitError> {
        let ring = Ring::new(2 * point.depth)?;
        let size = u32::try_from(point.size_bytes).expect("checked with the arguments");
        let memory = Memory::new(point.buffers(), size as usize)?;
        ring.register_files(&target.descriptors())?;
        let registered = ring.register_memory(&memory)?;
        Ok(Self {
            ring,
            memory,
            registered,
            point,
            size,
            next_buffer: 0,
            started: vec![Instant::now(); point.depth],
            latencies: Latencies::new(),
        })
    }

    /// Keeps `depth` writes in flight until the deadline, then waits for the rest. True if space ran out first.
    fn write_until(&mut self, target: &mut Target, started: Instant, deadline: Instant) -> Result<bool, LimitError> {
        let mut space_used_up = false;
        let mut in_flight = 0;
        let mut now = started;
        let mut free: Vec<usize> = (0..self.point.depth).rev().collect();
        loop {
            while now < deadline && !space_used_up && !free.is_empty() {
                let Some(position) = target.next(self.point.size_bytes) else {
                    space_used_up = true;
                    break;
                };
                let slot = free.pop().expect("just looked");
                self.started[slot] = now;
                self.push(slot, position)?;
                in_flight += 1;
            }
            if in_flight == 0 {
                return Ok(space_used_up);
            }
            self.ring.turn()?;
            now = Instant::now();
            while let Some(done) = self.ring.completion() {
                let slot = self.check(done.user_data(), done.result())?;
                let latency = now.duration_since(self.started[slot]);
                self.latencies.record(nanos(latency));
                free.push(slot);
                in_flight -= 1;
            }
        }
    }

    fn push(&mut self, slot: usize, position: Position) -> Result<(), LimitError> {
        let sync = match self.point.flush {
            Flush::Dsync => libc::RWF_DSYNC,
            Flush::Fdatasync | Flush::None => 0,
        };
        let buffer = self.next_buffer;
        self.next_buffer = (buffer + 1) % self.point.buffers();
        let mut write =
            write_entry(&self.memory, buffer, self.size, position, sync, self.registered).user_data(slot as u64);
        if self.point.flush == Flush::Fdatasync {
            // The write tells only of failure; the flush's completion is the operation's.
            write = write.flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS);
        }
        // SAFETY: `memory` outlives the ring, and nothing writes into it.
        unsafe { self.ring.push(&write) }?;
        if self.point.flush == Flush::Fdatasync {
            let flush = opcode::Fsync::new(types::Fixed(position.file))
                .flags(types::FsyncFlags::DATASYNC)
                .build()
                .user_data(slot as u64 | FLUSH_BIT);
            // SAFETY: a flush names no memory.
            unsafe { self.ring.push(&flush) }?;
        }
        Ok(())
    }

    /// The slot that a completion frees, if it did what was asked.
    fn check(&self, user_data: u64, result: i32) -> Result<usize, LimitError> {
        let expected = if user_data & FLUSH_BIT == 0 { i64::from(self.size) } else { 0 };
        if i64::from(result) != expected {
            return Err(LimitError::from_write(result, self.size));
        }
        Ok(usize::try_from(user_data & !FLUSH_BIT).expect("slots are few"))
    }
}

/// A write of one slot, from the registered buffer where there is one.
pub(crate) fn write_entry(
    memory: &Memory,
    slot: usize,
    size: u32,
    position: Position,
    rw_flags: i32,
    registered: bool,
) -> squeue::Entry {
    let file = types::Fixed(position.file);
    let address = memory.at(slot);
    if registered {
        let index = u16::try_from(slot).expect("the number of buffers is bounded");
        return opcode::WriteFixed::new(file, address, size, index).offset(position.offset).rw_flags(rw_flags).build();
    }
    opcode::Write::new(file, address, size).offset(position.offset).rw_flags(rw_flags).build()
}
