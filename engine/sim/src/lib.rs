//! The deterministic simulator: a reactor in a world of one seed, with a disk, a network and a clock that fail.
//!
//! ```text
//!   scenario: lives of one data directory -> world (disk, network, clock) <- Io -> Reactor
//!        |                                        ^ bytes
//!        +-> caller: calls of another thread
//!        +-> clients --------- submitted, acknowledged, refused, read --------> model -> checkers
//! ```
//!
//! Everything that happens follows from the seed: the same seed gives the same trace. The engine that runs here is the
//! one that runs in production, behind the same [`io::Io`].

#![forbid(unsafe_code)]

mod caller;
mod checkers;
mod client;
mod clock;
mod dice;
mod disk;
mod errno;
mod link;
mod model;
mod network;
mod numberer;
mod plan;
mod profile;
mod progress;
mod reader;
mod record;
mod resharder;
mod scenario;
mod subscriber;
mod trace;
mod world;

pub use clock::Clock;
pub use dice::Dice;
pub use disk::{DiskFaults, Files, Rot};
pub use model::Breach;
pub use network::{ConnectionId, End, NetworkFaults};
pub use plan::Cut;
pub use profile::Profile;
pub use scenario::{Failure, Options, Run, run, run_with};
pub use trace::Trace;
pub use world::{Death, LISTENER, SimIo, Surroundings, World};
