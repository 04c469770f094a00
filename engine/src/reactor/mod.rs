//! The reactor: one thread, one loop, one shard set, one journal.
//!
//! A turn reaps completions, runs what became ready and submits, with one system call:
//!
//! ```text
//!   turn: completions -> parse inputs -> close commit batches -> pushes -> reads -> acknowledgements and answers out
//! ```
//!
//! `connections` moves bytes, `input` parses them and sends records on, `parts` those in parts, `requests` answers what is not an append, `commits`
//! closes batches and settles them, `reshard` splits and merges shards, `moves` moves them, `forget` forgets those that have expired, `calls` takes
//! up what other threads ask through a handle, `push` sends subscribers what has become durable, `backlog` bounds what clients have not taken, `shutdown` ends. Owned by one thread; others reach it through
//! handles and the waker of its `Io` only.

mod announce;
mod backlog;
mod begin;
mod calls;
mod commits;
mod compact;
mod connections;
mod followers;
mod forget;
mod guests;
mod handoff;
mod input;
mod look;
mod moves;
mod parts;
mod push;
mod requests;
mod reshard;
mod shutdown;
mod space;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use frame::proto::{ErrorCode, Failure, Reactors, Secret, Server};
use frame::{Epoch, JournalNumber, RequestId, Sequence, ShardId, StreamId};
use io::{Completion, DirId, FileId, FileOp, Io, ListenerId, Op, Payload, Received, SocketId, Wait};

use crate::appends::Appends;
use crate::backlog::Backlog;
use crate::buckets::{Buckets, Throttled};
use crate::catalog::{Catalog, Command, Encryption, GO_ON_ROWS_MAX, GoOn};
use crate::clock::Clock;
use crate::compaction::Compactor;
use crate::connection::{Connection, Phase};
use crate::damage::Damage;
use crate::demand::Watch;
use crate::encryption::Vault;
use crate::gates::Gates;
use crate::handle::{Asker, Caller, Counts, OwnWaiting};
use crate::intake::{CATALOG_APPEND, Intake};
use crate::journal::{Bounds, Drops, Journal, Refusals, Seal, Sealed, SegmentId, Shortage};
use crate::limits::{
    BATCH_BYTES_TARGET, COMPLETIONS_ROOM, IDLE_MARK_NS, Memory, READ_WINDOWS_BYTES_MAX, READ_WINDOWS_SHARE,
    WRITES_IN_FLIGHT_MAX, ZERO_AFTER_IDLE_NS,
};
use crate::owners::Owners;
use crate::peers::Peers;
use crate::reads::{Answer, Answered, Key, Reads, Sight, Wanted};
use crate::recovery::{self, Directories, OpenError, Recovered, Seat};
use crate::router::Router;
use crate::scheduler::Scheduler;
use crate::shards::Shards;
use crate::slots::Slots;
use crate::space::Space;
use crate::subscriptions::Subscriptions;
use crate::superblock::Store;
use crate::token::{self, Kind, Peer};
use crate::vitals::Times;
use announce::Announced;
use handoff::Incoming;
use moves::Moves;
use reshard::Reshardings;

/// What is said of a stream that is gone.
const DELETED: &str = "the stream was deleted meanwhile";

/// What is said of records when a write failed.
const UNKNOWN_FATE: &str = "a write failed; whether these records are stored is known after a restart";

/// How a data directory is run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Bytes of a segment file, for a new data directory: a multiple of 4096 from 4 MiB to 1 GiB.
    pub segment_bytes: u32,
    /// The memory budget, in bytes.
    pub memory_bytes: usize,
    /// What all segments together may take, in bytes. Past it appends are refused.
    pub disk_bytes: u64,
    /// Files that the process may have open, whatever they are. Shards are not moved once segments might need half of them.
    pub files_max: usize,
    /// Segments to keep ready ahead of the open one.
    pub segments_ready: usize,
    /// Whether opening waits until all of them are filled with zeros.
    pub prewrite: bool,
    /// Writes in flight at once, 1 to [`WRITES_IN_FLIGHT_MAX`].
    pub writes_in_flight: usize,
    /// A commit batch closes at this size, unless one frame alone is larger.
    pub batch_bytes: usize,
    /// Whether the wall clock is believed, however far it is from what it should be: else nothing expires.
    pub accept_clock: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            segment_bytes: 256 << 20,
            memory_bytes: 512 << 20,
            disk_bytes: u64::MAX,
            files_max: usize::MAX,
            segments_ready: 2,
            prewrite: false,
            writes_in_flight: WRITES_IN_FLIGHT_MAX,
            batch_bytes: BATCH_BYTES_TARGET,
            accept_clock: false,
        }
    }
}

