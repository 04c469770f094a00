//! Opening a data directory: what was acknowledged is found again, what is damaged is named, what was torn is cut.
//!
//! ```text
//!   directories, which belong together -> superblock -> epoch raised, durably
//!     -> each journal: footer of the last sealed segment: catalog, numbers
//!                      -> batches after it, by the decision table -> tail made durable
//!     -> what the journals say together, shared out among the reactors of this life -> first batch of each
//! ```
//!
//! One thread does it for all journals; the first batch of each is written by its reactor. `journal` recovers one; `doubts`
//! finds what all together have lost, `share` where each shard goes on. Segments before the last sealed one are not read. The decision table is in [`table`].

pub(crate) mod blocking;
mod cut;
mod directories;
mod doubts;
mod gaps;
mod journal;
mod later;
mod replay;
mod report;
mod scan;
mod share;
mod table;
mod take;

pub(crate) use cut::CUT_COPY_PREFIX;
pub(crate) use directories::{Directories, MEMBER_NAME, MEMBER_UNFINISHED};
pub use report::{Cut, OpenError, Recovered};
pub(crate) use scan::{AtPlace, Scan, Segment};
pub use share::Seat;
pub(crate) use take::begin_wait;

use std::collections::BTreeSet;

use frame::{Epoch, JournalNumber, Position};
use io::{DirId, FileId, Io};

use crate::Config;
use crate::clock::Clock;
use crate::journal::Blueprint;
use crate::limits::REACTORS_MAX;
use crate::owners::Owners;
use directories::Found;
use journal::Journal;

/// Opens the log in the data directories of `io`, or makes it, for so many reactors: a seat for each. The first is taken with this very
/// `io`, before the others. Nothing is served before each has been taken.
///
/// # Errors
/// The directory can't be opened; the error says why and what to do.
pub fn open(io: &mut impl Io, config: &Config, reactors: usize) -> Result<(Vec<Seat>, Recovered), OpenError> {
    if !(1..=REACTORS_MAX).contains(&reactors) {
        return Err(OpenError::Reactors { reactors });
    }
    let started_ns = io.mono_ns();
    let Found { directories, mut store, segments, is_fresh } = directories::find(io, config)?;
    let mut journals: BTreeSet<JournalNumber> = (0..reactors as u32).map(JournalNumber).collect();
    journals.extend(segments.keys().map(|segment| segment.journal));
    let was = store.current;
    let goes_by_wall = is_fresh || config.accept_clock;
    let clock = if goes_by_wall { Clock::at_wall(io) } else { Clock::after(io, &was) };
    store.update(io, &clock, |superblock| {
        superblock.epoch = Epoch(was.epoch.0 + 1);
        superblock.clean = false;
        // No start before this one came as far as a segment: their length is still to be chosen.
        if segments.is_empty() && was.durable == Position::default() {
            superblock.segment_bytes = config.segment_bytes;
        }
    })?;
    let mut recovered = Recovered {
        epoch: store.current.epoch,
        fresh: is_fresh,
        clean: was.clean,
        segments: segments.len(),
        segment_bytes: store.current.segment_bytes,
        clock_differs_ms: clock.held_by_ms(io),
        ..Recovered::default()
    };
    let mut owners = Owners::new(reactors, 0);
    let mut found = Vec::with_capacity(journals.len());
    for journal in journals {
        let blueprint = Blueprint {
            log_id: was.log_id,
            journal,
            dir: directories.of_journal(journal),
            epoch: store.current.epoch,
            segment_bytes: store.current.segment_bytes,
        };
        let lengths = directories::lengths_of(&segments, journal);
        let place = (&directories, lengths.as_slice());
        found.push(Journal::recover(io, blueprint, &was, place, &owners, &mut recovered)?);
        if let [catalogs] = found.as_mut_slice()
            && owners.move_all(catalogs.replay.catalog.homes())
        {
            catalogs.find_users(io, &owners)?;
        }
    }
    doubts::settle(io, &mut found, &mut recovered)?;
    let opened: Vec<FileId> = found.iter().flat_map(Journal::files).collect();
    let disks: Vec<u64> = (0..io.directories() as u32).map(|dir| io.disk(DirId(dir))).collect();
    let seats = share::out(config, &owners, found, &disks, (directories, store, clock), &mut recovered);
    // What others write and drop is theirs alone: a file that is open here as well would keep its space.
    let kept: BTreeSet<FileId> = seats.first().into_iter().flat_map(Seat::files).collect();
    opened.into_iter().filter(|file| !kept.contains(file)).try_for_each(|file| blocking::close_file(io, file))?;
    recovered.elapsed_ns = io.mono_ns() - started_ns;
    Ok((seats, recovered))
}
