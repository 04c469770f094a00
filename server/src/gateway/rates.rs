//! How often actions may be asked for: by an account in a region, or of one stream, shard or consumer.
//!
//! Each has room for as many calls at once as it may have in a second. What is kept of one is the time at which all of its room will
//! be there again; from then on it is as if nobody had ever called, and is forgotten. So what a client makes up is kept for a
//! second, and never is more kept than [`KEPT_MAX`]. Names are kept as their hashes.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde::Deserialize;
use wire::name::Place;
use wire::{Codec, Error, ErrorKind};

use super::requests::Requests;
use crate::config::ApiRates;

/// All of it is there again after this long.
const ROOM_NS: u64 = 1_000_000_000;

/// Callers and things called that are kept at once: what is asked of more is refused, for a second.
const KEPT_MAX: usize = 1 << 16;

/// Actions whose rate is not an account's: they count for themselves, once they know what is meant.
const OF_WHAT_IS_MEANT: [&str; 6] = [
    "DeregisterStreamConsumer",
    "DescribeStreamConsumer",
    "GetShardIterator",
    "ListShards",
    "ListStreamConsumers",
    "SubscribeToShard",
];

/// Who asked for what of late.
#[derive(Debug)]
pub(super) struct Rates {
    allowed: ApiRates,
    requests: Requests,
    began: Instant,
    hasher: RandomState,
    kept: Mutex<Kept>,
}

/// When each has all its room again, in nanoseconds since the beginning.
#[derive(Debug, Default)]
struct Kept {
    whole_ns: HashMap<u64, u64>,
    swept_ns: u64,
}

/// Members that name a stream.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Named {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
}

impl Rates {
    /// Allows this; what is refused counts among the requests.
    pub(super) fn new(allowed: ApiRates, requests: Requests) -> Rates {
        let (hasher, kept) = (RandomState::new(), Mutex::default());
        Rates { allowed, requests, began: Instant::now(), hasher, kept }
    }

    /// Whether what the service allows a few times a day is held to that where nothing else is said: it is, unless there are no
    /// rates at all.
    pub(super) fn hold_days(&self) -> bool {
        self.allowed != ApiRates::none()
    }

    /// An account asks for an action, by such a body.
    ///
    /// # Errors
    /// It has asked too often. The service names the stream where there is one.
    pub(super) fn of_account(
        &self,
        place: &Place,
        action: &'static str,
        codec: Codec,
        body: &[u8],
    ) -> Result<(), Error> {
        if OF_WHAT_IS_MEANT.contains(&action) || self.take(action, (&place.account, &place.region)) {
            return Ok(());
        }
        let named: Named = codec.parse(body).unwrap_or_default();
        Err(match place.stream_of(named.stream_name.as_deref(), named.stream_arn.as_deref()) {
            Ok(stream) => Error::new(ErrorKind::LimitExceeded, exceeded(place, &stream)),
            Err(_) => Error::new(ErrorKind::LimitExceeded, format!("Rate exceeded for account {}.", place.account)),
        })
    }

    /// An action is asked for of a stream.
    ///
    /// # Errors
    /// It was asked for too often.
    pub(super) fn of_stream(&self, place: &Place, action: &'static str, stream: &str) -> Result<(), Error> {
        let is_allowed = self.take(action, (&place.account, &place.region, stream));
        is_allowed.then_some(()).ok_or_else(|| Error::new(ErrorKind::LimitExceeded, exceeded(place, stream)))
    }

    /// Whether an action may be asked for once more of what is meant.
    pub(super) fn take(&self, action: &'static str, meant: impl Hash) -> bool {
        let Some(rate) = self.allowed.of(action) else { return true };
        let now_ns = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let key = self.hasher.hash_one((action, meant));
        let is_allowed = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take(key, rate, now_ns);
        if !is_allowed {
            self.requests.throttled(action);
        }
        is_allowed
    }
}

impl Kept {
    fn take(&mut self, key: u64, rate: NonZeroU32, now_ns: u64) -> bool {
        if now_ns.saturating_sub(self.swept_ns) >= ROOM_NS {
            self.swept_ns = now_ns;
            self.whole_ns.retain(|_, whole_ns| *whole_ns > now_ns);
        }
        if self.whole_ns.len() >= KEPT_MAX && !self.whole_ns.contains_key(&key) {
            return false;
        }
        let whole_ns = self.whole_ns.entry(key).or_insert(now_ns);
        let after_ns = now_ns.max(*whole_ns) + ROOM_NS / u64::from(rate.get());
        let is_allowed = after_ns - now_ns <= ROOM_NS;
        if is_allowed {
            *whole_ns = after_ns;
        }
        is_allowed
    }
}

/// What the service says where more is asked of a stream than it gives.
pub(super) fn exceeded(place: &Place, stream: &str) -> String {
    format!("Rate exceeded for stream {stream} under account {}.", place.account)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn rate(rate: u32) -> NonZeroU32 {
        NonZeroU32::new(rate).unwrap()
    }

    #[test]
    fn a_burst_is_what_comes_in_a_second_and_room_comes_back_bit_by_bit() {
        let mut kept = Kept::default();
        let mut burst = |key, per_second, now_ns| (0..100).filter(|_| kept.take(key, rate(per_second), now_ns)).count();
        assert_eq!([burst(1, 5, 0), burst(1, 5, 0), burst(2, 1, 0), burst(3, 3, 0)], [5, 0, 1, 3]);
        assert_eq!([burst(1, 5, 199 * MS), burst(1, 5, 200 * MS), burst(1, 5, 650 * MS)], [0, 1, 2]);
        // However long nobody calls, no more than a second's worth is saved up.
        assert_eq!([burst(1, 5, 3_600_000 * MS), burst(2, 1, 3_600_000 * MS)], [5, 1]);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let mut kept = Kept::default();
        let many = 2 * KEPT_MAX as u64;
        let allowed = (0..many).filter(|key| kept.take(*key, rate(5), 0)).count();
        assert_eq!((allowed, kept.whole_ns.len()), (KEPT_MAX, KEPT_MAX));
        assert!(kept.take(0, rate(5), 0), "who is known goes on");
        // All of them have their room again, and are forgotten.
        assert!(kept.take(many, rate(5), 1000 * MS));
        assert_eq!(kept.whole_ns.len(), 1);
    }
}
