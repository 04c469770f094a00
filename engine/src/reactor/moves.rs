//! Shards moved from one reactor to another, while records come.
//!
//! ```text
//!   the first reactor       the owner                 the next owner                      all
//!   intend, durable ---announced-------------------------------------------> [fenced] nothing of the shard is dropped;
//!                                                     is lent the segments <--- that each keeps
//!                           what was taken in settles, and is sealed
//!                           its own segments, and
//!                           where the shard ended --> opens what it was lent;
//!                                                     says in its journal that the shard goes on there, durably
//!   [under way] <------------------------------------ [ready]
//!   moved, durable ----announced-------------------------------------------> the next owner is the owner
//!   all have applied it: answered -----------------------------------------> subscribers at the old one are told to come again
//! ```
//!
//! Where the next owner can't open what it was lent, it tells that instead, and *moved* says that the shard's home is what it was.
//!
//! The records stay where they are: the next owner reads them where they were sealed, as after a start with another number of
//! reactors. Who keeps a segment lends it before *moved* can be said, and the owner lets go of none before that: so somebody who
//! needs it is known to its keeper at any time. What was lent and holds nothing of the shard is released once its footer was looked at.

use std::collections::{BTreeSet, VecDeque};

use super::*;
use crate::journal::file_name;
use crate::limits::{ALLOCATE_RETRY_NS, LEAVE_RETRY_NS, LENT_OPENING_MAX};
use crate::peers::{End, Handover, Lent, Loan, ParentEnd, Unopened};
use crate::producers::{self, Row};
use crate::trims::Trim;

/// A shard on its way here.
#[derive(Debug, Default)]
struct Arrival {
    /// Reactors that have lent what they keep, a bit each.
    lenders: u64,
    handover: Option<Handover>,
    step: Step,
}

/// How far it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Step {
    /// Some have not lent yet, or the owner has not told where it ended.
    #[default]
    Gathering,
    /// Something of it can't be opened here: it goes on where it was, once all is told that would come late.
    Refused(Unopened),
    /// That it goes on here is on its way to the disk.
    Saying,
    /// It was said, or can't be in this life.
    Over,
}

/// All that this reactor has to do with shards that come to it.
#[derive(Debug, Default)]
pub(super) struct Moves {
    arrivals: BTreeMap<ShardId, Arrival>,
    /// Shards that were to come, and whose stream was deleted.
    gone: BTreeSet<ShardId>,
    /// What was lent, and is not open yet; the latter with the numbers of their opening.
    to_open: VecDeque<Lent>,
    opening: BTreeMap<u32, Lent>,
    opened: u32,
    /// Who is to be lent this reactor's segments, for which shard, once none of them is about to be another.
    to_lend: Vec<(ShardId, usize)>,
    /// When to try again what found no room: here, and where a shard leaves.
    retry_ns: u64,
    leave_ns: u64,
}

impl Moves {
    /// Whether all that was lent is open.
    fn has_opened_all(&self) -> bool {
        self.to_open.is_empty() && self.opening.is_empty()
    }

    fn is_opening(&self, segment: SegmentId) -> bool {
        self.to_open.iter().chain(self.opening.values()).any(|lent| lent.sealed.segment == segment)
    }
}

impl<I: Io> Reactor<I> {
    /// A shard is fenced, and goes to another reactor, or stays where it is.
    pub(super) fn begin_move(&mut self, shard: ShardId, home: u32) {
        let (owner, to, own) = (self.owners.of(shard), self.owners.at(home), self.owners.own());
        if owner == to {
            return;
        }
        self.space.begin_move(shard);
        self.compactor.stop();
        if own != owner && own != to {
            self.moves.to_lend.push((shard, to));
            self.lend_waiting();
        }
    }

    /// Lends what is to be lent, once no segment is about to be another.
    pub(super) fn lend_waiting(&mut self) {
        if !self.moves.to_lend.is_empty() && self.may_lend() {
            std::mem::take(&mut self.moves.to_lend).into_iter().for_each(|(shard, to)| self.lend(shard, to, None));
        }
    }

    /// Whether each segment that this reactor keeps is the file of its name, and no footer on its way to the disk: who borrows one
    /// that is in memory alone keeps it there.
    fn may_lend(&mut self) -> bool {
        self.go_over_to_copy();
        !self.compactor.is_renaming() && !self.is_sealing()
    }

    fn is_sealing(&self) -> bool {
        self.journal.poisoned().is_none() && !self.journal.is_sealing_nothing()
    }

