//! Where a reader may begin, and how it is told that it may not; shards that were made in a quick row.

use serde_json::{Value, json};
use wire::iterator::{LIFETIME_MS, ShardIterator};

use crate::gateway::{HELLO, good, refused, server};
use crate::rig::directory;

const INVALID: &str = "InvalidArgumentException";
const ACCOUNT: &str = "000000000000";

fn now_ms() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    since.as_millis() as u64
}

#[test]
fn a_place_that_can_not_be_is_refused_in_the_words_of_the_service() {
    let directory = directory();
    let (running, api) = server(&directory.path().join("data"));
    let create = json!({ "StreamName": "s", "ShardCount": 2 });
    good(api, "CreateStream", &create);
    let put = json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "k", "ExplicitHashKey": "0" });
    let number = good(api, "PutRecord", &put)["SequenceNumber"].as_str().unwrap().to_owned();
    let start = |kind: &str, number: Option<&str>, shard: &str| {
        let mut body = json!({ "StreamName": "s", "ShardId": shard, "ShardIteratorType": kind });
        if let Some(number) = number {
            body["StartingSequenceNumber"] = json!(number);
        }
        body
    };
    let (zero, one) = ("shardId-000000000000", "shardId-000000000001");
    let pairs = "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
                 TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified";
    let used = |text: &str| {
        format!(
            "StartingSequenceNumber {text} used in GetShardIterator on shard {zero} in stream s under account {ACCOUNT} is"
        )
    };
    for (body, message) in [
        (start("TRIM_HORIZON", Some(&number), zero), format!("{pairs} TRIM_HORIZON and also a StartingSequenceNumber.")),
        (start("LATEST", Some(&number), zero), format!("{pairs} LATEST and also a StartingSequenceNumber.")),
        (start("AT_SEQUENCE_NUMBER", None, zero), format!("{pairs} AT_SEQUENCE_NUMBER and no StartingSequenceNumber.")),
        (start("AFTER_SEQUENCE_NUMBER", None, zero), format!("{pairs} AFTER_SEQUENCE_NUMBER and no StartingSequenceNumber.")),
        (start("AT_SEQUENCE_NUMBER", Some("123"), zero), format!("{} invalid.", used("123"))),
        (
            start("AT_SEQUENCE_NUMBER", Some(&number), one),
            format!("Invalid StartingSequenceNumber. It encodes {zero}, while it was used in a call to a shard with {one}"),
        ),
        (
            start("AT_TIMESTAMP", None, zero),
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp \
             parameter."
                .to_owned(),
        ),
    ] {
        assert_eq!(refused(api, "GetShardIterator", &body), (INVALID.to_owned(), message));
    }
    let mut later = start("AT_TIMESTAMP", None, zero);
    later["Timestamp"] = json!(4e9);
    let (kind, message) = refused(api, "GetShardIterator", &later);
    assert!(kind == INVALID && message.contains("timestampInMillis: 4000000000000, current"), "{message}");
    good(api, "GetShardIterator", &start("AFTER_SEQUENCE_NUMBER", Some(&number), zero));

    // A stream of the same name that was made in another second.
    good(api, "DeleteStream", &json!({ "StreamName": "s" }));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    good(api, "CreateStream", &create);
    assert_eq!(
        refused(api, "GetShardIterator", &start("AT_SEQUENCE_NUMBER", Some(&number), zero)),
        (INVALID.to_owned(), format!("{} invalid because it did not come from this stream.", used(&number)))
    );
    let made = good(api, "DescribeStreamSummary", &json!({ "StreamName": "s" }));
    let made = made["StreamDescriptionSummary"]["StreamCreationTimestamp"].as_f64().unwrap();
    good(api, "ListShards", &json!({ "StreamName": "s", "StreamCreationTimestamp": made }));
    let before = json!({ "StreamName": "s", "StreamCreationTimestamp": made - 2.0 });
    assert_eq!(refused(api, "ListShards", &before).0, "ResourceNotFoundException");

    // Times are written out in the message.
    let made_ms = 1_421_889_722_000;
    let (nonce, from, shard_made_s, stream, shard, shard_index) = (1, 1, 0, 1, 1, 0);
    let old = ShardIterator { nonce, made_ms, from, shard_made_s, stream, shard, shard_index, name: "s".to_owned() };
    let (kind, message) = refused(api, "GetRecords", &json!({ "ShardIterator": old.encode() }));
    let (begins, ends) = (
        "Iterator expired. The iterator was created at time Thu Jan 22 01:22:02 UTC 2015 while right now it is ",
        format!(" which is further in the future than the tolerated delay of {LIFETIME_MS} milliseconds."),
    );
    assert_eq!(kind, "ExpiredIteratorException");
    let now = message.strip_prefix(begins).and_then(|rest| rest.strip_suffix(&*ends)).expect(&message);
    assert!(now.contains(" UTC 20") && now.split(' ').count() == 6, "{now}");
    running.stop();
}

