//! Reads by sequence number: from the cache of the tail where it reaches, else from the disk.
//!
//! ```text
//!   request -> plan: index of the open segment, or footers of sealed ones -> pieces, each in memory or on disk
//!           -> chunks read from the disk -> frames verified -> answer
//! ```
//!
//! Only durable records are seen. What comes from the disk is believed only if its frames' checksums say so for this very
//! shard. A footer that is not in memory is read first, and the plan made again.

use std::collections::VecDeque;
use std::ops::{Range, RangeInclusive};
use std::rc::Rc;

use frame::proto::{ErrorCode, Failure, Read, ReadResult};
use frame::segment::{Footer, PlacedExtent};
use frame::{Frame, Position, SegmentNumber, Sequence, ShardId};
use io::{Buf, BufMut, FileId, Io, Op};

use crate::damage::Damage;
use crate::handle::Asker;
use crate::journal::{Journal, Sealed, Tail};
use crate::limits::{READ_BYTES_IN_PROGRESS_MAX, READ_CHUNK_BYTES_MAX, READ_CHUNKS_MAX, READ_RESULT_BYTES_MAX};
use crate::shards::Shards;
use crate::slots::Slots;
use crate::token;

const BLOCK: u64 = frame::limits::BLOCK_BYTES as u64;

/// A run of one shard's frames: their numbers, without gaps, and where it is.
#[derive(Debug)]
struct Piece {
    numbers: RangeInclusive<Sequence>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// In memory, as it was written.
    Memory(Buf, Range<usize>),
    /// On disk: bytes of a chunk of this request.
    Disk { chunk: usize, range: Range<usize> },
}

/// One read from the disk.
#[derive(Debug)]
struct Chunk {
    file: FileId,
    start: u64,
    end: u64,
    buf: Option<Buf>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Waiting,
    /// A footer is being read.
    Footer(Sealed),
    /// Chunks are being read; so many are missing.
    Chunks(usize),
}

/// One request. Reused.
#[derive(Debug, Default)]
pub(crate) struct Request {
    asker: Asker,
    read: Option<Read>,
    state: State,
    pieces: Vec<Piece>,
    chunks: Vec<Chunk>,
    held_bytes: usize,
}

/// An answer: frames in these runs, or a refusal.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The fixed part, and the frames behind it.
    Records(ReadResult, Vec<(Buf, Range<usize>)>),
    /// What happened, and what to do.
    Failure(Failure),
}

/// An answer and who gets it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) asker: Asker,
    pub(crate) answer: Answer,
}

/// A read from the disk that has completed: of which request, which of its chunks, and what it brought.
#[derive(Debug)]
pub(crate) struct ChunkRead {
    pub(crate) slot: u32,
    pub(crate) chunk: u16,
    pub(crate) result: i32,
    pub(crate) buf: Option<BufMut>,
}

/// What a plan came to.
enum Plan {
    Answer(Answer),
    NeedFooter(Sealed),
    Ready,
}

/// All read requests in progress.
#[derive(Debug)]
pub(crate) struct Reads {
    requests: Slots<Request>,
    waiting: VecDeque<u32>,
    held_bytes: usize,
}

impl Reads {
    pub(crate) fn new() -> Reads {
        Reads { requests: Slots::new(), waiting: VecDeque::new(), held_bytes: 0 }
    }

    /// Queues a request.
    pub(crate) fn add(&mut self, asker: Asker, read: Read) {
        let slot = self.requests.take();
        let entry = &mut self.requests[slot];
        (entry.asker, entry.read) = (asker, Some(read));
        entry.state = State::Waiting;
        entry.pieces.clear();
        entry.chunks.clear();
        entry.held_bytes = 0;
        self.waiting.push_back(slot);
    }

