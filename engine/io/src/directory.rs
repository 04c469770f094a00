//! The data directory: made if missing, locked, and proven able to keep what is written to it.
//!
//! One process holds a data directory at a time: the lock lives as long as the last clone of [`DataDir`], the thread that
//! works on its files included, and as long as the ring has writes in flight, even those of a killed process. Nothing is trusted about the file system that a probe file can show: a direct, durable
//! write must succeed and read back.

use std::ffi::OsStr;
use std::fmt;
use std::io::{IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, StatxFlags, flock, fstat, fstatfs, fsync, openat, statx, unlinkat,
};
use rustix::io::{Errno, ReadWriteFlags, preadv2, pwritev2};

use crate::buffer::{BLOCK_BYTES, Region};
use crate::disk;
use crate::file_system::FileSystem;

/// The file whose lock says that the directory is in use. Not among the files that operations see.
pub(crate) const LOCK_NAME: &str = "lock";
const PROBE_NAME: &str = "probe.tmp";

/// After a process was killed its ring keeps the lock until its last write has ended and the kernel has taken it apart.
const LOCK_TRIES: u32 = 150;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A directory that this process alone writes to. Clones are the same directory.
#[derive(Clone)]
pub struct DataDir {
    held: Arc<Held>,
}

struct Held {
    path: PathBuf,
    directory: OwnedFd,
    lock: OwnedFd,
    file_system: FileSystem,
    disk: u64,
    /// `None` where direct access is refused.
    alignment: Option<Alignment>,
}

/// What direct access asks of memory addresses and of offsets and lengths in files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alignment {
    /// Of addresses.
    pub memory_bytes: u32,
    /// Of offsets and lengths.
    pub offset_bytes: u32,
}

impl DataDir {
    /// Opens the directory at `path`, makes it (0700) if it is missing, and locks it. With `allow_not_durable` a file
    /// system that loses acknowledged writes, or that has no direct access, is taken too; see [`DataDir::durable`].
    ///
    /// # Errors
    /// What is wrong with the directory, and what to do.
    pub fn open(path: &Path, allow_not_durable: bool) -> Result<DataDir, DirError> {
        if !allow_not_durable {
            check_place(path)?;
        }
        make(path)?;
        let directory = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| DirError::of(path, "opening it", errno))?;
        let file_system = fstatfs(&directory).map_err(|errno| DirError::of(path, "looking at it", errno))?;
        let file_system = FileSystem::of_magic(file_system.f_type as u32);
        let device = fstat(&directory).map_err(|errno| DirError::of(path, "looking at it", errno))?.st_dev;
        let disk = disk::of(device).unwrap_or(disk::UNKNOWN);
        if !file_system.is_durable() && !allow_not_durable {
            return Err(DirError::NotDurable { path: path.to_owned(), file_system });
        }
        let lock = lock(path, directory.as_fd())?;
        let alignment = match probe(path, directory.as_fd())? {
            Some(alignment) => Some(alignment),
            None if allow_not_durable => None,
            None => return Err(DirError::NotDirect { path: path.to_owned(), file_system }),
        };
        let held = Held { path: path.to_owned(), directory, lock, file_system, disk, alignment };
        Ok(DataDir { held: Arc::new(held) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.held.path
    }

    /// What it lies on.
    pub fn file_system(&self) -> FileSystem {
        self.held.file_system
    }

    /// The disk that it lies on.
    pub(crate) fn disk(&self) -> u64 {
        self.held.disk
    }

    /// Whether a durable write to it survives a power cut.
    pub fn durable(&self) -> bool {
        self.held.file_system.is_durable() && self.held.alignment.is_some()
    }

    /// What direct access asks for; `None` where the file system refuses it and files go through the page cache.
    pub fn alignment(&self) -> Option<Alignment> {
        self.held.alignment
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.held.directory.as_fd()
    }

    /// What holds the lock: whoever keeps it open keeps the directory locked.
    pub(crate) fn lock_fd(&self) -> BorrowedFd<'_> {
        self.held.lock.as_fd()
    }
}

impl fmt::Debug for DataDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataDir({} on {})", self.path().display(), self.file_system())
    }
}

/// Looks at what there is of `path` first: the file system is named also where nothing can be made on it, and nothing is
/// left behind.
fn check_place(path: &Path) -> Result<(), DirError> {
    let there =
        path.ancestors().map(|ancestor| if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor });
    let Some(found) = there.map(rustix::fs::statfs).find_map(Result::ok) else { return Ok(()) };
    let file_system = FileSystem::of_magic(found.f_type as u32);
    if file_system.is_durable() { Ok(()) } else { Err(DirError::NotDurable { path: path.to_owned(), file_system }) }
}

