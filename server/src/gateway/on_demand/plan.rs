//! Which shards of a stream on demand are to be split, and where, and which are to be merged.

use engine::Stream;
use engine::demand::{Demand, ShardDemand, part_start};
use engine::limits::DEMAND_PARTS;
use frame::Rate;
use frame::proto::ShardDescription;
use frame::route::hash_key;

use super::HOT;
use super::past::Past;
use crate::gateway::extras::Extras;
use crate::gateway::steps::Step;

/// A stream on demand begins with so many shards, and is not merged to fewer.
const SHARDS_MIN: usize = 4;

/// It does not grow to more by itself: 200 MB a second, as the service documents it.
const SHARDS_MAX: usize = 200;

/// Two neighbours are merged where this share of one shard's quotas is more than both were asked for together in five minutes.
const COLD: f64 = 0.25;

/// Where one key has this share of what a shard is asked for, a split is no help.
const ONE_KEY: f64 = 0.5;

/// A shard of fewer hash keys is not split: all that comes is under one of them.
const HASH_KEYS_MIN: u128 = 1 << 64;

/// What a shard takes in, and how many shards there may be.
#[derive(Debug)]
pub(super) struct Bounds {
    bytes_per_s: f64,
    records_per_s: f64,
    shards_min: usize,
    shards_max: usize,
}

impl Bounds {
    /// Of a stream; nothing if its shards take in whatever comes.
    pub(super) fn of(stream: &Stream, extras: &Extras) -> Option<Bounds> {
        let per_s = |rate: Rate| rate.map_or(f64::INFINITY, |rate| f64::from(rate.get()));
        let (bytes_per_s, records_per_s) = (per_s(stream.quotas.write_bytes), per_s(stream.quotas.write_records));
        let warm = extras.warm_mibps.map_or(0, |mibps| mibps as usize);
        let (shards_min, shards_max) = (SHARDS_MIN.max(warm), SHARDS_MAX.max(warm));
        let is_bounded = bytes_per_s.is_finite() || records_per_s.is_finite();
        is_bounded.then_some(Bounds { bytes_per_s, records_per_s, shards_min, shards_max })
    }

    /// Which share of a shard's quotas that is.
    pub(super) fn share(&self, bytes_per_s: f64, records_per_s: f64) -> f64 {
        self.share_of_bytes(bytes_per_s).max(records_per_s / self.records_per_s)
    }

    pub(super) fn share_of_bytes(&self, bytes_per_s: f64) -> f64 {
        bytes_per_s / self.bytes_per_s
    }
}

/// What is to be done now: all that is hot is split, and one pair of what is cold is merged.
pub(super) fn steps(open: &[ShardDescription], past: &Past, demand: &Demand, bounds: &Bounds) -> Vec<Step> {
    let mut steps = Vec::new();
    for (at, shard) in open.iter().enumerate() {
        if open.len() + steps.len() >= bounds.shards_max {
            break;
        }
        if past.share(shard.shard) >= HOT
            && let Some(asked) = demand.shards.iter().find(|asked| asked.shard == shard.shard)
            && let Some(key) = split_at(shard, asked, demand)
        {
            steps.push(Step::Split(at, key));
        }
    }
    if steps.is_empty() && open.len() > bounds.shards_min {
        let pairs = open.windows(2).enumerate();
        let both = pairs.filter_map(|(at, pair)| Some((past.most_of_both(pair[0].shard, pair[1].shard)?, at)));
        let coldest = both.min_by(|one, other| one.0.total_cmp(&other.0));
        steps.extend(coldest.filter(|(most, _)| *most < COLD).map(|(_, at)| Step::Merge(at)));
    }
    steps
}

