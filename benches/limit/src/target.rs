//! Where the writes go: files opened with O_DIRECT, prepared before the clock starts, and the next place in them.
//!
//! `written` space was filled with real writes and synced, so a write commits no metadata; it wraps around. `allocated`
//! space was only reserved; each place in it is used once, and then it is used up. The files have no name while they are
//! measured, unless they are to be kept, so nothing is left behind however the program ends.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use crate::error::LimitError;
use crate::ring::Memory;

/// Writes are whole blocks of this size, the physical block of most disks and the page of ext4.
pub(crate) const BLOCK_BYTES: u64 = 4096;
/// Allocated space comes in files of this size, as segments of a log do.
const ALLOCATED_FILE_BYTES: u64 = 256 << 20;
/// Zeros are written in pieces of this size.
const ZERO_BYTES: usize = 1 << 20;
/// The name of the written file that `--keep` leaves for the next run.
const KEPT_NAME: &str = "limit-written.dat";

/// How the space was made before the clock starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Prepare {
    /// Filled with real writes and synced; the run wraps around in it.
    Written,
    /// Reserved with fallocate and never written; the run ends when it is used up.
    Allocated,
}

/// The space that a measurement needs.
#[derive(Debug, Clone)]
pub(crate) struct Space {
    pub(crate) dir: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) prepare: Prepare,
    /// Leave the written file in the directory, and use one that is there.
    pub(crate) keep: bool,
}

/// Prepared files and the next place to write in them.
pub(crate) struct Target {
    files: Vec<File>,
    file_bytes: u64,
    wraps: bool,
    file: usize,
    offset: u64,
}

/// A place for one write: a file by index, and the offset in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) file: u32,
    pub(crate) offset: u64,
}

impl Target {
    /// Prepares the space. Refuses a directory whose figures would not be a disk's.
    pub(crate) fn prepare(space: &Space) -> Result<Self, LimitError> {
        check_file_system(&space.dir)?;
        match space.prepare {
            Prepare::Written => Self::written(space),
            Prepare::Allocated => Self::allocated(space),
        }
    }

    /// The files' descriptors, in the order of `Position::file`.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        self.files.iter().map(AsRawFd::as_raw_fd).collect()
    }

    /// The place for the next `bytes`, or none when allocated space is used up.
    pub(crate) fn next(&mut self, bytes: u64) -> Option<Position> {
        assert!(bytes <= self.file_bytes, "checked with the arguments");
        if self.offset + bytes > self.file_bytes {
            let last = self.file + 1 == self.files.len();
            if last && !self.wraps {
                return None;
            }
            self.file = if last { 0 } else { self.file + 1 };
            self.offset = 0;
        }
        let position =
            Position { file: u32::try_from(self.file).expect("bounded by the size of a disk"), offset: self.offset };
        self.offset += bytes;
        Some(position)
    }

    fn written(space: &Space) -> Result<Self, LimitError> {
        let path = space.dir.join(KEPT_NAME);
        let file = match reopen(&path, space)? {
            Some(file) => file,
            None => {
                check_free(&space.dir, space.bytes)?;
                let file = create(&path)?;
                if !space.keep {
                    unlink(&path)?;
                }
                allocate(&file, &path, space.bytes)?;
                write_zeros(&file, space.bytes).map_err(|e| at(&path, "fill", e))?;
                file.sync_all().map_err(|e| at(&path, "sync", e))?;
                file
            }
        };
        Ok(Self::over(vec![file], space.bytes, true))
    }

    fn allocated(space: &Space) -> Result<Self, LimitError> {
        check_free(&space.dir, space.bytes)?;
        let file_bytes = space.bytes.min(ALLOCATED_FILE_BYTES);
        if !space.bytes.is_multiple_of(file_bytes) {
            return Err(LimitError::argument(
                format!("--file-bytes {} is not whole files", space.bytes),
                format!("allocated space over 256m comes in files of {ALLOCATED_FILE_BYTES} bytes"),
            ));
        }
        let mut files = Vec::new();
        for index in 0..space.bytes / file_bytes {
            let path = space.dir.join(format!("limit-allocated-{index}.dat"));
            let file = create(&path)?;
            unlink(&path)?;
            allocate(&file, &path, file_bytes)?;
            file.sync_all().map_err(|e| at(&path, "sync", e))?;
            files.push(file);
        }
        Ok(Self::over(files, file_bytes, false))
    }

    fn over(files: Vec<File>, file_bytes: u64, wraps: bool) -> Self {
        Self { files, file_bytes, wraps, file: 0, offset: 0 }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // A ring that had the files registered may hold on to them for a while: without this the next run finds them locked.
        for file in &self.files {
            let _ = file.unlock();
        }
    }
}

