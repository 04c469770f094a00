//! What the generator is told: by flag, else by environment, else by TOML file, else the default.
//!
//! Every setting is a flag. A file's entries are turned into flags for whatever was not given otherwise, so that one
//! parser reads and checks them all.

mod beside;
mod check;
mod error;
mod file;

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use frame::{Quotas, QuotasChange};

use crate::goal::Goal;
use crate::http::{Operation, Version, Wire};
use crate::input::{Format, TimeFormat};
use crate::native::{Begin, By, Io, Route};
use crate::schedule::{Arrivals, RATE_MAX};
use crate::units::{parse_bytes, parse_count, parse_duration, show_count};
use crate::workload::{Keys, Sizes};

pub use beside::Beside;
use check::check;
pub use error::OptionsError;
use file::flags_of_file;

/// Drives a Millstream server, or any endpoint of the Kinesis API, with records, reads every one of them back, and reports what it measured.
///
/// Without --target it starts a server of its own on a temporary directory. It exits with 0 when all is good, 1 when it
/// or a further step of a sweep could not run, or not to its end, 2 when the run is void or data is wrong, 3 when a goal was
/// missed or no rate of a sweep holds it, 4 when the generator was late. Ctrl-C stops the load; what was sent is verified still.
/// One that comes while that is done ends it, with 1. A second one ends all at once, with 130.
#[derive(Clone, Debug, Parser)]
#[command(name = "millstream-load", version, max_term_width = 100, args_conflicts_with_subcommands = true)]
pub struct Options {
    /// What to do with results instead of running.
    #[command(subcommand)]
    pub tool: Option<Tool>,
    /// A TOML file with these settings, by their long names; flags and environment go before it
    #[arg(long, env = "MILLSTREAM_LOAD_CONFIG", value_name = "FILE", help_heading = "Where")]
    pub config: Option<PathBuf>,
    /// The server's native address; without it a server is started. Streams that get their name here are removed afterwards
    #[arg(long, env = "MILLSTREAM_LOAD_TARGET", value_parser = place, value_name = "ADDR", help_heading = "Where")]
    pub target: Option<Place>,
    /// The file with the server's secret, where it wants one; a server started here wants it too
    #[arg(long, env = "MILLSTREAM_NATIVE_SECRET_FILE", value_name = "FILE", help_heading = "Where")]
    pub native_secret_file: Option<PathBuf>,
    /// Speak TLS with --target, on epoll, and trust a server that has this certificate, or one that it signed
    #[arg(long, env = "MILLSTREAM_LOAD_TLS_CA", requires = "target", value_name = "FILE", help_heading = "Where")]
    pub tls_ca: Option<PathBuf>,
    /// How long the server may take to answer a new connection
    #[arg(long, env = "MILLSTREAM_LOAD_OPEN_TIMEOUT", value_parser = parse_duration, default_value = "10s", value_name = "TIME", help_heading = "Where")]
    pub open_timeout: Duration,
    /// Where the started server keeps its data, in a directory of its own that is removed afterwards; with --target, a
    /// directory on the disk that the server writes to [default: the build's target directory]
    #[arg(long, env = "MILLSTREAM_LOAD_DIR", value_name = "DIR", help_heading = "Where")]
    pub dir: Option<PathBuf>,
    /// The core of the started server [default: where the disk's interrupts land, if that is one, or else
    /// the first; another than the generator's]
    #[arg(long, env = "MILLSTREAM_LOAD_SERVER_CORE", value_name = "N", help_heading = "Where")]
    pub server_core: Option<usize>,
    /// One more argument for the started server, such as --server-arg=--segment-bytes=64MiB; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true, help_heading = "Where")]
    pub server_arg: Vec<String>,
    /// Let the started server use a file system that does not survive a power cut; the result is marked
    #[arg(long, env = "MILLSTREAM_LOAD_NOT_DURABLE", help_heading = "Where")]
    pub not_durable: bool,
    /// Where the server serves its figures, as /metrics in Prometheus text [default: where a server started here says that it
    /// does]
    #[arg(long, env = "MILLSTREAM_LOAD_ADMIN", value_parser = resolve, value_name = "ADDR", help_heading = "Where")]
    pub admin: Option<SocketAddr>,
    /// Where what concerns a shard goes, of a server with several reactors: to the one that owns it (owners), or all to
    /// --target, whose reactor hands it on (any). To owners, connections are spread over the reactors, and records are drawn
    /// as --keys says and sorted into batches of one owner each: in a closed loop connections to an owner that has fewer wait
    /// for the others. It takes a connection to each owner, on each core that has some; with fewer, and with --input, whose
    /// rows stay in their order, records go to --target
    #[arg(long, env = "MILLSTREAM_LOAD_ROUTE", default_value = "owners", value_name = "HOW", help_heading = "Where")]
    pub route: Route,
    /// The generator's cores, a thread on each [default: the last one, but not the started server's]
    #[arg(long, env = "MILLSTREAM_LOAD_CORES", value_name = "N,..", value_delimiter = ',', help_heading = "Where")]
    pub cores: Vec<usize>,
    /// What connections run on: ring (io_uring), epoll, or auto, the ring where it is permitted
    #[arg(long, env = "MILLSTREAM_LOAD_IO", default_value = "auto", help_heading = "Where")]
    pub io: Io,

