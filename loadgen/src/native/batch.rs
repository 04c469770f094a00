//! Builds Append messages in place: each record's frame is encoded straight into the bytes that are sent.

use frame::limits::APPEND_RECORDS_MAX;
use frame::proto::{APPEND_FIXED_BYTES, Append, Client, HEADER_BYTES};
use frame::{FrameError, StreamId, frame as frames};

use crate::verify::{SentBatch, SentRecord};

/// How large messages may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl BatchLimits {
    /// What the plan asks for, within what the server accepts.
    pub(super) fn new(records: u32, server_records: u32, server_bytes: usize) -> Self {
        let most = APPEND_RECORDS_MAX.min(server_records as usize);
        Self { records: (records as usize).clamp(1, most.max(1)), bytes: server_bytes }
    }
}

/// The smallest message that carries one record.
pub(super) fn message_bytes(key_bytes: usize, data_bytes: usize) -> usize {
    HEADER_BYTES + APPEND_FIXED_BYTES + frames::frame_bytes(0, key_bytes, data_bytes)
}

/// One Append message under construction, or ready to be sent.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) batch: SentBatch,
    /// Bytes of data and keys.
    pub(super) content_bytes: u64,
    stream: StreamId,
}

impl Message {
    /// Begins a message in buffers that are used again.
    pub(super) fn begin(mut bytes: Vec<u8>, mut batch: SentBatch, client: &mut Client, stream: StreamId) -> Self {
        bytes.clear();
        batch.records.clear();
        let request = client.next_request();
        Append::begin(&mut bytes, request);
        batch.request = request.0;
        batch.intended_ns = u64::MAX;
        Self { bytes, batch, content_bytes: 0, stream }
    }

    /// Whether one more record of this size keeps within the limits.
    pub(super) fn has_room(&self, limits: BatchLimits, key_bytes: usize, data_bytes: usize) -> bool {
        self.batch.records.len() < limits.records
            && self.bytes.len() + frames::frame_bytes(0, key_bytes, data_bytes) <= limits.bytes
    }

    /// Adds a record.
    pub(super) fn push<const PARTS: usize>(&mut self, key: &[u8], data: [&[u8]; PARTS]) -> Result<(), FrameError> {
        let checksum = frames::encode_pieces(&mut self.bytes, key, None, data)?;
        let bytes = key.len() + data.iter().map(|part| part.len()).sum::<usize>();
        self.batch.records.push(SentRecord { checksum, bytes: bytes as u32 });
        self.content_bytes += bytes as u64;
        Ok(())
    }

    /// Notes when a record was meant to leave: the batch counts from its oldest.
    pub(super) fn intend(&mut self, due_ns: u64) {
        self.batch.intended_ns = self.batch.intended_ns.min(due_ns);
    }

    /// Closes the message.
    pub(super) fn finish(&mut self) {
        let records = self.batch.records.len() as u32;
        Append { stream: self.stream, records }.finish(&mut self.bytes, 0);
    }
}
