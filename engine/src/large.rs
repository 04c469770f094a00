//! Large records, from their first part's arrival to their last part's commit batch.
//!
//! A record's parts gather here until it is whole, and only then does it go to its shard's queue, where it stands as one:
//! so nothing of the shard comes between its parts, and one that never becomes whole was never stored. Room for all of it is
//! taken with its first part, so that no two records can keep each other from becoming whole; those that find none wait in
//! turn. Other frames of some size that lie in several receives take room here as well while they gather, and wait for it in the
//! same turn; those of a large record that has begun have theirs. The parts lie in buffers of their own, which were gathered by their connection and are not copied, and are used
//! again.

use std::collections::VecDeque;

use frame::parts::{Run, RunError};
use frame::proto::ErrorCode;
use frame::{Frame, Part, Sequence};

use crate::router::Outline;
use crate::slots::Slots;
use crate::token::Peer;

/// One large record. Reused.
#[derive(Debug, Default)]
struct Large {
    run: Run,
    /// Why it is refused as soon as it is whole. Its parts are not kept.
    refused: Option<ErrorCode>,
    /// Parts that are in no batch yet.
    parts: VecDeque<Vec<u8>>,
    /// Bytes of the pool that it takes.
    bytes: usize,
    /// When its first part came.
    began_ns: u64,
    /// What the first part says of its route.
    outline: Outline,
    /// The number of its first part and the arrival of all of it, once that is in a batch.
    stored: Option<(Sequence, u64)>,
}

/// All large records that are not in batches yet.
#[derive(Debug)]
pub(crate) struct LargeRecords {
    records: Slots<Large>,
    bytes_max: usize,
    bytes: usize,
    /// Buffers to be used again. They count as well.
    spare: Vec<Vec<u8>>,
    spare_bytes: usize,
    /// Connections whose next record found no room, the longest waiting first.
    waiting: VecDeque<Peer>,
    /// Records in the queues of their shards, and bytes of their parts.
    queued: usize,
    queued_bytes: usize,
}

impl LargeRecords {
    /// None, and room for so many bytes of them.
    pub(crate) fn new(bytes_max: usize) -> LargeRecords {
        LargeRecords {
            records: Slots::new(),
            bytes_max,
            bytes: 0,
            spare: Vec::new(),
            spare_bytes: 0,
            waiting: VecDeque::new(),
            queued: 0,
            queued_bytes: 0,
        }
    }

