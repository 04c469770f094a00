//! One journal, recovered: its segments, what they hold, where it ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use frame::limits::{BLOCK_BYTES, SEGMENT_FILE_BYTES_MIN};
use frame::segment::{FIRST_BATCH, Footer, Header, HeaderError, Trailer};
use frame::superblock::Superblock;
use frame::{Position, SegmentNumber, ShardId, batch};
use io::{FileId, Io};

use super::directories::Directories;
use super::gaps::gap_between;
use super::replay::Replay;
use super::share::users;
use super::{AtPlace, OpenError, Recovered, Scan, Segment, blocking};
use crate::damage::Damage;
use crate::journal::{Blueprint, Ready, Seal, Sealed, SegmentId, file_name};
use crate::limits::SEQUENCE_SKIP;
use crate::owners::Owners;

/// Footers in memory, of segments that have none on disk or were needed.
pub(super) type Pinned = BTreeMap<SegmentId, Arc<Footer>>;

/// A journal as it was found.
pub(super) struct Journal {
    pub(super) blueprint: Blueprint,
    pub(super) sealed: BTreeMap<SegmentNumber, Sealed>,
    /// Footers that are not on disk, and the newest that is.
    pub(super) pinned: Pinned,
    pub(super) newest: Option<(SegmentId, Arc<Footer>)>,
    /// The catalog, numbers and index at its end.
    pub(super) replay: Replay,
    /// The segment to go on in, and the place; none if there is none yet, or it was left.
    pub(super) open: Option<(Segment, Position)>,
    /// Segments that were made ready and never used.
    pub(super) leftovers: Vec<Ready>,
    /// The next segment's number.
    pub(super) next_number: SegmentNumber,
    /// What is damaged in it.
    pub(super) damage: Damage,
    /// Places where segments do not follow each other: what no other journal holds of their records is damaged as well.
    pub(super) gaps: Vec<Damage>,
    /// How many numbers its first batch makes every shard skip.
    pub(super) skip: u64,
    /// The seal of the segment that it was left in, which must not be on disk before the first batch of this life is.
    pub(super) late_seal: Option<Seal>,
    /// Which reactors need a sealed segment whose footer is on disk, a bit each.
    pub(super) users: BTreeMap<SegmentNumber, u64>,
}

impl Journal {
    /// Recovers a journal of which these segments were found, none if it is new. `owners` are those who may read it.
    pub(super) fn recover(
        io: &mut impl Io,
        blueprint: Blueprint,
        was: &Superblock,
        (directories, lengths): (&Directories, &[(SegmentNumber, u64)]),
        owners: &Owners,
        recovered: &mut Recovered,
    ) -> Result<Journal, OpenError> {
        let found = open_segments(io, &blueprint, directories, lengths, &mut recovered.remade_headers)?;
        let mut journal = Journal {
            blueprint,
            sealed: BTreeMap::new(),
            pinned: BTreeMap::new(),
            newest: None,
            replay: Replay::new(blueprint.journal),
            open: None,
            leftovers: Vec::new(),
            next_number: SegmentNumber(found.last().map_or(0, |segment| segment.number.0).saturating_add(1)),
            damage: Damage::default(),
            gaps: Vec::new(),
            skip: 0,
            late_seal: None,
            users: BTreeMap::new(),
        };
        let found = journal.read_footers(io, directories, found, owners)?;
        if !found.is_empty() {
            journal.replay_tail(io, was, (directories, &found), owners, recovered)?;
        }
        recovered.skipped = recovered.skipped.max(journal.skip);
        Ok(journal)
    }

