//! GetResourcePolicy: the policy of a stream or consumer, as it was given; an empty one where there is none.

use wire::Error;
use wire::shape::{ResourcePolicy, ResourceReference};
use wire::validate::Checks;

use super::resource::Resource;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: ResourceReference) -> Result<ResourcePolicy, Error> {
    let resource = Resource::of(&shared.place, &mut Checks::new(), input.resource_arn)?;
    let policy = resource.look(shared, |kept| kept.policy.take()).await?;
    Ok(ResourcePolicy { policy: policy.unwrap_or_else(|| "{}".to_owned()) })
}
