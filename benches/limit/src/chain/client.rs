//! The client's end: sends messages by the pace, takes each one's time until its reply.
//!
//! All messages share one body; only their headers differ. What is ready on a connection leaves in one gathered send, and one
//! send is in flight on it at a time. The client opens and closes the counted window. In closed loop a message counts when its
//! reply falls into the window; in open loop when it was due in the window, however late its reply comes.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{opcode, types};

use super::message::{self, HEADER_BYTES};
use super::server::{CpuClock, socket_result};
use super::{Pace, Phase, Point, Timing, Window};
use crate::device::Device;
use crate::error::LimitError;
use crate::report::{Figures, Latencies, Latency, nanos};
use crate::ring::{Memory, Ring};
use crate::usage::Usage;

/// Messages and bytes that one send gathers at most; always at least one message.
const GATHER_MESSAGES_MAX: usize = 64;
const GATHER_BYTES_MAX: u64 = 1 << 20;
/// Bytes of replies that one receive takes at most.
const REPLY_BYTES: usize = 4096;
/// Nearer to the next message than this the client spins; farther away it sleeps until then. A timer is late by up to 50 us.
const SPIN: Duration = Duration::from_micros(150);
/// How long the client waits for any reply before it gives up.
const STALL_S: u64 = 30;

const KIND_SHIFT: u32 = 32;
const SEND: u64 = 0;
const RECEIVE: u64 = 1;

/// What the client measured.
pub(super) struct Measured {
    pub(super) figures: Figures,
    pub(super) cpu_s: f64,
    pub(super) pacing_late_us: Option<Latency>,
}

/// Drives the connections through warm-up and counted time, then waits for every reply.
pub(super) fn drive(
    sockets: Vec<TcpStream>,
    point: Point,
    timing: Timing,
    device: Option<&Device>,
    window: &Window,
) -> Result<Measured, LimitError> {
    let mut client = Client::new(sockets, point, timing)?;
    let mut meter = Meter::new(device);
    client.start()?;
    loop {
        let now = Instant::now();
        let phase = client.schedule.phase(now);
        if phase != client.phase {
            client.phase = phase;
            // In open loop the last replies belong to what is counted, with what they cost.
            if phase == Phase::Counted || point.pace == Pace::Closed {
                window.enter(phase);
                meter.observe(phase, now);
            }
        }
        if phase == Phase::Over && client.finished() {
            break;
        }
        match client.turn(now) {
            Err(LimitError::Socket { .. }) if window.space_used_up() => break,
            done => done?,
        }
    }
    let ended = Instant::now();
    window.enter(Phase::Over);
    meter.observe(Phase::Over, ended);
    if client.latencies.count() == 0 {
        return Err(LimitError::argument(
            "no message was answered in the counted time",
            "give a larger --seconds, or more --file-bytes if the space was used up",
        ));
    }
    let seconds = client.counted_s(&meter, window.space_used_up());
    Ok(Measured {
        figures: Figures::new(&client.latencies, point.size_bytes, seconds, meter.usage),
        cpu_s: meter.thread.counted_s(),
        pacing_late_us: client.lateness.summary(),
    })
}

/// When the run is counted, and when each message is due.
struct Schedule {
    counted_from: Instant,
    ends: Instant,
    started: Instant,
    /// Between two messages in open loop.
    interval_ns: f64,
}

impl Schedule {
    fn new(timing: Timing, pace: Pace) -> Self {
        let started = Instant::now();
        let counted_from = started + Duration::from_secs_f64(timing.warmup_s);
        let interval_ns = match pace {
            Pace::Closed => 0.0,
            Pace::Open { messages_per_s } => 1e9 / messages_per_s,
        };
        Self { counted_from, ends: counted_from + Duration::from_secs_f64(timing.seconds), started, interval_ns }
    }

    fn phase(&self, now: Instant) -> Phase {
        if now < self.counted_from {
            Phase::WarmUp
        } else if now < self.ends {
            Phase::Counted
        } else {
            Phase::Over
        }
    }

