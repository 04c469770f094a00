//! Bodies that are none, of every action and in both ways of writing: cut off, of the wrong type, too deep, longer than they are.
//! Each is refused, nothing is stored, and nothing of it stays in memory.

use std::net::{SocketAddr, TcpStream};

use ciborium::Value as Cbor;
use serde_json::{Value, json};

use crate::gateway::{HELLO, arn, ask_in, connect, good, records, refused, server};
use crate::rig::directory;

/// Stands in a body where something is to be written that no writer writes.
const HERE: &str = "<here>";

/// What the server's own list of actions has.
fn actions() -> Vec<&'static str> {
    let list = include_str!("../../src/gateway/action.rs").split_once("NAMES: [&str; ").unwrap().1;
    let list = list.split_once("];").unwrap().0;
    list.split('"').skip(1).step_by(2).collect()
}

/// A request of each action, with every member that it may have.
fn requests() -> Vec<(&'static str, Value)> {
    let consumer_arn = arn("s/consumer/c:1");
    let [stream, consumer, resource] = ["StreamARN", "ConsumerARN", "ResourceARN"].map(|name| (name, arn("s")));
    let with = |arn: &(&str, String), mut members: Value| {
        members[arn.0] = json!(if arn.0 == "ConsumerARN" { &consumer_arn } else { &arn.1 });
        members
    };
    let named = |mut members: Value| {
        members["StreamName"] = json!("s");
        with(&stream, members)
    };
    let mode = json!({ "StreamMode": "ON_DEMAND" });
    let record = json!({ "Data": HELLO, "PartitionKey": "k", "ExplicitHashKey": "0" });
    let mut put = record.clone();
    put["SequenceNumberForOrdering"] = json!("0");
    put["DryRun"] = json!(false);
    let referred = || with(&consumer, with(&stream, json!({ "ConsumerName": "c" })));
    let metrics = || named(json!({ "ShardLevelMetrics": ["ALL"] }));
    let encryption = || named(json!({ "EncryptionType": "KMS", "KeyId": "alias/aws/kinesis" }));
    let retention = || named(json!({ "RetentionPeriodHours": 48 }));
    let tags = || json!({ "Tags": { "k": "v" } });
    let keys = || json!({ "TagKeys": ["k"] });
    let position = json!({ "Type": "AT_TIMESTAMP", "SequenceNumber": "0", "Timestamp": 1 });
    vec![
        ("AddTagsToStream", named(tags())),
        (
            "CreateStream",
            json!({
                "StreamName": "t", "ShardCount": 1, "StreamModeDetails": mode, "Tags": { "k": "v" }, "WarmThroughputMiBps": 1,
                "MaxRecordSizeInKiB": 1024, "RecordDistributionStrategy": "AUTO",
            }),
        ),
        ("DecreaseStreamRetentionPeriod", retention()),
        ("DeleteResourcePolicy", with(&resource, json!({}))),
        ("DeleteStream", named(json!({ "EnforceConsumerDeletion": true }))),
        ("DeregisterStreamConsumer", referred()),
        ("DescribeAccountSettings", json!({})),
        ("DescribeLimits", json!({})),
        ("DescribeStream", named(json!({ "Limit": 1, "ExclusiveStartShardId": "shardId-000000000000" }))),
        ("DescribeStreamConsumer", referred()),
        ("DescribeStreamSummary", named(json!({}))),
        ("DisableEnhancedMonitoring", metrics()),
        ("EnableEnhancedMonitoring", metrics()),
        ("GetRecords", with(&stream, json!({ "ShardIterator": "x", "Limit": 1, "DryRun": false }))),
        ("GetResourcePolicy", with(&resource, json!({}))),
        (
            "GetShardIterator",
            named(json!({
                "ShardId": "0", "ShardIteratorType": "AT_TIMESTAMP", "StartingSequenceNumber": "0", "Timestamp": 1, "DryRun": false,
            })),
        ),
        ("IncreaseStreamRetentionPeriod", retention()),
        (
            "ListShards",
            named(json!({
                "NextToken": "x", "ExclusiveStartShardId": "0", "MaxResults": 1, "StreamCreationTimestamp": 1,
                "ShardFilter": { "Type": "AT_TIMESTAMP", "ShardId": "0", "Timestamp": 1 },
            })),
        ),
        (
            "ListStreamConsumers",
            with(&stream, json!({ "NextToken": "x", "MaxResults": 1, "StreamCreationTimestamp": 1 })),
        ),
        ("ListStreams", json!({ "Limit": 1, "ExclusiveStartStreamName": "r", "NextToken": "x" })),
        ("ListTagsForResource", with(&resource, json!({}))),
        ("ListTagsForStream", named(json!({ "ExclusiveStartTagKey": "j", "Limit": 1 }))),
        ("MergeShards", named(json!({ "ShardToMerge": "0", "AdjacentShardToMerge": "1" }))),
        ("PutRecord", named(put)),
        ("PutRecords", named(json!({ "Records": [record], "DryRun": false }))),
        ("PutResourcePolicy", with(&resource, json!({ "Policy": "{}" }))),
        ("RegisterStreamConsumer", with(&stream, json!({ "ConsumerName": "d", "Tags": { "k": "v" } }))),
        ("RemoveTagsFromStream", named(keys())),
        ("SplitShard", named(json!({ "ShardToSplit": "0", "NewStartingHashKey": "7" }))),
        ("StartStreamEncryption", encryption()),
        ("StopStreamEncryption", encryption()),
        ("SubscribeToShard", with(&consumer, json!({ "ShardId": "0", "StartingPosition": position, "DryRun": true }))),
        ("TagResource", with(&resource, tags())),
        ("UntagResource", with(&resource, keys())),
        ("UpdateAccountSettings", json!({ "MinimumThroughputBillingCommitment": { "Status": "ENABLED" } })),
        ("UpdateMaxRecordSize", with(&stream, json!({ "MaxRecordSizeInKiB": 2048 }))),
        ("UpdateShardCount", named(json!({ "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING" }))),
        ("UpdateStreamMode", with(&stream, json!({ "StreamModeDetails": mode, "WarmThroughputMiBps": 1 }))),
        ("UpdateStreamRecordDistributionStrategy", with(&stream, json!({ "RecordDistributionStrategy": "AUTO" }))),
        ("UpdateStreamWarmThroughput", named(json!({ "WarmThroughputMiBps": 1 }))),
    ]
}

