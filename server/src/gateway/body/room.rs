//! Room for bodies, over all connections: taken as their bytes come, and given back by who drops it.
//!
//! ```text
//!   announced as small -> small: all of it, with its first byte
//!   all else           -> large: 64 KiB, and as much again as has come; where there is none, that or a seat, whichever is free first
//! ```
//!
//! What is announced and does not come takes nothing. No small body waits for a large one. Large ones can take all of theirs
//! between them while none is whole; so that they don't wait for each other, some room is kept as seats, each of the size of the
//! largest body: who has one waits for no more room, and ends, by its client or its deadline. Then all that it took is free, and
//! the seat is the next one's. Both queues are in order; who waits too long gives up, and lets go of what it has.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// A body that is announced to have so many bytes at most is small. Others take room in steps of so many.
pub(super) const STEP_BYTES: usize = 64 << 10;

/// Large bodies that come to their end whatever others have taken.
const SEATS: usize = 2;

/// Room for bodies.
#[derive(Debug)]
pub(in crate::gateway) struct Bodies {
    /// In bytes.
    small: Semaphore,
    /// In bytes.
    large: Semaphore,
    seats: Semaphore,
}

impl Bodies {
    /// So many bytes in all, for bodies of so many at most.
    pub(in crate::gateway) fn of(bytes: usize, body_bytes_max: usize) -> Arc<Bodies> {
        let small = bytes / 4;
        let large = bytes - small - SEATS * body_bytes_max;
        assert!(large >= body_bytes_max, "most is for whoever comes");
        let [small, large, seats] = [small, large, SEATS].map(Semaphore::new);
        Arc::new(Bodies { small, large, seats })
    }
}

/// What a body takes.
#[derive(Debug)]
pub(in crate::gateway) struct BodyRoom {
    bodies: Arc<Bodies>,
    /// What it may need.
    bytes_max: usize,
    is_small: bool,
    /// Bytes of those for its kind.
    taken: usize,
    has_seat: bool,
}

impl BodyRoom {
    /// Nothing yet, of a body that may have so many bytes, or has said how many it has.
    pub(in crate::gateway) fn begin(bodies: &Arc<Bodies>, bytes_max: usize, announced: Option<usize>) -> BodyRoom {
        let is_small = announced.is_some_and(|bytes| bytes <= STEP_BYTES);
        let bytes_max = announced.unwrap_or(bytes_max);
        BodyRoom { bodies: Arc::clone(bodies), bytes_max, is_small, taken: 0, has_seat: false }
    }

    /// Takes room until there is some for so many bytes, as far as that goes without waiting. Whether there is.
    pub(in crate::gateway) fn try_hold(&mut self, bytes: usize) -> bool {
        if self.holds(bytes) {
            return true;
        }
        let step = self.step(bytes);
        match self.pool().try_acquire_many(step) {
            Ok(permit) => permit.forget(),
            Err(_) => return false,
        }
        self.taken += step as usize;
        true
    }

    /// The same, and waits for it. May be dropped and called again.
    pub(super) async fn hold(&mut self, bytes: usize) {
        if self.try_hold(bytes) {
            return;
        }
        let step = self.step(bytes);
        let room = self.pool().acquire_many(step);
        let is_room = tokio::select! {
            biased;
            room = room => {
                room.expect("it is never closed").forget();
                true
            }
            seat = self.bodies.seats.acquire(), if !self.is_small => {
                seat.expect("it is never closed").forget();
                false
            }
        };
        if is_room {
            self.taken += step as usize;
        } else {
            self.has_seat = true;
        }
    }

    fn holds(&self, bytes: usize) -> bool {
        bytes <= self.taken || self.has_seat
    }

    /// What is to be taken next for so many bytes: whole steps, as much as there is already, but no more than it needs. So who has
    /// much waits seldom, and comes to its end before many have a little each.
    fn step(&self, bytes: usize) -> u32 {
        let wanted = bytes.next_multiple_of(STEP_BYTES).max(2 * self.taken).min(self.bytes_max).max(bytes);
        (wanted - self.taken) as u32
    }

