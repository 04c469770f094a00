//! UpdateStreamMode: a stream is provisioned or on demand from now on. It keeps its shards.

use std::sync::Arc;

use wire::shape::UpdateStreamMode;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::holdings::{Adds, Holdings};
use super::{state, stream_of, warm_throughput};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

pub(super) async fn run(shared: &Arc<Shared>, input: UpdateStreamMode) -> Result<(), Error> {
    let details = input.stream_mode_details;
    let mut checks = Checks::new();
    checks.required("streamARN", input.stream_arn.as_ref()).required("streamModeDetails", details.as_ref());
    let mode = details.unwrap_or_default().stream_mode;
    checks.required("streamModeDetails.streamMode", mode.as_ref());
    state::check_mode(&mut checks, mode.as_deref());
    checks.at_least("warmThroughputMiBps", input.warm_throughput_mi_bps, 0);
    let name = stream_of(&shared.place, &mut checks, None, input.stream_arn.as_deref())?;
    let warm_mibps = warm_throughput::check(shared, input.warm_throughput_mi_bps).await?;
    let on_demand = mode.as_deref() == Some("ON_DEMAND");
    let holdings = Holdings::of(shared, Adds { shards: false, on_demand }).await?;
    let change = |extras: &mut Extras| {
        if on_demand != extras.on_demand {
            let times_max = shared.limits.modes_a_day(shared.rates.hold_days());
            state::take_daily(("UpdateStreamMode", &name), &mut extras.switched_ms, times_max)?;
            if on_demand {
                holdings.have_room_for_another()?;
            }
        }
        extras.on_demand = on_demand;
        if extras.spread && !extras.on_demand {
            let message = "The stream's RecordDistributionStrategy is AUTO. Set it to USER_PARTITION_KEY first.";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        extras.warm_mibps = extras.warm_mibps.filter(|_| extras.on_demand);
        Ok(())
    };
    warm_throughput::change(shared, &name, warm_mibps, change).await.map(drop)
}
