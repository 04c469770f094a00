//! Reads and their answers.

use super::fields::{Control, Fields, FieldsOf};
use super::kind::Kind;
use super::reshard::Children;
use super::start::Start;
use crate::id::{RequestId, Sequence, ShardId, StreamId};
use crate::proto::{HEADER_BYTES, READ_FIXED_BYTES, Violation, begin, finish};

/// Ask for records of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// The stream.
    pub stream: StreamId,
    /// One of its shards.
    pub shard: ShardId,
    /// Where to begin; what recovery skipped is passed over.
    pub start: Start,
    /// At most so many bytes of frames, but always one frame if there is one.
    pub bytes_max: u32,
}

/// The fixed part of a ReadResult; its frames follow, as they were stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadResult {
    /// The shard.
    pub shard: ShardId,
    /// How many frames follow.
    pub records: u32,
    /// What to ask for next.
    pub next: Sequence,
    /// The number after the newest durable record.
    pub tip: Sequence,
    /// When the newest record arrived, in milliseconds since 1970.
    pub tip_arrival_ms: u64,
    /// The shard is closed and ends at `next`: nothing comes any more, and these go on. The last push of a subscription says so.
    pub children: Option<Children>,
    /// Where the shard begins: records of lower numbers have expired.
    pub trim: Sequence,
    /// Whether the records are encrypted where they are kept: all of them are, or none is.
    pub encrypted: bool,
}

impl Control for Read {
    const KIND: Kind = Kind::Read;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream.0.to_le_bytes());
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        let (kind, number) = self.start.split();
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&self.bytes_max.to_le_bytes());
        out.extend_from_slice(&kind.to_le_bytes());
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Read, Violation> {
        let (stream, shard) = (StreamId(fields.u32()?), ShardId(fields.u32()?));
        let (number, bytes_max) = (fields.u64()?, fields.u32()?);
        let start = Start::join(fields.u32()?, number)?;
        Ok(Read { stream, shard, start, bytes_max })
    }
}

impl ReadResult {
    /// The message's bytes before its frames, of which there are `frames_bytes`.
    pub fn encode(&self, out: &mut Vec<u8>, request: RequestId, frames_bytes: usize) {
        let start = begin(out, Kind::ReadResult, request);
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&self.records.to_le_bytes());
        for number in [self.next.0, self.tip.0, self.tip_arrival_ms] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        Children::put(self.children, out);
        out.extend_from_slice(&self.trim.0.to_le_bytes());
        out.extend_from_slice(&u64::from(self.encrypted).to_le_bytes());
        finish(out, start, READ_FIXED_BYTES, HEADER_BYTES + READ_FIXED_BYTES + frames_bytes);
    }

    pub(crate) fn decode(fixed: &[u8]) -> Result<ReadResult, Violation> {
        let mut fields = Fields(fixed);
        Ok(ReadResult {
            shard: ShardId(fields.u32()?),
            records: fields.u32()?,
            next: Sequence(fields.u64()?),
            tip: Sequence(fields.u64()?),
            tip_arrival_ms: fields.u64()?,
            children: Children::join(fields.u32()?, fields.u32()?)?,
            trim: Sequence(fields.u64()?),
            encrypted: match fields.u64()? {
                0 => false,
                1 => true,
                _ => return Err(Violation::Malformed("whether records are encrypted is yes or no")),
            },
        })
    }
}
