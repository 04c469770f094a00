//! What opening a data directory found, and why it can fail.

use std::fmt;

use frame::{Epoch, JournalNumber, Position, SegmentNumber};
use io::DirId;

use super::MEMBER_NAME;
use crate::damage::Damage;
use crate::journal::{Segments, file_name};
use crate::limits::{DIRECTORIES_MAX, REACTORS_MAX};

/// Unmarked batches that were torn by the end of the last life, and cut. They were never acknowledged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// In which journal.
    pub journal: JournalNumber,
    /// Where the log ends now.
    pub from: Position,
    /// The file in the data directory that holds a copy of what was cut; none if there was no space for it.
    pub copy: Option<String>,
    /// Bytes that were to be copied.
    pub bytes: usize,
}

/// What opening found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// This life.
    pub epoch: Epoch,
    /// Whether the directory was made by this call.
    pub fresh: bool,
    /// Whether the last life ended by a clean shutdown.
    pub clean: bool,
    /// Segments found.
    pub segments: usize,
    /// Bytes of one, unless it was compacted.
    pub segment_bytes: u32,
    /// Bytes that were read to find the end.
    pub scanned_bytes: u64,
    /// What was cut, at most once in a journal.
    pub cuts: Vec<Cut>,
    /// Numbers that every shard of such a journal skipped because of the cut.
    pub skipped: u64,
    /// Segment files whose header was damaged, and was written again. Their batches did not depend on it.
    pub remade_headers: Vec<String>,
    /// What is damaged although it was durable.
    pub damage: Damage,
    /// How far the wall clock is from what it should be, if that is too far: nothing expires for now.
    pub clock_differs_ms: Option<i64>,
    /// How long it took.
    pub elapsed_ns: u64,
}

/// Why a data directory can't be opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// The system refused an operation.
    Io {
        /// What was being done.
        doing: String,
        /// The errno, or 0 for a short write.
        errno: i32,
    },
    /// The end of the log can't be read: what may have been acknowledged there would be written over.
    Unreadable {
        /// The segment's file.
        name: String,
        /// From where on, in bytes.
        offset: u32,
    },
    /// Written by a newer version.
    NewerVersion {
        /// That version.
        version: u16,
    },
    /// There are segments and no superblock.
    NoSuperblock {
        /// How many segments.
        segments: usize,
    },
    /// The superblock's copies are damaged.
    Superblock {
        /// Copies that are intact.
        intact: usize,
    },
    /// There can't be so many data directories.
    Directories {
        /// How many.
        count: usize,
    },
    /// Two directories have a superblock.
    SeveralLogs {
        /// Which.
        dirs: [DirId; 2],
    },
    /// A directory belongs to another log, or holds segments and does not say whose.
    ForeignDirectory {
        /// Which.
        dir: DirId,
    },
    /// Two directories say that they are the same one of this log.
    SameDirectory {
        /// Its number.
        number: u32,
        /// Which.
        dirs: [DirId; 2],
    },
    /// Directories of this log were not named.
    MissingDirectories {
        /// How many there are.
        known: usize,
        /// Their numbers.
        missing: Vec<usize>,
        /// Of those that are named, which hold nothing.
        empty: Vec<DirId>,
    },
    /// What a directory says of itself is damaged.
    Member {
        /// Which.
        dir: DirId,
    },
    /// A segment lies in two directories.
    SegmentTwice {
        /// Its journal.
        journal: JournalNumber,
        /// Its number there.
        number: SegmentNumber,
    },
    /// A segment belongs to another log.
    ForeignSegment {
        /// Its file.
        name: String,
    },
    /// A size that a segment can't have.
    SegmentBytes {
        /// That size.
        bytes: u64,
    },
    /// The catalog in a footer or the journal can't be read.
    Catalog {
        /// Where.
        position: Position,
    },
    /// An intact batch contradicts itself: a fault of the version that wrote it.
    Contradiction {
        /// Where.
        position: Position,
    },
    /// There can't be so many reactors.
    Reactors {
        /// How many.
        reactors: usize,
    },
    /// The pool of aligned memory is too small.
    Memory {
        /// What was asked of it.
        bytes: usize,
    },
    /// A journal has used up the numbers of its segments.
    NoNumbers,
    /// No segment could be allocated.
    NoSpace {
        /// The errno, or 0 if the disk budget allows none.
        errno: i32,
    },
}

impl OpenError {
    pub(crate) fn io(doing: &str, result: i32) -> OpenError {
        OpenError::Io { doing: doing.to_owned(), errno: -result.min(0) }
    }

    /// Why there is no segment.
    pub(crate) fn of_no_segment(segments: &Segments) -> OpenError {
        match segments.has_numbers() {
            true => OpenError::NoSpace { errno: segments.last_errno() },
            false => OpenError::NoNumbers,
        }
    }

