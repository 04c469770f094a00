//! What is dropped in the middle, woken, timed, and flooded.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use io::{DirId, FileOp, Io, Op, Payload, SystemIo, Token, Wait};

use super::rig::{PATIENCE, Rig};

#[test]
fn a_dropped_one_ends_everything_and_gives_memory_back() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connect();
    let file = rig.open("a", true);
    assert_eq!(rig.file(FileOp::Allocate { file, bytes: 1 << 20 }), 0);
    rig.submit(Op::Receive(socket));
    rig.submit(Op::SendBytes { socket, bytes: vec![1; 64 << 20], from: 0 });
    for index in 0..8_u64 {
        let buf = rig.buffer(65536, index as u8).freeze();
        rig.submit(Op::Write { file, offset: index * 65536, buf, durable: true });
    }
    let buf = rig.buffer(4096, 0);
    rig.submit(Op::Read { file, offset: 0, buf });
    rig.submit(Op::File(FileOp::List(DirId(0))));
    let pool = rig.io.pool().clone();
    rig.io.turn(Wait::No, &mut Vec::new());
    assert!(pool.used_bytes() > 0);
    let started = Instant::now();
    drop(rig);
    assert!(started.elapsed() < Duration::from_secs(5), "it did not have to give up");
    assert_eq!(pool.used_bytes(), 0);
    let mut rest = Vec::new();
    let _ = peer.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20, "the connection ended");
}

#[test]
fn one_that_never_turned_can_be_dropped() {
    let mut rig = Rig::new();
    let (listener, _) = rig.listen();
    rig.submit(Op::Accept(listener));
    drop(rig);
}

#[test]
fn wakes_come_from_other_threads_and_none_is_lost() {
    let mut rig = Rig::new();
    let (sender, receiver) = crossbeam::channel::unbounded();
    let waker = rig.io.waker();
    let thread = std::thread::spawn(move || {
        for number in 0..10_000 {
            sender.send(number).unwrap();
            waker.wake();
        }
    });
    let mut expected = 0;
    while expected < 10_000 {
        rig.next(Token::WAKE);
        for number in receiver.try_iter() {
            assert_eq!(number, expected);
            expected += 1;
        }
    }
    thread.join().unwrap();
}

#[test]
fn a_turn_waits_until_its_time() {
    let mut rig = Rig::new();
    let mut completions = Vec::new();
    rig.io.turn(Wait::No, &mut completions);
    for wait_ns in [200_000, 5_000_000, 30_000_000] {
        let until = rig.io.mono_ns() + wait_ns;
        rig.io.turn(Wait::Until(until), &mut completions);
        let now = rig.io.mono_ns();
        assert!(now >= until, "{} ns early", until - now);
        assert!(now < until + PATIENCE.as_nanos() as u64);
    }
    rig.io.turn(Wait::Until(0), &mut completions);
    rig.io.turn(Wait::No, &mut completions);
    assert!(completions.is_empty(), "{completions:?}");
}

#[test]
fn polling_turns_bring_completions_too() {
    let mut rig = Rig::new();
    let (socket, mut peer) = rig.connect();
    let receiving = rig.submit(Op::Receive(socket));
    let mut completions = Vec::new();
    rig.io.turn(Wait::No, &mut completions);
    peer.write_all(b"hello").unwrap();
    let deadline = Instant::now() + PATIENCE;
    while completions.is_empty() {
        assert!(Instant::now() < deadline, "nothing came");
        rig.io.turn(Wait::No, &mut completions);
    }
    assert_eq!((completions[0].token, completions[0].result), (receiving, 5));
}

#[test]
fn a_flood_overflows_the_queues_and_is_not_lost() {
    let mut rig = Rig::new();
    let file = rig.open("a", true);
    assert_eq!(rig.file(FileOp::Allocate { file, bytes: 4096 }), 0);
    let buf = rig.buffer(4096, 5).freeze();
    // More than fit in the submission queue, and in the completion queue before anything is taken out.
    const COUNT: u64 = 10_000;
    for number in 0..COUNT {
        rig.io.submit(Op::Write { file, offset: 0, buf: buf.clone(), durable: false }, Token(1 << 32 | number));
    }
    let waker = rig.io.waker();
    let mut times = vec![0; COUNT as usize];
    let mut left = COUNT;
    let mut completions = Vec::new();
    let deadline = Instant::now() + 3 * PATIENCE;
    while left > 0 {
        assert!(Instant::now() < deadline, "{left} did not complete");
        rig.io.turn(Wait::Forever, &mut completions);
        for completion in completions.drain(..) {
            assert_eq!((completion.result, completion.more), (4096, false));
            times[(completion.token.0 & u64::from(u32::MAX)) as usize] += 1;
            left -= 1;
        }
    }
    assert!(times.iter().all(|&times| times == 1));
    waker.wake();
    rig.next(Token::WAKE);
    assert_eq!(rig.file(FileOp::Close(file)), 0);
}

#[test]
fn ten_thousand_operations_allocate_nothing() {
    let mut rig = Rig::new();
    let file = rig.open("a", true);
    assert_eq!(rig.file(FileOp::Allocate { file, bytes: 65536 }), 0);
    let (socket, mut peer) = rig.connect();
    let receiving = rig.submit(Op::Receive(socket));
    let mut completions = Vec::with_capacity(64);
    let mut bytes = vec![7; 100];
    let mut buf = rig.io.pool().take(4096).unwrap();
    let mut round = |bytes: Vec<u8>, mut completions: Vec<_>, buf: io::BufMut| {
        rig.io.submit(Op::Read { file, offset: 0, buf }, Token(1 << 40));
        let written = rig.io.pool().take(8192).unwrap().freeze();
        rig.io.submit(Op::Write { file, offset: 8192, buf: written.clone(), durable: false }, Token(2 << 40));
        rig.io.submit(Op::SendBytes { socket, bytes, from: 0 }, Token(3 << 40));
        rig.io.submit(Op::SendBuf { socket, buf: written, from: 0, to: 100 }, Token(4 << 40));
        peer.write_all(&[1; 50]).unwrap();
        let mut got = (None, None);
        let (mut ended, mut received) = (0, 0);
        while ended < 4 || received < 50 {
            rig.io.turn(Wait::Forever, &mut completions);
            for completion in completions.drain(..) {
                assert!(completion.result > 0, "{completion:?}");
                ended += usize::from(completion.token != receiving);
                match completion.payload {
                    Payload::Buf(buf) => got.0 = Some(buf),
                    Payload::Bytes(bytes) => got.1 = Some(bytes),
                    Payload::Received(part) => {
                        received += part.length;
                        rig.io.recycle(part);
                    }
                    _ => {}
                }
            }
        }
        peer.read_exact(&mut [0; 200]).unwrap();
        (got.1.unwrap(), completions, got.0.unwrap())
    };
    for _ in 0..100 {
        (bytes, completions, buf) = round(bytes, completions, buf);
    }
    let mut state = Some((bytes, completions, buf));
    let allocated = allocation_counter::measure(|| {
        for _ in 0..2_500 {
            let (bytes, completions, buf) = state.take().unwrap();
            state = Some(round(bytes, completions, buf));
        }
    });
    assert_eq!(allocated.count_total, 0);
}
