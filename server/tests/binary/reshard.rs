//! Shards split and merged while records come, over both front ends: nothing is lost, nothing comes twice, and who reads goes on
//! from parents to children.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use frame::proto::{AckResult, ErrorCode, ShardDescription, Start, StreamDescription};
use frame::{Quotas, Retention, Sequence, ShardId};
use serde_json::{Value, json};
use server::client::{Batch, ClientError};

use crate::gateway::{ask, good, refused};
use crate::rig::{Finished, Server, directory, millstream, read_all, run, store, wait};

/// The records of a shard.
type Stored = Vec<(Sequence, Vec<u8>)>;

/// Lines that are put beside each split, merge or move.
pub(crate) const LINES: usize = 3000;

pub(crate) const STEPS: usize = 6;

/// A server of so many reactors, whose streams made over HTTP have no quotas.
pub(crate) fn start(data: &Path, reactors: &str) -> Server {
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "127.0.0.1:0", "--quotas", "none"]);
    command.args(["--segment-bytes", "4MiB", "--segments-ready", "1", "--reactors", reactors, "--data"]).arg(data);
    Server::start_command(data, command)
}

/// The open shards, by hash range.
fn open(stream: &StreamDescription) -> Vec<ShardDescription> {
    let mut open: Vec<ShardDescription> =
        stream.shards.iter().filter(|shard| shard.children.is_none()).copied().collect();
    open.sort_by_key(|shard| shard.hash_start);
    open
}

pub(crate) fn streams(server: &Server, arguments: &[&str]) -> Finished {
    run(server.command(["streams"].into_iter().chain(arguments.iter().copied())), b"")
}

/// Splits and merges by turns.
fn change(server: &Server, step: usize) {
    let stream = server.client().describe_stream("orders").unwrap();
    let open = open(&stream);
    let number = |at: usize| open[at].shard.to_string();
    let told = match step % 3 {
        2 => streams(server, &["merge", "orders", &number(1), &number(0)]),
        _ => streams(server, &["split", "orders", &number(step % open.len())]),
    };
    let told = told.good();
    assert!(told.text().contains("closed, goes on in"), "{}", told.text());
}

/// Puts lines while shards are split, merged or moved, a lot beside each.
pub(crate) fn put_beside(server: &Server, more: &[&str], change: impl Fn(&Server, usize)) {
    let mut put = server.command(["put", "orders", "--key-column", "1"].into_iter().chain(more.iter().copied()));
    let mut put = put.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = put.stdin.take().unwrap();
    let (go, may_go) = mpsc::channel();
    let writer = std::thread::spawn(move || {
        for step in may_go {
            for line in 0..LINES {
                writeln!(stdin, "key-{},{step},{line}", line % 97).unwrap();
            }
        }
    });
    for step in 0..STEPS {
        go.send(step).unwrap();
        change(server, step);
    }
    drop(go);
    writer.join().unwrap();
    let out = BufReader::new(put.stdout.take().unwrap());
    assert!(wait(&mut put).success());
    let told: Vec<String> = out.lines().map(Result::unwrap).collect();
    assert_eq!(told, [format!("{} records stored", LINES * STEPS)]);
}

/// What a tail has printed: shard and data, in its order.
pub(crate) fn tailed(tail: &mut Child) -> Vec<(u32, String)> {
    let lines = BufReader::new(tail.stdout.take().unwrap()).lines().map(Result::unwrap);
    let parse = |line: String| {
        let fields: Vec<&str> = line.split('\t').collect();
        (fields[0].parse().unwrap(), fields[4].to_owned())
    };
    let told: Vec<(u32, String)> = lines.take(LINES * STEPS).map(parse).collect();
    let _ = tail.kill();
    let _ = tail.wait();
    told
}

/// All that was put is there once, and nothing of a child before the last of its parents.
pub(crate) fn check(told: &[(u32, String)], stream: &StreamDescription) {
    let distinct: BTreeSet<&str> = told.iter().map(|(_, line)| line.as_str()).collect();
    assert_eq!((told.len(), distinct.len()), (LINES * STEPS, LINES * STEPS), "all, and none twice");
    let last: BTreeMap<u32, usize> = told.iter().enumerate().map(|(at, (shard, _))| (*shard, at)).collect();
    for shard in &stream.shards {
        let first = told.iter().position(|(of, _)| *of == shard.shard.0).unwrap_or(usize::MAX);
        for parent in shard.parents() {
            assert!(last.get(&parent.0).is_none_or(|&last| last < first), "{parent} before {}", shard.shard);
        }
    }
}

