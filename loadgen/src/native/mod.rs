//! The native protocol over TCP, driven by `tokio-uring`: produce on one pinned runtime for each client core, then read
//! everything back.
//!
//! A connection belongs to one core and is touched by its thread alone. Cores share only counters and the stop sign
//! ([`Shared`]); each keeps its own recorder and ledger, which are merged at the end. A connection that breaks is not
//! opened again: its outstanding batches are of unknown fate, and the run says so.

mod batch;
mod catch_up;
mod core;
mod error;
mod feed;
mod follow;
mod join;
mod link;
mod missed;
mod pace;
mod produce;
mod readback;
mod runtime;
mod secure;
mod session;
mod shared;
mod socket;
mod sorted;
mod streams;
mod subscribe;
mod take;
mod target;
mod walk;
mod ways;
mod write;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use frame::{Sequence, ShardId, StreamId};

use crate::input::InputError;
use crate::recorder::Recorder;
use crate::schedule::{Arrivals, Lateness, Seed};
use crate::verify::{Faults, Ledger, Shards, Verdict};
use crate::workload::{Contents, GROUPS_MAX, Recipe};

pub(crate) use core::{Core, Due, SILENCE_MAX, UNWANTED_MAX, long_over, sleep_unless, unless_over, until};
pub use error::NativeError;
pub(crate) use feed::{Outlets, place_of, send_rows};
pub(crate) use follow::{OpenLoop, Waiting, follow};
#[cfg(test)]
pub(crate) use pace::whole_turn;
pub(crate) use pace::{Pacer, Turns, outlasts};
pub use produce::produce;
pub(crate) use produce::{CoreOutcome, CorePlace, check_end, run_cores};
pub use readback::read_back;
pub(crate) use runtime::run_pinned;
pub use runtime::{Io, Kind, settle_io};
pub use secure::Trust;
pub use shared::{Progress, Shared, Stop};
pub use streams::{Begin, Prepared, Told, change_quotas, find_streams, make_streams, prepare_streams, remove_streams};
pub(crate) use streams::{made, not_removed};
pub(crate) use take::{Ages, age_of};
pub use target::{Route, Target};

/// One stream that the run writes or reads.
#[derive(Clone, Debug)]
pub struct Stream {
    /// What appends and reads name it by.
    pub id: StreamId,
    /// Its shards.
    pub shards: Vec<Shard>,
}

/// One shard of a stream, as it was before the run.
#[derive(Clone, Copy, Debug)]
pub struct Shard {
    /// What reads name it by.
    pub id: ShardId,
    /// The oldest number that there is.
    pub oldest: Sequence,
    /// Where this run begins: the first number that it can be given, or the first that it is to read.
    pub first: Sequence,
    /// The number after the newest that there was.
    pub tip: Sequence,
    /// The reactor that owns it.
    pub reactor: u32,
    /// The first and the last hash key of its records; none if it takes no more.
    pub keys: Option<(u128, u128)>,
}

/// A place to read on from.
type Place = (StreamId, ShardId, Sequence);

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

/// Producers that write one kind of load.
#[derive(Clone, Debug)]
pub struct Producers {
    /// What is written to.
    pub streams: Vec<Stream>,
    /// Connections, over all cores.
    pub connections: u32,
    /// Records in a batch at most.
    pub batch_records: u32,
    /// When batches leave.
    pub pace: Pace,
    /// How many bytes of data and keys to send at most.
    pub bytes_max: u64,
    /// What is written; of a person's own rows, the keys of those that bring none.
    pub recipe: Recipe,
}

/// Everything that a run needs to know.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server.
    pub target: Target,
    /// Who writes, [`GROUPS_MAX`](crate::workload::GROUPS_MAX) at most; nobody where an existing stream is read. When one
    /// has sent its bytes the run ends.
    pub producers: Vec<Producers>,
    /// What is dropped at the start.
    pub warmup: Duration,
    /// When to begin by the clock of this host; at once if it is none.
    pub start_at: Option<SystemTime>,
    /// When to stop, if time is to stop it.
    pub duration: Option<Duration>,
    /// Client cores, a thread on each.
    pub cores: Vec<usize>,
    /// The seed of the schedule.
    pub seed: u64,
    /// Whether others write the same streams.
    pub is_shared: bool,
    /// Who reads meanwhile.
    pub consumers: Consumers,
}

impl Plan {
    /// What all producers make; nothing is known of a person's own rows.
    pub(crate) fn contents(&self) -> Contents {
        let recipes: Vec<Recipe> = self.producers.iter().map(|producers| producers.recipe.clone()).collect();
        Contents::new(&recipes)
    }

    /// The streams of all producers, each once.
    pub fn written(&self) -> Vec<Stream> {
        let streams = self.producers.iter().flat_map(|producers| producers.streams.iter().cloned());
        streams.map(|stream| (stream.id, stream)).collect::<BTreeMap<_, _>>().into_values().collect()
    }

    /// Whether records of an open loop may be built before it is known when they are sent: nobody looks at how old they are.
    pub(crate) fn builds_ahead(&self) -> bool {
        self.consumers.subscribers == 0 && !self.is_shared
    }

