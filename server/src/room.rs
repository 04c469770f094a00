//! Room for what waits to be sent, in bytes; and who holds some of it and takes little.
//!
//! Each answer holds room until it is sent. The kernel ends the connection of whoever takes nothing; who takes little, or leaves
//! one answer of many over HTTP/2 lying, may do so for as long as there is room. Once somebody has waited for some for a while,
//! whoever takes less than a least rate loses its connection, and so the room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Who has waited for so long is held up. Shorter waits are those of any load.
const WAIT: Duration = Duration::from_secs(3);

/// How long an answer may lie of which little is taken, once others are held up.
const SLOW_TIMEOUT: Duration = Duration::from_secs(10);

/// So many bytes are worth a second more. It is more than what the kernel keeps of one is worth.
const BYTES_PER_SECOND_MIN: u64 = 256 << 10;

/// So many bytes, over all connections.
#[derive(Debug)]
pub(crate) struct Room {
    free: Arc<Semaphore>,
    /// How many are held up.
    held_up: AtomicUsize,
}

impl Room {
    pub(crate) fn of(bytes: usize) -> Arc<Room> {
        Arc::new(Room { free: Arc::new(Semaphore::new(bytes)), held_up: AtomicUsize::new(0) })
    }

    /// Takes so much of it, once there is that much.
    pub(crate) async fn take(self: &Arc<Room>, bytes: u32) -> Taken {
        let mut taking = std::pin::pin!(Arc::clone(&self.free).acquire_many_owned(bytes));
        let taken = match timeout(WAIT, &mut taking).await {
            Ok(taken) => taken,
            Err(_) => {
                let _held_up = HeldUp::begin(self);
                taking.await
            }
        };
        Taken { permit: taken.expect("it is never closed"), room: Arc::clone(self) }
    }
}

/// Somebody waits for room.
struct HeldUp<'a>(&'a Room);

impl HeldUp<'_> {
    fn begin(room: &Room) -> HeldUp<'_> {
        room.held_up.fetch_add(1, Ordering::Relaxed);
        HeldUp(room)
    }
}

impl Drop for HeldUp<'_> {
    fn drop(&mut self) {
        self.0.held_up.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Some of it. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Taken {
    permit: OwnedSemaphorePermit,
    room: Arc<Room>,
}

impl Taken {
    /// What is needed of it. More is given back.
    pub(crate) fn needed(mut self, bytes: usize) -> Taken {
        let permit = self.permit.split(bytes).unwrap_or(self.permit);
        Taken { permit, room: self.room }
    }
}

/// An answer that holds room, as its connection sees it. Dropping it gives the room back.
#[derive(Debug)]
pub(crate) struct Holding {
    taken: Taken,
    began: Instant,
    /// Bytes of it that were handed on to be sent.
    handed_on: AtomicU64,
}

impl Holding {
    /// Nothing of it was handed on yet.
    pub(crate) fn begin(taken: Taken) -> Holding {
        Holding { taken, began: Instant::now(), handed_on: AtomicU64::new(0) }
    }

    /// So much more of it was.
    pub(crate) fn hand_on(&self, bytes: usize) {
        self.handed_on.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Whether others wait for its room although little of it is taken.
    pub(crate) fn holds_up_others(&self) -> bool {
        let earned = Duration::from_secs(self.handed_on.load(Ordering::Relaxed) / BYTES_PER_SECOND_MIN);
        self.taken.room.held_up.load(Ordering::Relaxed) > 0 && self.began.elapsed() > SLOW_TIMEOUT + earned
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn who_takes_little_holds_others_up_once_they_wait() {
        let room = Room::of(10);
        let aged = async |age: Duration, handed_on| Holding {
            taken: room.take(1).await,
            began: Instant::now().checked_sub(age).expect("long ago"),
            handed_on: AtomicU64::new(handed_on),
        };
        let minute = 60 * BYTES_PER_SECOND_MIN;
        let old = [aged(SLOW_TIMEOUT * 2, 0).await, aged(SLOW_TIMEOUT * 8, minute).await];
        let (fast, new) = (aged(SLOW_TIMEOUT * 6, minute).await, Holding::begin(room.take(7).await.needed(5)));
        assert_eq!(room.free.available_permits(), 2);
        assert!(!old.iter().chain([&fast, &new]).any(Holding::holds_up_others), "nobody waits");
        let waiting = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.take(3).await }
        });
        sleep(WAIT + Duration::from_millis(500)).await;
        assert_eq!([&old[0], &old[1], &fast, &new].map(Holding::holds_up_others), [true, true, false, false]);
        old[0].hand_on(minute as usize);
        assert!(!old[0].holds_up_others(), "it goes on");
        drop((old, fast, new));
        drop(waiting.await.unwrap());
        assert_eq!((room.free.available_permits(), room.held_up.load(Ordering::Relaxed)), (10, 0));
    }
}
