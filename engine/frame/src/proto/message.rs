//! The messages: what each says, and its bytes. Numbers are little-endian; texts are a 16-bit length and UTF-8.

use std::fmt;
use std::ops::Range;

use super::{
    ACK_ENTRY_BYTES, ACK_FIXED_BYTES, ACK_RESULT_BYTES, APPEND_FIXED_BYTES, HEADER_BYTES, READ_FIXED_BYTES, Violation,
    begin, finish,
};
use crate::id::{RequestId, Sequence, ShardId, StreamId};
use crate::limits::{
    ACK_BYTES_MAX, APPEND_BYTES_MAX, CONTROL_BYTES_MAX, ERROR_DETAIL_BYTES_MAX, READ_BYTES_MAX, STREAM_NAME_BYTES_MAX,
};

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
            Kind::Hello | Kind::CreateStream | Kind::DescribeStream | Kind::ListStreams | Kind::Read | Kind::Ping => {
                Some(HEADER_BYTES..HEADER_BYTES + CLIENT_CONTROL_BYTES_MAX + 1)
            }
            _ => None,
        }
    }

    /// Lengths that a server may send; `None` for what only clients send.
    pub(crate) fn server_bounds(self) -> Option<Range<usize>> {
        match self {
            Kind::ReadResult => Some(HEADER_BYTES + READ_FIXED_BYTES..READ_BYTES_MAX + 1),
            Kind::Ack => Some(HEADER_BYTES + ACK_FIXED_BYTES..ACK_BYTES_MAX + 1),
            Kind::Stream => Some(HEADER_BYTES..STREAM_BYTES_MAX + 1),
            Kind::Welcome | Kind::StreamList | Kind::Credit | Kind::Pong | Kind::Error => {
                Some(HEADER_BYTES..CONTROL_BYTES_MAX + 1)
            }
            _ => None,
        }
    }
}

/// What a client's control message may have beyond its header: a name and some numbers.
const CLIENT_CONTROL_BYTES_MAX: usize = 1024;
/// A description of the largest stream.
const STREAM_BYTES_MAX: usize = 1 << 20;
const SHARD_DESCRIPTION_BYTES: usize = 56;

const _: () = {
    assert!(crate::limits::SHARDS_PER_STREAM_MAX * SHARD_DESCRIPTION_BYTES + 1024 <= STREAM_BYTES_MAX);
    assert!(ERROR_DETAIL_BYTES_MAX + 64 <= CONTROL_BYTES_MAX);
};

/// The first eight bytes of a Hello, so that another protocol's client is told apart.
const HELLO_MAGIC: u64 = u64::from_le_bytes(*b"MSNATIVE");

/// Why a request, a record or a connection was refused. The number is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum ErrorCode {
    /// The caller broke the protocol; the connection ends.
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
    /// The caller: the record differs from its checksum.
    Checksum = 7,
    /// Throttled: the disk budget is used up. Try again when space was freed.
    DiskFull = 8,
    /// Storage: a write failed; appends are refused until a restart.
    StorageFailed = 9,
    /// Storage: these records are damaged on disk; the others are readable.
    Damaged = 10,
    /// Throttled: too many connections or requests at once. Try again.
    Busy = 11,
    /// The server is shutting down. Connect again.
    ShuttingDown = 12,
}

impl ErrorCode {
    /// The code of a number; numbers of a newer server count as [`ErrorCode::Protocol`].
    pub fn from_number(number: u16) -> ErrorCode {
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
        ]
        .into_iter()
        .find(|&code| code as u16 == number)
        .unwrap_or(Protocol)
    }
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
            ErrorCode::DiskFull => "disk budget used up",
            ErrorCode::StorageFailed => "storage failed",
            ErrorCode::Damaged => "damaged on disk",
            ErrorCode::Busy => "busy",
            ErrorCode::ShuttingDown => "shutting down",
        })
    }
}

/// Client's first message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The oldest version that it speaks.
    pub version_min: u16,
    /// The newest version that it speaks.
    pub version_max: u16,
    /// Features that it would use, a bit each. None is defined in version 1.
    pub features: u64,
}

/// Server's answer to a Hello.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Welcome {
    /// The version that both will speak.
    pub version: u16,
    /// Features that both will use.
    pub features: u64,
    /// Which life of the data directory answers.
    pub epoch: u64,
    /// The most bytes of one Append message, headers included.
    pub append_bytes_max: u32,
    /// The most records in one Append message.
    pub append_records_max: u32,
    /// The first credit.
    pub credit: Credit,
}

