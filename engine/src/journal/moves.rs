//! Shards that leave this journal, and those that come to it with records in others.

use std::sync::Arc;

use frame::segment::{FIRST_BATCH, Footer, FooterHead, MOVES_ALL};
use frame::{Epoch, Position, ShardId};
use io::Io;

use super::{Journal, Open, Ready, Sealed, Shortage};
use crate::catalog::Catalog;
use crate::shards::Shards;

/// When a segment was sealed, by no clock: in which life, and after how many moves of shards. Whatever a shard has in one journal came
/// before what it has in another that was sealed later: it is in no other's hands before all of it is sealed here, and then only by a
/// move, which all count, or in another life.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Moment {
    epoch: Epoch,
    moves: u32,
}

impl Moment {
    /// As a footer says.
    pub(crate) fn of(head: &FooterHead) -> Moment {
        Moment { epoch: head.epoch, moves: head.moves }
    }
}

impl Journal {
    /// When a segment is sealed that is now.
    pub(crate) fn moment(&self) -> Moment {
        Moment { epoch: self.blueprint.epoch, moves: self.moves }
    }

    /// A shard has another owner from here on.
    pub(crate) fn shard_moved(&mut self) {
        self.moves = (self.moves + 1).min(MOVES_ALL - 1);
    }

    /// Whether records of a shard may lie in a segment that is not sealed.
    pub(crate) fn holds_unsealed(&self, shard: ShardId) -> bool {
        !self.closing.is_empty() || self.index.extents(shard).next().is_some()
    }

    /// Whether nothing is on its way that seals the segment which is left.
    pub(crate) fn may_leave(&self) -> bool {
        self.may_write() && (self.closing.is_empty() || self.is_quiet())
    }

    /// Leaves the open segment, which is sealed once a batch in the next one is durable.
    pub(super) fn go_to_next(&mut self) -> Result<(), Shortage> {
        let next = self.segments.take()?;
        self.closing.push_back(Open { last_checksum: self.previous_checksum, ..self.open });
        let Ready { number, dir, file, bytes, .. } = next;
        self.open = Open::empty(number, dir, file, bytes);
        self.tail = Position::new(next.number, FIRST_BATCH);
        Ok(())
    }

    /// Has the open segment sealed, however little is in it, which is once a batch in the next one is durable.
    ///
    /// # Errors
    /// There is no next segment, or no memory, now; the caller tries again.
    pub(crate) fn leave_open(&mut self, io: &mut impl Io, shards: &Shards, catalog: &Catalog) -> Result<(), Shortage> {
        if self.closing.is_empty() {
            self.go_to_next()?;
            self.closing.iter_mut().for_each(|left| left.is_early = true);
        }
        self.write_mark(io, shards, catalog)
    }

    /// A sealed segment of another journal that may hold records of this reactor's shards from now on. Its footer is in memory
    /// alone, or on disk.
    pub(crate) fn borrow(&mut self, sealed: Sealed, footer: Option<Arc<Footer>>) {
        let segment = sealed.segment;
        if let Some(footer) = footer {
            self.footers.pin(segment, footer);
        }
        let of_journal = |list: &Vec<Sealed>| list.iter().any(|known| known.segment.journal == segment.journal);
        let at = self.closed.iter().position(of_journal);
        let list = match at {
            Some(at) => &mut self.closed[at],
            None => {
                self.closed.push(Vec::new());
                self.closed.last_mut().expect("it was just added")
            }
        };
        if let Err(at) = list.binary_search_by_key(&segment, |known| known.segment) {
            list.insert(at, sealed);
        }
    }
}
