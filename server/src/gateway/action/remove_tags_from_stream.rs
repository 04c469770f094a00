//! RemoveTagsFromStream: tags of a stream by its name; what it does not have is passed over.

use wire::Error;
use wire::shape::RemoveTagsFromStream;
use wire::validate::Checks;

use super::{stream_of, tags};
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: RemoveTagsFromStream) -> Result<(), Error> {
    let mut checks = Checks::new();
    checks.tag_keys(input.tag_keys.as_deref());
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let keys = input.tag_keys.unwrap_or_default();
    shared.log.change(&shared.place, &name, |_, extras| tags::remove(&mut extras.tags, &keys)).await
}
