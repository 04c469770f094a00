//! Streams and shards: a state machine fed by commands, which travel in the journal as records of the catalog's own shard.
//!
//! A snapshot is the commands that make the same state. It lies in the footer of every sealed segment; what came after is
//! replayed from the tail. Applying is deterministic: identifiers are in the command, not drawn here.
//!
//! ```text
//!   create   0 version | 1 kind | 2 name length | 4 stream | 8 first shard | 12 shards | 16 created ms | 24 name
//!            or, with quotas, the same and 24 quotas | 48 name
//!   quotas   0 version | 1 kind | 2 0 | 4 stream | 8 0 | 24 quotas
//!            or, with retention, the same and 24 quotas | 48 retention | 64 name
//!   retention 0 version | 1 kind | 2 0 | 4 stream | 8 0 | 24 retention
//!   delete   0 version | 1 kind | 2 0 | 4 stream | 8 0
//!   reserve  0 version | 1 kind | 2 0 | 4 next stream | 8 next shard | 12 0
//!   go on    0 version | 1 kind | 2 0 | 4 rows | 8 0 up to 24 | a row: 0 shard | 4 shards | 8 next number | 16 last arrival
//!   producers 0 version | 1 kind | 2 0 | 4 rows | 8 0 up to 24 | the rows, as `producers::rows` draws them
//!   intend, reshard, intend to move, moved: in `reshard`
//!   snapshot length (4 bytes) command, length command, ...
//! ```
//!
//! Numbers of streams and shards are never given twice: a snapshot ends with those that come next.
//!
//! The catalog's own journal is number 0. Every journal, that one among them, says with *go on* at which number a shard goes
//! on in it whose records before that lie in another journal; what the catalog knows does not change by it.

mod damage;
mod go_on;
mod reshard;
mod stream;

use std::collections::BTreeMap;

use frame::limits::{SHARDS_PER_STREAM_MAX, STREAM_NAME_BYTES_MAX};
use frame::{QUOTAS_BYTES, Quotas, RETENTION_BYTES, Retention, Settings, ShardId, StreamId};

pub(crate) use go_on::{GO_ON_ROWS_MAX, GoOn};
pub(crate) use reshard::{Change, Completion, ReshardError, Resharding};
pub(crate) use stream::{Stream, StreamShard};

use crate::limits::{SHARDS_MAX, STREAMS_MAX};
use crate::producers;
use crate::trims::Trim;
use go_on::GO_ON_ROW_BYTES;
use reshard::{INTEND, INTEND_MOVE, MOVED, RESHARD};

const VERSION: u8 = 1;
const CREATE_STREAM: u8 = 1;
const DELETE_STREAM: u8 = 2;
const RESERVE: u8 = 3;
const SET_QUOTAS: u8 = 4;
const CREATE_WITH_QUOTAS: u8 = 5;
const GO_ON: u8 = 6;
const SET_RETENTION: u8 = 20;
const CREATE_WITH_RETENTION: u8 = 21;
const TRIM: u8 = 22;
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
    /// A stream is gone.
    Delete(StreamId),
    /// Numbers below these are not given any more.
    Reserve { next_stream: StreamId, next_shard: ShardId },
    /// Shards go on in this journal.
    GoOn(Vec<GoOn>),
    /// What producers that number their records have stored in shards of this journal.
    Producers(Vec<producers::Row>),
    /// Shards are to be split, merged or moved, and take nothing in any more.
    Intend(Resharding),
    /// They were: they are closed, and their children open; or it has another home.
    Reshard(Resharding, Completion),
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
}

/// Why a stream can't be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum CreateError {
    /// The caller: the name has no or too many characters, or others than letters, digits and `_.-`.
    Name,
    /// The caller: no shards, or more than a stream may have.
    Shards,
    /// The caller: it exists, and was made with this many shards.
    Exists(u32),
    /// The data directory has all the streams or shards that it may have.
    Full,
}

/// All streams.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Catalog {
    /// By identifier, which count from 1. Nothing where it was deleted, or the command that made it was damaged.
    streams: Vec<Option<Stream>>,
    by_name: BTreeMap<String, StreamId>,
    /// The stream that has each shard, by shard; 0 where none has.
    of_shards: Vec<StreamId>,
    next_shard: u32,
    snapshot_bytes: usize,
}

impl Catalog {
    pub(crate) fn new() -> Catalog {
        let snapshot_bytes = 4 + FIXED_BYTES;
        let (streams, by_name, of_shards) = (Vec::new(), BTreeMap::new(), vec![StreamId(0)]);
        Catalog { streams, by_name, of_shards, next_shard: 1, snapshot_bytes }
    }

