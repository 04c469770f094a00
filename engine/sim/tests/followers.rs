//! Threads that follow a shard: told each record once and in order, a lot at a time, and gone when they say so or do not listen.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

use engine::limits::MEMORY_BYTES_MIN;
use engine::{Answer, Call, Config, Follower, Handle, Hear, Reactor, Status};
use frame::proto::{Client, ClientEvent, Start, Subscribe};
use frame::{Frame, Quotas, Sequence, ShardId, StreamId};
use io::Pool;
use sim::{SimIo, Surroundings, Trace, World};

/// Records of one append.
const BATCH: u64 = 20;

const DATA: [u8; 1000] = [7; 1000];

struct Rig {
    world: World,
    reactor: Reactor<SimIo>,
    handle: Handle,
    stream: StreamId,
    shard: ShardId,
}

impl Rig {
    fn new(seed: u64) -> Rig {
        let world = World::new(seed, Pool::new(64 << 20).unwrap(), Surroundings::calm(), Trace::new(false));
        let config = Config { segment_bytes: 16 << 20, memory_bytes: MEMORY_BYTES_MIN, ..Config::default() };
        let (mut reactor, _) = Reactor::open(world.io(), config).unwrap();
        let handle = reactor.handle(world.waker(0));
        let mut rig = Rig { world, reactor, handle, stream: StreamId(0), shard: ShardId(0) };
        let annotation = Arc::default();
        let create = Call::CreateStream { name: "s".to_owned(), shards: 1, settings: Quotas::NONE.into(), annotation };
        let Answer::Stream(stream, shards) = rig.call(create) else { panic!("it is made") };
        (rig.stream, rig.shard) = (stream.stream, shards.first().map_or(stream.first_shard, |shard| shard.shard));
        rig
    }

    fn call(&mut self, call: Call) -> Answer {
        let (tell, answer) = channel();
        self.handle.call(call, move |answer| tell.send(answer).unwrap()).unwrap();
        for _ in 0..100_000 {
            self.reactor.turn();
            if let Ok(answer) = answer.try_recv() {
                return answer;
            }
        }
        panic!("no answer comes");
    }

    fn append(&mut self) {
        let mut frames = Vec::new();
        (0..BATCH).for_each(|_| frame::frame::encode(&mut frames, b"k", None, &DATA).unwrap());
        let Answer::Appended(_, outcomes) = self.call(Call::Append { name: "s".to_owned(), frames }) else {
            panic!("it is stored")
        };
        assert_eq!(outcomes.len() as u64, BATCH);
    }

    /// Follows the shard from its beginning, with credit for so much.
    fn follow(&mut self, granted: u64, is_listening: Arc<AtomicBool>) -> Told {
        let (sender, lots) = channel();
        let hear = Hear::new(move |lot| {
            sender.send(lot).unwrap();
            is_listening.load(Ordering::Relaxed)
        });
        let subscribe = Subscribe { stream: self.stream, shard: self.shard, start: Start::At(Sequence(1)), granted };
        let Answer::Following(follower) = self.call(Call::Follow { subscribe, hear }) else { panic!("there is room") };
        Told { follower, lots, client: Client::inside(), next: 1, bytes: 0 }
    }

    /// Some turns, in which all happens that can.
    fn pass(&mut self) {
        for _ in 0..1000 {
            assert_eq!(self.reactor.turn(), Status::Running);
        }
    }
}

/// What a follower was told.
struct Told {
    follower: Follower,
    lots: Receiver<Vec<u8>>,
    client: Client,
    /// The number that comes next.
    next: u64,
    bytes: u64,
}

impl Told {
    /// Takes a lot apart, if there is one: its records are the next ones.
    fn take(&mut self) -> bool {
        let Ok(lot) = self.lots.try_recv() else { return false };
        let mut at = 0;
        while let Some(event) = self.client.step(&lot, &mut at).unwrap() {
            match event {
                ClientEvent::Record(span) => {
                    let frame = Frame::parse(self.client.bytes(&span, &lot)).unwrap();
                    assert_eq!((frame.sequence(), frame.data()), (Sequence(self.next), &DATA[..]));
                    self.next += 1;
                    self.bytes += frame.length() as u64;
                }
                ClientEvent::ReadBegin(request, result) => {
                    assert_eq!((request, result.shard), (Follower::REQUEST, ShardId(1)));
                }
                ClientEvent::ReadEnd(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(at, lot.len(), "messages are whole");
        true
    }
}

#[test]
fn a_follower_is_told_each_record_once_and_a_lot_at_a_time() {
    let mut rig = Rig::new(1);
    (0..30).for_each(|_| rig.append());
    let mut told = rig.follow(1 << 20, Arc::new(AtomicBool::new(true)));
    rig.pass();
    assert!(told.take(), "it is told where it begins");
    rig.pass();
    assert!(!told.take(), "and nothing more before it took that");
    let mut lots = 0;
    for round in 0..40 {
        rig.append();
        loop {
            let granted = told.bytes + (1 << 20);
            rig.call(Call::Took { follower: told.follower, granted });
            rig.pass();
            if !told.take() {
                break;
            }
            lots += 1;
        }
        assert_eq!(told.next - 1, BATCH * (30 + round + 1), "all that is durable was told");
    }
    assert!(lots >= 40, "{lots}");
    assert!(matches!(rig.call(Call::Unfollow(told.follower)), Answer::Done));
    rig.append();
    rig.pass();
    assert!(!told.take(), "nobody follows any more");
    // What is said for one that is gone changes nothing.
    for call in [Call::Took { follower: told.follower, granted: u64::MAX }, Call::Unfollow(told.follower)] {
        assert!(matches!(rig.call(call), Answer::Done));
    }
}

#[test]
fn credit_bounds_what_a_follower_is_told() {
    let mut rig = Rig::new(2);
    (0..30).for_each(|_| rig.append());
    let mut told = rig.follow(5000, Arc::new(AtomicBool::new(true)));
    for _ in 0..10 {
        rig.pass();
        told.take();
        rig.call(Call::Took { follower: told.follower, granted: 5000 });
    }
    assert!((5000..5000 + 2 * DATA.len() as u64).contains(&told.bytes), "{} bytes", told.bytes);
}

/// Who does not listen is let go of with what it is told next, and a shard may be followed by others then.
#[test]
fn who_does_not_listen_is_let_go_of() {
    let mut rig = Rig::new(3);
    let is_listening = Arc::new(AtomicBool::new(true));
    let mut deaf = rig.follow(1 << 20, Arc::clone(&is_listening));
    rig.pass();
    assert!(deaf.take());
    is_listening.store(false, Ordering::Relaxed);
    rig.call(Call::Took { follower: deaf.follower, granted: 1 << 20 });
    (0..3).for_each(|_| rig.append());
    rig.pass();
    assert!(deaf.take(), "by this it says that it does not listen");
    assert!(deaf.lots.recv().is_err(), "what it heard by was dropped");
}

/// A follower that takes nothing does not hold up a clean shutdown.
#[test]
fn a_shutdown_lets_go_of_followers() {
    let mut rig = Rig::new(4);
    (0..30).for_each(|_| rig.append());
    let told = rig.follow(1 << 20, Arc::new(AtomicBool::new(true)));
    rig.pass();
    let began_ns = rig.world.now_ns();
    rig.reactor.shut_down();
    while rig.reactor.turn() == Status::Running {}
    assert!(rig.world.now_ns() - began_ns < 1_000_000_000, "it waited for the follower");
    assert!(told.lots.iter().count() > 0);
}
