//! Reads a segment batch by batch, and looks ahead for claims of durability.

use std::collections::BTreeSet;

use frame::batch::{Extent, Header, PayloadError};
use frame::limits::{BATCH_BYTES_MAX, BLOCK_BYTES};
use frame::segment::{FIRST_BATCH, Trailer};
use frame::{Epoch, JournalNumber, LogId, Position, SegmentNumber};
use io::{BufMut, FileId, Io};

use super::{OpenError, blocking};

const WINDOW_BYTES: usize = 4 << 20;
const _: () = assert!(WINDOW_BYTES >= 2 * BATCH_BYTES_MAX);

/// A segment as recovery sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) number: SegmentNumber,
    pub(crate) file: FileId,
    pub(crate) bytes: u32,
}

/// What lies at a place.
pub(crate) enum AtPlace {
    /// A header of this segment and place, with its payload intact.
    Intact(Header),
    /// A header of this segment and place, with its payload torn or damaged.
    HeaderOnly(Header),
    /// Not a header of this segment and place.
    NoHeader,
}

/// What a look ahead has found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ahead {
    /// The furthest durable mark of any header.
    pub(crate) claimed: Position,
    /// The first intact batch of this epoch or a later one.
    pub(crate) first_intact: Option<Position>,
    /// The end of the last header's batch.
    pub(crate) end: Position,
}

/// Reads one segment through a window.
pub(crate) struct Scan {
    log_id: LogId,
    journal: JournalNumber,
    segment: Segment,
    window: Option<BufMut>,
    window_at: u32,
    /// Blocks that can't be read, of those that were looked at.
    unreadable: BTreeSet<u32>,
    pub(crate) read_bytes: u64,
}

impl Scan {
    pub(crate) fn new(log_id: LogId, journal: JournalNumber, segment: Segment) -> Scan {
        Scan { log_id, journal, segment, window: None, window_at: 0, unreadable: BTreeSet::new(), read_bytes: 0 }
    }

    /// Bytes from `offset` on: at least `bytes` of them, unless the segment ends first.
    pub(crate) fn bytes(&mut self, io: &mut impl Io, offset: u32, bytes: usize) -> Result<&[u8], OpenError> {
        let wanted = bytes.min((self.segment.bytes - offset) as usize);
        let has = self.window.as_ref().is_some_and(|window| {
            offset >= self.window_at && (offset - self.window_at) as usize + wanted <= window.len()
        });
        if !has {
            // The old window goes back first, so that the pool needs to hold one only.
            self.window = None;
            let length = WINDOW_BYTES.min((self.segment.bytes - offset) as usize);
            let window = match blocking::read(io, self.segment.file, u64::from(offset), length) {
                Err(error) if error.is_unreadable() => self.read_around(io, offset, length)?,
                read => read?,
            };
            self.read_bytes += window.len() as u64;
            self.window = Some(window);
            self.window_at = offset;
        }
        let window = self.window.as_deref().unwrap_or_default();
        Ok(window.get((offset - self.window_at) as usize..).unwrap_or_default())
    }

    /// Reads what can be read of a window.
    fn read_around(&mut self, io: &mut impl Io, offset: u32, length: usize) -> Result<BufMut, OpenError> {
        // Where not even the header can be, which was a moment ago, it is the disk that fails, and no place on it. Some failures
        // pass by themselves.
        blocking::pause(io);
        blocking::read(io, self.segment.file, 0, BLOCK_BYTES)?;
        let note = |at: u64| self.unreadable.extend([at as u32]);
        let read = blocking::read_around(io, self.segment.file, u64::from(offset), length, note)?;
        blocking::read(io, self.segment.file, 0, BLOCK_BYTES)?;
        Ok(read)
    }

    /// The first block from `offset` on that can't be read, of those that were looked at.
    pub(crate) fn unreadable_from(&self, offset: u32) -> Option<u32> {
        self.unreadable.range(offset..).next().copied()
    }

