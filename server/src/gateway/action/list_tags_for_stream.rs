//! ListTagsForStream: a page of a stream's tags, in the order of their keys.

use wire::Error;
use wire::shape::{ListTagsForStream, StreamTags};
use wire::validate::Checks;

use super::{stream_of, tags};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// Tags of one page at most: all that there may be, unless the server is told that there may be more.
const PAGE: i64 = 50;

pub(super) async fn run(shared: &Shared, input: ListTagsForStream) -> Result<StreamTags, Error> {
    let mut checks = Checks::new();
    checks.length("exclusiveStartTagKey", input.exclusive_start_tag_key.as_deref(), 1, 128);
    checks.range("limit", input.limit, 1, PAGE);
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let (stream, _) = shared.log.describe(&shared.place, &name, 0, 0).await?;
    let mut page = Extras::of(&stream)?.tags;
    if let Some(after) = input.exclusive_start_tag_key {
        page.retain(|key, _| *key > after);
    }
    let limit = input.limit.unwrap_or(PAGE) as usize;
    let has_more_tags = page.len() > limit;
    let mut tags = tags::told(page);
    tags.truncate(limit);
    Ok(StreamTags { tags, has_more_tags })
}
