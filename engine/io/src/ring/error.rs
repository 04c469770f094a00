//! Why there is no ring, told by what the kernel answered and what it says about itself.

use std::fmt;
use std::io;

use super::setup::{KERNEL_MIN, kernel};

/// Why a ring can't be had.
#[derive(Debug)]
pub enum RingError {
    /// A seccomp filter refuses it, as those of container runtimes do by default.
    Filtered,
    /// The system's switch is off.
    Disabled {
        /// Value of kernel.io_uring_disabled: 1 refuses those outside a group, 2 everybody.
        value: u8,
    },
    /// Something refuses it without saying what.
    Forbidden,
    /// The kernel is too old, or built without it.
    Absent {
        /// Its release.
        kernel: String,
    },
    /// The kernel lacks operations.
    Missing {
        /// Their names.
        operations: Vec<&'static str>,
        /// The kernel's release.
        kernel: String,
    },
    /// The ring itself does not fit into the memory that this process may lock, or that there is.
    Memory {
        /// Bytes that may be locked, `None` if any number.
        locked_bytes_max: Option<u64>,
    },
    /// No file descriptor is left.
    OpenFiles {
        /// How many this process may have.
        files_max: Option<u64>,
    },
    /// Anything else.
    Failed {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl RingError {
    /// Whether it is a matter of what this process is permitted, or of the kernel, so that trying again is of no use; not of
    /// something that has run out.
    pub fn is_lasting(&self) -> bool {
        match self {
            RingError::Filtered | RingError::Disabled { .. } | RingError::Forbidden => true,
            RingError::Absent { .. } | RingError::Missing { .. } => true,
            RingError::Memory { locked_bytes_max } => locked_bytes_max.is_some(),
            RingError::OpenFiles { .. } | RingError::Failed { .. } => false,
        }
    }

    /// What refused io_uring_setup.
    pub(super) fn of_setup(source: io::Error) -> RingError {
        use rustix::process::{Resource, getrlimit};
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => match disabled_value() {
                Some(value @ 1..) => RingError::Disabled { value },
                _ if is_filtered() => RingError::Filtered,
                _ => RingError::Forbidden,
            },
            // A kernel with the switch has io_uring, so something between says otherwise.
            Some(libc::ENOSYS) if disabled_value().is_some() && is_filtered() => RingError::Filtered,
            Some(libc::ENOSYS | libc::EINVAL) => RingError::Absent { kernel: kernel() },
            Some(libc::ENOMEM) => RingError::Memory { locked_bytes_max: getrlimit(Resource::Memlock).current },
            Some(libc::EMFILE | libc::ENFILE) => {
                RingError::OpenFiles { files_max: getrlimit(Resource::Nofile).current }
            }
            _ => RingError::Failed { step: "setting it up", source },
        }
    }
}

/// Value of the system's switch, where the kernel has it (from 6.6).
fn disabled_value() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// Whether this thread runs under a seccomp filter.
fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring: ")?;
        match self {
            RingError::Filtered => write!(
                f,
                "a seccomp filter refuses it, as container runtimes do by default; allow io_uring_setup, io_uring_enter and \
                 io_uring_register in the profile (--security-opt seccomp=PROFILE)"
            ),
            RingError::Disabled { value } => write!(
                f,
                "the system refuses it (kernel.io_uring_disabled is {value}); set it with sysctl kernel.io_uring_disabled=0"
            ),
            RingError::Forbidden => write!(
                f,
                "it is not permitted to this process and the kernel does not say why; look for a security module (SELinux, \
                 AppArmor) that refuses it"
            ),
            RingError::Absent { kernel } => {
                write!(
                    f,
                    "Linux {kernel} does not have what is needed; use Linux {KERNEL_MIN} or newer, built with io_uring"
                )
            }
            RingError::Missing { operations, kernel } => write!(
                f,
                "Linux {kernel} lacks {}; use Linux {KERNEL_MIN} or newer without restrictions on operations",
                operations.join(", ")
            ),
            RingError::Memory { locked_bytes_max: Some(bytes) } => write!(
                f,
                "not enough memory; this process may lock {bytes} bytes, so raise that limit (ulimit -l, LimitMEMLOCK=) or \
                 close other rings"
            ),
            RingError::Memory { locked_bytes_max: None } => write!(f, "not enough memory; free some"),
            RingError::OpenFiles { files_max: Some(files) } => write!(
                f,
                "no file descriptor is left; this process may have {files}, so raise that limit (ulimit -n, LimitNOFILE=)"
            ),
            RingError::OpenFiles { files_max: None } => {
                write!(f, "no file descriptor is left in the system; close some")
            }
            RingError::Failed { step, source } => {
                write!(f, "{step} failed: {source}; look for its cause in the kernel's log (dmesg)")
            }
        }
    }
}

impl std::error::Error for RingError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            RingError::Failed { source, .. } => Some(source),
            _ => None,
        }
    }
}
