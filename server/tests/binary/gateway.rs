//! The Kinesis API over HTTP, spoken by hand: what SDKs never send, and what must hold whoever asks.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use frame::Sequence;
use frame::proto::ErrorCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use server::client::{Batch, Fault};

use crate::rig::{PATIENCE, Server, directory, read_all, store};

/// Bytes as they travel: base64 of "hello".
pub(crate) const HELLO: &str = "aGVsbG8=";

/// What answers were told by, of all tests.
static ANSWERED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    // Else a body would wait until the kernel has heard that its head has come.
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads one answer: its status, and its body. Of one that goes on there is what came with its head.
pub(crate) fn answer(stream: &mut impl Read) -> (u16, Vec<u8>) {
    let mut bytes = Vec::new();
    let head_end = loop {
        read_more(stream, &mut bytes);
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0").parse().unwrap();
    let mut body = bytes.split_off(head_end);
    while body.len() < length {
        read_more(stream, &mut body);
    }
    let goes_on = head.contains("transfer-encoding: chunked");
    assert!(body.len() == length || goes_on, "nothing follows an answer: {body:?}");
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    assert!(value("date").is_some_and(|date| date.ends_with(" gmt")), "{head}");
    // What is no HTTP is answered before it is a request.
    if status != 400 || head.contains("x-amz") {
        let ids = ["x-amzn-requestid", "x-amz-id-2"].map(|name| value(name).expect(&head).to_owned());
        assert!(ids[0].len() == 36 && ids[1].len() >= 76, "{head}");
        let are_new = ids.map(|id| ANSWERED.lock().unwrap().insert(id));
        assert_eq!(are_new, [true; 2], "another answer had it: {head}");
    }
    (status, body)
}

pub(crate) fn read_more(stream: &mut impl Read, bytes: &mut Vec<u8>) {
    let mut chunk = [0; 64 << 10];
    let read = stream.read(&mut chunk).unwrap();
    assert!(read > 0, "the connection ended in an answer: {:?}", String::from_utf8_lossy(bytes));
    bytes.extend_from_slice(&chunk[..read]);
}

/// Sends a request with these headers.
pub(crate) fn send(stream: &mut impl Write, method: &str, headers: &[(&str, &str)], body: &[u8]) {
    send_to(stream, (method, "/"), headers, body);
}

/// The same for a path of its own.
pub(crate) fn send_to(stream: &mut impl Write, (method, path): (&str, &str), headers: &[(&str, &str)], body: &[u8]) {
    send_head(stream, (method, path), headers, body.len());
    stream.write_all(body).unwrap();
}

/// What comes before a body of this length.
pub(crate) fn send_head(
    stream: &mut impl Write,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    length: usize,
) {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: here\r\ncontent-length: {length}\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
}

/// One action on a connection of its own: the status and the body, null if it is empty.
pub(crate) fn ask(address: SocketAddr, action: &str, body: &Value) -> (u16, Value) {
    ask_on(&mut connect(address), action, body)
}

/// The same on a connection that is there.
pub(crate) fn ask_on(stream: &mut (impl Read + Write), action: &str, body: &Value) -> (u16, Value) {
    let (status, body) = ask_in(stream, "json", action, body.to_string().as_bytes());
    (status, if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() })
}

/// The same of bytes that are said to be `json` or `cbor`.
pub(crate) fn ask_in(stream: &mut (impl Read + Write), writing: &str, action: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let (written, target) = (format!("application/x-amz-{writing}-1.1"), format!("Kinesis_20131202.{action}"));
    send(stream, "POST", &[("content-type", &written), ("x-amz-target", &target)], body);
    answer(stream)
}

#[track_caller]
pub(crate) fn good(address: SocketAddr, action: &str, body: &Value) -> Value {
    let (status, answer) = ask(address, action, body);
    assert_eq!(status, 200, "{action} {body}: {answer}");
    answer
}

#[track_caller]
pub(crate) fn refused(address: SocketAddr, action: &str, body: &Value) -> (String, String) {
    let (status, answer) = ask(address, action, body);
    assert_eq!(status, 400, "{action} {body}: {answer}");
    let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
    (text("__type"), text("message"))
}

/// A stream's ARN.
pub(crate) fn arn(stream: &str) -> String {
    format!("arn:aws:kinesis:us-east-1:000000000000:stream/{stream}")
}

pub(crate) fn server(data: &Path) -> (Server, SocketAddr) {
    started(data, &["--quotas", "none"])
}

