//! DescribeStreamSummary: a stream without its shards. No StreamId is told: clients would then leave the endpoint they were
//! given.

use wire::Error;
use wire::codec::Timestamp;
use wire::shape::{DescribeStreamSummary, EnhancedMetrics, StreamDescriptionSummary, StreamMode, StreamReference};
use wire::validate::Checks;

use super::{retention, stream_of};
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: StreamReference) -> Result<DescribeStreamSummary, Error> {
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut Checks::new(), name, arn)?;
    let (stream, _) = shared.log.describe(&shared.place, &name, 0, 0).await?;
    let stream_description_summary = StreamDescriptionSummary {
        stream_arn: shared.place.arn(&stream.name),
        stream_name: stream.name,
        stream_status: "ACTIVE",
        stream_mode_details: StreamMode { stream_mode: "PROVISIONED" },
        retention_period_hours: retention::told_hours(stream.retention),
        stream_creation_timestamp: Timestamp { ms: stream.created_ms },
        enhanced_monitoring: [EnhancedMetrics { shard_level_metrics: [] }],
        encryption_type: "NONE",
        open_shard_count: stream.open_shards,
        consumer_count: 0,
    };
    Ok(DescribeStreamSummary { stream_description_summary })
}
