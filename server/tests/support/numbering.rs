//! Producers that number their records and go on over all lives of a data directory: in each they send again what was not
//! acknowledged, in its order, and some of what was.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use engine::limits::RUNS_PER_PRODUCER_MAX;
use frame::proto::{AckResult, ErrorCode, StreamDescription};
use frame::{Numbered, ProducerId, RecordNumber, RequestId};
use server::client::{Appended, Batch, Client, ClientError};

use super::ledger::Book;
use super::load::{Progress, may_hold, must_be_gone, reach};
use super::record::{self, Identity, Sizes};

/// Records that were not acknowledged; and those that were, and may be sent again. Of all of them the server knows the places.
const PENDING_MAX: usize = 160;
const ACKED_KEPT: usize = 40;
const _: () = assert!(PENDING_MAX + ACKED_KEPT < RUNS_PER_PRODUCER_MAX);

/// With segments as small as here, a server remembers about 7,000 results of all producers and shards, and lets go first of those that
/// were not added to for longest. These streams have at most 10 open shards, so all that may be sent again is remembered: nobody goes
/// ahead of the slowest by more than so many numbers, and what they all store meanwhile takes the rest.
const STREAMS: usize = 2;
const AHEAD_MAX: u64 = 400;

/// Of those how many are sent again when a life begins, one by one; and then in one of so many turns.
const AGAIN_AT_FIRST: usize = 8;
const TURNS_PER_AGAIN: usize = 9;

const APPENDS_IN_FLIGHT: usize = 8;
const RECORDS_PER_APPEND: usize = 20;

/// After a refusal, until all is sent again.
const PAUSE: Duration = Duration::from_millis(1);

/// Times that all is sent again after a refusal, before the server must have taken it in.
const REWINDS_MAX: usize = 10_000;

/// A record that is not acknowledged.
struct Pending {
    stream: usize,
    is_sent: bool,
    /// It was sent in this life, and nobody said what became of it.
    is_unknown: bool,
}

/// A producer, between two lives.
pub(crate) struct Producer {
    connection: u32,
    sizes: Sizes,
    newest: u64,
    /// How far each has come, and which of them it is.
    own: usize,
    all: Arc<[AtomicU64]>,
    pending: BTreeMap<u64, Pending>,
    acked: VecDeque<(u64, usize)>,
}

impl Producer {
    /// All that load one data directory.
    pub(crate) fn all(mut connection: impl FnMut() -> u32) -> Vec<Producer> {
        let sizes = [Sizes::Usual, Sizes::Mixed];
        let all: Arc<[AtomicU64]> = sizes.iter().map(|_| AtomicU64::new(0)).collect();
        let of = |(own, sizes)| Producer {
            connection: connection(),
            sizes,
            newest: 0,
            own,
            all: Arc::clone(&all),
            pending: BTreeMap::new(),
            acked: VecDeque::new(),
        };
        sizes.into_iter().enumerate().map(of).collect()
    }

    /// Its place in the ledger.
    pub(crate) fn connection(&self) -> u32 {
        self.connection
    }

    /// Records that it ever made: its numbers are 1 to this.
    pub(crate) fn made(&self) -> u64 {
        self.newest
    }

    /// Appends to streams in turn, until told to stop, refused, or the server is gone.
    pub(crate) fn write_until_the_end(
        self,
        address: SocketAddr,
        streams: &[StreamDescription],
        progress: &Progress,
    ) -> Book {
        self.write(address, streams, progress, true)
    }

    /// Sends again what was not acknowledged, until it is.
    pub(crate) fn settle(self, address: SocketAddr, streams: &[StreamDescription]) -> Book {
        self.write(address, streams, &Progress::default(), false)
    }

    fn write(
        mut self,
        address: SocketAddr,
        streams: &[StreamDescription],
        progress: &Progress,
        makes_more: bool,
    ) -> Book {
        for record in self.pending.values_mut() {
            (record.is_sent, record.is_unknown) = (false, false);
        }
        let Some(client) = reach(address) else { return Book { producer: Some(self), ..Book::default() } };
        let again = self.acked.len().min(AGAIN_AT_FIRST);
        let mut life = Life {
            producer: self,
            client,
            streams,
            progress,
            makes_more,
            in_flight: BTreeMap::new(),
            again,
            turn: 0,
            rewinds: 0,
            is_refused: None,
            book: Book::default(),
        };
        if let Err(error) = life.run().and_then(|()| life.drain()) {
            must_be_gone(&error);
        }
        life.end()
    }

