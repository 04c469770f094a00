//! What a tool has to know to look at a data directory without opening it: which file is what, and the catalog's bytes.
//!
//! Nothing here reads or writes: the caller hands in names and bytes.

use frame::segment::Footer;
use frame::{JournalNumber, SegmentNumber};

use crate::catalog::{Catalog, Command, commands};
use crate::{Stream, journal, recovery, superblock};

/// What a name in a data directory stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// The superblock's copies.
    Superblock,
    /// What a directory of several says of itself.
    Member,
    /// A segment of a journal.
    Segment(JournalNumber, SegmentNumber),
    /// A copy of remains that recovery cut.
    Cut,
    /// Something that a life did not finish making; the next one removes it.
    Unfinished,
    /// Held by the process that uses the directory.
    Lock,
    /// Nothing of ours.
    Other,
}

/// What the file of this name is.
pub fn file_kind(name: &str) -> FileKind {
    if let Some((journal, segment)) = journal::parse_name(name) {
        return FileKind::Segment(journal, segment);
    }
    let is_segments = |name: &str| journal::parse_name(name).is_some();
    match name {
        superblock::NAME => FileKind::Superblock,
        recovery::MEMBER_NAME => FileKind::Member,
        "lock" => FileKind::Lock,
        superblock::UNFINISHED | recovery::MEMBER_UNFINISHED => FileKind::Unfinished,
        _ if name.strip_suffix(journal::UNFINISHED).is_some_and(is_segments) => FileKind::Unfinished,
        _ if name.starts_with(recovery::CUT_COPY_PREFIX) => FileKind::Cut,
        _ => FileKind::Other,
    }
}

/// Streams, as the catalog's bytes on disk tell them.
#[derive(Debug)]
pub struct Streams(Catalog);

impl Streams {
    /// None yet.
    pub fn new() -> Streams {
        Streams(Catalog::new())
    }

    /// Those of a footer's snapshot; `None` if it is not one.
    pub fn from_footer(footer: &Footer) -> Option<Streams> {
        Catalog::of_footer(footer).map(Streams)
    }

    /// Applies the data of a record of the catalog's shard; `None` if it does not follow.
    pub fn apply(&mut self, command: &[u8]) -> Option<()> {
        self.0.apply(&Command::decode(command)?)
    }

    /// Whether `snapshot` describes these streams.
    pub fn matches(&self, snapshot: &[u8]) -> bool {
        let (own, mut told) = (self.0.snapshot(), commands(snapshot));
        let is_told = |own: Option<Command>| match (own, told.next().flatten()) {
            // Earlier builds did not tell orphans.
            (
                Some(Command::Reserve { next_stream, next_shard, .. }),
                Some(Command::Reserve { next_stream: stream, next_shard: shard, orphans: None }),
            ) => (next_stream, next_shard) == (stream, shard),
            (own, told) => own.is_some() && own == told,
        };
        // Behind the catalog other commands may follow, which say nothing of streams.
        let is_other = |command| matches!(command, Some(Command::Trim(_) | Command::Producers(_)));
        commands(&own).all(is_told) && told.all(is_other)
    }

    /// All of them, by name.
    pub fn entries(&self) -> impl Iterator<Item = Stream> + '_ {
        self.0.names_after("").filter_map(|name| self.0.by_name(name)).map(|stream| stream.outline())
    }
}

impl Default for Streams {
    fn default() -> Streams {
        Streams::new()
    }
}
