//! Where the records that a read wants come from.

use std::ops::{Range, RangeInclusive};

use frame::proto::{ErrorCode, Failure};
use frame::segment::{PlacedExtent, ShardRow};
use frame::{Position, Sequence, ShardId};
use io::{Buf, FileId};

use super::windows::{Place, Windows};
use super::{Answer, Mark, Sight, Wanted, failure};
use crate::journal::{Journal, Sealed, SegmentId, Tail};
use crate::limits::{
    READ_AHEAD_BYTES_MAX, READ_PIECES_KEPT, READ_PIECES_MAX, READ_RESULT_BYTES_MAX, READ_WINDOW_BYTES,
    READ_WINDOW_OVERLAP_BYTES, READ_WINDOWS_MAX,
};

const BLOCK: u64 = frame::limits::BLOCK_BYTES as u64;

/// Extents closer than this are read at once.
const MERGE_GAP_BYTES: u64 = 16 << 10;

/// Windows that many share start at multiples of this.
const STRIDE: u64 = (READ_WINDOW_BYTES - READ_WINDOW_OVERLAP_BYTES) as u64;

/// A run of one shard's frames: their numbers, without gaps, and where it is.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) numbers: RangeInclusive<Sequence>,
    pub(super) source: Source,
}

#[derive(Debug)]
pub(super) enum Source {
    /// In memory, as it was written.
    Memory(Buf, Range<usize>),
    /// On disk: bytes of a segment, which lie within one of the plan's places.
    Disk { place: usize, range: Range<u64> },
}

/// What a plan came to.
pub(super) enum Outcome {
    /// There is nothing to read.
    Answer(Answer),
    /// A footer must be read first.
    NeedFooter(Sealed),
    /// The pieces are known.
    Ready,
}

/// Pieces, the places on disk that they need, and those that the next reads will need. Reused.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) pieces: Vec<Piece>,
    pub(super) places: Vec<Place>,
    pub(super) ahead: Vec<Place>,
}

/// A segment as far as it may be read.
struct Ground<'a> {
    segment: SegmentId,
    file: FileId,
    end: u64,
    /// Where its newest batches may be in memory: of this reactor's journal alone.
    cache: Option<&'a mut Tail>,
}

impl Ground<'_> {
    /// What lies at an offset, if it is in memory, and where in that.
    fn find(&self, offset: u32) -> Option<(&Buf, usize)> {
        self.cache.as_ref()?.find(Position::new(self.segment.number, offset))
    }
}

impl Plan {
    pub(super) fn clear(&mut self) {
        self.pieces.clear();
        // There may be many requests, and few of so many pieces.
        self.pieces.shrink_to(READ_PIECES_KEPT);
        self.places.clear();
        self.ahead.clear();
    }

    /// The place of a footer is all that is needed.
    pub(super) fn need_footer(&mut self, sealed: &Sealed) {
        self.clear();
        let (start, end) = (u64::from(sealed.footer_at), u64::from(sealed.footer_at + sealed.footer_length));
        self.places.push(Place { segment: sealed.segment, file: sealed.file, start, end });
    }

