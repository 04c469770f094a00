//! The journal: one sequential log of commit batches, in segments, owned by one reactor.
//!
//! A batch is closed when a write in flight is free, written durably, and, once all before it are durable too, handed back
//! for its acknowledgements. The next batch gathers what arrives meanwhile: group commit without a timer. The first write
//! that fails, or is short, poisons the journal until a restart: a second flush could report success while data is gone.

mod commit;
mod drops;
mod history;
mod index;
mod look;
mod moves;
mod names;
mod opening;
mod poison;
mod refusal;
mod seal;
mod segments;
mod tail;

pub(crate) use commit::{Commit, Share, place};
pub(crate) use drops::{Doomed, Dropped, Drops};
pub(crate) use index::{ENTRY_BYTES as INDEX_ENTRY_BYTES, Index};
pub(crate) use moves::Moment;
pub(crate) use names::{UNFINISHED, file_name, parse_name};
pub(crate) use refusal::{Refusals, is_passing};
pub(crate) use seal::{FooterCache, Seal, Sealer};
pub(crate) use segments::{Blueprint, Ready, Segments, Shortage, Spare, Stock, Tokens};
pub(crate) use tail::Tail;

use std::collections::VecDeque;
use std::sync::Arc;

use frame::batch::{FLAG_EPOCH_START, Head, Writer};
use frame::limits::{BLOCK_BYTES, EXTENTS_PER_SEGMENT_MAX};
use frame::segment::{FIRST_BATCH, Footer, FooterHead, FooterWriter, MOVES_UNKNOWN, Trailer, footer_bytes_max};
use frame::{JournalNumber, Position, SegmentNumber};
use io::{Buf, Completion, DirId, FileId, Io, Op, Token};

use crate::catalog::Catalog;
use crate::damage::Damage;
use crate::limits::{BATCH_BYTES_TARGET, COMMANDS_SHARE, COMMITS_UNSETTLED_MAX};
use crate::producers::Producers;
use crate::shards::{Shards, Stored};
use crate::trims;
use crate::watermark::Watermarks;

/// A segment of any journal, in the order in which they are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SegmentId {
    pub(crate) journal: JournalNumber,
    pub(crate) number: SegmentNumber,
}

/// The segment that batches are written to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) number: SegmentNumber,
    pub(crate) dir: DirId,
    pub(crate) file: FileId,
    pub(crate) bytes: u32,
    /// Extents in its batches so far, those in flight included.
    pub(crate) extents: usize,
    /// Shards that its footer has room for: those that there were as its newest batch was closed.
    pub(crate) rows: usize,
    /// The checksum of its last batch, once it was left.
    pub(crate) last_checksum: u64,
    /// Whether it was left before it was full: its file is cut behind its footer.
    pub(crate) is_early: bool,
}

impl Open {
    /// Without batches.
    pub(crate) fn empty(number: SegmentNumber, dir: DirId, file: FileId, bytes: u32) -> Open {
        Open { number, dir, file, bytes, extents: 0, rows: 0, last_checksum: 0, is_early: false }
    }
}

/// A segment that gets no more batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sealed {
    pub(crate) segment: SegmentId,
    pub(crate) file: FileId,
    /// Its file's length.
    pub(crate) bytes: u32,
    /// Where its batches end and its footer starts.
    pub(crate) footer_at: u32,
    pub(crate) footer_length: u32,
}

/// What recovery hands over.
pub(crate) struct Start {
    pub(crate) blueprint: Blueprint,
    pub(crate) open: Open,
    pub(crate) tail: Position,
    pub(crate) previous_checksum: u64,
    pub(crate) index: Index,
    pub(crate) sealed: Vec<Sealed>,
    /// Sealed segments of other journals that hold records of this reactor's shards, a list a journal.
    pub(crate) closed: Vec<Vec<Sealed>>,
    pub(crate) footers: FooterCache,
    /// All damage that is known.
    pub(crate) damage: Damage,
    /// Segments that were left without a footer on disk.
    pub(crate) seals: Vec<Seal>,
    /// What producers have stored in this reactor's shards.
    pub(crate) producers: Producers,
}

