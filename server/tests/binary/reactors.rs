//! Several reactors on one data directory: any number after any other, and every one of them serves everything.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;

use frame::proto::Start;
use frame::{Quotas, Sequence, ShardId};
use serde_json::{Value, json};

use crate::gateway::good;
use crate::rig::{Server, directory, millstream, read_all, refusal, run, store};

/// Shards of the stream: more than reactors, so that each owns some.
const SHARDS: u32 = 6;

type Stored = BTreeMap<ShardId, Vec<(Sequence, Vec<u8>)>>;

pub(crate) fn start(data: &std::path::Path, reactors: usize) -> Server {
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command.args(["--segment-bytes", "4MiB", "--segments-ready", "1", "--reactors", &reactors.to_string(), "--data"]);
    command.arg(data);
    Server::start_command(data, command)
}

/// Stores records through every reactor, and notes where.
fn fill(server: &Server, life: usize, stored: &mut Stored) {
    for (number, address) in server.reactors.iter().copied().chain([server.address]).enumerate() {
        let mut client = server.client_at(address);
        let stream = client.create_stream("shared", SHARDS, Quotas::NONE).unwrap();
        for key in 0..20 {
            let record = |at: u32| format!("{life} {number} {key} {at} {}", "x".repeat(2000)).into_bytes();
            let records: Vec<Vec<u8>> = (0..20).map(record).collect();
            let places = store(&mut client, stream.stream, &key.to_string(), &records);
            for ((shard, sequence), record) in places.into_iter().zip(records) {
                stored.entry(shard).or_default().push((sequence, record));
            }
        }
    }
}

/// Every reactor gives everything back.
fn check(server: &Server, stored: &Stored) {
    for address in server.reactors.iter().copied().chain([server.address]) {
        let mut client = server.client_at(address);
        let stream = client.describe_stream("shared").unwrap();
        assert_eq!(stored.len(), SHARDS as usize, "records went to every shard");
        for (&shard, stored) in stored {
            let described = stream.shards.iter().find(|described| described.shard == shard).unwrap();
            assert_eq!(described.tip, stored.last().unwrap().0.next(), "the tip of shard {shard} at {address}");
            assert!(read_all(&mut client, &stream, shard) == *stored, "shard {shard} at {address}");
        }
    }
}

#[test]
fn a_directory_opens_with_any_number_of_reactors() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut stored = Stored::new();
    for (life, reactors) in [1, 3, 2, 4, 1, 2].into_iter().enumerate() {
        let server = start(&data, reactors);
        assert_eq!(server.reactors.len(), if reactors == 1 { 0 } else { reactors });
        if life > 0 {
            check(&server, &stored);
        }
        fill(&server, life, &mut stored);
        check(&server, &stored);
        // By turns a clean shutdown and none.
        if life % 2 == 1 { server.stop() } else { server.kill() }
    }
    let server = start(&data, 3);
    check(&server, &stored);
    server.stop();
    // Each journal is whole by itself, those without a reactor too.
    let report = run(millstream(["inspect", "--verify", data.to_str().unwrap()]), b"").good();
    for expected in
        ["0000-0000000001.segment", "0003-0000000001.segment", "stream shared", "everything was read and is whole"]
    {
        assert!(report.text().contains(expected), "{}", report.text());
    }
}

#[test]
fn clients_are_told_which_reactor_owns_a_shard() {
    let directory = directory();
    let server = start(&directory.path().join("data"), 3);
    for (number, &address) in server.reactors.iter().enumerate() {
        let mut client = server.client_at(address);
        let reactors = client.welcome().reactors;
        assert_eq!((usize::from(reactors.own), reactors.count), (number, 3));
        let stream = client.create_stream("told", SHARDS, Quotas::NONE).unwrap();
        for shard in &stream.shards {
            let owner = server.reactors[shard.reactor as usize];
            assert_eq!((shard.reactor, reactors.port(shard.reactor)), (shard.shard.0 % 3, Some(owner.port())));
        }
    }
    server.stop();
    let server = start(&directory.path().join("data"), 1);
    let client = server.client();
    assert_eq!((client.welcome().reactors.count, client.welcome().reactors.port(0)), (0, None));
}

