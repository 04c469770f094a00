//! One core's made-up records of one group of producers: drawn as was asked, and sorted by the owners of their shards.
//!
//! Who sends a record does not decide which keys there are: they are drawn from one lane, so that each comes as often over the
//! run as was asked. An owner that does not take its share so holds the others up: what was drawn for it waits here, up to
//! [`WAITING_BATCHES_MAX`]. Of a stream with one owner nothing is hashed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;

use frame::StreamId;
use frame::route::{KEYS_TOGETHER_MAX, KeyHasher};
use tokio::sync::Notify;

use super::batch::{BatchLimits, Held};
use super::ways::Part;
use super::{Stream, Target};
use crate::workload::{Drawn, KEY_BYTES, Lane};

/// Batches of one part that wait at most before nothing more is drawn for the stream's other parts.
const WAITING_BATCHES_MAX: usize = 8;

/// Whose the keys of a stream are.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) id: StreamId,
    /// The owners' addresses.
    pub(super) addresses: Vec<SocketAddr>,
    /// The first hash key of each open shard, rising, and which owner has it.
    firsts: Vec<(u128, usize)>,
}

impl Keys {
    pub(super) fn of(stream: &Stream, target: &Target) -> Self {
        let addresses: Vec<SocketAddr> = target.owners([stream]).into_iter().collect();
        let first = |shard: &super::Shard| {
            let address = target.of(shard);
            Some((shard.keys?.0, addresses.iter().position(|&owner| owner == address)?))
        };
        let mut firsts: Vec<(u128, usize)> = stream.shards.iter().filter_map(first).collect();
        firsts.sort_unstable();
        Self { id: stream.id, addresses, firsts }
    }

    /// Which owner has a hash key.
    fn owner(&self, hash_key: u128) -> usize {
        let behind = self.firsts.partition_point(|&(first, _)| first <= hash_key);
        behind.checked_sub(1).map_or(0, |at| self.firsts[at].1)
    }
}

/// Records that are to go in one message.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) stream: StreamId,
    pub(super) records: Vec<Drawn>,
}

/// Whoever waits to be able to take a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiter<'a> {
    pub(super) number: u32,
    pub(super) wake: &'a Rc<Notify>,
}

/// The records of one core.
#[derive(Debug)]
pub(super) struct Sorted {
    lane: Lane,
    hasher: KeyHasher,
    streams: Vec<Sorting>,
    next_stream: usize,
}

/// Those of one stream.
#[derive(Debug)]
struct Sorting {
    keys: Keys,
    /// Drawn, each with its owner.
    drawn: VecDeque<(usize, Drawn)>,
    /// What waits for each owner.
    queues: Vec<Queue>,
    waiting: BTreeMap<u32, Rc<Notify>>,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<Drawn>,
    held: Held,
    /// Nobody takes any more.
    is_closed: bool,
}

impl Queue {
    fn push(&mut self, drawn: Drawn) {
        if !self.is_closed {
            self.records.push_back(drawn);
            self.held.add(KEY_BYTES, drawn.bytes);
        }
    }

    /// As many as fit a message.
    fn pop(&mut self, limits: BatchLimits) -> Vec<Drawn> {
        let (mut records, mut held) = (Vec::with_capacity(limits.records.min(self.records.len())), Held::default());
        while let Some(next) = self.records.front().filter(|next| limits.has_room(held, KEY_BYTES, next.bytes)) {
            held.add(KEY_BYTES, next.bytes);
            records.extend(self.records.pop_front());
        }
        self.held.take_off(held);
        records
    }
}

impl Sorted {
    pub(super) fn new(lane: Lane, keys: Vec<Keys>) -> Self {
        let sorting = |keys: Keys| {
            let queues = keys.addresses.iter().map(|_| Queue::default()).collect();
            Sorting { keys, drawn: VecDeque::new(), queues, waiting: BTreeMap::new() }
        };
        Self { lane, hasher: KeyHasher::new(), streams: keys.into_iter().map(sorting).collect(), next_stream: 0 }
    }