/// Who wants room in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// Records, which leave some for commands where there is no next segment.
    Records,
    /// Commands of the catalog and trim points, which may make room; and marks.
    Commands,
}

/// What a journal may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Bytes of the cache of the tail.
    pub(crate) tail_bytes: usize,
    /// Bytes of commit batches that are not handed on yet.
    pub(crate) commit_bytes: usize,
    /// Writes in flight.
    pub(crate) writes: usize,
}

/// One reactor's journal.
pub(crate) struct Journal {
    blueprint: Blueprint,
    open: Open,
    /// Segments left behind by the tail whose last batches are not durable yet, oldest first.
    closing: VecDeque<Open>,
    /// The segment that this life began in.
    began_in: SegmentNumber,
    tail: Position,
    previous_checksum: u64,
    marks: Watermarks,
    /// Written and not handed on yet, oldest first: their writes are in flight, or those before them, or a flush.
    in_flight: VecDeque<Commit>,
    spare: Vec<Commit>,
    serial_front: u32,
    bounds: Bounds,
    /// The end of the newest batch with records.
    content_end: Position,
    /// What the newest batch on disk, or on its way there, says is durable.
    marked: Position,
    poisoned: Option<i32>,
    sealer: Sealer,
    /// What every footer says is damaged.
    damage: Damage,
    /// What footers hold instead of the catalog, where it lies in another journal.
    no_catalog: Catalog,
    pub(crate) segments: Segments,
    pub(crate) index: Index,
    pub(crate) sealed: Vec<Sealed>,
    /// Sealed segments of other journals that hold records of this reactor's shards, a list a journal.
    closed: Vec<Vec<Sealed>>,
    /// How often shards were moved in this life, by whomever, and one more.
    moves: u32,
    /// How often segments were replaced: places among their extents are those of before.
    compactions: u32,
    pub(crate) footers: FooterCache,
    pub(crate) cache: Tail,
    /// What producers that number their records have stored, which footers tell.
    pub(crate) producers: Producers,
    /// Batches written in this life.
    pub(crate) batches: u64,
}

impl Journal {
    pub(crate) fn new(start: Start, segments: Segments, seal: Token, bounds: Bounds) -> Journal {
        let mut sealer = Sealer::new(seal);
        start.seals.into_iter().for_each(|seal| sealer.add(seal));
        Journal {
            blueprint: start.blueprint,
            began_in: start.open.number,
            open: start.open,
            closing: VecDeque::new(),
            tail: start.tail,
            previous_checksum: start.previous_checksum,
            marks: Watermarks::at(start.tail),
            in_flight: VecDeque::with_capacity(COMMITS_UNSETTLED_MAX),
            spare: (0..=COMMITS_UNSETTLED_MAX).map(|_| Commit::with_room()).collect(),
            serial_front: 0,
            bounds,
            content_end: start.tail,
            marked: start.tail,
            poisoned: None,
            sealer,
            damage: start.damage,
            no_catalog: Catalog::new(),
            segments,
            index: start.index,
            sealed: start.sealed,
            closed: start.closed,
            moves: MOVES_UNKNOWN + 1,
            compactions: 0,
            footers: start.footers,
            cache: Tail::new(bounds.tail_bytes),
            producers: start.producers,
            batches: 0,
        }
    }

    /// Its number.
    pub(crate) fn number(&self) -> JournalNumber {
        self.blueprint.journal
    }

    /// Where it makes its segments.
    pub(crate) fn directory(&self) -> DirId {
        self.blueprint.dir
    }

    /// Why appends are refused, if the journal failed: the errno, or 0 for a short write.
    pub(crate) fn poisoned(&self) -> Option<i32> {
        self.poisoned
    }

    /// The open segment, which the index describes unless a closing one is not durable yet.
    pub(crate) fn indexed_segment(&self) -> (SegmentId, FileId) {
        let open = self.closing.front().unwrap_or(&self.open);
        (self.id(open.number), open.file)
    }

    /// The segment that batches are written to.
    pub(crate) fn open_segment(&self) -> SegmentId {
        self.id(self.open.number)
    }

    /// A segment of this journal.
    fn id(&self, number: SegmentNumber) -> SegmentId {
        SegmentId { journal: self.blueprint.journal, number }
    }

