//! DeleteResourcePolicy: a stream or consumer has no policy any more.

use wire::shape::ResourceReference;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::resource::{Kept, Resource};
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: ResourceReference) -> Result<(), Error> {
    let arn = input.resource_arn.clone().unwrap_or_default();
    let resource = Resource::of(&shared.place, &mut Checks::new(), input.resource_arn)?;
    let delete = |kept: Kept<'_>| match kept.policy.take() {
        Some(_) => Ok(()),
        None => {
            let message = format!("No resource policy found for resource ARN {arn}");
            Err(Error::new(ErrorKind::ResourceNotFound, message))
        }
    };
    resource.change(shared, delete).await
}
