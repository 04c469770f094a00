//! What lives of a run of segments, on its way into one: which stretches to read, the batch that is being gathered, and the
//! footer in the end. Decides and encodes; nothing here touches the disk.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use frame::batch::{Extent, FLAG_COMPACTED, Head, Writer, batch_bytes};
use frame::limits::BLOCK_BYTES;
use frame::segment::{FIRST_BATCH, Footer, FooterHead, FooterWriter, Header, PlacedExtent, Trailer};
use frame::{Frame, Position, Sequence, ShardId};
use io::{Buf, BufMut, FileId};

use crate::journal::{Sealed, SegmentId, place};
use crate::limits::{BATCH_BYTES_TARGET, COMPACTION_GAP_BYTES, FOOTER_CHUNK_BYTES, READ_WINDOW_BYTES};
use crate::space::View;

/// Frames of one shard, numbered without gaps, in the batch that is being gathered.
#[derive(Clone, Debug)]
struct Piece {
    shard: ShardId,
    first: Sequence,
    range: Range<usize>,
}

/// A segment's end, once all that lives is in it.
#[derive(Debug)]
struct Seal {
    footer: Vec<u8>,
    trailer: [u8; BLOCK_BYTES],
    header: [u8; BLOCK_BYTES],
    written: usize,
}

/// A copy that is being made.
pub(super) struct Copy {
    newest: SegmentId,
    /// Segments of the run whose footers were seen, and what is left to read of the last of them.
    taken_up: usize,
    source: Option<Sealed>,
    left: VecDeque<(ShardId, PlacedExtent)>,
    /// Extents that are being read.
    reading: Vec<(ShardId, PlacedExtent)>,
    read_at: u64,
    frames: Vec<u8>,
    pieces: Vec<Piece>,
    /// Where the next batch goes, and what it is chained to.
    at: u32,
    batch_length: u32,
    checksum: u64,
    /// By shard, the first number of the oldest row, and its extents in the new segment.
    firsts: BTreeMap<ShardId, Sequence>,
    extents: BTreeMap<ShardId, Vec<PlacedExtent>>,
    /// The oldest number that the new segment stands for.
    stands_from: u32,
    footer: Option<Arc<Footer>>,
    sealed: Option<Seal>,
}

impl Copy {
    /// One that takes the place of `newest`.
    pub(super) fn into(newest: SegmentId) -> Copy {
        Copy {
            newest,
            taken_up: 0,
            source: None,
            left: VecDeque::new(),
            reading: Vec::new(),
            read_at: 0,
            frames: Vec::new(),
            pieces: Vec::new(),
            at: FIRST_BATCH,
            batch_length: 0,
            // 0 says that nothing ever came before.
            checksum: 1,
            firsts: BTreeMap::new(),
            extents: BTreeMap::new(),
            stands_from: newest.number.0,
            footer: None,
            sealed: None,
        }
    }

    pub(super) fn newest(&self) -> SegmentId {
        self.newest
    }

    /// How many segments of the run were taken up.
    pub(super) fn taken_up(&self) -> usize {
        self.taken_up
    }

    /// The segment that is being read.
    pub(super) fn source(&self) -> SegmentId {
        self.source.map_or(self.newest, |source| source.segment)
    }

    /// Takes up the next segment of the run: what lives in it is read next.
    pub(super) fn take_up(&mut self, sealed: &Sealed, footer: Arc<Footer>, view: &View<'_>) {
        let mut left: Vec<(ShardId, PlacedExtent)> = Vec::new();
        for row in footer.shards() {
            self.firsts.entry(row.shard).or_insert(row.first);
            let Some(from) = view.lives_from(&row) else { continue };
            let live = footer.extents(&row).filter(|extent| extent.last_sequence() >= from);
            left.extend(live.map(|extent| (row.shard, extent)));
        }
        left.sort_unstable_by_key(|(_, extent)| extent.offset);
        let number = sealed.segment.number.0;
        self.stands_from = self.stands_from.min(number - footer.head.stands_for.saturating_sub(1).min(number));
        (self.left, self.source) = (left.into(), Some(*sealed));
        self.footer = Some(footer);
        self.taken_up += 1;
    }

    /// Whether all that was taken up was read.
    pub(super) fn is_read(&self) -> bool {
        self.left.is_empty()
    }

