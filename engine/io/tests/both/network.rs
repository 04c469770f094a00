//! Connections over loopback.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use io::{Io, Op, Payload, SocketId, SystemIo, Token};

use super::rig::Rig;

/// Takes one delivery in and recycles its buffer.
fn receive(rig: &mut Rig, token: Token) -> Vec<u8> {
    let completion = rig.next(token);
    let Payload::Received(received) = completion.payload else { panic!("{completion:?}") };
    assert_eq!(completion.result, received.length as i32);
    let bytes = rig.io.received(received).to_vec();
    rig.io.recycle(received);
    bytes
}

#[test]
fn bytes_go_there_and_back() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connect();
    let receiving = rig.submit(Op::Receive(socket));
    for round in 0..100_usize {
        let sent = vec![round as u8; 1 + round * 37];
        peer.write_all(&sent).unwrap();
        let mut got = Vec::new();
        while got.len() < sent.len() {
            got.extend(receive(&mut rig, receiving));
        }
        assert_eq!(got, sent);
        let send = rig.run(Op::SendBytes { socket, bytes: got, from: 0 });
        assert_eq!(send.result, sent.len() as i32);
        assert!(matches!(send.payload, Payload::Bytes(bytes) if bytes == sent));
        let mut back = vec![0; sent.len()];
        peer.read_exact(&mut back).unwrap();
        assert_eq!(back, sent);
    }
    drop(peer);
    let end = rig.next(receiving);
    assert_eq!((end.result, end.more), (0, false));
    assert!(matches!(end.payload, Payload::None));
    assert_eq!(rig.run(Op::Close(socket)).result, 0);
}

/// Where readiness is told by edges, the end that lies behind the last bytes has none of its own.
#[test]
fn an_end_right_behind_bytes_is_told() {
    let mut rig = Rig::new();
    for bytes in [0, 1, 4095, 4096, 4097, 20_000] {
        for is_there_before in [false, true] {
            let (socket, mut peer) = rig.connect();
            let mut receiving = (!is_there_before).then(|| rig.submit(Op::Receive(socket)));
            peer.write_all(&vec![7; bytes]).unwrap();
            drop(peer);
            let receiving = *receiving.get_or_insert_with(|| rig.submit(Op::Receive(socket)));
            let mut got = 0;
            loop {
                let completion = rig.next(receiving);
                let Payload::Received(received) = completion.payload else {
                    assert_eq!((completion.result, completion.more), (0, false), "after {got} of {bytes} bytes");
                    break;
                };
                got += received.length as usize;
                rig.io.recycle(received);
            }
            assert_eq!(got, bytes);
            assert_eq!(rig.run(Op::Receive(socket)).result, 0, "it is told again");
            assert_eq!(rig.run(Op::Close(socket)).result, 0);
        }
    }
}

#[test]
fn parts_of_buffers_are_sent() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connect();
    let buf = rig.buffer(8192, 3).freeze();
    assert_eq!(rig.run(Op::SendBuf { socket, buf: buf.clone(), from: 100, to: 5000 }).result, 4900);
    assert_eq!(rig.run(Op::SendBytes { socket, bytes: b"hello".to_vec(), from: 2 }).result, 3);
    assert_eq!(rig.run(Op::SendBuf { socket, buf: buf.clone(), from: 10, to: 9000 }).result, -libc::EINVAL);
    assert_eq!(rig.run(Op::SendBytes { socket, bytes: b"hello".to_vec(), from: 6 }).result, -libc::EINVAL);
    let mut got = vec![0; 4903];
    peer.read_exact(&mut got).unwrap();
    assert_eq!((&got[..4900], &got[4900..]), (&buf[100..5000], &b"llo"[..]));
}

#[test]
fn all_of_a_large_send_arrives() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connect();
    let bytes: Vec<u8> = (0..16 << 20).map(|index: u32| (index / 251) as u8).collect();
    let expected = bytes.clone();
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; expected.len()];
        peer.read_exact(&mut got).unwrap();
        assert!(got == expected);
    });
    assert_eq!(rig.run(Op::SendBytes { socket, bytes, from: 0 }).result, 16 << 20);
    reader.join().unwrap();
}

#[test]
fn receives_stall_without_buffers_and_go_on_with_recycled_ones() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connect();
    let buffers = rig.io.receive_buffers();
    assert_eq!(buffers, 8);
    let sent: Vec<u8> = (0..buffers * 4096 + 5000).map(|index| (index / 7) as u8).collect();
    peer.write_all(&sent).unwrap();
    let receiving = rig.submit(Op::Receive(socket));
    let mut held = Vec::new();
    let stalled = loop {
        let completion = rig.next(receiving);
        match completion.payload {
            Payload::Received(received) => held.push(received),
            _ => break completion,
        }
    };
    assert_eq!((stalled.result, stalled.more, held.len()), (-libc::ENOBUFS, false, buffers));
    let mut got = Vec::new();
    for received in held {
        got.extend_from_slice(rig.io.received(received));
        rig.io.recycle(received);
    }
    let receiving = rig.submit(Op::Receive(socket));
    while got.len() < sent.len() {
        got.extend(receive(&mut rig, receiving));
    }
    assert!(got == sent);
}

