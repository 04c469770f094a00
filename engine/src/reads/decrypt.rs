//! Frames of an answer, as who asked may have them, where they are encrypted.

use std::ops::Range;

use frame::encryption::append_decrypted;
use frame::proto::ErrorCode;
use frame::{Frame, Sequence, ShardId};
use io::Buf;

use super::lost::stop_at_damage;
use super::{Answer, Found, failure};
use crate::encryption::Vault;
use crate::outgoing::Frames;

/// Why a frame can't be decrypted.
enum Refused {
    /// The key of this identifier is not there.
    KeyMissing(u32),
    /// It is not what was encrypted.
    Damaged,
}

/// Decrypts what was found. What comes before a frame that can't be decrypted is good; why it can't is told when it is asked for
/// by itself.
pub(super) fn decrypt(vault: &mut Vault, mut found: Found, runs: &[(Buf, Range<usize>)]) -> Answer {
    let shard = found.result.shard;
    let mut made = Vec::with_capacity(runs.iter().map(|(_, range)| range.len()).sum());
    let (mut records, mut record_bytes) = (0, 0);
    for (buf, range) in runs {
        let mut rest = &buf[range.clone()];
        while let Ok(frame) = Frame::parse_stored(rest) {
            rest = &rest[frame.length()..];
            let decrypted = append_decrypted(&mut made, &frame, shard, |with, text, tag| {
                let cipher = vault.decrypting(with).ok_or(Refused::KeyMissing(with.key))?;
                cipher.decrypt(text, tag).ok_or(Refused::Damaged)
            });
            if let Err(refused) = decrypted {
                (found.result.records, found.record_bytes) = (records, record_bytes);
                found.result.next = frame.sequence();
                return if records > 0 {
                    Answer::Records(found, Frames::Made(made))
                } else {
                    refuse(shard, frame.sequence(), &refused)
                };
            }
            records += 1;
            record_bytes += frame.record_bytes() as u64;
        }
    }
    Answer::Records(found, Frames::Made(made))
}

fn refuse(shard: ShardId, sequence: Sequence, refused: &Refused) -> Answer {
    match refused {
        Refused::Damaged => stop_at_damage(shard, sequence..sequence.next(), "they are not what was encrypted"),
        Refused::KeyMissing(key) => {
            let what = format!("record {sequence} of shard {shard} is encrypted with key {key:08x}");
            let detail = format!("{what}, which is not in the key directory; put it back, and read again");
            failure(ErrorCode::KeyMissing, detail)
        }
    }
}

#[cfg(test)]
#[path = "decrypt_tests.rs"]
mod tests;
