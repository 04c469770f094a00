//! Copies of what recovery cuts, for whoever wants to look at it.

use frame::limits::{BATCH_BYTES_MAX, BLOCK_BYTES};
use frame::{JournalNumber, Position};
use io::{DirId, FileId, Io};

use super::{Cut, OpenError, Scan, Segment, blocking};
use crate::journal::Blueprint;
use crate::limits::CUT_COPY_BYTES_MAX;

/// What names of copies begin with; the life that made the copy follows.
pub(crate) const CUT_COPY_PREFIX: &str = "cut-";

/// Copies what is about to be cut into a file of its own. A disk without space for it is no reason not to open: then
/// there is no copy, and the report says so. A disk that fails is one.
pub(super) fn copy_aside(
    io: &mut impl Io,
    blueprint: &Blueprint,
    scan: &mut Scan,
    segment: &Segment,
    position: Position,
    known_to: Position,
) -> Result<Cut, OpenError> {
    let Blueprint { epoch, journal, dir, .. } = *blueprint;
    let of_journal = if journal == JournalNumber::CATALOG { String::new() } else { format!("{:04}-", journal.0) };
    let (segment_number, offset) = (segment.number.0, position.offset());
    let name = format!("{CUT_COPY_PREFIX}{:010}-{of_journal}{segment_number:010}-{offset:08x}", epoch.0);
    let known = known_to.max(position.advance(BLOCK_BYTES as u32)).0 - position.0;
    let left = (segment.bytes - position.offset()) as usize;
    let bytes = (known as usize).clamp(BATCH_BYTES_MAX, CUT_COPY_BYTES_MAX).min(left);
    let copy = match write_copy(io, scan, (dir, &name), position, bytes) {
        Ok(()) => Some(name),
        Err(error) if error.is_full() => {
            tracing::warn!(%error, %position, bytes, "what is cut could not be copied aside; it is cut all the same");
            None
        }
        Err(error) => return Err(error),
    };
    Ok(Cut { journal, from: position, copy, bytes })
}

/// Writes the copy. What was begun and can't be ended is removed.
fn write_copy(
    io: &mut impl Io,
    scan: &mut Scan,
    (dir, name): (DirId, &str),
    position: Position,
    bytes: usize,
) -> Result<(), OpenError> {
    let file = blocking::open_file(io, dir, name, true)?;
    let written = fill_copy(io, scan, file, position, bytes);
    blocking::close_file(io, file)?;
    if written.is_err() {
        blocking::remove(io, dir, name)?;
    }
    blocking::sync_dir(io, dir)?;
    written
}

fn fill_copy(
    io: &mut impl Io,
    scan: &mut Scan,
    file: FileId,
    position: Position,
    bytes: usize,
) -> Result<(), OpenError> {
    // All of the space first: a write that finds it used up half-way would be a short one, as those of a failing disk.
    blocking::allocate(io, file, bytes.next_multiple_of(BLOCK_BYTES) as u64)?;
    let mut copied = 0;
    while copied < bytes {
        let chunk = (bytes - copied).min(BATCH_BYTES_MAX);
        let from = scan.bytes(io, position.offset() + copied as u32, chunk)?;
        let from = from[..chunk.min(from.len())].to_vec();
        blocking::write(io, file, copied as u64, &from)?;
        copied += chunk;
    }
    blocking::sync(io, file)
}
