//! Looks at a data directory: its files, the superblock's copies, each segment's header and footer, then the batches.

use std::fs;
use std::path::{Path, PathBuf};

use engine::inspect::{FileKind, Streams, file_kind};
use frame::batch::Header as BatchHeader;
use frame::limits::{BLOCK_BYTES, SEGMENT_FILE_BYTES_MIN};
use frame::segment::{DamagedRecords, Footer, Header, HeaderError, Trailer};
use frame::superblock::{COPIES, FILE_BYTES, Superblock};
use frame::{Epoch, JournalNumber, LogId, Position, SegmentNumber};
use rustix::fs::{FlockOperation, flock};

use super::InspectError;
use super::report::{
    Damage, FileReport, LostRecords, Report, SegmentReport, SegmentState, StreamReport, SuperblockCopy,
    SuperblockReport,
};
use super::walk::{Segment, Walk, first_batch};
use super::window::Window;
use crate::leases;

/// A server may be writing the superblock just now: a copy counts as damaged after so many looks.
const SUPERBLOCK_LOOKS: usize = 5;

/// The report on the log in `directories`; with `verify` after reading everything, else after reading what was not sealed.
pub(super) fn survey(directories: &[PathBuf], verify: bool) -> Result<Report, InspectError> {
    let named = directories.iter().map(|directory| directory.display().to_string()).collect();
    let mut report = Report { directories: named, verified: verify, ..Report::default() };
    let mut numbers = Vec::new();
    let mut home = None;
    for directory in directories {
        for (name, bytes) in list(directory)? {
            match file_kind(&name) {
                FileKind::Superblock => home = Some(directory),
                FileKind::Segment(journal, segment) => numbers.push((journal, segment, directory.join(&name), name)),
                FileKind::Cut => report.cut_aside.push(FileReport { name, bytes }),
                FileKind::Lock => report.in_use_by = report.in_use_by.take().or(owner(&directory.join(name))),
                FileKind::Member => {}
                FileKind::Other if name == leases::FOLDER => {
                    let bytes = list(&directory.join(&name))?.iter().map(|(_, bytes)| bytes).sum();
                    report.lease_tables = Some(FileReport { name, bytes });
                }
                FileKind::Unfinished | FileKind::Other => report.other_files.push(FileReport { name, bytes }),
            }
        }
    }
    if home.is_none() && numbers.is_empty() {
        return Err(InspectError::NoLog(directories.to_vec()));
    }
    let superblock = home.map_or(Ok(None), |home| read_superblock(home, &mut report))?;
    if let Some(superblock) = superblock
        && usize::from(superblock.directories) > directories.len()
    {
        return Err(InspectError::Missing { known: superblock.directories, named: directories.len() });
    }
    if home.is_none() {
        report.damage.push(Damage::plain("superblock", 0, FILE_BYTES as u64, "the file is missing"));
    }
    numbers.sort();
    let mut log_id = superblock.map(|superblock| superblock.log_id);
    let mut segments = Vec::new();
    for (journal, number, path, name) in numbers {
        segments.extend(open_segment(&path, (journal, number), name, &mut log_id, &mut report.damage)?);
    }
    if let Some(log_id) = log_id {
        let durable = superblock.map_or(Position::default(), |superblock| superblock.durable);
        walk_all(&mut report, segments, log_id, durable, verify)?;
    }
    Ok(report)
}

fn list(directory: &Path) -> Result<Vec<(String, u64)>, InspectError> {
    let unreadable = |source| InspectError::Unreadable { path: directory.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
        names.push((entry.file_name().to_string_lossy().into_owned(), bytes));
    }
    names.sort();
    Ok(names)
}

/// The process that holds the lock, as far as it tells. The lock is only tried, shared, and let go at once.
fn owner(lock: &Path) -> Option<String> {
    let file = fs::File::open(lock).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => None,
        Err(_) => Some(fs::read_to_string(lock).map_or_else(|_| "?".to_owned(), |text| text.trim().to_owned())),
    }
}

fn read_superblock(directory: &Path, report: &mut Report) -> Result<Option<Superblock>, InspectError> {
    let path = directory.join("superblock");
    let mut window = Window::open(&path)?;
    let mut copies = [None; COPIES];
    for _ in 0..SUPERBLOCK_LOOKS {
        window.forget();
        let bytes = window.read(0, FILE_BYTES)?;
        for (slot, block) in copies.iter_mut().zip(bytes.chunks(BLOCK_BYTES)) {
            *slot =
                Superblock::decode(block).map_err(|version| InspectError::Version { path: path.clone(), version })?;
        }
        if copies.iter().all(Option::is_some) {
            break;
        }
    }
    for (number, copy) in (0_u64..).zip(&copies) {
        report.superblock_copies.push(match copy {
            Some(copy) => SuperblockCopy::Intact { generation: copy.generation },
            None => {
                let from = number * BLOCK_BYTES as u64;
                let what = format!("copy {number} of the superblock differs from its checksum");
                report.damage.push(Damage::plain("superblock", from, from + BLOCK_BYTES as u64, &what));
                SuperblockCopy::Damaged
            }
        });
    }
    let chosen = Superblock::choose(window.read(0, FILE_BYTES)?).ok();
    if chosen.is_none() {
        report.damage.push(Damage::plain(
            "superblock",
            0,
            FILE_BYTES as u64,
            "no two copies agree: a server refuses it",
        ));
    }
    report.superblock = chosen.map(|superblock| SuperblockReport {
        log_id: superblock.log_id.to_string(),
        epoch: superblock.epoch.0,
        clean: superblock.clean,
        durable: superblock.durable.to_string(),
        segment_bytes: u64::from(superblock.segment_bytes),
        wall_ms: superblock.wall_ms,
    });
    Ok(chosen)
}

