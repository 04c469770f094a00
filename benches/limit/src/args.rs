//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::error::LimitError;
use crate::target::{Prepare, Space};
use crate::units::parse_bytes;
use crate::write::Flush;

/// Measures what this machine can do with the least code, to hold other results against.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 120)]
pub(crate) struct Cli {
    /// Print one JSON object on standard output; progress goes to standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Limit (a): sequential O_DIRECT writes, a number of them in flight.
    Write(WriteArgs),
    /// Sequential O_DIRECT reads of a number of bytes that were written before.
    Read(ReadArgs),
    /// Repeats one-second rates of limit (a) until the last five are within 10 % of each other.
    Steady(SteadyArgs),
    /// Limit (b): loopback receive, one copy, a durable write, a reply, as one operation.
    Chain(ChainArgs),
    /// Limit (c): the same bytes to many loopback sockets, received and touched on another core.
    Fanout(FanoutArgs),
    /// Limit (d): durable writes at a rate beside direct reads under a byte budget.
    Mixed(MixedArgs),
    /// Limit (e): serves HTTP as the gateway does, hashes each body, answers 200 and keeps nothing, until standard input ends.
    Http(HttpArgs),
}

/// The space that is written to.
#[derive(Debug, Args)]
pub(crate) struct SpaceArgs {
    /// Bytes that are prepared for the run.
    #[arg(long, value_name = "SIZE", default_value = "1g", value_parser = parse_bytes)]
    pub(crate) file_bytes: u64,
    /// How they are prepared before the clock starts.
    #[arg(long, value_enum, default_value = "written")]
    pub(crate) prepare: Prepare,
    /// Leave the written file, limit-written.dat, in the directory, and use one that an earlier run left.
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WriteArgs {
    /// Directory on the disk to measure; it must exist.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Bytes per write; a list for --sweep [default: 256k; sweep: 4k to 1m].
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = parse_bytes)]
    pub(crate) size: Vec<u64>,
    /// Writes in flight; a list for --sweep [default: 4; sweep: 1 to 32].
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = counts())]
    pub(crate) depth: Vec<u16>,
    /// Seconds per point.
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    pub(crate) seconds: f64,
    /// How a write is made durable.
    #[arg(long, value_enum, default_value = "dsync")]
    pub(crate) flush: Flush,
    /// Core to run on [default: wherever the kernel likes].
    #[arg(long, value_name = "N")]
    pub(crate) core: Option<usize>,
    /// Memory that the data comes from in turn. More than the caches hold shows what it costs the device to read data that is
    /// not in them, as a log's is not [default: one buffer for each write in flight].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(crate) source_bytes: Option<u64>,
    /// Measure every pair of size and depth, print a table and the best point.
    #[arg(long)]
    pub(crate) sweep: bool,
    #[command(flatten)]
    pub(crate) space: SpaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArgs {
    /// Directory on the disk to measure; it must exist.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Bytes to read in all, each once.
    #[arg(long, value_name = "SIZE", default_value = "256m", value_parser = parse_bytes)]
    pub(crate) bytes: u64,
    /// Bytes per read.
    #[arg(long, value_name = "SIZE", default_value = "1m", value_parser = parse_bytes)]
    pub(crate) size: u64,
    /// Reads in flight.
    #[arg(long, value_name = "N", default_value = "4", value_parser = counts())]
    pub(crate) depth: u16,
    /// Core to run on [default: wherever the kernel likes].
    #[arg(long, value_name = "N")]
    pub(crate) core: Option<usize>,
    /// Leave the written file, limit-written.dat, in the directory, and use one that an earlier run left.
    #[arg(long)]
    pub(crate) keep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SteadyArgs {
    /// Directory on the disk to measure; it must exist.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Bytes per write.
    #[arg(long, value_name = "SIZE", default_value = "256k", value_parser = parse_bytes)]
    pub(crate) size: u64,
    /// Writes in flight.
    #[arg(long, value_name = "N", default_value = "4", value_parser = counts())]
    pub(crate) depth: u16,
    /// Give up, with exit status 1, after so many seconds.
    #[arg(long, default_value = "120", value_parser = parse_seconds)]
    pub(crate) timeout_s: f64,
    /// Bytes of the written file.
    #[arg(long, value_name = "SIZE", default_value = "1g", value_parser = parse_bytes)]
    pub(crate) file_bytes: u64,
    /// Leave the written file in the directory, and use one that an earlier run left.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Core to run on [default: wherever the kernel likes].
    #[arg(long, value_name = "N")]
    pub(crate) core: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct ChainArgs {
    /// Directory on the disk to measure; it must exist. Not needed with --no-write.
    #[arg(long, required_unless_present = "no_write")]
    pub(crate) dir: Option<PathBuf>,
    /// Bytes per message, header included; a list for --sweep [default: 256k; sweep: 4k to 1m].
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = parse_bytes)]
    pub(crate) size: Vec<u64>,
    /// Connections; a list for --sweep [default: 4; sweep: 1, 4].
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = counts())]
    pub(crate) connections: Vec<u16>,
    /// Messages in flight on each connection, in closed loop [default: enough for twice --writes over all of them].
    #[arg(long, value_name = "N", value_parser = counts())]
    pub(crate) inflight: Option<u16>,
    /// Writes in flight on the server; a list for --sweep [default: 4; sweep: 1 to 16].
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = counts())]
    pub(crate) writes: Vec<u16>,
    /// Closed loop: each reply releases the next message. The default.
    #[arg(long, conflicts_with = "rate")]
    pub(crate) closed: bool,
    /// Open loop: a constant rate over all connections, latency from the time that each message was due.
    #[arg(long, value_name = "MSGS_PER_S", value_parser = parse_rate, conflicts_with = "sweep")]
    pub(crate) rate: Option<f64>,
    /// Seconds that are counted, per point.
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    pub(crate) seconds: f64,
    /// Seconds before them that are not.
    #[arg(long, default_value = "0.5", value_parser = parse_seconds)]
    pub(crate) warmup: f64,
    /// Core of the server's thread.
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) core: usize,
    /// Core of the client's thread.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) client_core: usize,
    /// Leave the write out: the rate of receive, copy and reply alone.
    #[arg(long)]
    pub(crate) no_write: bool,
    /// Measure every combination of size, connections and writes, print a table and the best point.
    #[arg(long)]
    pub(crate) sweep: bool,
    #[command(flatten)]
    pub(crate) space: SpaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    /// Sockets that the bytes go to.
    #[arg(long, value_name = "N", default_value = "20", value_parser = counts())]
    pub(crate) sockets: u16,
    /// Bytes of each send.
    #[arg(long, value_name = "SIZE", default_value = "256k", value_parser = parse_bytes)]
    pub(crate) size: u64,
    /// Compare what is received with what was sent, and hash every KiB of it, as a subscriber does; else only touch it.
    #[arg(long)]
    pub(crate) verify: bool,
    /// Seconds of sending.
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    pub(crate) seconds: f64,
    /// Core of the sending thread.
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) core: usize,
    /// Core of the receiving thread.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) client_core: usize,
}