    fn due(&self, id: u64) -> Instant {
        self.started + Duration::from_nanos((id as f64 * self.interval_ns) as u64)
    }
}

struct Client {
    ring: Ring,
    /// The body that every message ends with.
    body: Memory,
    /// A slot of replies for each connection.
    inbox: Memory,
    connections: Vec<Connection>,
    pace: Pace,
    size: u32,
    schedule: Schedule,
    phase: Phase,
    /// In closed loop, when the message in each place was handed over.
    handed_over: Vec<Instant>,
    /// In open loop, the next message.
    next_id: u64,
    /// Messages without a reply.
    waiting: u64,
    last_reply: Instant,
    last_counted: Option<Instant>,
    latencies: Latencies,
    lateness: Latencies,
}

struct Connection {
    socket: TcpStream,
    /// Messages that are not yet in a send.
    queue: VecDeque<u64>,
    /// The send in flight; not touched until its completion.
    gather: Box<Gather>,
    sending: bool,
    /// Bytes of a reply whose rest is still to come.
    inbox_filled: usize,
}

/// The memory of one gathered send.
struct Gather {
    headers: [[u8; HEADER_BYTES]; GATHER_MESSAGES_MAX],
    pieces: [libc::iovec; 2 * GATHER_MESSAGES_MAX],
    message: libc::msghdr,
    bytes: usize,
}

impl Client {
    fn new(sockets: Vec<TcpStream>, point: Point, timing: Timing) -> Result<Self, LimitError> {
        let size = u32::try_from(point.size_bytes).expect("checked with the arguments");
        let ring = Ring::new(2 * sockets.len())?;
        let files: Vec<_> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        ring.register_files(&files)?;
        let places = sockets.len() * point.inflight;
        Ok(Self {
            ring,
            body: Memory::new(1, size as usize)?,
            inbox: Memory::new(sockets.len(), REPLY_BYTES)?,
            connections: sockets.into_iter().map(Connection::new).collect(),
            pace: point.pace,
            size,
            schedule: Schedule::new(timing, point.pace),
            phase: Phase::WarmUp,
            handed_over: vec![Instant::now(); places],
            next_id: 0,
            waiting: 0,
            last_reply: Instant::now(),
            last_counted: None,
            latencies: Latencies::new(),
            lateness: Latencies::new(),
        })
    }

    /// Arms the receives and, in closed loop, hands over the first messages.
    fn start(&mut self) -> Result<(), LimitError> {
        for index in 0..self.connections.len() {
            self.receive(index)?;
        }
        if self.pace == Pace::Closed {
            let now = Instant::now();
            for id in 0..self.handed_over.len() as u64 {
                self.hand_over(id, now);
            }
        }
        Ok(())
    }

    /// Every message that was to be sent has its reply.
    fn finished(&self) -> bool {
        let taken_up = self.pace == Pace::Closed || self.schedule.due(self.next_id) >= self.schedule.ends;
        taken_up && self.waiting == 0
    }

    /// One turn of the loop: what is due, one entry into the kernel, what came back.
    fn turn(&mut self, now: Instant) -> Result<(), LimitError> {
        self.take_up_due(now);
        self.send_ready()?;
        self.wait(now)?;
        let mut now = None;
        while let Some(done) = self.ring.completion() {
            let now = *now.get_or_insert_with(Instant::now);
            let index = (done.user_data() & u64::from(u32::MAX)) as usize;
            match done.user_data() >> KIND_SHIFT {
                SEND => self.sent(index, done.result())?,
                _ => self.received(index, done.result(), now)?,
            }
        }
        Ok(())
    }