    /// An endpoint of the Kinesis API, http://... or https://..., which is loaded instead: this server, an emulator or the
    /// service. Credentials are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. Streams that get their name
    /// here are removed afterwards. A connection has one request under way, over HTTP/2 as many as --inflight says
    #[arg(long, env = "MILLSTREAM_LOAD_ENDPOINT", value_name = "URL", help_heading = "Over HTTP")]
    pub endpoint: Option<String>,
    /// The region that requests are signed for
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1", value_name = "NAME", help_heading = "Over HTTP")]
    pub region: String,
    /// How records are stored: put-records, as many in a request as --batch-records says, or put-record
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_OPERATION",
        requires = "endpoint",
        default_value = "put-records",
        value_name = "WHAT",
        help_heading = "Over HTTP"
    )]
    pub operation: Operation,
    /// How records are written and read: json, or cbor as the SDK for Java does. Everything but PutRecord, PutRecords and
    /// GetRecords is asked in JSON, and what is pushed is in JSON
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_WIRE",
        requires = "endpoint",
        default_value = "json",
        value_name = "HOW",
        help_heading = "Over HTTP"
    )]
    pub wire: Wire,
    /// The version of HTTP, 1 or 2 [default: 1, and with https:// what is agreed on]
    #[arg(long, env = "MILLSTREAM_LOAD_HTTP", requires = "endpoint", value_name = "N", help_heading = "Over HTTP")]
    pub http: Option<Version>,
    /// A file with the certificates, in PEM, of who vouches for the endpoint [default: the system's]
    #[arg(long, env = "MILLSTREAM_LOAD_CA", requires = "endpoint", value_name = "FILE", help_heading = "Over HTTP")]
    pub ca: Option<PathBuf>,
    /// The key that the streams are encrypted with from now on, such as alias/aws/kinesis [default: none, or as they are of a
    /// stream that exists]
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_ENCRYPTION",
        requires = "endpoint",
        value_name = "KEY",
        help_heading = "Over HTTP"
    )]
    pub encryption: Option<String>,

    /// What is done: produce; fan-out, with subscribers; mixed, with subscribers and catch-up readers; or consume, which reads
    /// or subscribes to a stream that exists
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_WORKLOAD",
        value_enum,
        default_value_t,
        value_name = "WHAT",
        help_heading = "Load"
    )]
    pub workload: Workload,
    /// Streams to write, or read
    #[arg(long, env = "MILLSTREAM_LOAD_STREAMS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N", help_heading = "Load")]
    pub streams: u32,
    /// Shards of each stream
    #[arg(long, env = "MILLSTREAM_LOAD_SHARDS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N", help_heading = "Load")]
    pub shards: u32,
    /// The name of the one stream, or what the names of several begin with [default: of this run alone]
    #[arg(long, env = "MILLSTREAM_LOAD_STREAM", value_name = "NAME", help_heading = "Load")]
    pub stream: Option<String>,
    /// Connections of the producers
    #[arg(long, env = "MILLSTREAM_LOAD_CONNECTIONS", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N", help_heading = "Load")]
    pub connections: u32,
    /// Records a batch
    #[arg(long, env = "MILLSTREAM_LOAD_BATCH_RECORDS", default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Load")]
    pub batch_records: u32,
    /// Batches in flight on each connection, in a closed loop
    #[arg(long, env = "MILLSTREAM_LOAD_INFLIGHT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..), value_name = "N", help_heading = "Load")]
    pub inflight: u32,
    /// Size of a record's data, up to 10MiB, which counts the key in: 1KiB, uniform:100..4KiB or lognormal:1KiB,0.8
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_RECORD_BYTES",
        default_value = "1KiB",
        value_name = "SIZES",
        help_heading = "Load"
    )]
    pub record_bytes: Sizes,
    /// Partition keys: distinct, uniform:1000, zipf:1000,1.1 or hot:0.5
    #[arg(long, env = "MILLSTREAM_LOAD_KEYS", default_value = "distinct", help_heading = "Load")]
    pub keys: Keys,
    /// Records a second of an open loop; without it the loop is closed
    #[arg(long, env = "MILLSTREAM_LOAD_RATE", value_parser = parse_rate, value_name = "N", help_heading = "Load")]
    pub rate: Option<f64>,
    /// How the batches of an open loop are spread: constant or poisson
    #[arg(long, env = "MILLSTREAM_LOAD_ARRIVALS", default_value = "constant", help_heading = "Load")]
    pub arrivals: Arrivals,
    /// Subscribers, each of whom has all shards pushed to it, over a connection of its own to each of their owners [default:
    /// 0; 8 with --workload fan-out, 1 with mixed and consume]
    #[arg(long, env = "MILLSTREAM_LOAD_SUBSCRIBERS", value_parser = clap::value_parser!(u32).range(..=1000), value_name = "N", help_heading = "Consumers")]
    pub subscribers: Option<u32>,
    /// Subscribers beside them that never take anything
    #[arg(long, env = "MILLSTREAM_LOAD_STALLED", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1000), value_name = "N", help_heading = "Consumers")]
    pub stalled: u32,
    /// How long after the start subscribers begin, with the first record
    #[arg(long, env = "MILLSTREAM_LOAD_SUBSCRIBE_AFTER", value_parser = parse_duration, default_value = "0s", value_name = "TIME", help_heading = "Consumers")]
    pub subscribe_after: Duration,
    /// Readers that begin at the oldest record, and again when they have come to the newest [default: 1 with --workload
    /// mixed]
    #[arg(long, env = "MILLSTREAM_LOAD_CATCH_UP", value_parser = clap::value_parser!(u32).range(..=1000), value_name = "N", help_heading = "Consumers")]
    pub catch_up: Option<u32>,
    /// How catch-up readers, and those of --workload consume, get records: by requests (read) or pushed (push) [default:
    /// read, with consume push]
    #[arg(long, env = "MILLSTREAM_LOAD_BY", value_name = "HOW", help_heading = "Consumers")]
    pub by: Option<By>,
    /// Where --workload consume begins: oldest, latest, a sequence number, a time, or how long ago, such as 10m
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_FROM",
        default_value = "oldest",
        value_name = "PLACE",
        help_heading = "Consumers"
    )]
    pub from: Begin,
    /// What each shard takes in and gives out a second: none, service, or such as none,push-bytes=2MiB. With --endpoint they are
    /// set over the native protocol, at --target [default: none, or as they are of a stream that exists; with --endpoint as the
    /// server has them]
    #[arg(long, env = "MILLSTREAM_LOAD_QUOTAS", value_name = "QUOTAS", help_heading = "Load")]
    pub quotas: Option<QuotasChange>,
    /// How everything is read back: by requests (read) or as one subscriber (push)
    #[arg(long, env = "MILLSTREAM_LOAD_READ_BACK", default_value = "read", value_name = "HOW", help_heading = "Load")]
    pub read_back: By,
    /// Read nothing back, of an endpoint that keeps nothing, as `limit http`; the result is marked
    #[arg(long, env = "MILLSTREAM_LOAD_NO_READ_BACK", requires = "endpoint", help_heading = "Load")]
    pub no_read_back: bool,
    /// Others write the same streams meanwhile: their records are counted, and no faults
    #[arg(long, env = "MILLSTREAM_LOAD_SHARED", help_heading = "Load")]
    pub shared: bool,
    /// A second load from the same cores, with figures of its own, such as
    /// connections=2,inflight=1,batch-records=1,record-bytes=10MiB,shards=1; other settings: streams, stream, keys, rate,
    /// arrivals, bytes
    #[arg(long, env = "MILLSTREAM_LOAD_BESIDE", value_name = "SETTINGS", help_heading = "Load")]
    pub beside: Option<Beside>,
    /// The seed of everything random; but when batches of an open loop leave also follows from the run with --shared and
    /// --start-at, so that several generators don't send at the same moments
    #[arg(long, env = "MILLSTREAM_LOAD_SEED", default_value_t = 1, value_name = "N", help_heading = "Load")]
    pub seed: u64,

    /// Your own data: a file, or - for standard input; each row becomes a record
    #[arg(long, env = "MILLSTREAM_LOAD_INPUT", value_name = "FILE|-", help_heading = "Your own data")]
    pub input: Option<String>,
    /// Its format, csv, jsonl or json [default: guessed]
    #[arg(long, env = "MILLSTREAM_LOAD_FORMAT", requires = "input", help_heading = "Your own data")]
    pub format: Option<Format>,
    /// The column that is the partition key [default: keys as --keys says]
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_KEY",
        requires = "input",
        value_name = "COLUMN",
        help_heading = "Your own data"
    )]
    pub key: Option<String>,
    /// The column that says when a row happened: rows are replayed in their own rhythm
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_TIME",
        requires = "input",
        value_name = "COLUMN",
        help_heading = "Your own data"
    )]
    pub time: Option<String>,
    /// iso8601, unix-s, unix-ms or a strptime pattern such as '%Y/%m/%d %H:%M' [default: guessed]
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_TIME_FORMAT",
        requires = "time",
        value_name = "FORMAT",
        help_heading = "Your own data"
    )]
    pub time_format: Option<TimeFormat>,
    /// The column that becomes the record's data [default: the row as it stands]
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_DATA",
        requires = "input",
        value_name = "COLUMN",
        help_heading = "Your own data"
    )]
    pub data: Option<String>,
    /// How many times faster than their own rhythm rows are replayed, or max [default: 1 with --time]
    #[arg(
        long,
        env = "MILLSTREAM_LOAD_SPEED",
        requires = "input",
        value_name = "N|max",
        help_heading = "Your own data"
    )]
    pub speed: Option<Speed>,
    /// Begin again after the last row, until the time or the bytes are over
    #[arg(long = "loop", env = "MILLSTREAM_LOAD_LOOP", requires = "input", help_heading = "Your own data")]
    pub repeat_input: bool,

    /// Stop after this time [default: 15s, unless --bytes or --input is given]
    #[arg(long, env = "MILLSTREAM_LOAD_DURATION", value_parser = parse_duration, value_name = "TIME", help_heading = "How long")]
    pub duration: Option<Duration>,
    /// Stop after so many bytes of data and keys [default: 4GiB; with --duration, or --input without --loop, what the disk of a
    /// server started here has room for, and no bound elsewhere]
    #[arg(long, env = "MILLSTREAM_LOAD_BYTES", value_parser = parse_bytes, help_heading = "How long")]
    pub bytes: Option<u64>,
    /// Drop what happens before this time [default: 1s, or 0s with --input]
    #[arg(long, env = "MILLSTREAM_LOAD_WARMUP", value_parser = parse_duration, value_name = "TIME", help_heading = "How long")]
    pub warmup: Option<Duration>,
    /// Begin then, by the clock of this host, such as 2026-11-27T08:30:00Z: so several generators begin together
    #[arg(long, env = "MILLSTREAM_LOAD_START_AT", value_parser = parse_time, value_name = "TIME", help_heading = "How long")]
    pub start_at: Option<SystemTime>,
    /// Run so many times, each from the start
    #[arg(long, env = "MILLSTREAM_LOAD_REPEAT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000), value_name = "N", help_heading = "How long")]
    pub repeat: u32,

    /// Look for the highest rate that holds the goal of --p99, beginning with --rate; each step lasts --duration
    #[arg(long, env = "MILLSTREAM_LOAD_SWEEP", requires = "p99", help_heading = "Sweep")]
    pub sweep: bool,
    /// What 99 % of the records may take: to the acknowledgement, or to the last subscriber if there are any
    #[arg(long, env = "MILLSTREAM_LOAD_P99", requires = "sweep", value_parser = parse_duration, value_name = "TIME", help_heading = "Sweep")]
    pub p99: Option<Duration>,
    /// Steps of a sweep at most
    #[arg(long, env = "MILLSTREAM_LOAD_SWEEP_STEPS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=200), value_name = "N", help_heading = "Sweep")]
    pub sweep_steps: u32,
    /// No step of a sweep begins after this time
    #[arg(long, env = "MILLSTREAM_LOAD_SWEEP_TIME", default_value = "15m", value_parser = parse_duration, value_name = "TIME", help_heading = "Sweep")]
    pub sweep_time: Duration,

    /// A goal, such as 'p99<5ms' or 'throughput>100MB/s'; may be repeated
    #[arg(long, env = "MILLSTREAM_LOAD_EXPECT", value_name = "GOAL", value_delimiter = ';', help_heading = "Result")]
    pub expect: Vec<Goal>,
    /// Keep the result in results/, to be committed, rather than in results/local/
    #[arg(long, env = "MILLSTREAM_LOAD_KEEP", help_heading = "Result")]
    pub keep: bool,
    /// Where results are kept [default: results/ of the source tree, or of the current directory]
    #[arg(long, env = "MILLSTREAM_LOAD_RESULTS", value_name = "DIR", help_heading = "Result")]
    pub results: Option<PathBuf>,
    /// What the result's folder is called at its end [default: made from the load]
    #[arg(long, env = "MILLSTREAM_LOAD_NAME", value_name = "TEXT", help_heading = "Result")]
    pub name: Option<String>,
    /// Print the result as JSON instead of a table
    #[arg(long, env = "MILLSTREAM_LOAD_JSON", help_heading = "Result")]
    pub json: bool,
}

