//! Sealing: a segment that will get no more batches receives its footer, then its trailer, each made durable. One that was left
//! early gets its trailer right behind the footer, and then a header that says that its file ends there.
//!
//! Nothing waits for it: appends go on in the next segment, reads use the footer from memory, and recovery scans a segment
//! whose footer did not make it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use frame::ShardId;
use frame::limits::BLOCK_BYTES;
use frame::segment::{Footer, Header, ShardRow, Trailer};
use io::{Completion, DirId, FileId, Io, Op, Token};

use super::{Doomed, SegmentId};
use crate::limits::{FOOTER_CHUNK_BYTES, FOOTER_ROWS_KEPT_MAX};

/// A segment's footer and trailer, to be written.
#[derive(Debug)]
pub(crate) struct Seal {
    pub(crate) file: FileId,
    /// Its file's length, and what that is until it is sealed.
    pub(crate) file_bytes: u32,
    pub(crate) whole_bytes: u32,
    pub(crate) footer: Vec<u8>,
    pub(crate) trailer: Trailer,
}

impl Seal {
    pub(super) fn segment(&self) -> SegmentId {
        SegmentId { journal: self.trailer.journal, number: self.trailer.footer.segment() }
    }

    /// The header that tells the file's length.
    fn header(&self) -> Header {
        let Trailer { log_id, journal, epoch, footer, .. } = self.trailer;
        Header { log_id, journal, segment: footer.segment(), epoch, file_bytes: u64::from(self.file_bytes) }
    }

    /// What is written of it.
    fn bytes(&self) -> usize {
        let blocks = 1 + usize::from(self.file_bytes < self.whole_bytes);
        self.footer.len() + blocks * BLOCK_BYTES
    }

    /// What is to be cut off the file once it is on disk.
    pub(super) fn rest(&self, dir: DirId) -> Option<Doomed> {
        let (bytes, kept_bytes) = (u64::from(self.whole_bytes), u64::from(self.file_bytes));
        let rest = Doomed { segment: self.segment(), dir, file: self.file, bytes, kept_bytes, is_named: true };
        (kept_bytes < bytes).then_some(rest)
    }

    /// Whether there is room for it. There is none where damage was found in a segment that was almost full, or where there are
    /// more shards than segments of that size can tell of: it stays without, and is replayed at every start.
    fn fits(&self) -> bool {
        let footer_end = self.trailer.footer.offset() as usize + self.footer.len();
        footer_end + BLOCK_BYTES <= self.file_bytes as usize
    }
}

/// A footer on its way to the disk, and what comes after it.
#[derive(Debug)]
struct Job {
    seal: Seal,
    written: usize,
}

/// Segments being sealed, one write at a time.
#[derive(Debug)]
pub(crate) struct Sealer {
    token: Token,
    jobs: VecDeque<Job>,
    in_flight: usize,
}

impl Sealer {
    pub(crate) fn new(token: Token) -> Sealer {
        Sealer { token, jobs: VecDeque::new(), in_flight: 0 }
    }

    /// Begins to seal a segment, if there is room for its footer.
    pub(crate) fn add(&mut self, seal: Seal) {
        if !seal.fits() {
            let (segment, footer_bytes) = (seal.segment(), seal.footer.len());
            return tracing::warn!(
                ?segment,
                footer_bytes,
                "a segment has no room for its footer, which stays in memory: starts will read all of the segment"
            );
        }
        self.jobs.push_back(Job { seal, written: 0 });
    }

    /// Starts the next write, if none is in flight.
    pub(crate) fn advance(&mut self, io: &mut impl Io) {
        let Some(job) = self.jobs.front_mut().filter(|_| self.in_flight == 0) else { return };
        let rest = job.seal.footer.get(job.written..).unwrap_or_default();
        let (trailer, header) = (job.seal.trailer.encode(), job.seal.header().encode());
        let (offset, bytes): (u64, &[u8]) = if !rest.is_empty() {
            let footer_at = u64::from(job.seal.trailer.footer.offset());
            (footer_at + job.written as u64, &rest[..rest.len().min(FOOTER_CHUNK_BYTES)])
        } else if job.written == job.seal.footer.len() {
            (u64::from(job.seal.file_bytes) - BLOCK_BYTES as u64, &trailer)
        } else {
            (0, &header)
        };
        let Some(mut buf) = io.pool().take(bytes.len()) else { return };
        buf.copy_from_slice(bytes);
        self.in_flight = bytes.len();
        io.submit(Op::Write { file: job.seal.file, offset, buf: buf.freeze(), durable: true }, self.token);
    }

    /// A write has completed. Tells what it was the last write of: that footer can be read from disk from now on.
    /// `Err` with the errno if it failed, short writes included.
    pub(crate) fn complete(&mut self, completion: &Completion) -> Result<Option<Seal>, i32> {
        let expected = std::mem::take(&mut self.in_flight);
        if completion.result.cast_unsigned() as usize != expected {
            self.jobs.clear();
            return Err(completion.result.min(0));
        }
        let Some(job) = self.jobs.front_mut() else { return Ok(None) };
        job.written += expected;
        let is_sealed = job.written >= job.seal.bytes();
        Ok(if is_sealed { self.jobs.pop_front().map(|job| job.seal) } else { None })
    }

