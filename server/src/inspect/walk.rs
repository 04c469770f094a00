//! Walks the batches of a journal, segment by segment, as recovery does, and names what breaks the chain.

use std::collections::BTreeMap;

use engine::inspect::Streams;
use frame::batch::{Extent, FLAG_EPOCH_START, Header, PayloadError};
use frame::limits::BLOCK_BYTES;
use frame::segment::{FIRST_BATCH, Footer, PlacedExtent};
use frame::{Epoch, Frame, JournalNumber, LogId, Position, SegmentNumber, Sequence, ShardId};

use super::InspectError;
use super::extents::{Found, check_frames, compare};
use super::report::{Damage, LostRecords, SegmentReport, SegmentState};
use super::survey::sealed_state;
use super::window::Window;

/// A segment to walk.
pub(super) struct Segment {
    pub(super) name: String,
    pub(super) number: SegmentNumber,
    pub(super) bytes: u64,
    pub(super) window: Window,
    pub(super) footer: Option<Footer>,
}

/// What is known of the journal so far.
pub(super) struct Walk {
    pub(super) log_id: LogId,
    pub(super) journal: JournalNumber,
    /// Everything before it is durable, says the superblock.
    pub(super) durable: Position,
    /// The checksum that the next batch is chained to; unknown at the start of what is left of a journal, and after damage.
    pub(super) chained_to: Option<u64>,
    pub(super) epoch: Epoch,
    /// The least number that each shard's next record may take.
    pub(super) next: BTreeMap<ShardId, Sequence>,
    pub(super) streams: Streams,
    pub(super) damage: Vec<Damage>,
    /// Damage whose records no footer tells: the next intact batch of a shard tells by the number it goes on with.
    pub(super) untold: Option<Untold>,
    /// The segment that comes next, if none was dropped before it.
    pub(super) due: SegmentNumber,
    /// Segments were dropped before this one: what the catalog was is not known before its footer.
    pub(super) is_after_gap: bool,
}

/// A damaged stretch of a segment without a footer.
pub(super) struct Untold {
    file: String,
    from: u64,
    to: u64,
}

/// What one segment's batches came to.
#[derive(Default)]
struct Seen {
    batches: u64,
    encrypted: u64,
    found: Found,
    /// Stretches whose batches could not be taken in.
    damaged: Vec<(u64, u64)>,
    remains_at: Option<u64>,
}

/// What lies at a place.
enum At {
    Batch(Header, Vec<Extent>),
    /// Its header is right, its payload is not.
    Torn(Header, PayloadError),
    Nothing,
}

impl Walk {
    /// Reads all of a segment. `continued`: the first batch of the next segment, if it is there.
    pub(super) fn segment(
        &mut self,
        segment: &mut Segment,
        continued: Option<Header>,
    ) -> Result<SegmentReport, InspectError> {
        self.pass_gap(segment.number);
        let is_compacted = segment.footer.as_ref().is_some_and(|footer| footer.head.stands_for > 0);
        if is_compacted {
            // It is chained to none, and the commands in it are in its catalog alone.
            (self.chained_to, self.is_after_gap) = (None, true);
        }
        let mut seen = Seen::default();
        let sealed_at = segment.footer.as_ref().map(|footer| u64::from(footer.head.position.offset()));
        let end = sealed_at.unwrap_or(segment.bytes);
        let mut at = u64::from(FIRST_BATCH);
        while at + BLOCK_BYTES as u64 <= end {
            match self.at(segment, at)? {
                At::Batch(header, extents) if self.follows(&header) => {
                    self.accept(segment, &mut seen, &header, &extents)?;
                    at += header.length as u64;
                }
                other => match self.past(segment, &mut seen, at, end, other, continued.as_ref())? {
                    Some(next) => at = next,
                    None => break,
                },
            }
        }
        if let Some(footer) = &segment.footer {
            self.check_footer(&segment.name, footer, &seen);
            self.chained_to = Some(footer.head.last_checksum);
            self.epoch = footer.head.epoch;
        }
        Ok(report(segment, &seen, at))
    }

    /// Takes note of where the journal is. What is missing was dropped, as nothing in it lived.
    pub(super) fn pass_gap(&mut self, number: SegmentNumber) {
        if number != self.due {
            (self.chained_to, self.is_after_gap) = (None, true);
        }
        self.due = SegmentNumber(number.0 + 1);
    }

    /// What lies at `at`, if it is of this segment and place.
    fn at(&self, segment: &mut Segment, at: u64) -> Result<At, InspectError> {
        let place = Position::new(segment.number, at as u32);
        let header = Header::parse(segment.window.read(at, BLOCK_BYTES)?).filter(|header| {
            header.head.log_id == self.log_id && header.head.journal == self.journal && header.head.position == place
        });
        let Some(header) = header else { return Ok(At::Nothing) };
        let mut extents = Vec::new();
        match header.extents(segment.window.read(at, header.length)?, &mut extents) {
            Ok(()) => Ok(At::Batch(header, extents)),
            Err(error) => Ok(At::Torn(header, error)),
        }
    }

