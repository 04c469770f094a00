//! DescribeStreamSummary: a stream without its shards. No StreamId is told: clients would then leave the endpoint they were
//! given.

use wire::Error;
use wire::codec::Timestamp;
use wire::shape::{DescribeStreamSummary, StreamDescriptionSummary, StreamReference};
use wire::validate::Checks;

use super::{encryption, retention, state, stream_of};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

pub(super) async fn run(shared: &Shared, input: StreamReference) -> Result<DescribeStreamSummary, Error> {
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut Checks::new(), name, arn)?;
    let (stream, _) = shared.log.describe(&shared.place, &name, 0, 0).await?;
    let extras = Extras::of(&stream)?;
    let stream_description_summary = StreamDescriptionSummary {
        stream_arn: shared.place.arn(&stream.name),
        stream_status: state::status(&extras),
        stream_mode_details: state::mode(&extras),
        retention_period_hours: retention::told_hours(stream.retention),
        stream_creation_timestamp: Timestamp { ms: stream.created_ms },
        enhanced_monitoring: state::monitoring(&extras),
        encryption_type: encryption::told(&stream),
        key_id: encryption::key(&stream),
        open_shard_count: stream.open_shards,
        consumer_count: extras.consumers.len() as u32,
        warm_throughput: state::warm_throughput(shared, &stream, &extras).await?,
        max_record_size_in_ki_b: extras.record_kib_max.unwrap_or(state::RECORD_KIB_DEFAULT),
        record_distribution_strategy: state::distribution(&extras),
        stream_name: stream.name,
    };
    Ok(DescribeStreamSummary { stream_description_summary })
}
