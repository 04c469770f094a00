//! `limit write`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Measured, Targets, check_memory, conclude, pairs, pin};
use crate::args::{WriteArgs, points};
use crate::device::Device;
use crate::error::LimitError;
use crate::report::{Figures, Output};
use crate::target::{Prepare, check_sizes};
use crate::units::show_bytes;
use crate::write::{self, Flush};

const SIZES: [u64; 7] = [4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];
const DEPTHS: [u16; 6] = [1, 2, 4, 8, 16, 32];

#[derive(Clone, Serialize)]
struct WritePoint {
    size_bytes: u64,
    depth: usize,
    #[serde(flatten)]
    run: write::Run,
}

#[derive(Serialize)]
struct WriteParameters {
    dir: PathBuf,
    seconds: f64,
    flush: Flush,
    prepare: Prepare,
    file_bytes: u64,
    source_bytes: Option<u64>,
    core: Option<usize>,
}

/// `limit write`: one point of limit (a), or a sweep.
pub(crate) fn write(args: WriteArgs, output: Output) -> Result<(), LimitError> {
    let sizes = points("--size", &args.size, args.sweep, 256 << 10, &SIZES)?;
    let depths = points("--depth", &args.depth, args.sweep, 4, &DEPTHS)?;
    let mut plan = Vec::new();
    for (size_bytes, depth) in pairs(&sizes, &depths) {
        let point = write::Point {
            size_bytes,
            depth: usize::from(depth),
            flush: args.flush,
            source_bytes: args.source_bytes.unwrap_or(0),
        };
        check_sizes(size_bytes, point.depth, args.space.file_bytes)?;
        check_memory(size_bytes, point.buffers())?;
        plan.push(point);
    }
    pin(args.core)?;
    let device = Device::under(&args.dir);
    let mut targets = Targets::new(args.space.space(args.dir.clone()));
    let mut found = Vec::new();
    output.line(&format!("{:>6} {:>5} {}", "size", "depth", Figures::heading()));
    for point in plan {
        let run = write::run(targets.next()?, point, args.seconds, device.as_ref())?;
        output.line(&format!("{:>6} {:>5} {}", show_bytes(point.size_bytes), point.depth, run.figures.row()));
        found.push(WritePoint { size_bytes: point.size_bytes, depth: point.depth, run });
    }
    let parameters = WriteParameters {
        dir: args.dir,
        seconds: args.seconds,
        flush: args.flush,
        prepare: args.space.prepare,
        file_bytes: args.space.file_bytes,
        source_bytes: args.source_bytes,
        core: args.core,
    };
    conclude("write", parameters, device.as_ref(), found, args.sweep, output);
    Ok(())
}

impl Measured for WritePoint {
    fn name(&self) -> String {
        format!("{} x {}", show_bytes(self.size_bytes), self.depth)
    }

    fn mb_per_s(&self) -> f64 {
        self.run.figures.mb_per_s
    }
}