#[test]
fn nothing_is_lost_while_shards_are_split_and_merged() {
    let directory = directory();
    let server = start(&directory.path().join("data"), "2");
    streams(&server, &["create", "orders", "--shards", "2", "--quotas", "none"]).good();
    let tail = |more: &[&str]| {
        let mut command = server.command(["tail", "orders", "--verbose"].into_iter().chain(more.iter().copied()));
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut follower = tail(&["--follow"]);
    put_beside(&server, &[], change);
    let stream = server.client().describe_stream("orders").unwrap();
    assert_eq!(stream.shards.iter().filter(|shard| shard.children.is_some()).count(), STEPS + STEPS / 3);
    check(&tailed(&mut follower), &stream);
    check(&tailed(&mut tail(&[])), &stream);
    check(&tailed(&mut tail(&["--follow", "--since", "10m"])), &stream);
    server.stop();
}

#[test]
fn lineage_outlives_restarts_with_other_numbers_of_reactors() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut before: Option<(StreamDescription, Vec<Stored>)> = None;
    for reactors in ["2", "1", "3"] {
        let server = start(&data, reactors);
        let mut client = server.client();
        let stream = client.create_stream("orders", 1, Quotas::NONE).unwrap();
        if let Some((before, records)) = &before {
            for (shard, stored) in before.shards.iter().zip(records) {
                let now = stream.shards.iter().find(|now| now.shard == shard.shard).unwrap();
                let same = ShardDescription { reactor: shard.reactor, ..*now };
                assert_eq!(same, *shard);
                assert!(read_all(&mut client, &stream, shard.shard) == *stored, "shard {}", shard.shard);
            }
        }
        for round in 0..3_u32 {
            for key in 0..40 {
                store(&mut client, stream.stream, &key.to_string(), [format!("{reactors} {round} {key}")]);
            }
            let shard = open(&client.describe_stream("orders").unwrap())[0];
            let middle = shard.hash_start + (shard.hash_end - shard.hash_start) / 2 + 1;
            client.split_shard("orders", shard.shard, middle).unwrap();
        }
        let stream = client.describe_stream("orders").unwrap();
        let records = stream.shards.iter().map(|shard| read_all(&mut client, &stream, shard.shard)).collect();
        before = Some((stream, records));
        server.stop();
    }
}

#[test]
fn mistakes_are_told_in_words() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("orders", 3, Quotas::NONE).unwrap();
    let [one, two, three] = [0, 1, 2].map(|at| stream.shards[at].shard);
    let code = |error: ClientError| error.code();
    let split = |shard, at| server.client().split_shard("orders", shard, at).map_err(code).map(drop);
    let merge = |one, two| server.client().merge_shards("orders", one, two).map_err(code).map(drop);
    let wrong = Err(Some(ErrorCode::InvalidArgument));
    assert_eq!(split(two, stream.shards[1].hash_start), wrong, "at its start");
    assert_eq!(split(two, stream.shards[2].hash_start), wrong, "outside");
    assert_eq!(split(ShardId(99), 7), Err(Some(ErrorCode::UnknownShard)));
    assert_eq!(split(ShardId::CATALOG, 7), Err(Some(ErrorCode::UnknownShard)));
    assert_eq!(merge(one, three), wrong, "no neighbours");
    assert_eq!(merge(two, two), wrong, "the same");
    assert_eq!(merge(one, ShardId(99)), Err(Some(ErrorCode::UnknownShard)));
    assert_eq!(merge(one, two), Ok(()));
    assert_eq!(merge(one, two), wrong, "closed");
    assert_eq!(split(one, 7), wrong, "closed");
    let closed = streams(&server, &["split", "orders", &one.to_string()]).refusal();
    assert!(closed.contains("was split or merged before; take an open one"), "{closed}");
    let unknown = streams(&server, &["split", "orders", "99"]).refusal();
    assert!(unknown.contains("has no shard 99"), "{unknown}");
    let nowhere = streams(&server, &["merge", "nowhere", "1", "2"]).refusal();
    assert!(nowhere.contains("there is no stream nowhere"), "{nowhere}");
    let described = streams(&server, &["describe", "orders"]).good();
    for expected in [
        "orders: stream 1, 2 shards open, 2 closed",
        "closed, goes on in 4",
        "merged from shards 1 and 2",
        "hash keys 0 to",
    ] {
        assert!(described.text().contains(expected), "{}", described.text());
    }
    server.stop();
}

