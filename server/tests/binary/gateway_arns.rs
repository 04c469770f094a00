//! Actions that are told a stream's ARN in place of its name.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::gateway::{HELLO, arn, good, refused};
use crate::gateway_encryption::Rig;
use crate::gateway_scaling::settled;

/// All that is told of a stream, asked for by this member.
fn told(api: SocketAddr, member: &str, value: &str) -> [Value; 4] {
    ["DescribeStream", "DescribeStreamSummary", "ListShards", "ListTagsForStream"]
        .map(|action| good(api, action, &json!({ member: value })))
}

#[test]
fn every_change_finds_its_stream_by_its_arn() {
    let rig = Rig::new();
    rig.put_key("mine", 1);
    let (server, api) = rig.start();
    for stream in ["other", "s"] {
        good(api, "CreateStream", &json!({ "StreamName": stream, "ShardCount": 1 }));
    }
    let other = told(api, "StreamName", "other");
    let by_arn = |action: &str, mut body: Value| {
        body["StreamARN"] = json!(arn("s"));
        let answer = good(api, action, &body);
        settled(api, "s");
        body["StreamARN"] = json!(arn("gone"));
        assert_eq!(refused(api, action, &body).0, "ResourceNotFoundException", "{action}");
        answer
    };
    let (kept, encrypted, open) = ("RetentionPeriodHours", "EncryptionType", "OpenShardCount");
    let key = json!({ "EncryptionType": "KMS", "KeyId": "mine" });
    let [first, second, third] = [0, 1, 2].map(|number| format!("shardId-{number:012}"));
    let middle = (1_u128 << 127).to_string();
    let (all, some) = (json!({ "ShardLevelMetrics": ["ALL"] }), json!({ "ShardLevelMetrics": ["OutgoingBytes"] }));
    for (action, body, member, expected) in [
        ("IncreaseStreamRetentionPeriod", json!({ kept: 48 }), kept, json!(48)),
        ("DecreaseStreamRetentionPeriod", json!({ kept: 36 }), kept, json!(36)),
        ("EnableEnhancedMonitoring", some.clone(), "EnhancedMonitoring", json!([some])),
        ("DisableEnhancedMonitoring", all, "EnhancedMonitoring", json!([{ "ShardLevelMetrics": [] }])),
        ("StartStreamEncryption", key.clone(), encrypted, json!("KMS")),
        ("StopStreamEncryption", key, encrypted, json!("NONE")),
        ("SplitShard", json!({ "ShardToSplit": first, "NewStartingHashKey": middle }), open, json!(2)),
        ("MergeShards", json!({ "ShardToMerge": second, "AdjacentShardToMerge": third }), open, json!(1)),
        ("UpdateShardCount", json!({ "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING" }), open, json!(2)),
    ] {
        by_arn(action, body);
        let [_, summary, ..] = told(api, "StreamName", "s");
        assert_eq!(summary["StreamDescriptionSummary"][member], expected, "{action}");
    }
    by_arn("AddTagsToStream", json!({ "Tags": { "one": "1", "two": "2" } }));
    by_arn("RemoveTagsFromStream", json!({ "TagKeys": ["one"] }));
    let [.., tags] = told(api, "StreamName", "s");
    assert_eq!(tags["Tags"], json!([{ "Key": "two", "Value": "2" }]));
    let stored = by_arn("PutRecord", json!({ "PartitionKey": "k", "Data": HELLO }));
    let start = json!({ "ShardId": stored["ShardId"], "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = by_arn("GetShardIterator", start)["ShardIterator"].clone();
    let read = good(api, "GetRecords", &json!({ "StreamARN": arn("s"), "ShardIterator": iterator }));
    assert_eq!(read["Records"][0]["Data"], HELLO);
    assert_eq!(told(api, "StreamARN", &arn("s")), told(api, "StreamName", "s"));
    assert_eq!(told(api, "StreamName", "other"), other, "nothing of that was about it");
    good(api, "DeleteStream", &json!({ "StreamARN": arn("s") }));
    assert_eq!(good(api, "ListStreams", &json!({}))["StreamNames"], json!(["other"]));
    server.stop();
}
