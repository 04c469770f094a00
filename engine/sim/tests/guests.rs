//! Bug: what waited at a reactor for clients of another one was bounded for each of them alone, so that many who took nothing had all of
//! its memory. Mechanism: a guest's messages counted once its host was told them. Fix: what waits for all guests is bounded, and what is on
//! its way to a host that takes no parcels; past that only those go on whose clients take.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod several;

use std::sync::mpsc::channel;

use engine::limits::{MEMORY_BYTES_MIN, TOLD_BYTES_MAX};
use engine::{Config, Handle, Reactor};
use frame::proto::{Client, ClientEvent, Read, Start, Subscribe};
use frame::{Quotas, RequestId, Sequence, ShardId, StreamId};
use io::Pool;
use sim::{ConnectionId, NetworkFaults, SimIo, Surroundings, Trace, World};

/// The one shard of two that reactor 0 owns, and a hash key of it.
const SHARD: ShardId = ShardId(2);
const STREAM: StreamId = StreamId(1);
const HASH_KEY: u128 = u128::MAX;

/// So few at a time that they are copied when they are sent.
const RECORDS: u32 = 1500;
const BATCH: u32 = 5;
const RECORD_BYTES: usize = 1000;

/// More than there is to be pushed.
const CREDIT: u64 = 1 << 30;

const DEAF: usize = 24;
const TURNS_MAX: u32 = 200_000;

struct Two {
    world: World,
    reactors: Vec<Reactor<SimIo>>,
    handle: Handle,
}

struct Peer {
    id: ConnectionId,
    proto: Client,
    acks: usize,
    records: u32,
    subscription: Option<RequestId>,
    subscribed: usize,
    streams: usize,
}

impl Peer {
    /// Takes what has arrived.
    fn hear(&mut self, world: &World) {
        let (mut said, mut at) = (Vec::new(), 0);
        assert_eq!(world.take(self.id, &mut said), None, "this connection does not end");
        while let Some(event) = self.proto.step(&said, &mut at).unwrap() {
            match event {
                ClientEvent::Ack(span) => self.acks += self.proto.acks(&span, &said).count(),
                ClientEvent::Stream(..) => self.streams += 1,
                ClientEvent::Record(_) => self.records += 1,
                ClientEvent::ReadBegin(..) => self.subscribed += 1,
                ClientEvent::Error(_, failure) => panic!("{failure}"),
                _ => {}
            }
        }
    }
}

impl Two {
    /// With a stream of so many records.
    fn new(seed: u64, window_bytes: usize) -> Two {
        let network = NetworkFaults { window_bytes, ..NetworkFaults::CALM };
        let surroundings = Surroundings { network, ..Surroundings::calm() };
        let world = World::new(seed, Pool::new(64 << 20).unwrap(), surroundings, Trace::new(false));
        let config = Config { segment_bytes: 4 << 20, memory_bytes: 2 * MEMORY_BYTES_MIN, ..Config::default() };
        let mut reactors = several::open(&world, &config, 2).unwrap();
        let handle = world.serve(&mut reactors);
        let mut two = Two { world, reactors, handle };
        let mut writer = two.connect(0);
        two.say(&mut writer, |proto, out| _ = proto.create_stream(out, "s", 2, Quotas::NONE));
        two.until(std::slice::from_mut(&mut writer), |peer| peer.streams > 0);
        let mut frames = Vec::new();
        for _ in 0..BATCH {
            frame::frame::encode(&mut frames, b"k", Some(HASH_KEY), &[7; RECORD_BYTES]).unwrap();
        }
        for batch in 0..(RECORDS / BATCH) as usize {
            two.say(&mut writer, |proto, out| _ = proto.append(out, STREAM, BATCH, &frames));
            two.until(std::slice::from_mut(&mut writer), |peer| peer.acks > batch);
        }
        two
    }

    fn connect(&mut self, reactor: usize) -> Peer {
        let mut hello = Vec::new();
        let proto = Client::new(&mut hello);
        let id = self.world.connect_to(reactor);
        self.world.send(id, &hello);
        Peer { id, proto, acks: 0, records: 0, subscription: None, subscribed: 0, streams: 0 }
    }

