//! Limit (b): receive a message over loopback, copy it once into an aligned buffer, write it durably, reply; as one operation.
//!
//! Two threads, each pinned to its own core with a ring of its own: the server does what any durable log must do for a message
//! and nothing more (each message is its own write, nothing is grouped), the client sends and takes the time.
//! They share the sockets' other ends and the `Window` that says which part of the run is counted.
//!
//! On the machine that this was written on, the disk is what stops it: the allowed writes were in flight all the time (2.0 of 2),
//! neither thread was busy for more than 70 %, and at 1 MiB x 2 it reached 2.72 GB/s beside 2.89 of limit (a) with its data in
//! memory (`--source-bytes 512m`) and 4.35 with its data in the cache, where only a benchmark has it.

mod client;
mod message;
mod server;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;

use serde::Serialize;

use crate::cpu;
use crate::device::Device;
use crate::error::LimitError;
use crate::report::{Figures, Latency};
use crate::target::Target;

/// How the client decides when to send.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// Each reply releases the next message; the time runs from then.
    Closed,
    /// A constant rate; the time runs from when each message was due.
    Open { messages_per_s: f64 },
}

/// One point of the chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point {
    pub(crate) size_bytes: u64,
    pub(crate) connections: usize,
    /// Messages in flight on each connection, in closed loop.
    pub(crate) inflight: usize,
    /// Writes in flight on the server.
    pub(crate) writes: usize,
    pub(crate) pace: Pace,
}

/// How long a run warms up and counts, and where its two threads run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) warmup_s: f64,
    pub(crate) seconds: f64,
    pub(crate) server_core: usize,
    pub(crate) client_core: usize,
}

/// What a run at one point found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) figures: Figures,
    /// Processor time of the server's thread while it was counted.
    pub(crate) server_cpu_s: f64,
    /// Processor time of the client's thread while it was counted; pacing spins.
    pub(crate) client_cpu_s: f64,
    /// In open loop, how late the client itself took up messages that were due.
    pub(crate) pacing_late_us: Option<Latency>,
    /// Of the writes alone, as the server's thread sees them; beside limit (a)'s it tells what the other work costs the disk.
    pub(crate) write_us: Option<Latency>,
    /// Writes in flight on average; under the maximum, the disk waited for messages.
    pub(crate) writes_in_flight: Option<f64>,
    pub(crate) registered_buffers: bool,
    /// Allocated space ran out before the time did.
    pub(crate) space_used_up: bool,
}

impl Run {
    /// The run as one line of a table.
    pub(crate) fn row(&self) -> String {
        let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |v| format!("{v:.1}"));
        format!(
            "{} {:>8.2} {:>8.2} {:>9} {:>9}",
            self.figures.row(),
            self.server_cpu_s,
            self.client_cpu_s,
            number(self.write_us.map(|write| write.p50)),
            number(self.writes_in_flight),
        )
    }

    /// The heading of `row`.
    pub(crate) fn heading() -> String {
        format!("{} {:>8} {:>8} {:>9} {:>9}", Figures::heading(), "server s", "client s", "write p50", "in flight")
    }
}

/// Runs the chain at one point. Without a target nothing is written: the loopback's own rate, copy included.
pub(crate) fn run(
    target: Option<&mut Target>,
    point: Point,
    timing: Timing,
    device: Option<&Device>,
) -> Result<Run, LimitError> {
    cpu::check_core(timing.server_core)?;
    cpu::check_core(timing.client_core)?;
    let (accepted, connected) = connect(point.connections)?;
    let window = Arc::new(Window::default());
    let (served, measured) = thread::scope(|scope| {
        let server_window = Arc::clone(&window);
        let server = scope.spawn(move || {
            cpu::pin(timing.server_core)?;
            server::serve(accepted, target, point, &server_window)
        });
        let client = scope.spawn(|| {
            cpu::pin(timing.client_core)?;
            client::drive(connected, point, timing, device, &window)
        });
        (server.join(), client.join())
    });
    // An end that fails closes its sockets, which fails the other: the server's word is nearer to the cause.
    let served = served.map_err(|_| LimitError::Thread { name: "server" })??;
    let measured = measured.map_err(|_| LimitError::Thread { name: "client" })??;
    let busy = |write: Latency| measured.figures.ops_per_s * write.mean / 1e6;
    Ok(Run {
        write_us: served.write_latency,
        writes_in_flight: served.write_latency.map(busy),
        figures: measured.figures,
        server_cpu_s: served.cpu_s,
        client_cpu_s: measured.cpu_s,
        pacing_late_us: measured.pacing_late_us,
        registered_buffers: served.registered_buffers,
        space_used_up: window.space_used_up(),
    })
}

/// The part of a run that is counted. The client opens and closes it; the server may end the run when its space is used up.
#[derive(Debug, Default)]
struct Window {
    phase: AtomicU8,
    space_used_up: AtomicBool,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Counted,
    Over,
}

impl Window {
    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Counted,
            _ => Phase::Over,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn space_used_up(&self) -> bool {
        self.space_used_up.load(Ordering::Acquire)
    }

    fn end_for_space(&self) {
        self.space_used_up.store(true, Ordering::Release);
    }
}

/// Both ends of so many loopback connections, in the same order.
pub(crate) fn connect(count: usize) -> Result<(Vec<TcpStream>, Vec<TcpStream>), LimitError> {
    let socket = |step| move |source| LimitError::Socket { step, source };
    let listener = TcpListener::bind("127.0.0.1:0").map_err(socket("bind"))?;
    let address = listener.local_addr().map_err(socket("address"))?;
    let mut accepted = Vec::with_capacity(count);
    let mut connected = Vec::with_capacity(count);
    for _ in 0..count {
        // One at a time, so that the ends pair up and the backlog never fills.
        let near = TcpStream::connect(address).map_err(socket("connect"))?;
        let (far, _) = listener.accept().map_err(socket("accept"))?;
        near.set_nodelay(true).map_err(socket("TCP_NODELAY"))?;
        far.set_nodelay(true).map_err(socket("TCP_NODELAY"))?;
        connected.push(near);
        accepted.push(far);
    }
    Ok((accepted, connected))
}
