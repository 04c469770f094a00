//! Clients that load a server until it goes: appends many in flight, some of them numbered, a reader at the tips, and those that
//! split, merge and move shards.
//!
//! Each runs on a thread of its own and returns its book. How far all have come is told through [`Progress`], so that a
//! test can end the server at a moment of its choice without polling.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use frame::proto::{AckResult, ErrorCode, StreamDescription};
use frame::route::hash_key;
use frame::{Quotas, RequestId, Sequence, Settings, ShardId, StreamId};
use server::client::{Appended, Batch, Client, ClientError, Timeouts};

use super::changes;
use super::ledger::{Book, Ledger, Wrong, hash};
use super::record::{self, Identity, Sizes};

/// Streams and their shards: one shard, some, and many of which most are cold.
pub(super) const STREAMS: [(&str, u32); 3] = [("one", 1), ("some", 5), ("many", 24)];

/// Appends that a client has in flight.
const APPENDS_IN_FLIGHT: usize = 16;

const READ_BYTES: u32 = 256 << 10;

/// Times that a record is sent before its shard must have taken it in.
const TRIES_MAX: u32 = 10_000;

/// How long records are waited for to expire: longer than they are kept.
const EXPIRY_MAX: Duration = Duration::from_secs(3);

/// A reader that has caught up looks again after this long, or as soon as something was acknowledged.
const READER_PAUSE: Duration = Duration::from_millis(5);

/// How far the clients of one life have come.
#[derive(Default)]
pub(crate) struct Progress {
    counts: Mutex<Counts>,
    changed: Condvar,
    stop: AtomicBool,
}

/// What the clients of one life have been told.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Counts {
    /// Records acknowledged.
    pub(crate) acked: u64,
    /// Bytes of their messages.
    pub(crate) acked_bytes: u64,
    /// Records refused because the server's disk failed.
    pub(crate) refused: u64,
}

impl Progress {
    /// Waits until `reached` says so. `false` if that took longer than `patience`.
    pub(crate) fn wait(&self, patience: Duration, reached: impl Fn(&Counts) -> bool) -> bool {
        let counts = self.counts.lock().expect("nobody panics while holding it");
        let waited = self.changed.wait_timeout_while(counts, patience, |counts| !reached(counts));
        !waited.expect("nobody panics while holding it").1.timed_out()
    }

    /// What they have been told so far.
    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock().expect("nobody panics while holding it")
    }

    /// Asks the clients to send no more. They still wait for what they are owed.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn tell(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().expect("nobody panics while holding it"));
        self.changed.notify_all();
    }
}

/// The clients of one life.
pub(crate) struct Load {
    /// How far they are.
    pub(crate) progress: Arc<Progress>,
    /// Where their server is.
    pub(crate) address: SocketAddr,
    threads: Vec<JoinHandle<Book>>,
}

impl Load {
    /// Starts `writers` clients, of all sizes and at all reactors in turn, those that number their records, a reader, who
    /// splits and merges, and who moves. `client` is connected to `address`, of the first reactor.
    pub(crate) fn start(
        client: &Client,
        address: SocketAddr,
        ledger: &mut Ledger,
        streams: &[StreamDescription],
        writers: usize,
    ) -> Load {
        let progress = Arc::new(Progress::default());
        let mut threads = Vec::new();
        let reactors = client.welcome().reactors;
        let others = (1..reactors.count).filter_map(|number| reactors.port(number.into()));
        let ports: Vec<u16> = std::iter::once(address.port()).chain(others).collect();
        for (sizes, &port) in Sizes::ALL.into_iter().cycle().zip(ports.iter().cycle()).take(writers) {
            let (connection, streams, progress) = (ledger.connection(), streams.to_vec(), Arc::clone(&progress));
            let at = SocketAddr::new(address.ip(), port);
            threads.push(std::thread::spawn(move || write_until_the_end(at, connection, sizes, &streams, &progress)));
        }
        for producer in ledger.take_producers() {
            let (streams, progress) = (streams.to_vec(), Arc::clone(&progress));
            threads.push(std::thread::spawn(move || producer.write_until_the_end(address, &streams, &progress)));
        }
        let (positions, reader) = (ledger.positions(), Arc::clone(&progress));
        threads.push(std::thread::spawn(move || read_until_the_end(address, positions, &reader)));
        let resharder = Arc::clone(&progress);
        threads.push(std::thread::spawn(move || changes::reshard_until_the_end(address, &resharder)));
        if ports.len() > 1 {
            let mover = Arc::clone(&progress);
            threads.push(std::thread::spawn(move || changes::move_until_the_end(address, &mover)));
        }
        Load { progress, address, threads }
    }