#[derive(Debug, Args)]
pub(crate) struct MixedArgs {
    /// Directory on the disk to measure; it must exist.
    #[arg(long)]
    pub(crate) dir: PathBuf,
    /// Bytes per write, and per read.
    #[arg(long, value_name = "SIZE", default_value = "1m", value_parser = parse_bytes)]
    pub(crate) size: u64,
    /// Writes in flight at most.
    #[arg(long, value_name = "N", default_value = "8", value_parser = counts())]
    pub(crate) depth: u16,
    /// Reads in flight at most.
    #[arg(long, value_name = "N", default_value = "2", value_parser = counts())]
    pub(crate) read_depth: u16,
    /// Bytes a second to write.
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(crate) write_rate: u64,
    /// Bytes a second to read at most; a list for --sweep [default: 100 MB; sweep: to 2.4 GB].
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = parse_bytes)]
    pub(crate) read_budget: Vec<u64>,
    /// Seconds per point.
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    pub(crate) seconds: f64,
    /// Bytes of each of the two files.
    #[arg(long, value_name = "SIZE", default_value = "1g", value_parser = parse_bytes)]
    pub(crate) file_bytes: u64,
    /// Core to run on [default: wherever the kernel likes].
    #[arg(long, value_name = "N")]
    pub(crate) core: Option<usize>,
    /// Measure every budget, and name the one with the most read that leaves the writes their rate.
    #[arg(long)]
    pub(crate) sweep: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HttpArgs {
    /// Where to listen; port 0 is one that is free, and told.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) address: SocketAddr,
    /// Threads that serve [default: all cores but one, as the gateway has].
    #[arg(long, value_name = "N", value_parser = counts())]
    pub(crate) threads: Option<u16>,
    /// Records that each answer to PutRecords tells of.
    #[arg(long, value_name = "N", default_value = "500", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) records: u32,
    /// Shards of its one stream.
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) shards: u32,
}

impl SpaceArgs {
    /// The space in a directory.
    pub(crate) fn space(&self, dir: PathBuf) -> Space {
        Space { dir, bytes: self.file_bytes, prepare: self.prepare, keep: self.keep }
    }
}

/// The values that an option stands for: what was given, or the default for one point or for a sweep.
pub(crate) fn points<T: Copy>(name: &str, given: &[T], sweep: bool, one: T, many: &[T]) -> Result<Vec<T>, LimitError> {
    match (given, sweep) {
        ([], true) => Ok(many.to_vec()),
        ([], false) => Ok(vec![one]),
        ([_, _, ..], false) => Err(LimitError::argument(format!("{name} is a list"), "give one value, or --sweep")),
        (given, _) => Ok(given.to_vec()),
    }
}

fn counts() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=1024)
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err(format!("'{text}' is not a time: give seconds, over 0 and at most 3600")),
    }
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (1.0..=10_000_000.0).contains(&rate) => Ok(rate),
        _ => Err(format!("'{text}' is not a rate: give messages per second, 1 to 10000000")),
    }
}
