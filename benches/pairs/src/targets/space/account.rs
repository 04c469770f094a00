//! What is live, by the account of those who wrote it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use frame::proto::{AckResult, ErrorCode};

/// How long records of the streams that expire are kept.
pub(super) const RETENTION: Duration = Duration::from_secs(60);

/// How long a stream's records live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// For ever.
    Kept,
    /// For [`RETENTION`].
    Expiring,
    /// Until the stream is deleted.
    Deleted,
}

/// The account of all writers.
#[derive(Debug)]
pub(super) struct Account {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    kept: u64,
    /// When they were sent, and how many bytes: they arrive later, so what is counted as live is never more than what is.
    expiring: VecDeque<(Instant, u64)>,
    expiring_bytes: u64,
    /// Of the stream that is not deleted yet.
    undeleted: u64,
    written: u64,
    refused: u64,
    stored_at: Instant,
    gap: Duration,
}

/// The account at one time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sum {
    pub(super) live_bytes: u64,
    pub(super) written_bytes: u64,
    /// Appends and streams that were refused for want of space.
    pub(super) refused: u64,
    /// The longest time without a record being stored.
    pub(super) gap: Duration,
}

impl Account {
    /// An empty one.
    pub(super) fn new() -> Self {
        let inner = Inner {
            kept: 0,
            expiring: VecDeque::new(),
            expiring_bytes: 0,
            undeleted: 0,
            written: 0,
            refused: 0,
            stored_at: Instant::now(),
            gap: Duration::ZERO,
        };
        Self { inner: Mutex::new(inner) }
    }

    /// Takes what became of a batch. What is refused for another reason than space is handed back.
    pub(super) fn take(
        &self,
        life: Life,
        sent: Instant,
        record_bytes: u64,
        results: &[AckResult],
    ) -> Result<(), ErrorCode> {
        let mut inner = self.lock();
        let mut stored = 0;
        for result in results {
            match *result {
                AckResult::Durable(..) => stored += record_bytes,
                AckResult::Refused(ErrorCode::DiskFull) => inner.refused += 1,
                AckResult::Refused(code) | AckResult::Throttled(code, _) => return Err(code),
            }
        }
        if stored > 0 {
            inner.store(life, sent, stored);
        }
        Ok(())
    }

    /// A stream could not be made for want of space.
    pub(super) fn refuse(&self) {
        self.lock().refused += 1;
    }

    /// The stream that is to be deleted is.
    pub(super) fn deleted(&self) {
        self.lock().undeleted = 0;
    }

    /// What it comes to now.
    pub(super) fn sum(&self) -> Sum {
        let mut inner = self.lock();
        let now = Instant::now();
        let has_expired = |(sent, _): &&(Instant, u64)| now.duration_since(*sent) >= RETENTION;
        while let Some(&(_, bytes)) = inner.expiring.front().filter(has_expired) {
            inner.expiring.pop_front();
            inner.expiring_bytes -= bytes;
        }
        Sum {
            live_bytes: inner.kept + inner.expiring_bytes + inner.undeleted,
            written_bytes: inner.written,
            refused: inner.refused,
            gap: inner.gap.max(now.duration_since(inner.stored_at)),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("nobody panics while holding it")
    }
}

impl Inner {
    fn store(&mut self, life: Life, sent: Instant, bytes: u64) {
        match life {
            Life::Kept => self.kept += bytes,
            Life::Deleted => self.undeleted += bytes,
            Life::Expiring => {
                // Several writers' times are not quite in order; what is a little late is no matter in a minute.
                self.expiring.push_back((sent, bytes));
                self.expiring_bytes += bytes;
            }
        }
        self.written += bytes;
        let now = Instant::now();
        self.gap = self.gap.max(now.duration_since(self.stored_at));
        self.stored_at = now;
    }
}

#[cfg(test)]
mod tests {
    use frame::{Sequence, ShardId};

    use super::*;

    #[test]
    fn what_expired_or_was_deleted_is_not_live() {
        let account = Account::new();
        let now = Instant::now();
        let stored = AckResult::Durable(ShardId(1), Sequence(1));
        let take = |life, sent, results: &[AckResult]| account.take(life, sent, 10, results);
        assert_eq!(take(Life::Kept, now - 2 * RETENTION, &[stored, stored]), Ok(()));
        assert_eq!(take(Life::Expiring, now - RETENTION, &[stored]), Ok(()));
        assert_eq!(take(Life::Expiring, now, &[stored, AckResult::Refused(ErrorCode::DiskFull)]), Ok(()));
        assert_eq!(take(Life::Deleted, now, &[stored; 3]), Ok(()));
        let sum = account.sum();
        assert_eq!((sum.live_bytes, sum.written_bytes, sum.refused), (20 + 10 + 30, 70, 1));
        account.deleted();
        assert_eq!(account.sum().live_bytes, 30);
        assert_eq!(take(Life::Kept, now, &[AckResult::Refused(ErrorCode::Busy)]), Err(ErrorCode::Busy));
    }
}
