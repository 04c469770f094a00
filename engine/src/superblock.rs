//! The superblock's file: read at start, written so that two intact copies agree at any instant.

use frame::limits::BLOCK_BYTES;
use frame::superblock::{COPIES, FILE_BYTES, Superblock, SuperblockError};
use io::{Completion, DirId, FileId, Io, Op};

use crate::clock::Clock;
use crate::recovery::{OpenError, blocking};
use crate::token;

/// The file's name.
pub(crate) const NAME: &str = "superblock";
pub(crate) const UNFINISHED: &str = "superblock.new";

/// The open file, and what it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Store {
    file: FileId,
    pub(crate) current: Superblock,
    /// What is being written beside everything else, and whether half of the copies say it already.
    writing: Option<(Superblock, bool)>,
}

const HALF_BYTES: usize = COPIES / 2 * BLOCK_BYTES;

impl Store {
    /// Makes the file of a new data directory.
    pub(crate) fn create(io: &mut impl Io, dir: DirId, first: Superblock) -> Result<Store, OpenError> {
        let file = blocking::open_file(io, dir, UNFINISHED, true)?;
        let copies: Vec<u8> = std::iter::repeat_n(first.encode(), COPIES).flatten().collect();
        blocking::write(io, file, 0, &copies)?;
        blocking::sync(io, file)?;
        blocking::rename(io, dir, UNFINISHED, NAME)?;
        blocking::sync_dir(io, dir)?;
        Ok(Store { file, current: first, writing: None })
    }

    /// Reads the file of an existing one.
    pub(crate) fn open(io: &mut impl Io, dir: DirId) -> Result<Store, OpenError> {
        let file = blocking::open_file(io, dir, NAME, false)?;
        let bytes = blocking::read_copies(io, file, FILE_BYTES)?;
        match Superblock::choose(&bytes) {
            Ok(current) => Ok(Store { file, current, writing: None }),
            Err(SuperblockError::Version(version)) => Err(OpenError::NewerVersion { version }),
            Err(SuperblockError::NoQuorum(intact)) => Err(OpenError::Superblock { intact }),
        }
    }

    /// Writes a changed superblock, which says what time it is: half of the copies, durably, then the other half.
    pub(crate) fn update(
        &mut self,
        io: &mut impl Io,
        clock: &Clock,
        change: impl FnOnce(&mut Superblock),
    ) -> Result<(), OpenError> {
        debug_assert!(self.writing.is_none(), "two would tear each other");
        let mut next = self.next(io, clock);
        change(&mut next);
        let half = half(&next);
        blocking::write(io, self.file, 0, &half)?;
        blocking::write(io, self.file, HALF_BYTES as u64, &half)?;
        self.current = next;
        Ok(())
    }

    /// The superblock as it is, of this moment.
    fn next(&self, io: &impl Io, clock: &Clock) -> Superblock {
        let (wall_ms, boottime_ms, boot) = (clock.now_ms(io), io.boottime_ms(), io.boot());
        Superblock { generation: self.current.generation + 1, wall_ms, boottime_ms, boot, ..self.current }
    }

    /// Begins to write what time it is, beside everything else. `false` if there is no memory for it now.
    pub(crate) fn begin_note(&mut self, io: &mut impl Io, clock: &Clock) -> bool {
        let next = self.next(io, clock);
        let begins = self.writing.is_none() && self.write_half(io, &next, 0);
        if begins {
            self.writing = Some((next, false));
        }
        begins
    }

    fn write_half(&self, io: &mut impl Io, next: &Superblock, offset: u64) -> bool {
        let Some(mut buf) = io.pool().take(HALF_BYTES) else { return false };
        buf.copy_from_slice(&half(next));
        io.submit(Op::Write { file: self.file, offset, buf: buf.freeze(), durable: true }, token::NOTE);
        true
    }

    /// Half of it is written.
    ///
    /// # Errors
    /// The errno, or 0 for a short write.
    pub(crate) fn complete_note(&mut self, io: &mut impl Io, completion: &Completion) -> Result<(), i32> {
        let Some((next, is_half)) = self.writing.take() else { return Ok(()) };
        if completion.result.cast_unsigned() as usize != HALF_BYTES {
            return Err(completion.result.min(0));
        }
        if is_half {
            self.current = next;
        } else if self.write_half(io, &next, HALF_BYTES as u64) {
            self.writing = Some((next, true));
        }
        // Without memory for the other half the superblock stays what it was: two copies say that.
        Ok(())
    }

    /// Whether it is being written.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }
}

fn half(superblock: &Superblock) -> Vec<u8> {
    std::iter::repeat_n(superblock.encode(), COPIES / 2).flatten().collect()
}