#[test]
fn what_can_not_be_split_or_merged_is_told_so() {
    let directory = directory();
    let (running, api) = server(&directory.path().join("data"));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 3 }));
    let shards = good(api, "ListShards", &json!({ "StreamName": "s" }))["Shards"].clone();
    let key = |shard: usize, end: &str| shards[shard]["HashKeyRange"][end].as_str().unwrap().parse::<u128>().unwrap();
    let (start, end) = (key(1, "StartingHashKey"), key(1, "EndingHashKey"));
    let one = "shardId-000000000001";
    let split = |at: u128| json!({ "StreamName": "s", "ShardToSplit": one, "NewStartingHashKey": at.to_string() });
    for at in [0, start, start + 1, end, end + 1] {
        let message = format!(
            "NewStartingHashKey {at} used in SplitShard() on shard {one} in stream s under account {ACCOUNT} is not both greater \
             than one plus the shard's StartingHashKey {start} and less than the shard's EndingHashKey {end}."
        );
        assert_eq!(refused(api, "SplitShard", &split(at)), (INVALID.to_owned(), message));
    }
    let (zero, two) = ("shardId-000000000000", "shardId-000000000002");
    for (low, high) in [(zero, two), (two, zero), (one, one)] {
        let merge = json!({ "StreamName": "s", "ShardToMerge": low, "AdjacentShardToMerge": high });
        let message = format!(
            "Shards {low} and {high} in stream s under account {ACCOUNT} are not an adjacent pair of shards eligible for merging"
        );
        assert_eq!(refused(api, "MergeShards", &merge), (INVALID.to_owned(), message));
    }
    good(api, "SplitShard", &split(end - 1));
    running.stop();
}

/// Bug: of a shard that was made in a quick row of splits and merges, which is dated ahead of the clock, a reader could not begin at
/// a record's own time, and a record's number was refused as of the future.
#[test]
fn a_shard_dated_ahead_of_the_clock_is_read_by_its_times() {
    let directory = directory();
    let (running, api) = server(&directory.path().join("data"));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let open = || {
        let list = json!({ "StreamName": "s", "ShardFilter": { "Type": "AT_LATEST" } });
        good(api, "ListShards", &list)["Shards"].as_array().unwrap().clone()
    };
    for _ in 0..4 {
        let parent = open()[0]["ShardId"].clone();
        let half = (1_u128 << 127).to_string();
        good(api, "SplitShard", &json!({ "StreamName": "s", "ShardToSplit": parent, "NewStartingHashKey": half }));
        let children = open();
        let (one, two) = (&children[0]["ShardId"], &children[1]["ShardId"]);
        good(api, "MergeShards", &json!({ "StreamName": "s", "ShardToMerge": one, "AdjacentShardToMerge": two }));
    }
    let put = json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "k" });
    let number = good(api, "PutRecord", &put)["SequenceNumber"].clone();
    let shard = open()[0]["ShardId"].clone();
    let read = |start: &Value| {
        let iterator = good(api, "GetShardIterator", start)["ShardIterator"].clone();
        good(api, "GetRecords", &json!({ "ShardIterator": iterator }))["Records"].as_array().unwrap().clone()
    };
    let first = read(&json!({ "StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" }));
    let arrival = first[0]["ApproximateArrivalTimestamp"].as_f64().unwrap();
    assert!(arrival * 1000.0 > now_ms() as f64 + 1000.0, "it is not dated ahead: {arrival}");
    let since =
        json!({ "StreamName": "s", "ShardId": shard, "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": arrival });
    assert_eq!(read(&since), first);
    let mut after = put.clone();
    after["SequenceNumberForOrdering"] = number;
    good(api, "PutRecord", &after);
    running.stop();
}
