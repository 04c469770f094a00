//! Records of more than 1 MiB over the API, where their stream takes them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::gateway::{HELLO, arn, good, records, refused, server};
use crate::rig::directory;

/// So many bytes, different in each part.
fn data_of(bytes: usize) -> String {
    BASE64_STANDARD.encode((0..bytes).map(|at| (at >> 13) as u8 ^ at as u8).collect::<Vec<u8>>())
}

#[test]
fn records_are_as_large_as_their_stream_takes_them() {
    let directory = directory();
    let data = directory.path().join("data");
    let (server, api) = server(&data);
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let put = |data: &str| json!({ "StreamName": "s", "Data": data, "PartitionKey": "key" });
    let (large, largest) = (data_of(3 << 20), data_of((10 << 20) - 3));
    let (kind, message) = refused(api, "PutRecord", &put(&large));
    let too_long = |member: &str, bytes_max: usize| {
        let rule = format!("Member must have length less than or equal to {bytes_max}");
        format!("1 validation error detected: Value at '{member}' failed to satisfy constraint: {rule}")
    };
    assert_eq!((kind.as_str(), message), ("ValidationException", too_long("data", 1 << 20)));
    // Of whose data alone would do, the words are not known.
    let (kind, message) = refused(api, "PutRecord", &put(&data_of((1 << 20) - 2)));
    assert!(kind == "InvalidArgumentException" && message.contains("at most 1048576 bytes"), "{kind} {message}");
    good(api, "UpdateMaxRecordSize", &json!({ "StreamARN": arn("s"), "MaxRecordSizeInKiB": 4096 }));
    let (kind, message) = refused(api, "PutRecord", &put(&largest));
    assert_eq!((kind.as_str(), message), ("ValidationException", too_long("data", 4 << 20)));
    let second = json!({ "StreamName": "s", "Records": [
        { "Data": HELLO, "PartitionKey": "key" }, { "Data": data_of((4 << 20) + 1), "PartitionKey": "key" },
    ] });
    let (kind, message) = refused(api, "PutRecords", &second);
    assert_eq!((kind.as_str(), message), ("ValidationException", too_long("records.2.member.data", 4 << 20)));
    good(api, "UpdateMaxRecordSize", &json!({ "StreamARN": arn("s"), "MaxRecordSizeInKiB": 10_240 }));
    let stored = good(api, "PutRecord", &put(&large));
    let entry = |data: &str| json!({ "Data": data, "PartitionKey": "key" });
    let mixed = json!({ "StreamName": "s", "Records": [entry(HELLO), entry(&large), entry(&large), entry(HELLO)] });
    let outcomes = good(api, "PutRecords", &mixed);
    assert_eq!(outcomes["FailedRecordCount"], 0);
    let last = good(api, "PutRecord", &put(&largest));
    assert_eq!(
        refused(api, "PutRecord", &put(&data_of((10 << 20) - 2))).0,
        "InvalidArgumentException",
        "a byte too many"
    );

    // All of them, in their order, over a restart too.
    let number = |told: &Value| told["SequenceNumber"].as_str().unwrap().to_owned();
    let mut expected = vec![(number(&stored), large.clone())];
    let mixed = outcomes["Records"].as_array().unwrap().iter().map(number);
    expected.extend(mixed.zip([HELLO.to_owned(), large.clone(), large, HELLO.to_owned()]));
    expected.push((number(&last), largest));
    assert!(records(api, "s") == expected, "what is read is not what was put");
    server.kill();
    let (server, api) = self::server(&data);
    assert!(records(api, "s") == expected, "what is read is not what was put, after a kill");
    server.stop();
}
