//! UpdateShardCount: answers at once; the stream is brought to shards of equal size in the background, and UPDATING meanwhile.

use std::sync::Arc;

use engine::Stream;
use frame::limits::SHARDS_PER_STREAM_MAX;
use wire::shape::{ShardCounts, UpdateShardCount};
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::holdings::{Adds, Holdings};
use super::{state, stream_of};
use crate::gateway::extras::Extras;
use crate::gateway::{Shared, scaling};

pub(super) async fn run(shared: &Arc<Shared>, input: UpdateShardCount) -> Result<ShardCounts, Error> {
    let mut checks = Checks::new();
    checks.required("targetShardCount", input.target_shard_count.as_ref());
    checks.at_least("targetShardCount", input.target_shard_count, 1);
    checks.required("scalingType", input.scaling_type.as_ref());
    checks.one_of("scalingType", input.scaling_type.as_deref(), &["UNIFORM_SCALING"]);
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let target = input.target_shard_count.map_or(1, |count| u32::try_from(count).unwrap_or(u32::MAX));
    let holdings = Holdings::of(shared, Adds { shards: true, on_demand: false }).await?;
    let begin = |stream: &Stream, extras: &mut Extras| {
        state::be_provisioned(&shared.place, stream, extras)?;
        check(stream.open_shards, target, shared.limits.shard_count_factor)?;
        holdings.have_room_for(target.saturating_sub(stream.open_shards))?;
        let times_max = shared.limits.shard_counts_a_day(shared.rates.hold_days());
        state::take_daily(("UpdateShardCount", &name), &mut extras.scaled_ms, times_max)?;
        extras.scaling = Some(target);
        Ok(stream.clone())
    };
    let stream = state::change(shared, &name, begin).await?;
    scaling::begin(shared, &stream, target);
    Ok(ShardCounts {
        stream_arn: shared.place.arn(&name),
        stream_name: name,
        current_shard_count: stream.open_shards,
        target_shard_count: target,
    })
}

/// That a stream may go from so many shards to so many: up or down by that factor at most.
fn check(open: u32, target: u32, factor: usize) -> Result<(), Error> {
    let times = |count: u32| (count as usize).saturating_mul(factor);
    // The service's words, of its own factor.
    let [multiple, part] = match factor {
        2 => ["double", "half"].map(str::to_owned),
        _ => [format!("{factor} times"), format!("1/{factor} of")],
    };
    let rule = if target as usize > SHARDS_PER_STREAM_MAX {
        format!("Target shard count or number of open shards cannot be greater than {SHARDS_PER_STREAM_MAX}")
    } else if target as usize > times(open) {
        format!("UpdateShardCount cannot scale up over {multiple} your current open shard count")
    } else if times(target) < open as usize {
        format!("UpdateShardCount cannot scale down below {part} your current open shard count")
    } else {
        return Ok(());
    };
    let message = format!("{rule}. Current open shard count: {open}, Target shard count: {target}");
    Err(Error::new(ErrorKind::LimitExceeded, message))
}
