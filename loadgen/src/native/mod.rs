//! The native protocol over TCP, driven by `tokio-uring`: produce on one pinned runtime for each client core, then read
//! everything back.
//!
//! A connection belongs to one core and is touched by its thread alone. Cores share only counters and the stop sign
//! ([`Shared`]); each keeps its own recorder and ledger, which are merged at the end. A connection that breaks is not
//! opened again: its outstanding batches are of unknown fate, and the run says so.

mod batch;
mod core;
mod error;
mod feed;
mod join;
mod link;
mod pace;
mod produce;
mod readback;
mod runtime;
mod session;
mod shared;
mod streams;
mod subscribe;

use std::net::SocketAddr;
use std::time::Duration;

use frame::{Sequence, ShardId, StreamId};

use crate::input::{InputError, Rows};
use crate::recorder::Recorder;
use crate::schedule::{Arrivals, Lateness};
use crate::verify::{Faults, Ledger, Verdict};
use crate::workload::Recipe;

pub use error::NativeError;
pub use produce::produce;
pub use readback::read_back;
pub use runtime::{Io, check_io};
pub use shared::{Progress, Shared, Stop};
pub use streams::{Prepared, prepare_streams};

/// One stream that the run writes.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What appends and reads name it by.
    pub id: StreamId,
    /// Its shards, each with the first number that this run can be given.
    pub shards: Vec<(ShardId, Sequence)>,
}

/// Every shard of the streams, each with its stream and the first number that this run can be given.
fn all_shards(streams: &[Stream]) -> impl Iterator<Item = (StreamId, ShardId, Sequence)> {
    streams.iter().flat_map(|stream| stream.shards.iter().map(|&(shard, first)| (stream.id, shard, first)))
}

/// When batches leave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// As soon as fewer than so many are in flight on a connection.
    Closed {
        /// Batches in flight on each connection.
        inflight: u32,
    },
    /// At so many records a second, whatever the server does.
    Open {
        /// Records a second.
        records_per_s: f64,
        /// How they are spread.
        arrivals: Arrivals,
    },
    /// As the times of a person's own rows say, so many times faster.
    Replay {
        /// How much faster than the rows' own time.
        speed: f64,
    },
}

/// What is written.
pub enum Source {
    /// Made from a recipe.
    Generated(Recipe),
    /// A person's own rows; those without a key column get keys from the recipe.
    Rows(Box<Rows>, Recipe),
}

/// Everything that producing needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub target: SocketAddr,
    /// What is written to.
    pub streams: Vec<Stream>,
    /// Connections, over all cores.
    pub connections: u32,
    /// Records in a batch at most.
    pub batch_records: u32,
    /// When batches leave.
    pub pace: Pace,
    /// What is dropped at the start.
    pub warmup: Duration,
    /// When to stop, if time is to stop it.
    pub duration: Option<Duration>,
    /// How many bytes of data and keys to send at most.
    pub bytes_max: u64,
    /// Client cores, a thread on each.
    pub cores: Vec<usize>,
    /// The seed of the schedule.
    pub seed: u64,
    /// Who has pushed to it what is produced.
    pub subscribers: Subscribers,
}

/// Subscribers beside the producers, each of all shards, over a connection of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subscribers {
    /// How many.
    pub count: u32,
    /// How many more, that never take anything.
    pub stalled: u32,
    /// How long after the start they begin, with the first record.
    pub after: Duration,
}

/// What subscribers were pushed.
#[derive(Debug)]
pub struct Pushed {
    /// From the intended time of a record to each subscriber's taking it; throughput is that of all subscribers together.
    pub recorder: Recorder,
    /// Records pushed in all.
    pub records: u64,
    /// What is wrong with it, a subscriber at a time.
    pub faults: Vec<Faults>,
}

/// What producing came to.
pub struct Produced {
    /// What was measured.
    pub recorder: Recorder,
    /// The account to hold the stream against.
    pub ledger: Ledger,
    /// How late batches were, if they had a schedule.
    pub lateness: Lateness,
    /// Batches whose every record was answered.
    pub batches: u64,
    /// Batches that had to wait for the server's credit after their time.
    pub waited_for_credit: u64,
    /// Why connections ended, if any did.
    pub lost: Vec<String>,
    /// Why the run stopped.
    pub stop: Stop,
    /// What subscribers were pushed, if there were any.
    pub pushed: Option<Pushed>,
    /// A fault in a person's own data, found on the way.
    pub input_error: Option<InputError>,
    /// Rows whose time lay before that of an earlier row.
    pub rows_out_of_order: u64,
}

/// What reading back came to.
pub struct ReadBack {
    /// Whether the log kept its word.
    pub verdict: Verdict,
    /// How long reading took.
    pub seconds: f64,
    /// Bytes of data and keys read.
    pub bytes: u64,
}

#[cfg(test)]
mod memory_server;
#[cfg(test)]
mod tests;
