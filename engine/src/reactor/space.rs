//! Retention: what has expired is found, said durably, and what is dead is dropped.
//!
//! ```text
//!   clock, catalog -> footers of sealed segments -> trim points -> a command in this journal -> [durable]
//!                                                     segments without anything alive -> off the disk
//! ```
//!
//! Each step is small and one of its kind is in flight; the disk's scheduler has the say over all of them. Nothing is begun
//! once the journal has failed, or a shutdown has begun.

use frame::segment::Footer;

use super::*;
use crate::journal::{Doomed, Dropped, SegmentId};
use crate::limits::{CLOCK_NOTED_NS, LOOK_NS_MAX};
use crate::space::View;

impl<I: Io> Reactor<I> {
    /// Does what is due for retention.
    pub(super) fn mind_space(&mut self) {
        if self.journal.poisoned().is_some() || self.life != Life::Running {
            // No copy takes the place of anything any more.
            return self.reads.hold_back(&[]);
        }
        self.mind_clock();
        self.note_sealed();
        self.look_for_expired();
        self.tell_trims();
        self.doom_the_dead();
        self.compact();
        let is_appending = !self.journal.is_quiet();
        self.drops.advance(&mut self.io, &mut self.scheduler, is_appending);
        self.journal.segments.set_leaving(self.drops.count());
    }

