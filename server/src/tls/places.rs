//! Places for handshakes, of which there are so many: a place is held while its client says nothing. Where none is free, the
//! handshake that has been under way for longest makes room, once it has had a while: so whoever comes waits for about that long,
//! however many others never finish.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::{Instant, sleep_until};

/// What a handshake may take though others wait for its place: several ways there and back over any distance.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// Places of one protocol.
#[derive(Debug)]
pub(super) struct Places {
    free: Semaphore,
    under_way: Mutex<UnderWay>,
    /// Who waits longest has the next place, and alone makes room for itself.
    turn: tokio::sync::Mutex<()>,
}

/// Handshakes under way, in the order in which they began, and where each is told to make room.
#[derive(Debug, Default)]
struct UnderWay {
    begun: u64,
    held: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

/// A place that is held.
struct Place<'a> {
    places: &'a Places,
    number: u64,
    _permit: SemaphorePermit<'a>,
}

impl Places {
    pub(super) fn of(count: usize) -> Places {
        Places { free: Semaphore::new(count), under_way: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Does some work in a place, once there is one. Nothing if it had to make room before it was done.
    pub(super) async fn within<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let (_place, makes_room) = self.take().await;
        tokio::select! {
            biased;
            done = work => Some(done),
            _ = makes_room => None,
        }
    }

    async fn take(&self) -> (Place<'_>, oneshot::Receiver<()>) {
        let permit = match self.free.try_acquire() {
            Ok(permit) => permit,
            Err(_) => self.wait().await,
        };
        let (tell, makes_room) = oneshot::channel();
        let mut under_way = self.under_way();
        let number = under_way.begun;
        under_way.begun += 1;
        under_way.held.insert(number, (Instant::now(), tell));
        (Place { places: self, number, _permit: permit }, makes_room)
    }

    async fn wait(&self) -> SemaphorePermit<'_> {
        let _turn = self.turn.lock().await;
        let mut permit = std::pin::pin!(self.free.acquire());
        let oldest = self.under_way().held.first_key_value().map(|(_, (began, _))| *began + GRACE);
        if let Some(overdue) = oldest {
            tokio::select! {
                biased;
                permit = &mut permit => return permit.expect("it is never closed"),
                () = sleep_until(overdue) => {}
            }
            // Had it ended there would be a place. Whoever is told lets go at once.
            let told = self.under_way().held.pop_first();
            if let Some((_, (_, tell))) = told {
                let _ = tell.send(());
            }
        }
        permit.await.expect("it is never closed")
    }

    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.places.under_way().held.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;

    use super::*;

    /// Handshakes that never end, begun so long after each other; what they end with is whether they were done.
    async fn stalled(places: &Arc<Places>, count: usize, apart: Duration) -> Vec<tokio::task::JoinHandle<bool>> {
        let mut all = Vec::new();
        for _ in 0..count {
            let places = Arc::clone(places);
            all.push(tokio::spawn(async move { places.within(pending::<()>()).await.is_some() }));
            // It has begun, or waits.
            tokio::task::yield_now().await;
            tokio::time::sleep(apart).await;
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_waits_until_the_oldest_has_had_its_time() {
        let places = Arc::new(Places::of(3));
        let step = Duration::from_millis(200);
        let mut held = stalled(&places, 3, step).await;
        let came = Instant::now();
        assert_eq!(places.within(async { 7 }).await, Some(7));
        assert_eq!(came.elapsed(), GRACE - 3 * step);
        // It was the oldest that made room, and no other.
        assert!(!held.remove(0).await.unwrap());
        assert!(held.iter().all(|other| !other.is_finished()));
        // There is its place still: nobody else has to go.
        assert_eq!(places.within(async { 8 }).await, Some(8));
        tokio::time::sleep(10 * GRACE).await;
        assert!(held.iter().all(|other| !other.is_finished()));
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_that_wait_each_has_a_place_in_its_turn() {
        let places = Arc::new(Places::of(3));
        let began = Instant::now();
        let held = stalled(&places, 9, Duration::ZERO).await;
        assert_eq!(places.within(async { 7 }).await, Some(7));
        // Three rounds of three, and it has the first place of the fourth.
        let late = began.elapsed() - 3 * GRACE;
        assert!(late < Duration::from_millis(100), "{late:?}");
        let mut gone = 0;
        for one in &held {
            tokio::task::yield_now().await;
            gone += usize::from(one.is_finished());
        }
        assert_eq!(gone, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn where_one_ends_in_time_nobody_makes_room() {
        let places = Arc::new(Places::of(2));
        let held = stalled(&places, 1, Duration::ZERO).await;
        let short = Arc::clone(&places);
        let short = tokio::spawn(async move { short.within(tokio::time::sleep(GRACE / 2)).await });
        tokio::task::yield_now().await;
        let came = Instant::now();
        assert_eq!(places.within(async { 7 }).await, Some(7));
        assert_eq!((came.elapsed(), short.await.unwrap()), (GRACE / 2, Some(())));
        assert!(!held[0].is_finished());
        // Who gives up waiting takes nobody's place.
        let filled = stalled(&places, 1, Duration::ZERO).await;
        let gave_up = tokio::time::timeout(GRACE / 4, places.within(async {})).await;
        assert!(gave_up.is_err());
        tokio::time::sleep(2 * GRACE).await;
        assert!(!held[0].is_finished() && !filled[0].is_finished());
    }
}
