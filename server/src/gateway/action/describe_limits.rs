//! DescribeLimits: how many shards and streams on demand there may be, and are.

use serde::de::IgnoredAny;
use wire::Error;
use wire::shape::Limits;

use crate::gateway::Shared;
use crate::gateway::extras::Extras;

pub(super) async fn run(shared: &Shared, _: IgnoredAny) -> Result<Limits, Error> {
    let mut limits = Limits {
        shard_limit: shared.limits.shards as u32,
        open_shard_count: 0,
        on_demand_stream_count: 0,
        on_demand_stream_count_limit: shared.limits.on_demand_streams as u32,
    };
    let count = |stream: &engine::Stream| {
        limits.open_shard_count += stream.open_shards;
        limits.on_demand_stream_count += u32::from(Extras::of(stream)?.on_demand);
        Ok(())
    };
    shared.log.each(&shared.place, count).await?;
    Ok(limits)
}
