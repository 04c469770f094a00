//! The server's end: receive -> one copy into an aligned buffer -> durable write -> reply, on one thread.
//!
//! A message's write starts as soon as the message is whole and fewer than `writes` are in flight. There is a buffer for each
//! write in flight and one for each connection, so a connection can always gather its next message; when none is free it stops
//! receiving, which holds its client back. Replies that fall due in one turn of the loop leave a connection in one send.

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

use io_uring::{opcode, types};

use super::message::{self, HEADER_BYTES};
use super::{Phase, Point, Window};
use crate::copy::copy_past_cache;
use crate::cpu;
use crate::error::LimitError;
use crate::report::{Latencies, Latency, nanos};
use crate::ring::{Memory, Ring};
use crate::target::Target;
use crate::write::write_entry;

/// Bytes that one receive takes at most. Messages come through this staging area by plain receives. Measured without the write,
/// processor time of this thread per GB at 256 KiB x 4 connections, 12 KiB x 16 and 4 KiB x 1 (medians of six alternating runs):
/// plain 0.148, 0.69 and 8.2 s; a receive of the whole message with MSG_WAITALL 0.138, 0.68 and 8.7 s; multishot with provided
/// buffers of 64 KiB 0.156, 0.75 and 9.8 s. The rates differed less than the machine's noise, so the simplest stays. Staging of
/// 32 KiB to 1 MiB made no difference either.
const RECEIVE_BYTES: usize = 256 << 10;

const KIND_SHIFT: u32 = 32;
const RECEIVE: u64 = 0;
const WRITE: u64 = 1;
const REPLY: u64 = 2;

/// What the server measured about itself.
pub(super) struct Served {
    pub(super) cpu_s: f64,
    pub(super) registered_buffers: bool,
    /// From a write's submission to its completion, in the counted part; none without writes.
    pub(super) write_latency: Option<Latency>,
}

/// Serves until every client has closed its connection, or until the space is used up.
pub(super) fn serve(
    sockets: Vec<TcpStream>,
    target: Option<&mut Target>,
    point: Point,
    window: &Window,
) -> Result<Served, LimitError> {
    let mut server = Server::new(sockets, target, point)?;
    let mut clock = CpuClock::default();
    while !server.finished() {
        server.receive_again()?;
        server.ring.turn()?;
        server.turned = Instant::now();
        server.counted = window.phase() == Phase::Counted;
        clock.observe(window.phase());
        while let Some(done) = server.ring.completion() {
            server.complete(done.user_data(), done.result())?;
        }
        server.advance(window)?;
        server.send_replies()?;
    }
    window.enter(Phase::Over);
    clock.observe(Phase::Over);
    Ok(Served {
        cpu_s: clock.counted_s(),
        registered_buffers: server.registered,
        write_latency: server.latencies.summary(),
    })
}

struct Server<'a> {
    ring: Ring,
    /// What was received and is not yet copied, a slot for each connection.
    staging: Memory,
    /// Aligned buffers that messages are gathered in and written from.
    buffers: Memory,
    registered: bool,
    target: Option<&'a mut Target>,
    size: u32,
    writes_max: usize,
    /// Files come after the sockets in the ring's table.
    first_file: u32,
    connections: Vec<Connection>,
    free: Vec<usize>,
    /// Whole messages by buffer, in the order in which they became whole.
    ready: VecDeque<usize>,
    /// For each buffer, the connection and identifier of the message in it.
    owners: Vec<(usize, u64)>,
    /// For each buffer, when its write was started.
    started: Vec<Instant>,
    latencies: Latencies,
    /// When this turn began, and whether it is counted.
    turned: Instant,
    counted: bool,
    writing: usize,
    /// Connections whose next message has no buffer yet.
    blocked: VecDeque<usize>,
    /// Connections with replies to send at the end of the turn.
    replying: Vec<usize>,
    /// Connections to receive on, once the turn's writes and replies are queued: the kernel takes operations in order and
    /// copies what has arrived at once, which would hold up the disk.
    receiving: Vec<usize>,
    ending: bool,
}

/// One connection; its end tells the client.
struct Connection {
    socket: TcpStream,
    open: bool,
    /// The part of the staging slot that is not yet copied.
    staged: std::ops::Range<usize>,
    /// The buffer that is being gathered, and how much of it is there.
    gathering: Option<(usize, usize)>,
    replies: Vec<u8>,
    /// Replies in flight; not touched until their completion.
    sending: Vec<u8>,
}

