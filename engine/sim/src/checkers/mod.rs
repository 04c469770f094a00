//! What must hold whenever everything is read back, one promise a file. The model itself checks what can be told from a
//! single answer: whose bytes a record has, that a number is given once, that tips rise and streams stay.

mod acked;
mod lineage;
mod once;
mod order;
mod refused;
mod rising;
mod stable;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use frame::ShardId;

use crate::model::{Breach, Model, Reading};

/// Checks all that was read back from a shard. With `may_be_damaged`, what is missing must have been called damaged.
fn check(model: &Model, shard: ShardId, reading: &Reading, may_be_damaged: bool) -> Result<(), Breach> {
    if !may_be_damaged && let Some(numbers) = reading.damaged.first() {
        return Err(Breach::new(
            "readable",
            format!("{numbers:?} of shard {shard} are called damaged, and nothing was"),
        ));
    }
    rising::check(shard, reading, model.expires(shard), may_be_damaged)?;
    once::check(shard, reading)?;
    acked::check(model, shard, reading)?;
    refused::check(model, shard, reading)?;
    order::check(model, shard, reading, may_be_damaged)?;
    stable::check(model, shard, reading)
}

/// Checks all that was read back from all shards.
pub(crate) fn check_all(
    model: &Model,
    readings: &BTreeMap<ShardId, Reading>,
    may_be_damaged: bool,
) -> Result<(), Breach> {
    readings.iter().try_for_each(|(&shard, reading)| check(model, shard, reading, may_be_damaged))?;
    if may_be_damaged {
        return Ok(());
    }
    model.check_placed(&readings.keys().copied().collect())?;
    lineage::check(model, readings)
}
