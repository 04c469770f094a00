//! Tags of streams and consumers: both families of actions, and what comes with a new stream or consumer.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use crate::gateway::{arn, good, refused, server};
use crate::rig::directory;

fn listed(api: SocketAddr, stream: &str) -> Value {
    let page = good(api, "ListTagsForStream", &json!({ "StreamName": stream }));
    assert_eq!(page["HasMoreTags"], false);
    page["Tags"].clone()
}

/// So many tags, from a number on.
fn many(from: usize, count: usize) -> Value {
    let tag = |number: usize| (format!("k{number:03}"), json!(format!("v{number}")));
    Value::Object((from..from + count).map(tag).collect::<Map<_, _>>())
}

#[test]
fn tags_of_a_stream_are_added_changed_paged_removed_and_kept() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server(&data);
    let create = json!({ "StreamName": "s", "ShardCount": 1, "Tags": { "team": "a", "Größe": "10 %", "empty": "" } });
    good(api, "CreateStream", &create);
    let made = json!([
        { "Key": "Größe", "Value": "10 %" },
        { "Key": "empty", "Value": "" },
        { "Key": "team", "Value": "a" }
    ]);
    assert_eq!(listed(api, "s"), made);
    good(api, "AddTagsToStream", &json!({ "StreamName": "s", "Tags": { "team": "b", "env": "x" } }));
    good(api, "RemoveTagsFromStream", &json!({ "StreamARN": arn("s"), "TagKeys": ["empty", "unknown", "Größe"] }));
    let changed = json!([{ "Key": "env", "Value": "x" }, { "Key": "team", "Value": "b" }]);
    assert_eq!(listed(api, "s"), changed);
    assert_eq!(good(api, "ListTagsForResource", &json!({ "ResourceARN": arn("s") }))["Tags"], changed);
    let page = good(api, "ListTagsForStream", &json!({ "StreamARN": arn("s"), "Limit": 1 }));
    assert_eq!(page, json!({ "Tags": [changed[0]], "HasMoreTags": true }));
    let rest = json!({ "StreamName": "s", "Limit": 1, "ExclusiveStartTagKey": "env" });
    assert_eq!(good(api, "ListTagsForStream", &rest), json!({ "Tags": [changed[1]], "HasMoreTags": false }));
    running.kill();
    let (running, api) = server(&data);
    assert_eq!(listed(api, "s"), changed);
    running.stop();
    let (_running, api) = server(&data);
    assert_eq!(listed(api, "s"), changed);
    // They go with the stream.
    good(api, "DeleteStream", &json!({ "StreamName": "s" }));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    assert_eq!(listed(api, "s"), json!([]));
}

