//! Replays the batches after the last sealed segment, by the decision table. A batch that follows is accepted without it.

use std::collections::BTreeMap;
use std::sync::Arc;

use frame::batch::{Extent, FLAG_COMPACTED, FLAG_EPOCH_START, Header};
use frame::limits::{BLOCK_BYTES, SEQUENCE_MAX};
use frame::segment::{FIRST_BATCH, Footer, FooterHead, FooterWriter, MOVES_ALL, Trailer};
use frame::superblock::Superblock;
use frame::{Epoch, Frame, JournalNumber, Position, SegmentNumber, Sequence, ShardId};
use io::Io;

use super::cut::copy_aside;
use super::gaps::note_gap;
use super::journal::Pinned;
use super::later::Later;
use super::table::{Decision, Evidence, Found, decide};
use super::{AtPlace, Cut, OpenError, Scan, Segment};
use crate::catalog::{Catalog, Command, GoOn, commands};
use crate::damage::{Damage, DamagedRecords, DamagedStretch};
use crate::journal::{Blueprint, Index, Seal, Sealed, SegmentId, file_name, place};
use crate::limits::{PRODUCERS_BYTES_MAX, SEQUENCE_SKIP, SHARDS_MAX};
use crate::producers::Producers;
use crate::shards::{Shard, Shards};
use crate::trims::{self, Trim};

/// The state that batches are applied to.
pub(crate) struct Replay {
    journal: JournalNumber,
    /// Of the journal that keeps it; none elsewhere.
    pub(crate) catalog: Catalog,
    pub(crate) shards: Shards,
    pub(crate) index: Index,
    epoch: Epoch,
    pub(crate) checksum: u64,
    /// After damage the chain is broken: the next batch is taken as it is.
    chain_broken: bool,
    /// By shard, the number that was due at damage: whether it and those after it were lost, the shard's next extent tells.
    doubtful: BTreeMap<ShardId, Sequence>,
    /// Whether something was lost, maybe of shards that are not known here.
    pub(crate) has_lost: bool,
    /// Extents of the segment that is being replayed.
    pub(crate) extents: usize,
    /// Footers that did not make it to the disk.
    pub(crate) seals: Vec<Seal>,
    /// What is damaged, here and in all before it.
    pub(crate) damage: Damage,
    /// What producers that number their records have stored.
    pub(crate) producers: Producers,
}

/// Where the log ends.
pub(crate) struct Outcome {
    /// The segment to go on in; none if the last one is damaged at its end, unless its footer is all that is still written.
    pub(crate) open: Option<Segment>,
    pub(crate) tail: Position,
    pub(crate) cut: Option<Cut>,
    /// Whether numbers must be skipped.
    pub(crate) skip: bool,
    pub(crate) scanned_bytes: u64,
}

/// How one segment's replay ended.
enum End {
    Tail(Position),
    /// Torn from here to the second place, at least.
    Cut(Position, Position),
    Next(Position),
    /// Damaged up to the end of the segment.
    Lost(Position),
}

impl Replay {
    /// The state of a journal without batches.
    pub(crate) fn new(journal: JournalNumber) -> Replay {
        Replay::at(journal, Catalog::new(), Shards::new(), Epoch(0), 0)
    }

    fn at(journal: JournalNumber, catalog: Catalog, shards: Shards, epoch: Epoch, checksum: u64) -> Replay {
        let index = Index::new(shards.iter().map(|(_, shard)| shard.durable_next));
        Replay {
            journal,
            catalog,
            shards,
            index,
            epoch,
            checksum,
            chain_broken: false,
            doubtful: BTreeMap::new(),
            has_lost: false,
            extents: 0,
            seals: Vec::new(),
            damage: Damage::default(),
            producers: Producers::within(PRODUCERS_BYTES_MAX),
        }
    }

