//! The folder of one run. Runs are only ever added: a name that exists is given another number.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::histogram_log::histogram_log;
use super::plot::{BOUND, COLOURS, Line, latency_plot, throughput_plot};
use super::{RunReport, Throughput, table};
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

/// A report as JSON.
pub fn json(report: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(report).expect("a report has no map with other keys than text");
    compact_numbers(&json)
}

/// The recorders of one run.
#[derive(Clone, Copy, Debug)]
pub struct Recorders<'a> {
    /// What was acknowledged to the main producers, or taken where nobody produced.
    pub main: &'a Recorder,
    /// What was acknowledged to those beside them.
    pub beside: Option<&'a Recorder>,
    /// What subscribers beside producers took.
    pub pushed: Option<&'a Recorder>,
    /// What catch-up readers took.
    pub caught_up: Option<&'a Recorder>,
}

/// Writes the folder of one run.
pub fn write_folder(
    results: &Path,
    report: &RunReport,
    recorders: Recorders<'_>,
    started: SystemTime,
    metrics: Option<&[u8]>,
) -> Result<ResultFolder, FolderError> {
    let mut files: Vec<(&str, Vec<u8>)> = vec![
        ("result.json", json(report).into_bytes()),
        ("result.txt", format!("$ {}\n\n{}\n", report.command, table(report)).into_bytes()),
        ("latency.hlog", histogram_log(recorders, started, report).into_bytes()),
        ("latency.svg", latency(report, recorders).into_bytes()),
        ("throughput.svg", throughput(report, recorders).into_bytes()),
    ];
    files.extend(metrics.map(|metrics| ("metrics.jsonl", metrics.to_vec())));
    write_files(results, &report.started, &format!("{}-{}", report.machine.host, report.what), &files)
}

/// Latency and service time by percentile, with what others got beside.
fn latency(report: &RunReport, recorders: Recorders<'_>) -> String {
    let Recorders { main, beside, pushed, caught_up } = recorders;
    let mut curves = Vec::new();
    if report.load.consumes {
        curves.push(Line::curve("end to end", COLOURS[0], main.latency()));
    } else {
        // In a closed loop the two are the same, and the latency hides the other.
        curves.push(Line::curve("service time, from the submission", BOUND, main.service()));
        curves.push(Line::curve("latency, from the intended send time", COLOURS[0], main.latency()));
    }
    let others = [
        ("end to end, to subscribers", pushed, COLOURS[2]),
        ("latency of the load beside", beside, COLOURS[1]),
        ("answers to catch-up readers", caught_up, COLOURS[3]),
    ];
    for (name, recorder, colour) in others {
        curves.extend(recorder.map(|recorder| Line::curve(name, colour, recorder.latency())));
    }
    latency_plot(&format!("Latency by percentile: {}", report.what), curves)
}

/// Megabytes a second over time, of everybody.
fn throughput(report: &RunReport, recorders: Recorders<'_>) -> String {
    let Recorders { main, beside, pushed, caught_up } = recorders;
    let main_name = if report.load.consumes { "taken" } else { "acknowledged" };
    let lines = [
        ("pushed to all subscribers", pushed, COLOURS[2]),
        ("acknowledged beside", beside, COLOURS[1]),
        ("read by catch-up readers", caught_up, COLOURS[3]),
        (main_name, Some(main), COLOURS[0]),
    ];
    let line = |(name, recorder, colour): (&str, Option<&Recorder>, _)| {
        let Throughput { point_s, bytes_per_s, .. } = Throughput::new(recorder?);
        Some(Line::rate(name, colour, point_s, &bytes_per_s))
    };
    let warmup_s = main.warmup_ns() as f64 / 1e9;
    let lines = lines.into_iter().filter_map(line).collect();
    throughput_plot(&format!("Throughput over time: {}", report.what), warmup_s, lines)
}

/// Writes files into a new folder `<date>-<what>/` below `results`. `started` begins with the date in digits.
pub(crate) fn write_files(
    results: &Path,
    started: &str,
    what: &str,
    files: &[(&str, Vec<u8>)],
) -> Result<ResultFolder, FolderError> {
    let bytes = files.iter().map(|(_, content)| content.len()).sum();
    if bytes > RESULT_BYTES_MAX {
        return Err(FolderError::TooLarge { bytes });
    }
    let date: String = started.chars().filter(char::is_ascii_digit).take(14).collect();
    let (day, time) = date.split_at(date.len().min(8));
    let path = make_new(results, &file_name(&format!("{day}-{time}-{what}")))?;
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
