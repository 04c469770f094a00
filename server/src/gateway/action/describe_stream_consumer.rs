//! DescribeStreamConsumer: one consumer, by its ARN or by its stream's and its name.

use wire::Error;
use wire::shape::{ConsumerDescription, ConsumerReference, DescribedConsumer};

use super::consumer;
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

pub(super) async fn run(shared: &Shared, input: ConsumerReference) -> Result<DescribedConsumer, Error> {
    let meant = consumer::meant(shared, &input)?;
    shared.rates.of_stream(&shared.place, "DescribeStreamConsumer", &meant.stream)?;
    let (stream, _) = shared.log.describe(&shared.place, &meant.stream, 0, 0).await?;
    let extras = Extras::of(&stream)?;
    let told = consumer::told(&shared.place, &stream, &extras.consumers[meant.find(&shared.place, &extras)?]);
    let consumer_description = ConsumerDescription {
        consumer_name: told.consumer_name,
        consumer_arn: told.consumer_arn,
        consumer_status: told.consumer_status,
        consumer_creation_timestamp: told.consumer_creation_timestamp,
        stream_arn: shared.place.arn(&stream.name),
    };
    Ok(DescribedConsumer { consumer_description })
}