    /// The command that would make a stream, or why none may.
    pub(crate) fn plan_create(
        &self,
        name: &str,
        shards: u32,
        Settings { quotas, retention }: Settings,
        now_ms: u64,
    ) -> Result<Command, CreateError> {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if name.is_empty() || name.len() > STREAM_NAME_BYTES_MAX || !name.bytes().all(legal) {
            return Err(CreateError::Name);
        }
        if shards == 0 || shards as usize > SHARDS_PER_STREAM_MAX {
            return Err(CreateError::Shards);
        }
        if let Some(stream) = self.by_name(name) {
            return Err(CreateError::Exists(stream.made_with()));
        }
        if self.streams.len() >= STREAMS_MAX || self.next_shard as usize + shards as usize > SHARDS_MAX {
            return Err(CreateError::Full);
        }
        Ok(Command::Create(Create {
            stream: StreamId(self.streams.len() as u32 + 1),
            name: name.to_owned(),
            first_shard: ShardId(self.next_shard),
            shards,
            created_ms: now_ms,
            quotas,
            retention,
        }))
    }

    /// The command that would give a stream other quotas; `None` if there is none of that name.
    pub(crate) fn plan_quotas(&self, name: &str, quotas: Quotas) -> Option<Command> {
        self.by_name(name).map(|stream| Command::SetQuotas(stream.stream, quotas))
    }

    /// The command that would have more or less of a stream kept; `None` if there is none of that name.
    pub(crate) fn plan_retention(&self, name: &str, retention: Retention) -> Option<Command> {
        self.by_name(name).map(|stream| Command::SetRetention(stream.stream, retention))
    }

    /// The command that would delete a stream; `None` if there is none of that name.
    pub(crate) fn plan_delete(&self, name: &str) -> Option<Command> {
        self.by_name(name).map(|stream| Command::Delete(stream.stream))
    }

    /// The command by which a shard begins to be split or moved, or two to be merged, or why they may not.
    pub(crate) fn plan_reshard(&self, name: &str, change: Change) -> Result<Command, ReshardError> {
        let stream = self.by_name(name).ok_or(ReshardError::UnknownStream)?;
        let resharding = stream.plan(change, ShardId(self.next_shard))?;
        if resharding.next_shard() > SHARDS_MAX { Err(ReshardError::Full) } else { Ok(Command::Intend(resharding)) }
    }

    /// Applies a command that is durable. `None` if it does not follow from this state: the log is damaged.
    pub(crate) fn apply(&mut self, command: &Command) -> Option<()> {
        match command {
            Command::Create(create) => self.create(create),
            Command::SetQuotas(stream, quotas) => self.change(*stream, |stream| stream.quotas = *quotas),
            Command::SetRetention(stream, retention) => self.change(*stream, |stream| stream.retention = *retention),
            Command::Delete(stream) => self.delete(*stream),
            Command::Reserve { next_stream, next_shard } => {
                let known = STREAMS_MAX.min((next_stream.0 as usize).checked_sub(1)?);
                self.streams.resize(known.max(self.streams.len()), None);
                self.reserve_shards(SHARDS_MAX.min(next_shard.0 as usize));
                Some(())
            }
            Command::GoOn(_) | Command::Trim(_) | Command::Producers(_) => Some(()),
            Command::Intend(resharding) => self.reshard(resharding, None),
            Command::Reshard(resharding, completion) => self.reshard(resharding, Some(completion)),
        }
    }

    fn reshard(&mut self, resharding: &Resharding, completion: Option<&Completion>) -> Option<()> {
        (resharding.next_shard() <= SHARDS_MAX).then(|| self.reserve_shards(resharding.next_shard()))?;
        self.change(resharding.stream, |stream| match completion {
            None => stream.intend(resharding),
            Some(completion) => stream.reshard(resharding, completion),
        })?;
        for child in resharding.first_child.0..resharding.next_shard() as u32 {
            // Not where damage took what they were to be made of.
            if self.stream(resharding.stream).is_some_and(|stream| stream.has(ShardId(child))) {
                self.of_shards[child as usize] = resharding.stream;
            }
        }
        Some(())
    }

    fn change(&mut self, stream: StreamId, change: impl FnOnce(&mut Stream)) -> Option<()> {
        // Nothing, where the command that made it was damaged.
        if let Some(stream) = self.streams.get_mut((stream.0 as usize).checked_sub(1)?)? {
            self.snapshot_bytes -= stream.snapshot_bytes();
            change(stream);
            self.snapshot_bytes += stream.snapshot_bytes();
        }
        Some(())
    }

