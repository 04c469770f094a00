//! A connection's records keep their order within a shard, and none is missing in the midst: what came before a stored
//! record on the same connection is stored as well, unless it was refused. In a shard that was made of others that holds from
//! the connection's first record on: what came before may have been refused while they were, and its client not have heard of it.
//! So may what came while the shard was moved: one stretch of a connection's records each time. Of a shard with quotas it holds for
//! those alone that number their records.

use std::collections::{BTreeMap, BTreeSet};

use frame::ShardId;

use crate::model::{Breach, Model, Outcome, Reading};
use crate::numberer::CONNECTIONS;

pub(super) fn check(model: &Model, shard: ShardId, reading: &Reading, may_be_damaged: bool) -> Result<(), Breach> {
    let mut newest: BTreeMap<u32, u64> = BTreeMap::new();
    for found in &reading.found {
        let connection = model.attempt(found.attempt).connection;
        if newest.get(&connection).is_some_and(|&before| before > found.attempt) {
            let detail = format!("{found:?} of shard {shard} comes after attempt {:?}", newest.get(&connection));
            return Err(Breach::new("order", detail));
        }
        newest.insert(connection, found.attempt);
    }
    // Of what expires anything may be missing that was once stored, and of that nothing is known.
    if may_be_damaged || model.expires(shard) {
        return Ok(());
    }
    let stored: BTreeSet<u64> = reading.found.iter().map(|found| found.attempt).collect();
    let is_child = model.shard(shard).is_some_and(|shard| shard.parent.is_some());
    let mut oldest: BTreeMap<u32, u64> = BTreeMap::new();
    for found in reading.found.iter().filter(|_| is_child) {
        oldest.entry(model.attempt(found.attempt).connection).or_insert(found.attempt);
    }
    // One that numbers its records is acknowledged all of them in the end. Of another's records anybody's guess is which the quotas
    // refused that it has no answer for.
    let has_quotas = model.has_quotas(shard);
    let is_checked = |connection: u32| if CONNECTIONS.contains(&connection) { !is_child } else { !has_quotas };
    // Stretches of a connection that are missing, and whether it is within one.
    let mut missing: BTreeMap<u32, (u32, bool)> = BTreeMap::new();
    for (number, attempt) in model.attempts_for(shard).filter(|(_, attempt)| is_checked(attempt.connection)) {
        let is_begun = oldest.get(&attempt.connection).is_none_or(|&oldest| number > oldest);
        let is_passed = is_begun && newest.get(&attempt.connection).is_some_and(|&newest| number < newest);
        let may_be_stored = !attempt.is_spoiled && !matches!(attempt.outcome, Outcome::Refused(_));
        if !is_passed || !may_be_stored {
            continue;
        }
        let (stretches, is_within) = missing.entry(attempt.connection).or_default();
        let is_missing = !stored.contains(&number);
        *stretches += u32::from(is_missing && !*is_within);
        *is_within = is_missing;
        if *stretches > model.moves(shard) {
            let detail =
                format!("attempt {number} on shard {shard} is missing, and a later one of its connection is not");
            return Err(Breach::new("no holes", detail));
        }
    }
    Ok(())
}
