//! What became of a producer's records: told by each as it is answered, asked for by who waits for all.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use frame::proto::Fault;

use crate::error::AppendError;

/// Records that were not acknowledged, of those that were appended since the last [`Producer::flush`](super::Producer::flush).
#[derive(Clone, Debug)]
pub struct Unstored {
    /// How many, those included of which an append told already.
    pub records: u64,
    /// Why the first was not.
    pub cause: AppendError,
    /// Of a producer with a name, the lowest number that is not known to be stored: all before it are. To go on, open another
    /// with it as the [`first_number`](super::ProducerOptions::first_number), and append from that record on.
    pub first_number: Option<u64>,
}

impl Unstored {
    /// Who has to act for the first.
    pub fn fault(&self) -> Fault {
        self.cause.fault()
    }
}

impl fmt::Display for Unstored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.records == 1 { "record was" } else { "records were" };
        write!(f, "{} {noun} not acknowledged, the first as {}", self.records, self.cause)?;
        match self.first_number {
            Some(number) => write!(f, "; all before number {number} are stored: go on from there"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Unstored {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

/// Shared by a producer and its records.
#[derive(Default, Debug)]
pub(super) struct Account(Mutex<State>);

#[derive(Default, Debug)]
struct State {
    /// Numbers under way. None where there is no name, by which a number could be given again.
    under_way: BTreeSet<u64>,
    /// The lowest number that was answered and is not stored.
    failed: Option<u64>,
    /// Since it was last asked for.
    unstored: u64,
    /// Why the first of these was not stored.
    cause: Option<AppendError>,
}

impl Account {
    /// A record with a number is on its way.
    pub(super) fn begin(&self, number: u64) {
        self.state().under_way.insert(number);
    }

    /// A record is answered.
    pub(super) fn end(&self, number: Option<u64>, outcome: Result<(), &AppendError>) {
        let mut state = self.state();
        let State { under_way, failed, unstored, cause } = &mut *state;
        if let Some(number) = number {
            under_way.remove(&number);
        }
        if let Err(error) = outcome {
            *unstored += 1;
            cause.get_or_insert_with(|| error.clone());
            if let Some(number) = number {
                *failed = Some(failed.map_or(number, |lowest| lowest.min(number)));
            }
        }
    }

    /// The lowest number that is not known to be stored.
    pub(super) fn first_unstored(&self, next: u64) -> u64 {
        let state = self.state();
        state.failed.into_iter().chain(state.under_way.first().copied()).fold(next, u64::min)
    }

    /// How many were not stored since this was last asked for, and why the first was not.
    pub(super) fn take(&self) -> Option<(u64, AppendError)> {
        let mut state = self.state();
        let records = std::mem::take(&mut state.unstored);
        state.cause.take().map(|cause| (records, cause))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use frame::proto::ErrorCode;

    use super::*;

    #[test]
    fn the_lowest_number_that_is_not_stored_is_known_whatever_the_order_of_answers() {
        let account = Account::default();
        (5..10).for_each(|number| account.begin(number));
        assert_eq!(account.first_unstored(10), 5);
        account.end(Some(6), Ok(()));
        account.end(Some(5), Ok(()));
        assert_eq!(account.first_unstored(10), 7);
        assert!(account.take().is_none());
        account.end(Some(8), Err(&AppendError::Refused(ErrorCode::UnknownStream)));
        account.end(Some(7), Err(&AppendError::Ended));
        account.end(Some(9), Ok(()));
        assert_eq!(account.first_unstored(10), 7);
        let (records, cause) = account.take().expect("two were refused");
        assert!(records == 2 && matches!(cause, AppendError::Refused(ErrorCode::UnknownStream)), "{records} {cause}");
        assert!(account.take().is_none(), "they were told");
        assert_eq!(account.first_unstored(10), 7, "and are still not stored");
    }
}