#[test]
fn a_recycled_buffer_can_not_be_looked_at() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connect();
    let receiving = rig.submit(Op::Receive(socket));
    peer.write_all(b"x").unwrap();
    let completion = rig.next(receiving);
    let Payload::Received(received) = completion.payload else { panic!("{completion:?}") };
    rig.io.recycle(received);
    let looked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| rig.io.received(received).len()));
    assert!(looked.is_err());
}

#[test]
fn closing_ends_what_is_in_flight() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connect();
    let receiving = rig.submit(Op::Receive(socket));
    // More than the sockets hold, and the peer does not read.
    let sending = rig.submit(Op::SendBytes { socket, bytes: vec![7; 64 << 20], from: 0 });
    peer.write_all(b"x").unwrap();
    receive(&mut rig, receiving);
    let closing = rig.submit(Op::Close(socket));
    let late = rig.submit(Op::Receive(socket));
    assert_eq!(rig.next(closing).result, 0);
    let sent = rig.next(sending);
    assert!(sent.result < 64 << 20 && !sent.more, "{}", sent.result);
    assert!(matches!(sent.payload, Payload::Bytes(bytes) if bytes.len() == 64 << 20));
    let received = rig.next(receiving);
    assert!(received.result < 0 && !received.more);
    assert_eq!(rig.next(late).result, -libc::EBADF);
    assert_eq!(rig.run(Op::Close(socket)).result, -libc::EBADF);
    let mut rest = Vec::new();
    // The peer hears of it, as an end or as a reset.
    let _ = peer.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20);
}

#[test]
fn connections_past_the_limit_are_turned_away() {
    let mut rig = Rig::with(|config| config.sockets_max = 2);
    let (listener, address) = rig.listen();
    let accepting = rig.submit(Op::Accept(listener));
    let mut peers: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    let results: Vec<_> = (0..3).map(|_| rig.next(accepting).result).collect();
    assert_eq!(results, [0, 1, -libc::ENFILE]);
    assert_eq!(peers[2].read(&mut [0; 1]).unwrap_or(0), 0, "the third is closed");
    assert_eq!(rig.run(Op::Close(SocketId(1))).result, 0);
    peers.push(TcpStream::connect(address).unwrap());
    let accepted = rig.next(accepting);
    assert_eq!((accepted.result, accepted.more), (1, true), "its number is free again");
}

/// Bug: one client that sent and never read could hold every receive buffer. Mechanism: a receive ended only with its
/// connection. Fix: it can be stopped, and begun again with nothing lost.
#[test]
fn a_stopped_receive_ends_and_a_new_one_goes_on() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connect();
    let token = rig.submit(Op::Receive(socket));
    let (mut sent, mut got) = (Vec::new(), Vec::new());
    for round in 0..200_usize {
        // By turns idle, with bytes waiting, and with more of them than there are buffers.
        let bytes = vec![round as u8; [0, 1, 5000, 60_000][round % 4]];
        peer.write_all(&bytes).unwrap();
        sent.extend_from_slice(&bytes);
        rig.io.submit(Op::StopReceive(socket), Token(u64::MAX - 1));
        // Twice is once.
        rig.io.submit(Op::StopReceive(socket), Token(u64::MAX - 1));
        loop {
            let completion = rig.next(token);
            if let Payload::Received(received) = completion.payload {
                got.extend_from_slice(rig.io.received(received));
                rig.io.recycle(received);
            }
            if !completion.more {
                let stopped = [-libc::ECANCELED, -libc::ENOBUFS].contains(&completion.result);
                assert!(stopped || completion.result > 0, "round {round}: {completion:?}");
                break;
            }
        }
        // What arrives while nothing is received waits in the socket.
        peer.write_all(b"later").unwrap();
        sent.extend_from_slice(b"later");
        assert!(!rig.has(token));
        rig.io.submit(Op::Receive(socket), token);
    }
    while got.len() < sent.len() {
        let completion = rig.next(token);
        if let Payload::Received(received) = completion.payload {
            got.extend_from_slice(rig.io.received(received));
            rig.io.recycle(received);
        }
        if !completion.more {
            rig.io.submit(Op::Receive(socket), token);
        }
    }
    assert!(got == sent);
    assert!(!rig.has(Token(u64::MAX - 1)), "a stop has no completion of its own");
}

