//! Consumers, and SubscribeToShard as HTTP carries it.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use frame::proto::Start;
use frame::{Quotas, Retention};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::gateway::{answer, ask_on, connect, good, refused, send, server};
use crate::reactors;
use crate::rig::{Server, directory, store};

pub(crate) const SHARD: &str = "shardId-000000000000";

fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:us-east-1:000000000000:stream/{stream}")
}

/// A stream of so many shards, and a consumer's ARN.
fn with_consumer(address: SocketAddr, stream: &str, shards: u32) -> String {
    good(address, "CreateStream", &json!({ "StreamName": stream, "ShardCount": shards }));
    let made = good(address, "RegisterStreamConsumer", &json!({ "StreamARN": arn(stream), "ConsumerName": "reader" }));
    made["Consumer"]["ConsumerARN"].as_str().unwrap().to_owned()
}

fn put(address: SocketAddr, stream: &str, data: &str) -> String {
    let record = json!({ "StreamName": stream, "PartitionKey": "k", "Data": data });
    good(address, "PutRecord", &record)["SequenceNumber"].as_str().unwrap().to_owned()
}

/// An answer that goes on.
pub(crate) struct Events {
    stream: TcpStream,
    /// Received, and not taken apart.
    bytes: VecDeque<u8>,
    decoder: MessageFrameDecoder,
    chunks: bytes::BytesMut,
    is_over: bool,
}

impl Events {
    pub(crate) fn begin(address: SocketAddr, consumer: &str, shard: &str, start: &Value) -> Events {
        Events::begin_on(connect(address), consumer, shard, start)
    }

    fn begin_on(mut stream: TcpStream, consumer: &str, shard: &str, start: &Value) -> Events {
        let body = json!({ "ConsumerARN": consumer, "ShardId": shard, "StartingPosition": start });
        let headers =
            [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "Kinesis_20131202.SubscribeToShard")];
        send(&mut stream, "POST", &headers, body.to_string().as_bytes());
        let (decoder, chunks) = (MessageFrameDecoder::new(), bytes::BytesMut::new());
        let mut events = Events { stream, bytes: VecDeque::new(), decoder, chunks, is_over: false };
        let status = events.line();
        assert_eq!(status, "HTTP/1.1 200 OK");
        let head: Vec<String> = std::iter::from_fn(|| Some(events.line()).filter(|line| !line.is_empty())).collect();
        for expected in ["content-type: application/vnd.amazon.eventstream", "transfer-encoding: chunked"] {
            assert!(head.iter().any(|line| line == expected), "{head:?}");
        }
        assert_eq!(events.next(), Some(("initial-response".to_owned(), json!({}))));
        events
    }

    fn byte(&mut self) -> u8 {
        if self.bytes.is_empty() {
            let mut some = [0; 64 << 10];
            let read = self.stream.read(&mut some).expect("something is said at least every five seconds");
            assert!(read > 0, "the connection ended in the middle of an answer");
            self.bytes.extend(&some[..read]);
        }
        self.bytes.pop_front().unwrap()
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.byte());
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    /// The next message: its kind, and what it says. `None` at the end of the answer.
    pub(crate) fn next(&mut self) -> Option<(String, Value)> {
        loop {
            if let DecodedFrame::Complete(message) = self.decoder.decode_frame(&mut self.chunks).unwrap() {
                let header = |name: &str| {
                    let found = message.headers().iter().find(|header| header.name().as_str() == name);
                    found.and_then(|header| header.value().as_string().ok()).map(|text| text.as_str().to_owned())
                };
                let kind = header(":event-type").or_else(|| header(":exception-type")).unwrap();
                return Some((kind, serde_json::from_slice(message.payload()).unwrap()));
            }
            if self.is_over {
                return None;
            }
            let length = usize::from_str_radix(&self.line(), 16).unwrap();
            for _ in 0..length {
                let byte = self.byte();
                self.chunks.extend_from_slice(&[byte]);
            }
            assert_eq!(self.line(), "");
            self.is_over = length == 0;
        }
    }

    /// The next event.
    #[track_caller]
    fn event(&mut self) -> Value {
        let (kind, event) = self.next().expect("it goes on");
        assert_eq!(kind, "SubscribeToShardEvent", "{event}");
        event
    }

    /// Records until there are so many, and the number to go on from.
    pub(crate) fn records(&mut self, count: usize) -> (Vec<Value>, String) {
        let mut all = Vec::new();
        loop {
            let event = self.event();
            all.extend(event["Records"].as_array().unwrap().iter().cloned());
            assert!(all.len() <= count, "too many: {all:?}");
            if all.len() == count {
                return (all, event["ContinuationSequenceNumber"].as_str().unwrap().to_owned());
            }
        }
    }
}