    /// The state that a footer describes.
    pub(crate) fn after(footer: &Footer) -> Result<Replay, OpenError> {
        let position = footer.head.position;
        let mut catalog = Catalog::of_footer(footer).ok_or(OpenError::Catalog { position })?;
        let mut shards = Shards::new();
        for row in footer.shards() {
            if row.shard.0 as usize >= SHARDS_MAX || row.next.0 >= SEQUENCE_MAX {
                return Err(OpenError::Contradiction { position });
            }
            shards.grow((row.shard.0 as usize + 1).max(shards.len()));
            *shards.shard_mut(row.shard) = Shard::at(row.next, row.arrival_ms);
        }
        let journal = footer.head.journal;
        if journal == JournalNumber::CATALOG {
            catalog.reserve_shards(shards.len());
            shards.grow(catalog.shard_count());
        }
        for trim in trims::in_snapshot(footer.catalog()) {
            let is_stored = shards.find(trim.shard).is_some_and(|shard| trim.to <= shard.next);
            shards.trim(is_stored.then_some(trim).ok_or(OpenError::Contradiction { position })?);
        }
        let mut replay = Replay::at(journal, catalog, shards, footer.head.epoch, footer.head.last_checksum);
        for command in commands(footer.catalog()).flatten() {
            if let Command::Producers(rows) = command {
                rows.into_iter().for_each(|row| replay.producers.adopt(row));
            }
        }
        let (open, known) = footer.damaged_records().partition(|records| records.from == records.to);
        let doubtful: Vec<DamagedRecords> = open;
        // A life that found it ended before it had told how far the doubt goes, and maybe before shards skipped numbers.
        replay.has_lost = !doubtful.is_empty();
        replay.doubtful = doubtful.into_iter().map(|records| (records.shard, records.from)).collect();
        replay.damage = Damage { stretches: footer.damaged_stretches().collect(), records: known };
        Ok(replay)
    }

    /// What came before was dropped: whatever batch is next is taken as it is.
    pub(crate) fn begin_after_gap(&mut self) {
        self.chain_broken = true;
    }

    /// Whether this is the journal that keeps the catalog.
    pub(crate) fn keeps_catalog(&self) -> bool {
        self.journal == JournalNumber::CATALOG
    }

    /// Whether the segment that is being replayed holds records of a shard that is as wanted.
    pub(crate) fn holds(&self, is_wanted: impl Fn(ShardId) -> bool) -> bool {
        self.shards.iter().any(|(shard, _)| is_wanted(shard) && self.index.extents(shard).next().is_some())
    }

    /// Replays `segments` to the end of the log, in which a reactor `goes_on` or none. Those that are left get footers in memory.
    pub(crate) fn run(
        &mut self,
        io: &mut impl Io,
        blueprint: &Blueprint,
        was: &Superblock,
        (segments, goes_on): (&[Segment], bool),
        sealed: &mut BTreeMap<SegmentNumber, Sealed>,
        pinned: &mut Pinned,
    ) -> Result<Outcome, OpenError> {
        let (tail, skip) = (Position::default(), self.has_lost);
        let mut outcome = Outcome { open: None, tail, cut: None, skip, scanned_bytes: 0 };
        for (at, segment) in segments.iter().enumerate() {
            let later = &segments[at + 1..];
            let mut scan = Scan::new(blueprint.log_id, blueprint.journal, *segment);
            let end = self.segment(io, blueprint, was, &mut scan, segment, later, &mut outcome)?;
            if let End::Cut(position, known_to) = end {
                outcome.cut = Some(copy_aside(io, blueprint, &mut scan, segment, position, known_to)?);
                outcome.skip = true;
            }
            outcome.scanned_bytes += scan.read_bytes;
            match end {
                End::Tail(tail) | End::Cut(tail, _) => {
                    (outcome.open, outcome.tail) = (Some(*segment), tail);
                    return Ok(outcome);
                }
                End::Next(position) => {
                    let seal = self.leave(blueprint, segment, position, sealed, pinned);
                    self.seals.push(seal);
                }
                // A damaged one is left as it is, unless nobody writes another that tells of it. What follows it is not chained
                // to the last batch before the damage: the next start would take the two for neighbours.
                End::Lost(position) => {
                    if goes_on || !later.is_empty() {
                        self.leave(blueprint, segment, position, sealed, pinned);
                    } else {
                        (outcome.open, outcome.tail) = (Some(*segment), scan.blank_from(io, position)?);
                    }
                    self.checksum = !self.checksum;
                }
            }
        }
        Ok(outcome)
    }