    /// Whether every segment is sealed.
    pub(crate) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.in_flight == 0
    }
}

/// Footers in memory, the newest used kept, within a budget.
pub(crate) struct FooterCache {
    /// Those that are not on disk, or not yet. Kept whatever the budget.
    pinned: BTreeMap<SegmentId, Arc<Footer>>,
    entries: VecDeque<(SegmentId, Arc<Footer>)>,
    bytes: usize,
    budget_bytes: usize,
    /// Rows that were asked for, the newest of them, also where their footers have gone since: a search looks at a row of many
    /// segments, and begins anew with each footer that is read for it. So it ends however few footers there is room for.
    rows: BTreeMap<(SegmentId, ShardId), Option<ShardRow>>,
    rows_asked: VecDeque<(SegmentId, ShardId)>,
}

impl FooterCache {
    pub(crate) fn new(budget_bytes: usize, pinned: BTreeMap<SegmentId, Arc<Footer>>) -> FooterCache {
        let (rows, rows_asked) = (BTreeMap::new(), VecDeque::new());
        FooterCache { pinned, entries: VecDeque::new(), bytes: 0, budget_bytes, rows, rows_asked }
    }

    /// What a segment's footer says of a shard, if that is known here.
    pub(crate) fn row(&mut self, segment: SegmentId, shard: ShardId) -> Option<Option<ShardRow>> {
        if let Some(row) = self.rows.get(&(segment, shard)) {
            return Some(*row);
        }
        let row = self.find(segment)?.shard(shard);
        if self.rows_asked.len() >= FOOTER_ROWS_KEPT_MAX
            && let Some(oldest) = self.rows_asked.pop_front()
        {
            self.rows.remove(&oldest);
        }
        self.rows.insert((segment, shard), row);
        self.rows_asked.push_back((segment, shard));
        Some(row)
    }

    fn forget_rows(&mut self, of: SegmentId) {
        let mut all = self.rows.range((of, ShardId(0))..=(of, ShardId(u32::MAX)));
        if all.next().is_some() {
            self.rows.retain(|(segment, _), _| *segment != of);
            self.rows_asked.retain(|(segment, _)| *segment != of);
        }
    }

    /// What they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.pinned.values().map(|footer| footer.memory_bytes()).sum::<usize>()
    }

    /// The footer of a segment, if it is in memory. It becomes the newest used.
    pub(crate) fn find(&mut self, segment: SegmentId) -> Option<Arc<Footer>> {
        if let Some(footer) = self.pinned.get(&segment) {
            return Some(Arc::clone(footer));
        }
        let at = self.entries.iter().position(|(number, _)| *number == segment)?;
        let entry = self.entries.remove(at)?;
        let footer = Arc::clone(&entry.1);
        self.entries.push_back(entry);
        Some(footer)
    }

    /// The footer of a segment, if it is in memory alone.
    pub(crate) fn pinned(&self, segment: SegmentId) -> Option<Arc<Footer>> {
        self.pinned.get(&segment).cloned()
    }

    /// Whether a footer is in memory alone.
    pub(crate) fn is_pinned(&self, segment: SegmentId) -> bool {
        self.pinned.contains_key(&segment)
    }

    /// Lets go of the footer of a segment that is gone.
    pub(crate) fn forget(&mut self, segment: SegmentId) {
        self.pinned.remove(&segment);
        self.forget_rows(segment);
        if let Some(at) = self.entries.iter().position(|(known, _)| *known == segment)
            && let Some((_, footer)) = self.entries.remove(at)
        {
            self.bytes -= footer.memory_bytes();
        }
    }

    /// Keeps a footer that is not on disk yet, until [`FooterCache::unpin`].
    pub(crate) fn pin(&mut self, segment: SegmentId, footer: Arc<Footer>) {
        self.pinned.insert(segment, footer);
        self.forget_rows(segment);
    }

    /// A footer is on disk now, and may be let go of like any other.
    pub(crate) fn unpin(&mut self, segment: SegmentId) {
        if let Some(footer) = self.pinned.remove(&segment) {
            self.insert(segment, footer);
        }
    }

    /// Keeps a footer that is on disk, and lets go of the longest unused past the budget. One is always kept.
    pub(crate) fn insert(&mut self, segment: SegmentId, footer: Arc<Footer>) {
        self.bytes += footer.memory_bytes();
        self.entries.push_back((segment, footer));
        while self.bytes > self.budget_bytes && self.entries.len() > 1 {
            if let Some((_, oldest)) = self.entries.pop_front() {
                self.bytes -= oldest.memory_bytes();
            }
        }
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
