//! The catalog's commands, as they stand in the journal and in snapshots.
//!
//! ```text
//!   create   0 version | 1 kind | 2 name length | 4 stream | 8 first shard | 12 shards | 16 created ms | 24 name
//!            or, with quotas, the same and 24 quotas | 48 name
//!   quotas   0 version | 1 kind | 2 0 | 4 stream | 8 0 | 24 quotas
//!            or, with retention, the same and 24 quotas | 48 retention | 64 name
//!            or, annotated, the same and 24 quotas | 48 retention | 64 bytes of the annotation | 68 annotation, name
//!   retention 0 version | 1 kind | 2 0 | 4 stream | 8 0 | 24 retention
//!   annotate 0 version | 1 kind | 2 0 | 4 stream, or 0 for the log | 8 0 | 24 annotation
//!   encrypt  0 version | 1 kind | 2 name length, or 0 for not any more | 4 stream | 8 0 | 24 name of the key
//!   delete   0 version | 1 kind | 2 0 | 4 stream | 8 0
//!   reserve  0 version | 1 kind | 2 0 | 4 next stream | 8 next shard | 12 ranges | 16 1: they are told | 20 0 | the ranges, as in `orphans`
//!   go on    0 version | 1 kind | 2 0 | 4 rows | 8 0 up to 24 | a row: 0 shard | 4 shards | 8 next number | 16 last arrival
//!   producers 0 version | 1 kind | 2 0 | 4 rows | 8 0 up to 24 | the rows, as `producers::rows` draws them
//!   intend, reshard, intend to move, moved: in `reshard`
//!   forget, shards: in `stream::forgotten`
//!   snapshot length (4 bytes) command, length command, ...
//! ```

use frame::{QUOTAS_BYTES, Quotas, RETENTION_BYTES, Retention, ShardId, StreamId};

use std::sync::Arc;

use super::go_on::{GO_ON_ROW_BYTES, GoOn};
use super::reshard::{Completion, INTEND, INTEND_MOVE, MOVED, RESHARD, Resharding};
use super::stream::{FORGET, SHARDS, decode_forget, decode_shards, encode_forget, encode_shards};
use super::{Annotation, Encryption, Orphans, StreamShard};
use crate::producers;
use crate::trims::Trim;

pub(super) const VERSION: u8 = 1;
const CREATE_STREAM: u8 = 1;
const DELETE_STREAM: u8 = 2;
const RESERVE: u8 = 3;
const SET_QUOTAS: u8 = 4;
const CREATE_WITH_QUOTAS: u8 = 5;
const GO_ON: u8 = 6;
const SET_RETENTION: u8 = 20;
const CREATE_WITH_RETENTION: u8 = 21;
const TRIM: u8 = 22;
const ANNOTATE: u8 = 23;
const CREATE_ANNOTATED: u8 = 24;
const ENCRYPT: u8 = 25;
const PRODUCERS: u8 = 30;
pub(crate) const FIXED_BYTES: usize = 24;

/// A change of the catalog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// A stream is made.
    Create(Create),
    /// A stream has other quotas.
    SetQuotas(StreamId, Quotas),
    /// More or less is kept of a stream.
    SetRetention(StreamId, Retention),
    /// A stream has another annotation; stream 0 is the log itself.
    Annotate(StreamId, Annotation),
    /// A stream's records are encrypted from here on, with the key of this name; or not any more.
    Encrypt(StreamId, Encryption),
    /// A stream is gone.
    Delete(StreamId),
    /// Numbers below these are not given any more, and of these shards nothing tells whose they are; earlier builds did not say.
    Reserve { next_stream: StreamId, next_shard: ShardId, orphans: Option<Orphans> },
    /// Shards go on in this journal.
    GoOn(Vec<GoOn>),
    /// What producers that number their records have stored in shards of this journal.
    Producers(Vec<producers::Row>),
    /// Shards are to be split, merged or moved, and take nothing in any more.
    Intend(Resharding),
    /// They were: they are closed, and their children open; or it has another home.
    Reshard(Resharding, Completion),
    /// A stream has closed shards no more, told in their order: all of their records have expired.
    Forget(StreamId, Vec<ShardId>),
    /// The shards that a stream has, in their order, where it has forgotten some. In snapshots alone.
    Shards(StreamId, Vec<StreamShard>),
    /// Shards of this journal are kept from these numbers on.
    Trim(Vec<Trim>),
}

/// A stream as it is made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Create {
    pub(crate) stream: StreamId,
    pub(crate) name: String,
    pub(crate) created_ms: u64,
    /// The first of its shards; the others follow.
    pub(crate) first_shard: ShardId,
    pub(crate) shards: u32,
    pub(crate) quotas: Quotas,
    pub(crate) retention: Retention,
    pub(crate) annotation: Annotation,
}

