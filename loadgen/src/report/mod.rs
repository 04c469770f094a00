//! What a run leaves behind: a table for people, JSON, the histogram log, and two plots, in a folder of its own; and what the
//! server said of itself meanwhile.

mod consumed;
mod folder;
pub(crate) mod histogram_log;
pub(crate) mod plot;
mod table;
mod verification;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::goal::GoalOutcome;
use crate::machine::{BusyThread, Disk, Machine};
use crate::metrics::ServerFigures;
use crate::recorder::{Recorder, SLOT_NS};

pub use consumed::{BesideReport, CatchUpReport, PushReport};
pub(crate) use folder::write_files;
pub use folder::{FolderError, RESULT_BYTES_MAX, Recorders, ResultFolder, json, write_folder};
pub use table::{LeftOut, summary, table};
pub(crate) use table::{latency_rows, of_runs, table_text};
pub use verification::VerificationReport;

/// The version of the JSON's layout.
pub const FORMAT: u32 = 1;

/// Latency percentiles that the table and the JSON give.
pub const PERCENTILES: [f64; 6] = [50.0, 90.0, 99.0, 99.9, 99.99, 100.0];

/// Throughput points in the JSON at most.
const POINTS_MAX: usize = 600;

/// Everything about one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunReport {
    /// [`FORMAT`].
    pub format: u32,
    /// What ran, in a few words: the name of its folder ends in it.
    pub what: String,
    /// When it started, in UTC.
    pub started: String,
    /// The same in milliseconds since 1970, by the clock of this host; 0 in results that don't tell.
    #[serde(default)]
    pub started_unix_ms: u64,
    /// The command line.
    pub command: String,
    /// What must be known before any figure is believed; empty for a good run.
    pub marks: Vec<Mark>,
    /// How the load was made.
    pub load: Load,
    /// The machine and the commit.
    pub machine: Machine,
    /// The server.
    pub server: ServerReport,
    /// What was measured.
    pub measured: Measured,
    /// What was acknowledged to producers beside the main ones.
    #[serde(default)]
    pub beside: Option<BesideReport>,
    /// What subscribers were pushed.
    pub pushed: Option<PushReport>,
    /// What catch-up readers took.
    #[serde(default)]
    pub caught_up: Option<CatchUpReport>,
    /// What the server says of itself.
    #[serde(default)]
    pub server_figures: Option<ServerFigures>,
    /// How busy threads were while it was measured.
    pub busy: Busy,
    /// Lateness of an open loop.
    pub late: Option<LateReport>,
    /// The device's flushes over the run.
    pub flushes: Flushes,
    /// What became of the records.
    pub verification: VerificationReport,
    /// The goals given with `--expect`.
    pub goals: Vec<GoalOutcome>,
    /// Throughput over time.
    pub throughput: Throughput,
}

impl RunReport {
    /// Whether its figures say nothing, and why.
    pub fn left_out(&self) -> Option<LeftOut> {
        match () {
            () if self.marks.iter().any(Mark::is_void) => Some(LeftOut::Void),
            () if self.measured.records == 0 => Some(LeftOut::Empty),
            () => None,
        }
    }
}

/// Something that must be known before a figure is believed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mark", content = "why", rename_all = "kebab-case")]
pub enum Mark {
    /// The data is wrong, or nothing can be concluded from the run.
    Void(String),
    /// The run was stopped before its end.
    Partial(String),
    /// The run ended before it should have, by itself.
    CutShort(String),
    /// The generator did not keep its schedule.
    GeneratorLate(String),
    /// The generator, not the server, was the limit.
    GeneratorBound(String),
    /// The machine's processors were lent to others meanwhile.
    Disturbed(String),
    /// The data directory is on a file system that does not survive a power cut.
    NotDurable(String),
    /// Some records were not let in.
    Refused(String),
    /// A connection ended before its batches were acknowledged.
    ConnectionLost(String),
    /// Something about the input that changes what the run means.
    Input(String),
    /// Something that could not be observed.
    Unobserved(String),
}

