//! Clients that send and never read, beside others that work.
//!
//! Bug: one such client could hold every receive buffer until it was closed, 30 s later; nobody else was heard so long.
//! Mechanism: what it sent was still received when it could not be parsed any more, for it took none of its answers. Fix: the
//! server stops receiving from it, so that what it sends stays in its own socket.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use frame::proto::{Client as Proto, ClientEvent, ErrorCode, Read};
use frame::{Quotas, RequestId, Sequence, ShardId, StreamId};
use server::client::{Client, ClientError};

use crate::rig::{PATIENCE, Server, directory, read_all, store};

/// Far below the 30 s after which the server closes who takes nothing.
const HELD_UP: Duration = Duration::from_secs(12);

/// A connection that has said hello, and read nothing yet.
fn greet(address: SocketAddr) -> (TcpStream, Proto) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut hello = Vec::new();
    let proto = Proto::new(&mut hello);
    socket.write_all(&hello).unwrap();
    (socket, proto)
}

/// A connection that keeps sending, on a thread of its own, and never reads.
struct Deaf {
    socket: TcpStream,
    /// Set when a send had to wait for so long that the server does not take any more.
    is_stuck: Arc<AtomicBool>,
    sender: std::thread::JoinHandle<()>,
}

impl Deaf {
    fn new(address: SocketAddr, mut ask: impl FnMut(&mut Proto, &mut Vec<u8>) -> RequestId) -> Deaf {
        let (mut socket, mut proto) = greet(address);
        let mut welcome = [0; 256];
        let got = std::io::Read::read(&mut socket, &mut welcome).unwrap();
        assert!(matches!(proto.step(&welcome[..got], &mut 0), Ok(Some(ClientEvent::Welcome(_)))));
        let mut bytes = Vec::new();
        for _ in 0..4000 {
            ask(&mut proto, &mut bytes);
        }
        socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let is_stuck = Arc::new(AtomicBool::new(false));
        let (stuck, mut sending) = (Arc::clone(&is_stuck), socket.try_clone().unwrap());
        let sender = std::thread::spawn(move || {
            let mut at = 0;
            loop {
                match sending.write(&bytes[at..]) {
                    Ok(taken) => at = (at + taken) % bytes.len(),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        stuck.store(true, Ordering::Release);
                    }
                    // Its end.
                    Err(_) => return,
                }
            }
        });
        Deaf { socket, is_stuck, sender }
    }

    fn end(self) {
        // The server may have closed it.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.sender.join().unwrap();
    }
}

/// The longest and the middle time of appends and of pings.
fn work(client: &mut Client, stream: StreamId, rounds: usize) -> [(Duration, Duration); 2] {
    let (mut appends, mut pings) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let begin = Instant::now();
        store(client, stream, "k", [format!("round {round}")]);
        appends.push(begin.elapsed());
        let begin = Instant::now();
        client.ping().unwrap();
        pings.push(begin.elapsed());
    }
    [appends, pings].map(|mut times| {
        times.sort();
        (times[times.len() - 1], times[times.len() / 2])
    })
}

#[test]
fn who_only_sends_holds_nobody_up() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    hold_nobody_up(server, |server| server.address);
}

/// Clients that only send there, beside one that works. With the least memory there are 256 receive buffers, which one connection
/// fills in a moment.
pub(crate) fn hold_nobody_up(server: Server, at: impl FnOnce(&Server) -> SocketAddr) {
    let address = at(&server);
    let mut bystander = server.client();
    let stream = bystander.create_stream("calm", 1, Quotas::NONE).unwrap().stream;
    let calm = work(&mut bystander, stream, 100);
    let read = Read { stream, shard: ShardId(1), start: Sequence(1).into(), bytes_max: 1 << 20 };
    let deaf =
        [Deaf::new(address, |proto, out| proto.ping(out)), Deaf::new(address, |proto, out| proto.read(out, &read))];
    let deadline = Instant::now() + PATIENCE;
    let mut rounds = 100;
    // Until the server takes nothing more of either, and some time beyond it.
    while !deaf.iter().all(|deaf| deaf.is_stuck.load(Ordering::Acquire)) {
        assert!(Instant::now() < deadline, "the server takes in whatever a client sends that reads nothing");
        let [(slowest_append, _), (slowest_ping, _)] = work(&mut bystander, stream, 1);
        assert!(slowest_append < HELD_UP && slowest_ping < HELD_UP, "{slowest_append:?}, {slowest_ping:?}");
        rounds += 1;
    }
    let beside = work(&mut bystander, stream, 100);
    for (what, ((_, calm), (slowest, middle))) in ["append", "ping"].into_iter().zip(calm.into_iter().zip(beside)) {
        assert!(slowest < HELD_UP, "one {what} took {slowest:?}");
        // As before, within what a busy machine makes of it.
        assert!(middle < calm * 20 + Duration::from_millis(50), "{what}: {middle:?} beside them, {calm:?} without");
    }
    deaf.into_iter().for_each(Deaf::end);
    let stream = bystander.describe_stream("calm").unwrap();
    assert_eq!(read_all(&mut bystander, &stream, ShardId(1)).len(), rounds + 100);
    server.stop();
}

