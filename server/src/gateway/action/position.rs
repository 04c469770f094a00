//! Places in a shard as requests name them.

use engine::Stream;
use frame::Frame;
use frame::proto::{Read, ShardDescription, Start};
use wire::codec::Timestamp;
use wire::name::ShardName;
use wire::sequence::SequenceNumber;
use wire::{Error, ErrorKind};

use super::{now_ms, shard_name};
use crate::gateway::Shared;

/// The kinds that there are.
pub(super) const TYPES: [&str; 5] =
    ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER", "TRIM_HORIZON", "LATEST", "AT_TIMESTAMP"];

/// A place as it was named.
pub(super) struct Position<'a> {
    pub(super) kind: &'a str,
    pub(super) number: Option<&'a str>,
    pub(super) time: Option<Timestamp>,
    /// Who asks, for its errors.
    pub(super) action: &'static str,
}

impl Position<'_> {
    /// The number of the record that a reader begins with.
    pub(super) async fn find(&self, shared: &Shared, stream: &Stream, shard: &ShardDescription) -> Result<u64, Error> {
        let (kind, action) = (self.kind, self.action);
        let missing = || invalid(format!("Must either specify timestamp or startingSequenceNumber for {kind}."));
        match kind {
            "TRIM_HORIZON" => Ok(shard.trim.0),
            "LATEST" => Ok(shard.tip.0),
            "AT_TIMESTAMP" => first_since(shared, stream, shard, self.time.ok_or_else(missing)?.ms).await,
            _ => {
                let text = self.number.ok_or_else(missing)?;
                let unknown = || invalid(format!("StartingSequenceNumber {text} used in {action} is invalid."));
                let number = SequenceNumber::parse(text).ok_or_else(unknown)?;
                let name = shard_name(stream, shard.shard);
                if number.shard != name.0 || number.shard_made_s != shard.created_ms / 1000 {
                    return Err(invalid(format!(
                        "Invalid StartingSequenceNumber. It encodes {}, while it was used in a call to a shard with {name}",
                        ShardName(number.shard)
                    )));
                }
                let is_after = kind == "AFTER_SEQUENCE_NUMBER";
                let from = if is_after { number.number.saturating_add(1) } else { number.number };
                if from > shard.tip.0 { Err(unknown()) } else { Ok(from.max(shard.trim.0)) }
            }
        }
    }
}

/// The number of the first record that arrived then or later, or of the next that will.
async fn first_since(shared: &Shared, stream: &Stream, shard: &ShardDescription, since_ms: u64) -> Result<u64, Error> {
    let now_ms = now_ms();
    if since_ms > now_ms {
        return Err(invalid(format!(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: \
             {since_ms}, currentTimestampInMillis: {now_ms}"
        )));
    }
    let read = Read { stream: stream.stream, shard: shard.shard, start: Start::Since(since_ms), bytes_max: 1 };
    let found = shared.log.read(&shared.place, &stream.name, (read, usize::MAX), false).await;
    let (result, frames) = found.map_err(|unread| unread.error(|| "Rate exceeded.".to_owned()))?;
    Ok(Frame::parse(&frames).map_or(result.next, |frame| frame.sequence()).0)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}
