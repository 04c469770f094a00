//! Tags, of streams by name and of streams and consumers by ARN.

use std::collections::BTreeMap;

request!(
    /// Adds tags to a stream, or changes some.
    AddTagsToStream {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        #[serde(deserialize_with = "super::few::pairs")]
        tags: BTreeMap<String, String>,
    }
);

request!(
    /// Removes tags from a stream.
    RemoveTagsFromStream {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        #[serde(deserialize_with = "super::few::texts")]
        tag_keys: Vec<String>,
    }
);

request!(
    /// Asks for a page of a stream's tags.
    ListTagsForStream {
        stream_name: String,
        #[serde(rename = "StreamARN")]
        stream_arn: String,
        exclusive_start_tag_key: String,
        limit: i64,
    }
);

request!(
    /// Adds tags to what has this ARN, or changes some.
    TagResource {
        #[serde(rename = "ResourceARN")]
        resource_arn: String,
        #[serde(deserialize_with = "super::few::pairs")]
        tags: BTreeMap<String, String>,
    }
);

request!(
    /// Removes tags from what has this ARN.
    UntagResource {
        #[serde(rename = "ResourceARN")]
        resource_arn: String,
        #[serde(deserialize_with = "super::few::texts")]
        tag_keys: Vec<String>,
    }
);

request!(
    /// Names a stream or a consumer by its ARN, and nothing else: of ListTagsForResource, GetResourcePolicy and
    /// DeleteResourcePolicy.
    ResourceReference {
        #[serde(rename = "ResourceARN")]
        resource_arn: String,
    }
);

answer!(
    /// A page of a stream's tags, in the order of their keys.
    StreamTags {
        tags: Vec<Tag>,
        has_more_tags: bool,
    }
);

answer!(
    /// All tags, in the order of their keys.
    ResourceTags {
        tags: Vec<Tag>,
    }
);

answer!(
    /// A tag.
    Tag {
        key: String,
        value: String,
    }
);
