//! Numbers rise, without gaps but where recovery skipped; arrival times never fall. What there is of records that are not
//! whole counts as well.

use engine::limits::SEQUENCE_SKIP;
use frame::ShardId;

use crate::model::{Breach, Reading};

pub(super) fn check(shard: ShardId, reading: &Reading, expires: bool, may_be_damaged: bool) -> Result<(), Breach> {
    let mut next = 1;
    let mut arrival_ms = 0;
    let found = reading.found.iter().map(|found| (found.first, found.sequence, found.arrival_ms));
    let mut all: Vec<_> = found.chain(reading.fragments().map(|(number, at_ms)| (number, number, at_ms))).collect();
    all.sort_by_key(|&(first, ..)| first);
    for (first, last, at_ms) in all {
        let breach = |what: &str| {
            Err(Breach::new("rising", format!("{first} to {last} of shard {shard}, of {at_ms} ms, {what} {next}")))
        };
        if first.0 < next {
            return breach("comes after the number before");
        }
        let gap = first.0 - next;
        if gap > 0 && !expires && gap < SEQUENCE_SKIP && !may_be_damaged {
            return breach("leaves a gap from");
        }
        if at_ms < arrival_ms {
            return breach("arrived before the one before");
        }
        (next, arrival_ms) = (last.0 + 1, at_ms);
    }
    if next > reading.tip.0 {
        let detail = format!("shard {shard} has records up to {}, and its tip is {}", next - 1, reading.tip);
        return Err(Breach::new("rising", detail));
    }
    Ok(())
}
