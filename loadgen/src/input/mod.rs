//! A person's own data: rows of a CSV or JSON file, each of which becomes a record with its bytes unchanged.
//!
//! A regular file of at most [`MEMORY_BYTES_MAX`] is read into memory before the run starts, so that a fault in it is
//! found first and parsing is not part of what is measured. Anything larger, and standard input, is read as a stream:
//! memory holds one row at a time.

mod cells;
mod csv;
mod error;
mod json;
mod time;

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use frame::limits::LARGE_RECORD_BYTES_MAX;

use crate::workload::KEY_BYTES;

pub use cells::{Cells, Columns, ROW_BYTES_MAX, ReadRows};
pub use error::{Fault, InputError, Place};
pub use time::{TimeFormat, UnixUnit};

/// The largest file that is read before the run starts and, with `--loop`, repeated from memory.
pub const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The most characters a partition key may have (the service's own bound).
pub const KEY_CHARS_MAX: usize = 256;

const BUFFER_BYTES: usize = 256 * 1024;

/// Rows of a file that tell how large its rows are.
const ROWS_LOOKED_AT: usize = 1000;

/// How rows are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// Comma-separated values under a header line.
    Csv,
    /// One JSON object a line.
    Jsonl,
    /// One JSON array of objects.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::Jsonl),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is not a format; give csv, jsonl or json")),
        }
    }
}

impl Format {
    /// The format that a file's extension or, failing that, its first character suggests. A `.json` that begins with
    /// an object rather than an array holds an object a line.
    fn guess(path: Option<&Path>, first: Option<u8>) -> Self {
        let extension = path.and_then(Path::extension).and_then(|e| e.to_str()).unwrap_or("");
        match (extension.to_ascii_lowercase().as_str(), first) {
            ("csv", _) => Self::Csv,
            ("jsonl" | "ndjson", _) | (_, Some(b'{')) => Self::Jsonl,
            ("json", _) | (_, Some(b'[')) => Self::Json,
            _ => Self::Csv,
        }
    }
}

/// What to read and how.
#[derive(Clone, Debug)]
pub struct InputSpec {
    /// The file; standard input if `None`.
    pub path: Option<PathBuf>,
    /// Its format, guessed if `None`.
    pub format: Option<Format>,
    /// The columns used.
    pub columns: Columns,
    /// How the time column is written, guessed from the first row if `None`.
    pub time_format: Option<TimeFormat>,
    /// Start again from the first row after the last.
    pub repeat: bool,
}

/// One row on its way to becoming a record.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The partition key; empty if no key column was named.
    pub key: Vec<u8>,
    /// Microseconds since the first row, if a time column was named. It never falls: a row whose time lies before
    /// that of a row already read gets the latest time seen, which sends it at once.
    pub after_us: u64,
    /// The record's data.
    pub data: Vec<u8>,
}

/// The rows of an input, one after another.
pub struct Rows {
    name: String,
    spec: InputSpec,
    source: Source,
    cells: Cells,
    clock: RowClock,
}

enum Source {
    Memory { rows: Vec<Row>, next: usize },
    Stream(Box<dyn ReadRows>),
}

impl Rows {
    /// Opens the input, reads what fits in memory, and checks the columns against it.
    pub fn open(spec: InputSpec) -> Result<Self, InputError> {
        let name = spec.path.as_ref().map_or_else(|| "standard input".to_owned(), |p| p.display().to_string());
        let at_fault = |fault| InputError { input: name.clone(), fault };
        let mut regular_bytes = None;
        let reader = match &spec.path {
            None => reader(&spec, io::stdin()),
            Some(path) => {
                let file = File::open(path).map_err(|e| at_fault(Fault::Open(e)))?;
                let metadata = file.metadata().map_err(|e| at_fault(Fault::Open(e)))?;
                regular_bytes = metadata.is_file().then_some(metadata.len());
                reader(&spec, file)
            }
        }
        .map_err(at_fault)?;
        if spec.repeat && regular_bytes.is_none() {
            return Err(at_fault(Fault::NotRepeatable));
        }
        let clock = RowClock { format: spec.time_format.clone(), ..RowClock::default() };
        let mut rows = Self { name, spec, source: Source::Stream(reader), cells: Cells::default(), clock };
        if regular_bytes.is_some_and(|bytes| bytes <= MEMORY_BYTES_MAX) {
            rows.load()?;
        }
        Ok(rows)
    }

