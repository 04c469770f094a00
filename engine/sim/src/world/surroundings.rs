//! What a life's world is like, and how the life ends.

use crate::disk::DiskFaults;
use crate::network::NetworkFaults;

/// What surrounds one life.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Surroundings {
    /// How the disk fails.
    pub disk: DiskFaults,
    /// How the network behaves.
    pub network: NetworkFaults,
    /// Bytes that the disk takes.
    pub capacity_bytes: u64,
    /// The wall clock is set wrong in a turn.
    pub clock_jumps: f64,
    /// A turn that waits comes back with nothing.
    pub wakes: f64,
    /// Receive buffers.
    pub receive_buffers: u16,
    /// Bytes of each.
    pub receive_buffer_bytes: usize,
}

impl Surroundings {
    /// Good hardware, a quick network and a big disk.
    pub fn calm() -> Surroundings {
        Surroundings {
            disk: DiskFaults::default(),
            network: NetworkFaults::CALM,
            capacity_bytes: 1 << 40,
            clock_jumps: 0.0,
            wakes: 0.0,
            receive_buffers: 32,
            receive_buffer_bytes: 16 << 10,
        }
    }
}

/// How a life ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// The power is cut: what was not flushed is lost, kept or torn.
    PowerCut,
    /// The process is gone, by a signal or by itself; the machine goes on.
    Killed,
}
