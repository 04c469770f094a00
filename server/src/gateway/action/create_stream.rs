//! CreateStream: answers once the stream is there to be used.

use frame::Settings;
use wire::shape::CreateStream;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::holdings::{Adds, Holdings};
use super::{retention, state, tags, warm_throughput};
use crate::gateway::Shared;
use crate::gateway::extras::{Extras, Tags};

/// Shards of a stream whose maker does not say how many.
const SHARDS: u32 = 4;

pub(super) async fn run(shared: &Shared, input: CreateStream) -> Result<(), Error> {
    let mode = input.stream_mode_details.as_ref().and_then(|details| details.stream_mode.as_deref());
    let mut checks = Checks::new();
    checks.required("streamName", input.stream_name.as_ref()).stream_name(input.stream_name.as_deref());
    checks.at_least("shardCount", input.shard_count, 1);
    if input.stream_mode_details.is_some() {
        checks.required("streamModeDetails.streamMode", mode.as_ref());
    }
    state::check_mode(&mut checks, mode);
    checks.tags(input.tags.as_ref()).at_least("warmThroughputMiBps", input.warm_throughput_mi_bps, 0);
    state::check_record_kib(&mut checks, input.max_record_size_in_ki_b);
    state::check_distribution(&mut checks, input.record_distribution_strategy.as_deref());
    checks.done()?;
    let name = input.stream_name.unwrap_or_default();
    let mut kept = Tags::new();
    tags::add(shared, &format!("stream {name}"), &mut kept, input.tags.unwrap_or_default())?;
    let extras = Extras {
        tags: kept,
        on_demand: mode == Some("ON_DEMAND"),
        spread: input.record_distribution_strategy.as_deref() == Some("AUTO"),
        warm_mibps: warm_throughput::check(shared, input.warm_throughput_mi_bps).await?,
        record_kib_max: input.max_record_size_in_ki_b.and_then(|kib| u32::try_from(kib).ok()),
        ..Extras::default()
    };
    state::may_spread(&extras)?;
    if extras.warm_mibps.is_some() {
        warm_throughput::be_on_demand(&extras)?;
    }
    let shards = input.shard_count.map_or(SHARDS, |count| u32::try_from(count).unwrap_or(u32::MAX));
    let shards = shards.max(warm_throughput::shards(extras.warm_mibps));
    let shards_max = frame::limits::SHARDS_PER_STREAM_MAX;
    if shards as usize > shards_max {
        return Err(Error::new(ErrorKind::LimitExceeded, format!("A stream has at most {shards_max} shards.")));
    }
    let holdings = Holdings::of(shared, Adds { shards: true, on_demand: extras.on_demand }).await?;
    let another = || if extras.on_demand { holdings.have_room_for_another() } else { Ok(()) };
    if let Err(error) = holdings.have_room_for(shards).and_then(|()| another()) {
        // Who makes sure that a stream is there hears that it is.
        let is_there = shared.log.describe(&shared.place, &name, 0, 0).await.is_ok();
        return Err(if is_there { shared.place.exists(&name) } else { error });
    }
    let settings = Settings { quotas: shared.quotas, retention: retention::of_hours(retention::HOURS_MIN) };
    shared.log.create(&shared.place, &name, shards, settings, &extras).await
}
