//! Commit batches: closed while records wait, settled once they are durable, refused when they can't be written.

use frame::batch::{Writer, batch_bytes, extents_max};
use frame::extension::ENCRYPTION_BYTES;
use frame::limits::BATCH_BYTES_MAX;

use super::*;
use crate::exchange::EIO;
use crate::intake::{Batch, Numbering};
use crate::journal::{Commit, Room};
use crate::limits::{BESIDE_PARTS_NS, PARTS_IN_FLIGHT_BESIDE_MAX, PARTS_IN_FLIGHT_MAX};

impl<I: Io> Reactor<I> {
    /// Flushes in flight that batches wait for.
    pub(super) fn flushing(&self) -> usize {
        let flushing = [self.journal.segments.is_flushing(), self.drops.is_flushing(), self.compactor.is_flushing()];
        flushing.into_iter().filter(|&is_flushing| is_flushing).count()
    }

    /// Closes commit batches while writes are free and records wait.
    pub(super) fn commit(&mut self) {
        while !self.intake.is_empty() {
            if self.journal.poisoned().is_some() {
                return self.refuse_waiting(ErrorCode::StorageFailed);
            }
            if !self.journal.may_write() {
                return;
            }
            let may_take_part = self.may_take_part();
            let Some(next_length) = self.intake.next_length(may_take_part) else { return };
            match self.commit_one(next_length, may_take_part, Room::Records) {
                Ok(()) => self.found_room(),
                Err(Shortage::Making) => return,
                Err(Shortage::Full) => return self.commit_commands(),
            }
        }
    }

    /// There is no room for records, which are refused; but for what may make room there is, while it lasts.
    fn commit_commands(&mut self) {
        self.found_no_room();
        self.refuse_records(ErrorCode::DiskFull);
        while let Some(length) = self.intake.next_length(true) {
            if !self.journal.may_write() {
                return;
            }
            match self.commit_one(length, true, Room::Commands) {
                Ok(()) => {}
                Err(Shortage::Making) => return,
                Err(Shortage::Full) => return self.refuse_waiting(ErrorCode::DiskFull),
            }
        }
    }

    /// Whether a record that came now would find no room.
    pub(super) fn has_no_room(&self) -> bool {
        self.is_full && !self.journal.segments.has_ready()
    }

    /// Near the end small records may find room where large ones don't: that is told once a minute.
    fn found_no_room(&mut self) {
        if std::mem::replace(&mut self.is_full, true) {
            return;
        }
        self.fullness_is_told = self.fullness.is_logged(0, self.io.mono_ns());
        if self.fullness_is_told {
            tracing::error!(
                "the disk is full, or its budget used up: appends are refused until there is room, reads go on"
            );
        }
    }

    fn found_room(&mut self) {
        if std::mem::take(&mut self.is_full) && self.fullness_is_told {
            tracing::info!("there is room again: appends are taken");
        }
    }

    /// Whether the next batch may take a part of a large record. Few are in flight, so that whatever comes meanwhile does not
    /// wait long for the disk; and each gives way once to what waits already, whose batch is written sooner without it.
    fn may_take_part(&mut self) -> bool {
        if self.intake.large.queued() == 0 {
            return true;
        }
        let has_ordinary = self.intake.has_ordinary();
        let is_beside = has_ordinary || self.io.mono_ns() < self.last_ordinary_ns + BESIDE_PARTS_NS;
        let most = if is_beside { PARTS_IN_FLIGHT_BESIDE_MAX } else { PARTS_IN_FLIGHT_MAX };
        if self.journal.parts_in_flight() >= most {
            return false;
        }
        // Once it gave way it may go until it has gone: a batch may have no room left for it.
        !has_ordinary || std::mem::replace(&mut self.part_gave_way, true)
    }

