//! Records between their receipt and a commit batch: a queue per shard, served by deficit round robin.
//!
//! A record stays where it was received, in a buffer of the ring, until it is copied into the batch: the one copy in user
//! space. Its payload is verified just before, which brings it into the processor's cache once for both. A record that
//! straddled two receives was gathered and lies in a spill of its own. Nothing is allocated once the tables have grown to the
//! load.

mod encrypted;
mod numbered;
mod parts;

use std::collections::VecDeque;

use frame::batch::Writer;
use frame::frame::numbered_of;
use frame::limits::{FRAME_BYTES_MAX, PART_FRAME_BYTES};
use frame::{Sequence, ShardId};
use io::{Io, Received};

use crate::appends::Appends;
use crate::encryption::Vault;
use crate::journal::Share;
use crate::large::LargeRecords;
use crate::limits::SPILL_KEPT_BYTES;
use crate::producers::Producers;
use crate::shards::Shards;
use crate::slots::Slots;
use encrypted::Dress;
pub(crate) use numbered::Numbering;

const NONE: u32 = u32::MAX;

/// Steps towards the fair level; each at least halves what is left over in common loads.
const FAIR_LEVEL_STEPS: usize = 4;

/// The least that a shard takes in its turn, so that a batch of many shards is still a full one.
const QUANTUM_BYTES_MIN: usize = 4096;

/// An append number that stands for the catalog: its records are answered elsewhere.
pub(crate) const CATALOG_APPEND: u32 = NONE;

/// Where a record's frame lies until it is copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// In a receive buffer, which is held until then.
    Received { buffer: u16, offset: u32 },
    /// In a spill.
    Spilled(u32),
    /// Among the large records: its next part.
    Large(u32),
    /// In a batch that another reactor, or a caller, handed over.
    Handed { batch: u16, offset: u32 },
}

impl Place {
    /// Nowhere: of a record that was refused.
    pub(crate) const NONE: Place = Place::Spilled(NONE);
}

#[derive(Clone, Copy, Debug)]
struct Record {
    place: Place,
    length: u32,
    append: u32,
    index: u32,
    next: u32,
}

impl Default for Record {
    fn default() -> Record {
        Record { place: Place::NONE, length: 0, append: NONE, index: 0, next: NONE }
    }
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u32,
    last: u32,
    bytes: usize,
    deficit: usize,
}

impl Record {
    /// What it is among the large records, if it is one.
    fn large(&self) -> Option<u32> {
        if let Place::Large(large) = self.place { Some(large) } else { None }
    }
}

/// A batch being filled, and all that changes with it.
pub(crate) struct Batch<'a, 'w> {
    pub(crate) writer: &'a mut Writer<'w>,
    pub(crate) shares: &'a mut Vec<Share>,
    /// The append of each record that is refused, as its payload is not what its producer sent.
    pub(crate) refused: &'a mut Vec<u32>,
    pub(crate) appends: &'a mut Appends,
    pub(crate) shards: &'a mut Shards,
    /// When its records arrived.
    pub(crate) now_ms: u64,
    /// Whether a part of a large record may go into it: one at most.
    pub(crate) may_take_part: bool,
    /// The shard whose extent ends within a large record, and the number of that record's first part.
    pub(crate) open: &'a mut Option<(ShardId, Sequence)>,
    pub(crate) numbering: Numbering<'a>,
    /// What records of encrypted streams are encrypted with.
    pub(crate) vault: &'a mut Vault,
}

/// Why a shard's extent ended.
enum ExtentEnd {
    /// The shard has no more records.
    Empty,
    /// Its next frame is more than its share, or a part of a large record that has to wait.
    NotDue,
    /// It gave a part of a large record: the next turn for one is another shard's.
    PartTaken,
    /// Its next frame does not fit.
    Full,
}

/// Records that wait for a commit batch.
#[derive(Debug)]
pub(crate) struct Intake {
    records: Slots<Record>,
    queues: Vec<Queue>,
    /// Shards with records, in the order of their turns.
    active: VecDeque<ShardId>,
    spills: Slots<Vec<u8>>,
    /// What other reactors and callers handed over, until it is settled.
    handed: Slots<Vec<u8>>,
    /// Records, and parsers, that hold each receive buffer.
    holds: Vec<u32>,
    held: usize,
    bytes: usize,
    /// Records in parts, those that are not whole yet as well.
    pub(crate) large: LargeRecords,
}

