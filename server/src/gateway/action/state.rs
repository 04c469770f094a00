//! What state a stream is in, as descriptions tell it, and which one an action asks for.

use engine::Stream;
use wire::name::Place;
use wire::shape::{EnhancedMetrics, StreamMode, WarmThroughput};
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::now_ms;
use crate::config::A_DAY_MAX;
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// Metrics of single shards, in the model's order.
pub(super) const METRICS: [&str; 7] = [
    "IncomingBytes",
    "IncomingRecords",
    "OutgoingBytes",
    "OutgoingRecords",
    "WriteProvisionedThroughputExceeded",
    "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
];

/// How large a record may be, unless that is set: the service's default, and the bounds of what may be set.
pub(super) const RECORD_KIB_DEFAULT: u32 = 1024;
pub(super) const RECORD_KIB_MAX: u32 = 10_240;

pub(super) fn status(extras: &Extras) -> &'static str {
    if extras.scaling.is_some() { "UPDATING" } else { "ACTIVE" }
}

pub(super) fn mode(extras: &Extras) -> StreamMode {
    StreamMode { stream_mode: if extras.on_demand { "ON_DEMAND" } else { "PROVISIONED" } }
}

pub(super) fn monitoring(extras: &Extras) -> [EnhancedMetrics; 1] {
    [EnhancedMetrics { shard_level_metrics: metrics(extras) }]
}

pub(super) fn metrics(extras: &Extras) -> Vec<&'static str> {
    METRICS.into_iter().filter(|metric| extras.metrics.contains(*metric)).collect()
}

pub(super) fn distribution(extras: &Extras) -> &'static str {
    if extras.spread { "AUTO" } else { "USER_PARTITION_KEY" }
}

/// What a stream on demand takes in: a MiB a second in each shard. Told where the account has committed itself.
pub(super) async fn warm_throughput(
    shared: &Shared,
    stream: &Stream,
    extras: &Extras,
) -> Result<Option<WarmThroughput>, Error> {
    let (target_mi_bps, current_mi_bps) = (extras.warm_mibps, stream.open_shards);
    let is_told = extras.on_demand && shared.log.account(&shared.place).await?.is_committed(now_ms());
    Ok(is_told.then_some(WarmThroughput { target_mi_bps, current_mi_bps }))
}

/// Changes what is kept beside a stream, if it is not being changed otherwise.
pub(super) async fn change<T>(
    shared: &Shared,
    name: &str,
    change: impl FnOnce(&Stream, &mut Extras) -> Result<T, Error>,
) -> Result<T, Error> {
    let change = |stream: &Stream, extras: &mut Extras| {
        be_active(&shared.place, stream, extras)?;
        change(stream, extras)
    };
    shared.log.change(&shared.place, name, change).await
}

/// That a stream may be changed.
pub(super) fn be_active(place: &Place, stream: &Stream, extras: &Extras) -> Result<(), Error> {
    let status = status(extras);
    if status == "ACTIVE" {
        return Ok(());
    }
    let (name, account) = (&stream.name, &place.account);
    let message = format!("Stream {name} under account {account} not ACTIVE, instead in state {status}");
    Err(Error::new(ErrorKind::ResourceInUse, message))
}

/// That a stream's shards are its owner's to split and merge.
pub(super) fn be_provisioned(place: &Place, stream: &Stream, extras: &Extras) -> Result<(), Error> {
    if !extras.on_demand {
        return Ok(());
    }
    let (name, account) = (&stream.name, &place.account);
    let message = format!("Request is invalid. Stream {name} under account {account} is in On-Demand mode.");
    Err(Error::new(ErrorKind::Validation, message))
}

/// Takes one of the times that an action may be asked for of a stream in 24 hours, whichever those are; `times_ms` are those
/// of late, of which no more are kept than may be set.
pub(super) fn take_daily(
    (action, stream): (&str, &str),
    times_ms: &mut Vec<u64>,
    times_max: usize,
) -> Result<(), Error> {
    let now_ms = now_ms();
    times_ms.retain(|then_ms| is_of_late(*then_ms, now_ms));
    if times_ms.len() >= times_max {
        let message = format!("{action} is possible {times_max} times in 24 hours for stream {stream}.");
        return Err(Error::new(ErrorKind::LimitExceeded, message));
    }
    times_ms.push(now_ms);
    let surplus = times_ms.len().saturating_sub(A_DAY_MAX);
    times_ms.drain(..surplus);
    Ok(())
}

/// Whether something was in the last 24 hours. What lies ahead was noted while the clock was wrong, and would count until then.
fn is_of_late(then_ms: u64, now_ms: u64) -> bool {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    now_ms.checked_sub(then_ms).is_some_and(|since_ms| since_ms < DAY_MS)
}

/// That a mode is one.
pub(super) fn check_mode(checks: &mut Checks, mode: Option<&str>) {
    checks.one_of("streamModeDetails.streamMode", mode, &["PROVISIONED", "ON_DEMAND"]);
}

/// That a way to find shards is one.
pub(super) fn check_distribution(checks: &mut Checks, distribution: Option<&str>) {
    checks.one_of("recordDistributionStrategy", distribution, &["AUTO", "USER_PARTITION_KEY"]);
}

/// That a record may be set to be so large.
pub(super) fn check_record_kib(checks: &mut Checks, kib: Option<i64>) {
    checks.range("maxRecordSizeInKiB", kib, RECORD_KIB_DEFAULT.into(), RECORD_KIB_MAX.into());
}

/// That a stream may have its records spread over its shards, if it is to.
pub(super) fn may_spread(extras: &Extras) -> Result<(), Error> {
    if extras.on_demand || !extras.spread {
        return Ok(());
    }
    let message = "The RecordDistributionStrategy AUTO is for streams in On-Demand mode only.";
    Err(Error::new(ErrorKind::InvalidArgument, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a stream whose shards were counted anew while the clock was years ahead could not be for years. Mechanism: what lay ahead
    /// counted as just now. Fix: it doesn't count.
    #[test]
    fn what_lies_ahead_is_not_of_late() {
        let (now_ms, day_ms) = (1_795_000_000_000, 86_400_000);
        let counts = |then_ms| is_of_late(then_ms, now_ms);
        assert!(counts(now_ms) && counts(now_ms - day_ms + 1));
        assert!(!counts(now_ms - day_ms) && !counts(now_ms + 1) && !counts(now_ms + 3650 * day_ms));
    }
}
