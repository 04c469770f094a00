//! One native connection: what it has sent and was not parsed, what it is owed, what is on its way to it.
//!
//! ```text
//!   accepted -> [live] --end of stream--> [half-closed: answers go on] --all answered--> [closing] -> gone
//!                  \--violation--> [last words: it is answered, then told why] --sent-----/
//! ```

use std::collections::{BTreeMap, VecDeque};

use frame::RequestId;
use frame::proto::{Ack, Server, Span, Violation};
use io::{Io, Received, SocketId};

use crate::appends::Appends;
use crate::backlog::Backlog;
use crate::handle::{Asker, Hear};
use crate::limits::{
    INBOX_BUFFERS_MAX, OUTGOING_BYTES_MAX, PARKED_PER_CONNECTION_MAX, PUSH_WAITING_BYTES_MAX, READS_PER_CONNECTION_MAX,
};
use crate::outgoing::Outgoing;
use crate::token::Peer;

/// An append whose records are arriving.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arriving {
    /// Its slot among the appends.
    pub(crate) append: u32,
    /// The stream, or nothing if there is none of that number.
    pub(crate) stream: Option<frame::StreamId>,
    /// Records so far, those in parts once they are whole.
    pub(crate) records: u32,
    /// The large record whose parts are arriving.
    pub(crate) large: Option<u32>,
}

/// What there is no room for yet.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// The first part of a large record: gathered, or in the first buffer of the inbox. If nothing, a frame is to gather.
    pub(crate) part: Option<Span>,
    /// What the record takes, or the frame.
    pub(crate) bytes: usize,
}

/// For whom a guest asks.
#[derive(Debug)]
pub(crate) enum Host {
    /// A connection of another reactor.
    Reactor(usize, Peer),
    /// A thread, which is pushed a shard's records.
    Thread(Hear),
}

/// How far a connection's end has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Phase {
    /// Nobody uses the slot.
    #[default]
    Free,
    /// Both directions are open.
    Live,
    /// The client sends no more; it is owed answers.
    HalfClosed,
    /// The client broke the protocol: no more is heard, and it is told why after all that it is owed.
    LastWords,
    /// The socket is being closed.
    Closing,
}

/// A connection's state. Reused.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    pub(crate) phase: Phase,
    pub(crate) life: u16,
    pub(crate) socket: Option<SocketId>,
    pub(crate) server: Server,
    /// Received and not parsed to the end; `at` counts in the first.
    pub(crate) inbox: VecDeque<Received>,
    pub(crate) at: usize,
    pub(crate) arriving: Option<Arriving>,
    /// What waits for room. Nothing more is heard until it has some.
    pub(crate) held: Option<Held>,
    /// Room that the frame has which is gathering, and since when.
    pub(crate) gathering: Option<(usize, u64)>,
    /// Appends begun and not acknowledged.
    pub(crate) appends: usize,
    /// Read requests not answered.
    pub(crate) reads: usize,
    /// Appends that are done, in that order.
    pub(crate) done: Vec<u32>,
    pub(crate) outgoing: Outgoing,
    /// Of it, what counts among what all clients have not taken.
    pub(crate) counted_bytes: usize,
    /// Why the connection ends, until it is said.
    last_words: Option<Violation>,
    /// What is pushed to it: the slot of each subscription, by its request.
    pub(crate) subscriptions: BTreeMap<RequestId, u32>,
    /// Those that are due, oldest first, and some that have ended since.
    pub(crate) due: VecDeque<u32>,
    /// How many of its subscriptions are parked.
    pub(crate) parked: usize,
    /// Stream commands that it asked for and that are on their way to the disk.
    pub(crate) commands: usize,
    /// Whether it waits for its turn to be pushed to.
    pub(crate) has_turn: bool,
    pub(crate) receiving: bool,
    /// When it began, of one that has to prove that it knows the secret.
    pub(crate) began_ns: u64,
    /// The reactor's turn in which it was last heard.
    pub(crate) heard: u64,
    /// Whether the receive was told to end, and has not.
    pub(crate) is_stopping: bool,
    /// Whether it is on the reactor's list of connections to flush, or to parse again.
    pub(crate) is_dirty: bool,
    pub(crate) is_stalled: bool,
    /// Whether it is not heard until it has taken some of its answers.
    pub(crate) is_blocked: bool,
    /// Whether it is counted among those that append.
    pub(crate) is_appending: bool,
    /// Subscriptions that another reactor serves, and which; what reactors were asked anything, a bit each; and which of them
    /// wait until what they said last was taken.
    pub(crate) abroad: BTreeMap<RequestId, usize>,
    pub(crate) visited: u64,
    pub(crate) untaken: u64,
    /// Of a guest: for whom it asks. It has no socket.
    pub(crate) host: Option<Host>,
    /// Questions of its that were answered, and subscriptions that have ended, since its host was told.
    pub(crate) answered: usize,
    pub(crate) ended: Vec<RequestId>,
    /// Whether its host was told something that its client has not taken yet.
    pub(crate) is_telling: bool,
    /// Whether its host is to be told something once the way there is free.
    pub(crate) is_untold: bool,
}

