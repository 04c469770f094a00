//! Large records as they leave the intake: one part a batch.

use frame::ShardId;
use frame::frame::numbered_of;
use io::Io;

use super::{Batch, Dress, ExtentEnd, Intake, Record, Share};

impl Intake {
    /// Takes the next part of a large record, which is the only one of its batch. After it the shard's extent ends, unless it
    /// was the last: then the record is stored. All parts arrive when the first does, so that no time lies between them.
    #[cold]
    pub(super) fn fill_part(
        &mut self,
        io: &mut impl Io,
        batch: &mut Batch<'_, '_>,
        shard: ShardId,
        record: &Record,
        large: u32,
        (taken, force_one, dress): (usize, bool, &Dress),
    ) -> (usize, Option<ExtentEnd>) {
        let length = record.length as usize;
        let queue = &mut self.queues[shard.0 as usize];
        let due = queue.deficit >= length || (force_one && taken == 0);
        if !batch.may_take_part || !due {
            return (0, Some(ExtentEnd::NotDue));
        }
        if !batch.writer.fits(length + dress.adds_bytes()) {
            return (0, Some(ExtentEnd::Full));
        }
        let numbered = numbered_of(self.large.next(large));
        let begins = self.large.stored(large).is_none();
        if begins && numbered.is_some() && !self.admit_numbered(io, batch, shard, record) {
            return (0, None);
        }
        let queue = &mut self.queues[shard.0 as usize];
        let state = batch.shards.shard_mut(shard);
        let begun = (taken == 0).then_some((shard, state.next));
        let (first, arrival_ms) = self.large.stored(large).unwrap_or((state.next, state.arrival_ms));
        let sequence = match dress.push(batch.writer, begun, self.large.next(large), arrival_ms) {
            Ok(sequence) => sequence,
            Err(code) => {
                // What of it is on disk is not whole and never will be: readers pass over it.
                batch.numbering.note(shard, numbered, None);
                batch.appends.refuse(record.append, record.index, code);
                batch.refused.push(record.append);
                self.pop_refused(shard, large);
                return (0, None);
            }
        };
        queue.deficit = queue.deficit.saturating_sub(length);
        state.next = sequence.next();
        batch.may_take_part = false;
        let Some(next_length) = self.large.copied(large, (first, arrival_ms)) else {
            batch.appends.stored(record.append, record.index, shard, sequence, arrival_ms);
            batch.numbering.note(shard, numbered, Some(sequence));
            Share::add(batch.shares, record.append);
            self.pop(shard);
            return (length, None);
        };
        *batch.open = Some((shard, first));
        queue.bytes -= length;
        self.bytes -= length;
        self.records[queue.first].length = next_length as u32;
        (length, Some(ExtentEnd::PartTaken))
    }

    /// Takes a large record that is refused out of its queue.
    pub(super) fn pop_refused(&mut self, shard: ShardId, large: u32) {
        let queue = &mut self.queues[shard.0 as usize];
        let others = self.large.refuse(large) - self.records[queue.first].length as usize;
        queue.bytes -= others;
        self.bytes -= others;
        self.pop(shard);
    }
}
