//! The Kinesis API over HTTP, against any endpoint: the same load, recorder and verification as over the native protocol, so
//! that a server, an emulator and the service can be compared.
//!
//! ```text
//!   crew, one a core: schedule -> workers, one request at a time each -> pipe: a connection, made again when it has ended
//! ```
//!
//! Bodies are built and signed before their time where nobody waits for the records. A request that may have been carried out
//! is never repeated: its records are of unknown fate. The API promises no order between a connection's requests, nor within
//! one, so none is checked; numbers must rise where records are read.
//!
//! A stream's shards are numbered here over all streams of the run: so accounts are kept as over the native protocol. Shards that
//! are born during the run follow, as they are first told: they are accounted for and read back like the others. Consumers go on
//! with the shards that were there when the run began, and the result says so.

mod api;
mod base64;
mod batch;
mod born;
mod cbor;
mod consume;
mod endpoint;
mod error;
mod event;
mod pipe;
mod produce;
mod push;
mod raw;
mod readback;
mod rows;
mod sign;
mod streams;
mod traffic;
mod unanswered;
mod walk;
mod wire;
mod worker;

use std::sync::Arc;

use crate::native::Begin;

pub use batch::{Operation, RECORDS_MAX};
pub use endpoint::{Endpoint, Version};
pub use error::HttpError;
pub use produce::produce;
pub use readback::read_back;
pub use sign::Credentials;
pub use streams::{Named, Streams, Wanted, made_up, prepare, remove};
pub use wire::Wire;

/// What is asked, and where.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Where.
    pub endpoint: Arc<Endpoint>,
    /// How records are stored.
    pub operation: Operation,
    /// Requests under way on each connection that takes several, of each group of producers; others have one.
    pub inflight: Vec<u32>,
    /// Where a stream that exists is read from, if nobody produces.
    pub from: Begin,
    /// The key that streams which are written are encrypted with.
    pub encryption: Option<String>,
}

impl Asked {
    /// The version of HTTP that was agreed on.
    pub fn version(streams: &Streams) -> Version {
        if streams.takes_many { Version::Two } else { Version::One }
    }

    /// Requests under way on each connection of a group.
    pub fn inflight(&self, streams: &Streams, group: usize) -> u32 {
        if streams.takes_many { self.inflight[group] } else { 1 }
    }
}
