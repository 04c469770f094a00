//! Two reactors, each full of the other's records: both go on.
//!
//! Each client appends to the shard that the other reactor owns, as much as its window allows, so that what one reactor has
//! handed to the other reaches its bound in both directions at once, while the disk is slow. Nobody may wait for room that only
//! the other one's waiting could make.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod several;

use engine::Config;
use engine::limits::MEMORY_BYTES_MIN;
use frame::proto::{AckResult, Client, ClientEvent, StreamDescription};
use frame::{Quotas, ShardId};
use io::Pool;
use sim::{ConnectionId, Dice, DiskFaults, NetworkFaults, Surroundings, Trace, World};

/// More turns than all of it takes.
const TURNS_MAX: u32 = 400_000;

/// Records of each batch, and their data: several batches fill what may be handed over.
const RECORDS: u32 = 8;
const DATA_BYTES: usize = 100_000;

/// Clients of each reactor, and batches of each.
const CLIENTS: usize = 3;
const BATCHES: usize = 16;

/// A client of one reactor, which appends to one shard.
struct Peer {
    id: ConnectionId,
    proto: Client,
    hash_key: u128,
    shard: ShardId,
    stream: Option<StreamDescription>,
    sent: usize,
    acked: usize,
}

impl Peer {
    fn new(world: &World, reactor: usize, shard: ShardId, hash_key: u128) -> Peer {
        let mut out = Vec::new();
        let proto = Client::new(&mut out);
        let id = world.connect_to(reactor);
        world.send(id, &out);
        Peer { id, proto, hash_key, shard, stream: None, sent: 0, acked: 0 }
    }

    /// Takes what has arrived.
    fn hear(&mut self, world: &World) {
        let (mut said, mut at, mut out) = (Vec::new(), 0, Vec::new());
        assert_eq!(world.take(self.id, &mut said), None, "no connection ends here");
        while let Some(event) = self.proto.step(&said, &mut at).unwrap() {
            match event {
                ClientEvent::Welcome(_) => {
                    self.proto.create_stream(&mut out, "both", 2, Quotas::NONE);
                }
                ClientEvent::Stream(_, stream) => self.stream = Some(stream),
                ClientEvent::Ack(span) => {
                    for batch in self.proto.acks(&span, &said) {
                        let is_right =
                            |(_, result)| matches!(result, AckResult::Durable(shard, _) if shard == self.shard);
                        assert!(batch.results().all(is_right), "each is stored where it belongs");
                        self.acked += 1;
                    }
                }
                ClientEvent::Error(_, failure) => panic!("{failure}"),
                _ => {}
            }
        }
        world.send(self.id, &out);
    }

    /// Appends as much as its window allows.
    fn say(&mut self, world: &World) {
        let Some(stream) = self.stream.as_ref().map(|stream| stream.stream) else { return };
        let mut out = Vec::new();
        while self.sent < BATCHES {
            let mut frames = Vec::new();
            for _ in 0..RECORDS {
                frame::frame::encode(&mut frames, b"key", Some(self.hash_key), &[7; DATA_BYTES]).unwrap();
            }
            if !self.proto.may_append(frames.len() + 64) {
                break;
            }
            self.proto.append(&mut out, stream, RECORDS, &frames);
            self.sent += 1;
        }
        world.send(self.id, &out);
    }
}

#[test]
fn two_reactors_full_of_each_other_go_on() {
    for seed in 0..4 {
        let disk = DiskFaults { slow: 0.3, ..DiskFaults::default() };
        let network = NetworkFaults { window_bytes: 16 << 20, ..NetworkFaults::CALM };
        let surroundings =
            Surroundings { disk, network, receive_buffers: 64, receive_buffer_bytes: 64 << 10, ..Surroundings::calm() };
        let world = World::new(seed, Pool::new(32 << 20).unwrap(), surroundings, Trace::new(false));
        let config = Config { segment_bytes: 32 << 20, memory_bytes: 2 * MEMORY_BYTES_MIN, ..Config::default() };
        let mut reactors = several::open(&world, &config, 2).unwrap();
        let _handle = world.serve(&mut reactors);
        // The first shard of the first stream is number 1, which reactor 1 owns; the other is reactor 0's.
        let mut peers: Vec<Peer> = (0..CLIENTS)
            .flat_map(|_| [Peer::new(&world, 0, ShardId(1), 0), Peer::new(&world, 1, ShardId(2), u128::MAX)])
            .collect();
        let mut dice = Dice::new(seed, 0, "turns");
        let mut turns = 0;
        while peers.iter().any(|peer| peer.acked < BATCHES) {
            reactors[dice.index(2)].turn();
            assert!(!world.is_stuck(), "seed {seed}: both sleep, and clients wait");
            turns += 1;
            assert!(turns < TURNS_MAX, "seed {seed}: it does not come to an end");
            for peer in &mut peers {
                peer.hear(&world);
                peer.say(&world);
            }
        }
        for (number, reactor) in reactors.iter().enumerate() {
            let stats = reactor.stats();
            assert_eq!(
                stats.handed,
                (CLIENTS * BATCHES * RECORDS as usize) as u64,
                "all of reactor {number} went to the other"
            );
            assert!(
                stats.held_up > 0,
                "seed {seed}: reactor {number} was never full of the other's: the test is blind"
            );
        }
    }
}
