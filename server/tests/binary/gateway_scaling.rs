//! UpdateShardCount: streams are brought to shards of equal size while records come, also over a kill.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::gateway::{HELLO, arn, ask_on, connect, good, refused, send, server, server_with_days};
use crate::rig::{PATIENCE, directory};

fn description(api: SocketAddr, stream: &str) -> Value {
    good(api, "DescribeStreamSummary", &json!({ "StreamName": stream }))["StreamDescriptionSummary"].clone()
}

/// Its state, over a connection that is there: one for each time that it is asked would use up the machine's ports.
fn status(connection: &mut TcpStream, stream: &str) -> Value {
    let (_, told) = ask_on(connection, "DescribeStreamSummary", &json!({ "StreamName": stream }));
    told["StreamDescriptionSummary"]["StreamStatus"].clone()
}

/// Waits until a stream is as it was to be.
#[track_caller]
pub(crate) fn settled(api: SocketAddr, stream: &str) {
    let (began, mut connection) = (Instant::now(), connect(api));
    while status(&mut connection, stream) != "ACTIVE" {
        assert!(began.elapsed() < PATIENCE, "it is UPDATING for ever");
    }
}

fn scale(stream: &str, target: u32) -> Value {
    json!({ "StreamName": stream, "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING" })
}

fn shards(api: SocketAddr, stream: &str) -> Vec<Value> {
    let mut page = good(api, "ListShards", &json!({ "StreamName": stream }));
    let mut all = page["Shards"].as_array().unwrap().clone();
    while let Some(token) = page.get("NextToken") {
        page = good(api, "ListShards", &json!({ "NextToken": token }));
        all.extend_from_slice(page["Shards"].as_array().unwrap());
    }
    all
}

/// The first hash keys of the open shards, after a check that they leave nothing out.
#[track_caller]
fn open(api: SocketAddr, stream: &str) -> Vec<u128> {
    let key = |shard: &Value, name: &str| shard["HashKeyRange"][name].as_str().unwrap().parse::<u128>().unwrap();
    let is_open = |shard: &&Value| shard["SequenceNumberRange"].get("EndingSequenceNumber").is_none();
    let all = shards(api, stream);
    let mut ranges: Vec<_> =
        all.iter().filter(is_open).map(|shard| (key(shard, "StartingHashKey"), key(shard, "EndingHashKey"))).collect();
    ranges.sort_unstable();
    assert_eq!((ranges[0].0, ranges[ranges.len() - 1].1), (0, u128::MAX));
    assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
    ranges.into_iter().map(|(start, _)| start).collect()
}

#[test]
fn a_stream_is_scaled_up_and_down_while_records_come() {
    let directory = directory();
    let (_server, api) = server(&directory.path().join("data"));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 2 }));
    let put = |connection: &mut TcpStream, number: u32| {
        let record = json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": format!("k{number}") });
        let began = Instant::now();
        // Its shard may be closed this moment.
        while ask_on(connection, "PutRecord", &record).0 != 200 {
            assert!(began.elapsed() < PATIENCE, "it is refused for ever");
        }
    };
    let (mut stored, mut connection) = (0, connect(api));
    for target in [4, 3, 2, 1] {
        let before = description(api, "s")["OpenShardCount"].clone();
        let answer = good(api, "UpdateShardCount", &scale("s", target));
        let expected = json!({
            "StreamName": "s", "StreamARN": arn("s"), "CurrentShardCount": before, "TargetShardCount": target
        });
        assert_eq!(answer, expected);
        while status(&mut connection, "s") == "UPDATING" {
            put(&mut connection, stored);
            stored += 1;
        }
        let width = u128::MAX / u128::from(target);
        for (number, start) in open(api, "s").into_iter().enumerate() {
            assert!(start.abs_diff(number as u128 * width) < width >> 20, "{number} of {target} begins at {start}");
        }
        assert_eq!(description(api, "s")["OpenShardCount"], target);
        if target == 4 {
            assert_eq!(shards(api, "s").len(), 6, "as the service makes them: two that are closed, and four");
        }
        put(&mut connection, stored);
        stored += 1;
    }
    // Each is found once, in the shards that were and are.
    let found: usize = shards(api, "s")
        .iter()
        .map(|shard| {
            let start = json!({ "StreamName": "s", "ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON" });
            let mut iterator = good(api, "GetShardIterator", &start)["ShardIterator"].clone();
            let mut count = 0;
            loop {
                let page = good(api, "GetRecords", &json!({ "ShardIterator": iterator }));
                count += page["Records"].as_array().unwrap().len();
                if page["MillisBehindLatest"] == 0 || page.get("NextShardIterator").is_none() {
                    return count;
                }
                iterator = page["NextShardIterator"].clone();
            }
        })
        .sum();
    assert_eq!(found, stored as usize);
}

