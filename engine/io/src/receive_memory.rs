//! The memory of receive buffers, and who has each: it is spare, or offered to the kernel, or the caller's.
//!
//! Only what is the caller's may be looked at, which is checked. The newest used is taken again first: it is still in the
//! processor's cache.

use crate::Received;
use crate::buffer::{BLOCK_BYTES, Region};

/// The most buffers: their numbers are those of the ring, which has no more.
const BUFFERS_MAX: u16 = 1 << 15;

/// Bytes that a turn should receive at most, over all connections: a part of a core's second-level cache, which also has to
/// hold where they come from and go to.
pub(crate) const TURN_BYTES: u32 = 384 << 10;

pub(crate) struct ReceiveMemory {
    memory: Region,
    count: u16,
    buffer_bytes: usize,
    /// Neither offered nor lent; the last is the newest used.
    spare: Vec<u16>,
    /// Bytes delivered in each buffer that the caller holds; 0 if it is not the caller's.
    lent: Box<[u32]>,
}

impl ReceiveMemory {
    /// `count` is rounded up to a power of two, `buffer_bytes` to blocks.
    pub(crate) fn map(count: u16, buffer_bytes: u32) -> std::io::Result<ReceiveMemory> {
        let count = count.clamp(1, BUFFERS_MAX).next_power_of_two();
        let buffer_bytes = (buffer_bytes.max(1) as usize).next_multiple_of(BLOCK_BYTES);
        let memory = Region::map(buffer_bytes * usize::from(count))?;
        let lent = vec![0; usize::from(count)].into_boxed_slice();
        Ok(ReceiveMemory { memory, count, buffer_bytes, spare: (0..count).rev().collect(), lent })
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// A spare buffer, which is spare no more.
    pub(crate) fn take(&mut self) -> Option<u16> {
        self.spare.pop()
    }

    /// Makes a buffer that nobody has spare again.
    pub(crate) fn put_back(&mut self, buffer: u16) {
        self.spare.push(buffer);
    }

    /// Notes that `length` bytes were delivered in `buffer`, which is the caller's from here on.
    pub(crate) fn lend(&mut self, buffer: u16, length: u32) -> Received {
        debug_assert_eq!(self.lent[usize::from(buffer)], 0, "nothing is delivered in what the caller has");
        self.lent[usize::from(buffer)] = length;
        Received { buffer, length }
    }

    pub(crate) fn bytes(&self, received: Received) -> &[u8] {
        let Received { buffer, length } = received;
        let lent = self.lent[usize::from(buffer)];
        assert!(length <= lent, "buffer {buffer} holds {lent} bytes of the caller's, not {length}");
        // SAFETY: the range lies in buffer number `buffer`, in which at least `length` bytes were delivered. It is initialised
        // (zeroed when mapped) and the caller's: nobody writes to it until `recycle`, which takes `&mut self` and so ends this
        // borrow.
        unsafe { std::slice::from_raw_parts(self.start(buffer), length as usize) }
    }

    /// Takes a buffer back from the caller.
    pub(crate) fn recycle(&mut self, buffer: u16) {
        let lent = std::mem::take(&mut self.lent[usize::from(buffer)]);
        assert_ne!(lent, 0, "buffer {buffer} is not the caller's to give back");
        self.spare.push(buffer);
    }

    /// All of a buffer that was taken and not lent, to write to.
    pub(crate) fn bytes_mut(&mut self, buffer: u16) -> &mut [u8] {
        assert_eq!(self.lent[usize::from(buffer)], 0, "buffer {buffer} is the caller's");
        // SAFETY: the range is that of one buffer, initialised (zeroed when mapped). Nobody else looks at it: `bytes` shows
        // only what is lent, and both borrow all buffers.
        unsafe { std::slice::from_raw_parts_mut(self.start(buffer), self.buffer_bytes) }
    }

    pub(crate) fn start(&self, buffer: u16) -> *mut u8 {
        assert!(buffer < self.count, "there are {} receive buffers, no number {buffer}", self.count);
        // SAFETY: the offset is that of an existing buffer, within the mapping.
        unsafe { self.memory.start().add(usize::from(buffer) * self.buffer_bytes) }
    }

    /// Keeps the memory mapped for good, for when the kernel may still write to it.
    pub(crate) fn leak(&mut self) {
        self.memory.leak();
    }
}
