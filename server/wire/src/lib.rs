//! The Kinesis Data Streams API as bytes: the shapes of its requests and answers, its errors, sequence numbers and
//! iterators. Nothing here knows sockets, clocks or the log.

#![forbid(unsafe_code)]

mod base64;
pub mod codec;
mod digits;
pub mod error;
pub mod event_stream;
pub mod iterator;
pub mod metric_data;
pub mod name;
mod pieces;
pub mod sequence;
pub mod shape;
pub mod sigv4;
mod token;
pub mod validate;
mod values;

pub use codec::Codec;
pub use error::{Error, ErrorKind};
pub use pieces::{Item, PIECE_BYTES, Pieces};
