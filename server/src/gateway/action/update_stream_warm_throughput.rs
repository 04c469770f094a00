//! UpdateStreamWarmThroughput: a stream on demand is to take in so much without growing first, for which it grows now.

use std::sync::Arc;

use wire::Error;
use wire::shape::{UpdateStreamWarmThroughput, UpdatedWarmThroughput};
use wire::validate::Checks;

use super::{stream_of, warm_throughput};
use crate::gateway::Shared;

pub(super) async fn run(
    shared: &Arc<Shared>,
    input: UpdateStreamWarmThroughput,
) -> Result<UpdatedWarmThroughput, Error> {
    let mut checks = Checks::new();
    checks.required("warmThroughputMiBps", input.warm_throughput_mi_bps.as_ref());
    checks.at_least("warmThroughputMiBps", input.warm_throughput_mi_bps, 0);
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let warm_mibps = warm_throughput::check(shared, input.warm_throughput_mi_bps).await?;
    let warm_throughput = warm_throughput::change(shared, &name, warm_mibps, |_| Ok(())).await?;
    Ok(UpdatedWarmThroughput { stream_arn: shared.place.arn(&name), stream_name: name, warm_throughput })
}