    fn lend(&mut self, shard: ShardId, to: usize, handover: Option<Handover>) {
        self.note_sealed();
        let Reactor { space, journal, peers, .. } = self;
        let segments = space.lend_all(to);
        let segments = segments.map(|sealed| Lent { sealed, footer: journal.footers.pinned(sealed.segment) }).collect();
        peers.links[to].lend(Loan { shard, segments, handover });
    }

    // The owner.

    /// The reactor that a shard of this one is to go to.
    pub(super) fn destination(&self, stream: StreamId, shard: ShardId) -> Option<usize> {
        let home = self.catalog.stream(stream)?.moves_to(shard)?;
        Some(self.owners.at(home)).filter(|&to| to != self.owners.own() && self.journal.poisoned().is_none())
    }

    /// When a shard that has settled may take its next step to another reactor.
    pub(super) fn departure_due_ns(&self, shard: ShardId) -> Option<u64> {
        if self.life != Life::Running || self.space.is_telling() {
            None
        } else if self.journal.holds_unsealed(shard) {
            self.journal.may_leave().then_some(self.moves.leave_ns)
        } else if self.compactor.is_renaming() || self.is_sealing() {
            Some(self.moves.leave_ns)
        } else {
            Some(0)
        }
    }

    /// Hands a shard that has settled over to its next owner, once all of it is sealed. `false` if it is not yet.
    pub(super) fn hand_over(&mut self, stream: StreamId, shard: ShardId, to: usize) -> bool {
        let now_ns = self.io.mono_ns();
        if self.departure_due_ns(shard).is_none_or(|due_ns| due_ns > now_ns) {
            return false;
        }
        if self.journal.holds_unsealed(shard) {
            let left = self.journal.leave_open(&mut self.io, &self.shards, &self.planned);
            if let Err(shortage) = left {
                self.moves.leave_ns = now_ns + LEAVE_RETRY_NS;
                if shortage == Shortage::Full {
                    self.moves.leave_ns = now_ns + ALLOCATE_RETRY_NS;
                    self.tell_end(shard, Err(ErrorCode::DiskFull), Vec::new());
                }
            }
            return false;
        }
        if !self.may_lend() {
            self.moves.leave_ns = now_ns + LEAVE_RETRY_NS;
            return false;
        }
        let Some(state) = self.shards.find(shard).copied() else { return false };
        let handover = Handover {
            end: End { next: state.next, arrival_ms: state.arrival_ms },
            trim: self.shards.trimmed_to(shard),
            producers: self.known_of_producers(stream, shard),
            owed: self.journal.producers.owed_of(shard),
            buckets: self.buckets.copy(shard),
        };
        self.lend(shard, to, Some(handover));
        true
    }

    // The next owner.

    /// Segments were lent, for a shard that comes here.
    pub(super) fn take_loan(&mut self, from: usize, Loan { shard, segments, handover }: Loan) {
        self.peers.links[from].borrowed += 1;
        if !self.moves.gone.contains(&shard) {
            // What is known here and found dead is to be released no more: this reactor may not have heard of the move yet.
            self.space.begin_move(shard);
            let arrival = self.moves.arrivals.entry(shard).or_default();
            arrival.lenders |= 1 << from;
            arrival.handover = handover.or(arrival.handover.take());
        }
        for lent in segments {
            let segment = lent.sealed.segment;
            if !self.space.knows(segment) && !self.moves.is_opening(segment) {
                self.moves.to_open.push_back(lent);
            }
        }
    }

    /// When the next step of a shard that comes here is due.
    pub(super) fn arrival_due_ns(&self) -> Option<u64> {
        let may_open = !self.moves.to_open.is_empty() && self.moves.opening.len() < LENT_OPENING_MAX;
        let goes_on = self.life == Life::Running && (may_open || self.next_arrival().is_some());
        goes_on.then_some(self.moves.retry_ns)
    }

    /// A shard of which all was told that it needs to go on here, or that can't.
    fn next_arrival(&self) -> Option<(ShardId, Step)> {
        let others = self.peers.numbers().fold(0, |others, other| others | 1 << other);
        let has_opened_all = self.moves.has_opened_all();
        let is_ready = |arrival: &Arrival| {
            let may_step = match arrival.step {
                Step::Gathering => has_opened_all,
                Step::Refused(_) => true,
                Step::Saying | Step::Over => false,
            };
            may_step && arrival.lenders == others && arrival.handover.is_some()
        };
        let mut all = self.moves.arrivals.iter();
        all.find(|(_, arrival)| is_ready(arrival)).map(|(&shard, arrival)| (shard, arrival.step))
    }

