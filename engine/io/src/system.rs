//! The kinds of [`Io`] that a system offers, how one is chosen, and what a program asks of one beside what the reactor asks.

use std::fmt;
use std::os::fd::OwnedFd;
use std::str::FromStr;

use crate::ring::{RingError, probe};
use crate::{AcceptQueue, DataDir, Io, ListenerId, Waker};

/// How an [`Io`] is laid out.
#[derive(Clone, Debug)]
pub struct IoConfig {
    /// Where its files are: one directory or more.
    pub data_dirs: Vec<DataDir>,
    /// Bytes of aligned memory for writes and reads, rounded up to a power of two.
    pub pool_bytes: usize,
    /// Buffers that receives deliver in, rounded up to a power of two, at most 32,768.
    pub receive_buffers: u16,
    /// Bytes of each, rounded up to 4 KiB.
    pub receive_buffer_bytes: u32,
    /// Connections at a time. One more is closed as soon as it is accepted, and the accept tells -ENFILE.
    pub sockets_max: u32,
}

impl IoConfig {
    /// Files in these directories, the rest by default.
    pub fn new(data_dirs: Vec<DataDir>) -> IoConfig {
        IoConfig {
            data_dirs,
            pool_bytes: 64 << 20,
            receive_buffers: 256,
            receive_buffer_bytes: 64 << 10,
            sockets_max: 4096,
        }
    }
}

/// An [`Io`] of the system that this process runs on. It belongs to the thread that started it and never leaves it.
pub trait SystemIo: Io + Sized {
    /// Which it is.
    const KIND: IoKind;

    /// Starts one for the calling thread.
    ///
    /// # Errors
    /// The kernel refuses or lacks what it needs, or there is no memory for it.
    fn start(config: IoConfig) -> Result<Self, IoError>;

    /// Takes a socket that [listens](crate::listen), for [`Op::Accept`](crate::Op::Accept).
    ///
    /// # Errors
    /// The kernel has no memory to watch it.
    fn accept_from(&mut self, listener: OwnedFd) -> Result<ListenerId, IoError>;

    /// Where other threads hand over connections that they have accepted, for [`Op::Accept`](crate::Op::Accept).
    fn accept_queue(&mut self) -> (ListenerId, AcceptQueue);

    /// What wakes its turn from another thread.
    fn waker(&self) -> Waker;

    /// Whether the kernel has the pool pinned once and for all; else each operation on it pins its own part, which costs CPU.
    fn buffers_registered(&self) -> bool;
}

/// A kind of [`SystemIo`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IoKind {
    /// io_uring: [`Ring`](crate::Ring).
    Ring,
    /// Plain threads and epoll: [`Threads`](crate::Threads).
    Threads,
}

impl IoKind {
    /// The name that it is asked for by, and that results say.
    pub fn name(self) -> &'static str {
        match self {
            IoKind::Ring => "ring",
            IoKind::Threads => "threads",
        }
    }
}

impl fmt::Display for IoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which kind is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IoChoice {
    /// The ring, or threads where it is not permitted.
    #[default]
    Auto,
    /// This one and no other.
    Only(IoKind),
}

impl IoChoice {
    /// The kind that it comes to here; where that is not the one that is preferred, with the reason.
    pub fn settle(self) -> (IoKind, Option<RingError>) {
        match self {
            IoChoice::Only(kind) => (kind, None),
            IoChoice::Auto => {
                let probe = probe();
                let kind = probe.kind();
                (kind, probe.refused.filter(|_| kind == IoKind::Threads))
            }
        }
    }
}

impl FromStr for IoChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<IoChoice, String> {
        match text {
            "auto" => Ok(IoChoice::Auto),
            "ring" => Ok(IoChoice::Only(IoKind::Ring)),
            "threads" => Ok(IoChoice::Only(IoKind::Threads)),
            _ => Err(format!("`{text}` is not a kind of I/O; write auto, ring or threads")),
        }
    }
}

/// Why a [`SystemIo`] can't be had.
#[derive(Debug)]
pub enum IoError {
    /// There is no ring.
    Ring(RingError),
    /// There are no threads, or not what they need.
    Threads {
        /// What was tried.
        step: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl fmt::Display for IoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IoError::Ring(error) => error.fmt(f),
            IoError::Threads { step, source } => write!(
                f,
                "{step} failed: {source}; raise the limits of this process on memory, threads and open files (ulimit -v -u -n)"
            ),
        }
    }
}

impl std::error::Error for IoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            IoError::Ring(error) => Some(error),
            IoError::Threads { source, .. } => Some(source),
        }
    }
}
