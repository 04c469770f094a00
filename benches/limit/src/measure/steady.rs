//! `limit steady`.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::{Record, check_memory, pin};
use crate::args::SteadyArgs;
use crate::device::Device;
use crate::error::LimitError;
use crate::report::Output;
use crate::target::{Prepare, Space, Target, check_sizes};
use crate::write::{self, Flush};

/// So many one-second rates within `STEADY_SPREAD` of the highest are steady.
const STEADY_RATES: usize = 5;
const STEADY_SPREAD: f64 = 0.10;

#[derive(Serialize)]
struct SteadyParameters {
    dir: PathBuf,
    size_bytes: u64,
    depth: u16,
    timeout_s: f64,
    file_bytes: u64,
    core: Option<usize>,
}

#[derive(Serialize)]
struct Steady {
    steady: bool,
    seconds: f64,
    rates_mb_per_s: Vec<f64>,
}

/// `limit steady`: waits until the disk's rate is steady.
pub(crate) fn steady(args: SteadyArgs, output: Output) -> Result<(), LimitError> {
    let depth = usize::from(args.depth);
    check_sizes(args.size, depth, args.file_bytes)?;
    check_memory(args.size, depth)?;
    pin(args.core)?;
    let device = Device::under(&args.dir);
    let mut target = Target::prepare(&Space {
        dir: args.dir.clone(),
        bytes: args.file_bytes,
        prepare: Prepare::Written,
        keep: args.keep,
    })?;
    let point = write::Point { size_bytes: args.size, depth, flush: Flush::Dsync, source_bytes: 0 };
    let started = Instant::now();
    let mut rates = Vec::new();
    while !is_steady(&rates) && started.elapsed().as_secs_f64() < args.timeout_s {
        let run = write::run(&mut target, point, 1.0, device.as_ref())?;
        output.line(&format!("{:8.1} MB/s", run.figures.mb_per_s));
        rates.push(run.figures.mb_per_s);
    }
    let count = rates.len();
    let steady = is_steady(&rates);
    let parameters = SteadyParameters {
        dir: args.dir,
        size_bytes: args.size,
        depth: args.depth,
        timeout_s: args.timeout_s,
        file_bytes: args.file_bytes,
        core: args.core,
    };
    let found = Steady { steady, seconds: started.elapsed().as_secs_f64(), rates_mb_per_s: rates };
    output.result(&Record::new("steady", parameters, device.as_ref(), found));
    if steady {
        return Ok(());
    }
    Err(LimitError::Unsteady { after_s: started.elapsed().as_secs(), rates: count })
}

fn is_steady(rates: &[f64]) -> bool {
    let Some(start) = rates.len().checked_sub(STEADY_RATES) else {
        return false;
    };
    let last = &rates[start..];
    let high = last.iter().copied().fold(0.0, f64::max);
    let low = last.iter().copied().fold(f64::INFINITY, f64::min);
    high - low <= STEADY_SPREAD * high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_is_the_last_five_within_a_tenth() {
        assert!(!is_steady(&[100.0; 4]), "four are too few");
        assert!(is_steady(&[10.0, 100.0, 95.0, 90.0, 92.0, 99.0]));
        assert!(!is_steady(&[100.0, 95.0, 89.0, 92.0, 99.0]));
    }
}
