//! Closed shards that are forgotten, among all streams.

use frame::limits::SHARDS_KEPT_PER_STREAM_MAX;
use frame::{ShardId, StreamId};

use super::{Catalog, Closed, Command, Stream, StreamShard};
use crate::limits::SHARDS_MAX;

impl Catalog {
    /// The command by which a stream forgets closed shards that `may_go`, if there is one; and the stream after which to go on
    /// looking, until all were. Of shards that were made of each other one is forgotten at a time. `may_go` hears whether all of a
    /// shard has expired by its time, and tells that, or whether it is trimmed to its end.
    pub(crate) fn plan_forget(
        &self,
        after: StreamId,
        now_ms: u64,
        may_go: impl Fn(ShardId, &Closed, bool) -> bool,
    ) -> (Option<Command>, Option<StreamId>) {
        let mut looked_at = 0;
        for stream in self.streams.iter().skip(after.0 as usize).flatten().filter(|stream| stream.may_forget()) {
            let shards = stream.forgettable(now_ms, &may_go);
            looked_at += stream.shard_count();
            if !shards.is_empty() || looked_at >= SHARDS_KEPT_PER_STREAM_MAX {
                let forget = (!shards.is_empty()).then_some(Command::Forget(stream.stream, shards));
                return (forget, Some(stream.stream));
            }
        }
        (None, None)
    }

    /// Whether there may be something to forget, at some time.
    pub(crate) fn may_forget(&self) -> bool {
        self.streams().any(Stream::may_forget)
    }

    /// Shards of a stream are nobody's any more.
    pub(super) fn forget(&mut self, stream: StreamId, shards: &[ShardId]) -> Option<()> {
        let mut gone = Vec::new();
        self.change(stream, |stream| gone = stream.forget(shards))?;
        gone.iter().for_each(|shard| self.of_shards[shard.0 as usize] = StreamId(0));
        // Those that damage took from the stream have expired as well.
        for &shard in shards {
            if self.stream_of(shard).is_none() {
                self.orphans.remove(shard);
            }
        }
        Some(())
    }

    /// A stream has these shards alone.
    pub(super) fn keep(&mut self, stream: StreamId, shards: &[StreamShard]) -> Option<()> {
        let before: Vec<ShardId> = self.stream(stream)?.shards().map(|shard| shard.shard).collect();
        before.iter().for_each(|shard| self.of_shards[shard.0 as usize] = StreamId(0));
        let count = shards.last()?.shard.0 as usize + 1;
        let is_free = |shard: &StreamShard| self.stream_of(shard.shard).is_none();
        (count <= SHARDS_MAX && shards.iter().all(is_free)).then_some(())?;
        self.reserve_shards(count);
        let mut is_kept = None;
        self.change(stream, |stream| is_kept = stream.keep(shards))?;
        is_kept?;
        for StreamShard { shard, .. } in shards {
            self.of_shards[shard.0 as usize] = stream;
            self.orphans.remove(*shard);
        }
        Some(())
    }
}