    fn commit_one(&mut self, next_length: usize, may_take_part: bool, room: Room) -> Result<(), Shortage> {
        let adds = if self.catalog.has_encryption() { ENCRYPTION_BYTES } else { 0 };
        let least = batch_bytes(next_length + adds, 1);
        let most = self.config.batch_bytes.max(least).min(BATCH_BYTES_MAX);
        let extents = self.intake.active_shards().min(extents_max(most));
        let wanted = batch_bytes(self.intake.wanted_bytes(may_take_part) + self.intake.records() * adds, extents);
        let bytes = wanted.max(least).min(most);
        self.journal.make_room((bytes, extents), room, &self.shards, [&self.catalog, &self.planned])?;
        let mut buf = self.take_buffer(bytes).ok_or(Shortage::Making)?;
        let mut commit = self.journal.spare_commit();
        let now_ms = self.clock.arrival_ms(&self.io);
        let head = self.journal.head(now_ms, None);
        let Commit { extents: table, shares, open, has_part, placed, .. } = &mut commit;
        let mut writer = Writer::new(&mut buf, table);
        let room = bytes.saturating_sub(frame::batch::HEADER_BYTES + extents * frame::batch::EXTENT_BYTES);
        let (appends, shards) = (&mut self.appends, &mut self.shards);
        let refused = &mut self.refused;
        let (producers, catalog, buckets) = (&mut self.journal.producers, &self.catalog, &mut self.buckets);
        let numbering = Numbering { producers, placed, catalog, buckets, now_ns: None };
        let (writer_in, vault) = (&mut writer, &mut self.vault);
        let mut batch = Batch {
            writer: writer_in,
            shares,
            refused,
            appends,
            shards,
            now_ms,
            may_take_part,
            open,
            numbering,
            vault,
        };
        self.intake.fill(&mut self.io, &mut batch, room);
        let took_part = batch.may_take_part != may_take_part;
        *has_part = took_part;
        // One that has nothing but records that were stored before is a mark: it is durable once they are.
        if writer.is_empty() && shares.is_empty() {
            self.journal.recycle(commit);
            self.settle_refused();
            return Ok(());
        }
        let (length, checksum) = writer.finish(&head);
        buf.truncate(length);
        if took_part {
            self.part_gave_way = false;
        }
        let is_part_alone = took_part && commit.extents.len() == 1;
        self.journal.write(&mut self.io, &head, buf.freeze(), checksum, commit);
        self.last_append_ns = self.io.mono_ns();
        if !is_part_alone {
            self.last_ordinary_ns = self.last_append_ns;
        }
        self.idle_since_ns = None;
        self.settle_refused();
        Ok(())
    }

    /// Settles the records that waited and were refused.
    pub(super) fn settle_refused(&mut self) {
        if self.refused.is_empty() {
            return;
        }
        let mut refused = std::mem::take(&mut self.refused);
        for append in refused.drain(..) {
            self.stats.refused += 1;
            if self.appends.settle(append, 1) {
                self.append_done(append);
            }
        }
        self.refused = refused;
    }

    /// Aligned memory for a batch, taken from windows that nobody reads and then from the cache of the tail, where the pool
    /// has none left.
    fn take_buffer(&mut self, bytes: usize) -> Option<io::BufMut> {
        loop {
            if let Some(buf) = self.io.pool().take(bytes) {
                return Some(buf);
            }
            if !self.reads.evict() && !self.journal.cache.evict() {
                return None;
            }
        }
    }

    /// Tells the other reactors where a shard of this one ends.
    pub(super) fn publish(&self, shard: ShardId) {
        if self.owners.is_own(shard)
            && let Some(state) = self.shards.find(shard)
        {
            self.exchange().publish(shard, state.durable_next);
        }
    }

    /// Hands on what has become durable, in order.
    pub(super) fn settle_commits(&mut self) {
        if !self.peers.is_alone() && self.journal.poisoned().is_none() && self.exchange().flushes.has_failed() {
            self.journal.poison(-EIO);
            self.poison(-EIO);
        }
        while let Some(commit) = self.journal.next_durable(&mut self.shards, &self.catalog) {
            self.stats.written_bytes += u64::from(commit.length);
            for extent in &commit.extents {
                self.stats.records += u64::from(extent.count);
                if extent.shard == ShardId::CATALOG {
                    self.apply_pending(extent.count);
                }
                if !self.subscriptions.is_empty() {
                    self.notify(extent.shard);
                }
                if !self.peers.is_alone() {
                    self.publish(extent.shard);
                }
            }
            for share in &commit.shares {
                if self.appends.settle(share.append, share.records) {
                    self.append_done(share.append);
                }
            }
            self.journal.acknowledged(commit);
        }
    }

    /// The oldest `count` commands are durable: they are true from here on.
    fn apply_pending(&mut self, count: u32) {
        for _ in 0..count {
            let Some(Pending { command, mut waiters }) = self.pending.pop_front() else { return };
            match command {
                Command::Trim(trims) => {
                    self.trimmed(&trims);
                    continue;
                }
                Command::Producers(rows) => {
                    rows.into_iter().for_each(|row| self.journal.producers.adopt(row));
                    continue;
                }
                Command::GoOn(rows) => {
                    self.went_on(&rows);
                    continue;
                }
                _ => {}
            }
            self.apply(&command);
            match &command {
                Command::Intend(resharding) => self.see_through(resharding, std::mem::take(&mut waiters)),
                Command::Reshard(resharding, _) => waiters = self.waiters_of_resharding(resharding),
                _ => {}
            }
            self.announce(command, waiters);
        }
    }

