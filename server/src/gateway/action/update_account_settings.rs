//! UpdateAccountSettings: the account commits itself to a least throughput, which nobody here charges for, or ends that.

use wire::Error;
use wire::shape::{AccountSettings, UpdateAccountSettings};
use wire::validate::Checks;

use super::{account, now_ms};
use crate::gateway::Shared;
use crate::gateway::extras::{Account, Commitment};

pub(super) async fn run(shared: &Shared, input: UpdateAccountSettings) -> Result<AccountSettings, Error> {
    let commitment = input.minimum_throughput_billing_commitment;
    let mut checks = Checks::new();
    checks.required("minimumThroughputBillingCommitment", commitment.as_ref());
    let status = commitment.and_then(|commitment| commitment.status);
    let member = "minimumThroughputBillingCommitment.status";
    checks.required(member, status.as_ref()).one_of(member, status.as_deref(), &["ENABLED", "DISABLED"]).done()?;
    let is_wanted = status.as_deref() == Some("ENABLED");
    let now_ms = now_ms();
    let change = |account: &mut Account| {
        let current = account.commitment.filter(|current| current.lasts(now_ms));
        match (is_wanted, current) {
            (true, Some(current)) => account.commitment = Some(Commitment { ends_ms: None, ..current }),
            (true, None) => account.commitment = Some(Commitment { began_ms: now_ms, ends_ms: None }),
            (false, Some(current)) if current.ends_ms.is_none() => {
                let ends_ms = Some(now_ms.max(current.began_ms + account::LEAST_MS));
                account.commitment = Some(Commitment { ends_ms, ..current });
            }
            (false, _) => {}
        }
    };
    Ok(account::told(&shared.log.change_account(&shared.place, change).await?, now_ms))
}