    fn is_ahead(&self) -> bool {
        self.all[self.own].store(self.newest, Relaxed);
        self.all.iter().any(|other| other.load(Relaxed) + AHEAD_MAX < self.newest)
    }

    fn identity(&self, number: u64) -> Identity {
        Identity { connection: self.connection, number }
    }

    fn batch(&self, numbers: &[u64]) -> Batch {
        let (mut batch, mut key, mut data) = (Batch::new(), Vec::new(), Vec::new());
        let producer = ProducerId(u64::from(self.connection) + 1);
        for &number in numbers {
            record::write(self.identity(number), self.sizes, &mut key, &mut data);
            let numbered = Numbered { producer, number: RecordNumber(number) };
            let fits = batch.push_numbered(&key, Some(numbered), &data).expect("records are within the limits");
            assert!(fits, "batches are far smaller than the largest append");
        }
        batch
    }
}

/// An append in flight.
struct Sent {
    stream: usize,
    numbers: Vec<u64>,
    bytes: u64,
}

/// Why nothing more is sent for now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// Once all is answered, all that is pending goes again.
    ForNow,
    /// The server's disk has failed.
    ForGood,
}

/// A producer at work.
struct Life<'a> {
    producer: Producer,
    client: Client,
    streams: &'a [StreamDescription],
    progress: &'a Progress,
    makes_more: bool,
    in_flight: BTreeMap<RequestId, Sent>,
    /// Acknowledged records that are still to be sent again.
    again: usize,
    turn: usize,
    rewinds: usize,
    is_refused: Option<Refused>,
    book: Book,
}

