//! How `tail` writes a record: as text, each on a line, or as JSON, one object a line, for programs.
//!
//! Text is the record's own bytes, whatever they are. JSON holds text alone, so bytes that are no UTF-8 stand in base64 in a
//! field of another name: no reader has to guess which it is.

use std::io::{self, Write};

use clap::ValueEnum;
use frame::ShardId;
use frame::parts::Record;
use serde::Serialize;
use wire::codec::{Blob, Codec};

use crate::streams::UtcTime;

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Format {
    /// The data
    Text,
    /// An object a line
    Json,
}

/// How each record becomes a line.
#[derive(Debug)]
pub(super) enum Lines {
    /// The data.
    Data,
    /// Shard, sequence number, arrival, key and data, parted by tabs.
    Verbose,
    /// An object with all of these, and the name of this stream.
    Json(String),
}

impl Lines {
    /// Writes a record of that shard.
    pub(super) fn write(&self, out: &mut dyn Write, shard: ShardId, record: &Record<'_>) -> io::Result<()> {
        match self {
            Lines::Data => out.write_all(record.data)?,
            Lines::Verbose => {
                write!(out, "{shard}\t{}\t{}\t", record.sequence, UtcTime(record.arrival_ms))?;
                out.write_all(record.key)?;
                out.write_all(b"\t")?;
                out.write_all(record.data)?;
            }
            Lines::Json(stream) => {
                let object = Codec::Json.write(&Object::of(stream, shard, record)).map_err(io::Error::other)?;
                out.write_all(&object)?;
            }
        }
        out.write_all(b"\n")
    }
}

/// A record as JSON has it.
#[derive(Serialize)]
struct Object<'a> {
    stream: &'a str,
    shard: u32,
    sequence: u64,
    /// As `--verbose` writes it.
    arrival: String,
    /// Milliseconds since 1970.
    arrival_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<Blob>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<Blob>,
}

impl<'a> Object<'a> {
    fn of(stream: &'a str, shard: ShardId, record: &Record<'a>) -> Object<'a> {
        let (key, key_base64) = text_or_bytes(record.key);
        let (data, data_base64) = text_or_bytes(record.data);
        Object {
            stream,
            shard: shard.0,
            sequence: record.sequence.0,
            arrival: UtcTime(record.arrival_ms).to_string(),
            arrival_ms: record.arrival_ms,
            key,
            key_base64,
            data,
            data_base64,
        }
    }
}

/// Text, or else bytes.
fn text_or_bytes(bytes: &[u8]) -> (Option<&str>, Option<Blob>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(Blob(bytes.to_vec().into()))),
    }
}