    /// What makes the records.
    pub(super) fn lane(&mut self) -> &mut Lane {
        &mut self.lane
    }

    /// A batch of one of these parts, those from `next` on first. `None` while too much waits for others: `waiter` is
    /// woken once that has changed.
    pub(super) fn take(
        &mut self,
        parts: &[Part],
        next: &mut usize,
        limits: BatchLimits,
        waiter: Waiter<'_>,
    ) -> Option<Batch> {
        for at in (0..parts.len()).map(|more| (*next + more) % parts.len()) {
            let part = parts[at];
            if self.gather(part, limits) {
                *next = at + 1;
                return Some(self.pop(part.stream, part.owner, limits));
            }
            self.streams[part.stream].waiting.insert(waiter.number, Rc::clone(waiter.wake));
        }
        None
    }

    /// The batch that is next whoever sends it, of one stream after the other: the first that is full.
    pub(super) fn next(&mut self, limits: BatchLimits) -> (usize, usize, Batch) {
        let stream = self.next_stream % self.streams.len();
        self.next_stream = stream + 1;
        let full = self.streams[stream].queues.iter().position(|queue| limits.is_full(queue.held));
        let owner = full.unwrap_or_else(|| {
            loop {
                let owner = self.draw(stream);
                if limits.is_full(self.streams[stream].queues[owner].held) {
                    return owner;
                }
            }
        });
        (stream, owner, self.pop(stream, owner, limits))
    }

    /// The last that takes of a part is gone: nobody waits for it any longer.
    pub(super) fn close(&mut self, part: Part) {
        let sorting = &mut self.streams[part.stream];
        sorting.queues[part.owner] = Queue { is_closed: true, ..Queue::default() };
        std::mem::take(&mut sorting.waiting).into_values().for_each(|wake| wake.notify_one());
    }

    /// Draws until a part has a batch; whether it has one.
    fn gather(&mut self, part: Part, limits: BatchLimits) -> bool {
        let most = limits.times(WAITING_BATCHES_MAX);
        let has_too_many = |queue: &Queue| most.is_full(queue.held);
        if !limits.is_full(self.streams[part.stream].queues[part.owner].held) {
            let mut is_held_up = self.streams[part.stream].queues.iter().any(has_too_many);
            loop {
                if is_held_up {
                    return false;
                }
                let owner = self.draw(part.stream);
                let queue = &self.streams[part.stream].queues[owner];
                if owner == part.owner && limits.is_full(queue.held) {
                    break;
                }
                is_held_up = has_too_many(queue);
            }
        }
        true
    }

    /// Puts one more record into its owner's queue: whose that is.
    fn draw(&mut self, stream: usize) -> usize {
        let Sorting { keys, drawn, queues, .. } = &mut self.streams[stream];
        if let [only] = &mut queues[..] {
            only.push(self.lane.draw());
            return 0;
        }
        if drawn.is_empty() {
            let together: [Drawn; KEYS_TOGETHER_MAX] = std::array::from_fn(|_| self.lane.draw());
            let mut hashes = [0; KEYS_TOGETHER_MAX];
            self.hasher.hash(&together.each_ref().map(|drawn| &drawn.key[..]), &mut hashes);
            drawn.extend(hashes.into_iter().map(|hash| keys.owner(hash)).zip(together));
        }
        let (owner, next) = drawn.pop_front().expect("some were drawn");
        queues[owner].push(next);
        owner
    }

    /// Takes a batch. Who waits is woken when half of what held it up is gone.
    fn pop(&mut self, stream: usize, owner: usize, limits: BatchLimits) -> Batch {
        let Sorting { keys, queues, waiting, .. } = &mut self.streams[stream];
        let half = limits.times(WAITING_BATCHES_MAX / 2);
        let queue = &mut queues[owner];
        let was_above = half.is_full(queue.held);
        let records = queue.pop(limits);
        if was_above && !half.is_full(queue.held) {
            std::mem::take(waiting).into_values().for_each(|wake| wake.notify_one());
        }
        Batch { stream: keys.id, records }
    }
}

#[cfg(test)]
#[path = "sorted_tests.rs"]
mod tests;
