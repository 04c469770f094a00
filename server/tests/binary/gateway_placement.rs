//! Records of streams that spread them whatever their keys are, and requests that only ask whether they would succeed.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::gateway::{HELLO, arn, good, refused, server};
use crate::rig::directory;

/// How many records a shard has, and how many of them have a key.
fn count(api: SocketAddr, stream: &str, shard: u32) -> (usize, usize) {
    let start = json!({ "StreamName": stream, "ShardId": shard.to_string(), "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = good(api, "GetShardIterator", &start)["ShardIterator"].clone();
    let page = good(api, "GetRecords", &json!({ "ShardIterator": iterator }));
    let records = page["Records"].as_array().unwrap();
    (records.len(), records.iter().filter(|record| record.get("PartitionKey").is_some()).count())
}

#[test]
fn records_are_spread_where_that_is_set() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server(&data);
    let create = json!({ "StreamName": "s", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    good(api, "CreateStream", &create);
    good(api, "CreateStream", &json!({ "StreamName": "p", "ShardCount": 2 }));
    let set = |stream: &str, to: &str| json!({ "StreamARN": arn(stream), "RecordDistributionStrategy": to });
    let action = "UpdateStreamRecordDistributionStrategy";
    for (body, kind) in [
        (set("p", "AUTO"), "InvalidArgumentException"),
        (set("s", "RANDOM"), "ValidationException"),
        (set("gone", "AUTO"), "ResourceNotFoundException"),
        (json!({ "StreamARN": arn("s") }), "ValidationException"),
        (json!({ "RecordDistributionStrategy": "AUTO" }), "ValidationException"),
    ] {
        assert_eq!(refused(api, action, &body).0, kind, "{body}");
    }
    // Without it a key is needed.
    let keyless = json!({ "StreamName": "s", "Data": HELLO });
    let (kind, message) = refused(api, "PutRecord", &keyless);
    assert!(kind == "ValidationException" && message.contains("'partitionKey'"), "{kind} {message}");
    let many = json!({ "StreamName": "s", "Records": [{ "Data": HELLO, "PartitionKey": "k" }, { "Data": HELLO }] });
    let (kind, message) = refused(api, "PutRecords", &many);
    assert!(kind == "ValidationException" && message.contains("'records.2.member.partitionKey'"), "{kind} {message}");
    let gone = json!({ "StreamName": "gone", "Data": HELLO });
    assert_eq!(refused(api, "PutRecord", &gone).0, "ResourceNotFoundException");
    assert!((0..4).all(|shard| count(api, "s", shard) == (0, 0)), "nothing of that is stored");

    good(api, action, &set("s", "AUTO"));
    let same_key = json!({ "Data": HELLO, "PartitionKey": "k", "ExplicitHashKey": "0" });
    let put = |api| good(api, "PutRecords", &json!({ "StreamName": "s", "Records": vec![same_key.clone(); 200] }));
    let shards_of = |answer: Value| {
        let records = answer["Records"].as_array().unwrap().clone();
        records.into_iter().map(|record| record["ShardId"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(shards_of(put(api)).len(), 4, "keys mean nothing");
    for _ in 0..10 {
        good(api, "PutRecord", &keyless);
    }
    good(api, "PutRecords", &many);
    running.kill();
    let (_running, api) = server(&data);
    let (all, with_key) = (0..4).map(|shard| count(api, "s", shard)).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    assert_eq!((all, with_key), (212, 201), "a key that was given is given back");
    assert_eq!(shards_of(put(api)).len(), 4, "it is kept");
    let mode = json!({ "StreamARN": arn("s"), "StreamModeDetails": { "StreamMode": "PROVISIONED" } });
    let (kind, message) = refused(api, "UpdateStreamMode", &mode);
    assert!(kind == "InvalidArgumentException" && message.contains("USER_PARTITION_KEY"), "{kind} {message}");
    good(api, action, &set("s", "USER_PARTITION_KEY"));
    assert_eq!(shards_of(put(api)).len(), 1, "keys mean something again");
    good(api, "UpdateStreamMode", &mode);
}

#[test]
fn a_dry_run_tells_whether_a_request_would_succeed_and_does_nothing() {
    let directory = directory();
    let (_server, api) = server(&directory.path().join("data"));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let start = json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = good(api, "GetShardIterator", &start)["ShardIterator"].clone();
    let record = json!({ "Data": HELLO, "PartitionKey": "k" });
    let requests = [
        ("PutRecord", json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "k" })),
        ("PutRecords", json!({ "StreamARN": arn("s"), "Records": [record] })),
        ("GetShardIterator", start),
        ("GetRecords", json!({ "ShardIterator": iterator, "StreamARN": arn("s") })),
    ];
    for (action, mut body) in requests.clone() {
        body["DryRun"] = json!(true);
        let (kind, message) = refused(api, action, &body);
        let expected = "The request was rejected because the DryRun parameter was specified.";
        assert_eq!((kind.as_str(), message.as_str()), ("DryRunOperationException", expected), "{action}");
    }
    assert_eq!(count(api, "s", 0), (0, 0));
    for (action, mut body) in requests.clone() {
        body["DryRun"] = json!(false);
        good(api, action, &body);
    }
    assert_eq!(count(api, "s", 0), (2, 2));
    let other = json!({ "ShardIterator": iterator, "StreamARN": arn("other") });
    assert_eq!(refused(api, "GetRecords", &other).0, "InvalidArgumentException");
    // What would not succeed says why.
    good(api, "DeleteStream", &json!({ "StreamName": "s" }));
    for (action, mut body) in requests {
        body["DryRun"] = json!(true);
        assert_eq!(refused(api, action, &body).0, "ResourceNotFoundException", "{action}");
    }
    let invalid = json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "", "DryRun": true });
    assert_eq!(refused(api, "PutRecord", &invalid).0, "ValidationException");
}
