//! What is set of a stream: mode, size of records, warm throughput, metrics; made with it or
//! changed, told everywhere, and kept. And encryption, for which there are no keys.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::gateway::{arn, good, refused, server, server_with_days};
use crate::gateway_scaling::settled;
use crate::rig::directory;

fn summary(api: SocketAddr, stream: &str) -> Value {
    good(api, "DescribeStreamSummary", &json!({ "StreamName": stream }))["StreamDescriptionSummary"].clone()
}

fn commit(api: SocketAddr) {
    let body = json!({ "MinimumThroughputBillingCommitment": { "Status": "ENABLED" } });
    good(api, "UpdateAccountSettings", &body);
}

/// The mode, in each place that tells it.
#[track_caller]
fn assert_mode(api: SocketAddr, stream: &str, mode: &str) {
    let describe = good(api, "DescribeStream", &json!({ "StreamName": stream }));
    let list = good(api, "ListStreams", &json!({}));
    let listed = list["StreamSummaries"].as_array().unwrap().iter().find(|summary| summary["StreamName"] == stream);
    for told in [&describe["StreamDescription"], listed.unwrap(), &summary(api, stream)] {
        assert_eq!(told["StreamModeDetails"]["StreamMode"], mode, "{told}");
    }
}

#[test]
fn a_streams_mode_is_told_everywhere_and_says_what_may_be_done() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server_with_days(&data);
    let details = |mode: &str| json!({ "StreamMode": mode });
    good(api, "CreateStream", &json!({ "StreamName": "d", "StreamModeDetails": details("ON_DEMAND") }));
    good(api, "CreateStream", &json!({ "StreamName": "p", "ShardCount": 2 }));
    assert_mode(api, "d", "ON_DEMAND");
    assert_mode(api, "p", "PROVISIONED");
    assert_eq!(summary(api, "d").get("WarmThroughput"), None, "the account is not committed");
    commit(api);
    assert_eq!(summary(api, "d")["WarmThroughput"], json!({ "CurrentMiBps": 4 }));
    assert_eq!(summary(api, "p").get("WarmThroughput"), None);
    let update = |stream: &str, mode: &str| json!({ "StreamARN": arn(stream), "StreamModeDetails": details(mode) });
    for (body, kind) in [
        (json!({ "StreamModeDetails": details("ON_DEMAND") }), "ValidationException"),
        (json!({ "StreamARN": arn("p") }), "ValidationException"),
        (json!({ "StreamARN": arn("p"), "StreamModeDetails": {} }), "ValidationException"),
        (update("p", "SOMETIMES"), "ValidationException"),
        (update("gone", "ON_DEMAND"), "ResourceNotFoundException"),
    ] {
        assert_eq!(refused(api, "UpdateStreamMode", &body).0, kind, "{body}");
    }
    let split = |stream: &str| json!({ "StreamName": stream, "ShardToSplit": "0", "NewStartingHashKey": "77" });
    let merge = |stream: &str| json!({ "StreamName": stream, "ShardToMerge": "0", "AdjacentShardToMerge": "1" });
    let scale = |stream: &str| json!({ "StreamName": stream, "TargetShardCount": 4, "ScalingType": "UNIFORM_SCALING" });
    for (action, body) in [("SplitShard", split("d")), ("MergeShards", merge("d")), ("UpdateShardCount", scale("d"))] {
        let (kind, message) = refused(api, action, &body);
        let expected = "Request is invalid. Stream d under account 000000000000 is in On-Demand mode.";
        assert_eq!((kind.as_str(), message.as_str()), ("ValidationException", expected), "{action}");
    }
    assert_eq!((&summary(api, "d")["OpenShardCount"], &summary(api, "p")["OpenShardCount"]), (&json!(4), &json!(2)));
    good(api, "UpdateStreamMode", &update("d", "PROVISIONED"));
    good(api, "UpdateStreamMode", &update("p", "ON_DEMAND"));
    running.kill();
    let (_running, api) = server_with_days(&data);
    assert_mode(api, "d", "PROVISIONED");
    assert_mode(api, "p", "ON_DEMAND");
    good(api, "MergeShards", &merge("d"));
    assert_eq!(refused(api, "MergeShards", &merge("p")).0, "ValidationException");
    // Twice in 24 hours, of which one was before that life; what changes nothing does not count.
    for mode in ["ON_DEMAND", "PROVISIONED", "PROVISIONED"] {
        good(api, "UpdateStreamMode", &update("p", mode));
    }
    let (kind, message) = refused(api, "UpdateStreamMode", &update("p", "ON_DEMAND"));
    assert!(kind == "LimitExceededException" && message.contains("2 times"), "{kind} {message}");
    assert_mode(api, "p", "PROVISIONED");
}

