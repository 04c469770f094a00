//! What was asked of a stream's shards of late.

use std::collections::{BTreeMap, VecDeque};

use engine::demand::Demand;
use frame::ShardId;
use frame::proto::ShardDescription;
use tokio::time::Instant;

use super::plan::Bounds;

/// Looks that a shard's share is the mean of.
pub(super) const LOOKS_MEANT: usize = 3;

/// Looks that are remembered: five minutes of them.
pub(super) const LOOKS_KEPT: usize = 60;

/// What was asked of each open shard, look by look.
#[derive(Debug, Default)]
pub(super) struct Past {
    shards: BTreeMap<ShardId, VecDeque<f64>>,
    looked: Option<Instant>,
}

impl Past {
    /// Adds a look, and tells how many seconds it is of; nothing if it is the first. Shards that are no more are forgotten.
    pub(super) fn add(
        &mut self,
        open: &[ShardDescription],
        demand: &Demand,
        bounds: &Bounds,
        now: Instant,
    ) -> Option<f64> {
        let looked = self.looked.replace(now)?;
        let seconds = now.saturating_duration_since(looked).as_secs_f64().max(0.001);
        self.shards.retain(|shard, _| open.iter().any(|open| open.shard == *shard));
        for shard in open {
            let asked = demand.shards.iter().find(|asked| asked.shard == shard.shard);
            let share =
                asked.map_or(0.0, |asked| bounds.share(asked.bytes as f64 / seconds, asked.records as f64 / seconds));
            let shares = self.shards.entry(shard.shard).or_default();
            shares.push_front(share);
            shares.truncate(LOOKS_KEPT);
        }
        Some(seconds)
    }

    /// The mean share of its quotas that was asked of a shard of late; 0 until it was looked at often enough.
    pub(super) fn share(&self, shard: ShardId) -> f64 {
        let Some(shares) = self.shards.get(&shard).filter(|shares| shares.len() >= LOOKS_MEANT) else { return 0.0 };
        shares.iter().take(LOOKS_MEANT).sum::<f64>() / LOOKS_MEANT as f64
    }

    /// The most that was asked of two shards together in one look, of all that are remembered; nothing if those are too few.
    pub(super) fn most_of_both(&self, one: ShardId, other: ShardId) -> Option<f64> {
        let whole = |shard| self.shards.get(&shard).filter(|shares| shares.len() == LOOKS_KEPT);
        let (one, other) = (whole(one)?, whole(other)?);
        one.iter().zip(other).map(|(one, other)| one + other).reduce(f64::max)
    }
}
