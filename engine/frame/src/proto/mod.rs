//! The native protocol: binary messages over a byte stream, TCP by default on port 4570.
//!
//! ```text
//!   0        4      5     6       8            16          24
//!   +--------+------+-----+-------+------------+-----------+------------------+-------------------+
//!   | length | kind | ver |   0   |  request   | checksum  | fixed part       | frames            |
//!   +--------+------+-----+-------+------------+-----------+------------------+-------------------+
//! ```
//!
//! `length` is of the whole message. The checksum covers bytes 0..16 and the fixed part; what follows are frames, each
//! with its own. Only [`Kind::Append`] and [`Kind::ReadResult`] carry frames; the fixed part of the others is all of them.
//!
//! ```text
//!   client                                   server
//!   Hello (versions, features)        ->     (Challenge and Proof, where a secret is needed)
//!                                     <-     Welcome (version, features, limits, first credit)
//!   CreateStream | SetQuotas | SetRetention
//!   | DeleteStream | DescribeStream
//!   | ListStreams | Read | Ping      ->     <-     one answer each, by request, or Error
//!   Append (stream, records)          ->
//!   Append ...                        ->
//!                                     <-     Ack (many batches: a result a record, new credit)
//!   Subscribe (shard, start, credit)  ->
//!                                     <-     ReadResult (where it begins, and no records)
//!                                     <-     ReadResult ... (records as they become durable)
//!   Grant (more credit)               ->
//!   Unsubscribe                       ->
//!                                     <-     Unsubscribed, or Error where a subscription can't go on
//! ```
//!
//! Credit is counted in totals since the connection began, so that a grant can be repeated and never adds up twice: the
//! bytes of Append messages that a client has sent never exceed the bytes granted, nor their number the batches granted;
//! but while none is unanswered one may be sent, of whatever size.
//! Acks may overtake one another between batches, and the answer to a Read may overtake an Ack. A subscription's credit counts
//! bytes of frames in totals as well, and is the client's to grant; the request of a Grant, an Unsubscribe and all that is
//! pushed is that of the Subscribe.

mod access;
mod client;
mod decoder;
mod message;
mod server;

pub use access::{NONCE_BYTES, Nonce, SECRET_BYTES_MAX, SECRET_BYTES_MIN, SECRET_FILE_BYTES_MAX, Secret, UnfitSecret};
pub use client::{Client, ClientEvent};
pub use decoder::Span;
pub use message::{
    Ack, AckBatch, AckResult, Append, Children, CreateStream, Credit, DeleteStream, DescribeStream, ErrorCode,
    FEATURE_NOT_DURABLE, FEATURE_NUMBERS, FEATURE_THREADS, Failure, Fault, Grant, Hello, Kind, ListStreams,
    MergeShards, MoveShard, Reactors, Read, ReadResult, SetQuotas, SetRetention, ShardDescription, SplitShard, Start,
    StreamDescription, StreamList, Subscribe, Welcome,
};
pub use server::{Server, ServerEvent, ServerLimits};

use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::FrameError;
use crate::id::RequestId;
use crate::parts::RunError;

/// The version that this build speaks.
pub const VERSION: u16 = 5;

/// The default port.
pub const PORT: u16 = 4570;

/// Bytes before a message's fixed part.
pub const HEADER_BYTES: usize = 24;

/// The fixed part of [`Kind::Append`].
pub const APPEND_FIXED_BYTES: usize = 16;

/// The fixed part of [`Kind::ReadResult`].
pub const READ_FIXED_BYTES: usize = 56;

/// The part of [`Kind::Ack`] before its batches.
pub const ACK_FIXED_BYTES: usize = 24;

/// One batch in an [`Kind::Ack`], before its results.
pub const ACK_ENTRY_BYTES: usize = 16;

/// One record's result in an [`Kind::Ack`].
pub const ACK_RESULT_BYTES: usize = 16;