/// A connection over which much was sent is taken up anew once it is silent: so that is gone on with, and what goes on is not.
#[test]
fn a_connection_that_fell_silent_goes_on_and_one_that_is_told_events_too() {
    let directory = directory();
    let (_server, address) = server(&directory.path().join("data"));
    let consumer = with_consumer(address, "s", 1);
    let record = json!({ "PartitionKey": "k", "Data": "a".repeat(1000) });
    let much = json!({ "StreamName": "s", "Records": vec![record; 400] });
    let latest = json!({ "Type": "LATEST" });
    let (mut silent, mut told) = (connect(address), connect(address));
    for stream in [&mut silent, &mut told] {
        assert_eq!(ask_on(stream, "PutRecords", &much).0, 200);
    }
    let mut events = Events::begin_on(told, &consumer, SHARD, &latest);
    // The head of a request, of which the rest comes when the connection has fallen silent with it.
    silent.write_all(b"POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Kinesis_2013").unwrap();
    std::thread::sleep(Duration::from_millis(4500));
    silent
        .write_all(b"1202.DescribeLimits\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: 2\r\n\r\n{}")
        .unwrap();
    assert_eq!(answer(&mut silent).0, 200);
    assert_eq!(ask_on(&mut silent, "PutRecords", &much).0, 200);
    assert_eq!(events.records(400).0.len(), 400);
}

