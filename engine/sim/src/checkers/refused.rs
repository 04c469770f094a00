//! No refused record is read.

use frame::ShardId;

use crate::model::{Breach, Model, Outcome, Reading};

pub(super) fn check(model: &Model, shard: ShardId, reading: &Reading) -> Result<(), Breach> {
    for found in &reading.found {
        let attempt = model.attempt(found.attempt);
        if attempt.is_spoiled || matches!(attempt.outcome, Outcome::Refused(_)) {
            let detail = format!("{found:?} of shard {shard} was refused: {:?}", attempt.outcome);
            return Err(Breach::new("refused", detail));
        }
    }
    Ok(())
}
