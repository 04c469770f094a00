//! DeleteStream: answers once the stream is gone, and its consumers with it.

use wire::shape::DeleteStream;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::stream_of;
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

pub(super) async fn run(shared: &Shared, input: DeleteStream) -> Result<(), Error> {
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut Checks::new(), name, arn)?;
    let goes_with_consumers = input.enforce_consumer_deletion.unwrap_or_default();
    let may_go = |extras: &Extras| {
        if goes_with_consumers || extras.consumers.is_empty() {
            return Ok(());
        }
        let (account, count) = (&shared.place.account, extras.consumers.len());
        let message = format!(
            "Stream {name} under account {account} has {count} registered consumers. Deregister them, or set \
             EnforceConsumerDeletion."
        );
        Err(Error::new(ErrorKind::ResourceInUse, message))
    };
    let gone = shared.log.delete(&shared.place, &name, may_go).await?;
    for consumer in gone.consumers {
        shared.subscribers.end_all_of(&shared.place.consumer_arn(&name, &consumer.name, consumer.created_ms));
    }
    Ok(())
}
