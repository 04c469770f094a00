//! Buffers that the kernel picks from as bytes arrive: one provided-buffer ring for all connections.
//!
//! What one turn of the loop receives should still be in the processor's cache when it is copied on. The kernel fills
//! whatever is offered before it hands anything over, so only so many buffers are offered as [`TURN_BYTES`] fill, by how full
//! they were of late; the rest are spare, and the newest used goes back first.

use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::Received;
use crate::buffer::{BLOCK_BYTES, Region};
use crate::receive_memory::{ReceiveMemory, TURN_BYTES};

/// The group's number on the ring.
pub(super) const GROUP: u16 = 0;

/// Buffers that are offered at least, and at most.
const OFFERED: std::ops::RangeInclusive<u32> = 4..=64;

/// The share of the newest receive in the mean of how full they are: one of so many.
const MEAN_OVER: u32 = 16;

pub(super) struct ReceiveBuffers {
    /// The entries, shared with the kernel, which takes from the head.
    entries: Region,
    memory: ReceiveMemory,
    /// Where the next buffer is offered; only its low bits matter.
    tail: u16,
    offered: u16,
    /// How many bytes receives delivered of late, as a moving mean.
    mean_bytes: u32,
}

impl ReceiveBuffers {
    /// As [`ReceiveMemory::map`].
    pub(super) fn map(count: u16, buffer_bytes: u32) -> std::io::Result<ReceiveBuffers> {
        let memory = ReceiveMemory::map(count, buffer_bytes)?;
        let entry_bytes = size_of::<BufRingEntry>() * usize::from(memory.count());
        let entries = Region::map(entry_bytes.next_multiple_of(BLOCK_BYTES))?;
        Ok(ReceiveBuffers { entries, memory, tail: 0, offered: 0, mean_bytes: 0 })
    }

    /// Makes the buffers known to the kernel and offers the first. They must stay mapped until `ring` is closed and nothing is in flight on it.
    pub(super) fn register(&mut self, ring: &IoUring) -> std::io::Result<()> {
        // SAFETY: the entries are mapped, page-aligned and as many as said; the owner keeps them until the ring is closed.
        unsafe {
            let entries = self.entries.start() as u64;
            ring.submitter().register_buf_ring_with_flags(entries, self.memory.count(), GROUP, 0)?;
        }
        self.offer();
        Ok(())
    }

    pub(super) fn count(&self) -> u16 {
        self.memory.count()
    }

    /// Notes that the kernel delivered `length` bytes in `buffer`.
    pub(super) fn lend(&mut self, buffer: u16, length: u32) -> Received {
        self.mean_bytes = self.mean_bytes - self.mean_bytes / MEAN_OVER + length / MEAN_OVER;
        self.offered -= 1;
        self.offer();
        self.memory.lend(buffer, length)
    }

    pub(super) fn bytes(&self, received: Received) -> &[u8] {
        self.memory.bytes(received)
    }

    pub(super) fn recycle(&mut self, buffer: u16) {
        self.memory.recycle(buffer);
        self.offer();
    }

    /// Takes back a buffer that the kernel returned with no bytes.
    pub(super) fn returned(&mut self, buffer: u16) {
        self.offered -= 1;
        self.memory.put_back(buffer);
        self.offer();
    }

    /// Keeps the memory mapped for good, for when the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        self.entries.leak();
        self.memory.leak();
    }

    /// Offers spare buffers, the newest used first, up to the bound.
    fn offer(&mut self) {
        let wanted = (TURN_BYTES / self.mean_bytes.max(1)).clamp(*OFFERED.start(), *OFFERED.end());
        while u32::from(self.offered) < wanted {
            let Some(buffer) = self.memory.take() else { return };
            self.publish(buffer);
            self.offered += 1;
        }
    }

    /// Puts a buffer at the tail, for the kernel.
    fn publish(&mut self, buffer: u16) {
        let address = self.memory.start(buffer) as u64;
        let base = self.entries.start().cast::<BufRingEntry>();
        let at = usize::from(self.tail & (self.memory.count() - 1));
        // SAFETY: `at` is below the number of entries that are mapped. The kernel reads an entry only once the tail has passed
        // it, and at most `count` buffers exist, so this one is not in use. The tail shares entry 0's spare field, which
        // setting the other fields leaves alone.
        unsafe {
            let entry = &mut *base.add(at);
            entry.set_addr(address);
            entry.set_len(self.memory.buffer_bytes() as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the mapping, aligned, and the kernel, which reads it at the same time, is told by an atomic.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
