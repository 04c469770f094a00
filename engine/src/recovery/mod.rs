//! Opening a data directory: what was acknowledged is found again, what is damaged is named, what was torn is cut.
//!
//! ```text
//!   superblock -> epoch raised, durably -> footer of the last sealed segment: catalog, numbers
//!              -> batches after it, by the decision table -> tail made durable -> first batch of this life
//! ```
//!
//! Segments before the last sealed one are not read. The decision table is in [`table`].

pub(crate) mod blocking;
mod replay;
mod report;
mod scan;
mod table;

pub use report::{Cut, OpenError, Recovered};
pub(crate) use scan::{AtPlace, Scan, Segment};

use std::collections::BTreeMap;
use std::rc::Rc;

use frame::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use frame::segment::{FIRST_BATCH, Footer, Header, HeaderError, Trailer};
use frame::superblock::Superblock;
use frame::{Epoch, JournalNumber, LogId, SegmentNumber, batch};
use io::{FileId, Io};

use crate::Config;
use crate::catalog::Catalog;
use crate::damage::Damage;
use crate::journal::{self, Blueprint, FooterCache, Open, Ready, Sealed, Segments, Start, Tokens, UNFINISHED};
use crate::limits::{CUT_COPIES_MAX, Memory, SEQUENCE_SKIP};
use crate::shards::Shards;
use crate::superblock::{self, Store};
use crate::token;
use replay::{CUT_COPY_PREFIX, Replay, note_gaps_between};

/// The journal of the one reactor that there is.
const JOURNAL: JournalNumber = JournalNumber(0);

/// A data directory, ready for its first batch.
pub(crate) struct Opened {
    pub(crate) start: Start,
    pub(crate) segments: Segments,
    pub(crate) catalog: Catalog,
    pub(crate) shards: Shards,
    pub(crate) store: Store,
    pub(crate) recovered: Recovered,
}

/// Opens the data directory of `io`, or makes it.
pub(crate) fn open(io: &mut impl Io, config: &Config, memory: &Memory) -> Result<Opened, OpenError> {
    let started_ns = io.mono_ns();
    let names = clear(io)?;
    let has_superblock = names.iter().any(|name| name == superblock::NAME);
    let numbers = segment_numbers(&names);
    let mut store = if has_superblock {
        Store::open(io)?
    } else if numbers.is_empty() {
        create(io, config)?
    } else {
        return Err(OpenError::NoSuperblock { segments: numbers.len() });
    };
    let was = store.current;
    store.update(io, |superblock| {
        superblock.epoch = Epoch(was.epoch.0 + 1);
        superblock.clean = false;
    })?;
    let blueprint = Blueprint {
        log_id: was.log_id,
        journal: JOURNAL,
        epoch: store.current.epoch,
        segment_bytes: was.segment_bytes,
    };
    let mut remade_headers = Vec::new();
    let found = open_segments(io, &blueprint, &numbers, &mut remade_headers)?;
    let mut opened = if found.is_empty() {
        begin(io, config, memory, blueprint, store)?
    } else {
        replay(io, config, memory, blueprint, store, &was, found)?
    };
    opened.recovered.fresh = !has_superblock;
    opened.recovered.remade_headers = remade_headers;
    opened.recovered.elapsed_ns = io.mono_ns() - started_ns;
    Ok(opened)
}

/// Removes what an earlier life did not finish making, and the oldest copies of what was cut, so that there is room for
/// one more. Returns the other names.
fn clear(io: &mut impl Io) -> Result<Vec<String>, OpenError> {
    let entries = blocking::list(io)?;
    let (mut needless, names): (Vec<String>, Vec<String>) =
        entries.into_iter().map(|entry| entry.name).partition(|name| name.ends_with(UNFINISHED));
    let (mut copies, names): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| name.starts_with(CUT_COPY_PREFIX));
    // The life that made a copy comes first in its name.
    copies.sort_unstable();
    copies.truncate((copies.len() + 1).saturating_sub(CUT_COPIES_MAX));
    needless.append(&mut copies);
    for name in &needless {
        blocking::remove(io, name)?;
    }
    // A life that was killed may have left names that were never flushed: they are, before anything relies on them.
    blocking::sync_dir(io)?;
    Ok(names)
}

