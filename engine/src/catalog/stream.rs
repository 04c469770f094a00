//! One stream: where its hash keys go, and its shards from the first to those that were split or merged off it.
//!
//! The hash ranges of the open shards hold each hash key once, whatever was split and merged. A stream that never was knows its
//! shards by their count alone. Closed ones of which nothing is left are forgotten.

mod forgotten;

use std::collections::BTreeSet;

use frame::limits::{SHARDS_KEPT_PER_STREAM_MAX, SHARDS_PER_STREAM_MAX};
use frame::proto::Children;
use frame::route::even_range;
use frame::{Quotas, Retention, Sequence, ShardId, StreamId};

use super::command::{FIXED_BYTES, create_bytes};
use super::reshard::{Change, Completion, ReshardError, Resharding};
use super::{Annotation, Create, Encryption};
use crate::handle;
use crate::limits::{GENERATIONS_MAX, RESHARDINGS_PER_STREAM_MAX};
pub(super) use forgotten::{FORGET, SHARDS, decode_forget, decode_shards, encode_forget, encode_shards};

/// A stream, and where its hash keys go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Stream {
    pub(crate) stream: StreamId,
    pub(crate) name: String,
    pub(crate) created_ms: u64,
    pub(crate) first_shard: ShardId,
    pub(crate) quotas: Quotas,
    pub(crate) retention: Retention,
    pub(crate) annotation: Annotation,
    pub(crate) encryption: Encryption,
    /// The last hash key of each open shard, rising.
    ends: Vec<u128>,
    /// Once a shard was to be split, merged or moved.
    lineage: Option<Box<Lineage>>,
}

/// A stream's shards that are not just those that it was made with.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Lineage {
    /// How many it was made with.
    made_with: u32,
    /// All of them that are not forgotten, by number.
    shards: Vec<StreamShard>,
    /// The open ones, by hash range.
    open: Vec<ShardId>,
    /// What was split and merged, by the numbers of the children; and of each shard that was moved the last time, by its number.
    done: Vec<(Resharding, Completion)>,
    /// What is being split, merged and moved.
    intents: Vec<Resharding>,
    /// Whether shards were forgotten. Then what is left does not follow from splits and merges, and they are not in `done`.
    has_forgotten: bool,
}

/// A shard of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StreamShard {
    pub(crate) shard: ShardId,
    pub(crate) hash_start: u128,
    pub(crate) hash_end: u128,
    /// What it was made of: the shard that was split, or that of two with the lower hash keys, and the other one.
    pub(crate) parent: Option<ShardId>,
    pub(crate) adjacent_parent: Option<ShardId>,
    pub(crate) created_ms: u64,
    pub(crate) closed: Option<Closed>,
}

/// How a shard ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Closed {
    /// What its next record would have taken.
    pub(crate) end: Sequence,
    pub(crate) children: Children,
}

impl Stream {
    /// A stream of shards with equal hash ranges.
    pub(super) fn new(create: &Create) -> Stream {
        let &Create { stream, created_ms, first_shard, shards, quotas, retention, .. } = create;
        let count = shards as usize;
        let ends = (0..count).map(|index| even_range(index, count).1).collect();
        let (name, annotation, lineage) = (create.name.clone(), create.annotation.clone(), None);
        let encryption = None;
        Stream { stream, name, created_ms, first_shard, quotas, retention, annotation, encryption, ends, lineage }
    }

    /// The open shard that a hash key belongs to.
    pub(crate) fn route(&self, hash_key: u128) -> ShardId {
        // Right where the ranges are equal, as they are until a split; a search costs several mispredicted branches.
        let guess = (((hash_key >> 64) * self.ends.len() as u128) >> 64) as usize;
        let is_after = guess == 0 || self.ends[guess - 1] < hash_key;
        let is_it = is_after && hash_key <= self.ends[guess];
        let index = if is_it { guess } else { self.ends.partition_point(|&end| end < hash_key) };
        match &self.lineage {
            None => ShardId(self.first_shard.0 + index as u32),
            Some(lineage) => lineage.open[index],
        }
    }

    /// Whether an open shard takes no records in, as it is being split, merged or moved.
    #[inline]
    pub(crate) fn is_fenced(&self, shard: ShardId) -> bool {
        self.lineage.as_ref().is_some_and(|lineage| lineage.is_fenced(shard))
    }

    /// Whether a shard takes records in.
    pub(crate) fn takes(&self, shard: ShardId) -> bool {
        let closed = |at: usize| self.lineage.as_ref().is_some_and(|lineage| lineage.shards[at].closed.is_some());
        self.place_of(shard).is_some_and(|at| !closed(at)) && !self.is_fenced(shard)
    }