/// What the peer did that the protocol forbids. The connection can't go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A message kind that is not known, or not from this side, or not now.
    Kind(u8),
    /// A protocol version other than the one agreed on.
    Version(u16),
    /// A message shorter or longer than its kind allows.
    Length {
        /// Which kind.
        kind: u8,
        /// The length it claims.
        length: usize,
    },
    /// Header or fixed part differ from their checksum.
    Checksum,
    /// The fixed part does not say what its kind says.
    Malformed(&'static str),
    /// A frame's length is not one, or reaches past its message.
    Frame(FrameError),
    /// A message said how many frames it has, and has another number.
    FrameCount {
        /// What it said.
        said: usize,
    },
    /// An append's frames are not the parts of one record that they say they are.
    Parts(RunError),
    /// A record of many parts did not become whole, and others waited for its place.
    Slow,
    /// A large record came where many others wait for room already.
    Crowded,
    /// An append beyond the credit granted.
    Credit,
    /// Before the handshake only Hello is heard.
    Handshake,
    /// Whoever sent the proof doesn't know the secret.
    Access,
    /// The server did not ask for the secret that this client has.
    Unproven,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::Kind(kind) => write!(f, "message kind {kind} is not expected here"),
            Violation::Version(version) => {
                write!(f, "protocol version {version} is not spoken here; this side speaks version {VERSION}")
            }
            Violation::Length { kind, length } => write!(f, "{length} bytes are not a length of message kind {kind}"),
            Violation::Checksum => f.write_str("a message differs from its checksum"),
            Violation::Malformed(what) => write!(f, "malformed message: {what}"),
            Violation::Frame(error) => write!(f, "a frame in a message: {error}"),
            Violation::FrameCount { said } => write!(f, "a message said it has {said} frames and has another number"),
            Violation::Parts(error) => write!(f, "an append: {error}"),
            Violation::Slow => f.write_str(
                "the parts of a record took so long that others had to wait; send them without pauses between them",
            ),
            Violation::Crowded => f.write_str(
                "too many large records at once: connect again and send fewer, or give the server more memory",
            ),
            Violation::Credit => f.write_str("an append beyond the credit granted"),
            Violation::Handshake => f.write_str("the first message must be a Hello of the Millstream protocol"),
            Violation::Access => f.write_str("the other side's secret is another one; give both the same"),
            Violation::Unproven => f.write_str(
                "the server does not ask for the secret, so it need not be the one that is meant; connect without a secret, or start the server with it",
            ),
        }
    }
}

impl std::error::Error for Violation {}

/// A message's first 24 bytes, after its kind and version were checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MessageHeader {
    pub(crate) length: usize,
    pub(crate) kind: Kind,
    pub(crate) request: RequestId,
    checksum: u64,
    head: [u8; 16],
}

impl MessageHeader {
    pub(crate) fn parse(bytes: &[u8]) -> Result<MessageHeader, Violation> {
        let (head, rest) = bytes.split_first_chunk::<16>().ok_or(Violation::Malformed("a short header"))?;
        let checksum = rest.first_chunk::<8>().ok_or(Violation::Malformed("a short header"))?;
        let [l0, l1, l2, l3, kind, version, _, _, request @ ..] = *head;
        let kind = Kind::from_number(kind).ok_or(Violation::Kind(kind))?;
        if u16::from(version) != VERSION {
            return Err(Violation::Version(u16::from(version)));
        }
        Ok(MessageHeader {
            length: u32::from_le_bytes([l0, l1, l2, l3]) as usize,
            kind,
            request: RequestId(u64::from_le_bytes(request)),
            checksum: u64::from_le_bytes(*checksum),
            head: *head,
        })
    }

    pub(crate) fn verify(&self, fixed: &[u8]) -> Result<(), Violation> {
        if checksum(&self.head, fixed) == self.checksum { Ok(()) } else { Err(Violation::Checksum) }
    }
}

/// Begins a message in `out`; [`finish`] closes it. Returns where it starts.
pub(crate) fn begin(out: &mut Vec<u8>, kind: Kind, request: RequestId) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[kind as u8, VERSION as u8, 0, 0]);
    out.extend_from_slice(&request.0.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    start
}

/// Fills in length and checksum of the message that starts at `start` and whose fixed part is `fixed` bytes long.
pub(crate) fn finish(out: &mut [u8], start: usize, fixed: usize, length: usize) {
    let message = &mut out[start..];
    message[..4].copy_from_slice(&(length as u32).to_le_bytes());
    let (head, rest) = message.split_first_chunk::<16>().expect("begin wrote a header");
    let sum = checksum(head, &rest[8..8 + fixed]);
    message[16..24].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(head: &[u8; 16], fixed: &[u8]) -> u64 {
    xxh3_64_with_seed(fixed, xxh3_64_with_seed(head, 0))
}

#[cfg(test)]
mod tests;