fn numbers(records: &[Value]) -> Vec<String> {
    records.iter().map(|record| record["SequenceNumber"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn consumers_are_registered_found_listed_and_gone_also_after_a_kill() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let address = server.http.unwrap();
    let consumer = with_consumer(address, "s", 1);
    let register = |address, name: &str| {
        let body = json!({ "StreamARN": arn("s"), "ConsumerName": name, "Tags": { "team": "red" } });
        good(address, "RegisterStreamConsumer", &body)["Consumer"].clone()
    };
    let another = register(address, "another");
    assert_eq!((&another["ConsumerName"], &another["ConsumerStatus"]), (&json!("another"), &json!("ACTIVE")));
    let duplicate = json!({ "StreamARN": arn("s"), "ConsumerName": "reader" });
    assert_eq!(refused(address, "RegisterStreamConsumer", &duplicate).0, "ResourceInUseException");
    for number in 2..20 {
        register(address, &format!("consumer-{number:02}"));
    }
    let one_more = json!({ "StreamARN": arn("s"), "ConsumerName": "one-more" });
    assert_eq!(refused(address, "RegisterStreamConsumer", &one_more).0, "LimitExceededException");
    // On demand there may be more, where the account is committed.
    good(address, "CreateStream", &json!({ "StreamName": "d", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } }));
    let of_another = |number| json!({ "StreamARN": arn("d"), "ConsumerName": format!("consumer-{number}") });
    (0..20).for_each(|number| drop(good(address, "RegisterStreamConsumer", &of_another(number))));
    assert_eq!(refused(address, "RegisterStreamConsumer", &of_another(20)).0, "LimitExceededException");
    let commit = json!({ "MinimumThroughputBillingCommitment": { "Status": "ENABLED" } });
    good(address, "UpdateAccountSettings", &commit);
    (20..50).for_each(|number| drop(good(address, "RegisterStreamConsumer", &of_another(number))));
    assert_eq!(refused(address, "RegisterStreamConsumer", &of_another(50)).0, "LimitExceededException");
    for body in [json!({ "ConsumerARN": consumer }), json!({ "StreamARN": arn("s"), "ConsumerName": "reader" })] {
        let found = good(address, "DescribeStreamConsumer", &body)["ConsumerDescription"].clone();
        assert_eq!((&found["ConsumerARN"], &found["StreamARN"]), (&json!(consumer), &json!(arn("s"))));
    }
    server.kill();
    let server = Server::start(&data);
    let address = server.http.unwrap();
    // Two pages.
    let first = good(address, "ListStreamConsumers", &json!({ "StreamARN": arn("s"), "MaxResults": 15 }));
    let rest = json!({ "StreamARN": arn("s"), "NextToken": first["NextToken"] });
    let rest = good(address, "ListStreamConsumers", &rest);
    let listed: Vec<&Value> =
        [&first, &rest].into_iter().flat_map(|page| page["Consumers"].as_array().unwrap()).collect();
    assert_eq!((listed.len(), rest.get("NextToken")), (20, None));
    assert!(listed.iter().any(|known| known["ConsumerARN"] == json!(consumer)));
    // What contradicts itself removes nobody.
    good(address, "CreateStream", &json!({ "StreamName": "other", "ShardCount": 1 }));
    for body in [
        json!({ "ConsumerARN": consumer, "StreamARN": arn("other"), "ConsumerName": "reader" }),
        json!({ "ConsumerARN": consumer, "ConsumerName": "another" }),
    ] {
        for action in ["DescribeStreamConsumer", "DeregisterStreamConsumer"] {
            assert_eq!(refused(address, action, &body).0, "InvalidArgumentException", "{body}");
        }
    }
    good(address, "DeregisterStreamConsumer", &json!({ "ConsumerARN": consumer, "StreamARN": arn("s") }));
    for action in ["DescribeStreamConsumer", "DeregisterStreamConsumer"] {
        assert_eq!(refused(address, action, &json!({ "ConsumerARN": consumer })).0, "ResourceNotFoundException");
    }
    good(address, "DeleteStream", &json!({ "StreamName": "s", "EnforceConsumerDeletion": true }));
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let none = good(address, "ListStreamConsumers", &json!({ "StreamARN": arn("s") }));
    assert_eq!(none["Consumers"], json!([]), "the next stream of that name has none of the last one's");
    server.stop();
}

#[test]
fn a_subscription_gives_what_there_is_then_all_that_comes_and_signs_of_life() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let address = server.http.unwrap();
    let consumer = with_consumer(address, "s", 1);
    // A dry run takes no consumer's place.
    let dry =
        json!({ "ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": { "Type": "LATEST" }, "DryRun": true });
    assert_eq!(refused(address, "SubscribeToShard", &dry).0, "DryRunOperationException");
    let before: Vec<String> = ["aGVsbG8=", "AP8=", ""].map(|data| put(address, "s", data)).to_vec();
    let mut events = Events::begin(address, &consumer, SHARD, &json!({ "Type": "TRIM_HORIZON" }));
    let (records, _) = events.records(3);
    assert_eq!(numbers(&records), before);
    assert_eq!((&records[1]["Data"], &records[1]["PartitionKey"]), (&json!("AP8="), &json!("k")));
    for _ in 0..20 {
        let began = Instant::now();
        let number = put(address, "s", "bGl2ZQ==");
        let (records, continuation) = events.records(1);
        assert_eq!((numbers(&records), &continuation), (vec![number.clone()], &number));
        assert!(began.elapsed() < Duration::from_secs(4), "pushed, not found by a sign of life");
    }
    // Nothing comes: it says so, and where to go on.
    let silent = events.event();
    assert_eq!((&silent["Records"], &silent["MillisBehindLatest"]), (&json!([]), &json!(0)));
    drop(events);
    let continuation = silent["ContinuationSequenceNumber"].as_str().unwrap().to_owned();
    let next = put(address, "s", "bmV4dA==");
    // Some seconds after the first, so that it may take over where the server has not heard yet that the first is gone.
    let start = json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": continuation });
    let mut events = Events::begin(address, &consumer, SHARD, &start);
    assert_eq!(numbers(&events.records(1).0), [next.as_str()]);
    let second = json!({ "ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": { "Type": "LATEST" } });
    let (kind, message) = refused(address, "SubscribeToShard", &second);
    assert_eq!(kind, "ResourceInUseException", "{message}");
    for (body, expected) in [
        (
            json!({ "ConsumerARN": consumer, "ShardId": "shardId-000000000009", "StartingPosition": { "Type": "LATEST" } }),
            "ResourceNotFoundException",
        ),
        (
            json!({ "ConsumerARN": format!("{consumer}1"), "ShardId": SHARD, "StartingPosition": { "Type": "LATEST" } }),
            "ResourceNotFoundException",
        ),
        (
            json!({ "ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": { "Type": "AT_SEQUENCE_NUMBER" } }),
            "InvalidArgumentException",
        ),
        (
            json!({ "ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": { "Type": "NOW" } }),
            "ValidationException",
        ),
        (json!({ "ConsumerARN": consumer, "ShardId": SHARD }), "ValidationException"),
    ] {
        assert_eq!(refused(address, "SubscribeToShard", &body).0, expected, "{body}");
    }
    // Deregistered, it is told why it ends.
    good(address, "DeregisterStreamConsumer", &json!({ "ConsumerARN": consumer }));
    let told = std::iter::from_fn(|| events.next()).last().unwrap();
    assert_eq!(told.0, "ResourceInUseException");
    server.stop();
}

