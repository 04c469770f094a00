//! Aligned memory for direct I/O: one region, handed out in powers of two, by one thread.
//!
//! The region is registered with the ring as a whole, so that a write from any part of it needs no pinning of pages. A
//! [`BufMut`] has one owner; frozen, it becomes a [`Buf`], which many may hold: the write in flight, the cache of the tail
//! and sends to readers. The memory goes back when the last one lets go.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// The smallest buffer, and the alignment of every one.
pub(crate) const BLOCK_BYTES: usize = 4096;

/// A region of zeroed anonymous memory, page-aligned, unmapped when dropped unless leaked.
pub(crate) struct Region {
    start: NonNull<u8>,
    bytes: usize,
    leaked: bool,
}

impl Region {
    pub(crate) fn map(bytes: usize) -> Result<Region, rustix::io::Errno> {
        // SAFETY: a new private anonymous mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
        };
        // SAFETY: the range is the mapping just made; the advice changes no contents. Failure only costs speed.
        let _ = unsafe { madvise(start, bytes, Advice::LinuxHugepage) };
        let start = NonNull::new(start.cast()).ok_or(rustix::io::Errno::NOMEM)?;
        Ok(Region { start, bytes, leaked: false })
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Leaves it mapped for good, for when the kernel may still use it.
    pub(crate) fn leak(&mut self) {
        self.leaked = true;
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is this long, initialised (zeroed), and borrowed through `&mut self` alone.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.bytes) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.leaked {
            return;
        }
        // SAFETY: the range is the mapping made in `map`; whoever borrowed from it held the region alive until now.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

struct Shared {
    region: Region,
    /// Free blocks by order: lists of block numbers, each aligned to its order.
    free: RefCell<Vec<Vec<u32>>>,
    /// Holders of each buffer, by its first block. 0 is free.
    holders: Box<[Cell<u32>]>,
    used_bytes: Cell<usize>,
}

/// A region of aligned memory. Clones are the same pool.
#[derive(Clone)]
pub struct Pool {
    shared: Rc<Shared>,
}

impl Pool {
    /// A pool of `bytes`, rounded up to a power of two.
    ///
    /// # Errors
    /// The kernel has no such room.
    pub fn new(bytes: usize) -> std::io::Result<Pool> {
        let bytes = bytes.next_power_of_two().max(BLOCK_BYTES);
        let region = Region::map(bytes)?;
        let blocks = bytes / BLOCK_BYTES;
        let orders = blocks.ilog2() as usize + 1;
        let mut free: Vec<Vec<u32>> =
            (0..orders).map(|order| Vec::with_capacity((blocks >> order).min(4096))).collect();
        free[orders - 1].push(0);
        let holders = (0..blocks).map(|_| Cell::new(0)).collect();
        Ok(Pool { shared: Rc::new(Shared { region, free: RefCell::new(free), holders, used_bytes: Cell::new(0) }) })
    }

    /// A buffer of `bytes`, or `None` when the pool has no such piece left. Contents are whatever was there.
    pub fn take(&self, bytes: usize) -> Option<BufMut> {
        let order = order_of(bytes);
        let mut free = self.shared.free.borrow_mut();
        let found = (order..free.len()).find(|&order| !free[order].is_empty())?;
        let block = free[found].pop()?;
        for split in (order..found).rev() {
            free[split].push(block + (1 << split));
        }
        self.shared.holders[block as usize].set(1);
        self.shared.used_bytes.set(self.shared.used_bytes.get() + (BLOCK_BYTES << order));
        Some(BufMut { piece: Piece { pool: self.clone(), block, order: order as u8, bytes: bytes as u32 } })
    }

    /// Bytes handed out, in whole pieces.
    pub fn used_bytes(&self) -> usize {
        self.shared.used_bytes.get()
    }

    /// Bytes of the whole region.
    pub fn capacity_bytes(&self) -> usize {
        self.shared.region.bytes()
    }

    /// Bytes that a buffer of `bytes` takes out of the pool.
    pub fn piece_bytes(bytes: usize) -> usize {
        BLOCK_BYTES << order_of(bytes)
    }

    pub(crate) fn region(&self) -> &Region {
        &self.shared.region
    }

