//! Clients that ask for much and take nothing: what all of them have not taken is bounded, and so is what is read for them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;

use engine::limits::{BACKLOG_BYTES_MIN, READS_PER_CONNECTION_MAX, STALLED_NS};
use frame::proto::{Client, ClientEvent, ErrorCode, Read, Start};
use frame::{Quotas, Sequence, ShardId, StreamId};
use sim::{ConnectionId, NetworkFaults, Surroundings};

use bench::Bench;

const TURNS_MAX: u32 = 1_000_000;

/// Of one shard, and so few at a time that they are copied when they are sent.
const RECORDS: u32 = 1500;
const BATCH: u32 = 5;
const RECORD_BYTES: usize = 1000;

/// A client's end of a connection.
struct Peer {
    id: ConnectionId,
    proto: Client,
    heard: Vec<Heard>,
}

#[derive(PartialEq, Eq, Debug)]
enum Heard {
    Records(u32),
    Failed(ErrorCode),
    Other,
}

impl Bench {
    fn connect(&mut self) -> Peer {
        let mut hello = Vec::new();
        let proto = Client::new(&mut hello);
        let id = self.world.connect();
        let mut peer = Peer { id, proto, heard: Vec::new() };
        self.say(&mut peer, |_, out| out.extend_from_slice(&hello));
        peer
    }

    /// Says something, and waits for what comes.
    fn say(&mut self, peer: &mut Peer, say: impl FnOnce(&mut Client, &mut Vec<u8>)) {
        let mut bytes = Vec::new();
        say(&mut peer.proto, &mut bytes);
        self.world.send(peer.id, &bytes);
        peer.heard.clear();
        let mut records = 0;
        self.turn_until(|bench| {
            let (mut said, mut at) = (Vec::new(), 0);
            assert_eq!(bench.world.take(peer.id, &mut said), None, "this connection does not end");
            while let Some(event) = peer.proto.step(&said, &mut at).unwrap() {
                match event {
                    ClientEvent::ReadBegin(_, result) => records = result.records,
                    ClientEvent::ReadEnd(_) => peer.heard.push(Heard::Records(records)),
                    ClientEvent::Error(_, failure) => peer.heard.push(Heard::Failed(failure.code)),
                    ClientEvent::Record(_) => {}
                    _ => peer.heard.push(Heard::Other),
                }
            }
            !peer.heard.is_empty()
        });
    }
}

/// All but a little of a megabyte: a whole number of them is not just what all may be owed.
fn read() -> Read {
    Read { stream: StreamId(1), shard: ShardId(1), start: Start::At(Sequence(1)), bytes_max: 900_000 }
}

#[test]
fn who_takes_nothing_ends_where_others_wait_for_its_memory() {
    let network = NetworkFaults { window_bytes: 10_000, ..NetworkFaults::CALM };
    let surroundings = Surroundings { network, ..Surroundings::calm() };
    let mut bench = Bench::new(7, surroundings, (64 << 20, bench::small(4 << 20)), TURNS_MAX, |io| io);
    let mut other = bench.connect();
    bench.say(&mut other, |proto, out| _ = proto.create_stream(out, "s", 1, Quotas::NONE));
    let mut frames = Vec::new();
    (0..BATCH).for_each(|_| frame::frame::encode(&mut frames, b"k", None, &[7; RECORD_BYTES]).unwrap());
    for _ in 0..RECORDS / BATCH {
        bench.say(&mut other, |proto, out| _ = proto.append(out, StreamId(1), BATCH, &frames));
    }
    bench.say(&mut other, |proto, out| _ = proto.read(out, &read()));
    assert!(matches!(other.heard[..], [Heard::Records(700..)]), "{:?}", other.heard);
    // Each of them is owed a megabyte: more than twice what all may be owed.
    let mut deaf: Vec<Peer> = (0..2 * (BACKLOG_BYTES_MIN >> 20)).map(|_| bench.connect()).collect();
    for peer in &mut deaf {
        bench.world.set_reading(peer.id, false);
        let mut bytes = Vec::new();
        (0..2 * READS_PER_CONNECTION_MAX).for_each(|_| _ = peer.proto.read(&mut bytes, &read()));
        bench.world.send(peer.id, &bytes);
    }
    let asked_ns = bench.world.now_ns();
    bench.turn_until(|bench| bench.world.now_ns() - asked_ns > 100_000_000);
    let mut refusals = 0;
    loop {
        bench.say(&mut other, |proto, out| _ = proto.read(out, &read()));
        match other.heard[..] {
            [Heard::Failed(ErrorCode::Busy)] => refusals += 1,
            [Heard::Records(700..)] if refusals > 0 => break,
            [Heard::Records(700..)] => {}
            _ => panic!("{:?}", other.heard),
        }
        assert!(bench.world.now_ns() - asked_ns < 10_000_000_000, "it is refused for ever: {refusals}");
    }
    assert!(bench.world.now_ns() - asked_ns > STALLED_NS, "they took nothing, and had not gone");
}