    /// Waits for every client to end, as they do when they are told to stop or when the server is gone.
    pub(crate) fn join(self, ledger: &mut Ledger) -> Result<(), Wrong> {
        self.progress.stop();
        for thread in self.threads {
            match thread.join() {
                Ok(book) => ledger.add(book)?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(())
    }
}

/// Waits until a shard begins later than it did: then segments are dropped. Nobody tells when, so it is looked at again and
/// again, but not for ever: it may be that nothing is to be dropped.
pub(crate) fn await_expiry(address: SocketAddr, ledger: &mut Ledger) -> Result<(), Box<dyn std::error::Error>> {
    let (mut client, before, began) = (connect(address)?, ledger.trims(), Instant::now());
    while began.elapsed() < EXPIRY_MAX {
        streams(&mut client, ledger)?;
        let now = ledger.trims();
        if before.iter().any(|(shard, trim)| now[shard] > *trim) {
            break;
        }
        std::thread::sleep(READER_PAUSE);
    }
    Ok(())
}

/// Has all that numbering producers have not heard of stored.
pub(crate) fn settle(
    address: SocketAddr,
    ledger: &mut Ledger,
    streams: &[StreamDescription],
) -> Result<(), Box<dyn std::error::Error>> {
    for producer in ledger.take_producers() {
        ledger.add(producer.settle(address, streams))?;
    }
    if ledger.is_level() {
        Ok(())
    } else {
        Err("numbered records are not stored, although nothing is in the way".into())
    }
}

/// Connects for administration and reading back.
pub(crate) fn connect(address: SocketAddr) -> Result<Client, ClientError> {
    Client::connect(address, Timeouts::default())
}

/// Makes the streams, or finds that they are the ones that were made.
pub(crate) fn streams(
    client: &mut Client,
    ledger: &mut Ledger,
) -> Result<Vec<StreamDescription>, Box<dyn std::error::Error>> {
    let mut streams = Vec::new();
    for (name, shards) in STREAMS {
        let retention = ledger.how_kept().of_shards(shards);
        let description = client.create_stream(name, shards, Settings { quotas: Quotas::NONE, retention })?;
        ledger.stream(&description, retention)?;
        streams.push(description);
    }
    Ok(streams)
}

/// Appends one record and waits for its acknowledgement.
pub(crate) fn append_one(
    client: &mut Client,
    ledger: &mut Ledger,
    stream: &StreamDescription,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut writer = Writer::new(ledger.connection(), Sizes::Usual);
    // What the last life had begun to split or merge may go on for a moment.
    for _ in 0..TRIES_MAX {
        let batch = writer.next_batch(1);
        let sent = writer.next - 1..writer.next;
        if writer.settle(stream, sent, Ok(client.append(stream.stream, &batch)?)) == 1 {
            break;
        }
    }
    assert_eq!(writer.book.acked.len(), 1, "the record was refused");
    ledger.add(writer.book)?;
    // That has ended by now, and may have made the shard that took it.
    streams(client, ledger).map(drop)
}

/// What one client has sent and heard.
struct Writer {
    connection: u32,
    sizes: Sizes,
    next: u64,
    book: Book,
    key: Vec<u8>,
    data: Vec<u8>,
}

impl Writer {
    fn new(connection: u32, sizes: Sizes) -> Writer {
        Writer { connection, sizes, next: 0, book: Book::default(), key: Vec::new(), data: Vec::new() }
    }

    fn identity(&self, number: u64) -> Identity {
        Identity { connection: self.connection, number }
    }

    fn next_batch(&mut self, records: u64) -> Batch {
        let mut batch = Batch::new();
        for _ in 0..records {
            record::write(self.identity(self.next), self.sizes, &mut self.key, &mut self.data);
            let fits = batch.push(&self.key, &self.data).expect("records are within the limits");
            assert!(fits, "batches are far smaller than the largest append");
            self.next += 1;
        }
        batch
    }

    /// Notes what became of records sent to a stream. Returns how many were acknowledged.
    fn settle(
        &mut self,
        stream: &StreamDescription,
        sent: std::ops::Range<u64>,
        outcome: Result<Vec<AckResult>, ()>,
    ) -> u64 {
        let Ok(results) = outcome else {
            self.book.unknown.extend(sent.map(|number| Identity { connection: self.connection, number }));
            return 0;
        };
        assert_eq!(results.len() as u64, sent.end - sent.start, "a result a record");
        let before = self.book.acked.len();
        for (number, result) in sent.zip(results) {
            let identity = self.identity(number);
            match result {
                AckResult::Durable(shard, sequence) => {
                    record::write(identity, self.sizes, &mut self.key, &mut self.data);
                    assert!(may_hold(stream, shard, &self.key), "{identity} was routed to shard {shard}");
                    self.book.acked.push((shard, sequence, identity));
                }
                AckResult::Throttled(ErrorCode::Resharding, _) => self.book.held_up.push(identity),
                AckResult::Refused(code) | AckResult::Throttled(code, _) => {
                    assert_eq!(code, ErrorCode::StorageFailed, "{identity} was refused");
                    self.book.refused.push(identity);
                }
            }
        }
        (self.book.acked.len() - before) as u64
    }
}

/// Whether a record may be in a shard: one that was made since the stream was described is looked at when it is read back.
pub(super) fn may_hold(stream: &StreamDescription, shard: ShardId, key: &[u8]) -> bool {
    stream.shards.iter().find(|known| known.shard == shard).is_none_or(|known| known.holds(hash_key(key)))
}

/// An append in flight: which stream, which records, how many bytes.
struct Sent {
    stream: usize,
    numbers: std::ops::Range<u64>,
    bytes: u64,
}

/// Appends to all streams in turn, until told to stop, refused, or the server is gone.
fn write_until_the_end(
    address: SocketAddr,
    connection: u32,
    sizes: Sizes,
    streams: &[StreamDescription],
    progress: &Progress,
) -> Book {
    let mut writer = Writer::new(connection, sizes);
    let Some(mut client) = reach(address) else { return writer.book };
    let mut in_flight: BTreeMap<RequestId, Sent> = BTreeMap::new();
    let mut turn = connection as usize;
    while !progress.stopped() && writer.book.refused.is_empty() {
        turn += 1;
        let stream = turn % streams.len();
        let first = writer.next;
        // Now and then a batch of one record, so that commits differ in size.
        let records = if turn.is_multiple_of(7) { 1 } else { sizes.batch_records() };
        let batch = writer.next_batch(records);
        let sent = Sent { stream, numbers: first..writer.next, bytes: batch.message_bytes() as u64 };
        match client.send(streams[stream].stream, &batch) {
            Ok(request) => drop(in_flight.insert(request, sent)),
            Err(error) => {
                must_be_gone(&error);
                writer.settle(&streams[stream], sent.numbers, Err(()));
                break;
            }
        }
        while in_flight.len() >= APPENDS_IN_FLIGHT {
            match client.next_appended() {
                Ok(Some(appended)) => note(&mut writer, streams, &mut in_flight, appended, progress),
                // Then sending fails as well.
                Ok(None) => break,
                Err(error) => {
                    must_be_gone(&error);
                    break;
                }
            }
        }
    }
    loop {
        match client.next_appended() {
            Ok(Some(appended)) => note(&mut writer, streams, &mut in_flight, appended, progress),
            Ok(None) => break,
            Err(error) => {
                must_be_gone(&error);
                break;
            }
        }
    }
    for sent in in_flight.into_values() {
        writer.settle(&streams[sent.stream], sent.numbers, Err(()));
    }
    writer.book
}

fn note(
    writer: &mut Writer,
    streams: &[StreamDescription],
    in_flight: &mut BTreeMap<RequestId, Sent>,
    appended: Appended,
    progress: &Progress,
) {
    let sent = in_flight.remove(&appended.request).expect("one answer to each append");
    let refused_before = writer.book.refused.len();
    if let Err(failure) = &appended.outcome {
        assert_eq!(failure.code, ErrorCode::StorageFailed, "{failure}");
    }
    let acked = writer.settle(&streams[sent.stream], sent.numbers, appended.outcome.map_err(drop));
    let refused = (writer.book.refused.len() - refused_before) as u64;
    progress.tell(|counts| {
        counts.acked += acked;
        counts.acked_bytes += if acked > 0 { sent.bytes } else { 0 };
        counts.refused += refused;
    });
}

/// Reads every shard from the places given, again and again.
fn read_until_the_end(address: SocketAddr, from: Vec<(StreamId, ShardId, Sequence)>, progress: &Progress) -> Book {
    let mut book = Book::default();
    let Some(mut client) = reach(address) else { return book };
    let mut places = from;
    while !progress.stopped() {
        let acked = progress.counts().acked;
        let mut idle = true;
        for (stream, shard, next) in &mut places {
            match client.read(*stream, *shard, *next, READ_BYTES) {
                Ok(records) => {
                    let trim = records.result.trim;
                    let before = book.trims.insert(*shard, trim);
                    assert!(before <= Some(trim), "shard {shard} begins at {trim}, and began at {before:?}");
                    book.seen.extend(records.iter().map(|frame| (*shard, frame.sequence(), hash(&frame))));
                    idle &= records.is_empty();
                    *next = records.result.next;
                }
                // Of a shard that moves.
                Err(ClientError::Refused(failure))
                    if matches!(failure.code, ErrorCode::Busy | ErrorCode::Resharding) => {}
                // A disk without power reads nothing, neither records nor where they are.
                Err(ClientError::Refused(failure))
                    if matches!(failure.code, ErrorCode::Damaged | ErrorCode::StorageFailed) =>
                {
                    return book;
                }
                Err(error) => {
                    must_be_gone(&error);
                    return book;
                }
            }
        }
        if idle {
            progress.wait(READER_PAUSE, |counts| counts.acked > acked || progress.stopped());
        }
    }
    book
}

/// A connection, unless the server is gone already.
pub(super) fn reach(address: SocketAddr) -> Option<Client> {
    connect(address).map_err(|error| must_be_gone(&error)).ok()
}

/// A server that was ended breaks its connections. Whatever else a client is told is a fault.
pub(super) fn must_be_gone(error: &ClientError) {
    let gone = match error {
        ClientError::Connect { .. } | ClientError::Lost { .. } => true,
        ClientError::Ended(failure) => failure.code == ErrorCode::ShuttingDown,
        _ => false,
    };
    assert!(gone, "the server did not just go: {error}");
}
