//! DeregisterStreamConsumer: what is pushed to it ends.

use wire::Error;
use wire::shape::ConsumerReference;

use super::consumer;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: ConsumerReference) -> Result<(), Error> {
    let meant = consumer::meant(shared, &input)?;
    shared.rates.of_stream(&shared.place, "DeregisterStreamConsumer", &meant.stream)?;
    let gone = shared
        .log
        .change(&shared.place, &meant.stream, |stream, extras| {
            let gone = extras.consumers.remove(meant.find(&shared.place, extras)?);
            Ok(shared.place.consumer_arn(&stream.name, &gone.name, gone.created_ms))
        })
        .await?;
    shared.subscribers.end_all_of(&gone);
    Ok(())
}
