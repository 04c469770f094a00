//! What was split and merged: a shard ends where it was said to; nothing in its children arrived before its last record did; and
//! of each connection, what is in a child was sent after what is in its parents.

use std::collections::BTreeMap;

use frame::ShardId;
use frame::proto::ShardDescription;

use crate::model::{Breach, Found, Model, Reading};
use crate::numberer::CONNECTIONS;

/// Well below the hour that the engine allows for, as time goes on before the first record comes.
const DATED_AHEAD_MS_MAX: u64 = 1_800_000;

/// Checks all shards of all streams against each other.
pub(super) fn check(model: &Model, readings: &BTreeMap<ShardId, Reading>) -> Result<(), Breach> {
    for (&shard, reading) in readings {
        let Some(description) = model.shard(shard) else { continue };
        if description.children.is_some() && reading.tip != description.tip {
            let detail = format!("{description:?} was read up to {}", reading.tip);
            return Err(Breach::new("lineage", detail));
        }
        let is_child = description.parent.is_some();
        // What is dated further ahead was dated by a wall clock that was wrong, which its records don't follow.
        let is_early = |found: &&Found| {
            let by_ms = description.created_ms.saturating_sub(found.arrival_ms);
            is_child && (1..DATED_AHEAD_MS_MAX).contains(&by_ms)
        };
        if let Some(early) = reading.found.iter().find(is_early) {
            return Err(Breach::new("lineage", format!("{early:?} is older than {description:?}")));
        }
        let parents = description.parents().filter_map(|parent| Some((parent, readings.get(&parent)?)));
        for parent in parents {
            check_parent(model, (description, reading), parent)?;
        }
    }
    Ok(())
}

fn check_parent(
    model: &Model,
    (description, reading): (&ShardDescription, &Reading),
    (parent_shard, parent): (ShardId, &Reading),
) -> Result<(), Breach> {
    if let Some(late) = parent.found.iter().find(|found| found.arrival_ms > description.created_ms) {
        return Err(Breach::new("lineage", format!("{late:?} of a parent is newer than {description:?}")));
    }
    let mut oldest: BTreeMap<u32, u64> = BTreeMap::new();
    let of_parent = |hash_key| model.shard(parent_shard).is_none_or(|parent| parent.holds(hash_key));
    for found in &reading.found {
        let attempt = model.attempt(found.attempt);
        if of_parent(attempt.hash_key) || !CONNECTIONS.contains(&attempt.connection) {
            oldest.entry(attempt.connection).or_insert(found.attempt);
        }
    }
    for found in &parent.found {
        let attempt = model.attempt(found.attempt);
        let is_late = oldest.get(&attempt.connection).is_some_and(|&oldest| found.attempt > oldest);
        if is_late && description.holds(attempt.hash_key) {
            let detail = format!("{found:?} of a parent was sent after what is in {description:?}");
            return Err(Breach::new("lineage", detail));
        }
    }
    Ok(())
}