    /// Whether a batch continues the chain.
    fn follows(&self, header: &Header) -> bool {
        let same_life = header.head.epoch == self.epoch;
        let new_life = header.head.epoch > self.epoch && header.head.flags & FLAG_EPOCH_START != 0;
        match self.chained_to {
            Some(checksum) => header.head.previous_checksum == checksum && (same_life || new_life),
            None => header.head.epoch >= self.epoch,
        }
    }

    /// Takes in a batch of the chain: its extents and every frame.
    fn accept(
        &mut self,
        segment: &mut Segment,
        seen: &mut Seen,
        header: &Header,
        extents: &[Extent],
    ) -> Result<(), InspectError> {
        let from = u64::from(header.head.position.offset());
        let bytes = segment.window.read(from, header.length)?;
        for extent in extents {
            let placed = PlacedExtent {
                offset: from as u32 + extent.offset,
                length: extent.length,
                count: extent.count,
                first_sequence: extent.first_sequence,
                arrival_ms: extent.arrival_ms,
            };
            let frames = bytes.get(extent.offset as usize..).and_then(|rest| rest.get(..extent.length as usize));
            let frames = frames.unwrap_or_default();
            seen.encrypted += check_frames(&segment.name, extent.shard, &placed, frames, &mut self.damage);
            if extent.shard == ShardId::CATALOG {
                self.apply_commands(&segment.name, &placed, frames);
            }
            self.tell(header, extent);
            let next = self.next.entry(extent.shard).or_insert(extent.first_sequence);
            if extent.first_sequence < *next {
                let what = format!("records of shard {} take numbers that were given before", extent.shard);
                let to = u64::from(placed.offset + placed.length);
                self.damage.push(Damage::plain(&segment.name, u64::from(placed.offset), to, &what));
            }
            *next = extent.last_sequence().next();
            seen.found.entry(extent.shard).or_default().push(placed);
        }
        seen.batches += 1;
        self.chained_to = Some(header.checksum);
        self.epoch = header.head.epoch;
        Ok(())
    }

    /// Names the records of a shard between those before a damaged stretch and those after it.
    fn tell(&mut self, header: &Header, extent: &Extent) {
        if header.head.flags & FLAG_EPOCH_START != 0 {
            // A new life may have skipped numbers.
            self.untold = None;
        }
        let Some(untold) = &self.untold else { return };
        let Some(first) = self.next.get(&extent.shard).filter(|next| **next < extent.first_sequence) else { return };
        self.damage.push(Damage {
            file: untold.file.clone(),
            from: untold.from,
            to: untold.to,
            what: "records of a damaged batch".to_owned(),
            records: Some(LostRecords { shard: extent.shard.0, first: first.0, last: extent.first_sequence.0 - 1 }),
        });
    }

    fn apply_commands(&mut self, file: &str, extent: &PlacedExtent, mut frames: &[u8]) {
        while let Ok(frame) = Frame::parse_stored(frames) {
            if self.streams.apply(frame.data()).is_none() && !self.is_after_gap {
                let (from, to) = (u64::from(extent.offset), u64::from(extent.offset + extent.length));
                self.damage.push(Damage::plain(
                    file,
                    from,
                    to,
                    "a command of the catalog does not follow from those before",
                ));
            }
            frames = &frames[frame.length()..];
        }
    }

    /// Decides what a place is that no batch of the chain starts at. Where to go on, or nothing at the end of the log.
    fn past(
        &mut self,
        segment: &mut Segment,
        seen: &mut Seen,
        at: u64,
        end: u64,
        found: At,
        continued: Option<&Header>,
    ) -> Result<Option<u64>, InspectError> {
        let position = Position::new(segment.number, at as u32);
        let sealed = segment.footer.is_some();
        let continues = continued.is_some_and(|next| Some(next.head.previous_checksum) == self.chained_to && !sealed);
        if continues {
            return Ok(None);
        }
        let ahead = self.look_ahead(segment, at, end)?;
        let claimed =
            ahead.claimed.max(self.durable).max(continued.map_or(Position::default(), |next| next.head.durable));
        if !sealed && claimed <= position {
            let torn = matches!(found, At::Torn(header, _) | At::Batch(header, _) if header.head.epoch >= self.epoch);
            seen.remains_at = (torn || ahead.first.is_some()).then_some(at);
            return Ok(None);
        }
        let (to, what) = match &found {
            At::Torn(header, PayloadError::Table) => {
                (at + header.length as u64, "a batch's extents contradict each other")
            }
            At::Torn(header, _) => (at + header.length as u64, "a batch's payload differs from its checksum"),
            At::Batch(header, _) => (at + header.length as u64, "a batch does not continue the one before it"),
            At::Nothing => (ahead.first.unwrap_or(end), "there is no batch although one was durable"),
        };
        self.damage.push(Damage::plain(&segment.name, at, to, what));
        seen.damaged.push((at, to));
        self.name_lost(segment, at, to)?;
        // A header that is right vouches for the next link, whatever became of its payload.
        match found {
            At::Torn(header, _) if self.follows(&header) => {
                (self.chained_to, self.epoch) = (Some(header.checksum), header.head.epoch);
            }
            _ => self.chained_to = None,
        }
        Ok(Some(to))
    }