impl Connection {
    /// Begins a new life in this slot; without a socket, that of a guest.
    pub(crate) fn begin(&mut self, socket: Option<SocketId>) {
        self.phase = Phase::Live;
        self.life = self.life.wrapping_add(1);
        self.socket = socket;
        self.server = Server::new();
        self.began_ns = 0;
        self.at = 0;
        (self.arriving, self.held, self.gathering) = (None, None, None);
        (self.appends, self.reads, self.heard) = (0, 0, 0);
        self.done.clear();
        (self.parked, self.commands, self.has_turn) = (0, 0, false);
        self.last_words = None;
        (self.receiving, self.is_stopping) = (false, false);
        (self.is_dirty, self.is_stalled, self.is_blocked, self.is_appending) = (false, false, false, false);
        self.abroad.clear();
        (self.visited, self.untaken, self.host) = (0, 0, None);
        self.ended.clear();
        (self.answered, self.is_telling, self.is_untold) = (0, false, false);
    }

    /// Whether it began before that time, and has not proven what it has to.
    pub(crate) fn is_unproven_since(&self, limit_ns: u64) -> bool {
        self.phase == Phase::Live && self.server.awaits_proof() && self.began_ns < limit_ns
    }

    /// One of its subscriptions has ended: its host is told, if it is a guest.
    pub(crate) fn note_ended(&mut self, request: RequestId) {
        if self.host.is_some() {
            self.ended.push(request);
        }
    }

    /// Questions that were not answered, commands among them.
    pub(crate) fn owed(&self) -> usize {
        self.reads + self.commands
    }

    /// Whether it has so many answers to take that it is not heard until it took some.
    pub(crate) fn is_behind(&self, backlog: &Backlog) -> bool {
        self.outgoing.bytes() > OUTGOING_BYTES_MAX
            || self.outgoing.copied_bytes() > backlog.share()
            || self.reads >= READS_PER_CONNECTION_MAX
    }

    /// Whether nothing is made for it, as too much waits for all guests, until its client took what it was told last. What is made for
    /// one that waits for nothing goes at once: so whoever takes goes on, whatever others leave.
    pub(crate) fn must_wait(&self, for_guests: &Backlog) -> bool {
        (self.is_telling || self.is_untold) && for_guests.is_over()
    }

    /// Whether a guest's host is to be told something.
    pub(crate) fn has_news(&self) -> bool {
        self.outgoing.bytes() > 0 || self.answered > 0 || !self.ended.is_empty()
    }

