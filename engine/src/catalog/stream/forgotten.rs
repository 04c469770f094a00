//! Closed shards that a stream forgets: all of their records have expired, and others hold their hash keys.
//!
//! ```text
//!   forget   0 version | 1 kind | 2 0 | 4 stream | 8 shards | 12 0 up to 24 | the shards, 4 bytes each
//!   shards   0 version | 1 kind | 2 0 | 4 stream | 8 shards | 12 0 up to 24 | a row each
//!   a row    0 shard | 4 parent | 8 adjacent parent | 12 first child | 16 children | 20 0
//!            24 created ms | 32 end | 40 hash start | 56 hash end
//! ```
//!
//! *Forget* stands in the journal. A shard goes after all that it was made of: whoever reads a parent to its end finds the children.
//! *Shards* stands in snapshots alone, behind what makes streams: what is left of one that has forgotten some does not follow any more
//! from how it was made.
//!
//! Numbers stay given. What a shard is made of, it says also where that is forgotten.

use frame::limits::{SHARDS_KEPT_PER_STREAM_MAX, SHARDS_PER_STREAM_MAX};
use frame::proto::Children;
use frame::{Retention, Sequence, ShardId, StreamId};

use super::{Closed, Lineage, Stream, StreamShard};
use crate::catalog::Command;
use crate::catalog::command::{FIXED_BYTES, VERSION};
use crate::limits::CLOSED_KEPT_MS_MIN;

pub(in crate::catalog) const FORGET: u8 = 42;
pub(in crate::catalog) const SHARDS: u8 = 43;
const SHARD_BYTES: usize = 4;
const ROW_BYTES: usize = 72;

/// One *forget* is one record.
const _: () =
    assert!(FIXED_BYTES + SHARDS_KEPT_PER_STREAM_MAX * SHARD_BYTES + 64 <= frame::limits::RECORD_BYTES_MAX / 2);

impl Stream {
    /// Closed shards of which nothing is kept any more at a time, without what is made of others that are left. [`Catalog::plan_forget`]
    /// says what `may_go` tells.
    ///
    /// [`Catalog::plan_forget`]: crate::catalog::Catalog::plan_forget
    pub(in crate::catalog) fn forgettable(
        &self,
        now_ms: u64,
        may_go: impl Fn(ShardId, &Closed, bool) -> bool,
    ) -> Vec<ShardId> {
        let is_over = |shard: &&StreamShard| {
            let Some(closed) = shard.closed else { return false };
            // Nothing in it arrived after its children were made. Where those are forgotten already, damage took the command by which it
            // was: they have expired, and it before them.
            let closed_ms = self.find(closed.children.first).map_or(0, |child| child.created_ms);
            let closed_for_ms = now_ms.saturating_sub(closed_ms);
            let Retention { seconds, bytes } = self.retention;
            let has_expired = seconds.is_some_and(|seconds| closed_for_ms >= u64::from(seconds.get()) * 1000);
            closed_for_ms >= CLOSED_KEPT_MS_MIN
                && (has_expired || bytes.is_some())
                && may_go(shard.shard, &closed, has_expired)
                && self.parents_of(shard).next().is_none()
        };
        let all = self.lineage.iter().flat_map(|lineage| &lineage.shards);
        all.filter(is_over).map(|shard| shard.shard).collect()
    }

    /// Whether anything of it may be forgotten once time has passed.
    pub(in crate::catalog) fn may_forget(&self) -> bool {
        self.retention != Retention::NONE && self.closed().next().is_some()
    }

    /// Forgets shards, which are told in their order. Those that are open stay: damage took the command that closed them. Which
    /// went.
    pub(in crate::catalog) fn forget(&mut self, shards: &[ShardId]) -> Vec<ShardId> {
        let Some(lineage) = self.lineage.as_mut() else { return Vec::new() };
        let is_told = |shard: &StreamShard| shard.closed.is_some() && shards.binary_search(&shard.shard).is_ok();
        let gone: Vec<ShardId> =
            lineage.shards.iter().filter(|shard| is_told(shard)).map(|shard| shard.shard).collect();
        if !gone.is_empty() {
            lineage.has_forgotten = true;
            let is_left = |shard: ShardId| gone.binary_search(&shard).is_err();
            lineage.shards.retain(|shard| is_left(shard.shard));
            lineage.done.retain(|(done, _)| done.moved().is_some_and(|(moved, _)| is_left(moved)));
        }
        gone
    }

    /// All of its shards, if they do not follow from how it was made.
    pub(in crate::catalog) fn left(&self) -> Option<Command> {
        let lineage = self.lineage.as_ref().filter(|lineage| lineage.has_forgotten)?;
        Some(Command::Shards(self.stream, lineage.shards.clone()))
    }

    /// What [`Stream::left`] takes in a snapshot.
    pub(super) fn left_bytes(&self) -> usize {
        let lineage = self.lineage.as_ref().filter(|lineage| lineage.has_forgotten);
        lineage.map_or(0, |lineage| 4 + FIXED_BYTES + lineage.shards.len() * ROW_BYTES)
    }

