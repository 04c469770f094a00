//! Where reads and subscriptions begin.

use crate::id::Sequence;
use crate::proto::Violation;

/// A place in a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// At this number, or the first after it that there is.
    At(Sequence),
    /// After the newest durable record.
    Latest,
    /// At the first record that arrived then or later: milliseconds since 1970, not in the future.
    Since(u64),
}

impl From<Sequence> for Start {
    fn from(sequence: Sequence) -> Start {
        Start::At(sequence)
    }
}

const AT: u32 = 0;
const LATEST: u32 = 1;
const SINCE: u32 = 2;

impl Start {
    /// Its kind, and the number that goes with it.
    pub(super) fn split(self) -> (u32, u64) {
        match self {
            Start::At(from) => (AT, from.0),
            Start::Latest => (LATEST, 0),
            Start::Since(ms) => (SINCE, ms),
        }
    }

    pub(super) fn join(kind: u32, number: u64) -> Result<Start, Violation> {
        match kind {
            AT => Ok(Start::At(Sequence(number))),
            LATEST => Ok(Start::Latest),
            SINCE => Ok(Start::Since(number)),
            _ => Err(Violation::Malformed("a read or subscription begins where nobody knows")),
        }
    }
}