    /// When that is to be done again, if nothing else happens.
    pub(super) fn next_space_ns(&self) -> u64 {
        if self.journal.poisoned().is_some() || self.life != Life::Running {
            return u64::MAX;
        }
        let now_ns = self.io.mono_ns();
        let look = if self.looking_at.is_some() {
            None
        } else {
            self.space.next_ns(now_ns, || self.clock.expiry_ms(&self.io))
        };
        let drop = self.drops.next_ns(&self.scheduler, now_ns);
        let compact = self.compactor.next_ns(self.space.changes(), now_ns);
        let is_noting = self.store.as_ref().is_none_or(Store::is_writing);
        let note = (!is_noting).then_some(self.note_at_ns);
        [look, drop, compact, note].into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    /// Has the superblock told what time it is, as anything may be to expire in the next life; and looks whether a clock that was far
    /// off agrees again.
    fn mind_clock(&mut self) {
        let now_ns = self.io.mono_ns();
        if now_ns < self.note_at_ns {
            return;
        }
        if self.clock.look_again(&self.io) {
            tracing::info!("the wall clock agrees with the time that has passed again; records expire again");
        }
        let is_held = self.clock.held_by_ms(&self.io).is_some();
        self.note_at_ns = now_ns + if is_held { LOOK_NS_MAX } else { CLOCK_NOTED_NS };
        if let Some(store) = self.store.as_mut().filter(|store| !store.is_writing()) {
            store.begin_note(&mut self.io, &self.clock);
        }
    }

    /// Takes account of what was sealed since.
    pub(super) fn note_sealed(&mut self) {
        let sealed = self.journal.history(0).iter().rev().take_while(|sealed| !self.space.knows(sealed.segment));
        let sealed: Vec<Sealed> = sealed.copied().collect();
        sealed.into_iter().for_each(|sealed| self.space.add(sealed, true, 0));
        let (known, kept) = self.space.counts();
        self.exchange().files.publish(self.owners.own(), known, kept);
    }

    /// Looks at the footer of the next segment of which something may have expired.
    fn look_for_expired(&mut self) {
        if self.looking_at.is_some() {
            return;
        }
        let now_ns = self.io.mono_ns();
        let Some(sealed) = self.space.next_to_look_at(now_ns, || self.clock.expiry_ms(&self.io)) else {
            return self.share_limits();
        };
        if let Some(footer) = self.journal.footers.find(sealed.segment) {
            self.look(sealed.segment, &footer);
            return self.share_limits();
        }
        if !self.scheduler.may_read(now_ns, !self.journal.is_quiet()) {
            return;
        }
        let Some(buf) = self.io.pool().take(sealed.footer_length as usize) else { return };
        self.scheduler.begin_read(buf.len());
        self.looking_at = Some(sealed.segment);
        self.io.submit(Op::Read { file: sealed.file, offset: u64::from(sealed.footer_at), buf }, token::LOOK);
    }

    /// Looks whether there is too much of a stream with a limit, here and at the other reactors together, once all of it is known.
    fn share_limits(&mut self) {
        let Reactor { space, owners, catalog, peers, .. } = self;
        let Some(held) = space.held_to_share() else { return };
        let limit = |stream| Some(catalog.stream(stream)?.retention.bytes?.get());
        let (may_stay, is_news) = peers.exchange.holdings.share((owners.own(), owners.moves()), held, limit);
        space.apply_limits(may_stay);
        for other in peers.numbers().filter(|_| is_news) {
            peers.links[other].parcel.holds_other = true;
        }
    }

    /// A footer was read. One that can't be keeps its segment.
    pub(super) fn footer_read(&mut self, completion: Completion) {
        self.scheduler.end_read();
        let Some(segment) = self.looking_at.take() else { return };
        let bytes = match &completion.payload {
            Payload::Buf(buf) if completion.result.cast_unsigned() as usize == buf.len() => buf.to_vec(),
            _ => Vec::new(),
        };
        match Footer::parse(bytes) {
            Some(footer) => self.look(segment, &footer),
            None => self.space.pass_over(segment, self.clock.expiry_ms(&self.io)),
        }
    }

    fn look(&mut self, segment: SegmentId, footer: &Footer) {
        let (expiry_ms, now_ns) = (self.clock.expiry_ms(&self.io), self.io.mono_ns());
        let Reactor { space, owners, catalog, shards, .. } = self;
        space.look(segment, footer, &View { owners, catalog, shards, expiry_ms }, now_ns);
    }

    /// Says which trim points have moved, as a command in this journal.
    fn tell_trims(&mut self) {
        if let Some(trims) = self.space.trims_to_tell() {
            self.shards.expect_trims(trims.len());
            self.store(Command::Trim(trims), Vec::new());
        }
    }

    /// Trim points are durable: from here on nothing before them is read.
    pub(super) fn trimmed(&mut self, trims: &[crate::trims::Trim]) {
        // A stream may have been deleted while they were on their way.
        for &trim in trims.iter().filter(|trim| self.catalog.stream_of(trim.shard).is_some()) {
            self.shards.trim(trim);
            self.publish_trim(trim.shard);
        }
        self.shards.expect_trims(0);
        self.space.trims_told();
    }

    /// Tells the other reactors from where a shard is kept.
    pub(super) fn publish_trim(&self, shard: ShardId) {
        if !self.peers.is_alone() && self.owners.is_own(shard) {
            self.exchange().publish_trim(shard, self.shards.first_kept(shard));
        }
    }

    /// Lets go of dead segments that no read is in flight in: drops those that are this reactor's to drop, and tells whoever
    /// drops the others.
    fn doom_the_dead(&mut self) {
        let dead: Vec<(Sealed, bool)> = self.space.dead().map(|(known, is_kept)| (known.sealed, is_kept)).collect();
        for (sealed, is_kept) in dead {
            let segment = sealed.segment;
            if (is_kept && !self.may_drop(segment)) || self.compactor.holds(segment) {
                continue;
            }
            if !self.let_go(segment) {
                continue;
            }
            self.journal.forget(segment);
            self.space.forget(segment);
            self.compactor.forget(segment);
            if is_kept {
                let (dir, bytes) = (self.directories.of(segment), u64::from(sealed.bytes));
                self.drops.add(Doomed { segment, dir, file: sealed.file, bytes, kept_bytes: 0, is_named: true });
            } else {
                self.io.submit(Op::File(FileOp::Close(sealed.file)), token::CLOSE_FILE);
                let keeper = self.owners.keeper(segment.journal);
                let link = &mut self.peers.links[keeper];
                link.parcel.released.push((segment, link.borrowed));
            }
        }
    }

    /// Lets go of all that was read of a segment; who waits for something in it looks again. `false` while a read of it is in flight,
    /// or needed.
    pub(super) fn let_go(&mut self, segment: SegmentId) -> bool {
        for key in self.reads.unwish_all(segment) {
            self.unpark(key);
        }
        self.looking_at != Some(segment) && self.reads.let_go(segment)
    }

    /// Whether the next start can do without a segment.
    pub(super) fn may_drop(&self, segment: SegmentId) -> bool {
        if segment.journal == self.journal.number() {
            return !self.journal.is_needed_to_begin(segment);
        }
        let mut others = self.peers.numbers();
        let all_have_begun = others.all(|other| self.peers.links[other].has_begun);
        // What is damaged there no other journal tells, until it has expired.
        let may_be_last = self.space.is_all_dead(segment) && self.damage.is_empty();
        let is_last = self.space.is_among_newest(segment) && !may_be_last;
        all_have_begun && self.journal.is_sealing_nothing() && !is_last
    }

    /// A step of dropping a segment has completed.
    pub(super) fn dropped(&mut self, completion: &Completion) {
        if self.journal.poisoned().is_some() {
            return self.drops.abandon(&mut self.scheduler);
        }
        let (own, dir) = (self.journal.number(), self.journal.directory());
        let whole_bytes = u64::from(self.journal.segment_bytes());
        let segments = &mut self.journal.segments;
        let is_wanted = |doomed: &Doomed| {
            (doomed.segment.journal, doomed.dir, doomed.bytes) == (own, dir, whole_bytes) && segments.wants_spare()
        };
        match self.drops.complete(&mut self.io, &mut self.scheduler, completion, is_wanted) {
            Ok(None) => {}
            Ok(Some(Dropped::Spare(spare))) => self.journal.segments.add_spare(spare),
            Ok(Some(Dropped::Freed(doomed))) => {
                self.journal.segments.freed(doomed.freed_bytes(), doomed.segment.journal == own);
            }
            Err(errno) => {
                self.journal.poison(errno);
                self.poison(errno);
            }
        }
    }
}