    /// Bytes taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a record of so many bytes may begin: there is room for all of it.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.bytes_max
    }

    /// Frames of a record that is whole and in no batch, in their order.
    pub(crate) fn frames(&self, number: u32) -> impl Iterator<Item = &[u8]> {
        self.records[number].parts.iter().map(Vec::as_slice)
    }

    /// A connection's next record waits for room.
    pub(crate) fn wait(&mut self, peer: Peer) {
        self.waiting.push_back(peer);
    }

    /// Who waits, the longest waiting first.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = Peer> {
        self.waiting.iter().copied()
    }

    /// Who has waited longest.
    pub(crate) fn first_waiting(&self) -> Option<Peer> {
        self.waiting.front().copied()
    }

    /// Who has waited longest waits no more.
    pub(crate) fn end_wait(&mut self) {
        self.waiting.pop_front();
    }

    /// A frame of so many bytes gathers.
    pub(crate) fn begin_gathering(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.drop_spare();
    }

    /// It is whole, or its connection has ended.
    pub(crate) fn end_gathering(&mut self, bytes: usize) {
        self.bytes -= bytes;
    }

    /// Whether what began before `ns` holds up others, who wait for room.
    pub(crate) fn holds_up_others(&self, began_ns: u64, ns: u64) -> bool {
        !self.waiting.is_empty() && began_ns < ns
    }

    /// A record begins, which takes so many bytes of the room there is; or is refused when it is whole.
    pub(crate) fn begin(&mut self, outline: Outline, room: Result<usize, ErrorCode>, now_ns: u64) -> u32 {
        let number = self.records.take();
        let record = &mut self.records[number];
        record.run.clear();
        record.parts.clear();
        (record.outline, record.began_ns, record.stored) = (outline, now_ns, None);
        (record.bytes, record.refused) = (room.unwrap_or(0), room.err());
        self.bytes += record.bytes;
        self.drop_spare();
        number
    }

    /// Gives memory back that there is no room for.
    fn drop_spare(&mut self) {
        while self.bytes + self.spare_bytes > self.bytes_max
            && let Some(spare) = self.spare.pop()
        {
            self.spare_bytes -= spare.capacity();
        }
    }

    /// Checks that a frame is the next part of a record. Whether that is whole now.
    pub(crate) fn take(&mut self, number: u32, frame: &Frame<'_>, part: Part) -> Result<bool, RunError> {
        self.records[number].run.take(frame, part)
    }

    /// What is wrong with a record if no part of it follows now.
    pub(crate) fn cut(&self, number: u32) -> Option<RunError> {
        self.records[number].run.cut()
    }

    /// Why a record is refused, if it is.
    pub(crate) fn refused(&self, number: u32) -> Option<ErrorCode> {
        self.records[number].refused
    }

    /// What is known of a record's route.
    pub(crate) fn outline(&self, number: u32) -> Outline {
        self.records[number].outline
    }

    /// When a record's first part came.
    pub(crate) fn began_ns(&self, number: u32) -> u64 {
        self.records[number].began_ns
    }

    /// A buffer for a part.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        let spare = self.spare.pop().unwrap_or_default();
        self.spare_bytes -= spare.capacity();
        spare
    }

    /// Keeps a copy of a part until it is in a batch.
    pub(crate) fn keep_copy(&mut self, number: u32, part: &[u8]) {
        let mut kept = self.spare();
        kept.clear();
        kept.extend_from_slice(part);
        self.keep(number, kept);
    }

    /// Keeps a part until it is in a batch.
    pub(crate) fn keep(&mut self, number: u32, part: Vec<u8>) {
        self.records[number].parts.push_back(part);
    }

    /// A record goes to its shard's queue. The bytes of its next part, and of all.
    pub(crate) fn queue(&mut self, number: u32) -> (usize, usize) {
        let bytes = self.left(number);
        self.queued += 1;
        self.queued_bytes += bytes;
        (self.next(number).len(), bytes)
    }

    /// Records in queues.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Bytes of their parts.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// A record's next part.
    pub(crate) fn next(&self, number: u32) -> &[u8] {
        self.records.find(number).and_then(|record| record.parts.front()).map_or(&[], Vec::as_slice)
    }

    /// The number of a record's first part and the arrival of all of it, if that is in a batch.
    pub(crate) fn stored(&self, number: u32) -> Option<(Sequence, u64)> {
        self.records[number].stored
    }

    /// The next part of a queued record was copied into a batch: as `stored`, if it is the first. The length of the one
    /// after it; none, and the record is gone, if it was the last.
    pub(crate) fn copied(&mut self, number: u32, stored: (Sequence, u64)) -> Option<usize> {
        let record = &mut self.records[number];
        record.stored.get_or_insert(stored);
        let part = record.parts.pop_front()?;
        self.queued_bytes -= part.len();
        let freed = part.len().min(record.bytes);
        record.bytes -= freed;
        self.bytes -= freed;
        let next = record.parts.front().map(Vec::len);
        self.put_back(part);
        if next.is_none() {
            self.queued -= 1;
            self.forget(number);
        }
        next
    }

    /// A queued record goes no further. The bytes of its parts that are in no batch.
    pub(crate) fn refuse(&mut self, number: u32) -> usize {
        let left = self.left(number);
        self.queued -= 1;
        self.queued_bytes -= left;
        self.forget(number);
        left
    }

    /// A record is gone.
    pub(crate) fn forget(&mut self, number: u32) {
        let record = &mut self.records[number];
        self.bytes -= std::mem::take(&mut record.bytes);
        while let Some(part) = self.records[number].parts.pop_front() {
            self.put_back(part);
        }
        self.records.release(number);
    }

    fn left(&self, number: u32) -> usize {
        self.records[number].parts.iter().map(Vec::len).sum()
    }

    fn put_back(&mut self, part: Vec<u8>) {
        if self.bytes + self.spare_bytes + part.capacity() <= self.bytes_max {
            self.spare_bytes += part.capacity();
            self.spare.push(part);
        }
    }
}