/// A request's bytes. The member called Data has bytes in CBOR.
fn written(writing: &str, body: &Value) -> Vec<u8> {
    fn cbor(name: &str, value: &Value) -> Cbor {
        match value {
            Value::String(text) if name == "Data" && text == HELLO => Cbor::Bytes(b"hello".to_vec()),
            Value::Array(all) => Cbor::Array(all.iter().map(|one| cbor("", one)).collect()),
            Value::Object(all) => {
                Cbor::Map(all.iter().map(|(name, value)| (Cbor::from(name.as_str()), cbor(name, value))).collect())
            }
            other => Cbor::serialized(other).unwrap(),
        }
    }
    if writing == "json" {
        return body.to_string().into_bytes();
    }
    let mut bytes = Vec::new();
    ciborium::into_writer(&cbor("", body), &mut bytes).unwrap();
    bytes
}

/// The paths to all values in a request, but itself.
fn paths(value: &Value) -> Vec<String> {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(all) => all.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(all) => all.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    let below = |(name, value): (String, &Value)| {
        let more = paths(value).into_iter().map(|path| format!("/{name}{path}")).collect::<Vec<_>>();
        [vec![format!("/{name}")], more].concat()
    };
    members.into_iter().flat_map(below).collect()
}

/// What can't stand where this value does: values of other types, and bytes that are none of its type in a way of writing.
fn no_such(value: &Value, path: &str, writing: &str) -> Vec<(Value, &'static [u8])> {
    let other = |value: Value| (value, &b""[..]);
    let here = |bytes: &'static [u8]| (json!(HERE), bytes);
    let is_json = writing == "json";
    // A number that is none, and one that is none that anybody can count to.
    let numbers: [&[u8]; 2] = if is_json { [b"NaN", b"1e999"] } else { [b"\xf9\x7e\x00", b"\xf9\x7c\x00"] };
    let no_text: &[u8] = if is_json { b"\"\xff\"" } else { b"\x61\xff" };
    match value {
        Value::String(_) if path.ends_with("/Data") && is_json => {
            vec![other(json!(7)), other(json!("a b=")), other(json!("aGVsbG8")), other(json!([])), here(b"\"\xff\"")]
        }
        Value::String(_) if path.ends_with("/Data") => vec![other(json!(7)), other(json!("hello")), other(json!([]))],
        Value::String(_) => vec![other(json!(7)), other(json!({})), other(json!([])), here(no_text)],
        Value::Number(_) => [vec![other(json!("7")), other(json!({}))], numbers.map(here).to_vec()].concat(),
        Value::Bool(_) => vec![other(json!("true")), other(json!(1))],
        Value::Object(_) => vec![other(json!("x")), other(json!([])), other(json!(7))],
        Value::Array(_) => vec![other(json!("x")), other(json!({})), other(json!(7))],
        Value::Null => Vec::new(),
    }
}

