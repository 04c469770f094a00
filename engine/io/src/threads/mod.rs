//! The world through plain threads and epoll: the [`Io`] where io_uring is not permitted, as in containers by default.
//!
//! The reactor's thread does all that can't block by itself: one epoll_wait a turn, then a system call for each accept, receive
//! and send that is ready. Reads and writes of files go to workers, what else may block on a file system to the file thread of
//! its directory; both ring one bell when they have answered. What completes, and in what order, is as on the ring: errors, what
//! a close or a stop still lets through, receives that end for want of buffers.
//!
//! It is slower: each operation is a system call of its own, each read and write two changes of thread, and no memory is pinned
//! beforehand. A wait ends at the next whole millisecond: epoll_pwait2 would take nanoseconds, but seccomp filters older than it
//! end the process at it.
//!
//! ```text
//!  submit: Op -> network: tried at once; what can't be yet waits for epoll ---------------+
//!          Op -> disk: workers, pwritev2 and preadv ... result, bell ----------------------+--> turn: Completion
//!          FileOp -> file thread ... answer, the same bell --------------------------------+
//! ```

mod disk;
mod network;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::Timespec;

use self::disk::{Access, Disk};
use self::network::{Contents, Network};
use crate::accept_queue::accept_queue;
use crate::bell::{Bell, Waker};
use crate::open_files::OpenFiles;
use crate::random::random;
use crate::{
    AcceptQueue, Clock, Completion, DirId, Io, IoConfig, IoError, IoKind, ListenerId, Op, Payload, Pool, Received,
    SystemIo, Token, Wait,
};

/// A turn sleeps no longer, whatever it was told: what the system call takes is bounded.
const SLEEP_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Threads and epoll, for one reactor. Made on the reactor's thread and never leaves it.
pub struct Threads {
    // Before the memory that its workers touch.
    disk: Disk,
    network: Network,
    files: OpenFiles,
    pool: Pool,
    wakers: Arc<Bell>,
    /// Completions of what ended as it was submitted.
    ready: Vec<Completion>,
    clock: Clock,
}

impl Threads {
    /// Begins an operation on the disk, or on the network, or refuses it.
    fn begin(&mut self, op: Op, token: Token) {
        match op {
            Op::Write { file, offset, buf, durable } => match self.files.enter(file) {
                Some(open) => self.disk.begin(token, (file.0, open), Access::Write { buf, durable }, offset),
                None => self.refuse(token, libc::EBADF, Payload::None),
            },
            Op::Read { file, offset, buf } => match self.files.enter(file) {
                Some(open) => self.disk.begin(token, (file.0, open), Access::Read { buf }, offset),
                None => self.refuse(token, libc::EBADF, Payload::Buf(buf)),
            },
            Op::File(op) => {
                if let Err(errno) = self.files.begin(op, token) {
                    self.refuse(token, errno, Payload::None);
                }
            }
            Op::Accept(listener) => self.network.accept(listener, token, &mut self.ready),
            Op::Receive(socket) => self.network.receive(socket, token, &mut self.ready),
            Op::StopReceive(socket) => self.network.stop_receive(socket, &mut self.ready),
            Op::SendBytes { socket, bytes, from } => {
                let range = from..bytes.len();
                self.network.send(socket, token, (Contents::Bytes(bytes), range), &mut self.ready);
            }
            Op::SendBuf { socket, buf, from, to } => {
                self.network.send(socket, token, (Contents::Buf(buf), from..to), &mut self.ready);
            }
            Op::Close(socket) => self.network.close(socket, token, &mut self.ready),
        }
    }

    /// Ends an operation that never began.
    fn refuse(&mut self, token: Token, errno: i32, payload: Payload) {
        self.ready.push(Completion { token, result: -errno, more: false, payload });
    }

    /// How long this turn may sleep; `None` without end.
    fn sleep(&self, wait: Wait) -> Option<Timespec> {
        let is_busy = !self.ready.is_empty() || self.network.is_busy();
        let left_ns = match wait {
            Wait::Forever if !is_busy => return None,
            Wait::Until(time_ns) if !is_busy => time_ns.saturating_sub(self.clock.mono_ns()),
            _ => 0,
        };
        let seconds = (left_ns / 1_000_000_000).min(SLEEP_SECONDS_MAX);
        Some(Timespec { tv_sec: seconds.cast_signed(), tv_nsec: (left_ns % 1_000_000_000) as i64 })
    }
}

impl Io for Threads {
    fn submit(&mut self, op: Op, token: Token) {
        self.begin(op, token);
    }

    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) {
        let sleep = self.sleep(wait);
        completions.append(&mut self.ready);
        let rung = self.network.poll(sleep.as_ref(), completions);
        if rung.wakers {
            self.wakers.hush();
            self.network.woken();
            completions.push(Completion { token: Token::WAKE, result: 0, more: true, payload: Payload::None });
        }
        if rung.answers {
            self.files.bell().hush();
            self.disk.take_results(&mut self.files, completions);
            self.files.take_answers(completions);
        }
        self.network.serve(completions);
    }

    fn received(&self, received: Received) -> &[u8] {
        self.network.buffers().bytes(received)
    }

    fn recycle(&mut self, received: Received) {
        self.network.recycle(received);
    }

    fn receive_buffers(&self) -> usize {
        usize::from(self.network.buffers().count())
    }

    fn directories(&self) -> usize {
        self.files.directories()
    }

    fn disk(&self, dir: DirId) -> u64 {
        self.files.disk(dir)
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn mono_ns(&self) -> u64 {
        self.clock.mono_ns()
    }

    fn wall_ms(&self) -> u64 {
        self.clock.wall_ms()
    }

    fn boottime_ms(&self) -> u64 {
        self.clock.boottime_ms()
    }

    fn boot(&self) -> u32 {
        self.clock.boot()
    }

    fn random(&mut self) -> [u8; 16] {
        random()
    }
}

impl SystemIo for Threads {
    const KIND: IoKind = IoKind::Threads;

    fn start(config: IoConfig) -> Result<Threads, IoError> {
        let failed = |step| move |source| IoError::Threads { step, source };
        let pool = Pool::new(config.pool_bytes).map_err(failed("mapping the pool"))?;
        let wakers = Bell::new().map_err(failed("making an eventfd"))?;
        let answers = Bell::new().map_err(failed("making an eventfd"))?;
        let network = Network::new(&config, &wakers, &answers).map_err(failed("setting up epoll"))?;
        let disk = Disk::start(&config.data_dirs, &pool, &answers).map_err(failed("starting the disk's threads"))?;
        let files = OpenFiles::start(config.data_dirs, answers).map_err(failed("starting the file thread"))?;
        Ok(Threads { disk, network, files, pool, wakers, ready: Vec::new(), clock: Clock })
    }

    fn accept_from(&mut self, listener: OwnedFd) -> Result<ListenerId, IoError> {
        let failed = |source| IoError::Threads { step: "watching a listener", source };
        self.network.watch(listener).map_err(failed)
    }

    fn accept_queue(&mut self) -> (ListenerId, AcceptQueue) {
        let (queue, accepted) = accept_queue(&self.wakers, true);
        (self.network.take_from(accepted), queue)
    }

    fn waker(&self) -> Waker {
        Waker::new(Arc::clone(&self.wakers))
    }

    fn buffers_registered(&self) -> bool {
        false
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Threads({:?}, {:?})", self.disk, self.network)
    }
}