impl<'a> Server<'a> {
    fn new(sockets: Vec<TcpStream>, target: Option<&'a mut Target>, point: Point) -> Result<Self, LimitError> {
        let size = u32::try_from(point.size_bytes).expect("checked with the arguments");
        let count = sockets.len() + point.writes;
        let ring = Ring::new(2 * sockets.len() + point.writes)?;
        let staging = Memory::new(sockets.len(), RECEIVE_BYTES)?;
        let buffers = Memory::new(count, size as usize)?;
        let mut files: Vec<_> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        let first_file = u32::try_from(files.len()).expect("checked with the arguments");
        if let Some(target) = &target {
            files.extend(target.descriptors());
        }
        ring.register_files(&files)?;
        let registered = ring.register_memory(&buffers)?;
        let receiving = (0..sockets.len()).collect();
        let connections = sockets.into_iter().map(Connection::new).collect();
        Ok(Self {
            ring,
            staging,
            buffers,
            registered,
            target,
            size,
            writes_max: point.writes,
            first_file,
            connections,
            free: (0..count).rev().collect(),
            ready: VecDeque::with_capacity(count),
            owners: vec![(0, 0); count],
            started: vec![Instant::now(); count],
            latencies: Latencies::new(),
            turned: Instant::now(),
            counted: false,
            writing: 0,
            blocked: VecDeque::new(),
            replying: Vec::new(),
            receiving,
            ending: false,
        })
    }

    fn finished(&self) -> bool {
        let quiet = self.writing == 0 && self.connections.iter().all(|c| c.sending.is_empty());
        let closed = self.connections.iter().all(|c| !c.open);
        quiet && (self.ending || (closed && self.ready.is_empty()))
    }

    fn complete(&mut self, user_data: u64, result: i32) -> Result<(), LimitError> {
        let index = (user_data & u64::from(u32::MAX)) as usize;
        match user_data >> KIND_SHIFT {
            RECEIVE => self.received(index, result),
            WRITE => self.written(index, result),
            _ => self.replied(index, result),
        }
    }

    fn receive_again(&mut self) -> Result<(), LimitError> {
        let length = u32::try_from(RECEIVE_BYTES).expect("a small constant");
        while let Some(index) = self.receiving.pop() {
            let socket = types::Fixed(u32::try_from(index).expect("connections are few"));
            let entry = opcode::Recv::new(socket, self.staging.at(index), length)
                .build()
                .user_data(RECEIVE << KIND_SHIFT | index as u64);
            // SAFETY: the staging slot outlives the ring and is not read before the completion.
            unsafe { self.ring.push(&entry) }?;
        }
        Ok(())
    }

    fn received(&mut self, index: usize, result: i32) -> Result<(), LimitError> {
        let bytes = socket_result("receive", result)?;
        let connection = &mut self.connections[index];
        if bytes == 0 {
            connection.open = false;
            return match connection.gathering {
                Some(_) => Err(LimitError::Protocol { what: "a connection ended in the middle of a message".into() }),
                None => Ok(()),
            };
        }
        connection.staged = 0..bytes;
        self.gather(index)
    }

    /// Copies what was received into aligned buffers, then receives again.
    fn gather(&mut self, index: usize) -> Result<(), LimitError> {
        let size = self.size as usize;
        let connection = &mut self.connections[index];
        while !connection.staged.is_empty() {
            let (slot, filled) = match connection.gathering {
                Some(part) => part,
                None => match self.free.pop() {
                    Some(slot) => (slot, 0),
                    None => {
                        self.blocked.push_back(index);
                        return Ok(());
                    }
                },
            };
            let count = connection.staged.len().min(size - filled);
            let from = connection.staged.start;
            copy_past_cache(
                &self.staging.slot(index)[from..from + count],
                &mut self.buffers.slot_mut(slot)[filled..filled + count],
            );
            connection.staged.start += count;
            if filled + count < size {
                connection.gathering = Some((slot, filled + count));
                continue;
            }
            connection.gathering = None;
            let id = message::decode(self.buffers.slot(slot), self.size)
                .ok_or_else(|| LimitError::Protocol { what: "a message without its header arrived".into() })?;
            self.owners[slot] = (index, id);
            self.ready.push_back(slot);
        }
        self.receiving.push(index);
        Ok(())
    }

    /// Starts what became possible: gathering where a buffer is free, writes of whole messages.
    fn advance(&mut self, window: &Window) -> Result<(), LimitError> {
        loop {
            self.unblock()?;
            self.start_writes(window)?;
            if self.ending || self.blocked.is_empty() || self.free.is_empty() {
                return Ok(());
            }
        }
    }

