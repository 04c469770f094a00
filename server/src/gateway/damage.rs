//! Damaged records, as readers of the API meet them. It has no words for them: a reader is refused, and its clients ask again for
//! ever. So it is told where it would go on, and an operator may have all readers go on there.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use frame::proto::Failure;
use frame::{Sequence, ShardId};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use wire::Error;
use wire::sequence::SequenceNumber;

use super::log::kind;

/// Records that were passed over so far. Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct PassedOver {
    records: Counter,
    /// The last that were told of: the shard, and where readers went on.
    last: Arc<Mutex<(ShardId, Sequence)>>,
}

impl PassedOver {
    /// Has them told by `registry`.
    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Damaged records that readers of the Kinesis API were not given, as --past-damage says, once for each reader";
        registry.register("http_damaged_records_passed_over", help, self.records.clone());
    }

    /// A reader goes on behind these.
    fn note(&self, stream: &str, shard: ShardId, numbers: &Range<Sequence>) {
        self.records.inc_by(numbers.end.0 - numbers.start.0);
        let mut last = self.last.lock().expect("nobody panics here");
        // Those that are told of one by one make one line.
        if std::mem::replace(&mut *last, (shard, numbers.end)) != (shard, numbers.start) {
            let (from, to) = (numbers.start, numbers.end.0 - 1);
            tracing::warn!("records {from} to {to} of shard {shard} of stream {stream} are passed over: damaged");
        }
    }
}

/// What becomes of readers at damaged records.
#[derive(Debug)]
pub(super) struct Damaged {
    /// Whether they go on behind them.
    goes_on: bool,
    passed_over: PassedOver,
}

impl Damaged {
    pub(super) fn new(goes_on: bool, passed_over: PassedOver) -> Damaged {
        Damaged { goes_on, passed_over }
    }

    /// Where a reader goes on that met a failure, or why it does not. `place` is its shard, as callers know it.
    pub(super) fn go_on(
        &self,
        stream: &str,
        (shard, place): (ShardId, SequenceNumber),
        failure: Failure,
    ) -> Result<Sequence, Error> {
        let Failure { code, detail, damaged } = failure;
        let Some(numbers) = damaged else { return Err(Error::new(kind(code), detail)) };
        if self.goes_on {
            self.passed_over.note(stream, shard, &numbers);
            return Ok(numbers.end);
        }
        let next = SequenceNumber { number: numbers.end.0, ..place };
        let detail = format!(
            "{detail}; AT_SEQUENCE_NUMBER {next} goes on behind them, as all readers do with `serve --past-damage`"
        );
        Err(Error::new(kind(code), detail))
    }
}