    /// Whether a place on the disk can't be read (EIO; ENODATA is what direct reads get for a bad sector), which says
    /// nothing of those around it.
    pub(crate) fn is_unreadable(&self) -> bool {
        matches!(self, OpenError::Io { errno: 5 | 61, .. })
    }

    /// Whether there was no space, or no quota (ENOSPC, EDQUOT).
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, OpenError::Io { errno: 28 | 122, .. })
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io { doing, errno: 0 } => write!(f, "{doing}: fewer bytes than asked for; check the disk"),
            OpenError::Io { doing, errno } => {
                write!(f, "{doing}: {}; check the disk and the directory's permissions", reason(*errno))
            }
            OpenError::Unreadable { name, offset } => write!(
                f,
                "the log's end in segment file {name} can't be read from byte {offset} on, and what is there may have been acknowledged, so it is not written over; copy the file with a tool that goes on past what can't be read, such as ddrescue, and put the copy in its place: what it lacks is cut"
            ),
            OpenError::NewerVersion { version } => write!(
                f,
                "the data directory was written in format version {version}, newer than this build knows; use the newer build"
            ),
            OpenError::NoSuperblock { segments } => write!(
                f,
                "the data directories have {segments} segments and no superblock; name the log's first directory too, restore its file `superblock`, or choose empty directories"
            ),
            OpenError::Superblock { intact } => write!(
                f,
                "the superblock is damaged ({intact} of 4 copies are intact, 2 that agree are needed); restore the file `superblock`"
            ),
            OpenError::Directories { count } => {
                write!(f, "there can't be {count} data directories; name 1 to {DIRECTORIES_MAX}")
            }
            OpenError::SeveralLogs { dirs: [one, other] } => write!(
                f,
                "data directories {} and {} of those named each hold a log of their own; name those of one log",
                nth(*one), nth(*other)
            ),
            OpenError::ForeignDirectory { dir } => write!(
                f,
                "data directory {} of those named belongs to another log; name that log's first directory with it, or an empty one",
                nth(*dir)
            ),
            OpenError::SameDirectory { number, dirs: [one, other] } => write!(
                f,
                "data directories {} and {} of those named are both number {number} of this log: one is a copy; leave it out",
                nth(*one), nth(*other)
            ),
            OpenError::MissingDirectories { known, missing, empty } => {
                let missing: Vec<String> = missing.iter().map(usize::to_string).collect();
                let missing = missing.join(", ");
                write!(f, "this log lies in {known} data directories, and number {missing} of them (from 0) is not among those named")?;
                match empty.first() {
                    Some(&dir) => {
                        write!(f, ", of which data directory {} is empty: see that its disk is mounted", nth(dir))
                    }
                    None => f.write_str("; name each with --data"),
                }
            }
            OpenError::Member { dir } => write!(
                f,
                "the file `{MEMBER_NAME}` in data directory {} of those named is damaged in all copies; restore it",
                nth(*dir)
            ),
            OpenError::SegmentTwice { journal, number } => write!(
                f,
                "segment file {} lies in two of the data directories; move the copy away",
                file_name(*journal, *number)
            ),
            OpenError::ForeignSegment { name } => {
                write!(f, "segment file {name} belongs to another data directory; move it back there")
            }
            OpenError::SegmentBytes { bytes } => write!(
                f,
                "a segment can't have {bytes} bytes; choose a multiple of 4096 from 4 MiB to 1 GiB"
            ),
            OpenError::Catalog { position } => {
                write!(f, "the catalog at {position} can't be read; the streams' names are lost without it: restore the data directory")
            }
            OpenError::Contradiction { position } => {
                write!(f, "the batch at {position} is intact and contradicts itself; this is a bug: keep the data directory and report it")
            }
            OpenError::Reactors { reactors } => {
                write!(f, "there can't be {reactors} reactors; choose 1 to {REACTORS_MAX}")
            }
            OpenError::Memory { bytes } => {
                write!(f, "{bytes} bytes of aligned memory are not to be had; raise the memory budget")
            }
            OpenError::NoNumbers => {
                f.write_str("all numbers of segments are used up; go on in a new data directory, with larger segments")
            }
            OpenError::NoSpace { errno: 0 } => f.write_str(
                "the disk budget leaves no room for a segment; raise it to at least one segment, or, of a new log, make segments smaller",
            ),
            OpenError::NoSpace { errno } => {
                write!(f, "no segment could be allocated: {}; free space on the disk, or, of a new log, make segments smaller", reason(-errno))
            }
        }
    }
}

impl std::error::Error for OpenError {}

/// A directory's place among those named, as people count.
fn nth(dir: DirId) -> u32 {
    dir.0 + 1
}

/// The system's words for an errno.
fn reason(errno: i32) -> std::io::Error {
    std::io::Error::from_raw_os_error(errno)
}