fn segment_numbers(names: &[String]) -> Vec<SegmentNumber> {
    let mut numbers: Vec<SegmentNumber> = names
        .iter()
        .filter_map(|name| journal::parse_name(name))
        .filter(|(number, _)| *number == JOURNAL)
        .map(|(_, segment)| segment)
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Makes the superblock of a new data directory.
fn create(io: &mut impl Io, config: &Config) -> Result<Store, OpenError> {
    let segment_bytes = u64::from(config.segment_bytes);
    let legal = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes);
    if !legal || !segment_bytes.is_multiple_of(BLOCK_BYTES as u64) {
        return Err(OpenError::SegmentBytes { bytes: segment_bytes });
    }
    let first = Superblock {
        log_id: LogId(io.random()),
        generation: 1,
        epoch: Epoch(0),
        durable: frame::Position::default(),
        segment_bytes: config.segment_bytes,
        clean: true,
        wall_ms: io.wall_ms(),
        boottime_ms: io.boottime_ms(),
    };
    Store::create(io, first)
}

/// Opens every segment and checks that it is this log's. Those whose header had to be made again are named in `remade`.
fn open_segments(
    io: &mut impl Io,
    blueprint: &Blueprint,
    numbers: &[SegmentNumber],
    remade: &mut Vec<String>,
) -> Result<Vec<Segment>, OpenError> {
    let mut segments = Vec::with_capacity(numbers.len());
    for &number in numbers {
        let name = journal::file_name(JOURNAL, number);
        let file = blocking::open_file(io, &name, false)?;
        let block = blocking::read(io, file, 0, BLOCK_BYTES)?;
        let header = match Header::parse(&block) {
            Ok(header) => header,
            Err(HeaderError::Version(version)) => return Err(OpenError::NewerVersion { version }),
            Err(HeaderError::Damaged) => {
                let header = remake_header(io, blueprint, number, file, &name)?;
                remade.push(name.clone());
                header
            }
        };
        if header.log_id != blueprint.log_id || header.journal != JOURNAL || header.segment != number {
            return Err(OpenError::ForeignSegment { name });
        }
        segments.push(Segment { number, file, bytes: header.file_bytes as u32 });
    }
    Ok(segments)
}

/// Writes a damaged header again: all that it says is known, and every batch tells by itself whose it is, so that nothing
/// but this block is lost. A file whose trailer or first batch is of another log is left as it is.
fn remake_header(
    io: &mut impl Io,
    blueprint: &Blueprint,
    segment: SegmentNumber,
    file: FileId,
    name: &str,
) -> Result<Header, OpenError> {
    let Blueprint { log_id, epoch, segment_bytes, .. } = *blueprint;
    let file_bytes = u64::from(segment_bytes);
    let trailer = blocking::read(io, file, file_bytes - BLOCK_BYTES as u64, BLOCK_BYTES)?;
    let is_foreign = Trailer::parse(&trailer).is_some_and(|trailer| trailer.log_id != log_id);
    let first = blocking::read(io, file, u64::from(FIRST_BATCH), BLOCK_BYTES)?;
    if is_foreign || batch::Header::parse(&first).is_some_and(|first| first.head.log_id != log_id) {
        return Err(OpenError::ForeignSegment { name: name.to_owned() });
    }
    let header = Header { log_id, journal: JOURNAL, segment, epoch, file_bytes };
    blocking::write(io, file, 0, &header.encode())?;
    Ok(header)
}

/// The footer of a segment, if it was sealed.
pub(crate) fn read_footer(
    io: &mut impl Io,
    log_id: LogId,
    segment: &Segment,
) -> Result<Option<(Sealed, Footer)>, OpenError> {
    let at = u64::from(segment.bytes) - BLOCK_BYTES as u64;
    let block = blocking::read(io, segment.file, at, BLOCK_BYTES)?;
    let Some(trailer) = Trailer::parse(&block) else { return Ok(None) };
    let own = trailer.log_id == log_id && trailer.journal == JOURNAL && trailer.footer.segment() == segment.number;
    let end = u64::from(trailer.footer.offset()) + u64::from(trailer.footer_length);
    if !own || end > at {
        return Ok(None);
    }
    let sealed = Sealed {
        number: segment.number,
        file: segment.file,
        footer_at: trailer.footer.offset(),
        footer_length: trailer.footer_length,
    };
    let bytes = blocking::read(io, segment.file, u64::from(sealed.footer_at), sealed.footer_length as usize)?;
    let footer = Footer::parse(bytes.to_vec()).filter(|footer| footer.head.position == trailer.footer);
    Ok(footer.map(|footer| (sealed, footer)))
}