/// The same, where what the service allows a few times a day is held to that.
pub(crate) fn server_with_days(data: &Path) -> (Server, SocketAddr) {
    started(data, &["--quotas", "none", "--api-rates", "none,DescribeLimits=1"])
}

fn started(data: &Path, arguments: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start_with(data, arguments);
    let address = server.http.expect("the API is served");
    (server, address)
}

/// Every record of a stream's first shard: number and data.
pub(crate) fn records(address: SocketAddr, stream: &str) -> Vec<(String, String)> {
    let start = json!({ "StreamName": stream, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON" });
    let mut iterator = good(address, "GetShardIterator", &start)["ShardIterator"].clone();
    let mut all = Vec::new();
    loop {
        let page = good(address, "GetRecords", &json!({ "ShardIterator": iterator }));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        all.extend(page["Records"].as_array().unwrap().iter().map(|r| (text(&r["SequenceNumber"]), text(&r["Data"]))));
        // Behind the end of a closed shard nothing comes, and more may have come elsewhere.
        if page["MillisBehindLatest"] == 0 || page.get("NextShardIterator").is_none() {
            return all;
        }
        iterator = page["NextShardIterator"].clone();
    }
}

#[test]
fn what_is_no_request_of_the_api_is_told_so() {
    let directory = directory();
    let (mut server, address) = server(&directory.path().join("data"));
    let json_type = ("content-type", "application/x-amz-json-1.1");
    let target = ("x-amz-target", "Kinesis_20131202.ListStreams");
    for (method, headers, body, status, expected) in [
        ("GET", &[json_type, target][..], &b""[..], 404, "UnknownOperationException"),
        ("POST", &[("content-type", "text/plain"), target], b"{}", 404, "UnknownOperationException"),
        ("POST", &[json_type], b"{}", 400, "UnknownOperationException"),
        ("POST", &[json_type, ("x-amz-target", "Kinesis_20131202.Fly")], b"{}", 400, "UnknownOperationException"),
        (
            "POST",
            &[json_type, ("x-amz-target", "Kinesis_20131201.ListStreams")],
            b"{}",
            400,
            "UnknownOperationException",
        ),
        ("POST", &[("content-type", "application/x-amz-json-1.0"), target], b"{}", 404, "UnknownOperationException"),
        ("POST", &[json_type, ("x-amz-target", "DynamoDB_20120810.Fly")], b"{}", 400, "UnknownOperation"),
        ("POST", &[json_type, target], b"", 400, "SerializationException"),
        ("POST", &[json_type, target], b"{", 400, "SerializationException"),
        ("POST", &[json_type, target], b"[]", 400, "SerializationException"),
        ("POST", &[json_type, target], b"\xff\xfe", 400, "SerializationException"),
        ("POST", &[json_type, target], b"{\"Limit\":\"many\"}", 400, "SerializationException"),
        ("POST", &[("content-type", "application/x-amz-cbor-1.1"), target], b"", 400, "SerializationException"),
        ("POST", &[("content-type", "application/x-amz-cbor-1.1"), target], b"{}", 400, "SerializationException"),
        ("POST", &[("content-type", "application/x-amz-cbor-1.1"), target], b"\xbf", 400, "SerializationException"),
    ] {
        let mut stream = connect(address);
        send(&mut stream, method, headers, body);
        let (found, text) = answer(&mut stream);
        let text = String::from_utf8_lossy(&text);
        assert!(found == status && text.contains(expected), "{method} {headers:?} {body:?}: {found} {text}");
    }
    server.assert_well();
    assert_eq!(good(address, "ListStreams", &json!({}))["HasMoreStreams"], false);
}

#[test]
fn malformed_http_ends_its_connection_and_nothing_else() {
    let directory = directory();
    let (mut server, address) = server(&directory.path().join("data"));
    let long_header = format!("POST / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200 << 10));
    let too_large = "POST / HTTP/1.1\r\ncontent-type: application/x-amz-json-1.1\r\nx-amz-target: Kinesis_20131202.PutRecord\r\ncontent-length: 99999999999\r\n\r\n";
    for bytes in [
        "\0\u{1}\u{2}\r\n\r\n",
        "POST\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "GET /\r\n",
        "POST / HTTP/2.0\r\nhost: here\r\n\r\n",
        "POST / HTTP/3.0\r\nhost: here\r\n\r\n",
        long_header.as_str(),
        too_large,
    ] {
        let mut stream = connect(address);
        // The server may have hung up before the end.
        let _ = stream.write_all(bytes.as_bytes());
        let mut text = Vec::new();
        let mut chunk = [0; 1024];
        if let Ok(read) = stream.read(&mut chunk) {
            text.extend_from_slice(&chunk[..read]);
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        let told = text.is_empty() || text.starts_with("HTTP/1.1 4");
        assert!(told, "{:?}: {text}", &bytes[..bytes.len().min(80)]);
    }
    // A version that is older than the API, and spoken all the same, for one request.
    let mut old = connect(address);
    let head = "content-type: application/x-amz-json-1.1\r\nx-amz-target: Kinesis_20131202.ListStreams\r\n";
    old.write_all(format!("POST / HTTP/1.0\r\n{head}content-length: 2\r\n\r\n{{}}").as_bytes()).unwrap();
    let mut said = String::new();
    old.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.0 200 ") && said.contains("\"StreamNames\":[]"), "{said}");
    // One that dies in the middle of a body, and one that never sends it.
    let head = "POST / HTTP/1.1\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: 100\r\n\r\n{";
    let mut half = connect(address);
    half.write_all(head.as_bytes()).unwrap();
    drop(half);
    let mut silent = connect(address);
    silent.write_all(head.as_bytes()).unwrap();
    server.assert_well();
    assert_eq!(good(address, "ListStreams", &json!({}))["StreamNames"], json!([]));
}

#[test]
fn values_out_of_bounds_are_told_in_the_services_words() {
    let directory = directory();
    let (_server, address) = server(&directory.path().join("data"));
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let (kind, message) = refused(address, "CreateStream", &json!({ "StreamName": "a/b", "ShardCount": 0 }));
    assert_eq!(kind, "ValidationException");
    assert_eq!(
        message,
        "2 validation errors detected: Value 'a/b' at 'streamName' failed to satisfy constraint: Member must satisfy \
         regular expression pattern: [a-zA-Z0-9_.-]+; Value '0' at 'shardCount' failed to satisfy constraint: Member must \
         have value greater than or equal to 1"
    );
    let record = |data: usize, key: usize| json!({ "Data": base64(data), "PartitionKey": "k".repeat(key) });
    let many = |count| json!({ "StreamName": "s", "Records": vec![record(1, 1); count] });
    for (action, body, expected) in [
        ("CreateStream", json!({}), "ValidationException"),
        ("CreateStream", json!({ "StreamName": "x", "ShardCount": 10_001 }), "LimitExceededException"),
        ("PutRecord", json!({ "StreamName": "s", "Data": HELLO }), "ValidationException"),
        ("PutRecord", json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "" }), "ValidationException"),
        ("PutRecord", json!({ "StreamName": "s", "Data": "?", "PartitionKey": "k" }), "SerializationException"),
        ("PutRecord", json!({ "Data": HELLO, "PartitionKey": "k" }), "InvalidArgumentException"),
        ("PutRecord", json!({ "StreamName": "s", "Data": base64(1 << 20), "PartitionKey": "k" }), "InvalidArgument"),
        (
            "PutRecord",
            json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "k", "SequenceNumberForOrdering": "7" }),
            "InvalidArgumentException",
        ),
        (
            "PutRecord",
            json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "k", "ExplicitHashKey": "-1" }),
            "ValidationException",
        ),
        (
            "PutRecord",
            json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "k", "ExplicitHashKey": "4".repeat(39) }),
            "InvalidArgumentException",
        ),
        ("PutRecords", json!({ "StreamName": "s", "Records": [] }), "ValidationException"),
        ("PutRecords", many(501), "ValidationException"),
        ("PutRecords", json!({ "StreamName": "s", "Records": vec![record(600 << 10, 1); 18] }), "InvalidArgument"),
        ("GetRecords", json!({}), "ValidationException"),
        ("GetRecords", json!({ "ShardIterator": "x" }), "InvalidArgumentException"),
        ("ListShards", json!({}), "InvalidArgumentException"),
        ("ListShards", json!({ "StreamName": "s", "MaxResults": 0 }), "ValidationException"),
        ("ListShards", json!({ "NextToken": "x" }), "InvalidArgumentException"),
        ("ListShards", json!({ "StreamName": "s", "ShardFilter": { "Type": "NO" } }), "ValidationException"),
        ("ListStreams", json!({ "NextToken": "x" }), "InvalidArgumentException"),
        (
            "GetShardIterator",
            json!({ "StreamName": "s", "ShardId": "shardId-1", "ShardIteratorType": "TRIM_HORIZON" }),
            "ResourceNotFoundException",
        ),
        (
            "GetShardIterator",
            json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "AFTER_SEQUENCE_NUMBER" }),
            "InvalidArgumentException",
        ),
        (
            "GetShardIterator",
            json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "SOMEWHERE" }),
            "ValidationException",
        ),
    ] {
        let (kind, message) = refused(address, action, &body);
        assert!(kind.starts_with(expected), "{action}: {kind}: {message}");
    }
    assert_eq!(records(address, "s"), [], "nothing of what was refused is stored");
    // The most that there may be.
    let answer = good(address, "PutRecords", &json!({ "StreamName": "s", "Records": vec![record(20_900, 60); 500] }));
    assert_eq!(answer["FailedRecordCount"], 0);
    let largest = json!({ "StreamName": "s", "Data": base64((1 << 20) - 256), "PartitionKey": "k".repeat(256) });
    good(address, "PutRecord", &largest);
    assert_eq!(records(address, "s").len(), 501);
}