/// What the reactor wants of its caller.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Another turn.
    Running,
    /// The clean shutdown is complete; nothing is left to do.
    Stopped,
}

/// What has happened since the start. Counts only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Frames that became durable: records, and parts of records.
    pub records: u64,
    /// Bytes of batches written, padding included.
    pub written_bytes: u64,
    /// Batches written, marks included.
    pub batches: u64,
    /// Records refused.
    pub refused: u64,
    /// How often quotas have said no. Records among it are among those refused.
    pub throttled: Throttled,
    /// Connections accepted.
    pub connections: u64,
    /// Records that were handed to the reactors that own their shards.
    pub handed: u64,
    /// How often input had to wait as another reactor had not settled enough of what it was handed.
    pub held_up: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Why the journal refuses appends, if it failed: the errno, or 0 for a short write.
    pub poisoned: Option<i32>,
}

/// A command on its way to the disk, and who waits for it.
#[derive(Debug)]
struct Pending {
    command: Command,
    waiters: Vec<Asker>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Running,
    Stopping { deadline_ns: u64 },
    Stopped,
}

/// One reactor.
pub struct Reactor<I: Io> {
    io: I,
    config: Config,
    owners: Owners,
    connections: Slots<Connection>,
    router: Router,
    gates: Gates,
    buckets: Buckets,
    watch: Watch,
    intake: Intake,
    appends: Appends,
    /// Connections with appends that are not acknowledged.
    appending: u64,
    /// What clients have not taken yet; and what waits for those of other reactors, and for threads that follow shards, behind what
    /// they were told last.
    backlog: Backlog,
    for_guests: Backlog,
    journal: Journal,
    shards: Shards,
    catalog: Catalog,
    /// Commands on their way to the disk, in their order, and a copy of the catalog that they have been applied to.
    pending: std::collections::VecDeque<Pending>,
    planned: Catalog,
    /// Durable commands that not all reactors know yet, and how many there were.
    announcing: std::collections::VecDeque<Announced>,
    announced: u64,
    /// Splits, merges and moves, and what comes here by the latter.
    reshardings: Reshardings,
    moves: Moves,
    /// The other reactors, what they handed over, and clients of theirs.
    peers: Peers,
    incoming: Slots<Incoming>,
    guests: BTreeMap<(usize, Peer), Peer>,
    /// Threads that are pushed records, by the guests that stand for them.
    followers: BTreeSet<Peer>,
    /// Of journals that no reactor writes any more: to be written once all reactors have begun.
    last_seals: Vec<Seal>,
    vault: Vault,
    reads: Reads,
    scheduler: Scheduler,
    subscriptions: Subscriptions,
    /// What other threads ask, once any may; and calls in progress.
    waiting: Option<OwnWaiting>,
    callers: Slots<Caller>,
    commit_times: Times,
    damage: Damage,
    /// The superblock, which the first reactor keeps.
    store: Option<Store>,
    clock: Clock,
    /// When the superblock is told the time again.
    note_at_ns: u64,
    /// What of sealed segments lives, the one whose footer is being read, and those on their way off the disk.
    space: Space,
    looking_at: Option<SegmentId>,
    drops: Drops,
    compactor: Compactor,
    directories: Arc<Directories>,
    /// Whether records have found no room, and none since.
    is_full: bool,
    /// Which times of that are logged.
    fullness: Refusals,
    fullness_is_told: bool,
    epoch: Epoch,
    listener: Option<ListenerId>,
    accepting: bool,
    accept_after_ns: u64,
    connections_check_ns: u64,
    /// What clients are told of this server when they connect.
    features: u64,
    /// What clients have to know, if anything.
    secret: Option<Secret>,
    told_reactors: Reactors,
    /// Whether another reactor has ended before its time.
    is_left_alone: bool,
    life: Life,
    stats: Stats,
    last_append_ns: u64,
    /// When a batch was written that had anything else than a part of a large record.
    last_ordinary_ns: u64,
    /// Whether the next part gave way to a batch without one.
    part_gave_way: bool,
    idle_since_ns: Option<u64>,
    // Lists that are filled and emptied within a turn.
    completions: Vec<Completion>,
    dirty: Vec<Peer>,
    stalled: Vec<Peer>,
    starved: Vec<Peer>,
    answered: Vec<Answered>,
    due: Vec<(u32, Peer)>,
    /// The append of each record that waited and was refused.
    refused: Vec<u32>,
}