/// A new data directory: its first segments.
fn begin(
    io: &mut impl Io,
    config: &Config,
    memory: &Memory,
    blueprint: Blueprint,
    store: Store,
) -> Result<Opened, OpenError> {
    let (catalog, shards) = (Catalog::new(), Shards::new());
    let mut segments = pool(config, blueprint, Vec::new(), SegmentNumber(1), 0);
    let first = take_segment(io, &mut segments, config.prewrite)?;
    let replay = Replay::new(catalog, shards, Epoch(0), 0);
    let footers = FooterCache::new(memory.footer_bytes, BTreeMap::new());
    let tail = frame::Position::new(first.number, FIRST_BATCH);
    let (start, catalog, shards) =
        replay.start(blueprint, open_from(&first), tail, Vec::new(), footers, Damage::default());
    let recovered = Recovered { epoch: blueprint.epoch, clean: true, ..Recovered::default() };
    finish(io, config, Opened { start, segments, catalog, shards, store, recovered }, 0)
}

/// An existing one: everything after the last sealed segment is read.
fn replay(
    io: &mut impl Io,
    config: &Config,
    memory: &Memory,
    blueprint: Blueprint,
    store: Store,
    was: &Superblock,
    found: Vec<Segment>,
) -> Result<Opened, OpenError> {
    let mut sealed = BTreeMap::new();
    let mut base = None;
    for segment in found.iter().rev() {
        // Every footer is looked at: one that is damaged is made again from its batches, while only the newest is kept.
        if let Some((place, footer)) = read_footer(io, blueprint.log_id, segment)? {
            sealed.insert(segment.number, place);
            base.get_or_insert_with(|| (segment.number, Rc::new(footer)));
        }
    }
    let mut pinned = BTreeMap::new();
    let mut damage = Damage::default();
    if let Some((base, _)) = &base {
        remake_footers(io, &blueprint, &found, *base, &mut sealed, &mut pinned, &mut damage)?;
    }
    let mut replay = match &base {
        Some((_, footer)) => Replay::after(footer)?,
        None => Replay::new(Catalog::new(), Shards::new(), Epoch(0), 0),
    };
    let after: Vec<Segment> =
        found.iter().filter(|segment| base.as_ref().is_none_or(|(base, _)| segment.number > *base)).copied().collect();
    let outcome = replay.run(io, &blueprint, was, &after, &mut sealed, &mut pinned)?;
    damage.append(std::mem::take(&mut replay.damage));
    let mut footers = FooterCache::new(memory.footer_bytes, pinned);
    if let Some((number, footer)) = base {
        footers.insert(number, footer);
    }
    let used: Vec<SegmentNumber> = sealed.keys().copied().chain(outcome.open.map(|open| open.number)).collect();
    let leftovers: Vec<Ready> = after
        .iter()
        .filter(|segment| !used.contains(&segment.number))
        .map(|s| Ready { number: s.number, file: s.file, bytes: s.bytes, prewritten: false })
        .collect();
    let last = found.last().map_or(SegmentNumber(0), |segment| segment.number);
    let mut segments = pool(config, blueprint, leftovers, SegmentNumber(last.0 + 1), used.len());
    let (open, tail) = match outcome.open {
        Some(segment) => (
            Open { number: segment.number, file: segment.file, bytes: segment.bytes, extents: 0, last_checksum: 0 },
            outcome.tail,
        ),
        None => {
            let next = take_segment(io, &mut segments, false)?;
            (open_from(&next), frame::Position::new(next.number, FIRST_BATCH))
        }
    };
    // What recovery found may never have been flushed: it is, before anybody reads it.
    for segment in after.iter().filter(|segment| used.contains(&segment.number)) {
        blocking::sync(io, segment.file)?;
    }
    let skip = if outcome.skip { SEQUENCE_SKIP } else { 0 };
    damage.records.extend(replay.doubts(skip));
    damage.settle();
    let recovered = Recovered {
        epoch: blueprint.epoch,
        clean: was.clean,
        segments: found.len(),
        scanned_bytes: outcome.scanned_bytes,
        cut: outcome.cut,
        damage: damage.clone(),
        ..Recovered::default()
    };
    let sealed = sealed.into_values().collect();
    let (start, catalog, shards) = replay.start(blueprint, open, tail, sealed, footers, damage);
    finish(io, config, Opened { start, segments, catalog, shards, store, recovered }, skip)
}

