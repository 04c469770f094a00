//! DescribeAccountSettings: what the account has set, and keeps over restarts.

use serde::de::IgnoredAny;
use wire::Error;
use wire::shape::AccountSettings;

use super::{account, now_ms};
use crate::gateway::Shared;

pub(super) async fn run(shared: &Shared, _: IgnoredAny) -> Result<AccountSettings, Error> {
    Ok(account::told(&shared.log.account(&shared.place).await?, now_ms()))
}
