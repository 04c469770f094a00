//! What a tool has to know to look at a data directory without opening it: which file is what, and the catalog's bytes.
//!
//! Nothing here reads or writes: the caller hands in names and bytes.

use frame::{JournalNumber, SegmentNumber, ShardId, StreamId};

use crate::catalog::{Catalog, CreateStream};
use crate::{journal, superblock};

/// What a name in a data directory stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// The superblock's copies.
    Superblock,
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
    match name {
        superblock::NAME => FileKind::Superblock,
        "lock" => FileKind::Lock,
        _ if name.ends_with(journal::UNFINISHED) => FileKind::Unfinished,
        _ if name.starts_with("cut-") => FileKind::Cut,
        _ => FileKind::Other,
    }
}

/// A stream in the catalog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamEntry {
    /// Its number.
    pub stream: StreamId,
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// The first of its shards; the others follow.
    pub first_shard: ShardId,
    /// How many shards.
    pub shards: u32,
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
    pub fn from_snapshot(snapshot: &[u8]) -> Option<Streams> {
        Catalog::restore(snapshot).map(Streams)
    }

    /// Applies the data of a record of the catalog's shard; `None` if it does not follow.
    pub fn apply(&mut self, command: &[u8]) -> Option<()> {
        self.0.apply(&CreateStream::decode(command)?)
    }

    /// Whether `snapshot` describes these streams.
    pub fn matches(&self, snapshot: &[u8]) -> bool {
        self.0.snapshot() == snapshot
    }

    /// All of them, by name.
    pub fn entries(&self) -> impl Iterator<Item = StreamEntry> + '_ {
        self.0.names_after("").filter_map(|name| self.0.by_name(name)).map(|stream| StreamEntry {
            stream: stream.stream,
            name: stream.name.clone(),
            created_ms: stream.created_ms,
            first_shard: stream.first_shard,
            shards: stream.shard_count(),
        })
    }
}

impl Default for Streams {
    fn default() -> Streams {
        Streams::new()
    }
}