impl Create {
    /// The number after those of its shards.
    pub(crate) fn next_shard(&self) -> usize {
        self.first_shard.0 as usize + self.shards as usize
    }
}

/// Adds a command to a snapshot: its length, then itself.
pub(crate) fn add_to_snapshot(snapshot: &mut Vec<u8>, command: &Command) {
    let command = command.encode();
    snapshot.extend_from_slice(&(command.len() as u32).to_le_bytes());
    snapshot.extend_from_slice(&command);
}

/// The commands of a snapshot; a last one is `None` if it is not whole, or none.
pub(crate) fn commands(mut snapshot: &[u8]) -> impl Iterator<Item = Option<Command>> + '_ {
    std::iter::from_fn(move || {
        if snapshot.is_empty() {
            return None;
        }
        let whole = snapshot.split_first_chunk::<4>();
        let whole = whole.and_then(|(length, rest)| rest.split_at_checked(u32::from_le_bytes(*length) as usize));
        let (command, rest) = whole.unwrap_or_default();
        snapshot = rest;
        Some(Command::decode(command))
    })
}

/// What a stream is made with takes in its command, and which kind of command that is.
fn create_kind(quotas: &Quotas, retention: &Retention, annotation: &[u8]) -> (u8, usize) {
    if !annotation.is_empty() {
        (CREATE_ANNOTATED, QUOTAS_BYTES + RETENTION_BYTES + 4 + annotation.len())
    } else if *retention != Retention::NONE {
        (CREATE_WITH_RETENTION, QUOTAS_BYTES + RETENTION_BYTES)
    } else if *quotas != Quotas::NONE {
        (CREATE_WITH_QUOTAS, QUOTAS_BYTES)
    } else {
        (CREATE_STREAM, 0)
    }
}

/// What a stream's making takes in a snapshot.
pub(super) fn create_bytes(name: &str, quotas: &Quotas, retention: &Retention, annotation: &[u8]) -> usize {
    4 + FIXED_BYTES + create_kind(quotas, retention, annotation).1 + name.len()
}