#[test]
fn who_listens_at_last_gets_every_answer() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let (mut asked, mut heard) = (0_u64, 0_u64);
    let (mut socket, mut proto) = greet(server.address);
    let mut bytes = Vec::new();
    for _ in 0..1000 {
        proto.ping(&mut bytes);
    }
    // As many pings as go without an answer being read: several times the receive bound.
    socket.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut at = 0;
    while let Ok(taken) = socket.write(&bytes[at..]) {
        asked += taken as u64;
        at = (at + taken) % bytes.len();
    }
    assert!(asked > 4 << 20, "{asked} bytes of pings");
    let pings = asked / 24;
    let mut said = vec![0; 1 << 20];
    while heard < pings {
        let got = std::io::Read::read(&mut socket, &mut said).unwrap();
        assert!(got > 0, "the server ended the connection after {heard} of {pings} answers");
        let mut at = 0;
        while let Some(event) = proto.step(&said[..got], &mut at).unwrap() {
            heard += u64::from(matches!(event, ClientEvent::Pong(_)));
        }
    }
    assert_eq!(heard, pings);
    server.stop();
}

/// Bug: a client that took 16 KiB a second lost its connection, although it took something all the time. Mechanism: it was cut
/// where one message of a megabyte had not gone into its socket after 30 s. Fix: the kernel looks whether it takes anything.
#[test]
fn who_takes_little_goes_on_and_who_takes_nothing_is_cut() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("slow", 1, Quotas::NONE).unwrap().stream;
    store(&mut client, stream, "k", [vec![7_u8; 1_000_000]]);
    let read = Read { stream, shard: ShardId(1), start: Sequence(1).into(), bytes_max: 1 << 20 };
    // Far more than both sockets hold.
    let asked = 32;
    let connect = || {
        let (mut socket, mut proto) = greet(server.address);
        let mut bytes = Vec::new();
        (0..asked).for_each(|_| _ = proto.read(&mut bytes, &read));
        socket.write_all(&bytes).unwrap();
        (socket, proto)
    };
    let (mut deaf, _) = connect();
    let (mut slow, mut proto) = connect();
    let (mut said, mut answers) = (vec![0; 1 << 20], 0);
    let begin = Instant::now();
    while answers < asked {
        // Until whoever takes nothing would be cut, and some time beyond it.
        let is_slow = begin.elapsed() < io::SEND_TIMEOUT + Duration::from_secs(10);
        let room = if is_slow { 4 << 10 } else { said.len() };
        let got = std::io::Read::read(&mut slow, &mut said[..room]).unwrap();
        assert!(got > 0, "cut after {answers} answers, {:?}", begin.elapsed());
        let mut at = 0;
        while let Some(event) = proto.step(&said[..got], &mut at).unwrap() {
            answers += usize::from(matches!(event, ClientEvent::ReadEnd(_)));
        }
        if is_slow {
            std::thread::sleep(Duration::from_millis(250));
        }
    }
    let mut heard = 0;
    let end = loop {
        match std::io::Read::read(&mut deaf, &mut said) {
            Ok(0) => break Ok(()),
            Ok(got) => heard += got,
            Err(error) => break Err(error.kind()),
        }
    };
    assert!(end != Err(std::io::ErrorKind::WouldBlock) && heard < asked << 20, "{end:?} after {heard} bytes");
    server.stop();
}

/// Found on reading: what clients had not taken was bounded for each, so that many who took nothing had memory for all of them; and
/// others got nothing once it was bounded for all. Now there is so much for all of them, and who takes nothing goes.
#[test]
fn many_who_take_nothing_hold_no_more_memory_than_there_is_and_nobody_up() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let mut client = server.client();
    let stream = client.create_stream("read", 1, Quotas::NONE).unwrap().stream;
    // So few at a time that they are copied.
    for _ in 0..300 {
        store(&mut client, stream, "k", vec![[7_u8; 1000]; 5]);
    }
    let read = Read { stream, shard: ShardId(1), start: Sequence(1).into(), bytes_max: 1 << 20 };
    assert!(client.read(stream, ShardId(1), Sequence(1), 1 << 20).is_ok());
    let before = server.peak_mib();
    // Without a bound for all of them, they would hold a megabyte each, and more.
    let deaf: Vec<TcpStream> = (0..150)
        .map(|_| {
            let (mut socket, mut proto) = greet(server.address);
            let mut bytes = Vec::new();
            (0..16).for_each(|_| _ = proto.read(&mut bytes, &read));
            socket.write_all(&bytes).unwrap();
            socket
        })
        .collect();
    let begin = Instant::now();
    let mut rounds = 0;
    // Beyond when those go who take nothing.
    while begin.elapsed() < Duration::from_secs(8) || rounds == 0 {
        match client.read(stream, ShardId(1), Sequence(1), 1 << 20) {
            Ok(records) => rounds += usize::from(records.iter().count() > 900),
            Err(ClientError::Refused(failure)) => assert_eq!(failure.code, ErrorCode::Busy, "{failure}"),
            Err(error) => panic!("{error}"),
        }
        assert!(begin.elapsed() < PATIENCE, "nothing can be read beside clients that take nothing");
        std::thread::sleep(Duration::from_millis(20));
    }
    let more = server.peak_mib() - before;
    assert!(more < 64, "{more} MiB for clients that take nothing");
    drop(deaf);
    server.stop();
}