/// Totals since the connection began of what the client may have sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Credit {
    /// Bytes of Append messages.
    pub bytes: u64,
    /// Append messages.
    pub batches: u64,
}

/// Make a stream of shards with equal hash ranges. Idempotent for equal settings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateStream {
    /// 1 to 128 of `a-z A-Z 0-9 _ . -`.
    pub name: String,
    /// How many shards.
    pub shards: u32,
}

/// Ask for a stream by name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribeStream {
    /// Its name.
    pub name: String,
}

/// A stream and its shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamDescription {
    /// What Append and Read name it by.
    pub stream: StreamId,
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// Its shards, by hash range.
    pub shards: Vec<ShardDescription>,
}

/// One shard of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardDescription {
    /// What Read names it by.
    pub shard: ShardId,
    /// The first hash key that is routed to it.
    pub hash_start: u128,
    /// The last one.
    pub hash_end: u128,
    /// The oldest sequence number that may be read.
    pub trim: Sequence,
    /// The number after the newest durable record.
    pub tip: Sequence,
}

/// Ask for names of streams.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListStreams {
    /// Names after this one, in order; empty for the first.
    pub after: String,
    /// At most so many.
    pub limit: u32,
}

/// Names of streams, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamList {
    /// The names.
    pub names: Vec<String>,
    /// Whether there are more after the last.
    pub more: bool,
}

/// The fixed part of an Append; its frames follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Append {
    /// Where the records go.
    pub stream: StreamId,
    /// How many frames follow.
    pub records: u32,
}

/// Ask for records of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// The stream.
    pub stream: StreamId,
    /// One of its shards.
    pub shard: ShardId,
    /// The first number wanted; what recovery skipped is passed over.
    pub from: Sequence,
    /// At most so many bytes of frames, but always one frame if there is one.
    pub bytes_max: u32,
}

/// The fixed part of a ReadResult; its frames follow, as they lie on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadResult {
    /// The shard.
    pub shard: ShardId,
    /// How many frames follow.
    pub records: u32,
    /// What to ask for next.
    pub next: Sequence,
    /// The number after the newest durable record.
    pub tip: Sequence,
    /// When the newest record arrived, in milliseconds since 1970.
    pub tip_arrival_ms: u64,
}

/// One record's result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckResult {
    /// On stable storage, under this number.
    Durable(ShardId, Sequence),
    /// Refused; it used no number.
    Refused(ErrorCode),
}

const REFUSED_SHARD: u32 = u32::MAX;

/// Writes an Ack with the results of one or more batches.
pub struct Ack<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    batches: u32,
}

impl<'a> Ack<'a> {
    /// Begins an Ack at the end of `out`, with the credit that it grants.
    pub fn begin(out: &'a mut Vec<u8>, credit: Credit) -> Ack<'a> {
        let start = begin(out, Kind::Ack, RequestId(0));
        out.extend_from_slice(&credit.bytes.to_le_bytes());
        out.extend_from_slice(&credit.batches.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        Ack { out, start, batches: 0 }
    }

    /// Bytes of the message so far.
    pub fn length(&self) -> usize {
        self.out.len() - self.start
    }

    /// Whether a batch of so many results fits the largest message.
    pub fn fits(&self, results: usize) -> bool {
        self.length() + ACK_ENTRY_BYTES + results * ACK_RESULT_BYTES <= ACK_BYTES_MAX
    }

    /// Adds one batch's results, each with the index of its record in the batch.
    pub fn batch(&mut self, request: RequestId, results: impl ExactSizeIterator<Item = (u32, AckResult)>) {
        self.out.extend_from_slice(&request.0.to_le_bytes());
        self.out.extend_from_slice(&(results.len() as u32).to_le_bytes());
        self.out.extend_from_slice(&[0; 4]);
        for (index, result) in results {
            let (shard, number) = match result {
                AckResult::Durable(shard, sequence) => (shard.0, sequence.0),
                AckResult::Refused(code) => (REFUSED_SHARD, u64::from(code as u16)),
            };
            let mut row = [0; ACK_RESULT_BYTES];
            row[..4].copy_from_slice(&index.to_le_bytes());
            row[4..8].copy_from_slice(&shard.to_le_bytes());
            row[8..].copy_from_slice(&number.to_le_bytes());
            self.out.extend_from_slice(&row);
        }
        self.batches += 1;
    }

    /// Closes the message.
    pub fn finish(self) {
        let at = self.start + HEADER_BYTES + 16;
        self.out[at..at + 4].copy_from_slice(&self.batches.to_le_bytes());
        let length = self.length();
        finish(self.out, self.start, length - HEADER_BYTES, length);
    }
}

/// The results of one batch, as they came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckBatch<'a> {
    /// Which Append.
    pub request: RequestId,
    rows: &'a [u8],
}

impl<'a> AckBatch<'a> {
    /// How many results.
    pub fn count(&self) -> usize {
        self.rows.len() / ACK_RESULT_BYTES
    }

