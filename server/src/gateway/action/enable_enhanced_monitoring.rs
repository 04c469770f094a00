//! EnableEnhancedMonitoring: metrics of single shards are asked for.

use wire::Error;
use wire::shape::{ChangedMonitoring, EnhancedMonitoring};

use super::monitoring;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: EnhancedMonitoring) -> Result<ChangedMonitoring, Error> {
    monitoring::change(shared, input, |metrics, more| metrics.extend(more)).await
}