    /// An append's last record is settled: its connection hears of it at the end of the turn.
    pub(super) fn append_done(&mut self, number: u32) {
        let append = self.appends.find(number);
        let (unknown, abandoned) = (append.unknown, append.abandoned);
        let (peer, request) = match append.asker {
            Asker::Peer(peer, request) => (peer, request),
            Asker::Call(slot) => return self.answer_append(number, slot),
            Asker::Reactor(slot) => return self.answer_handed(number, slot),
        };
        let Some(connection) = live(&mut self.connections, peer).filter(|_| !abandoned) else {
            self.appends.release(number);
            return;
        };
        if unknown {
            let detail = UNKNOWN_FATE.to_owned();
            Server::failure(&mut connection.outgoing.control, request, &Failure::new(ErrorCode::StorageFailed, detail));
        }
        connection.done.push(number);
        self.make_dirty(peer);
    }

    /// A write has failed: what is in flight is unknown, what waits is refused, and so is all that comes.
    pub(super) fn poison(&mut self, errno: i32) {
        tracing::error!(
            errno = -errno,
            "a write to the journal failed; appends are refused until a restart, reads go on"
        );
        // The others may have lost writes by it as well.
        self.exchange().flushes.fail();
        self.wake_others();
        let unknown: Vec<Commit> = self.journal.take_unknown().collect();
        for commit in unknown {
            for share in &commit.shares {
                if self.appends.settle_unknown(share.append, share.records) {
                    self.append_done(share.append);
                }
            }
        }
        self.refuse_waiting(ErrorCode::StorageFailed);
        // Commands in flight are as unknown as records: whoever asked learns it after the restart.
        self.refuse_commands(self.pending.len(), ErrorCode::StorageFailed);
        self.disappoint_all(ErrorCode::StorageFailed);
    }

    /// Refuses every record that waits for a batch.
    fn refuse_records(&mut self, code: ErrorCode) {
        self.intake.drain(&mut self.io, &mut self.journal.producers, true, |append, index| {
            self.appends.refuse(append, index, code);
            self.refused.push(append);
        });
        self.settle_refused();
    }

    /// The same, and every command.
    fn refuse_waiting(&mut self, code: ErrorCode) {
        let mut commands = 0;
        self.intake.drain(&mut self.io, &mut self.journal.producers, false, |append, index| {
            if append == CATALOG_APPEND {
                commands += 1;
                return;
            }
            self.appends.refuse(append, index, code);
            self.refused.push(append);
        });
        self.settle_refused();
        self.refuse_commands(commands, code);
    }

    /// Refuses the newest `count` commands: they never reached a batch. Those before them are on their way.
    pub(super) fn refuse_commands(&mut self, count: usize, code: ErrorCode) {
        if count == 0 {
            return;
        }
        let refused = self.pending.split_off(self.pending.len() - count);
        for pending in refused {
            if matches!(pending.command, Command::Trim(_)) {
                self.space.trims_refused(self.io.mono_ns());
                self.shards.expect_trims(0);
            }
            match &pending.command {
                Command::Reshard(resharding, _) => self.put_off(resharding),
                Command::GoOn(rows) => self.put_off_arrivals(rows, code),
                Command::Forget(..) => self.reshardings.forgetting.refused(self.io.mono_ns()),
                _ => {}
            }
            for asker in pending.waiters {
                self.settle_command(asker);
                self.fail(asker, code, "the change of the stream could not be stored");
            }
        }
        self.planned = self.catalog.clone();
        for pending in &self.pending {
            let applied = self.planned.apply(&pending.command);
            debug_assert!(applied.is_some(), "it was planned in this order");
        }
    }

    /// Nothing is in flight and nothing has been for a while.
    pub(super) fn is_idle(&self) -> bool {
        self.intake.is_empty()
            && self.journal.is_quiet()
            && self.io.mono_ns() >= self.last_append_ns + ZERO_AFTER_IDLE_NS
    }

    /// Says on disk that all is durable, once the journal has been quiet for a moment.
    pub(super) fn mark_when_idle(&mut self) {
        if !self.journal.wants_mark() || !self.intake.is_empty() {
            self.idle_since_ns = None;
            return;
        }
        let now = self.io.mono_ns();
        let since = *self.idle_since_ns.get_or_insert(now);
        let stopping = self.life != Life::Running;
        if (stopping || now >= since + IDLE_MARK_NS)
            && self.journal.write_mark(&mut self.io, &self.shards, &self.planned).is_err()
        {
            // No room for a mark: the next life scans a little longer. Not tried again before the next append.
            self.idle_since_ns = Some(now);
            self.journal.give_up_mark();
        }
    }
}
