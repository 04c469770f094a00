//! The superblock's file: read at start, written so that two intact copies agree at any instant.

use frame::limits::BLOCK_BYTES;
use frame::superblock::{COPIES, FILE_BYTES, Superblock, SuperblockError};
use io::{DirId, FileId, Io};

use crate::recovery::{OpenError, blocking};

/// The file's name.
pub(crate) const NAME: &str = "superblock";
pub(crate) const UNFINISHED: &str = "superblock.new";

/// The open file, and what it says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Store {
    file: FileId,
    pub(crate) current: Superblock,
}

impl Store {
    /// Makes the file of a new data directory.
    pub(crate) fn create(io: &mut impl Io, dir: DirId, first: Superblock) -> Result<Store, OpenError> {
        let file = blocking::open_file(io, dir, UNFINISHED, true)?;
        let copies: Vec<u8> = std::iter::repeat_n(first.encode(), COPIES).flatten().collect();
        blocking::write(io, file, 0, &copies)?;
        blocking::sync(io, file)?;
        blocking::rename(io, dir, UNFINISHED, NAME)?;
        blocking::sync_dir(io, dir)?;
        Ok(Store { file, current: first })
    }

    /// Reads the file of an existing one.
    pub(crate) fn open(io: &mut impl Io, dir: DirId) -> Result<Store, OpenError> {
        let file = blocking::open_file(io, dir, NAME, false)?;
        let bytes = blocking::read(io, file, 0, FILE_BYTES)?;
        match Superblock::choose(&bytes) {
            Ok(current) => Ok(Store { file, current }),
            Err(SuperblockError::Version(version)) => Err(OpenError::NewerVersion { version }),
            Err(SuperblockError::NoQuorum(intact)) => Err(OpenError::Superblock { intact }),
        }
    }

    /// Writes a changed superblock: half of the copies, durably, then the other half.
    pub(crate) fn update(&mut self, io: &mut impl Io, change: impl FnOnce(&mut Superblock)) -> Result<(), OpenError> {
        let mut next = self.current;
        change(&mut next);
        next.generation += 1;
        next.wall_ms = io.wall_ms();
        next.boottime_ms = io.boottime_ms();
        let half: Vec<u8> = std::iter::repeat_n(next.encode(), COPIES / 2).flatten().collect();
        blocking::write(io, self.file, 0, &half)?;
        blocking::write(io, self.file, (COPIES / 2 * BLOCK_BYTES) as u64, &half)?;
        self.current = next;
        Ok(())
    }
}
