//! PutRecord: one record, which is on stable storage when it is answered.

use wire::sequence::SequenceNumber;
use wire::shape::{PutRecord, StoredRecord};
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::placement::{self, Placement};
use super::{encode, encryption, end_if_dry, record_bytes_max, stored, stream_of};
use crate::gateway::Shared;
use crate::gateway::body::BodyRoom;

pub(super) async fn run(shared: &Shared, input: PutRecord, room: BodyRoom) -> Result<StoredRecord, Error> {
    let mut checks = Checks::new();
    checks.required("data", input.data.as_ref()).data("data", input.data.as_ref().map(|data| data.0.len()));
    checks.number("explicitHashKey", input.explicit_hash_key.as_deref(), 38);
    checks.number("sequenceNumberForOrdering", input.sequence_number_for_ordering.as_deref(), 128);
    checks.length("partitionKey", input.partition_key.as_deref(), 1, 256);
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let placement = placement::of(shared, &name, input.partition_key.is_some()).await?;
    if placement == Placement::ByKey {
        checks.required("partitionKey", input.partition_key.as_ref()).done()?;
    }
    if let Some(after) = &input.sequence_number_for_ordering {
        // A shard may be dated ahead of the clock, and so are its first records.
        let latest_s = shared.log.time().latest_ms / 1000;
        let is_past = |number: SequenceNumber| number.arrival_s <= number.shard_made_s.max(latest_s);
        if !SequenceNumber::parse(after).is_some_and(is_past) {
            let account = &shared.place.account;
            let message = format!(
                "ExclusiveMinimumSequenceNumber {after} used in PutRecord on stream {name} under account {account} is invalid."
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
    }
    let mut frames = Vec::new();
    let key = input.partition_key.unwrap_or_default();
    let hash_key = placement.hash_key(input.explicit_hash_key.as_deref())?;
    let data = input.data.unwrap_or_default().0;
    let bytes_max = record_bytes_max(shared, &name, data.len() + key.len()).await?;
    encode(&mut frames, (&data, &key), hash_key, ("data", bytes_max))?;
    end_if_dry(shared, &name, input.dry_run).await?;
    let (stream, outcomes) = shared.log.append(&shared.place, &name, frames, room).await?;
    let outcome = outcomes.first().copied();
    let outcome = outcome.ok_or_else(|| Error::new(ErrorKind::InternalFailure, "Internal service failure."))?;
    let stored = stored(&shared.place, &stream, outcome)?;
    Ok(StoredRecord { encryption_type: encryption::of_answer(&stream), ..stored })
}