    fn give_back(&self, mut block: u32, order: u8) {
        self.shared.used_bytes.set(self.shared.used_bytes.get() - (BLOCK_BYTES << order));
        let mut free = self.shared.free.borrow_mut();
        let mut order = usize::from(order);
        while order + 1 < free.len() {
            let buddy = block ^ (1 << order);
            let Some(at) = free[order].iter().position(|&other| other == buddy) else { break };
            free[order].swap_remove(at);
            block = block.min(buddy);
            order += 1;
        }
        free[order].push(block);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} of {} bytes used)", self.used_bytes(), self.capacity_bytes())
    }
}

fn order_of(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK_BYTES).next_power_of_two().ilog2() as usize
}

/// One holder's share of a piece of the region.
struct Piece {
    pool: Pool,
    block: u32,
    order: u8,
    bytes: u32,
}

impl Piece {
    fn start(&self) -> *mut u8 {
        // SAFETY: block numbers handed out by the pool lie within the region.
        unsafe { self.pool.shared.region.start().add(self.block as usize * BLOCK_BYTES) }
    }

    fn holders(&self) -> &Cell<u32> {
        &self.pool.shared.holders[self.block as usize]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let left = self.holders().get() - 1;
        self.holders().set(left);
        if left == 0 {
            self.pool.give_back(self.block, self.order);
        }
    }
}

/// An aligned buffer with one owner.
pub struct BufMut {
    piece: Piece,
}

impl BufMut {
    /// Shortens it to `bytes`; the memory stays its own.
    ///
    /// # Panics
    /// If it is shorter than that.
    pub fn truncate(&mut self, bytes: usize) {
        assert!(bytes <= self.len(), "a buffer of {} bytes can't be cut to {bytes}", self.len());
        self.piece.bytes = bytes as u32;
    }

    /// Ends writing: from here on it is only read, by any number of holders.
    pub fn freeze(self) -> Buf {
        Buf { piece: self.piece }
    }
}

impl Deref for BufMut {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the piece is ours alone, initialised by the zeroed mapping, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.piece.start(), self.piece.bytes as usize) }
    }
}

impl DerefMut for BufMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: the piece has this one owner, is initialised by the zeroed mapping, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts_mut(self.piece.start(), self.piece.bytes as usize) }
    }
}

impl fmt::Debug for BufMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufMut({} bytes)", self.len())
    }
}

/// An aligned buffer that nobody writes to any more. Clones are the same memory.
pub struct Buf {
    piece: Piece,
}

impl Buf {
    /// Bytes of the pool that it keeps.
    pub fn held_bytes(&self) -> usize {
        BLOCK_BYTES << self.piece.order
    }
}

impl Clone for Buf {
    fn clone(&self) -> Buf {
        self.piece.holders().set(self.piece.holders().get() + 1);
        let Piece { pool, block, order, bytes } = &self.piece;
        Buf { piece: Piece { pool: pool.clone(), block: *block, order: *order, bytes: *bytes } }
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: no holder of a frozen piece writes to it, and it lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.piece.start(), self.piece.bytes as usize) }
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_aligned_and_apart() {
        let pool = Pool::new(1 << 20).unwrap();
        let mut held = Vec::new();
        for (index, bytes) in [1, 4096, 4097, 100_000, 5000].into_iter().enumerate() {
            let mut buf = pool.take(bytes).unwrap();
            assert_eq!(buf.len(), bytes);
            assert_eq!(buf.as_ptr() as usize % BLOCK_BYTES, 0);
            buf.fill(index as u8);
            held.push(buf);
        }
        for (index, buf) in held.iter().enumerate() {
            assert!(buf.iter().all(|&byte| byte == index as u8), "piece {index} was written by another");
        }
    }

    #[test]
    fn everything_comes_back_whole() {
        let pool = Pool::new(64 * BLOCK_BYTES).unwrap();
        let held: Vec<_> = (0..64).map(|_| pool.take(1).unwrap()).collect();
        assert!(pool.take(1).is_none());
        assert_eq!(pool.used_bytes(), pool.capacity_bytes());
        drop(held);
        assert_eq!(pool.used_bytes(), 0);
        assert!(pool.take(64 * BLOCK_BYTES).is_some(), "the pieces merged");
    }

    #[test]
    fn a_frozen_buffer_lives_until_its_last_holder() {
        let pool = Pool::new(4 * BLOCK_BYTES).unwrap();
        let mut buf = pool.take(10).unwrap();
        buf.fill(7);
        let first = buf.freeze();
        let second = first.clone();
        drop(first);
        assert_eq!(&second[..], [7; 10]);
        assert_eq!(pool.used_bytes(), BLOCK_BYTES);
        drop(second);
        assert_eq!(pool.used_bytes(), 0);
    }
}
