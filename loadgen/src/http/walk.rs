//! Reads one shard by GetRecords, from a place on.
//!
//! Reads change nothing, so they are asked again: over lost connections, with a new iterator where one has expired, and a
//! little later where the shard's quotas did not let them through.

use std::time::Duration;

use bytes::Bytes;
use frame::ShardId;
use tokio::time::{Instant, sleep};

use super::HttpError;
use super::api::{GetShardIterator, Iterator, Place, Record, Records};
use super::pipe::Pipe;
use super::streams::{Streams, number_of, patiently};
use crate::native::{SILENCE_MAX, unless_over};
use crate::verify::Number;

/// Records of one answer at most.
const LIMIT: u32 = 10_000;

/// How long a read waits that the shard's quotas did not let through, or that failed.
const WAIT: Duration = Duration::from_millis(200);

/// How long reads may fail, or be put off, one after another.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a shard may say that there is more, and give nothing.
const STUCK_MAX: Duration = Duration::from_secs(120);

/// How long what was acknowledged may take to be there.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// A record that was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole<'a> {
    pub(super) number: Number,
    pub(super) key: &'a [u8],
    pub(super) data: &'a [u8],
    pub(super) arrival_ms: u64,
}

/// Where records that were read go.
pub(super) trait Sink {
    /// Takes one record.
    fn take(&self, shard: ShardId, record: Whole<'_>);

    /// The endpoint gives nothing of a shard from a number on.
    fn unreadable(&self, shard: ShardId, from: Number, reason: String);

    /// An answer is asked for.
    fn asked(&self) {}

    /// An answer with so many bytes of data and keys was taken.
    fn answered(&self, bytes: u64);

    /// Whether something of a shard must come yet.
    fn awaits(&self, _shard: ShardId) -> bool {
        false
    }

    /// Whether nothing more is wanted.
    fn is_over(&self) -> bool {
        false
    }
}

/// Hands records to where they go; bytes of data and keys.
pub(super) fn take(records: &[Record<'_>], shard: ShardId, sink: &impl Sink) -> Result<u64, String> {
    let (mut bytes, mut room) = (0, Vec::new());
    for record in records {
        let data = record.data.decode(&mut room);
        let data = data.ok_or_else(|| format!("the data of record {} is no base64", record.sequence_number.shown()))?;
        let key = record.partition_key.as_bytes();
        bytes += (key.len() + data.len()) as u64;
        let number = number_of(&record.sequence_number)?;
        let arrival_ms = (record.approximate_arrival_timestamp.max(0.0) * 1000.0) as u64;
        sink.take(shard, Whole { number, key, data, arrival_ms });
    }
    Ok(bytes)
}

/// What one look at a shard came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Seen {
    /// Records, and perhaps more.
    Some,
    /// Nothing more for now.
    Level,
    /// Nothing more ever: the shard is closed, or can't be read.
    End,
}

/// Where reading one shard is.
#[derive(Debug)]
pub(super) struct Cursor {
    pub(super) shard: ShardId,
    place: Place,
    last: Number,
    iterator: Option<String>,
    /// When something came last, or nothing was there.
    moved: Instant,
}

impl Cursor {
    pub(super) fn new(shard: ShardId, place: Place) -> Self {
        Self { shard, place, last: Number::default(), iterator: None, moved: Instant::now() }
    }

