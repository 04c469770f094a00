//! What an account has in its region, against what it may have, where that is less than the log has room for. Streams on demand
//! grow past it by themselves, as they do with the service.

use tokio::sync::MutexGuard;
use wire::{Error, ErrorKind};

use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// What there is. As long as this is held nobody else adds to it.
pub(super) struct Holdings<'a> {
    shared: &'a Shared,
    counted: Option<Counted<'a>>,
}

struct Counted<'a> {
    /// Open ones, and those that streams are being brought to.
    shards: usize,
    on_demand: usize,
    _alone: MutexGuard<'a, ()>,
}

impl Holdings<'_> {
    /// Counts, if there is anything to hold that against: it takes a look at each of the account's streams.
    pub(super) async fn of(shared: &Shared) -> Result<Holdings<'_>, Error> {
        if !shared.limits.hold_accounts() {
            return Ok(Holdings { shared, counted: None });
        }
        let mut counted = Counted { shards: 0, on_demand: 0, _alone: shared.adding.lock().await };
        let count = |stream: &engine::Stream| {
            let extras = Extras::of(stream)?;
            counted.shards += stream.open_shards.max(extras.scaling.unwrap_or_default()) as usize;
            counted.on_demand += usize::from(extras.on_demand);
            Ok(())
        };
        shared.log.each(&shared.place, count).await?;
        Ok(Holdings { shared, counted: Some(counted) })
    }

    /// That there may be so many more open shards.
    pub(super) fn have_room_for(&self, shards: u32) -> Result<(), Error> {
        let limit = self.shared.limits.shards;
        let Some(counted) =
            self.counted.as_ref().filter(|counted| shards > 0 && counted.shards + shards as usize > limit)
        else {
            return Ok(());
        };
        let (place, now) = (&self.shared.place, counted.shards);
        let message = format!(
            "This request would exceed the shard limit for the account {} in {}. Current shard count for the account: {now}. Limit: \
             {limit}. Number of additional shards that would have resulted from this request: {shards}. Refer to the AWS Service Limits \
             page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how to request \
             higher limits.",
            place.account, place.region
        );
        Err(Error::new(ErrorKind::LimitExceeded, message))
    }

    /// That there may be one more stream on demand.
    pub(super) fn have_room_for_another(&self) -> Result<(), Error> {
        let limit = self.shared.limits.on_demand_streams;
        if self.counted.as_ref().is_none_or(|counted| counted.on_demand < limit) {
            return Ok(());
        }
        let account = &self.shared.place.account;
        let message = format!("Account {account} has at most {limit} streams in On-Demand mode.");
        Err(Error::new(ErrorKind::LimitExceeded, message))
    }
}
