//! The first batches of a life, which begin its epoch and say which shards go on here.

use frame::batch::{Writer, batch_bytes};
use frame::{Sequence, ShardId};
use io::Io;

use super::{Journal, Room, Shortage};
use crate::catalog::Catalog;
use crate::shards::Shards;

impl Journal {
    /// Writes a batch of this opening, before any client is heard: the first, which makes every shard skip so many numbers,
    /// or one after it. `command` is the frame of a command that it says besides.
    ///
    /// # Errors
    /// As of [`Journal::write_mark`].
    pub(crate) fn write_opening(
        &mut self,
        io: &mut impl Io,
        shards: &mut Shards,
        catalog: &Catalog,
        epoch_start_skip: Option<u64>,
        command: Option<&[u8]>,
    ) -> Result<(), Shortage> {
        let extents = usize::from(command.is_some());
        let bytes = batch_bytes(command.map_or(0, <[u8]>::len), extents);
        self.make_room((bytes, extents), Room::Commands, shards, [catalog; 2])?;
        let mut buf = io.pool().take(bytes).ok_or(Shortage::Making)?;
        let mut commit = self.spare_commit();
        let head = self.head(io.wall_ms(), epoch_start_skip);
        let mut writer = Writer::new(&mut buf, &mut commit.extents);
        if let Some(frame) = command {
            let known = shards.shard_mut(ShardId::CATALOG);
            known.arrival_ms = known.arrival_ms.max(head.written_ms);
            // The journal's skip counts before what the batch holds.
            let first = Sequence(known.next.0 + epoch_start_skip.unwrap_or(0));
            writer.begin_extent(ShardId::CATALOG, first);
            let pushed = writer.push(frame, known.arrival_ms);
            debug_assert!(pushed.is_ok(), "its checksum was made just now");
            known.next = first.next();
        }
        let (length, checksum) = writer.finish(&head);
        buf.truncate(length);
        self.write(io, &head, buf.freeze(), checksum, commit);
        Ok(())
    }
}
