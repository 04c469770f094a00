//! UntagResource: tags of a stream or consumer by its ARN; what it does not have is passed over.

use wire::Error;
use wire::shape::UntagResource;
use wire::validate::Checks;

use super::resource::Resource;
use super::tags;
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: UntagResource) -> Result<(), Error> {
    let mut checks = Checks::new();
    checks.tag_keys(input.tag_keys.as_deref());
    let resource = Resource::of(&shared.place, &mut checks, input.resource_arn)?;
    let keys = input.tag_keys.unwrap_or_default();
    resource.change(shared, |kept| tags::remove(kept.tags, &keys)).await
}
