//! UpdateStreamRecordDistributionStrategy: whether records find their shards by their keys or are spread over all of them.

use wire::Error;
use wire::shape::UpdateStreamRecordDistributionStrategy;
use wire::validate::Checks;

use super::{state, stream_of};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

pub(super) async fn run(shared: &Shared, input: UpdateStreamRecordDistributionStrategy) -> Result<(), Error> {
    let strategy = input.record_distribution_strategy.as_deref();
    let mut checks = Checks::new();
    checks.required("streamARN", input.stream_arn.as_ref());
    checks.required("recordDistributionStrategy", strategy.as_ref());
    state::check_distribution(&mut checks, strategy);
    let name = stream_of(&shared.place, &mut checks, None, input.stream_arn.as_deref())?;
    let set = |_: &engine::Stream, extras: &mut Extras| {
        extras.spread = strategy == Some("AUTO");
        state::may_spread(extras)
    };
    state::change(shared, &name, set).await
}
