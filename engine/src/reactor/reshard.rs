//! Shards split and merged, while records come. Those that are moved go the same way, with more steps, which are in [`moves`].
//!
//! ```text
//!   the first reactor                     owners of the parents                 all reactors
//!   intend, durable ---announced------------------------------------------> [fenced] records for the parents are refused
//!                                         what was taken in before settles
//!   [under way] <--- where it ended ----- [drained]
//!   reshard, durable --announced------------------------------------------> parents closed, children open
//!   all have applied it: answered ----------------------------------------> readers hear of the end, and of the children
//! ```
//!
//! So a record acknowledged in a child was sent after all that were acknowledged in its parents. What is under way when the
//! process dies is finished by the next one: whoever finds *intend* in the catalog without its end goes on as if it had just been
//! told. The parents are fenced before any client is heard, and end where their owner finds them after recovery; until the
//! children are open nothing was ever stored in them.
//!
//! [`moves`]: super::moves

use std::collections::BTreeSet;

use frame::limits::{SHARDS_KEPT_PER_STREAM_MAX, SHARDS_PER_STREAM_MAX};
use frame::proto::{Children, ReadResult};

use super::forget::Forgetting;
use super::*;
use crate::catalog::{Change, Completion, ReshardError, Resharding, Stream};
use crate::journal::{file_name, is_passing};
use crate::limits::{ALLOCATE_RETRY_NS, SHARDS_MAX, shards_max};
use crate::peers::{End, ParentEnd, Unopened};
use crate::producers::{self, Row};

/// What is said where there is no space for the next step.
const FULL: &str = "the disk is full: the shards take nothing in until there is space, then it goes on by itself";

/// A resharding that the first reactor sees through.
#[derive(Debug)]
struct Underway {
    resharding: Resharding,
    waiters: Vec<Asker>,
    /// Where the parents ended, as far as that was told.
    ends: [Option<End>; 2],
    /// Whether its end is on its way to the disk; and when to try again, if there was no space for it.
    is_planned: bool,
    retry_ns: u64,
}

/// All that this reactor has to do with splits and merges, and with shards that it is to let go of.
#[derive(Debug, Default)]
pub(super) struct Reshardings {
    /// By the first child. Of the first reactor.
    underway: BTreeMap<ShardId, Underway>,
    /// Own shards that are fenced, and have yet to settle.
    draining: Vec<(StreamId, ShardId)>,
    /// Those that are applied here, and maybe not everywhere yet: readers do not hear of them. With their number among all
    /// that was announced.
    news: std::collections::VecDeque<(u64, Resharding)>,
    /// Which closed shards were looked at, to be forgotten.
    pub(super) forgetting: Forgetting,
}

impl Reshardings {
    /// Whether some reactor may not know of a shard yet that was just made.
    pub(super) fn hides(&self, shard: ShardId) -> bool {
        self.news.iter().any(|(_, resharding)| resharding.children().shards().any(|child| child == shard))
    }

    /// Whether some reactor may not know yet that these shards have taken the place of others.
    pub(super) fn is_news(&self, first_child: ShardId) -> bool {
        self.news.iter().any(|(_, news)| news.moved().is_none() && news.first_child == first_child)
    }

    /// Whether some reactor may not know yet that a shard was moved.
    pub(super) fn is_moving(&self, shard: ShardId) -> bool {
        self.news.iter().any(|(_, news)| news.moved().is_some_and(|(moved, _)| moved == shard))
    }
}

impl<I: Io> Reactor<I> {
    /// Begins to split or move a shard, or to merge two.
    pub(super) fn reshard(&mut self, asker: Asker, name: &str, change: Change) {
        if self.fail_if_poisoned(asker) {
            return;
        }
        let planned = self.planned.plan_reshard(name, change);
        let planned = planned.and_then(|command| self.check_move(change).map(|()| command));
        let error = match planned.and_then(|command| self.check_room(&command).map(|()| command)) {
            Ok(command) => return self.plan(asker, command),
            Err(ReshardError::UnknownStream) => return self.fail_unknown(asker, name),
            Err(error) => error,
        };
        let code = match error {
            ReshardError::OpenFiles(_) => ErrorCode::Busy,
            ReshardError::UnknownShard(_) => ErrorCode::UnknownShard,
            ReshardError::InProgress(_) => ErrorCode::Resharding,
            ReshardError::Busy => ErrorCode::Busy,
            ReshardError::Full | ReshardError::AllGiven | ReshardError::NoRoom { .. } => ErrorCode::TooManyShards,
            _ => ErrorCode::InvalidArgument,
        };
        self.fail(asker, code, &detail_of(name, &error));
    }

