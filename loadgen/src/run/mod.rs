//! One command from start to exit status: a server, the load, the verification, the result.

mod cores;
mod judge;
mod measure;
mod observe;
mod over_http;
pub(crate) mod place;
mod settle;
mod space;
mod sweep;
pub(crate) mod tell;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::http::HttpError;
use crate::input::InputError;
use crate::machine::Machine;
use crate::native::NativeError;
use crate::options::Options;
use crate::output::print;
use crate::report::{self, FolderError};
use crate::secret::SecretError;
use crate::server::{ServerError, find_server};
use crate::units::show_bytes;

use measure::Run;
pub use place::{results_directory, shorten};
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
    pub(crate) fn graver(self, other: Self) -> Self {
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
    /// The secret can't be used.
    Secret(SecretError),
    /// The certificates of who vouches for the server can't be used.
    Certificates(PathBuf, String),
    /// There is no server.
    Server(ServerError),
    /// The protocol could not be driven.
    Native(NativeError),
    /// The API could not be driven.
    Http(HttpError),
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
    /// The time to begin at is over.
    StartIsOver,
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::Secret(error) => error.fmt(f),
            Self::Certificates(path, why) => {
                write!(f, "--tls-ca {}: {why}; give a file of certificates in PEM", path.display())
            }
            Self::Server(error) => error.fmt(f),
            Self::Native(error) => error.fmt(f),
            Self::Http(error) => error.fmt(f),
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
            Self::StartIsOver => f.write_str("--start-at is over; give a time to come, by the clock of this host"),
            Self::NoCore => f.write_str("no core of this machine may be used by this process; name some with --cores"),
        }
    }
}

impl std::error::Error for RunError {}

/// The exit status of who was told to stop, and told again: the shell's for what a signal ended.
const INTERRUPTED_TWICE: i32 = 130;

/// Runs as often as asked for and returns the gravest status.
pub fn run(options: &Options) -> Result<Status, RunError> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // Who asks twice waits for nothing: not for the rest of standard input, nor for what is being read back.
        signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED_TWICE, Arc::clone(&interrupted))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
            .map_err(|error| RunError::System("listen to signals", error))?;
    }
    let settled = Settled::new(options)?;
    let machine = Machine::here();
    let program = match options.is_elsewhere() {
        true => None,
        false => Some(find_server(|text| eprintln!("{text}")).map_err(RunError::Server)?),
    };
    if options.sweep {
        return sweep::sweep(options, &settled, &machine, &interrupted, program.as_deref());
    }
    let mut status = Status::Good;
    let mut reports = Vec::new();
    for _ in 0..options.repeat {
        let run = Run { options, settled: &settled, machine: &machine, interrupted: &interrupted };
        let (ended, report) = once(&run, program.as_deref())?;
        status = status.graver(ended);
        reports.push(report);
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
    }
    if reports.len() > 1 && !options.json {
        print(format_args!("\n{}", report::summary(&reports)));
    }
    Ok(status)
}

/// One run from the start to its result.
fn once(run: &Run<'_>, program: Option<&std::path::Path>) -> Result<(Status, report::RunReport), RunError> {
    let measurement = run.measure(program)?;
    let folder = measurement.write_folder(&run.settled.results).map_err(RunError::Folder)?;
    let (status, report) = (measurement.status, measurement.report);
    if run.options.json {
        print(report::json(&report));
    } else {
        print(report::table(&report));
        print(format_args!("result      {}", shorten(&folder.path).display()));
    }
    if let Some(error) = &measurement.produced.input_error {
        eprintln!("millstream-load: {error}");
    }
    Ok((status, report))
}
