//! The secret that a server may want to hear, in a file that only its owner reads: the same file as the server's own.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use frame::proto::{SECRET_FILE_BYTES_MAX, Secret, UnfitSecret};

/// Why there is no secret to be had of a file.
#[derive(Debug)]
pub enum SecretError {
    /// It can't be read.
    Unreadable(PathBuf, io::Error),
    /// What it holds is none.
    Unfit(PathBuf, UnfitSecret),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretError::Unreadable(path, error) => {
                write!(f, "the secret {} can't be read: {error}; check its name and its permissions", path.display())
            }
            SecretError::Unfit(path, why) => write!(f, "the secret {}: {why}", path.display()),
        }
    }
}

impl std::error::Error for SecretError {}

/// Reads the secret.
pub(crate) fn read(path: &Path) -> Result<Secret, SecretError> {
    let unreadable = |error| SecretError::Unreadable(path.to_owned(), error);
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    let mut bytes = Vec::new();
    file.take(SECRET_FILE_BYTES_MAX as u64).read_to_end(&mut bytes).map_err(unreadable)?;
    Secret::of_file(mode, &bytes).map_err(|why| SecretError::Unfit(path.to_owned(), why))
}