    /// Reads the next row; `false` after the last, which never comes if the input repeats.
    pub fn read(&mut self, row: &mut Row) -> Result<bool, InputError> {
        if self.read_once(row)? {
            return Ok(true);
        }
        if !self.spec.repeat {
            return Ok(false);
        }
        self.rewind()?;
        self.read_once(row)
    }

    /// Bytes of the keys and the data of rows: of all that lie in memory, or of the first of a file. Of standard input they can't be
    /// known.
    pub fn sizes(&self) -> Vec<[usize; 2]> {
        let size = |row: &Row| [if row.key.is_empty() { KEY_BYTES } else { row.key.len() }, row.data.len()];
        if let Source::Memory { rows, .. } = &self.source {
            return rows.iter().map(size).collect();
        }
        // What is no file would be gone once it is read.
        let is_file = self.spec.path.as_ref().is_some_and(|path| path.is_file());
        let Some(mut again) = is_file.then(|| Self::open(self.spec.clone()).ok()).flatten() else { return Vec::new() };
        let (mut row, mut sizes) = (Row::default(), Vec::new());
        while sizes.len() < ROWS_LOOKED_AT && again.read(&mut row).is_ok_and(|there| there) {
            sizes.push(size(&row));
        }
        sizes
    }

    /// Whether reading a row takes no more than a copy.
    pub fn in_memory(&self) -> bool {
        matches!(self.source, Source::Memory { .. })
    }

    /// How many rows had a time before that of an earlier row, as far as they were read.
    pub fn out_of_order(&self) -> u64 {
        self.clock.out_of_order.load(Ordering::Relaxed)
    }

    /// The same, for whoever watches while another thread reads.
    pub fn out_of_order_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.clock.out_of_order)
    }

    /// The time format in use, once a row was read.
    pub fn time_format(&self) -> Option<&TimeFormat> {
        self.clock.format.as_ref()
    }

    /// Reads everything into memory.
    fn load(&mut self) -> Result<(), InputError> {
        let mut rows = Vec::new();
        let mut row = Row::default();
        while self.read_once(&mut row)? {
            rows.push(std::mem::take(&mut row));
        }
        if rows.is_empty() {
            return Err(InputError { input: self.name.clone(), fault: Fault::Empty });
        }
        self.source = Source::Memory { rows, next: 0 };
        Ok(())
    }

    fn read_once(&mut self, row: &mut Row) -> Result<bool, InputError> {
        match &mut self.source {
            Source::Memory { rows, next } => {
                let Some(stored) = rows.get(*next) else {
                    return Ok(false);
                };
                *next += 1;
                row.key.clone_from(&stored.key);
                row.data.clone_from(&stored.data);
                row.after_us = self.clock.pass_us + stored.after_us;
                Ok(true)
            }
            Source::Stream(reader) => {
                let read = reader.read(&mut self.cells).and_then(|found| {
                    if found {
                        self.clock.check(&self.spec.columns, &self.cells, row)?;
                    }
                    Ok(found)
                });
                read.map_err(|fault| InputError { input: self.name.clone(), fault })
            }
        }
    }

    /// Goes back to the first row; times go on from the last.
    fn rewind(&mut self) -> Result<(), InputError> {
        self.clock.start_pass();
        match &mut self.source {
            Source::Memory { next, .. } => *next = 0,
            Source::Stream(stream) => {
                let at_fault = |fault| InputError { input: self.name.clone(), fault };
                let path = self.spec.path.as_ref().expect("only a file is ever repeated");
                let file = File::open(path).map_err(|e| at_fault(Fault::Open(e)))?;
                *stream = reader(&self.spec, file).map_err(at_fault)?;
            }
        }
        Ok(())
    }
}