    /// That footers have room for what a split or merge makes, or a shard that is there moves.
    fn check_room(&self, command: &Command) -> Result<(), ReshardError> {
        let Command::Intend(resharding) = command else { return Ok(()) };
        let next_shard = resharding.next_shard();
        let has_room = next_shard <= self.planned.shard_count() || self.has_room_for(next_shard);
        has_room.then_some(()).ok_or_else(|| ReshardError::NoRoom { detail: self.no_room() })
    }

    /// Whether every footer has room to tell of so many shards.
    pub(super) fn has_room_for(&self, shards: usize) -> bool {
        shards <= shards_max(self.journal.segment_bytes(), self.io.pool().capacity_bytes())
    }

    /// What is said where they have not.
    pub(super) fn no_room(&self) -> String {
        let (segment_bytes, pool_bytes) = (self.journal.segment_bytes(), self.io.pool().capacity_bytes());
        let most = shards_max(segment_bytes, pool_bytes);
        let (what, remedy) = if most < shards_max(segment_bytes, usize::MAX) {
            ("the memory of a reactor has".to_owned(), "start the server with more --memory-bytes")
        } else {
            let what = format!("segments of {segment_bytes} bytes have");
            (what, "go on in a new data directory, with a larger --segment-bytes")
        };
        let most = most - 1;
        format!("{what} room to tell of {most} shards, with those that were deleted, split and merged; {remedy}")
    }

    /// That a shard may be moved, if that is wanted: there is such a reactor, it is another one, the last move has ended, and the
    /// process may have more files open.
    fn check_move(&self, change: Change) -> Result<(), ReshardError> {
        let Change::Move { shard, home } = change else { return Ok(()) };
        let reactors = self.owners.reactors();
        let is_fenced = self.catalog.stream_of(shard).is_none_or(|stream| stream.is_fenced(shard));
        if home as usize >= reactors {
            Err(ReshardError::NoReactor { reactor: home, reactors })
        } else if is_fenced || self.reshardings.is_moving(shard) {
            Err(ReshardError::InProgress(shard))
        } else if self.owners.of(shard) == home as usize {
            Err(ReshardError::There { shard, reactor: home })
        } else {
            let underway = self.planned.streams().flat_map(|stream| stream.intents()).filter_map(Resharding::moved);
            let to = underway.map(|(_, home)| self.owners.at(home)).chain([home as usize]).collect();
            self.exchange().files.check_moves(&to).map_err(ReshardError::OpenFiles)
        }
    }

    /// What this life takes up of the last ones: shards that are closed, when the others began, and what was under way.
    pub(super) fn take_up_lineage(&mut self) {
        let Reactor { catalog, shards, owners, clock, io, .. } = self;
        let mut intents = Vec::new();
        for stream in catalog.streams() {
            for (shard, closed) in stream.closed().filter(|(shard, _)| owners.is_own(*shard)) {
                shards.close(shard, closed.end);
            }
            for child in stream.descendants().filter(|child| owners.is_own(child.shard)) {
                if clock.may_have_said(io, child.created_ms) {
                    shards.begin_at(child.shard, child.created_ms);
                }
            }
            intents.extend_from_slice(stream.intents());
        }
        for resharding in intents {
            self.fence(&resharding);
            self.see_through(&resharding, Vec::new());
        }
    }

    /// Shards take nothing in any more. Where the catalog does not say so, damage took what it follows from.
    pub(super) fn fence(&mut self, resharding: &Resharding) {
        let Some(stream) = self.catalog.stream(resharding.stream) else { return };
        if stream.intents().contains(resharding) {
            let own = resharding.parents().filter(|&parent| self.owners.is_own(parent));
            self.reshardings.draining.extend(own.map(|parent| (resharding.stream, parent)));
            if let Some((shard, home)) = resharding.moved() {
                self.begin_move(shard, home);
            }
        }
    }

    /// The first reactor sees to what was begun.
    pub(super) fn see_through(&mut self, resharding: &Resharding, waiters: Vec<Asker>) {
        if self.owners.own() == 0 {
            let (ends, is_planned, retry_ns) = ([None; 2], false, 0);
            let underway = Underway { resharding: *resharding, waiters, ends, is_planned, retry_ns };
            self.reshardings.underway.insert(resharding.first_child, underway);
            if self.life != Life::Running {
                self.disappoint_all(ErrorCode::ShuttingDown);
            }
        }
    }

