//! What is asked of the shards of streams that somebody watches, whether or not it is taken in: a shard that refuses half of what
//! comes is not just full.
//!
//! What comes is counted over each shard's range of hash keys, which tells where it would have to be split for both halves to have
//! as much. A sketch names the keys under which most comes; it may be a little off. Both count in whole KiB, a record as one at least:
//! as many records as there are KiB use up a shard's quotas as fast. A stream that nobody watches costs a look at an empty list.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use frame::{ShardId, StreamId};
use heavykeeper::BucketedTopK;

use crate::catalog::{Stream, StreamShard};
use crate::limits::{DEMAND_KEPT_NS, DEMAND_KEYS, DEMAND_PARTS, WATCHED_STREAMS_MAX};

/// Cells of a sketch, and by how much one that belongs to another key is more likely to be given up.
const SKETCH_BUCKETS: usize = 256;
const SKETCH_DEPTH: usize = 4;
const SKETCH_DECAY: f64 = 0.9;

/// What is counted in.
const UNIT_BYTES: u32 = 1 << 10;

/// What was asked of a stream's shards since somebody last looked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Demand {
    /// The shards of which anything was asked.
    pub shards: Vec<ShardDemand>,
    /// The keys under which most came, with their KiB; the first had most.
    pub keys: Vec<(Vec<u8>, u64)>,
}

/// That of another reactor is added.
impl AddAssign for Demand {
    fn add_assign(&mut self, other: Demand) {
        for more in other.shards {
            match self.shards.iter_mut().find(|shard| shard.shard == more.shard) {
                Some(shard) => {
                    shard.records += more.records;
                    shard.bytes += more.bytes;
                    shard.parts.iter_mut().zip(more.parts).for_each(|(part, more)| *part += more);
                }
                None => self.shards.push(more),
            }
        }
        for (key, kib) in other.keys {
            match self.keys.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => *known += kib,
                None => self.keys.push((key, kib)),
            }
        }
        self.keys.sort_by_key(|&(_, kib)| std::cmp::Reverse(kib));
    }
}

/// What was asked of one shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardDemand {
    /// Which.
    pub shard: ShardId,
    /// How many records.
    pub records: u64,
    /// Their bytes, data and key.
    pub bytes: u64,
    /// Their KiB in equal parts of its hash keys, the lowest first.
    pub parts: [u64; DEMAND_PARTS],
}

impl ShardDemand {
    fn new(shard: ShardId) -> ShardDemand {
        ShardDemand { shard, records: 0, bytes: 0, parts: [0; DEMAND_PARTS] }
    }
}

/// What is watched, and what was asked of it so far.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    streams: BTreeMap<StreamId, Watched>,
}

struct Watched {
    shards: BTreeMap<ShardId, ShardDemand>,
    keys: BucketedTopK<Vec<u8>>,
    looked_ns: u64,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("shards", &self.shards).finish_non_exhaustive()
    }
}

impl Watched {
    fn new(looked_ns: u64) -> Watched {
        let keys = BucketedTopK::new(DEMAND_KEYS, SKETCH_BUCKETS, SKETCH_DEPTH, SKETCH_DECAY);
        Watched { shards: BTreeMap::new(), keys, looked_ns }
    }
}

impl Watch {
    /// Whether nobody watches anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Tells what was asked of a stream since the last time, and watches on; or begins to. Streams that were not looked at for long
    /// are watched no more. `None` where so many are watched that there is no room.
    pub(crate) fn look(&mut self, stream: StreamId, now_ns: u64) -> Option<Demand> {
        self.streams.retain(|_, watched| now_ns < watched.looked_ns.saturating_add(DEMAND_KEPT_NS));
        if !self.streams.contains_key(&stream) && self.streams.len() == WATCHED_STREAMS_MAX {
            return None;
        }
        let Some(watched) = self.streams.insert(stream, Watched::new(now_ns)) else { return Some(Demand::default()) };
        let mut keys: Vec<_> = watched.keys.list().into_iter().map(|node| (node.item, node.count)).collect();
        keys.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        Some(Demand { shards: watched.shards.into_values().collect(), keys })
    }

    /// A record has come.
    pub(crate) fn note(&mut self, stream: &Stream, (key, hash_key): (&[u8], u128), bytes: u32) {
        let Some(watched) = self.streams.get_mut(&stream.stream) else { return };
        let shard = stream.route(hash_key);
        let Some(range) = stream.find(shard) else { return };
        let demand = watched.shards.entry(shard).or_insert_with(|| ShardDemand::new(shard));
        demand.records += 1;
        demand.bytes += u64::from(bytes);
        let kib = u64::from(bytes.div_ceil(UNIT_BYTES));
        demand.parts[part(&range, hash_key)] += kib;
        watched.keys.add(key, kib);
    }
}

