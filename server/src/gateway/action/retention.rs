//! How long the API lets a stream keep its records: 24 to 8,760 hours, and what both actions have in common that change it.

use engine::Stream;
use frame::Retention;
use wire::shape::RetentionPeriod;
use wire::validate::Checks;
use wire::{Error, ErrorKind};

use super::{state, stream_of};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// The service's bounds; the first is its default as well.
pub(super) const HOURS_MIN: u32 = 24;
const HOURS_MAX: u32 = 8760;

const HOUR_SECONDS: u32 = 3600;

/// So many hours.
pub(super) fn of_hours(hours: u32) -> Retention {
    Retention::of_seconds(hours * HOUR_SECONDS)
}

/// As the API tells it. What it has no word for, it tells as the nearest that it has: a stream without end has the longest.
pub(super) fn told_hours(retention: Retention) -> u32 {
    retention.seconds.map_or(HOURS_MAX, |seconds| seconds.get().div_ceil(HOUR_SECONDS)).min(HOURS_MAX)
}

/// Which way it may go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Increase,
    Decrease,
}

/// Has a stream's records kept for so many hours, if that is a change of this kind, or none.
pub(super) async fn change(shared: &Shared, input: RetentionPeriod, change: Change) -> Result<(), Error> {
    let (name, arn) = (input.stream_name.as_deref(), input.stream_arn.as_deref());
    let mut checks = Checks::new();
    checks.required("retentionPeriodHours", input.retention_period_hours.as_ref());
    let name = stream_of(&shared.place, &mut checks, name, arn)?;
    let hours = input.retention_period_hours.unwrap_or_default();
    let argument = |message: String| Error::new(ErrorKind::InvalidArgument, message);
    let decide = |stream: &Stream, extras: &Extras| {
        state::be_active(&shared.place, stream, extras)?;
        if hours < i64::from(HOURS_MIN) {
            return Err(argument(format!(
                "Minimum allowed retention period is {HOURS_MIN} hours. Requested retention period ({hours} hours) is too short."
            )));
        }
        let hours = u32::try_from(hours).ok().filter(|hours| *hours <= HOURS_MAX).ok_or_else(|| {
            argument(format!(
                "Maximum allowed retention period is {HOURS_MAX} hours. Requested retention period ({hours} hours) is too long."
            ))
        })?;
        let now = told_hours(stream.retention);
        match change {
            Change::Increase if hours < now => Err(argument(format!(
                "Requested retention period ({hours} hours) for stream {name} can not be shorter than existing retention \
                 period ({now} hours). Use DecreaseStreamRetentionPeriod API."
            ))),
            Change::Decrease if hours > now => Err(argument(format!(
                "Requested retention period ({hours} hours) for stream {name} can not be longer than existing retention \
                 period ({now} hours). Use IncreaseStreamRetentionPeriod API."
            ))),
            Change::Increase | Change::Decrease => Ok(of_hours(hours).seconds),
        }
    };
    shared.log.set_retention_period(&shared.place, &name, decide).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_has_no_word_for_is_told_as_the_nearest() {
        for (seconds, hours) in [(0, 8760), (1, 1), (3600, 1), (3601, 2), (86_400, 24), (u32::MAX, 8760)] {
            assert_eq!(told_hours(Retention::of_seconds(seconds)), hours, "{seconds}");
        }
    }
}
