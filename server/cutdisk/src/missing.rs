//! What a machine lacks to run these tests, in one line, and the rule of when that is a failure.

use std::fmt;
use std::io::{self, Write};
use std::path::PathBuf;

/// What is missing on this machine for a [`CutDisk`](crate::CutDisk).
#[derive(Debug)]
pub enum Missing {
    /// The process does not run as root, which mounting takes.
    Root,
    /// A device node is absent or cannot be opened.
    Device {
        /// The device node.
        path: &'static str,
        /// Why it could not be opened.
        cause: io::Error,
    },
    /// A program is not installed.
    Program {
        /// Its name.
        name: &'static str,
        /// The package that usually brings it.
        package: &'static str,
    },
    /// The FUSE file system could not be mounted.
    FuseMount {
        /// Where.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// No loop device could be attached, with what `losetup` said.
    LoopDevice(String),
    /// The loop device does not pass direct I/O or flushes to its backing file.
    LoopFeature {
        /// The device's attribute under `/sys/block`.
        attribute: String,
        /// What it says.
        value: String,
    },
    /// The scratch directory could not be made.
    Scratch {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::Root => write!(f, "not root: run this test as root, it mounts file systems"),
            Missing::Device { path, cause } => {
                write!(f, "no {path} ({cause}): load its module or pass the device in")
            }
            Missing::Program { name, package } => {
                write!(f, "no {name} in PATH: install {package}")
            }
            Missing::FuseMount { path, cause } => {
                write!(f, "mounting FUSE at {} failed ({cause}): allow mounts here", path.display())
            }
            Missing::LoopDevice(said) => {
                write!(f, "no free loop device ({said}): detach one or allow more")
            }
            Missing::LoopFeature { attribute, value } => {
                write!(f, "{attribute} is `{value}`: use a kernel whose loop driver passes direct I/O and flushes")
            }
            Missing::Scratch { path, cause } => {
                write!(f, "cannot make {} ({cause}): choose another directory", path.display())
            }
        }
    }
}

impl std::error::Error for Missing {}

/// Takes what was set up, or says in one line that the test is skipped, past what the test harness captures, and returns nothing.
///
/// # Panics
/// Where the environment variable `CI` is set: there a skip is a failure.
pub fn require_or_skip<T>(set_up: Result<T, Missing>) -> Option<T> {
    match set_up {
        Ok(ready) => Some(ready),
        Err(missing) if std::env::var_os("CI").is_some() => {
            panic!("a skip is a failure where CI is set: {missing}")
        }
        Err(missing) => {
            let _ = writeln!(std::io::stderr(), "skipped: {missing}");
            None
        }
    }
}
