//! Shards moved between reactors while records come and are pushed: nothing is lost, nothing comes twice, and who reads goes on.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use frame::proto::{AckResult, ErrorCode, Start};
use frame::{Quotas, Sequence, ShardId};
use serde_json::json;
use server::client::{Batch, ClientError};

use crate::gateway::good;
use crate::reshard::{LINES, STEPS, check, put_beside, start, streams, tailed};
use crate::rig::{Server, directory, millstream, read_all, started_by, store};

fn tail(server: &Server, more: &[&str]) -> Child {
    let mut command = server.command(["tail", "orders", "--verbose"].into_iter().chain(more.iter().copied()));
    command.stdout(Stdio::piped()).spawn().unwrap()
}

/// Moves a shard to the other one of two reactors.
fn move_one(server: &Server, step: usize) {
    let stream = server.client().describe_stream("orders").unwrap();
    let shard = stream.shards[step % stream.shards.len()];
    let to = 1 - shard.reactor;
    let told = streams(server, &["move", "orders", &shard.shard.to_string(), &to.to_string()]).good();
    assert!(told.text().contains(&format!("at reactor {to}")), "{}", told.text());
    let moved = server.client().describe_stream("orders").unwrap();
    assert_eq!(moved.shards.iter().find(|found| found.shard == shard.shard).unwrap().reactor, to);
}

/// What one producer sent with one key stands in its order.
fn check_order(told: &[(u32, String)]) {
    let mut last: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (_, line) in told {
        let fields: Vec<&str> = line.split(',').collect();
        let place = (fields[1].parse().unwrap(), fields[2].parse().unwrap());
        let before = last.insert(fields[0], place);
        assert!(before.is_none_or(|before| before < place), "{line} after {before:?}");
    }
}