/// A closed shard is read to its end from everywhere, and says so by itself.
#[test]
fn a_closed_shard_says_where_it_ends() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("orders", 1, Quotas::NONE).unwrap();
    let parent = stream.shards[0].shard;
    store(&mut client, stream.stream, "k", ["a", "b", "c"]);
    let waiting = client.subscribe(stream.stream, parent, Start::Latest, 0).unwrap();
    let begun = client.next_pushed().unwrap().unwrap().outcome.unwrap();
    assert_eq!((begun.result.next, begun.result.children), (Sequence(4), None));
    let split = server.client().split_shard("orders", parent, 1 << 127).unwrap();
    let children = split.shards[0].children.unwrap();
    assert_eq!((split.shards[0].tip, children.shards().count()), (Sequence(4), 2));
    // It hears of the end although it granted nothing.
    let pushed = client.next_pushed().unwrap().unwrap();
    let result = pushed.outcome.unwrap().result;
    assert_eq!((pushed.subscription, result.next, result.children), (waiting, Sequence(4), Some(children)));
    assert!(client.next_pushed().unwrap().is_none(), "nothing goes on");
    for (start, from) in [(Start::Latest, 4), (Start::At(Sequence(2)), 2), (Start::Since(1), 1)] {
        let records = client.read(stream.stream, parent, start, 1 << 20).unwrap();
        assert_eq!((records.len(), records.result.children), (4 - from, Some(children)), "{start:?}");
    }
    let past = client.read(stream.stream, parent, Sequence(5), 100).unwrap_err();
    assert_eq!(past.code(), Some(ErrorCode::UnknownSequence));
    let mut batch = Batch::new();
    assert!(batch.push(b"k", b"d").unwrap());
    let results = client.append(stream.stream, &batch).unwrap();
    let [AckResult::Durable(shard, Sequence(1))] = results[..] else { panic!("{results:?}") };
    assert!(children.shards().any(|child| child == shard));
    server.stop();
}

