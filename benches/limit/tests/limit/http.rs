//! `limit http`: what a load generator asks of the API is answered, each body hashed, and all of it counted.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Asks one thing over a connection of its own: the status, the hash that was told, the body.
fn ask(address: &str, operation: &str, body: &str) -> (u16, String, Value) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {address}\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .expect("it takes everything");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    let hash = head.lines().find_map(|line| line.strip_prefix("x-body-sha256: ")).expect("every answer has it");
    (status, hash.to_owned(), serde_json::from_str(body).unwrap_or_default())
}

#[test]
fn bodies_are_hashed_and_answered_as_the_api_does() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_limit"))
        .args(["http", "--records", "3", "--shards", "2", "--threads", "1", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cargo built the binary");
    let mut lines = BufReader::new(child.stderr.take().expect("it was piped")).lines();
    let first = lines.next().expect("it says when it is ready").expect("it is text");
    let address = first.strip_prefix("ready http=").expect("that is what it says");

    // Longer than one receive.
    let body = "x".repeat(300_000);
    let (status, hash, put) = ask(address, "PutRecords", &body);
    let expected: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((status, hash), (200, expected));
    let records = put["Records"].as_array().expect("it tells of records");
    assert_eq!((records.len(), &put["FailedRecordCount"]), (3, &json!(0)));
    let number = |record: &Value| record["SequenceNumber"].as_str().map(str::len);
    assert!(records.iter().all(|record| number(record) == Some(56)), "{put}");
    let (_, _, one) = ask(address, "PutRecord", "{}");
    assert_eq!((number(&one), &one["ShardId"]), (Some(56), &json!("shardId-000000000000")));
    let (_, _, shards) = ask(address, "ListShards", "{}");
    assert_eq!(shards["Shards"].as_array().map(Vec::len), Some(2));
    let (_, _, summary) = ask(address, "DescribeStreamSummary", "{}");
    assert_eq!(summary["StreamDescriptionSummary"]["StreamStatus"], "ACTIVE");
    let (status, _, refused) = ask(address, "GetRecords", "{}");
    assert_eq!((status, &refused["__type"]), (400, &json!("UnknownOperationException")));

    drop(child.stdin.take());
    let output = child.wait_with_output().expect("it ends with its input");
    assert!(output.status.success());
    let found: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!((&found["requests"], &found["body_bytes"]), (&json!(5), &json!(300_008)), "{found}");
    assert!(found["process_cpu_s"].as_f64().is_some_and(|seconds| seconds > 0.0), "{found}");
}
