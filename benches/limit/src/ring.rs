//! The raw ring, and memory that the kernel may read and write.
//!
//! A ring belongs to the thread that made it (SINGLE_ISSUER), runs its completions only inside `turn` (DEFER_TASKRUN),
//! and enters the kernel once per turn. Owners declare the ring before the memory that it uses, so that it goes first:
//! its `Drop` cancels what is still in flight.

use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::time::Duration;

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};

use crate::error::LimitError;

/// Huge pages make a registered buffer one piece for the device instead of one for each 4 KiB: with 1 MiB x 4 writes in flight
/// 3.1 GB/s against 2.1 with small pages (and 1.9 by fio, whose pages are small), with 256 KiB x 4 2.2 against 1.95.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// How long a dropped ring waits for what is in flight.
const CANCEL_WAIT_S: u64 = 2;

/// One io_uring with the flags of a single-threaded event loop.
pub(crate) struct Ring {
    inner: IoUring,
}

impl Ring {
    /// A ring with room for `entries` submissions in a turn.
    pub(crate) fn new(entries: usize) -> Result<Self, LimitError> {
        let entries = u32::try_from(entries.next_power_of_two()).unwrap_or(u32::MAX);
        let inner = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .build(entries)
            .map_err(|source| LimitError::Ring { step: "setup", source })?;
        Ok(Self { inner })
    }

    /// Registers files, so that operations name them by index.
    pub(crate) fn register_files(&self, files: &[RawFd]) -> Result<(), LimitError> {
        self.inner
            .submitter()
            .register_files(files)
            .map_err(|source| LimitError::Ring { step: "register files", source })
    }

    /// Registers each slot of `memory` as the buffer of the same index. False where the locked-memory limit is too low
    /// for it; then the operations must name plain addresses.
    pub(crate) fn register_memory(&self, memory: &Memory) -> Result<bool, LimitError> {
        let slots: Vec<libc::iovec> = (0..memory.count)
            .map(|slot| libc::iovec { iov_base: memory.at(slot).cast(), iov_len: memory.slot_bytes })
            .collect();
        // SAFETY: the slots lie inside the mapping that `memory` owns, and the owner drops the ring before the memory.
        match unsafe { self.inner.submitter().register_buffers(&slots) } {
            Ok(()) => Ok(true),
            Err(source) if source.raw_os_error() == Some(libc::ENOMEM) => Ok(false),
            Err(source) => Err(LimitError::Ring { step: "register buffers", source }),
        }
    }

    /// Queues one operation for the next turn.
    ///
    /// # Safety
    /// The memory and descriptors that `entry` names stay valid until its completion was taken or the ring is dropped.
    pub(crate) unsafe fn push(&mut self, entry: &squeue::Entry) -> Result<(), LimitError> {
        // SAFETY: the caller vouches for the entry.
        while unsafe { self.inner.submission().push(entry) }.is_err() {
            self.enter(0, None)?;
        }
        Ok(())
    }

    /// Submits what is queued and waits for a completion.
    pub(crate) fn turn(&mut self) -> Result<(), LimitError> {
        self.enter(1, None)
    }

    /// Submits what is queued and waits for a completion or until `wait` has passed.
    pub(crate) fn turn_within(&mut self, wait: Duration) -> Result<(), LimitError> {
        self.enter(1, Some(wait))
    }

    /// Submits what is queued, if anything is, and takes in completions that are ready, without waiting.
    pub(crate) fn poll(&mut self) -> Result<(), LimitError> {
        let queue = self.inner.submission();
        if queue.is_empty() && !queue.taskrun() {
            return Ok(());
        }
        drop(queue);
        self.enter(0, None)
    }

    /// The next completion that the last turn brought.
    pub(crate) fn completion(&mut self) -> Option<cqueue::Entry> {
        self.inner.completion().next()
    }

    fn enter(&mut self, want: usize, wait: Option<Duration>) -> Result<(), LimitError> {
        let done = match wait {
            None => self.inner.submit_and_wait(want),
            Some(wait) => {
                let time = Timespec::from(wait);
                let args = SubmitArgs::new().timespec(&time);
                self.inner.submitter().submit_with_args(want, &args)
            }
        };
        match done {
            Ok(_) => Ok(()),
            Err(source) => match source.raw_os_error() {
                Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY) => Ok(()),
                _ => Err(LimitError::Ring { step: "enter", source }),
            },
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // After an error, receives may still be armed on memory that is about to go. Nothing to cancel is the usual case.
        let wait = Timespec::new().sec(CANCEL_WAIT_S);
        let _ = self.inner.submitter().register_sync_cancel(Some(wait), CancelBuilder::any());
    }
}

/// Page-aligned anonymous memory in slots of one size, each the unit of one operation.
pub(crate) struct Memory {
    base: NonNull<u8>,
    map_bytes: usize,
    slot_bytes: usize,
    count: usize,
}

impl Memory {
    /// Maps `count` slots of `slot_bytes` each and fills them with bytes that do not compress.
    pub(crate) fn new(count: usize, slot_bytes: usize) -> Result<Self, LimitError> {
        assert!(count > 0 && slot_bytes > 0, "checked with the arguments");
        let map_bytes = (count * slot_bytes).next_multiple_of(HUGE_PAGE_BYTES);
        // SAFETY: a new anonymous mapping at an address of the kernel's choice touches no existing memory.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                map_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let base = NonNull::new(base.cast::<u8>())
            .filter(|_| base != libc::MAP_FAILED)
            .ok_or_else(|| LimitError::Ring { step: "map buffers", source: io::Error::last_os_error() })?;
        // SAFETY: the range is the mapping just made; this is advice, so a refusal is no error.
        unsafe { libc::madvise(base.as_ptr().cast(), map_bytes, libc::MADV_HUGEPAGE) };
        let mut memory = Self { base, map_bytes, slot_bytes, count };
        memory.fill();
        Ok(memory)
    }

    /// The address of a slot.
    pub(crate) fn at(&self, slot: usize) -> *mut u8 {
        assert!(slot < self.count, "slots are numbered from 0");
        // SAFETY: the slot lies inside the mapping.
        unsafe { self.base.as_ptr().add(slot * self.slot_bytes) }
    }

    /// The bytes of a slot that no operation in flight writes into.
    pub(crate) fn slot(&self, slot: usize) -> &[u8] {
        // SAFETY: the slot is mapped and initialised; the kernel writes into it only between a receive and its completion,
        // and callers look at it afterwards.
        unsafe { std::slice::from_raw_parts(self.at(slot), self.slot_bytes) }
    }

    /// The bytes of a slot that no operation in flight uses.
    pub(crate) fn slot_mut(&mut self, slot: usize) -> &mut [u8] {
        // SAFETY: as `slot`, and `&mut self` excludes every other view from this program.
        unsafe { std::slice::from_raw_parts_mut(self.at(slot), self.slot_bytes) }
    }

    /// Some devices and hosts treat zeros and repeats specially, so every word differs.
    fn fill(&mut self) {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for slot in 0..self.count {
            for word in self.slot_mut(slot).chunks_mut(8) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
            }
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this length, and the ring that used it was dropped before.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.map_bytes) };
    }
}
