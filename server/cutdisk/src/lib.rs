//! A disk in user space with a volatile write cache whose power can be cut. For tests.
//!
//! What is tested against it runs unmodified on the real kernel: the same system calls, the same
//! ext4, the same block layer as on a real disk. Only the disk itself is ours.
//!
//! ```text
//!   engine            O_DIRECT writes, RWF_DSYNC, fsync
//!      |
//!   ext4              its journal, its barriers; mounted at `CutDisk::mount`
//!      |
//!   loop device       direct I/O, so that no page cache sits between ext4 and the disk;
//!      |              flush and FUA arrive as fsync on the backing file
//!   FUSE file `disk`  FOPEN_DIRECT_IO, several requests at once, served by threads of the test process
//!      |
//!   volatile cache    the writes since the last flush, in the order in which they completed
//!      |   flush: all of them, in order
//!   durable image     what is left after a cut, with the sectors of the cache that were lucky
//! ```
//!
//! # What a flush promises
//!
//! A write is complete once it is in the cache; it is answered after that. A flush makes exactly
//! the writes durable that were complete when it was received. A write opened or flagged as
//! synchronous that reaches the disk itself counts as a write and a flush. When the cache is over
//! [`CACHE_BYTES_MAX`], its oldest writes become durable by themselves, as on a real disk.
//!
//! # What a cut keeps
//!
//! From the instant of the cut nothing more becomes durable and no operation is answered
//! successfully: what is in flight or comes later gets EIO, for ever, also through a file system
//! that is still mounted when the disk has long been restored. Whoever opens files by path after
//! the cut finds a directory in which nothing can be made.
//!
//! Each 512-byte sector of each write in the cache is then kept or dropped, by the cut's
//! [`Profile`]. A write of which some sectors are kept and some are dropped is torn. Kept sectors
//! become durable in the order of their writes, so an older version of a sector may survive a
//! newer one. All profiles come up equally often, in an order given by the seed; half of the cuts
//! come at once, half as a flush arrives, which under synchronous load is when the most is at stake.
//!
//! # What a failed flush does
//!
//! The writes in the cache are still read back but will never become durable, although the next
//! flush succeeds: what disks and kernels have been seen to do ([`CutDisk::fail_flushes`]).
//!
//! # Cleaning up
//!
//! Dropping a [`CutDisk`] unmounts and detaches everything, also during a panic. What a killed
//! test process left behind is swept by the next start.

mod disk;
mod fuse;
mod host;
mod missing;
mod store;

pub use disk::{CutDisk, Fault, Held};
pub use missing::{Missing, require_or_skip};
pub use store::{CACHE_BYTES_MAX, Counters, Cut, Profile, SECTOR_BYTES};