    /// Everything before this place is on stable storage.
    pub(crate) fn durable(&self) -> Position {
        self.marks.durable()
    }

    /// Whether a write in flight is free.
    pub(crate) fn may_write(&self) -> bool {
        let writing = self.in_flight.iter().filter(|commit| !commit.written).count();
        let bytes = self.in_flight.iter().map(|commit| commit.length as usize).sum::<usize>();
        self.poisoned.is_none()
            && writing < self.bounds.writes
            && self.in_flight.len() < COMMITS_UNSETTLED_MAX
            && bytes + BATCH_BYTES_TARGET <= self.bounds.commit_bytes
    }

    /// Parts of large records whose writes are in flight.
    pub(crate) fn parts_in_flight(&self) -> usize {
        self.in_flight.iter().filter(|commit| commit.has_part && !commit.written).count()
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_quiet(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Whether the disk does not yet say that everything is durable, or a segment was left and nothing written after it: its
    /// seal waits for a batch in the next one, and the batch that was to be there had nothing but damaged records.
    pub(crate) fn wants_mark(&self) -> bool {
        self.poisoned.is_none() && self.is_quiet() && (self.marked < self.content_end || !self.closing.is_empty())
    }

    /// There is no room for a mark: it is not wanted any more, until more becomes durable.
    pub(crate) fn give_up_mark(&mut self) {
        self.marked = self.content_end;
    }

    /// Whether every left segment is sealed, and no segment is being made.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_quiet() && self.closing.is_empty() && self.sealer.is_idle() && !self.segments.is_busy()
    }

    /// An empty commit, for the caller to fill.
    pub(crate) fn spare_commit(&mut self) -> Commit {
        self.spare.pop().unwrap_or_else(Commit::with_room)
    }

    /// Gives an unused or finished commit back.
    pub(crate) fn recycle(&mut self, mut commit: Commit) {
        commit.clear();
        self.spare.push(commit);
    }

    /// Makes room for a batch of so many bytes with at most so many extents, going on to the next segment where needed.
    pub(crate) fn make_room(
        &mut self,
        (bytes, extents): (usize, usize),
        room: Room,
        shards: &Shards,
        catalogs: [&Catalog; 2],
    ) -> Result<(), Shortage> {
        // The footer is of the catalog as it is durable by then: as it is now, or as commands on their way will make it.
        let kept = || catalogs.iter().map(|catalog| self.kept(catalog));
        let rows = kept().map(Catalog::shard_count).fold(shards.len(), usize::max);
        let told = trims::snapshot_bytes(shards.trims_max()) + self.producers.footer_bytes_max(bytes) + BLOCK_BYTES;
        let catalog_bytes = kept().map(Catalog::snapshot_bytes).fold(0, usize::max) + told;
        let footer_of =
            |extents| footer_bytes_max(rows, extents, catalog_bytes, self.damage.footer_bytes()) + BLOCK_BYTES;
        // Where a whole segment has no room for it, there is none: else each batch would take a segment.
        let has_footer = FIRST_BATCH as usize + bytes + footer_of(extents) <= self.blueprint.segment_bytes as usize;
        let extents = self.open.extents + extents;
        let footer = if has_footer { footer_of(extents) } else { BLOCK_BYTES };
        let is_kept_back = room == Room::Records && !self.segments.has_ready();
        let kept_back = if is_kept_back { self.open.bytes as usize / COMMANDS_SHARE } else { 0 };
        let fits = self.tail.offset() as usize + bytes + footer + kept_back <= self.open.bytes as usize;
        if !fits || extents > EXTENTS_PER_SEGMENT_MAX {
            self.go_to_next()?;
        }
        self.open.rows = rows;
        Ok(())
    }

    /// What this journal's footers say of the catalog: nothing, if another keeps it.
    fn kept<'a>(&'a self, catalog: &'a Catalog) -> &'a Catalog {
        if self.number() == JournalNumber::CATALOG { catalog } else { &self.no_catalog }
    }

    /// Has a segment sealed that recovery left.
    pub(crate) fn add_seal(&mut self, seal: Seal) {
        self.sealer.add(seal);
    }

    /// The header of the batch that goes to the place after the newest one.
    pub(crate) fn head(&self, now_ms: u64, epoch_start_skip: Option<u64>) -> Head {
        Head {
            log_id: self.blueprint.log_id,
            journal: self.blueprint.journal,
            position: self.tail,
            epoch: self.blueprint.epoch,
            flags: if epoch_start_skip.is_some() { FLAG_EPOCH_START } else { 0 },
            previous_checksum: self.previous_checksum,
            durable: self.marks.durable(),
            written_ms: now_ms,
            skip: epoch_start_skip.unwrap_or(0),
        }
    }

    /// Starts the durable write of a batch that was closed under `head`, in the room made by [`Journal::make_room`].
    pub(crate) fn write(&mut self, io: &mut impl Io, head: &Head, buf: Buf, checksum: u64, mut commit: Commit) {
        debug_assert_eq!(head.position, self.tail);
        commit.position = self.tail;
        commit.length = buf.len() as u32;
        commit.began_ns = io.mono_ns();
        self.open.extents += commit.extents.len();
        self.marked = self.marked.max(head.durable);
        self.previous_checksum = checksum;
        self.tail = self.tail.advance(buf.len() as u32);
        self.marks.append(self.tail);
        if !commit.extents.is_empty() {
            self.content_end = self.tail;
        }
        commit.buf = Some(buf.clone());
        let serial = self.serial_front.wrapping_add(self.in_flight.len() as u32);
        self.in_flight.push_back(commit);
        self.batches += 1;
        let offset = u64::from(head.position.offset());
        io.submit(Op::Write { file: self.open.file, offset, buf, durable: true }, crate::token::commit(serial));
    }

    /// Writes an empty batch, which says that all before it is durable.
    ///
    /// # Errors
    /// There is no room or no memory now; the caller tries again.
    pub(crate) fn write_mark(&mut self, io: &mut impl Io, shards: &Shards, catalog: &Catalog) -> Result<(), Shortage> {
        self.make_room((BLOCK_BYTES, 0), Room::Commands, shards, [catalog; 2])?;
        let mut buf = io.pool().take(BLOCK_BYTES).ok_or(Shortage::Making)?;
        let mut commit = self.spare_commit();
        let head = self.head(io.wall_ms(), None);
        let (_, checksum) = Writer::new(&mut buf, &mut commit.extents).finish(&head);
        self.write(io, &head, buf.freeze(), checksum, commit);
        Ok(())
    }

    /// The write of the batch with this serial number has completed. Tells when it began, if it was this life's.
    ///
    /// # Errors
    /// The errno, or 0 for a short write. The journal is poisoned from here on.
    pub(crate) fn complete_write(&mut self, serial: u32, completion: &Completion) -> Result<Option<u64>, i32> {
        let at = serial.wrapping_sub(self.serial_front) as usize;
        let Some(commit) = self.in_flight.get_mut(at) else { return Ok(None) };
        if completion.result.cast_unsigned() != commit.length {
            let errno = completion.result.min(0);
            self.poisoned.get_or_insert(errno);
            return Err(errno);
        }
        commit.written = true;
        self.marks.write(commit.end());
        Ok(Some(commit.began_ns))
    }

    /// The oldest batch in flight, if it has become durable: its records may be read from here on, and are to be
    /// acknowledged. The caller gives it back by [`Journal::acknowledged`].
    ///
    /// None while a segment ahead is being flushed, by this reactor or another, on the disk that it lies on. A flush of the
    /// device that fails may let go of all that is in the device's cache, a batch among it whose own flush comes after it and is good (virtual disks: the host's fsync reports
    /// lost pages once). That failure is told to whoever asked for that flush, on another thread, and the batch's success
    /// may be heard of first. So the batch waits for the outcome of every flush that it ran beside. Writes of this journal
    /// need no such care: the kernel does not begin a flush while another one runs, so that of two whose order matters the
    /// failure is posted to the same ring a whole flush earlier.
    pub(crate) fn next_durable(&mut self, shards: &mut Shards, catalog: &Catalog) -> Option<Commit> {
        let dir = self.oldest_written()?;
        if self.poisoned.is_some() || !self.segments.flushes().are_good(dir) {
            return None;
        }
        let mut commit = self.in_flight.pop_front()?;
        self.serial_front = self.serial_front.wrapping_add(1);
        let end = commit.end();
        while let Some(left) = self.closing.front().filter(|left| left.number < commit.position.segment()).copied() {
            self.closing.pop_front();
            self.seal(left, shards, catalog);
        }
        self.marks.make_durable(end);
        self.producers.make_durable(&commit.placed);
        for extent in &commit.extents {
            match commit.open {
                Some((shard, open)) if shard == extent.shard => shards.make_durable_within(extent, open),
                _ => shards.make_durable(extent),
            }
        }
        commit.extents.iter().for_each(|extent| self.index.push(extent.shard, place(commit.position, extent)));
        if let Some(buf) = commit.buf.take() {
            self.cache.push(commit.position, buf);
        }
        Some(commit)
    }

    /// The acknowledgements of a durable batch are on their way.
    pub(crate) fn acknowledged(&mut self, commit: Commit) {
        self.marks.ack(commit.end());
        self.recycle(commit);
    }

    /// The batches that were in flight when the journal was poisoned, oldest first: nobody knows what became of them.
    pub(crate) fn take_unknown(&mut self) -> impl Iterator<Item = Commit> + '_ {
        self.serial_front = self.serial_front.wrapping_add(self.in_flight.len() as u32);
        self.in_flight.drain(..)
    }

