//! Damage on the disk of a real server, as readers are told of it: those of the native protocol which records are lost, all that follow
//! each other at once, and all others come; those of the Kinesis API are refused, or go on behind it if the operator says so.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;

use ::client::SubscribeError;
use base64::Engine;
use frame::proto::{ErrorCode, Failure};
use frame::{Quotas, Sequence, ShardId};
use serde_json::{Value, json};
use server::client::ClientError;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::admin::samples;
use crate::directories::{filled, find, flip, record, segment, tail};
use crate::fan_out::{Events, SHARD};
use crate::gateway::{arn, ask, good};
use crate::native::connect;
use crate::rig::{PATIENCE, Server, directory, run, store};

const RECORDS: u32 = 9_000;

/// Told at once. Batches are of a hundred records: no answer reaches over the end of one.
const SEALED: [Range<u64>; 4] = [777..778, 1510..1520, 2000..2001, 2001..2004];

/// A record of a batch in the open segment, all of which recovery calls damaged.
const OPEN: Range<u64> = 8401..8501;

fn numbers(range: &Range<u64>) -> Range<Sequence> {
    Sequence(range.start)..Sequence(range.end)
}

/// A log with all that damage.
fn damaged_log() -> (TempDir, PathBuf) {
    let (directory, data) = filled(RECORDS, true);
    let first = segment(&data, 1);
    for number in SEALED.into_iter().flatten() {
        flip(&first, find(&first, format!("record {number} ").as_bytes()) + 50);
    }
    let open = segment(&data, 3);
    flip(&open, find(&open, b"record 8450 ") + 50);
    (directory, data)
}

fn damaged_numbers() -> Vec<Range<Sequence>> {
    SEALED.iter().chain([&OPEN]).map(numbers).collect()
}

