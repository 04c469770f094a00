//! Builds Append messages in place: each record's frame is encoded straight into the bytes that are sent.

use frame::limits::{APPEND_RECORDS_MAX, RECORD_BYTES_MAX};
use frame::parts::{self, Encoded};
use frame::proto::{APPEND_FIXED_BYTES, Append, Client, HEADER_BYTES, Welcome};
use frame::{Extensions, FrameError, Part, StreamId};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::pace::turn;
use crate::verify::{SentBatch, SentRecord};
use crate::workload::OwnedRecord;

/// How large messages may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    pub(super) records: usize,
    pub(super) bytes: usize,
    frames: usize,
    /// Bytes of a message with one record: the server takes it whatever credit there is, while none is unanswered.
    pub(super) one_record_bytes: usize,
}

/// What a message holds, or what is to go in one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    records: usize,
    /// More than the records, where some are in parts.
    frames: usize,
    /// Of the frames.
    bytes: usize,
}

impl Held {
    /// One record more.
    pub(super) fn add(&mut self, key_bytes: usize, data_bytes: usize) {
        let (frames, bytes) = parts::encoded_size(key_bytes, false, data_bytes);
        (self.records, self.frames, self.bytes) = (self.records + 1, self.frames + frames, self.bytes + bytes);
    }

    /// Less by those.
    pub(super) fn take_off(&mut self, those: Held) {
        self.records -= those.records;
        self.frames -= those.frames;
        self.bytes -= those.bytes;
    }
}

/// Bytes of a message before its frames.
const HEAD_BYTES: usize = HEADER_BYTES + APPEND_FIXED_BYTES;

impl BatchLimits {
    /// What the plan asks for, within what the server accepts and the credit that it gives.
    pub(super) fn new(records: u32, server: &Welcome) -> Self {
        let most = APPEND_RECORDS_MAX.min(server.append_records_max as usize);
        let one_record_bytes = server.append_bytes_max as usize;
        let bytes = one_record_bytes.min(server.credit.bytes as usize);
        Self { records: (records as usize).clamp(1, most.max(1)), bytes, frames: APPEND_RECORDS_MAX, one_record_bytes }
    }

    /// So many messages' worth.
    pub(super) fn times(self, count: usize) -> Self {
        Self { records: self.records * count, bytes: self.bytes * count, frames: self.frames * count, ..self }
    }

    /// Whether that makes a message of which nobody would say that there was room left.
    pub(super) fn is_full(self, held: Held) -> bool {
        held.records >= self.records || held.frames >= self.frames || HEAD_BYTES + held.bytes >= self.bytes
    }

    /// Whether one more record of this size keeps within the limits.
    pub(super) fn has_room(self, held: Held, key_bytes: usize, data_bytes: usize) -> bool {
        let (frames, bytes) = parts::encoded_size(key_bytes, false, data_bytes);
        let bytes = HEAD_BYTES + held.bytes + bytes;
        if held.records == 0 {
            return bytes <= self.one_record_bytes;
        }
        held.records < self.records && held.frames + frames <= self.frames && bytes <= self.bytes
    }
}

/// The smallest message that carries one record.
pub(super) fn message_bytes(key_bytes: usize, data_bytes: usize) -> usize {
    HEAD_BYTES + parts::encoded_size(key_bytes, false, data_bytes).1
}

/// One Append message under construction, or ready to be sent.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) batch: SentBatch,
    /// Bytes of data and keys.
    pub(super) content_bytes: u64,
    stream: StreamId,
    /// Frames of its records: more than these, where some are in parts.
    frames: usize,
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
        Self { bytes, batch, content_bytes: 0, stream, frames: 0 }
    }

    /// Whether one more record of this size keeps within the limits.
    pub(super) fn has_room(&self, limits: BatchLimits, key_bytes: usize, data_bytes: usize) -> bool {
        let (records, bytes) = (self.batch.records.len(), self.bytes.len() - HEAD_BYTES);
        limits.has_room(Held { records, frames: self.frames, bytes }, key_bytes, data_bytes)
    }

    /// Adds a record.
    pub(super) fn push<const PIECES: usize>(&mut self, key: &[u8], data: [&[u8]; PIECES]) -> Result<(), FrameError> {
        let Encoded { frames, checksum } = parts::encode(&mut self.bytes, key, None, data)?;
        let bytes = key.len() + data.iter().map(|piece| piece.len()).sum::<usize>();
        self.frames += frames as usize;
        self.batch.records.push(SentRecord { checksum, bytes: bytes as u32 });
        self.content_bytes += bytes as u64;
        Ok(())
    }

    /// Adds a record of more than a frame holds, the same bytes as [`Message::push`] makes of it, a part at a time:
    /// between parts others of the core have their turn.
    pub(super) async fn push_in_turns(&mut self, record: &OwnedRecord) -> Result<(), FrameError> {
        let bytes = record.key.len() + record.data_bytes();
        let each = parts::part_data_bytes(record.key.len());
        let count = record.data_bytes().div_ceil(each);
        if bytes <= RECORD_BYTES_MAX {
            return self.push(&record.key, record.data(0, record.data_bytes()));
        }
        let mut checksum = 0;
        for index in 0..count {
            let part = Part { index: index as u16, count: count as u16, data_bytes: record.data_bytes() as u32 };
            let data = record.data(index * each, (index + 1) * each);
            let extensions = Extensions { part: Some(part), ..Extensions::default() };
            let own = frame::frame::encode_extended(&mut self.bytes, &record.key, &extensions, data)?;
            checksum = xxh3_64_with_seed(&own.to_le_bytes(), checksum);
            turn().await;
        }
        self.frames += count;
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
        Append { stream: self.stream, records: self.frames as u32 }.finish(&mut self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use frame::proto::Client;

    use super::*;
    use crate::workload::{Keys, Recipe, Sizes};

    #[test]
    fn what_is_made_in_turns_is_what_is_made_at_once() {
        for bytes in [3_000_000, RECORD_BYTES_MAX - 16, RECORD_BYTES_MAX, 16, 3] {
            let mut lane = Recipe::new(Sizes::Fixed(bytes), Keys::Distinct, 1).lane(0);
            let mut same = Recipe::new(Sizes::Fixed(bytes), Keys::Distinct, 1).lane(0);
            let mut client = Client::new(&mut Vec::new());
            let mut begin = || Message::begin(Vec::new(), SentBatch::default(), &mut client, StreamId(1));
            let (mut in_turns, mut at_once) = (begin(), begin());
            let drawn = lane.draw();
            tokio_uring::start(in_turns.push_in_turns(&lane.make_owned(&drawn))).unwrap();
            let record = same.record();
            at_once.push(&record.key, record.data()).unwrap();
            let frames = |message: &Message| message.bytes[HEAD_BYTES..].to_vec();
            assert!(frames(&in_turns) == frames(&at_once), "{bytes}");
            let told = |message: &Message| {
                let record = message.batch.records[0];
                (message.frames, message.content_bytes, record.checksum, record.bytes)
            };
            assert_eq!(told(&in_turns), told(&at_once), "{bytes}");
        }
    }
}
