//! Bug (damage, seed 1159): a record that was refused for those before it could never be stored. Mechanism: a client sent one more and was
//! gone; that one waited for its key to be hashed while the connection was closed, by which it was forgotten what had been refused on
//! it, and was stored; then the other's retry was below the highest number of its shard. Fix: what waits is routed first.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod several;

use std::sync::mpsc::channel;

use engine::limits::MEMORY_BYTES_MIN;
use engine::{Answer, Call, Config, Reactor};
use frame::extension::Extensions;
use frame::proto::{AckResult, Client, ClientEvent, ErrorCode, StreamDescription};
use frame::{Numbered, ProducerId, Quotas, RecordNumber};
use io::Pool;
use sim::{ConnectionId, LISTENER, SimIo, Surroundings, Trace, World};

/// More turns than any step takes.
const TURNS_MAX: u32 = 10_000;

const NAME: &str = "s";

struct Peer {
    id: ConnectionId,
    proto: Client,
    stream: Option<StreamDescription>,
    results: Vec<AckResult>,
}

impl Peer {
    fn new(world: &World) -> Peer {
        let mut out = Vec::new();
        let proto = Client::new(&mut out);
        let id = world.connect_to(0);
        world.send(id, &out);
        Peer { id, proto, stream: None, results: Vec::new() }
    }

    fn hear(&mut self, world: &World) {
        let (mut said, mut at) = (Vec::new(), 0);
        world.take(self.id, &mut said);
        while let Some(event) = self.proto.step(&said, &mut at).unwrap() {
            match event {
                ClientEvent::Stream(_, stream) => self.stream = Some(stream),
                ClientEvent::Ack(span) => {
                    for batch in self.proto.acks(&span, &said) {
                        self.results.extend(batch.results().map(|(_, result)| result));
                    }
                }
                ClientEvent::Error(_, failure) => panic!("{failure}"),
                _ => {}
            }
        }
    }

    fn create(&mut self, world: &World) {
        let mut out = Vec::new();
        self.proto.create_stream(&mut out, NAME, 2, Quotas::NONE);
        world.send(self.id, &out);
    }

    /// Appends records of these numbers, with these hash keys.
    fn append(&mut self, world: &World, stream: &StreamDescription, records: &[(u64, u128)]) {
        let (mut frames, mut out) = (Vec::new(), Vec::new());
        for &(number, hash_key) in records {
            let numbered = Numbered { producer: ProducerId(7), number: RecordNumber(number) };
            let extensions =
                Extensions { explicit_hash_key: Some(hash_key), numbered: Some(numbered), ..Extensions::default() };
            frame::frame::encode_extended(&mut frames, b"key", &extensions, [b"data"]).unwrap();
        }
        self.proto.append(&mut out, stream.stream, records.len() as u32, &frames);
        world.send(self.id, &out);
        self.results.clear();
    }
}

/// Turns reactors until a client has heard what it waits for.
fn turn_until(
    world: &World,
    reactors: &mut [Reactor<SimIo>],
    peer: &mut Peer,
    mut has_heard: impl FnMut(&Peer) -> bool,
) {
    for _ in 0..TURNS_MAX {
        reactors.iter_mut().for_each(|reactor| _ = reactor.turn());
        peer.hear(world);
        if has_heard(peer) {
            return;
        }
    }
    panic!("it hears nothing: {:?}", peer.results);
}

fn refusals(peer: &Peer) -> Vec<ErrorCode> {
    let code = |result: &AckResult| match *result {
        AckResult::Durable(..) => None,
        AckResult::Refused(code) | AckResult::Throttled(code, _) => Some(code),
    };
    peer.results.iter().filter_map(code).collect()
}

fn a_client_goes_while_a_record_waits(seed: u64) {
    let world = World::new(seed, Pool::new(32 << 20).unwrap(), Surroundings::calm(), Trace::new(false));
    let config = Config { segment_bytes: 4 << 20, memory_bytes: 2 * MEMORY_BYTES_MIN, ..Config::default() };
    let mut reactors = several::open(&world, &config, 2).unwrap();
    reactors.iter_mut().for_each(|reactor| reactor.listen(LISTENER));
    let mut peer = Peer::new(&world);
    peer.create(&world);
    turn_until(&world, &mut reactors, &mut peer, |peer| peer.stream.is_some());
    let stream = peer.stream.clone().unwrap();
    let [near, far] = [0, 1].map(|own| *stream.shards.iter().find(|shard| shard.reactor == own).unwrap());

    // Nothing is left that the first reactor would wait for. The other is at something else from here on, so its shard stays fenced.
    (0..300).for_each(|_| reactors.iter_mut().for_each(|reactor| _ = reactor.turn()));
    let handle = reactors[0].handle(world.waker(0));
    let (tell, split) = channel();
    let at = far.hash_start + 1;
    let call = Call::SplitShard { name: NAME.to_owned(), shard: far.shard, at };
    handle.call(call, move |answer| drop(tell.send(answer))).unwrap();
    (0..300).for_each(|_| _ = reactors[0].turn());
    for (number, shard, code) in [(1, &far, ErrorCode::Resharding), (2, &near, ErrorCode::OutOfOrder)] {
        peer.append(&world, &stream, &[(number, shard.hash_start)]);
        turn_until(&world, &mut reactors[..1], &mut peer, |peer| !peer.results.is_empty());
        assert_eq!(refusals(&peer), [code], "number {number}");
    }
    peer.append(&world, &stream, &[(3, near.hash_start)]);
    world.reset(peer.id);
    (0..300).for_each(|_| _ = reactors[0].turn());

    let mut peer = Peer::new(&world);
    let mut is_split = false;
    turn_until(&world, &mut reactors, &mut peer, |_| {
        is_split |= split.try_recv().is_ok_and(|answer| matches!(answer, Answer::Stream(..)));
        is_split
    });
    for _ in 0..4 {
        peer.append(&world, &stream, &[(1, far.hash_start), (2, near.hash_start), (3, near.hash_start)]);
        turn_until(&world, &mut reactors, &mut peer, |peer| peer.results.len() == 3);
        if refusals(&peer).is_empty() {
            return;
        }
        assert!(refusals(&peer).iter().all(|&code| code == ErrorCode::OutOfOrder), "{:?}", peer.results);
    }
    panic!("it is never stored: {:?}", peer.results);
}

#[test]
fn what_waits_for_a_refused_record_does_so_when_its_client_is_gone() {
    (0..100).for_each(a_client_goes_while_a_record_waits);
}
