//! AddTagsToStream: tags of a stream by its name, added or changed.

use wire::Error;
use wire::shape::AddTagsToStream;
use wire::validate::Checks;

use super::{stream_of, tags};
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, input: AddTagsToStream) -> Result<(), Error> {
    let mut checks = Checks::new();
    checks.required("tags", input.tags.as_ref()).tags(input.tags.as_ref());
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let more = input.tags.unwrap_or_default();
    let add = |_: &engine::Stream, extras: &mut crate::gateway::extras::Extras| {
        tags::add(shared, &format!("stream {name}"), &mut extras.tags, more)
    };
    shared.log.change(&shared.place, &name, add).await
}
