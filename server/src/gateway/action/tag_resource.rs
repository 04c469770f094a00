//! TagResource: tags of a stream or consumer by its ARN, added or changed.

use wire::Error;
use wire::shape::TagResource;
use wire::validate::Checks;

use super::resource::Resource;
use super::tags;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: TagResource) -> Result<(), Error> {
    let mut checks = Checks::new();
    checks.required("tags", input.tags.as_ref()).tags(input.tags.as_ref());
    let resource = Resource::of(&shared.place, &mut checks, input.resource_arn)?;
    let more = input.tags.unwrap_or_default();
    resource.change(shared, |kept| tags::add(shared, &resource.told(), kept.tags, more)).await
}
