//! The native client's crate against the real server: its examples, kills and splits beside appends, large records, secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use ::client::{
    AppendError, Client, ConnectError, Fault, Options, Pending, Producer, ProducerOptions, Quotas, Record, Secret,
    Sequence, ShardId, Subscription,
};
use tokio::time::timeout;

use crate::rig::{PATIENCE, SMALL, Server, directory, millstream, read_all, run};

#[path = "../../client/examples/consume.rs"]
#[expect(dead_code, reason = "an example's main is for its users")]
mod consume;
#[path = "../../client/examples/produce.rs"]
#[expect(dead_code, reason = "an example's main is for its users")]
mod produce;
#[path = "../../client/examples/retry.rs"]
#[expect(dead_code, reason = "an example's main is for its users")]
mod retry;

pub(crate) const KEYS: usize = 20;

/// A server of two reactors, which clients find again when it has ended.
pub(crate) fn start_at(data: &Path, port: u16) -> Server {
    let native = format!("127.0.0.1:{port}");
    let mut command =
        millstream(["serve", "--native", &native, "--http", "off", "--reactors", "2", "--segment-bytes", "4MiB"]);
    command.arg("--data").arg(data);
    Server::start_command(data, command)
}

pub(crate) fn options(address: SocketAddr) -> Options {
    Options { connect_timeout: PATIENCE, silence: PATIENCE, ..Options::new(address) }
}

pub(crate) async fn connect(server: &Server) -> Client {
    Client::connect(options(server.address)).await.unwrap()
}

pub(crate) fn key_of(number: usize) -> String {
    format!("key {}", number % KEYS)
}

/// Gives records of these numbers their place in the order.
pub(crate) async fn give(producer: &Producer, numbers: std::ops::Range<usize>) -> Vec<Pending> {
    let mut given = Vec::new();
    for number in numbers {
        let data = format!("{number} {}", "x".repeat(500));
        given.push(producer.send(key_of(number).as_bytes(), data.as_bytes()).await.unwrap());
    }
    given
}

/// The next record, or the end, before patience has one.
pub(crate) async fn next(subscription: &mut Subscription) -> Option<Record> {
    timeout(PATIENCE, subscription.next()).await.expect("nothing came").unwrap()
}

