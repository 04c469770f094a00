//! `limit chain`.

use std::path::PathBuf;

use serde::Serialize;

use super::{Measured, Targets, check_memory, conclude, pairs};
use crate::args::{ChainArgs, points};
use crate::chain::{self, Pace, Timing};
use crate::device::Device;
use crate::error::LimitError;
use crate::report::Output;
use crate::target::{Prepare, check_sizes};
use crate::units::show_bytes;

const SIZES: [u64; 6] = [4 << 10, 12 << 10, 64 << 10, 256 << 10, 512 << 10, 1 << 20];
const CONNECTIONS: [u16; 2] = [1, 4];
const WRITES: [u16; 4] = [1, 4, 8, 16];

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
    conclude("chain", parameters, device.as_ref(), found, args.sweep, output);
    Ok(())
}

impl Measured for ChainPoint {
    fn name(&self) -> String {
        let size = show_bytes(self.size_bytes);
        format!("{size} over {} connections, {} writes", self.connections, self.writes)
    }

    fn mb_per_s(&self) -> f64 {
        self.run.figures.mb_per_s
    }
}

/// The points of the chain that were asked for, checked.
fn chain_points(args: &ChainArgs) -> Result<Vec<chain::Point>, LimitError> {
    let sizes = points("--size", &args.size, args.sweep, 256 << 10, &SIZES)?;
    let connections = points("--connections", &args.connections, args.sweep, 4, &CONNECTIONS)?;
    let writes = points("--writes", &args.writes, args.sweep, 4, &WRITES)?;
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
