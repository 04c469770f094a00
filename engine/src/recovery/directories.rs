//! Which data directory is which. A log lies in one or more of them, one a disk; it doesn't matter in which order they are
//! named.
//!
//! ```text
//!   list all -> the one with a superblock is number 0; a file in each other one says whose it is, and its number
//!     -> none is missing, none is another log's -> those that are empty are added: told their number, then counted
//! ```
//!
//! Journal k makes its segments in directory k, modulo how many there are. Those of lives with fewer directories stay where
//! they are. Nothing is changed in any directory before all are known to belong together.

use std::collections::{BTreeMap, BTreeSet};

use frame::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use frame::member::{self, Member};
use frame::superblock::Superblock;
use frame::{Epoch, JournalNumber, LogId, SegmentNumber};
use io::{DirEntry, DirId, Io};

use super::{OpenError, blocking};
use crate::Config;
use crate::clock::Clock;
use crate::inspect::{FileKind, file_kind};
use crate::journal::SegmentId;
use crate::limits::{CUT_COPIES_MAX, DIRECTORIES_MAX};
use crate::superblock::Store;

/// The file by which a directory other than number 0 says whose it is.
pub(crate) const MEMBER_NAME: &str = "member";
pub(crate) const MEMBER_UNFINISHED: &str = "member.new";

/// Where journals and segments lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Directories {
    /// By number.
    order: Vec<DirId>,
    /// Segments that are not where their journal makes new ones.
    elsewhere: BTreeMap<SegmentId, DirId>,
}

impl Directories {
    /// Where a journal makes its segments.
    pub(crate) fn of_journal(&self, journal: JournalNumber) -> DirId {
        self.order[journal.0 as usize % self.order.len()]
    }

    /// Where a segment lies.
    pub(crate) fn of(&self, segment: SegmentId) -> DirId {
        self.elsewhere.get(&segment).copied().unwrap_or_else(|| self.of_journal(segment.journal))
    }
}

/// All directories, known to belong together.
pub(super) struct Found {
    pub(super) directories: Directories,
    pub(super) store: Store,
    /// All segments there are, and the lengths of their files.
    pub(super) segments: BTreeMap<SegmentId, u64>,
    /// Whether the log was made just now.
    pub(super) is_fresh: bool,
}

/// One directory as it was found.
struct Listed {
    dir: DirId,
    names: Vec<String>,
    segments: Vec<(SegmentId, u64)>,
    has_superblock: bool,
    member: Option<Member>,
}

/// Looks at all directories, and makes of them those of one log.
pub(super) fn find(io: &mut impl Io, config: &Config) -> Result<Found, OpenError> {
    let count = io.directories();
    if !(1..=DIRECTORIES_MAX).contains(&count) {
        return Err(OpenError::Directories { count });
    }
    check_segment_bytes(config)?;
    let listed = (0..count as u32).map(|dir| list(io, DirId(dir))).collect::<Result<Vec<Listed>, _>>()?;
    let (home, is_fresh) = home(&listed)?;
    let mut store = if is_fresh { None } else { Some(Store::open(io, listed[home].dir)?) };
    let order = order(&listed, home, store.as_ref().map(|store| &store.current))?;
    let segments = segments(&listed)?;
    for directory in &listed {
        clear(io, directory)?;
    }
    let mut store = match store.take() {
        Some(store) => store,
        None => create(io, config, listed[home].dir)?,
    };
    let known = usize::from(store.current.directories);
    if order.len() > known {
        for (number, &dir) in (0..).zip(&order).skip(known) {
            add(io, dir, Member { log_id: store.current.log_id, number })?;
        }
        let clock = Clock::after(io, &store.current);
        store.update(io, &clock, |superblock| superblock.directories = order.len() as u16)?;
    }
    let mut directories = Directories { order, elsewhere: BTreeMap::new() };
    for directory in &listed {
        let strays = directory.segments.iter().filter(|(s, _)| directories.of_journal(s.journal) != directory.dir);
        let strays: Vec<_> = strays.map(|&(segment, _)| (segment, directory.dir)).collect();
        directories.elsewhere.extend(strays);
    }
    Ok(Found { directories, store, segments, is_fresh })
}

fn list(io: &mut impl Io, dir: DirId) -> Result<Listed, OpenError> {
    let entries = blocking::list(io, dir)?;
    let segment = |entry: &DirEntry| match file_kind(&entry.name) {
        FileKind::Segment(journal, number) => Some((SegmentId { journal, number }, entry.bytes)),
        _ => None,
    };
    let segments = entries.iter().filter_map(segment).collect();
    let names: Vec<String> = entries.into_iter().map(|entry| entry.name).collect();
    let has = |kind| names.iter().any(|name| file_kind(name) == kind);
    let (has_superblock, has_member) = (has(FileKind::Superblock), has(FileKind::Member));
    let member = if has_member && !has_superblock { Some(read_member(io, dir)?) } else { None };
    Ok(Listed { dir, names, segments, has_superblock, member })
}

fn read_member(io: &mut impl Io, dir: DirId) -> Result<Member, OpenError> {
    let file = blocking::open_file(io, dir, MEMBER_NAME, false)?;
    let bytes = blocking::read_copies(io, file, member::FILE_BYTES)?;
    let member = Member::decode(&bytes).map_err(|version| OpenError::NewerVersion { version })?;
    drop(bytes);
    blocking::close_file(io, file)?;
    member.ok_or(OpenError::Member { dir })
}