    /// Names the records that a damaged stretch takes, by the footer; those that are whole are not named. Without a footer
    /// readers are refused all of its batches, and the batches after them tell which records those were.
    fn name_lost(&mut self, segment: &mut Segment, from: u64, to: u64) -> Result<(), InspectError> {
        let Some(footer) = &segment.footer else {
            let earlier = self.untold.as_ref().filter(|untold| untold.file == segment.name);
            let from = earlier.map_or(from, |untold| untold.from);
            self.untold = Some(Untold { file: segment.name.clone(), from, to });
            return Ok(());
        };
        for row in footer.shards() {
            for extent in
                footer.extents(&row).filter(|e| u64::from(e.offset) < to && u64::from(e.offset + e.length) > from)
            {
                let bytes = segment.window.read(u64::from(extent.offset), extent.length as usize)?;
                check_frames(&segment.name, row.shard, &extent, bytes, &mut self.damage);
            }
        }
        Ok(())
    }

    /// Looks at every block from `at` on for headers of this segment and life.
    fn look_ahead(&self, segment: &mut Segment, at: u64, end: u64) -> Result<Ahead, InspectError> {
        let mut ahead = Ahead::default();
        let mut place = at;
        while place + BLOCK_BYTES as u64 <= end {
            let (header, intact) = match self.at(segment, place)? {
                At::Batch(header, _) => (header, true),
                At::Torn(header, _) => (header, false),
                At::Nothing => {
                    place += BLOCK_BYTES as u64;
                    continue;
                }
            };
            let current = header.head.epoch >= self.epoch;
            if current {
                ahead.claimed = ahead.claimed.max(header.head.durable);
                ahead.first = ahead.first.or((place > at).then_some(place));
            }
            place += if intact { header.length as u64 } else { BLOCK_BYTES as u64 };
            // One that is sealed is damaged here whatever follows: the next batch is all that matters.
            if segment.footer.is_some() && ahead.first.is_some() {
                break;
            }
        }
        Ok(ahead)
    }

    fn check_footer(&mut self, file: &str, footer: &Footer, seen: &Seen) {
        compare(file, footer, &seen.found, &seen.damaged, &mut self.damage);
        let at = u64::from(footer.head.position.offset());
        let is_chained = footer.head.stands_for == 0;
        if is_chained && self.chained_to.is_some_and(|checksum| checksum != footer.head.last_checksum) {
            self.damage.push(Damage::plain(file, at, at, "the footer follows another batch than the last one"));
        }
        if seen.damaged.is_empty() && !self.is_after_gap && !self.streams.matches(footer.catalog()) {
            self.damage.push(Damage::plain(file, at, at, "the footer's catalog differs from the commands before it"));
        }
        if let Some(streams) = Streams::from_footer(footer) {
            (self.streams, self.is_after_gap) = (streams, false);
        }
        for row in footer.shards() {
            if self.next.get(&row.shard).is_some_and(|next| row.next < *next) {
                let what =
                    format!("the footer lets shard {} go on with {}, which was given before", row.shard, row.next);
                self.damage.push(Damage::plain(file, at, at, &what));
            }
            self.next.insert(row.shard, row.next);
        }
    }
}

/// What a look ahead has found.
#[derive(Default)]
struct Ahead {
    /// The furthest durable mark of any header.
    claimed: Position,
    /// The first header after the place.
    first: Option<u64>,
}

/// The first batch of a segment, if its header is right.
pub(super) fn first_batch(segment: &mut Segment, log_id: LogId) -> Result<Option<Header>, InspectError> {
    let place = Position::new(segment.number, FIRST_BATCH);
    let header = Header::parse(segment.window.read(u64::from(FIRST_BATCH), BLOCK_BYTES)?);
    Ok(header.filter(|header| header.head.log_id == log_id && header.head.position == place))
}

fn report(segment: &Segment, seen: &Seen, used_bytes: u64) -> SegmentReport {
    let all = || seen.found.values().flatten();
    let state = match (&segment.footer, seen.batches, seen.remains_at) {
        (Some(footer), ..) => sealed_state(footer),
        (None, 0, None) if seen.damaged.is_empty() => SegmentState::Ready,
        (None, ..) => SegmentState::Unsealed,
    };
    SegmentReport {
        file: segment.name.clone(),
        file_bytes: segment.bytes,
        state,
        used_bytes,
        batches: Some(seen.batches),
        extents: all().count() as u64,
        records: all().map(|extent| u64::from(extent.count)).sum(),
        encrypted: Some(seen.encrypted),
        shards: seen.found.len() as u64,
        remains_at: seen.remains_at,
    }
}
