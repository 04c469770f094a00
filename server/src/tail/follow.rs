//! `tail --follow`: prints what shards have and what they get, pushed as it becomes durable, and goes on in what they are split
//! and merged into.

use std::collections::{BTreeMap, BTreeSet};

use frame::parts::Joiner;
use frame::proto::{Children, ErrorCode, Failure, ShardDescription, Start};
use frame::{RequestId, Sequence, ShardId};

use super::{Refused, Tail, TailArguments, TailError};
use crate::client::{ClientError, Pushed};

/// Bytes that may be on their way here, over all shards: little enough to lie in the connection while nobody takes the
/// output, so that the server need not wait.
const FOLLOW_BYTES: u64 = 256 << 10;

/// A shard that is followed.
#[derive(Debug)]
struct Followed {
    shard: ShardId,
    /// What comes next.
    next: Sequence,
    /// Where to begin, if it has to once more.
    start: Start,
    joiner: Joiner,
    refused: Option<Refused>,
}

/// Shards on their way to be followed: each once all that it was made of have ended, as far as they are followed.
#[derive(Debug)]
struct Lineage {
    /// All that were or will be followed.
    known: BTreeSet<ShardId>,
    ended: BTreeSet<ShardId>,
    /// Those that wait, and whether they were made since the start.
    waiting: Vec<(ShardDescription, bool)>,
}

impl Lineage {
    /// Those that are not wanted count as ended.
    fn new(shards: &[ShardDescription], is_wanted: impl Fn(&ShardDescription) -> bool) -> Lineage {
        let (wanted, others): (Vec<&ShardDescription>, Vec<_>) = shards.iter().partition(|shard| is_wanted(shard));
        let known = shards.iter().map(|shard| shard.shard).collect();
        let ended = others.into_iter().map(|shard| shard.shard).collect();
        Lineage { known, ended, waiting: wanted.into_iter().map(|shard| (*shard, false)).collect() }
    }

    /// A shard whose turn has come.
    fn take_ready(&mut self) -> Option<(ShardDescription, bool)> {
        let has_ended = |parent: &ShardId| self.ended.contains(parent) || !self.known.contains(parent);
        let ready = self.waiting.iter().position(|(shard, _)| shard.parents().all(|parent| has_ended(&parent)))?;
        Some(self.waiting.remove(ready))
    }

    /// Adds what was made of shards that are followed, and what was made of that; also where some of it has expired.
    fn add(&mut self, shards: &[ShardDescription]) {
        // By their numbers parents come first.
        for shard in shards {
            let is_first =
                shard.parents().all(|parent| shards.binary_search_by_key(&parent, |other| other.shard).is_err());
            let is_made = is_first || shard.parents().any(|parent| self.known.contains(&parent));
            if is_made && self.known.insert(shard.shard) {
                self.waiting.push((*shard, true));
            }
        }
    }
}

impl Tail {
    /// Prints what the shards have, and what they get, as it comes. A shard that is not as far as the first number asked for
    /// begins at its end.
    pub(super) fn follow(&mut self, arguments: &TailArguments, shards: &[ShardDescription]) -> Result<(), TailError> {
        let credit = (FOLLOW_BYTES / shards.len().max(1) as u64).max(1);
        // Of what was closed nothing comes any more.
        let mut lineage = Lineage::new(shards, |shard| !arguments.latest || shard.children.is_none());
        let mut followed = BTreeMap::new();
        self.begin_ready(arguments, &mut lineage, &mut followed, credit)?;
        let outcome = self.follow_on(arguments, &mut lineage, &mut followed, credit);
        for shard in followed.values_mut() {
            self.tell(shard.shard, shard.refused.take());
        }
        outcome
    }

    /// Begins with shards whose turn has come.
    fn begin_ready(
        &mut self,
        arguments: &TailArguments,
        lineage: &mut Lineage,
        followed: &mut BTreeMap<RequestId, Followed>,
        credit: u64,
    ) -> Result<(), TailError> {
        while let Some((shard, is_new)) = lineage.take_ready() {
            let from = if is_new { 1 } else { arguments.from };
            let from = Sequence(from.max(shard.trim.0)).min(shard.tip);
            let start = match arguments.since {
                Some(ms) if !is_new => Start::Since(ms),
                None if arguments.latest && !is_new => Start::Latest,
                _ => Start::At(self.first(shard.shard, from, shard.tip)?),
            };
            // By time, or at the end: whatever expires before is none of its business.
            let next = if matches!(start, Start::At(_)) { from } else { shard.tip };
            let (shard, joiner) = (shard.shard, Joiner::new());
            self.begin(followed, Followed { shard, next, start, joiner, refused: None }, credit)?;
        }
        Ok(())
    }

