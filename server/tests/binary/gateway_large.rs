//! Records of more than 1 MiB over the API, where their stream takes them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ciborium::Value as Cbor;
use serde_json::{Value, json};

use crate::gateway::{HELLO, arn, ask_in, connect, good, records, refused, server};
use crate::rig::directory;

/// The key of a record whose data is as large as any may be with it.
pub(crate) const KEY: &str = "k";
pub(crate) const LARGEST: usize = (10 << 20) - KEY.len();

/// So many bytes, different in each part.
pub(crate) fn bytes_of(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at >> 13) as u8 ^ at as u8).collect()
}

fn data_of(bytes: usize) -> String {
    BASE64_STANDARD.encode(bytes_of(bytes))
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

#[test]
fn the_largest_record_comes_and_goes_in_cbor_too() {
    let directory = directory();
    let (server, api) = server(&directory.path().join("data"));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1, "MaxRecordSizeInKiB": 10_240 }));
    let map = |members: Vec<(&str, Cbor)>| {
        Cbor::Map(members.into_iter().map(|(name, value)| (Cbor::Text(name.to_owned()), value)).collect())
    };
    let ask = |action: &str, request: &Cbor| {
        let (mut body, mut stream) = (Vec::new(), connect(api));
        ciborium::into_writer(request, &mut body).unwrap();
        let (status, answer) = ask_in(&mut stream, "cbor", action, &body);
        (status, ciborium::from_reader::<Cbor, _>(&answer[..]).unwrap())
    };
    let text = |text: &str| Cbor::Text(text.to_owned());
    let member = |map: &Cbor, name: &str| {
        map.as_map().unwrap().iter().find(|(key, _)| *key == text(name)).map(|(_, value)| value.clone())
    };
    let record = |bytes: usize| vec![("Data", Cbor::Bytes(bytes_of(bytes))), ("PartitionKey", text(KEY))];
    let put = |bytes: usize| {
        let mut members = record(bytes);
        members.push(("StreamName", text("s")));
        ask("PutRecord", &map(members))
    };
    assert_eq!(put(LARGEST).0, 200);
    let several = map(vec![("StreamName", text("s")), ("Records", Cbor::Array(vec![map(record(LARGEST))]))]);
    assert_eq!(ask("PutRecords", &several).0, 200);
    for (bytes, kind, told) in [
        (LARGEST + 1, "InvalidArgumentException", "at most 10485760 bytes"),
        (
            (10 << 20) + 1,
            "ValidationException",
            "at 'data' failed to satisfy constraint: Member must have length less than or",
        ),
    ] {
        let (status, error) = put(bytes);
        let message = member(&error, "message").unwrap();
        assert_eq!((status, member(&error, "__type")), (400, Some(text(kind))));
        assert!(message.as_text().is_some_and(|message| message.contains(told)), "{message:?}");
    }
    // Another, in the other writing: each reads what came in either.
    good(api, "PutRecord", &json!({ "StreamName": "s", "Data": data_of(LARGEST), "PartitionKey": KEY }));
    let start = json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let start = good(api, "GetShardIterator", &start)["ShardIterator"].as_str().unwrap().to_owned();
    let (mut iterator, mut read, expected) = (text(&start), 0, bytes_of(LARGEST));
    while read < 3 {
        let (status, page) = ask("GetRecords", &map(vec![("ShardIterator", iterator)]));
        assert_eq!(status, 200, "{page:?}");
        for record in member(&page, "Records").unwrap().as_array().unwrap() {
            let data = member(record, "Data").unwrap();
            assert!(data.as_bytes() == Some(&expected), "record {read} is another");
            assert_eq!(member(record, "PartitionKey"), Some(text(KEY)));
            read += 1;
        }
        iterator = member(&page, "NextShardIterator").unwrap();
    }
    let all = records(api, "s");
    let largest = data_of(LARGEST);
    assert!(all.len() == 3 && all.iter().all(|(_, data)| *data == largest), "JSON tells something else");
    server.stop();
}
