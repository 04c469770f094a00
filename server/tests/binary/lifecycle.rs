//! Starts, stops and kills: what was acknowledged is there afterwards.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use frame::proto::{AckResult, ErrorCode};
use frame::{Quotas, Sequence, ShardId};
use rustix::process::{Pid, Signal, kill_process};
use server::client::{Batch, ClientError, Timeouts};

use crate::rig::{PATIENCE, SMALL, Server, directory, millstream, read_all, run, serve, serve_in_shell, store, wait};

#[test]
fn a_restart_keeps_everything() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut expected: Vec<Vec<(Sequence, Vec<u8>)>> = vec![Vec::new(); 3];
    for life in 0..4_u32 {
        let server = Server::start(&data);
        let mut client = server.client();
        let stream = client.create_stream("kept", 3, Quotas::NONE).unwrap();
        for round in 0..20_u32 {
            // 20 rounds of 100 x about 1 KiB, so that lives end in different segments.
            let record = |index: u32| format!("{life} {round} {index} {}", "x".repeat(1000)).into_bytes();
            let records: Vec<Vec<u8>> = (0..100).map(record).collect();
            let key = format!("{}", round % 7);
            for ((shard, sequence), record) in
                store(&mut client, stream.stream, &key, &records).into_iter().zip(records)
            {
                expected[shard.0 as usize - 1].push((sequence, record));
            }
        }
        for (shard, expected) in (1..).zip(&expected) {
            assert!(read_all(&mut client, &stream, ShardId(shard)) == *expected, "life {life}, shard {shard}");
        }
        // By turns a clean shutdown and none.
        if life % 2 == 0 { server.stop() } else { server.kill() }
    }
    let server = Server::start(&data);
    let mut client = server.client();
    let stream = client.describe_stream("kept").unwrap();
    for (shard, expected) in (1..).zip(&expected) {
        assert!(read_all(&mut client, &stream, ShardId(shard)) == *expected, "shard {shard}");
    }
    server.stop();
}

#[test]
fn a_clean_shutdown_under_load_loses_nothing() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let stream = server.client().create_stream("busy", 1, Quotas::NONE).unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let address = server.address;
    let writers: Vec<_> = (0..3_u64)
        .map(|writer| {
            let acknowledged = Arc::clone(&acknowledged);
            std::thread::spawn(move || write_until_stopped(address, stream.stream, writer, &acknowledged))
        })
        .collect();
    // The load is on once results come in.
    while acknowledged.load(Ordering::Acquire) < 2_000 {
        std::thread::yield_now();
    }
    server.stop();
    let mut stored: Vec<(Sequence, Vec<u8>)> = writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect();
    stored.sort();
    let server = Server::start(&data);
    assert!(!server.log_text().contains("middle of writes"), "a clean start: {}", server.log_text());
    let mut client = server.client();
    let stream = client.describe_stream("busy").unwrap();
    let found = read_all(&mut client, &stream, ShardId(1));
    // More may be there than was heard of: acknowledgements that the connection's end took along.
    let mut rest = found.iter();
    for record in &stored {
        assert!(rest.any(|found| found == record), "record {} is lost or changed", record.0);
    }
    server.stop();
}

