//! Subscriptions to shards of one stream, all of those that one reactor owns on one connection.
//!
//! A feed is no task: its connections are its own, and do what they do while somebody waits in [`Feed::next`], which loses nothing
//! where it is dropped half-way. Credit is granted as records are taken, so that at most the credit of each shard, what was
//! pushed at once past it, and one record in parts lie here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use frame::proto::Start;
use frame::{RequestId, ShardId, StreamId};
use tokio::time::{Instant, sleep, sleep_until};

use crate::connection::{Connection, Heard};
use crate::cursor::{Cursor, Told};
use crate::error::{ConnectError, SubscribeError};
use crate::options::{Backoff, Options};

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

#[derive(Debug)]
pub(crate) struct Feed {
    options: Options,
    stream: StreamId,
    /// By where their owners listen.
    links: BTreeMap<SocketAddr, Link>,
    cursors: BTreeMap<ShardId, Followed>,
    /// Those that the server does not push and is to.
    unopened: BTreeSet<ShardId>,
    /// Those that have something to tell, in turn.
    ready: VecDeque<ShardId>,
    /// Which connection is heard first: each in turn.
    turn: usize,
}

#[derive(Debug)]
struct Followed {
    cursor: Cursor,
    link: SocketAddr,
}

/// The way to a reactor.
struct Link {
    way: Way,
    backoff: Backoff,
    /// Whose the server's words are.
    shards: BTreeMap<RequestId, ShardId>,
}

enum Way {
    /// Kept, so that it goes on where somebody stopped waiting.
    Making(Boxed<'static, Result<Box<Connection>, ConnectError>>),
    Made(Box<Connection>),
}

/// What happened on a link.
enum Event {
    Made(Result<Box<Connection>, ConnectError>),
    Heard(Result<Heard, ConnectError>),
}

impl Feed {
    pub(crate) fn new(options: Options, stream: StreamId) -> Feed {
        Feed {
            options,
            stream,
            links: BTreeMap::new(),
            cursors: BTreeMap::new(),
            unopened: BTreeSet::new(),
            ready: VecDeque::new(),
            turn: 0,
        }
    }

    /// Follows a shard from a start on. Its owner listens there; whoever else answers hands on.
    pub(crate) fn follow(&mut self, shard: ShardId, start: Start, credit_bytes: u64, owner: SocketAddr) {
        let options = &self.options;
        self.links.entry(owner).or_insert_with(|| Link::new(owner, options));
        let cursor = Cursor::new(shard, start, credit_bytes, Backoff::new(options.patience));
        self.cursors.insert(shard, Followed { cursor, link: owner });
        self.unopened.insert(shard);
    }

    /// What comes next of any of the shards; `None` if none is followed any more.
    ///
    /// # Errors
    /// As [`SubscribeError`] says: of a connection, or of one of the shards, which is followed no more but after damage and where
    /// a refusal may pass.
    pub(crate) async fn next(&mut self) -> Result<Option<(ShardId, Told)>, SubscribeError> {
        loop {
            while let Some(shard) = self.ready.pop_front() {
                if let Some(told) = self.tell(shard) {
                    return told.map(|told| Some((shard, told)));
                }
            }
            if self.cursors.is_empty() {
                return Ok(None);
            }
            self.open();
            self.wait().await?;
        }
    }

    fn tell(&mut self, shard: ShardId) -> Option<Result<Told, SubscribeError>> {
        let Followed { cursor, link } = self.cursors.get_mut(&shard)?;
        let connection = self.links.get_mut(link).and_then(Link::connection);
        let told = cursor.tell(connection)?;
        if cursor.has_something_to_tell() {
            self.ready.push_back(shard);
        } else if cursor.wants_more() {
            let is_over = match &told {
                Ok(Told::Record(_)) | Err(SubscribeError::Damaged { .. }) => false,
                Ok(Told::Ended(_)) | Err(_) => true,
            };
            if is_over {
                let link = *link;
                self.cursors.remove(&shard);
                if !self.cursors.values().any(|other| other.link == link) {
                    self.links.remove(&link);
                }
            } else {
                self.unopened.insert(shard);
            }
        }
        Some(told)
    }

    /// Asks for what is due and has a connection.
    fn open(&mut self) {
        let (cursors, links, stream) = (&mut self.cursors, &mut self.links, self.stream);
        self.unopened.retain(|shard| {
            let Some(Followed { cursor, link }) = cursors.get_mut(shard) else { return false };
            if cursor.again_at.is_some_and(|at| at > Instant::now()) {
                return true;
            }
            // From here on it waits for its connection alone.
            cursor.again_at = None;
            let Some(Link { way: Way::Made(connection), shards, .. }) = links.get_mut(link) else { return true };
            shards.insert(cursor.subscribe(connection, stream), *shard);
            false
        });
    }

