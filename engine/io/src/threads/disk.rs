//! Reads and writes of files, on workers of their own: a call that waits for the disk holds up nobody else.
//!
//! The memory of an operation stays in the table here, untouched, until its result was taken in; a worker knows only where it
//! lies. A dropped [`Disk`] waits for its workers. Where one hangs in the kernel the memory is lost rather than given back.
//!
//! Workers keep the data directories, and with them their locks, for as long as they may write. That holds for a killed process
//! too: its threads share one table of descriptors, which the kernel closes when the last of them has ended, and a thread ends
//! only once the call that it is in has returned. A direct write returns when the disk has answered, killed or not. So nothing
//! falls on what the next process writes, which has the lock by then.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rustix::io::{Errno, ReadWriteFlags, preadv, pwritev2, retry_on_intr};

use crate::affinity::leave_the_core;
use crate::bell::Bell;
use crate::files::File;
use crate::open_files::OpenFiles;
use crate::slab::Slab;
use crate::{Buf, BufMut, Completion, DataDir, Payload, Pool, Token};

/// Threads that read and write, a reactor. As many operations are with the disk at a time; the others wait.
const WORKERS: usize = 16;

/// Operations with the workers at a time, those that wait in their queue included. More wait on the reactor's thread.
const JOBS_MAX: usize = 64;

const _: () = assert!(WORKERS <= JOBS_MAX);

/// How long a dropped [`Disk`] waits for its workers.
const END_WAIT: Duration = Duration::from_secs(5);

/// What is done with the memory that the operation owns.
pub(super) enum Access {
    Write { buf: Buf, durable: bool },
    Read { buf: BufMut },
}

impl Access {
    fn into_payload(self) -> Payload {
        match self {
            Access::Write { .. } => Payload::None,
            Access::Read { buf } => Payload::Buf(buf),
        }
    }
}

/// An operation that has begun and not ended.
struct Operation {
    token: Token,
    file: u32,
    access: Access,
}

/// The same for a worker.
struct Job {
    key: u32,
    file: File,
    offset: u64,
    memory: Memory,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Write,
    DurableWrite,
    Read,
}

/// Where an operation's memory lies.
struct Memory {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is a piece of the pool that the operation in the table owns until the worker's result was taken in: it
// is neither given back nor written to by the reactor meanwhile, and of a read not looked at either. The channels that carry
// job and result order the accesses of the two threads.
unsafe impl Send for Memory {}

/// What came of a job.
struct Outcome {
    key: u32,
    /// A count or a negative errno.
    result: i32,
}

/// The workers, seen from the reactor. Never blocks, except when dropped.
pub(super) struct Disk {
    /// `None` when ending.
    jobs: Option<Sender<Job>>,
    outcomes: Receiver<Outcome>,
    waiting: VecDeque<Job>,
    /// Jobs with the workers, not taken in again: at most JOBS_MAX, so neither channel is ever full.
    with_workers: usize,
    in_flight: Slab<Operation>,
    /// What the memory is of.
    pool: Pool,
    workers: Vec<JoinHandle<()>>,
}

impl Disk {
    /// Starts the workers, which ring `bell` when a job is done.
    pub(super) fn start(directories: &[DataDir], pool: &Pool, bell: &Arc<Bell>) -> std::io::Result<Disk> {
        let (jobs, inbox) = bounded(JOBS_MAX);
        let (outbox, outcomes) = bounded(JOBS_MAX);
        let worker = Worker { inbox, outbox, bell: Arc::clone(bell), _locked: directories.to_vec() };
        let start = |_| {
            let worker = worker.clone();
            std::thread::Builder::new().name("millstream-disk".to_owned()).spawn(move || worker.run())
        };
        let workers = (0..WORKERS).map(start).collect::<Result<_, _>>()?;
        Ok(Disk {
            jobs: Some(jobs),
            outcomes,
            waiting: VecDeque::with_capacity(JOBS_MAX),
            with_workers: 0,
            in_flight: Slab::with_capacity(2 * JOBS_MAX),
            pool: pool.clone(),
            workers,
        })
    }

