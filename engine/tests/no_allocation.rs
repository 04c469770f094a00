//! At steady state nothing is allocated from the receipt of an append to its acknowledgement.
//!
//! The reactor runs on this thread, whose allocations are counted; the client has a thread of its own.

#![expect(clippy::unwrap_used, reason = "a test says what failed by failing")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::{Config, Reactor};
use frame::proto::{Client, ClientEvent};
use frame::{Numbered, ProducerId, Quotas, RecordNumber};
use io::{DataDir, IoConfig, Ring, SystemIo, Threads};

const BATCHES: u64 = 10_000;
const WARM_UP: u64 = 3_000;
const IN_FLIGHT: usize = 32;
const RECORDS: u32 = 20;

#[test]
fn ten_thousand_appends_on_the_ring_allocate_nothing() {
    ten_thousand_appends_allocate_nothing::<Ring>(false);
}

#[test]
fn ten_thousand_numbered_appends_allocate_nothing() {
    ten_thousand_appends_allocate_nothing::<Ring>(true);
}

#[test]
fn ten_thousand_appends_on_threads_allocate_nothing() {
    ten_thousand_appends_allocate_nothing::<Threads>(false);
}

fn ten_thousand_appends_allocate_nothing<I: SystemIo>(is_numbered: bool) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut io = I::start(IoConfig::new(vec![DataDir::open(directory.path(), false).unwrap()])).unwrap();
    let (socket, address) = io::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let listener = io.accept_from(socket).unwrap();
    // One segment for all of it: a new one is made once in hundreds of megabytes, and that allocates.
    let config = Config { segment_bytes: 1 << 30, segments_ready: 1, ..Config::default() };
    let (mut reactor, _) = Reactor::open(io, config).unwrap();
    reactor.listen(listener);
    let acknowledged = Arc::new(AtomicU64::new(0));
    let client = {
        let acknowledged = Arc::clone(&acknowledged);
        std::thread::spawn(move || append(address, is_numbered, &acknowledged))
    };
    while acknowledged.load(Ordering::Relaxed) < WARM_UP {
        reactor.turn();
    }
    let counted = allocation_counter::measure(|| {
        let until = acknowledged.load(Ordering::Relaxed) + BATCHES;
        while acknowledged.load(Ordering::Relaxed) < until {
            reactor.turn();
        }
    });
    drop(reactor);
    client.join().unwrap();
    assert_eq!(counted.count_total, 0, "{BATCHES} appends made {counted:?}");
}

/// Appends until the server goes away, over eight shards, with frames that straddle receives. In bursts first, each cut at
/// another place, so that everything grows to the most that it will hold.
fn append(address: SocketAddr, is_numbered: bool, acknowledged: &AtomicU64) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    let mut out = Vec::new();
    let mut client = Client::new(&mut out);
    // So high that none is met, but all are looked at.
    let highest = std::num::NonZeroU32::new(u32::MAX);
    let quotas = Quotas { write_bytes: highest, write_records: highest, ..Quotas::NONE };
    client.create_stream(&mut out, "stream", 8, quotas);
    let (mut number, mut frames) = (0, Vec::new());
    let mut encode = |frames: &mut Vec<u8>| {
        frames.clear();
        for record in 0..RECORDS {
            number += 1;
            let numbered = Numbered { producer: ProducerId(9), number: RecordNumber(number) };
            let numbered = is_numbered.then_some(numbered);
            let key = format!("key {record}");
            frame::parts::encode_numbered(frames, key.as_bytes(), None, numbered, [&[7; 300]]).unwrap();
        }
    };
    let mut input = vec![0; 1 << 16];
    let (mut stream, mut owed, mut in_bursts, mut cut) = (None, 0, true, 0);
    loop {
        if in_bursts {
            cut = (cut + 97) % (out.len() + 1);
            if socket.write_all(&out[..cut]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_micros(500));
            out.drain(..cut);
        }
        if socket.write_all(&out).is_err() {
            return;
        }
        out.clear();
        let Ok(received @ 1..) = socket.read(&mut input) else { return };
        let mut at = 0;
        while let Some(event) = client.step(&input[..received], &mut at).unwrap() {
            let done = match event {
                ClientEvent::Stream(_, description) => {
                    stream = Some(description.stream);
                    IN_FLIGHT
                }
                ClientEvent::Ack(span) => {
                    let count = client.acks(&span, &input[..received]).count();
                    let before = acknowledged.fetch_add(count as u64, Ordering::Relaxed);
                    in_bursts = before < WARM_UP;
                    count
                }
                ClientEvent::Welcome(_) => 0,
                other => panic!("{other:?}"),
            };
            let Some(stream) = stream else { continue };
            owed += done;
            if in_bursts && owed < IN_FLIGHT {
                continue;
            }
            for _ in 0..std::mem::take(&mut owed) {
                encode(&mut frames);
                client.append(&mut out, stream, RECORDS, &frames);
            }
        }
    }
}
