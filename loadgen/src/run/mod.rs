//! One command from start to exit status: a server, the load, the verification, the result.

mod judge;
mod observe;
mod settle;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use jiff::Timestamp;

use crate::input::InputError;
use crate::machine::{Disk, Machine};
use crate::native::{self, NativeError, Plan, Prepared, Produced, ReadBack, Shared, Source, Subscribers};
use crate::options::Options;
use crate::report::{
    self, FORMAT, Flushes, FolderError, LateReport, Mark, Measured, PushReport, RunReport, ServerReport, Throughput,
    VerificationReport,
};
use crate::server::{Server, ServerError, ServerSpec, find_server, remove_leftovers};
use crate::units::show_bytes;
use crate::verify::{Ledger, Shards};

use observe::{Observed, observe_producing, observe_reading};
use settle::Settled;

/// How a command ended: its exit status.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Status {
    /// All is good.
    Good = 0,
    /// A goal given with `--expect` was missed.
    GoalMissed = 3,
    /// The generator was late.
    GeneratorLate = 4,
    /// The run is void, or data is wrong.
    Void = 2,
    /// It could not run, or not to its end.
    NotRun = 1,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(status as u8)
    }
}

impl Status {
    /// The graver of two: what makes figures worthless goes before what they say.
    fn graver(self, other: Self) -> Self {
        let grave = |status: Self| match status {
            Self::Good => 0,
            Self::GoalMissed => 1,
            Self::GeneratorLate => 2,
            Self::Void => 3,
            Self::NotRun => 4,
        };
        if grave(other) > grave(self) { other } else { self }
    }
}

/// Why a command could not run.
#[derive(Debug)]
pub enum RunError {
    /// A person's own data can't be used.
    Input(InputError),
    /// There is no server.
    Server(ServerError),
    /// The protocol could not be driven.
    Native(NativeError),
    /// Too little room on the disk.
    Space {
        /// Where.
        directory: PathBuf,
        /// How much the run may need.
        need: u64,
        /// How much there is.
        free: u64,
    },
    /// Something about a directory or a signal.
    System(&'static str, io::Error),
    /// The result could not be kept.
    Folder(FolderError),
    /// No core is there to run on.
    NoCore,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::Server(error) => error.fmt(f),
            Self::Native(error) => error.fmt(f),
            Self::Space { directory, need, free } => write!(
                f,
                "{} has {} free and this run may need {}: free {}, choose another disk with --dir, or lower --bytes",
                directory.display(),
                show_bytes(*free),
                show_bytes(*need),
                show_bytes(need.saturating_sub(*free)),
            ),
            Self::System(what, error) => write!(f, "cannot {what}: {error}"),
            Self::Folder(error) => error.fmt(f),
            Self::NoCore => f.write_str("no core of this machine may be used by this process; name some with --cores"),
        }
    }
}

impl std::error::Error for RunError {}

/// Runs as often as asked for and returns the gravest status.
pub fn run(options: &Options) -> Result<Status, RunError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|error| RunError::System("listen to signals", error))?;
    }
    let settled = Settled::new(options)?;
    let machine = Machine::here();
    let program = match options.target {
        Some(_) => None,
        None => Some(find_server(|text| eprintln!("{text}")).map_err(RunError::Server)?),
    };
    let mut status = Status::Good;
    let mut reports = Vec::new();
    for _ in 0..options.repeat {
        let run = Run { options, settled: &settled, machine: &machine, interrupted: &interrupted };
        let (ended, report) = run.once(program.as_deref())?;
        status = status.graver(ended);
        reports.push(report);
        if interrupted.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
    }
    if reports.len() > 1 && !options.json {
        println!("\n{}", report::summary(&reports));
    }
    Ok(status)
}

/// What every repetition shares.
struct Run<'a> {
    options: &'a Options,
    settled: &'a Settled,
    machine: &'a Machine,
    interrupted: &'a Arc<AtomicBool>,
}

/// One run's raw outcome.
struct Outcome {
    produced: Produced,
    read: Result<ReadBack, NativeError>,
    refused_by_reason: Vec<(String, u64)>,
    observed: Observed,
    flushes: Flushes,
    is_durable: bool,
}

