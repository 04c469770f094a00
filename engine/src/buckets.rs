//! Token buckets: what each shard has left to take in and to give out of its quotas.
//!
//! A bucket fills at its rate and holds what comes in [`QUOTA_BURST_NS`]. Whoever finds enough in it takes from it; an
//! answer whose size is not known before takes all the same afterwards, and may leave a debt. Shards of streams without quotas
//! have none. Levels are in billionths of a byte or record: a nanosecond adds a whole number of them, nothing is ever rounded.

use std::num::NonZeroU32;

use frame::proto::ErrorCode;
use frame::{Quotas, Rate, ShardId};
use io::Io;

use crate::limits::QUOTA_BURST_NS;

/// One byte, or record.
const ONE: i64 = 1_000_000_000;

/// What is left at a rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Bucket {
    level: i64,
    filled_ns: u64,
}

impl Bucket {
    /// An empty one: who begins again and again gets no more for it.
    pub(crate) fn empty(now_ns: u64) -> Bucket {
        Bucket { level: 0, filled_ns: now_ns }
    }

    /// A full one.
    fn full(rate: Rate, now_ns: u64) -> Bucket {
        Bucket { level: rate.map_or(0, |rate| gain(rate, QUOTA_BURST_NS)), filled_ns: now_ns }
    }

    /// Adds what came since it was last looked at.
    fn fill(&mut self, rate: NonZeroU32, now_ns: u64) {
        let capacity = gain(rate, QUOTA_BURST_NS);
        let gained = gain(rate, now_ns.saturating_sub(self.filled_ns));
        self.level = self.level.saturating_add(gained).min(capacity);
        self.filled_ns = self.filled_ns.max(now_ns);
    }

    /// Whether there is enough for `amount`: as much, or all that it holds.
    fn has(&mut self, rate: Rate, amount: u64, now_ns: u64) -> bool {
        rate.is_none_or(|rate| {
            self.fill(rate, now_ns);
            self.level >= billionths(amount).min(gain(rate, QUOTA_BURST_NS))
        })
    }

    /// Takes `amount`, which may be more than there is.
    pub(crate) fn take(&mut self, rate: Rate, amount: u64) {
        if rate.is_some() {
            self.level = self.level.saturating_sub(billionths(amount));
        }
    }

    /// Bytes that a subscriber may be pushed now. `Err`: when as many are there again as come in `pause_ns`.
    pub(crate) fn bytes_left(&mut self, rate: Rate, now_ns: u64, pause_ns: u64) -> Result<u64, u64> {
        let Some(rate) = rate else { return Ok(u64::MAX) };
        self.fill(rate, now_ns);
        if self.level >= ONE {
            return Ok((self.level / ONE).unsigned_abs());
        }
        let missing = gain(rate, pause_ns).max(ONE).saturating_sub(self.level);
        Err(now_ns.saturating_add(missing.unsigned_abs().div_ceil(u64::from(rate.get()))))
    }
}

/// What a rate adds in a time.
fn gain(rate: NonZeroU32, ns: u64) -> i64 {
    i64::from(rate.get()).saturating_mul(i64::try_from(ns).unwrap_or(i64::MAX))
}

fn billionths(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX).saturating_mul(ONE)
}

/// The buckets of one shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardBuckets {
    write_bytes: Bucket,
    write_records: Bucket,
    read_bytes: Bucket,
    reads: Bucket,
    /// What there was of `read_bytes` when the last read began, and whether a debt was left since.
    read_from: i64,
    owes: bool,
}

/// How often quotas have said no.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Throttled {
    /// Records, for the bytes a second of their shard.
    pub write_bytes: u64,
    /// Records, for the records a second of their shard.
    pub write_records: u64,
    /// Reads, for the bytes a second of their shard.
    pub read_bytes: u64,
    /// Reads, for the reads a second of their shard.
    pub reads: u64,
    /// Subscribers that had to wait, for their bytes a second.
    pub pushes: u64,
}

/// The buckets of all shards that were used under quotas.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    of_shard: Vec<Option<Box<ShardBuckets>>>,
    pub(crate) throttled: Throttled,
}

impl Buckets {
    fn of_shard(&mut self, shard: ShardId, quotas: &Quotas, now_ns: u64) -> &mut ShardBuckets {
        let at = shard.0 as usize;
        if self.of_shard.len() <= at {
            self.of_shard.resize_with(at + 1, || None);
        }
        self.of_shard[at].get_or_insert_with(|| {
            let full = |rate| Bucket::full(rate, now_ns);
            Box::new(ShardBuckets {
                write_bytes: full(quotas.write_bytes),
                write_records: full(quotas.write_records),
                read_bytes: full(quotas.read_bytes),
                reads: full(quotas.reads),
                read_from: 0,
                owes: false,
            })
        })
    }

