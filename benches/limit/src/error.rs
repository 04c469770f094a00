//! Everything that can stop a measurement, each with what happened and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a measurement could not be made. The first three are for the caller to put right, the rest come from the machine.
#[derive(Debug)]
pub(crate) enum LimitError {
    /// An argument, or a combination of them, that cannot be measured.
    Argument { what: String, fix: String },
    /// A directory on a file system whose figures would not be those of a disk.
    FileSystem { dir: PathBuf, name: &'static str },
    /// Not enough room for the file that is written to.
    Space { dir: PathBuf, needed_bytes: u64, free_bytes: u64 },
    /// A file operation failed.
    File { path: PathBuf, step: &'static str, source: io::Error },
    /// The ring could not be set up or entered.
    Ring { step: &'static str, source: io::Error },
    /// A socket operation failed.
    Socket { step: &'static str, source: io::Error },
    /// A write completed with fewer bytes than it was given.
    ShortWrite { expected_bytes: u32, got_bytes: u32 },
    /// A read completed with fewer bytes than it asked for.
    ShortRead { expected_bytes: u32, got_bytes: u32 },
    /// The two ends of the chain disagree about the bytes between them.
    Protocol { what: String },
    /// Nothing came back for too long.
    Stalled { waiting_for: String, after_s: u64 },
    /// The disk's one-second rates never settled.
    Unsteady { after_s: u64, rates: usize },
    /// A measurement thread panicked.
    Thread { name: &'static str },
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument { what, fix } => write!(f, "{what}: {fix}"),
            Self::FileSystem { dir, name } => write!(
                f,
                "{} is on {name}, whose figures are not those of a disk of this machine: \
                 give --dir on a local disk file system such as ext4 or xfs",
                dir.display()
            ),
            Self::Space { dir, needed_bytes, free_bytes } => write!(
                f,
                "{} has {free_bytes} bytes free and {needed_bytes} are needed: \
                 free some or give a smaller --file-bytes",
                dir.display()
            ),
            Self::File { path, step, source } => {
                write!(f, "{step} {}: {source}", path.display())?;
                write!(f, "{}", file_advice(source))
            }
            Self::Ring { step, source } => {
                write!(f, "io_uring: {step}: {source}")?;
                write!(f, "{}", ring_advice(source))
            }
            Self::Socket { step, source } => write!(f, "loopback socket: {step}: {source}"),
            Self::ShortWrite { expected_bytes, got_bytes } => write!(
                f,
                "a write of {expected_bytes} bytes stopped after {got_bytes}: \
                 see whether the disk is full"
            ),
            Self::ShortRead { expected_bytes, got_bytes } => write!(
                f,
                "a read of {expected_bytes} bytes stopped after {got_bytes}: \
                 see whether something else changed the file"
            ),
            Self::Protocol { what } => {
                write!(f, "{what}: this is a fault of the limit program, report it")
            }
            Self::Stalled { waiting_for, after_s } => write!(
                f,
                "nothing moved for {after_s} s while waiting for {waiting_for}: \
                 see the kernel's log for a stuck device"
            ),
            Self::Unsteady { after_s, rates } => write!(
                f,
                "not steady after {after_s} s ({rates} one-second rates): \
                 wait until the machine is quiet or raise --timeout-s"
            ),
            Self::Thread { name } => {
                write!(f, "the {name} thread panicked: see its message above")
            }
        }
    }
}

impl std::error::Error for LimitError {}

impl LimitError {
    /// An argument that cannot be measured, and what to give instead.
    pub(crate) fn argument(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Argument { what: what.into(), fix: fix.into() }
    }

    /// The error of a write that should have moved `expected_bytes`.
    pub(crate) fn from_write(result: i32, expected_bytes: u32) -> Self {
        if result < 0 {
            return Self::Ring { step: "write", source: io::Error::from_raw_os_error(-result) };
        }
        Self::ShortWrite { expected_bytes, got_bytes: result.unsigned_abs() }
    }

    /// The error of a read that should have moved `expected_bytes`.
    pub(crate) fn from_read(result: i32, expected_bytes: u32) -> Self {
        if result < 0 {
            return Self::Ring { step: "read", source: io::Error::from_raw_os_error(-result) };
        }
        Self::ShortRead { expected_bytes, got_bytes: result.unsigned_abs() }
    }
}

fn file_advice(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EINVAL) => " (this file system refuses O_DIRECT: choose another --dir)",
        Some(libc::ENOENT) => " (create the directory first)",
        Some(libc::ENOTDIR) => " (give a directory)",
        Some(libc::EROFS) => " (the file system is read-only: choose another --dir)",
        Some(libc::EACCES) => " (give a directory that this user can write to)",
        _ => "",
    }
}

fn ring_advice(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM) => {
            " (io_uring is not permitted here: set kernel.io_uring_disabled=0, \
             or let the container's seccomp profile pass io_uring_*)"
        }
        Some(libc::ENOSYS) => " (this kernel has no io_uring, or a seccomp filter hides it)",
        Some(libc::EINVAL) => " (Linux 6.1 or newer is needed, and sizes of whole disk blocks)",
        Some(libc::ENOMEM) => " (raise the locked-memory limit, `ulimit -l`)",
        _ => "",
    }
}
