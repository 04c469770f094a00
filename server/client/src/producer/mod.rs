//! A producer: records into one stream, many under way at a time.
//!
//! ```text
//!   append -> room (bytes under way) -> number, frames -> route -> lane: batches, credit, retries -> owner of the shard
//!                    ^                                                        |
//!                    +------------ released by the record's answer -----------+
//! ```
//!
//! A *lane* is a task with a connection to one of the server's reactors. Records of one key take the same lane, until shards
//! are split or merged: the map is changed only while nothing is under way, so that no record overtakes another one of its key.
//!
//! A producer with a name has one lane. Its numbers must rise in every shard, and of two lanes whose shards are merged nobody
//! could say which one's records the child hears of first. The server hands them on to their owners.

mod account;
mod lane;
mod record;
mod route;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use frame::proto::StreamDescription;
use frame::{ProducerId, Sequence, ShardId, StreamId};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::client::Client;
use crate::connection::Site;
use crate::error::{AppendError, RequestError};
use account::Account;
use lane::{Input, Lane, Signals};
use record::Record;
use route::Map;

pub use account::Unstored;

/// How a producer gathers and sends.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// Under which name the server counts the records, so that each is stored once, and in its key's order, although it is sent
    /// again after a lost connection. Of a program that is started again under the same name, those records are known that
    /// it appends in the same order as before, from the same [`first_number`](ProducerOptions::first_number) on. Only one
    /// producer may use a name at a time. Without one, what is under way on a connection that is lost is told as
    /// [`AppendError::Unknown`], and records that are sent again as the server had no room may come after later ones.
    pub name: Option<String>,
    /// The number of the first record under this name: 1 by default, for the same input from its beginning.
    pub first_number: u64,
    /// How long a record waits for others to be sent along with it, while nobody waits for room. By default not at all: what is appended while the
    /// task that sends is busy is sent together anyway.
    pub linger: Duration,
    /// Bytes of one batch; when so many have gathered none waits longer. 256 KiB by default.
    pub batch_bytes: usize,
    /// Bytes under way or gathered at a time; more wait in [`Producer::append`]. 16 MiB by default. A larger record goes alone.
    pub in_flight_bytes: u32,
}

impl Default for ProducerOptions {
    fn default() -> ProducerOptions {
        ProducerOptions {
            name: None,
            first_number: 1,
            linger: Duration::ZERO,
            batch_bytes: 256 << 10,
            in_flight_bytes: 16 << 20,
        }
    }
}

impl ProducerOptions {
    /// The usual, under a name.
    pub fn named(name: impl Into<String>) -> ProducerOptions {
        ProducerOptions { name: Some(name.into()), ..ProducerOptions::default() }
    }
}

/// Where a record is stored, durably.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The shard that holds it.
    pub shard: ShardId,
    /// Its number in the shard. `None` if it was stored before, so long ago that the server does not know its number any more.
    pub sequence: Option<Sequence>,
}

/// A record that is on its way: what [`Producer::send`] leaves. Dropping it does not call the record back.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Appended, AppendError>>);

impl Future for Pending {
    type Output = Result<Appended, AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|told| told.unwrap_or(Err(AppendError::Ended)))
    }
}

/// Appends records to one stream. Shared by reference; order is that of the calls of [`Producer::send`] and
/// [`Producer::append`].
///
/// Dropped, it leaves what is under way to be sent; [`Producer::close`] waits for it, and tells whether all of it is durable.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    name: String,
    options: ProducerOptions,
    /// Bytes that may be under way. Who holds all of it knows that nothing is.
    room: Arc<Semaphore>,
    capacity: u32,
    signals: Arc<Signals>,
    account: Arc<Account>,
    front: Mutex<Front>,
}

/// What gives a record its place in the order.
#[derive(Debug)]
struct Front {
    stream: StreamId,
    map: Map,
    site: Site,
    next_number: u64,
    lanes: BTreeMap<u32, Way>,
}

/// The way to a lane.
#[derive(Debug)]
struct Way {
    input: UnboundedSender<Input>,
    /// Why it has ended, if it has.
    failure: Arc<OnceLock<AppendError>>,
}

impl Producer {
    pub(crate) async fn open(client: Client, stream: &str, options: ProducerOptions) -> Result<Producer, RequestError> {
        let (description, site) = client.describe(stream).await?;
        let capacity = options.in_flight_bytes.max(1);
        let front = Front {
            stream: description.stream,
            map: Map::of(&description),
            site,
            next_number: options.first_number,
            lanes: BTreeMap::new(),
        };
        Ok(Producer {
            client,
            name: stream.to_owned(),
            options,
            room: Arc::new(Semaphore::new(capacity as usize)),
            capacity,
            signals: Arc::default(),
            account: Arc::default(),
            front: Mutex::new(front),
        })
    }

    /// Appends a record and waits until it is durable: waits for room first. Once it has room its place in the order is
    /// given, and dropping the future does not call it back.
    ///
    /// # Errors
    /// It was not acknowledged; [`AppendError::Unknown`] alone leaves open whether it was stored.
    pub async fn append(&self, key: &[u8], data: &[u8]) -> Result<Appended, AppendError> {
        self.send(key, data).await?.await
    }