fn open_from(ready: &Ready) -> Open {
    Open { number: ready.number, file: ready.file, bytes: ready.bytes, extents: 0, last_checksum: 0 }
}

fn pool(config: &Config, blueprint: Blueprint, leftovers: Vec<Ready>, next: SegmentNumber, used: usize) -> Segments {
    let tokens = Tokens { make: token::MAKE, zero: token::ZERO };
    Segments::new(blueprint, tokens, leftovers, next, used, config.segments_ready, config.disk_bytes)
}

/// Has a segment made, waiting for it. With `prewrite`, as many as are wanted, filled with zeros.
fn take_segment(io: &mut impl Io, segments: &mut Segments, prewrite: bool) -> Result<Ready, OpenError> {
    prepare(io, segments, prewrite)?;
    segments.take().map_err(|_| OpenError::NoSpace { errno: segments.last_errno() })
}

/// Waits until a segment is ready, or with `prewrite` all that are wanted, filled with zeros; or until none can be had.
fn prepare(io: &mut impl Io, segments: &mut Segments, prewrite: bool) -> Result<(), OpenError> {
    let mut completions = Vec::new();
    segments.fill();
    loop {
        segments.advance(io, prewrite);
        let enough = if prewrite { segments.is_prepared() } else { segments.has_ready() || segments.is_full() };
        if enough {
            return Ok(());
        }
        io.turn(io::Wait::Forever, &mut completions);
        for completion in completions.drain(..) {
            let outcome = match completion.token {
                token::MAKE => segments.complete_make(io, &completion),
                token::ZERO => segments.complete_zero(io, &completion, prewrite),
                _ => Ok(()),
            };
            outcome.map_err(|errno| OpenError::io("making a segment", errno))?;
        }
    }
}

/// Fills the pool if that is wanted, and notes how many numbers the first batch of this life skips.
fn finish(io: &mut impl Io, config: &Config, mut opened: Opened, skip: u64) -> Result<Opened, OpenError> {
    if config.prewrite {
        prepare(io, &mut opened.segments, true)?;
    }
    opened.recovered.skipped = skip;
    Ok(opened)
}

/// Segments before the newest sealed one that have no footer of their own, because of damage: made again, in memory.
fn remake_footers(
    io: &mut impl Io,
    blueprint: &Blueprint,
    found: &[Segment],
    base: SegmentNumber,
    sealed: &mut BTreeMap<SegmentNumber, Sealed>,
    pinned: &mut BTreeMap<SegmentNumber, Rc<Footer>>,
    damage: &mut Damage,
) -> Result<(), OpenError> {
    let missing: Vec<Segment> = found
        .iter()
        .filter(|segment| segment.number < base && !sealed.contains_key(&segment.number))
        .copied()
        .collect();
    for segment in missing {
        let before = found.iter().rev().find(|other| other.number < segment.number);
        let previous = match before {
            Some(before) => match pinned.get(&before.number) {
                Some(footer) => Some(Rc::clone(footer)),
                None => read_footer(io, blueprint.log_id, before)?.map(|(_, footer)| Rc::new(footer)),
            },
            None => None,
        };
        let mut replay = match previous {
            Some(footer) => Replay::after(&footer)?,
            None => Replay::new(Catalog::new(), Shards::new(), Epoch(0), 0),
        };
        let intact_to = replay.whole_segment(io, blueprint, &segment, sealed, pinned)?;
        damage.append(replay.damage);
        let next =
            found.iter().find(|other| other.number > segment.number).filter(|next| sealed.contains_key(&next.number));
        let after = next.map(|next| read_footer(io, blueprint.log_id, next)).transpose()?.flatten();
        if let (Some(before), Some((_, after))) = (pinned.get(&segment.number), after) {
            note_gaps_between(before, intact_to, &after, damage);
        }
    }
    Ok(())
}
