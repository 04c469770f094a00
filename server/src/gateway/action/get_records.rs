//! GetRecords: records from an iterator on, up to the limit or the end as it is now. Those in parts are put together: an
//! iterator never points into one that was not given, and one that was made for the middle of one gives it whole.

use std::time::{Duration, Instant};

use bytes::Bytes;
use engine::Counts;
use frame::parts::{self, Joiner};
use frame::proto::{Read, Start};
use frame::{Frame, Sequence, ShardId, StreamId};
use wire::iterator::{LIFETIME_MS, ShardIterator};
use wire::name::ShardName;
use wire::shape::{GetRecords, Record, RecordsPlace};
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::{child_shards, end_if_dry, now_ms, rate_exceeded, sequence_number, shard, told_record};
use crate::gateway::Shared;
use crate::gateway::log::Unread;

/// How long one request looks for more. Clients wait ten seconds and more, and others wait for its room.
const PATIENCE: Duration = Duration::from_secs(1);

/// The answer's list of them.
pub(super) const LIST: &str = "Records";

/// What an answer is made of.
pub(super) struct Found {
    pub(super) place: RecordsPlace,
    pub(super) records: Vec<Record>,
    /// What the records take.
    pub(super) bytes: usize,
}

pub(super) async fn run(shared: &Shared, input: GetRecords) -> Result<Found, Error> {
    let (records_max, bytes_max) = (shared.limits.get_records, shared.limits.get_records_bytes);
    let mut checks = Checks::new();
    checks.required("shardIterator", input.shard_iterator.as_ref());
    checks.length("shardIterator", input.shard_iterator.as_deref(), 1, 512);
    checks.range("limit", input.limit, 1, records_max as i64);
    checks.stream_arn(input.stream_arn.as_deref()).done()?;
    let mut at = resume(input.shard_iterator.as_deref().unwrap_or_default())?;
    if let Some(arn) = input.stream_arn.as_deref() {
        shared.place.stream_of(Some(&at.name), Some(arn))?;
    }
    end_if_dry(shared, &at.name, input.dry_run).await?;
    let limit = input.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(records_max);
    let mut page = Page { records: Vec::new(), bytes: 0, held_bytes: 0, arrival_ms: 0 };
    // One request is one read, however many it takes here.
    let mut counts = Counts::Read;
    let (began, from) = (Instant::now(), at.from);
    let (mut joiner, mut next) = (Joiner::new(), Sequence(from));
    let mut children = None;
    let behind_ms = loop {
        let read = Read {
            stream: StreamId(at.stream),
            shard: ShardId(at.shard),
            start: Start::At(next),
            bytes_max: (bytes_max - page.bytes.min(bytes_max)) as u32,
        };
        let frames_max = limit.saturating_sub(page.records.len());
        let found = shared.log.read(&shared.place, &at.name, (read, frames_max), counts).await;
        let shard = ShardName(at.shard_index);
        let (result, frames) = match found {
            Ok(found) => found,
            // What was found before is good: why there is no more is told to who asks for it.
            Err(_) if !page.records.is_empty() => break behind_ms(shared, &at, &page).await?,
            Err(Unread::Damaged(failure)) => {
                let place = sequence_number(at.shard_made_s, shard, 0, 0);
                // Who asks for what lies behind it, within a record in parts, does without that record.
                let is_before = failure.damaged.as_ref().is_some_and(|numbers| numbers.end <= Sequence(from));
                next = match is_before {
                    true => Sequence(from),
                    false => shared.damaged.go_on(&at.name, (ShardId(at.shard), place), failure)?,
                };
                (at.from, joiner, counts) = (next.0, Joiner::new(), Counts::Bytes);
                // There may be many, one by one.
                if began.elapsed() >= PATIENCE && at.from > from {
                    break behind_ms(shared, &at, &page).await?;
                }
                continue;
            }
            Err(unread) => return Err(unread.error(|| rate_exceeded(&shared.place, &at.name, shard))),
        };
        let begun = Frame::parse(&frames).map_or(next, |frame| parts::first_of(&frame));
        if std::mem::replace(&mut counts, Counts::Bytes) == Counts::Read && begun < next {
            shared.log.give_back(StreamId(at.stream), ShardId(at.shard), record_bytes(&frames));
            next = begun;
            continue;
        }
        let left = page.add(&mut at, &mut joiner, (&frames.into(), result.encrypted), (limit, bytes_max))?;
        let whole = left.is_empty();
        if whole {
            next = result.next;
            at.from = joiner.waits_from().unwrap_or(next).0;
        } else {
            shared.log.give_back(StreamId(at.stream), ShardId(at.shard), record_bytes(&left));
        }
        if whole && result.next >= result.tip {
            children = result.children;
            break 0;
        }
        // Not before it has come further, so that whoever asks again arrives.
        let is_late = began.elapsed() >= PATIENCE && at.from > from;
        if !whole || page.records.len() >= limit || page.bytes >= bytes_max || is_late {
            break behind_ms(shared, &at, &page).await?;
        }
    };
    at.nonce = uuid::Uuid::new_v4().as_u64_pair().0;
    at.made_ms = now_ms();
    let (child_shards, behind_ms) = match children {
        Some(children) => {
            let first_shard = ShardId(at.shard.saturating_sub(at.shard_index));
            let (child_shards, closed_ms) = child_shards(shared, (&at.name, first_shard), children).await?;
            // More came since, in those.
            (Some(child_shards), shared.log.time().arrival_ms.saturating_sub(closed_ms))
        }
        None => (None, behind_ms),
    };
    let next_shard_iterator = child_shards.is_none().then(|| at.encode());
    let bytes = page.held_bytes + page.records.capacity() * size_of::<Record>();
    let place = RecordsPlace { next_shard_iterator, millis_behind_latest: behind_ms, child_shards };
    Ok(Found { place, records: page.records, bytes })
}

