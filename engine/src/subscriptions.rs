//! Subscriptions: who has the records of a shard pushed, how far each has come, and what each may still be sent.
//!
//! ```text
//!   [idle] --records durable, credit granted, or room to send--> [due] --> [reading] --sent--> [idle], or [due] again
//! ```
//!
//! A push is a read whose answer goes out unasked: from the cache of the tail for whoever keeps up, from the disk for who
//! does not. So a slow subscriber holds nothing but its place.

use std::collections::VecDeque;

use frame::{RequestId, Sequence, ShardId, StreamId};

use crate::shards::Shards;
use crate::slots::Slots;
use crate::token::Peer;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum State {
    /// Waits for records, credit, or room.
    #[default]
    Idle,
    /// On the list of those that are served next.
    Due,
    /// A read for it is in progress.
    Reading,
    /// It ended while it was read for.
    Ended,
}

/// One subscriber of one shard.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscription {
    pub(crate) peer: Peer,
    pub(crate) request: RequestId,
    pub(crate) stream: StreamId,
    pub(crate) shard: ShardId,
    /// The next record to push.
    pub(crate) next: Sequence,
    /// Bytes of frames that may be pushed, and were, since it began.
    pub(crate) granted: u64,
    pub(crate) pushed: u64,
    pub(crate) state: State,
}

/// All subscriptions of a reactor.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    slots: Slots<Subscription>,
    /// Those of each shard, as far as any was ever subscribed to.
    of_shard: Vec<Vec<u32>>,
    due: VecDeque<u32>,
    /// Those whose read was refused for want of memory; tried again in the next turn, as memory comes back by completions.
    put_off: Vec<u32>,
}

impl Subscriptions {
    pub(crate) fn new() -> Subscriptions {
        Subscriptions { slots: Slots::new(), of_shard: Vec::new(), due: VecDeque::new(), put_off: Vec::new() }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.in_use() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.in_use()
    }

    /// Whether any can be served at once.
    pub(crate) fn any_due(&self) -> bool {
        !self.due.is_empty()
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

    pub(crate) fn find(&mut self, slot: u32) -> &mut Subscription {
        &mut self.slots[slot]
    }

    /// Records of a shard have become durable.
    pub(crate) fn wake_shard(&mut self, shards: &Shards, shard: ShardId) {
        let Some(slots) = self.of_shard.get(shard.0 as usize) else { return };
        for &slot in slots {
            wake(&mut self.slots, &mut self.due, shards, slot);
        }
    }

    /// Something may have changed for one: it is due if there are records for it, and credit.
    pub(crate) fn wake(&mut self, shards: &Shards, slot: u32) {
        wake(&mut self.slots, &mut self.due, shards, slot);
    }

    /// Has those that were put off tried again.
    pub(crate) fn wake_put_off(&mut self, shards: &Shards) {
        for slot in self.put_off.drain(..) {
            wake(&mut self.slots, &mut self.due, shards, slot);
        }
    }

    /// The next that is due, which waits for room in its connection from here on, unless it is read for.
    pub(crate) fn next_due(&mut self) -> Option<u32> {
        let slot = self.due.pop_front()?;
        self.slots[slot].state = State::Idle;
        Some(slot)
    }

    /// A read for one begins.
    pub(crate) fn read(&mut self, slot: u32) {
        self.slots[slot].state = State::Reading;
    }

    /// The read for one has ended. `false` if the subscription has as well, and its slot is free.
    pub(crate) fn read_done(&mut self, slot: u32) -> bool {
        let state = std::mem::take(&mut self.slots[slot].state);
        if state == State::Ended {
            self.slots.release(slot);
        }
        state != State::Ended
    }

    /// There was no memory to read for one.
    pub(crate) fn put_off(&mut self, slot: u32) {
        self.put_off.push(slot);
    }

    /// Ends one.
    pub(crate) fn end(&mut self, slot: u32) {
        let subscription = &mut self.slots[slot];
        let of_shard = &mut self.of_shard[subscription.shard.0 as usize];
        of_shard.retain(|&other| other != slot);
        self.put_off.retain(|&other| other != slot);
        self.due.retain(|&other| other != slot);
        if subscription.state == State::Reading {
            subscription.state = State::Ended;
        } else {
            subscription.state = State::Idle;
            self.slots.release(slot);
        }
    }

    /// Those of the streams that `is_gone` says.
    pub(crate) fn of_streams(&self, is_gone: impl Fn(StreamId) -> bool) -> Vec<u32> {
        let slots = self.of_shard.iter().flatten().copied();
        slots.filter(|&slot| is_gone(self.slots[slot].stream)).collect()
    }
}

fn wake(slots: &mut Slots<Subscription>, due: &mut VecDeque<u32>, shards: &Shards, slot: u32) {
    let subscription = &mut slots[slot];
    let tip = shards.find(subscription.shard).map_or(subscription.next, |shard| shard.durable_next);
    if subscription.state == State::Idle && subscription.next < tip && subscription.pushed < subscription.granted {
        subscription.state = State::Due;
        due.push_back(slot);
    }
}