    /// The same, where batches may lie, of a segment that its trailer does not say was left right there.
    pub(crate) fn hidden_from(&mut self, io: &mut impl Io, place: Position) -> Result<Option<Position>, OpenError> {
        let trailer_at = self.segment.bytes - BLOCK_BYTES as u32;
        let Some(offset) = self.unreadable_from(place.offset()).filter(|&offset| offset < trailer_at) else {
            return Ok(None);
        };
        let (log_id, journal) = (self.log_id, self.journal);
        let trailer = Trailer::parse(self.bytes(io, trailer_at, BLOCK_BYTES)?);
        let is_own = |trailer: &Trailer| trailer.log_id == log_id && trailer.journal == journal;
        let was_left = trailer.filter(is_own).is_some_and(|trailer| trailer.footer == place);
        Ok((!was_left).then(|| Position::new(self.segment.number, offset)))
    }

    /// What lies at `offset`. Fills `extents` for an intact batch.
    pub(crate) fn at(
        &mut self,
        io: &mut impl Io,
        offset: u32,
        extents: &mut Vec<Extent>,
    ) -> Result<AtPlace, OpenError> {
        let place = Position::new(self.segment.number, offset);
        let (log_id, journal) = (self.log_id, self.journal);
        let block = self.bytes(io, offset, BLOCK_BYTES)?;
        let block = &block[..block.len().min(BLOCK_BYTES)];
        let header = Header::parse(block).filter(|header| {
            header.head.log_id == log_id && header.head.journal == journal && header.head.position == place
        });
        let Some(header) = header else {
            return Ok(AtPlace::NoHeader);
        };
        let bytes = self.bytes(io, offset, header.length)?;
        match header.extents(bytes, extents) {
            Ok(()) => Ok(AtPlace::Intact(header)),
            Err(PayloadError::Checksum | PayloadError::Short) => Ok(AtPlace::HeaderOnly(header)),
            Err(PayloadError::Table) => Err(OpenError::Contradiction { position: place }),
        }
    }

    /// Whether the block at `offset` is all zeros.
    pub(crate) fn is_blank(&mut self, io: &mut impl Io, offset: u32) -> Result<bool, OpenError> {
        let block = self.bytes(io, offset, BLOCK_BYTES)?;
        Ok(block.iter().take(BLOCK_BYTES).all(|&byte| byte == 0))
    }

    /// Behind the last block from a place on that is not blank.
    pub(crate) fn blank_from(&mut self, io: &mut impl Io, place: Position) -> Result<Position, OpenError> {
        let (mut at, mut blank) = (place.offset(), place.offset());
        while at as usize + BLOCK_BYTES < self.segment.bytes as usize {
            let is_blank = self.is_blank(io, at)?;
            at += BLOCK_BYTES as u32;
            blank = if is_blank { blank } else { at };
        }
        Ok(Position::new(self.segment.number, blank))
    }

    /// Looks at every block from `offset` on for headers of this segment.
    pub(crate) fn look_ahead(&mut self, io: &mut impl Io, offset: u32, epoch: Epoch) -> Result<Ahead, OpenError> {
        self.look(io, offset, epoch, self.segment.bytes)
    }

    /// Looks at every block of this segment for its headers, but gives up after a stretch without any that is longer than
    /// one damaged batch: so a segment that was never written costs little.
    pub(crate) fn look_through(&mut self, io: &mut impl Io, epoch: Epoch) -> Result<Ahead, OpenError> {
        self.look(io, FIRST_BATCH, epoch, WINDOW_BYTES as u32)
    }

    fn look(&mut self, io: &mut impl Io, offset: u32, epoch: Epoch, patience: u32) -> Result<Ahead, OpenError> {
        let mut ahead = Ahead::default();
        let mut extents = Vec::new();
        let (mut at, mut found) = (offset, offset);
        while (at as usize) + BLOCK_BYTES <= self.segment.bytes as usize && at - found < patience {
            match self.at(io, at, &mut extents)? {
                AtPlace::Intact(header) => {
                    ahead.note(&header);
                    let current = header.head.epoch >= epoch;
                    if current && ahead.first_intact.is_none() {
                        ahead.first_intact = Some(header.head.position);
                    }
                    at += header.length as u32;
                    found = at;
                    continue;
                }
                AtPlace::HeaderOnly(header) => {
                    ahead.note(&header);
                    found = at;
                }
                AtPlace::NoHeader => {}
            }
            at += BLOCK_BYTES as u32;
        }
        Ok(ahead)
    }
}

impl Ahead {
    fn note(&mut self, header: &Header) {
        self.claimed = self.claimed.max(header.head.durable);
        self.end = self.end.max(header.head.position.advance(header.length as u32));
    }
}
