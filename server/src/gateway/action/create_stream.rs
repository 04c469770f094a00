//! CreateStream: answers once the stream is there to be used.

use frame::Settings;
use wire::shape::CreateStream;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::{retention, tags};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// Shards of a stream whose maker does not say how many.
const SHARDS: u32 = 4;

pub(super) async fn run(shared: &Shared, input: CreateStream) -> Result<(), Error> {
    let mode = input.stream_mode_details.as_ref().and_then(|details| details.stream_mode.as_deref());
    let mut checks = Checks::new();
    checks.required("streamName", input.stream_name.as_ref()).stream_name(input.stream_name.as_deref());
    checks.at_least("shardCount", input.shard_count, 1);
    checks.one_of("streamModeDetails.streamMode", mode, &["PROVISIONED", "ON_DEMAND"]);
    checks.tags(input.tags.as_ref()).done()?;
    let shards = input.shard_count.map_or(SHARDS, |count| u32::try_from(count).unwrap_or(u32::MAX));
    let shards_max = frame::limits::SHARDS_PER_STREAM_MAX;
    if shards as usize > shards_max {
        return Err(Error::new(ErrorKind::LimitExceeded, format!("A stream has at most {shards_max} shards.")));
    }
    let name = input.stream_name.unwrap_or_default();
    let settings = Settings { quotas: shared.quotas, retention: retention::of_hours(retention::HOURS_MIN) };
    let mut extras = Extras::default();
    let tags = input.tags.unwrap_or_default();
    tags::add(&shared.place, &format!("stream {name}"), &mut extras.tags, tags)?;
    shared.log.create(&shared.place, &name, shards, settings, &extras).await
}
