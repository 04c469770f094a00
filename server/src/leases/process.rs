//! The process that keeps the tables: reads questions from its standard input, and writes answers to its standard output.

use std::io::{self, BufReader, BufWriter, Write};
use std::path::PathBuf;

use clap::Args;

use super::operations::Tables;
use super::pipe;

/// Arguments of `millstream leases`, which `serve` starts.
#[derive(Args, Debug)]
pub struct LeasesArguments {
    /// The folder that the tables lie in.
    folder: PathBuf,
}

/// The library reads conditions by recursion, and a condition may have 4,096 letters, each of which may be a bracket.
const STACK_BYTES: usize = 64 << 20;

/// Answers until the input ends.
///
/// # Errors
/// The folder can't be entered, or a pipe is broken.
pub fn run(arguments: LeasesArguments) -> io::Result<()> {
    let answering = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(|| answer(arguments))?;
    answering.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn answer(arguments: LeasesArguments) -> io::Result<()> {
    // SQLite is told a name that can't be mistaken for a URI, whatever the folder is called.
    std::env::set_current_dir(&arguments.folder)?;
    let mut tables = Tables::new(PathBuf::from("."));
    let (mut input, mut out) = (BufReader::new(io::stdin().lock()), BufWriter::new(io::stdout().lock()));
    while let Some((operation, region, body)) = pipe::read_question(&mut input)? {
        let answer = tables.carry_out(&region, &operation, &body);
        pipe::write_answer(&mut out, &answer)?;
        out.flush()?;
    }
    Ok(())
}