    /// A shard has ended, or expired and is forgotten, so that nobody tells its children. Unless it is the only one asked for, those go
    /// on.
    fn ended(
        &mut self,
        arguments: &TailArguments,
        lineage: &mut Lineage,
        shard: ShardId,
        children: Option<Children>,
    ) -> Result<(), TailError> {
        lineage.ended.insert(shard);
        let has_others = children.is_none_or(|children| children.shards().any(|child| !lineage.known.contains(&child)));
        if arguments.shard.is_none() && has_others {
            let described = self.client.describe_stream(&arguments.stream).map_err(TailError::Client)?;
            lineage.add(&described.shards);
        }
        Ok(())
    }

    /// Prints what comes.
    fn follow_on(
        &mut self,
        arguments: &TailArguments,
        lineage: &mut Lineage,
        followed: &mut BTreeMap<RequestId, Followed>,
        credit: u64,
    ) -> Result<(), TailError> {
        while self.left > 0 && !self.output.is_closed() {
            let Some(Pushed { subscription, outcome }) = self.client.next_pushed().map_err(TailError::Client)? else {
                break;
            };
            let Some(shard) = followed.get_mut(&subscription) else { continue };
            match outcome {
                Ok(records) => {
                    if !records.is_empty() || records.result.next >= records.result.tip {
                        self.tell(shard.shard, shard.refused.take());
                    }
                    self.tell_expired(shard.shard, shard.next, records.result.trim);
                    for frame in records.iter() {
                        let Some(record) = shard.joiner.push(&frame) else { continue };
                        self.print(shard.shard, &record)?;
                    }
                    shard.next = records.result.next;
                    // By time it begins with the first record, before which it may be told of others that are passed over.
                    if !records.is_empty() || !matches!(shard.start, Start::Since(_)) {
                        shard.start = Start::At(shard.next);
                    }
                    let bytes = records.iter().map(|frame| frame.length() as u64).sum();
                    self.output.flush().map_err(TailError::Output)?;
                    if let Some(children) = records.result.children {
                        let ended = shard.shard;
                        followed.remove(&subscription);
                        self.ended(arguments, lineage, ended, Some(children))?;
                        self.begin_ready(arguments, lineage, followed, credit)?;
                        continue;
                    }
                    self.client.grant(subscription, bytes).map_err(TailError::Client)?;
                }
                Err(failure @ Failure { damaged: Some(_), .. }) => {
                    let Some(mut shard) = followed.remove(&subscription) else { continue };
                    shard.next = self.pass_over(shard.shard, &mut shard.refused, failure, shard.next);
                    shard.start = Start::At(shard.next);
                    self.begin(followed, shard, credit)?;
                }
                Err(failure) if failure.code == ErrorCode::Resharding => {
                    // It moved to another reactor, and goes on from there.
                    let Some(shard) = followed.remove(&subscription) else { continue };
                    self.begin(followed, shard, credit)?;
                }
                Err(failure) if failure.code == ErrorCode::UnknownShard && arguments.shard.is_none() => {
                    let Some(shard) = followed.remove(&subscription) else { continue };
                    self.ended(arguments, lineage, shard.shard, None)?;
                    self.begin_ready(arguments, lineage, followed, credit)?;
                }
                Err(failure) => {
                    let _ = self.output.flush();
                    return Err(TailError::Client(ClientError::Refused(failure)));
                }
            }
        }
        Ok(())
    }

    fn begin(
        &mut self,
        followed: &mut BTreeMap<RequestId, Followed>,
        shard: Followed,
        credit: u64,
    ) -> Result<(), TailError> {
        let subscription = self.client.subscribe(self.stream, shard.shard, shard.start, credit);
        followed.insert(subscription.map_err(TailError::Client)?, shard);
        Ok(())
    }
}
