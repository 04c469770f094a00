//! The boundary between the engine and the world: operations, completions, and the trait that carries them.
//!
//! Results are the kernel's own: a count or an identifier, or a negative errno. So short writes, refused and cancelled
//! operations can all be represented, by the kernel and by the simulator alike. An operation owns its buffers until its
//! completion hands them back.

use std::time::Duration;

use crate::{Buf, BufMut, Pool};

/// A connection whose other side takes nothing of what it is sent for so long fails, with -ETIMEDOUT. One that takes little goes on.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What a caller calls its operation; echoed in every completion of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub u64);

impl Token {
    /// The token of a wake-up from another thread, which belongs to no operation.
    pub const WAKE: Token = Token(u64::MAX);
}

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u32);
    };
}

handle!(
    /// One of the data directories, by its place among those that the [`Io`] was given.
    DirId
);
handle!(
    /// An open file. From the result of [`FileOp::Open`].
    FileId
);
handle!(
    /// An open connection. From the result of an accept.
    SocketId
);
handle!(
    /// What connections come from, made before the loop starts.
    ListenerId
);

/// Bytes that a receive delivered, in a buffer that goes back by [`Io::recycle`]. Identified, not owned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Received {
    /// Which buffer.
    pub buffer: u16,
    /// How many bytes it holds.
    pub length: u32,
}

/// What the engine asks for.
#[derive(Debug)]
pub enum Op {
    /// Writes all of `buf`. With `durable` the completion means that it is on stable storage.
    Write {
        /// The file.
        file: FileId,
        /// Where, a multiple of the block.
        offset: u64,
        /// What; its length is a multiple of the block.
        buf: Buf,
        /// Whether to be durable (RWF_DSYNC).
        durable: bool,
    },
    /// Fills `buf`, which comes back with the completion.
    Read {
        /// The file.
        file: FileId,
        /// Where, a multiple of the block.
        offset: u64,
        /// Its length is a multiple of the block.
        buf: BufMut,
    },
    /// Connections, one completion each, until one arrives without `more`.
    Accept(ListenerId),
    /// Bytes of a connection, one completion each, until one arrives without `more`.
    Receive(SocketId),
    /// Ends the receive of a connection, which completes once more: with -ECANCELED and without `more`, unless it ended by
    /// itself. Until then it may deliver more. Has no completion of its own, and does nothing where nothing is received.
    StopReceive(SocketId),
    /// Sends `bytes` from `from` on. `bytes` come back with the completion; the count may be short. It fails where the other side
    /// has taken nothing for [`SEND_TIMEOUT`].
    SendBytes {
        /// The connection.
        socket: SocketId,
        /// What.
        bytes: Vec<u8>,
        /// The first byte to send.
        from: usize,
    },
    /// Sends a range of `buf`, likewise.
    SendBuf {
        /// The connection.
        socket: SocketId,
        /// What.
        buf: Buf,
        /// The first byte to send.
        from: usize,
        /// The byte after the last.
        to: usize,
    },
    /// Closes a connection after cancelling what is in flight on it; those operations still complete.
    Close(SocketId),
    /// What may block, in a data directory.
    File(FileOp),
}

/// What may block, carried out away from the loop. Names are of files in a data directory.
#[derive(Debug)]
pub enum FileOp {
    /// Opens for direct reading and writing; the result is a [`FileId`].
    Open {
        /// Where it lies.
        dir: DirId,
        /// Its name.
        name: String,
        /// Whether to make it, which fails if it exists.
        create: bool,
    },
    /// Closes; the result is 0.
    Close(FileId),
    /// Allocates space up to `bytes`, unwritten, and sets the length.
    Allocate {
        /// The file.
        file: FileId,
        /// Its length afterwards.
        bytes: u64,
    },
    /// Makes all of a file zeros, up to `bytes`, as [`FileOp::Allocate`] makes a new one: its space stays with it, unwritten.
    Blank {
        /// The file.
        file: FileId,
        /// Its length, before and afterwards.
        bytes: u64,
    },
    /// Cuts or extends to `bytes`.
    Truncate {
        /// The file.
        file: FileId,
        /// Its length afterwards.
        bytes: u64,
    },
    /// Flushes contents and metadata of a file (fsync).
    Sync(FileId),
    /// Flushes the names of a directory.
    SyncDir(DirId),
    /// Renames, replacing what was there.
    Rename {
        /// In which directory.
        dir: DirId,
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// Removes a name.
    Remove {
        /// From which directory.
        dir: DirId,
        /// The name.
        name: String,
    },
    /// Lists a directory: [`Payload::Entries`].
    List(DirId),
    /// The bytes free there for this process: the result is in MiB, so that it fits.
    FreeMib(DirId),
}

/// A file in a data directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirEntry {
    /// Its name.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// What a completion brings besides its result.
#[derive(Debug, Default)]
pub enum Payload {
    /// Nothing.
    #[default]
    None,
    /// The buffer of a read, filled up to the result.
    Buf(BufMut),
    /// The bytes of a send, for reuse.
    Bytes(Vec<u8>),
    /// What was received. The caller recycles it.
    Received(Received),
    /// The directory.
    Entries(Vec<DirEntry>),
}

/// The end of an operation, or one event of a lasting one.
#[derive(Debug)]
pub struct Completion {
    /// The operation's.
    pub token: Token,
    /// A count or identifier, or a negative errno.
    pub result: i32,
    /// Whether the operation goes on.
    pub more: bool,
    /// What it brings.
    pub payload: Payload,
}

/// How long a turn may sleep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Not at all.
    No,
    /// Until this time of [`Io::mono_ns`], or a completion.
    Until(u64),
    /// Until a completion.
    Forever,
}

/// The world, for one reactor. Not shared between threads.
pub trait Io {
    /// Queues an operation; it starts no later than the next turn.
    fn submit(&mut self, op: Op, token: Token);

    /// Starts what is queued and appends what has completed. One system call on the ring.
    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>);

    /// Bytes that a receive delivered and that were not recycled yet.
    fn received(&self, received: Received) -> &[u8];

    /// Gives a receive buffer back.
    fn recycle(&mut self, received: Received);

    /// Receive buffers that the caller may hold before receives stall.
    fn receive_buffers(&self) -> usize;

    /// How many data directories there are: their identifiers count from 0.
    fn directories(&self) -> usize;

    /// The disk that a data directory lies on: those that say the same share one, and [`UNKNOWN_DISK`](crate::UNKNOWN_DISK) may be any.
    fn disk(&self, dir: DirId) -> u64 {
        u64::from(dir.0)
    }

    /// Aligned memory for writes and reads.
    fn pool(&self) -> &Pool;

    /// Nanoseconds of a clock that never goes back.
    fn mono_ns(&self) -> u64;

    /// Milliseconds since 1970. May jump.
    fn wall_ms(&self) -> u64;

    /// Milliseconds since boot, sleep included.
    fn boottime_ms(&self) -> u64;

    /// Which boot of the machine that is; 0 if it is not known.
    fn boot(&self) -> u32 {
        0
    }

    /// Random bytes.
    fn random(&mut self) -> [u8; 16];
}
