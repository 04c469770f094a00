//! The world through io_uring: the [`Io`] of production.
//!
//! A ring belongs to the thread that made it, and enters the kernel once a turn: what is queued starts, work that the kernel
//! deferred runs, and completions come out. What an operation in flight may touch is owned by the table of operations until
//! its last completion, whatever the caller does meanwhile. A dropped ring cancels, takes every completion in, closes, and
//! only then lets go of memory.
//!
//! Descriptors are plain: registered ones saved 70 ns an operation where a write costs 6 us and more, and a lasting receive
//! looks its descriptor up once. On one connection, one send at a time: the kernel may interleave two in flight together.
//!
//! ```text
//!  submit: Op -> table of operations -> submission queue --+
//!                                                          +--> turn: io_uring_enter -> completion queue -> Completion
//!          FileOp -> file thread ... answer, bell ---------+
//! ```
//!
//! A killed process leaves writes behind that the disk still carries out. They must not fall on what the next process writes,
//! so the locks of the directories go with the ring, which the kernel takes apart after its last operation.

mod complete;
mod error;
mod operation;
mod receive;
mod setup;
mod submit;

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, squeue};

use self::operation::{InFlight, Work};
use self::receive::ReceiveBuffers;
use crate::accept_queue::accept_queue;
use crate::bell::{Bell, Waker};
use crate::open_files::OpenFiles;
use crate::random::random;
use crate::slab::Slab;
use crate::{
    AcceptQueue, Clock, Completion, DirId, Io, IoConfig, IoError, IoKind, ListenerId, Op, Payload, Pool, Received,
    SystemIo, Token, Wait,
};

pub use self::error::RingError;
pub use self::setup::{Probe, probe};

/// Submissions that fit in one turn's system call. More take another one.
const SUBMISSIONS: u32 = 512;

/// Completions that fit between two turns. The kernel keeps what does not, at a cost.
const COMPLETIONS: u32 = 4096;

/// The most that one registered buffer holds; a larger pool becomes several.
const REGISTERED_BYTES_MAX: usize = 1 << 30;

/// How long a dropped ring waits for what is in flight.
const DRAIN_WAIT: Duration = Duration::from_secs(5);
const DRAIN_STEP: Duration = Duration::from_millis(100);

/// A connection. In use until closed and every operation on it has ended.
struct Socket {
    /// `None` once the kernel has it for closing.
    fd: Option<OwnedFd>,
    in_flight: u32,
    closing: Option<Token>,
    /// The key of the receive in flight.
    receive: Option<u64>,
}

/// What connections come from.
enum Listener {
    Socket(OwnedFd),
    /// Other threads, which ring when there is one. Nothing of it is in flight in the kernel.
    Queue {
        accepted: Receiver<OwnedFd>,
        accept: Option<Token>,
    },
}

/// io_uring, for one reactor. Made on the reactor's thread and never leaves it.
pub struct Ring {
    // First, so that it is closed before memory that the kernel may know goes.
    uring: IoUring,
    in_flight: InFlight,
    receive: ReceiveBuffers,
    pool: Pool,
    buffers_registered: bool,
    listeners: Vec<Listener>,
    sockets: Slab<Socket>,
    sockets_max: usize,
    /// Entries that found the submission queue full.
    overflow: VecDeque<squeue::Entry>,
    /// Completions of operations that never reached the kernel.
    ready: Vec<Completion>,
    wakers: Arc<Bell>,
    files: OpenFiles,
    /// Being dropped: lasting operations are not begun again.
    ending: bool,
    clock: Clock,
}

