//! One function for each subcommand: check what was asked for, measure it, say what was found.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use crate::args::{ChainArgs, FanoutArgs, SteadyArgs, WriteArgs, points};
use crate::chain::{self, Pace, Timing};
use crate::device::Device;
use crate::error::LimitError;
use crate::report::{Figures, Output, best};
use crate::target::{Prepare, Space, Target, check_sizes};
use crate::units::show_bytes;
use crate::write::{self, Flush};
use crate::{cpu, fanout};

const SIZES: [u64; 7] = [4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20];
const DEPTHS: [u16; 6] = [1, 2, 4, 8, 16, 32];
const CHAIN_SIZES: [u64; 6] = [4 << 10, 12 << 10, 64 << 10, 256 << 10, 512 << 10, 1 << 20];
const CHAIN_CONNECTIONS: [u16; 2] = [1, 4];
const CHAIN_WRITES: [u16; 4] = [1, 4, 8, 16];

/// Buffers of a run are kept under this.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// So many one-second rates within `STEADY_SPREAD` of the highest are steady.
const STEADY_RATES: usize = 5;
const STEADY_SPREAD: f64 = 0.10;

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
    core: Option<usize>,
}

/// `limit write`: one point of limit (a), or a sweep.
pub(crate) fn write(args: WriteArgs, output: Output) -> Result<(), LimitError> {
    let sizes = points("--size", &args.size, args.sweep, 256 << 10, &SIZES)?;
    let depths = points("--depth", &args.depth, args.sweep, 4, &DEPTHS)?;
    for (size, depth) in pairs(&sizes, &depths) {
        check_sizes(size, usize::from(depth), args.space.file_bytes)?;
        check_memory(size, usize::from(depth))?;
    }
    pin(args.core)?;
    let device = Device::under(&args.dir);
    let mut targets = Targets::new(args.space.space(args.dir.clone()));
    let mut found = Vec::new();
    output.line(&format!("{:>6} {:>5} {}", "size", "depth", Figures::heading()));
    for (size_bytes, depth) in pairs(&sizes, &depths) {
        let point = write::Point { size_bytes, depth: usize::from(depth), flush: args.flush };
        let run = write::run(targets.next()?, point, args.seconds, device.as_ref())?;
        output.line(&format!("{:>6} {depth:>5} {}", show_bytes(size_bytes), run.figures.row()));
        found.push(WritePoint { size_bytes, depth: point.depth, run });
    }
    let parameters = WriteParameters {
        dir: args.dir,
        seconds: args.seconds,
        flush: args.flush,
        prepare: args.space.prepare,
        file_bytes: args.space.file_bytes,
        core: args.core,
    };
    let name = |p: &WritePoint| format!("{} x {}", show_bytes(p.size_bytes), p.depth);
    let rate = |p: &WritePoint| p.run.figures.mb_per_s;
    conclude("write", parameters, device.as_ref(), found, args.sweep, output, name, rate);
    Ok(())
}

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
    let point = write::Point { size_bytes: args.size, depth, flush: Flush::Dsync };
    let started = Instant::now();
    let mut rates = Vec::new();
    while !is_steady(&rates) && started.elapsed().as_secs_f64() < args.timeout_s {
        let run = write::run(&mut target, point, 1.0, device.as_ref())?;
        output.line(&format!("{:8.1} MB/s", run.figures.mb_per_s));
        rates.push(run.figures.mb_per_s);
    }
    let count = rates.len();
    let steady = is_steady(&rates);
    output.result(&Record {
        command: "steady",
        parameters: SteadyParameters {
            dir: args.dir,
            size_bytes: args.size,
            depth: args.depth,
            timeout_s: args.timeout_s,
            file_bytes: args.file_bytes,
            core: args.core,
        },
        kernel: kernel(),
        device: device.map(|device| device.name().to_owned()),
        result: Steady { steady, seconds: started.elapsed().as_secs_f64(), rates_mb_per_s: rates },
    });
    if steady {
        return Ok(());
    }
    Err(LimitError::Unsteady { after_s: started.elapsed().as_secs(), rates: count })
}

#[derive(Clone, Serialize)]
struct ChainPoint {
    size_bytes: u64,
    connections: usize,
    inflight: usize,
    writes: usize,
    #[serde(flatten)]
    run: chain::Run,
}

#[derive(Serialize)]
struct ChainParameters {
    dir: Option<PathBuf>,
    seconds: f64,
    warmup_s: f64,
    /// Messages a second in open loop; none in closed loop.
    rate: Option<f64>,
    write: bool,
    prepare: Prepare,
    file_bytes: u64,
    core: usize,
    client_core: usize,
}