/// Sends numbered records, several appends in flight, until the server stops. Returns what it acknowledged.
fn write_until_stopped(
    address: std::net::SocketAddr,
    stream: frame::StreamId,
    writer: u64,
    acknowledged: &AtomicU64,
) -> Vec<(Sequence, Vec<u8>)> {
    let mut client =
        server::client::Client::connect(address, Timeouts { connect: PATIENCE, answer: PATIENCE }).unwrap();
    let mut stored = Vec::new();
    let mut sent = std::collections::VecDeque::new();
    for number in 0_u64.. {
        let record = format!("{writer} {number}").into_bytes();
        let mut batch = Batch::new();
        assert!(batch.push(b"k", &record).unwrap());
        let step = client
            .send(stream, &batch)
            .map(|request| sent.push_back((request, record)))
            .and_then(|()| if client.outstanding().count() < 8 { Ok(None) } else { client.next_appended() });
        match step {
            Ok(None) => {}
            Ok(Some(appended)) => take(&mut sent, appended, &mut stored, acknowledged),
            Err(ClientError::Lost { .. } | ClientError::Ended(_)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    // What the server had acknowledged before it closed still lies in the socket.
    while let Ok(Some(appended)) = client.next_appended() {
        take(&mut sent, appended, &mut stored, acknowledged);
    }
    stored
}

type Sent = std::collections::VecDeque<(frame::RequestId, Vec<u8>)>;

fn take(
    sent: &mut Sent,
    appended: server::client::Appended,
    stored: &mut Vec<(Sequence, Vec<u8>)>,
    acknowledged: &AtomicU64,
) {
    let at = sent.iter().position(|(request, _)| *request == appended.request).unwrap();
    let (_, record) = sent.remove(at).unwrap();
    match appended.outcome.as_deref() {
        Ok([AckResult::Durable(_, sequence)]) => {
            stored.push((*sequence, record));
            acknowledged.fetch_add(1, Ordering::Release);
        }
        Ok([AckResult::Refused(ErrorCode::ShuttingDown)]) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stopped_process_goes_on_where_it_was() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("paused", 1, Quotas::NONE).unwrap();
    store(&mut client, stream.stream, "k", ["before"]);
    server.signal(Signal::STOP);
    let mut batch = Batch::new();
    assert!(batch.push(b"k", b"meanwhile").unwrap());
    let request = client.send(stream.stream, &batch).unwrap();
    server.signal(Signal::CONT);
    let appended = client.next_appended().unwrap().unwrap();
    assert_eq!((appended.request, appended.outcome), (request, Ok(vec![AckResult::Durable(ShardId(1), Sequence(2))])));
    let found: Vec<Vec<u8>> = read_all(&mut client, &stream, ShardId(1)).into_iter().map(|(_, data)| data).collect();
    assert_eq!(found, [b"before".to_vec(), b"meanwhile".to_vec()]);
    server.stop();
}

#[test]
fn the_end_of_standard_input_is_a_clean_shutdown_where_asked_for() {
    let directory = directory();
    let data = directory.path().join("data");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut server = Server::start_piped(&data, serve(&data, &["--until-stdin-ends"]), reader.into());
    let mut client = server.client();
    let stream = client.create_stream("kept", 1, Quotas::NONE).unwrap();
    store(&mut client, stream.stream, "k", ["x"]);
    // What is written there means nothing.
    (&writer).write_all(b"quit\n").unwrap();
    server.assert_well();
    drop(writer);
    server.ended();
    // Otherwise it means nothing either: the others here run with an empty input. And it was clean.
    let server = Server::start(&data);
    assert!(!server.log_text().contains("middle of writes"), "{}", server.log_text());
    assert_eq!(read_all(&mut server.client(), &stream, ShardId(1)).len(), 1);
    server.stop();
}

/// Bug, found on reading: nobody heard a signal before the log was open, however long that took.
#[test]
fn a_server_that_opens_its_log_is_told_to_stop() {
    let directory = directory();
    let data = directory.path().join("data");
    // Enough to write that nobody has it done at once.
    let much = ["--prewrite", "--segment-bytes", "1GiB", "--segments-ready", "8", "--admin", "off"];
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"]);
    let mut child = command.arg(&data).args(much).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while !data.join("lock").exists() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(wait(&mut child).code(), Some(128 + 15));
    Server::start(&data).stop();
}

#[test]
fn an_idle_server_is_quiet() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("idle", 1, Quotas::NONE).unwrap();
    store(&mut client, stream.stream, "k", ["x"]);
    // What opening and this record have set going (a mark, zeros ahead) ends first.
    let mut before = cpu_ticks(&server);
    for _ in 0..20 {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = cpu_ticks(&server);
        if now == before {
            break;
        }
        before = now;
    }
    std::thread::sleep(std::time::Duration::from_secs(3));
    // Ticks of 10 ms: 3 are 1 % of 3 s.
    let used = cpu_ticks(&server) - before;
    assert!(used < 3, "{used} ticks of CPU in 3 s of nothing");
    client.ping().unwrap();
    server.stop();
}

/// CPU time of the process, all threads, in ticks of 10 ms.
fn cpu_ticks(server: &Server) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid().as_raw_nonzero())).unwrap();
    // Fields 14 and 15, counted from 1; the second is a name in parentheses that may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Bug: a server that was started while a killed one ended was refused its address. Mechanism: all but the native ports were bound before
/// the lock on the data was waited for. Fix: none is bound before.
#[test]
fn who_waits_for_the_data_waits_for_the_addresses_too() {
    let directory = directory();
    let data = directory.path().join("data");
    let before = Server::start(&data);
    let addresses = [before.http, before.admin].map(|address| address.unwrap().to_string());
    let again = ["--http", &addresses[0], "--admin", &addresses[1]];
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--data"]);
    command.arg(&data).args(SMALL).args(again);
    let ending = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        before.kill();
    });
    let after = Server::start_command(&data, command);
    ending.join().unwrap();
    assert_eq!(after.http.unwrap().to_string(), addresses[0]);

    // An address that is another's is told, and nothing has come to be.
    let data = directory.path().join("other");
    for (setting, address) in [("--http", &addresses[0]), ("--admin", &addresses[1])] {
        let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--data"]);
        command.arg(&data).args(SMALL).args([setting, address]).args(["--log", "error"]);
        let told = run(command, b"").refusal();
        assert!(told.contains(&format!("can't listen on {address}")) && told.contains(setting), "{told}");
        assert!(!data.join("superblock").exists());
    }
    after.stop();
}