#[test]
fn nothing_is_lost_while_shards_move() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = start(&data, "2");
    streams(&server, &["create", "orders", "--shards", "3", "--quotas", "none"]).good();
    let mut followers = [tail(&server, &["--follow"]), tail(&server, &["--follow", "--since", "10m"])];
    put_beside(&server, &["--producer", "nightly"], move_one);
    let stream = server.client().describe_stream("orders").unwrap();
    for follower in &mut followers {
        let told = tailed(follower);
        check(&told, &stream);
        check_order(&told);
    }
    // Over HTTP the reactor that owns a shard now is asked.
    for shard in &stream.shards {
        let shard = format!("shardId-{:012}", shard.shard.0 - stream.shards[0].shard.0);
        let iterator = json!({"StreamName": "orders", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        let iterator = good(server.http.unwrap(), "GetShardIterator", &iterator)["ShardIterator"].clone();
        let records = good(server.http.unwrap(), "GetRecords", &json!({"ShardIterator": iterator, "Limit": 5}));
        assert_eq!(records["Records"].as_array().unwrap().len(), 5);
    }
    server.kill();
    // Homes outlive the process, and count modulo the reactors there are.
    for reactors in ["2", "1", "3", "2"] {
        let server = start(&data, reactors);
        let now = server.client().describe_stream("orders").unwrap();
        let count: u32 = reactors.parse().unwrap();
        let homes = stream.shards.iter().map(|shard| shard.reactor % count);
        assert!(now.shards.iter().map(|shard| shard.reactor).eq(homes), "{reactors} reactors: {now:?}");
        let told = tailed(&mut tail(&server, &[]));
        check(&told, &now);
        check_order(&told);
        server.stop();
    }
    assert_eq!(stream.shards.iter().map(|shard| shard.tip.0 - 1).sum::<u64>(), (LINES * STEPS) as u64);
}

/// A connection to either reactor reads, appends and subscribes on, and a subscriber at the old owner is told where to go on.
#[test]
fn a_connection_goes_on_where_a_shard_went() {
    let directory = directory();
    let server = start(&directory.path().join("data"), "2");
    let mut client = server.client();
    let stream = client.create_stream("orders", 1, Quotas::NONE).unwrap();
    let shard = stream.shards[0];
    store(&mut client, stream.stream, "k", ["a", "b"]);
    let subscription = client.subscribe(stream.stream, shard.shard, Start::Latest, 1 << 20).unwrap();
    let begun = client.next_pushed().unwrap().unwrap().outcome.unwrap();
    assert_eq!(begun.result.next, Sequence(3));
    for (round, to) in [1 - shard.reactor, shard.reactor, 1 - shard.reactor].into_iter().enumerate() {
        let moved = server.client().move_shard("orders", shard.shard, to).unwrap();
        let (next, at) = (Sequence(3 + round as u64), moved.shards[0]);
        assert_eq!((at.reactor, at.tip), (to, next));
        let mut batch = Batch::new();
        assert!(batch.push(b"k", b"c").unwrap());
        let results = client.append(stream.stream, &batch).unwrap();
        assert_eq!(results, [AckResult::Durable(shard.shard, next)]);
        assert_eq!(read_all(&mut client, &stream, shard.shard).len(), next.0 as usize);
        assert_eq!(read_all(&mut server.client(), &stream, shard.shard).len(), next.0 as usize);
    }
    let failure = client.next_pushed().unwrap().unwrap();
    assert_eq!(failure.subscription, subscription);
    assert_eq!(failure.outcome.unwrap_err().code, ErrorCode::Resharding);
    client.subscribe(stream.stream, shard.shard, Start::At(Sequence(3)), 1 << 20).unwrap();
    assert_eq!(client.next_pushed().unwrap().unwrap().outcome.unwrap().result.next, Sequence(3));
    let mut pushed = 0;
    while pushed < 3 {
        // Each move has sealed a segment, and a push ends with one.
        pushed += client.next_pushed().unwrap().unwrap().outcome.unwrap().len();
    }
    assert_eq!(pushed, 3);
    server.stop();
}

/// Where few files may be open moves end in words, and records, clients and starts have what is left.
#[test]
fn moves_end_before_open_files_do() {
    let directory = directory();
    let data = directory.path().join("data");
    let start = || {
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -n 256; exec \"$0\" \"$@\""]);
        let mut serve = millstream(["serve", "--native", "127.0.0.1:0", "--http", "127.0.0.1:0", "--reactors", "2"]);
        serve.args(["--segment-bytes", "4MiB", "--segments-ready", "1", "--data"]).arg(&data);
        Server::start_command(&data, started_by(shell, &serve))
    };
    let server = start();
    let mut client = server.client();
    let stream = client.create_stream("orders", 1, Quotas::NONE).unwrap();
    let shard = stream.shards[0];
    let mut records = 0;
    let error = loop {
        store(&mut client, stream.stream, "k", ["a"]);
        records += 1;
        let to = (shard.reactor + records as u32) % 2;
        match server.client().move_shard("orders", shard.shard, to) {
            Ok(_) => assert!(records < 128, "each leaves a segment"),
            Err(error) => break error,
        }
    };
    assert!(records > 16, "{records} records");
    assert_eq!(error.code(), Some(ErrorCode::Busy));
    assert!(error.to_string().contains("LimitNOFILE"), "{error}");
    server.kill();
    let server = start();
    let mut client = server.client();
    store(&mut client, stream.stream, "k", ["b"]);
    assert_eq!(read_all(&mut client, &stream, shard.shard).len(), records + 1);
    server.stop();
}

#[test]
fn mistakes_are_told_in_words() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = start(&data, "2");
    let mut client = server.client();
    let stream = client.create_stream("orders", 1, Quotas::NONE).unwrap();
    let shard = stream.shards[0];
    let refused =
        |shard: ShardId, to: u32| streams(&server, &["move", "orders", &shard.to_string(), &to.to_string()]).refusal();
    let there = refused(shard.shard, shard.reactor);
    assert!(there.contains(&format!("is at reactor {} already", shard.reactor)), "{there}");
    let nowhere = refused(shard.shard, 2);
    assert!(nowhere.contains("there is no reactor 2; they are numbered from 0 to 1"), "{nowhere}");
    let unknown = refused(ShardId(99), 1);
    assert!(unknown.contains("has no shard 99"), "{unknown}");
    client.split_shard("orders", shard.shard, 1 << 127).unwrap();
    let closed = refused(shard.shard, 1 - shard.reactor);
    assert!(closed.contains("was split or merged before; take an open one"), "{closed}");
    let code = |error: ClientError| error.code();
    let moved = client.move_shard("nowhere", shard.shard, 1).map_err(code).map(drop);
    assert_eq!(moved, Err(Some(ErrorCode::UnknownStream)));
    server.stop();
    let server = start(&data, "1");
    let alone = streams(&server, &["move", "orders", "2", "1"]).refusal();
    assert!(alone.contains("there is no reactor 1, but number 0 alone"), "{alone}");
    server.stop();
}
