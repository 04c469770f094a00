//! Splits, merges and moves: which shards become which, and the two commands that say so.
//!
//! ```text
//!   intend    0 version | 1 kind | 2 0 | 4 stream | 8 first child | 12 shard | 16 0          | 24 hash key | 40 adjacent | 44 0
//!   reshard   the same with                                                  | 16 created ms | 48 end | 56 adjacent's end
//!   intend to move, moved   the same two, of other kinds, with                          | 8 shard | 40 home
//! ```
//!
//! From *intend* on a parent takes no record in. *Reshard* says where the parents ended, and opens their children; it says all of
//! it once more, so that it is true where *intend* was lost to damage. A split has no adjacent shard, a merge no hash key.
//!
//! A shard that is moved is fenced as a parent is, and goes on by itself where it ended: at another reactor, its home from then on.
//!
//! What doesn't fit the streams as they are known changes nothing: damage took what it follows from.

use frame::proto::Children;
use frame::{Sequence, ShardId, StreamId};

use super::command::{FIXED_BYTES, VERSION};
use crate::open_files::Shortage;

pub(super) const INTEND: u8 = 7;
pub(super) const RESHARD: u8 = 8;
pub(super) const INTEND_MOVE: u8 = 40;
pub(super) const MOVED: u8 = 41;
const INTEND_BYTES: usize = FIXED_BYTES + 24;
const RESHARD_BYTES: usize = INTEND_BYTES + 16;

/// Which shards become which.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Resharding {
    pub(crate) stream: StreamId,
    /// The child with the lowest hash keys. A second one has the number after it. Of a move: the shard itself.
    pub(crate) first_child: ShardId,
    pub(crate) change: Change,
}

/// A split, a merge or a move.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Of a shard, so that the second child begins at a hash key.
    Split { shard: ShardId, at: u128 },
    /// Of a shard and the one whose hash keys follow its own.
    Merge { shard: ShardId, adjacent: ShardId },
    /// Of a shard to the reactor of this number, modulo how many there are.
    Move { shard: ShardId, home: u32 },
}

/// How a resharding ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Completion {
    /// When the children were made, or the shard moved, in milliseconds since 1970.
    pub(crate) created_ms: u64,
    /// What the next record of each parent would have taken, in the order of the parents. That of a shard that is moved takes it.
    pub(crate) ends: [Sequence; 2],
}

/// Why a stream can't be resharded as wanted. All but Full, AllGiven, NoRoom, OpenFiles, InProgress and Busy are the
/// caller's fault.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ReshardError {
    /// There is no stream of that name.
    UnknownStream,
    /// The stream has no such shard.
    UnknownShard(ShardId),
    /// The shard was split or merged before.
    Closed(ShardId),
    /// A shard can't be split before or at its first hash key, or past its last.
    HashKey { start: u128, end: u128 },
    /// The hash ranges of the two do not meet.
    NotNeighbours,
    /// The stream has all the shards that it may have.
    Full,
    /// The data directory has given all numbers of shards that there are.
    AllGiven,
    /// It has all shards that footers have room to tell of: why, and what to do.
    NoRoom { detail: String },
    /// A move might take more open files than segments may have.
    OpenFiles(Shortage),
    /// The shard is being split, merged or moved.
    InProgress(ShardId),
    /// Too many of the stream's shards are being split, merged or moved.
    Busy,
    /// A shard can't be moved to a reactor that is not there,
    NoReactor { reactor: u32, reactors: usize },
    /// or that owns it.
    There { shard: ShardId, reactor: u32 },
}

impl Resharding {
    /// What takes nothing in meanwhile, by hash range: it is closed by a split or merge.
    pub(crate) fn parents(&self) -> impl Iterator<Item = ShardId> + use<> {
        let (shard, adjacent) = match self.change {
            Change::Split { shard, .. } | Change::Move { shard, .. } => (shard, None),
            Change::Merge { shard, adjacent } => (shard, Some(adjacent)),
        };
        std::iter::once(shard).chain(adjacent)
    }

    /// What is opened by it.
    pub(crate) fn children(&self) -> Children {
        let count = match self.change {
            Change::Split { .. } => 2,
            Change::Merge { .. } => 1,
            Change::Move { .. } => 0,
        };
        Children { first: self.first_child, count }
    }

    /// The shard that is moved, and its home from then on, if that is what it is.
    pub(crate) fn moved(&self) -> Option<(ShardId, u32)> {
        if let Change::Move { shard, home } = self.change { Some((shard, home)) } else { None }
    }

    /// The number after those of the children.
    pub(crate) fn next_shard(&self) -> usize {
        self.first_child.0 as usize + (self.children().count as usize).max(1)
    }

    /// What it takes in a snapshot, with its end or without.
    pub(super) fn snapshot_bytes(completed: bool) -> usize {
        4 + if completed { RESHARD_BYTES } else { INTEND_BYTES }
    }

    pub(super) fn encode(&self, completion: Option<&Completion>) -> Vec<u8> {
        let (shard, at, adjacent) = match self.change {
            Change::Split { shard, at } => (shard, at, ShardId::CATALOG),
            Change::Merge { shard, adjacent } => (shard, 0, adjacent),
            Change::Move { shard, home } => (shard, 0, ShardId(home)),
        };
        let kind = match (self.moved(), completion) {
            (None, None) => INTEND,
            (None, Some(_)) => RESHARD,
            (Some(_), None) => INTEND_MOVE,
            (Some(_), Some(_)) => MOVED,
        };
        let mut out = vec![VERSION, kind, 0, 0];
        for number in [self.stream.0, self.first_child.0, shard.0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&completion.map_or(0, |completion| completion.created_ms).to_le_bytes());
        out.extend_from_slice(&at.to_le_bytes());
        out.extend_from_slice(&adjacent.0.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for end in completion.iter().flat_map(|completion| completion.ends) {
            out.extend_from_slice(&end.0.to_le_bytes());
        }
        out
    }

    /// Reads a command of one of the four kinds.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Resharding, Option<Completion>)> {
        let long = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let short = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let (is_move, is_completed) = match (*bytes.get(1)?, bytes.len()) {
            (INTEND, INTEND_BYTES) => (false, false),
            (RESHARD, RESHARD_BYTES) => (false, true),
            (INTEND_MOVE, INTEND_BYTES) => (true, false),
            (MOVED, RESHARD_BYTES) => (true, true),
            _ => return None,
        };
        let (stream, first_child, shard) = (StreamId(short(4)?), ShardId(short(8)?), ShardId(short(12)?));
        let at = u128::from_le_bytes(*bytes.get(24..)?.first_chunk()?);
        let change = match ShardId(short(40)?) {
            ShardId(home) if is_move => Change::Move { shard, home },
            ShardId::CATALOG => Change::Split { shard, at },
            adjacent => Change::Merge { shard, adjacent },
        };
        if is_move && (shard != first_child || shard == ShardId::CATALOG) {
            return None;
        }
        let resharding = Resharding { stream, first_child, change };
        if !is_completed {
            return Some((resharding, None));
        }
        let ends = [Sequence(long(48)?), Sequence(long(56)?)];
        Some((resharding, Some(Completion { created_ms: long(16)?, ends })))
    }
}