/// A port that is taken ends all reactors at once, and is told in one line.
#[test]
fn one_reactor_that_can_not_start_is_the_end_of_all() {
    let directory = directory();
    let data = directory.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let first = format!("127.0.0.1:{}", port - 1);
    let mut command = millstream(["serve", "--http", "off", "--log", "error", "--data"]);
    command.arg(&data).args(["--segment-bytes", "4MiB", "--reactors", "2", "--native", &first]);
    let line = run(command, b"").refusal();
    assert!(line.contains("choose another address with --native"), "{line}");
    let line = refusal(&data, &["--reactors", "2"]);
    assert!(line.contains("--reactors 2 is out of range") && line.contains("128MiB each"), "{line}");
}

#[test]
fn the_api_reaches_the_shards_of_every_reactor() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = start(&data, 3);
    let http = server.http.unwrap();
    good(http, "CreateStream", &json!({ "StreamName": "s", "ShardCount": SHARDS }));
    run(server.command(["streams", "quotas", "s", "none"]), b"").good();
    let records: Vec<Value> =
        (0..500).map(|number| json!({ "Data": "aGVsbG8=", "PartitionKey": format!("key {number}") })).collect();
    let answer = good(http, "PutRecords", &json!({ "StreamName": "s", "Records": records }));
    assert_eq!(answer["FailedRecordCount"], 0);
    let outcomes = answer["Records"].as_array().unwrap();
    let shards: BTreeSet<&str> = outcomes.iter().map(|outcome| outcome["ShardId"].as_str().unwrap()).collect();
    assert_eq!((outcomes.len(), shards.len()), (500, SHARDS as usize));
    server.kill();
    // Each record is where it was said to be, also for another number of reactors.
    let server = start(&data, 2);
    let http = server.http.unwrap();
    for shard in shards {
        let at = json!({ "StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
        let iterator = good(http, "GetShardIterator", &at)["ShardIterator"].clone();
        let read = good(http, "GetRecords", &json!({ "ShardIterator": iterator }));
        let found = read["Records"].as_array().unwrap().iter().map(|record| {
            (record["PartitionKey"].as_str().unwrap().to_owned(), record["SequenceNumber"].as_str().unwrap().to_owned())
        });
        let keys = (0..500).map(|number| format!("key {number}"));
        let stored = keys.zip(outcomes).filter(|(_, outcome)| outcome["ShardId"] == shard);
        let stored = stored.map(|(key, outcome)| (key, outcome["SequenceNumber"].as_str().unwrap().to_owned()));
        assert_eq!(found.collect::<Vec<_>>(), stored.collect::<Vec<_>>(), "{shard}");
    }
    server.stop();
}

#[test]
fn one_connection_is_pushed_the_shards_of_every_reactor() {
    let directory = directory();
    let server = start(&directory.path().join("data"), 3);
    let mut producer = server.client();
    let stream = producer.create_stream("s", SHARDS, Quotas::NONE).unwrap();
    let mut follower = server.client_at(server.reactors[1]);
    let mut followed = BTreeMap::new();
    for shard in &stream.shards {
        let subscription = follower.subscribe(stream.stream, shard.shard, Start::Latest, 64 << 20).unwrap();
        followed.insert(subscription, (shard.shard, Vec::new()));
    }
    // Where each begins is told before anything comes.
    follower.ping().unwrap();
    let mut stored: BTreeMap<ShardId, Vec<Sequence>> = BTreeMap::new();
    for number in 0..300 {
        let places = store(&mut producer, stream.stream, &number.to_string(), [vec![7; 20_000]]);
        places.into_iter().for_each(|(shard, sequence)| stored.entry(shard).or_default().push(sequence));
    }
    let mut left = 300;
    while left > 0 {
        let pushed = follower.next_pushed().unwrap().unwrap();
        let (_, found) = followed.get_mut(&pushed.subscription).unwrap();
        for frame in pushed.outcome.unwrap().iter() {
            found.push(frame.sequence());
            left -= 1;
        }
    }
    let found: BTreeMap<ShardId, Vec<Sequence>> = followed.into_values().collect();
    assert_eq!(found, stored);
    server.stop();
}