    /// Index of the record in its batch, and its result.
    pub fn results(&self) -> impl Iterator<Item = (u32, AckResult)> + 'a {
        self.rows.chunks_exact(ACK_RESULT_BYTES).map(|row| {
            let mut fields = Fields(row);
            let (index, shard, number) = (fields.u32(), fields.u32(), fields.u64());
            let (index, shard, number) = (index.unwrap_or(0), shard.unwrap_or(0), number.unwrap_or(0));
            let result = match shard {
                REFUSED_SHARD => AckResult::Refused(ErrorCode::from_number(number as u16)),
                shard => AckResult::Durable(ShardId(shard), Sequence(number)),
            };
            (index, result)
        })
    }

    /// The credit and the batches of an Ack's fixed part.
    pub(crate) fn decode(fixed: &'a [u8]) -> Result<(Credit, AckBatches<'a>), Violation> {
        let mut fields = Fields(fixed);
        let credit = Credit { bytes: fields.u64()?, batches: fields.u64()? };
        let left = fields.u32()?;
        fields.u32()?;
        Ok((credit, AckBatches { left, fields }))
    }
}

/// The batches of an Ack, one by one.
#[derive(Debug)]
pub(crate) struct AckBatches<'a> {
    left: u32,
    fields: Fields<'a>,
}

impl<'a> AckBatches<'a> {
    pub(crate) fn next(&mut self) -> Result<Option<AckBatch<'a>>, Violation> {
        let Some(left) = self.left.checked_sub(1) else {
            return self.fields.end().map(|()| None);
        };
        self.left = left;
        let request = RequestId(self.fields.u64()?);
        let count = self.fields.u32()? as usize;
        self.fields.u32()?;
        let rows = self.fields.bytes(count.saturating_mul(ACK_RESULT_BYTES))?;
        Ok(Some(AckBatch { request, rows }))
    }
}

/// Why a request failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The number that programs go by.
    pub code: ErrorCode,
    /// What happened and what to do, for people.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Failure {}

/// Reads numbers and texts off a fixed part.
#[derive(Debug)]
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Violation> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(Violation::Malformed("it ends too soon"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let (bytes, rest) = self.0.split_first_chunk::<N>().ok_or(Violation::Malformed("it ends too soon"))?;
        self.0 = rest;
        Ok(*bytes)
    }

    fn u16(&mut self) -> Result<u16, Violation> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, Violation> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Violation> {
        self.array().map(u64::from_le_bytes)
    }

    fn u128(&mut self) -> Result<u128, Violation> {
        self.array().map(u128::from_le_bytes)
    }

    fn text(&mut self, bytes_max: usize) -> Result<String, Violation> {
        let length = usize::from(self.u16()?);
        if length > bytes_max {
            return Err(Violation::Malformed("a text longer than allowed"));
        }
        let text = std::str::from_utf8(self.bytes(length)?);
        text.map(str::to_owned).map_err(|_| Violation::Malformed("a text that is not UTF-8"))
    }

    fn end(&self) -> Result<(), Violation> {
        if self.0.is_empty() { Ok(()) } else { Err(Violation::Malformed("more bytes than its kind has")) }
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let text = &text.as_bytes()[..text.floor_char_boundary(usize::from(u16::MAX))];
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text);
}

/// A message whose fixed part is all of it.
pub(crate) trait Control: Sized {
    const KIND: Kind;

    fn put(&self, out: &mut Vec<u8>);