/// Checks what every measurement needs of a write's size and of the space it goes to.
pub(crate) fn check_sizes(size_bytes: u64, in_flight: usize, space_bytes: u64) -> Result<(), LimitError> {
    if size_bytes == 0 || !size_bytes.is_multiple_of(BLOCK_BYTES) {
        return Err(LimitError::argument(
            format!("--size {size_bytes} is not a whole number of disk blocks"),
            format!("O_DIRECT needs a multiple of {BLOCK_BYTES}"),
        ));
    }
    if size_bytes > 64 << 20 {
        return Err(LimitError::argument(format!("--size {size_bytes} is over 64m"), "give a smaller one"));
    }
    if !space_bytes.is_multiple_of(BLOCK_BYTES) {
        return Err(LimitError::argument(
            format!("--file-bytes {space_bytes} is not a whole number of disk blocks"),
            format!("give a multiple of {BLOCK_BYTES}"),
        ));
    }
    let needed = size_bytes.saturating_mul(in_flight as u64);
    if needed > space_bytes {
        return Err(LimitError::argument(
            format!("{in_flight} writes of {size_bytes} bytes in flight need {needed} bytes"),
            format!("give --file-bytes of at least that, it is {space_bytes}"),
        ));
    }
    Ok(())
}

/// A file of an earlier run: the right size, and no hole or unwritten extent in it (ext4 and xfs report both as holes).
fn reopen(path: &Path, space: &Space) -> Result<Option<File>, LimitError> {
    if !space.keep || !path.exists() {
        return Ok(None);
    }
    let file = direct().open(path).map_err(|e| at(path, "open", e))?;
    lock(&file, path)?;
    let bytes = file.metadata().map_err(|e| at(path, "stat", e))?.len();
    // SAFETY: lseek on an open descriptor touches no memory of this process.
    let hole = unsafe { libc::lseek(file.as_raw_fd(), 0, libc::SEEK_HOLE) };
    let whole = bytes == space.bytes && u64::try_from(hole) == Ok(bytes);
    Ok(whole.then_some(file))
}

fn create(path: &Path) -> Result<File, LimitError> {
    let file = direct().create(true).open(path).map_err(|e| at(path, "create", e))?;
    lock(&file, path)?;
    file.set_len(0).map_err(|e| at(path, "truncate", e))?;
    Ok(file)
}

fn direct() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_DIRECT | libc::O_CLOEXEC);
    options
}

fn lock(file: &File, path: &Path) -> Result<(), LimitError> {
    file.try_lock().map_err(|_| {
        LimitError::argument(
            format!("{} is in use by another run", path.display()),
            "wait for it, or give another --dir",
        )
    })
}

fn unlink(path: &Path) -> Result<(), LimitError> {
    fs::remove_file(path).map_err(|e| at(path, "unlink", e))
}

fn allocate(file: &File, path: &Path, bytes: u64) -> Result<(), LimitError> {
    let length = libc::off_t::try_from(bytes).expect("checked against the free space");
    // SAFETY: fallocate on an open descriptor touches no memory of this process.
    let code = unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, length) };
    if code == 0 {
        return Ok(());
    }
    Err(at(path, "allocate", io::Error::last_os_error()))
}

