//! A shard's records as the log pushes them, for a task that waits for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine::{Answer, Call, Follower, Handle, Hear};
use frame::parts::{self, Joiner, Record};
use frame::proto::{Client, ClientEvent, ErrorCode, Failure, ReadResult, Subscribe};
use frame::{Frame, Sequence};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, sleep};

use super::log::THROTTLED;

/// Bytes of frames that may be on their way to one: what the log pushes at once, a few times.
const CREDIT_BYTES: u64 = 1 << 20;

/// The same to all together, as long as there are so few that each still has the least.
const ALL_CREDIT_BYTES: u64 = 256 << 20;
const CREDIT_BYTES_MIN: u64 = 64 << 10;

/// A follower that could not say that it took something, as the reactor has too many calls, tries again after this long.
const RETRY: Duration = Duration::from_millis(5);

/// How many follow. Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Followers(Arc<AtomicUsize>);

impl Followers {
    /// What one of them may have on its way.
    fn credit_bytes(&self) -> u64 {
        let count = self.0.load(Ordering::Relaxed).max(1) as u64;
        (ALL_CREDIT_BYTES / count).clamp(CREDIT_BYTES_MIN, CREDIT_BYTES)
    }
}

/// Records of a shard, as they become durable. Dropping it ends them.
pub(super) struct Following {
    followers: Followers,
    place: Place,
    lots: mpsc::Receiver<Vec<u8>>,
    client: Client,
    /// Being read, and how far it was.
    lot: Vec<u8>,
    at: usize,
    /// Bytes of frames taken, since the beginning.
    taken: u64,
    joiner: Joiner,
    /// Whether a lot was told, and the log does not know that it was taken.
    owes: bool,
    /// Whether no record was told yet.
    is_first: bool,
}

/// One thing that is heard of a shard.
#[derive(Debug)]
pub(super) enum Heard {
    /// Where it stands, behind the records that were given before.
    Place(ReadResult),
    /// It began within a record in parts, whose first part has this number.
    Within(Sequence),
    /// Nothing more comes, and why.
    Ended(Failure),
}

impl Following {
    /// Begins.
    pub(super) async fn begin(
        (handle, followers): (&Handle, &Followers),
        subscribe: Subscribe,
    ) -> Result<Following, wire::Error> {
        // What is dropped first refuses what is told, where whoever asked leaves before it has a place.
        let (tell, told) = oneshot::channel();
        // One lot is told at a time.
        let (sender, lots) = mpsc::channel(1);
        let hear = Hear::new(move |lot| sender.try_send(lot).is_ok());
        let granted = followers.credit_bytes();
        let reply = {
            let handle = handle.clone();
            move |answer| {
                let place = match answer {
                    Answer::Following(follower) => Some(Place { handle, follower: Some(follower) }),
                    _ => None,
                };
                // Whoever asked is gone, and is told nothing: so the log finds out.
                if let Err(Some(place)) = tell.send(place) {
                    place.leave();
                }
            }
        };
        let call = Call::Follow { subscribe: Subscribe { granted, ..subscribe }, hear };
        handle.call(call, reply).map_err(|full| wire::Error::new(THROTTLED, full.to_string()))?;
        let ended = |_| wire::Error::new(wire::ErrorKind::InternalFailure, "The server is shutting down.");
        let full = "The server has all the subscribers it takes.";
        let place = told.await.map_err(ended)?.ok_or_else(|| wire::Error::new(wire::ErrorKind::LimitExceeded, full))?;
        followers.0.fetch_add(1, Ordering::Relaxed);
        Ok(Following {
            followers: followers.clone(),
            place,
            lots,
            client: Client::inside(),
            lot: Vec::new(),
            at: 0,
            taken: 0,
            joiner: Joiner::new(),
            owes: false,
            is_first: true,
        })
    }

    /// It goes on where another began within a record: if that record's first part has expired, it is passed over.
    pub(super) fn going_on(mut self) -> Following {
        self.is_first = false;
        self
    }

    /// The next that is heard. Records that come before it are given to `each`, and whether they are kept encrypted. May be dropped
    /// and called again.
    pub(super) async fn next(&mut self, mut each: impl FnMut(&Record<'_>, bool)) -> Heard {
        let mut place: Option<ReadResult> = None;
        loop {
            let step = self.client.step(&self.lot, &mut self.at);
            match step {
                Ok(Some(ClientEvent::ReadBegin(_, result))) => place = Some(result),
                Ok(Some(ClientEvent::Record(span))) => {
                    let Ok(frame) = Frame::parse(self.client.bytes(&span, &self.lot)) else {
                        return Heard::Ended(corrupt("a frame can't be read"));
                    };
                    self.taken += frame.length() as u64;
                    let first = parts::first_of(&frame);
                    if std::mem::take(&mut self.is_first) && first < frame.sequence() {
                        return Heard::Within(first);
                    }
                    if let Some(record) = self.joiner.push(&frame) {
                        each(&record, place.is_some_and(|place| place.encrypted));
                    }
                }
                Ok(Some(ClientEvent::ReadEnd(_))) => {
                    if let Some(place) = place.take() {
                        let next = self.joiner.waits_from().unwrap_or(place.next);
                        return Heard::Place(ReadResult { next, ..place });
                    }
                }
                Ok(Some(ClientEvent::Error(_, failure))) => return Heard::Ended(failure),
                Ok(Some(_)) => {}
                Ok(None) => {
                    // Whole messages, so nothing of it is left.
                    (self.lot, self.at) = (Vec::new(), 0);
                    if self.owes {
                        self.took().await;
                        self.owes = false;
                    }
                    match self.lots.recv().await {
                        Some(lot) => (self.lot, self.at, self.owes) = (lot, 0, true),
                        None => return Heard::Ended(corrupt("the server is shutting down")),
                    }
                }
                Err(violation) => return Heard::Ended(corrupt(&violation.to_string())),
            }
        }
    }

    /// Whether more is heard without waiting.
    pub(super) fn has_more(&self) -> bool {
        self.at < self.lot.len()
    }

    /// What was told was taken: more may come.
    async fn took(&self) {
        let granted = self.taken + self.followers.credit_bytes();
        let Place { handle, follower: Some(follower) } = &self.place else { return };
        while handle.call(Call::Took { follower: *follower, granted }, drop).is_err() {
            sleep(RETRY).await;
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.followers.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A follower's place in the log, which is given back when this is dropped: also where it was on its way to somebody who has gone.
struct Place {
    handle: Handle,
    follower: Option<Follower>,
}

impl Place {
    /// It is not given back.
    fn leave(mut self) {
        self.follower = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(follower) = self.follower.take() else { return };
        let handle = self.handle.clone();
        if handle.call(Call::Unfollow(follower), drop).is_err() {
            tokio::spawn(async move {
                while handle.call(Call::Unfollow(follower), drop).is_err() {
                    sleep(RETRY).await;
                }
            });
        }
    }
}

fn corrupt(detail: &str) -> Failure {
    Failure::new(ErrorCode::ShuttingDown, detail)
}
