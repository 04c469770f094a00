//! ListTagsForResource: all tags of a stream or consumer, by its ARN.

use wire::Error;
use wire::shape::{ResourceReference, ResourceTags};
use wire::validate::Checks;

use super::resource::Resource;
use super::tags;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: ResourceReference) -> Result<ResourceTags, Error> {
    let resource = Resource::of(&shared.place, &mut Checks::new(), input.resource_arn)?;
    let tags = resource.look(shared, |kept| tags::told(std::mem::take(kept.tags))).await?;
    Ok(ResourceTags { tags })
}