impl Mark {
    /// Its text, for people.
    pub fn text(&self) -> String {
        match self {
            Self::Void(why) => format!("VOID: {why}"),
            Self::Partial(why) => format!("partial: {why}"),
            Self::CutShort(why) => format!("cut short: {why}"),
            Self::GeneratorLate(why) => format!("generator late: {why}"),
            Self::GeneratorBound(why) => format!("generator-bound: {why}"),
            Self::Disturbed(why) => format!("disturbed: {why}"),
            Self::NotDurable(why) => format!("not durable: {why}"),
            Self::Refused(why) => format!("refused: {why}"),
            Self::ConnectionLost(why) => format!("connection lost: {why}"),
            Self::Input(why) => format!("input: {why}"),
            Self::Unobserved(why) => format!("not observed: {why}"),
        }
    }

    /// Whether its run counts for nothing.
    pub fn is_void(&self) -> bool {
        matches!(self, Self::Void(_))
    }
}

/// How the load was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    /// `produce`, `fan-out`, `mixed` or `consume`.
    #[serde(default)]
    pub workload: String,
    /// Whether nobody produced: what was measured is what consumers took.
    #[serde(default)]
    pub consumes: bool,
    /// `closed`, `open, constant`, `open, poisson` or `replay`.
    pub kind: String,
    /// Records a second asked for.
    pub records_per_s: Option<f64>,
    /// Streams written.
    pub streams: u32,
    /// Shards of each.
    pub shards: u32,
    /// What each shard takes in and gives out a second.
    pub quotas: String,
    /// The key that its streams were to be encrypted with.
    #[serde(default)]
    pub encryption: Option<String>,
    /// Connections.
    pub connections: u32,
    /// Records a batch at most.
    pub batch_records: u32,
    /// Batches in flight on each connection, in a closed loop.
    pub inflight: Option<u32>,
    /// How large records are.
    pub record_bytes: String,
    /// Under which keys.
    pub keys: String,
    /// Subscribers, those that stall, and catch-up readers.
    #[serde(default)]
    pub consumers: [u32; 3],
    /// How consumers other than subscribers beside producers get records.
    #[serde(default)]
    pub by: String,
    /// The load beside, as it was given.
    #[serde(default)]
    pub beside: Option<String>,
    /// The person's own data.
    pub input: Option<String>,
    /// The seed.
    pub seed: u64,
    /// The bounds: seconds and bytes, whichever is first.
    pub seconds_max: Option<f64>,
    /// The bound in bytes; `u64::MAX` where there was none, but for the disk.
    pub bytes_max: u64,
    /// Seconds dropped at the start.
    pub warmup_s: f64,
    /// What the generator's connections run on.
    pub io: String,
    /// What was spoken with the server: `native`, or HTTP with its version and the operation that stored records.
    #[serde(default = "native")]
    pub protocol: String,
    /// Where what concerns a shard went: `owners`, or `any` as before there was a choice; and which producers' records did
    /// not, as in `owners, producers any`.
    #[serde(default = "any")]
    pub route: String,
    /// Cores of the generator.
    pub cores: Vec<usize>,
}

fn any() -> String {
    "any".to_owned()
}

fn native() -> String {
    "native".to_owned()
}

fn one() -> u16 {
    1
}

fn ring() -> String {
    "ring".to_owned()
}

/// The server that was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServerReport {
    /// Its address.
    pub address: String,
    /// Its reactors.
    #[serde(default = "one")]
    pub reactors: u16,
    /// The command that started it, if this program did.
    pub command: Option<String>,
    /// The commit that it was built from, if this program started it; older results don't tell.
    #[serde(default)]
    pub commit: Option<String>,
    /// The cores it may use, if this program started it.
    pub cores: Option<String>,
    /// Whether it says that what it acknowledges survives a power cut.
    pub is_durable: bool,
    /// What it says that it runs on: `ring` or `threads`, which older servers had not.
    #[serde(default = "ring")]
    pub io: String,
    /// The disk under its data directory, where it can be seen from here.
    pub disk: Option<Disk>,
}

/// Throughput and latency.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// From the end of the warm-up to the end.
    pub seconds: f64,
    /// Records acknowledged in that time.
    pub records: u64,
    /// Their bytes: data and keys.
    pub bytes: u64,
    /// Records a second.
    pub records_per_s: f64,
    /// Bytes a second.
    pub bytes_per_s: f64,
    /// Records acknowledged in all, warm-up included.
    pub records_total: u64,
    /// Their bytes.
    pub bytes_total: u64,
    /// Acknowledgements of batches in all.
    pub batches_total: u64,
    /// From the intended send time to the acknowledgement, a record at a time.
    pub latency_ns: Percentiles,
    /// From the submission to the acknowledgement.
    pub service_ns: Percentiles,
}

