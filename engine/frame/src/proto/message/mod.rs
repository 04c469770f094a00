//! The messages: what each says, and its bytes. Numbers are little-endian; texts are a 16-bit length and UTF-8.

mod access;
mod append;
mod error;
mod fields;
mod handshake;
mod kind;
mod read;
mod reshard;
mod start;
mod stream;
mod subscribe;

pub(crate) use access::{Challenge, Proof, Proven};
pub use append::{Ack, AckBatch, AckResult, Append};
pub use error::{ErrorCode, Failure, Fault};
pub(crate) use fields::Control;
pub use handshake::{Credit, FEATURE_NOT_DURABLE, FEATURE_NUMBERS, FEATURE_THREADS, Hello, Reactors, Welcome};
pub(crate) use handshake::{Ping, Pong};
pub use kind::Kind;
pub use read::{Read, ReadResult};
pub use reshard::{Children, MergeShards, MoveShard, SplitShard};
pub use start::Start;
pub(crate) use stream::Deleted;
pub use stream::{
    CreateStream, DeleteStream, DescribeStream, ListStreams, SetQuotas, SetRetention, ShardDescription,
    StreamDescription, StreamList,
};
pub use subscribe::{Grant, Subscribe};
pub(crate) use subscribe::{Unsubscribe, Unsubscribed};
