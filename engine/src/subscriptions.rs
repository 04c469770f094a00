//! Subscriptions: who has the records of a shard pushed, how far each has come, and what each may still be sent.
//!
//! ```text
//!   [idle] --records durable, or credit granted--> [due] --its connection's turn--> sent --> [idle], or [due]
//!                                                    ^ ^ \--not in memory--> [parked]  \--quota used up--> [paused]
//!                                                    |  \---the disk was read---/                           |
//!                                                    \---------------------it has filled again--------------/
//! ```
//!
//! A push is a read whose answer goes out unasked: from the cache of the tail for whoever keeps up, from windows that were
//! read from the disk for who does not, who is parked until there are. Those that are due wait with their connection, oldest
//! first, and connections with room take turns. So a slow subscriber holds its place, and no more than its connection may
//! have waiting.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use frame::{RequestId, Sequence, ShardId, StreamId};

use crate::buckets::Bucket;
use crate::reads::{Key, Mark, Search};
use crate::shards::Shards;
use crate::slots::Slots;
use crate::token::Peer;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    /// Waits for records, or credit.
    #[default]
    Idle,
    /// In the queue of its connection.
    Due,
    /// What comes next is being read from the disk, and looked for here.
    Parked(Key),
    /// Its bytes a second are used up, until then.
    Paused(u64),
    /// It has ended, and is still in the queue.
    Ended,
}

/// One subscriber of one shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscription {
    pub(crate) peer: Peer,
    pub(crate) request: RequestId,
    pub(crate) stream: StreamId,
    pub(crate) shard: ShardId,
    /// The next record to push, which arrived no earlier than this.
    pub(crate) next: Sequence,
    pub(crate) since_ms: u64,
    /// Where that is, in a sealed segment.
    pub(crate) mark: Option<Mark>,
    /// How far it was looked for that time.
    pub(crate) search: Search,
    /// Bytes of frames that may be pushed, and were, since it began.
    pub(crate) granted: u64,
    pub(crate) pushed: u64,
    /// What is left of its bytes a second.
    pub(crate) quota: Bucket,
    state: State,
}

impl Subscription {
    /// One of a stream's shard, which begins with a number and a time.
    pub(crate) fn new(
        peer: Peer,
        request: RequestId,
        (stream, shard): (StreamId, ShardId),
        (next, since_ms): (Sequence, u64),
        quota: Bucket,
    ) -> Subscription {
        Subscription { peer, request, stream, shard, next, since_ms, quota, ..Subscription::default() }
    }

    /// Its number while it is there.
    pub(crate) fn number(&self) -> u64 {
        u64::from(self.peer.slot) << 32 | u64::from(self.request.0 as u32)
    }

    /// Whether there is something for it that it may be sent and was not noted before; noted now.
    fn becomes_due(&mut self, shards: &Shards) -> bool {
        let tip = shards.find(self.shard).map_or(self.next, |shard| shard.durable_next);
        let becomes = self.state == State::Idle && self.next < tip && self.pushed < self.granted;
        if becomes {
            self.state = State::Due;
        }
        becomes
    }
}

/// All subscriptions of a reactor.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    slots: Slots<Subscription>,
    /// Those of each shard, as far as any was ever subscribed to.
    of_shard: Vec<Vec<u32>>,
    /// Connections to push to, in turn.
    turns: VecDeque<Peer>,
    /// Those that are parked, by where they wait.
    parked: BTreeMap<Key, Vec<u32>>,
    /// When the quotas of those that are paused have filled again.
    pauses: BTreeSet<(u64, u32)>,
    /// Those that are due or parked.
    due: usize,
}

impl Subscriptions {
    pub(crate) fn new() -> Subscriptions {
        let (slots, of_shard, turns) = (Slots::new(), Vec::new(), VecDeque::new());
        Subscriptions { slots, of_shard, turns, parked: BTreeMap::new(), pauses: BTreeSet::new(), due: 0 }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.in_use() == 0
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.in_use()
    }

    /// How many a shard has.
    pub(crate) fn count_of(&self, shard: ShardId) -> usize {
        self.of_shard.get(shard.0 as usize).map_or(0, Vec::len)
    }

    /// How many wait for the disk.
    pub(crate) fn parked(&self) -> usize {
        self.parked.values().map(Vec::len).sum()
    }