    /// Whether the next turn has something to do for a split or merge, or to forget what was, and when it has at the latest.
    pub(super) fn resharding_due_ns(&self) -> Option<u64> {
        let drained = self.reshardings.draining.iter().filter(|(_, shard)| self.is_drained(*shard));
        let told = drained.filter_map(|&(stream, shard)| match self.destination(stream, shard) {
            None => Some(0),
            Some(_) => self.departure_due_ns(shard),
        });
        let due = self.reshardings.underway.values().filter(|underway| underway.is_ready()).map(|u| u.retry_ns);
        let forget = self.reshardings.forgetting.next_ns();
        let goes_on = self.journal.poisoned().is_none() && self.life == Life::Running;
        told.chain(due.chain(forget).min().filter(|_| goes_on)).min()
    }

    /// Whether all that was taken in for a fenced shard is durable or refused.
    fn is_drained(&self, shard: ShardId) -> bool {
        let next = self.shards.find(shard).map_or(Sequence(1), |shard| shard.next);
        self.journal.poisoned().is_some() || (!self.intake.has_records(shard) && self.shards.stored(shard).next == next)
    }

    /// Goes on with what is under way: tells where own shards ended, and ends what all was told of.
    pub(super) fn step_reshardings(&mut self) {
        let draining = std::mem::take(&mut self.reshardings.draining);
        for (stream, shard) in draining {
            if self.catalog.stream(stream).is_none() {
                continue;
            }
            if !self.is_drained(shard) {
                self.reshardings.draining.push((stream, shard));
                continue;
            }
            if let Some(to) = self.destination(stream, shard) {
                if !self.hand_over(stream, shard, to) {
                    self.reshardings.draining.push((stream, shard));
                }
                continue;
            }
            let state = self.shards.find(shard).filter(|_| self.journal.poisoned().is_none());
            let end = state.map(|state| End { next: state.next, arrival_ms: state.arrival_ms });
            let producers = self.known_of_producers(stream, shard);
            self.tell_end(shard, end.ok_or(ErrorCode::StorageFailed), producers);
        }
        self.complete_reshardings();
        self.look_for_closed();
    }

    /// What producers have stored in a shard of this reactor, and in those that it was made of: the oldest first, as who takes it up
    /// lets go of that first. Of each producer no more than it has in one shard.
    pub(super) fn known_of_producers(&self, stream: StreamId, shard: ShardId) -> Vec<Row> {
        let ancestors = self.catalog.stream(stream).map(|stream| stream.ancestors(shard));
        let all = ancestors.into_iter().flatten().chain([shard]);
        producers::newest_of(all.flat_map(|shard| self.journal.producers.rows_of(shard)).collect())
    }

    /// Where a parent ended, or goes on, if its owner can tell now.
    pub(super) fn hear_end(&mut self, ParentEnd { shard, end, unopened, producers }: ParentEnd) {
        let all = &mut self.reshardings.underway;
        let Some((underway, at)) = all.values_mut().find_map(|underway| {
            let at = underway.resharding.parents().position(|parent| parent == shard)?;
            Some((underway, at))
        }) else {
            return;
        };
        // Who was to end it before may say late that it could not, for once.
        if end.is_err() && underway.ends[at].is_some() {
            return;
        }
        underway.ends[at] = end.ok();
        let children = underway.resharding.children();
        if let Err(code) = end {
            let waiters = std::mem::take(&mut underway.waiters);
            let detail = match code {
                ErrorCode::DiskFull => FULL,
                _ => "a write failed; it is ended by the next start",
            };
            self.disappoint(waiters, code, detail);
        } else if let Some(unopened) = unopened {
            underway.resharding.change = Change::Move { shard, home: self.owners.home(shard) };
            let waiters = std::mem::take(&mut underway.waiters);
            let (code, detail) = not_moved(shard, unopened);
            self.disappoint(waiters, code, &detail);
        }
        // Their owners take it up before the children open: they hear of that later, and the same way.
        let owners: BTreeSet<usize> = children.shards().map(|child| self.owners.of(child)).collect();
        let own = self.owners.of(shard);
        for owner in owners.into_iter().filter(|&owner| owner != own) {
            match owner {
                0 => self.journal.producers.borrow(producers.clone()),
                _ => self.peers.links[owner].parcel.lent.push(producers.clone()),
            }
        }
    }

