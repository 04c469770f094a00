//! Places in a shard as requests name them.

use engine::{Counts, Stream};
use frame::Frame;
use frame::proto::{Read, ShardDescription, Start};
use wire::codec::Timestamp;
use wire::name::ShardName;
use wire::sequence::SequenceNumber;
use wire::{Error, ErrorKind};

use super::{sequence_number, shard_name};
use crate::gateway::Shared;
use crate::gateway::log::Unread;

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
        match (self.kind, self.number) {
            ("AT_TIMESTAMP", _) => {
                let missing = "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no \
                               timestamp parameter.";
                let since = self.time.ok_or_else(|| invalid(missing.to_owned()))?;
                first_since(shared, stream, shard, since.ms).await
            }
            ("TRIM_HORIZON", None) => Ok(shard.trim.0),
            ("LATEST", None) => Ok(shard.tip.0),
            (kind @ ("TRIM_HORIZON" | "LATEST"), Some(_)) => Err(mismatch(kind, "also a")),
            (kind, None) => Err(mismatch(kind, "no")),
            (kind, Some(number)) => self.at_number(shared, stream, shard, (number, kind == "AFTER_SEQUENCE_NUMBER")),
        }
    }

    /// When the record arrived that it names, as its number says; 0 where it names none.
    pub(super) fn arrival_ms(&self) -> u64 {
        let number = self.number.filter(|_| self.kind != "AT_TIMESTAMP").and_then(SequenceNumber::parse);
        number.map_or(0, |number| number.arrival_s * 1000)
    }

    /// The number of a record, or of the next, as a caller knows the record.
    fn at_number(
        &self,
        shared: &Shared,
        stream: &Stream,
        shard: &ShardDescription,
        (text, is_after): (&str, bool),
    ) -> Result<u64, Error> {
        let (action, name) = (self.action, shard_name(stream, shard.shard));
        let wrong = |why: &str| {
            invalid(format!(
                "StartingSequenceNumber {text} used in {action} on shard {name} in stream {} under account {} is invalid{why}.",
                stream.name, shared.place.account
            ))
        };
        let number = SequenceNumber::parse(text).ok_or_else(|| wrong(""))?;
        if number.shard != name.0 {
            return Err(invalid(format!(
                "Invalid StartingSequenceNumber. It encodes {}, while it was used in a call to a shard with {name}",
                ShardName(number.shard)
            )));
        }
        if number.shard_made_s != shard.created_ms / 1000 {
            return Err(wrong(" because it did not come from this stream"));
        }
        let from = if is_after { number.number.saturating_add(1) } else { number.number };
        if from > shard.tip.0 { Err(wrong("")) } else { Ok(from.max(shard.trim.0)) }
    }
}

/// A kind of place needs a number, or takes none.
fn mismatch(kind: &str, has: &str) -> Error {
    invalid(format!(
        "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) TRIM_HORIZON or LATEST \
         and no StartingSequenceNumber. Request specified {kind} and {has} StartingSequenceNumber."
    ))
}

/// The number of the first record that arrived then or later, or of the next that will. The log says what is yet to come: records may
/// be dated ahead of the wall clock, and their times may be asked for as well.
async fn first_since(shared: &Shared, stream: &Stream, shard: &ShardDescription, since_ms: u64) -> Result<u64, Error> {
    let read = Read { stream: stream.stream, shard: shard.shard, start: Start::Since(since_ms), bytes_max: 1 };
    let next = match shared.log.read(&shared.place, &stream.name, (read, usize::MAX), Counts::Nothing).await {
        Ok((result, frames)) => Frame::parse(&frames).map_or(result.next, |frame| frame.sequence()),
        // What arrived by then may be among these; a little of what arrived before may come after them.
        Err(Unread::Damaged(failure)) => {
            let place = sequence_number(shard.created_ms / 1000, shard_name(stream, shard.shard), 0, 0);
            shared.damaged.go_on(&stream.name, (shard.shard, place), failure)?
        }
        Err(Unread::Ahead) => {
            let now_ms = shared.log.time().arrival_ms;
            return Err(invalid(format!(
                "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: \
                 {since_ms}, currentTimestampInMillis: {now_ms}"
            )));
        }
        Err(unread) => return Err(unread.error(|| "Rate exceeded.".to_owned())),
    };
    Ok(next.0)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}