    /// How many open shards it has.
    pub(crate) fn open_count(&self) -> u32 {
        self.ends.len() as u32
    }

    /// How many shards it was made with.
    pub(crate) fn made_with(&self) -> u32 {
        self.lineage.as_ref().map_or(self.open_count(), |lineage| lineage.made_with)
    }

    /// How many shards it has, those that are closed and not forgotten as well.
    pub(super) fn shard_count(&self) -> usize {
        self.lineage.as_ref().map_or(self.ends.len(), |lineage| lineage.shards.len())
    }

    /// As it was made, with the quotas, retention and annotation that it has now.
    pub(super) fn create(&self) -> Create {
        Create {
            stream: self.stream,
            name: self.name.clone(),
            created_ms: self.created_ms,
            first_shard: self.first_shard,
            shards: self.made_with(),
            quotas: self.quotas,
            retention: self.retention,
            annotation: self.annotation.clone(),
        }
    }

    /// All of it but its shards.
    pub(crate) fn outline(&self) -> handle::Stream {
        handle::Stream {
            stream: self.stream,
            name: self.name.clone(),
            created_ms: self.created_ms,
            first_shard: self.first_shard,
            shards: self.made_with(),
            open_shards: self.open_count(),
            quotas: self.quotas,
            retention: self.retention,
            annotation: self.annotation.clone(),
            encryption: self.encryption.clone(),
        }
    }

