//! Room for what waits to be sent, in bytes; and who holds some of it and takes nothing.
//!
//! Each answer holds room until it is sent. Over HTTP/1.1 the kernel ends the connection of whoever takes nothing. Over HTTP/2 one
//! answer may be left lying while others are taken: for as long as it likes while there is room. Once somebody has waited for
//! room for a while, whoever has left an answer lying for [`io::SEND_TIMEOUT`] loses its connection, and so the room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Who has waited for so long is held up. Shorter waits are those of any load.
const WAIT: Duration = Duration::from_secs(3);

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
    /// Since when something of it lies here that was not taken, in milliseconds since it began.
    lies_since_ms: AtomicU64,
}

/// All that there was has been taken.
const NOTHING_LIES: u64 = u64::MAX;

impl Holding {
    /// Something of it lies here.
    pub(crate) fn begin(taken: Taken) -> Holding {
        Holding { taken, began: Instant::now(), lies_since_ms: AtomicU64::new(0) }
    }

    /// It was asked for more: all that lay here was taken. Whether there is something again.
    pub(crate) fn asked(&self, is_given: bool) {
        let lies_since_ms = if is_given { self.began.elapsed().as_millis() as u64 } else { NOTHING_LIES };
        self.lies_since_ms.store(lies_since_ms, Ordering::Relaxed);
    }

    /// Whether others wait for its room although nobody takes it.
    pub(crate) fn holds_up_others(&self) -> bool {
        let lies_since = Duration::from_millis(self.lies_since_ms.load(Ordering::Relaxed));
        self.taken.room.held_up.load(Ordering::Relaxed) > 0
            && self.began.elapsed().saturating_sub(lies_since) > io::SEND_TIMEOUT
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn who_takes_nothing_holds_others_up_once_they_wait() {
        let room = Room::of(10);
        let old = async |bytes, lies_since_ms| Holding {
            taken: room.take(bytes).await,
            began: Instant::now().checked_sub(2 * io::SEND_TIMEOUT).expect("long ago"),
            lies_since_ms: AtomicU64::new(lies_since_ms),
        };
        let (lying, idle) = (old(1, 0).await, old(1, NOTHING_LIES).await);
        let young = Holding::begin(room.take(8).await.needed(6));
        assert_eq!(room.free.available_permits(), 2);
        assert!(![&lying, &idle, &young].into_iter().any(Holding::holds_up_others), "nobody waits");
        let waiting = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.take(3).await }
        });
        sleep(WAIT + Duration::from_millis(500)).await;
        assert_eq!([&lying, &idle, &young].map(Holding::holds_up_others), [true, false, false]);
        lying.asked(true);
        assert!(!lying.holds_up_others(), "it takes something");
        drop((lying, idle, young));
        drop(waiting.await.unwrap());
        assert_eq!((room.free.available_permits(), room.held_up.load(Ordering::Relaxed)), (10, 0));
    }
}
