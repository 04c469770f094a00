//! GetShardIterator: a place in a shard to read from.

use frame::proto::{Read, ShardDescription, Start};
use frame::{Frame, ShardId, StreamId};
use wire::iterator::ShardIterator;
use wire::name::ShardName;
use wire::sequence::SequenceNumber;
use wire::shape::{GetShardIterator, Iterator};
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::{now_ms, shard_name, shard_of, stream_of};
use crate::gateway::Shared;

const TYPES: [&str; 5] = ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"];

pub(super) async fn run(shared: &Shared, input: GetShardIterator) -> Result<Iterator, Error> {
    let mut checks = Checks::new();
    checks.required("shardId", input.shard_id.as_ref()).length("shardId", input.shard_id.as_deref(), 1, 128);
    checks.required("shardIteratorType", input.shard_iterator_type.as_ref());
    checks.one_of("shardIteratorType", input.shard_iterator_type.as_deref(), &TYPES);
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let shard_id = input.shard_id.as_deref().unwrap_or_default();
    let (stream, found) = shard_of(shared, &name, shard_id).await?;
    let shard = shard_name(&stream, found.shard);
    let from = match (input.shard_iterator_type.as_deref(), input.timestamp) {
        (Some("AT_TIMESTAMP"), Some(seconds)) => {
            first_since(shared, &name, stream.stream, found.shard, seconds).await?
        }
        _ => place(&input, shard, found.created_ms / 1000, &found)?,
    };
    let iterator = ShardIterator {
        nonce: uuid::Uuid::new_v4().as_u64_pair().0,
        made_ms: now_ms(),
        from,
        shard_made_s: found.created_ms / 1000,
        stream: stream.stream.0,
        shard: found.shard.0,
        shard_index: shard.0,
        name,
    };
    Ok(Iterator { shard_iterator: iterator.encode() })
}

/// The number of the first record that arrived then or later, or of the next that will.
async fn first_since(
    shared: &Shared,
    name: &str,
    stream: StreamId,
    shard: ShardId,
    seconds: f64,
) -> Result<u64, Error> {
    // Before 1970 is before all records.
    let (since_ms, now_ms) = ((seconds * 1e3).round() as u64, now_ms());
    if since_ms > now_ms {
        let message = format!(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: \
             {since_ms}, currentTimestampInMillis: {now_ms}"
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    let read = Read { stream, shard, start: Start::Since(since_ms), bytes_max: 1 };
    let (result, frames) = shared
        .log
        .read(&shared.place, name, read, false)
        .await
        .map_err(|unread| unread.error(|| "Rate exceeded.".to_owned()))?;
    Ok(Frame::parse(&frames).map_or(result.next, |frame| frame.sequence()).0)
}

/// The number of the record that a reader begins with, by its number.
fn place(input: &GetShardIterator, shard: ShardName, made_s: u64, found: &ShardDescription) -> Result<u64, Error> {
    let argument = |message: String| Error::new(ErrorKind::InvalidArgument, message);
    let kind = input.shard_iterator_type.as_deref().unwrap_or_default();
    let needs_number = matches!(kind, "AT_SEQUENCE_NUMBER" | "AFTER_SEQUENCE_NUMBER");
    let Some(text) = input.starting_sequence_number.as_deref().filter(|_| needs_number) else {
        return match kind {
            "TRIM_HORIZON" => Ok(found.trim.0),
            "LATEST" => Ok(found.tip.0),
            _ => Err(argument(format!("Must either specify timestamp or startingSequenceNumber for {kind}."))),
        };
    };
    let invalid = || argument(format!("StartingSequenceNumber {text} used in GetShardIterator is invalid."));
    let number = SequenceNumber::parse(text).ok_or_else(invalid)?;
    if number.shard != shard.0 || number.shard_made_s != made_s {
        return Err(argument(format!(
            "Invalid StartingSequenceNumber. It encodes {}, while it was used in a call to a shard with {shard}",
            ShardName(number.shard)
        )));
    }
    let from = if kind == "AFTER_SEQUENCE_NUMBER" { number.number.saturating_add(1) } else { number.number };
    if from > found.tip.0 {
        return Err(invalid());
    }
    Ok(from.max(found.trim.0))
}