impl<I: Io> Reactor<I> {
    /// Has clients told that what is acknowledged need not survive a power cut.
    pub fn tell_not_durable(&mut self) {
        self.features |= frame::proto::FEATURE_NOT_DURABLE;
    }

    /// Has clients told that plain threads do what io_uring does elsewhere: measurements differ.
    pub fn tell_threads(&mut self) {
        self.features |= frame::proto::FEATURE_THREADS;
    }

    /// Hears only clients that know this secret.
    pub fn require(&mut self, secret: Secret) {
        self.secret = Some(secret);
    }

    /// Has clients told where the reactors listen, if there are several: the first at this port, the others at those that
    /// follow.
    pub fn tell_ports(&mut self, first_port: u16) {
        let (own, count) = (self.owners.own() as u16, self.owners.reactors() as u16);
        if count > 1 {
            self.told_reactors = Reactors { own, count, first_port };
        }
    }

    /// Accepts connections from `listener` from the next turn on.
    pub fn listen(&mut self, listener: ListenerId) {
        self.listener = Some(listener);
    }

    /// The data directory in which it makes its segments.
    pub fn directory(&self) -> DirId {
        self.journal.directory()
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        let (batches, poisoned) = (self.journal.batches, self.journal.poisoned());
        Stats { batches, poisoned, throttled: self.buckets.throttled, ..self.stats }
    }

    /// The world, for those who own both.
    pub fn io(&mut self) -> &mut I {
        &mut self.io
    }

    /// Ends the reactor and gives the world back.
    pub fn into_io(self) -> I {
        self.io
    }

    /// One turn of the loop. Sleeps if there is nothing to do.
    pub fn turn(&mut self) -> Status {
        if self.life == Life::Stopped {
            return Status::Stopped;
        }
        let wait = self.wait();
        let may_sleep = self.peers.is_alone()
            || self.exchange().may_sleep(self.owners.own(), self.peers.kept(), self.journal.waits_for_flush());
        let wait = if may_sleep { wait } else { Wait::No };
        self.io.turn(wait, &mut self.completions);
        self.stats.turns += 1;
        if !self.completions.is_empty() {
            self.exchange().woke(self.owners.own());
        }
        self.reap();
        self.advance();
        if self.life == Life::Stopped { Status::Stopped } else { Status::Running }
    }

    /// How long the next turn may sleep.
    fn wait(&self) -> Wait {
        if !self.stalled.is_empty() && self.may_take_input() {
            return Wait::No;
        }
        if self.may_take_held() || self.has_call() || self.peers.may_tell() {
            return Wait::No;
        }
        if (self.may_push() || self.router.has_records()) && self.life == Life::Running {
            return Wait::No;
        }
        let moving = self.resharding_due_ns().into_iter().chain(self.arrival_due_ns());
        let mut until = moving.min().unwrap_or(u64::MAX);
        // As in `mark_when_idle`: no mark is due while records wait, for a segment say, whose completion ends the sleep.
        if self.journal.wants_mark() && self.intake.is_empty() {
            until = until.min(self.idle_since_ns.map_or(0, |since| since + IDLE_MARK_NS));
        }
        if self.journal.poisoned().is_none() {
            if let Some(retry) = self.journal.segments.retry_ns() {
                until = until.min(retry);
            }
            // Zeros wait for what is in flight, however long that takes; its completion ends the sleep.
            if self.journal.segments.wants_zeros() && self.journal.is_quiet() && self.intake.is_empty() {
                until = until.min(self.last_append_ns + ZERO_AFTER_IDLE_NS);
            }
        }
        if let Life::Stopping { deadline_ns } = self.life {
            until = until.min(deadline_ns);
        }
        if self.listener.is_some() && !self.accepting && self.life == Life::Running {
            until = until.min(self.accept_after_ns);
        }
        if self.connections.in_use() > 0 {
            until = until.min(self.connections_check_ns);
        }
        until = until.min(self.next_space_ns());
        until = until.min(self.subscriptions.next_pause_ns().unwrap_or(u64::MAX));
        if self.reads.is_waiting() {
            until = until.min(self.scheduler.retry_ns(self.io.mono_ns()).unwrap_or(u64::MAX));
        }
        if until == u64::MAX { Wait::Forever } else { Wait::Until(until) }
    }