    /// Its files, all of them open.
    pub(super) fn files(&self) -> impl Iterator<Item = FileId> + '_ {
        let sealed = self.sealed.values().map(|sealed| sealed.file);
        let open = self.open.iter().map(|(segment, _)| segment.file);
        sealed.chain(open).chain(self.leftovers.iter().map(|ready| ready.file))
    }

    /// Which reactors own shards that have records in a sealed segment, a bit each.
    pub(super) fn users_of(&self, sealed: &Sealed, owners: &Owners) -> u64 {
        match self.pinned.get(&sealed.segment) {
            Some(footer) => users(footer, owners),
            None => self.users.get(&sealed.segment.number).copied().unwrap_or(0),
        }
    }

    /// Every footer is looked at: one that is damaged is made again from its batches, while only the newest is kept. Segments
    /// that a compacted one stands for are removed: the last life ended before it had removed them. Returns the others.
    fn read_footers(
        &mut self,
        io: &mut impl Io,
        directories: &Directories,
        mut found: Vec<Segment>,
        owners: &Owners,
    ) -> Result<Vec<Segment>, OpenError> {
        let has_reactor = (self.blueprint.journal.0 as usize) < owners.reactors();
        let mut stood_for: Vec<Segment> = Vec::new();
        let mut stands_from = u32::MAX;
        for segment in found.iter().rev() {
            if segment.number.0 >= stands_from {
                stood_for.push(*segment);
            } else if let Some((place, footer)) = read_footer(io, &self.blueprint, segment)? {
                if footer.head.stands_for > 0 {
                    stands_from = segment.number.0.saturating_sub(footer.head.stands_for - 1);
                }
                self.sealed.insert(segment.number, place);
                self.users.insert(segment.number, users(&footer, owners));
                self.newest.get_or_insert_with(|| (place.segment, Arc::new(footer)));
            }
        }
        for segment in &stood_for {
            let id = SegmentId { journal: self.blueprint.journal, number: segment.number };
            blocking::remove(io, directories.of(id), &file_name(id.journal, id.number))?;
            blocking::close_file(io, segment.file)?;
        }
        found.retain(|segment| stood_for.iter().all(|gone| gone.number != segment.number));
        let Some((base, footer)) = self.newest.clone() else {
            return self.begin_without_footers(io, &found, has_reactor).map(|()| found);
        };
        // The last life may have been killed before it was flushed; those before it were, as one is written after the other.
        blocking::sync(io, self.sealed[&base.number].file)?;
        self.remake_footers(io, &found, base.number)?;
        self.replay = Replay::after(&footer)?;
        Ok(found)
    }

    /// Looks at the footers again: shards were moved, which only the catalog in this very journal told.
    pub(super) fn find_users(&mut self, io: &mut impl Io, owners: &Owners) -> Result<(), OpenError> {
        let anybody = u64::MAX >> (u64::BITS as usize - owners.reactors());
        for (number, of_segment) in &mut self.users {
            let Some(sealed) = self.sealed.get(number) else { continue };
            // One that was read well before, and is not now, may be anybody's.
            *of_segment = footer_of(io, sealed)?.map_or(anybody, |footer| users(&footer, owners));
        }
        Ok(())
    }

    /// No footer is left. Where there were some, and segments before the first that is left, numbers that were given and the
    /// catalog can't be known any more; but of a journal without a reactor those who go on for it know them.
    fn begin_without_footers(
        &mut self,
        io: &mut impl Io,
        found: &[Segment],
        has_reactor: bool,
    ) -> Result<(), OpenError> {
        let Some(first) = found.first() else { return Ok(()) };
        let mut scan = Scan::new(self.blueprint.log_id, self.blueprint.journal, *first);
        match scan.at(io, FIRST_BATCH, &mut Vec::new())? {
            AtPlace::Intact(header) if header.head.previous_checksum != 0 && has_reactor => {
                Err(OpenError::Catalog { position: Position::new(first.number, FIRST_BATCH) })
            }
            AtPlace::Intact(header) if header.head.previous_checksum != 0 => {
                self.replay.begin_after_gap();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Everything after the last sealed segment is read.
    fn replay_tail(
        &mut self,
        io: &mut impl Io,
        was: &Superblock,
        (directories, found): (&Directories, &[Segment]),
        owners: &Owners,
        recovered: &mut Recovered,
    ) -> Result<(), OpenError> {
        let goes_on = (self.blueprint.journal.0 as usize) < owners.reactors();
        let base = self.newest.as_ref().map(|(base, _)| base.number);
        let after: Vec<Segment> =
            found.iter().filter(|segment| base.is_none_or(|base| segment.number > base)).copied().collect();
        let Journal { replay, blueprint, sealed, pinned, .. } = self;
        // The superblock speaks of the catalog's journal alone.
        let unknown = Superblock { durable: Position::default(), clean: false, ..*was };
        let was = if replay.keeps_catalog() { was } else { &unknown };
        let outcome = replay.run(io, blueprint, was, (&after, goes_on), sealed, pinned)?;
        self.damage.append(std::mem::take(&mut self.replay.damage));
        let is_used =
            |number| self.sealed.contains_key(&number) || outcome.open.is_some_and(|open| open.number == number);
        // What recovery found may never have been flushed: it is, before anybody reads it.
        for segment in after.iter().filter(|segment| is_used(segment.number)) {
            blocking::sync(io, segment.file)?;
        }
        let leftovers = after.iter().filter(|segment| !is_used(segment.number));
        let journal = self.blueprint.journal;
        let leftover = |&Segment { number, file, bytes }: &Segment| {
            let dir = directories.of(SegmentId { journal, number });
            Ready { number, dir, file, bytes, prewritten: false }
        };
        self.leftovers = leftovers.map(leftover).collect();
        self.open = outcome.open.map(|open| (open, outcome.tail));
        self.skip = if outcome.skip { SEQUENCE_SKIP } else { 0 };
        recovered.scanned_bytes += outcome.scanned_bytes;
        recovered.cuts.extend(outcome.cut);
        Ok(())
    }

    /// Leaves the open segment if it holds records of shards that others own now, or if the journal `is_over`: what lies in
    /// a sealed segment may be read by any reactor.
    pub(super) fn leave_if(&mut self, is_over: bool, is_foreign: impl Fn(ShardId) -> bool) {
        let Some((segment, tail)) = self.open else { return };
        let is_begun = tail.offset() > FIRST_BATCH || self.skip > 0;
        if !((is_over && is_begun) || self.replay.holds(is_foreign)) {
            return;
        }
        self.replay.settle_doubts(&self.damage);
        let Journal { replay, blueprint, sealed, pinned, .. } = self;
        self.late_seal = Some(replay.leave(blueprint, &segment, tail, sealed, pinned));
        self.open = None;
    }

    /// Segments before the newest sealed one that have no footer of their own, because of damage: made again, in memory.
    fn remake_footers(&mut self, io: &mut impl Io, found: &[Segment], base: SegmentNumber) -> Result<(), OpenError> {
        let Journal { blueprint, sealed, pinned, damage, gaps, .. } = self;
        let id = |number| SegmentId { journal: blueprint.journal, number };
        let missing: Vec<Segment> = found
            .iter()
            .filter(|segment| segment.number < base && !sealed.contains_key(&segment.number))
            .copied()
            .collect();
        for segment in missing {
            let before = found.iter().rev().find(|other| other.number < segment.number);
            let previous = match before {
                Some(before) => match pinned.get(&id(before.number)) {
                    Some(footer) => Some(Arc::clone(footer)),
                    None => read_footer(io, blueprint, before)?.map(|(_, footer)| Arc::new(footer)),
                },
                None => None,
            };
            let mut replay = match previous {
                Some(footer) => Replay::after(&footer)?,
                None => Replay::new(blueprint.journal),
            };
            if before.map_or(0, |before| before.number.0) + 1 != segment.number.0 {
                replay.begin_after_gap();
            }
            let intact_to = replay.whole_segment(io, blueprint, &segment, sealed, pinned)?;
            damage.append(replay.damage);
            let next = found
                .iter()
                .find(|other| other.number > segment.number)
                .filter(|next| sealed.contains_key(&next.number));
            let after = next.map(|next| read_footer(io, blueprint, next)).transpose()?.flatten();
            if let (Some(before), Some((_, after))) = (pinned.get(&id(segment.number)), after) {
                gaps.push(gap_between(before, intact_to, &after));
            }
        }
        Ok(())
    }
}

/// Opens every segment and checks that it is this log's. Those whose header had to be made again are named in `remade`.
fn open_segments(
    io: &mut impl Io,
    blueprint: &Blueprint,
    directories: &Directories,
    lengths: &[(SegmentNumber, u64)],
    remade: &mut Vec<String>,
) -> Result<Vec<Segment>, OpenError> {
    let mut segments = Vec::with_capacity(lengths.len());
    for &(number, length) in lengths {
        let name = file_name(blueprint.journal, number);
        let dir = directories.of(SegmentId { journal: blueprint.journal, number });
        let file = blocking::open_file(io, dir, &name, false)?;
        let block = blocking::read_if_readable(io, file, 0, BLOCK_BYTES)?;
        let header = match block.map_or(Err(HeaderError::Damaged), |block| Header::parse(&block)) {
            Ok(header) => header,
            Err(HeaderError::Version(version)) => return Err(OpenError::NewerVersion { version }),
            Err(HeaderError::Damaged) => {
                let header = remake_header(io, blueprint, number, (file, length), &name)?;
                remade.push(name.clone());
                header
            }
        };
        if header.log_id != blueprint.log_id || header.journal != blueprint.journal || header.segment != number {
            return Err(OpenError::ForeignSegment { name });
        }
        // The last life left it early, and ended before it had cut all that is not used.
        if length > header.file_bytes
            && let Err(error) = blocking::truncate(io, file, header.file_bytes)
        {
            tracing::warn!(%error, name, "what is not used of a segment could not be cut; the next start tries again");
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
    (file, length): (FileId, u64),
    name: &str,
) -> Result<Header, OpenError> {
    let Blueprint { log_id, journal, epoch, segment_bytes, .. } = *blueprint;
    // One that was compacted is shorter than others, and ends in its trailer. Any other that is has lost its end.
    let block = BLOCK_BYTES as u64;
    let may_be_compacted =
        length.is_multiple_of(block) && (SEGMENT_FILE_BYTES_MIN..u64::from(segment_bytes)).contains(&length);
    let is_own = |trailer: &Trailer| trailer.journal == journal && trailer.footer.segment() == segment;
    let mut trailer_before = |end: u64, is_needed: bool| -> Result<Option<Trailer>, OpenError> {
        let bytes = match blocking::read_if_readable(io, file, end - block, BLOCK_BYTES)? {
            None if is_needed => Some(blocking::read(io, file, end - block, BLOCK_BYTES)?),
            bytes => bytes,
        };
        Ok(bytes.and_then(|bytes| Trailer::parse(&bytes)))
    };
    // Where that end can't be read either, nothing tells how long the segment is: it is left as it is.
    let short = if may_be_compacted { trailer_before(length, true)?.filter(is_own) } else { None };
    let (file_bytes, trailer) = match short {
        Some(trailer) => (length, Some(trailer)),
        None => (u64::from(segment_bytes), trailer_before(u64::from(segment_bytes), false)?),
    };
    let is_foreign = trailer.is_some_and(|trailer| trailer.log_id != log_id);
    let first = blocking::read_if_readable(io, file, u64::from(FIRST_BATCH), BLOCK_BYTES)?;
    let first = first.and_then(|first| batch::Header::parse(&first));
    if is_foreign || first.is_some_and(|first| first.head.log_id != log_id) {
        return Err(OpenError::ForeignSegment { name: name.to_owned() });
    }
    let header = Header { log_id, journal, segment, epoch, file_bytes };
    blocking::write(io, file, 0, &header.encode())?;
    Ok(header)
}

/// The footer of a segment, if it was sealed. One that can't be read is as one that is damaged.
fn read_footer(
    io: &mut impl Io,
    blueprint: &Blueprint,
    segment: &Segment,
) -> Result<Option<(Sealed, Footer)>, OpenError> {
    let at = u64::from(segment.bytes) - BLOCK_BYTES as u64;
    let block = blocking::read_if_readable(io, segment.file, at, BLOCK_BYTES)?;
    let Some(trailer) = block.and_then(|block| Trailer::parse(&block)) else { return Ok(None) };
    let Blueprint { log_id, journal, .. } = *blueprint;
    let own = trailer.log_id == log_id && trailer.journal == journal && trailer.footer.segment() == segment.number;
    let end = u64::from(trailer.footer.offset()) + u64::from(trailer.footer_length);
    if !own || end > at {
        return Ok(None);
    }
    let sealed = Sealed {
        segment: SegmentId { journal, number: segment.number },
        file: segment.file,
        bytes: segment.bytes,
        footer_at: trailer.footer.offset(),
        footer_length: trailer.footer_length,
    };
    let footer = footer_of(io, &sealed)?.filter(|footer| footer.head.position == trailer.footer);
    Ok(footer.map(|footer| (sealed, footer)))
}

pub(super) fn footer_of(io: &mut impl Io, sealed: &Sealed) -> Result<Option<Footer>, OpenError> {
    let (at, length) = (u64::from(sealed.footer_at), sealed.footer_length as usize);
    let bytes = blocking::read_if_readable(io, sealed.file, at, length)?;
    Ok(bytes.and_then(|bytes| Footer::parse(bytes.to_vec())))
}
