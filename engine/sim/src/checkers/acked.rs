//! Every acknowledged record is read at its number, or called damaged there.

use frame::ShardId;

use crate::model::{Breach, Model, Outcome, Reading};

pub(super) fn check(model: &Model, shard: ShardId, reading: &Reading) -> Result<(), Breach> {
    for (number, attempt) in model.attempts_in(shard) {
        let Outcome::Acked(at, sequence) = attempt.outcome else { continue };
        if at != shard {
            continue;
        }
        match reading.at(sequence) {
            Some(found) if found.attempt == number => {}
            None if reading.is_damaged(&attempt.numbers(sequence)) => {}
            // The oldest have expired.
            None if model.expires(shard) && reading.was_passed_over(&attempt.numbers(sequence)) => {}
            found => {
                let detail =
                    format!("attempt {number} was acknowledged at {sequence} of shard {shard}: found {found:?}");
                return Err(Breach::new("acked", detail));
            }
        }
    }
    Ok(())
}
