//! Consumers as the actions on them find and tell them.

use engine::Stream;
use wire::codec::Timestamp;
use wire::name::Place;
use wire::validate::Checks;
use wire::{Error, shape};

use crate::gateway::Shared;
use crate::gateway::extras::{Consumer, Extras};

/// What an action means: its stream's name, and the consumer's.
pub(super) struct Meant {
    pub(super) stream: String,
    pub(super) name: String,
    /// When it was registered, if that was said: another of its name was registered later.
    created_s: Option<u64>,
    /// As it was said.
    told: String,
}

/// The consumer that a request names by its ARN, or by its stream's and its name.
pub(super) fn meant(shared: &Shared, input: &shape::ConsumerReference) -> Result<Meant, Error> {
    let mut checks = Checks::new();
    checks.stream_arn(input.stream_arn.as_deref());
    checks.name("consumerName", input.consumer_name.as_deref());
    checks.consumer_arn(input.consumer_arn.as_deref());
    checks.done()?;
    if let Some(arn) = &input.consumer_arn {
        let meant = by_arn(&shared.place, arn)?;
        let stream = input.stream_arn.as_deref().map(|arn| shared.place.stream_of(None, Some(arn))).transpose()?;
        let is_another = stream.is_some_and(|stream| stream != meant.stream)
            || input.consumer_name.as_ref().is_some_and(|name| *name != meant.name);
        if is_another {
            let message = "ConsumerARN is not that of the consumer that StreamARN and ConsumerName name.";
            return Err(Error::new(wire::ErrorKind::InvalidArgument, message));
        }
        return Ok(meant);
    }
    let stream = shared.place.stream_of(None, input.stream_arn.as_deref())?;
    let name = input.consumer_name.clone().ok_or_else(|| {
        Error::new(
            wire::ErrorKind::InvalidArgument,
            "Either ConsumerARN, or StreamARN and ConsumerName must be provided.",
        )
    })?;
    let told = name.clone();
    Ok(Meant { stream, name, created_s: None, told })
}

/// The consumer of an ARN.
pub(super) fn by_arn(place: &Place, arn: &str) -> Result<Meant, Error> {
    let (stream, name, created_s) = place.consumer_in(arn).ok_or_else(|| place.no_consumer(arn))?;
    Ok(Meant { stream: stream.to_owned(), name: name.to_owned(), created_s: Some(created_s), told: arn.to_owned() })
}

impl Meant {
    /// Where it is among those of its stream.
    pub(super) fn find(&self, place: &Place, extras: &Extras) -> Result<usize, Error> {
        let at = extras.consumers.iter().position(|consumer| {
            consumer.name == self.name && self.created_s.is_none_or(|created_s| created_s == consumer.created_ms / 1000)
        });
        at.ok_or_else(|| place.no_consumer(&self.told))
    }
}

/// As it is told.
pub(super) fn told(place: &Place, stream: &Stream, consumer: &Consumer) -> shape::Consumer {
    shape::Consumer {
        consumer_arn: place.consumer_arn(&stream.name, &consumer.name, consumer.created_ms),
        consumer_name: consumer.name.clone(),
        consumer_status: "ACTIVE",
        consumer_creation_timestamp: Timestamp { ms: consumer.created_ms },
    }
}
