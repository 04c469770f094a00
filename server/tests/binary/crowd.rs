//! Crowds: ten thousand connections are welcomed, each costs little, and who works among them is served; and many who send
//! large records in pieces, or half of one and no more, take no more memory than they may.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use frame::proto::{AckResult, Client as Proto, ClientEvent, ErrorCode};
use frame::{Quotas, StreamId};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use server::client::{Batch, ClientError};

use crate::rig::{PATIENCE, Server, directory, serve_in_shell, store};

const CONNECTIONS: usize = 10_000;

/// Descriptors that this process has besides them.
const OTHERS: usize = 200;

/// What an idle connection may cost the server.
const IDLE_BYTES_MAX: usize = 16 << 10;

struct Idle {
    socket: TcpStream,
    proto: Proto,
}

impl Idle {
    fn new(server: &Server) -> Idle {
        let socket = TcpStream::connect(server.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut hello = Vec::new();
        let proto = Proto::new(&mut hello);
        (&socket).write_all(&hello).unwrap();
        Idle { socket, proto }
    }

    fn next(&mut self) -> ClientEvent {
        let mut said = [0; 256];
        let got = (&self.socket).read(&mut said).unwrap();
        self.proto.step(&said[..got], &mut 0).unwrap().expect("a message comes whole")
    }

    fn ping(&mut self) {
        let mut bytes = Vec::new();
        self.proto.ping(&mut bytes);
        (&self.socket).write_all(&bytes).unwrap();
    }
}

/// Memory of the server that is resident.
fn resident_bytes(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn ten_thousand_are_welcome() {
    let limit = getrlimit(Resource::Nofile);
    // The server has the same limit, and is to cope with as many as it allows.
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let allowed = limit.maximum.map_or(usize::MAX, |most| most as usize);
    let count = CONNECTIONS.min(allowed.saturating_sub(OTHERS));
    if count < CONNECTIONS {
        eprintln!("{count} connections, as no more open files are allowed here");
    }
    let directory = directory();
    // As shells start it: the server raises its limit itself.
    let data = directory.path().join("data");
    let mut server = Server::start_command(&data, serve_in_shell("ulimit -S -n 1024", &data));
    server.assert_well();
    let before = resident_bytes(&server);
    let mut idle: Vec<Idle> = (0..count).map(|_| Idle::new(&server)).collect();
    for one in &mut idle {
        assert!(matches!(one.next(), ClientEvent::Welcome(_)));
    }
    let each = resident_bytes(&server).saturating_sub(before) / count;
    assert!(each < IDLE_BYTES_MAX, "an idle connection costs {each} bytes");
    // All of them are heard, and who works is.
    let mut client = server.client();
    let stream = client.create_stream("s", 1, Quotas::NONE).unwrap().stream;
    idle.iter_mut().for_each(Idle::ping);
    store(&mut client, stream, "k", ["a", "b"]);
    for one in &mut idle {
        assert!(matches!(one.next(), ClientEvent::Pong(_)));
    }
    // They go at once.
    drop(idle);
    store(&mut client, stream, "k", ["c"]);
    server.assert_well();
    server.stop();
}

/// Who begins an append of a record of nearly 1 MiB, and sends most of it. Where the server takes no more, the rest stays here.
fn send_half(server: &Server, stream: StreamId) -> Idle {
    let mut idle = Idle::new(server);
    assert!(matches!(idle.next(), ClientEvent::Welcome(_)));
    let (mut out, mut frames) = (Vec::new(), Vec::new());
    frame::frame::encode(&mut frames, b"k", None, &vec![7; 1_000_000]).unwrap();
    idle.proto.append(&mut out, stream, 1, &frames);
    idle.socket.set_nonblocking(true).unwrap();
    let mut at = 0;
    while at < 900_000 {
        match (&idle.socket).write(&out[at..900_000]) {
            Ok(sent) => at += sent,
            Err(_) => break,
        }
    }
    idle.socket.set_nonblocking(false).unwrap();
    idle
}

#[test]
fn halves_of_large_records_take_no_more_memory_than_they_may() {
    const HALVES: usize = 400;
    const BUDGET_BYTES: usize = 128 << 20;
    let directory = directory();
    let mut server = Server::start(&directory.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("s", 4, Quotas::NONE).unwrap().stream;
    // As many as have room, many more that wait for it, and more than may wait: those are sent away, and told why.
    let mut halves: Vec<Idle> = (0..HALVES).map(|_| send_half(&server, stream)).collect();
    // Who sends small records goes on beside them.
    for number in 0..200 {
        store(&mut client, stream, &number.to_string(), ["small"]);
    }
    server.assert_well();
    let resident = resident_bytes(&server);
    assert!(resident < BUDGET_BYTES * 11 / 10, "{} MiB with {HALVES} halves of records", resident >> 20);
    let last = halves.last_mut().unwrap();
    let ClientEvent::Error(_, failure) = last.next() else { panic!("it was to be sent away") };
    assert!(failure.code == ErrorCode::Busy && failure.detail.contains("too many large records"), "{failure}");
    // When they go, whole ones have room again.
    drop(halves);
    let mut whole = Batch::new();
    assert!(whole.push(b"k", &[7; 1_000_000]).unwrap());
    let (began, mut stored) = (Instant::now(), 0);
    while stored < 20 {
        match client.append(stream, &whole) {
            Ok(results) => {
                assert!(matches!(results[..], [AckResult::Durable(..)]), "{results:?}");
                stored += 1;
            }
            // The server has not heard of all of them yet.
            Err(ClientError::Ended(failure)) if failure.code == ErrorCode::Busy && began.elapsed() < PATIENCE => {
                client = server.client();
            }
            Err(error) => panic!("{stored} were stored, then: {error}"),
        }
    }
    server.assert_well();
    server.stop();
}