    fn pool(&self) -> &Semaphore {
        if self.is_small { &self.bodies.small } else { &self.bodies.large }
    }
}

impl Drop for BodyRoom {
    fn drop(&mut self) {
        self.pool().add_permits(self.taken);
        self.bodies.seats.add_permits(usize::from(self.has_seat));
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const LARGEST: usize = 4 * STEP_BYTES;

    /// Small ones have six steps, large ones ten, and two seats.
    fn bodies() -> Arc<Bodies> {
        Bodies::of(24 * STEP_BYTES, LARGEST)
    }

    fn body(bodies: &Arc<Bodies>, announced: usize) -> BodyRoom {
        BodyRoom::begin(bodies, LARGEST, Some(announced))
    }

    /// Whether it has room by now.
    fn has(room: &mut BodyRoom, bytes: usize) -> bool {
        pin!(room.hold(bytes)).poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    fn free(bodies: &Bodies) -> [usize; 3] {
        [&bodies.small, &bodies.large, &bodies.seats].map(Semaphore::available_permits)
    }

    #[test]
    fn room_is_taken_as_bytes_come() {
        let bodies = bodies();
        let [small, large, seats] = free(&bodies);
        let mut announced = body(&bodies, LARGEST - 1);
        let mut unknown = BodyRoom::begin(&bodies, LARGEST, None);
        let mut little = body(&bodies, 1000);
        assert_eq!(free(&bodies), [small, large, seats], "nothing has come");
        assert!(has(&mut announced, 1) && has(&mut unknown, STEP_BYTES) && has(&mut little, 1));
        assert_eq!(free(&bodies), [small - 1000, large - 2 * STEP_BYTES, seats]);
        assert!(has(&mut announced, LARGEST - 1) && has(&mut unknown, STEP_BYTES + 1));
        assert_eq!(free(&bodies), [small - 1000, large - LARGEST + 1 - 2 * STEP_BYTES, seats]);
        drop((announced, unknown, little));
        assert_eq!(free(&bodies), [small, large, seats]);
    }

    #[test]
    fn large_bodies_that_have_taken_all_between_them_come_to_their_ends() {
        let bodies = bodies();
        let before = free(&bodies);
        let mut all: Vec<BodyRoom> = (0..10).map(|_| body(&bodies, LARGEST)).collect();
        assert!(all.iter_mut().all(|body| has(body, STEP_BYTES)));
        assert_eq!(free(&bodies)[1], 0, "they have it all, and none is whole");
        assert!(has(&mut body(&bodies, STEP_BYTES), 1), "a small one has room of its own");
        while !all.is_empty() {
            let (ready, waiting): (Vec<_>, Vec<_>) =
                all.into_iter().map(|mut body| (has(&mut body, LARGEST), body)).partition(|(is_ready, _)| *is_ready);
            assert!(!ready.is_empty(), "they wait for each other");
            all = waiting.into_iter().map(|(_, body)| body).collect();
        }
        assert_eq!(free(&bodies), before);
    }

    #[test]
    fn who_gives_up_lets_go_of_what_it_has() {
        let bodies = bodies();
        let before = free(&bodies);
        let mut all: Vec<BodyRoom> = (0..4).map(|_| body(&bodies, LARGEST)).collect();
        assert_eq!(all.iter_mut().map(|body| has(body, LARGEST)).collect::<Vec<_>>(), [true; 4], "two by a seat");
        let mut late = body(&bodies, LARGEST);
        assert!(has(&mut late, 2 * STEP_BYTES) && !has(&mut late, LARGEST));
        drop(late);
        assert_eq!(free(&bodies)[1], 2 * STEP_BYTES);
        drop(all);
        assert_eq!(free(&bodies), before);
    }
}