impl Ring {
    fn open(config: IoConfig) -> Result<Ring, RingError> {
        let failed = |step| move |source| RingError::Failed { step, source };
        let uring = setup::make(SUBMISSIONS, COMPLETIONS)?.ring;
        let locks: Vec<_> = config.data_dirs.iter().map(|directory| directory.lock_fd().as_raw_fd()).collect();
        uring.submitter().register_files(&locks).map_err(failed("registering the directory's lock"))?;
        let pool = Pool::new(config.pool_bytes).map_err(failed("mapping the pool"))?;
        let buffers_registered = register_pool(&uring, &pool)?;
        let mut receive = ReceiveBuffers::map(config.receive_buffers, config.receive_buffer_bytes)
            .map_err(failed("mapping receive buffers"))?;
        receive.register(&uring).map_err(failed("registering receive buffers"))?;
        let wakers = Bell::new().map_err(failed("making an eventfd"))?;
        let answers = Bell::new().map_err(failed("making an eventfd"))?;
        let files = OpenFiles::start(config.data_dirs, answers).map_err(failed("starting the file thread"))?;
        let mut ring = Ring {
            uring,
            in_flight: InFlight::with_capacity(COMPLETIONS as usize),
            receive,
            pool,
            buffers_registered,
            listeners: Vec::new(),
            sockets: Slab::with_capacity(64),
            sockets_max: config.sockets_max as usize,
            overflow: VecDeque::new(),
            ready: Vec::new(),
            wakers,
            files,
            ending: false,
            clock: Clock,
        };
        ring.listen_for(Work::Woken);
        ring.listen_for(Work::Answered);
        Ok(ring)
    }

    fn push(&mut self, entry: squeue::Entry) {
        if self.overflow.is_empty() && self.try_push(&entry) {
            return;
        }
        self.overflow.push_back(entry);
        self.push_overflow();
    }

    fn try_push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: whatever memory an entry names is owned by the table of operations (or is the ring's own) until the
        // operation's last completion, and descriptors stay open until then: see `submit` and `Drop`.
        unsafe { self.uring.submission().push(entry).is_ok() }
    }

    /// Makes room in the submission queue for what overflowed, as far as the kernel takes it.
    fn push_overflow(&mut self) {
        while let Some(entry) = self.overflow.front().cloned() {
            if !self.try_push(&entry) {
                self.enter(0, None);
                if !self.try_push(&entry) {
                    return;
                }
            }
            self.overflow.pop_front();
        }
    }

    /// Submits what is queued, runs what the kernel deferred, and waits for `want` completions or until the time is over.
    fn enter(&mut self, want: u32, wait: Option<Duration>) {
        let submit = self.uring.submission().len() as u32;
        let time = wait.map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(time) = &time {
            args = args.timespec(time);
        }
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if self.in_flight.with_disk() == 0 && self.uring.params().is_feature_no_iowait() {
            // An idle server waits for people, not for a disk, and shall not look as if it did.
            flags |= EnterFlags::NO_IOWAIT;
        }
        // SAFETY: the arguments are those of an extended wait, alive during the call.
        let entered = unsafe { self.uring.submitter().enter(submit, want, flags.bits(), Some(&args)) };
        match entered.map_err(|error| error.raw_os_error()) {
            Ok(_) => {}
            // Interrupted, out of time, or out of memory for now: what was not submitted stays queued for the next turn.
            Err(Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY | libc::ENOMEM)) => {}
            Err(errno) => panic!("io_uring_enter refused a well-formed call: errno {errno:?}"),
        }
    }

    fn wait(&mut self, wait: Wait) {
        self.push_overflow();
        match wait {
            _ if !self.ready.is_empty() => self.poll(),
            Wait::No => self.poll(),
            Wait::Forever => self.enter(1, None),
            Wait::Until(time_ns) => match time_ns.saturating_sub(self.clock.mono_ns()) {
                0 => self.poll(),
                left_ns => self.enter(1, Some(Duration::from_nanos(left_ns))),
            },
        }
    }

    /// Enters the kernel only if that changes anything.
    fn poll(&mut self) {
        let queue = self.uring.submission();
        if !queue.is_empty() || queue.taskrun() || queue.cq_overflow() {
            drop(queue);
            self.enter(0, None);
        }
    }

    /// Takes up what other threads have accepted.
    fn take_handed_over(&mut self, completions: &mut Vec<Completion>) {
        for listener in 0..self.listeners.len() {
            while let Some(Listener::Queue { accepted, accept: Some(token) }) = self.listeners.get(listener)
                && let Ok(socket) = accepted.try_recv()
            {
                let (token, result) = (*token, self.add_socket(socket));
                completions.push(Completion { token, result, more: true, payload: Payload::None });
            }
        }
    }

    /// Cancels and takes in what is in flight. `false` if the kernel still has some.
    fn drain(&mut self) -> bool {
        self.ending = true;
        let deadline = Instant::now() + DRAIN_WAIT;
        let mut completions = Vec::new();
        while self.in_flight.len() > 0 {
            if Instant::now() >= deadline {
                return false;
            }
            self.cancel_all();
            self.push_overflow();
            self.enter(1, Some(DRAIN_STEP));
            self.reap(&mut completions);
            completions.clear();
        }
        true
    }
}

