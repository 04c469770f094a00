//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::emulator::Emulator;
use crate::point::{LimitPoint, ServerPoint};
use crate::units::parse_bytes;

/// Measures the server and the machine's own limit against each other, in pairs in the order A B B A.
#[derive(Debug, Clone, Parser)]
#[command(version, max_term_width = 120)]
pub(crate) struct Options {
    /// What to measure.
    #[arg(value_enum)]
    pub(crate) target: Target,
    /// Pairs of each measurement [default: 6; newer targets have their own, and tell it first].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) pairs: Option<u32>,
    /// Seconds that are counted in a measurement; some targets have their own [default: 5].
    #[arg(long, value_name = "S")]
    pub(crate) seconds: Option<f64>,
    /// Bytes that a measurement writes at most; some targets have more of their own [default: 6GiB].
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    pub(crate) bytes: Option<u64>,
    /// Seconds to wait at most for the disk to be steady before a measurement; then it is made and marked [default: 60, or
    /// less where the target tells so].
    #[arg(long, value_name = "S")]
    pub(crate) steady_max: Option<f64>,
    /// Core of the server and of limit's server thread [default: where the disk's interrupts land, if that is one, or else
    /// the first; over HTTP the first].
    #[arg(long, value_name = "N")]
    pub(crate) server_core: Option<usize>,
    /// Core of the load generator and of limit's client thread [default: another].
    #[arg(long, value_name = "N")]
    pub(crate) load_core: Option<usize>,
    /// Measure the server at this point, CONNECTIONSxINFLIGHTxBATCH[,writes=N][,batch=SIZE], instead of sweeping.
    #[arg(long, value_name = "POINT")]
    pub(crate) server_point: Option<ServerPoint>,
    /// Measure the limit at this point, SIZExCONNECTIONSxWRITES, instead of sweeping.
    #[arg(long, value_name = "POINT")]
    pub(crate) limit_point: Option<LimitPoint>,
    /// One more argument for every server, such as --server-arg=--memory-bytes=1GiB; may be repeated.
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) server_arg: Vec<String>,
    /// The directory that `benches/emulators/install` put emulators of the Kinesis API into, to be measured beside ours.
    #[arg(long, value_name = "DIR")]
    pub(crate) emulators: Option<PathBuf>,
    /// One of them to measure; may be repeated [default: all].
    #[arg(long, value_name = "NAME", value_enum, requires = "emulators")]
    pub(crate) emulator: Vec<Emulator>,
    /// The program of server/sdk/rust, for http-push.
    #[arg(long, value_name = "FILE")]
    pub(crate) rust_sdk: Option<PathBuf>,
    /// Where to write, in a directory that is removed afterwards [default: the build's target directory].
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
    /// Leave so much of the disk free.
    #[arg(long, value_name = "SIZE", default_value = "25GiB", value_parser = parse_bytes)]
    pub(crate) keep_free: u64,
    /// Keep the result in results/, to be committed, rather than in results/local/.
    #[arg(long)]
    pub(crate) keep: bool,
    /// Where results are kept [default: results/ of the source tree].
    #[arg(long, value_name = "DIR")]
    pub(crate) results: Option<PathBuf>,
    /// See that it runs: one short pair without a sweep, whose figures mean nothing.
    #[arg(long)]
    pub(crate) quick: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// Durable ingest of 1 KiB records at the best points of both sides, into pre-written space.
    Ingest,
    /// The same from an empty directory into allocated space, for 60 s or 16 GiB.
    Fresh,
    /// 16 connections, each with 10 records in flight.
    SmallBatches,
    /// Processor time for each record of 100 bytes against the MD5 of its key.
    SmallRecords,
    /// One record at a time, and an open loop at half of the highest rate.
    Latency,
    /// 1,000 shards against 8.
    Shards,
    /// Two reactors on both cores against one, the load on the same machine.
    TwoReactors,
    /// End-to-end latency, 20 subscribers, the highest rate to all of them, and one that is stalled.
    Push,
    /// Reading everything from the disk as a subscriber.
    CatchUp,
    /// The same beside full ingest, and what limit (d) reads beside as many writes.
    CatchUpBeside,
    /// 100 small shards beside one with records of 10 MiB.
    Fairness,
    /// Ten segments dropped at once beside a steady load, against the same load without.
    Drops,
    /// What the server keeps in memory under many connections, large records and readers of all kinds, by its budget.
    Memory,
    /// Opening 10 GiB, and the first append after kill -9 under full load.
    Restart,
    /// What a stream without expiry, streams of 60 s and deleted ones take on a disk of 8 GiB, for ten minutes or 40 GiB. Takes root.
    Space,
    /// PutRecords of 500 records of 1 KiB over HTTP, against limits (b) and (e), and emulators.
    HttpPutRecords,
    /// PutRecord of 1 KiB over HTTP, one connection against limit (e) with a write, and many against emulators.
    HttpPutRecord,
    /// GetRecords of 10,000 records of 1 KiB over HTTP, against limit (c), and emulators.
    HttpGetRecords,
    /// SubscribeToShard over HTTP/2 with the service's SDK for Rust (--rust-sdk), from put to received.
    HttpPush,
    /// What a connection over HTTP costs in memory that says nothing: kept alive, or subscribed to a shard.
    HttpIdle,
    /// What it costs that signatures are verified, and that streams are encrypted, against the same load without.
    HttpCost,
    /// All of them, one after the other.
    All,
}

/// How often a target is measured, and how long it waits for the disk, unless told otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usual {
    pub(crate) pairs: u32,
    pub(crate) steady_max_s: f64,
}

impl Target {
    /// Newer targets keep within ten minutes by it.
    pub(crate) fn usual(self) -> Usual {
        match self {
            Self::TwoReactors => Usual { pairs: 6, steady_max_s: 20.0 },
            Self::Drops => Usual { pairs: 10, steady_max_s: 10.0 },
            Self::Fairness => Usual { pairs: 6, steady_max_s: 20.0 },
            Self::Memory | Self::HttpIdle => Usual { pairs: 3, steady_max_s: 10.0 },
            Self::CatchUpBeside => Usual { pairs: 5, steady_max_s: 10.0 },
            _ if self.is_over_http() => Usual { pairs: 5, steady_max_s: 10.0 },
            _ => Usual { pairs: 6, steady_max_s: 60.0 },
        }
    }

    /// Whether the server has threads that are not pinned, which take more of the processor than the load does.
    pub(crate) fn is_over_http(self) -> bool {
        let over_http = [
            Self::HttpPutRecords,
            Self::HttpPutRecord,
            Self::HttpGetRecords,
            Self::HttpPush,
            Self::HttpIdle,
            Self::HttpCost,
        ];
        over_http.contains(&self)
    }

    /// As it is typed, and as its folder's name ends.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().expect("no target is hidden").get_name().to_owned()
    }
}