/// Bug, found on reading: whoever subscribed to what lies before damage got nothing of it, for ever. Mechanism: records and the failure
/// behind them are told at once, and the failure took the event's place. Fix: the event comes first.
#[test]
fn what_lies_before_damage_is_pushed() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let address = server.http.unwrap();
    let consumer = with_consumer(address, "s", 1);
    let before: Vec<String> = ["b25l", "dHdv", "c3VjaCBkYW1hZ2U="].map(|data| put(address, "s", data)).to_vec();
    server.stop();
    let segment = data.join("0000-0000000001.segment");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(11).position(|window| window == b"such damage").expect("it is stored");
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let server = Server::start(&data);
    let mut events = Events::begin(server.http.unwrap(), &consumer, SHARD, &json!({ "Type": "TRIM_HORIZON" }));
    assert_eq!(numbers(&events.records(2).0), before[..2]);
    assert_eq!(events.next().expect("it says why it ends").0, "InternalFailureException");
    server.stop();
}

/// With two reactors, so that a shard's owner is not always who takes the call.
#[test]
fn a_subscription_ends_where_its_shard_was_split_and_says_where_it_goes_on() {
    let directory = directory();
    let server = reactors::start(&directory.path().join("data"), 2);
    let address = server.http.unwrap();
    let consumer = with_consumer(address, "s", 2);
    for shard in [SHARD, "shardId-000000000001"] {
        let mut events = Events::begin(address, &consumer, shard, &json!({ "Type": "LATEST" }));
        let range = &good(address, "ListShards", &json!({ "StreamName": "s" }))["Shards"];
        let range =
            range.as_array().unwrap().iter().find(|known| known["ShardId"] == shard).unwrap()["HashKeyRange"].clone();
        let start: u128 = range["StartingHashKey"].as_str().unwrap().parse().unwrap();
        let key = |at: u128| (start + at).to_string();
        let record = json!({ "StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": key(0), "Data": "bGFzdA==" });
        let number = good(address, "PutRecord", &record)["SequenceNumber"].clone();
        let split = json!({ "StreamName": "s", "ShardToSplit": shard, "NewStartingHashKey": key(7) });
        good(address, "SplitShard", &split);
        let (mut found, mut children) = (Vec::new(), Value::Null);
        while let Some((kind, event)) = events.next() {
            assert_eq!((kind.as_str(), &children), ("SubscribeToShardEvent", &Value::Null), "nothing follows the end");
            found.extend(event["Records"].as_array().unwrap().iter().map(|record| record["SequenceNumber"].clone()));
            let is_last = event.get("ContinuationSequenceNumber").is_none();
            assert_eq!(is_last, event.get("ChildShards").is_some(), "{event}");
            children = event.get("ChildShards").cloned().unwrap_or_default();
        }
        assert_eq!(found, [number]);
        let children = children.as_array().unwrap();
        assert_eq!(children.len(), 2);
        assert!(children.iter().all(|child| child["ParentShards"] == json!([shard])), "{children:?}");
    }
    server.stop();
}

