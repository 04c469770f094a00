//! The one place with system calls: ring, operations, buffers, files, clocks, affinity.
//!
//! The engine sees the world through [`Io`] alone: operations go in with a token, completions come out with raw results
//! and the buffers that the operation held. [`Ring`] is io_uring; [`Threads`] does the same on plain threads and epoll, where
//! io_uring is not permitted; a simulator implements the same boundary elsewhere.
//!
//! ```text
//!   engine ---Op, Token---> Ring ------one io_uring_enter a turn---> kernel
//!          <--Completion--- Threads ---one epoll_wait a turn, and a call an operation; workers that read and write
//!                           both ------file helper thread: open, allocate, rename, unlink, directory sync
//! ```

mod accept_queue;
mod affinity;
mod bell;
mod boundary;
mod buffer;
mod clock;
mod directory;
mod disk;
mod file_system;
mod files;
mod heap;
mod listen;
mod open_files;
mod random;
mod receive_memory;
mod ring;
mod slab;
mod system;
mod threads;

pub use accept_queue::AcceptQueue;
pub use affinity::{available_cores, pin};
pub use bell::Waker;
pub use boundary::{
    Completion, DirEntry, DirId, FileId, FileOp, Io, ListenerId, Op, Payload, Received, SEND_TIMEOUT, SocketId, Token,
    Wait,
};
pub use buffer::{Buf, BufMut, Pool};
pub use clock::{Clock, thread_cpu_ns};
pub use directory::{Alignment, DataDir, DirError};
pub use disk::UNKNOWN as UNKNOWN_DISK;
pub use file_system::FileSystem;
pub use heap::{give_back_free_memory, keep_free_memory};
pub use listen::{listen, look_after};
pub use ring::{Probe, Ring, RingError, probe};
pub use system::{IoChoice, IoConfig, IoError, IoKind, SystemIo};
pub use threads::Threads;
