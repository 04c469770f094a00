//! The folder of one run. Runs are only ever added: a name that exists is given another number.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::histogram_log::histogram_log;
use super::plot::{latency_plot, throughput_plot};
use super::{RunReport, table};
use crate::recorder::Recorder;

/// The most that one run may leave behind.
pub const RESULT_BYTES_MAX: usize = 1 << 20;

/// A folder that was written.
#[derive(Clone, Debug)]
pub struct ResultFolder {
    /// Where it is.
    pub path: PathBuf,
    /// The bytes in it.
    pub bytes: usize,
}

/// Why a result could not be kept.
#[derive(Debug)]
pub enum FolderError {
    /// A file or folder could not be written.
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The result would be larger than [`RESULT_BYTES_MAX`].
    TooLarge {
        /// How large.
        bytes: usize,
    },
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write { path, source } => {
                write!(
                    f,
                    "cannot write the result to {}: {source}; choose another place with --results",
                    path.display()
                )
            }
            Self::TooLarge { bytes } => {
                write!(
                    f,
                    "the result takes {bytes} bytes, more than the {RESULT_BYTES_MAX} allowed a run; this is a bug"
                )
            }
        }
    }
}

impl std::error::Error for FolderError {}

/// The report as JSON.
pub fn json(report: &RunReport) -> String {
    let json = serde_json::to_string_pretty(report).expect("the report has no map with other keys than text");
    compact_numbers(&json)
}

/// Writes `<date>-<host>-<what>/` below `results`.
pub fn write_folder(
    results: &Path,
    report: &RunReport,
    recorder: &Recorder,
    started: SystemTime,
) -> Result<ResultFolder, FolderError> {
    let files: [(&str, Vec<u8>); 5] = [
        ("result.json", json(report).into_bytes()),
        ("result.txt", format!("$ {}\n\n{}\n", report.command, table(report)).into_bytes()),
        ("latency.hlog", histogram_log(recorder, started, &report.what)),
        ("latency.svg", latency_plot(report, recorder).into_bytes()),
        ("throughput.svg", throughput_plot(report, recorder).into_bytes()),
    ];
    let bytes = files.iter().map(|(_, content)| content.len()).sum();
    if bytes > RESULT_BYTES_MAX {
        return Err(FolderError::TooLarge { bytes });
    }
    let date: String = report.started.chars().filter(char::is_ascii_digit).take(14).collect();
    let (day, time) = date.split_at(date.len().min(8));
    let name = file_name(&format!("{day}-{time}-{}-{}", report.machine.host, report.what));
    let path = make_new(results, &name)?;
    for (file, content) in files {
        let path = path.join(file);
        fs::write(&path, content).map_err(|source| FolderError::Write { path, source })?;
    }
    Ok(ResultFolder { path, bytes })
}

fn make_new(results: &Path, name: &str) -> Result<PathBuf, FolderError> {
    let failed = |path: &Path, source| FolderError::Write { path: path.to_owned(), source };
    fs::create_dir_all(results).map_err(|source| failed(results, source))?;
    for attempt in 1.. {
        let path = if attempt == 1 { results.join(name) } else { results.join(format!("{name}-{attempt}")) };
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed(&path, source)),
        }
    }
    unreachable!("there is a number that no folder has")
}

fn file_name(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '-' };
    let name: String = text.chars().map(safe).collect();
    let parts: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
    parts.join("-")
}

/// Puts the elements of arrays of numbers on one line: hundreds of them would hide the rest.
fn compact_numbers(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut lines = json.lines().peekable();
    while let Some(line) = lines.next() {
        let number = |line: &&str| line.trim().trim_end_matches(',').parse::<f64>().is_ok();
        if !line.ends_with('[') || !lines.peek().is_some_and(number) {
            text.push_str(line);
            text.push('\n');
            continue;
        }
        text.push_str(line);
        while let Some(element) = lines.next_if(number) {
            text.push_str(element.trim());
            if element.ends_with(',') {
                text.push(' ');
            }
        }
        let close = lines.next().unwrap_or_default();
        text.push_str(close.trim());
        text.push('\n');
    }
    text
}
