//! Opening a data directory: what was acknowledged is found again, what is damaged is named, what was torn is cut.
//!
//! ```text
//!   superblock -> epoch raised, durably
//!     -> each journal: footer of the last sealed segment: catalog, numbers
//!                      -> batches after it, by the decision table -> tail made durable
//!     -> what the journals say together, shared out among the reactors of this life -> first batch of each
//! ```
//!
//! One thread does it for all journals; the first batch of each is written by its reactor. `journal` recovers one; `share`
//! finds where each shard goes on. Segments before the last sealed one are not read. The decision table is in [`table`].

pub(crate) mod blocking;
mod cut;
mod journal;
mod replay;
mod report;
mod scan;
mod share;
mod table;
mod take;

pub use report::{Cut, OpenError, Recovered};
pub(crate) use scan::{AtPlace, Scan, Segment};
pub use share::Seat;

use std::collections::BTreeSet;

use frame::limits::{BLOCK_BYTES, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use frame::superblock::Superblock;
use frame::{Epoch, JournalNumber, LogId, SegmentNumber};
use io::Io;

use crate::Config;
use crate::journal::{Blueprint, UNFINISHED, parse_name};
use crate::limits::{CUT_COPIES_MAX, REACTORS_MAX};
use crate::owners::Owners;
use crate::superblock::{self, Store};
use cut::CUT_COPY_PREFIX;
use journal::Journal;

/// Opens the data directory of `io`, or makes it, for so many reactors: a seat for each. The first is taken with this very
/// `io`, before the others. Nothing is served before each has been taken.
///
/// # Errors
/// The directory can't be opened; the error says why and what to do.
pub fn open(io: &mut impl Io, config: &Config, reactors: usize) -> Result<(Vec<Seat>, Recovered), OpenError> {
    if !(1..=REACTORS_MAX).contains(&reactors) {
        return Err(OpenError::Reactors { reactors });
    }
    let started_ns = io.mono_ns();
    let names = clear(io)?;
    let has_superblock = names.iter().any(|name| name == superblock::NAME);
    let mut journals: BTreeSet<JournalNumber> = (0..reactors as u32).map(JournalNumber).collect();
    let segments: Vec<(JournalNumber, SegmentNumber)> = names.iter().filter_map(|name| parse_name(name)).collect();
    journals.extend(segments.iter().map(|(journal, _)| *journal));
    let mut store = if has_superblock {
        Store::open(io)?
    } else if segments.is_empty() {
        create(io, config)?
    } else {
        return Err(OpenError::NoSuperblock { segments: segments.len() });
    };
    let was = store.current;
    store.update(io, |superblock| {
        superblock.epoch = Epoch(was.epoch.0 + 1);
        superblock.clean = false;
    })?;
    let mut recovered = Recovered {
        epoch: store.current.epoch,
        fresh: !has_superblock,
        clean: was.clean,
        segments: segments.len(),
        ..Recovered::default()
    };
    let owners = Owners::new(reactors, 0);
    let is_shared = journals.len() > 1;
    let mut found = Vec::with_capacity(journals.len());
    for journal in journals {
        let blueprint =
            Blueprint { log_id: was.log_id, journal, epoch: store.current.epoch, segment_bytes: was.segment_bytes };
        let numbers = segment_numbers(&segments, journal);
        found.push(Journal::recover(io, blueprint, &was, &numbers, is_shared.then_some(owners), &mut recovered)?);
    }
    recovered.damage.settle_records();
    let seats = share::out(config, reactors, found, store, &mut recovered);
    recovered.elapsed_ns = io.mono_ns() - started_ns;
    Ok((seats, recovered))
}

/// Removes what an earlier life did not finish making, and the oldest copies of what was cut, so that there is room for
/// those of this life. Returns the other names.
fn clear(io: &mut impl Io) -> Result<Vec<String>, OpenError> {
    let entries = blocking::list(io)?;
    let (mut needless, names): (Vec<String>, Vec<String>) =
        entries.into_iter().map(|entry| entry.name).partition(|name| name.ends_with(UNFINISHED));
    let (mut copies, names): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| name.starts_with(CUT_COPY_PREFIX));
    let journals: BTreeSet<JournalNumber> =
        names.iter().filter_map(|name| parse_name(name)).map(|(journal, _)| journal).collect();
    // The life that made a copy comes first in its name.
    copies.sort_unstable();
    let kept = (CUT_COPIES_MAX - 1) * journals.len().max(1);
    copies.truncate(copies.len().saturating_sub(kept));
    needless.append(&mut copies);
    for name in &needless {
        blocking::remove(io, name)?;
    }
    // A life that was killed may have left names that were never flushed: they are, before anything relies on them.
    blocking::sync_dir(io)?;
    Ok(names)
}

fn segment_numbers(segments: &[(JournalNumber, SegmentNumber)], journal: JournalNumber) -> Vec<SegmentNumber> {
    let own = segments.iter().filter(|(number, _)| *number == journal);
    let mut numbers: Vec<SegmentNumber> = own.map(|(_, segment)| *segment).collect();
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
