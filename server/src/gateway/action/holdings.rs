//! What an account has in its region, against what it may have, where that is less than the log has room for. Streams on demand
//! grow past it by themselves, as they do with the service.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;
use wire::name::Place;
use wire::{Error, ErrorKind};

use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// Who adds to what an account has in a region, where that is bounded: there one after the other, elsewhere beside them.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Adding(Mutex<BTreeMap<Place, Weak<tokio::sync::Mutex<()>>>>);

impl Adding {
    /// Waits for those before, of the same place. No more is kept than who adds or waits.
    async fn alone(&self, place: &Place) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let turn = turns.get(place).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(place.clone(), Arc::downgrade(&turn));
            turn
        };
        turn.lock_owned().await
    }
}

/// What an action may add.
#[derive(Clone, Copy, Debug)]
pub(super) struct Adds {
    pub(super) shards: bool,
    pub(super) on_demand: bool,
}

/// What there is. As long as this is held nobody else adds to it.
pub(super) struct Holdings<'a> {
    shared: &'a Shared,
    counted: Option<Counted>,
}

struct Counted {
    /// Open ones, and those that streams are being brought to.
    shards: usize,
    on_demand: usize,
    _alone: OwnedMutexGuard<()>,
}

impl Holdings<'_> {
    /// Counts, if something may be added that is bounded: it takes a look at each of the account's streams.
    pub(super) async fn of(shared: &Shared, adds: Adds) -> Result<Holdings<'_>, Error> {
        let limits = &shared.limits;
        if !(adds.shards && limits.hold_shards() || adds.on_demand && limits.hold_on_demand_streams()) {
            return Ok(Holdings { shared, counted: None });
        }
        let mut counted = Counted { shards: 0, on_demand: 0, _alone: shared.adding.alone(&shared.place).await };
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use super::*;
    use crate::gateway::rig::poll;

    #[test]
    fn those_of_one_place_add_one_after_the_other_and_nothing_is_kept_of_them() {
        let adding = Adding::default();
        let place = |region: &str| Place { region: region.to_owned(), ..Place::default() };
        let [here, there] = [place("eu-west-1"), place("us-west-2")];
        let mut first = pin!(adding.alone(&here));
        let Poll::Ready(first) = poll(first.as_mut()) else { panic!("nobody is there") };
        let mut second = pin!(adding.alone(&here));
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(pin!(adding.alone(&there))).is_ready(), "it is another place");
        drop(first);
        assert!(poll(second.as_mut()).is_ready());
        drop(poll(pin!(adding.alone(&there))));
        assert_eq!(adding.0.lock().unwrap().len(), 1);
    }
}
