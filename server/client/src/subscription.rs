//! One shard's records as they become durable, over lost connections, until the shard ends.
//!
//! A subscription is no task: its connection is its own, and does what it does while somebody waits in [`Subscription::next`].
//! Credit is granted as records are taken, so that at most [`CREDIT_BYTES`] and one record in parts lie here.

use std::collections::VecDeque;
use std::net::SocketAddr;

use frame::parts::{self, Joiner};
use frame::proto::{Children, ErrorCode, Failure, ReadResult, Start};
use frame::{Frame, FrameError, RequestId, Sequence, ShardId, StreamId};
use tokio::time::sleep;

use crate::connection::{Connection, Heard};
use crate::error::SubscribeError;
use crate::options::{Backoff, Options};

/// Bytes of frames that may be on their way here or wait to be taken.
const CREDIT_BYTES: u64 = 1 << 20;

/// A record of a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its number in the shard: go on after it at the next.
    pub sequence: Sequence,
    /// When the server received it, in milliseconds since 1970.
    pub arrival_ms: u64,
    /// Its partition key.
    pub key: Vec<u8>,
    /// Its data.
    pub data: Vec<u8>,
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
}

/// A shard's records, one after the other. See [`Client::subscribe`](crate::Client::subscribe).
#[derive(Debug)]
pub struct Subscription {
    options: Options,
    /// Where the shard's owner listens.
    owner: SocketAddr,
    stream: StreamId,
    shard: ShardId,
    /// Where to begin on the next connection.
    start: Start,
    /// Records that arrived before are not wanted.
    since_ms: u64,
    connection: Option<Connection>,
    open: Option<Open>,
    backoff: Backoff,
    joiner: Joiner,
    /// Whether no frame was seen since the start that was asked for.
    is_first: bool,
    waiting: VecDeque<Waiting>,
    /// What is told once all that waits is taken.
    outcome: Option<Outcome>,
}

#[derive(Debug)]
enum Outcome {
    Ended(Children),
    Failed(SubscribeError),
    /// The error was told.
    Over,
}

impl Subscription {
    pub(crate) fn new(
        options: Options,
        owner: SocketAddr,
        stream: StreamId,
        shard: ShardId,
        start: Start,
    ) -> Subscription {
        let since_ms = if let Start::Since(ms) = start { ms } else { 0 };
        let backoff = Backoff::new(options.patience);
        Subscription {
            options,
            owner,
            stream,
            shard,
            start,
            since_ms,
            connection: None,
            open: None,
            backoff,
            joiner: Joiner::new(),
            is_first: true,
            waiting: VecDeque::new(),
            outcome: None,
        }
    }

    /// The next record, however long it takes. `None` at the end of a shard that was split or merged: its
    /// [`children`](Subscription::children) go on. May be dropped and called again.
    ///
    /// # Errors
    /// There is no next record; after [`SubscribeError::Connection`] and [`SubscribeError::Damaged`] there may be, and after a
    /// [`SubscribeError::Refused`] that may pass.
    pub async fn next(&mut self) -> Result<Option<Record>, SubscribeError> {
        loop {
            if let Some(Waiting { record, bytes }) = self.waiting.pop_front() {
                self.take_bytes(bytes);
                self.grant(CREDIT_BYTES / 4);
                return Ok(Some(record));
            }
            match &self.outcome {
                Some(Outcome::Ended(_) | Outcome::Over) => return Ok(None),
                Some(Outcome::Failed(_)) => return self.fail(),
                None => {}
            }
            // All that came is taken: nothing is held back while this waits.
            self.grant(1);
            let Some(connection) = &mut self.connection else {
                self.connect().await?;
                continue;
            };
            let Some(Open { request, .. }) = self.open else {
                let request = connection.subscribe(self.stream, self.shard, self.start, CREDIT_BYTES);
                self.open = Some(Open { request, granted: CREDIT_BYTES, taken: 0 });
                continue;
            };
            match connection.next().await {
                Ok(Heard::Records(of, result, frames)) if of == request => self.take_records(&result, &frames),
                Ok(Heard::Refused(of, failure)) if of == request => self.take_failure(failure).await?,
                Ok(_) => {}
                Err(error) => self.lost(error.into()).await?,
            }
        }
    }

