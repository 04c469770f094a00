//! What this machine can do with the least code: the limit that results are held against.
//!
//! It shares no code with the engine, so that a fault in one cannot hide in the other. Exit status: 0 measured, 1 could not
//! measure (or the disk never became steady), 2 wrong usage.

mod args;
mod chain;
mod copy;
mod cpu;
mod device;
mod error;
mod fanout;
mod http;
mod measure;
mod mixed;
mod read;
mod report;
mod ring;
mod target;
mod units;
mod usage;
mod write;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::report::Output;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output { json: cli.json };
    let done = match cli.command {
        Command::Write(args) => measure::write(args, output),
        Command::Read(args) => measure::read(args, output),
        Command::Steady(args) => measure::steady(args, output),
        Command::Chain(args) => measure::chain(args, output),
        Command::Fanout(args) => measure::fanout(&args, output),
        Command::Http(args) => measure::http(args, output),
        Command::Mixed(args) => measure::mixed(args, output),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("limit: {error}");
            ExitCode::FAILURE
        }
    }
}
