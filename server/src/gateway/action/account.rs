//! The account's settings, as the actions on them tell them.

use wire::codec::Timestamp;
use wire::shape::{AccountSettings, BillingCommitment};

use crate::gateway::extras::Account;

/// A commitment lasts at least so long.
pub(super) const LEAST_MS: u64 = 24 * 3600 * 1000;

/// As they are told.
pub(super) fn told(account: &Account, now_ms: u64) -> AccountSettings {
    let time = |ms| Timestamp { ms };
    let minimum_throughput_billing_commitment = match account.commitment {
        None => {
            BillingCommitment { status: "DISABLED", started_at: None, ended_at: None, earliest_allowed_end_at: None }
        }
        Some(commitment) => {
            let lasts = commitment.lasts(now_ms);
            BillingCommitment {
                status: match commitment.ends_ms {
                    None => "ENABLED",
                    Some(_) if lasts => "ENABLED_UNTIL_EARLIEST_ALLOWED_END",
                    Some(_) => "DISABLED",
                },
                started_at: Some(time(commitment.began_ms)),
                ended_at: commitment.ends_ms.filter(|_| !lasts).map(time),
                earliest_allowed_end_at: lasts.then_some(time(commitment.began_ms + LEAST_MS)),
            }
        }
    };
    AccountSettings { minimum_throughput_billing_commitment }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::extras::Commitment;

    #[test]
    fn a_commitment_that_was_ended_early_goes_on_for_a_day() {
        let began_ms = 1_700_000_000_000;
        let status = |ends_ms, now_ms| {
            let account = Account { commitment: Some(Commitment { began_ms, ends_ms }) };
            let told = told(&account, now_ms).minimum_throughput_billing_commitment;
            (told.status, told.ended_at.is_some(), told.earliest_allowed_end_at.is_some())
        };
        let end_ms = began_ms + LEAST_MS;
        assert_eq!(status(None, end_ms + 1), ("ENABLED", false, true));
        assert_eq!(status(Some(end_ms), end_ms - 1), ("ENABLED_UNTIL_EARLIEST_ALLOWED_END", false, true));
        assert_eq!(status(Some(end_ms), end_ms), ("DISABLED", true, false));
    }
}
