//! The time that retention goes by, over lives that end with the power.

#[expect(dead_code, reason = "what others ask it for")]
mod life;
mod several;

use frame::Retention;
use io::Pool;
use life::Life;
use sim::{Death, Surroundings, Trace, World};

const SECOND_NS: u64 = 1_000_000_000;
const DAY_NS: u64 = 86_400 * SECOND_NS;

/// Lets so much time pass.
fn wait(life: &mut Life<'_>, world: &World, ns: u64) {
    let until_ns = world.now_ns() + ns;
    while world.now_ns() < until_ns {
        world.wake_at(until_ns);
        life.settle();
    }
}

/// Bug: a power cut after days in which no stream had a retention made every later life hold all expiry. Mechanism: the superblock was
/// told the time only while something expired, so the next life took the days for a wall clock that had jumped. Fix: it is told
/// always.
#[test]
fn days_without_retention_hold_nothing_back() {
    // Seeds with which the power is away for no longer than a start allows for.
    for seed in [2, 3, 4] {
        let world = World::new(seed, Pool::new(16 << 20).expect("memory"), Surroundings::calm(), Trace::default());
        let mut life = Life::open_by(&world, 1, false).expect("nothing ends it");
        life.create("kept", Retention::NONE);
        wait(&mut life, &world, 10 * DAY_NS);
        life.end(Death::PowerCut);
        let mut life = Life::open_by(&world, 1, false).expect("nothing ends it");
        life.create("short", Retention::of_seconds(3));
        life.append("short", "key", b"data");
        let (stream, shards) = life.describe("short").expect("nothing ends it");
        assert_eq!(life.read(stream, &shards[0]).expect("nothing ends it").len(), 1);
        wait(&mut life, &world, 5 * SECOND_NS);
        assert_eq!(life.read(stream, &shards[0]).expect("nothing ends it"), [], "seed {seed}: it has expired");
        life.end(Death::PowerCut);
    }
}
