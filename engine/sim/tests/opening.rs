//! How much of the disk opening reads: it decides how long a start takes.

use engine::{Config, Reactor, Recovered, Status};
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
