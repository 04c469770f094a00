//! JSON rows: one object a line (`jsonl`), or one array of objects (`json`), both read as a stream.
//!
//! Of each object only the wanted columns are unpacked; the row as it stands is its exact bytes, white space between
//! members included.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, Read};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::cells::{Cells, Columns, ROW_BYTES_MAX, ReadRows};
use super::error::{Fault, Place};

/// Reads one object a line.
pub(super) struct JsonlRows<R> {
    source: R,
    columns: Columns,
    line: Vec<u8>,
    place: Place,
}

impl<R: BufRead + Send> JsonlRows<R> {
    /// Starts at the first line.
    pub(super) fn new(source: R, columns: &Columns) -> Self {
        Self { source, columns: columns.clone(), line: Vec::new(), place: Place::default() }
    }
}

impl<R: BufRead + Send> ReadRows for JsonlRows<R> {
    fn read(&mut self, cells: &mut Cells) -> Result<bool, Fault> {
        loop {
            self.line.clear();
            let most = ROW_BYTES_MAX as u64 + 2;
            let read = self.source.by_ref().take(most).read_until(b'\n', &mut self.line).map_err(Fault::Read)?;
            if read == 0 {
                return Ok(false);
            }
            self.place.line += 1;
            let row = self.line.trim_ascii();
            if row.is_empty() {
                continue;
            }
            self.place.row += 1;
            cells.place = self.place;
            if row.len() > ROW_BYTES_MAX {
                return Err(Fault::TooLong { place: self.place, bytes_max: ROW_BYTES_MAX });
            }
            if row[0] != b'{' {
                return Err(Fault::NotAnObject { place: self.place, found: first_char(row) });
            }
            fill(row, &self.columns, cells)?;
            return Ok(true);
        }
    }
}

/// Reads the elements of one array.
///
/// Each element is parsed on its own from the stream. As every element is an object, its last byte is its closing
/// brace, so the parser never has to look past it and nothing is lost between elements.
pub(super) struct JsonRows<R> {
    source: Measured<R>,
    columns: Columns,
    row: u64,
    last: Place,
    state: ArrayState,
}

#[derive(Clone, Copy, PartialEq)]
enum ArrayState {
    BeforeArray,
    BeforeFirst,
    AfterElement,
    Closed,
}

impl<R: BufRead + Send> JsonRows<R> {
    /// Starts before the array.
    pub(super) fn new(source: R, columns: &Columns) -> Self {
        Self {
            source: Measured { source, line: 1, bytes: 0 },
            columns: columns.clone(),
            row: 0,
            last: Place::default(),
            state: ArrayState::BeforeArray,
        }
    }

    /// Moves to the next element; `false` when the array is closed.
    fn seek_element(&mut self) -> Result<bool, Fault> {
        loop {
            let next = self.source.peek_token().map_err(Fault::Read)?;
            let broken = Fault::BrokenArray { place: self.last, found: next.map(char::from) };
            match (self.state, next) {
                (ArrayState::Closed, _) => return Ok(false),
                (ArrayState::BeforeArray, None) => return Err(Fault::Empty),
                (ArrayState::BeforeArray, Some(b'[')) => self.state = ArrayState::BeforeFirst,
                (ArrayState::BeforeArray, Some(other)) => {
                    return Err(Fault::NotAnArray { found: char::from(other) });
                }
                (_, Some(b']')) => self.state = ArrayState::Closed,
                (ArrayState::BeforeFirst, Some(_)) => return Ok(true),
                (ArrayState::AfterElement, Some(b',')) => {
                    self.source.consume(1);
                    return match self.source.peek_token().map_err(Fault::Read)? {
                        Some(b']') => Err(Fault::BrokenArray { place: self.last, found: Some(',') }),
                        Some(_) => Ok(true),
                        None => Err(Fault::BrokenArray { place: self.last, found: None }),
                    };
                }
                _ => return Err(broken),
            }
            self.source.consume(1);
        }
    }
}

