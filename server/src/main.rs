//! `millstream`: the streaming log's server and the tools around it.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use server::{config, serve};

/// A durable streaming log: the server, and tools to look at it.
#[derive(Parser)]
#[command(name = "millstream", version, about, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server on a data directory.
    Serve(config::ServeArguments),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millstream: {error}");
            ExitCode::FAILURE
        }
    }
}