/// In which part of a shard's hash keys one lies.
fn part(shard: &StreamShard, hash_key: u128) -> usize {
    let width = (shard.hash_end - shard.hash_start) / DEMAND_PARTS as u128 + 1;
    ((hash_key.saturating_sub(shard.hash_start) / width) as usize).min(DEMAND_PARTS - 1)
}

/// Where a part of a range of hash keys begins, as the counters of a [`ShardDemand`] are divided.
#[must_use]
pub fn part_start(hash_start: u128, hash_end: u128, part: usize) -> u128 {
    let width = (hash_end - hash_start) / DEMAND_PARTS as u128 + 1;
    hash_start.saturating_add(width.saturating_mul(part as u128))
}

#[cfg(test)]
mod tests {
    use frame::{Quotas, Retention, Settings};

    use super::*;
    use crate::catalog::Catalog;

    fn stream() -> Stream {
        let mut catalog = Catalog::new();
        let settings = Settings { quotas: Quotas::NONE, retention: Retention::NONE };
        let command = catalog.plan_create("orders", 2, settings, Default::default(), 1).unwrap();
        catalog.apply(&command).unwrap();
        catalog.by_name("orders").unwrap().clone()
    }

    #[test]
    fn what_is_asked_is_told_by_where_it_lies_and_once() {
        let (mut watch, stream) = (Watch::default(), stream());
        watch.note(&stream, (b"early", 0), 10);
        assert!(watch.is_empty(), "nobody had asked");
        assert_eq!(watch.look(stream.stream, 1), Some(Demand::default()));
        let last = stream.find(ShardId(1)).unwrap().hash_end;
        watch.note(&stream, (b"a", 0), 1500);
        watch.note(&stream, (b"b", last), 10);
        watch.note(&stream, (b"a", last + 1), 2);
        let demand = watch.look(stream.stream, 2).unwrap();
        let [first, second] = &demand.shards[..] else { panic!("{demand:?}") };
        assert_eq!((first.shard, first.records, first.bytes), (ShardId(1), 2, 1510));
        assert_eq!((first.parts[0], first.parts[DEMAND_PARTS - 1]), (2, 1));
        assert_eq!((second.shard, second.records, second.bytes, second.parts[0]), (ShardId(2), 1, 2, 1));
        assert_eq!(demand.keys, [(b"a".to_vec(), 3), (b"b".to_vec(), 1)]);
        assert_eq!(watch.look(stream.stream, 3), Some(Demand::default()));
    }

    #[test]
    fn parts_begin_where_their_counters_do() {
        let (start, end) = (1 << 90, (1 << 91) + 12_345);
        let shard = StreamShard { hash_start: start, hash_end: end, ..stream().find(ShardId(1)).unwrap() };
        for number in 0..DEMAND_PARTS {
            let first = part_start(start, end, number);
            assert_eq!(part(&shard, first), number);
            assert!(number == 0 || part(&shard, first - 1) == number - 1);
        }
        assert_eq!(part(&shard, end), DEMAND_PARTS - 1);
        let all = StreamShard { hash_start: 0, hash_end: u128::MAX, ..shard };
        assert_eq!((part(&all, 0), part(&all, u128::MAX)), (0, DEMAND_PARTS - 1));
    }

    #[test]
    fn who_looks_no_more_is_forgotten() {
        let mut watch = Watch::default();
        for number in 0..WATCHED_STREAMS_MAX as u32 {
            assert!(watch.look(StreamId(number), u64::from(number)).is_some());
        }
        assert_eq!(watch.look(StreamId(1 << 20), 5), None);
        assert!(watch.look(StreamId(1 << 20), DEMAND_KEPT_NS).is_some(), "the first had not been looked at since");
    }

    #[test]
    fn the_key_with_most_bytes_is_found_among_many() {
        let (mut watch, stream) = (Watch::default(), stream());
        watch.look(stream.stream, 1);
        for number in 0..20_000_u32 {
            watch.note(&stream, (&number.to_le_bytes(), u128::from(number)), 100);
            if number % 10 == 0 {
                watch.note(&stream, (b"hot", 5), 4000);
            }
        }
        let demand = watch.look(stream.stream, 2).unwrap();
        assert_eq!(demand.keys[0].0, b"hot");
        assert!((7_000..=8_000).contains(&demand.keys[0].1), "2,000 records of 4 KiB: {:?}", demand.keys[0]);
        assert!(demand.keys.len() <= DEMAND_KEYS);
    }
}