/// Bodies that are no request of an action.
fn malformed(writing: &str, request: &Value) -> Vec<Vec<u8>> {
    let whole = written(writing, request);
    let mut bodies: Vec<Vec<u8>> = (0..whole.len()).step_by(9).map(|length| whole[..length].to_vec()).collect();
    bodies.push(whole[..whole.len() - 1].to_vec());
    bodies.push([&whole[..], b"\0"].concat());
    bodies.extend([&b"[]"[..], b"\x80", b"null", b"\xf6", b"\0", b"\xff", b"\"{}\""].map(<[u8]>::to_vec));
    for path in paths(request) {
        for (value, bytes) in no_such(request.pointer(&path).unwrap(), &path, writing) {
            let mut changed = request.clone();
            *changed.pointer_mut(&path).unwrap() = value;
            bodies.push(replaced(&written(writing, &changed), &written(writing, &json!(HERE)), bytes));
        }
    }
    bodies
}

/// Bytes with others in place of what stands for them, if it is there.
fn replaced(bytes: &[u8], place: &[u8], by: &[u8]) -> Vec<u8> {
    let at = bytes.windows(place.len()).position(|window| window == place);
    at.map_or_else(|| bytes.to_vec(), |at| [&bytes[..at], by, &bytes[at + place.len()..]].concat())
}

/// All that may have been stored.
fn stored(address: SocketAddr) -> Vec<Value> {
    let (by_name, by_arn) = (json!({ "StreamName": "s" }), json!({ "StreamARN": arn("s") }));
    let resource = json!({ "ResourceARN": arn("s") });
    let told = [
        ("ListStreams", json!({})),
        ("DescribeStreamSummary", by_name.clone()),
        ("ListShards", by_name),
        ("ListTagsForResource", resource.clone()),
        ("GetResourcePolicy", resource),
        ("ListStreamConsumers", by_arn),
        ("DescribeAccountSettings", json!({})),
    ];
    let told = told.map(|(action, body)| good(address, action, &body));
    told.into_iter().chain([json!(records(address, "s"))]).collect()
}

/// Each request in each way of writing.
fn every<'a>(requests: &'a [(&'a str, Value)]) -> impl Iterator<Item = (&'a (&'a str, Value), &'static str)> {
    requests.iter().flat_map(|request| ["json", "cbor"].map(|writing| (request, writing)))
}

#[track_caller]
fn refused_as_none(stream: &mut TcpStream, writing: &str, action: &str, body: &[u8]) {
    let (status, told) = ask_in(stream, writing, action, body);
    let told = String::from_utf8_lossy(&told);
    let is_told = status == 400 && told.contains("SerializationException");
    assert!(is_told, "{action}: {}: {status} {told}", body[..body.len().min(1000)].escape_ascii());
}

#[test]
fn what_is_no_request_of_an_action_is_refused_and_nothing_is_stored() {
    let directory = directory();
    let (mut server, address) = server(&directory.path().join("data"));
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1, "Tags": { "k": "v" } }));
    good(address, "RegisterStreamConsumer", &json!({ "StreamARN": arn("s"), "ConsumerName": "c" }));
    let before = stored(address);
    let requests = requests();
    assert_eq!(requests.iter().map(|(action, _)| *action).collect::<Vec<_>>(), actions());
    let mut stream = connect(address);
    for ((action, request), writing) in every(&requests) {
        for body in malformed(writing, request) {
            refused_as_none(&mut stream, writing, action, &body);
        }
    }
    assert_eq!(stored(address), before);
    // Where nothing is wrong, it is read.
    for ((action, request), writing) in every(&requests) {
        let (status, told) = ask_in(&mut connect(address), writing, action, &written(writing, request));
        let told = String::from_utf8_lossy(&told);
        assert!([200, 400].contains(&status) && !told.contains("SerializationException"), "{action}: {status} {told}");
    }
    server.assert_well();
}

