//! How other threads reach a reactor: calls in a bounded queue, and a bell.
//!
//! A call is one message, whatever it carries: an append is a whole batch. Each is answered once, on the reactor's thread,
//! by a function that must be short and may not block. Where it is dropped instead, the reactor has ended.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use crossbeam::queue::ArrayQueue;
use frame::proto::{ErrorCode, Failure, ListStreams, Read, ReadResult, ShardDescription, Subscribe};
use frame::{Quotas, RequestId, Retention, Sequence, Settings, ShardId, StreamId};

use crate::clock::{Clock, Time};
use crate::demand::Demand;
use crate::exchange::{Exchange, Wake};
use crate::limits::{CALLS_WAITING_MAX, LOOKS_WAITING_MAX};
use crate::token::Peer;
use crate::vitals::Vitals;

/// What a thread asks of a reactor.
#[derive(Debug)]
pub enum Call {
    /// Makes a stream, which must not exist.
    CreateStream {
        /// Its name.
        name: String,
        /// How many shards.
        shards: u32,
        /// What each of them takes in and gives out, and what is kept.
        settings: Settings,
        /// What is kept beside it, as [`Call::Annotate`] says.
        annotation: Arc<[u8]>,
    },
    /// Keeps other bytes beside a stream, or beside the log. They have no meaning here, and go with the stream.
    Annotate {
        /// The stream's number, which no other stream of its name has; the log without.
        stream: Option<StreamId>,
        /// At most [`crate::limits::ANNOTATION_BYTES_MAX`].
        annotation: Arc<[u8]>,
    },
    /// What is kept beside the log.
    Annotation,
    /// Gives a stream other quotas.
    SetQuotas {
        /// Its name.
        name: String,
        /// What each of its shards takes in and gives out a second.
        quotas: Quotas,
    },
    /// Splits an open shard.
    SplitShard {
        /// The stream's name.
        name: String,
        /// Which.
        shard: ShardId,
        /// The first hash key of the second child.
        at: u128,
    },
    /// Merges two open shards whose hash ranges meet.
    MergeShards {
        /// The stream's name.
        name: String,
        /// One of them.
        shard: ShardId,
        /// The other.
        adjacent: ShardId,
    },
    /// Moves an open shard to another reactor.
    MoveShard {
        /// The stream's name.
        name: String,
        /// Which.
        shard: ShardId,
        /// The number of the reactor.
        reactor: u32,
    },
    /// Has more or less of a stream kept. What has expired stays gone.
    SetRetention {
        /// Its name.
        name: String,
        /// What is kept of it.
        retention: Retention,
    },
    /// Has a stream's records kept for so long; `None`: for ever. What limits it in bytes stays as it is.
    SetRetentionPeriod {
        /// Its number, as [`Call::Annotate`] says.
        stream: StreamId,
        /// How long, in seconds.
        seconds: Option<NonZeroU32>,
    },
    /// Has a stream's records encrypted from when that is stored on, or not any more. What is stored stays as it is.
    Encrypt {
        /// Its number, as [`Call::Annotate`] says.
        stream: StreamId,
        /// How the key is named, in at most [`crate::limits::KEY_NAME_BYTES_MAX`]: one of [`crate::encryption::Keyring`].
        key: Option<Arc<str>>,
    },
    /// Removes a stream. What is on its way to it is stored, and found by nobody.
    DeleteStream {
        /// Its name.
        name: String,
    },
    /// Tells of a stream and some of its shards.
    DescribeStream {
        /// Its name.
        name: String,
        /// The first shard wanted, by how far its number is from that of the stream's first.
        from: u32,
        /// How many at most.
        limit: u32,
    },
    /// Streams after a name.
    ListStreams(ListStreams),
    /// Tells what one reactor was asked to store in a stream's shards since the last time, and has it counted from here on.
    Demand {
        /// The stream's name.
        name: String,
        /// The number of the reactor: each knows what came to it, for whichever shard.
        reactor: usize,
    },
    /// Appends records' frames, made by [`frame::parts::encode`], one behind the other. A large record that finds no room is
    /// refused as one that comes too early.
    Append {
        /// The stream's name.
        name: String,
        /// The frames.
        frames: Vec<u8>,
    },
    /// Reads from a place on.
    Read {
        /// What.
        read: Read,
        /// At most so many frames: what is not given does not count as read.
        frames_max: u32,
        /// What of it the shard's quotas count.
        counts: Counts,
    },
    /// Bytes that were counted as read are given to nobody.
    GiveBack {
        /// Of which stream.
        stream: StreamId,
        /// And of which of its shards.
        shard: ShardId,
        /// How many of data and keys.
        bytes: u64,
    },
    /// Has a thread pushed what a shard takes in, as a client that subscribes is.
    Follow {
        /// To what, from where, and how much may be pushed at first.
        subscribe: Subscribe,
        /// Takes it.
        hear: Hear,
    },
    /// A follower took what it heard last. Until then it hears nothing more.
    Took {
        /// Whose call it is.
        follower: Follower,
        /// Bytes that may be pushed to it, counted from its beginning.
        granted: u64,
    },
    /// A follower wants no more.
    Unfollow(Follower),
}

