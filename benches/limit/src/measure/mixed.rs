//! `limit mixed`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Measured, check_memory, conclude, pin};
use crate::args::{MixedArgs, points};
use crate::device::Device;
use crate::error::LimitError;
use crate::mixed::{self, Point};
use crate::report::{Figures, Output};
use crate::target::{Prepare, Space, Target, check_sizes};

/// What a sweep tries, in bytes a second.
const BUDGETS: [u64; 8] =
    [100_000_000, 200_000_000, 400_000_000, 600_000_000, 800_000_000, 1_200_000_000, 1_600_000_000, 2_400_000_000];

/// The part of the wanted rate that counts as kept.
const KEPT_MIN: f64 = 0.98;

#[derive(Clone, Serialize)]
struct MixedPoint {
    read_budget: u64,
    write_rate: u64,
    #[serde(flatten)]
    run: mixed::Run,
}

#[derive(Serialize)]
struct MixedParameters {
    dir: PathBuf,
    size_bytes: u64,
    depth: u16,
    read_depth: u16,
    seconds: f64,
    core: Option<usize>,
}

/// `limit mixed`: limit (d), at one budget or at several.
pub(crate) fn mixed(args: MixedArgs, output: Output) -> Result<(), LimitError> {
    let budgets = points("--read-budget", &args.read_budget, args.sweep, BUDGETS[0], &BUDGETS)?;
    let depths = usize::from(args.depth) + usize::from(args.read_depth);
    check_sizes(args.size, depths, args.file_bytes)?;
    check_memory(args.size, depths)?;
    pin(args.core)?;
    let device = Device::under(&args.dir);
    let space = Space { dir: args.dir.clone(), bytes: args.file_bytes, prepare: Prepare::Written, keep: false };
    let (mut written, mut read) = (Target::prepare(&space)?, Target::prepare(&space)?);
    let mut found = Vec::new();
    output.line(&format!("{:>12} {}", "read budget", Figures::heading()));
    for read_budget in budgets {
        let point = Point {
            size_bytes: args.size,
            write_depth: usize::from(args.depth),
            read_depth: usize::from(args.read_depth),
            write_rate: args.write_rate,
            read_budget,
        };
        let run = mixed::run((&mut written, &mut read), point, args.seconds, device.as_ref())?;
        output.line(&format!("{:>12} {} written", read_budget, run.writes.row()));
        output.line(&format!("{:>12} {} read", "", run.reads.row()));
        found.push(MixedPoint { read_budget, write_rate: args.write_rate, run });
    }
    let MixedArgs { dir, size, depth, read_depth, seconds, core, sweep, .. } = args;
    let parameters = MixedParameters { dir, size_bytes: size, depth, read_depth, seconds, core };
    conclude("mixed", parameters, device.as_ref(), found, sweep, output);
    Ok(())
}

impl Measured for MixedPoint {
    fn name(&self) -> String {
        format!("a budget of {} bytes/s", self.read_budget)
    }

    /// What was read, if the writes kept their rate beside it.
    fn mb_per_s(&self) -> f64 {
        let kept = self.run.writes.mb_per_s * 1e6 >= KEPT_MIN * self.write_rate as f64;
        if kept { self.run.reads.mb_per_s } else { 0.0 }
    }
}