    fn delete(&mut self, stream: StreamId) -> Option<()> {
        // The same.
        if let Some(stream) = self.streams.get_mut((stream.0 as usize).checked_sub(1)?)?.take() {
            self.by_name.remove(&stream.name);
            stream.shards().for_each(|shard| self.of_shards[shard.shard.0 as usize] = StreamId(0));
            self.snapshot_bytes -= stream.snapshot_bytes();
        }
        Some(())
    }

    fn create(&mut self, command: &Create) -> Option<()> {
        let Create { stream, name, first_shard, shards, .. } = command;
        let follows = (self.streams.len() + 1..=STREAMS_MAX).contains(&(stream.0 as usize))
            && (self.next_shard..SHARDS_MAX as u32).contains(&first_shard.0)
            && (1..=SHARDS_PER_STREAM_MAX).contains(&(*shards as usize))
            && !self.by_name.contains_key(name);
        if !follows {
            return None;
        }
        self.streams.resize(stream.0 as usize - 1, None);
        let made = Stream::new(command);
        self.snapshot_bytes += made.snapshot_bytes();
        self.streams.push(Some(made));
        self.by_name.insert(name.clone(), *stream);
        self.next_shard = first_shard.0 + shards;
        self.of_shards.resize(first_shard.0 as usize, StreamId(0));
        self.of_shards.resize(self.next_shard as usize, *stream);
        Some(())
    }

    pub(crate) fn stream(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get((stream.0 as usize).checked_sub(1)?)?.as_ref()
    }