    fn take(fields: &mut FieldsOf<'_>) -> Result<Self, Violation>;

    fn encode(&self, out: &mut Vec<u8>, request: RequestId) {
        let start = begin(out, Self::KIND, request);
        self.put(out);
        let length = out.len() - start;
        finish(out, start, length - HEADER_BYTES, length);
    }

    fn decode(fixed: &[u8]) -> Result<Self, Violation> {
        let mut fields = FieldsOf(Fields(fixed));
        let message = Self::take(&mut fields)?;
        fields.0.end()?;
        Ok(message)
    }
}

/// Hides the reader's methods from other modules, which only hand it on.
pub(crate) struct FieldsOf<'a>(Fields<'a>);

impl Control for Hello {
    const KIND: Kind = Kind::Hello;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&HELLO_MAGIC.to_le_bytes());
        out.extend_from_slice(&self.version_min.to_le_bytes());
        out.extend_from_slice(&self.version_max.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.features.to_le_bytes());
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Hello, Violation> {
        if fields.u64()? != HELLO_MAGIC {
            return Err(Violation::Handshake);
        }
        let (version_min, version_max) = (fields.u16()?, fields.u16()?);
        fields.u32()?;
        Ok(Hello { version_min, version_max, features: fields.u64()? })
    }
}

impl Control for Welcome {
    const KIND: Kind = Kind::Welcome;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&[0; 6]);
        for number in [self.features, self.epoch, self.credit.bytes, self.credit.batches] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.append_bytes_max.to_le_bytes());
        out.extend_from_slice(&self.append_records_max.to_le_bytes());
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Welcome, Violation> {
        let version = fields.u16()?;
        fields.array::<6>()?;
        let (features, epoch) = (fields.u64()?, fields.u64()?);
        let credit = Credit { bytes: fields.u64()?, batches: fields.u64()? };
        let (append_bytes_max, append_records_max) = (fields.u32()?, fields.u32()?);
        Ok(Welcome { version, features, epoch, append_bytes_max, append_records_max, credit })
    }
}

impl Control for Credit {
    const KIND: Kind = Kind::Credit;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes.to_le_bytes());
        out.extend_from_slice(&self.batches.to_le_bytes());
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Credit, Violation> {
        Ok(Credit { bytes: fields.u64()?, batches: fields.u64()? })
    }
}

impl Control for CreateStream {
    const KIND: Kind = Kind::CreateStream;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.shards.to_le_bytes());
        put_text(out, &self.name);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<CreateStream, Violation> {
        let shards = fields.u32()?;
        Ok(CreateStream { shards, name: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}

impl Control for DescribeStream {
    const KIND: Kind = Kind::DescribeStream;

    fn put(&self, out: &mut Vec<u8>) {
        put_text(out, &self.name);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<DescribeStream, Violation> {
        Ok(DescribeStream { name: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}

impl Control for StreamDescription {
    const KIND: Kind = Kind::Stream;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream.0.to_le_bytes());
        out.extend_from_slice(&(self.shards.len() as u32).to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        put_text(out, &self.name);
        for shard in &self.shards {
            out.extend_from_slice(&shard.shard.0.to_le_bytes());
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(&shard.hash_start.to_le_bytes());
            out.extend_from_slice(&shard.hash_end.to_le_bytes());
            out.extend_from_slice(&shard.trim.0.to_le_bytes());
            out.extend_from_slice(&shard.tip.0.to_le_bytes());
        }
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<StreamDescription, Violation> {
        let stream = StreamId(fields.u32()?);
        let count = fields.u32()? as usize;
        let created_ms = fields.u64()?;
        let name = fields.text(STREAM_NAME_BYTES_MAX)?;
        if count.saturating_mul(SHARD_DESCRIPTION_BYTES) != fields.0.len() {
            return Err(Violation::Malformed("another number of shards than it says"));
        }
        let mut shards = Vec::with_capacity(count);
        for _ in 0..count {
            let shard = ShardId(fields.u32()?);
            fields.u32()?;
            let (hash_start, hash_end) = (fields.u128()?, fields.u128()?);
            let (trim, tip) = (Sequence(fields.u64()?), Sequence(fields.u64()?));
            shards.push(ShardDescription { shard, hash_start, hash_end, trim, tip });
        }
        Ok(StreamDescription { stream, name, created_ms, shards })
    }
}

impl Control for ListStreams {
    const KIND: Kind = Kind::ListStreams;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.limit.to_le_bytes());
        put_text(out, &self.after);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<ListStreams, Violation> {
        let limit = fields.u32()?;
        Ok(ListStreams { limit, after: fields.text(STREAM_NAME_BYTES_MAX)? })
    }
}

impl Control for StreamList {
    const KIND: Kind = Kind::StreamList;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.names.len() as u32).to_le_bytes());
        out.extend_from_slice(&u32::from(self.more).to_le_bytes());
        self.names.iter().for_each(|name| put_text(out, name));
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<StreamList, Violation> {
        let count = fields.u32()? as usize;
        let more = fields.u32()? != 0;
        if count > fields.0.len() {
            return Err(Violation::Malformed("more names than bytes"));
        }
        let names = (0..count).map(|_| fields.text(STREAM_NAME_BYTES_MAX)).collect::<Result<_, _>>()?;
        Ok(StreamList { names, more })
    }
}

impl Control for Read {
    const KIND: Kind = Kind::Read;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.stream.0.to_le_bytes());
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&self.from.0.to_le_bytes());
        out.extend_from_slice(&self.bytes_max.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Read, Violation> {
        let (stream, shard) = (StreamId(fields.u32()?), ShardId(fields.u32()?));
        let (from, bytes_max) = (Sequence(fields.u64()?), fields.u32()?);
        fields.u32()?;
        Ok(Read { stream, shard, from, bytes_max })
    }
}

impl Control for Failure {
    const KIND: Kind = Kind::Error;

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.code as u16).to_le_bytes());
        put_text(out, &self.detail[..self.detail.floor_char_boundary(ERROR_DETAIL_BYTES_MAX)]);
    }

    fn take(FieldsOf(fields): &mut FieldsOf<'_>) -> Result<Failure, Violation> {
        let code = ErrorCode::from_number(fields.u16()?);
        Ok(Failure { code, detail: fields.text(ERROR_DETAIL_BYTES_MAX)? })
    }
}

