//! Everything that can stop a measurement, each with what happened and what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why something could not be measured.
#[derive(Debug)]
pub(crate) enum PairsError {
    /// A program that is measured could not be found or built.
    Program { name: &'static str, why: String },
    /// A program could not be started or waited for.
    Start { name: String, source: io::Error },
    /// A program ended without a result.
    Failed { command: String, why: String, log: String },
    /// A program went on for longer than anything it was told to do takes.
    Endless { command: String, after_s: u64 },
    /// What a program printed is not what it prints.
    Result { command: String, missing: String },
    /// A file or directory of our own.
    File { path: PathBuf, source: io::Error },
    /// Nothing can be concluded from a run that others would be compared with.
    Void { command: String, marks: String },
    /// Too little room on the disk.
    Space { needed_bytes: u64, free_bytes: u64, keep_free: u64 },
    /// A core that this process may not use.
    Core(usize),
    /// A disk of our own can't be mounted.
    Root,
    /// Between us and the server.
    Wire(String),
    /// Ctrl-C.
    Interrupted,
    /// The result would be larger than a result may be.
    TooLarge { bytes: usize, bytes_max: usize },
}

impl fmt::Display for PairsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { name, why } => {
                write!(f, "no {name}: {why}; build it with cargo build --release --workspace")
            }
            Self::Start { name, source } => write!(f, "{name} could not be run: {source}"),
            Self::Failed { command, why, log } => write!(f, "`{command}` {why}:\n{log}"),
            Self::Endless { command, after_s } => {
                write!(f, "`{command}` went on for {after_s} s and was ended: run it by itself to see why")
            }
            Self::Result { command, missing } => {
                write!(f, "`{command}` printed a result without {missing}: build all programs from one commit")
            }
            Self::Void { command, marks } => write!(f, "`{command}` was void: {marks}"),
            Self::File { path, source } => write!(f, "{}: {source}; choose another with --dir", path.display()),
            Self::Space { needed_bytes, free_bytes, keep_free } => write!(
                f,
                "{} MiB of the disk are free, {} are needed and {} must stay free: \
                 free some, or lower --bytes or --keep-free",
                free_bytes >> 20,
                needed_bytes >> 20,
                keep_free >> 20
            ),
            Self::Core(core) => {
                write!(f, "core {core} is not one of this process's: choose others with --server-core and --load-core")
            }
            Self::Root => f.write_str("it mounts a disk of its own, which takes root: run it as root"),
            Self::Wire(why) => write!(f, "the server that is measured: {why}"),
            Self::Interrupted => f.write_str("stopped by a signal"),
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "the result takes {bytes} bytes, more than {bytes_max}: measure fewer --pairs")
            }
        }
    }
}

impl std::error::Error for PairsError {}
