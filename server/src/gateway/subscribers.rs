//! Who is being pushed records through SubscribeToShard: each consumer once a shard, the newest call of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use frame::ShardId;
use tokio::sync::watch;
use wire::{Error, ErrorKind};

/// A subscription that is older is taken over by the next call; a younger one has that call refused.
const YOUNG: Duration = Duration::from_secs(5);

type Seats = Mutex<HashMap<(String, ShardId), Taken>>;

#[derive(Debug)]
struct Taken {
    since: Instant,
    /// Says to whoever has it that it has not any more.
    end: watch::Sender<bool>,
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Subscribers {
    seats: Arc<Seats>,
    stopping: Arc<watch::Sender<bool>>,
}

/// A consumer's place at a shard. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    key: (String, ShardId),
    ended: watch::Receiver<bool>,
}

impl Subscribers {
    /// Takes a consumer's place at a shard, from another call if there is one.
    pub(super) fn begin(&self, consumer: &str, shard: ShardId) -> Result<Seat, Error> {
        let key = (consumer.to_owned(), shard);
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if seats.get(&key).is_some_and(|taken| taken.since.elapsed() < YOUNG) {
            let message = "Another active subscription exists for this consumer: it began less than 5 seconds ago.";
            return Err(Error::new(ErrorKind::ResourceInUse, message));
        }
        let (end, ended) = watch::channel(false);
        if let Some(other) = seats.insert(key.clone(), Taken { since: Instant::now(), end }) {
            let _ = other.end.send(true);
        }
        Ok(Seat { seats: Arc::clone(&self.seats), key, ended })
    }

    /// All subscriptions end, as at the end of their time: the server stops.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until they are to end.
    pub(super) async fn stopped(&self) {
        // It lives as long as this does.
        let _ = self.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }

    /// A consumer is no more.
    pub(super) fn end_all_of(&self, consumer: &str) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|(known, _), taken| {
            let is_other = known != consumer;
            if !is_other {
                let _ = taken.end.send(true);
            }
            is_other
        });
    }
}

impl Seat {
    /// Waits until somebody else has it, and tells what its client is told then.
    pub(super) async fn taken(&self) -> Error {
        let mut ended = self.ended.clone();
        // An error is that it was taken as well.
        let _ = ended.wait_for(|ended| *ended).await;
        let message = "Another subscription of this consumer took over, or the consumer was deregistered.";
        Error::new(ErrorKind::ResourceInUse, message)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        if !*self.ended.borrow() {
            seats.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_young_subscription_stands_and_an_old_one_is_taken_over() {
        let subscribers = Subscribers::default();
        let shard = ShardId(3);
        let first = subscribers.begin("a", shard).expect("nobody has it");
        assert_eq!(subscribers.begin("a", shard).map_err(|error| error.kind).err(), Some(ErrorKind::ResourceInUse));
        assert!(subscribers.begin("b", shard).is_ok() && subscribers.begin("a", ShardId(4)).is_ok(), "others are free");
        let age = |seats: &Seats| {
            let mut seats = seats.lock().unwrap();
            seats.values_mut().for_each(|taken| taken.since = Instant::now().checked_sub(YOUNG).expect("long ago"));
        };
        age(&subscribers.seats);
        let second = subscribers.begin("a", shard).expect("the first is old");
        assert!(*first.ended.borrow() && !*second.ended.borrow());
        // Who lost it does not take it away from who has it.
        drop(first);
        assert!(subscribers.begin("a", shard).is_err());
        drop(second);
        let third = subscribers.begin("a", shard).expect("it was given up");
        subscribers.end_all_of("a");
        assert!(*third.ended.borrow());
    }
}