/// So many zeros, as base64.
fn base64(bytes: usize) -> String {
    let tail = ["", "AA==", "AAA="][bytes % 3];
    "AAAA".repeat(bytes / 3) + tail
}

#[test]
fn what_one_front_end_stores_the_other_reads() {
    let directory = directory();
    let (server, address) = server(&directory.path().join("data"));
    let mut client = server.client();
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let stream = client.describe_stream("s").unwrap();
    let shard = stream.shards[0].shard;
    store(&mut client, stream.stream, "native", ["one"]);
    good(address, "PutRecord", &json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "http" }));
    store(&mut client, stream.stream, "native", ["three"]);
    let data: Vec<Vec<u8>> = read_all(&mut client, &stream, shard).into_iter().map(|(_, data)| data).collect();
    assert_eq!(data, [&b"one"[..], b"hello", b"three"]);
    let seen: Vec<String> = records(address, "s").into_iter().map(|(_, data)| data).collect();
    assert_eq!(seen, ["b25l", HELLO, "dGhyZWU="]);
    // A stream that is gone is gone for both, also in the middle of a connection's life.
    good(address, "DeleteStream", &json!({ "StreamName": "s" }));
    let mut batch = Batch::new();
    assert!(batch.push(b"k", b"late").unwrap());
    assert_eq!(
        client.append(stream.stream, &batch).unwrap(),
        [frame::proto::AckResult::Refused(ErrorCode::UnknownStream)]
    );
    let refusal = client.read(stream.stream, shard, Sequence(1), 1 << 20).unwrap_err();
    assert!(matches!(refusal.fault(), Fault::Caller), "{refusal}");
    server.stop();
}

