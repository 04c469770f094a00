//! Records that bear their producer's number, as their turn for a batch comes.
//!
//! All that is decided of them is decided here, in the order in which their shard received them: what is stored again, what
//! is out of order, and what the shard's quotas let in. So whatever is refused stands before all that came behind it.

use frame::proto::ErrorCode;
use frame::route::hash_key;
use frame::{Frame, Numbered, Sequence, ShardId};
use io::Io;

use super::{Batch, Intake, Record, Share};
use crate::buckets::Buckets;
use crate::catalog::Catalog;
use crate::producers::{Placed, Producers, Verdict};

/// What numbered records of a batch are held against, and what the batch says of them.
pub(crate) struct Numbering<'a> {
    pub(crate) producers: &'a mut Producers,
    /// The numbers in the batch.
    pub(crate) placed: &'a mut Vec<Placed>,
    pub(crate) catalog: &'a Catalog,
    pub(crate) buckets: &'a mut Buckets,
    /// The time of the batch, once it was asked for.
    pub(crate) now_ns: Option<u64>,
}

impl Numbering<'_> {
    /// A record that is new was copied into the batch, under this number; or it was not what its producer sent.
    #[inline]
    pub(super) fn note(&mut self, shard: ShardId, numbered: Option<Numbered>, stored: Option<Sequence>) {
        if let Some(numbered) = numbered {
            self.note_numbered(shard, numbered, stored);
        }
    }

    fn note_numbered(&mut self, shard: ShardId, numbered: Numbered, stored: Option<Sequence>) {
        let Some(sequence) = stored else { return self.producers.owe(shard, numbered) };
        let placed = self.producers.stored(shard, numbered, sequence);
        match self.placed.last_mut() {
            Some(last) if last.is_of_same(&placed) => *last = placed,
            _ => self.placed.push(placed),
        }
    }

    /// What is to be done with a record, and which shard stored it, if one did.
    fn judge(&mut self, io: &impl Io, shard: ShardId, frame: &Frame<'_>, numbered: Numbered) -> (ShardId, Verdict) {
        let was_moved = self.producers.is_watched(shard);
        let stream = self.catalog.stream_of(shard).filter(|stream| was_moved || stream.is_descended(shard));
        let Some(stream) = stream else { return (shard, self.producers.judge(shard, numbered)) };
        let hash_key = frame.explicit_hash_key().unwrap_or_else(|| hash_key(frame.key()));
        let now_ns = *self.now_ns.get_or_insert_with(|| io.mono_ns());
        self.producers.judge_descended(shard, numbered, stream.lineage(shard, hash_key), now_ns)
    }

    /// Whether the quotas of its shard let a record in that is new.
    fn admit(&mut self, io: &impl Io, shard: ShardId, frame: &Frame<'_>) -> Result<(), ErrorCode> {
        let Some(stream) = self.catalog.stream_of(shard) else { return Ok(()) };
        let data_bytes = frame.part().map_or(frame.data().len() as u32, |part| part.data_bytes);
        let bytes = data_bytes + frame.key().len() as u32;
        self.buckets.admit(io, (shard, &stream.quotas), bytes, &mut self.now_ns)
    }
}

impl Intake {
    /// Whether the first record of a shard's queue is to be stored. If not, it is off the queue, and settled with the batch,
    /// if it was stored before: then all before it is durable, its original among it; or at once, if it is refused.
    #[inline(never)]
    pub(super) fn admit_numbered(
        &mut self,
        io: &mut impl Io,
        batch: &mut Batch<'_, '_>,
        shard: ShardId,
        record: &Record,
    ) -> bool {
        let bytes = self.bytes_at(io, record.place, record.length as usize);
        let parsed = Frame::parse(bytes).ok().and_then(|frame| Some((frame, frame.numbered()?)));
        let Some((frame, numbered)) = parsed else { return true };
        let (append, index) = (record.append, record.index);
        let (stored_in, verdict) = batch.numbering.judge(io, shard, &frame, numbered);
        let refusal = match verdict {
            Verdict::New => match batch.numbering.admit(&*io, shard, &frame) {
                Ok(()) => return true,
                Err(code) => {
                    batch.numbering.producers.owe(shard, numbered);
                    Some(code)
                }
            },
            Verdict::Stored(_) if frame.verify_payload().is_err() => Some(ErrorCode::Checksum),
            Verdict::Stored(sequence) => {
                let arrival_ms = batch.shards.shard_mut(shard).arrival_ms;
                batch.appends.stored(append, index, stored_in, sequence, arrival_ms);
                None
            }
            Verdict::Refused(code) => Some(code),
        };
        match refusal {
            None => Share::add(batch.shares, append),
            Some(code) => {
                batch.appends.throttle(append, index, code, shard);
                batch.refused.push(append);
            }
        }
        match record.large() {
            Some(large) => self.pop_refused(shard, large),
            None => {
                self.give_back(io, record.place);
                self.pop(shard);
            }
        }
        false
    }
}
