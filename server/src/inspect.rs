//! `millstream inspect`: what lies in a data directory, and whether it is what was written.
//!
//! It only reads, through the page cache, with bounded memory, and works beside a running server: then the end of the log
//! moves on while it looks, and what is in flight there counts as remains, not as damage. What counts as damage follows
//! recovery's decision table: a bad place is damage only if something claims to be durable past it.

mod extents;
mod report;
mod survey;
mod walk;
mod window;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::connect::Output;
pub use report::{Damage, Report};

/// Arguments of `millstream inspect`.
#[derive(Args, Debug)]
pub struct InspectArguments {
    /// The data directory; all of them where a log lies in several
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,
    /// Read everything and check every checksum; the exit status says whether all is whole
    #[arg(long)]
    verify: bool,
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

/// Why a directory could not be inspected.
#[derive(Debug)]
pub enum InspectError {
    /// Something in it can't be read.
    Unreadable {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing of a log in them.
    NoLog(Vec<PathBuf>),
    /// Not all directories of the log are named.
    Missing {
        /// How many it has.
        known: u16,
        /// How many are named.
        named: usize,
    },
    /// Its files are of another version.
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u16,
    },
    /// Standard output takes no more.
    Output(io::Error),
}

impl fmt::Display for InspectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InspectError::Unreadable { path, source } => {
                write!(f, "{} can't be read: {source}; check its name and its permissions", path.display())
            }
            InspectError::NoLog(paths) => {
                let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "{} holds no log: neither superblock nor segments; name a data directory", paths.join(", "))
            }
            InspectError::Missing { known, named } => {
                write!(f, "the log lies in {known} data directories, and {named} of them are named; name all")
            }
            InspectError::Version { path, version } => write!(
                f,
                "{} is of format version {version}, which this build does not know; use a newer one",
                path.display()
            ),
            InspectError::Output(error) => {
                write!(f, "standard output can't be written to: {error}; send it to another place")
            }
        }
    }
}

impl std::error::Error for InspectError {}

/// Prints the report. The exit status says whether no damage was found, of what was looked at: with `--verify` that is all.
///
/// # Errors
/// Why there is no report.
pub fn run(arguments: InspectArguments) -> Result<ExitCode, InspectError> {
    let report = survey::survey(&arguments.directories, arguments.verify)?;
    let mut output = Output::new();
    let written = if arguments.json {
        output.write(|out| serde_json::to_writer_pretty(&mut *out, &report).map_err(io::Error::from))
    } else {
        output.write(|out| write!(out, "{report}"))
    };
    written.and_then(|()| output.write(|out| writeln!(out))).map_err(InspectError::Output)?;
    output.flush().map_err(InspectError::Output)?;
    Ok(if report.damage.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
