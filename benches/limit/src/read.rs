//! Sequential O_DIRECT reads of written space with a number of them in flight: what opening a log is held against, which
//! reads a segment.

use std::time::Instant;

use io_uring::{opcode, squeue, types};
use serde::Serialize;

use crate::device::Device;
use crate::error::LimitError;
use crate::report::{Figures, Latencies, nanos};
use crate::ring::{Memory, Ring};
use crate::target::{Position, Target};
use crate::usage::Usage;

/// What is read: `bytes` in all, a multiple of `size_bytes`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) bytes: u64,
    pub(crate) size_bytes: u64,
    pub(crate) depth: usize,
}

/// What a run found; its seconds are the time that all the bytes took.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) figures: Figures,
    /// False where the locked-memory limit was too low for registered buffers.
    pub(crate) registered_buffers: bool,
}

/// Reads everything once, from the start of the space.
pub(crate) fn run(target: &mut Target, point: Point, device: Option<&Device>) -> Result<Run, LimitError> {
    // The ring goes before the memory that its operations use.
    let mut ring = Ring::new(point.depth)?;
    let size = u32::try_from(point.size_bytes).expect("checked with the arguments");
    let memory = Memory::new(point.depth, size as usize)?;
    ring.register_files(&target.descriptors())?;
    let registered = ring.register_memory(&memory)?;
    let mut latencies = Latencies::new();
    let before = Usage::now(device);
    let started = Instant::now();
    let mut begun = vec![started; point.depth];
    let mut free: Vec<usize> = (0..point.depth).rev().collect();
    let (mut asked, mut done) = (0, 0);
    while done < point.bytes {
        while asked < point.bytes
            && let Some(slot) = free.pop()
        {
            let position = target.next(point.size_bytes).expect("written space wraps");
            begun[slot] = Instant::now();
            let entry = read_entry(&memory, slot, size, position, registered);
            // SAFETY: `memory` is dropped after the ring, and the slot is not used again before its completion.
            unsafe { ring.push(&entry.user_data(slot as u64)) }?;
            asked += point.size_bytes;
        }
        ring.turn()?;
        while let Some(read) = ring.completion() {
            if i64::from(read.result()) != i64::from(size) {
                return Err(LimitError::from_read(read.result(), size));
            }
            let slot = usize::try_from(read.user_data()).expect("slots are few");
            latencies.record(nanos(begun[slot].elapsed()));
            free.push(slot);
            done += point.size_bytes;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let usage = Usage::now(device).since(before);
    drop(ring);
    Ok(Run { figures: Figures::new(&latencies, point.size_bytes, seconds, usage), registered_buffers: registered })
}

/// A read into one slot, which is a registered buffer where there are some.
fn read_entry(memory: &Memory, slot: usize, size: u32, position: Position, registered: bool) -> squeue::Entry {
    let file = types::Fixed(position.file);
    let address = memory.at(slot);
    if registered {
        let index = u16::try_from(slot).expect("the number of buffers is bounded");
        return opcode::ReadFixed::new(file, address, size, index).offset(position.offset).build();
    }
    opcode::Read::new(file, address, size).offset(position.offset).build()
}
