//! Streams on demand: shards that come near what one takes in are split before they refuse anything, those that little comes to
//! are merged, and where most comes is told to whoever watches the server.
//!
//! ```text
//!   each look: engine::Call::Demand, of every reactor -> past: shares of a shard's quotas -> plan -> splits and merges
//! ```
//!
//! What was seen is not kept: a server that starts again looks anew.

mod past;
mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::Stream;
use engine::demand::Demand;
use frame::StreamId;
use frame::proto::ShardDescription;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use wire::name::Place;
use wire::{Error, ErrorKind};

use self::past::Past;
use self::plan::Bounds;
use super::action::shard_name;
use super::extras::Extras;
use super::steps::{self, Step};
use super::{Common, Shared};

/// How often demand is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// A shard is told to be hot from this share of its quotas on: where it is split, if it can be.
const HOT: f64 = 0.5;

/// A key is told to be hot from this share of what one shard takes in on.
const HOT_KEY: f64 = 0.1;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct HotShard {
    account: String,
    region: String,
    stream: String,
    shard: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct HotKey {
    account: String,
    region: String,
    stream: String,
    key: String,
}

/// Where most comes, for those who watch. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct HotSpots {
    shards: Family<HotShard, Gauge<f64, std::sync::atomic::AtomicU64>>,
    keys: Family<HotKey, Gauge<f64, std::sync::atomic::AtomicU64>>,
}

/// Those of one round, with their shares.
#[derive(Default)]
struct Seen {
    shards: Vec<(HotShard, f64)>,
    keys: Vec<(HotKey, f64)>,
}

impl HotSpots {
    /// What was seen takes the place of what was seen before.
    fn replace(&self, seen: &Seen) {
        self.shards.clear();
        self.keys.clear();
        for (shard, share) in &seen.shards {
            self.shards.get_or_create(shard).set(*share);
        }
        for (key, share) in &seen.keys {
            self.keys.get_or_create(key).set(*share);
        }
    }

    /// Has them told by `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let help = "Shards of streams on demand that take in half of their quota or more, as a share of it";
        registry.register("hot_shard", help, self.shards.clone());
        let help = "Partition keys of streams on demand under which a tenth of a shard's quota comes or more, as a share of it";
        registry.register("hot_key", help, self.keys.clone());
    }
}

/// Looks at all streams on demand, for as long as the gateway lives.
pub(super) async fn run(common: Arc<Common>) {
    let mut pasts: BTreeMap<StreamId, Past> = BTreeMap::new();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        look_at_all(&common, &mut pasts).await;
    }
}

/// One look at each.
async fn look_at_all(common: &Arc<Common>, pasts: &mut BTreeMap<StreamId, Past>) {
    let mut streams = Vec::new();
    let each = |place: Place, stream: Stream| {
        // One that can't be read is told of elsewhere; one without limits needs no more shards.
        let extras = Extras::of(&stream).unwrap_or_default();
        if extras.on_demand
            && extras.scaling.is_none()
            && let Some(bounds) = Bounds::of(&stream, &extras)
        {
            streams.push((Shared { common: Arc::clone(common), place }, stream, bounds));
        }
    };
    if common.log.each_of_all(each).await.is_err() {
        return;
    }
    pasts.retain(|number, _| streams.iter().any(|(_, stream, _)| stream.stream == *number));
    let mut seen = Seen::default();
    for (shared, stream, bounds) in &streams {
        let past = pasts.entry(stream.stream).or_default();
        if let Err(error) = look(shared, (stream, bounds), past, &mut seen).await {
            tracing::debug!(stream = stream.name, %error, "the stream's demand could not be looked at");
        }
    }
    common.hot_spots.replace(&seen);
}

/// Looks at one, and does what is to be done.
async fn look(
    shared: &Shared,
    (stream, bounds): (&Stream, &Bounds),
    past: &mut Past,
    seen: &mut Seen,
) -> Result<(), Error> {
    let (place, name) = (&shared.place, stream.name.as_str());
    let demand = shared.log.demand(place, name).await?;
    let now = Instant::now();
    let (_, shards) = shared.log.describe(place, name, 0, u32::MAX).await?;
    let open = steps::open(shards);
    let Some(seconds) = past.add(&open, &demand, bounds, now) else { return Ok(()) };
    seen.note((place, stream), (&open, past), (&demand, seconds), bounds);
    for step in plan::steps(&open, past, &demand, bounds) {
        let told = match step {
            Step::Split(..) => "a hot shard is split",
            Step::Merge(_) => "two idle shards are merged",
        };
        match step.take(shared, name, &open).await {
            Ok(()) => tracing::info!(stream = name, shards = open.len(), "on demand: {told}"),
            // More shards than there may be are more until somebody does something about it.
            Err(error) if error.kind == ErrorKind::LimitExceeded => {
                tracing::warn!(stream = name, %error, "on demand: it can't follow its load");
            }
            // It is seen again at the next look.
            Err(error) => tracing::debug!(stream = name, %error, "on demand: it was not to be"),
        }
    }
    Ok(())
}

impl Seen {
    /// Takes up what is hot of a stream.
    fn note(
        &mut self,
        (place, stream): (&Place, &Stream),
        (open, past): (&[ShardDescription], &Past),
        (demand, seconds): (&Demand, f64),
        bounds: &Bounds,
    ) {
        let (account, region, name) = (|| place.account.clone(), || place.region.clone(), || stream.name.clone());
        for shard in open {
            let share = past.share(shard.shard);
            if share >= HOT {
                self.shards.push((
                    HotShard {
                        account: account(),
                        region: region(),
                        stream: name(),
                        shard: shard_name(stream, shard.shard).to_string(),
                    },
                    share,
                ));
            }
        }
        for (key, kib) in &demand.keys {
            let share = bounds.share_of_bytes((kib << 10) as f64 / seconds);
            if share >= HOT_KEY {
                let key = String::from_utf8_lossy(key).into_owned();
                self.keys.push((HotKey { account: account(), region: region(), stream: name(), key }, share));
            }
        }
    }
}

#[cfg(test)]
#[path = "on_demand/tests.rs"]
mod tests;
