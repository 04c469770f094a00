//! Streams: made, described, listed.

use super::fields::{Control, Fields, FieldsOf, put_text};
use super::kind::Kind;
use super::reshard::Children;
use crate::id::{Sequence, ShardId, StreamId};
use crate::limits::STREAM_NAME_BYTES_MAX;
use crate::proto::Violation;
use crate::quotas::{QUOTAS_BYTES, Quotas};
use crate::retention::{RETENTION_BYTES, Retention, Settings};

/// One shard in a description.
pub(super) const SHARD_DESCRIPTION_BYTES: usize = 80;

/// Make a stream of shards with equal hash ranges. One of that name with as many shards is left as it is, whatever its
/// settings are by now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateStream {
    /// 1 to 128 of `a-z A-Z 0-9 _ . -`.
    pub name: String,
    /// How many shards.
    pub shards: u32,
    /// What each of them takes in and gives out, and what is kept.
    pub settings: Settings,
}

/// Give a stream other quotas, from now on. Answered by the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetQuotas {
    /// The stream's name.
    pub name: String,
    /// What each of its shards takes in and gives out a second.
    pub quotas: Quotas,
}

/// Keep more or less of a stream, from now on: what has expired stays gone. Answered by the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetRetention {
    /// The stream's name.
    pub name: String,
    /// What is kept of it.
    pub retention: Retention,
}

/// Delete a stream with all that is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteStream {
    /// Its name.
    pub name: String,
}

/// The answer to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Deleted;

/// Ask for a stream by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribeStream {
    /// Its name.
    pub name: String,
}

/// A stream and its shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamDescription {
    /// What Append and Read name it by.
    pub stream: StreamId,
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// What each of its shards takes in and gives out a second.
    pub quotas: Quotas,
    /// What is kept of it.
    pub retention: Retention,
    /// Its shards in the order in which they were made, those that are closed as well. The hash ranges of the open ones hold each
    /// hash key once.
    pub shards: Vec<ShardDescription>,
}

/// One shard of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardDescription {
    /// What Read names it by.
    pub shard: ShardId,
    /// Which reactor owns it: see [`super::Reactors`].
    pub reactor: u32,
    /// The first hash key that is routed to it.
    pub hash_start: u128,
    /// The last one.
    pub hash_end: u128,
    /// Records of lower numbers have expired. Never falls.
    pub trim: Sequence,
    /// The number after the newest durable record; of a closed shard where it ended.
    pub tip: Sequence,
    /// What it was made of: the shard that was split, or that of two with the lower hash keys.
    pub parent: Option<ShardId>,
    /// The other one of two.
    pub adjacent_parent: Option<ShardId>,
    /// When it was made, in milliseconds since 1970. What is in its parents arrived no later, and what is in it no earlier.
    pub created_ms: u64,
    /// What was made of it, if it is closed.
    pub children: Option<Children>,
}

impl ShardDescription {
    /// The shards that it was made of.
    pub fn parents(&self) -> impl Iterator<Item = ShardId> {
        self.parent.into_iter().chain(self.adjacent_parent)
    }

    /// Whether records of this hash key are its own.
    pub fn holds(&self, hash_key: u128) -> bool {
        (self.hash_start..=self.hash_end).contains(&hash_key)
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&self.reactor.to_le_bytes());
        out.extend_from_slice(&self.hash_start.to_le_bytes());
        out.extend_from_slice(&self.hash_end.to_le_bytes());
        out.extend_from_slice(&self.trim.0.to_le_bytes());
        out.extend_from_slice(&self.tip.0.to_le_bytes());
        for parent in [self.parent, self.adjacent_parent] {
            out.extend_from_slice(&parent.unwrap_or(ShardId::CATALOG).0.to_le_bytes());
        }
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        Children::put(self.children, out);
    }

    fn take(fields: &mut Fields<'_>) -> Result<ShardDescription, Violation> {
        let (shard, reactor) = (ShardId(fields.u32()?), fields.u32()?);
        let (hash_start, hash_end) = (fields.u128()?, fields.u128()?);
        let (trim, tip) = (Sequence(fields.u64()?), Sequence(fields.u64()?));
        // The catalog's shard is nobody's parent.
        let mut parent = || fields.u32().map(|shard| Some(ShardId(shard)).filter(|shard| *shard != ShardId::CATALOG));
        let (parent, adjacent_parent) = (parent()?, parent()?);
        let (created_ms, first, count) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let children = Children::join(first, count)?;
        Ok(ShardDescription {
            shard,
            reactor,
            hash_start,
            hash_end,
            trim,
            tip,
            parent,
            adjacent_parent,
            created_ms,
            children,
        })
    }
}