/// Header, trailer and footer of a segment. `None`, and damage, if it is not this log's. One whose header is damaged is
/// looked at all the same: its batches tell whose they are.
fn open_segment(
    path: &Path,
    (journal, number): (JournalNumber, SegmentNumber),
    name: String,
    log_id: &mut Option<LogId>,
    damage: &mut Vec<Damage>,
) -> Result<Option<(JournalNumber, Segment)>, InspectError> {
    let mut window = Window::open(path)?;
    let (expected, bytes) = match Header::parse(window.read(0, BLOCK_BYTES)?) {
        Ok(header) => {
            let expected = *log_id.get_or_insert(header.log_id);
            if header.log_id != expected || header.journal != journal || header.segment != number {
                let what = "the segment belongs to another log or place";
                damage.push(Damage::plain(&name, 0, BLOCK_BYTES as u64, what));
                return Ok(None);
            }
            (expected, header.file_bytes)
        }
        Err(HeaderError::Version(version)) => return Err(InspectError::Version { path: path.to_owned(), version }),
        Err(HeaderError::Damaged) => {
            let what = "the segment's header differs from its checksum; a server writes it again at the next start";
            damage.push(Damage::plain(&name, 0, BLOCK_BYTES as u64, what));
            let bytes = window.len()? / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
            match *log_id {
                // One that was compacted is short.
                Some(expected) if bytes >= SEGMENT_FILE_BYTES_MIN => (expected, bytes),
                _ => return Ok(None),
            }
        }
    };
    if window.len()? < bytes {
        damage.push(Damage::plain(&name, window.len()?, bytes, "the file is shorter than its header says"));
    }
    let mut segment = Segment { name, number, bytes, window, footer: None };
    segment.footer = read_footer(&mut segment, expected, journal, damage)?;
    Ok(Some((journal, segment)))
}

/// The footer that the trailer points to. What is neither blank nor of another segment's life must be right.
fn read_footer(
    segment: &mut Segment,
    log_id: LogId,
    journal: JournalNumber,
    damage: &mut Vec<Damage>,
) -> Result<Option<Footer>, InspectError> {
    let at = segment.bytes - BLOCK_BYTES as u64;
    let block = segment.window.read(at, BLOCK_BYTES)?;
    let blank = block.iter().all(|&byte| byte == 0);
    let Some(trailer) = Trailer::parse(block) else {
        if !blank {
            damage.push(Damage::plain(&segment.name, at, segment.bytes, "the trailer differs from its checksum"));
        }
        return Ok(None);
    };
    if trailer.log_id != log_id || trailer.journal != journal || trailer.footer.segment() != segment.number {
        return Ok(None);
    }
    let (from, length) = (u64::from(trailer.footer.offset()), u64::from(trailer.footer_length));
    let bytes = if from + length <= at { segment.window.read(from, length as usize)?.to_vec() } else { Vec::new() };
    let footer = Footer::parse(bytes).filter(|footer| footer.head.position == trailer.footer);
    if footer.is_none() {
        let what = "the footer differs from its checksum; a server makes it again at the next start";
        damage.push(Damage::plain(&segment.name, from, from + length, what));
    }
    Ok(footer)
}

/// Walks the segments of each journal, in order.
fn walk_all(
    report: &mut Report,
    mut segments: Vec<(JournalNumber, Segment)>,
    log_id: LogId,
    durable: Position,
    verify: bool,
) -> Result<(), InspectError> {
    for journal in segments.chunk_by(|(one, _), (other, _)| one == other) {
        let mut footers =
            journal.iter().rev().filter_map(|(_, segment)| Some((&segment.name, segment.footer.as_ref()?)));
        if let Some((file, footer)) = footers.next() {
            report.damage.extend(known_damage(file, footer));
        }
    }
    report.segments.extend(take_replaced(&mut segments));
    let mut walk: Option<Walk> = None;
    for index in 0..segments.len() {
        let next_first = next_first(&mut segments, index, log_id)?;
        let (journal, segment) = &mut segments[index];
        if walk.as_ref().is_none_or(|walk| walk.journal != *journal) {
            finish(walk.take(), report);
        }
        let walk = walk.get_or_insert_with(|| begin(log_id, *journal, durable, segment.number));
        report.segments.push(match &segment.footer {
            Some(footer) if !verify => {
                walk.pass_gap(segment.number);
                walk.is_after_gap = false;
                walk.streams = Streams::from_footer(footer).unwrap_or_default();
                (walk.chained_to, walk.epoch) = (Some(footer.head.last_checksum), footer.head.epoch);
                walk.next.extend(footer.shards().map(|row| (row.shard, row.next)));
                by_footer(segment, footer)
            }
            _ => walk.segment(segment, next_first)?,
        });
    }
    finish(walk, report);
    Ok(())
}