/// Which one is number 0, and whether it is still empty: then it is the first that was named.
fn home(listed: &[Listed]) -> Result<(usize, bool), OpenError> {
    let mut homes = (0..listed.len()).filter(|&at| listed[at].has_superblock);
    match (homes.next(), homes.next()) {
        (Some(home), None) => Ok((home, false)),
        (Some(one), Some(other)) => Err(OpenError::SeveralLogs { dirs: [listed[one].dir, listed[other].dir] }),
        (None, _) => {
            let segments: usize = listed.iter().map(|directory| directory.segments.len()).sum();
            let is_member = listed.iter().any(|directory| directory.member.is_some());
            if segments > 0 || is_member { Err(OpenError::NoSuperblock { segments }) } else { Ok((0, true)) }
        }
    }
}

/// The directories by number; those that are to be added come last, in the order in which they were named. One that was told
/// a number and never counted holds nothing yet, and is added like them.
fn order(listed: &[Listed], home: usize, log: Option<&Superblock>) -> Result<Vec<DirId>, OpenError> {
    let known = log.map_or(1, |log| usize::from(log.directories));
    let mut order = vec![None; known];
    order[0] = Some(listed[home].dir);
    let mut added = Vec::new();
    for directory in listed.iter().filter(|directory| directory.dir != listed[home].dir) {
        let dir = directory.dir;
        match directory.member {
            Some(member) if log.is_none_or(|log| member.log_id != log.log_id) => {
                return Err(OpenError::ForeignDirectory { dir });
            }
            Some(Member { number, .. }) if (number as usize) < known => match &mut order[number as usize] {
                Some(other) => return Err(OpenError::SameDirectory { number, dirs: [*other, dir] }),
                place => *place = Some(dir),
            },
            _ if !directory.segments.is_empty() => return Err(OpenError::ForeignDirectory { dir }),
            _ => added.push(dir),
        }
    }
    let missing: Vec<usize> = (0..known).filter(|&number| order[number].is_none()).collect();
    if !missing.is_empty() {
        return Err(OpenError::MissingDirectories { known, missing, empty: added });
    }
    Ok(order.into_iter().flatten().chain(added).collect())
}

/// The segments of all, none of which is in two, and the lengths of their files.
fn segments(listed: &[Listed]) -> Result<BTreeMap<SegmentId, u64>, OpenError> {
    let mut segments = BTreeMap::new();
    for &(segment, bytes) in listed.iter().flat_map(|directory| &directory.segments) {
        if segments.insert(segment, bytes).is_some() {
            return Err(OpenError::SegmentTwice { journal: segment.journal, number: segment.number });
        }
    }
    Ok(segments)
}

/// Removes what an earlier life did not finish making, and the oldest copies of what was cut, so that there is room for
/// those of this life.
fn clear(io: &mut impl Io, directory: &Listed) -> Result<(), OpenError> {
    let of_kind = |kind| directory.names.iter().filter(move |name| file_kind(name) == kind);
    let mut copies: Vec<&String> = of_kind(FileKind::Cut).collect();
    // The life that made a copy comes first in its name.
    copies.sort_unstable();
    let journals: BTreeSet<JournalNumber> = directory.segments.iter().map(|(segment, _)| segment.journal).collect();
    let kept = (CUT_COPIES_MAX - 1) * journals.len().max(1);
    copies.truncate(copies.len().saturating_sub(kept));
    for name in of_kind(FileKind::Unfinished).chain(copies) {
        blocking::remove(io, directory.dir, name)?;
    }
    // A life that was killed may have left names that were never flushed: they are, before anything relies on them.
    blocking::sync_dir(io, directory.dir)
}

/// Tells an empty directory its number, durably.
fn add(io: &mut impl Io, dir: DirId, member: Member) -> Result<(), OpenError> {
    let file = blocking::open_file(io, dir, MEMBER_UNFINISHED, true)?;
    blocking::write(io, file, 0, &member.encode())?;
    blocking::sync(io, file)?;
    blocking::close_file(io, file)?;
    blocking::rename(io, dir, MEMBER_UNFINISHED, MEMBER_NAME)?;
    blocking::sync_dir(io, dir)
}

/// Refuses segments of a length that there can't be.
fn check_segment_bytes(config: &Config) -> Result<(), OpenError> {
    let bytes = u64::from(config.segment_bytes);
    let is_legal = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes) && bytes.is_multiple_of(BLOCK_BYTES as u64);
    if is_legal { Ok(()) } else { Err(OpenError::SegmentBytes { bytes }) }
}

/// Makes the superblock of a new log.
fn create(io: &mut impl Io, config: &Config, dir: DirId) -> Result<Store, OpenError> {
    let first = Superblock {
        log_id: LogId(io.random()),
        directories: 1,
        generation: 1,
        epoch: Epoch(0),
        durable: frame::Position::default(),
        segment_bytes: config.segment_bytes,
        clean: true,
        wall_ms: io.wall_ms(),
        boottime_ms: io.boottime_ms(),
        boot: io.boot(),
    };
    Store::create(io, dir, first)
}

/// The numbers of a journal's segments, rising, and the lengths of their files.
pub(super) fn lengths_of(segments: &BTreeMap<SegmentId, u64>, journal: JournalNumber) -> Vec<(SegmentNumber, u64)> {
    let own = segments.iter().filter(|(segment, _)| segment.journal == journal);
    own.map(|(segment, &bytes)| (segment.number, bytes)).collect()
}