/// What quotas count of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Counts {
    /// It is one of the reads that they allow, and has its bytes.
    Read,
    /// Its bytes alone: it is part of a read that was counted.
    Bytes,
    /// Nothing: it looks for a place.
    #[default]
    Nothing,
}

/// A thread that is pushed a shard's records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Follower {
    pub(crate) door: usize,
    pub(crate) peer: Peer,
}

impl Follower {
    /// The request that it is pushed under.
    pub const REQUEST: RequestId = RequestId(1);
}

/// Takes what is pushed to a follower: whole messages of the native protocol, as [`frame::proto::Client::inside`] reads them. It
/// is called on a reactor's thread, must be short, may not block, and says whether anybody listens still. Where it is dropped,
/// nothing more comes.
pub struct Hear(Box<dyn FnMut(Vec<u8>) -> bool + Send>);

impl Hear {
    /// Has `hear` called.
    pub fn new(hear: impl FnMut(Vec<u8>) -> bool + Send + 'static) -> Hear {
        Hear(Box::new(hear))
    }

    pub(crate) fn hear(&mut self, messages: Vec<u8>) -> bool {
        (self.0)(messages)
    }
}

impl fmt::Debug for Hear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hear")
    }
}

/// What became of a call.
#[derive(Debug)]
pub enum Answer {
    /// The stream, and those of its shards that were asked for.
    Stream(Stream, Vec<ShardDescription>),
    /// What was asked of the stream's shards.
    Demand(Demand),
    /// The stream is no more.
    Deleted,
    /// The shard's records are pushed from now on; or, as the first message says, are not.
    Following(Follower),
    /// There is nothing to say.
    Done,
    /// What is kept beside the log.
    Annotation(Arc<[u8]>),
    /// Streams in the order of their names, and whether there are more.
    Streams(Vec<Stream>, bool),
    /// The stream appended to, and an outcome for each frame, in their order.
    Appended(Stream, Vec<Outcome>),
    /// The records read: frames, one behind the other.
    Records(ReadResult, Vec<u8>),
    /// What happened, and what to do.
    Failed(Failure),
}

/// A stream without its shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    /// Its number.
    pub stream: StreamId,
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// The first of its shards; the others that it was made with follow.
    pub first_shard: ShardId,
    /// How many it was made with.
    pub shards: u32,
    /// How many are open now: neither split nor merged.
    pub open_shards: u32,
    /// What each of them takes in and gives out a second.
    pub quotas: Quotas,
    /// What is kept of it.
    pub retention: Retention,
    /// What is kept beside it.
    pub annotation: Arc<[u8]>,
    /// How the key is named that its records are encrypted with, if they are.
    pub encryption: Option<Arc<str>>,
}

/// What became of one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is on stable storage.
    Durable {
        /// Where.
        shard: ShardId,
        /// When that shard was made, in milliseconds since 1970.
        made_ms: u64,
        /// Its number there.
        sequence: Sequence,
        /// When it arrived, in milliseconds since 1970.
        arrival_ms: u64,
    },
    /// It is not stored.
    Refused(ErrorCode),
    /// It is not stored, as this shard has taken in what it takes a second.
    Throttled(ErrorCode, ShardId),
}

/// Takes what a reactor looks like.
pub(crate) type LookReply = Box<dyn FnOnce(Vitals) + Send>;

/// Takes the answer to a call.
pub(crate) type Reply = Box<dyn FnOnce(Answer) + Send>;

/// A call in progress. Reused.
#[derive(Default)]
pub(crate) struct Caller {
    pub(crate) reply: Option<Reply>,
    /// What an append goes to.
    pub(crate) stream: Option<Stream>,
    /// Where its frames are kept.
    pub(crate) batch: Option<u16>,
}

/// Who asked, and is owed the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asker {
    /// A native connection, by a request of this number.
    Peer(Peer, RequestId),
    /// A call: its reply's slot.
    Call(u32),
    /// Another reactor, which handed over a batch: its slot.
    Reactor(u32),
}

impl Default for Asker {
    fn default() -> Asker {
        Asker::Peer(Peer::default(), RequestId(0))
    }
}

/// What other threads ask of a reactor and no turn has taken up. Handles keep it too, and may outlive the reactor.
pub(crate) struct Waiting {
    pub(crate) calls: ArrayQueue<(Call, Reply)>,
    pub(crate) looks: ArrayQueue<LookReply>,
    is_closed: AtomicBool,
}

impl Waiting {
    fn new() -> Waiting {
        let (calls, looks) = (ArrayQueue::new(CALLS_WAITING_MAX), ArrayQueue::new(LOOKS_WAITING_MAX));
        Waiting { calls, looks, is_closed: AtomicBool::new(false) }
    }

    /// From here on nobody takes anything up: what waits is dropped, and what comes.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.drop_all();
    }

    /// Something was put here. Looked at afterwards: who closes it later finds that.
    fn added(&self) {
        fence(Ordering::SeqCst);
        if self.is_closed.load(Ordering::SeqCst) {
            self.drop_all();
        }
    }

    fn drop_all(&self) {
        while self.calls.pop().is_some() {}
        while self.looks.pop().is_some() {}
    }
}