    /// Decides where the frames come from. What is wanted by time is from here on wanted by number as well.
    pub(super) fn make(&mut self, wanted: &mut Wanted, sight: &mut Sight<'_>, windows: &Windows) -> Outcome {
        self.clear();
        let Some(shard) = sight.shards.find(wanted.shard).copied() else {
            return Outcome::Answer(failure(ErrorCode::UnknownShard, format!("there is no shard {}", wanted.shard)));
        };
        if let Err(failure) = shard.check_given(wanted.shard, wanted.from) {
            return Outcome::Answer(Answer::Failure(failure));
        }
        wanted.from = wanted.from.max(sight.shards.first_kept(wanted.shard));
        if wanted.since_ms > shard.durable_arrival_ms || wanted.from >= shard.durable_next {
            wanted.from = shard.durable_next;
            return Outcome::Ready;
        }
        if wanted.since_ms > 0
            && !wanted.search.is_over
            && let Err(sealed) = locate(wanted, sight)
        {
            return Outcome::NeedFooter(sealed);
        }
        // What expired behind the trim point is passed over as well, without a look at the disk.
        let kept_since_ms = sight.kept_since_ms(wanted.shard);
        loop {
            let from = wanted.from;
            if from >= shard.durable_next {
                // What lies there is of a record that is not whole yet, if anything does.
                return Outcome::Ready;
            }
            if let Some(next) = sight.damage.covers(wanted.shard, from) {
                return Outcome::Answer(damaged(wanted.shard, from, next.min(shard.durable_next)));
            }
            if sight.journal.index.first_sequence(wanted.shard).is_none_or(|first| from >= first) {
                break;
            }
            match self.make_sealed(wanted, sight, windows, shard.durable_next, kept_since_ms) {
                Err(sealed) => return Outcome::NeedFooter(sealed),
                Ok(None) => break,
                Ok(Some(_)) if !self.pieces.is_empty() => return Outcome::Ready,
                // Damage lies before that one's end: it is asked for by itself.
                Ok(Some(next)) if sight.damage.next_after(wanted.shard, from).is_some_and(|damage| damage <= next) => {
                    return Outcome::Ready;
                }
                // What is left of this segment's numbers has expired, or recovery skipped it. It is not looked at again when the
                // next footer has been read: of those of many segments this one may have had to go by then.
                Ok(Some(next)) => wanted.from = next,
            }
        }
        let from = wanted.from;
        let (segment, file) = sight.journal.indexed_segment();
        let durable = sight.journal.durable();
        let end = if durable.segment() == segment.number { u64::from(durable.offset()) } else { 0 };
        let Journal { index, cache, .. } = &mut *sight.journal;
        let is_kept = |extent: &PlacedExtent| extent.last_sequence() >= from && extent.arrival_ms >= kept_since_ms;
        let extents = index.extents_where(wanted.shard, is_kept);
        let extents = extents.take_while(|extent| extent.first_sequence < shard.durable_next);
        self.gather(wanted, windows, Ground { segment, file, end, cache: Some(cache) }, extents);
        Outcome::Ready
    }

    /// Takes what is wanted of the sealed segment that holds the number it starts at, and tells where that one's numbers end; `None`
    /// if no sealed one does. `Err`: this footer is needed first.
    fn make_sealed(
        &mut self,
        wanted: &mut Wanted,
        sight: &mut Sight<'_>,
        windows: &Windows,
        durable_next: Sequence,
        kept_since_ms: u64,
    ) -> Result<Option<Sequence>, Sealed> {
        let from = wanted.from;
        let compactions = sight.journal.compactions();
        let is_known =
            |mark: &Mark| mark.compactions == compactions && mark.cursor.next() <= from && from < mark.row.next;
        let known = wanted.mark.filter(is_known);
        let found = if known.is_some() { known } else { find_number(sight.journal, wanted, from)? };
        let Some(Mark { sealed, row, cursor, .. }) = found else { return Ok(None) };
        let footer = sight.journal.footers.find(sealed.segment).ok_or(sealed)?;
        let is_kept = |extent: &PlacedExtent| extent.last_sequence() >= from && extent.arrival_ms >= kept_since_ms;
        let extents = footer.extents_from(cursor).skip_while(|(_, extent)| !is_kept(extent));
        let mut extents = extents.peekable();
        wanted.mark = extents.peek().map(|&(cursor, _)| Mark { compactions, sealed, row, cursor });
        let extents = extents.map(|(_, extent)| extent);
        let extents = extents.take_while(|extent| extent.first_sequence < durable_next);
        let (segment, file, end) = (sealed.segment, sealed.file, u64::from(sealed.footer_at));
        let is_own = segment.journal == sight.journal.number();
        let cache = is_own.then_some(&mut sight.journal.cache);
        self.gather(wanted, windows, Ground { segment, file, end, cache }, extents);
        Ok(Some(row.next))
    }