    /// Makes the footer of a segment whose batches are all durable. The index goes on with the next segment.
    fn seal(&mut self, left: Open, shards: &Shards, catalog: &Catalog) {
        let mut writer = FooterWriter::default();
        // There may be no room for shards that were made since. Of those nothing is stored here, as of all that are made later.
        for (shard, _) in shards.iter().filter(|(shard, _)| (shard.0 as usize) < left.rows || !shards.is_new(*shard)) {
            // A large record may go on in the next segment: its parts in this one are there, although nobody sees them yet.
            let Stored { next, arrival_ms } = shards.stored(shard);
            let first = self.index.first_sequence(shard).unwrap_or(next);
            writer.shard(shard, first, next, arrival_ms, self.index.extents(shard));
        }
        self.damage.write(&mut writer);
        let end = self.marks.durable();
        let Blueprint { log_id, journal, epoch, .. } = self.blueprint;
        let (last_checksum, moves) = (left.last_checksum, self.moves);
        let head = FooterHead { log_id, journal, position: end, epoch, last_checksum, stands_for: 0, moves };
        let mut snapshot = self.kept(catalog).snapshot();
        trims::add_to_snapshot(&mut snapshot, shards.trims(|shard| catalog.stream_of(shard).is_some()));
        self.producers.add_to_snapshot(&mut snapshot);
        let (footer, footer_checksum) = writer.finish(&head, &snapshot);
        let footer_length = footer.len() as u32;
        let trailer = Trailer { log_id, journal, epoch, footer: end, footer_length, footer_checksum };
        let segment = SegmentId { journal, number: left.number };
        let sealed_bytes = end.offset() + footer_length + BLOCK_BYTES as u32;
        let (file, bytes) = (left.file, if left.is_early { sealed_bytes.min(left.bytes) } else { left.bytes });
        self.sealed.push(Sealed { segment, file, bytes, footer_at: end.offset(), footer_length });
        if let Some(footer) = Footer::parse(footer.clone()) {
            // Readers find it in memory until its write is durable: what is on disk before that is no footer.
            self.footers.pin(segment, Arc::new(footer));
        }
        self.sealer.add(Seal { file, file_bytes: bytes, whole_bytes: left.bytes, footer, trailer });
        self.index.restart(shards.iter().map(|(shard, _)| shards.stored(shard).next));
    }

    /// Starts what the journal needs besides batches. `idle` allows zeros to be written into segments ahead.
    pub(crate) fn advance(&mut self, io: &mut impl Io, idle: bool) {
        if self.poisoned.is_none() {
            self.sealer.advance(io);
            if !self.sealed.is_empty() {
                self.segments.keep_reserve();
            }
            self.segments.advance(io, idle);
        }
    }
}