    /// Has the shards that a snapshot says are left of it, which are told in their order. `None` if the open ones do not hold each
    /// hash key once.
    pub(in crate::catalog) fn keep(&mut self, shards: &[StreamShard]) -> Option<()> {
        let mut open: Vec<&StreamShard> = shards.iter().filter(|shard| shard.closed.is_none()).collect();
        open.sort_by_key(|shard| shard.hash_start);
        let starts = open.iter().map(|shard| Some(shard.hash_start));
        let ends = open.iter().map(|shard| shard.hash_end.checked_add(1));
        let is_whole = starts.chain([None]).eq(std::iter::once(Some(0)).chain(ends));
        let is_legal = is_whole
            && open.len() <= SHARDS_PER_STREAM_MAX
            && shards.len() <= SHARDS_KEPT_PER_STREAM_MAX
            && shards.iter().all(|shard| shard.hash_start <= shard.hash_end);
        is_legal.then_some(())?;
        let made_with = self.made_with();
        self.ends = open.iter().map(|shard| shard.hash_end).collect();
        let open = open.iter().map(|shard| shard.shard).collect();
        let (shards, done, intents) = (shards.to_vec(), Vec::new(), Vec::new());
        self.lineage = Some(Box::new(Lineage { made_with, shards, open, done, intents, has_forgotten: true }));
        Some(())
    }
}

/// One of the two commands, with so many rows.
fn encode(kind: u8, stream: StreamId, count: usize, rows: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut out = vec![VERSION, kind, 0, 0];
    out.extend([stream.0, count as u32, 0, 0, 0].iter().flat_map(|number| number.to_le_bytes()));
    out.extend(rows);
    out
}

pub(in crate::catalog) fn encode_forget(stream: StreamId, shards: &[ShardId]) -> Vec<u8> {
    encode(FORGET, stream, shards.len(), shards.iter().flat_map(|shard| shard.0.to_le_bytes()))
}

pub(in crate::catalog) fn encode_shards(stream: StreamId, shards: &[StreamShard]) -> Vec<u8> {
    encode(SHARDS, stream, shards.len(), shards.iter().flat_map(encode_row))
}

fn encode_row(shard: &StreamShard) -> [u8; ROW_BYTES] {
    let open = Closed { end: Sequence(0), children: Children { first: ShardId::CATALOG, count: 0 } };
    let Closed { end, children } = shard.closed.unwrap_or(open);
    let parent = |parent: Option<ShardId>| parent.unwrap_or(ShardId::CATALOG).0;
    let numbers =
        [shard.shard.0, parent(shard.parent), parent(shard.adjacent_parent), children.first.0, children.count, 0];
    let mut row = [0; ROW_BYTES];
    let fields = numbers.iter().flat_map(|number| number.to_le_bytes());
    let fields = fields.chain([shard.created_ms, end.0].into_iter().flat_map(u64::to_le_bytes));
    let fields = fields.chain([shard.hash_start, shard.hash_end].into_iter().flat_map(u128::to_le_bytes));
    row.iter_mut().zip(fields).for_each(|(to, byte)| *to = byte);
    row
}

/// Reads the shards of a *forget*: so many, in their order.
pub(in crate::catalog) fn decode_forget(bytes: &[u8], count: u32) -> Option<Vec<ShardId>> {
    let (chunks, left) = bytes.as_chunks::<SHARD_BYTES>();
    let shards: Vec<ShardId> = chunks.iter().map(|shard| ShardId(u32::from_le_bytes(*shard))).collect();
    let is_whole = left.is_empty() && shards.len() == count as usize;
    (is_whole && are_in_order(shards.iter().copied())).then_some(shards)
}

/// Reads so many rows, in the order of their shards.
pub(in crate::catalog) fn decode_shards(bytes: &[u8], count: u32) -> Option<Vec<StreamShard>> {
    let (chunks, left) = bytes.as_chunks::<ROW_BYTES>();
    let shards: Vec<StreamShard> = chunks.iter().map(decode_row).collect::<Option<_>>()?;
    let is_whole = left.is_empty() && shards.len() == count as usize;
    (is_whole && are_in_order(shards.iter().map(|shard| shard.shard))).then_some(shards)
}

fn are_in_order(shards: impl Iterator<Item = ShardId>) -> bool {
    std::iter::once(ShardId::CATALOG).chain(shards).is_sorted_by(|one, next| one < next)
}

fn decode_row(row: &[u8; ROW_BYTES]) -> Option<StreamShard> {
    let number = |at: usize| Some(u32::from_le_bytes(*row.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_le_bytes(*row.get(at..)?.first_chunk()?));
    let hash_key = |at: usize| Some(u128::from_le_bytes(*row.get(at..)?.first_chunk()?));
    let parent = |at: usize| number(at).map(|parent| Some(ShardId(parent)).filter(|&shard| shard != ShardId::CATALOG));
    let children = Children { first: ShardId(number(12)?), count: number(16)? };
    let closed = Closed { end: Sequence(long(32)?), children };
    let is_closed = match (children.first, children.count) {
        (ShardId::CATALOG, 0) => false,
        (ShardId::CATALOG, _) | (_, 0 | 3..) => return None,
        _ => true,
    };
    Some(StreamShard {
        shard: ShardId(number(0)?),
        hash_start: hash_key(40)?,
        hash_end: hash_key(56)?,
        parent: parent(4)?,
        adjacent_parent: parent(8)?,
        created_ms: long(24)?,
        closed: is_closed.then_some(closed),
    })
}

#[cfg(test)]
#[path = "forgotten_tests.rs"]
mod tests;