    /// What the times of a group's batches are drawn from. Those of the main load follow from the seed alone, and those beside it from
    /// seed and group; where other hosts begin together with this one, or write the same streams, they differ by the run too.
    pub(crate) fn schedule_seed(&self, group: usize) -> Seed {
        let is_with_others = self.is_shared || self.start_at.is_some();
        let run = if is_with_others { self.producers[group].recipe.run() } else { 0 };
        Seed { number: self.seed, load: run * GROUPS_MAX as u64 + group as u64 }
    }

    fn recorder(&self) -> Recorder {
        let end_ns = self.duration.map_or(u64::MAX, |duration| duration.as_nanos() as u64);
        Recorder::new(self.warmup.as_nanos() as u64, end_ns)
    }

    /// An empty account of all that is written.
    pub(crate) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::new(self.shards());
        if self.is_shared {
            ledger.share();
        }
        ledger
    }

    /// Where each group's records go: not to their owners where rows have an order, or connections are too few.
    pub fn routes(&self, has_rows: bool) -> Vec<Route> {
        self.producers.iter().map(|producers| ways::Spread::new(self, producers, has_rows).route()).collect()
    }

    /// Every shard that is written.
    fn shards(&self) -> Shards {
        let streams = self.producers.iter().flat_map(|producers| &producers.streams);
        Shards::new(streams.flat_map(|stream| &stream.shards).map(|shard| shard.id).collect())
    }

    /// Every shard that consumers read.
    pub(crate) fn consumed_shards(&self) -> Shards {
        let shards = self.consumers.streams.iter().flat_map(|stream| &stream.shards);
        Shards::new(shards.map(|shard| shard.id).collect())
    }
}

/// Who reads, each all shards of the streams over a connection of its own to each of their owners.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    /// What is read.
    pub streams: Vec<Stream>,
    /// Subscribers, who have pushed to them what is there from where this run begins on.
    pub subscribers: u32,
    /// How many more, that never take anything.
    pub stalled: u32,
    /// How long after the start they begin.
    pub after: Duration,
    /// Readers that begin at the oldest record, and again when they have come to the newest.
    pub catch_up: u32,
    /// How catch-up readers, and those that take the place of subscribers where nobody produces, get records.
    pub by: By,
    /// Whether a run without producers ends when they have everything that was there at its start.
    pub to_the_tip: bool,
    /// How many bytes of data and keys they take at most where nobody produces.
    pub bytes_max: u64,
}

impl Consumers {
    /// How many say that they are at the tip, or gone: readers, or connections of subscribers.
    fn counted(&self, target: &Target) -> usize {
        let each = if self.by == By::Read { 1 } else { target.by_owner(&self.streams).len() };
        self.subscribers as usize * each
    }
}

/// How records are had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// By requests.
    #[default]
    Read,
    /// They are pushed.
    Push,
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "read" => Ok(Self::Read),
            "push" => Ok(Self::Push),
            other => Err(format!("{other:?} is not a way to get records; give read or push")),
        }
    }
}

impl By {
    /// The name by which it is given.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Push => "push",
        }
    }
}

/// What consumers of one kind took.
#[derive(Debug)]
pub struct Consumed {
    /// Of subscribers, from the intended time of a record to each one's taking it; of catch-up readers, how long each answer
    /// took. Throughput is that of all together.
    pub recorder: Recorder,
    /// Records taken in all, of this run.
    pub records: u64,
    /// Records taken in all that were not of this run.
    pub foreign: u64,
    /// Records timed by when the server received them, in whole milliseconds, because no generator's stamp was on them.
    pub by_arrival: u64,
    /// Records taken before they were sent, by the clock of this host: they count as taking no time.
    pub before_sent: u64,
    /// How often catch-up readers came to the newest record and began again.
    pub passes: u64,
    /// Whether a person's end came before subscribers had all that was acknowledged.
    pub left_behind: bool,
    /// What is wrong with it, a consumer at a time.
    pub faults: Vec<Faults>,
}

/// What one group of producers came to.
#[derive(Debug)]
pub struct Group {
    /// What was measured.
    pub recorder: Recorder,
    /// How late batches were, if they had a schedule.
    pub lateness: Lateness,
    /// How late the generator itself was to hand them out: not for want of credit, or of room in a socket, nor behind batches that
    /// waited for those.
    pub paced: Lateness,
    /// Batches whose every record was answered, and one at least acknowledged.
    pub batches: u64,
    /// Batches that had to wait for the server's credit after their time.
    pub waited_for_credit: u64,
}

impl Group {
    fn new(plan: &Plan) -> Self {
        let (recorder, lateness, paced) = (plan.recorder(), Lateness::default(), Lateness::default());
        Self { recorder, lateness, paced, batches: 0, waited_for_credit: 0 }
    }

    fn merge(&mut self, other: Self) {
        self.recorder.merge(other.recorder);
        self.lateness.merge(&other.lateness);
        self.paced.merge(&other.paced);
        self.batches += other.batches;
        self.waited_for_credit += other.waited_for_credit;
    }
}

/// What a run came to.
pub struct Produced {
    /// What each group of producers came to, in the plan's order.
    pub groups: Vec<Group>,
    /// The account to hold the streams against.
    pub ledger: Ledger,
    /// Why connections ended, if any did.
    pub lost: Vec<String>,
    /// Why the run stopped.
    pub stop: Stop,
    /// Shards that were not there when the run began, and took some of its records.
    pub shards_born: usize,
    /// What subscribers took, if there were any.
    pub pushed: Option<Consumed>,
    /// What catch-up readers took, if there were any.
    pub caught_up: Option<Consumed>,
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
