//! What a stream on demand is to take in without growing first: a shard for each MiB a second, and never fewer than it has.

use std::sync::Arc;

use engine::Stream;
use wire::shape::WarmThroughput;
use wire::{Error, ErrorKind};

use super::{now_ms, state};
use crate::gateway::extras::Extras;
use crate::gateway::{Shared, scaling};

/// The service's bound, 10 GiB a second.
const MIBPS_MAX: u32 = 10 << 10;

/// So many MiB a second, if the account and the stream's mode let one ask for that.
pub(super) async fn check(shared: &Shared, wanted: Option<i64>) -> Result<Option<u32>, Error> {
    let Some(wanted) = wanted else { return Ok(None) };
    let argument = |message: String| Error::new(ErrorKind::InvalidArgument, message);
    let account = shared.log.account(&shared.place).await?;
    if !account.is_committed(now_ms()) {
        let account = &shared.place.account;
        return Err(argument(format!(
            "WarmThroughputMiBps needs MinimumThroughputBillingCommitment to be ENABLED for account {account}. \
             Use UpdateAccountSettings."
        )));
    }
    let wanted = u32::try_from(wanted).ok().filter(|wanted| *wanted <= MIBPS_MAX);
    let too_much = || Error::new(ErrorKind::LimitExceeded, format!("WarmThroughputMiBps is at most {MIBPS_MAX}."));
    wanted.map(Some).ok_or_else(too_much)
}

/// That it is asked of a stream on demand.
pub(super) fn be_on_demand(extras: &Extras) -> Result<(), Error> {
    if extras.on_demand {
        return Ok(());
    }
    let message = "WarmThroughputMiBps is only valid for streams in On-Demand mode.";
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

/// Makes a change to a stream; where this comes with it, the stream begins to grow, if it has fewer shards than that takes.
pub(super) async fn change(
    shared: &Arc<Shared>,
    name: &str,
    mibps: Option<u32>,
    change: impl FnOnce(&mut Extras) -> Result<(), Error>,
) -> Result<WarmThroughput, Error> {
    let change = |stream: &Stream, extras: &mut Extras| {
        change(extras)?;
        if mibps.is_some() {
            be_on_demand(extras)?;
            extras.warm_mibps = mibps;
            extras.scaling = Some(shards(mibps)).filter(|shards| *shards > stream.open_shards);
        }
        let begins = extras.scaling.map(|target| (stream.clone(), target));
        let (target_mi_bps, current_mi_bps) = (extras.warm_mibps, stream.open_shards);
        Ok((WarmThroughput { target_mi_bps, current_mi_bps }, begins))
    };
    let (told, begins) = state::change(shared, name, change).await?;
    if let Some((stream, target)) = begins {
        scaling::begin(shared, &stream, target);
    }
    Ok(told)
}

/// How many shards it takes.
pub(super) fn shards(mibps: Option<u32>) -> u32 {
    mibps.unwrap_or_default().min(frame::limits::SHARDS_PER_STREAM_MAX as u32)
}