    /// Goes on with shards that come here.
    pub(super) fn step_arrivals(&mut self) {
        if self.moves.arrivals.is_empty() && self.moves.to_open.is_empty() {
            return;
        }
        let now_ns = self.io.mono_ns();
        if self.life != Life::Running || now_ns < self.moves.retry_ns {
            return;
        }
        while self.moves.opening.len() < LENT_OPENING_MAX
            && let Some(lent) = self.moves.to_open.pop_front()
        {
            let segment = lent.sealed.segment;
            let (dir, name) = (self.directories.of(segment), file_name(segment.journal, segment.number));
            self.moves.opened = self.moves.opened.wrapping_add(1);
            self.io.submit(Op::File(FileOp::Open { dir, name, create: false }), token::open(self.moves.opened));
            self.moves.opening.insert(self.moves.opened, lent);
        }
        while let Some((shard, step)) = self.next_arrival() {
            match step {
                Step::Refused(unopened) => self.send_back(shard, unopened),
                _ => self.say_it_goes_on(shard),
            }
        }
    }

    /// A segment that was lent is open, or could not be opened.
    pub(super) fn lent_is_open(&mut self, number: u32, completion: &Completion) {
        let Some(Lent { mut sealed, footer }) = self.moves.opening.remove(&number) else { return };
        if completion.result < 0 {
            return self.refuse_arrivals(Unopened { segment: sealed.segment, errno: -completion.result });
        }
        sealed.file = FileId(completion.result.cast_unsigned());
        self.journal.borrow(sealed, footer);
        self.space.add(sealed, false, 0);
    }

    /// A segment can't be opened: no shard comes here that may need it. What is not open is given back.
    fn refuse_arrivals(&mut self, unopened: Unopened) {
        tracing::warn!(?unopened, "a segment can't be opened for a shard that moves: the shard stays where it is");
        let Reactor { moves, peers, owners, .. } = self;
        let all = moves.arrivals.values_mut().filter(|arrival| arrival.step == Step::Gathering);
        all.for_each(|arrival| arrival.step = Step::Refused(unopened));
        let unused = moves.to_open.drain(..).map(|lent| lent.sealed.segment);
        for segment in std::iter::once(unopened.segment).chain(unused) {
            let link = &mut peers.links[owners.keeper(segment.journal)];
            link.parcel.released.push((segment, link.borrowed));
        }
    }

    /// Tells that a shard goes on where it was.
    fn send_back(&mut self, shard: ShardId, unopened: Unopened) {
        let Some(arrival) = self.moves.arrivals.get_mut(&shard) else { return };
        arrival.step = Step::Over;
        let Some(end) = arrival.handover.as_ref().map(|handover| handover.end) else { return };
        self.tell(ParentEnd { shard, end: Ok(end), unopened: Some(unopened), producers: Vec::new() });
    }

    /// Says in this journal where a shard goes on, and what producers have stored in it, which the journals that it was in may
    /// forget. Appends come after that.
    fn say_it_goes_on(&mut self, shard: ShardId) {
        // What this reactor keeps for journals without one, it need not have read so far.
        let own = self.journal.number();
        let kept: Vec<Sealed> = self.space.kept().filter(|sealed| sealed.segment.journal != own).collect();
        kept.into_iter().for_each(|sealed| self.journal.borrow(sealed, None));
        let is_poisoned = self.journal.poisoned().is_some();
        let Some(arrival) = self.moves.arrivals.get_mut(&shard) else { return };
        let Some(Handover { end: End { next, arrival_ms }, producers, .. }) = &mut arrival.handover else { return };
        // Where a journal told of very many shards in one row, it may have told of a higher number than the shard had: it never falls.
        *next = self.shards.find(shard).map_or(*next, |known| known.next.max(*next));
        arrival.step = if is_poisoned { Step::Over } else { Step::Saying };
        let (next, arrival_ms, all) = (*next, *arrival_ms, producers.clone());
        if is_poisoned {
            return self.tell_end(shard, Err(ErrorCode::StorageFailed), Vec::new());
        }
        let told: Vec<Row> = all.iter().filter(|row| row.shard == shard).cloned().collect();
        // Footers have room for them from here on, and tell of the shard's own once they are durable in this journal.
        self.journal.producers.borrow(all);
        for rows in producers::records_of(told) {
            self.store(Command::Producers(rows), Vec::new());
        }
        self.store(Command::GoOn(vec![GoOn { shard, shards: 1, next, arrival_ms }]), Vec::new());
    }