    /// Its shards, in the order in which they were made.
    pub(crate) fn shards(&self) -> impl DoubleEndedIterator<Item = StreamShard> + '_ {
        (0..self.shard_count()).map(|at| self.shard_at(at))
    }

    fn shard_at(&self, at: usize) -> StreamShard {
        if let Some(lineage) = &self.lineage {
            return lineage.shards[at];
        }
        StreamShard {
            shard: ShardId(self.first_shard.0 + at as u32),
            hash_start: if at == 0 { 0 } else { self.ends[at - 1] + 1 },
            hash_end: self.ends[at],
            parent: None,
            adjacent_parent: None,
            created_ms: self.created_ms,
            closed: None,
        }
    }

    /// One of its shards.
    pub(crate) fn find(&self, shard: ShardId) -> Option<StreamShard> {
        self.place_of(shard).map(|at| self.shard_at(at))
    }

    pub(crate) fn has(&self, shard: ShardId) -> bool {
        self.place_of(shard).is_some()
    }

    /// Among its shards, in the order in which they were made.
    fn place_of(&self, shard: ShardId) -> Option<usize> {
        let at = match &self.lineage {
            Some(lineage) => lineage.shards.binary_search_by_key(&shard, |known| known.shard).ok()?,
            None => shard.0.checked_sub(self.first_shard.0)? as usize,
        };
        (at < self.shard_count()).then_some(at)
    }

    /// Shards that were made of others.
    pub(crate) fn descendants(&self) -> impl Iterator<Item = &StreamShard> + '_ {
        self.lineage.iter().flat_map(|lineage| &lineage.shards).filter(|shard| shard.parent.is_some())
    }

    /// Whether any of its shards was split, merged or moved, or is being.
    pub(crate) fn was_resharded(&self) -> bool {
        self.lineage.is_some()
    }

    /// Whether a shard was made of others.
    pub(crate) fn is_descended(&self, shard: ShardId) -> bool {
        self.lineage.is_some() && self.find(shard).is_some_and(|shard| shard.parent.is_some())
    }

    fn parents_of(&self, shard: &StreamShard) -> impl Iterator<Item = StreamShard> + use<'_> {
        let parents = shard.parent.into_iter().chain(shard.adjacent_parent);
        parents.filter_map(|parent| self.find(parent))
    }

    /// The shards that had a hash key before a shard had it, the newest first, as far back as retries are known.
    pub(crate) fn lineage(&self, shard: ShardId, hash_key: u128) -> impl Iterator<Item = ShardId> + '_ {
        let had_it = move |parent: &StreamShard| (parent.hash_start..=parent.hash_end).contains(&hash_key);
        let all = std::iter::successors(self.find(shard), move |child| self.parents_of(child).find(had_it));
        all.skip(1).take(GENERATIONS_MAX).map(|ancestor| ancestor.shard)
    }

    /// All shards that a shard was made of, as far back as retries are known.
    pub(crate) fn ancestors(&self, shard: ShardId) -> BTreeSet<ShardId> {
        let (mut all, mut newest) = (BTreeSet::new(), Vec::from_iter(self.find(shard)));
        for _ in 0..GENERATIONS_MAX {
            newest = newest.iter().flat_map(|child| self.parents_of(child)).collect();
            newest.retain(|parent| all.insert(parent.shard));
        }
        all
    }

    /// Shards that are closed.
    pub(crate) fn closed(&self) -> impl Iterator<Item = (ShardId, Closed)> + '_ {
        let all = self.lineage.iter().flat_map(|lineage| &lineage.shards);
        all.filter_map(|shard| shard.closed.map(|closed| (shard.shard, closed)))
    }

    /// What is being split, merged and moved.
    pub(crate) fn intents(&self) -> &[Resharding] {
        self.lineage.as_ref().map_or(&[], |lineage| &lineage.intents)
    }

    /// How the shards are to change, or why they may not.
    pub(super) fn plan(&self, wanted: Change, first_child: ShardId) -> Result<Resharding, ReshardError> {
        let change = match wanted {
            Change::Split { shard, at } => {
                let parent = self.plannable(shard)?;
                if at <= parent.hash_start || at > parent.hash_end {
                    return Err(ReshardError::HashKey { start: parent.hash_start, end: parent.hash_end });
                }
                wanted
            }
            Change::Merge { shard, adjacent } => {
                let (one, two) = (self.plannable(shard)?, self.plannable(adjacent)?);
                let (low, high) = if one.hash_start <= two.hash_start { (one, two) } else { (two, one) };
                // The same one twice does not meet itself.
                if low.hash_end.checked_add(1) != Some(high.hash_start) {
                    return Err(ReshardError::NotNeighbours);
                }
                Change::Merge { shard: low.shard, adjacent: high.shard }
            }
            Change::Move { shard, .. } => {
                self.plannable(shard)?;
                wanted
            }
        };
        let intents = self.intents();
        if intents.len() >= RESHARDINGS_PER_STREAM_MAX {
            return Err(ReshardError::Busy);
        }
        if let Change::Move { shard, .. } = change {
            return Ok(Resharding { stream: self.stream, first_child: shard, change });
        }
        // Each that is under way may open one more than it closes, and adds two.
        let is_split = matches!(change, Change::Split { .. });
        let open = self.ends.len() + intents.len() + usize::from(is_split);
        if open > SHARDS_PER_STREAM_MAX || self.shard_count() + 2 * (intents.len() + 1) > SHARDS_KEPT_PER_STREAM_MAX {
            return Err(ReshardError::Full);
        }
        Ok(Resharding { stream: self.stream, first_child, change })
    }

    fn plannable(&self, shard: ShardId) -> Result<StreamShard, ReshardError> {
        let found = self.find(shard).ok_or(ReshardError::UnknownShard(shard))?;
        if found.closed.is_some() {
            return Err(ReshardError::Closed(shard));
        }
        if self.is_fenced(shard) { Err(ReshardError::InProgress(shard)) } else { Ok(found) }
    }

    /// Parents take nothing in any more.
    pub(super) fn intend(&mut self, resharding: &Resharding) {
        if resharding.parents().all(|parent| self.takes(parent)) {
            self.lineage_mut().intents.push(*resharding);
        }
    }

    /// Shards that were moved, and their homes since.
    pub(crate) fn homes(&self) -> impl Iterator<Item = (ShardId, u32)> + '_ {
        let done = self.lineage.iter().flat_map(|lineage| &lineage.done);
        done.filter_map(|(resharding, _)| resharding.moved())
    }

    /// Where a shard is being moved to, if it is.
    pub(crate) fn moves_to(&self, shard: ShardId) -> Option<u32> {
        let moves = self.intents().iter().filter_map(Resharding::moved);
        moves.filter(|(moved, _)| *moved == shard).map(|(_, home)| home).next()
    }

    /// A shard has another home.
    fn moved(&mut self, resharding: &Resharding, completion: &Completion, shard: ShardId) {
        // One that was closed since: a snapshot may say so first.
        if !self.has(shard) {
            return;
        }
        let lineage = self.lineage_mut();
        let moves_it = |resharding: &Resharding| resharding.moved().is_some_and(|(moved, _)| moved == shard);
        lineage.intents.retain(|intent| intent.parents().all(|parent| parent != shard));
        lineage.done.retain(|(known, _)| !moves_it(known));
        let at = lineage.done.partition_point(|(known, _)| known.first_child <= shard);
        lineage.done.insert(at, (*resharding, *completion));
    }

    /// Parents are closed, and children open; or a shard was moved.
    pub(super) fn reshard(&mut self, resharding: &Resharding, completion: &Completion) {
        if let Some((shard, _)) = resharding.moved() {
            return self.moved(resharding, completion, shard);
        }
        let Some((children, last)) = self.children_of(resharding, completion.created_ms) else { return };
        let lineage = self.lineage_mut();
        let is_closed = |shard| resharding.parents().any(|parent| parent == shard);
        lineage.intents.retain(|intent| !intent.parents().any(is_closed));
        for (parent, end) in resharding.parents().zip(completion.ends) {
            let closed = Closed { end, children: resharding.children() };
            lineage
                .shards
                .iter_mut()
                .filter(|shard| shard.shard == parent)
                .for_each(|shard| shard.closed = Some(closed));
        }
        for child in std::iter::once(children).chain(last) {
            let at = lineage.shards.partition_point(|known| known.shard < child.shard);
            lineage.shards.insert(at, child);
        }
        if !lineage.has_forgotten {
            let at = lineage.done.partition_point(|(known, _)| known.first_child < resharding.first_child);
            lineage.done.insert(at, (*resharding, *completion));
        }
        let mut open: Vec<&StreamShard> = lineage.shards.iter().filter(|shard| shard.closed.is_none()).collect();
        open.sort_by_key(|shard| shard.hash_start);
        let ends = open.iter().map(|shard| shard.hash_end).collect();
        lineage.open = open.iter().map(|shard| shard.shard).collect();
        self.ends = ends;
    }

    /// The shards that a resharding makes, if it fits those there are.
    fn children_of(&self, resharding: &Resharding, created_ms: u64) -> Option<(StreamShard, Option<StreamShard>)> {
        let open = |shard| self.find(shard).filter(|shard| shard.closed.is_none());
        let first = resharding.first_child;
        if resharding.children().shards().any(|child| self.has(child)) {
            return None;
        }
        match resharding.change {
            Change::Split { shard, at } => {
                let parent = open(shard).filter(|parent| parent.hash_start < at && at <= parent.hash_end)?;
                let low = StreamShard {
                    shard: first,
                    hash_end: at - 1,
                    parent: Some(shard),
                    adjacent_parent: None,
                    created_ms,
                    ..parent
                };
                let high =
                    StreamShard { shard: ShardId(first.0 + 1), hash_start: at, hash_end: parent.hash_end, ..low };
                Some((low, Some(high)))
            }
            Change::Merge { shard, adjacent } => {
                let (low, high) = (open(shard)?, open(adjacent)?);
                (low.hash_end.checked_add(1) == Some(high.hash_start)).then_some(())?;
                let (parent, adjacent_parent) = (Some(shard), Some(adjacent));
                let child =
                    StreamShard { shard: first, hash_end: high.hash_end, parent, adjacent_parent, created_ms, ..low };
                Some((child, None))
            }
            Change::Move { .. } => None,
        }
    }

    fn lineage_mut(&mut self) -> &mut Lineage {
        if self.lineage.is_none() {
            let shards: Vec<StreamShard> = self.shards().collect();
            let open = shards.iter().map(|shard| shard.shard).collect();
            let made_with = self.open_count();
            let (done, intents, has_forgotten) = (Vec::new(), Vec::new(), false);
            self.lineage = Some(Box::new(Lineage { made_with, shards, open, done, intents, has_forgotten }));
        }
        self.lineage.as_mut().expect("it was just made")
    }

    /// What was split, merged and moved, and what is being, by the numbers of the children. Where shards were forgotten, without
    /// splits and merges that have ended.
    pub(super) fn reshardings(&self) -> impl Iterator<Item = (Resharding, Option<Completion>)> + '_ {
        let done = self.lineage.iter().flat_map(|lineage| &lineage.done);
        let intents = self.lineage.iter().flat_map(|lineage| &lineage.intents);
        done.map(|(resharding, completion)| (*resharding, Some(*completion)))
            .chain(intents.map(|intent| (*intent, None)))
    }

    /// What it takes in a snapshot.
    pub(super) fn snapshot_bytes(&self) -> usize {
        let lineage = self.lineage.as_ref().map_or(0, |lineage| {
            lineage.done.len() * Resharding::snapshot_bytes(true)
                + lineage.intents.len() * Resharding::snapshot_bytes(false)
        });
        let encryption = self.encryption.as_ref().map_or(0, |key| 4 + FIXED_BYTES + key.len());
        create_bytes(&self.name, &self.quotas, &self.retention, &self.annotation)
            + encryption
            + lineage
            + self.left_bytes()
    }
}

impl Lineage {
    fn is_fenced(&self, shard: ShardId) -> bool {
        self.intents.iter().any(|intent| intent.parents().any(|parent| parent == shard))
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