/// Bug: the server aborted at its next line, which a client could bring about, where its log could not be written: on a full disk,
/// or behind a program that had ended. Mechanism: the library panics as it reports that.
#[test]
fn a_log_that_takes_no_lines_ends_nothing() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut server = Server::start_command(&data, serve_in_shell("exec 2>/dev/full", &data));
    let stream = server.client().create_stream("s", 1, Quotas::NONE).unwrap().stream;
    store(&mut server.client(), stream, "k", ["a"]);
    server.assert_well();
    server.stop();
}

/// A terminal that closes is a request to stop as Ctrl-C is, unless the server is to outlive it.
#[test]
fn a_hangup_stops_cleanly_or_not_at_all() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    server.signal(Signal::HUP);
    server.ended();
    let mut server = Server::start_command(&data, serve_in_shell("trap '' HUP", &data));
    assert!(server.log_text().contains("clean=true"), "{}", server.log_text());
    server.signal(Signal::HUP);
    server.assert_well();
    server.stop();
}

/// Bug: what the first start had been told stayed, so that what its error advised never helped.
#[test]
fn a_start_that_made_no_segment_chooses_nothing() {
    let directory = directory();
    let data = directory.path().join("data");
    let start = |segment_bytes| {
        let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "off", "--disk-bytes", "100MiB"]);
        command.arg("--data").arg(&data).args(["--segment-bytes", segment_bytes]);
        command
    };
    let mut first = start("256MiB");
    first.args(["--log", "error"]);
    let line = run(first, b"").refusal();
    assert!(line.contains("make segments smaller"), "{line}");
    Server::start_command(&data, start("4MiB")).stop();
    // Now there is one.
    let server = Server::start_command(&data, start("8MiB"));
    let log = server.log_text();
    assert!(log.contains("segments of another length already") && log.contains("segment_bytes=4194304"), "{log}");
    server.stop();
}