    /// Makes the end of what is under way a command, once all parents have ended.
    fn complete_reshardings(&mut self) {
        if self.reshardings.underway.is_empty() || self.journal.poisoned().is_some() || self.life != Life::Running {
            return;
        }
        let now_ns = self.io.mono_ns();
        let is_due = |underway: &&Underway| underway.is_ready() && underway.retry_ns <= now_ns;
        let due: Vec<ShardId> =
            self.reshardings.underway.values().filter(is_due).map(|u| u.resharding.first_child).collect();
        for first_child in due {
            let now_ms = self.clock.arrival_ms(&self.io);
            let Some(underway) = self.reshardings.underway.get_mut(&first_child) else { continue };
            let Some(stream) = self.planned.stream(underway.resharding.stream) else {
                // It is about to be deleted, unless there is no space for that.
                underway.retry_ns = now_ns + ALLOCATE_RETRY_NS;
                continue;
            };
            underway.is_planned = true;
            let command = Command::Reshard(underway.resharding, underway.completion(stream, now_ms));
            self.store(command, Vec::new());
        }
    }

    /// There was no space for the end of a resharding: it is tried again.
    pub(super) fn put_off(&mut self, resharding: &Resharding) {
        let retry_ns = self.io.mono_ns() + ALLOCATE_RETRY_NS;
        let Some(underway) = self.reshardings.underway.get_mut(&resharding.first_child) else { return };
        (underway.is_planned, underway.retry_ns) = (false, retry_ns);
        let waiters = std::mem::take(&mut underway.waiters);
        self.disappoint(waiters, ErrorCode::DiskFull, FULL);
    }

    /// Nobody waits any more for what is under way: it goes on after a restart.
    pub(super) fn disappoint_all(&mut self, code: ErrorCode) {
        let all = self.reshardings.underway.values_mut();
        let waiters: Vec<Asker> = all.flat_map(|underway| std::mem::take(&mut underway.waiters)).collect();
        self.disappoint(waiters, code, "the split, merge or move is ended by the next start of the server");
    }

    fn disappoint(&mut self, waiters: Vec<Asker>, code: ErrorCode, detail: &str) {
        for asker in waiters {
            self.settle_command(asker);
            self.fail(asker, code, detail);
        }
    }

    /// A stream is gone, and what was under way in it.
    pub(super) fn drop_reshardings(&mut self, stream: StreamId) {
        let all = std::mem::take(&mut self.reshardings.underway);
        let (gone, left) = all.into_iter().partition(|(_, underway)| underway.resharding.stream == stream);
        self.reshardings.underway = left;
        let gone: BTreeMap<ShardId, Underway> = gone;
        for underway in gone.into_values() {
            self.disappoint(underway.waiters, ErrorCode::UnknownStream, DELETED);
        }
        self.end_moves();
    }

    /// Who waits for the end of a resharding, which is durable.
    pub(super) fn waiters_of_resharding(&mut self, resharding: &Resharding) -> Vec<Asker> {
        let underway = self.reshardings.underway.remove(&resharding.first_child);
        underway.map_or_else(Vec::new, |underway| underway.waiters)
    }

    /// Parents are closed, and children open, from here on; or a shard was moved.
    pub(super) fn close_parents(&mut self, resharding: &Resharding, completion: &Completion) {
        if let Some((shard, home)) = resharding.moved() {
            return self.complete_move(resharding.stream, shard, home);
        }
        let owners = self.owners.clone();
        for parent in resharding.parents().filter(|&parent| owners.is_own(parent)) {
            let stream = self.catalog.stream(resharding.stream);
            if let Some(closed) = stream.and_then(|stream| stream.find(parent)?.closed) {
                self.shards.close(parent, closed.end);
                self.buckets.forget(parent);
                // It may end past parts of a record that never became whole, which nobody was shown.
                self.publish(parent);
                self.publish_trim(parent);
                self.notify(parent);
            }
        }
        // They are dated after their parents, however far ahead those are; their records are not.
        let is_dated = self.clock.may_have_said(&self.io, completion.created_ms);
        for child in resharding.children().shards().filter(|&child| owners.is_own(child)) {
            if is_dated {
                self.shards.begin_at(child, completion.created_ms);
            }
            self.journal.producers.opened(child, self.io.mono_ns());
        }
    }

    /// A resharding was applied here, as number `serial` of all that was announced.
    pub(super) fn note_news(&mut self, serial: u64, command: &Command) {
        if let Command::Reshard(resharding, _) = command {
            self.reshardings.news.push_back((serial, *resharding));
        }
    }

    /// All reactors have applied what was announced up to a number: whoever has read a closed shard to its end is told.
    pub(super) fn show_up_to(&mut self, serial: u64) {
        while let Some((_, resharding)) = self.reshardings.news.pop_front_if(|(of, _)| *of <= serial) {
            if let Some((shard, _)) = resharding.moved() {
                self.end_pushes(shard);
                self.end_moves();
                continue;
            }
            let owners = self.owners.clone();
            for parent in resharding.parents().filter(|&parent| owners.is_own(parent)) {
                self.end_level(resharding.stream, parent);
            }
        }
    }

