//! Identifiers and positions. Each is its own type, so that none can stand for another.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// A stream, for as long as the data directory lives. Never given again.
    StreamId(u32)
);
number!(
    /// A shard, unique over all streams of a data directory. Never given again. 0 is the catalog's own.
    ShardId(u32)
);
number!(
    /// A producer that numbers its records. Drawn at random by the client, or made of a name; never 0.
    ProducerId(u64)
);
number!(
    /// Which of its producer's records one is, from 1, rising in the order in which they are sent.
    RecordNumber(u64)
);
number!(
    /// A record's place in its shard: rising from 1, with gaps only where recovery skipped numbers.
    Sequence(u64)
);
number!(
    /// One life of a data directory. Raised and made durable before the first write of each life.
    Epoch(u64)
);
number!(
    /// Which journal of a data directory: one a reactor.
    JournalNumber(u32)
);
number!(
    /// Which file of a journal, counted from 1.
    SegmentNumber(u32)
);
number!(
    /// A request on one native connection, chosen by the client and echoed in the answer.
    RequestId(u64)
);

impl ShardId {
    /// The shard that carries the catalog's commands.
    pub const CATALOG: ShardId = ShardId(0);
}

impl JournalNumber {
    /// The journal that keeps the catalog.
    pub const CATALOG: JournalNumber = JournalNumber(0);
}

impl Sequence {
    /// The number after this one.
    pub fn next(self) -> Sequence {
        Sequence(self.0 + 1)
    }
}

/// A place in a journal: segment number and byte offset within it, ordered as one number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// The byte `offset` of `segment`.
    pub fn new(segment: SegmentNumber, offset: u32) -> Position {
        Position(u64::from(segment.0) << 32 | u64::from(offset))
    }

    /// The segment that this place lies in.
    pub fn segment(self) -> SegmentNumber {
        SegmentNumber((self.0 >> 32) as u32)
    }

    /// Bytes from the start of the segment.
    pub fn offset(self) -> u32 {
        self.0 as u32
    }

    /// This place, `bytes` further in the same segment.
    pub fn advance(self, bytes: u32) -> Position {
        Position::new(self.segment(), self.offset() + bytes)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:#x}", self.segment(), self.offset())
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A data directory's own random name, in every batch, so that no foreign or older log is mistaken for this one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LogId(pub [u8; 16]);

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
