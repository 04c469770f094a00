//! Zeros, written into segments ahead of their use while the journal is idle: a write into space that was never written
//! costs more. They stop where they stand once it is not.

use frame::SegmentNumber;
use frame::limits::BLOCK_BYTES;
use frame::segment::FIRST_BATCH;
use io::{Completion, DirId, FileId, FileOp, Io, Op};

use super::{Ready, Segments};
use crate::limits::ZERO_CHUNK_BYTES;

/// The segment that zeros are written into, and how far.
#[derive(Debug)]
pub(super) struct Zeroing {
    pub(super) number: SegmentNumber,
    dir: DirId,
    offset: u64,
    pub(super) syncing: bool,
}

impl Segments {
    pub(super) fn begin_zero(&mut self, io: &mut impl Io) {
        let Some(ready) = self.ready.iter().find(|ready| !ready.prewritten) else { return };
        let &Ready { number, dir, file, bytes, .. } = ready;
        if self.zeros.is_none() {
            let Some(mut zeros) = io.pool().take(ZERO_CHUNK_BYTES) else { return };
            zeros.fill(0);
            self.zeros = Some(zeros.freeze());
        }
        self.zeroing = Some(Zeroing { number, dir, offset: u64::from(FIRST_BATCH), syncing: false });
        self.zero_on(io, file, bytes);
    }

    /// A step of zeroing has completed. Stops where it stands if the journal is no longer idle.
    ///
    /// # Errors
    /// The errno of a disk that fails, or 0 if it writes nothing.
    pub(crate) fn complete_zero(&mut self, io: &mut impl Io, completion: &Completion, idle: bool) -> Result<(), i32> {
        let Some(zeroing) = &mut self.zeroing else { return Ok(()) };
        if zeroing.syncing {
            self.flushes.end(zeroing.dir, completion.result < 0);
        }
        let found = self.ready.iter_mut().find(|ready| ready.number == zeroing.number);
        let Some(ready) = found.filter(|_| idle && completion.result >= 0) else {
            self.zeroing = None;
            return if completion.result < 0 { Err(completion.result) } else { Ok(()) };
        };
        if zeroing.syncing {
            ready.prewritten = true;
            self.zeroing = None;
            return Ok(());
        }
        // A short write goes on at the last whole block.
        let written = u64::from(completion.result.unsigned_abs()) / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
        if written == 0 {
            self.zeroing = None;
            return Err(0);
        }
        zeroing.offset += written;
        let (file, bytes) = (ready.file, ready.bytes);
        self.zero_on(io, file, bytes);
        Ok(())
    }

    fn zero_on(&mut self, io: &mut impl Io, file: FileId, bytes: u32) {
        let (Some(zeroing), Some(zeros)) = (&mut self.zeroing, &self.zeros) else { return };
        let left = u64::from(bytes) - zeroing.offset;
        if left == 0 {
            zeroing.syncing = true;
            self.flushes.begin(zeroing.dir);
            return io.submit(Op::File(FileOp::Sync(file)), self.tokens.zero);
        }
        let buf = if left >= zeros.len() as u64 {
            zeros.clone()
        } else {
            let Some(mut short) = io.pool().take(left as usize) else {
                self.zeroing = None;
                return;
            };
            short.fill(0);
            short.freeze()
        };
        io.submit(Op::Write { file, offset: zeroing.offset, buf, durable: false }, self.tokens.zero);
    }

    /// Whether zeros would be written if the journal were idle.
    pub(crate) fn wants_zeros(&self) -> bool {
        self.zeroing.is_none() && self.ready.iter().any(|ready| !ready.prewritten)
    }
}
