//! Brings streams to the number of shards that was asked for, by splits and merges, while records come.
//!
//! What is wanted lies beside the stream until it is reached, so the next life takes up what the last one left: each round looks at
//! the shards as they are. A stream that can't be brought any further stays as it is by then, and the log says why.

mod plan;

use std::sync::Arc;
use std::time::Duration;

use engine::Stream;
use frame::StreamId;
use wire::name::Place;
use wire::{Error, ErrorKind};

use super::extras::Extras;
use super::{Common, Shared, steps};

/// Streams at once. The next wait, and are UPDATING meanwhile.
pub(super) const STREAMS_MAX: usize = 4;

/// What is refused for the moment is tried again after this long.
const RETRY: Duration = Duration::from_millis(100);

/// Goes on, after a start, with all that was begun; and finds the streams whose records are spread.
pub(super) async fn resume(common: Arc<Common>) {
    let begun = loop {
        let mut begun = Vec::new();
        let each = |place: Place, stream: Stream| match Extras::of(&stream) {
            Ok(extras) => {
                common.log.note_spread(&place, &stream.name, &extras);
                begun.extend(extras.scaling.map(|target| (place, stream, target)));
            }
            Err(error) => tracing::warn!(%error, "a stream is left as it is"),
        };
        match common.log.each_of_all(each).await {
            Ok(()) => break begun,
            Err(error) if may_pass(error.kind) => tokio::time::sleep(RETRY).await,
            // The server is shutting down.
            Err(_) => return,
        }
    };
    common.log.spread_is_complete();
    for (place, stream, target) in begun {
        begin(&Arc::new(Shared { common: Arc::clone(&common), place }), &stream, target);
    }
}

/// Begins to bring a stream to a number of shards that is written down beside it. Another may be by the time that this ends: then
/// that is somebody else's.
pub(super) fn begin(shared: &Arc<Shared>, stream: &Stream, target: u32) {
    let (shared, name, goal) = (Arc::clone(shared), stream.name.clone(), Goal { made: stream.stream, target });
    tokio::spawn(async move {
        let _room = shared.scaling.acquire().await.expect("it is never closed");
        if let Err(error) = run(&shared, &name, goal).await {
            tracing::warn!(stream = name, %error, "the stream stays with the shards that it has");
        }
        end(&shared, &name, goal).await;
    });
}

/// What a stream is brought to.
#[derive(Clone, Copy)]
struct Goal {
    /// The stream that had the name then.
    made: StreamId,
    /// Shards that are open.
    target: u32,
}

impl Goal {
    /// Whether it is still what is wanted.
    fn holds(self, stream: StreamId, extras: &Extras) -> bool {
        stream == self.made && extras.scaling == Some(self.target)
    }
}

/// Goes on until nothing is left to do.
async fn run(shared: &Shared, name: &str, goal: Goal) -> Result<(), Error> {
    let mut refused = None;
    loop {
        let (stream, shards) = match shared.log.describe(&shared.place, name, 0, u32::MAX).await {
            Ok(described) => described,
            Err(error) if error.kind == ErrorKind::ResourceNotFound => return Ok(()),
            Err(error) if may_pass(error.kind) => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        if !goal.holds(stream.stream, &Extras::of(&stream)?) {
            return Ok(());
        }
        let open = steps::open(shards);
        let ranges: Vec<_> = open.iter().map(|shard| (shard.hash_start, shard.hash_end)).collect();
        let steps = plan::round(&ranges, goal.target);
        if steps.is_empty() {
            return Ok(());
        }
        let (mut done, mut passes, mut refusal) = (0, false, None);
        for step in steps {
            match step.take(shared, name, &open).await {
                Ok(()) => done += 1,
                Err(error) if may_pass(error.kind) => passes = true,
                Err(error) => refusal = Some(error),
            }
        }
        match refusal {
            Some(error) if done == 0 && !passes && refused.as_ref() == Some(&ranges) => return Err(error),
            // Somebody else may have closed one of the shards meanwhile: then it is to be gone about otherwise.
            Some(_) if done == 0 && !passes => refused = Some(ranges),
            _ if done == 0 => tokio::time::sleep(RETRY).await,
            _ => {}
        }
    }
}

/// Whether it may be otherwise soon: a shard is being split by somebody else, say, or the disk is full.
fn may_pass(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ResourceInUse | ErrorKind::ProvisionedThroughputExceeded)
}

/// The stream is what it will be.
async fn end(shared: &Shared, name: &str, goal: Goal) {
    let ended = |stream: &Stream, extras: &mut Extras| {
        if goal.holds(stream.stream, extras) {
            extras.scaling = None;
        }
        Ok(())
    };
    while let Err(error) = shared.log.change(&shared.place, name, ended).await {
        if error.kind == ErrorKind::ResourceNotFound {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug, found on reading: a stream that was to have another number of shards could stay as it was. Mechanism: after a start two may
    /// be about one stream, and the later one, done with what it was begun for, cleared what was wanted since. Fix: it is done
    /// with its own goal alone.
    #[test]
    fn what_is_wanted_since_is_somebody_elses() {
        let goal = Goal { made: StreamId(7), target: 4 };
        let wanted = |scaling| Extras { scaling, ..Extras::default() };
        assert!(goal.holds(StreamId(7), &wanted(Some(4))));
        for (stream, scaling) in [(7, Some(8)), (7, None), (8, Some(4))] {
            assert!(!goal.holds(StreamId(stream), &wanted(scaling)), "{stream} {scaling:?}");
        }
    }
}