impl Measured {
    /// Sums up a recorder.
    pub fn new(recorder: &Recorder, batches_total: u64) -> Self {
        let seconds = recorder.measured_ns() as f64 / 1e9;
        let (measured, total) = (recorder.measured(), recorder.total());
        let per_s = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        Self {
            seconds,
            records: measured.records,
            bytes: measured.bytes,
            records_per_s: per_s(measured.records),
            bytes_per_s: per_s(measured.bytes),
            records_total: total.records,
            bytes_total: total.bytes,
            batches_total,
            latency_ns: Percentiles::of(recorder.latency()),
            service_ns: Percentiles::of(recorder.service()),
        }
    }
}

/// A histogram in a few numbers, in nanoseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Percentiles {
    /// The mean.
    pub mean: f64,
    /// Value at each of [`PERCENTILES`].
    pub at: Vec<(f64, u64)>,
}

impl Percentiles {
    /// Sums up a histogram.
    pub fn of(histogram: &hdrhistogram::Histogram<u64>) -> Self {
        let at = PERCENTILES.map(|percent| (percent, histogram.value_at_percentile(percent)));
        Self { mean: histogram.mean(), at: at.to_vec() }
    }
}

impl Percentiles {
    /// The value at one of [`PERCENTILES`].
    pub fn percentile_ns(&self, percent: f64) -> u64 {
        self.at.iter().find(|at| at.0 == percent).map_or(0, |at| at.1)
    }

    /// Whether nothing was measured: then all of them are 0.
    pub fn is_empty(&self) -> bool {
        self.percentile_ns(100.0) == 0
    }
}

/// How busy threads and the machine were while the run was measured; 1 is one core.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Busy {
    /// The server's threads, the busiest first.
    pub server: Vec<BusyThread>,
    /// The generator's.
    pub generator: Vec<BusyThread>,
    /// The share of the whole machine; none where the run was too short to see it.
    pub machine: Option<f64>,
    /// The share of each core, by its number, with interrupts and the kernel's own threads.
    #[serde(default)]
    pub cores: BTreeMap<usize, f64>,
    /// The share of each that a hypervisor gave to other machines while something here waited for it.
    #[serde(default)]
    pub stolen: BTreeMap<usize, f64>,
}

impl Busy {
    /// The share of the whole machine that was given to others.
    pub fn stolen(&self) -> f64 {
        self.stolen.values().sum::<f64>() / self.stolen.len().max(1) as f64
    }
}

/// Lateness of an open loop.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LateReport {
    /// Batches on the schedule.
    pub batches: u64,
    /// Those submitted later than the threshold.
    pub late: u64,
    /// The greater of 100 microseconds and 10 % of the reported median latency.
    pub threshold_ns: u64,
    /// The latest.
    pub max_ns: u64,
}

/// Flushes of the device from the first batch to the last acknowledgement.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Flushes {
    /// How many; `None` where the device does not count them or is not seen.
    pub count: Option<u64>,
    /// Flushes for each acknowledged batch.
    pub per_batch: Option<f64>,
}

/// Throughput over time, from the start of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Throughput {
    /// How long a point covers.
    pub point_s: f64,
    /// Bytes a second in each.
    pub bytes_per_s: Vec<f64>,
    /// Records a second in each.
    pub records_per_s: Vec<f64>,
}

impl Throughput {
    /// The recorder's slots, joined where there are many. The last one, which the run's end cut, is left out.
    pub fn new(recorder: &Recorder) -> Self {
        let slots = recorder.slots();
        let whole = &slots[..slots.len().saturating_sub(1)];
        let join = whole.len().div_ceil(POINTS_MAX).max(1);
        let point_s = SLOT_NS as f64 / 1e9 * join as f64;
        let points = whole.chunks_exact(join);
        let sum = |field: fn(&crate::recorder::Slot) -> u64| -> Vec<f64> {
            points.clone().map(|slots| slots.iter().map(field).sum::<u64>() as f64 / point_s).collect()
        };
        Self { point_s, bytes_per_s: sum(|slot| slot.bytes), records_per_s: sum(|slot| slot.records) }
    }
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