/// Ask for names of streams.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListStreams {
    /// Names after this one, in order; empty for the first.
    pub after: String,
    /// At most so many.
    pub limit: u32,
}

/// Names of streams, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamList {
    /// The names.
    pub names: Vec<String>,
    /// Whether there are more after the last.
    pub more: bool,
}

impl Control for CreateStream {
    const KIND: Kind = Kind::CreateStream;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.shards.to_le_bytes());
        out.extend_from_slice(&self.settings.quotas.encode());
        out.extend_from_slice(&self.settings.retention.encode());
        put_text(out, &self.name);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<CreateStream, Violation> {
        let (shards, quotas) = (fields.u32()?, Quotas::decode(&fields.array::<QUOTAS_BYTES>()?));
        let settings = Settings { quotas, retention: Retention::decode(&fields.array::<RETENTION_BYTES>()?) };
        Ok(CreateStream { shards, settings, name: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}

impl Control for SetQuotas {
    const KIND: Kind = Kind::SetQuotas;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.quotas.encode());
        put_text(out, &self.name);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<SetQuotas, Violation> {
        let quotas = Quotas::decode(&fields.array::<QUOTAS_BYTES>()?);
        Ok(SetQuotas { quotas, name: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}

impl Control for SetRetention {
    const KIND: Kind = Kind::SetRetention;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.retention.encode());
        put_text(out, &self.name);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<SetRetention, Violation> {
        let retention = Retention::decode(&fields.array::<RETENTION_BYTES>()?);
        Ok(SetRetention { retention, name: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}

impl Control for DeleteStream {
    const KIND: Kind = Kind::DeleteStream;

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<DeleteStream, Violation> {
        Ok(DeleteStream { name: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}

impl Control for Deleted {
    const KIND: Kind = Kind::Deleted;

    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut FieldsOf<'_>) -> Result<Deleted, Violation> {
        Ok(Deleted)
    }
}

impl Control for DescribeStream {
    const KIND: Kind = Kind::DescribeStream;

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<DescribeStream, Violation> {
        Ok(DescribeStream { name: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}

impl Control for StreamDescription {
    const KIND: Kind = Kind::Stream;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream.0.to_le_bytes());
        out.extend_from_slice(&(self.shards.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.extend_from_slice(&self.quotas.encode());
        out.extend_from_slice(&self.retention.encode());
        put_text(out, &self.name);
        self.shards.iter().for_each(|shard| shard.put(out));
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<StreamDescription, Violation> {
        let stream = StreamId(fields.u32()?);
        let count = fields.u32()? as usize;
        let created_ms = fields.u64()?;
        let quotas = Quotas::decode(&fields.array::<QUOTAS_BYTES>()?);
        let retention = Retention::decode(&fields.array::<RETENTION_BYTES>()?);
        let name = fields.text(STREAM_NAME_BYTES_MAX)?;
        if count.saturating_mul(SHARD_DESCRIPTION_BYTES) != fields.0.len() {
            return Err(Violation::Malformed("another number of shards than it says"));
        }
        let mut shards = Vec::with_capacity(count);
        for _ in 0..count {
            shards.push(ShardDescription::take(fields)?);
        }
        Ok(StreamDescription { stream, name, created_ms, quotas, retention, shards })
    }
}

impl Control for ListStreams {
    const KIND: Kind = Kind::ListStreams;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.limit.to_le_bytes());
        put_text(out, &self.after);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<ListStreams, Violation> {
        let limit = fields.u32()?;
        Ok(ListStreams { limit, after: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}

impl Control for StreamList {
    const KIND: Kind = Kind::StreamList;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.names.len() as u32).to_le_bytes());
        out.extend_from_slice(&u32::from(self.more).to_le_bytes());
        self.names.iter().for_each(|name| put_text(out, name));
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<StreamList, Violation> {
        let count = fields.u32()? as usize;
        let more = fields.u32()? != 0;
        if count > fields.0.len() {
            return Err(Violation::Malformed("more names than bytes"));
        }
        let names = (0..count).map(|_| fields.text(STREAM_NAME_BYTES_MAX)).collect::<Result<_, _>>()?;
        Ok(StreamList { names, more })
    }
}