    /// All of them.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().flatten()
    }

    /// Shards that were moved, and their homes since.
    pub(crate) fn homes(&self) -> impl Iterator<Item = (ShardId, u32)> + '_ {
        self.streams().flat_map(Stream::homes)
    }

    /// The stream that has a shard; nothing if it was deleted, or the command that made it was damaged.
    pub(crate) fn stream_of(&self, shard: ShardId) -> Option<&Stream> {
        self.stream(*self.of_shards.get(shard.0 as usize)?)
    }

    /// Whether records of any stream expire.
    pub(crate) fn has_retention(&self) -> bool {
        self.streams.iter().flatten().any(|stream| stream.retention.seconds.is_some())
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Stream> {
        self.by_name.get(name).and_then(|&stream| self.stream(stream))
    }

    /// Names after `after`, in order.
    pub(crate) fn names_after<'a>(&'a self, after: &'a str) -> impl Iterator<Item = &'a str> {
        let from = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        self.by_name.range::<str, _>(from).map(|(name, _)| name.as_str())
    }

    /// Shards in all, the catalog's own included: their identifiers are below this.
    pub(crate) fn shard_count(&self) -> usize {
        self.next_shard as usize
    }

    /// Never gives shard numbers below `count` to new streams: records of them were found.
    pub(crate) fn reserve_shards(&mut self, count: usize) {
        self.next_shard = self.next_shard.max(count as u32);
        self.of_shards.resize(self.next_shard as usize, StreamId(0));
    }

    /// Bytes of [`Catalog::snapshot`].
    pub(crate) fn snapshot_bytes(&self) -> usize {
        self.snapshot_bytes
    }

    /// Commands that make this state.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let reserve = Command::Reserve {
            next_stream: StreamId(self.streams.len() as u32 + 1),
            next_shard: ShardId(self.next_shard),
        };
        // Numbers count up while shards are made, so what makes them stands in their order, and what is reserved comes last.
        let mut commands: Vec<(ShardId, Command)> = Vec::with_capacity(self.streams.len() + 1);
        for stream in self.streams.iter().flatten() {
            commands.push((stream.first_shard, Command::Create(stream.create())));
            commands.extend(stream.reshardings().map(|(resharding, completion)| {
                let command = match completion {
                    None => Command::Intend(resharding),
                    Some(completion) => Command::Reshard(resharding, completion),
                };
                (resharding.first_child, command)
            }));
        }
        commands.sort_by_key(|(shard, _)| *shard);
        let mut out = Vec::with_capacity(self.snapshot_bytes);
        for command in commands.into_iter().map(|(_, command)| command).chain([reserve]) {
            add_to_snapshot(&mut out, &command);
        }
        out
    }

    /// The state that a snapshot describes; `None` if it is not one.
    pub(crate) fn restore(snapshot: &[u8]) -> Option<Catalog> {
        let mut catalog = Catalog::new();
        commands(snapshot).try_for_each(|command| catalog.apply(&command?))?;
        Some(catalog)
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
fn create_kind(quotas: &Quotas, retention: &Retention) -> (u8, usize) {
    if *retention != Retention::NONE {
        (CREATE_WITH_RETENTION, QUOTAS_BYTES + RETENTION_BYTES)
    } else if *quotas != Quotas::NONE {
        (CREATE_WITH_QUOTAS, QUOTAS_BYTES)
    } else {
        (CREATE_STREAM, 0)
    }
}

/// What a stream's making takes in a snapshot.
fn create_bytes(name: &str, quotas: &Quotas, retention: &Retention) -> usize {
    4 + FIXED_BYTES + create_kind(quotas, retention).1 + name.len()
}

impl Command {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (kind, numbers, created_ms, name) = match self {
            Command::Create(create) => {
                let numbers = [create.stream.0, create.first_shard.0, create.shards];
                let (kind, _) = create_kind(&create.quotas, &create.retention);
                (kind, numbers, create.created_ms, create.name.as_str())
            }
            Command::SetQuotas(stream, _) => (SET_QUOTAS, [stream.0, 0, 0], 0, ""),
            Command::SetRetention(stream, _) => (SET_RETENTION, [stream.0, 0, 0], 0, ""),
            Command::Delete(stream) => (DELETE_STREAM, [stream.0, 0, 0], 0, ""),
            Command::Reserve { next_stream, next_shard } => (RESERVE, [next_stream.0, next_shard.0, 0], 0, ""),
            Command::GoOn(rows) => (GO_ON, [rows.len() as u32, 0, 0], 0, ""),
            Command::Trim(rows) => (TRIM, [rows.len() as u32, 0, 0], 0, ""),
            Command::Producers(rows) => (PRODUCERS, [rows.len() as u32, 0, 0], 0, ""),
            Command::Intend(resharding) => return resharding.encode(None),
            Command::Reshard(resharding, completion) => return resharding.encode(Some(completion)),
        };
        let mut out = vec![VERSION, kind];
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        out.extend_from_slice(&created_ms.to_le_bytes());
        match self {
            Command::Create(create) => {
                let (_, bytes) = create_kind(&create.quotas, &create.retention);
                let settings = [&create.quotas.encode()[..], &create.retention.encode()[..]].concat();
                out.extend_from_slice(&settings[..bytes]);
            }
            Command::SetQuotas(_, quotas) => out.extend_from_slice(&quotas.encode()),
            Command::SetRetention(_, retention) => out.extend_from_slice(&retention.encode()),
            Command::GoOn(rows) => rows.iter().for_each(|row| row.encode(&mut out)),
            Command::Trim(rows) => rows.iter().for_each(|row| row.encode(&mut out)),
            Command::Producers(rows) => producers::encode(rows, &mut out),
            Command::Delete(_) | Command::Reserve { .. } | Command::Intend(_) | Command::Reshard(..) => {}
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
        if matches!(kind, SET_QUOTAS | CREATE_WITH_QUOTAS | CREATE_WITH_RETENTION) {
            let (bytes, behind) = name.split_first_chunk::<QUOTAS_BYTES>()?;
            (quotas, name) = (Quotas::decode(bytes), behind);
        }
        let mut retention = Retention::NONE;
        if matches!(kind, SET_RETENTION | CREATE_WITH_RETENTION) {
            let (bytes, behind) = name.split_first_chunk::<RETENTION_BYTES>()?;
            (retention, name) = (Retention::decode(bytes), behind);
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
        let name = std::str::from_utf8(name).ok()?;
        (name.len() == usize::from(u16::from_le_bytes([n0, n1]))).then_some(())?;
        let (stream, shard) = (StreamId(number(0)?), ShardId(number(4)?));
        match kind {
            CREATE_STREAM | CREATE_WITH_QUOTAS | CREATE_WITH_RETENTION => Some(Command::Create(Create {
                stream,
                first_shard: shard,
                shards: number(8)?,
                created_ms: u64::from_le_bytes(*rest.get(12..)?.first_chunk()?),
                name: name.to_owned(),
                quotas,
                retention,
            })),
            SET_QUOTAS => Some(Command::SetQuotas(stream, quotas)),
            SET_RETENTION => Some(Command::SetRetention(stream, retention)),
            DELETE_STREAM => Some(Command::Delete(stream)),
            RESERVE => Some(Command::Reserve { next_stream: stream, next_shard: shard }),
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
