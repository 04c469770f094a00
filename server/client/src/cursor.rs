//! Where one subscription is in its shard, whatever connection it is on: what came and is not taken, the credit for more, how far
//! it is. No input or output but what it asks of the connection it is given.

use std::collections::VecDeque;

use frame::parts::{self, Joiner};
use frame::proto::{Children, Failure, ReadResult, Start};
use frame::{Frame, FrameError, RequestId, Sequence, ShardId, StreamId};
use tokio::time::Instant;

use crate::connection::Connection;
use crate::error::SubscribeError;
use crate::options::{Backoff, PAUSE_MAX};

/// A record of a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// The shard that holds it.
    pub shard: ShardId,
    /// Its number in the shard: go on after it at the next.
    pub sequence: Sequence,
    /// When the server received it, in milliseconds since 1970.
    pub arrival_ms: u64,
    /// Its partition key.
    pub key: Vec<u8>,
    /// Its data.
    pub data: Vec<u8>,
}

/// What a subscription has to tell.
#[derive(Debug)]
pub(crate) enum Told {
    Record(Record),
    /// All of the shard was told.
    Ended(Children),
}

/// A record that waits to be taken, and the credit that it takes up.
#[derive(Debug)]
struct Waiting {
    record: Record,
    bytes: u64,
}

/// What the server knows of it, on the connection at hand.
#[derive(Debug)]
struct Open {
    request: RequestId,
    /// In all.
    granted: u64,
    /// Taken, and not granted again.
    taken: u64,
    since: Instant,
}

/// What is told once all that waits is taken.
#[derive(Debug)]
enum Outcome {
    Ended(Children),
    Failed(SubscribeError),
}

#[derive(Debug)]
pub(crate) struct Cursor {
    shard: ShardId,
    /// Where to begin when it is asked for again.
    start: Start,
    /// Records that arrived before are not wanted.
    since_ms: u64,
    /// Bytes of frames that may be on their way here or wait to be taken.
    credit_bytes: u64,
    open: Option<Open>,
    /// Not before then is it asked for again.
    pub(crate) again_at: Option<Instant>,
    backoff: Backoff,
    joiner: Joiner,
    /// Whether no frame was seen since the start that was asked for.
    is_first: bool,
    waiting: VecDeque<Waiting>,
    outcome: Option<Outcome>,
}

impl Cursor {
    pub(crate) fn new(shard: ShardId, start: Start, credit_bytes: u64, backoff: Backoff) -> Cursor {
        Cursor {
            shard,
            start,
            since_ms: if let Start::Since(ms) = start { ms } else { 0 },
            credit_bytes,
            open: None,
            again_at: None,
            backoff,
            joiner: Joiner::new(),
            is_first: true,
            waiting: VecDeque::new(),
            outcome: None,
        }
    }

    /// Whether the server is to be asked for more, now or later.
    pub(crate) fn wants_more(&self) -> bool {
        self.open.is_none() && self.outcome.is_none()
    }