impl Io for Ring {
    fn submit(&mut self, op: Op, token: Token) {
        self.begin(op, token);
    }

    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) {
        self.wait(wait);
        completions.append(&mut self.ready);
        self.reap(completions);
    }

    fn received(&self, received: Received) -> &[u8] {
        self.receive.bytes(received)
    }

    fn recycle(&mut self, received: Received) {
        self.receive.recycle(received.buffer);
    }

    fn receive_buffers(&self) -> usize {
        usize::from(self.receive.count())
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

impl SystemIo for Ring {
    const KIND: IoKind = IoKind::Ring;

    fn start(config: IoConfig) -> Result<Ring, IoError> {
        Ring::open(config).map_err(IoError::Ring)
    }

    fn accept_from(&mut self, listener: OwnedFd) -> Result<ListenerId, IoError> {
        self.listeners.push(Listener::Socket(listener));
        Ok(ListenerId((self.listeners.len() - 1) as u32))
    }

    fn accept_queue(&mut self) -> (ListenerId, AcceptQueue) {
        // The ring waits where a call would have to.
        let (queue, accepted) = accept_queue(&self.wakers, false);
        self.listeners.push(Listener::Queue { accepted, accept: None });
        (ListenerId((self.listeners.len() - 1) as u32), queue)
    }

    fn waker(&self) -> Waker {
        Waker::new(Arc::clone(&self.wakers))
    }

    /// It is not where this process may lock less memory than that.
    fn buffers_registered(&self) -> bool {
        self.buffers_registered
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.drain() {
            // Nothing is left that the lock must outlive; the kernel would keep it for a moment after the ring is closed.
            let _ = self.uring.submitter().unregister_files();
        } else {
            // The kernel may still write to, or send from, what these operations own, at any time to come and even after the
            // ring is closed. Memory that is lost is better than memory that changes under its next owner.
            std::mem::forget(std::mem::replace(&mut self.in_flight, InFlight::with_capacity(0)));
            std::mem::forget(self.pool.clone());
            self.receive.leak();
        }
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({} operations in flight, {} connections)", self.in_flight.len(), self.sockets.len())
    }
}

/// Registers the whole pool. `false` if this process may not lock that much memory.
fn register_pool(uring: &IoUring, pool: &Pool) -> Result<bool, RingError> {
    let region = pool.region();
    let pieces: Vec<libc::iovec> = (0..region.bytes())
        .step_by(REGISTERED_BYTES_MAX)
        .map(|from| libc::iovec {
            // SAFETY: `from` lies within the region.
            iov_base: unsafe { region.start().add(from) }.cast(),
            iov_len: REGISTERED_BYTES_MAX.min(region.bytes() - from),
        })
        .collect();
    // SAFETY: the pieces are the mapping that the pool owns, and the ring, which owns the pool, is closed before it goes.
    match unsafe { uring.submitter().register_buffers(&pieces) } {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => Ok(false),
        Err(source) => Err(RingError::Failed { step: "registering buffers", source }),
    }
}
