//! Subscriptions: records of a shard, pushed as they become durable.

use super::fields::{Control, FieldsOf};
use super::kind::Kind;
use super::start::Start;
use crate::id::{ShardId, StreamId};
use crate::proto::Violation;

/// Ask for all records of a shard from some place on, as they become durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscribe {
    /// The stream.
    pub stream: StreamId,
    /// One of its shards.
    pub shard: ShardId,
    /// Where to begin.
    pub start: Start,
    /// Bytes of frames that may be pushed, as of [`Grant`].
    pub granted: u64,
}

/// More credit for a subscription. It counts in total, so that a grant may come twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Bytes of frames that may be pushed since the subscription began. The last push may go past it by one record.
    pub granted: u64,
}

/// Ends a subscription.
pub(crate) struct Unsubscribe;

/// Nothing of this subscription follows.
pub(crate) struct Unsubscribed;

impl Control for Subscribe {
    const KIND: Kind = Kind::Subscribe;

    fn put(&self, out: &mut Vec<u8>) {
        let (kind, number) = self.start.split();
        out.extend_from_slice(&self.stream.0.to_le_bytes());
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&self.granted.to_le_bytes());
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Subscribe, Violation> {
        let (stream, shard, kind) = (StreamId(fields.u32()?), ShardId(fields.u32()?), fields.u32()?);
        fields.u32()?;
        let (number, granted) = (fields.u64()?, fields.u64()?);
        let start = Start::join(kind, number)?;
        Ok(Subscribe { stream, shard, start, granted })
    }
}

impl Control for Grant {
    const KIND: Kind = Kind::Grant;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.granted.to_le_bytes());
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Grant, Violation> {
        Ok(Grant { granted: fields.u64()? })
    }
}

impl Control for Unsubscribe {
    const KIND: Kind = Kind::Unsubscribe;

    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut FieldsOf<'_>) -> Result<Unsubscribe, Violation> {
        Ok(Unsubscribe)
    }
}

impl Control for Unsubscribed {
    const KIND: Kind = Kind::Unsubscribed;

    fn put(&self, _: &mut Vec<u8>) {}

    fn take(_: &mut FieldsOf<'_>) -> Result<Unsubscribed, Violation> {
        Ok(Unsubscribed)
    }
}
