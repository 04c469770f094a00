//! Reads a file through a window, so that its size does not matter.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::InspectError;

const WINDOW_BYTES: usize = 4 << 20;

/// A file and the part of it that is in memory.
#[derive(Debug)]
pub(super) struct Window {
    file: File,
    path: PathBuf,
    bytes: Vec<u8>,
    at: u64,
}

impl Window {
    pub(super) fn open(path: &Path) -> Result<Window, InspectError> {
        let file = File::open(path).map_err(|source| unreadable(path, source))?;
        Ok(Window { file, path: path.to_owned(), bytes: Vec::new(), at: 0 })
    }

    /// The file's length.
    pub(super) fn len(&self) -> Result<u64, InspectError> {
        self.file.metadata().map(|metadata| metadata.len()).map_err(|source| unreadable(&self.path, source))
    }

    /// `bytes` from `offset` on; fewer where the file ends.
    pub(super) fn read(&mut self, offset: u64, bytes: usize) -> Result<&[u8], InspectError> {
        let inside = offset >= self.at && offset + bytes as u64 <= self.at + self.bytes.len() as u64;
        if !inside {
            self.bytes.resize(WINDOW_BYTES.max(bytes), 0);
            let read = read_to_end_of(&self.file, &mut self.bytes, offset);
            let read = read.map_err(|source| unreadable(&self.path, source))?;
            self.bytes.truncate(read);
            self.at = offset;
        }
        let rest = self.bytes.get((offset - self.at) as usize..).unwrap_or_default();
        Ok(&rest[..rest.len().min(bytes)])
    }

    /// Forgets what is in memory, for when the file may have changed.
    pub(super) fn forget(&mut self) {
        self.bytes.clear();
    }
}

fn read_to_end_of(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

fn unreadable(path: &Path, source: io::Error) -> InspectError {
    InspectError::Unreadable { path: path.to_owned(), source }
}
