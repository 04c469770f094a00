//! ListStreams: a page of streams in the order of their names.

use engine::Stream;
use wire::Error;
use wire::codec::Timestamp;
use wire::iterator::StreamsPlace;
use wire::shape::{ListStreams, StreamSummary, Streams};
use wire::validate::Checks;

use super::{now_ms, resume, state};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// Streams of one page, whatever the limit.
const PAGE: u32 = engine::limits::LIST_STREAMS_MAX;

pub(super) async fn run(shared: &Shared, input: ListStreams) -> Result<Streams, Error> {
    let mut checks = Checks::new();
    checks.range("limit", input.limit, 1, 10_000);
    checks.name("exclusiveStartStreamName", input.exclusive_start_stream_name.as_deref());
    checks.length("nextToken", input.next_token.as_deref(), 1, 1 << 20);
    checks.done()?;
    let after = match &input.next_token {
        None => input.exclusive_start_stream_name.unwrap_or_default(),
        Some(token) => resume(StreamsPlace::decode(token), |place| place.made_ms)?.after,
    };
    let limit = input.limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(PAGE).min(PAGE);
    let (streams, more) = shared.log.list(&shared.place, &after, limit).await?;
    let last = streams.last().filter(|_| more).map(|stream| stream.name.clone());
    let summary = |stream: Stream| {
        let extras = Extras::of(&stream)?;
        Ok(StreamSummary {
            stream_arn: shared.place.arn(&stream.name),
            stream_name: stream.name,
            stream_status: state::status(&extras),
            stream_mode_details: state::mode(&extras),
            stream_creation_timestamp: Timestamp { ms: stream.created_ms },
        })
    };
    Ok(Streams {
        stream_names: streams.iter().map(|stream| stream.name.clone()).collect(),
        has_more_streams: more,
        next_token: last.map(|after| StreamsPlace { made_ms: now_ms(), after }.encode()),
        stream_summaries: streams.into_iter().map(summary).collect::<Result<_, _>>()?,
    })
}