#[test]
fn what_a_stream_is_made_with_is_checked_told_and_kept() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server(&data);
    let on_demand = json!({ "StreamMode": "ON_DEMAND" });
    for (body, kind) in [
        (json!({ "MaxRecordSizeInKiB": 1023 }), "ValidationException"),
        (json!({ "MaxRecordSizeInKiB": 10_241 }), "ValidationException"),
        (json!({ "RecordDistributionStrategy": "RANDOM" }), "ValidationException"),
        (json!({ "RecordDistributionStrategy": "AUTO" }), "InvalidArgumentException"),
        (json!({ "StreamModeDetails": {} }), "ValidationException"),
        (json!({ "WarmThroughputMiBps": -1 }), "ValidationException"),
        // The account has not committed itself.
        (json!({ "WarmThroughputMiBps": 8, "StreamModeDetails": on_demand }), "InvalidArgumentException"),
    ] {
        let mut create = body.clone();
        create["StreamName"] = json!("s");
        create["ShardCount"] = json!(1);
        assert_eq!(refused(api, "CreateStream", &create).0, kind, "{body}");
    }
    assert_eq!(good(api, "ListStreams", &json!({}))["StreamNames"], json!([]));
    commit(api);
    let provisioned = json!({ "StreamName": "s", "ShardCount": 1, "WarmThroughputMiBps": 8 });
    assert_eq!(refused(api, "CreateStream", &provisioned).0, "InvalidArgumentException");
    let large = json!({ "StreamName": "s", "StreamModeDetails": on_demand, "WarmThroughputMiBps": 10_241 });
    assert_eq!(refused(api, "CreateStream", &large).0, "LimitExceededException");
    let create = json!({
        "StreamName": "s", "StreamModeDetails": on_demand, "WarmThroughputMiBps": 8, "MaxRecordSizeInKiB": 2048,
        "RecordDistributionStrategy": "AUTO", "Tags": { "k": "v" }
    });
    good(api, "CreateStream", &create);
    good(api, "CreateStream", &json!({ "StreamName": "plain", "ShardCount": 1 }));
    let check = |api| {
        let told = summary(api, "s");
        assert_eq!(told["WarmThroughput"], json!({ "TargetMiBps": 8, "CurrentMiBps": 8 }));
        assert_eq!((&told["MaxRecordSizeInKiB"], &told["OpenShardCount"]), (&json!(2048), &json!(8)));
        assert_eq!(told["RecordDistributionStrategy"], "AUTO");
        let plain = summary(api, "plain");
        assert_eq!(plain["MaxRecordSizeInKiB"], 1024);
        assert_eq!(plain["RecordDistributionStrategy"], "USER_PARTITION_KEY");
    };
    check(api);
    running.kill();
    let (_running, api) = server(&data);
    check(api);
}

#[test]
fn the_size_of_records_is_set() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server(&data);
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    for (body, kind) in [
        (json!({ "StreamARN": arn("s") }), "ValidationException"),
        (json!({ "StreamARN": arn("s"), "MaxRecordSizeInKiB": 1023 }), "ValidationException"),
        (json!({ "StreamARN": arn("s"), "MaxRecordSizeInKiB": 10_241 }), "ValidationException"),
        (json!({ "MaxRecordSizeInKiB": 2048 }), "InvalidArgumentException"),
        (json!({ "StreamARN": arn("gone"), "MaxRecordSizeInKiB": 2048 }), "ResourceNotFoundException"),
    ] {
        assert_eq!(refused(api, "UpdateMaxRecordSize", &body).0, kind, "{body}");
    }
    assert_eq!(summary(api, "s")["MaxRecordSizeInKiB"], 1024);
    good(api, "UpdateMaxRecordSize", &json!({ "StreamARN": arn("s"), "MaxRecordSizeInKiB": 10_240 }));
    running.stop();
    let (_running, api) = server(&data);
    assert_eq!(summary(api, "s")["MaxRecordSizeInKiB"], 10_240);
}

#[test]
fn a_stream_on_demand_grows_to_what_it_is_to_take_in() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server(&data);
    good(api, "CreateStream", &json!({ "StreamName": "p", "ShardCount": 1 }));
    good(api, "CreateStream", &json!({ "StreamName": "d", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } }));
    let update = |stream: &str, mibps: i64| json!({ "StreamName": stream, "WarmThroughputMiBps": mibps });
    let (kind, message) = refused(api, "UpdateStreamWarmThroughput", &update("d", 6));
    assert!(kind == "InvalidArgumentException" && message.contains("UpdateAccountSettings"), "{kind} {message}");
    commit(api);
    for (body, kind) in [
        (json!({ "StreamName": "d" }), "ValidationException"),
        (update("d", -1), "ValidationException"),
        (update("d", 10_241), "LimitExceededException"),
        (update("p", 6), "InvalidArgumentException"),
        (update("gone", 6), "ResourceNotFoundException"),
    ] {
        assert_eq!(refused(api, "UpdateStreamWarmThroughput", &body).0, kind, "{body}");
    }
    assert_eq!(summary(api, "d")["WarmThroughput"], json!({ "CurrentMiBps": 4 }));
    let told = good(api, "UpdateStreamWarmThroughput", &update("d", 6));
    let expected = json!({ "TargetMiBps": 6, "CurrentMiBps": 4 });
    assert_eq!(told, json!({ "StreamName": "d", "StreamARN": arn("d"), "WarmThroughput": expected }));
    settled(api, "d");
    assert_eq!(summary(api, "d")["WarmThroughput"], json!({ "TargetMiBps": 6, "CurrentMiBps": 6 }));
    // It keeps shards that are there.
    let told = good(api, "UpdateStreamWarmThroughput", &update("d", 2));
    assert_eq!(told["WarmThroughput"], json!({ "TargetMiBps": 2, "CurrentMiBps": 6 }));
    let mode = json!({
        "StreamARN": arn("p"), "StreamModeDetails": { "StreamMode": "ON_DEMAND" }, "WarmThroughputMiBps": 3
    });
    good(api, "UpdateStreamMode", &mode);
    settled(api, "p");
    running.stop();
    let (_running, api) = server(&data);
    assert_eq!(summary(api, "d")["WarmThroughput"], json!({ "TargetMiBps": 2, "CurrentMiBps": 6 }));
    assert_eq!(summary(api, "p")["WarmThroughput"], json!({ "TargetMiBps": 3, "CurrentMiBps": 3 }));
    let mode = json!({ "StreamARN": arn("p"), "StreamModeDetails": { "StreamMode": "PROVISIONED" } });
    good(api, "UpdateStreamMode", &mode);
    assert_eq!(summary(api, "p").get("WarmThroughput"), None);
}