    /// Begins an operation on an open file, by its number.
    pub(super) fn begin(&mut self, token: Token, (number, file): (u32, &File), mut access: Access, offset: u64) {
        let (memory, kind) = match &mut access {
            Access::Write { buf, durable } => {
                let kind = if *durable { Kind::DurableWrite } else { Kind::Write };
                (Memory { start: NonNull::from(&**buf).cast(), bytes: buf.len() }, kind)
            }
            Access::Read { buf } => (Memory { start: NonNull::from(&mut **buf).cast(), bytes: buf.len() }, Kind::Read),
        };
        let key = self.in_flight.insert(Operation { token, file: number, access });
        self.waiting.push_back(Job { key, file: Arc::clone(file), offset, memory, kind });
        self.hand_over();
    }

    fn hand_over(&mut self) {
        let Some(jobs) = &self.jobs else { return };
        while self.with_workers < JOBS_MAX
            && let Some(job) = self.waiting.pop_front()
        {
            jobs.send(job).expect("the workers end after the sender is gone");
            self.with_workers += 1;
        }
    }

    /// Takes in what the workers have done.
    pub(super) fn take_results(&mut self, files: &mut OpenFiles, completions: &mut Vec<Completion>) {
        while let Ok(Outcome { key, result }) = self.outcomes.try_recv() {
            self.with_workers -= 1;
            let Operation { token, file, access } =
                self.in_flight.remove(key).expect("a result belongs to an operation in flight");
            files.leave(file);
            completions.push(Completion { token, result, more: false, payload: access.into_payload() });
        }
        self.hand_over();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What waits here never begins; what is in the workers' queue does.
        self.jobs = None;
        let deadline = Instant::now() + END_WAIT;
        let end = loop {
            if let Err(end) = self.outcomes.recv_deadline(deadline) {
                break end;
            }
        };
        // The workers' ends of the channel go when they end.
        if end == RecvTimeoutError::Disconnected {
            for worker in self.workers.drain(..) {
                let _ = worker.join();
            }
        } else {
            // A worker hangs in the kernel, which may still write to or read from what it was given. Memory that is lost is
            // better than memory that changes under its next owner.
            std::mem::forget(std::mem::replace(&mut self.in_flight, Slab::with_capacity(0)));
            std::mem::forget(self.pool.clone());
        }
    }
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} reads and writes in flight", self.in_flight.len())
    }
}

#[derive(Clone)]
struct Worker {
    inbox: Receiver<Job>,
    outbox: Sender<Outcome>,
    bell: Arc<Bell>,
    /// Nobody else may write there while this one does.
    _locked: Vec<DataDir>,
}

impl Worker {
    fn run(self) {
        leave_the_core();
        for job in &self.inbox {
            let outcome = Outcome { key: job.key, result: carry_out(&job) };
            // Before it is heard of: who closes the file then has it alone.
            drop(job);
            // The reactor may be gone; then nobody is waiting.
            let _ = self.outbox.send(outcome);
            self.bell.ring();
        }
    }
}

fn carry_out(job: &Job) -> i32 {
    match retry_on_intr(|| access(job)) {
        Ok(bytes) => i32::try_from(bytes).unwrap_or(i32::MAX),
        Err(errno) => -errno.raw_os_error(),
    }
}

fn access(Job { file, offset, memory: Memory { start, bytes }, kind, .. }: &Job) -> Result<usize, Errno> {
    let flags = match kind {
        Kind::Read => {
            // SAFETY: the memory is the operation's alone until its result was taken in, and initialised, as all of the pool.
            let memory = unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), *bytes) };
            return preadv(file, &mut [IoSliceMut::new(memory)], *offset);
        }
        Kind::Write => ReadWriteFlags::empty(),
        Kind::DurableWrite => ReadWriteFlags::DSYNC,
    };
    // SAFETY: the memory stays the operation's until its result was taken in, nobody writes to it meanwhile, and it is
    // initialised, as all of the pool.
    let memory = unsafe { std::slice::from_raw_parts(start.as_ptr(), *bytes) };
    pwritev2(file, &[IoSlice::new(memory)], *offset, flags)
}
