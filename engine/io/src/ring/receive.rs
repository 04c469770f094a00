//! Buffers that the kernel picks from as bytes arrive: one provided-buffer ring for all connections.
//!
//! Each buffer belongs either to the kernel or, once a receive delivered it, to the caller until recycled. Only the caller's
//! may be looked at, which is checked.
//!
//! What one turn of the loop receives should still be in the processor's cache when it is copied on. The kernel fills
//! whatever is offered before it hands anything over, so only so many buffers are offered as [`TURN_BYTES`] fill, by how full
//! they were of late; the rest are spare, and the newest used goes back first.

use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::Received;
use crate::buffer::{BLOCK_BYTES, Region};

/// The group's number on the ring.
pub(super) const GROUP: u16 = 0;

/// The kernel's limit.
const BUFFERS_MAX: u16 = 1 << 15;

/// Bytes that a turn should receive at most, over all connections: a part of a core's second-level cache, which also has to
/// hold where they come from and go to.
const TURN_BYTES: u32 = 384 << 10;

/// Buffers that are offered at least, and at most.
const OFFERED: std::ops::RangeInclusive<u32> = 4..=64;

/// The share of the newest receive in the mean of how full they are: one of so many.
const MEAN_OVER: u32 = 16;

pub(super) struct ReceiveBuffers {
    /// The entries, shared with the kernel, which takes from the head.
    entries: Region,
    memory: Region,
    count: u16,
    buffer_bytes: usize,
    /// Where the next buffer is offered; only its low bits matter.
    tail: u16,
    offered: u16,
    /// How many bytes receives delivered of late, as a moving mean.
    mean_bytes: u32,
    /// Neither offered nor lent; the last is the newest used.
    spare: Vec<u16>,
    /// Bytes delivered in each buffer that the caller holds; 0 if the kernel has it.
    lent: Box<[u32]>,
}

impl ReceiveBuffers {
    /// `count` is rounded up to a power of two, `buffer_bytes` to blocks.
    pub(super) fn map(count: u16, buffer_bytes: u32) -> std::io::Result<ReceiveBuffers> {
        let count = count.clamp(1, BUFFERS_MAX).next_power_of_two();
        let buffer_bytes = (buffer_bytes.max(1) as usize).next_multiple_of(BLOCK_BYTES);
        let entry_bytes = size_of::<BufRingEntry>() * usize::from(count);
        let entries = Region::map(entry_bytes.next_multiple_of(BLOCK_BYTES))?;
        let memory = Region::map(buffer_bytes * usize::from(count))?;
        let lent = vec![0; usize::from(count)].into_boxed_slice();
        let spare = (0..count).rev().collect();
        Ok(ReceiveBuffers { entries, memory, count, buffer_bytes, tail: 0, offered: 0, mean_bytes: 0, spare, lent })
    }

    /// Makes the buffers known to the kernel and offers the first. They must stay mapped until `ring` is closed and nothing is in flight on it.
    pub(super) fn register(&mut self, ring: &IoUring) -> std::io::Result<()> {
        // SAFETY: the entries are mapped, page-aligned and as many as said; the owner keeps them until the ring is closed.
        unsafe {
            let entries = self.entries.start() as u64;
            ring.submitter().register_buf_ring_with_flags(entries, self.count, GROUP, 0)?;
        }
        self.offer();
        Ok(())
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Notes that the kernel delivered `length` bytes in `buffer`.
    pub(super) fn lend(&mut self, buffer: u16, length: u32) -> Received {
        debug_assert_eq!(self.lent[usize::from(buffer)], 0, "the kernel delivers only what it has");
        self.lent[usize::from(buffer)] = length;
        self.mean_bytes = self.mean_bytes - self.mean_bytes / MEAN_OVER + length / MEAN_OVER;
        self.offered -= 1;
        self.offer();
        Received { buffer, length }
    }

    pub(super) fn bytes(&self, received: Received) -> &[u8] {
        let Received { buffer, length } = received;
        let lent = self.lent[usize::from(buffer)];
        assert!(length <= lent, "buffer {buffer} holds {lent} bytes of the caller's, not {length}");
        // SAFETY: the range lies in buffer number `buffer`, since the kernel delivered at least `length` bytes in it. It is
        // initialised (zeroed when mapped) and the caller's: the kernel does not write to it until `recycle`, which takes
        // `&mut self` and so ends this borrow.
        unsafe { std::slice::from_raw_parts(self.start(buffer), length as usize) }
    }

    pub(super) fn recycle(&mut self, buffer: u16) {
        let lent = std::mem::take(&mut self.lent[usize::from(buffer)]);
        assert_ne!(lent, 0, "buffer {buffer} is not the caller's to give back");
        self.spare.push(buffer);
        self.offer();
    }

    /// Takes back a buffer that the kernel returned with no bytes.
    pub(super) fn returned(&mut self, buffer: u16) {
        self.offered -= 1;
        self.spare.push(buffer);
        self.offer();
    }

    /// Keeps the memory mapped for good, for when the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        self.entries.leak();
        self.memory.leak();
    }

    fn start(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.count, "there are {} receive buffers, no number {buffer}", self.count);
        // SAFETY: the offset is that of an existing buffer, within the mapping.
        unsafe { self.memory.start().add(usize::from(buffer) * self.buffer_bytes) }
    }

    /// Offers spare buffers, the newest used first, up to the bound.
    fn offer(&mut self) {
        let wanted = (TURN_BYTES / self.mean_bytes.max(1)).clamp(*OFFERED.start(), *OFFERED.end());
        while u32::from(self.offered) < wanted {
            let Some(buffer) = self.spare.pop() else { return };
            self.publish(buffer);
            self.offered += 1;
        }
    }

    /// Puts a buffer at the tail, for the kernel.
    fn publish(&mut self, buffer: u16) {
        let address = self.start(buffer) as u64;
        let base = self.entries.start().cast::<BufRingEntry>();
        let at = usize::from(self.tail & (self.count - 1));
        // SAFETY: `at` is below the number of entries that are mapped. The kernel reads an entry only once the tail has passed
        // it, and at most `count` buffers exist, so this one is not in use. The tail shares entry 0's spare field, which
        // setting the other fields leaves alone.
        unsafe {
            let entry = &mut *base.add(at);
            entry.set_addr(address);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the mapping, aligned, and the kernel, which reads it at the same time, is told by an atomic.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }
}
