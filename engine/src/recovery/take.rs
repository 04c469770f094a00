//! A seat is taken: a reactor opens the files of its journal with its own `Io`, and makes sure of a segment to write to.

use std::collections::BTreeMap;
use std::sync::Arc;

use frame::Position;
use frame::segment::FIRST_BATCH;
use io::{FileId, Io, Wait};

use super::{OpenError, Seat, blocking};
use crate::Config;
use crate::exchange::EIO;
use crate::journal::{FooterCache, Open, Ready, SegmentId, Segments, Start, Stock, Tokens, file_name};
use crate::limits::{BEGIN_RETRY_NS, Memory};
use crate::owners::Owners;
use crate::producers::Producers;
use crate::token;

impl Seat {
    /// Opens the seat's files, unless it is the first, whose `Io` opened all there are.
    pub(crate) fn open_files(&mut self, io: &mut impl Io) -> Result<(), OpenError> {
        if self.owners.own() == 0 {
            return Ok(());
        }
        let journal = self.blueprint.journal;
        let mut known: BTreeMap<SegmentId, FileId> = BTreeMap::new();
        let directories = Arc::clone(&self.directories);
        let mut open = |io: &mut _, segment: SegmentId| -> Result<FileId, OpenError> {
            if let Some(&file) = known.get(&segment) {
                return Ok(file);
            }
            let file =
                blocking::open_file(io, directories.of(segment), &file_name(segment.journal, segment.number), false)?;
            known.insert(segment, file);
            Ok(file)
        };
        let kept = self.keeps.iter_mut().map(|(sealed, _)| sealed);
        for sealed in self.sealed.iter_mut().chain(self.closed.iter_mut().flatten()).chain(kept) {
            sealed.file = open(io, sealed.segment)?;
        }
        for ready in &mut self.leftovers {
            ready.file = open(io, SegmentId { journal, number: ready.number })?;
        }
        if let Some((segment, _)) = &mut self.open {
            segment.file = open(io, SegmentId { journal, number: segment.number })?;
        }
        for seal in self.seals.iter_mut().chain(&mut self.late_seals) {
            seal.file = open(io, SegmentId { journal, number: seal.trailer.footer.segment() })?;
        }
        Ok(())
    }

    /// Makes sure of a segment to write to, and hands over what the journal starts from.
    pub(crate) fn start(
        &mut self,
        io: &mut impl Io,
        config: &Config,
        memory: &Memory,
    ) -> Result<(Start, Segments), OpenError> {
        let sealed = self.sealed.iter().map(|sealed| u64::from(sealed.bytes));
        let used_bytes = sealed.chain(self.open.iter().map(|(segment, _)| u64::from(segment.bytes))).sum();
        let tokens = Tokens { make: token::MAKE, zero: token::ZERO };
        let stock = Stock {
            leftovers: std::mem::take(&mut self.leftovers),
            next_number: self.next_number,
            used_bytes,
            target: config.segments_ready,
            bytes_max: self.bytes_max,
        };
        let mut segments = Segments::new(self.blueprint, tokens, stock, Arc::clone(&self.exchange.flushes));
        let (open, tail) = match self.open {
            Some((segment, tail)) => {
                let (number, file, bytes) = (segment.number, segment.file, segment.bytes);
                let dir = self.directories.of(SegmentId { journal: self.blueprint.journal, number });
                (Open { extents: self.extents, ..Open::empty(number, dir, file, bytes) }, tail)
            }
            None => {
                let Ready { number, dir, file, bytes, .. } =
                    take_segment(io, &mut segments, config.prewrite, &self.owners)?;
                (Open::empty(number, dir, file, bytes), Position::new(number, FIRST_BATCH))
            }
        };
        if config.prewrite {
            prepare(io, &mut segments, true, &self.owners)?;
        }
        let mut footers = FooterCache::new(memory.footer_bytes, std::mem::take(&mut self.pinned));
        if let Some((segment, footer)) = self.newest.take() {
            footers.insert(segment, footer);
        }
        let start = Start {
            blueprint: self.blueprint,
            open,
            tail,
            previous_checksum: self.previous_checksum,
            index: std::mem::take(&mut self.index),
            sealed: std::mem::take(&mut self.sealed),
            closed: std::mem::take(&mut self.closed),
            footers,
            damage: std::mem::take(&mut self.damage),
            seals: std::mem::take(&mut self.seals),
            producers: std::mem::replace(&mut self.producers, Producers::within(0)),
        };
        Ok((start, segments))
    }
}

/// Has a segment made, waiting for it. With `prewrite`, as many as are wanted, filled with zeros.
fn take_segment(
    io: &mut impl Io,
    segments: &mut Segments,
    prewrite: bool,
    owners: &Owners,
) -> Result<Ready, OpenError> {
    prepare(io, segments, prewrite, owners)?;
    segments.take().map_err(|_| OpenError::of_no_segment(segments))
}

/// Waits until a segment is ready, or with `prewrite` all that are wanted, filled with zeros; or until none can be had.
fn prepare(io: &mut impl Io, segments: &mut Segments, prewrite: bool, owners: &Owners) -> Result<(), OpenError> {
    let mut completions = Vec::new();
    segments.fill();
    loop {
        segments.advance(io, prewrite);
        let enough = if prewrite { segments.is_prepared() } else { segments.has_ready() || segments.is_full() };
        if enough {
            return Ok(());
        }
        if segments.flushes().has_failed() {
            return Err(OpenError::io("making a segment", -EIO));
        }
        io.turn(begin_wait(io, owners), &mut completions);
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

/// How long a reactor that is beginning may sleep: it may wait for flushes of others, and nobody wakes it yet when they end.
pub(crate) fn begin_wait(io: &impl Io, owners: &Owners) -> Wait {
    if owners.reactors() == 1 { Wait::Forever } else { Wait::Until(io.mono_ns() + BEGIN_RETRY_NS) }
}