    /// The shards in which an ended one goes on, once all of its records were taken.
    pub fn children(&self) -> Vec<ShardId> {
        match &self.outcome {
            Some(Outcome::Ended(children)) if self.waiting.is_empty() => children.shards().collect(),
            _ => Vec::new(),
        }
    }

    /// Tells an error once; after damage the subscription goes on behind it.
    fn fail(&mut self) -> Result<Option<Record>, SubscribeError> {
        let Some(Outcome::Failed(error)) = self.outcome.take() else { return Ok(None) };
        match &error {
            SubscribeError::Damaged { sequence, .. } => self.begin_at(sequence.next()),
            _ => self.outcome = Some(Outcome::Over),
        }
        Err(error)
    }

    /// Subscribes anew there.
    fn begin_at(&mut self, next: Sequence) {
        self.start = Start::At(next);
        self.joiner.clear();
        if let (Some(connection), Some(open)) = (&mut self.connection, self.open.take()) {
            connection.unsubscribe(open.request);
        }
    }

    async fn connect(&mut self) -> Result<(), SubscribeError> {
        // The owner may listen elsewhere after a restart.
        match Connection::open_any(Some(self.owner), &self.options).await {
            Ok(connection) => {
                self.connection = Some(connection);
                Ok(())
            }
            Err(error) => self.lost(error.into()).await,
        }
    }

    /// Without a connection, or what was asked for on it: goes on from the last record that is whole, after a pause.
    async fn lost(&mut self, error: SubscribeError) -> Result<(), SubscribeError> {
        self.rewind();
        match self.backoff.pause_after(error.fault()) {
            Some(pause) => {
                sleep(pause).await;
                Ok(())
            }
            None => {
                self.backoff.reset();
                Err(error)
            }
        }
    }

    /// Drops the connection, and the parts of a record that is not whole.
    fn rewind(&mut self) {
        if let Some(first) = self.joiner.waits_from() {
            self.start = Start::At(first);
        }
        self.joiner.clear();
        (self.connection, self.open) = (None, None);
    }

    fn take_bytes(&mut self, bytes: u64) {
        if let Some(open) = &mut self.open {
            open.taken += bytes;
        }
    }

    /// Grants what was taken, if it is so much or more.
    fn grant(&mut self, least: u64) {
        if let (Some(connection), Some(open)) = (&mut self.connection, &mut self.open)
            && open.taken >= least
        {
            open.granted += std::mem::take(&mut open.taken);
            connection.grant(open.request, open.granted);
        }
    }

    async fn take_failure(&mut self, failure: Failure) -> Result<(), SubscribeError> {
        if failure.code.may_pass() {
            return self.lost(SubscribeError::Refused(failure)).await;
        }
        let error = match (failure.code, self.start) {
            (ErrorCode::Damaged, Start::At(sequence)) => {
                SubscribeError::Damaged { shard: self.shard, sequence, failure }
            }
            _ => SubscribeError::Refused(failure),
        };
        // By this the server has ended it.
        self.open = None;
        self.outcome = Some(Outcome::Failed(error));
        Ok(())
    }

    fn take_records(&mut self, result: &ReadResult, frames: &[u8]) {
        self.backoff.reset();
        if let Err(error) = self.take_frames(frames) {
            self.rewind();
            self.outcome = Some(Outcome::Failed(SubscribeError::Corrupt { shard: self.shard, error }));
            return;
        }
        if self.open.is_none() {
            // It begins anew, at the first part of a record.
            return;
        }
        self.start = Start::At(result.next);
        if let Some(children) = result.children {
            self.rewind();
            self.outcome = Some(Outcome::Ended(children));
        }
    }

    fn take_frames(&mut self, mut rest: &[u8]) -> Result<(), FrameError> {
        let mut bytes_of_parts = 0;
        while !rest.is_empty() {
            let frame = Frame::parse(rest)?;
            frame.verify_header(self.shard)?;
            frame.verify_payload()?;
            rest = rest.get(frame.length()..).unwrap_or_default();
            let first = parts::first_of(&frame);
            if std::mem::take(&mut self.is_first) && first < frame.sequence() {
                // Whoever asks for the number of a record wants all of its parts.
                self.begin_at(first);
                return Ok(());
            }
            let bytes = frame.length() as u64;
            match self.joiner.push(&frame) {
                Some(record) if record.arrival_ms >= self.since_ms => {
                    let record = Record {
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
        self.take_bytes(bytes_of_parts);
        Ok(())
    }
}