/// Where a shard is to be split for both halves to have as much, if that helps.
fn split_at(shard: &ShardDescription, asked: &ShardDemand, demand: &Demand) -> Option<u128> {
    let (start, end) = (shard.hash_start, shard.hash_end);
    if end - start < HASH_KEYS_MIN {
        return None;
    }
    let all: u64 = asked.parts.iter().sum();
    let is_one_key =
        |(key, kib): &(Vec<u8>, u64)| (start..=end).contains(&hash_key(key)) && *kib as f64 >= ONE_KEY * all as f64;
    if demand.keys.iter().any(is_one_key) {
        return None;
    }
    let mut below = 0;
    let boundary = |part: usize| {
        below += asked.parts[part - 1];
        (below.abs_diff(all - below), part)
    };
    let (_, part) = (1..DEMAND_PARTS).map(boundary).min()?;
    Some(part_start(start, end, part))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use frame::proto::Children;
    use frame::route::even_range;
    use frame::{Sequence, ShardId};
    use tokio::time::Instant;

    use super::super::past::{LOOKS_KEPT, LOOKS_MEANT};
    use super::*;

    const BOUNDS: Bounds =
        Bounds { bytes_per_s: 1_000_000.0, records_per_s: 1000.0, shards_min: SHARDS_MIN, shards_max: SHARDS_MAX };

    fn shards(count: usize) -> Vec<ShardDescription> {
        let none: Option<Children> = None;
        let shard = |index: usize| ShardDescription {
            shard: ShardId(index as u32 + 1),
            reactor: 0,
            hash_start: even_range(index, count).0,
            hash_end: even_range(index, count).1,
            trim: Sequence(0),
            tip: Sequence(0),
            parent: None,
            adjacent_parent: None,
            created_ms: 0,
            children: none,
        };
        (0..count).map(shard).collect()
    }

    fn asked(shard: u32, records: u64, parts: &[(usize, u64)]) -> ShardDemand {
        let mut asked = ShardDemand { shard: ShardId(shard), records, bytes: 0, parts: [0; DEMAND_PARTS] };
        for &(part, bytes) in parts {
            asked.bytes += bytes;
            asked.parts[part] = bytes.div_ceil(1 << 10);
        }
        asked
    }

    /// So many looks, a second each, of the same.
    fn seen(open: &[ShardDescription], demand: &Demand, looks: usize) -> Past {
        let (mut past, start) = (Past::default(), Instant::now());
        for look in 0..=looks as u64 {
            past.add(open, demand, &BOUNDS, start + Duration::from_secs(look));
        }
        past
    }

    #[test]
    fn what_is_hot_for_long_is_split_where_both_halves_have_as_much() {
        let open = shards(4);
        let hot = asked(2, 10, &[(0, 100_000), (40, 200_000), (41, 300_000)]);
        let demand = Demand { shards: vec![hot, asked(3, 499, &[(1, 499_000)])], keys: Vec::new() };
        assert_eq!(steps(&open, &seen(&open, &demand, LOOKS_MEANT - 1), &demand, &BOUNDS), []);
        let at = part_start(open[1].hash_start, open[1].hash_end, 41);
        assert_eq!(steps(&open, &seen(&open, &demand, LOOKS_MEANT), &demand, &BOUNDS), [Step::Split(1, at)]);
    }

    #[test]
    fn many_records_make_a_shard_hot_as_many_bytes_do() {
        let open = shards(4);
        let demand = Demand { shards: vec![asked(1, 600, &[(3, 6000), (5, 6000)])], keys: Vec::new() };
        let steps = steps(&open, &seen(&open, &demand, LOOKS_MEANT), &demand, &BOUNDS);
        assert!(matches!(steps[..], [Step::Split(0, _)]), "{steps:?}");
    }

    #[test]
    fn what_no_split_would_help_is_left() {
        let open = shards(1);
        let one_key = vec![(b"hot".to_vec(), 700)];
        let demand = Demand { shards: vec![asked(1, 900, &[(7, 900 << 10)])], keys: one_key };
        assert_eq!(steps(&open, &seen(&open, &demand, LOOKS_MEANT), &demand, &BOUNDS), [], "it is one key");
        let demand = Demand { keys: Vec::new(), ..demand };
        assert_eq!(steps(&open, &seen(&open, &demand, LOOKS_MEANT), &demand, &BOUNDS).len(), 1, "it may be several");
        let narrow = vec![ShardDescription { hash_end: open[0].hash_start + HASH_KEYS_MIN - 1, ..open[0] }];
        assert_eq!(steps(&narrow, &seen(&narrow, &demand, LOOKS_MEANT), &demand, &BOUNDS), [], "it has few hash keys");
        let full = Bounds { shards_max: 1, ..BOUNDS };
        assert_eq!(steps(&open, &seen(&open, &demand, LOOKS_MEANT), &demand, &full), [], "it has all shards it may");
    }

    #[test]
    fn neighbours_that_little_came_to_for_minutes_are_merged_one_pair_at_a_time() {
        let open = shards(6);
        let some = vec![asked(1, 1, &[(0, 200_000)]), asked(2, 1, &[(0, 200_000)]), asked(4, 1, &[(0, 100)])];
        let demand = Demand { shards: some, keys: Vec::new() };
        assert_eq!(steps(&open, &seen(&open, &demand, LOOKS_KEPT - 1), &demand, &BOUNDS), []);
        assert_eq!(steps(&open, &seen(&open, &demand, LOOKS_KEPT), &demand, &BOUNDS), [Step::Merge(4)]);
        let few = shards(SHARDS_MIN);
        assert_eq!(steps(&few, &seen(&few, &Demand::default(), LOOKS_KEPT), &Demand::default(), &BOUNDS), []);
    }

    #[test]
    fn one_busy_moment_keeps_them_apart() {
        let (open, start) = (shards(5), Instant::now());
        let busy = Demand { shards: (1..=5).map(|shard| asked(shard, 1, &[(0, 400_000)])).collect(), keys: Vec::new() };
        let mut past = Past::default();
        for look in 0..=LOOKS_KEPT as u64 {
            let demand = if look == 30 { &busy } else { &Demand::default() };
            past.add(&open, demand, &BOUNDS, start + Duration::from_secs(look));
        }
        assert_eq!(steps(&open, &past, &Demand::default(), &BOUNDS), []);
    }
}