    /// Whether no request is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.in_use() == 0
    }

    /// Starts what memory allows, and answers what needs no disk.
    pub(crate) fn advance(&mut self, io: &mut impl Io, sight: &mut Sight<'_>, answered: &mut Vec<Answered>) {
        while let Some(&slot) = self.waiting.front() {
            if self.held_bytes > 0 && self.held_bytes + READ_RESULT_BYTES_MAX * 2 > READ_BYTES_IN_PROGRESS_MAX {
                return;
            }
            self.waiting.pop_front();
            self.start(io, sight, answered, slot);
        }
    }

    fn start(&mut self, io: &mut impl Io, sight: &mut Sight<'_>, answered: &mut Vec<Answered>, slot: u32) {
        let request = &mut self.requests[slot];
        let Some(read) = request.read else { return };
        match request.plan(&read, sight) {
            Plan::Answer(answer) => self.finish(slot, answer, answered),
            Plan::NeedFooter(sealed) => {
                let Some(buf) = io.pool().take(sealed.footer_length as usize) else {
                    return self.finish(slot, busy(), answered);
                };
                self.requests[slot].state = State::Footer(sealed);
                let offset = u64::from(sealed.footer_at);
                io.submit(Op::Read { file: sealed.file, offset, buf }, token::chunk(slot, 0));
            }
            Plan::Ready if request.chunks.is_empty() => {
                let answer = request.answer(&read, sight);
                self.finish(slot, answer, answered);
            }
            Plan::Ready => {
                let wanted: usize = request.chunks.iter().map(|chunk| (chunk.end - chunk.start) as usize).sum();
                let bufs: Option<Vec<BufMut>> =
                    request.chunks.iter().map(|chunk| io.pool().take((chunk.end - chunk.start) as usize)).collect();
                let Some(bufs) = bufs else { return self.finish(slot, busy(), answered) };
                request.state = State::Chunks(bufs.len());
                request.held_bytes = wanted;
                for (number, (chunk, buf)) in request.chunks.iter().zip(bufs).enumerate() {
                    io.submit(
                        Op::Read { file: chunk.file, offset: chunk.start, buf },
                        token::chunk(slot, number as u16),
                    );
                }
                self.held_bytes += wanted;
            }
        }
    }

    /// A chunk, or a footer, was read.
    pub(crate) fn complete(
        &mut self,
        io: &mut impl Io,
        sight: &mut Sight<'_>,
        answered: &mut Vec<Answered>,
        read: ChunkRead,
    ) {
        let ChunkRead { slot, chunk, result, buf } = read;
        let request = &mut self.requests[slot];
        let whole = buf.filter(|buf| result.cast_unsigned() as usize == buf.len());
        match &mut request.state {
            State::Waiting => {}
            State::Footer(sealed) => {
                let sealed = *sealed;
                match whole.and_then(|buf| Footer::parse(buf.to_vec())) {
                    Some(footer) => {
                        sight.journal.footers.insert(sealed.number, Rc::new(footer));
                        self.start(io, sight, answered, slot);
                    }
                    None => self.finish(slot, damaged_footer(sealed.number), answered),
                }
            }
            State::Chunks(missing) => {
                *missing -= 1;
                let done = *missing == 0;
                if let Some(chunk) = request.chunks.get_mut(usize::from(chunk)) {
                    chunk.buf = whole.map(BufMut::freeze);
                }
                if let (true, Some(read)) = (done, request.read) {
                    let answer = request.answer(&read, sight);
                    self.finish(slot, answer, answered);
                }
            }
        }
    }

    fn finish(&mut self, slot: u32, answer: Answer, answered: &mut Vec<Answered>) {
        let request = &mut self.requests[slot];
        request.pieces.clear();
        request.chunks.clear();
        request.read = None;
        self.held_bytes -= std::mem::take(&mut request.held_bytes);
        answered.push(Answered { asker: request.asker, answer });
        self.requests.release(slot);
    }
}

/// What reads look at.
pub(crate) struct Sight<'a> {
    pub(crate) journal: &'a mut Journal,
    pub(crate) shards: &'a Shards,
    pub(crate) damage: &'a Damage,
}

impl Request {
    /// Decides where the frames come from.
    fn plan(&mut self, read: &Read, sight: &mut Sight<'_>) -> Plan {
        self.pieces.clear();
        self.chunks.clear();
        let Some(shard) = sight.shards.find(read.shard).copied() else {
            return Plan::Answer(failure(ErrorCode::UnknownShard, format!("there is no shard {}", read.shard)));
        };
        let from = read.from.max(Sequence(1));
        if let Err(failure) = shard.check_given(read.shard, from) {
            return Plan::Answer(Answer::Failure(failure));
        }
        if let Some(next) = sight.damage.covers(read.shard, from) {
            let last = next.0 - 1;
            let detail = format!("records {from} to {last} of shard {} are damaged; read on from {next}", read.shard);
            return Plan::Answer(failure(ErrorCode::Damaged, detail));
        }
        let (bytes_max, mut from) = ((read.bytes_max as usize).min(READ_RESULT_BYTES_MAX), from);
        while sight.journal.index.first_sequence(read.shard).is_some_and(|first| from < first) {
            match find_sealed(sight.journal, read.shard, from) {
                Err(sealed) => return Plan::NeedFooter(sealed),
                Ok(None) => break,
                Ok(Some((sealed, footer))) => {
                    let Some(row) = footer.shard(read.shard) else { break };
                    let extents = footer.extents(&row).skip_while(|extent| extent.last_sequence() < from);
                    self.gather(&mut sight.journal.cache, sealed.number, sealed.file, extents, bytes_max);
                    if !self.pieces.is_empty() {
                        return Plan::Ready;
                    }
                    // What is left of this segment's numbers are those that recovery skipped.
                    from = row.next;
                }
            }
        }
        let (segment, file) = sight.journal.indexed_segment();
        let extents = sight.journal.index.extents_from(read.shard, from);
        let extents: Vec<PlacedExtent> = extents.take(READ_CHUNKS_MAX * 8).collect();
        self.gather(&mut sight.journal.cache, segment, file, extents.into_iter(), bytes_max);
        Plan::Ready
    }

