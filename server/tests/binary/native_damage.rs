//! Damage on the disk of a real server, as readers of the native protocol are told of it: which records are lost, all that follow each
//! other at once, and all others come.

use std::ops::Range;

use ::client::SubscribeError;
use frame::proto::{ErrorCode, Failure};
use frame::{Sequence, ShardId};
use serde_json::json;
use server::client::ClientError;
use tokio::time::timeout;

use crate::directories::{filled, find, flip, record, segment, tail};
use crate::gateway::{ask, good};
use crate::native::connect;
use crate::rig::{PATIENCE, Server, run};

const RECORDS: u32 = 9_000;

/// Told at once. Batches are of a hundred records: no answer reaches over the end of one.
const SEALED: [Range<u64>; 4] = [777..778, 1510..1520, 2000..2001, 2001..2004];

/// A record of a batch in the open segment, all of which recovery calls damaged.
const OPEN: Range<u64> = 8401..8501;

fn numbers(range: &Range<u64>) -> Range<Sequence> {
    Sequence(range.start)..Sequence(range.end)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_told_what_is_lost_and_go_on_right_behind_it() {
    let (_directory, data) = filled(RECORDS, true);
    for number in SEALED.into_iter().flatten() {
        let first = segment(&data, 1);
        flip(&first, find(&first, format!("record {number} ").as_bytes()) + 50);
    }
    let open = segment(&data, 3);
    flip(&open, find(&open, b"record 8450 ") + 50);
    let server = Server::start(&data);
    let damaged: Vec<Range<Sequence>> = SEALED.iter().chain([&OPEN]).map(numbers).collect();
    let is_intact = |number: &u32| !damaged.iter().any(|lost| lost.contains(&Sequence(u64::from(*number))));
    let intact: Vec<Vec<u8>> = (1..=RECORDS).filter(is_intact).map(record).collect();

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

    // Over HTTP a page ends there, and the next is refused.
    let api = server.http.unwrap();
    let place = json!({ "StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON" });
    let mut iterator = good(api, "GetShardIterator", &place)["ShardIterator"].clone();
    let mut count = 0;
    while count < 776 {
        let page = good(api, "GetRecords", &json!({ "ShardIterator": iterator }));
        count += page["Records"].as_array().unwrap().len();
        iterator = page["NextShardIterator"].clone();
    }
    assert_eq!(count, 776);
    let (status, answer) = ask(api, "GetRecords", &json!({ "ShardIterator": iterator }));
    assert!(status == 500 && answer.to_string().contains("InternalFailure"), "{status} {answer}");
    server.stop();
}
