//! Streams and consumers by their ARN, for actions that are the same for both.

use wire::name::Place;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::consumer::{self, Meant};
use crate::gateway::Shared;
use crate::gateway::extras::{Extras, Tags};

/// What an ARN is of.
pub(super) struct Resource {
    /// The stream's name.
    pub(super) stream: String,
    /// The consumer, if it is one.
    consumer: Option<Meant>,
    /// As it was said.
    arn: String,
}

/// What is kept of either.
pub(super) struct Kept<'a> {
    pub(super) tags: &'a mut Tags,
    pub(super) policy: &'a mut Option<String>,
}

impl Resource {
    /// The one of an ARN, once all else was checked too.
    pub(super) fn of(place: &Place, checks: &mut Checks, arn: Option<String>) -> Result<Resource, Error> {
        checks.resource_arn(arn.as_deref()).done()?;
        let arn = arn.unwrap_or_default();
        if let Ok(meant) = consumer::by_arn(place, &arn) {
            return Ok(Resource { stream: meant.stream.clone(), consumer: Some(meant), arn });
        }
        match place.stream_of(None, Some(&arn)) {
            Ok(stream) => Ok(Resource { stream, consumer: None, arn }),
            Err(_) => {
                let message = format!("Resource {arn} under account {} not found.", place.account);
                Err(Error::new(ErrorKind::ResourceNotFound, message))
            }
        }
    }

    /// What it is called in errors.
    pub(super) fn told(&self) -> String {
        match &self.consumer {
            None => format!("stream {}", self.stream),
            Some(_) => format!("consumer {}", self.arn),
        }
    }

    /// What is kept of it.
    pub(super) fn kept<'a>(&self, place: &Place, extras: &'a mut Extras) -> Result<Kept<'a>, Error> {
        let Some(meant) = &self.consumer else {
            return Ok(Kept { tags: &mut extras.tags, policy: &mut extras.policy });
        };
        let at = meant.find(place, extras)?;
        let consumer = &mut extras.consumers[at];
        Ok(Kept { tags: &mut consumer.tags, policy: &mut consumer.policy })
    }

    /// Looks at what is kept of it.
    pub(super) async fn look<T>(&self, shared: &Shared, look: impl FnOnce(Kept<'_>) -> T) -> Result<T, Error> {
        let (stream, _) = shared.log.describe(&shared.place, &self.stream, 0, 0).await?;
        let mut extras = Extras::of(&stream)?;
        Ok(look(self.kept(&shared.place, &mut extras)?))
    }

    /// Changes what is kept of it.
    pub(super) async fn change(
        &self,
        shared: &Shared,
        change: impl FnOnce(Kept<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let change = |_: &engine::Stream, extras: &mut Extras| change(self.kept(&shared.place, extras)?);
        shared.log.change(&shared.place, &self.stream, change).await
    }
}