#[test]
fn tags_that_may_not_be_change_nothing() {
    let directory = directory();
    let (_server, api) = server(&directory.path().join("data"));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1, "Tags": many(0, 49) }));
    let before = listed(api, "s");
    let long = |length: usize| "x".repeat(length);
    for (tags, kind) in [
        (json!({}), "ValidationException"),
        (json!({ "": "v" }), "ValidationException"),
        (json!({ long(129): "v" }), "ValidationException"),
        (json!({ "k": long(257) }), "ValidationException"),
        (many(0, 201), "ValidationException"),
        (many(48, 3), "InvalidArgumentException"),
        (json!({ "aws:mine": "v" }), "InvalidArgumentException"),
        (json!({ "a;b": "v" }), "InvalidArgumentException"),
        (json!({ "a": "tab\tbed" }), "InvalidArgumentException"),
        (json!({ "a": 7 }), "SerializationException"),
    ] {
        let body = json!({ "StreamName": "s", "Tags": tags, "ResourceARN": arn("s") });
        for action in ["AddTagsToStream", "TagResource"] {
            assert_eq!(refused(api, action, &body).0, kind, "{action} {tags}");
        }
        if kind != "InvalidArgumentException" || tags != many(48, 3) {
            let create = json!({ "StreamName": "new", "ShardCount": 1, "Tags": tags });
            assert_eq!(refused(api, "CreateStream", &create).0, kind, "{tags}");
            let register = json!({ "StreamARN": arn("s"), "ConsumerName": "c", "Tags": tags });
            assert_eq!(refused(api, "RegisterStreamConsumer", &register).0, kind, "{tags}");
        }
    }
    for (action, body, kind) in [
        ("AddTagsToStream", json!({ "StreamName": "s" }), "ValidationException"),
        ("AddTagsToStream", json!({ "StreamName": "gone", "Tags": { "k": "v" } }), "ResourceNotFoundException"),
        ("AddTagsToStream", json!({ "Tags": { "k": "v" } }), "InvalidArgumentException"),
        ("RemoveTagsFromStream", json!({ "StreamName": "s" }), "ValidationException"),
        ("RemoveTagsFromStream", json!({ "StreamName": "s", "TagKeys": [] }), "ValidationException"),
        ("RemoveTagsFromStream", json!({ "StreamName": "s", "TagKeys": vec!["k"; 51] }), "ValidationException"),
        ("RemoveTagsFromStream", json!({ "StreamName": "s", "TagKeys": [long(129)] }), "ValidationException"),
        ("RemoveTagsFromStream", json!({ "StreamName": "s", "TagKeys": ["k000", "a,b"] }), "InvalidArgumentException"),
        ("RemoveTagsFromStream", json!({ "StreamName": "gone", "TagKeys": ["k"] }), "ResourceNotFoundException"),
        ("ListTagsForStream", json!({ "StreamName": "s", "Limit": 51 }), "ValidationException"),
        ("ListTagsForStream", json!({ "StreamName": "s", "ExclusiveStartTagKey": "" }), "ValidationException"),
        ("ListTagsForStream", json!({ "StreamName": "gone" }), "ResourceNotFoundException"),
        ("ListTagsForResource", json!({}), "ValidationException"),
        ("ListTagsForResource", json!({ "ResourceARN": "s" }), "ValidationException"),
        ("ListTagsForResource", json!({ "ResourceARN": arn("gone") }), "ResourceNotFoundException"),
        (
            "ListTagsForResource",
            json!({ "ResourceARN": "arn:aws:kinesis:us-east-1:000000000000:queue/q" }),
            "ResourceNotFoundException",
        ),
        ("UntagResource", json!({ "ResourceARN": arn("s"), "TagKeys": [] }), "ValidationException"),
        ("UntagResource", json!({ "ResourceARN": arn("s") }), "ValidationException"),
        ("TagResource", json!({ "ResourceARN": arn("s") }), "ValidationException"),
    ] {
        assert_eq!(refused(api, action, &body).0, kind, "{action} {body}");
    }
    assert_eq!(listed(api, "s"), before);
    assert_eq!(good(api, "ListStreams", &json!({}))["StreamNames"], json!(["s"]));
    assert_eq!(good(api, "ListStreamConsumers", &json!({ "StreamARN": arn("s") }))["Consumers"], json!([]));
    // The most that there may be, and as long as they may be.
    good(api, "AddTagsToStream", &json!({ "StreamName": "s", "Tags": { long(128): "é".repeat(256) } }));
    assert_eq!(listed(api, "s").as_array().unwrap().len(), 50);
    good(api, "AddTagsToStream", &json!({ "StreamName": "s", "Tags": many(0, 49) }));
}

#[test]
fn consumers_have_tags_of_their_own() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server(&data);
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1, "Tags": { "of": "stream" } }));
    let register = json!({ "StreamARN": arn("s"), "ConsumerName": "reader", "Tags": { "of": "consumer" } });
    let consumer = good(api, "RegisterStreamConsumer", &register)["Consumer"]["ConsumerARN"].clone();
    good(api, "TagResource", &json!({ "ResourceARN": consumer, "Tags": { "more": "1", "less": "2" } }));
    good(api, "UntagResource", &json!({ "ResourceARN": consumer, "TagKeys": ["less", "unknown"] }));
    let tags =
        |api, resource: &Value| good(api, "ListTagsForResource", &json!({ "ResourceARN": resource }))["Tags"].clone();
    let expected = json!([{ "Key": "more", "Value": "1" }, { "Key": "of", "Value": "consumer" }]);
    assert_eq!(tags(api, &consumer), expected);
    running.kill();
    let (_running, api) = server(&data);
    assert_eq!(tags(api, &consumer), expected);
    assert_eq!(tags(api, &json!(arn("s"))), json!([{ "Key": "of", "Value": "stream" }]));
    let other = json!(format!("{}/consumer/reader:1", arn("s")));
    let body = json!({ "ResourceARN": other, "Tags": { "k": "v" }, "TagKeys": ["k"] });
    for action in ["ListTagsForResource", "TagResource", "UntagResource"] {
        assert_eq!(refused(api, action, &body).0, "ResourceNotFoundException", "{action}");
    }
    good(api, "DeregisterStreamConsumer", &json!({ "ConsumerARN": consumer }));
    let gone = json!({ "ResourceARN": consumer });
    assert_eq!(refused(api, "ListTagsForResource", &gone).0, "ResourceNotFoundException");
}
