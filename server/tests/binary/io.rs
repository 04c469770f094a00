//! What files and connections are reached by: io_uring, or plain threads where it is refused.

use frame::{Quotas, Sequence, ShardId};

use crate::rig::{Server, apart_from_io_uring, directory, millstream, read_all, run, serve, store};

/// Each life on the other kind: what one left, the other takes up, after a clean shutdown and after a kill.
#[test]
fn both_kinds_serve_one_data_directory_in_turn() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut expected: Vec<(Sequence, Vec<u8>)> = Vec::new();
    for (life, kind) in ["threads", "ring", "threads", "threads", "ring"].into_iter().enumerate() {
        let server = Server::start_with(&data, &["--io", kind]);
        let log = server.log_text();
        let line = log.lines().rfind(|line| line.contains("reactor started")).unwrap();
        assert!(line.contains(&format!("io=\"{kind}\"")), "{line}");
        let mut client = server.client();
        assert_eq!(client.welcome().is_on_threads(), kind == "threads");
        let stream = client.create_stream("kept", 1, Quotas::NONE).unwrap();
        assert!(read_all(&mut client, &stream, ShardId(1)) == expected, "life {life}");
        for round in 0..20_u32 {
            let record = |index: u32| format!("{life} {round} {index} {}", "x".repeat(1000)).into_bytes();
            let records: Vec<Vec<u8>> = (0..100).map(record).collect();
            let stored = store(&mut client, stream.stream, "k", &records);
            expected.extend(stored.into_iter().map(|(_, sequence)| sequence).zip(records));
        }
        // Those that follow must get the lock of one that was killed in the middle of writes, and of one that was not.
        if life % 2 == 0 { server.kill() } else { server.stop() }
    }
}

#[test]
fn several_reactors_run_on_threads() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut command = millstream(["serve", "--io", "threads", "--reactors", "2", "--native", "127.0.0.1:0"]);
    command.args(["--http", "off", "--admin", "off", "--segment-bytes", "4MiB", "--data"]).arg(&data);
    let server = Server::start_command(&data, command);
    let mut client = server.client();
    let stream = client.create_stream("s", 4, Quotas::NONE).unwrap();
    for key in ["a", "b", "c", "d", "e", "f"] {
        store(&mut client, stream.stream, key, ["one", "two"]);
    }
    let mut other = server.client_at(server.reactors[1]);
    let read = stream.shards.iter().map(|shard| read_all(&mut other, &stream, shard.shard).len());
    assert_eq!(read.sum::<usize>(), 12);
    server.stop();
}

#[test]
fn where_io_uring_is_refused_auto_serves_on_threads_and_says_so() {
    let directory = directory();
    let data = directory.path().join("data");
    apart_from_io_uring(move || {
        let server = Server::start(&data);
        let log = server.log_text();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("io_uring")).collect();
        let [line] = lines[..] else { panic!("not one line: {log}") };
        for part in ["WARN", "plain threads", "seccomp filter refuses it", "--security-opt"] {
            assert!(line.contains(part), "{part} is not in: {line}");
        }
        let mut client = server.client();
        assert!(client.welcome().is_on_threads());
        let stream = client.create_stream("s", 1, Quotas::NONE).unwrap();
        store(&mut client, stream.stream, "k", ["one", "two"]);
        assert_eq!(read_all(&mut client, &stream, ShardId(1)).len(), 2);
        server.stop();
    });
}

#[test]
fn a_ring_that_is_refused_and_asked_for_is_said_in_one_line() {
    let directory = directory();
    let data = directory.path().join("data");
    let line = apart_from_io_uring(move || run(serve(&data, &["--log", "error", "--io", "ring"]), b"")).refusal();
    for part in ["seccomp filter refuses it", "--security-opt", "--io threads"] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}
