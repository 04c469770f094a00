//! One reactor in a simulated world, turned by hand until what is waited for is there.

use engine::limits::MEMORY_BYTES_MIN;
use engine::{Config, Reactor};
use io::{Io, Pool};
use sim::{LISTENER, SimIo, Surroundings, Trace, World};

pub(crate) struct Bench<I: Io = SimIo> {
    pub(crate) world: World,
    pub(crate) reactor: Reactor<I>,
    /// More turns than any step takes.
    turns_max: u32,
}

/// Settings with little memory, and segments so large.
pub(crate) fn small(segment_bytes: u32) -> Config {
    Config { segment_bytes, memory_bytes: MEMORY_BYTES_MIN, ..Config::default() }
}

impl<I: Io> Bench<I> {
    /// A new data directory with so much memory for buffers, opened with a world that `wrap` may watch.
    pub(crate) fn new(
        seed: u64,
        surroundings: Surroundings,
        (pool_bytes, config): (usize, Config),
        turns_max: u32,
        wrap: impl FnOnce(SimIo) -> I,
    ) -> Bench<I> {
        let world = World::new(seed, Pool::new(pool_bytes).unwrap(), surroundings, Trace::new(false));
        let (mut reactor, _) = Reactor::open(wrap(world.io()), config).unwrap();
        reactor.listen(LISTENER);
        Bench { world, reactor, turns_max }
    }

    /// Turns the reactor until `is_there`, which is asked before each turn.
    pub(crate) fn turn_until(&mut self, mut is_there: impl FnMut(&mut Bench<I>) -> bool) {
        for _ in 0..self.turns_max {
            if is_there(self) {
                return;
            }
            self.reactor.turn();
            assert!(!self.world.is_stuck(), "the reactor sleeps for good");
        }
        panic!("it does not come");
    }
}