impl Command {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, numbers, created_ms, name) = match self {
            Command::Create(create) => {
                let numbers = [create.stream.0, create.first_shard.0, create.shards];
                let (kind, _) = create_kind(&create.quotas, &create.retention, &create.annotation);
                (kind, numbers, create.created_ms, create.name.as_str())
            }
            Command::SetQuotas(stream, _) => (SET_QUOTAS, [stream.0, 0, 0], 0, ""),
            Command::SetRetention(stream, _) => (SET_RETENTION, [stream.0, 0, 0], 0, ""),
            Command::Annotate(stream, _) => (ANNOTATE, [stream.0, 0, 0], 0, ""),
            Command::Encrypt(stream, key) => (ENCRYPT, [stream.0, 0, 0], 0, key.as_deref().unwrap_or_default()),
            Command::Delete(stream) => (DELETE_STREAM, [stream.0, 0, 0], 0, ""),
            Command::Reserve { next_stream, next_shard, orphans } => {
                let ranges = orphans.as_ref().map_or(0, Orphans::len) as u32;
                (RESERVE, [next_stream.0, next_shard.0, ranges], u64::from(orphans.is_some()), "")
            }
            Command::GoOn(rows) => (GO_ON, [rows.len() as u32, 0, 0], 0, ""),
            Command::Trim(rows) => (TRIM, [rows.len() as u32, 0, 0], 0, ""),
            Command::Producers(rows) => (PRODUCERS, [rows.len() as u32, 0, 0], 0, ""),
            Command::Intend(resharding) => return resharding.encode(None),
            Command::Reshard(resharding, completion) => return resharding.encode(Some(completion)),
            Command::Forget(stream, shards) => return encode_forget(*stream, shards),
            Command::Shards(stream, shards) => return encode_shards(*stream, shards),
        };
        let mut out = vec![VERSION, kind];
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        out.extend_from_slice(&created_ms.to_le_bytes());
        match self {
            Command::Create(create) => {
                let (_, bytes) = create_kind(&create.quotas, &create.retention, &create.annotation);
                let length = (create.annotation.len() as u32).to_le_bytes();
                let (quotas, retention) = (create.quotas.encode(), create.retention.encode());
                let settings = [&quotas[..], &retention, &length, &create.annotation].concat();
                out.extend_from_slice(&settings[..bytes]);
            }
            Command::SetQuotas(_, quotas) => out.extend_from_slice(&quotas.encode()),
            Command::SetRetention(_, retention) => out.extend_from_slice(&retention.encode()),
            Command::Annotate(_, annotation) => out.extend_from_slice(annotation),
            Command::GoOn(rows) => rows.iter().for_each(|row| row.encode(&mut out)),
            Command::Trim(rows) => rows.iter().for_each(|row| row.encode(&mut out)),
            Command::Producers(rows) => producers::encode(rows, &mut out),
            Command::Reserve { orphans, .. } => orphans.iter().for_each(|orphans| orphans.encode(&mut out)),
            Command::Encrypt(..) | Command::Delete(_) | Command::Intend(_) | Command::Reshard(..) => {}
            Command::Forget(..) | Command::Shards(..) => {}
        }
        out.extend_from_slice(name.as_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Command> {
        let (fixed, mut name) = bytes.split_first_chunk::<FIXED_BYTES>()?;
        let [VERSION, kind, n0, n1, rest @ ..] = *fixed else { return None };
        if matches!(kind, INTEND | RESHARD | INTEND_MOVE | MOVED) {
            let (resharding, completion) = Resharding::decode(bytes)?;
            return Some(match completion {
                None => Command::Intend(resharding),
                Some(completion) => Command::Reshard(resharding, completion),
            });
        }
        let mut quotas = Quotas::NONE;
        if matches!(kind, SET_QUOTAS | CREATE_WITH_QUOTAS | CREATE_WITH_RETENTION | CREATE_ANNOTATED) {
            let (bytes, behind) = name.split_first_chunk::<QUOTAS_BYTES>()?;
            (quotas, name) = (Quotas::decode(bytes), behind);
        }
        let mut retention = Retention::NONE;
        if matches!(kind, SET_RETENTION | CREATE_WITH_RETENTION | CREATE_ANNOTATED) {
            let (bytes, behind) = name.split_first_chunk::<RETENTION_BYTES>()?;
            (retention, name) = (Retention::decode(bytes), behind);
        }
        let mut annotation = Annotation::default();
        if kind == CREATE_ANNOTATED {
            let (length, behind) = name.split_first_chunk::<4>()?;
            let (bytes, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            (annotation, name) = (bytes.into(), behind);
        }
        let number = |at: usize| Some(u32::from_le_bytes(*rest.get(at..)?.first_chunk()?));
        if kind == GO_ON {
            let (rows, left) = name.as_chunks::<GO_ON_ROW_BYTES>();
            let is_whole = left.is_empty() && rows.len() == number(0)? as usize;
            return is_whole.then(|| Command::GoOn(rows.iter().map(GoOn::decode).collect()));
        }
        if kind == TRIM {
            return Trim::decode_all(name, number(0)?).map(Command::Trim);
        }
        if kind == PRODUCERS {
            return producers::decode(name, number(0)? as usize).map(Command::Producers);
        }
        if kind == FORGET {
            return Some(Command::Forget(StreamId(number(0)?), decode_forget(name, number(4)?)?));
        }
        if kind == SHARDS {
            return Some(Command::Shards(StreamId(number(0)?), decode_shards(name, number(4)?)?));
        }
        if kind == ANNOTATE {
            return Some(Command::Annotate(StreamId(number(0)?), name.into()));
        }
        if kind == RESERVE {
            let (next_stream, next_shard) = (StreamId(number(0)?), ShardId(number(4)?));
            let orphans = Orphans::decode(name, number(8)?)?;
            return Some(Command::Reserve { next_stream, next_shard, orphans: (number(12)? != 0).then_some(orphans) });
        }
        let name = std::str::from_utf8(name).ok()?;
        (name.len() == usize::from(u16::from_le_bytes([n0, n1]))).then_some(())?;
        let (stream, shard) = (StreamId(number(0)?), ShardId(number(4)?));
        match kind {
            CREATE_STREAM | CREATE_WITH_QUOTAS | CREATE_WITH_RETENTION | CREATE_ANNOTATED => {
                Some(Command::Create(Create {
                    stream,
                    first_shard: shard,
                    shards: number(8)?,
                    created_ms: u64::from_le_bytes(*rest.get(12..)?.first_chunk()?),
                    name: name.to_owned(),
                    quotas,
                    retention,
                    annotation,
                }))
            }
            SET_QUOTAS => Some(Command::SetQuotas(stream, quotas)),
            SET_RETENTION => Some(Command::SetRetention(stream, retention)),
            ENCRYPT => Some(Command::Encrypt(stream, (!name.is_empty()).then(|| Arc::from(name)))),
            DELETE_STREAM => Some(Command::Delete(stream)),
            _ => None,
        }
    }
}
