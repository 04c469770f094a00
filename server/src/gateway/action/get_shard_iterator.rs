//! GetShardIterator: a place in a shard to read from.

use wire::Error;
use wire::iterator::ShardIterator;
use wire::shape::{GetShardIterator, Iterator};
use wire::validate::Checks;

use super::position::{self, Position};
use super::{end_if_dry, now_ms, rate_exceeded, shard_name, shard_of, stream_of};
use crate::gateway::{Shared, log};

pub(super) async fn run(shared: &Shared, input: GetShardIterator) -> Result<Iterator, Error> {
    let mut checks = Checks::new();
    checks.required("shardId", input.shard_id.as_ref()).name("shardId", input.shard_id.as_deref());
    checks.required("shardIteratorType", input.shard_iterator_type.as_ref());
    checks.one_of("shardIteratorType", input.shard_iterator_type.as_deref(), &position::TYPES);
    checks.number("startingSequenceNumber", input.starting_sequence_number.as_deref(), 128);
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let shard_id = input.shard_id.as_deref().unwrap_or_default();
    let (stream, found) = shard_of(shared, &name, shard_id).await?;
    let shard = shard_name(&stream, found.shard);
    if !shared.rates.take("GetShardIterator", (stream.stream.0, found.shard.0)) {
        return Err(Error::new(log::THROTTLED, rate_exceeded(&shared.place, &stream.name, shard)));
    }
    let position = Position {
        kind: input.shard_iterator_type.as_deref().unwrap_or_default(),
        number: input.starting_sequence_number.as_deref(),
        time: input.timestamp,
        action: "GetShardIterator",
    };
    let from = position.find(shared, &stream, &found).await?;
    end_if_dry(shared, &name, input.dry_run).await?;
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