/// How far a page that more comes after is behind. Of who was given nothing, what comes next may be as old as anything that is kept.
async fn behind_ms(shared: &Shared, at: &ShardIterator, page: &Page) -> Result<u64, Error> {
    let time = shared.log.time();
    let arrival_ms = match page.records.is_empty() {
        true => {
            let (stream, _) = shared.log.describe(&shared.place, &at.name, 0, 0).await?;
            shard::horizon_ms(&stream, &time).max(at.shard_made_s.saturating_mul(1000))
        }
        false => page.arrival_ms,
    };
    Ok(time.arrival_ms.saturating_sub(arrival_ms).max(1))
}

/// The place that an iterator names, if it is still good.
fn resume(text: &str) -> Result<ShardIterator, Error> {
    let invalid = || Error::new(ErrorKind::InvalidArgument, "Invalid ShardIterator.");
    let at = ShardIterator::decode(text).ok_or_else(invalid)?;
    let now = now_ms();
    if now.saturating_sub(at.made_ms) > LIFETIME_MS {
        let message = format!(
            "Iterator expired. The iterator was created at time {} while right now it is {} which is further in the future than the \
             tolerated delay of {LIFETIME_MS} milliseconds.",
            written_out(at.made_ms),
            written_out(now)
        );
        return Err(Error::new(ErrorKind::ExpiredIterator, message));
    }
    Ok(at)
}

/// A time as the service writes it in a sentence.
fn written_out(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| ms.to_string(), |time| time.strftime("%a %b %d %H:%M:%S UTC %Y").to_string())
}

/// An answer in the making.
struct Page {
    records: Vec<Record>,
    /// Their data and keys.
    bytes: usize,
    /// The frames that those lie in.
    held_bytes: usize,
    /// When the last one arrived.
    arrival_ms: u64,
}

impl Page {
    /// Adds the records of `frames` while there is room, and moves `at` behind them. What is left had none. They stay where
    /// they are, but for those in parts.
    fn add(
        &mut self,
        at: &mut ShardIterator,
        joiner: &mut Joiner,
        (frames, encrypted): (&Bytes, bool),
        (limit, bytes_max): (usize, usize),
    ) -> Result<Bytes, Error> {
        self.held_bytes += frames.len();
        let mut rest = &frames[..];
        while !rest.is_empty() {
            let frame = Frame::parse(rest).map_err(|error| {
                Error::new(ErrorKind::InternalFailure, format!("Internal service failure: {error}"))
            })?;
            let data_bytes = frame.part().map_or(frame.data().len(), |part| part.data_bytes as usize);
            let bytes = data_bytes + frame.key().len();
            let is_full = self.records.len() >= limit || self.bytes + bytes > bytes_max;
            if is_full && !self.records.is_empty() {
                at.from = at.from.max(parts::first_of(&frame).0);
                return Ok(frames.slice_ref(rest));
            }
            rest = &rest[frame.length()..];
            let Some(record) = joiner.push(&frame) else { continue };
            let contents = match frame.part() {
                None => (frames.slice_ref(record.key), frames.slice_ref(record.data)),
                Some(_) => {
                    self.held_bytes += bytes;
                    (Bytes::copy_from_slice(record.key), Bytes::copy_from_slice(record.data))
                }
            };
            let shard = (at.shard_made_s, ShardName(at.shard_index));
            self.records.push(told_record(shard, &record, contents, encrypted));
            self.bytes += bytes;
            self.arrival_ms = record.arrival_ms;
            at.from = record.sequence.0 + 1;
        }
        Ok(Bytes::new())
    }
}

/// What quotas count of frames.
fn record_bytes(mut frames: &[u8]) -> u64 {
    let mut bytes = 0;
    while let Ok(frame) = Frame::parse(frames) {
        bytes += frame.record_bytes() as u64;
        frames = &frames[frame.length()..];
    }
    bytes
}