    /// What goes on where a shard ended, if it is closed and all know of that.
    pub(super) fn children_of(&self, stream: StreamId, shard: ShardId) -> Option<Children> {
        let closed = self.catalog.stream(stream)?.find(shard)?.closed?;
        (!self.reshardings.is_news(closed.children.first)).then_some(closed.children)
    }

    /// Says in a read's answer that it came to the end of a closed shard, if it did.
    pub(super) fn note_end(&self, stream: StreamId, result: &mut ReadResult) {
        if result.next >= result.tip {
            result.children = self.children_of(stream, result.shard);
        }
    }
}

impl Underway {
    /// Whether its end may become a command.
    fn is_ready(&self) -> bool {
        !self.is_planned && self.resharding.parents().zip(self.ends).all(|(_, end)| end.is_some())
    }

    /// How it ends. The children are made no earlier than anything in their parents arrived, and in a later second than their
    /// parents: numbers of records, as the API makes them, begin with that second.
    fn completion(&self, stream: &Stream, now_ms: u64) -> Completion {
        let parents = self.resharding.parents().filter_map(|parent| stream.find(parent));
        let after_parents = parents.map(|parent| (parent.created_ms / 1000 + 1) * 1000).max().unwrap_or(0);
        let arrival_ms = self.ends.iter().flatten().map(|end| end.arrival_ms).max().unwrap_or(0);
        let ends = self.ends.map(|end| end.map_or(Sequence(0), |end| end.next));
        Completion { created_ms: now_ms.max(arrival_ms).max(after_parents), ends }
    }
}

/// What is said where all numbers of shards were given.
pub(super) fn all_given() -> String {
    format!(
        "the data directory has given all numbers of shards that there are, up to {}, those of shards that were deleted, split and merged \
         among them, and none is given again; go on in a new data directory",
        SHARDS_MAX - 1
    )
}

/// The server has as many files open as it may.
const EMFILE: i32 = 24;

/// What is said where a shard stays, as its next owner can't read it.
fn not_moved(shard: ShardId, Unopened { segment, errno }: Unopened) -> (ErrorCode, String) {
    let (code, advice) = match errno {
        EMFILE => (ErrorCode::Busy, "allow the server more open files (ulimit -Hn, LimitNOFILE=), and move it again"),
        _ if is_passing(-errno) => (ErrorCode::Busy, "see what the machine is short of, and move it again"),
        _ => (ErrorCode::StorageFailed, "see what is wrong with that file, and move it again"),
    };
    let name = file_name(segment.journal, segment.number);
    (
        code,
        format!(
            "shard {shard} stays where it is: the reactor that it was to go to can't open {name} (error {errno}); {advice}"
        ),
    )
}

/// What is wrong with a split or merge, and what to do.
fn detail_of(name: &str, error: &ReshardError) -> String {
    match error {
        ReshardError::UnknownStream => format!("there is no stream {name}"),
        ReshardError::UnknownShard(shard) => {
            format!("stream {name} has no shard {shard}; describe it to see its shards")
        }
        ReshardError::Closed(shard) => {
            format!("shard {shard} of stream {name} was split or merged before; take an open one")
        }
        ReshardError::HashKey { start, end } => {
            format!("the second child's first hash key is to be past {start} and up to {end}")
        }
        ReshardError::NotNeighbours => {
            format!("the hash ranges of the two shards of stream {name} do not meet; merge two whose ranges do")
        }
        ReshardError::Full => format!(
            "stream {name} has {SHARDS_PER_STREAM_MAX} open shards, or {SHARDS_KEPT_PER_STREAM_MAX} with those that were \
             split and merged and hold what has not expired; merge shards, keep less, or go on in a new stream"
        ),
        ReshardError::AllGiven => all_given(),
        ReshardError::NoRoom { detail } => detail.clone(),
        ReshardError::OpenFiles(shortage) => shortage.detail(),
        ReshardError::InProgress(shard) => {
            format!("shard {shard} of stream {name} is being split, merged or moved; wait until that has ended")
        }
        ReshardError::Busy => format!("too many shards of stream {name} are being split, merged or moved; try again"),
        ReshardError::NoReactor { reactor, reactors: 1 } => {
            format!("there is no reactor {reactor}, but number 0 alone; start the server with more of them")
        }
        ReshardError::NoReactor { reactor, reactors } => {
            format!("there is no reactor {reactor}; they are numbered from 0 to {}", reactors - 1)
        }
        ReshardError::There { shard, reactor } => {
            format!("shard {shard} of stream {name} is at reactor {reactor} already")
        }
    }
}
