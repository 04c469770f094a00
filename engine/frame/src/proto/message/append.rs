//! Appends and their acknowledgements.

use super::error::ErrorCode;
use super::fields::Fields;
use super::handshake::Credit;
use super::kind::Kind;
use crate::id::{RequestId, Sequence, ShardId, StreamId};
use crate::limits::ACK_BYTES_MAX;
use crate::proto::{ACK_ENTRY_BYTES, ACK_RESULT_BYTES, APPEND_FIXED_BYTES, HEADER_BYTES, Violation, begin, finish};

/// The fixed part of an Append; its frames follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Append {
    /// Where the records go.
    pub stream: StreamId,
    /// How many frames follow.
    pub records: u32,
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

/// One record's result, however many frames it took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckResult {
    /// On stable storage, under this number.
    Durable(ShardId, Sequence),
    /// Refused: it is not stored. It used no number, but for parts that were stored before another was refused.
    Refused(ErrorCode),
    /// Refused, as this shard has taken in what it takes a second; it used no number.
    Throttled(ErrorCode, ShardId),
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
                AckResult::Throttled(code, shard) => {
                    (REFUSED_SHARD, u64::from(code as u16) | (u64::from(shard.0) + 1) << 16)
                }
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
                REFUSED_SHARD => {
                    let code = ErrorCode::from_number(number as u16);
                    match u32::try_from(number >> 16).ok().and_then(|next| next.checked_sub(1)) {
                        Some(shard) => AckResult::Throttled(code, ShardId(shard)),
                        None => AckResult::Refused(code),
                    }
                }
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
