//! Why a request, a record or a connection was refused.

use std::fmt;
use std::ops::Range;

use super::fields::{Control, FieldsOf, put_text};
use super::kind::Kind;
use crate::id::Sequence;
use crate::limits::ERROR_DETAIL_BYTES_MAX;
use crate::proto::Violation;

/// Who has to act on a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Whoever asked: the same fails again.
    Caller,
    /// Nobody: there is no room now. The same may succeed later.
    Throttled,
    /// The network, or a server that has stopped: the same, sent again, may succeed on another connection.
    Connection,
    /// The server's disk.
    Storage,
    /// Whoever wrote the server or the client, or runs versions of them that don't go together.
    Bug,
}

/// Why a request, a record or a connection was refused. The number is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum ErrorCode {
    /// The client broke the protocol, or the server is newer and says what this one does not know; the connection ends.
    Protocol = 1,
    /// The caller: no such stream.
    UnknownStream = 2,
    /// The caller: a stream of that name exists, with other settings.
    StreamExists = 3,
    /// The caller: a value out of its bounds.
    InvalidArgument = 4,
    /// The caller: the stream has no such shard.
    UnknownShard = 5,
    /// The caller: a sequence number that was never given.
    UnknownSequence = 6,
    /// The record differed from its checksum when it arrived. It may be sent again.
    Checksum = 7,
    /// Throttled: the disk budget is used up. Try again when space was freed.
    DiskFull = 8,
    /// Storage: a write failed, and appends are refused until a restart; or where records lie can't be read until then.
    StorageFailed = 9,
    /// Storage: these records are damaged on disk; the others are readable. [`Failure::damaged`] says which they are.
    Damaged = 10,
    /// Throttled: too many connections or requests at once. Try again.
    Busy = 11,
    /// The server is shutting down. Connect again.
    ShuttingDown = 12,
    /// Throttled: the shard takes in so many bytes a second. Try again later.
    WriteBytesExceeded = 13,
    /// Throttled: the shard takes in so many records a second. Try again later.
    WriteRecordsExceeded = 14,
    /// Throttled: the shard gives so many bytes a second to those who read. Try again later.
    ReadBytesExceeded = 15,
    /// Throttled: the shard answers so many reads a second. Try again later.
    ReadsExceeded = 16,
    /// Throttled: the shard is being split, merged or moved, and takes nothing in meanwhile. Send the record again. Or it is not
    /// where it was: ask again, and subscribe again from the number that comes next.
    Resharding = 17,
    /// The caller: the stream, or the data directory, has all the shards that it may have.
    TooManyShards = 18,
    /// Throttled: a lower number of this producer was refused in the shard. Send again from that one on.
    OutOfOrder = 30,
    /// Not stored again: it was stored before, and the sequence number that it got is no longer known.
    StoredBefore = 31,
    /// The caller: it is not stored, and a higher number of this producer is, so that it can't be stored in its order.
    NumberPassed = 32,
    /// The caller did not prove that it knows the server's secret; the connection ends.
    AccessDenied = 35,
    /// Storage: the key that a stream is, or records are, encrypted with is not among the server's. All is as it was; try again
    /// once it is there.
    KeyMissing = 36,
    /// The caller speaks in clear where TLS alone is taken; the connection ends.
    TlsRequired = 37,
}

impl ErrorCode {
    /// Who has to act.
    pub fn fault(self) -> Fault {
        match self {
            // No caller of a client can do anything about what it said.
            ErrorCode::Protocol => Fault::Bug,
            ErrorCode::UnknownStream
            | ErrorCode::StreamExists
            | ErrorCode::InvalidArgument
            | ErrorCode::UnknownShard
            | ErrorCode::UnknownSequence
            | ErrorCode::TooManyShards
            | ErrorCode::StoredBefore
            | ErrorCode::NumberPassed
            | ErrorCode::AccessDenied
            | ErrorCode::TlsRequired => Fault::Caller,
            ErrorCode::DiskFull
            | ErrorCode::Busy
            | ErrorCode::WriteBytesExceeded
            | ErrorCode::WriteRecordsExceeded
            | ErrorCode::ReadBytesExceeded
            | ErrorCode::ReadsExceeded
            | ErrorCode::Resharding
            | ErrorCode::OutOfOrder => Fault::Throttled,
            ErrorCode::StorageFailed | ErrorCode::Damaged | ErrorCode::KeyMissing => Fault::Storage,
            // The client made the checksum of what it was given: the record was changed on its way.
            ErrorCode::ShuttingDown | ErrorCode::Checksum => Fault::Connection,
        }
    }

    /// Whether the same may succeed later: at once, after a while, or after a restart, which ends
    /// [`ErrorCode::StorageFailed`], or a key's return.
    pub fn may_pass(self) -> bool {
        match self.fault() {
            Fault::Throttled | Fault::Connection => true,
            Fault::Storage => self != ErrorCode::Damaged,
            Fault::Caller | Fault::Bug => false,
        }
    }

    /// Whether a read was held up by what its shard gives a second: it may be asked again soon.
    pub fn is_read_quota(self) -> bool {
        matches!(self, ErrorCode::ReadBytesExceeded | ErrorCode::ReadsExceeded)
    }

