//! ListStreamConsumers: a page of a stream's consumers, in the order of their names.

use wire::Error;
use wire::iterator::ConsumersPlace;
use wire::shape::{Consumers, ListStreamConsumers};
use wire::validate::Checks;

use super::{consumer, now_ms, resume};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// Consumers of one page, whatever the limit.
const PAGE: usize = 100;

pub(super) async fn run(shared: &Shared, input: ListStreamConsumers) -> Result<Consumers, Error> {
    let mut checks = Checks::new();
    checks.required("streamARN", input.stream_arn.as_ref()).stream_arn(input.stream_arn.as_deref());
    checks.length("nextToken", input.next_token.as_deref(), 1, 1 << 20);
    checks.range("maxResults", input.max_results, 1, 10_000);
    checks.done()?;
    let name = shared.place.stream_of(None, input.stream_arn.as_deref())?;
    shared.rates.of_stream(&shared.place, "ListStreamConsumers", &name)?;
    let (stream, _) = shared.log.describe(&shared.place, &name, 0, 0).await?;
    let after = match &input.next_token {
        None => String::new(),
        Some(token) => {
            let place = ConsumersPlace::decode(token).filter(|place| place.stream == stream.stream.0);
            resume(place, |place| place.made_ms)?.after
        }
    };
    if input.stream_creation_timestamp.is_some_and(|created| created.ms / 1000 != stream.created_ms / 1000) {
        return Err(shared.place.no_stream(&name));
    }
    let limit = input.max_results.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(PAGE).min(PAGE);
    let extras = Extras::of(&stream)?;
    let mut rest = extras.consumers.iter().filter(|consumer| consumer.name > after);
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let last = page.last().filter(|_| rest.next().is_some());
    let next_token = last
        .map(|last| ConsumersPlace { made_ms: now_ms(), stream: stream.stream.0, after: last.name.clone() }.encode());
    let consumers = page.into_iter().map(|known| consumer::told(&shared.place, &stream, known)).collect();
    Ok(Consumers { consumers, next_token })
}