/// A message that says nothing but its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ping;

impl Control for Ping {
    const KIND: Kind = Kind::Ping;

    fn put(&self, _out: &mut Vec<u8>) {}

    fn take(_fields: &mut FieldsOf<'_>) -> Result<Ping, Violation> {
        Ok(Ping)
    }
}

/// The answer to a [`Ping`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pong;

impl Control for Pong {
    const KIND: Kind = Kind::Pong;

    fn put(&self, _out: &mut Vec<u8>) {}

    fn take(_fields: &mut FieldsOf<'_>) -> Result<Pong, Violation> {
        Ok(Pong)
    }
}

impl Append {
    /// Begins an Append at the end of `out`; frames are appended after it, then [`Append::finish`] closes it.
    pub fn begin(out: &mut Vec<u8>, request: RequestId) -> usize {
        let start = begin(out, Kind::Append, request);
        out.extend_from_slice(&[0; APPEND_FIXED_BYTES]);
        start
    }

    /// Closes the message that began at `start`.
    pub fn finish(&self, out: &mut [u8], start: usize) {
        let fixed = &mut out[start + HEADER_BYTES..start + HEADER_BYTES + APPEND_FIXED_BYTES];
        fixed[..4].copy_from_slice(&self.stream.0.to_le_bytes());
        fixed[4..8].copy_from_slice(&self.records.to_le_bytes());
        let length = out.len() - start;
        finish(out, start, APPEND_FIXED_BYTES, length);
    }

    pub(crate) fn decode(fixed: &[u8]) -> Result<Append, Violation> {
        let mut fields = Fields(fixed);
        Ok(Append { stream: StreamId(fields.u32()?), records: fields.u32()? })
    }
}

impl ReadResult {
    /// The message's bytes before its frames, of which there are `frames_bytes`.
    pub fn encode(&self, out: &mut Vec<u8>, request: RequestId, frames_bytes: usize) {
        let start = begin(out, Kind::ReadResult, request);
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&self.records.to_le_bytes());
        for number in [self.next.0, self.tip.0, self.tip_arrival_ms, 0, 0] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        finish(out, start, READ_FIXED_BYTES, HEADER_BYTES + READ_FIXED_BYTES + frames_bytes);
    }

    pub(crate) fn decode(fixed: &[u8]) -> Result<ReadResult, Violation> {
        let mut fields = Fields(fixed);
        Ok(ReadResult {
            shard: ShardId(fields.u32()?),
            records: fields.u32()?,
            next: Sequence(fields.u64()?),
            tip: Sequence(fields.u64()?),
            tip_arrival_ms: fields.u64()?,
        })
    }
}