#[test]
fn stopping_what_is_not_received_does_nothing() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connect();
    rig.io.submit(Op::StopReceive(socket), Token(u64::MAX - 1));
    rig.io.submit(Op::StopReceive(SocketId(77)), Token(u64::MAX - 1));
    let receiving = rig.submit(Op::Receive(socket));
    peer.write_all(b"x").unwrap();
    assert_eq!(receive(&mut rig, receiving), b"x");
    // A close right after a stop ends the same receive once.
    rig.io.submit(Op::StopReceive(socket), Token(u64::MAX - 1));
    assert_eq!(rig.run(Op::Close(socket)).result, 0);
    let end = rig.next(receiving);
    assert_eq!((end.result, end.more), (-libc::ECANCELED, false));
    assert!(!rig.has(receiving) && !rig.has(Token(u64::MAX - 1)));
}

/// Bug: a client whose host was gone without a word kept its place among the connections for ever. Mechanism: nobody asked whether
/// it was still there while it was silent. Fix: the kernel does.
#[test]
fn a_silent_client_is_asked_for_a_sign_of_life() {
    let mut rig = Rig::new();
    let (_socket, peer) = rig.connect();
    let port = |address: std::net::SocketAddr| format!(":{:04X}", address.port());
    let (server, client) = (port(peer.peer_addr().unwrap()), port(peer.local_addr().unwrap()));
    let all = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let columns = all.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let accepted = columns.into_iter().find(|line| line[1].ends_with(&server) && line[2].ends_with(&client)).unwrap();
    let (timer, due) = accepted[5].split_once(':').unwrap();
    // Of keep-alive, in hundredths of a second.
    assert_eq!(timer, "02");
    assert!((1_000..=1_500).contains(&i64::from_str_radix(due, 16).unwrap()), "{due}");
}

/// Sockets that another thread made, blocking ones and others, before the accept and while a turn waits for one.
#[test]
fn what_other_threads_accepted_is_served_as_what_was_accepted_here() {
    let mut rig = Rig::with(|config| config.sockets_max = 4);
    let (listener, queue) = rig.io.accept_queue();
    let (mut near, far) = UnixStream::pair().unwrap();
    far.set_nonblocking(true).unwrap();
    assert!(queue.push(far.into()).unwrap().is_none());
    let accept = rig.submit(Op::Accept(listener));
    let again = rig.run(Op::Accept(listener));
    assert_eq!(again.result, -libc::EALREADY);
    let beside = queue.clone();
    let later = std::thread::spawn(move || {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(here.local_addr().unwrap()).unwrap();
        assert!(beside.push(here.accept().unwrap().0.into()).unwrap().is_none());
        peer
    });
    let mut number = || {
        let completion = rig.next(accept);
        assert!(completion.more, "{completion:?}");
        completion.result
    };
    let sockets = [number(), number()].map(|number| SocketId(u32::try_from(number).unwrap()));
    let mut peer = later.join().unwrap();
    let mut talk = |socket, peer: &mut dyn ReadWrite| {
        let receiving = rig.submit(Op::Receive(socket));
        let mut got = Vec::new();
        peer.write_all(&[7; 20_000]).unwrap();
        while got.len() < 20_000 {
            got.extend(receive(&mut rig, receiving));
        }
        // More than a socket takes at once.
        let send = rig.submit(Op::SendBytes { socket, bytes: vec![8; 4 << 20], from: 0 });
        let turning = std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut back = vec![0; 4 << 20];
                peer.read_exact(&mut back).map(|()| back)
            });
            let sent = rig.next(send).result;
            (sent, reading.join().unwrap().unwrap())
        });
        assert_eq!(turning.0, 4 << 20);
        assert!(turning.1 == vec![8; 4 << 20]);
    };
    talk(sockets[0], &mut near);
    talk(sockets[1], &mut peer);
    // No more than there is room for.
    let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().unwrap()).collect();
    let (nears, fars): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    fars.into_iter().for_each(|far| assert!(queue.push(far.into()).unwrap().is_none()));
    let results = [0; 3].map(|_| rig.next(accept).result);
    assert!(results[0] >= 0 && results[1] >= 0 && results[2] == -libc::ENFILE, "{results:?}");
    let mut refused = &nears[2];
    assert_eq!(refused.read(&mut [0]).unwrap(), 0);
    // What waits has a bound, and goes where the reactor went.
    // Or fewer, where a process may have no more open files than that.
    let push = || queue.push(UnixStream::pair().ok()?.1.into()).unwrap().is_none().then_some(());
    let pushed = (0..).map_while(|_| push()).count();
    assert!((1..=1024).contains(&pushed), "{pushed}");
    drop(rig);
    assert!(queue.push(UnixStream::pair().unwrap().1.into()).is_err());
}

trait ReadWrite: Read + Write + Send {}

impl<T: Read + Write + Send> ReadWrite for T {}