impl Life<'_> {
    fn run(&mut self) -> Result<(), ClientError> {
        loop {
            let is_done = if self.makes_more { self.progress.stopped() } else { self.producer.pending.is_empty() };
            if is_done || self.is_refused == Some(Refused::ForGood) {
                return Ok(());
            }
            let waits = self.is_refused.is_some() && !self.in_flight.is_empty();
            if waits || self.in_flight.len() >= APPENDS_IN_FLIGHT {
                self.hear()?;
                continue;
            }
            if self.is_refused.take().is_some() {
                self.progress.wait(PAUSE, |_| self.progress.stopped());
                self.rewinds += 1;
                assert!(self.rewinds < REWINDS_MAX || self.makes_more, "the server takes nothing in");
                self.producer.pending.values_mut().for_each(|record| record.is_sent = false);
            }
            match self.next() {
                Some((stream, numbers)) => self.send(stream, numbers)?,
                None if self.hear()? => {}
                None => drop(self.progress.wait(PAUSE, |_| self.progress.stopped())),
            }
        }
    }

    /// Hears of all that is in flight.
    fn drain(&mut self) -> Result<(), ClientError> {
        while self.hear()? {}
        Ok(())
    }

    /// What to send next, of one stream.
    fn next(&mut self) -> Option<(usize, Vec<u64>)> {
        self.turn += 1;
        let is_ahead = self.producer.is_ahead();
        let Producer { acked, pending, newest, sizes, .. } = &mut self.producer;
        let again = match self.again {
            0 => self.turn.is_multiple_of(TURNS_PER_AGAIN).then_some(self.turn),
            left => acked.len().checked_sub(left),
        };
        self.again = self.again.saturating_sub(1);
        if let Some(&(number, stream)) = again.and_then(|at| acked.get(at % acked.len().max(1))) {
            return Some((stream, vec![number]));
        }
        let records = RECORDS_PER_APPEND.min(sizes.batch_records() as usize);
        if pending.values().all(|record| record.is_sent) && self.makes_more && !is_ahead {
            let stream = self.turn % STREAMS;
            for _ in 0..(1 + self.turn % records).min(PENDING_MAX.saturating_sub(pending.len())) {
                *newest += 1;
                pending.insert(*newest, Pending { stream, is_sent: false, is_unknown: false });
            }
        }
        let mut unsent = pending.iter_mut().filter(|(_, record)| !record.is_sent).peekable();
        let stream = unsent.peek()?.1.stream;
        let of_stream = unsent.take_while(|(_, record)| record.stream == stream).take(records);
        let numbers = of_stream.map(|(&number, record)| {
            record.is_sent = true;
            number
        });
        Some((stream, numbers.collect()))
    }

    fn send(&mut self, stream: usize, numbers: Vec<u64>) -> Result<(), ClientError> {
        let batch = self.producer.batch(&numbers);
        let bytes = batch.message_bytes() as u64;
        match self.client.send(self.streams[stream].stream, &batch) {
            Ok(request) => {
                self.in_flight.insert(request, Sent { stream, numbers, bytes });
                Ok(())
            }
            Err(error) => {
                self.lose(&numbers);
                Err(error)
            }
        }
    }

    /// Takes the results of one append. `false` if none is in flight.
    fn hear(&mut self) -> Result<bool, ClientError> {
        let Some(Appended { request, outcome }) = self.client.next_appended()? else { return Ok(false) };
        let sent = self.in_flight.remove(&request).expect("one answer to each append");
        let Ok(results) = outcome.map_err(|failure| assert_eq!(failure.code, ErrorCode::StorageFailed, "{failure}"))
        else {
            self.is_refused = Some(Refused::ForGood);
            self.lose(&sent.numbers);
            return Ok(true);
        };
        assert_eq!(results.len(), sent.numbers.len(), "a result a record");
        let acked_before = self.book.acked.len();
        for (&number, &result) in sent.numbers.iter().zip(&results) {
            self.answered(sent.stream, number, result);
        }
        let acked = self.book.acked.len() - acked_before;
        self.progress.tell(|counts| {
            counts.acked += acked as u64;
            counts.acked_bytes += if acked > 0 { sent.bytes } else { 0 };
            counts.refused += u64::from(self.is_refused == Some(Refused::ForGood));
        });
        Ok(true)
    }

    fn answered(&mut self, stream: usize, number: u64, result: AckResult) {
        let identity = self.producer.identity(number);
        let Producer { pending, acked, sizes, .. } = &mut self.producer;
        match result {
            AckResult::Durable(shard, sequence) => {
                let (mut key, mut data) = (Vec::new(), Vec::new());
                record::write(identity, *sizes, &mut key, &mut data);
                assert!(may_hold(&self.streams[stream], shard, &key), "{identity} was routed to shard {shard}");
                self.book.acked.push((shard, sequence, identity));
                if pending.remove(&number).is_some() {
                    acked.push_back((number, stream));
                    acked.drain(..acked.len().saturating_sub(ACKED_KEPT));
                }
            }
            AckResult::Throttled(ErrorCode::Resharding | ErrorCode::OutOfOrder, _) => {
                self.is_refused = self.is_refused.or(Some(Refused::ForNow));
                // Until it has come again nothing that is above it is taken in, although it was stored.
                acked.retain(|&(known, _)| known != number);
                pending.entry(number).or_insert(Pending { stream, is_sent: false, is_unknown: false });
            }
            AckResult::Refused(code) | AckResult::Throttled(code, _) => {
                assert_eq!(code, ErrorCode::StorageFailed, "{identity} was refused");
                self.is_refused = Some(Refused::ForGood);
            }
        }
    }

    /// Nobody knows what became of these.
    fn lose(&mut self, numbers: &[u64]) {
        for number in numbers {
            if let Some(record) = self.producer.pending.get_mut(number) {
                record.is_unknown = true;
            }
        }
    }

    fn end(mut self) -> Book {
        for sent in std::mem::take(&mut self.in_flight).into_values() {
            self.lose(&sent.numbers);
        }
        for (&number, record) in &self.producer.pending {
            let fate = if record.is_unknown { &mut self.book.unknown } else { &mut self.book.refused };
            fate.push(self.producer.identity(number));
        }
        Book { producer: Some(self.producer), ..self.book }
    }
}
