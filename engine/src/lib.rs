//! The log: shards, journal, commit, recovery and reads, on one reactor a core.
//!
//! Bytes, shards, sequence numbers and time; no HTTP, no JSON. Disk, network, clock and randomness come in through
//! [`io::Io`]: the ring in production, faults in simulation, the same code in both.
//!
//! ```text
//!   connection -> router -> intake (a queue a shard) -> journal (commit batches) -> durable -> acks
//!        \-> reads (tail cache, index, footers) <-----------/
//!                  \-> subscriptions, as records become durable
//! ```
//!
//! In the order of a record: `reactor` is the loop; `connection` is one client; `router` finds the shard of each
//! record; `intake` holds records until their batch, `large` those in parts until they are whole as well;
//! `journal` writes batches and seals segments; `producers` knows what is sent again; `appends` gathers results; `reads` serves what is durable, `subscriptions` unasked, as far as `scheduler`
//! gives it the disk; `recovery`
//! finds it all again; `catalog` knows streams and shards; `encryption` has the keys of streams that are encrypted; `handle` is how other threads ask; `limits` bounds everything.

#![forbid(unsafe_code)]

mod appends;
mod backlog;
mod buckets;
mod catalog;
mod clock;
mod compaction;
mod connection;
mod damage;
pub mod demand;
pub mod encryption;
mod exchange;
mod gates;
mod handle;
mod holdings;
#[cfg(test)]
mod inert;
pub mod inspect;
mod intake;
mod journal;
mod large;
pub mod limits;
mod open_files;
mod outgoing;
mod owners;
mod peers;
mod producers;
mod reactor;
mod reads;
mod recovery;
mod router;
mod scheduler;
mod shards;
mod slots;
mod space;
mod subscriptions;
mod superblock;
mod token;
mod trims;
pub mod vitals;
mod watermark;

pub use clock::Time;
pub use compaction::Compacted;
pub use damage::{Damage, DamagedRecords, DamagedStretch};
pub use handle::{Answer, Call, Counts, Follower, Handle, Hear, Outcome, QueueFull, Stream};
pub use reactor::{Config, Reactor, Stats, Status};
pub use recovery::{Cut, OpenError, Recovered, Seat, open};
