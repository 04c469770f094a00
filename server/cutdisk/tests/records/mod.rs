//! A small writer of numbered records, as simple as can be, that is checked after a cut.
//!
//! A record is one block, its number stamped into every sector, at its own place in its file. What
//! the writer was told is written, and what it was not told, is all that it remembers.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use cutdisk::SECTOR_BYTES;
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::ReadWriteFlags;

pub(crate) const RECORD_BYTES: usize = 4096;

/// Whether the writer asks for its writes to be durable.
pub(crate) const DURABLE: ReadWriteFlags = ReadWriteFlags::DSYNC;
/// Or takes the mere completion of a write for it, which is wrong.
pub(crate) const NOT_DURABLE: ReadWriteFlags = ReadWriteFlags::empty();

/// Memory for direct I/O: a slice within it starts at a multiple of the record size.
pub(crate) struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    pub(crate) fn new(len: usize) -> Aligned {
        let bytes = vec![0; len + RECORD_BYTES];
        let start = bytes.as_ptr().align_offset(RECORD_BYTES);
        Aligned { bytes, start, len }
    }

    pub(crate) fn slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

pub(crate) fn open_direct(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path)
}

fn create(path: &Path) -> io::Result<File> {
    File::create_new(path)?;
    open_direct(path)
}

/// A file of `bytes` that was really written and is durable with its name.
pub(crate) fn prewrite(path: &Path, bytes: usize) -> io::Result<()> {
    let file = create(path)?;
    let mut zeroes = Aligned::new(1 << 20);
    for offset in (0..bytes).step_by(1 << 20) {
        file.write_all_at(zeroes.slice(), offset as u64)?;
    }
    settle(&file, path)
}

/// A file of `bytes` that is allocated, durable with its name, and has never been written.
pub(crate) fn allocate(path: &Path, bytes: usize) -> io::Result<()> {
    let file = create(path)?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes as u64)?;
    settle(&file, path)
}

fn settle(file: &File, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    File::open(path.parent().expect("a file lies in a directory"))?.sync_all()
}

pub(crate) fn write_record(file: &File, place: u64, number: u64, flags: ReadWriteFlags) -> io::Result<()> {
    let mut record = Aligned::new(RECORD_BYTES);
    for sector in record.slice().chunks_mut(SECTOR_BYTES) {
        sector[..8].copy_from_slice(&number.to_le_bytes());
    }
    let offset = place * RECORD_BYTES as u64;
    let written = rustix::io::pwritev2(file, &[IoSlice::new(record.slice())], offset, flags)?;
    assert_eq!(written, RECORD_BYTES, "a short write");
    Ok(())
}

/// The numbers in the sectors at a record's place.
pub(crate) fn read_record(file: &File, place: u64) -> io::Result<Vec<u64>> {
    let mut record = Aligned::new(RECORD_BYTES);
    file.read_exact_at(record.slice(), place * RECORD_BYTES as u64)?;
    let sectors = record.slice().chunks(SECTOR_BYTES);
    let number = |sector: &[u8]| u64::from_le_bytes(sector[..8].try_into().expect("8 bytes"));
    Ok(sectors.map(number).collect())
}

/// One writer's life between two cuts.
pub(crate) struct Life {
    pub(crate) path: PathBuf,
    /// The number at place 0; the number at place n is higher by n.
    pub(crate) first: u64,
    pub(crate) acked: u64,
    /// What ended it.
    pub(crate) error: io::Error,
}

/// Writes records one after the other until one fails or the file is full, and tells of each ack.
pub(crate) fn write_until_cut(
    path: PathBuf,
    first: u64,
    places: u64,
    flags: ReadWriteFlags,
    acks: &Sender<()>,
) -> Life {
    let mut acked = 0;
    let error = loop {
        if acked == places {
            break io::Error::other("the file is full");
        }
        // The file is opened for every record so that the cut also meets opens.
        let written = open_direct(&path).and_then(|file| write_record(&file, acked, first + acked, flags));
        match written {
            Ok(()) => acked += 1,
            Err(error) => break error,
        }
        // Nobody listens any more once the power is off.
        let _ = acks.send(());
    };
    Life { path, first, acked, error }
}

/// How many of the acknowledged records are not there in full.
pub(crate) fn count_lost(life: &Life) -> io::Result<u64> {
    let file = open_direct(&life.path)?;
    let mut lost = 0;
    for place in 0..life.acked {
        let numbers = read_record(&file, place)?;
        lost += u64::from(numbers.iter().any(|&number| number != life.first + place));
    }
    Ok(lost)
}
