//! RegisterStreamConsumer: answers once the consumer may subscribe.

use wire::shape::{RegisterStreamConsumer, RegisteredConsumer};
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::{consumer, now_ms, tags};
use crate::gateway::Shared;
use crate::gateway::extras::{Consumer, Tags};

pub(super) async fn run(shared: &Shared, input: RegisterStreamConsumer) -> Result<RegisteredConsumer, Error> {
    let mut checks = Checks::new();
    checks.required("streamARN", input.stream_arn.as_ref()).stream_arn(input.stream_arn.as_deref());
    checks.required("consumerName", input.consumer_name.as_ref());
    checks.name("consumerName", input.consumer_name.as_deref());
    checks.tags(input.tags.as_ref()).done()?;
    let stream = shared.place.stream_of(None, input.stream_arn.as_deref())?;
    let name = input.consumer_name.unwrap_or_default();
    let mut kept = Tags::new();
    tags::add(shared, &format!("consumer {name}"), &mut kept, input.tags.unwrap_or_default())?;
    let is_committed = shared.log.account(&shared.place).await?.is_committed(now_ms());
    let change = |stream: &engine::Stream, extras: &mut crate::gateway::extras::Extras| {
        let consumers_max = shared.limits.consumers(extras.on_demand && is_committed);
        let consumers = &mut extras.consumers;
        let Err(at) = consumers.binary_search_by(|known| known.name.cmp(&name)) else {
            let message = format!("Consumer {name} of stream {} already exists.", stream.name);
            return Err(Error::new(ErrorKind::ResourceInUse, message));
        };
        if consumers.len() >= consumers_max {
            let message = format!("This stream has at most {consumers_max} consumers.");
            return Err(Error::new(ErrorKind::LimitExceeded, message));
        }
        let made = Consumer { name, created_ms: now_ms(), tags: kept, policy: None };
        let told = consumer::told(&shared.place, stream, &made);
        consumers.insert(at, made);
        Ok(told)
    };
    let consumer = shared.log.change(&shared.place, &stream, change).await?;
    Ok(RegisteredConsumer { consumer })
}
