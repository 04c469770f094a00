//! How a shard's frames go into a batch: as they are, or encrypted.

use std::sync::Arc;

use frame::batch::Writer;
use frame::extension::ENCRYPTION_BYTES;
use frame::proto::ErrorCode;
use frame::{Sequence, ShardId};

use super::Batch;
use crate::encryption::Cipher;

/// How the frames of a shard go into a batch.
pub(super) enum Dress {
    Plain,
    Encrypted(Arc<Cipher>),
    /// They are refused, as they may not be stored as they are: they are to be encrypted with a key that is not there, or with
    /// nobody knows which, as their stream was deleted while they waited.
    Refused(ErrorCode),
}

impl Batch<'_, '_> {
    /// How frames of a shard go into it.
    pub(super) fn dress_of(&mut self, shard: ShardId) -> Dress {
        if shard == ShardId::CATALOG {
            return Dress::Plain;
        }
        let Some(stream) = self.numbering.catalog.stream_of(shard) else {
            return Dress::Refused(ErrorCode::UnknownStream);
        };
        match stream.encryption.as_deref() {
            None => Dress::Plain,
            Some(key) => self.vault.encrypting(key).map_or(Dress::Refused(ErrorCode::KeyMissing), Dress::Encrypted),
        }
    }
}

impl Dress {
    /// What it adds to a frame.
    pub(super) fn adds_bytes(&self) -> usize {
        if let Dress::Encrypted(_) = self { ENCRYPTION_BYTES } else { 0 }
    }

    /// Copies a frame into a batch, of which it is the `first` of its extent where that is given.
    ///
    /// # Errors
    /// Why it is refused. Nothing is written.
    #[inline]
    pub(super) fn push(
        &self,
        writer: &mut Writer<'_>,
        first: Option<(ShardId, Sequence)>,
        bytes: &[u8],
        arrival_ms: u64,
    ) -> Result<Sequence, ErrorCode> {
        let is_stored = !matches!(self, Dress::Refused(_));
        if let Some((shard, sequence)) = first.filter(|_| is_stored) {
            writer.begin_extent(shard, sequence);
        }
        match self {
            Dress::Plain => writer.push(bytes, arrival_ms).map_err(|_| ErrorCode::Checksum),
            Dress::Encrypted(cipher) => push_encrypted(cipher, writer, bytes, arrival_ms),
            Dress::Refused(code) => Err(*code),
        }
    }
}

/// Apart, so that what is not encrypted pays nothing for it.
#[inline(never)]
fn push_encrypted(
    cipher: &Cipher,
    writer: &mut Writer<'_>,
    bytes: &[u8],
    arrival_ms: u64,
) -> Result<Sequence, ErrorCode> {
    let pushed = writer.push_encrypted(bytes, arrival_ms, cipher.with(), |text| cipher.encrypt(text));
    pushed.map_err(|_| ErrorCode::Checksum)
}
