//! Kinds of messages, and the lengths that each side may send.

use std::ops::Range;

use super::stream::SHARD_DESCRIPTION_BYTES;
use crate::limits::{
    ACK_BYTES_MAX, APPEND_BYTES_MAX, CONTROL_BYTES_MAX, ERROR_DETAIL_BYTES_MAX, READ_BYTES_MAX,
    SHARDS_KEPT_PER_STREAM_MAX,
};
use crate::proto::{ACK_FIXED_BYTES, APPEND_FIXED_BYTES, HEADER_BYTES, READ_FIXED_BYTES};

/// What a message is. The number is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// Client: versions and features.
    Hello = 1,
    /// Server: version, features, limits, first credit.
    Welcome = 2,
    /// Client: make a stream. Answered by [`Kind::Stream`].
    CreateStream = 3,
    /// Client: what is this stream? Answered by [`Kind::Stream`].
    DescribeStream = 4,
    /// Server: a stream and its shards.
    Stream = 5,
    /// Client: names of streams. Answered by [`Kind::StreamList`].
    ListStreams = 6,
    /// Server: names of streams.
    StreamList = 7,
    /// Client: records for a stream. Answered in an [`Kind::Ack`].
    Append = 8,
    /// Server: results of many appends.
    Ack = 9,
    /// Server: more credit.
    Credit = 10,
    /// Client: records of a shard. Answered by [`Kind::ReadResult`].
    Read = 11,
    /// Server: records of a shard.
    ReadResult = 12,
    /// Client: are you there? Answered by [`Kind::Pong`].
    Ping = 13,
    /// Server: I am.
    Pong = 14,
    /// Server: a request failed, or, with request 0, the connection did and is closed.
    Error = 15,
    /// Client: push the records of a shard. Answered by any number of [`Kind::ReadResult`], the first at once.
    Subscribe = 16,
    /// Client: more credit for the subscription of this request.
    Grant = 17,
    /// Client: end the subscription of this request. Answered by [`Kind::Unsubscribed`].
    Unsubscribe = 18,
    /// Server: the last of a subscription.
    Unsubscribed = 19,
    /// Client: other quotas for a stream. Answered by [`Kind::Stream`].
    SetQuotas = 20,
    /// Client: split a shard. Answered by [`Kind::Stream`].
    SplitShard = 21,
    /// Client: merge two shards. Answered by [`Kind::Stream`].
    MergeShards = 22,
    /// Client: move a shard to another reactor. Answered by [`Kind::Stream`].
    MoveShard = 23,
    /// Client: more or less is kept of a stream. Answered by [`Kind::Stream`].
    SetRetention = 30,
    /// Client: a stream, and all that is in it, is not wanted any more. Answered by [`Kind::Deleted`].
    DeleteStream = 31,
    /// Server: the stream is gone.
    Deleted = 32,
    /// Server: prove that you know the secret. The answer to a Hello where one is needed.
    Challenge = 48,
    /// Client: the proof. Answered by [`Kind::Proven`] and [`Kind::Welcome`].
    Proof = 49,
    /// Server: its own proof.
    Proven = 50,
}

impl Kind {
    pub(crate) fn from_number(number: u8) -> Option<Kind> {
        use Kind::*;
        [
            Hello,
            Welcome,
            CreateStream,
            DescribeStream,
            Stream,
            ListStreams,
            StreamList,
            Append,
            Ack,
            Credit,
            Read,
            ReadResult,
            Ping,
            Pong,
            Error,
            Subscribe,
            Grant,
            Unsubscribe,
            Unsubscribed,
            SetQuotas,
            SplitShard,
            MergeShards,
            MoveShard,
            SetRetention,
            DeleteStream,
            Deleted,
            Challenge,
            Proof,
            Proven,
        ]
        .into_iter()
        .find(|&kind| kind as u8 == number)
    }

    /// The fixed part of the kinds that carry frames; `None` where the fixed part is everything.
    pub(crate) fn fixed_bytes(self) -> Option<usize> {
        match self {
            Kind::Append => Some(APPEND_FIXED_BYTES),
            Kind::ReadResult => Some(READ_FIXED_BYTES),
            _ => None,
        }
    }

    /// Lengths that a client may send; `None` for what only servers send.
    pub(crate) fn client_bounds(self) -> Option<Range<usize>> {
        match self {
            Kind::Append => Some(HEADER_BYTES + APPEND_FIXED_BYTES..APPEND_BYTES_MAX + 1),
            Kind::Hello
            | Kind::CreateStream
            | Kind::DescribeStream
            | Kind::ListStreams
            | Kind::Read
            | Kind::Ping
            | Kind::Subscribe
            | Kind::Grant
            | Kind::Unsubscribe
            | Kind::SetQuotas
            | Kind::SplitShard
            | Kind::MergeShards
            | Kind::MoveShard
            | Kind::SetRetention
            | Kind::DeleteStream
            | Kind::Proof => Some(HEADER_BYTES..HEADER_BYTES + CLIENT_CONTROL_BYTES_MAX + 1),
            _ => None,
        }
    }

    /// Lengths that a server may send; `None` for what only clients send.
    pub(crate) fn server_bounds(self) -> Option<Range<usize>> {
        match self {
            Kind::ReadResult => Some(HEADER_BYTES + READ_FIXED_BYTES..READ_BYTES_MAX + 1),
            Kind::Ack => Some(HEADER_BYTES + ACK_FIXED_BYTES..ACK_BYTES_MAX + 1),
            Kind::Stream => Some(HEADER_BYTES..STREAM_BYTES_MAX + 1),
            Kind::Challenge
            | Kind::Proven
            | Kind::Welcome
            | Kind::StreamList
            | Kind::Deleted
            | Kind::Credit
            | Kind::Pong
            | Kind::Error
            | Kind::Unsubscribed => Some(HEADER_BYTES..CONTROL_BYTES_MAX + 1),
            _ => None,
        }
    }
}

/// What a client's control message may have beyond its header: a name and some numbers.
const CLIENT_CONTROL_BYTES_MAX: usize = 1024;
/// A description of the largest stream.
const STREAM_BYTES_MAX: usize = 2 << 20;

const _: () = {
    assert!(SHARDS_KEPT_PER_STREAM_MAX * SHARD_DESCRIPTION_BYTES + 1024 <= STREAM_BYTES_MAX);
    assert!(ERROR_DETAIL_BYTES_MAX + 64 <= CONTROL_BYTES_MAX);
};
