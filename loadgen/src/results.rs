//! Results that are there: read again, compared, merged.

mod compare;
mod merge;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::report::FolderError;

pub use compare::{Comparison, compare};
pub use merge::{MergedReport, merge};

/// Why results could not be compared or merged. Who names them is at fault, but where a file can't be written.
#[derive(Debug)]
pub enum ResultsError {
    /// There is no result in a folder.
    NoResult(PathBuf),
    /// A result can't be read.
    Unreadable(PathBuf, io::Error),
    /// What is there is not the result of a run; why not.
    NotARun(PathBuf, String),
    /// One run is named twice.
    Twice(PathBuf),
    /// Two runs did not run at the same time.
    Apart {
        /// The one that ended.
        earlier: PathBuf,
        /// The one that began after that.
        later: PathBuf,
        /// So many seconds.
        gap_s: f64,
    },
    /// Two runs did different things.
    Unlike(PathBuf, PathBuf, &'static str),
    /// What was made could not be kept.
    Folder(FolderError),
}

impl fmt::Display for ResultsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoResult(path) => write!(
                f,
                "{} is no result: it holds no result.json, nor do folders in it; name a folder below results/",
                path.display()
            ),
            Self::Unreadable(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::NotARun(path, why) => write!(
                f,
                "{} is not the result of a run of millstream-load: {why}; name the folder of a run",
                path.display()
            ),
            Self::Twice(path) => write!(f, "{} is named twice; name each run once", path.display()),
            Self::Apart { earlier, later, gap_s } => write!(
                f,
                "{} ended {gap_s:.1} s before {} began, by the clocks of their hosts: runs that are merged must have run at the same time, for example with --start-at; if they did, set the clocks",
                earlier.display(),
                later.display()
            ),
            Self::Unlike(one, other, what) => {
                write!(f, "{} and {} differ in {what}, and can't be merged", one.display(), other.display())
            }
            Self::Folder(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ResultsError {}

/// The JSON of a result.
fn read_json(folder: &Path) -> Result<Value, ResultsError> {
    let path = folder.join("result.json");
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ResultsError::NoResult(folder.to_owned()),
        _ => ResultsError::Unreadable(path.clone(), error),
    })?;
    let json: Value = serde_json::from_slice(&text).map_err(|error| not_a_run(folder, error.to_string()))?;
    if json.get("sweep").is_some() {
        return Err(not_a_run(folder, "it is that of a sweep".to_owned()));
    }
    if json.pointer("/measured/latency_ns/at").is_none() {
        return Err(not_a_run(folder, "it tells no latency".to_owned()));
    }
    Ok(json)
}

fn not_a_run(folder: &Path, why: String) -> ResultsError {
    ResultsError::NotARun(folder.to_owned(), why)
}

/// A folder's name, as people call it.
fn name_of(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    folder.file_name().map_or_else(|| folder.display().to_string(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
