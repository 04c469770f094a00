//! Comma-separated rows under a header line (RFC 4180), read as a stream.
//!
//! It stands on `csv-core` rather than `csv`, because a row as it stands is its exact bytes, quotes included, and the
//! larger crate keeps them to itself.

use std::io::BufRead;

use super::cells::{Cells, Columns, ROW_BYTES_MAX, ReadRows};
use super::error::{Fault, Place};

/// Reads rows under a header.
pub(super) struct CsvRows<R> {
    source: R,
    core: csv_core::Reader,
    header_fields: usize,
    /// The position in a row of the key, time and data column.
    wanted: [Option<usize>; 3],
    /// The fields of the current row, unquoted, one after another.
    fields: Vec<u8>,
    /// Where each field ends.
    ends: Vec<usize>,
    /// The exact bytes of the current row.
    raw: Vec<u8>,
    line: u64,
    row: u64,
}

impl<R: BufRead + Send> CsvRows<R> {
    /// Reads the header and finds the columns in it.
    pub(super) fn new(source: R, columns: &Columns) -> Result<Self, Fault> {
        let mut rows = Self {
            source,
            core: csv_core::Reader::new(),
            header_fields: 0,
            wanted: [None; 3],
            fields: vec![0; 4096],
            ends: vec![0; 64],
            raw: Vec::new(),
            line: 1,
            row: 0,
        };
        let Some(fields) = rows.record()? else {
            return Err(Fault::Empty);
        };
        rows.header_fields = fields;
        let known: Vec<String> = (0..fields).map(|i| String::from_utf8_lossy(rows.field(i)).into_owned()).collect();
        for (slot, (flag, column)) in rows.wanted.iter_mut().zip(columns.named()) {
            let Some(column) = column else { continue };
            let Some(index) = known.iter().position(|name| name == column) else {
                return Err(Fault::UnknownColumn { flag, column: column.to_owned(), known });
            };
            *slot = Some(index);
        }
        Ok(rows)
    }

    fn place(&self) -> Place {
        Place { line: self.line, row: self.row }
    }

    fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.fields[start..self.ends[index]]
    }

    /// Reads one record and returns how many fields it has; `None` at the end.
    fn record(&mut self) -> Result<Option<usize>, Fault> {
        self.raw.clear();
        let (mut bytes, mut fields) = (0, 0);
        loop {
            let input = self.source.fill_buf().map_err(Fault::Read)?;
            let at_end = input.is_empty();
            let (result, read, written, ended) =
                self.core.read_record(input, &mut self.fields[bytes..], &mut self.ends[fields..]);
            self.raw.extend_from_slice(&input[..read]);
            self.source.consume(read);
            bytes += written;
            fields += ended;
            if self.raw.len() > ROW_BYTES_MAX {
                return Err(Fault::TooLong { place: self.place(), bytes_max: ROW_BYTES_MAX });
            }
            match result {
                csv_core::ReadRecordResult::InputEmpty => {}
                csv_core::ReadRecordResult::OutputFull => self.fields.resize(self.fields.len() * 2, 0),
                csv_core::ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                csv_core::ReadRecordResult::End => return Ok(None),
                csv_core::ReadRecordResult::Record => {
                    // Blank lines before a row belong to no row.
                    let blank = self.raw.iter().take_while(|&&b| b == b'\n' || b == b'\r').count();
                    self.line += newlines(&self.raw[..blank]);
                    self.raw.drain(..blank);
                    if at_end && newlines(&self.raw) > 1 && quotes(&self.raw) % 2 == 1 {
                        return Err(Fault::OpenQuote { place: self.place() });
                    }
                    return Ok(Some(fields));
                }
            }
        }
    }
}

impl<R: BufRead + Send> ReadRows for CsvRows<R> {
    fn read(&mut self, cells: &mut Cells) -> Result<bool, Fault> {
        self.line += newlines(&self.raw);
        self.row += 1;
        let Some(fields) = self.record()? else {
            return Ok(false);
        };
        cells.place = self.place();
        if fields != self.header_fields {
            return Err(Fault::Width { place: cells.place, fields, header: self.header_fields });
        }
        for (cell, wanted) in cells.named().into_iter().zip(self.wanted) {
            cell.clear();
            if let Some(index) = wanted {
                cell.extend_from_slice(self.field(index));
            }
        }
        if self.wanted[2].is_none() {
            let end = self.raw.iter().rposition(|&b| b != b'\n' && b != b'\r').map_or(0, |last| last + 1);
            cells.data.extend_from_slice(&self.raw[..end]);
        }
        Ok(true)
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&b| b == b'\n').count() as u64
}

fn quotes(bytes: &[u8]) -> usize {
    bytes.iter().filter(|&&b| b == b'"').count()
}