#[test]
fn streams_and_deletions_outlive_kill_9() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, address) = server(&data);
    let create = |address, name: &str| good(address, "CreateStream", &json!({ "StreamName": name, "ShardCount": 2 }));
    let put = |address, name: &str| {
        let record = json!({ "StreamName": name, "Data": HELLO, "PartitionKey": "k", "ExplicitHashKey": "0" });
        good(address, "PutRecord", &record)["SequenceNumber"].as_str().unwrap().to_owned()
    };
    create(address, "kept");
    create(address, "again");
    create(address, "gone");
    let kept = put(address, "kept");
    put(address, "again");
    put(address, "gone");
    for name in ["again", "gone"] {
        good(address, "DeleteStream", &json!({ "StreamName": name }));
    }
    create(address, "again");
    let anew = put(address, "again");
    let list = json!({ "StreamName": "kept", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = good(address, "GetShardIterator", &list)["ShardIterator"].clone();
    running.kill();
    // Twice: the second life finds what the first one left in a footer.
    for clean in [true, false] {
        let (running, address) = server(&data);
        assert_eq!(good(address, "ListStreams", &json!({}))["StreamNames"], json!(["again", "kept"]));
        assert_eq!(records(address, "kept"), [(kept.clone(), HELLO.to_owned())]);
        assert_eq!(records(address, "again"), [(anew.clone(), HELLO.to_owned())]);
        let page = good(address, "GetRecords", &json!({ "ShardIterator": iterator }));
        assert_eq!(page["Records"][0]["SequenceNumber"], kept, "an iterator outlives the server");
        if clean {
            running.stop();
        } else {
            // Numbers of what was deleted are not given again: what is new is empty.
            create(address, "new");
            assert_eq!(records(address, "new"), []);
            running.stop();
        }
    }
}

/// Requests that were taken are answered although the server is told to stop, and what was acknowledged is there afterwards.
#[test]
fn a_clean_stop_answers_what_it_took() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, address) = server(&data);
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let stopping = AtomicBool::new(false);
    let put = || {
        let mut stored = Vec::new();
        let mut stream = connect(address);
        let record = json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "k" }).to_string();
        let head = "POST / HTTP/1.1\r\nhost: here\r\ncontent-type: application/x-amz-json-1.1\r\n\
                    x-amz-target: Kinesis_20131202.PutRecord\r\n";
        let request = format!("{head}content-length: {}\r\n\r\n{record}", record.len());
        loop {
            let sent = stream.write_all(request.as_bytes());
            let mut first = [0; 1];
            match sent.and_then(|()| stream.peek(&mut first)) {
                Ok(1) => {}
                // Between two requests the server may hang up, once it was told to stop.
                _ => return stored,
            }
            let (status, body) = answer(&mut stream);
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(status, 200, "{body}");
            stored.push(body["SequenceNumber"].as_str().unwrap().to_owned());
            if stored.len() == 50 {
                stopping.store(true, Ordering::Release);
            }
        }
    };
    let mut stored: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(put)).collect();
        while !stopping.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        running.signal(Signal::TERM);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    running.ended();
    stored.sort();
    let (_server, address) = server(&data);
    let found: Vec<String> = records(address, "s").into_iter().map(|(sequence, _)| sequence).collect();
    let missing = stored.iter().filter(|sequence| found.binary_search(sequence).is_err()).count();
    assert_eq!(missing, 0, "{} acknowledged, {} found", stored.len(), found.len());
}