/// `limit chain`: one point of limit (b), or a sweep.
pub(crate) fn chain(args: ChainArgs, output: Output) -> Result<(), LimitError> {
    let plan = chain_points(&args)?;
    let timing =
        Timing { warmup_s: args.warmup, seconds: args.seconds, server_core: args.core, client_core: args.client_core };
    let dir = args.dir.clone().filter(|_| !args.no_write);
    let device = dir.as_deref().and_then(Device::under);
    let mut targets = dir.map(|dir| Targets::new(args.space.space(dir)));
    let mut found = Vec::new();
    output.line(&format!("{:>6} {:>5} {:>8} {:>6} {}", "size", "conns", "inflight", "writes", chain::Run::heading(),));
    for point in plan {
        let target = targets.as_mut().map(Targets::next).transpose()?;
        let run = chain::run(target, point, timing, device.as_ref())?;
        output.line(&format!(
            "{:>6} {:>5} {:>8} {:>6} {}",
            show_bytes(point.size_bytes),
            point.connections,
            point.inflight,
            point.writes,
            run.row(),
        ));
        found.push(ChainPoint {
            size_bytes: point.size_bytes,
            connections: point.connections,
            inflight: point.inflight,
            writes: point.writes,
            run,
        });
    }
    let parameters = ChainParameters {
        dir: args.dir,
        seconds: args.seconds,
        warmup_s: args.warmup,
        rate: args.rate,
        write: !args.no_write,
        prepare: args.space.prepare,
        file_bytes: args.space.file_bytes,
        core: args.core,
        client_core: args.client_core,
    };
    let name = |p: &ChainPoint| {
        let size = show_bytes(p.size_bytes);
        format!("{size} over {} connections, {} writes", p.connections, p.writes)
    };
    let rate = |p: &ChainPoint| p.run.figures.mb_per_s;
    conclude("chain", parameters, device.as_ref(), found, args.sweep, output, name, rate);
    Ok(())
}

#[derive(Serialize)]
struct FanoutParameters {
    sockets: u16,
    size_bytes: u64,
    seconds: f64,
    core: usize,
    client_core: usize,
}

/// `limit fanout`: limit (c).
pub(crate) fn fanout(args: &FanoutArgs, output: Output) -> Result<(), LimitError> {
    if args.size == 0 || args.size > 64 << 20 {
        return Err(LimitError::argument(format!("--size {} cannot be sent", args.size), "give 1 byte to 64m"));
    }
    let run = fanout::run(fanout::Fanout {
        sockets: usize::from(args.sockets),
        size_bytes: args.size,
        seconds: args.seconds,
        send_core: args.core,
        receive_core: args.client_core,
    })?;
    output.line(&format!(
        "{} to {} sockets: {:.1} MB/s in all, {:.0} sends/s, sender {:.2} s and receiver {:.2} s of {:.2} s",
        show_bytes(args.size),
        args.sockets,
        run.mb_per_s,
        run.ops_per_s,
        run.send_cpu_s,
        run.receive_cpu_s,
        run.seconds
    ));
    output.result(&Record {
        command: "fanout",
        parameters: FanoutParameters {
            sockets: args.sockets,
            size_bytes: args.size,
            seconds: args.seconds,
            core: args.core,
            client_core: args.client_core,
        },
        kernel: kernel(),
        device: None,
        result: run,
    });
    Ok(())
}

/// The points of the chain that were asked for, checked.
fn chain_points(args: &ChainArgs) -> Result<Vec<chain::Point>, LimitError> {
    let sizes = points("--size", &args.size, args.sweep, 256 << 10, &CHAIN_SIZES)?;
    let connections = points("--connections", &args.connections, args.sweep, 4, &CHAIN_CONNECTIONS)?;
    let writes = points("--writes", &args.writes, args.sweep, 4, &CHAIN_WRITES)?;
    let pace = match args.rate {
        Some(messages_per_s) => Pace::Open { messages_per_s },
        None => Pace::Closed,
    };
    let mut plan = Vec::new();
    for (size_bytes, connections) in pairs(&sizes, &connections) {
        for &writes in &writes {
            let enough = (2 * writes).div_ceil(connections);
            let point = chain::Point {
                size_bytes,
                connections: usize::from(connections),
                inflight: usize::from(args.inflight.unwrap_or(enough)),
                writes: usize::from(writes),
                pace,
            };
            check_sizes(size_bytes, point.writes, args.space.file_bytes)?;
            check_memory(size_bytes, point.writes + point.connections)?;
            plan.push(point);
        }
    }
    Ok(plan)
}

/// Ends a measurement: names the best point of a sweep, prints the result for programs.
#[expect(clippy::too_many_arguments, reason = "each is one part of the record")]
fn conclude<P: Serialize, T: Serialize + Clone>(
    command: &'static str,
    parameters: P,
    device: Option<&Device>,
    mut found: Vec<T>,
    sweep: bool,
    output: Output,
    name: impl Fn(&T) -> String,
    rate: impl Fn(&T) -> f64,
) {
    let device = device.map(|device| device.name().to_owned());
    let top = best(&found, &rate).expect("there is at least one point").clone();
    if sweep {
        output.line(&format!("best: {}, {:.1} MB/s", name(&top), rate(&top)));
        let result = Sweep { best: top, points: found };
        output.result(&Record { command, parameters, kernel: kernel(), device, result });
        return;
    }
    let result = found.remove(0);
    output.result(&Record { command, parameters, kernel: kernel(), device, result });
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

fn is_steady(rates: &[f64]) -> bool {
    let Some(start) = rates.len().checked_sub(STEADY_RATES) else {
        return false;
    };
    let last = &rates[start..];
    let high = last.iter().copied().fold(0.0, f64::max);
    let low = last.iter().copied().fold(f64::INFINITY, f64::min);
    high - low <= STEADY_SPREAD * high
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
