//! `millstream`: the streaming log's server and the tools around it.

use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
#[cfg(feature = "leases")]
use server::leases;
use server::{config, doctor, inspect, put, serve, streams, tail};

/// A durable streaming log: the server, and tools to look at it.
#[derive(Parser)]
#[command(name = "millstream", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server on a data directory.
    Serve(Box<config::ServeArguments>),
    /// List the streams of a server, or make one.
    Streams(streams::StreamsArguments),
    /// Put records into a stream.
    Put(put::PutArguments),
    /// Print records of a stream, up to its end at the time of the start.
    Tail(tail::TailArguments),
    /// Say whether a server can run on this machine and directory, and what to change.
    Doctor(doctor::DoctorArguments),
    /// Show what lies in a data directory, and verify it.
    Inspect(inspect::InspectArguments),
    /// Keep the tables of leases. `serve` starts this, and speaks with it.
    #[cfg(feature = "leases")]
    #[command(hide = true)]
    Leases(leases::LeasesArguments),
}

fn main() -> ExitCode {
    let done = |()| ExitCode::SUCCESS;
    match Arguments::parse().command {
        Command::Serve(arguments) => report(serve::run(*arguments).map(done)),
        Command::Streams(arguments) => report(streams::run(arguments).map(done)),
        Command::Put(arguments) => report(put::run(arguments)),
        Command::Tail(arguments) => report(tail::run(arguments)),
        Command::Doctor(arguments) => report(doctor::run(arguments)),
        Command::Inspect(arguments) => report(inspect::run(arguments)),
        #[cfg(feature = "leases")]
        Command::Leases(arguments) => report(leases::run(arguments).map(done)),
    }
}

/// The exit status; a failure's one line goes to standard error.
fn report(outcome: Result<ExitCode, impl Display>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        // Where nobody can be told, the status has to do.
        let _ = writeln!(std::io::stderr(), "millstream: {error}");
        ExitCode::FAILURE
    })
}
