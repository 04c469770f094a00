//! Several reactors on one data directory: any number after any other, and every one of them serves everything.

use std::collections::BTreeMap;
use std::net::TcpListener;

use frame::{Quotas, Sequence, ShardId};

use crate::rig::{Server, directory, millstream, read_all, refusal, run, store};

/// Shards of the stream: more than reactors, so that each owns some.
const SHARDS: u32 = 6;

type Stored = BTreeMap<ShardId, Vec<(Sequence, Vec<u8>)>>;

fn start(data: &std::path::Path, reactors: usize) -> Server {
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