#[test]
fn a_time_is_where_an_iterator_may_begin() {
    let directory = directory();
    let (_server, address) = server(&directory.path().join("data"));
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    for _ in 0..5 {
        good(address, "PutRecord", &json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "k" }));
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    let start = |seconds: &Value| json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": seconds });
    let since = |seconds: &Value| {
        let iterator = good(address, "GetShardIterator", &start(seconds))["ShardIterator"].clone();
        good(address, "GetRecords", &json!({ "ShardIterator": iterator }))["Records"].as_array().unwrap().clone()
    };
    let all = since(&json!(0));
    assert_eq!((all.len(), since(&json!(-5.5)).len()), (5, 5));
    for (at, record) in all.iter().enumerate() {
        let arrival = &record["ApproximateArrivalTimestamp"];
        assert_eq!(since(arrival)[0]["SequenceNumber"], record["SequenceNumber"]);
        let later = json!(arrival.as_f64().unwrap() + 0.001);
        assert_eq!(since(&later).len(), 4 - at, "after {arrival}");
    }
    let (kind, message) = refused(address, "GetShardIterator", &start(&json!(4e10)));
    assert!(kind == "InvalidArgumentException" && message.contains("cannot be greater than"), "{kind} {message}");
    let body = json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "AT_TIMESTAMP" });
    let (kind, message) = refused(address, "GetShardIterator", &body);
    assert!(kind == "InvalidArgumentException" && message.contains("timestamp"), "{kind} {message}");
}

/// Clients that ask for much and take nothing of it hold up neither those who store nor memory.
#[test]
fn deaf_readers_hold_up_nobody_who_stores() {
    let directory = directory();
    let (server, address) = server(&directory.path().join("data"));
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    for _ in 0..12 {
        good(address, "PutRecord", &json!({ "StreamName": "s", "Data": base64(1_000_000), "PartitionKey": "k" }));
    }
    let start = json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = good(address, "GetShardIterator", &start)["ShardIterator"].clone();
    let body = json!({ "ShardIterator": iterator }).to_string();
    let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "Kinesis_20131202.GetRecords")];
    let deaf: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut stream = connect(address);
            send(&mut stream, "POST", &headers, body.as_bytes());
            stream
        })
        .collect();
    for _ in 0..50 {
        good(address, "PutRecord", &json!({ "StreamName": "s", "Data": HELLO, "PartitionKey": "k" }));
    }
    let peak_mib = server.peak_mib();
    // The least budget of the engine, the gateway's bounds, and what answers in the making take besides.
    assert!(peak_mib < 128 + 128 + 2 * 256 + 128, "{peak_mib} MiB");
    drop(deaf);
    assert_eq!(records(address, "s").len(), 62, "readers are served again");
}