    /// Whether subscriptions are due, and may be pushed.
    pub(crate) fn may_be_pushed_to(&self, backlog: &Backlog, for_guests: &Backlog) -> bool {
        !self.due.is_empty()
            && !self.must_wait(for_guests)
            && self.parked < PARKED_PER_CONNECTION_MAX
            && self.outgoing.bytes() <= PUSH_WAITING_BYTES_MAX
            && self.outgoing.copied_bytes() <= backlog.share()
    }

    /// Whether so much of its input waits to be parsed, or for room, that no more is received.
    pub(crate) fn is_full(&self) -> bool {
        self.held.is_some() || self.inbox.len() > INBOX_BUFFERS_MAX
    }

    /// Whether it is owed nothing and nothing is on its way to it.
    pub(crate) fn is_served(&self) -> bool {
        self.is_owed_nothing() && self.outgoing.is_empty()
    }

    fn is_owed_nothing(&self) -> bool {
        self.appends + self.reads + self.commands + self.done.len() == 0
    }

    /// The client broke the protocol. Said once it is owed nothing: nothing comes after it.
    pub(crate) fn end_with(&mut self, violation: &Violation) {
        self.phase = Phase::LastWords;
        self.last_words = Some(violation.clone());
    }

    /// Whether it was said why the connection ends: nothing comes after it.
    pub(crate) fn has_said_last_words(&self) -> bool {
        self.phase == Phase::LastWords && self.last_words.is_none()
    }

    /// Says why the connection ends, if it is time.
    pub(crate) fn say_last_words(&mut self) {
        if self.is_owed_nothing()
            && let Some(violation) = self.last_words.take()
        {
            Server::violation(self.outgoing.behind_records(), &violation);
        }
    }

    /// Whether every request that came whole was answered, and the answers are on their way or gone.
    pub(crate) fn is_answered(&self) -> bool {
        let arriving = usize::from(self.arriving.is_some());
        self.appends <= arriving && self.reads == 0 && self.done.is_empty() && self.outgoing.is_empty()
    }

    /// Acknowledges the appends that are done, as many in one message as fit.
    /// From now on the client may have `window_bytes` unacknowledged.
    pub(crate) fn acknowledge(&mut self, appends: &mut Appends, window_bytes: u64) {
        let mut done = std::mem::take(&mut self.done);
        let mut rest = &done[..];
        while !rest.is_empty() {
            let out = &mut self.outgoing.control;
            let fitting = ack_one_message(out, &mut self.server, appends, rest, window_bytes);
            rest = &rest[fitting..];
        }
        for number in done.drain(..) {
            appends.release(number);
            self.appends -= 1;
        }
        self.done = done;
    }

    /// Starts the next send, if none is in flight.
    pub(crate) fn flush(&mut self, io: &mut impl Io, peer: Peer) {
        if let Some(socket) = self.socket.filter(|_| self.phase != Phase::Closing) {
            self.outgoing.flush(io, socket, peer);
        }
    }
}

/// Writes one Ack with as many of `done` as fit; how many that were. What is unknown is left out: its connection is told
/// by an error.
fn ack_one_message(
    out: &mut Vec<u8>,
    server: &mut Server,
    appends: &Appends,
    done: &[u32],
    window_bytes: u64,
) -> usize {
    let mut room = frame::limits::ACK_BYTES_MAX - frame::proto::HEADER_BYTES - frame::proto::ACK_FIXED_BYTES;
    let mut fitting = 0;
    for &number in done {
        let append = appends.find(number);
        let bytes = frame::proto::ACK_ENTRY_BYTES + append.results.len() * frame::proto::ACK_RESULT_BYTES;
        if bytes > room {
            break;
        }
        room -= bytes;
        fitting += 1;
        server.settled(append.bytes);
    }
    let mut ack = Ack::begin(out, server.grant(window_bytes));
    for &number in &done[..fitting] {
        let append = appends.find(number);
        if let Asker::Peer(_, request) = append.asker
            && !append.unknown
        {
            ack.batch(request, append.results.iter().copied());
        }
    }
    ack.finish();
    fitting
}