fn write_zeros(file: &File, bytes: u64) -> io::Result<()> {
    let mut memory = Memory::new(1, ZERO_BYTES).map_err(io::Error::other)?;
    memory.slot_mut(0).fill(0);
    let zeros = memory.slot(0);
    let mut offset = 0;
    while offset < bytes {
        let piece = (bytes - offset).min(ZERO_BYTES as u64);
        let piece = usize::try_from(piece).expect("at most ZERO_BYTES");
        file.write_all_at(&zeros[..piece], offset)?;
        offset += piece as u64;
    }
    Ok(())
}

fn check_file_system(dir: &Path) -> Result<(), LimitError> {
    let facts = fs::metadata(dir).map_err(|e| at(dir, "look at", e))?;
    if !facts.is_dir() {
        return Err(at(dir, "look at", io::Error::from_raw_os_error(libc::ENOTDIR)));
    }
    match refused_name(statfs(dir)?.f_type) {
        Some(name) => Err(LimitError::FileSystem { dir: dir.to_owned(), name }),
        None => Ok(()),
    }
}

/// The name of a file system that would measure memory, a network or another program (numbers of statfs(2)).
fn refused_name(magic: i64) -> Option<&'static str> {
    match magic {
        0x0102_1994 => Some("tmpfs (memory)"),
        0x8584_58f6 => Some("ramfs (memory)"),
        0x6573_5546 => Some("FUSE (another program)"),
        0x6969 => Some("NFS (a network)"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB (a network)"),
        0x0102_1997 => Some("9p (a network or a host)"),
        0x00c3_6400 => Some("Ceph (a network)"),
        _ => None,
    }
}

fn check_free(dir: &Path, needed_bytes: u64) -> Result<(), LimitError> {
    let facts = statfs(dir)?;
    let free_bytes = facts.f_bavail * facts.f_bsize as u64;
    if needed_bytes <= free_bytes {
        return Ok(());
    }
    Err(LimitError::Space { dir: dir.to_owned(), needed_bytes, free_bytes })
}

fn statfs(dir: &Path) -> Result<libc::statfs, LimitError> {
    let name = CString::new(dir.as_os_str().as_bytes())
        .map_err(|_| LimitError::argument("--dir holds a zero byte", "give a directory"))?;
    let mut facts = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: `name` is a terminated string and `facts` has room for the kernel's answer; both outlive the call.
    if unsafe { libc::statfs(name.as_ptr(), facts.as_mut_ptr()) } != 0 {
        return Err(at(dir, "statfs", io::Error::last_os_error()));
    }
    // SAFETY: the call succeeded, so the kernel filled it.
    Ok(unsafe { facts.assume_init() })
}

fn at(path: &Path, step: &'static str, source: io::Error) -> LimitError {
    LimitError::File { path: path.to_owned(), step, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(files: usize, wraps: bool) -> Target {
        let files = (0..files).map(|_| File::open("/dev/null").expect("every Linux has it")).collect();
        Target::over(files, 3 * BLOCK_BYTES, wraps)
    }

    #[test]
    fn written_space_wraps() {
        let mut target = target(1, true);
        let offsets: Vec<u64> = (0..5).map(|_| target.next(BLOCK_BYTES).expect("it wraps").offset).collect();
        assert_eq!(offsets, [0, 4096, 8192, 0, 4096]);
    }

    #[test]
    fn allocated_space_is_used_once() {
        let mut target = target(2, false);
        let places: Vec<(u32, u64)> = std::iter::from_fn(|| target.next(2 * BLOCK_BYTES))
            .map(|position| (position.file, position.offset))
            .collect();
        assert_eq!(places, [(0, 0), (1, 0)], "a write never spans two files");
        assert_eq!(target.next(2 * BLOCK_BYTES), None);
    }

    #[test]
    fn memory_file_systems_are_refused_by_name() {
        assert_eq!(refused_name(libc::TMPFS_MAGIC), Some("tmpfs (memory)"));
        assert_eq!(refused_name(libc::FUSE_SUPER_MAGIC), Some("FUSE (another program)"));
        assert_eq!(refused_name(libc::EXT4_SUPER_MAGIC), None);
    }
}
