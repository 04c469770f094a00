//! Files that hold secrets: only their owner may read or change them.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why one is not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It can't be.
    Unreadable(io::Error),
    /// Others may read or change it.
    Open,
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Unread {
        Unread::Unreadable(error)
    }
}

/// Goes on behind its name.
impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unread::Unreadable(error) => write!(f, " can't be read: {error}; check its name and its permissions"),
            Unread::Open => f.write_str(" is open to others: make it its owner's alone (chmod go= on it)"),
        }
    }
}

/// Opens one to read it.
pub(crate) fn open(path: &Path) -> Result<File, Unread> {
    let file = File::open(path)?;
    if file.metadata()?.mode() & 0o077 == 0 { Ok(file) } else { Err(Unread::Open) }
}