    /// Whether the server pushes it.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    pub(crate) fn has_something_to_tell(&self) -> bool {
        !self.waiting.is_empty() || self.outcome.is_some()
    }

    /// Asks the server for all from its place on.
    pub(crate) fn subscribe(&mut self, connection: &mut Connection, stream: StreamId) -> RequestId {
        let request = connection.subscribe(stream, self.shard, self.start, self.credit_bytes);
        self.open = Some(Open { request, granted: self.credit_bytes, taken: 0, since: Instant::now() });
        request
    }

    /// The next that there is to tell. After damage it goes on behind it, after any other error it is over.
    ///
    /// # Errors
    /// There is no next record.
    pub(crate) fn tell(&mut self, connection: Option<&mut Connection>) -> Option<Result<Told, SubscribeError>> {
        if let Some(Waiting { record, bytes }) = self.waiting.pop_front() {
            self.take_bytes(bytes, connection);
            return Some(Ok(Told::Record(record)));
        }
        Some(match self.outcome.take()? {
            Outcome::Ended(children) => Ok(Told::Ended(children)),
            Outcome::Failed(error) => {
                if let SubscribeError::Damaged { numbers, .. } = &error {
                    self.begin_at(numbers.end, connection);
                }
                Err(error)
            }
        })
    }

    /// Its connection is lost: goes on from the last record that is whole.
    pub(crate) fn rewind(&mut self) {
        if let Some(first) = self.joiner.waits_from() {
            self.start = Start::At(first);
        }
        self.joiner.clear();
        // The server begins what it refuses right after as well: what stood for a while was begun in earnest.
        if self.open.take().is_some_and(|open| open.since.elapsed() > PAUSE_MAX) {
            self.backoff.reset();
        }
    }

    /// The server has ended it.
    ///
    /// # Errors
    /// What may pass was tried for all of the patience. The next attempt begins a new one.
    pub(crate) fn take_failure(&mut self, failure: Failure) -> Result<(), SubscribeError> {
        if failure.code.may_pass() {
            self.rewind();
            self.again_at = self.backoff.pause().map(|pause| Instant::now() + pause);
            if self.again_at.is_none() {
                self.backoff.reset();
                return Err(SubscribeError::Refused(failure));
            }
            return Ok(());
        }
        self.open = None;
        self.outcome = Some(Outcome::Failed(match failure.damaged.clone() {
            Some(numbers) => {
                // A record that begins within them is not looked for.
                self.is_first = false;
                SubscribeError::Damaged { shard: self.shard, numbers, failure }
            }
            None => SubscribeError::Refused(failure),
        }));
        Ok(())
    }

    pub(crate) fn take_records(&mut self, result: &ReadResult, frames: &[u8], connection: &mut Connection) {
        if !frames.is_empty() {
            self.backoff.reset();
        }
        if let Err(error) = self.take_frames(frames, connection) {
            self.unsubscribe(Some(connection));
            self.outcome = Some(Outcome::Failed(SubscribeError::Corrupt { shard: self.shard, error }));
            return;
        }
        if self.open.is_none() {
            // It begins anew, at the first part of a record.
            return;
        }
        self.start = Start::At(result.next);
        if let Some(children) = result.children {
            self.open = None;
            self.outcome = Some(Outcome::Ended(children));
        }
    }

    fn take_frames(&mut self, mut rest: &[u8], connection: &mut Connection) -> Result<(), FrameError> {
        let mut bytes_of_parts = 0;
        while !rest.is_empty() {
            let frame = Frame::parse(rest)?;
            frame.verify_header(self.shard)?;
            frame.verify_payload()?;
            rest = rest.get(frame.length()..).unwrap_or_default();
            let first = parts::first_of(&frame);
            if std::mem::take(&mut self.is_first) && first < frame.sequence() {
                // Whoever asks for the number of a record wants all of its parts.
                self.begin_at(first, Some(connection));
                return Ok(());
            }
            let bytes = frame.length() as u64;
            match self.joiner.push(&frame) {
                Some(record) if record.arrival_ms >= self.since_ms => {
                    let record = Record {
                        shard: self.shard,
                        sequence: record.sequence,
                        arrival_ms: record.arrival_ms,
                        key: record.key.to_vec(),
                        data: record.data.to_vec(),
                    };
                    self.waiting.push_back(Waiting { record, bytes });
                }
                // A record in parts may be larger than all credit.
                _ => bytes_of_parts += bytes,
            }
        }
        self.take_bytes(bytes_of_parts, Some(connection));
        Ok(())
    }

    /// Is asked for anew there.
    fn begin_at(&mut self, next: Sequence, connection: Option<&mut Connection>) {
        self.unsubscribe(connection);
        self.start = Start::At(next);
    }

    fn unsubscribe(&mut self, connection: Option<&mut Connection>) {
        self.joiner.clear();
        if let (Some(connection), Some(open)) = (connection, self.open.take()) {
            connection.unsubscribe(open.request);
        }
    }

    /// So many are taken: grants them again once they are a quarter of all.
    fn take_bytes(&mut self, bytes: u64, connection: Option<&mut Connection>) {
        if let (Some(connection), Some(open)) = (connection, &mut self.open) {
            open.taken += bytes;
            if open.taken >= self.credit_bytes / 4 {
                open.granted += std::mem::take(&mut open.taken);
                connection.grant(open.request, open.granted);
            }
        }
    }
}
