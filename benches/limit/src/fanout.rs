//! Limit (c): one thread sends the same bytes to many loopback sockets, a second one on another core receives them and touches
//! or verifies them.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use io_uring::{opcode, types};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::chain::connect;
use crate::cpu;
use crate::error::LimitError;
use crate::ring::{Memory, Ring};
use crate::usage::Usage;

/// Bytes that one receive takes at most; the receivers' buffers together stay in the cache.
const RECEIVE_BYTES: usize = 64 << 10;
/// What is hashed at once where it is verified.
const HASHED_BYTES: usize = 1 << 10;
/// One byte of each cache line is looked at.
const LINE_BYTES: usize = 64;

/// What is sent, and where the two threads run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fanout {
    pub(crate) sockets: usize,
    pub(crate) size_bytes: u64,
    /// Whether all that is received is compared and hashed.
    pub(crate) verify: bool,
    pub(crate) seconds: f64,
    pub(crate) send_core: usize,
    pub(crate) receive_core: usize,
}

/// What a run found. Everything that was sent was received and touched, or the run fails.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) seconds: f64,
    /// Sends of the whole size, over all sockets.
    pub(crate) ops: u64,
    pub(crate) bytes: u64,
    pub(crate) ops_per_s: f64,
    pub(crate) mb_per_s: f64,
    /// Bytes of the socket that got the fewest: how even the fan-out is.
    pub(crate) socket_bytes_min: u64,
    pub(crate) send_cpu_s: f64,
    pub(crate) receive_cpu_s: f64,
    #[serde(flatten)]
    pub(crate) usage: Usage,
}

/// Sends for `seconds`; the clock stops when the last byte was received.
pub(crate) fn run(fanout: Fanout) -> Result<Run, LimitError> {
    cpu::check_core(fanout.send_core)?;
    cpu::check_core(fanout.receive_core)?;
    let (far, near) = connect(fanout.sockets)?;
    let before = Usage::now(None);
    let started = Instant::now();
    let over = AtomicBool::new(false);
    let (sent, received) = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            cpu::pin(fanout.send_core)?;
            send(far, fanout, &over)
        });
        let receiver = scope.spawn(|| {
            cpu::pin(fanout.receive_core)?;
            receive(near, fanout)
        });
        // The sender is too busy to look at the clock for every send.
        thread::sleep(Duration::from_secs_f64(fanout.seconds));
        over.store(true, Ordering::Relaxed);
        (sender.join(), receiver.join())
    });
    let sent = sent.map_err(|_| LimitError::Thread { name: "sending" })??;
    let received = received.map_err(|_| LimitError::Thread { name: "receiving" })??;
    let seconds = started.elapsed().as_secs_f64();
    let bytes: u64 = received.bytes.iter().sum();
    if bytes != sent.ops * fanout.size_bytes {
        return Err(LimitError::Protocol {
            what: format!("{} bytes were sent and {bytes} received", sent.ops * fanout.size_bytes),
        });
    }
    Ok(Run {
        seconds,
        ops: sent.ops,
        bytes,
        ops_per_s: sent.ops as f64 / seconds,
        mb_per_s: bytes as f64 / seconds / 1e6,
        socket_bytes_min: received.bytes.iter().copied().min().unwrap_or(0),
        send_cpu_s: sent.cpu_s,
        receive_cpu_s: received.cpu_s,
        usage: Usage::now(None).since(before),
    })
}

struct Sent {
    ops: u64,
    cpu_s: f64,
}

/// Keeps one send in flight on each socket; all of them read the same bytes.
fn send(sockets: Vec<TcpStream>, fanout: Fanout, over: &AtomicBool) -> Result<Sent, LimitError> {
    let size = u32::try_from(fanout.size_bytes).expect("checked with the arguments");
    let memory = Memory::new(1, size as usize)?;
    let mut ring = Ring::new(sockets.len())?;
    register(&ring, &sockets)?;
    let entry = |index: usize| {
        let socket = types::Fixed(u32::try_from(index).expect("sockets are few"));
        opcode::Send::new(socket, memory.at(0), size)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(index as u64)
    };
    for index in 0..sockets.len() {
        // SAFETY: `memory` is dropped after the ring.
        unsafe { ring.push(&entry(index)) }?;
    }
    let mut ops = 0;
    let mut in_flight = sockets.len();
    while in_flight > 0 {
        ring.turn()?;
        let over = over.load(Ordering::Relaxed);
        while let Some(done) = ring.completion() {
            if u32::try_from(done.result()) != Ok(size) {
                return Err(socket_error("send", done.result()));
            }
            ops += 1;
            in_flight -= 1;
            if !over {
                // SAFETY: as above.
                unsafe { ring.push(&entry(done.user_data() as usize)) }?;
                in_flight += 1;
            }
        }
    }
    for socket in &sockets {
        socket.shutdown(Shutdown::Write).map_err(|source| LimitError::Socket { step: "shut down", source })?;
    }
    Ok(Sent { ops, cpu_s: cpu::thread_cpu_s() })
}

