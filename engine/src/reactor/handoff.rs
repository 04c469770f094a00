//! Parcels of other reactors, and records that cross between two: handed over in whole batches, settled in whole batches.
//!
//! Records are gathered by the router, one copy each, and go out at the end of the turn. The owner queues them with its own,
//! where they lie, and answers once all of the batch are durable or refused. The order of a connection within a shard is kept:
//! its records for a shard all go the same way, and lanes and queues keep their order.

use std::sync::Arc;

use frame::frame::numbered_of;
use frame::parts::frames_bytes_max;
use frame::proto::AckResult;
use frame::{Frame, Numbered};

use super::*;
use crate::exchange::Exchange;
use crate::intake::Place;
use crate::limits::PARCELS_PER_LANE_MAX;
use crate::peers::{Handed, HandedRecord, Parcel};
use crate::router::Outline;

/// A batch that another reactor handed over and that is not settled. Reused.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    from: usize,
    batch: u16,
    handed: Handed,
}

impl<I: Io> Reactor<I> {
    /// Takes what other reactors have sent.
    pub(super) fn take_parcels(&mut self) {
        if self.peers.is_alone() {
            return;
        }
        let own = self.owners.own();
        for from in self.peers.numbers() {
            for _ in 0..PARCELS_PER_LANE_MAX {
                let Some(parcel) = self.peers.exchange.receive(from, own) else { break };
                self.take_parcel(from, parcel);
            }
        }
    }

    fn take_parcel(&mut self, from: usize, parcel: Parcel) {
        let Parcel { handed, settled, asks, told, taken, lent, commands, applied, .. } = parcel;
        let Parcel { ends, shown, loans, released, holds_other, has_begun, has_finished, .. } = parcel;
        let loans_made = self.peers.links[from].lent;
        let released = released.into_iter().filter(|(_, taken)| *taken == loans_made);
        released.for_each(|(segment, _)| self.space.released(segment, from));
        if holds_other {
            self.space.others_changed();
        }
        if has_begun {
            self.peers.links[from].has_begun = true;
            self.seal_closed_journals();
        }
        lent.into_iter().for_each(|line| self.journal.producers.borrow(line));
        commands.into_iter().for_each(|command| self.learn(from, command));
        if applied > 0 {
            self.peers.links[from].applied += applied;
            self.answer_announced();
        }
        loans.into_iter().for_each(|loan| self.take_loan(from, loan));
        ends.into_iter().for_each(|end| self.hear_end(end));
        if shown > 0 {
            self.show_up_to(shown);
        }
        settled.into_iter().for_each(|handed| self.settled(from, handed));
        if let Some(handed) = handed {
            self.take_handed(from, handed);
        }
        asks.into_iter().for_each(|ask| self.take_ask(from, ask));
        told.into_iter().for_each(|told| self.hear_told(from, told));
        taken.into_iter().for_each(|host| self.told_was_taken(from, host));
        self.peers.links[from].has_finished |= has_finished;
    }

    /// Once every reactor has said durably where its shards go on, journals without a reactor need not tell that any more.
    fn seal_closed_journals(&mut self) {
        let mut others = self.peers.numbers();
        if others.all(|other| self.peers.links[other].has_begun) {
            self.last_seals.drain(..).for_each(|seal| self.journal.add_seal(seal));
        }
    }

    /// Queues records that another reactor took in.
    fn take_handed(&mut self, from: usize, mut handed: Handed) {
        let batch = self.intake.keep_handed(std::mem::take(&mut handed.bytes));
        let slot = self.incoming.take();
        let append = self.appends.begin(Asker::Reactor(slot));
        let (mut offset, mut now_ns) = (0, None);
        for (index, part) in handed.records.iter().enumerate() {
            let (index, &HandedRecord { shard, length, .. }) = (index as u32, part);
            match self.check_handed(part) {
                Ok(()) => match self.take_quota(part, &mut now_ns) {
                    Ok(()) => {
                        self.appends.wait(append);
                        let (place, length) = self.place_of(batch, offset, part);
                        self.intake.push(shard, place, length as usize, append, index);
                    }
                    Err(code) => self.appends.throttle(append, index, code, shard),
                },
                Err(ErrorCode::Resharding) => self.appends.throttle(append, index, ErrorCode::Resharding, shard),
                Err(code) => self.appends.refuse(append, index, code),
            }
            offset += length;
        }
        self.incoming[slot] = Incoming { from, batch, handed };
        if self.appends.end(append, 0) {
            self.append_done(append);
        }
    }

    /// Why a record that was handed over is refused, if it is. A stream that is not known here yet was made just now: nobody was
    /// told of it, and it is asked for all the same. A shard that is not open here is split or merged, and whoever handed the
    /// record over heard of it earlier or later.
    fn check_handed(&self, record: &HandedRecord) -> Result<(), ErrorCode> {
        let stream = self.catalog.stream(record.stream).ok_or(ErrorCode::UnknownStream)?;
        if !stream.takes(record.shard) || !self.owners.is_own(record.shard) {
            return Err(ErrorCode::Resharding);
        }
        if self.journal.poisoned().is_some() { Err(ErrorCode::StorageFailed) } else { Ok(()) }
    }

