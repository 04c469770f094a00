//! How much of the disk opening reads: it decides how long a start takes.

use std::sync::Arc;

use engine::{Answer, Call, Config, Handle, Reactor, Recovered, Status};
use frame::Quotas;
use io::Pool;
use sim::{Death, SimIo, Surroundings, Trace, World};

const SEGMENT_BYTES: u32 = 64 << 20;
/// What opening reads at once.
const WINDOW_BYTES: u64 = 4 << 20;

fn world() -> World {
    let pool = Pool::new(16 << 20).expect("memory for the test");
    World::new(7, pool, Surroundings::calm(), Trace::default())
}

fn open(world: &World) -> (Reactor<SimIo>, Recovered) {
    let memory_bytes = engine::limits::MEMORY_BYTES_MIN;
    let config = Config { segment_bytes: SEGMENT_BYTES, memory_bytes, segments_ready: 1, ..Config::default() };
    Reactor::open(world.io(), config).expect("nothing is damaged")
}

fn end(world: &World, reactor: Reactor<SimIo>) {
    world.die();
    drop(reactor);
    world.next_life(Death::Killed, Surroundings::calm());
}

/// After a clean shutdown nothing lies past the end, and it is not looked for there.
#[test]
fn a_clean_start_reads_no_more_than_there_is() {
    let world = world();
    let (mut reactor, _) = open(&world);
    reactor.shut_down();
    while reactor.turn() == Status::Running {}
    end(&world, reactor);
    let (reactor, recovered) = open(&world);
    assert!(recovered.clean && recovered.scanned_bytes <= WINDOW_BYTES, "{recovered:?}");
    end(&world, reactor);
    let (_, recovered) = open(&world);
    let rest = u64::from(SEGMENT_BYTES) - WINDOW_BYTES;
    assert!(!recovered.clean && recovered.scanned_bytes >= rest, "after a crash all of it is: {recovered:?}");
}

/// A torn tail is looked at once, to its end, and once more where it is copied.
#[test]
fn a_torn_tail_is_read_once() {
    let world = world();
    let (reactor, _) = open(&world);
    end(&world, reactor);
    let mut files = world.files();
    files.write("0000-0000000001.segment", 8192, &[0xa5; 4096]);
    let torn = self::world();
    torn.load(files);
    let (_, recovered) = open(&torn);
    assert!(!recovered.cuts.is_empty());
    assert!(recovered.scanned_bytes <= u64::from(SEGMENT_BYTES) + 2 * WINDOW_BYTES, "{recovered:?}");
}

/// Bug: after a journal's tail had been cut, shards that it held no record of were told to have skipped numbers, and in the
/// next life they had not: their end went back, and whoever read on from it missed what came then. Mechanism: the first batch
/// says that all shards skip, which is true of those that the journal knows. Fix: it says so of the others by name.
#[test]
fn a_shard_without_records_stays_where_a_cut_put_it() {
    let (world, stream) = (world(), "shared");
    let mut two = Two::open(&world);
    two.call(Call::CreateStream {
        name: stream.to_owned(),
        shards: 2,
        settings: Quotas::NONE.into(),
        annotation: Arc::default(),
    });
    two.end(&world);
    let mut files = world.files();
    files.write("0001-0000000001.segment", 8192, &[0xa5; 4096]);
    let world = self::world();
    world.load(files);
    let tips = || {
        let mut two = Two::open(&world);
        let describe = Call::DescribeStream { name: stream.to_owned(), from: 0, limit: 2 };
        let Answer::Stream(_, shards) = two.call(describe) else { panic!("the stream is there") };
        two.end(&world);
        shards.iter().map(|shard| shard.tip).collect::<Vec<_>>()
    };
    let first = tips();
    assert!(first.iter().all(|tip| tip.0 > 1), "the tail was cut: {first:?}");
    assert_eq!(first, tips());
}

/// Two reactors on one data directory, and who asks them.
struct Two {
    reactors: Vec<Reactor<SimIo>>,
    handle: Handle,
}

impl Two {
    fn open(world: &World) -> Two {
        let memory_bytes = 2 * engine::limits::MEMORY_BYTES_MIN;
        let config = Config { segment_bytes: 4 << 20, memory_bytes, segments_ready: 1, ..Config::default() };
        let mut ios = world.ios(2).into_iter();
        let mut first = ios.next().expect("there are two");
        let (seats, _) = engine::open(&mut first, &config, 2).expect("nothing is damaged");
        let ios = std::iter::once(first).chain(ios);
        let mut reactors: Vec<Reactor<SimIo>> =
            ios.zip(seats).map(|(io, seat)| Reactor::take(io, config.clone(), seat).expect("nothing fails")).collect();
        let handles = reactors.iter_mut().enumerate().map(|(at, reactor)| reactor.handle(world.waker(at))).collect();
        Two { handle: Handle::join(handles), reactors }
    }

    fn call(&mut self, call: Call) -> Answer {
        let (tell, answer) = std::sync::mpsc::channel();
        let tell = move |answer| tell.send(answer).expect("somebody waits");
        self.handle.call(call, tell).expect("there is room for a call");
        for turn in 0..10_000 {
            self.reactors[turn % 2].turn();
            if let Ok(answer) = answer.try_recv() {
                return answer;
            }
        }
        panic!("no answer comes");
    }

    fn end(self, world: &World) {
        world.die();
        drop(self.reactors);
        world.next_life(Death::PowerCut, Surroundings::calm());
    }
}