/// Turns cells into rows: checks the key, reads the time and keeps it from falling.
#[derive(Default)]
struct RowClock {
    format: Option<TimeFormat>,
    first_us: Option<i64>,
    /// The latest time seen in this pass, since the first row.
    latest_us: u64,
    /// How much time one pass covers, known after the first.
    span_us: u64,
    /// What earlier passes over a repeated input add to the time.
    pass_us: u64,
    out_of_order: Arc<AtomicU64>,
}

impl RowClock {
    fn start_pass(&mut self) {
        self.span_us = self.span_us.max(self.latest_us);
        self.pass_us += self.span_us;
        self.latest_us = 0;
    }

    fn check(&mut self, columns: &Columns, cells: &Cells, row: &mut Row) -> Result<(), Fault> {
        if let Some(column) = &columns.key {
            check_key(&cells.key).map_err(|reason| Fault::Key {
                place: cells.place,
                column: column.clone(),
                reason,
            })?;
        }
        let key_bytes = if columns.key.is_some() { cells.key.len() } else { KEY_BYTES };
        if key_bytes + cells.data.len() > LARGE_RECORD_BYTES_MAX {
            return Err(Fault::TooLong { place: cells.place, bytes_max: LARGE_RECORD_BYTES_MAX });
        }
        row.key.clone_from(&cells.key);
        row.data.clone_from(&cells.data);
        row.after_us = self.pass_us;
        let Some(column) = &columns.time else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(&cells.time);
        let text = text.trim();
        let bad =
            |expected| Fault::Time { place: cells.place, column: column.clone(), text: text.to_owned(), expected };
        if self.format.is_none() {
            self.format = TimeFormat::guess(text);
        }
        let Some(format) = &self.format else {
            return Err(bad(
                "no known format fits; give --time-format with a strptime pattern such as '%Y/%m/%d %H:%M'".to_owned(),
            ));
        };
        let Some(time_us) = format.parse_us(text) else {
            return Err(bad(format!("it is not {format}; mend the row or give another --time-format")));
        };
        let first_us = *self.first_us.get_or_insert(time_us);
        let after_us = u64::try_from(time_us.saturating_sub(first_us)).unwrap_or(0);
        if after_us < self.latest_us || time_us < first_us {
            self.out_of_order.fetch_add(1, Ordering::Relaxed);
        }
        self.latest_us = self.latest_us.max(after_us);
        row.after_us = self.pass_us + self.latest_us;
        Ok(())
    }
}

fn check_key(key: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(key).map_err(|_| "it is not UTF-8".to_owned())?;
    match text.chars().count() {
        0 => Err("it is empty, and a key has at least one character".to_owned()),
        chars if chars > KEY_CHARS_MAX => {
            Err(format!("it has {chars} characters, and a key has at most {KEY_CHARS_MAX}"))
        }
        _ => Ok(()),
    }
}

/// Picks the reader for a source, past the byte order mark that some programs write.
fn reader<S: io::Read + Send + 'static>(spec: &InputSpec, source: S) -> Result<Box<dyn ReadRows>, Fault> {
    let mut source = BufReader::with_capacity(BUFFER_BYTES, source);
    let mut start = source.fill_buf().map_err(Fault::Read)?;
    if start.starts_with(b"\xef\xbb\xbf") {
        source.consume(3);
        start = source.buffer();
    }
    let first = start.iter().copied().find(|b| !b.is_ascii_whitespace());
    if first.is_none() && source.buffer().len() < BUFFER_BYTES {
        return Err(Fault::Empty);
    }
    let format = spec.format.unwrap_or_else(|| Format::guess(spec.path.as_deref(), first));
    Ok(match format {
        Format::Csv => Box::new(csv::CsvRows::new(source, &spec.columns)?),
        Format::Jsonl => Box::new(json::JsonlRows::new(source, &spec.columns)),
        Format::Json => Box::new(json::JsonRows::new(source, &spec.columns)),
    })
}

#[cfg(test)]
mod tests;