    /// Takes extents until there are enough bytes, or chunks.
    fn gather(
        &mut self,
        cache: &mut Tail,
        segment: SegmentNumber,
        file: FileId,
        extents: impl Iterator<Item = PlacedExtent>,
        bytes_max: usize,
    ) {
        let mut bytes = 0;
        for extent in extents {
            if bytes > 0 && (bytes >= bytes_max || bytes + extent.length as usize > 2 * READ_RESULT_BYTES_MAX) {
                return;
            }
            let position = Position::new(segment, extent.offset);
            if bytes == 0 {
                cache.asked(position);
            }
            bytes += extent.length as usize;
            if let Some((buf, at)) = cache.find(position) {
                let source = Source::Memory(buf.clone(), at..at + extent.length as usize);
                self.pieces.push(Piece { numbers: extent.first_sequence..=extent.last_sequence(), source });
            } else if !self.add_disk(file, &extent) {
                return;
            }
        }
    }

    /// Adds an extent to the last chunk, if they lie close, or to a new one. `false` if there are chunks enough.
    fn add_disk(&mut self, file: FileId, extent: &PlacedExtent) -> bool {
        let (from, to) = (u64::from(extent.offset), u64::from(extent.offset) + u64::from(extent.length));
        let (start, end) = (from / BLOCK * BLOCK, to.next_multiple_of(BLOCK));
        let near = |chunk: &&mut Chunk| {
            let together = end - chunk.start <= READ_CHUNK_BYTES_MAX as u64;
            chunk.file == file && start <= chunk.end + MERGE_GAP_BYTES && together
        };
        if let Some(chunk) = self.chunks.last_mut().filter(near) {
            chunk.end = end.max(chunk.end);
        } else if self.chunks.len() < READ_CHUNKS_MAX {
            self.chunks.push(Chunk { file, start, end, buf: None });
        } else {
            return false;
        }
        let chunk = self.chunks.len() - 1;
        let base = self.chunks[chunk].start;
        let source = Source::Disk { chunk, range: (from - base) as usize..(to - base) as usize };
        self.pieces.push(Piece { numbers: extent.first_sequence..=extent.last_sequence(), source });
        true
    }

    /// Makes the answer out of what was read: verified, from the first frame wanted, up to the bytes wanted.
    fn answer(&mut self, read: &Read, sight: &Sight<'_>) -> Answer {
        let from = read.from.max(Sequence(1));
        let bytes_max = (read.bytes_max as usize).min(READ_RESULT_BYTES_MAX);
        let tip = sight.shards.find(read.shard).map_or(from, |shard| shard.durable_next);
        let tip_arrival_ms = sight.shards.find(read.shard).map_or(0, |shard| shard.durable_arrival_ms);
        let mut result = ReadResult { shard: read.shard, records: 0, next: from, tip, tip_arrival_ms };
        let end = sight.damage.next_after(read.shard, from).unwrap_or(tip);
        let mut runs = Vec::new();
        let mut bytes = 0;
        for piece in &self.pieces {
            let (buf, range, verify) = match &piece.source {
                Source::Memory(buf, range) => (buf, range.clone(), false),
                Source::Disk { chunk, range } => match self.chunks.get(*chunk).and_then(|chunk| chunk.buf.as_ref()) {
                    Some(buf) => (buf, range.clone(), true),
                    None => {
                        return stop_at_damage(result, runs, "the disk did not read them", None);
                    }
                },
            };
            let extent = Extent { bytes: &buf[range.clone()], shard: read.shard, numbers: &piece.numbers, verify };
            let run = walk(&extent, &mut result, end, bytes_max.saturating_sub(bytes));
            if !run.taken.is_empty() {
                bytes += run.taken.len();
                runs.push((buf.clone(), range.start + run.taken.start..range.start + run.taken.end));
            }
            match run.end {
                RunEnd::Whole => {}
                RunEnd::Enough => break,
                RunEnd::AtEnd => {
                    result.next = end;
                    break;
                }
                RunEnd::Damaged { next } => {
                    return stop_at_damage(result, runs, "they differ from their checksums", next);
                }
            }
        }
        if result.records == 0 && self.pieces.is_empty() {
            // Nothing lies between `from` and the tip but numbers that recovery skipped.
            result.next = end;
        }
        Answer::Records(result, runs)
    }
}

/// Extents closer than this are read at once.
const MERGE_GAP_BYTES: u64 = 16 << 10;