/// The numbers stored, by their keys, shard by shard in the order in which they were made.
pub(crate) fn stored(server: &Server, stream: &str) -> BTreeMap<String, Vec<usize>> {
    let mut client = server.client();
    let stream = client.describe_stream(stream).unwrap();
    let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for shard in &stream.shards {
        for (_, data) in read_all(&mut client, &stream, shard.shard) {
            let number = std::str::from_utf8(&data).unwrap().split(' ').next().unwrap().parse().unwrap();
            found.entry(key_of(number)).or_default().push(number);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_run() {
    let directory = directory();
    let server = start_at(&directory.path().join("data"), 0);
    assert_eq!(produce::run(server.address).await.unwrap(), 100);
    let mut records = consume::run(server.address, 100).await.unwrap();
    // Those of one key come in their order, and each once.
    records.sort_by(|one, two| one.key.cmp(&two.key));
    let found: Vec<&[u8]> = records.iter().map(|record| &record.data[..]).collect();
    let expected = (0..10).flat_map(|key| (key..100).step_by(10)).map(|number| format!("measurement {number}"));
    assert!(found.into_iter().eq(expected.collect::<Vec<_>>().iter().map(String::as_bytes)));

    let first = retry::run(server.address).await.unwrap();
    assert_eq!(first.len(), 20);
    assert_eq!(retry::run(server.address).await.unwrap(), first, "nothing is stored again");
    let mut client = server.client();
    let stream = client.describe_stream("orders").unwrap();
    let count: usize = stream.shards.iter().map(|shard| read_all(&mut client, &stream, shard.shard).len()).sum();
    assert_eq!(count, 20);
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_producers_records_are_stored_once_over_kills_splits_and_merges() {
    const RECORDS: usize = 12_000;
    let directory = directory();
    let data = directory.path().join("data");
    let mut server = start_at(&data, 0);
    let port = server.address.port();
    let client = connect(&server).await;
    client.create_stream("once", 2, Quotas::NONE).await.unwrap();
    let options = ProducerOptions { linger: Duration::from_millis(1), ..ProducerOptions::named("orders") };
    let producer = client.producer("once", options).await.unwrap();
    for step in 0..4 {
        let given = give(&producer, RECORDS * step / 4..RECORDS * (step + 1) / 4).await;
        // Some are durable, and the rest is wherever it is when the server is killed, or a shard split.
        let mut given = given.into_iter();
        for pending in given.by_ref().take(100) {
            pending.await.unwrap();
        }
        if step % 2 == 0 {
            server.kill();
            server = start_at(&data, port);
        } else {
            // The upper child of shard 1 is 4, and meets shard 2.
            let change: &[&str] = if step == 1 { &["split", "once", "1"] } else { &["merge", "once", "4", "2"] };
            run(server.command(["streams"].iter().chain(change).copied()), b"").good();
        }
        for pending in given {
            pending.await.unwrap();
        }
    }
    producer.close().await.unwrap();
    // A program that is started again gives the same from the start: all of it is known.
    let again = client.producer("once", ProducerOptions::named("orders")).await.unwrap();
    for pending in give(&again, 0..RECORDS).await {
        pending.await.unwrap();
    }
    let found = stored(&server, "once");
    for key in 0..KEYS {
        let expected: Vec<usize> = (key..RECORDS).step_by(KEYS).collect();
        assert!(found[&key_of(key)] == expected, "key {key} is not stored once and in order");
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_name_what_is_acknowledged_is_stored_once_and_nothing_twice() {
    const RECORDS: usize = 6000;
    let directory = directory();
    let data = directory.path().join("data");
    let mut server = start_at(&data, 0);
    let port = server.address.port();
    let client = connect(&server).await;
    client.create_stream("most", 2, Quotas::NONE).await.unwrap();
    let producer = client.producer("most", ProducerOptions::default()).await.unwrap();
    let mut given = give(&producer, 0..RECORDS / 2).await;
    server.kill();
    server = start_at(&data, port);
    given.extend(give(&producer, RECORDS / 2..RECORDS).await);
    run(server.command(["streams", "split", "most", "1"]), b"").good();
    let (mut acknowledged, mut unknown) = (Vec::new(), 0);
    for (number, pending) in given.into_iter().enumerate() {
        match pending.await {
            Ok(_) => acknowledged.push(number),
            Err(error) => {
                assert!(matches!(error, AppendError::Unknown(_)) && error.fault() == Fault::Connection, "{error}");
                unknown += 1;
            }
        }
    }
    assert_eq!(producer.flush().await.err().map_or(0, |unstored| unstored.records), unknown);
    // The first that finds itself in a child has the producer learn of both, and the rest goes straight to them.
    let mut shards = BTreeSet::new();
    for number in RECORDS..RECORDS + 2 * KEYS {
        let appended = producer.append(key_of(number).as_bytes(), number.to_string().as_bytes()).await.unwrap();
        assert!(appended.sequence.is_some());
        shards.insert(appended.shard);
        acknowledged.push(number);
    }
    assert!(shards.iter().eq(&[ShardId(2), ShardId(3), ShardId(4)]), "{shards:?}");
    producer.close().await.unwrap();
    let mut found: Vec<usize> = stored(&server, "most").into_values().flatten().collect();
    found.sort();
    assert!(found.is_sorted_by(|one, two| one < two), "a record is stored twice");
    assert!(acknowledged.iter().all(|number| found.binary_search(number).is_ok()), "an acknowledged record is missing");
    server.stop();
}

/// Some are refused at first, as more come at once than the shard takes in a second.
#[tokio::test]
async fn records_over_a_quota_are_sent_again() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let client = connect(&server).await;
    let quotas = Quotas { write_records: NonZeroU32::new(100), ..Quotas::NONE };
    for (stream, name) in [("plain", None), ("named", Some("one".to_owned()))] {
        client.create_stream(stream, 1, quotas).await.unwrap();
        let options = ProducerOptions { name, ..ProducerOptions::default() };
        let producer = client.producer(stream, options).await.unwrap();
        for pending in give(&producer, 0..300).await {
            pending.await.unwrap();
        }
        let mut found = stored(&server, stream);
        if stream == "plain" {
            found.values_mut().for_each(|numbers| numbers.sort());
        }
        for key in 0..KEYS {
            assert!(found[&key_of(key)].iter().copied().eq((key..300).step_by(KEYS)), "{stream}: key {key}");
        }
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_goes_on_after_a_restart_and_ends_with_its_shard() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut server = start_at(&data, 0);
    let port = server.address.port();
    let client = connect(&server).await;
    let stream = client.create_stream("followed", 1, Quotas::NONE).await.unwrap();
    let producer = client.producer("followed", ProducerOptions::named("one")).await.unwrap();
    // The second takes ten parts, more than all credit. Its number is its last part's.
    let large: Vec<u8> = (0..9_500_000_u32).map(|at| ((at * 31) >> 8) as u8).collect();
    let all = [&b"first"[..], &large, b"third", b"fourth", b"fifth"];
    let mut subscription = client.subscribe("followed", stream.shards[0].shard, Sequence(1)).await.unwrap();
    let mut taken = Vec::new();
    for (at, data_of) in all.iter().enumerate() {
        if at == 3 {
            server.kill();
            server = start_at(&data, port);
        }
        let appended = producer.append(b"k", data_of).await.unwrap();
        let record = next(&mut subscription).await.unwrap();
        assert!(record.data == *data_of && record.key == b"k" && Some(record.sequence) == appended.sequence);
        taken.push(record);
    }
    let mut from_within = client.subscribe("followed", stream.shards[0].shard, taken[1].sequence).await.unwrap();
    for expected in &taken[1..] {
        assert!(next(&mut from_within).await.as_ref() == Some(expected));
    }
    run(server.command(["streams", "split", "followed", "1"]), b"").good();
    assert!(next(&mut subscription).await.is_none());
    assert_eq!(subscription.children(), [ShardId(2), ShardId(3)]);
    assert!(next(&mut subscription).await.is_none(), "it stays ended");
    server.stop();
}

/// A server at one of several places, and after a restart at another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_found_at_any_of_its_addresses() {
    let directory = directory();
    let data = directory.path().join("data");
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (absent, first, second) = (free(), free(), free());
    let start = |address: SocketAddr| {
        let mut command = millstream(["serve", "--native", &address.to_string(), "--http", "off"]);
        command.args(SMALL).arg("--data").arg(&data);
        Server::start_command(&data, command)
    };
    let server = start(first);
    let client = Client::connect(Options { more_addresses: vec![first, second], ..options(absent) }).await.unwrap();
    client.create_stream("wandering", 1, Quotas::NONE).await.unwrap();
    let producer = client.producer("wandering", ProducerOptions::named("n")).await.unwrap();
    let mut subscription = client.subscribe("wandering", ShardId(1), Sequence(1)).await.unwrap();
    producer.append(b"k", b"before").await.unwrap();
    assert_eq!(next(&mut subscription).await.unwrap().data, b"before");
    server.kill();
    let server = start(second);
    producer.append(b"k", b"after").await.unwrap();
    assert_eq!(next(&mut subscription).await.unwrap().data, b"after");
    assert_eq!(client.describe_stream("wandering").await.unwrap().shards.len(), 1);
    server.stop();
    let error = Client::connect(Options { more_addresses: vec![first], ..options(absent) }).await.err().unwrap();
    assert!(error.fault() == Fault::Connection && error.to_string().contains(&first.to_string()), "{error}");
}

#[tokio::test]
async fn errors_say_who_is_at_fault() {
    let directory = directory();
    let file = directory.path().join("secret");
    fs::write(&file, "0123456789abcdef\n").unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let server = Server::start_with(&directory.path().join("data"), &["--native-secret-file", file.to_str().unwrap()]);
    let with = |secret: Option<&str>| {
        let secret = secret.map(|secret| Secret::new(secret.as_bytes()).unwrap());
        Client::connect(Options { secret, ..options(server.address) })
    };
    let error = with(Some("0123456789abcdeg")).await.err().unwrap();
    assert!(error.fault() == Fault::Caller && error.to_string().contains("secret is another one"), "{error}");
    let error = with(None).await.err().unwrap();
    assert!(matches!(error, ConnectError::NoSecret { .. }) && error.to_string().contains("Options::secret"), "{error}");
    let client = with(Some("0123456789abcdef")).await.unwrap();
    let error = client.describe_stream("absent").await.unwrap_err();
    assert_eq!(error.fault(), Fault::Caller, "{error}");
    client.create_stream("kept", 1, Quotas::NONE).await.unwrap();
    let producer = client.producer("kept", ProducerOptions::named("n")).await.unwrap();
    assert_eq!(producer.append(b"k", b"d").await.unwrap().sequence, Some(Sequence(1)));
    let error = client.subscribe("kept", ShardId(77), Sequence(1)).await.unwrap().next().await.unwrap_err();
    assert_eq!(error.fault(), Fault::Caller, "{error}");
    let address = server.address;
    server.stop();
    let error = Client::connect(Options { secret: None, ..options(address) }).await.err().unwrap();
    assert!(error.fault() == Fault::Connection && error.to_string().contains("no server answers"), "{error}");
}