impl Intake {
    pub(crate) fn new(receive_buffers: usize, shards: usize, large_bytes: usize) -> Intake {
        let mut intake = Intake {
            records: Slots::new(),
            queues: Vec::new(),
            active: VecDeque::new(),
            spills: Slots::new(),
            handed: Slots::new(),
            holds: vec![0; receive_buffers],
            held: 0,
            bytes: 0,
            large: LargeRecords::new(large_bytes),
        };
        intake.grow(shards);
        intake
    }

    /// Makes queues for shards up to `count` in all.
    pub(crate) fn grow(&mut self, count: usize) {
        self.queues.resize(count, Queue { first: NONE, last: NONE, bytes: 0, deficit: 0 });
    }

    /// Bytes of frames that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Shards with waiting records.
    pub(crate) fn active_shards(&self) -> usize {
        self.active.len()
    }

    /// Whether records of a shard wait.
    pub(crate) fn has_records(&self, shard: ShardId) -> bool {
        self.queues[shard.0 as usize].first != NONE
    }

    /// Receive buffers that are held.
    pub(crate) fn held_buffers(&self) -> usize {
        self.held
    }

    /// Holds a receive buffer once more.
    pub(crate) fn hold(&mut self, buffer: u16) {
        let holds = &mut self.holds[usize::from(buffer)];
        self.held += usize::from(*holds == 0);
        *holds += 1;
    }

    /// Lets go of a receive buffer once; the last one gives it back.
    pub(crate) fn release(&mut self, io: &mut impl Io, buffer: u16) {
        let holds = &mut self.holds[usize::from(buffer)];
        *holds -= 1;
        if *holds == 0 {
            self.held -= 1;
            io.recycle(Received { buffer, length: 0 });
        }
    }

    /// Copies a gathered frame aside.
    pub(crate) fn spill(&mut self, frame: &[u8]) -> Place {
        let number = self.spills.take();
        let spill = &mut self.spills[number];
        spill.clear();
        spill.extend_from_slice(frame);
        Place::Spilled(number)
    }