impl<R: BufRead + Send> ReadRows for JsonRows<R> {
    fn read(&mut self, cells: &mut Cells) -> Result<bool, Fault> {
        if !self.seek_element()? {
            return Ok(false);
        }
        self.row += 1;
        cells.place = Place { line: self.source.line, row: self.row };
        let first = self.source.peek_token().map_err(Fault::Read)?.unwrap_or(b' ');
        if first != b'{' {
            return Err(Fault::NotAnObject { place: cells.place, found: char::from(first) });
        }
        self.source.bytes = 0;
        let mut element = serde_json::Deserializer::from_reader(&mut self.source);
        let element: Box<RawValue> = serde::Deserialize::deserialize(&mut element).map_err(|error| {
            if error.io_error_kind() == Some(io::ErrorKind::FileTooLarge) {
                return Fault::TooLong { place: cells.place, bytes_max: ROW_BYTES_MAX };
            }
            Fault::NotJson { place: cells.place, reason: within_row(&error, cells.place) }
        })?;
        self.state = ArrayState::AfterElement;
        self.last = cells.place;
        fill(element.get().as_bytes(), &self.columns, cells)?;
        Ok(true)
    }
}

/// Counts lines, and refuses to read on when one element grows past the longest row.
struct Measured<R> {
    source: R,
    line: u64,
    bytes: usize,
}

impl<R: BufRead> Measured<R> {
    /// The next byte that isn't white space, left unread.
    fn peek_token(&mut self) -> io::Result<Option<u8>> {
        loop {
            let buffer = self.source.fill_buf()?;
            let Some(&byte) = buffer.first() else {
                return Ok(None);
            };
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.consume(1);
        }
    }

    fn consume(&mut self, bytes: usize) {
        if let Ok(buffer) = self.source.fill_buf() {
            self.line += buffer[..bytes].iter().filter(|&&b| b == b'\n').count() as u64;
        }
        self.source.consume(bytes);
    }
}

impl<R: Read> Read for Measured<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.bytes += read;
        if self.bytes > ROW_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.line += buffer[..read].iter().filter(|&&b| b == b'\n').count() as u64;
        Ok(read)
    }
}

/// Fills the cells from the bytes of one object.
fn fill(row: &[u8], columns: &Columns, cells: &mut Cells) -> Result<(), Fault> {
    let place = cells.place;
    let not_json = |error: serde_json::Error| Fault::NotJson { place, reason: within_row(&error, place) };
    let mut parser = serde_json::Deserializer::from_slice(row);
    let found = Picker(columns).deserialize(&mut parser).map_err(not_json)?;
    parser.end().map_err(not_json)?;
    for ((cell, found), (flag, column)) in cells.named().into_iter().zip(found).zip(columns.named()) {
        cell.clear();
        let Some(column) = column else { continue };
        let missing = |found: String| Fault::NoValue { place, flag, column: column.to_owned(), found };
        match found.map(RawValue::get) {
            None if place.row == 1 => {
                let known = names(row).map_err(not_json)?;
                return Err(Fault::UnknownColumn { flag, column: column.to_owned(), known });
            }
            None => {
                let known = names(row).map_err(not_json)?;
                return Err(missing(format!("the row has: {}", known.join(", "))));
            }
            Some("null") if flag != "--data" => return Err(missing("it is null".to_owned())),
            Some(text) if text.starts_with('"') => {
                let text: Cow<'_, str> = serde_json::from_str::<Text<'_>>(text).map_err(not_json)?.0;
                cell.extend_from_slice(text.as_bytes());
            }
            Some(text) => cell.extend_from_slice(text.as_bytes()),
        }
    }
    if columns.data.is_none() {
        cells.data.extend_from_slice(row);
    }
    Ok(())
}

/// A string, borrowed where it holds no escape.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Picks the wanted members out of one object.
struct Picker<'c>(&'c Columns);

impl<'de> DeserializeSeed<'de> for Picker<'_> {
    type Value = [Option<&'de RawValue>; 3];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Picker<'_> {
    type Value = [Option<&'de RawValue>; 3];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; 3];
        while let Some(Text(name)) = map.next_key()? {
            let mut value = None;
            for (slot, (_, column)) in found.iter_mut().zip(self.0.named()) {
                if column != Some(&*name) {
                    continue;
                }
                if value.is_none() {
                    value = Some(map.next_value::<&RawValue>()?);
                }
                *slot = value;
            }
            if value.is_none() {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// The names of an object's members, for a message.
fn names(row: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    let members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(row)?;
    if members.is_empty() {
        return Err(serde_json::Error::custom("the object is empty"));
    }
    Ok(members.into_iter().map(|(name, _)| name).collect())
}

/// The parser's message with its line counted from the start of the file.
fn within_row(error: &serde_json::Error, place: Place) -> String {
    let text = error.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
    let line = place.line + (error.line().max(1) as u64 - 1);
    format!("{reason}, at line {line} column {}", error.column())
}

fn first_char(row: &[u8]) -> char {
    String::from_utf8_lossy(row).chars().next().unwrap_or(' ')
}