    /// At the end of the log: shards that have nothing after the damage, and from which number on each may have lost records.
    pub(crate) fn doubtful(&self) -> impl Iterator<Item = (ShardId, Sequence)> + '_ {
        self.doubtful.iter().map(|(&shard, &from)| (shard, from))
    }

    /// The journal ends here for now, with all the damage that is known: what was doubtful is part of it.
    pub(crate) fn settle_doubts(&mut self, damage: &Damage) {
        self.damage = damage.clone();
        self.doubtful.clear();
    }

    /// Replays a segment that others follow, for its footer. Returns where its last intact batch ends: what followed may be lost.
    pub(crate) fn whole_segment(
        &mut self,
        io: &mut impl Io,
        blueprint: &Blueprint,
        segment: &Segment,
        sealed: &mut BTreeMap<SegmentNumber, Sealed>,
        pinned: &mut Pinned,
    ) -> Result<Position, OpenError> {
        let mut scan = Scan::new(blueprint.log_id, blueprint.journal, *segment);
        let (mut at, mut intact_to, mut extents) = (FIRST_BATCH, FIRST_BATCH, Vec::new());
        let position = |at| Position::new(segment.number, at);
        while at + (BLOCK_BYTES as u32) < segment.bytes {
            match scan.at(io, at, &mut extents)? {
                AtPlace::Intact(header) if header.head.epoch >= self.epoch => {
                    // Nothing is wrong where the segments before it were dropped.
                    let is_cut_off = (self.chain_broken || is_compacted(&header)) && intact_to == FIRST_BATCH;
                    if header.head.previous_checksum != self.checksum && !is_cut_off {
                        let stretch = DamagedStretch { from: position(intact_to), to: position(at) };
                        self.damage.stretches.push(stretch);
                        self.chain_broken = true;
                    }
                    self.accept(io, &mut scan, &header, &extents)?;
                    at += header.length as u32;
                    intact_to = at;
                }
                _ => at += BLOCK_BYTES as u32,
            }
        }
        self.leave(blueprint, segment, position(at), sealed, pinned);
        Ok(position(intact_to))
    }

    #[expect(clippy::too_many_arguments, reason = "one step of `run`, cut out for its length")]
    fn segment(
        &mut self,
        io: &mut impl Io,
        blueprint: &Blueprint,
        was: &Superblock,
        scan: &mut Scan,
        segment: &Segment,
        later: &[Segment],
        outcome: &mut Outcome,
    ) -> Result<End, OpenError> {
        let mut extents = Vec::new();
        let mut at = FIRST_BATCH;
        loop {
            let position = Position::new(segment.number, at);
            if at as usize + BLOCK_BYTES > segment.bytes as usize {
                return Ok(End::Next(position));
            }
            let found = scan.at(io, at, &mut extents)?;
            if let AtPlace::Intact(header) = &found
                && self.follows(header)
            {
                self.accept(io, scan, header, &extents)?;
                at += header.length as u32;
                continue;
            }
            if was.clean && position == was.durable {
                // The last life ended here, says the superblock, and none has written since.
                return Ok(End::Tail(position));
            }
            let ahead = scan.look_ahead(io, at, self.epoch)?;
            let remains = match found {
                AtPlace::Intact(header) | AtPlace::HeaderOnly(header) => header.head.epoch >= self.epoch,
                AtPlace::NoHeader => ahead.first_intact.is_some() || !(was.clean || scan.is_blank(io, at)?),
            };
            let later = Later::look(io, blueprint, later, self.epoch, |header| self.continues_in(header))?;
            let next_segment_continues = later.continues;
            let claimed = !next_segment_continues && ahead.claimed.max(was.durable).max(later.claimed) > position;
            let found = if remains { Found::Remains } else { Found::Blank };
            let decision = decide(Evidence { found, next_segment_continues, claimed });
            // What can't be read may have been acknowledged. It is not written over.
            let hidden = match decision {
                Decision::CutTail => scan.hidden_from(io, position)?.or(later.hidden),
                Decision::CleanEnd => later.hidden,
                Decision::NextSegment | Decision::Damaged => None,
            };
            if let Some(place) = hidden {
                let (name, offset) = (file_name(self.journal, place.segment()), place.offset());
                return Err(OpenError::Unreadable { name, offset });
            }
            match decision {
                Decision::NextSegment => return Ok(End::Next(position)),
                Decision::CleanEnd => return Ok(End::Tail(position)),
                Decision::CutTail => return Ok(End::Cut(position, ahead.end)),
                Decision::Damaged => {
                    outcome.skip = true;
                    self.chain_broken = true;
                    self.has_lost = true;
                    for (shard, state) in self.shards.iter() {
                        self.doubtful.entry(shard).or_insert(state.next);
                    }
                    let Some(to) = ahead.first_intact.filter(|&to| to > position) else {
                        let to = Position::new(segment.number, segment.bytes);
                        self.damage.stretches.push(DamagedStretch { from: position, to });
                        return Ok(End::Lost(position));
                    };
                    self.damage.stretches.push(DamagedStretch { from: position, to });
                    at = to.offset();
                }
            }
        }
    }

    /// Whether an intact batch continues the chain.
    fn follows(&self, header: &Header) -> bool {
        let same_life = header.head.epoch == self.epoch;
        let new_life = header.head.epoch > self.epoch && header.head.flags & FLAG_EPOCH_START != 0;
        if self.chain_broken || is_compacted(header) {
            return header.head.epoch >= self.epoch;
        }
        header.head.previous_checksum == self.checksum && (same_life || new_life)
    }

    /// Whether the first batch of the next segment continues the chain.
    fn continues_in(&self, header: &Header) -> bool {
        header.head.previous_checksum == self.checksum && header.head.epoch >= self.epoch && !self.chain_broken
    }

    /// Applies a batch.
    fn accept(
        &mut self,
        io: &mut impl Io,
        scan: &mut Scan,
        header: &Header,
        extents: &[Extent],
    ) -> Result<(), OpenError> {
        let position = header.head.position;
        if header.head.flags & FLAG_EPOCH_START != 0 {
            if header.head.skip > SEQUENCE_SKIP {
                return Err(OpenError::Contradiction { position });
            }
            self.shards.skip(header.head.skip);
        }
        for extent in extents {
            if extent.shard.0 as usize >= SHARDS_MAX {
                return Err(OpenError::Contradiction { position });
            }
            let placed = place(position, extent);
            if extent.shard == ShardId::CATALOG {
                let frames = scan.bytes(io, placed.offset, placed.length as usize)?;
                let frames = frames.get(..placed.length as usize).unwrap_or_default();
                self.apply_commands(frames, position)?;
            }
            if extent.shard.0 as usize >= self.shards.len() {
                // The command that made this shard lies in another journal, or in the damage. Its number is not given again.
                self.grow(extent.shard.0 as usize + 1);
            }
            self.index.grow(self.shards.len());
            let expected = self.shards.shard_mut(extent.shard).next;
            let due = self.doubtful.remove(&extent.shard).unwrap_or(expected);
            note_gap(&mut self.damage, extent, due);
            if extent.first_sequence >= expected {
                // What lies before it, and is not lost, lies elsewhere. A command says so, but in a compacted segment there is none.
                self.index.go_on(extent.shard, extent.first_sequence);
                self.index.push(extent.shard, placed);
                self.shards.recover(extent);
                let frames = scan.bytes(io, placed.offset, placed.length as usize)?;
                self.recover_numbers(extent.shard, frames.get(..placed.length as usize).unwrap_or_default());
            }
        }
        self.extents += extents.len();
        self.epoch = header.head.epoch;
        self.checksum = header.checksum;
        self.chain_broken = is_compacted(header);
        Ok(())
    }

    /// Takes up the producers' numbers of intact frames. Of a large record the last part tells.
    fn recover_numbers(&mut self, shard: ShardId, mut frames: &[u8]) {
        while let Ok(frame) = Frame::parse_stored(frames) {
            let is_whole = frame.part().is_none_or(|part| part.is_last());
            if let Some(numbered) = frame.numbered().filter(|_| is_whole) {
                self.producers.recover(shard, numbered, frame.sequence());
            }
            frames = frames.get(frame.length()..).unwrap_or_default();
        }
    }

    /// A segment has ended without a footer: makes it, in memory. Returns it for the disk.
    pub(crate) fn leave(
        &mut self,
        blueprint: &Blueprint,
        segment: &Segment,
        end: Position,
        sealed: &mut BTreeMap<SegmentNumber, Sealed>,
        pinned: &mut Pinned,
    ) -> Seal {
        let mut writer = FooterWriter::default();
        for (shard, state) in self.shards.iter() {
            let first = self.index.first_sequence(shard).unwrap_or(state.next);
            writer.shard(shard, first, state.next, state.arrival_ms, self.index.extents(shard));
        }
        self.damage.settle();
        self.damage.write(&mut writer);
        for (&shard, &from) in &self.doubtful {
            writer.damaged_records(&DamagedRecords { shard, from, to: from });
        }
        let (Blueprint { log_id, journal, .. }, epoch, last_checksum) = (*blueprint, self.epoch, self.checksum);
        let head = FooterHead { log_id, journal, position: end, epoch, last_checksum, stands_for: 0, moves: MOVES_ALL };
        let mut snapshot = self.catalog.snapshot();
        trims::add_to_snapshot(&mut snapshot, self.shards.trims(|_| true));
        self.producers.add_to_snapshot(&mut snapshot);
        let (bytes, footer_checksum) = writer.finish(&head, &snapshot);
        let id = SegmentId { journal: self.journal, number: segment.number };
        let footer_length = bytes.len() as u32;
        let Segment { file, bytes: file_bytes, .. } = *segment;
        let place = Sealed { segment: id, file, bytes: file_bytes, footer_at: end.offset(), footer_length };
        sealed.insert(segment.number, place);
        let trailer = Trailer { log_id, journal, epoch, footer: end, footer_length, footer_checksum };
        let seal = Seal { file, file_bytes, whole_bytes: file_bytes, footer: bytes.clone(), trailer };
        if let Some(footer) = Footer::parse(bytes) {
            pinned.insert(id, Arc::new(footer));
        }
        self.index.restart(self.shards.iter().map(|(_, shard)| shard.next));
        self.extents = 0;
        seal
    }

    /// Room for so many shards, which nothing told of before: what was lost may have been theirs.
    fn grow(&mut self, count: usize) {
        let new = (self.shards.len()..count).filter(|_| self.has_lost);
        self.doubtful.extend(new.map(|shard| (ShardId(shard as u32), Shard::NEW.next)));
        if self.keeps_catalog() {
            self.catalog.reserve_shards(count);
        }
        self.shards.grow(count.max(self.shards.len()));
        self.index.grow(self.shards.len());
    }

    fn apply_commands(&mut self, mut frames: &[u8], position: Position) -> Result<(), OpenError> {
        while !frames.is_empty() {
            let frame = Frame::parse_stored(frames).map_err(|_| OpenError::Contradiction { position })?;
            let command = Command::decode(frame.data()).ok_or(OpenError::Catalog { position })?;
            if !self.damage.is_empty() {
                self.catalog.allow_for_damage(&command);
            }
            self.catalog.apply(&command).ok_or(OpenError::Catalog { position })?;
            let followed = match command {
                Command::GoOn(rows) => rows.iter().try_for_each(|row| self.go_on(row)),
                Command::Producers(rows) => {
                    rows.into_iter().for_each(|row| self.producers.adopt(row));
                    Some(())
                }
                Command::Trim(trims) => trims.iter().try_for_each(|trim| self.trim(*trim)),
                _ => Some(()),
            };
            followed.ok_or(OpenError::Contradiction { position })?;
            frames = &frames[frame.length()..];
        }
        if self.keeps_catalog() {
            self.shards.grow(self.catalog.shard_count().max(self.shards.len()));
            self.index.grow(self.shards.len());
        }
        Ok(())
    }

    /// Shards go on in this journal. `None` if their numbers would fall.
    fn go_on(&mut self, row: &GoOn) -> Option<()> {
        let end = row.shard.0.checked_add(row.shards).filter(|&end| end as usize <= SHARDS_MAX)?;
        let is_legal = row.shard != ShardId::CATALOG && row.next.0 < SEQUENCE_MAX;
        self.grow(is_legal.then_some(end as usize)?);
        for shard in row.numbers() {
            let is_rising = row.next >= self.shards.shard_mut(shard).next;
            self.shards.go_on(is_rising.then_some(shard)?, row.next, row.arrival_ms);
            self.index.go_on(shard, row.next);
        }
        Some(())
    }

    /// What lies before a number has expired. Where damage took the records that tell how far the shard came, what is known
    /// of it has.
    fn trim(&mut self, trim: Trim) -> Option<()> {
        if trim.shard == ShardId::CATALOG || trim.shard.0 as usize >= SHARDS_MAX || trim.to.0 >= SEQUENCE_MAX {
            return None;
        }
        self.grow(trim.shard.0 as usize + 1);
        let known = self.shards.stored(trim.shard).next;
        self.shards.trim(Trim { to: trim.to.min(known), ..trim });
        Some(())
    }
}

/// Whether a batch is of a compacted segment, which is chained to nothing: it came into its place later than those around it.
fn is_compacted(header: &Header) -> bool {
    header.head.flags & FLAG_COMPACTED != 0
}