    /// In open loop, hands over every message that is due.
    fn take_up_due(&mut self, now: Instant) {
        if self.pace == Pace::Closed {
            return;
        }
        loop {
            let due = self.schedule.due(self.next_id);
            if due > now || due >= self.schedule.ends {
                return;
            }
            if due >= self.schedule.counted_from {
                self.lateness.record(nanos(now - due));
            }
            self.hand_over(self.next_id, now);
            self.next_id += 1;
        }
    }

    fn hand_over(&mut self, id: u64, now: Instant) {
        let place = (id % self.handed_over.len() as u64) as usize;
        self.handed_over[place] = now;
        let count = self.connections.len();
        self.connections[place % count].queue.push_back(id);
        self.waiting += 1;
    }

    fn send_ready(&mut self) -> Result<(), LimitError> {
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            if connection.sending || connection.queue.is_empty() {
                continue;
            }
            connection.sending = true;
            let message = connection.gather.fill(&mut connection.queue, &self.body, self.size);
            let socket = types::Fixed(u32::try_from(index).expect("connections are few"));
            let entry = opcode::SendMsg::new(socket, message)
                .flags((libc::MSG_NOSIGNAL | libc::MSG_WAITALL) as u32)
                .build()
                .user_data(SEND << KIND_SHIFT | index as u64);
            // SAFETY: the gather is boxed, outlives the ring and is not touched before the completion; so does the body.
            unsafe { self.ring.push(&entry) }?;
        }
        Ok(())
    }

    /// Enters the kernel, and stays there as long as nothing is due.
    fn wait(&mut self, now: Instant) -> Result<(), LimitError> {
        if self.waiting > 0 && now.duration_since(self.last_reply).as_secs() > STALL_S {
            return Err(LimitError::Stalled { waiting_for: format!("{} replies", self.waiting), after_s: STALL_S });
        }
        let ahead = match (self.pace, self.phase) {
            (Pace::Closed, _) | (_, Phase::Over) => Duration::from_secs(1),
            _ => self.schedule.due(self.next_id).duration_since(now),
        };
        if ahead > SPIN { self.ring.turn_within(ahead - SPIN) } else { self.ring.poll() }
    }

    fn sent(&mut self, index: usize, result: i32) -> Result<(), LimitError> {
        let bytes = socket_result("send", result)?;
        let connection = &mut self.connections[index];
        connection.sending = false;
        if bytes == connection.gather.bytes {
            return Ok(());
        }
        Err(LimitError::Socket { step: "send", source: std::io::ErrorKind::WriteZero.into() })
    }

    fn receive(&mut self, index: usize) -> Result<(), LimitError> {
        let filled = self.connections[index].inbox_filled;
        let socket = types::Fixed(u32::try_from(index).expect("connections are few"));
        let space = &mut self.inbox.slot_mut(index)[filled..];
        let length = u32::try_from(space.len()).expect("a small constant");
        let entry = opcode::Recv::new(socket, space.as_mut_ptr(), length)
            .build()
            .user_data(RECEIVE << KIND_SHIFT | index as u64);
        // SAFETY: the inbox outlives the ring and is not read before the completion.
        unsafe { self.ring.push(&entry) }
    }

    fn received(&mut self, index: usize, result: i32, now: Instant) -> Result<(), LimitError> {
        let bytes = socket_result("receive a reply", result)?;
        if bytes == 0 {
            return Err(LimitError::Socket {
                step: "receive a reply",
                source: std::io::ErrorKind::UnexpectedEof.into(),
            });
        }
        let filled = self.connections[index].inbox_filled + bytes;
        let whole = filled - filled % HEADER_BYTES;
        for start in (0..whole).step_by(HEADER_BYTES) {
            let reply = &self.inbox.slot(index)[start..start + HEADER_BYTES];
            let id = message::decode(reply, self.size)
                .ok_or_else(|| LimitError::Protocol { what: "a reply that answers nothing arrived".into() })?;
            self.answered(id, now);
        }
        self.inbox.slot_mut(index).copy_within(whole..filled, 0);
        self.connections[index].inbox_filled = filled - whole;
        self.receive(index)
    }

    fn answered(&mut self, id: u64, now: Instant) {
        self.waiting -= 1;
        self.last_reply = now;
        match self.pace {
            Pace::Closed => {
                let place = (id % self.handed_over.len() as u64) as usize;
                if self.phase == Phase::Counted {
                    self.count(now, now - self.handed_over[place]);
                }
                if self.phase != Phase::Over {
                    self.hand_over(id + self.handed_over.len() as u64, now);
                }
            }
            Pace::Open { .. } => {
                let due = self.schedule.due(id);
                if due >= self.schedule.counted_from {
                    self.count(now, now - due);
                }
            }
        }
    }

    fn count(&mut self, now: Instant, latency: Duration) {
        self.latencies.record(nanos(latency));
        self.last_counted = Some(now);
    }

    /// The time that the counted messages took: the window, and in open loop the last replies; less if the space was used up.
    fn counted_s(&self, meter: &Meter, space_used_up: bool) -> f64 {
        let started = meter.started.unwrap_or(self.schedule.counted_from);
        let over = meter.ended.unwrap_or(self.schedule.ends);
        let last = self.last_counted.unwrap_or(over);
        let ended = if space_used_up { last } else { over };
        ended.duration_since(started).as_secs_f64()
    }
}

