//! DisableEnhancedMonitoring: metrics of single shards are not asked for any more.

use wire::Error;
use wire::shape::{ChangedMonitoring, EnhancedMonitoring};

use super::monitoring;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: EnhancedMonitoring) -> Result<ChangedMonitoring, Error> {
    monitoring::change(shared, input, |metrics, fewer| metrics.retain(|metric| !fewer.contains(metric))).await
}
