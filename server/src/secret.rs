//! The secret that the server and its native clients know, in a file that only its owner reads.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use frame::proto::{SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret};

/// Why there is no secret to be had of a file.
#[derive(Debug)]
pub enum SecretError {
    /// It can't be read.
    Unreadable(PathBuf, io::Error),
    /// Others may read it.
    Open(PathBuf),
    /// It is too short or too long.
    Length {
        /// The file.
        path: PathBuf,
        /// Its bytes, without white space at its ends.
        bytes: usize,
    },
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretError::Unreadable(path, error) => {
                write!(f, "the secret {} can't be read: {error}; check its name and its permissions", path.display())
            }
            SecretError::Open(path) => {
                write!(f, "others may read the secret {}; keep it to yourself: chmod 600", path.display())
            }
            SecretError::Length { path, bytes } => write!(
                f,
                "the secret {} has {bytes} bytes, and {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} are allowed; make one with: \
                 head -c 32 /dev/urandom | base64",
                path.display()
            ),
        }
    }
}

impl std::error::Error for SecretError {}

/// Reads the secret: the file without white space at its ends.
pub(crate) fn read(path: &Path) -> Result<Secret, SecretError> {
    let unreadable = |error| SecretError::Unreadable(path.to_owned(), error);
    let file = File::open(path).map_err(unreadable)?;
    if file.metadata().map_err(unreadable)?.mode() & 0o077 != 0 {
        return Err(SecretError::Open(path.to_owned()));
    }
    let mut bytes = Vec::new();
    file.take(2 * SECRET_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(unreadable)?;
    let bytes = bytes.trim_ascii();
    Secret::new(bytes).ok_or_else(|| SecretError::Length { path: path.to_owned(), bytes: bytes.len() })
}
