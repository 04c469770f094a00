//! PutRecords: up to 500 records, or as many as the server is told to take, each with an outcome of its own.

use std::fmt;

use tokio::sync::SemaphorePermit;
use wire::shape::{Entries, FailedRecord, PutRecords, PutRecordsEntry, RecordOutcome, StoredRecords};
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::placement::{self, Placement};
use super::{encode, encryption, end_if_dry, record_bytes_max, room_for_outcomes, stored, stream_of};
use crate::gateway::Shared;
use crate::gateway::body::BodyRoom;
use crate::room::Taken;

/// A member of one of the records.
struct Member(usize, &'static str);

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "records.{}.member.{}", self.0 + 1, self.1)
    }
}

/// What the list of outcomes is called.
pub(super) const LIST: &str = "Records";

/// What became of them together, and of each, and the room that this takes; given the room of the body, and of what it is read into.
pub(super) async fn run(
    shared: &Shared,
    input: PutRecords,
    (room, looked_at): (BodyRoom, Option<SemaphorePermit<'_>>),
) -> Result<(StoredRecords, Vec<RecordOutcome>, Option<Taken>), Error> {
    let mut checks = Checks::new();
    checks.required("records", input.records.as_ref());
    checks.count("records", input.records.as_ref().map(Entries::count), 1, shared.limits.put_records);
    let records = input.records.unwrap_or_default();
    for (at, record) in records.iter().enumerate() {
        checks.required(Member(at, "data"), record.data.as_ref());
        checks.data(Member(at, "data"), record.data.map(<[u8]>::len));
        checks.number(Member(at, "explicitHashKey"), record.explicit_hash_key, 38);
        checks.length(Member(at, "partitionKey"), record.partition_key, 1, 256);
    }
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let has_all_keys = records.iter().all(|record| record.partition_key.is_some());
    let placement = placement::of(shared, &name, has_all_keys).await?;
    if placement == Placement::ByKey {
        for (at, record) in records.iter().enumerate() {
            checks.required(Member(at, "partitionKey"), record.partition_key.as_ref());
        }
        checks.done()?;
    }
    let (mut bytes, mut largest, mut frames_bytes) = (0, 0, 0);
    for record in records.iter() {
        let (data, key) = contents(record);
        bytes += data.len() + key.len();
        largest = largest.max(data.len() + key.len());
        frames_bytes += frame::parts::encoded_size(key.len(), true, data.len()).1;
    }
    let request_bytes_max = shared.limits.put_records_bytes;
    if bytes > request_bytes_max {
        let message = format!("The records of a request have at most {request_bytes_max} bytes of data and keys.");
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    let bytes_max = record_bytes_max(shared, &name, largest).await?;
    let mut frames = Vec::with_capacity(frames_bytes);
    for (at, record) in records.iter().enumerate() {
        let hash_key = placement.hash_key(record.explicit_hash_key)?;
        encode(&mut frames, contents(record), hash_key, (Member(at, "data"), bytes_max))?;
    }
    // The disk may be waited for.
    let count = records.iter().len();
    drop((records, looked_at));
    end_if_dry(shared, &name, input.dry_run).await?;
    let outcomes_room = room_for_outcomes(shared, count).await;
    let (stream, outcomes) = shared.log.append(&shared.place, &name, frames, room).await?;
    let outcomes: Vec<_> = outcomes.into_iter().map(|outcome| stored(&shared.place, &stream, outcome)).collect();
    let none_is_stored = outcomes.iter().all(Result::is_err);
    let of_all = |error: &Error| none_is_stored && of_the_request(error.kind);
    if let Some(error) = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).find(|error| of_all(error)) {
        return Err(error.clone());
    }
    let outcomes: Vec<RecordOutcome> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            Ok(stored) => RecordOutcome::Stored(stored),
            Err(Error { kind, message }) => {
                let kind = if of_the_request(kind) { ErrorKind::InternalFailure } else { kind };
                RecordOutcome::Failed(FailedRecord { error_code: kind.record_code(), error_message: message })
            }
        })
        .collect();
    let failed = outcomes.iter().filter(|outcome| matches!(outcome, RecordOutcome::Failed(_))).count();
    let together =
        StoredRecords { failed_record_count: failed as u32, encryption_type: encryption::of_answer(&stream) };
    Ok((together, outcomes, outcomes_room))
}

/// Whether it is an exception of the whole request: a record alone has none but those that pass.
fn of_the_request(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::KmsNotFound | ErrorKind::ResourceNotFound)
}

/// A record's data and key.
fn contents(record: PutRecordsEntry<'_>) -> (&[u8], &str) {
    (record.data.unwrap_or_default(), record.partition_key.unwrap_or_default())
}

#[cfg(test)]
mod tests;