    /// Starts the writes of whole messages while there is room for more in flight.
    fn start_writes(&mut self, window: &Window) -> Result<(), LimitError> {
        while !self.ending && self.writing < self.writes_max {
            let Some(slot) = self.ready.pop_front() else {
                return Ok(());
            };
            let Some(target) = &mut self.target else {
                self.reply(slot);
                continue;
            };
            let Some(mut position) = target.next(u64::from(self.size)) else {
                self.ending = true;
                window.end_for_space();
                return Ok(());
            };
            position.file += self.first_file;
            let entry = write_entry(&self.buffers, slot, self.size, position, libc::RWF_DSYNC, self.registered)
                .user_data(WRITE << KIND_SHIFT | slot as u64);
            // SAFETY: the buffer outlives the ring and is not free before the completion.
            unsafe { self.ring.push(&entry) }?;
            self.started[slot] = Instant::now();
            self.writing += 1;
        }
        Ok(())
    }

    fn written(&mut self, slot: usize, result: i32) -> Result<(), LimitError> {
        if u32::try_from(result) != Ok(self.size) {
            return Err(LimitError::from_write(result, self.size));
        }
        self.writing -= 1;
        if self.counted {
            let latency = self.turned.duration_since(self.started[slot]);
            self.latencies.record(nanos(latency));
        }
        self.reply(slot);
        Ok(())
    }

    /// Notes the reply to the message in a buffer, and frees the buffer.
    fn reply(&mut self, slot: usize) {
        let (index, id) = self.owners[slot];
        let replies = &mut self.connections[index].replies;
        if replies.is_empty() {
            self.replying.push(index);
        }
        replies.extend_from_slice(&message::encode(id, self.size));
        self.free.push(slot);
    }

    /// Goes on with connections that waited for a buffer, in their order.
    fn unblock(&mut self) -> Result<(), LimitError> {
        for _ in 0..self.blocked.len() {
            if self.free.is_empty() {
                break;
            }
            let index = self.blocked.pop_front().expect("just counted");
            self.gather(index)?;
        }
        Ok(())
    }

    fn send_replies(&mut self) -> Result<(), LimitError> {
        while let Some(index) = self.replying.pop() {
            let connection = &mut self.connections[index];
            if connection.sending.is_empty() {
                std::mem::swap(&mut connection.sending, &mut connection.replies);
                self.send(index)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, index: usize) -> Result<(), LimitError> {
        let sending = &self.connections[index].sending;
        let length = u32::try_from(sending.len()).expect("replies are few and small");
        let socket = types::Fixed(u32::try_from(index).expect("connections are few"));
        let entry = opcode::Send::new(socket, sending.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(REPLY << KIND_SHIFT | index as u64);
        // SAFETY: `sending` is not touched before the completion, and its heap block outlives the ring.
        unsafe { self.ring.push(&entry) }
    }

    fn replied(&mut self, index: usize, result: i32) -> Result<(), LimitError> {
        let bytes = socket_result("reply", result)?;
        let connection = &mut self.connections[index];
        if bytes != connection.sending.len() {
            return Err(LimitError::Protocol { what: format!("a reply stopped after {bytes} bytes") });
        }
        connection.sending.clear();
        if !connection.replies.is_empty() {
            self.replying.push(index);
        }
        Ok(())
    }
}

impl Connection {
    fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            open: true,
            staged: 0..0,
            gathering: None,
            replies: Vec::with_capacity(64 * HEADER_BYTES),
            sending: Vec::with_capacity(64 * HEADER_BYTES),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The ring's table holds on to the socket for a while, so closing alone would not tell the client. It may have gone.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// The bytes that a socket operation moved.
pub(super) fn socket_result(step: &'static str, result: i32) -> Result<usize, LimitError> {
    usize::try_from(result).map_err(|_| LimitError::Socket { step, source: io::Error::from_raw_os_error(-result) })
}

/// Processor time of the calling thread between the edges of the counted window, as it sees them pass.
#[derive(Debug, Default)]
pub(super) struct CpuClock {
    started_s: Option<f64>,
    ended_s: Option<f64>,
}

impl CpuClock {
    /// Takes note of the phase; reads the clock only when it is new.
    pub(super) fn observe(&mut self, phase: Phase) {
        match phase {
            Phase::Counted if self.started_s.is_none() => {
                self.started_s = Some(cpu::thread_cpu_s());
            }
            Phase::Over if self.ended_s.is_none() => self.ended_s = Some(cpu::thread_cpu_s()),
            _ => {}
        }
    }

    /// Seconds used inside the window; 0 if it never opened.
    pub(super) fn counted_s(&self) -> f64 {
        match (self.started_s, self.ended_s) {
            (Some(started), Some(ended)) => ended - started,
            _ => 0.0,
        }
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
