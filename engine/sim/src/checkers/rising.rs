//! Numbers rise, without gaps but where recovery skipped; arrival times never fall.

use engine::limits::SEQUENCE_SKIP;
use frame::ShardId;

use crate::model::{Breach, Reading};

pub(super) fn check(shard: ShardId, reading: &Reading, may_be_damaged: bool) -> Result<(), Breach> {
    let mut next = 1;
    let mut arrival_ms = 0;
    for found in &reading.found {
        let breach = |what: &str| Err(Breach::new("rising", format!("{found:?} of shard {shard} {what} {next}")));
        if found.sequence.0 < next {
            return breach("comes after the number before");
        }
        let gap = found.sequence.0 - next;
        if gap > 0 && gap < SEQUENCE_SKIP && !may_be_damaged {
            return breach("leaves a gap from");
        }
        if found.arrival_ms < arrival_ms {
            return breach("arrived before the one before");
        }
        (next, arrival_ms) = (found.sequence.0 + 1, found.arrival_ms);
    }
    if next > reading.tip.0 {
        let detail = format!("shard {shard} has records up to {}, and its tip is {}", next - 1, reading.tip);
        return Err(Breach::new("rising", detail));
    }
    Ok(())
}