impl Run<'_> {
    /// One run from the start: server, load, verification, result.
    fn once(&self, program: Option<&Path>) -> Result<(Status, RunReport), RunError> {
        let (source, input) = self.settled.source(self.options).map_err(RunError::Input)?;
        let server = match program {
            Some(program) => Some(self.start_server(program)?),
            None => None,
        };
        let started = SystemTime::now();
        let watched = server.as_ref().map(Server::directory).or(self.options.dir.as_deref());
        let disk = watched.and_then(|directory| Disk::under(directory).ok());
        let outcome = self.load(server.as_ref(), disk.as_ref(), source)?;
        let server_report = ServerReport {
            address: self.target(server.as_ref()).to_string(),
            command: server.as_ref().map(|server| server.command().to_owned()),
            cores: server.as_ref().map(|_| format!("core {}", self.settled.server_core)),
            is_durable: outcome.is_durable,
            disk,
        };
        let (mut status, mut report) = self.judge(&outcome, server_report, input, started);
        if let Some(Err(error)) = server.map(Server::stop) {
            eprintln!("millstream-load: {error}");
            report.marks.insert(0, Mark::Void("the server did not end well".to_owned()));
            status = status.graver(Status::Void);
        }
        let folder = report::write_folder(&self.settled.results, &report, &outcome.produced.recorder, started)
            .map_err(RunError::Folder)?;
        if self.options.json {
            println!("{}", report::json(&report));
        } else {
            println!("{}", report::table(&report));
            println!("result      {}", shorten(&folder.path).display());
        }
        if let Some(error) = &outcome.produced.input_error {
            eprintln!("millstream-load: {error}");
        }
        Ok((status, report))
    }

    fn start_server(&self, program: &Path) -> Result<Server, RunError> {
        // First, for they may take the space.
        remove_leftovers(&self.settled.parent, |text| eprintln!("{text}"));
        self.settled.check_space(self.options)?;
        let spec = ServerSpec {
            parent: self.settled.parent.clone(),
            core: self.settled.server_core,
            not_durable: self.options.not_durable,
            arguments: self.options.server_arg.clone(),
        };
        Server::start(program, &spec).map_err(RunError::Server)
    }

    fn target(&self, server: Option<&Server>) -> std::net::SocketAddr {
        server.map(Server::address).or(self.options.target).expect("there is a server or a target")
    }

    /// Produces and reads back.
    fn load(&self, server: Option<&Server>, disk: Option<&Disk>, source: Source) -> Result<Outcome, RunError> {
        let (options, settled) = (self.options, self.settled);
        let target = self.target(server);
        let core = settled.cores[0];
        let names = settled.stream_names(options);
        let Prepared { streams, is_durable } =
            native::prepare_streams(target, &names, (options.shards, options.quotas()), core)
                .map_err(RunError::Native)?;
        let plan = Plan {
            target,
            streams,
            connections: options.connections,
            batch_records: options.batch_records,
            pace: settled.pace,
            warmup: settled.warmup,
            duration: settled.duration,
            bytes_max: settled.bytes_max,
            cores: settled.cores.clone(),
            seed: options.seed,
            subscribers: Subscribers {
                count: options.subscribers,
                stalled: options.stalled,
                after: options.subscribe_after,
            },
        };
        let recipe = match &source {
            Source::Generated(recipe) => Some(recipe.clone()),
            Source::Rows(..) => None,
        };
        let shared = Shared::new();
        let flushes_before = disk.and_then(Disk::flushes);
        let (produced, observed) =
            observe_producing(&shared, settled, server, self.interrupted, || native::produce(&plan, source, &shared));
        let mut produced = produced.map_err(|error| self.explain(error, server))?;
        let count = flushes_before.and_then(|before| Some(disk?.flushes()? - before));
        let per_batch = count.map(|count| count as f64 / produced.batches.max(1) as f64);
        let refused = produced.ledger.refused().map(|(code, count)| (code.to_string(), count));
        let refused_by_reason = refused.collect();
        let ledger = std::mem::replace(&mut produced.ledger, Ledger::new(Shards::new(Vec::new())));
        let read = observe_reading(&shared, || {
            native::read_back(target, &plan.streams, ledger, recipe, (core, options.read_back), &shared)
        });
        let flushes = Flushes { count, per_batch };
        Ok(Outcome { produced, read, refused_by_reason, observed, flushes, is_durable })
    }

    /// An error of the protocol, with the last words of our own server where it ended.
    fn explain(&self, error: NativeError, server: Option<&Server>) -> RunError {
        if let Some(server) = server {
            let log = server.log_end();
            if !log.is_empty() {
                eprintln!("the server's log ends:\n{log}");
            }
        }
        RunError::Native(error)
    }

    fn judge(
        &self,
        outcome: &Outcome,
        server: ServerReport,
        input: Option<String>,
        started: SystemTime,
    ) -> (Status, RunReport) {
        let produced = &outcome.produced;
        let recorder = &produced.recorder;
        let measured = Measured::new(recorder, produced.batches);
        let p50_ns = recorder.latency().value_at_percentile(50.0);
        let late = produced.lateness.judge(p50_ns);
        let report = RunReport {
            format: FORMAT,
            what: self.settled.what.clone(),
            started: Timestamp::try_from(started)
                .map(|time| time.round(jiff::Unit::Second).unwrap_or(time).to_string())
                .unwrap_or_default(),
            command: settle::command_line(),
            marks: Vec::new(),
            load: self.settled.load(self.options, input),
            machine: self.machine.clone(),
            server,
            measured,
            pushed: produced
                .pushed
                .as_ref()
                .map(|pushed| PushReport::new(self.options.subscribers, pushed, recorder.last_ack_ns())),
            busy: outcome.observed.busy.clone(),
            late: (late.batches > 0).then_some(LateReport {
                batches: late.batches,
                late: late.late,
                threshold_ns: late.threshold_ns,
                max_ns: late.max_ns,
            }),
            flushes: outcome.flushes,
            verification: match &outcome.read {
                Ok(read) => {
                    VerificationReport::new(&read.verdict, outcome.refused_by_reason.clone(), read.seconds, read.bytes)
                }
                Err(error) => VerificationReport::failed(error.to_string(), outcome.refused_by_reason.clone()),
            },
            goals: Vec::new(),
            throughput: Throughput::new(recorder),
        };
        judge::judge(report, self.options, produced, &late)
    }
}

/// A path below the current directory, as people would type it.
fn shorten(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).map_or_else(|_| path.to_owned(), Path::to_owned)
}