    /// What is left of a shard that goes to another reactor, unless it can't.
    pub(crate) fn copy(&self, shard: ShardId) -> Option<Box<ShardBuckets>> {
        self.of_shard.get(shard.0 as usize)?.clone()
    }

    /// What is left of a shard that comes from another reactor.
    pub(crate) fn put(&mut self, shard: ShardId, buckets: Box<ShardBuckets>) {
        let at = shard.0 as usize;
        if self.of_shard.len() <= at {
            self.of_shard.resize_with(at + 1, || None);
        }
        self.of_shard[at] = Some(buckets);
    }

    /// A shard that is closed, or of a deleted stream: nothing more comes for it.
    pub(crate) fn forget(&mut self, shard: ShardId) {
        if let Some(buckets) = self.of_shard.get_mut(shard.0 as usize) {
            *buckets = None;
        }
    }

    /// Takes a record of `bytes` of data and key in, or says which quota of its shard is used up. The clock is read once for all
    /// that share `now_ns`, and not at all where nothing is limited.
    #[inline]
    pub(crate) fn admit(
        &mut self,
        io: &impl Io,
        (shard, quotas): (ShardId, &Quotas),
        bytes: u32,
        now_ns: &mut Option<u64>,
    ) -> Result<(), ErrorCode> {
        if !quotas.has_write_quotas() {
            return Ok(());
        }
        let now_ns = *now_ns.get_or_insert_with(|| io.mono_ns());
        self.take_record(shard, quotas, u64::from(bytes), now_ns)
    }

    fn take_record(&mut self, shard: ShardId, quotas: &Quotas, bytes: u64, now_ns: u64) -> Result<(), ErrorCode> {
        let ShardBuckets { write_bytes, write_records, .. } = self.of_shard(shard, quotas, now_ns);
        if !write_records.has(quotas.write_records, 1, now_ns) {
            self.throttled.write_records += 1;
            return Err(ErrorCode::WriteRecordsExceeded);
        }
        if !write_bytes.has(quotas.write_bytes, bytes, now_ns) {
            self.throttled.write_bytes += 1;
            return Err(ErrorCode::WriteBytesExceeded);
        }
        write_records.take(quotas.write_records, 1);
        write_bytes.take(quotas.write_bytes, bytes);
        Ok(())
    }

    /// Begins a read, or says which quota is used up. One may begin as long as there is a byte left for it; where the last one's
    /// answer left a debt, once that answer is paid whole.
    pub(crate) fn begin_read(&mut self, shard: ShardId, quotas: &Quotas, now_ns: u64) -> Result<(), ErrorCode> {
        let ShardBuckets { read_bytes, reads, read_from, owes, .. } = self.of_shard(shard, quotas, now_ns);
        if let Some(rate) = quotas.read_bytes {
            read_bytes.fill(rate, now_ns);
            let enough = if *owes { (*read_from).min(gain(rate, QUOTA_BURST_NS)) } else { ONE };
            if read_bytes.level < enough {
                self.throttled.read_bytes += 1;
                return Err(ErrorCode::ReadBytesExceeded);
            }
        }
        if !reads.has(quotas.reads, 1, now_ns) {
            self.throttled.reads += 1;
            return Err(ErrorCode::ReadsExceeded);
        }
        reads.take(quotas.reads, 1);
        (*read_from, *owes) = (read_bytes.level, false);
        Ok(())
    }

    /// A read was answered with `bytes` of data and keys.
    pub(crate) fn end_read(&mut self, shard: ShardId, quotas: &Quotas, bytes: u64, now_ns: u64) {
        let ShardBuckets { read_bytes, owes, .. } = self.of_shard(shard, quotas, now_ns);
        if let Some(rate) = quotas.read_bytes {
            read_bytes.fill(rate, now_ns);
        }
        read_bytes.take(quotas.read_bytes, bytes);
        *owes |= read_bytes.level < 0;
    }

    /// Of what a read was answered with, so many bytes are given to nobody.
    pub(crate) fn give_back(&mut self, shard: ShardId, quotas: &Quotas, bytes: u64, now_ns: u64) {
        let Some(rate) = quotas.read_bytes else { return };
        let ShardBuckets { read_bytes, owes, .. } = self.of_shard(shard, quotas, now_ns);
        read_bytes.level = read_bytes.level.saturating_add(billionths(bytes));
        read_bytes.fill(rate, now_ns);
        *owes &= read_bytes.level < 0;
    }
}

#[cfg(test)]
#[path = "buckets_tests.rs"]
mod tests;
