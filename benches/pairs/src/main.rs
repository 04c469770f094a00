//! The server and the machine's own limit, measured against each other in pairs.
//!
//! It drives `millstream-load` and `limit` as a person would, by their command lines, and does not know the engine. Where each record's
//! fate must be known when it is (`space`), where it only fills (`drops`) and where thousands are to do nothing (`memory`), it
//! speaks the protocol itself.
//! Each target of the project is one argument and leaves one folder of results. Exit status: 0 every target reached by its
//! median (`memory` by its worst), 1 could not run, 2 a run was void or stopped early, 3 a target missed. What was measured
//! before a failure or Ctrl-C is kept.

mod args;
mod bench;
mod chain;
mod child;
mod cores;
mod disk;
mod emulator;
mod error;
mod fanout;
mod flushes;
mod hash;
mod http;
mod kinesis;
mod load;
mod measure;
mod pair;
mod point;
mod programs;
mod reading;
mod report;
mod resident;
mod server;
mod side;
mod stolen;
mod sweep;
mod targets;
mod units;
mod wire;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::args::{Options, Target};
use crate::bench::Bench;
use crate::report::Verdict;

fn main() -> ExitCode {
    let options = Options::parse();
    let wanted = match options.target {
        Target::All => {
            let can_run = |target: &Target| *target != Target::HttpPush || options.rust_sdk.is_some();
            let all = Target::value_variants().iter().copied();
            all.filter(|target| *target != Target::All && can_run(target)).collect()
        }
        one => vec![one],
    };
    if wanted.contains(&Target::Space) {
        disk::own_mounts();
    }
    let bench = match Bench::new(options) {
        Ok(bench) => bench,
        Err(error) => {
            eprintln!("pairs: {error}");
            return ExitCode::from(1);
        }
    };
    let mut gravest = Verdict::Reached;
    for target in wanted {
        let verdict = targets::run(&bench, target).unwrap_or_else(|error| {
            eprintln!("pairs: {}: {error}", target.name());
            Verdict::NotRun
        });
        gravest = gravest.max(verdict);
        if bench.interrupted() {
            break;
        }
    }
    ExitCode::from(gravest.status())
}