    /// Takes extents until there are enough bytes, or places; and then, for who reads on, places ahead. Who reads on takes
    /// what one place has, and comes back for the next: so those who go the same way stay together.
    fn gather(
        &mut self,
        wanted: &Wanted,
        windows: &Windows,
        mut ground: Ground<'_>,
        extents: impl Iterator<Item = PlacedExtent>,
    ) {
        let (mut bytes, mut is_enough) = (0, false);
        let places_max = if wanted.sharers > 0 { 1 } else { READ_WINDOWS_MAX };
        for extent in extents {
            let length = extent.length as usize;
            let range = u64::from(extent.offset)..u64::from(extent.offset) + length as u64;
            is_enough |= bytes > 0 && (bytes >= wanted.bytes_max || bytes + length > 2 * READ_RESULT_BYTES_MAX);
            is_enough |= self.pieces.len() >= READ_PIECES_MAX;
            if is_enough && !self.go_ahead(wanted, windows, &ground, &range) {
                return;
            }
            if is_enough {
                continue;
            }
            if let Some(cache) = ground.cache.as_mut().filter(|_| bytes == 0) {
                cache.asked(Position::new(ground.segment.number, extent.offset));
            }
            let source = if let Some((buf, at)) = ground.find(extent.offset) {
                Source::Memory(buf.clone(), at..at + length)
            } else if let Some(place) = add(&mut self.places, places_max, wanted, windows, &ground, &range) {
                Source::Disk { place, range }
            } else {
                is_enough = true;
                continue;
            };
            bytes += length;
            self.pieces.push(Piece { numbers: extent.first_sequence..=extent.last_sequence(), source });
        }
    }

    /// Adds what comes after the pieces, for who reads on from the disk. `false` if that is enough.
    fn go_ahead(&mut self, wanted: &Wanted, windows: &Windows, ground: &Ground<'_>, range: &Range<u64>) -> bool {
        let holds = |places: &[Place]| places.last().is_some_and(|place| place.contains(ground.segment, range));
        if wanted.sharers == 0 || self.places.is_empty() {
            return false;
        }
        if holds(&self.places) || holds(&self.ahead) {
            return true;
        }
        let is_in_memory = ground.find(range.start as u32).is_some();
        let is_full = self.ahead.iter().map(Place::bytes).sum::<usize>() >= READ_AHEAD_BYTES_MAX;
        !is_in_memory && !is_full && add(&mut self.ahead, READ_WINDOWS_MAX, wanted, windows, ground, range).is_some()
    }
}

/// The place among `places` that holds `range`; a new one if there is none, and not `places_max`.
fn add(
    places: &mut Vec<Place>,
    places_max: usize,
    wanted: &Wanted,
    windows: &Windows,
    ground: &Ground<'_>,
    range: &Range<u64>,
) -> Option<usize> {
    if let Some(last) = places.last_mut() {
        if last.contains(ground.segment, range) {
            return Some(places.len() - 1);
        }
        let end = range.end.next_multiple_of(BLOCK).max(last.end);
        let is_near = range.start >= last.start && range.start <= last.end + MERGE_GAP_BYTES;
        if is_near && end - last.start <= READ_WINDOW_BYTES as u64 && windows.find(ground.segment, range).is_none() {
            last.end = end;
            return Some(places.len() - 1);
        }
    }
    if places.len() >= places_max {
        return None;
    }
    let place = windows.find(ground.segment, range).unwrap_or_else(|| place_of(wanted, ground, range));
    places.push(place);
    Some(places.len() - 1)
}

/// Where to read `range`: with what lies around it, if that is short and others are about to want it.
fn place_of(wanted: &Wanted, ground: &Ground<'_>, range: &Range<u64>) -> Place {
    let Ground { segment, file, end, .. } = *ground;
    let length = (range.end - range.start) as usize;
    if length <= READ_WINDOW_OVERLAP_BYTES && wanted.sharers * length >= READ_WINDOW_BYTES / 4 {
        let start = range.start / STRIDE * STRIDE;
        let shared = Place { segment, file, start, end: (start + READ_WINDOW_BYTES as u64).min(end) };
        if shared.contains(segment, range) {
            return shared;
        }
    }
    Place { segment, file, start: range.start / BLOCK * BLOCK, end: range.end.next_multiple_of(BLOCK) }
}

fn damaged(shard: ShardId, from: Sequence, next: Sequence) -> Answer {
    let last = next.0 - 1;
    let detail = format!("records {from} to {last} of shard {shard} are damaged; read on from {next}");
    Answer::Failure(Failure::damaged(from..next, detail))
}