    /// Those that have not been sent all, and how many records they lack.
    pub(crate) fn behind<'a>(&'a self, shards: &'a Shards) -> impl Iterator<Item = (u64, &'a Subscription)> {
        let all = self.of_shard.iter().flatten().map(|&slot| &self.slots[slot]);
        all.filter_map(|subscription| {
            let tip = shards.find(subscription.shard)?.durable_next;
            let records = tip.0.saturating_sub(subscription.next.0);
            (records > 0).then_some((records, subscription))
        })
    }

    /// Whether another push can begin at once.
    pub(crate) fn may_push(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Begins one.
    pub(crate) fn begin(&mut self, subscription: Subscription) -> u32 {
        let shard = subscription.shard.0 as usize;
        if self.of_shard.len() <= shard {
            self.of_shard.resize_with(shard + 1, Vec::new);
        }
        let slot = self.slots.take();
        self.slots[slot] = subscription;
        self.of_shard[shard].push(slot);
        slot
    }

    /// How many have records to come, and quota for them.
    pub(crate) fn due_count(&self) -> usize {
        self.due
    }

    pub(crate) fn find(&mut self, slot: u32) -> &mut Subscription {
        &mut self.slots[slot]
    }

    /// The subscriptions of a shard that have become due as records have become durable, and whose they are.
    pub(crate) fn due_of_shard<'a>(
        &'a mut self,
        shards: &'a Shards,
        shard: ShardId,
    ) -> impl Iterator<Item = (u32, Peer)> + 'a {
        let Subscriptions { slots, of_shard, due, .. } = self;
        let of_shard = of_shard.get(shard.0 as usize).map_or(&[][..], Vec::as_slice);
        of_shard.iter().filter_map(|&slot| {
            let subscription = &mut slots[slot];
            let becomes = subscription.becomes_due(shards);
            *due += usize::from(becomes);
            becomes.then_some((slot, subscription.peer))
        })
    }

    /// Whether one has become due, as more of it was granted or pushed.
    pub(crate) fn becomes_due(&mut self, shards: &Shards, slot: u32) -> bool {
        let becomes = self.slots[slot].becomes_due(shards);
        self.due += usize::from(becomes);
        becomes
    }

    /// Gives a connection a turn.
    pub(crate) fn give_turn(&mut self, peer: Peer) {
        self.turns.push_back(peer);
    }

    /// The connection whose turn it is.
    pub(crate) fn next_turn(&mut self) -> Option<Peer> {
        self.turns.pop_front()
    }

    /// One waits for what is being read under `key`. Its place in the queue was taken.
    pub(crate) fn park(&mut self, slot: u32, key: Key) {
        self.slots[slot].state = State::Parked(key);
        self.due += 1;
        self.parked.entry(key).or_default().push(slot);
    }

    /// What was read under `key` is there: those who waited for it are due, and whose they are.
    pub(crate) fn unpark(&mut self, key: Key, due: &mut Vec<(u32, Peer)>) {
        for slot in self.parked.remove(&key).into_iter().flatten() {
            self.slots[slot].state = State::Due;
            due.push((slot, self.slots[slot].peer));
        }
    }

    /// Whether one waits for the disk.
    pub(crate) fn is_parked(&self, slot: u32) -> bool {
        matches!(self.slots[slot].state, State::Parked(_))
    }

    /// One waits until its quota has filled again. Its place in the queue was taken.
    pub(crate) fn pause(&mut self, slot: u32, until_ns: u64) {
        self.slots[slot].state = State::Paused(until_ns);
        self.pauses.insert((until_ns, slot));
    }

    /// When the first pause is over.
    pub(crate) fn next_pause_ns(&self) -> Option<u64> {
        self.pauses.first().map(|&(until_ns, _)| until_ns)
    }

    /// Those whose pause is over are due, and whose they are.
    pub(crate) fn end_pauses(&mut self, now_ns: u64, due: &mut Vec<(u32, Peer)>) {
        while let Some((_, slot)) = self.pauses.first().copied().filter(|&(until_ns, _)| until_ns <= now_ns) {
            due.push(self.end_pause(slot));
        }
    }

    /// Those of a stream look again: its quotas are others.
    pub(crate) fn end_pauses_of(&mut self, stream: StreamId, due: &mut Vec<(u32, Peer)>) {
        let paused: Vec<u32> = self.pauses.iter().map(|&(_, slot)| slot).collect();
        for slot in paused.into_iter().filter(|&slot| self.slots[slot].stream == stream).collect::<Vec<_>>() {
            due.push(self.end_pause(slot));
        }
    }

    fn end_pause(&mut self, slot: u32) -> (u32, Peer) {
        let subscription = &mut self.slots[slot];
        if let State::Paused(until_ns) = std::mem::replace(&mut subscription.state, State::Due) {
            self.pauses.remove(&(until_ns, slot));
        }
        self.due += 1;
        (slot, subscription.peer)
    }

    /// Takes one out of its connection's queue. `false` if it has ended.
    pub(crate) fn leave_queue(&mut self, slot: u32) -> bool {
        let state = std::mem::take(&mut self.slots[slot].state);
        self.due -= 1;
        if state == State::Ended {
            self.slots.release(slot);
        }
        state != State::Ended
    }

    /// Ends one. Tells where nobody waits any more.
    pub(crate) fn end(&mut self, slot: u32) -> Option<Key> {
        let subscription = &mut self.slots[slot];
        self.of_shard[subscription.shard.0 as usize].retain(|&other| other != slot);
        match subscription.state {
            State::Idle => self.slots.release(slot),
            State::Paused(until_ns) => {
                self.pauses.remove(&(until_ns, slot));
                subscription.state = State::Idle;
                self.slots.release(slot);
            }
            // Its place in the queue still names the slot.
            State::Due | State::Ended => subscription.state = State::Ended,
            State::Parked(key) => {
                subscription.state = State::Idle;
                self.due -= 1;
                self.slots.release(slot);
                let waiting = self.parked.get_mut(&key)?;
                waiting.retain(|&other| other != slot);
                if waiting.is_empty() {
                    self.parked.remove(&key);
                    return Some(key);
                }
            }
        }
        None
    }

    /// Those of a shard that wait for records, and have all up to `end`.
    pub(crate) fn level_at(&self, shard: ShardId, end: Sequence) -> Vec<u32> {
        let of_shard = self.of_shard.get(shard.0 as usize).into_iter().flatten().copied();
        let is_level = |slot: &u32| self.slots[*slot].state == State::Idle && self.slots[*slot].next >= end;
        of_shard.filter(is_level).collect()
    }

    /// All of a shard.
    pub(crate) fn of_shard(&self, shard: ShardId) -> Vec<u32> {
        self.of_shard.get(shard.0 as usize).cloned().unwrap_or_default()
    }

    /// Those of the streams that `is_gone` says.
    pub(crate) fn of_streams(&self, is_gone: impl Fn(StreamId) -> bool) -> Vec<u32> {
        let slots = self.of_shard.iter().flatten().copied();
        slots.filter(|&slot| is_gone(self.slots[slot].stream)).collect()
    }
}