/// Takes out what compacted segments stand for: the server ended before it had removed that.
fn take_replaced(segments: &mut Vec<(JournalNumber, Segment)>) -> Vec<SegmentReport> {
    let stood_for = |(journal, segment): &(JournalNumber, Segment)| {
        let numbers = segment.footer.as_ref()?.head.stands_for.checked_sub(1)?;
        let own = segment.number.0;
        Some((*journal, own.saturating_sub(numbers)..own))
    };
    let replaced: Vec<(JournalNumber, std::ops::Range<u32>)> = segments.iter().filter_map(stood_for).collect();
    let is_replaced = |(journal, segment): &mut (JournalNumber, Segment)| {
        replaced.iter().any(|(of, numbers)| of == journal && numbers.contains(&segment.number.0))
    };
    let gone = segments.extract_if(.., is_replaced);
    gone.map(|(_, segment)| SegmentReport {
        file: segment.name,
        file_bytes: segment.bytes,
        state: SegmentState::Replaced,
        used_bytes: 0,
        batches: None,
        extents: 0,
        records: 0,
        encrypted: None,
        shards: 0,
        remains_at: None,
    })
    .collect()
}

/// What earlier starts found damaged. A journal's newest footer lists all of it.
fn known_damage<'a>(file: &'a str, footer: &'a Footer) -> impl Iterator<Item = Damage> + 'a {
    let at = u64::from(footer.head.position.offset());
    let named = footer.damaged_records().filter(|records| records.from < records.to);
    named.map(move |DamagedRecords { shard, from, to }| Damage {
        file: file.to_owned(),
        from: at,
        to: at,
        what: "the footer says that a start found these records damaged; they are refused".to_owned(),
        records: Some(LostRecords { shard: shard.0, first: from.0, last: to.0 - 1 }),
    })
}

/// The first batch of the segment after `index` in the same journal.
fn next_first(
    segments: &mut [(JournalNumber, Segment)],
    index: usize,
    log_id: LogId,
) -> Result<Option<BatchHeader>, InspectError> {
    let journal = segments[index].0;
    match segments.get_mut(index + 1) {
        Some((other, next)) if *other == journal => first_batch(next, log_id),
        _ => Ok(None),
    }
}

fn begin(log_id: LogId, journal: JournalNumber, durable: Position, first: SegmentNumber) -> Walk {
    // A journal's first segment begins the chain; what precedes a later one is gone.
    let is_after_gap = first != SegmentNumber(1);
    let chained_to = (!is_after_gap).then_some(0);
    let (epoch, next) = (Epoch(0), std::collections::BTreeMap::new());
    let (streams, damage, untold) = (Streams::new(), Vec::new(), None);
    // The superblock speaks of one journal.
    let durable = if journal == JournalNumber::CATALOG { durable } else { Position::default() };
    Walk { log_id, journal, durable, chained_to, epoch, next, streams, damage, untold, due: first, is_after_gap }
}

fn finish(walk: Option<Walk>, report: &mut Report) {
    let Some(walk) = walk else { return };
    report.damage.extend(walk.damage);
    report.streams.extend(walk.streams.entries().map(|entry| StreamReport {
        name: entry.name,
        stream: entry.stream.0,
        first_shard: entry.first_shard.0,
        shards: entry.shards,
        created_ms: entry.created_ms,
    }));
}

/// How a segment came to be as its footer tells.
pub(super) fn sealed_state(footer: &Footer) -> SegmentState {
    if footer.head.stands_for > 0 { SegmentState::Compacted } else { SegmentState::Sealed }
}

/// A sealed segment as its footer tells it.
fn by_footer(segment: &Segment, footer: &Footer) -> SegmentReport {
    let (mut extents, mut records, mut shards) = (0, 0, 0);
    for row in footer.shards() {
        extents += u64::from(row.extents);
        shards += u64::from(row.extents > 0);
        records += footer.extents(&row).map(|extent| u64::from(extent.count)).sum::<u64>();
    }
    SegmentReport {
        file: segment.name.clone(),
        file_bytes: segment.bytes,
        state: sealed_state(footer),
        used_bytes: u64::from(footer.head.position.offset()),
        batches: None,
        extents,
        records,
        encrypted: None,
        shards,
        remains_at: None,
    }
}