impl Connection {
    fn new(socket: TcpStream) -> Self {
        Self { socket, queue: VecDeque::new(), gather: Gather::new(), sending: false, inbox_filled: 0 }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The ring's table holds on to the socket for a while, so closing alone would not tell the server. It may have gone.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Gather {
    fn new() -> Box<Self> {
        let piece = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Box::new(Self {
            headers: [[0; HEADER_BYTES]; GATHER_MESSAGES_MAX],
            pieces: [piece; 2 * GATHER_MESSAGES_MAX],
            // SAFETY: a msghdr of zeros is valid: null pointers with zero lengths.
            message: unsafe { std::mem::zeroed() },
            bytes: 0,
        })
    }

    /// Takes messages from the queue into one send.
    fn fill(&mut self, queue: &mut VecDeque<u64>, body: &Memory, size: u32) -> *const libc::msghdr {
        let bytes_max = GATHER_BYTES_MAX / u64::from(size);
        let count =
            usize::try_from(bytes_max).unwrap_or(GATHER_MESSAGES_MAX).clamp(1, GATHER_MESSAGES_MAX).min(queue.len());
        let size_bytes = size as usize;
        for (index, id) in queue.drain(..count).enumerate() {
            self.headers[index] = message::encode(id, size);
            self.pieces[2 * index] =
                libc::iovec { iov_base: self.headers[index].as_mut_ptr().cast(), iov_len: HEADER_BYTES };
            self.pieces[2 * index + 1] =
                libc::iovec { iov_base: body.at(0).cast(), iov_len: size_bytes - HEADER_BYTES };
        }
        self.bytes = count * size_bytes;
        self.message.msg_iov = self.pieces.as_mut_ptr();
        self.message.msg_iovlen = 2 * count;
        &raw const self.message
    }
}

/// What is read at the edges of the counted window.
struct Meter<'a> {
    device: Option<&'a Device>,
    started: Option<Instant>,
    ended: Option<Instant>,
    usage: Usage,
    thread: CpuClock,
}

impl<'a> Meter<'a> {
    fn new(device: Option<&'a Device>) -> Self {
        Self { device, started: None, ended: None, usage: Usage::now(device), thread: CpuClock::default() }
    }

    fn observe(&mut self, phase: Phase, now: Instant) {
        self.thread.observe(phase);
        match phase {
            Phase::Counted if self.started.is_none() => {
                self.started = Some(now);
                self.usage = Usage::now(self.device);
            }
            Phase::Over if self.ended.is_none() => {
                self.ended = Some(now);
                self.usage = Usage::now(self.device).since(self.usage);
            }
            _ => {}
        }
    }
}