#[test]
fn metrics_of_shards_are_asked_for_and_not() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server(&data);
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let body = |metrics: &[&str]| json!({ "StreamName": "s", "ShardLevelMetrics": metrics });
    let change = |api, action: &str, metrics: &[&str], before: &[&str], after: &[&str]| {
        let expected = json!({
            "StreamName": "s", "StreamARN": arn("s"),
            "CurrentShardLevelMetrics": before, "DesiredShardLevelMetrics": after
        });
        assert_eq!(good(api, action, &body(metrics)), expected);
    };
    for (body, kind) in [
        (json!({ "StreamName": "s" }), "ValidationException"),
        (body(&[]), "ValidationException"),
        (body(&["IncomingBytes", "Weather"]), "ValidationException"),
        (json!({ "StreamName": "gone", "ShardLevelMetrics": ["ALL"] }), "ResourceNotFoundException"),
    ] {
        for action in ["EnableEnhancedMonitoring", "DisableEnhancedMonitoring"] {
            assert_eq!(refused(api, action, &body).0, kind, "{action} {body}");
        }
    }
    let two = ["IncomingBytes", "OutgoingRecords"];
    change(api, "EnableEnhancedMonitoring", &["OutgoingRecords", "IncomingBytes"], &[], &two);
    change(api, "DisableEnhancedMonitoring", &["IncomingBytes", "IncomingRecords"], &two, &["OutgoingRecords"]);
    running.kill();
    let (_running, api) = server(&data);
    let described = good(api, "DescribeStream", &json!({ "StreamName": "s" }))["StreamDescription"].clone();
    for told in [described, summary(api, "s")] {
        assert_eq!(told["EnhancedMonitoring"], json!([{ "ShardLevelMetrics": ["OutgoingRecords"] }]));
    }
    let all = [
        "IncomingBytes",
        "IncomingRecords",
        "OutgoingBytes",
        "OutgoingRecords",
        "WriteProvisionedThroughputExceeded",
        "ReadProvisionedThroughputExceeded",
        "IteratorAgeMilliseconds",
    ];
    change(api, "EnableEnhancedMonitoring", &["ALL"], &["OutgoingRecords"], &all);
    change(api, "DisableEnhancedMonitoring", &["ALL"], &all, &[]);
}

#[test]
fn without_keys_nothing_is_encrypted_and_that_is_said() {
    let directory = directory();
    let (_server, api) = server(&directory.path().join("data"));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let body =
        |stream: &str, kind: &str| json!({ "StreamName": stream, "EncryptionType": kind, "KeyId": "alias/mine" });
    let (kind, message) = refused(api, "StartStreamEncryption", &body("s", "KMS"));
    assert!(kind == "KMSNotFoundException" && message.contains("alias/mine"), "{kind} {message}");
    for (body, kind) in [
        (body("gone", "KMS"), "ResourceNotFoundException"),
        (body("s", "NONE"), "InvalidArgumentException"),
        (body("s", "AES"), "ValidationException"),
        (json!({ "StreamName": "s", "EncryptionType": "KMS" }), "ValidationException"),
        (json!({ "StreamName": "s", "KeyId": "k" }), "ValidationException"),
        (json!({ "StreamName": "s", "EncryptionType": "KMS", "KeyId": "" }), "ValidationException"),
    ] {
        for action in ["StartStreamEncryption", "StopStreamEncryption"] {
            assert_eq!(refused(api, action, &body).0, kind, "{action} {body}");
        }
    }
    good(api, "StopStreamEncryption", &body("s", "KMS"));
    for (action, part) in
        [("DescribeStream", "StreamDescription"), ("DescribeStreamSummary", "StreamDescriptionSummary")]
    {
        let told = &good(api, action, &json!({ "StreamName": "s" }))[part];
        assert_eq!((&told["EncryptionType"], told.get("KeyId")), (&json!("NONE"), None), "{told}");
    }
}
