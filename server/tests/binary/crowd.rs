//! Ten thousand connections: all are welcomed and answered, each costs little, and who works among them is served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use frame::Quotas;
use frame::proto::{Client as Proto, ClientEvent};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::rig::{PATIENCE, Server, directory, serve, store};

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
    let plain = serve(&data, &[]);
    let mut low = Command::new("sh");
    low.args(["-c", "ulimit -S -n 1024 && exec \"$0\" \"$@\""]).arg(plain.get_program()).args(plain.get_args());
    let mut server = Server::start_command(&data, low);
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
