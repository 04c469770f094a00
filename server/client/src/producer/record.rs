//! One record on its way: its frames, its place in the order, and who waits for its answer.

use std::sync::Arc;

use frame::limits::{KEY_BYTES_MAX, LARGE_RECORD_BYTES_MAX};
use frame::{FrameError, Numbered, ProducerId, RecordNumber, ShardId, extension, parts};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::Instant;

use super::Appended;
use super::account::Account;
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
    /// Whether it has a number by which it may be sent again.
    is_numbered: bool,
    /// Until it is answered.
    reply: Option<oneshot::Sender<Result<Appended, AppendError>>>,
    account: Arc<Account>,
    /// Given back after all else: who has all of it knows what became of every record.
    _room: OwnedSemaphorePermit,
}

impl Record {
    pub(super) fn encode(
        key: &[u8],
        data: &[u8],
        producer: Option<ProducerId>,
        number: u64,
        shard: ShardId,
        (room, account): (OwnedSemaphorePermit, Arc<Account>),
        reply: oneshot::Sender<Result<Appended, AppendError>>,
    ) -> Result<Record, AppendError> {
        let numbered = producer.map(|producer| Numbered { producer, number: RecordNumber(number) });
        let mut frames = Vec::new();
        let encoded = parts::encode_numbered(&mut frames, key, None, numbered, [data]).map_err(AppendError::Record)?;
        if numbered.is_some() {
            account.begin(number);
        }
        Ok(Record {
            frames,
            frame_count: encoded.frames,
            number,
            shard,
            due: Instant::now(),
            is_numbered: numbered.is_some(),
            reply: Some(reply),
            account,
            _room: room,
        })
    }

    /// Tells whoever waits, and gives its room back.
    pub(super) fn answer(mut self, outcome: Result<Appended, AppendError>) {
        self.tell(outcome);
    }

    /// It can't follow one that was given up.
    pub(super) fn give_up(self, cause: &Arc<AppendError>) {
        let first_number = self.account.first_unstored(self.number);
        self.answer(Err(AppendError::GivenUp { first_number, cause: cause.clone() }));
    }

    fn tell(&mut self, outcome: Result<Appended, AppendError>) {
        let Some(reply) = self.reply.take() else { return };
        self.account.end(self.is_numbered.then_some(self.number), outcome.as_ref().map(drop));
        // Who stopped waiting hears nothing.
        let _ = reply.send(outcome);
    }
}

impl Drop for Record {
    /// The runtime takes its lane along when it ends.
    fn drop(&mut self) {
        self.tell(Err(AppendError::Ended));
    }
}
