//! A connection that is closed while others are flushed: what is settled by that is told all the same.
//!
//! Bug: a client could hear nothing more for good, neither acknowledgements nor answers nor signs of life, until it gave up.
//! Mechanism: closing a connection routes what waits for its keys to be hashed, of others as well; where a record is refused by
//! that, its connection is to be flushed. The list that it was put on was the one that was being gone through, emptied and put
//! back: it was on none and marked as being on it. Fix: the list is gone through to an end that may move.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;

use engine::limits::READS_PER_CONNECTION_MAX;
use frame::proto::{Client, ClientEvent, Read, Start, StreamDescription};
use frame::{Quotas, ShardId};
use sim::{ConnectionId, End, NetworkFaults, Surroundings};

use bench::Bench;

/// More turns than any step here takes.
const TURNS_MAX: u32 = 100_000;

/// Clients that end beside each append, and how often.
const ENDING: usize = 4;
const ROUNDS: usize = 8;

struct Peer {
    id: ConnectionId,
    proto: Client,
    stream: Option<StreamDescription>,
    acked: usize,
    pongs: usize,
}

impl Peer {
    fn connect(bench: &mut Bench) -> Peer {
        let mut hello = Vec::new();
        let proto = Client::new(&mut hello);
        let id = bench.world.connect();
        bench.world.send(id, &hello);
        let mut peer = Peer { id, proto, stream: None, acked: 0, pongs: 0 };
        bench.turn_until(|bench| peer.hear(bench).0);
        peer
    }

    /// Takes what has arrived: whether there was anything, and the end if it has.
    fn hear(&mut self, bench: &Bench) -> (bool, Option<End>) {
        let (mut said, mut at) = (Vec::new(), 0);
        let end = bench.world.take(self.id, &mut said);
        while let Some(event) = self.proto.step(&said, &mut at).unwrap() {
            match event {
                ClientEvent::Stream(_, stream) => self.stream = Some(stream),
                ClientEvent::Ack(span) => self.acked += self.proto.acks(&span, &said).count(),
                ClientEvent::Pong(_) => self.pongs += 1,
                _ => {}
            }
        }
        (!said.is_empty(), end)
    }
}

#[test]
fn what_a_close_settles_is_told() {
    let one_a_second = Quotas { write_records: Some(1.try_into().unwrap()), ..Quotas::NONE };
    for seed in 0..8 {
        // What is sent in one moment arrives in one turn.
        let network = NetworkFaults { delay_ns_max: 1, ..NetworkFaults::CALM };
        let surroundings = Surroundings { network, ..Surroundings::calm() };
        let mut bench = Bench::new(seed, surroundings, (16 << 20, bench::small(4 << 20)), TURNS_MAX, |io| io);
        let mut peer = Peer::connect(&mut bench);
        let mut out = Vec::new();
        peer.proto.create_stream(&mut out, "beside", 1, one_a_second);
        bench.world.send(peer.id, &out);
        bench.turn_until(|bench| {
            peer.hear(bench);
            peer.stream.is_some()
        });
        let stream = peer.stream.as_ref().unwrap().stream;
        let mut frame = Vec::new();
        frame::frame::encode(&mut frame, b"key", None, b"data").unwrap();
        let read = Read { stream, shard: ShardId(1), start: Start::Latest, bytes_max: 1000 };
        for round in 1..=ROUNDS {
            let mut ending: Vec<Peer> = (0..ENDING).map(|_| Peer::connect(&mut bench)).collect();
            // Heard once the reads are answered, which is after the last input of a turn was routed.
            out.clear();
            peer.proto.ping(&mut out);
            for _ in 0..READS_PER_CONNECTION_MAX {
                peer.proto.read(&mut out, &read);
            }
            peer.proto.append(&mut out, stream, 1, &frame);
            bench.world.send(peer.id, &out);
            ending.iter().for_each(|ending| bench.world.finish(ending.id));
            bench.turn_until(|bench| {
                peer.hear(bench);
                ending.retain_mut(|ending| ending.hear(bench).1.is_none());
                (peer.acked, peer.pongs) == (round, round) && ending.is_empty()
            });
        }
        assert!(bench.reactor.stats().refused > 0, "seed {seed}: nothing was refused: the test is blind");
    }
}