/// Makes what is missing of `path`, each name made durable in its parent: a log in a directory that a power cut takes away
/// is lost too.
fn make(path: &Path) -> Result<(), DirError> {
    let missing: Vec<_> = path
        .ancestors()
        .take_while(|ancestor| !ancestor.as_os_str().is_empty() && matches!(ancestor.try_exists(), Ok(false)))
        .collect();
    for ancestor in missing.into_iter().rev() {
        match std::fs::DirBuilder::new().mode(0o700).create(ancestor) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(DirError::of(path, "making it", errno_of(&error))),
        }
        let parent = ancestor.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        openat(CWD, parent, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .and_then(fsync)
            .map_err(|errno| DirError::of(path, "flushing its parent", errno))?;
    }
    Ok(())
}

fn lock(path: &Path, directory: BorrowedFd<'_>) -> Result<OwnedFd, DirError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = openat(directory, LOCK_NAME, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| DirError::of(path, "opening its lock", errno))?;
    for _ in 0..LOCK_TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                write_owner(&file);
                return Ok(file);
            }
            Err(Errno::WOULDBLOCK | Errno::INTR) => std::thread::sleep(LOCK_PAUSE),
            Err(errno) => return Err(DirError::of(path, "locking it", errno)),
        }
    }
    let owner = std::fs::read_to_string(path.join(LOCK_NAME)).ok().and_then(|text| text.trim().parse().ok());
    Err(DirError::InUse { path: path.to_owned(), process: owner })
}

/// Leaves this process's number in the lock for whoever is refused. Only a message depends on it.
fn write_owner(lock: &OwnedFd) {
    if let Ok(copy) = lock.try_clone() {
        let mut file = std::fs::File::from(copy);
        let _ = file.set_len(0);
        let _ = writeln!(file, "{}", std::process::id());
    }
}

/// Writes, directly and durably, and reads back. `None` if direct access is refused.
fn probe(path: &Path, directory: BorrowedFd<'_>) -> Result<Option<Alignment>, DirError> {
    remove_probe(directory);
    let create = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mode = Mode::RUSR | Mode::WUSR;
    let (file, direct) = match openat(directory, PROBE_NAME, create | OFlags::DIRECT, mode) {
        Ok(file) => (file, true),
        Err(Errno::INVAL) => {
            remove_probe(directory);
            let file = openat(directory, PROBE_NAME, create, mode)
                .map_err(|errno| DirError::of(path, "making a file in it", errno))?;
            (file, false)
        }
        Err(errno) => return Err(DirError::of(path, "making a file in it", errno)),
    };
    let proven = write_and_read_back(file.as_fd());
    let alignment = alignment_of(file.as_fd());
    remove_probe(directory);
    match proven {
        Ok(true) => {}
        Ok(false) => return Err(DirError::Unreliable { path: path.to_owned() }),
        Err(Errno::INVAL) if direct => return Ok(None),
        Err(errno) => return Err(DirError::of(path, "writing to a file in it", errno)),
    }
    match alignment {
        Some(alignment) if alignment.memory_bytes.max(alignment.offset_bytes) > BLOCK_BYTES as u32 => {
            Err(DirError::Coarse { path: path.to_owned(), alignment })
        }
        alignment => Ok(alignment.filter(|_| direct)),
    }
}

fn remove_probe(directory: BorrowedFd<'_>) {
    let _ = unlinkat(directory, PROBE_NAME, AtFlags::empty());
}

/// What the file system says; where it does not, the block that was just written has proven to do.
fn alignment_of(file: BorrowedFd<'_>) -> Option<Alignment> {
    let proven = Alignment { memory_bytes: BLOCK_BYTES as u32, offset_bytes: BLOCK_BYTES as u32 };
    match statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN) {
        Ok(told) if told.stx_mask & StatxFlags::DIOALIGN.bits() != 0 => {
            let alignment = Alignment { memory_bytes: told.stx_dio_mem_align, offset_bytes: told.stx_dio_offset_align };
            (alignment.memory_bytes > 0 && alignment.offset_bytes > 0).then_some(alignment)
        }
        _ => Some(proven),
    }
}

fn write_and_read_back(file: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut region = Region::map(BLOCK_BYTES)?;
    let block = region.bytes_mut();
    for (index, byte) in block.iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    let written = pwritev2(file, &[IoSlice::new(block)], 0, ReadWriteFlags::DSYNC)?;
    let sent = block.to_vec();
    block.fill(0);
    let read = preadv2(file, &mut [IoSliceMut::new(block)], 0, ReadWriteFlags::empty())?;
    Ok(written == BLOCK_BYTES && read == BLOCK_BYTES && *block == *sent)
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}

