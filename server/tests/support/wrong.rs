//! What a ledger finds that must not be.

use std::fmt;

use frame::{Sequence, ShardId, StreamId};

use super::record::Identity;

/// What is not as it must be.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// An acknowledged record is not at its place.
    Lost { shard: ShardId, sequence: Sequence, was: Identity },
    /// A record that a reader had seen is not there any more, or is another one.
    Vanished { shard: ShardId, sequence: Sequence },
    /// Records that were compared before are not what they were.
    Rewritten { shard: ShardId, sequence: Sequence },
    /// A numbered record was told to be at two places.
    Moved { identity: Identity, was: (ShardId, Sequence), now: (ShardId, Sequence) },
    /// A shard began at a number, and begins at a lower one.
    TrimFell { shard: ShardId, from: Sequence, to: Sequence },
    /// Less is left of a stream than its limit lets it have.
    OverTrimmed { stream: StreamId, kept: u64, limit: u64 },
    /// A sequence number that another record had was given to this one.
    GivenAgain { shard: ShardId, sequence: Sequence, is: Identity },
    /// A record's bytes are not those that were sent.
    Garbled { shard: ShardId, sequence: Sequence },
    /// A record that must not be there.
    Unexpected { shard: ShardId, sequence: Sequence, is: Identity, why: &'static str },
    /// The order of a connection, or of numbers, is broken.
    Disorder { shard: ShardId, sequence: Sequence, why: String },
    /// A stream is not what it was.
    Stream { name: String },
    /// The server refuses records as damaged.
    Damaged { shard: ShardId, from: Sequence, why: String },
    /// The server does not give the records out.
    Unreadable { shard: ShardId, from: Sequence, why: String },
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Lost { shard, sequence, was } => {
                write!(f, "shard {shard}, {sequence}: {was} was acknowledged there and is lost")
            }
            Wrong::Vanished { shard, sequence } => {
                write!(f, "shard {shard}, {sequence}: a reader had been given a record that is not there any more")
            }
            Wrong::Rewritten { shard, sequence } => {
                write!(f, "shard {shard}, {sequence}: what was there when it was compared is not there any more")
            }
            Wrong::Moved { identity, was, now } => {
                let ((from, at), (shard, sequence)) = (was, now);
                write!(f, "{identity} is at {at} of shard {from}, and its retry got {sequence} of shard {shard}")
            }
            Wrong::TrimFell { shard, from, to } => {
                write!(f, "shard {shard} began at {from}, and now at {to}")
            }
            Wrong::OverTrimmed { stream, kept, limit } => {
                write!(f, "of stream {stream} {kept} bytes are left, and it may have {limit}")
            }
            Wrong::GivenAgain { shard, sequence, is } => {
                write!(f, "shard {shard}, {sequence}: {is} was given the number of another record")
            }
            Wrong::Garbled { shard, sequence } => write!(f, "shard {shard}, {sequence}: not the bytes that were sent"),
            Wrong::Unexpected { shard, sequence, is, why } => write!(f, "shard {shard}, {sequence}: {is}, {why}"),
            Wrong::Disorder { shard, sequence, why } => write!(f, "shard {shard}, {sequence}: {why}"),
            Wrong::Stream { name } => write!(f, "stream {name} is not the one that was made"),
            Wrong::Damaged { shard, from, why } => write!(f, "shard {shard} is damaged from {from} on: {why}"),
            Wrong::Unreadable { shard, from, why } => write!(f, "shard {shard} can't be read from {from} on: {why}"),
        }
    }
}

impl std::error::Error for Wrong {}
