//! A file for each subcommand: check what was asked for, measure it, say what was found. Here is what they share.

mod chain;
mod fanout;
mod http;
mod mixed;
mod read;
mod steady;
mod write;

use serde::Serialize;

use crate::cpu;
use crate::device::Device;
use crate::error::LimitError;
use crate::report::{Output, best};
use crate::target::{Prepare, Space, Target};

pub(crate) use chain::chain;
pub(crate) use fanout::fanout;
pub(crate) use http::http;
pub(crate) use mixed::mixed;
pub(crate) use read::read;
pub(crate) use steady::steady;
pub(crate) use write::write;

/// Buffers of a run are kept under this.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// A result with what it takes to read it.
#[derive(Serialize)]
struct Record<P, R> {
    command: &'static str,
    parameters: P,
    kernel: String,
    device: Option<String>,
    #[serde(flatten)]
    result: R,
}

/// All points of a sweep, and the one with the highest rate.
#[derive(Serialize)]
struct Sweep<T> {
    best: T,
    points: Vec<T>,
}

/// A measured point, as a sweep compares it.
trait Measured: Serialize {
    /// What tells it from the others, for people.
    fn name(&self) -> String;
    /// What the best point has most of.
    fn mb_per_s(&self) -> f64;
}

/// Ends a measurement: names the best point of a sweep, prints the result for programs.
fn conclude<P: Serialize, T: Measured + Clone>(
    command: &'static str,
    parameters: P,
    device: Option<&Device>,
    points: Vec<T>,
    sweep: bool,
    output: Output,
) {
    let best = best(&points, T::mb_per_s).expect("there is at least one point").clone();
    if sweep {
        output.line(&format!("best: {}, {:.1} MB/s", best.name(), best.mb_per_s()));
        output.result(&Record::new(command, parameters, device, Sweep { best, points }));
    } else {
        output.result(&Record::new(command, parameters, device, best));
    }
}

impl<P, R> Record<P, R> {
    fn new(command: &'static str, parameters: P, device: Option<&Device>, result: R) -> Self {
        Self { command, parameters, kernel: kernel(), device: device.map(|device| device.name().to_owned()), result }
    }
}

/// Prepared space for point after point: written space serves all of them, allocated space only one.
struct Targets {
    space: Space,
    current: Option<Target>,
}

impl Targets {
    fn new(space: Space) -> Self {
        Self { space, current: None }
    }

    fn next(&mut self) -> Result<&mut Target, LimitError> {
        if self.space.prepare == Prepare::Allocated {
            // The old space goes first, so that the two need not fit at once.
            self.current = None;
        }
        if self.current.is_none() {
            self.current = Some(Target::prepare(&self.space)?);
        }
        Ok(self.current.as_mut().expect("just prepared"))
    }
}

fn check_memory(size_bytes: u64, buffers: usize) -> Result<(), LimitError> {
    let needed = size_bytes.saturating_mul(buffers as u64);
    if needed <= MEMORY_BYTES_MAX {
        return Ok(());
    }
    Err(LimitError::argument(
        format!("{buffers} buffers of {size_bytes} bytes need {needed} bytes of memory"),
        format!("stay under {MEMORY_BYTES_MAX}"),
    ))
}

fn pin(core: Option<usize>) -> Result<(), LimitError> {
    core.map_or(Ok(()), cpu::pin)
}

fn pairs<A: Copy, B: Copy>(a: &[A], b: &[B]) -> Vec<(A, B)> {
    a.iter().flat_map(|&a| b.iter().map(move |&b| (a, b))).collect()
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned()).unwrap_or_default()
}