enum RunEnd {
    Whole,
    Enough,
    /// The next frame lies past the end asked for.
    AtEnd,
    /// A frame that is wanted is not what was written; `next` is the first intact one after it in the extent.
    Damaged {
        next: Option<Sequence>,
    },
}

struct Run {
    taken: Range<usize>,
    end: RunEnd,
}

/// An extent as it was read, and what it must be.
struct Extent<'a> {
    bytes: &'a [u8],
    shard: ShardId,
    numbers: &'a RangeInclusive<Sequence>,
    verify: bool,
}

impl<'a> Extent<'a> {
    /// The frame at `at`, if it is intact. One of another number than the extent holds was written somewhere else, and
    /// ended up here.
    fn frame(&self, at: usize) -> Option<Frame<'a>> {
        let frame = Frame::parse(&self.bytes[at..]).ok().filter(|frame| self.numbers.contains(&frame.sequence()))?;
        (!self.verify || (frame.verify_header(self.shard).is_ok() && frame.verify_payload().is_ok())).then_some(frame)
    }

    /// The place and number of the first intact frame after the damaged one at `at`, which bears number `due`. The length
    /// that a damaged frame claims is not believed: every place where a frame may begin is looked at.
    fn next_intact(&self, at: usize, due: Sequence) -> Option<(usize, Sequence)> {
        let places = (at + 8..self.bytes.len()).step_by(8);
        let mut frames = places.filter_map(|place| Some((place, self.frame(place)?.sequence())));
        frames.find(|&(_, sequence)| sequence > due)
    }
}

/// Walks the frames of an extent: passes over those before `result.next`, counts those from there to `end` while they fit.
fn walk(extent: &Extent<'_>, result: &mut ReadResult, end: Sequence, bytes_max: usize) -> Run {
    let (mut at, mut start, mut due) = (0, None, *extent.numbers.start());
    while at < extent.bytes.len() {
        let Some(frame) = extent.frame(at).filter(|frame| frame.sequence() == due) else {
            match extent.next_intact(at, due) {
                // What is damaged lies before what is wanted.
                Some((place, sequence)) if start.is_none() && sequence <= result.next => {
                    (at, due) = (place, sequence);
                    continue;
                }
                next => {
                    let next = next.map(|(_, sequence)| sequence);
                    return Run { taken: start.unwrap_or(at)..at, end: RunEnd::Damaged { next } };
                }
            }
        };
        if frame.sequence() >= result.next {
            if frame.sequence() >= end {
                return Run { taken: start.unwrap_or(at)..at, end: RunEnd::AtEnd };
            }
            let first = *start.get_or_insert(at);
            let enough = at + frame.length() - first > bytes_max && result.records > 0;
            if enough {
                return Run { taken: first..at, end: RunEnd::Enough };
            }
            result.records += 1;
            result.next = frame.sequence().next();
        }
        at += frame.length();
        due = due.next();
    }
    Run { taken: start.unwrap_or(at)..at, end: RunEnd::Whole }
}

/// What was read before the damage is good; the damage is told when it is asked for by itself.
fn stop_at_damage(result: ReadResult, runs: Vec<(Buf, Range<usize>)>, why: &str, next: Option<Sequence>) -> Answer {
    if result.records > 0 {
        return Answer::Records(result, runs);
    }
    let (shard, from) = (result.shard, result.next);
    let detail = match next {
        Some(next) => {
            let range = format!("{from} to {}", next.0 - 1);
            format!("records {range} of shard {shard} can't be read: {why}; check the disk, read on from {next}")
        }
        None => {
            format!("records of shard {shard} from {from} on can't be read: {why}; check the disk, read on after them")
        }
    };
    failure(ErrorCode::Damaged, detail)
}

fn damaged_footer(segment: SegmentNumber) -> Answer {
    failure(ErrorCode::Damaged, format!("the footer of segment {segment} can't be read; restart to have it made again"))
}

fn busy() -> Answer {
    failure(ErrorCode::Busy, "memory for reads is used up; try again".to_owned())
}

fn failure(code: ErrorCode, detail: String) -> Answer {
    Answer::Failure(Failure { code, detail })
}

/// The sealed segment that holds the shard's record `from`, or the first after it. `Err`: this footer is needed first.
fn find_sealed(journal: &mut Journal, shard: ShardId, from: Sequence) -> Result<Option<(Sealed, Rc<Footer>)>, Sealed> {
    let (mut low, mut high) = (0, journal.sealed.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let sealed = journal.sealed[middle];
        let footer = journal.footers.find(sealed.number).ok_or(sealed)?;
        let next = footer.shard(shard).map_or(Sequence(1), |row| row.next);
        if next > from { high = middle } else { low = middle + 1 }
    }
    let Some(&sealed) = journal.sealed.get(low) else { return Ok(None) };
    let footer = journal.footers.find(sealed.number).ok_or(sealed)?;
    Ok(Some((sealed, footer)))
}