    /// Where a record of a batch is queued, and the length of its first frame. The parts of a large one are kept one by one, as
    /// those of a record that was received here; whoever handed it over had room for it, which bounds it.
    fn place_of(&mut self, batch: u16, offset: u32, record: &HandedRecord) -> (Place, u32) {
        let (whole, length) = (Place::Handed { batch, offset }, record.length);
        if !record.is_large {
            return (whole, length);
        }
        // Lifted, so that its parts can be kept beside it.
        let bytes = self.intake.lift_handed(batch);
        let mut rest = bytes.get(offset as usize..).and_then(|bytes| bytes.get(..length as usize)).unwrap_or_default();
        let large = &mut self.intake.large;
        let mut begun = None;
        while let Some((frame, part)) = Frame::parse(rest).ok().and_then(|frame| Some((frame, frame.part()?))) {
            let (number, _) = *begun.get_or_insert_with(|| {
                let (outline, room) = (Outline::of_large(&frame, part), Ok(frames_bytes_max(&frame, part)));
                (large.begin(outline, room, self.io.mono_ns()), frame.length() as u32)
            });
            let taken = large.take(number, &frame, part);
            debug_assert!(taken.is_ok(), "it was whole where it was received");
            let (of_part, behind) = rest.split_at(frame.length());
            large.keep_copy(number, of_part);
            rest = behind;
        }
        self.intake.put_handed(batch, bytes);
        begun.map_or((whole, length), |(number, first_length)| (Place::Large(number), first_length))
    }

    /// Whether the quotas of its shard let a record in, which they keep account of. One that bears its producer's number is
    /// held against them when its turn has come.
    fn take_quota(&mut self, part: &HandedRecord, now_ns: &mut Option<u64>) -> Result<(), ErrorCode> {
        let Reactor { io, catalog, buckets, journal, .. } = self;
        if part.is_numbered {
            journal.producers.expect();
            return Ok(());
        }
        let stream = catalog.stream(part.stream);
        stream.map_or(Ok(()), |stream| buckets.admit(io, (part.shard, &stream.quotas), part.record_bytes, now_ns))
    }

    /// All records of a batch are settled: whoever handed it over is told.
    pub(super) fn answer_handed(&mut self, number: u32, slot: u32) {
        let Incoming { from, batch, mut handed } = std::mem::take(&mut self.incoming[slot]);
        self.incoming.release(slot);
        let append = self.appends.find(number);
        let results = append.results.iter().zip(append.arrivals());
        handed.results.extend(results.map(|(&(part, result), arrival_ms)| (part, result, arrival_ms)));
        handed.is_unknown = append.unknown;
        handed.bytes = self.intake.take_handed(batch);
        self.appends.release(number);
        self.peers.links[from].parcel.settled.push(handed);
    }

    /// What was handed to another reactor is settled.
    fn settled(&mut self, from: usize, handed: Handed) {
        self.stats.handed += handed.records.len() as u64;
        debug_assert!(handed.is_unknown || handed.results.len() == handed.records.len(), "a result a record");
        if handed.is_unknown {
            for part in &handed.records {
                if self.appends.settle_unknown(part.append, 1) {
                    self.append_done(part.append);
                }
            }
        } else {
            for &(part, result, arrival_ms) in &handed.results {
                let HandedRecord { append, index, .. } = handed.records[part as usize];
                match result {
                    AckResult::Durable(shard, sequence) => {
                        self.appends.stored(append, index, shard, sequence, arrival_ms);
                    }
                    AckResult::Refused(code) => {
                        self.stats.refused += 1;
                        self.appends.refuse(append, index, code);
                    }
                    AckResult::Throttled(code, shard) => {
                        self.stats.refused += 1;
                        if code == ErrorCode::Resharding && handed.records[part as usize].is_numbered {
                            self.note_fenced(&handed, part as usize);
                        }
                        self.appends.throttle(append, index, code, shard);
                    }
                }
                if self.appends.settle(append, 1) {
                    self.append_done(append);
                }
            }
        }
        self.peers.links[from].settle(handed);
    }

    /// The owner of a shard knew before this reactor that it is being split, merged or moved, and refused a record.
    fn note_fenced(&mut self, handed: &Handed, part: usize) {
        let HandedRecord { stream, append, .. } = handed.records[part];
        let offset: usize = handed.records[..part].iter().map(|record| record.length as usize).sum();
        let numbered = handed.bytes.get(offset..).and_then(numbered_of);
        if let (Some(Numbered { producer, number }), Asker::Peer(peer, _)) = (numbered, self.appends.find(append).asker)
            && live(&mut self.connections, peer).is_some()
        {
            self.gates.refuse((peer, stream, producer), number);
        }
    }

    /// Sends what was gathered for other reactors in this turn.
    pub(super) fn send_parcels(&mut self) {
        if self.peers.is_alone() {
            return;
        }
        if self.life != Life::Running {
            // No input is taken in any more: what is packed now is the last that this reactor asks for, once commands that are on
            // their way to the disk are announced. The first, which stores what others ask for, hears from all of them before.
            let hears_more = self.owners.own() == 0 && self.peers.numbers().any(|o| !self.peers.links[o].has_finished);
            let is_announced = self.pending.is_empty() && !hears_more;
            for other in self.peers.numbers() {
                let link = &mut self.peers.links[other];
                if !link.is_told && link.is_packed() && is_announced {
                    (link.is_told, link.parcel.has_finished) = (true, true);
                }
            }
        }
        self.peers.send();
    }

    /// Whether nothing crosses between this reactor and others any more.
    pub(super) fn is_parted(&self) -> bool {
        let mut others = self.peers.numbers();
        others.all(|other| self.peers.links[other].has_finished)
            && self.peers.are_quiet()
            && self.incoming.in_use() == 0
            && self.announcing.is_empty()
    }

    /// A flush that all journals of the disk wait for has ended, or a write has failed.
    pub(super) fn wake_others(&self) {
        if !self.peers.is_alone() {
            self.exchange().wake_others(self.owners.own());
        }
    }

    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.peers.exchange
    }
}
