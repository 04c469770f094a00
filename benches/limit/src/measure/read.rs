//! `limit read`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Record, check_memory, pin};
use crate::args::ReadArgs;
use crate::device::Device;
use crate::error::LimitError;
use crate::read::{self, Point};
use crate::report::{Figures, Output};
use crate::target::{Prepare, Space, Target, check_sizes};

#[derive(Serialize)]
struct ReadParameters {
    dir: PathBuf,
    bytes: u64,
    size_bytes: u64,
    depth: usize,
    core: Option<usize>,
}

/// `limit read`: reads a number of bytes, each once.
pub(crate) fn read(args: ReadArgs, output: Output) -> Result<(), LimitError> {
    let point = Point { bytes: args.bytes, size_bytes: args.size, depth: usize::from(args.depth) };
    check_sizes(point.size_bytes, 1, point.bytes)?;
    check_memory(point.size_bytes, point.depth)?;
    if !point.bytes.is_multiple_of(point.size_bytes) {
        return Err(LimitError::argument(
            format!("--bytes {} is not whole reads of {}", point.bytes, point.size_bytes),
            "give a multiple of --size",
        ));
    }
    pin(args.core)?;
    let device = Device::under(&args.dir);
    let space = Space { dir: args.dir.clone(), bytes: args.bytes, prepare: Prepare::Written, keep: args.keep };
    let run = read::run(&mut Target::prepare(&space)?, point, device.as_ref())?;
    output.line(&format!("{} {:>8}", Figures::heading(), "seconds"));
    output.line(&format!("{} {:>8.3}", run.figures.row(), run.figures.seconds));
    let parameters = ReadParameters {
        dir: args.dir,
        bytes: point.bytes,
        size_bytes: point.size_bytes,
        depth: point.depth,
        core: args.core,
    };
    output.result(&Record::new("read", parameters, device.as_ref(), run));
    Ok(())
}