    /// Takes up every completion.
    fn reap(&mut self) {
        let mut completions = std::mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        self.completions = completions;
        self.route();
        self.settle_commits();
    }

    fn complete(&mut self, completion: Completion) {
        if self.peers.is_alone() {
            return self.take_up(completion);
        }
        let before = self.flushing();
        self.take_up(completion);
        // Others may wait on another disk than those that go on.
        if self.flushing() < before {
            self.wake_others();
        }
    }

    fn take_up(&mut self, completion: Completion) {
        match token::kind(completion.token) {
            Kind::Commit(serial) => match self.journal.complete_write(serial, &completion) {
                Ok(Some(began_ns)) => {
                    let now_ns = self.io.mono_ns();
                    self.commit_times.record(now_ns - began_ns);
                    self.scheduler.committed(began_ns, now_ns);
                }
                Ok(None) => {}
                Err(errno) => self.poison(errno),
            },
            Kind::Receive(peer) => self.received(peer, completion),
            Kind::Send(peer) => self.sent(peer, completion),
            Kind::Accept => self.accepted(&completion),
            Kind::Close(peer) => self.closed(peer),
            Kind::Make => {
                if let Err(errno) = self.journal.complete_make(&mut self.io, &completion) {
                    self.poison(errno);
                }
            }
            Kind::Zero => {
                let idle = self.is_idle();
                if let Err(errno) = self.journal.complete_zero(&mut self.io, &completion, idle) {
                    self.poison(errno);
                }
            }
            Kind::Seal => match self.journal.complete_seal(&completion) {
                Ok(rest) => rest.into_iter().for_each(|rest| self.drops.add(rest)),
                Err(errno) => self.poison(errno),
            },
            Kind::Window(slot) => self.window_read(slot, completion),
            Kind::Look => self.footer_read(completion),
            Kind::Drop => self.dropped(&completion),
            Kind::Compact => self.compacted(completion),
            Kind::Open(number) => self.lent_is_open(number, &completion),
            Kind::Note => {
                let store = self.store.as_mut();
                if let Some(Err(errno)) = store.map(|store| store.complete_note(&mut self.io, &completion)) {
                    self.journal.poison(errno);
                    self.poison(errno);
                }
            }
            Kind::Wake | Kind::Blocking | Kind::Unknown => {}
        }
    }

    /// What reads are made with, and what they look at.
    fn reading(&mut self) -> (&mut Reads, &mut I, Sight<'_>) {
        let Reactor { reads, io, journal, shards, damage, catalog, clock, vault, .. } = self;
        let expiry_ms = clock.expiry_ms(io);
        (reads, io, Sight { journal, shards, damage, catalog, expiry_ms, vault })
    }

    fn advance_reads(&mut self) {
        let Reactor { reads, io, journal, shards, damage, catalog, clock, scheduler, answered, vault, .. } = self;
        let expiry_ms = clock.expiry_ms(io);
        let mut sight = Sight { journal, shards, damage, catalog, expiry_ms, vault };
        reads.advance(io, &mut sight, scheduler, answered);
    }

    /// Runs what became ready.
    fn advance(&mut self) {
        self.arm();
        self.take_parcels();
        self.parse_stalled();
        self.take_held();
        self.take_calls();
        self.route();
        self.lend_waiting();
        self.step_reshardings();
        self.step_arrivals();
        self.commit();
        let idle = self.is_idle();
        self.journal.advance(&mut self.io, idle);
        self.mind_space();
        self.end_pauses();
        self.push();
        self.advance_reads();
        self.answer_reads();
        self.check_connections();
        self.flush();
        self.mark_when_idle();
        self.send_parcels();
        self.show();
        self.step_shutdown();
    }
}

/// The connection of `peer`, if it is still that one and not on its way out.
fn live(connections: &mut Slots<Connection>, peer: Peer) -> Option<&mut Connection> {
    let known = connections.find(peer.slot).is_some_and(|connection| {
        connection.life == peer.life && !matches!(connection.phase, Phase::Free | Phase::Closing)
    });
    known.then(|| &mut connections[peer.slot])
}