/// What it holds beside.
fn intact() -> Vec<Vec<u8>> {
    let damaged = damaged_numbers();
    let is_intact = |number: &u32| !damaged.iter().any(|lost| lost.contains(&Sequence(u64::from(*number))));
    (1..=RECORDS).filter(is_intact).map(record).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_told_what_is_lost_and_go_on_right_behind_it() {
    let (_directory, data) = damaged_log();
    let server = Server::start(&data);
    let (damaged, intact) = (damaged_numbers(), intact());

    // By requests.
    let mut client = server.client();
    let stream = client.describe_stream("s").unwrap();
    let (shard, tip) = (stream.shards[0].shard, stream.shards[0].tip);
    let (mut from, mut records, mut told) = (Sequence(1), Vec::new(), Vec::new());
    while from < tip {
        match client.read(stream.stream, shard, from, 1 << 20) {
            Ok(found) => {
                records.extend(found.iter().map(|frame| frame.data().to_vec()));
                from = found.result.next;
            }
            Err(ClientError::Refused(Failure { code: ErrorCode::Damaged, damaged: Some(numbers), .. })) => {
                assert_eq!(numbers.start, from);
                from = numbers.end;
                told.push(numbers);
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(told, damaged);
    assert!(records == intact, "{} records of {}", records.len(), intact.len());
    // What is asked for within them is told from there on.
    let refused = client.read(stream.stream, shard, Sequence(1515), 1 << 20);
    let Err(ClientError::Refused(failure)) = refused else { panic!("it is damaged") };
    assert_eq!(failure.damaged, Some(Sequence(1515)..Sequence(1520)), "{failure}");

    // Pushed, to the crate's subscriptions: each is an error, and whoever calls again is told what follows.
    let client = connect(&server).await;
    let mut subscription = client.subscribe("s", shard, Sequence(1)).await.unwrap();
    let (mut records, mut told) = (Vec::new(), Vec::new());
    while records.len() < intact.len() {
        match timeout(PATIENCE, subscription.next()).await.expect("nothing came") {
            Ok(record) => records.push(record.expect("the shard is open").data),
            Err(SubscribeError::Damaged { shard: ShardId(1), numbers, .. }) => told.push(numbers),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(told, damaged);
    assert!(records == intact, "{} records of {}", records.len(), intact.len());

    // The command names those that follow each other together.
    let (records, finished) = tail(&server);
    let limit = intact.len().to_string();
    let followed = run(server.command(["tail", "s", "--follow", "--limit", &limit]), b"");
    assert!(records == intact && finished.status.code() == Some(1), "{}", finished.err);
    assert!(followed.out == finished.out && followed.status.code() == Some(1), "{}", followed.err);
    for lost in [777..778, 1510..1520, 2000..2004, OPEN] {
        let named = format!("records {} to {} of shard 1 are passed over: damaged", lost.start, lost.end - 1);
        assert!(finished.err.contains(&named) && followed.err.contains(&named), "{named}: {}", finished.err);
    }
    assert_eq!(finished.err.lines().count(), 4, "{}", finished.err);

    // Over HTTP a page ends there, and the next is refused. It is told where to go on.
    let api = server.http.unwrap();
    let (mut start, mut read, mut refusals) = (json!({ "ShardIteratorType": "TRIM_HORIZON" }), Vec::new(), 0);
    loop {
        let (found, refused) = read_on(api, start);
        read.extend(found);
        let Some(refused) = refused else { break };
        let behind = refused.split("AT_SEQUENCE_NUMBER ").nth(1).and_then(|number| number.split(' ').next());
        let number = behind.unwrap_or_else(|| panic!("{refused}"));
        start = json!({ "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": number });
        refusals += 1;
    }
    assert_eq!(refusals, damaged.len());
    assert!(read == intact, "{} records of {}", read.len(), intact.len());
    server.stop();
}

/// What GetRecords tells from a place to the end, or until it is refused.
fn read_on(api: SocketAddr, mut start: Value) -> (Vec<Vec<u8>>, Option<String>) {
    start["StreamName"] = json!("s");
    start["ShardId"] = json!(SHARD);
    let mut iterator = good(api, "GetShardIterator", &start)["ShardIterator"].clone();
    let mut records = Vec::new();
    loop {
        let (status, page) = ask(api, "GetRecords", &json!({ "ShardIterator": iterator }));
        if status != 200 {
            assert!(status == 500 && page.to_string().contains("InternalFailure"), "{status} {page}");
            return (records, Some(page.to_string()));
        }
        records.extend(page["Records"].as_array().unwrap().iter().map(data_of));
        if page["MillisBehindLatest"] == 0 {
            return (records, None);
        }
        iterator = page["NextShardIterator"].clone();
    }
}

fn data_of(record: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(record["Data"].as_str().unwrap()).unwrap()
}

/// Found on reading: whoever reads by the Kinesis API never came past damage, as its clients ask again for ever.
#[test]
fn readers_of_the_api_go_on_behind_damage_if_the_operator_says_so() {
    let (_directory, directory) = damaged_log();
    let server = Server::start_with(&directory, &["--past-damage"]);
    let (api, intact) = (server.http.unwrap(), intact());
    let lost: u64 = damaged_numbers().iter().map(|lost| lost.end.0 - lost.start.0).sum();
    let (records, refused) = read_on(api, json!({ "ShardIteratorType": "TRIM_HORIZON" }));
    assert_eq!(refused, None);
    assert!(records == intact, "{} records of {}", records.len(), intact.len());
    let (records, refused) = read_on(api, json!({ "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": 1 }));
    assert!(records == intact && refused.is_none(), "{} records of {}", records.len(), intact.len());

    let made = json!({ "StreamARN": arn("s"), "ConsumerName": "reader" });
    let consumer = good(api, "RegisterStreamConsumer", &made)["Consumer"]["ConsumerARN"].as_str().unwrap().to_owned();
    let mut events = Events::begin(api, &consumer, SHARD, &json!({ "Type": "TRIM_HORIZON" }));
    let pushed: Vec<Vec<u8>> = events.records(intact.len()).0.iter().map(data_of).collect();
    assert!(pushed == intact, "{} records of {}", pushed.len(), intact.len());

    // Each of the three readers was not given them.
    assert_eq!(samples(&server)["millstream_http_damaged_records_passed_over_total"], (3 * lost) as f64);
    let log = server.log_text();
    for lost in [777..778, 1510..1520, 2000..2001, OPEN] {
        let named =
            format!("records {} to {} of shard 1 of stream s are passed over: damaged", lost.start, lost.end - 1);
        assert!(log.contains(&named), "{named}: {log}");
    }
    server.stop();
}

/// Bug: a reader who was told to go on behind a damaged part of a large record, and did, met it again for ever; one that is pushed went
/// round, also where readers pass over damage. Mechanism: whoever begins within such a record is given it from its first part on. Fix:
/// not where that is damaged before the place it began at.
#[test]
fn readers_go_on_behind_a_large_record_that_is_damaged() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let mut client = server.client();
    let stream = client.create_stream("s", 1, Quotas::NONE).unwrap().stream;
    let large: Vec<u8> = (0..250_000).flat_map(|line| format!("line {line:06}\n").into_bytes()).collect();
    store(&mut client, stream, "k", [b"before".to_vec()]);
    store(&mut client, stream, "k", [large]);
    store(&mut client, stream, "k", [b"behind".to_vec()]);
    drop(client);
    server.stop();
    let first = segment(&data, 1);
    flip(&first, find(&first, b"line 125000"));

    let server = Server::start(&data);
    let api = server.http.unwrap();
    let (records, refused) = read_on(api, json!({ "ShardIteratorType": "TRIM_HORIZON" }));
    assert_eq!(records, [b"before"]);
    let refused = refused.expect("it is damaged");
    let number = refused.split("AT_SEQUENCE_NUMBER ").nth(1).and_then(|number| number.split(' ').next()).unwrap();
    let start = json!({ "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": number });
    assert_eq!(read_on(api, start), (vec![b"behind".to_vec()], None));
    let made = json!({ "StreamARN": arn("s"), "ConsumerName": "reader" });
    let consumer = good(api, "RegisterStreamConsumer", &made)["Consumer"]["ConsumerARN"].as_str().unwrap().to_owned();
    let begin =
        |api, start: Value| Events::begin(api, &consumer, SHARD, &start).records(1).0.iter().map(data_of).collect();
    let pushed: Vec<Vec<u8>> = begin(api, json!({ "Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": number }));
    assert_eq!(pushed, [b"behind"]);
    server.stop();

    let server = Server::start_with(&data, &["--past-damage"]);
    let api = server.http.unwrap();
    let all = [b"before", b"behind"];
    assert_eq!(
        read_on(api, json!({ "ShardIteratorType": "TRIM_HORIZON" })),
        (all.map(|text| text.to_vec()).to_vec(), None)
    );
    let pushed = Events::begin(api, &consumer, SHARD, &json!({ "Type": "TRIM_HORIZON" })).records(2).0;
    assert_eq!(pushed.iter().map(data_of).collect::<Vec<_>>(), all);
    server.stop();
}