    /// A client of reactor 1 that has the shard pushed, which is reactor 0's.
    fn subscriber(&mut self, granted: u64) -> Peer {
        let mut peer = self.connect(1);
        let start = Start::At(Sequence(1));
        let subscribe = Subscribe { stream: STREAM, shard: SHARD, start, granted };
        let mut subscription = None;
        self.say(&mut peer, |proto, out| subscription = Some(proto.subscribe(out, &subscribe)));
        peer.subscription = subscription;
        peer
    }

    fn say(&self, peer: &mut Peer, say: impl FnOnce(&mut Client, &mut Vec<u8>)) {
        let mut bytes = Vec::new();
        say(&mut peer.proto, &mut bytes);
        self.world.send(peer.id, &bytes);
    }

    /// Has the two go on until all of these have heard what they wait for.
    fn until(&mut self, peers: &mut [Peer], is_there: impl Fn(&Peer) -> bool) {
        for _ in 0..TURNS_MAX {
            peers.iter_mut().for_each(|peer| peer.hear(&self.world));
            if peers.iter().all(&is_there) {
                return;
            }
            self.turn(2);
            assert!(!self.world.is_stuck(), "the reactors sleep for good");
        }
        panic!("it does not come");
    }

    /// Turns the first so many.
    fn turn(&mut self, count: usize) {
        self.reactors.iter_mut().take(count).for_each(|reactor| _ = reactor.turn());
    }

    /// What waits at reactor 0 for clients of the other one, and how much may.
    fn waiting(&mut self) -> (usize, usize) {
        let (sender, vitals) = channel();
        self.handle.look(0, move |vitals| sender.send(vitals).unwrap()).unwrap();
        self.turn(1);
        let vitals = vitals.try_recv().unwrap();
        let guests = vitals.memory.iter().find(|of| of.what == "guests").unwrap();
        (guests.bytes, guests.budget_bytes)
    }
}

#[test]
fn what_waits_for_clients_of_others_is_bounded_and_who_takes_goes_on() {
    let mut two = Two::new(11, 10_000);
    let deaf: Vec<Peer> = (0..DEAF).map(|_| two.subscriber(CREDIT)).collect();
    deaf.iter().for_each(|peer| two.world.set_reading(peer.id, false));
    let mut most = 0;
    for _ in 0..2000 {
        two.turn(2);
        let (bytes, may_be) = two.waiting();
        // One push is made before it is known to be too much.
        assert!(bytes <= may_be + TOLD_BYTES_MAX, "{bytes} bytes wait, of {may_be}");
        most = most.max(bytes);
    }
    let (_, may_be) = two.waiting();
    assert!(most > may_be, "the test is blind: {most} of {may_be}");
    let mut other = two.subscriber(CREDIT);
    two.until(std::slice::from_mut(&mut other), |peer| peer.records == RECORDS);
    // What has a long answer is refused to who takes nothing, and answered to who takes.
    let read = Read { stream: STREAM, shard: SHARD, start: Start::At(Sequence(1)), bytes_max: 900_000 };
    other.records = 0;
    two.say(&mut other, |proto, out| _ = proto.read(out, &read));
    two.until(std::slice::from_mut(&mut other), |peer| peer.records > 700);
}

#[test]
fn a_reactor_that_takes_no_parcels_has_little_waiting_for_its_clients() {
    let mut two = Two::new(12, 1 << 20);
    let mut peers: Vec<Peer> = (0..8 * DEAF).map(|_| two.subscriber(0)).collect();
    two.until(&mut peers, |peer| peer.subscribed > 0);
    for peer in &mut peers {
        let request = peer.subscription.unwrap();
        two.say(peer, |_, out| Client::grant(out, request, CREDIT));
    }
    // All of that has arrived when it has its next turn, and it has no other for long.
    let at_ns = two.world.now_ns() + 100_000_000;
    while two.world.now_ns() < at_ns {
        two.world.wake_at(at_ns);
        two.turn(1);
    }
    (0..3).for_each(|_| _ = two.reactors[1].turn());
    let mut most = 0;
    for _ in 0..2000 {
        let (bytes, may_be) = two.waiting();
        assert!(bytes <= may_be + 2 * TOLD_BYTES_MAX, "{bytes} bytes wait, of {may_be}");
        most = most.max(bytes);
    }
    assert!(most > TOLD_BYTES_MAX, "the test is blind: {most} bytes waited");
    two.until(&mut peers, |peer| peer.records == RECORDS);
}
