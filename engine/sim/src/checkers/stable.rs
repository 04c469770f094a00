//! What was read once is read again, in this and every later life.

use frame::ShardId;

use crate::model::{Breach, Model, Reading};

pub(super) fn check(model: &Model, shard: ShardId, reading: &Reading) -> Result<(), Breach> {
    for (number, attempt) in model.attempts_in(shard) {
        let Some((_, sequence)) = attempt.read_at.filter(|(at, _)| *at == shard) else { continue };
        let is_there = reading.at(sequence).is_some_and(|found| found.attempt == number);
        if !is_there && !reading.is_damaged(&attempt.numbers(sequence)) {
            let detail = format!("attempt {number} was read at {sequence} of shard {shard}, and is gone");
            return Err(Breach::new("stable", detail));
        }
    }
    Ok(())
}