#[test]
fn how_far_and_how_often_a_stream_is_scaled_has_bounds() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server_with_days(&data);
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 3 }));
    for (target, rule) in [
        (7, "cannot scale up over double"),
        (1, "cannot scale down below half"),
        (10_001, "cannot be greater than 10000"),
    ] {
        let (kind, message) = refused(api, "UpdateShardCount", &scale("s", target));
        let counts = format!("Current open shard count: 3, Target shard count: {target}");
        assert!(kind == "LimitExceededException" && message.contains(rule) && message.ends_with(&counts), "{message}");
    }
    for (body, kind) in [
        (json!({ "StreamName": "s", "ScalingType": "UNIFORM_SCALING" }), "ValidationException"),
        (json!({ "StreamName": "s", "TargetShardCount": 4 }), "ValidationException"),
        (json!({ "StreamName": "s", "TargetShardCount": 4, "ScalingType": "UNEVEN" }), "ValidationException"),
        (scale("s", 0), "ValidationException"),
        (scale("gone", 4), "ResourceNotFoundException"),
    ] {
        assert_eq!(refused(api, "UpdateShardCount", &body).0, kind, "{body}");
    }
    assert_eq!((shards(api, "s").len(), &description(api, "s")["StreamStatus"]), (3, &json!("ACTIVE")));
    for _ in 0..10 {
        good(api, "UpdateShardCount", &scale("s", 3));
        settled(api, "s");
    }
    // What was refused above did not count, and what did is remembered.
    running.kill();
    let (_running, api) = server_with_days(&data);
    let (kind, message) = refused(api, "UpdateShardCount", &scale("s", 3));
    assert!(kind == "LimitExceededException" && message.contains("10 times"), "{kind} {message}");
    assert_eq!(shards(api, "s").len(), 3);
}

#[test]
fn what_a_kill_interrupts_is_taken_up() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server(&data);
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 500 }));
    good(api, "CreateStream", &json!({ "StreamName": "gone", "ShardCount": 200 }));
    good(api, "UpdateShardCount", &scale("gone", 400));
    good(api, "UpdateShardCount", &scale("s", 1000));
    let told = description(api, "s");
    assert_eq!(told["StreamStatus"], "UPDATING", "it is answered at once");
    for (action, body) in [
        ("UpdateShardCount", scale("s", 500)),
        ("SplitShard", json!({ "StreamName": "s", "ShardToSplit": "199", "NewStartingHashKey": "7" })),
        ("MergeShards", json!({ "StreamName": "s", "ShardToMerge": "198", "AdjacentShardToMerge": "199" })),
        ("IncreaseStreamRetentionPeriod", json!({ "StreamName": "s", "RetentionPeriodHours": 48 })),
        ("UpdateMaxRecordSize", json!({ "StreamARN": arn("s"), "MaxRecordSizeInKiB": 2048 })),
        ("EnableEnhancedMonitoring", json!({ "StreamName": "s", "ShardLevelMetrics": ["ALL"] })),
        ("UpdateStreamMode", json!({ "StreamARN": arn("s"), "StreamModeDetails": { "StreamMode": "ON_DEMAND" } })),
        ("StartStreamEncryption", json!({ "StreamName": "s", "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis" })),
    ] {
        let (kind, message) = refused(api, action, &body);
        let expected = "Stream s under account 000000000000 not ACTIVE, instead in state UPDATING";
        assert_eq!((kind.as_str(), message.as_str()), ("ResourceInUseException", expected), "{action}");
    }
    assert_ne!(description(api, "s")["OpenShardCount"], 1000, "the kill comes in the middle");
    running.kill();
    let (running, api) = server(&data);
    settled(api, "s");
    assert_eq!(open(api, "s").len(), 1000);
    assert_eq!(shards(api, "s").len(), 1500, "no step was done twice");
    // One that is deleted meanwhile is gone, and so is what was begun.
    good(api, "DeleteStream", &json!({ "StreamName": "gone" }));
    good(api, "CreateStream", &json!({ "StreamName": "gone", "ShardCount": 1 }));
    running.stop();
    let (_running, api) = server(&data);
    let told = description(api, "gone");
    assert_eq!((&told["StreamStatus"], &told["OpenShardCount"]), (&json!("ACTIVE"), &json!(1)));
    assert_eq!(open(api, "s").len(), 1000);
}

/// Bug, found on reading: a stream stayed UPDATING until a restart. Mechanism: what an action had begun was given up where its
/// client left: what was wanted was written down, and nobody went about it. Fix: an action that changes something is carried out
/// to its end.
#[test]
fn what_was_asked_for_is_done_although_its_client_leaves() {
    const STREAMS: u64 = 60;
    let directory = directory();
    let (server, api) = server(&directory.path().join("data"));
    let name = |number: u64| format!("s{number}");
    for number in 0..STREAMS {
        good(api, "CreateStream", &json!({ "StreamName": name(number), "ShardCount": 1 }));
    }
    for number in 0..STREAMS {
        let mut leaving = connect(api);
        let headers =
            [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "Kinesis_20131202.UpdateShardCount")];
        send(&mut leaving, "POST", &headers, scale(&name(number), 2).to_string().as_bytes());
        std::thread::sleep(Duration::from_micros(number * 50));
    }
    for number in 0..STREAMS {
        settled(api, &name(number));
    }
    server.stop();
}