/// What is done with results that are there.
#[derive(Clone, Debug, Subcommand)]
pub enum Tool {
    /// Compare results: a folder of one run each, or of several runs, of which medians and the worst are taken; void runs are left out
    Compare {
        /// The folders; the first is what others are held against
        #[arg(required = true, num_args = 2.., value_name = "FOLDER")]
        folders: Vec<PathBuf>,
        /// Where the comparison is kept, in a folder of its own [default: beside other results, in local/]
        #[arg(long, value_name = "DIR")]
        results: Option<PathBuf>,
        /// Print the comparison as JSON instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Merge what several generators measured at the same time into one result
    Merge {
        /// The folders of their runs
        #[arg(required = true, num_args = 2.., value_name = "RUN")]
        folders: Vec<PathBuf>,
        /// Where the merged result is kept, in a folder of its own [default: beside other results, in local/]
        #[arg(long, value_name = "DIR")]
        results: Option<PathBuf>,
        /// Print the result as JSON instead of a table
        #[arg(long)]
        json: bool,
    },
}

/// What a run does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// Writes.
    #[default]
    Produce,
    /// Writes, and pushes to several subscribers.
    FanOut,
    /// Writes, pushes to subscribers, and has everything read from the beginning meanwhile.
    Mixed,
    /// Reads a stream that somebody else writes, or wrote.
    Consume,
}