    /// The code of a number; numbers of a newer server count as [`ErrorCode::Protocol`].
    pub fn from_number(number: u16) -> ErrorCode {
        ErrorCode::ALL.into_iter().find(|&code| code as u16 == number).unwrap_or(ErrorCode::Protocol)
    }

    const ALL: [ErrorCode; 24] = {
        use ErrorCode::*;
        [
            Protocol,
            UnknownStream,
            StreamExists,
            InvalidArgument,
            UnknownShard,
            UnknownSequence,
            Checksum,
            DiskFull,
            StorageFailed,
            Damaged,
            Busy,
            ShuttingDown,
            WriteBytesExceeded,
            WriteRecordsExceeded,
            ReadBytesExceeded,
            ReadsExceeded,
            Resharding,
            TooManyShards,
            OutOfOrder,
            StoredBefore,
            NumberPassed,
            AccessDenied,
            KeyMissing,
            TlsRequired,
        ]
    };
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ErrorCode::Protocol => "protocol violation",
            ErrorCode::UnknownStream => "unknown stream",
            ErrorCode::StreamExists => "stream exists",
            ErrorCode::InvalidArgument => "invalid argument",
            ErrorCode::UnknownShard => "unknown shard",
            ErrorCode::UnknownSequence => "unknown sequence number",
            ErrorCode::Checksum => "checksum mismatch",
            ErrorCode::DiskFull => "the disk is full, or its budget used up",
            ErrorCode::StorageFailed => "storage failed",
            ErrorCode::Damaged => "damaged on disk",
            ErrorCode::Busy => "busy",
            ErrorCode::ShuttingDown => "shutting down",
            ErrorCode::WriteBytesExceeded => "the shard's bytes a second are used up",
            ErrorCode::WriteRecordsExceeded => "the shard's records a second are used up",
            ErrorCode::ReadBytesExceeded => "the shard's read bytes a second are used up",
            ErrorCode::ReadsExceeded => "the shard's reads a second are used up",
            ErrorCode::Resharding => "the shard is being split, merged or moved",
            ErrorCode::TooManyShards => "too many shards",
            ErrorCode::OutOfOrder => "a lower number of the producer was refused before it",
            ErrorCode::StoredBefore => "stored before, its sequence number is no longer known",
            ErrorCode::NumberPassed => "a higher number of the producer is stored already",
            ErrorCode::KeyMissing => "the key that it is encrypted with is not there",
            ErrorCode::AccessDenied => "access denied",
            ErrorCode::TlsRequired => "TLS alone is taken here",
        })
    }
}

/// Why a request failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The number that programs go by.
    pub code: ErrorCode,
    /// What happened and what to do, for people.
    pub detail: String,
    /// With [`ErrorCode::Damaged`], and with no other: the numbers that can't be read. They begin where was asked for, or later,
    /// with nothing between; whoever does without them goes on at their end. Where more may be damaged than is known, it is one
    /// number.
    pub damaged: Option<Range<Sequence>>,
}

impl Failure {
    /// One that is not about damaged records.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Failure {
        Failure { code, detail: detail.into(), damaged: None }
    }

    /// These numbers are damaged.
    pub fn damaged(numbers: Range<Sequence>, detail: impl Into<String>) -> Failure {
        debug_assert!(!numbers.is_empty());
        Failure { code: ErrorCode::Damaged, detail: detail.into(), damaged: Some(numbers) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Failure {}

impl Control for Failure {
    const KIND: Kind = Kind::Error;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.code as u16).to_le_bytes());
        let Range { start, end } = self.damaged.clone().unwrap_or_default();
        out.extend_from_slice(&start.0.to_le_bytes());
        out.extend_from_slice(&end.0.to_le_bytes());
        put_text(out, &self.detail[..self.detail.floor_char_boundary(ERROR_DETAIL_BYTES_MAX)]);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Failure, Violation> {
        let code = ErrorCode::from_number(fields.u16()?);
        let damaged = Sequence(fields.u64()?)..Sequence(fields.u64()?);
        let is_told = damaged != Range::default();
        if is_told && damaged.is_empty() {
            return Err(Violation::Malformed("damaged numbers that are none"));
        }
        let detail = fields.text(ERROR_DETAIL_BYTES_MAX)?;
        Ok(Failure { code, detail, damaged: is_told.then_some(damaged) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_is_not_tried_again() {
        let of = |fault: Fault| ErrorCode::ALL.into_iter().filter(move |code| code.fault() == fault);
        assert!(of(Fault::Caller).chain(of(Fault::Bug)).all(|code| !code.may_pass()));
        assert!(of(Fault::Throttled).chain(of(Fault::Connection)).all(ErrorCode::may_pass));
        // A restart brings storage back, and what is damaged stays damaged.
        assert!(of(Fault::Storage).map(|code| (code, code.may_pass())).eq([
            (ErrorCode::StorageFailed, true),
            (ErrorCode::Damaged, false),
            (ErrorCode::KeyMissing, true)
        ]));
        // A code of a newer server is nobody's who asked, and is not asked again.
        assert_eq!(ErrorCode::from_number(u16::MAX).fault(), Fault::Bug);
        // The client made the checksum, and what a caller gives has none: it was changed on its way.
        assert_eq!(ErrorCode::Checksum.fault(), Fault::Connection);
        assert!(ErrorCode::ALL.into_iter().all(|code| ErrorCode::from_number(code as u16) == code));
    }
}