/// Why a data directory can't be used.
#[derive(Debug)]
pub enum DirError {
    /// The name is that of something else.
    NotADirectory {
        /// Which.
        path: PathBuf,
    },
    /// This user may not.
    Forbidden {
        /// Which.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
    },
    /// Mounted read-only.
    ReadOnly {
        /// Which.
        path: PathBuf,
    },
    /// Not even a small file fits.
    Full {
        /// Which.
        path: PathBuf,
    },
    /// Another process has it.
    InUse {
        /// Which.
        path: PathBuf,
        /// The process, as far as its lock tells.
        process: Option<u32>,
    },
    /// The file system loses acknowledged writes.
    NotDurable {
        /// Which.
        path: PathBuf,
        /// The file system.
        file_system: FileSystem,
    },
    /// The file system refuses O_DIRECT.
    NotDirect {
        /// Which.
        path: PathBuf,
        /// The file system.
        file_system: FileSystem,
    },
    /// Direct access wants more than blocks of 4 KiB.
    Coarse {
        /// Which.
        path: PathBuf,
        /// What it wants.
        alignment: Alignment,
    },
    /// What was written did not read back.
    Unreliable {
        /// Which.
        path: PathBuf,
    },
    /// Anything else.
    Failed {
        /// Which.
        path: PathBuf,
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl DirError {
    fn of(path: &Path, step: &'static str, errno: Errno) -> DirError {
        let path = path.to_owned();
        match errno {
            Errno::NOTDIR | Errno::EXIST => DirError::NotADirectory { path },
            Errno::ACCESS | Errno::PERM => DirError::Forbidden { path, step },
            Errno::ROFS => DirError::ReadOnly { path },
            Errno::NOSPC | Errno::DQUOT => DirError::Full { path },
            errno => DirError::Failed { path, step, source: errno.into() },
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        match self {
            DirError::NotADirectory { path }
            | DirError::Forbidden { path, .. }
            | DirError::ReadOnly { path }
            | DirError::Full { path }
            | DirError::InUse { path, .. }
            | DirError::NotDurable { path, .. }
            | DirError::NotDirect { path, .. }
            | DirError::Coarse { path, .. }
            | DirError::Unreliable { path }
            | DirError::Failed { path, .. } => path,
        }
    }
}

impl fmt::Display for DirError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data directory {}: ", self.path().display())?;
        match self {
            DirError::NotADirectory { .. } => write!(f, "it is not a directory; name another one"),
            DirError::Forbidden { step, .. } => {
                write!(f, "{step} is not permitted to this user; change its owner or name another one")
            }
            DirError::ReadOnly { .. } => {
                write!(f, "it is mounted read-only; mount it read-write or name another one")
            }
            DirError::Full { .. } => {
                write!(f, "no space (or quota) is left for even a small file; free some or name another one")
            }
            DirError::InUse { process, .. } => {
                write!(f, "another process")?;
                if let Some(process) = process {
                    write!(f, " ({process})")?;
                }
                write!(f, " is using it; stop that one or name another directory")
            }
            DirError::NotDurable { file_system, .. } => write!(
                f,
                "it is on {file_system}, which {}; name one on a local file system such as ext4 or XFS, or allow losses \
                 with --not-durable",
                file_system.objection()
            ),
            DirError::NotDirect { file_system, .. } => write!(
                f,
                "{file_system} refuses direct access (O_DIRECT) there; name one on ext4 or XFS, or allow losses with \
                 --not-durable"
            ),
            DirError::Coarse { alignment, .. } => write!(
                f,
                "direct access needs alignment to {} bytes and {BLOCK_BYTES} is the most supported; name one on another disk",
                alignment.memory_bytes.max(alignment.offset_bytes)
            ),
            DirError::Unreliable { .. } => {
                write!(f, "a file did not read back as it was written; check the disk or name another one")
            }
            DirError::Failed { step, source, .. } => write!(f, "{step} failed: {source}; name another one"),
        }
    }
}

impl std::error::Error for DirError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DirError::Failed { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Whether `name` may be that of a file in the data directory: one component, and none of ours.
pub(crate) fn is_file_name(name: &str) -> bool {
    let one_component = Path::new(name).file_name() == Some(OsStr::new(name));
    one_component && !name.contains('\0') && name != LOCK_NAME
}
