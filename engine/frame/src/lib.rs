//! Millstream's bytes: one layout for wire, memory and disk, and the native protocol.
//!
//! Nothing here performs I/O, reads a clock or starts a thread. `FORMAT.md` beside this crate draws every layout
//! byte by byte; the constants and structures here are its source.
//!
//! * [`frame`]: one record's bytes, from a producer's socket to the disk to a subscriber.
//! * [`extension`]: what a frame may carry besides: hash key, producer's number, which part it is.
//! * [`encryption`]: a frame as it is stored where it is to be encrypted, and back.
//! * [`parts`]: records of more than a frame holds: cut into parts, and joined again.
//! * [`batch`]: what one acknowledgement of the disk carries, frames grouped by shard.
//! * [`segment`]: the header, footer and trailer of a journal file.
//! * [`superblock`]: the epoch and the durable mark of a data directory.
//! * [`route`]: partition key to hash key to shard.
//! * [`Quotas`]: what a shard takes in and gives out a second.
//! * [`Retention`]: how long and how much of a stream is kept.
//! * [`proto`]: the native protocol's messages and the connection state of both ends.

#![forbid(unsafe_code)]

pub mod batch;
pub mod encryption;
pub mod extension;
pub mod frame;
pub mod id;
pub mod limits;
pub mod member;
pub mod parts;
pub mod proto;
mod quotas;
mod retention;
pub mod route;
pub mod segment;
pub mod superblock;
mod varint;

pub use extension::{Extensions, Numbered, Part};
pub use frame::{Frame, FrameError};
pub use id::{
    Epoch, JournalNumber, LogId, Position, ProducerId, RecordNumber, RequestId, SegmentNumber, Sequence, ShardId,
    StreamId,
};
pub use quotas::{QUOTAS_BYTES, Quotas, QuotasChange, Rate};
pub use retention::{Period, RETENTION_BYTES, Retention, Settings};
