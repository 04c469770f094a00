//! A connection's records keep their order within a shard, and none is missing in the midst: what came before a stored
//! record on the same connection is stored as well, unless it was refused.

use std::collections::{BTreeMap, BTreeSet};

use frame::ShardId;

use crate::model::{Breach, Model, Outcome, Reading};

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
    if may_be_damaged {
        return Ok(());
    }
    let stored: BTreeSet<u64> = reading.found.iter().map(|found| found.attempt).collect();
    for (number, attempt) in model.attempts_on(shard) {
        let is_passed = newest.get(&attempt.connection).is_some_and(|&newest| number < newest);
        let may_be_stored = !attempt.is_spoiled && !matches!(attempt.outcome, Outcome::Refused(_));
        if is_passed && may_be_stored && !stored.contains(&number) {
            let detail =
                format!("attempt {number} on shard {shard} is missing, and a later one of its connection is not");
            return Err(Breach::new("no holes", detail));
        }
    }
    Ok(())
}
