//! Which metrics of single shards are asked for, and what both actions have in common that change it.

use std::collections::BTreeSet;

use wire::Error;
use wire::shape::{ChangedMonitoring, EnhancedMonitoring};
use wire::validate::Checks;

use super::state::{self, METRICS};
use super::stream_of;
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// Stands for all of them.
const ALL: &str = "ALL";

/// Has `change` change them by those that were named.
pub(super) async fn change(
    shared: &Shared,
    input: EnhancedMonitoring,
    change: impl FnOnce(&mut BTreeSet<String>, Vec<String>),
) -> Result<ChangedMonitoring, Error> {
    let mut checks = Checks::new();
    let words = [&METRICS[..], &[ALL]].concat();
    checks.required("shardLevelMetrics", input.shard_level_metrics.as_ref());
    checks.all_of("shardLevelMetrics", input.shard_level_metrics.as_deref(), METRICS.len(), &words);
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let mut named = input.shard_level_metrics.unwrap_or_default();
    if named.iter().any(|metric| metric == ALL) {
        named = METRICS.map(str::to_owned).to_vec();
    }
    let change = |_: &engine::Stream, extras: &mut Extras| {
        let before = state::metrics(extras);
        change(&mut extras.metrics, named);
        Ok((before, state::metrics(extras)))
    };
    let (before, after) = state::change(shared, &name, change).await?;
    Ok(ChangedMonitoring {
        stream_arn: shared.place.arn(&name),
        stream_name: name,
        current_shard_level_metrics: before,
        desired_shard_level_metrics: after,
    })
}