    /// It is durable: the catalog may say that the shard is this reactor's.
    pub(super) fn went_on(&mut self, rows: &[GoOn]) {
        for (shard, row) in rows.iter().flat_map(|row| row.numbers().map(move |shard| (shard, row))) {
            self.shards.go_on(shard, row.next, row.arrival_ms);
            self.journal.index.go_on(shard, row.next);
            let Some(arrival) = self.moves.arrivals.get_mut(&shard) else { continue };
            arrival.step = Step::Over;
            let Some((end, to)) = arrival.handover.as_ref().map(|handover| (handover.end, handover.trim)) else {
                continue;
            };
            self.shards.trim(Trim { shard, to });
            self.tell_end(shard, Ok(end), Vec::new());
        }
    }

    /// There was no room for that, or the journal has failed.
    pub(super) fn put_off_arrivals(&mut self, rows: &[GoOn], code: ErrorCode) {
        self.moves.retry_ns = self.io.mono_ns() + ALLOCATE_RETRY_NS;
        for GoOn { shard, .. } in rows {
            let Some(arrival) = self.moves.arrivals.get_mut(shard) else { continue };
            arrival.step = Step::Gathering;
            self.tell_end(*shard, Err(code), Vec::new());
        }
    }

    // All.

    /// Tells the first reactor where a shard of this one ended, or goes on here.
    pub(super) fn tell_end(&mut self, shard: ShardId, end: Result<End, ErrorCode>, producers: Vec<Row>) {
        self.tell(ParentEnd { shard, end, unopened: None, producers });
    }

    fn tell(&mut self, end: ParentEnd) {
        match self.owners.own() {
            0 => self.hear_end(end),
            _ => self.peers.links[0].parcel.ends.push(end),
        }
    }

    /// A shard has another home from here on, or the same one if it could not be moved.
    pub(super) fn complete_move(&mut self, stream: StreamId, shard: ShardId, home: u32) {
        if !self.catalog.stream(stream).is_some_and(|stream| stream.has(shard)) {
            return;
        }
        let was = self.owners.of(shard);
        self.owners.move_all(std::iter::once((shard, home)));
        self.journal.shard_moved();
        self.exchange().publish_home(shard, home);
        let (is, own) = (self.owners.of(shard), self.owners.own());
        let arrival = self.moves.arrivals.remove(&shard);
        if is != own {
            if was == own {
                self.buckets.forget(shard);
            }
            return;
        }
        if let Some(Handover { owed, buckets, .. }) = arrival.and_then(|arrival| arrival.handover) {
            self.journal.producers.owe_all(shard, owed);
            buckets.into_iter().for_each(|buckets| self.buckets.put(shard, buckets));
        }
        self.journal.producers.moved_here(shard, self.io.mono_ns());
        self.publish(shard);
        self.publish_trim(shard);
    }

    /// A stream is about to be gone: what was to come of it does not.
    pub(super) fn forget_arrivals(&mut self, stream: StreamId) {
        let Some(stream) = self.catalog.stream(stream) else { return };
        for (shard, _) in stream.intents().iter().filter_map(|intent| intent.moved()) {
            self.moves.arrivals.remove(&shard);
            self.moves.gone.insert(shard);
        }
    }

    /// What of shards that are moved no more has expired, or is dead, counts again.
    pub(super) fn end_moves(&mut self) {
        let Reactor { space, moves, catalog, reshardings, .. } = self;
        space.end_moves(|shard| {
            let is_intended = catalog.stream_of(shard).is_some_and(|stream| stream.moves_to(shard).is_some());
            is_intended || moves.arrivals.contains_key(&shard) || reshardings.is_moving(shard)
        });
    }

    /// All reactors know where a shard went: who has it pushed here is told to come again.
    pub(super) fn end_pushes(&mut self, shard: ShardId) {
        if self.owners.is_own(shard) {
            return;
        }
        let failure = Failure::new(ErrorCode::Resharding, moved_detail(shard));
        for slot in self.subscriptions.of_shard(shard) {
            self.end_subscription(slot, &failure);
        }
    }
}

/// What is said to who asks for a shard where it is not any more, or not yet.
pub(super) fn moved_detail(shard: ShardId) -> String {
    format!("shard {shard} has moved to another reactor, or is about to; ask again, from the same number on")
}