    /// Waits for the next thing that happens on any link, or until something is due.
    async fn wait(&mut self) -> Result<(), SubscribeError> {
        let due = self.unopened.iter().filter_map(|shard| self.cursors.get(shard)?.cursor.again_at).min();
        let mut events: Vec<(SocketAddr, Boxed<'_, Event>)> = Vec::with_capacity(self.links.len());
        events.extend(
            self.links.iter_mut().map(|(address, link)| (*address, Box::pin(link.event()) as Boxed<'_, Event>)),
        );
        self.turn = (self.turn + 1) % events.len();
        events.rotate_left(self.turn);
        let first = poll_fn(|context| {
            for (address, event) in &mut events {
                if let Poll::Ready(event) = event.as_mut().poll(context) {
                    return Poll::Ready((*address, event));
                }
            }
            Poll::Pending
        });
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        let (address, event) = tokio::select! {
            first = first => first,
            () = due => return Ok(()),
        };
        drop(events);
        match event {
            Event::Made(Ok(connection)) => {
                if let Some(link) = self.links.get_mut(&address) {
                    link.way = Way::Made(connection);
                }
                Ok(())
            }
            Event::Made(Err(error)) | Event::Heard(Err(error)) => self.lost(address, error),
            Event::Heard(Ok(heard)) => self.take(address, heard),
        }
    }

    fn take(&mut self, address: SocketAddr, heard: Heard) -> Result<(), SubscribeError> {
        let (request, is_pushed) = match &heard {
            Heard::Records(request, ..) => (*request, true),
            Heard::Refused(request, _) => (*request, false),
            _ => return Ok(()),
        };
        let Some(link) = self.links.get_mut(&address) else { return Ok(()) };
        // What is not its any more was on its way when it ended the subscription.
        let Some(&shard) = link.shards.get(&request) else { return Ok(()) };
        let Some(Followed { cursor, .. }) = self.cursors.get_mut(&shard) else { return Ok(()) };
        if is_pushed {
            link.backoff.reset();
        }
        let had_something = cursor.has_something_to_tell();
        let outcome = match (heard, link.connection()) {
            (Heard::Records(_, result, frames), Some(connection)) => {
                cursor.take_records(&result, &frames, connection);
                Ok(())
            }
            (Heard::Refused(_, failure), _) => cursor.take_failure(failure),
            _ => Ok(()),
        };
        if !cursor.is_open() {
            link.shards.remove(&request);
        }
        if cursor.wants_more() {
            self.unopened.insert(shard);
        }
        if !had_something && cursor.has_something_to_tell() {
            self.ready.push_back(shard);
        }
        outcome
    }

    /// A link is lost, or could not be made: it is made again after a pause, and its shards go on where they were.
    fn lost(&mut self, address: SocketAddr, error: ConnectError) -> Result<(), SubscribeError> {
        let Some(link) = self.links.get_mut(&address) else { return Ok(()) };
        for (_, shard) in std::mem::take(&mut link.shards) {
            if let Some(Followed { cursor, .. }) = self.cursors.get_mut(&shard) {
                cursor.rewind();
                self.unopened.insert(shard);
            }
        }
        let pause = link.backoff.pause_after(error.fault());
        link.way = make(pause.unwrap_or_default(), address, &self.options);
        if pause.is_none() {
            link.backoff.reset();
            return Err(SubscribeError::Connection(error));
        }
        Ok(())
    }
}

fn make(pause: Duration, owner: SocketAddr, options: &Options) -> Way {
    let options = options.clone();
    Way::Making(Box::pin(async move {
        sleep(pause).await;
        // The owner may listen elsewhere after a restart.
        Connection::open_any(Some(owner), &options).await.map(Box::new)
    }))
}

impl Link {
    fn new(owner: SocketAddr, options: &Options) -> Link {
        let backoff = Backoff::new(options.patience);
        Link { way: make(Duration::ZERO, owner, options), backoff, shards: BTreeMap::new() }
    }

    fn connection(&mut self) -> Option<&mut Connection> {
        match &mut self.way {
            Way::Made(connection) => Some(connection),
            Way::Making(_) => None,
        }
    }

    async fn event(&mut self) -> Event {
        match &mut self.way {
            Way::Making(connection) => Event::Made(connection.await),
            Way::Made(connection) => Event::Heard(connection.next().await),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("shards", &self.shards).finish_non_exhaustive()
    }
}