/// Bodies that begin what they never end: values in each other, and lengths that are only claimed, of each member.
fn bombs(writing: &str, request: &Value) -> Vec<Vec<u8>> {
    const DEPTH: usize = 30_000;
    if writing == "json" {
        return ["[", "{\"x\":"].map(|open| format!("{{\"x\":{}", open.repeat(DEPTH)).into_bytes()).to_vec();
    }
    let member = |name: &str, value: &[u8]| [&[0xa1, 0x60 | name.len() as u8], name.as_bytes(), value].concat();
    // Lists, maps, both without a length, tags, and pieces of bytes and text.
    let opens = [&b"\x81"[..], b"\xa1\x61x", b"\x9f", b"\xbf\x61x", b"\xc1", b"\x5f", b"\x7f"];
    let deep = opens.map(|open| member("x", &open.repeat(DEPTH)));
    // Bytes, text, a list and a map.
    let kinds = [0x5b, 0x7b, 0x9b, 0xbb];
    let claims = kinds.map(|kind| [&[kind, 0x7f][..], &[0xff; 7]].concat());
    let names = request.as_object().unwrap().keys().filter(|name| name.len() < 24).map(String::as_str);
    let claimed = names.chain(["x"]).flat_map(|name| claims.each_ref().map(|claim| member(name, claim)));
    deep.into_iter().chain(claimed).collect()
}

/// None of them needs a stack, or room for what it claims, and nothing is left in memory of them, nor of the others.
#[test]
fn bombs_are_refused_and_leave_nothing_behind() {
    const ROUNDS: usize = 6;
    let directory = directory();
    let (mut server, address) = server(&directory.path().join("data"));
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let (before, requests) = (stored(address), requests());
    let mut resident = Vec::new();
    for _ in 0..ROUNDS {
        let mut stream = connect(address);
        for ((action, request), writing) in every(&requests) {
            for body in bombs(writing, request).into_iter().chain(malformed(writing, request)) {
                refused_as_none(&mut stream, writing, action, &body);
            }
        }
        resident.push(server.resident_kib());
    }
    assert_eq!(stored(address), before);
    let peak = server.peak_mib();
    assert!(peak < 192, "{peak} MiB were resident");
    let grown = resident[ROUNDS - 1].saturating_sub(resident[ROUNDS / 2 - 1]);
    assert!(grown < 8192, "{resident:?} KiB were resident after each round");
    server.assert_well();
}

/// Depth in a member that is not known is passed over, as the member is; in a text that is JSON it is looked at.
#[test]
fn depth_that_ends_is_no_more_than_its_bytes() {
    const DEPTH: usize = 50_000;
    let directory = directory();
    let (mut server, address) = server(&directory.path().join("data"));
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let deep = "[".repeat(DEPTH) + &"]".repeat(DEPTH);
    let mut stream = connect(address);
    for action in actions() {
        let kind = |told: (u16, Vec<u8>)| {
            let body: Value = serde_json::from_slice(&told.1).unwrap();
            (told.0, body["__type"].clone())
        };
        let shallow = kind(ask_in(&mut stream, "json", action, b"{}"));
        assert_eq!(
            kind(ask_in(&mut stream, "json", action, format!("{{\"x\":{deep}}}").as_bytes())),
            shallow,
            "{action}"
        );
    }
    let policy = json!({ "ResourceARN": arn("s"), "Policy": format!("{{\"x\":{deep}}}") });
    assert_eq!(refused(address, "PutResourcePolicy", &policy).0, "InvalidArgumentException");
    server.assert_well();
}