impl Workload {
    /// The name by which it is given.
    pub fn name(self) -> &'static str {
        match self {
            Self::Produce => "produce",
            Self::FanOut => "fan-out",
            Self::Mixed => "mixed",
            Self::Consume => "consume",
        }
    }
}

/// Subscribers that a fan-out has unless told.
const FAN_OUT_SUBSCRIBERS: u32 = 8;

/// How fast rows are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as they may.
    Max,
    /// So many times faster than their own rhythm.
    Times(f64),
}

impl FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || format!("{text:?} is not a speed; give a number above 0, or max");
        if text == "max" {
            return Ok(Self::Max);
        }
        let times: f64 = text.replace('_', "").parse().map_err(|_| help())?;
        if times > 0.0 && times.is_finite() { Ok(Self::Times(times)) } else { Err(help()) }
    }
}

/// Where a server is, and by which host it was named.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where.
    pub address: SocketAddr,
    /// Its name, or its address.
    pub host: String,
}

fn place(text: &str) -> Result<Place, String> {
    let address = resolve(text)?;
    Ok(Place { address, host: text.rsplit_once(':').map_or(text, |(host, _)| host).to_owned() })
}

/// The address of a host and its port; of several that of IPv4, where a server listens unless told.
fn resolve(text: &str) -> Result<SocketAddr, String> {
    let wrong = |why: String| format!("{why}; write for example 127.0.0.1:4570 or localhost:4570");
    let addresses = text.to_socket_addrs().map_err(|error| wrong(error.to_string()))?;
    addresses.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| wrong("no such host".to_owned()))
}