    /// Asks once, or as often as that takes, and hands what comes to the sink.
    pub(super) async fn look(&mut self, pipe: &Pipe, streams: &Streams, sink: &impl Sink) -> Result<Seen, HttpError> {
        let until = Instant::now() + PATIENCE;
        loop {
            if sink.is_over() {
                return Ok(Seen::Level);
            }
            let Some(asked) = unless_over(self.ask(pipe, streams, sink), || sink.is_over()).await else {
                return Ok(Seen::Level);
            };
            match asked {
                Ok(answer) => return Ok(self.took(pipe, &answer, sink)),
                Err(error) if Instant::now() < until && error.is("ExpiredIteratorException") => {
                    self.iterator = None;
                    sleep(WAIT).await;
                }
                Err(error) if Instant::now() < until && error.passes_by_itself() => sleep(WAIT).await,
                Err(error @ (HttpError::Refused { .. } | HttpError::Garbage { .. })) => {
                    sink.unreadable(self.shard, self.last, error.to_string());
                    return Ok(Seen::End);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn ask(&mut self, pipe: &Pipe, streams: &Streams, sink: &impl Sink) -> Result<Bytes, HttpError> {
        let iterator = match self.iterator.take() {
            Some(iterator) => iterator,
            None => self.begin(pipe, streams).await?,
        };
        sink.asked();
        let wire = pipe.endpoint.wire;
        let answer = pipe.answer("GetRecords", wire, wire.get_records(&iterator, LIMIT), SILENCE_MAX).await;
        self.iterator = Some(iterator);
        answer
    }

    async fn begin(&self, pipe: &Pipe, streams: &Streams) -> Result<String, HttpError> {
        let shard = streams.shard(self.shard);
        let request =
            GetShardIterator { stream_name: streams.name_of(shard), shard_id: &shard.name, place: self.place.clone() };
        let ask = || pipe.ask::<Iterator>("GetShardIterator", &request, SILENCE_MAX);
        Ok(patiently(ask).await?.shard_iterator)
    }

    fn took(&mut self, pipe: &Pipe, answer: &[u8], sink: &impl Sink) -> Seen {
        let parsed = pipe.endpoint.wire.records(answer);
        let parsed = parsed.map_err(|error| pipe.garbage("GetRecords", &error, answer).to_string());
        let taken = parsed.and_then(|answer| {
            sink.answered(take(&answer.records, self.shard, sink)?);
            self.move_on(&answer.records)?;
            Ok(answer)
        });
        let Records { records, next_shard_iterator, millis_behind_latest } = match taken {
            Ok(answer) => answer,
            Err(reason) => {
                sink.unreadable(self.shard, self.last, reason);
                return Seen::End;
            }
        };
        if let Some(last) = records.last() {
            self.place = Place::After { number: last.sequence_number.shown().into_owned() };
        }
        self.iterator = next_shard_iterator;
        let is_level = records.is_empty() && millis_behind_latest == 0;
        if is_level || !records.is_empty() {
            self.moved = Instant::now();
        }
        match (&self.iterator, is_level) {
            (None, _) => Seen::End,
            (Some(_), true) => Seen::Level,
            (Some(_), false) if self.moved.elapsed() > STUCK_MAX => {
                let reason = format!("it says that there is more, and gave nothing for {} s", STUCK_MAX.as_secs());
                sink.unreadable(self.shard, self.last, reason);
                Seen::End
            }
            (Some(_), false) => Seen::Some,
        }
    }

    /// Reading that goes round in circles ends.
    fn move_on(&mut self, records: &[Record<'_>]) -> Result<(), String> {
        let Some(last) = records.last() else { return Ok(()) };
        let before = std::mem::replace(&mut self.last, number_of(&last.sequence_number)?);
        if self.last > before {
            Ok(())
        } else {
            Err(format!("an answer ends with {}, and one before it did with {before}", self.last))
        }
    }
}

/// Reads a shard until it has nothing more for now, and what must be there has had time to come.
pub(super) async fn read_shard(
    pipe: &Pipe,
    streams: &Streams,
    mut cursor: Cursor,
    sink: &impl Sink,
) -> Result<(), HttpError> {
    let mut settled = None;
    while !sink.is_over() {
        match cursor.look(pipe, streams, sink).await? {
            Seen::Some => settled = None,
            Seen::End => return Ok(()),
            Seen::Level => {
                let until = *settled.get_or_insert_with(|| Instant::now() + SETTLE_MAX);
                if !sink.awaits(cursor.shard) || Instant::now() >= until {
                    return Ok(());
                }
                sleep(WAIT).await;
            }
        }
    }
    Ok(())
}
