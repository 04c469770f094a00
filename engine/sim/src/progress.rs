//! How long it is ago that a client took a byte: a slow network takes many turns, and is no reactor that does not come to rest.

use crate::world::World;

/// Turns of a reactor in which no client takes a byte: more mean that it never comes to rest.
pub(crate) const TURNS_MAX: u64 = 200_000;

/// Since the newest turn in which a client took something.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    taken_bytes: u64,
    pub(crate) at_ns: u64,
    turns_since: u64,
}

impl Progress {
    /// A reactor has taken a turn.
    pub(crate) fn note(&mut self, world: &World) {
        let taken_bytes = world.taken_bytes();
        if taken_bytes > self.taken_bytes {
            *self = Progress { taken_bytes, at_ns: world.now_ns(), turns_since: 0 };
        } else {
            self.turns_since += 1;
        }
    }

    /// Whether so many reactors do not come to rest.
    pub(crate) fn is_stalled(&self, reactors: usize) -> bool {
        self.turns_since > TURNS_MAX * reactors as u64
    }
}