/// A server that stops ends its subscriptions as if their time was up, and does not wait for them.
#[test]
fn a_subscription_does_not_hold_up_the_servers_end() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let address = server.http.unwrap();
    let consumer = with_consumer(address, "s", 1);
    let mut events = Events::begin(address, &consumer, SHARD, &json!({ "Type": "LATEST" }));
    events.event();
    let began = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(events.next(), None);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    server.ended();
}

/// Bug: an ARN that was written in another way had a place of its own: a consumer could be pushed a shard any number of times, and
/// went on once it was deregistered.
#[test]
fn a_consumer_is_one_however_its_arn_is_written() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let address = server.http.unwrap();
    let consumer = with_consumer(address, "s", 1);
    let other = consumer.replace("arn:aws:", "arn:aws-cn:");
    let latest = json!({ "Type": "LATEST" });
    let mut events = Events::begin(address, &other, SHARD, &latest);
    let second = json!({ "ConsumerARN": consumer, "ShardId": SHARD, "StartingPosition": latest });
    assert_eq!(refused(address, "SubscribeToShard", &second).0, "ResourceInUseException");
    good(address, "DeregisterStreamConsumer", &json!({ "ConsumerARN": consumer }));
    let told = std::iter::from_fn(|| events.next()).last().unwrap();
    assert_eq!(told.0, "ResourceInUseException");
    server.stop();
}

/// Bug: where a shard began within a record in parts, as its first part has expired, a subscription asked for that part again and
/// again, and was never given anything.
#[test]
fn what_comes_after_a_record_that_expired_in_part_is_pushed() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let address = server.http.unwrap();
    let consumer = with_consumer(address, "s", 1);
    let mut client = server.client();
    let stream = client.describe_stream("s").unwrap();
    let shard = stream.shards[0].shard;
    client.set_quotas("s", Quotas::NONE).unwrap();
    let retention = Retention { bytes: std::num::NonZeroU64::new(7 << 20), ..Retention::NONE };
    client.set_retention("s", retention).unwrap();
    // Parts lie in batches of their own, which go one by one.
    let large = vec![7_u8; 5 << 20];
    let begun = Instant::now();
    loop {
        store(&mut client, stream.stream, "k", [&large]);
        // Until all that is to go has gone.
        std::thread::sleep(Duration::from_millis(700));
        let trim = client.describe_stream("s").unwrap().shards[0].trim;
        let records = client.read(stream.stream, shard, Start::At(trim), 1).unwrap();
        if records.iter().next().is_some_and(|frame| frame::parts::first_of(&frame) < frame.sequence()) {
            break;
        }
        assert!(begun.elapsed() < crate::rig::PATIENCE, "no record has expired in part");
    }
    let small = put(address, "s", "aGVsbG8=");
    let mut events = Events::begin(address, &consumer, SHARD, &json!({ "Type": "TRIM_HORIZON" }));
    let found = (0..20).any(|_| numbers(events.event()["Records"].as_array().unwrap()).contains(&small));
    assert!(found, "it was never pushed");
    server.stop();
}

/// Bug: a subscriber that was told to go on after a record was told, before it was given another, to go on after one of 1970, whose
/// sequence number is lower. Mechanism: when the last record arrived was not known until one was given. Fix: it is that of the record
/// that it began after, or of the shard's last.
#[test]
fn numbers_to_go_on_from_never_fall() {
    let directory = directory();
    let (server, address) = server(&directory.path().join("data"));
    with_consumer(address, "s", 1);
    // In another second than its shard is dated.
    std::thread::sleep(Duration::from_millis(1500));
    let last = put(address, "s", "aGVsbG8=");
    std::thread::sleep(Duration::from_millis(10));
    let now_s = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    for (name, start) in [
        ("number", json!({ "Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": last })),
        ("latest", json!({ "Type": "LATEST" })),
        ("time", json!({ "Type": "AT_TIMESTAMP", "Timestamp": now_s })),
    ] {
        let register = json!({ "StreamARN": arn("s"), "ConsumerName": name });
        let made = good(address, "RegisterStreamConsumer", &register);
        let mut events = Events::begin(address, made["Consumer"]["ConsumerARN"].as_str().unwrap(), SHARD, &start);
        assert_eq!(events.event()["ContinuationSequenceNumber"], json!(last), "{start}");
    }
    server.stop();
}