#[test]
fn the_api_tells_the_lineage() {
    let directory = directory();
    let server = start(&directory.path().join("data"), "2");
    let api = server.http.unwrap();
    let put = |key: u32| {
        let record = json!({"StreamName": "orders", "PartitionKey": key.to_string(), "Data": "aGVsbG8="});
        good(api, "PutRecord", &record)
    };
    let list = |filter: &Value| {
        let answer = good(api, "ListShards", &json!({"StreamName": "orders", "ShardFilter": filter}));
        answer["Shards"].as_array().unwrap().clone()
    };
    let all = || list(&json!({"Type": "FROM_TRIM_HORIZON"}));
    // Another stream's shards lie between.
    good(api, "CreateStream", &json!({"StreamName": "orders", "ShardCount": 1}));
    good(api, "CreateStream", &json!({"StreamName": "others", "ShardCount": 3}));
    let before: Vec<String> = (0..20).map(|key| put(key)["SequenceNumber"].as_str().unwrap().to_owned()).collect();
    let parent = all()[0]["ShardId"].clone();
    let half = (1_u128 << 127).to_string();
    let split = json!({"StreamName": "orders", "ShardToSplit": parent, "NewStartingHashKey": half});
    assert_eq!(good(api, "SplitShard", &split), Value::Null);
    let after: Vec<String> = (0..20).map(|key| put(key)["SequenceNumber"].as_str().unwrap().to_owned()).collect();
    assert!(before.iter().max() < after.iter().min(), "numbers of children come after their parent's");
    let shards = all();
    let end = shards[0]["SequenceNumberRange"]["EndingSequenceNumber"].as_str().unwrap();
    assert!(before.iter().all(|number| number.as_str() <= end) && after.iter().all(|number| number.as_str() > end));
    assert_eq!((&shards[1]["ParentShardId"], &shards[2]["ParentShardId"]), (&parent, &parent));
    assert!(shards[1]["SequenceNumberRange"].get("EndingSequenceNumber").is_none());
    // Read to its end, the parent names its children, and has no more.
    let iterator = json!({"StreamName": "orders", "ShardId": parent, "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = good(api, "GetShardIterator", &iterator)["ShardIterator"].clone();
    // Children are dated ahead, so that their numbers come after their parent's.
    std::thread::sleep(Duration::from_millis(2500));
    let records = good(api, "GetRecords", &json!({"ShardIterator": iterator}));
    assert_eq!(records["Records"].as_array().unwrap().len(), 20);
    assert!(records["MillisBehindLatest"].as_u64().unwrap() > 0, "as long as it is closed: {records}");
    assert!(records.get("NextShardIterator").is_none(), "{records}");
    let children = records["ChildShards"].as_array().unwrap();
    assert_eq!(children.len(), 2);
    for (child, shard) in children.iter().zip(&shards[1..]) {
        assert_eq!((&child["ShardId"], &child["HashKeyRange"]), (&shard["ShardId"], &shard["HashKeyRange"]));
        assert_eq!(child["ParentShards"], json!([parent]));
    }
    // And merged again.
    let (one, two) = (&shards[1]["ShardId"], &shards[2]["ShardId"]);
    let merge = json!({"StreamName": "orders", "ShardToMerge": one, "AdjacentShardToMerge": two});
    assert_eq!(good(api, "MergeShards", &merge), Value::Null);
    let shards = all();
    assert_eq!((&shards[3]["ParentShardId"], &shards[3]["AdjacentParentShardId"]), (one, two));
    let summary = good(api, "DescribeStreamSummary", &json!({"StreamName": "orders"}));
    assert_eq!(summary["StreamDescriptionSummary"]["OpenShardCount"], 1);
    let ids = |shards: Vec<Value>| shards.iter().map(|shard| shard["ShardId"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(list(&json!({"Type": "AT_LATEST"}))), [shards[3]["ShardId"].clone()]);
    assert_eq!(ids(list(&json!({"Type": "AT_TRIM_HORIZON"}))), ids(shards[..1].to_vec()));
    assert_eq!(ids(list(&json!({"Type": "AT_TIMESTAMP", "Timestamp": 1}))), ids(shards[..1].to_vec()));
    assert_eq!(ids(list(&json!({"Type": "FROM_TIMESTAMP", "Timestamp": 4e9}))), [shards[3]["ShardId"].clone()]);
    assert_eq!(ids(list(&json!({"Type": "AFTER_SHARD_ID", "ShardId": one}))), ids(shards[2..].to_vec()));
    assert_eq!(ids(list(&json!({"Type": "FROM_TRIM_HORIZON"}))), ids(shards.clone()));
    for kind in ["AT_TIMESTAMP", "FROM_TIMESTAMP"] {
        let body = json!({"StreamName": "orders", "ShardFilter": {"Type": kind}});
        assert_eq!(refused(api, "ListShards", &body).0, "InvalidArgumentException");
    }
    let page = good(api, "ListShards", &json!({"StreamName": "orders", "MaxResults": 3}));
    let rest = good(api, "ListShards", &json!({"NextToken": page["NextToken"]}));
    assert_eq!(ids(rest["Shards"].as_array().unwrap().clone()), [shards[3]["ShardId"].clone()]);
    assert!(rest.get("NextToken").is_none());

    for (action, body, kind) in [
        ("SplitShard", split, "InvalidArgumentException"),
        ("MergeShards", merge, "InvalidArgumentException"),
        (
            "SplitShard",
            json!({"StreamName": "orders", "ShardToSplit": shards[3]["ShardId"], "NewStartingHashKey": "0"}),
            "InvalidArgumentException",
        ),
        (
            "SplitShard",
            json!({"StreamName": "orders", "ShardToSplit": "shardId-000000000001", "NewStartingHashKey": "7"}),
            "ResourceNotFoundException",
        ),
        ("MergeShards", json!({"StreamName": "orders", "ShardToMerge": "3"}), "ValidationException"),
    ] {
        assert_eq!(refused(api, action, &body).0, kind, "{action} {body}");
    }
    assert_eq!(ask(api, "DeleteStream", &json!({"StreamName": "orders"})).0, 200);
    server.stop();
}

/// Bug: closed shards were listed for ever, and as what was open at the trim horizon the first ones. Mechanism: nobody looked at
/// what has expired. Fix: a shard that was closed before the horizon is told no more, and its children were open there.
#[test]
fn shards_of_which_all_has_expired_are_not_told() {
    let directory = directory();
    let server = start(&directory.path().join("data"), "1");
    let api = server.http.unwrap();
    good(api, "CreateStream", &json!({"StreamName": "s", "ShardCount": 2}));
    let split = json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "1000"});
    good(api, "SplitShard", &split);
    let ids = |filter: Option<&str>| {
        let mut body = json!({"StreamName": "s"});
        if let Some(kind) = filter {
            body["ShardFilter"] = json!({"Type": kind, "Timestamp": 0});
        }
        let shards = good(api, "ListShards", &body)["Shards"].as_array().unwrap().clone();
        shards.iter().map(|shard| shard["ShardId"].as_str().unwrap()[19..].parse().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!((ids(None), ids(Some("AT_TRIM_HORIZON"))), (vec![0, 1, 2, 3], vec![0, 1]));
    // Of seconds, which the API has not.
    server.client().set_retention("s", Retention::of_seconds(1)).unwrap();
    let until = std::time::Instant::now() + crate::rig::PATIENCE;
    while ids(None) != [1, 2, 3] {
        assert!(std::time::Instant::now() < until, "{:?}", ids(None));
        std::thread::sleep(Duration::from_millis(200));
    }
    assert_eq!(ids(Some("AT_TRIM_HORIZON")), [1, 2, 3]);
    assert_eq!(ids(Some("FROM_TIMESTAMP")), [1, 2, 3]);
    let described = good(api, "DescribeStream", &json!({"StreamName": "s", "Limit": 2}))["StreamDescription"].clone();
    assert_eq!(
        (&described["Shards"][0]["ShardId"], &described["HasMoreShards"]),
        (&json!("shardId-000000000001"), &json!(true))
    );
    server.stop();
}
