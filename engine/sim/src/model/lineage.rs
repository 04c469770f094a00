//! What was told of streams and their shards. Nothing told is ever taken back: streams grow by splits and merges, a closed shard
//! ended where it ended, and the open ones hold each hash key once. But where records expire, closed shards are forgotten, the oldest
//! first, and stay so.

use std::collections::{BTreeMap, BTreeSet};

use frame::proto::{Children, ShardDescription, StreamDescription};
use frame::{Sequence, ShardId, StreamId};

use super::{Breach, expires};

/// All streams that were told of.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    streams: BTreeMap<String, StreamDescription>,
    /// Their shards.
    shards: BTreeMap<ShardId, (StreamId, ShardDescription)>,
    /// Where shards ended, and what goes on there.
    ends: BTreeMap<ShardId, (Sequence, Children)>,
    /// Shards that were told of and are not any more.
    forgotten: BTreeSet<ShardId>,
}

impl Lineage {
    pub(super) fn stream(&self, name: &str) -> Option<&StreamDescription> {
        self.streams.get(name)
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = &StreamDescription> {
        self.streams.values()
    }

    pub(super) fn shard(&self, shard: ShardId) -> Option<(StreamId, &ShardDescription)> {
        self.shards.get(&shard).map(|(stream, description)| (*stream, description))
    }

    /// Whether any shard of a stream was made of others, as far as that was told.
    pub(super) fn was_resharded(&self, stream: StreamId) -> bool {
        self.shards.values().any(|(of, shard)| *of == stream && shard.parent.is_some())
    }

    pub(super) fn end(&self, shard: ShardId) -> Option<(Sequence, Children)> {
        self.ends.get(&shard).copied()
    }

    /// A stream is described. Which shards are gone that were told of before: they have expired, or damage took them.
    pub(super) fn described(
        &mut self,
        description: &StreamDescription,
        may_be_damaged: bool,
    ) -> Result<Vec<ShardId>, Breach> {
        check(description)?;
        let told = settings(description);
        let before = self.streams.get(&told.name);
        // After damage it may as well be that what was told is so no more.
        let is_older = |before: &StreamDescription| {
            // What has fewer shards, all of which are known, has forgotten some since.
            let forgets = told.shards.len() < before.shards.len() && continues(before, &told);
            continues(&told, before) && !forgets
        };
        if before.is_some_and(|before| *before == told || (is_older(before) && !may_be_damaged)) {
            // It was overtaken by a newer one.
            return Ok(Vec::new());
        }
        let gone = match before {
            Some(before) if !continues(before, &told) => {
                if !may_be_damaged {
                    return Err(Breach::new("streams stay", format!("was {before:?}, is {told:?}")));
                }
                self.forget(&told.name)
            }
            Some(before) => before.shards.iter().map(|shard| shard.shard).collect(),
            None => Vec::new(),
        };
        for shard in &told.shards {
            if self.forgotten.contains(&shard.shard) && !may_be_damaged {
                return Err(Breach::new("what is forgotten stays so", format!("{shard:?} of {told:?}")));
            }
            self.shards.insert(shard.shard, (told.stream, *shard));
            if let Some(children) = shard.children {
                self.ended(shard.shard, (shard.tip, children), may_be_damaged)?;
            }
        }
        let is_left = |shard: &ShardId| told.shards.iter().any(|left| left.shard == *shard);
        let gone: Vec<ShardId> = gone.into_iter().filter(|shard| !is_left(shard)).collect();
        gone.iter().for_each(|&shard| self.forget_shard(shard));
        self.streams.insert(told.name.clone(), told);
        Ok(gone)
    }

    /// A shard is said to have ended.
    pub(super) fn ended(
        &mut self,
        shard: ShardId,
        (end, children): (Sequence, Children),
        may_be_damaged: bool,
    ) -> Result<(), Breach> {
        let known = self.ends.insert(shard, (end, children)).unwrap_or((end, children));
        if known != (end, children) && !may_be_damaged {
            let detail = format!("shard {shard} ended at {known:?}, and now at {end}, {children:?}");
            return Err(Breach::new("ends stay", detail));
        }
        Ok(())
    }

    /// A shard is gone, and does not come back.
    pub(super) fn forget_shard(&mut self, shard: ShardId) {
        self.forgotten.insert(shard);
        self.ends.remove(&shard);
        let Some((stream, _)) = self.shards.remove(&shard) else { return };
        let of = self.streams.values_mut().filter(|known| known.stream == stream);
        of.for_each(|known| known.shards.retain(|left| left.shard != shard));
    }

    /// A stream is gone. Which shards it had.
    pub(super) fn forget(&mut self, name: &str) -> Vec<ShardId> {
        let Some(stream) = self.streams.remove(name) else { return Vec::new() };
        let shards: Vec<ShardId> = stream.shards.iter().map(|shard| shard.shard).collect();
        for shard in &shards {
            self.shards.remove(shard);
            self.ends.remove(shard);
        }
        shards
    }
}

/// What holds of every description.
fn check(description: &StreamDescription) -> Result<(), Breach> {
    let wrong = |what: &str| Err(Breach::new("lineage", format!("{what}: {description:?}")));
    let mut open: Vec<&ShardDescription> = description.shards.iter().filter(|s| s.children.is_none()).collect();
    open.sort_by_key(|shard| shard.hash_start);
    let starts = open.iter().map(|shard| Some(shard.hash_start));
    let ends = open.iter().map(|shard| shard.hash_end.checked_add(1));
    if !starts.chain([None]).eq(std::iter::once(Some(0)).chain(ends)) {
        return wrong("the open shards do not hold each hash key once");
    }
    for shard in &description.shards {
        for parent in shard.parents() {
            let parent = description.shards.iter().find(|known| known.shard == parent);
            let Some(parent) = parent else {
                if expires(&description.retention) {
                    continue;
                }
                return wrong("a parent is missing");
            };
            let names = parent.children.is_some_and(|children| children.shards().any(|child| child == shard.shard));
            if !names || shard.created_ms <= parent.created_ms || shard.shard <= parent.shard {
                return wrong("a child is not its parent's");
            }
        }
    }
    Ok(())
}

/// Whether one description follows from an earlier one: shards are closed, and others made. Where records expire some may be missing
/// that others were made after, if all that they were made of are.
fn continues(before: &StreamDescription, after: &StreamDescription) -> bool {
    let header = |stream: &StreamDescription| StreamDescription { shards: Vec::new(), ..stream.clone() };
    let is_there = |shard: &ShardDescription| {
        after.shards.iter().any(|later| {
            let reopened = ShardDescription { children: None, tip: Sequence(1), ..*later };
            later == shard || (shard.children.is_none() && reopened == *shard)
        })
    };
    let newest = after.shards.iter().map(|shard| shard.shard).max();
    let has = |shard: ShardId| after.shards.iter().any(|left| left.shard == shard);
    let is_forgotten = |shard: &ShardDescription| {
        let was_first = !shard.parents().any(has);
        expires(&after.retention) && !has(shard.shard) && was_first && Some(shard.shard) < newest
    };
    header(before) == header(after) && before.shards.iter().all(|shard| is_there(shard) || is_forgotten(shard))
}

/// What must never change of a description: not where open shards end, nor who owns them, as another number of reactors has
/// other owners.
fn settings(description: &StreamDescription) -> StreamDescription {
    let mut settings = description.clone();
    for shard in &mut settings.shards {
        (shard.reactor, shard.trim) = (0, Sequence(1));
        if shard.children.is_none() {
            shard.tip = Sequence(1);
        }
    }
    settings
}
