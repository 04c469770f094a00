//! Several reactors of one log in a simulated world.

use engine::{Config, OpenError, Reactor};
use sim::{SimIo, World};

/// Opens the data directory of a world with so many reactors.
pub(crate) fn open(world: &World, config: &Config, reactors: usize) -> Result<Vec<Reactor<SimIo>>, OpenError> {
    let mut ios = world.ios(reactors).into_iter();
    let mut first = ios.next().expect("there is a reactor");
    let (seats, _) = engine::open(&mut first, config, reactors)?;
    let ios = std::iter::once(first).chain(ios);
    ios.zip(seats).map(|(io, seat)| Reactor::take(io, config.clone(), seat)).collect()
}