    /// Waits for room and gives a record its place in the order. The answer is waited for by what is returned, so that one
    /// task can have many records under way.
    ///
    /// # Errors
    /// It can't be sent.
    pub async fn send(&self, key: &[u8], data: &[u8]) -> Result<Pending, AppendError> {
        if self.signals.is_stale.load(Ordering::Acquire) {
            self.renew().await;
        }
        let bytes = record::frames_bytes(self.options.name.is_some(), key, data)?;
        let room = self.room(u32::try_from(bytes).unwrap_or(u32::MAX)).await;
        let (reply, pending) = oneshot::channel();
        let mut front = self.front.lock().unwrap_or_else(PoisonError::into_inner);
        let number = front.next_number;
        let producer = self.options.name.as_deref().map(ProducerId::of_name);
        let target = front.map.target(key);
        let record = Record::encode(key, data, producer, number, target.shard, (room, self.account.clone()), reply)?;
        let reactor = if producer.is_some() { 0 } else { target.reactor };
        front.next_number += 1;
        let stream = front.stream;
        let address = match producer {
            Some(_) => front.site.address,
            None => front.site.owner(reactor),
        };
        let way = front.lanes.entry(reactor).or_insert_with(|| {
            let (input, records) = unbounded_channel();
            let failure = Arc::new(OnceLock::new());
            let options = (self.client.options().clone(), self.options.clone());
            let lane = Lane::new(address, options, stream, records, self.signals.clone());
            tokio::spawn(lane.run(failure.clone()));
            Way { input, failure }
        });
        match way.input.send(Input::Record(record)) {
            Ok(()) => Ok(Pending(pending)),
            Err(SendError(input)) => {
                let error = match way.failure.get() {
                    Some(cause) => {
                        let first_number = self.account.first_unstored(number);
                        AppendError::GivenUp { first_number, cause: Arc::new(cause.clone()) }
                    }
                    None => AppendError::Ended,
                };
                if let Input::Record(record) = input {
                    record.answer(Err(error.clone()));
                }
                Err(error)
            }
        }
    }

    /// Waits until all that was appended before has been answered, whatever [`ProducerOptions::linger`] says.
    ///
    /// # Errors
    /// Not all that was appended since the last flush is durable, whether or not somebody waited for each record.
    pub async fn flush(&self) -> Result<(), Unstored> {
        let _nothing_is_under_way = self.settled().await;
        let Some((records, cause)) = self.account.take() else { return Ok(()) };
        Err(Unstored { records, cause, first_number: self.first_unstored() })
    }

    /// Of a producer with a name, the lowest number that is not known to be stored: all before it are. Where a program is to go
    /// on that keeps such a mark of its input, or another producer once this one has given up, it is the
    /// [`first_number`](ProducerOptions::first_number).
    pub fn first_unstored(&self) -> Option<u64> {
        self.options.name.as_ref()?;
        let front = self.front.lock().unwrap_or_else(PoisonError::into_inner);
        Some(self.account.first_unstored(front.next_number))
    }

    /// The same, as the last thing that is done with it.
    ///
    /// # Errors
    /// As [`Producer::flush`].
    pub async fn close(self) -> Result<(), Unstored> {
        self.flush().await
    }

    /// Room for so many bytes. Who waits for it waits for no record that waits for others: those are what takes it up.
    async fn room(&self, bytes: u32) -> OwnedSemaphorePermit {
        let bytes = bytes.min(self.capacity);
        if let Ok(room) = self.room.clone().try_acquire_many_owned(bytes) {
            return room;
        }
        let _hurry = Hurry::new(&self.signals);
        {
            let front = self.front.lock().unwrap_or_else(PoisonError::into_inner);
            for way in front.lanes.values() {
                // A lane that has ended has answered all it had.
                let _ = way.input.send(Input::Hurry);
            }
        }
        self.room.clone().acquire_many_owned(bytes).await.expect("nobody closes it")
    }

    /// Waits until nothing is under way. Nothing is until what is returned is dropped.
    async fn settled(&self) -> OwnedSemaphorePermit {
        self.room(self.capacity).await
    }

    /// Learns of shards that were made since. Where that fails the server routes on, and the next record asks again.
    async fn renew(&self) {
        let _nothing_is_under_way = self.settled().await;
        if !self.signals.is_stale.swap(false, Ordering::AcqRel) {
            return;
        }
        if let Ok((description, site)) = self.client.describe(&self.name).await {
            self.front.lock().unwrap_or_else(PoisonError::into_inner).renew(&description, site);
        }
    }
}

/// Somebody waits for room, or until nothing is under way.
struct Hurry<'a>(&'a Signals);

impl<'a> Hurry<'a> {
    fn new(signals: &'a Signals) -> Hurry<'a> {
        signals.hurry.fetch_add(1, Ordering::AcqRel);
        Hurry(signals)
    }
}

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.hurry.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Front {
    fn renew(&mut self, description: &StreamDescription, site: Site) {
        // One that was deleted and made again is another stream, whose producer has to be opened anew.
        if description.stream == self.stream {
            self.map = Map::of(description);
            self.site = site;
        }
    }
}