    /// Whether there is anything to write.
    pub(super) fn has_batch(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Whether the next extent to read goes into another batch.
    pub(super) fn is_batch_full(&self) -> bool {
        let next = self.left.front().map_or(0, |(_, extent)| extent.length as usize);
        self.has_batch() && next > 0 && !self.fits(next, 1)
    }

    fn fits(&self, bytes: usize, extents: usize) -> bool {
        batch_bytes(self.frames.len() + bytes, self.pieces.len() + extents) <= BATCH_BYTES_TARGET
    }

    /// What to read next: extents that lie close together, as many as the batch has room for, but one in any case.
    pub(super) fn next_read(&mut self) -> (FileId, Range<u64>) {
        // There was no memory for it the last time.
        while let Some(extent) = self.reading.pop() {
            self.left.push_front(extent);
        }
        let (mut start, mut end, mut bytes) = (0, 0, 0);
        while let Some((_, extent)) = self.left.front() {
            let (from, to) = (u64::from(extent.offset), u64::from(extent.offset) + u64::from(extent.length));
            let more = bytes + extent.length as usize;
            let is_near = from <= end + COMPACTION_GAP_BYTES && to - start <= READ_WINDOW_BYTES as u64;
            let is_first = self.reading.is_empty();
            let joins = is_first || (is_near && self.fits(more, self.reading.len() + 1));
            if !joins {
                break;
            }
            start = if is_first { from } else { start };
            (end, bytes) = (to, more);
            self.reading.extend(self.left.pop_front());
        }
        let block = BLOCK_BYTES as u64;
        self.read_at = start / block * block;
        let file = self.source.map_or(FileId(0), |source| source.file);
        (file, self.read_at..end.next_multiple_of(block))
    }

    /// Takes what was read into the batch. `None` if it is not what was written.
    pub(super) fn gather(&mut self, bytes: &[u8]) -> Option<()> {
        for (shard, extent) in std::mem::take(&mut self.reading) {
            let at = (u64::from(extent.offset) - self.read_at) as usize;
            let frames = bytes.get(at..at + extent.length as usize)?;
            is_intact(frames, shard, &extent).then_some(())?;
            let start = self.frames.len();
            self.frames.extend_from_slice(frames);
            self.pieces.push(Piece { shard, first: extent.first_sequence, range: start..self.frames.len() });
        }
        Some(())
    }

    /// Bytes that the batch takes at most.
    pub(super) fn batch_bytes(&self) -> usize {
        batch_bytes(self.frames.len(), self.pieces.len())
    }

    /// Closes the batch. Where it is to be written.
    pub(super) fn close_batch(&mut self, mut buf: BufMut) -> (u64, Buf) {
        let Some(newest) = self.footer.as_ref().map(|footer| footer.head) else { unreachable!("a footer came before") };
        // A shard's pieces keep their order, and those that follow each other become one extent.
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.sort_by_key(|piece| piece.shard);
        let mut extents: Vec<Extent> = Vec::with_capacity(pieces.len());
        let position = Position::new(self.newest.number, self.at);
        let mut writer = Writer::new(&mut buf, &mut extents);
        let (mut due, mut arrival_ms) = (None, 0);
        for Piece { shard, first, range } in pieces {
            if due != Some((shard, first)) {
                writer.begin_extent(shard, first);
            }
            let (mut frames, mut next) = (&self.frames[range], first);
            while let Ok(frame) = Frame::parse_stored(frames) {
                let (this, rest) = frames.split_at(frame.length());
                let pushed = writer.push(this, frame.arrival_ms());
                debug_assert_eq!(pushed, Ok(next), "it was verified, and stays what it is");
                (next, arrival_ms, frames) = (next.next(), arrival_ms.max(frame.arrival_ms()), rest);
            }
            due = Some((shard, next));
        }
        let head = Head {
            log_id: newest.log_id,
            journal: newest.journal,
            position,
            epoch: newest.epoch,
            flags: FLAG_COMPACTED,
            previous_checksum: self.checksum,
            durable: position,
            written_ms: arrival_ms,
            skip: 0,
        };
        let (length, checksum) = writer.finish(&head);
        buf.truncate(length);
        (self.batch_length, self.checksum) = (length as u32, checksum);
        self.frames.clear();
        for extent in &extents {
            self.extents.entry(extent.shard).or_default().push(place(position, extent));
        }
        (u64::from(self.at), buf.freeze())
    }

    /// The batch was written, so many bytes of it. `None` if that is not all.
    pub(super) fn written(&mut self, bytes: u32) -> Option<()> {
        (bytes == self.batch_length).then_some(())?;
        self.at += bytes;
        Some(())
    }

    /// Makes footer, trailer and header. `false` if nothing was taken up.
    pub(super) fn seal(&mut self) -> bool {
        let Some(newest) = self.footer.take() else { return false };
        let mut writer = FooterWriter::default();
        for row in newest.shards() {
            let first = self.firsts.get(&row.shard).copied().unwrap_or(row.first);
            let extents = self.extents.remove(&row.shard).unwrap_or_default();
            writer.shard(row.shard, first, row.next, row.arrival_ms, extents);
        }
        newest.damaged_records().for_each(|records| writer.damaged_records(&records));
        newest.damaged_stretches().for_each(|stretch| writer.damaged_stretch(&stretch));
        let position = Position::new(self.newest.number, self.at);
        let stands_for = self.newest.number.0 - self.stands_from + 1;
        let head = FooterHead { position, stands_for, ..newest.head };
        let FooterHead { log_id, journal, epoch, .. } = head;
        let (footer, footer_checksum) = writer.finish(&head, newest.catalog());
        let footer_length = footer.len() as u32;
        let trailer = Trailer { log_id, journal, epoch, footer: position, footer_length, footer_checksum };
        let file_bytes = u64::from(self.at + footer_length) + BLOCK_BYTES as u64;
        let header = Header { log_id, journal, segment: self.newest.number, epoch, file_bytes };
        self.sealed = Some(Seal { footer, trailer: trailer.encode(), header: header.encode(), written: 0 });
        true
    }

    /// The length of the file.
    pub(super) fn file_bytes(&self) -> u32 {
        self.at + self.footer_length() + BLOCK_BYTES as u32
    }

    fn footer_length(&self) -> u32 {
        self.sealed.as_ref().map_or(0, |seal| seal.footer.len() as u32)
    }

    /// What is written next of footer, trailer and header, and where.
    pub(super) fn next_of_seal(&self) -> (u64, &[u8]) {
        let Some(seal) = &self.sealed else { return (0, &[]) };
        let rest = seal.footer.get(seal.written..).unwrap_or_default();
        if !rest.is_empty() {
            (u64::from(self.at) + seal.written as u64, &rest[..rest.len().min(FOOTER_CHUNK_BYTES)])
        } else if seal.written == seal.footer.len() {
            (u64::from(self.file_bytes()) - BLOCK_BYTES as u64, &seal.trailer)
        } else {
            (0, &seal.header)
        }
    }

    /// So much of that was written: whether it was the last. `None` if that is not all that it should be.
    pub(super) fn written_of_seal(&mut self, bytes: u32) -> Option<bool> {
        let (offset, expected) = self.next_of_seal();
        (bytes as usize == expected.len()).then_some(())?;
        let seal = self.sealed.as_mut()?;
        seal.written += bytes as usize;
        Some(offset == 0)
    }

    /// The segment as it is from now on.
    pub(super) fn finish(self, file: FileId) -> Option<(Sealed, Arc<Footer>)> {
        let (bytes, footer_length) = (self.file_bytes(), self.footer_length());
        let sealed = Sealed { segment: self.newest, file, bytes, footer_at: self.at, footer_length };
        Some((sealed, Arc::new(Footer::parse(self.sealed?.footer)?)))
    }
}

/// Whether these are the frames of an extent, as they were written.
fn is_intact(mut frames: &[u8], shard: ShardId, extent: &PlacedExtent) -> bool {
    let mut due = extent.first_sequence;
    while !frames.is_empty() {
        let Ok(frame) = Frame::parse_stored(frames) else { return false };
        let is_sound = frame.verify_header(shard).is_ok() && frame.verify_payload().is_ok();
        if !is_sound || frame.sequence() != due {
            return false;
        }
        due = due.next();
        frames = frames.get(frame.length()..).unwrap_or_default();
    }
    due == extent.last_sequence().next()
}
