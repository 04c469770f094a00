//! One record on its way: its frames, its place in the order, and who waits for its answer.

use frame::limits::{KEY_BYTES_MAX, LARGE_RECORD_BYTES_MAX};
use frame::{FrameError, Numbered, ProducerId, RecordNumber, ShardId, extension, parts};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::Appended;
use crate::error::AppendError;

/// What its frames will take.
pub(super) fn frames_bytes(is_numbered: bool, key: &[u8], data: &[u8]) -> Result<usize, AppendError> {
    if key.len() > KEY_BYTES_MAX {
        return Err(AppendError::Record(FrameError::Lengths));
    }
    let bytes = key.len() + data.len();
    if bytes > LARGE_RECORD_BYTES_MAX {
        return Err(AppendError::Record(FrameError::LargeRecord { bytes }));
    }
    let extension_bytes = if is_numbered { extension::NUMBERED_BYTES } else { 0 };
    Ok(parts::encoded_size_with(extension_bytes, key.len(), data.len()).1)
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) frames: Vec<u8>,
    pub(super) frame_count: u32,
    /// Its place in the order: the producer's number, if it has a name.
    pub(super) number: u64,
    /// For which shard it is sent.
    pub(super) shard: ShardId,
    /// Until when it may wait for others to be sent along with it.
    pub(super) due: Instant,
    reply: oneshot::Sender<Result<Appended, AppendError>>,
    _room: OwnedSemaphorePermit,
}

impl Record {
    pub(super) fn encode(
        key: &[u8],
        data: &[u8],
        producer: Option<ProducerId>,
        number: u64,
        shard: ShardId,
        room: OwnedSemaphorePermit,
        reply: oneshot::Sender<Result<Appended, AppendError>>,
    ) -> Result<Record, AppendError> {
        let numbered = producer.map(|producer| Numbered { producer, number: RecordNumber(number) });
        let mut frames = Vec::new();
        let encoded = parts::encode_numbered(&mut frames, key, None, numbered, [data]).map_err(AppendError::Record)?;
        Ok(Record { frames, frame_count: encoded.frames, number, shard, due: Instant::now(), reply, _room: room })
    }

    /// Tells whoever waits, and gives its room back.
    pub(super) fn answer(self, outcome: Result<Appended, AppendError>) {
        // Who stopped waiting hears nothing.
        let _ = self.reply.send(outcome);
    }
}
