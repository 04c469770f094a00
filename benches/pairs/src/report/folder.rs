//! The folder of one result. Results are only ever added: a name that exists is given a number.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Report, page, plot};
use crate::error::PairsError;

/// The most that one result may take.
const BYTES_MAX: usize = 1 << 20;

/// Writes `<date>-<host>-<target>/` below `results`.
pub(super) fn write(results: &Path, report: &Report) -> Result<PathBuf, PairsError> {
    let json = serde_json::to_string_pretty(report).expect("results are plain numbers and text");
    let mut files = vec![("result.json".to_owned(), json + "\n"), ("README.md".to_owned(), page::page(report))];
    for part in &report.parts {
        for measured in &part.measures {
            files.push((format!("{}.svg", measured.measure.slug), plot::plot(part, measured)));
        }
    }
    let bytes = files.iter().map(|(_, content)| content.len()).sum();
    if bytes > BYTES_MAX {
        return Err(PairsError::TooLarge { bytes, bytes_max: BYTES_MAX });
    }
    let date: String = report.started.chars().filter(char::is_ascii_digit).take(14).collect();
    let (day, time) = date.split_at(date.len().min(8));
    let host = report.machine["host"].as_str().unwrap_or("unknown");
    let path = make_new(results, &safe(&format!("{day}-{time}-{host}-{}", report.target)))?;
    for (name, content) in files {
        let file = path.join(name);
        fs::write(&file, content).map_err(|source| PairsError::File { path: file, source })?;
    }
    Ok(path)
}

fn make_new(results: &Path, name: &str) -> Result<PathBuf, PairsError> {
    fs::create_dir_all(results).map_err(|source| PairsError::File { path: results.to_owned(), source })?;
    for attempt in 1.. {
        let path = if attempt == 1 { results.join(name) } else { results.join(format!("{name}-{attempt}")) };
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(PairsError::File { path, source }),
        }
    }
    unreachable!("there is a number that no folder has")
}

fn safe(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '-' }).collect()
}