/// A reactor's own [`Waiting`]: closed with it, however that ends.
pub(crate) struct OwnWaiting(pub(crate) Arc<Waiting>);

impl OwnWaiting {
    pub(crate) fn new() -> OwnWaiting {
        OwnWaiting(Arc::new(Waiting::new()))
    }
}

impl Deref for OwnWaiting {
    type Target = Waiting;

    fn deref(&self) -> &Waiting {
        &self.0
    }
}

impl Drop for OwnWaiting {
    fn drop(&mut self) {
        self.close();
    }
}

/// The reactor has more calls waiting than it takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueFull;

impl fmt::Display for QueueFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{CALLS_WAITING_MAX} calls wait for the reactor; try again")
    }
}

impl std::error::Error for QueueFull {}

/// How one reactor is reached.
#[derive(Clone)]
struct Door {
    waiting: Arc<Waiting>,
    wake: Wake,
}

impl Door {
    fn ring(&self) {
        self.waiting.added();
        (self.wake)();
    }
}

/// Reaches reactors from any thread: the one that it was made by, or all, once those of all are joined. Clones reach the same.
#[derive(Clone)]
pub struct Handle {
    own: usize,
    exchange: Arc<Exchange>,
    clock: Clock,
    doors: Vec<Door>,
    /// Appends so far: their records may be anybody's, so they are taken in by one reactor after the other.
    appends: Arc<AtomicUsize>,
}

impl Handle {
    pub(crate) fn new(
        own: usize,
        (exchange, clock): (Arc<Exchange>, Clock),
        waiting: Arc<Waiting>,
        wake: Wake,
    ) -> Handle {
        Handle { own, exchange, clock, doors: vec![Door { waiting, wake }], appends: Arc::default() }
    }

    /// Joins the handles of all reactors of a process, in the order of their seats.
    ///
    /// # Panics
    /// If it is not one of each.
    pub fn join(handles: Vec<Handle>) -> Handle {
        let numbers = handles.iter().map(|handle| handle.own);
        let (exchange, clock) = (Arc::clone(&handles[0].exchange), handles[0].clock.clone());
        assert!(numbers.eq(0..exchange.reactors()), "there is a handle of every reactor");
        let doors = handles.into_iter().flat_map(|handle| handle.doors).collect();
        Handle { own: 0, exchange, clock, doors, appends: Arc::default() }
    }

    /// Makes a call; `reply` gets the answer, on a reactor's thread.
    ///
    /// # Errors
    /// [`QueueFull`]: nothing happens.
    pub fn call(&self, call: Call, reply: impl FnOnce(Answer) + Send + 'static) -> Result<(), QueueFull> {
        let at = match &call {
            _ if self.doors.len() == 1 => 0,
            Call::Read { read, .. } => self.exchange.owner(read.shard),
            Call::GiveBack { shard, .. } => self.exchange.owner(*shard),
            Call::Follow { subscribe, .. } => self.exchange.owner(subscribe.shard),
            Call::Took { follower, .. } | Call::Unfollow(follower) => follower.door,
            Call::Demand { reactor, .. } => *reactor % self.doors.len(),
            Call::Append { .. } => self.appends.fetch_add(1, Ordering::Relaxed) % self.doors.len(),
            Call::CreateStream { .. }
            | Call::Annotate { .. }
            | Call::Annotation
            | Call::SetQuotas { .. }
            | Call::SplitShard { .. }
            | Call::MergeShards { .. }
            | Call::MoveShard { .. }
            | Call::SetRetention { .. }
            | Call::SetRetentionPeriod { .. }
            | Call::Encrypt { .. }
            | Call::DeleteStream { .. }
            | Call::DescribeStream { .. }
            | Call::ListStreams(_) => 0,
        };
        let door = &self.doors[at];
        door.waiting.calls.push((call, Box::new(reply))).map_err(|_| QueueFull)?;
        door.ring();
        Ok(())
    }

    /// How many reactors it reaches.
    pub fn reactors(&self) -> usize {
        self.doors.len()
    }

    /// What time it is for the log, by the wall clock and the boot clock that its reactors go by, in milliseconds.
    pub fn time(&self, wall_ms: u64, boottime_ms: u64) -> Time {
        self.clock.time(wall_ms, boottime_ms)
    }

    /// Looks at a reactor; `reply` gets what it looks like, on its thread. It is answered in the reactor's next turn, whatever
    /// calls wait.
    ///
    /// # Errors
    /// [`QueueFull`]: nothing happens. Then the reactor has not had a turn since the first of those that wait.
    pub fn look(&self, reactor: usize, reply: impl FnOnce(Vitals) + Send + 'static) -> Result<(), QueueFull> {
        let door = self.doors.get(reactor).ok_or(QueueFull)?;
        door.waiting.looks.push(Box::new(reply)).map_err(|_| QueueFull)?;
        door.ring();
        Ok(())
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting: usize = self.doors.iter().map(|door| door.waiting.calls.len()).sum();
        write!(f, "Handle({waiting} calls waiting)")
    }
}