    /// Keeps a gathered frame: `exchange` gives it, for a buffer that is free.
    pub(crate) fn keep_gathered(&mut self, exchange: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Place {
        let number = self.spills.take();
        let free = std::mem::take(&mut self.spills[number]);
        self.spills[number] = exchange(free);
        Place::Spilled(number)
    }

    /// Keeps a batch that another reactor, or a caller, handed over, until it is taken back. The bounds of what may be handed
    /// over are such that its number fits.
    pub(crate) fn keep_handed(&mut self, bytes: Vec<u8>) -> u16 {
        let batch = self.handed.take();
        self.handed[batch] = bytes;
        batch as u16
    }

    /// A batch that was handed over, from an offset on.
    pub(crate) fn handed(&self, batch: u16, offset: u32) -> &[u8] {
        self.handed[u32::from(batch)].get(offset as usize..).unwrap_or_default()
    }

    /// Lends it to who looks at it while records of it are queued, and is to put it back.
    pub(crate) fn lift_handed(&mut self, batch: u16) -> Vec<u8> {
        std::mem::take(&mut self.handed[u32::from(batch)])
    }

    /// Puts it back.
    pub(crate) fn put_handed(&mut self, batch: u16, bytes: Vec<u8>) {
        self.handed[u32::from(batch)] = bytes;
    }

    /// Gives it back, once none of its records waits.
    pub(crate) fn take_handed(&mut self, batch: u16) -> Vec<u8> {
        let bytes = std::mem::take(&mut self.handed[u32::from(batch)]);
        self.handed.release(u32::from(batch));
        bytes
    }

    /// The first `length` bytes at a place.
    pub(crate) fn bytes_at<'a>(&'a self, io: &'a impl Io, place: Place, length: usize) -> &'a [u8] {
        match place {
            Place::Received { buffer, offset } => {
                let received = io.received(Received { buffer, length: offset + length as u32 });
                received.get(offset as usize..).unwrap_or_default()
            }
            Place::Spilled(spill) => self.spills[spill].get(..length).unwrap_or_default(),
            Place::Large(large) => self.large.next(large),
            Place::Handed { batch, offset } => self.handed(batch, offset).get(..length).unwrap_or_default(),
        }
    }

    /// Queues a record of `length` bytes for `shard`: number `index` of append number `append`.
    pub(crate) fn push(&mut self, shard: ShardId, place: Place, length: usize, append: u32, index: u32) {
        let (length, bytes) = match place {
            Place::Large(large) => self.large.queue(large),
            _ => (length, length),
        };
        let number = self.records.take();
        self.records[number] = Record { place, length: length as u32, append, index, next: NONE };
        let queue = &mut self.queues[shard.0 as usize];
        if queue.first == NONE {
            queue.first = number;
            self.active.push_back(shard);
        } else {
            self.records[queue.last].next = number;
        }
        queue.last = number;
        queue.bytes += bytes;
        self.bytes += bytes;
    }

    /// The length of the frame that is next in turn, which a batch must have room for. Shards whose next frame is a part of a
    /// large record are passed over if it has to wait; none, if all are.
    pub(crate) fn next_length(&mut self, may_take_part: bool) -> Option<usize> {
        if !may_take_part {
            let turns = self.active.iter().position(|&shard| !self.is_part_next(shard))?;
            self.active.rotate_left(turns);
        }
        self.first_of(*self.active.front()?).map(|record| record.length as usize)
    }

    /// Bytes that a batch may take: all that waits, but of large records one part.
    pub(crate) fn wanted_bytes(&self, may_take_part: bool) -> usize {
        let part_bytes = if may_take_part { PART_FRAME_BYTES.min(self.large.queued_bytes()) } else { 0 };
        self.bytes - self.large.queued_bytes() + part_bytes
    }

    /// Records that wait, each of large ones counted as one.
    pub(crate) fn records(&self) -> usize {
        self.records.in_use()
    }

    /// Whether some shard's next frame is no part of a large record.
    pub(crate) fn has_ordinary(&self) -> bool {
        self.active.iter().any(|&shard| !self.is_part_next(shard))
    }

    fn is_part_next(&self, shard: ShardId) -> bool {
        self.first_of(shard).is_some_and(|record| record.large().is_some())
    }

    fn first_of(&self, shard: ShardId) -> Option<&Record> {
        self.records.find(self.queues[shard.0 as usize].first)
    }

    /// Fills a batch of `room` bytes of frames, by deficit round robin: a shard in turn takes a fair share of it, in one
    /// extent, and goes to the end of the queue. What it saves up because its next frame is larger counts the next time. A
    /// shard that finds the batch full is the first in the next one. At least one frame is taken, if a good one waits.
    pub(crate) fn fill(&mut self, io: &mut impl Io, batch: &mut Batch<'_, '_>, room: usize) {
        let now_ms = batch.now_ms;
        let level = self.fair_level(room, batch.may_take_part).max(QUANTUM_BYTES_MIN);
        let (mut taken, mut gave_part) = (0, None);
        for _ in 0..self.active.len() {
            let Some(shard) = self.active.pop_front() else { break };
            let deficit = &mut self.queues[shard.0 as usize].deficit;
            *deficit = (*deficit + level).min(room.max(FRAME_BYTES_MAX));
            let (bytes, end) = self.fill_extent(io, batch, shard, now_ms, taken == 0);
            taken += bytes;
            let deficit = &mut self.queues[shard.0 as usize].deficit;
            match end {
                ExtentEnd::Empty => *deficit = 0,
                ExtentEnd::NotDue => self.active.push_back(shard),
                ExtentEnd::PartTaken => gave_part = Some(shard),
                ExtentEnd::Full => {
                    *deficit = deficit.saturating_sub(level);
                    self.active.push_front(shard);
                    break;
                }
            }
        }
        self.active.extend(gave_part);
    }

    /// What each active shard may take of `room`, so that those who want less leave the rest to the others. Where no part may
    /// go, that is all who have one next.
    fn fair_level(&self, room: usize, may_take_part: bool) -> usize {
        if self.bytes <= room {
            return room;
        }
        let takes = |shard: &&ShardId| may_take_part || !self.is_part_next(**shard);
        let mut level = room / self.active.iter().filter(takes).count().max(1);
        for _ in 0..FAIR_LEVEL_STEPS {
            let (mut taken, mut wanting) = (0, 0);
            for shard in self.active.iter().filter(takes) {
                let bytes = self.queues[shard.0 as usize].bytes;
                taken += bytes.min(level);
                wanting += usize::from(bytes > level);
            }
            if wanting == 0 || taken >= room {
                break;
            }
            level += (room - taken) / wanting;
        }
        level
    }

    fn fill_extent(
        &mut self,
        io: &mut impl Io,
        batch: &mut Batch<'_, '_>,
        shard: ShardId,
        now_ms: u64,
        force_one: bool,
    ) -> (usize, ExtentEnd) {
        let state = batch.shards.shard_mut(shard);
        state.arrival_ms = state.arrival_ms.max(now_ms);
        let dress = batch.dress_of(shard);
        let adds = dress.adds_bytes();
        let mut taken = 0;
        while let Some(record) = self.first_of(shard).copied() {
            if let Some(large) = record.large() {
                match self.fill_part(io, batch, shard, &record, large, (taken, force_one, &dress)) {
                    (bytes, None) => taken += bytes,
                    (bytes, Some(end)) => return (taken + bytes, end),
                }
                continue;
            }
            let length = record.length as usize;
            let queue = &self.queues[shard.0 as usize];
            let due = queue.deficit >= length || (force_one && taken == 0);
            if !due {
                return (taken, ExtentEnd::NotDue);
            }
            if !batch.writer.fits(length + adds) {
                return (taken, ExtentEnd::Full);
            }
            let bytes = self.bytes_at(io, record.place, length);
            let numbered = numbered_of(bytes);
            if numbered.is_some() && !self.admit_numbered(io, batch, shard, &record) {
                continue;
            }
            let Batch { writer, shares, refused, appends, shards, numbering, .. } = &mut *batch;
            let state = shards.shard_mut(shard);
            let first = (taken == 0).then_some((shard, state.next));
            let pushed = dress.push(writer, first, self.bytes_at(io, record.place, length), state.arrival_ms);
            self.give_back(io, record.place);
            self.pop(shard);
            numbering.note(shard, numbered, pushed.ok());
            let sequence = match pushed {
                Ok(sequence) => sequence,
                Err(code) => {
                    appends.refuse(record.append, record.index, code);
                    refused.push(record.append);
                    continue;
                }
            };
            let queue = &mut self.queues[shard.0 as usize];
            queue.deficit = queue.deficit.saturating_sub(length);
            state.next = sequence.next();
            if record.append != CATALOG_APPEND {
                appends.stored(record.append, record.index, shard, sequence, state.arrival_ms);
                Share::add(shares, record.append);
            }
            taken += length;
        }
        (taken, ExtentEnd::Empty)
    }

    /// A record's bytes are not needed any more.
    pub(crate) fn give_back(&mut self, io: &mut impl Io, place: Place) {
        match place {
            Place::Received { buffer, .. } => self.release(io, buffer),
            Place::Spilled(spill) => {
                let buffer = &mut self.spills[spill];
                buffer.clear();
                buffer.shrink_to(SPILL_KEPT_BYTES);
                self.spills.release(spill);
            }
            Place::Large(large) => self.large.forget(large),
            // The batch goes back as a whole.
            Place::Handed { .. } => {}
        }
    }

    /// Takes every waiting record away, for a journal that can't write them: their producers are to send them again. Commands
    /// of the catalog go as well, unless it `keeps_commands`.
    pub(crate) fn drain(
        &mut self,
        io: &mut impl Io,
        producers: &mut Producers,
        keeps_commands: bool,
        mut refuse: impl FnMut(u32, u32),
    ) {
        let mut kept = None;
        while let Some(&shard) = self.active.front() {
            if keeps_commands && shard == ShardId::CATALOG {
                kept = self.active.pop_front();
                continue;
            }
            while let Some(record) = self.first_of(shard).copied() {
                refuse(record.append, record.index);
                if let Some(numbered) = numbered_of(self.bytes_at(io, record.place, record.length as usize)) {
                    producers.owe(shard, numbered);
                }
                if let Some(large) = record.large() {
                    self.pop_refused(shard, large);
                } else {
                    self.give_back(io, record.place);
                    self.pop(shard);
                }
            }
            self.queues[shard.0 as usize].deficit = 0;
            self.active.pop_front();
        }
        self.active.extend(kept);
    }

    fn pop(&mut self, shard: ShardId) {
        let queue = &mut self.queues[shard.0 as usize];
        let number = queue.first;
        let record = self.records[number];
        queue.first = record.next;
        queue.bytes -= record.length as usize;
        self.bytes -= record.length as usize;
        self.records.release(number);
    }
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