struct Received {
    bytes: Vec<u64>,
    cpu_s: f64,
}

/// Receives on every socket until its end, and touches what came.
fn receive(sockets: Vec<TcpStream>, fanout: Fanout) -> Result<Received, LimitError> {
    // Filled like the sender's.
    let content = Memory::new(1, fanout.size_bytes as usize)?;
    let memory = Memory::new(sockets.len(), RECEIVE_BYTES)?;
    let mut ring = Ring::new(sockets.len())?;
    register(&ring, &sockets)?;
    let length = u32::try_from(RECEIVE_BYTES).expect("a small constant");
    let entry = |index: usize| {
        let socket = types::Fixed(u32::try_from(index).expect("sockets are few"));
        opcode::Recv::new(socket, memory.at(index), length).build().user_data(index as u64)
    };
    for index in 0..sockets.len() {
        // SAFETY: `memory` is dropped after the ring; a slot is read only between a completion and the next receive.
        unsafe { ring.push(&entry(index)) }?;
    }
    let mut bytes = vec![0; sockets.len()];
    let mut open = sockets.len();
    while open > 0 {
        ring.turn()?;
        while let Some(done) = ring.completion() {
            let index = done.user_data() as usize;
            let count = usize::try_from(done.result()).map_err(|_| socket_error("receive", done.result()))?;
            if count == 0 {
                open -= 1;
                continue;
            }
            let received = &memory.slot(index)[..count];
            if fanout.verify {
                verify(received, content.slot(0), (bytes[index] % fanout.size_bytes) as usize)?;
            } else {
                touch(received);
            }
            bytes[index] += count as u64;
            // SAFETY: as above.
            unsafe { ring.push(&entry(index)) }?;
        }
    }
    Ok(Received { bytes, cpu_s: cpu::thread_cpu_s() })
}

/// Compares what came with what was sent, from byte `at` of it on, and hashes each KiB.
fn verify(mut received: &[u8], content: &[u8], mut at: usize) -> Result<(), LimitError> {
    while !received.is_empty() {
        let length = received.len().min(content.len() - at).min(HASHED_BYTES);
        let (piece, rest) = received.split_at(length);
        std::hint::black_box(xxh3_64(piece));
        if piece != &content[at..at + length] {
            return Err(LimitError::Protocol { what: "what was received differs from what was sent".to_owned() });
        }
        (received, at) = (rest, (at + length) % content.len());
    }
    Ok(())
}

fn touch(bytes: &[u8]) {
    let sum = bytes.iter().step_by(LINE_BYTES).fold(0_u64, |sum, byte| sum + u64::from(*byte));
    std::hint::black_box(sum);
}

fn register(ring: &Ring, sockets: &[TcpStream]) -> Result<(), LimitError> {
    let files: Vec<_> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
    ring.register_files(&files)
}

fn socket_error(step: &'static str, result: i32) -> LimitError {
    let source =
        if result < 0 { std::io::Error::from_raw_os_error(-result) } else { std::io::ErrorKind::WriteZero.into() };
    LimitError::Socket { step, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_found_wherever_it_came() {
        let content: Vec<u8> = (0..3000_u32).map(|at| (at % 251) as u8).collect();
        let stream: Vec<u8> = content.iter().copied().cycle().take(10_000).collect();
        for (from, to) in [(0, 3000), (0, 1), (2999, 3001), (100, 9900), (3000, 6000)] {
            let mut received = stream[from..to].to_vec();
            verify(&received, &content, from % content.len()).expect("as it was sent");
            for at in [0, received.len() / 2, received.len() - 1] {
                received[at] ^= 1;
                let outcome = verify(&received, &content, from % content.len());
                assert!(matches!(outcome, Err(LimitError::Protocol { .. })), "{from} to {to}, byte {at}");
                received[at] ^= 1;
            }
        }
    }
}