/// Finds the number that a time stands for: of the first record that may have arrived by then, damaged ones included.
/// `Err`: this footer is needed first.
fn locate(wanted: &mut Wanted, sight: &mut Sight<'_>) -> Result<(), Sealed> {
    let (shard, since_ms) = (wanted.shard, wanted.since_ms);
    let in_time = |extent: &PlacedExtent| extent.arrival_ms >= since_ms;
    if wanted.search.journals == 0 {
        // First: what lies here may be sealed while footers are read, in a segment that is looked at before or after.
        let newest = sight.journal.index.extents_where(shard, in_time).next();
        wanted.search.least = newest.map(|extent| extent.first_sequence);
    }
    for history in 0..sight.journal.histories() {
        let Some(journal) = sight.journal.history(history).first().map(|sealed| sealed.segment.journal) else {
            continue;
        };
        let bit = 1 << journal.0;
        if wanted.search.journals & bit != 0 {
            continue;
        }
        if let Some(Mark { sealed, row, .. }) =
            find_sealed(sight.journal, history, shard, |row| row.arrival_ms >= since_ms)?
        {
            let footer = sight.journal.footers.find(sealed.segment).ok_or(sealed)?;
            let found = footer.extents(&row).find(in_time).map(|extent| extent.first_sequence);
            // Its records of that time are not in the footer: recovery lost them.
            let found = found.unwrap_or(row.first);
            wanted.search.least = Some(wanted.search.least.map_or(found, |least| least.min(found)));
        }
        wanted.search.journals |= bit;
    }
    let first = wanted.search.least.unwrap_or(wanted.from).max(wanted.from);
    // What was lost right before it may have arrived in time.
    let lost = sight.damage.ends_at(shard, first);
    wanted.from = lost.unwrap_or(first).max(wanted.from);
    wanted.search.is_over = true;
    Ok(())
}

/// The sealed segment, of whatever journal, that holds number `from` of a shard, or the next after it that is sealed. No two
/// hold the same number: a shard goes on in another journal past all that it had before. `Err`: this footer is needed first.
fn find_number(journal: &mut Journal, wanted: &Wanted, from: Sequence) -> Result<Option<Mark>, Sealed> {
    if journal.histories() == 1 {
        return find_sealed(journal, 0, wanted.shard, |row| row.next > from);
    }
    let mut nearest: Option<Mark> = None;
    for history in 0..journal.histories() {
        let mut past = from;
        let found = loop {
            match find_sealed(journal, history, wanted.shard, |row| row.next > past)? {
                // Numbers were skipped there, maybe after the shard had gone elsewhere.
                Some(Mark { row, .. }) if row.extents == 0 => past = row.next,
                found => break found,
            }
        };
        let is_nearer =
            |mark: &Mark| nearest.as_ref().is_none_or(|nearest| mark.row.first.max(from) < nearest.row.first.max(from));
        nearest = found.filter(is_nearer).or(nearest);
    }
    Ok(nearest)
}

/// The first sealed segment of a journal's history whose row of the shard is as wanted: from there on all are. `Err`: this
/// footer is needed first.
fn find_sealed(
    journal: &mut Journal,
    history: usize,
    shard: ShardId,
    is_as_wanted: impl Fn(&ShardRow) -> bool,
) -> Result<Option<Mark>, Sealed> {
    let row_of = |journal: &mut Journal, sealed: Sealed| journal.footers.row(sealed.segment, shard).ok_or(sealed);
    let (mut low, mut high) = (0, journal.history(history).len());
    while low < high {
        let middle = usize::midpoint(low, high);
        let sealed = journal.history(history)[middle];
        if row_of(journal, sealed)?.is_some_and(|row| is_as_wanted(&row)) { high = middle } else { low = middle + 1 }
    }
    let Some(&sealed) = journal.history(history).get(low) else { return Ok(None) };
    let row = row_of(journal, sealed)?;
    let compactions = journal.compactions();
    Ok(row.map(|row| Mark { compactions, sealed, row, cursor: row.start() }))
}