fn parse_time(text: &str) -> Result<SystemTime, String> {
    let help = |_| format!("{text:?} is not a time; give one such as 2026-11-27T08:30:00Z");
    text.parse::<jiff::Timestamp>().map(SystemTime::from).map_err(help)
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match parse_count(text).map_err(|error| error.to_string())? {
        rate if rate <= 0.0 => Err("a rate is above 0".to_owned()),
        rate if rate > RATE_MAX => {
            let most = show_count(RATE_MAX as u64);
            Err(format!(
                "no generator hands out more than {most} records a second: give a rate up to that, or none for a closed loop, which sends as fast as it can"
            ))
        }
        rate => Ok(rate),
    }
}

impl Options {
    /// Whether what is loaded is there already, and not started here.
    pub fn is_elsewhere(&self) -> bool {
        self.target.is_some() || self.endpoint.is_some()
    }

    /// How many subscribers there are.
    pub fn subscribers(&self) -> u32 {
        self.subscribers.unwrap_or(match self.workload {
            Workload::Produce => 0,
            Workload::FanOut => FAN_OUT_SUBSCRIBERS,
            Workload::Mixed | Workload::Consume => 1,
        })
    }

    /// How many catch-up readers there are.
    pub fn catch_up(&self) -> u32 {
        self.catch_up.unwrap_or(u32::from(self.workload == Workload::Mixed))
    }

    /// How those who are not subscribers beside producers get records.
    pub fn by(&self) -> By {
        self.by.unwrap_or(if self.workload == Workload::Consume { By::Push } else { By::Read })
    }

    /// What each shard takes in and gives out a second, if that is said.
    pub fn quotas(&self) -> Option<Quotas> {
        self.quotas.as_ref().map(|change| change.of(Quotas::NONE))
    }

    /// Reads flags, environment and file.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, OptionsError> {
        let mut arguments: Vec<OsString> = arguments.into_iter().collect();
        let given = Self::command().try_get_matches_from(&arguments).map_err(OptionsError::Arguments)?;
        if let Some(path) = given.get_one::<PathBuf>("config") {
            arguments.extend(flags_of_file(path, &given)?);
        }
        let matches = Self::command().try_get_matches_from(&arguments).map_err(OptionsError::Arguments)?;
        let options = Self::from_arg_matches(&matches).map_err(OptionsError::Arguments)?;
        check(&options).map_err(OptionsError::Contradiction)?;
        Ok(options)
    }
}

#[cfg(test)]
mod tests;
