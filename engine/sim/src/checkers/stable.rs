//! What was read once is read again, in this and every later life.

use frame::ShardId;

use crate::model::{Breach, Model, Reading};

pub(super) fn check(model: &Model, shard: ShardId, reading: &Reading) -> Result<(), Breach> {
    for (number, attempt) in model.attempts_in(shard) {
        let Some((_, sequence)) = attempt.read_at.filter(|(at, _)| *at == shard) else { continue };
        let is_there = reading.at(sequence).is_some_and(|found| found.attempt == number);
        let has_expired = model.expires(shard) && reading.was_passed_over(&attempt.numbers(sequence));
        if !is_there && !has_expired && !reading.is_damaged(&attempt.numbers(sequence)) {
            let detail = format!("attempt {number} was read at {sequence} of shard {shard}, and is gone");
            return Err(Breach::new("stable", detail));
        }
    }
    Ok(())
}
