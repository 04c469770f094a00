//! Hands out the times of open loops, as they come and whatever the server does.
//!
//! What waits behind a time that was handed out is bounded, as a core may be asked for more than it can send, or a server than
//! it takes. Past the bound times are held up: their batches count from when they were due all the same, and as never sent where
//! they still are held up at the end. A batch that was held up for the server alone was not handed out late. The bound is of a core's
//! connections of a group together: one that stalls for so long that all that waits is its own holds up the others too.

use tokio::time::sleep;

use super::Plan;
use super::core::{Core, Due};
use super::pace::Pacer;
use super::produce::{LOOK, check_end};

/// How often it is looked whether there is room for times that are held up.
const HELD_UP_LOOK_NS: u64 = 1_000_000;

/// Batches whose times were handed out, and that are not sent yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) batches: usize,
    /// Those of them that wait for the server, and not for this core.
    pub(crate) for_server: usize,
}

/// The open loop of one group of producers.
pub(crate) trait OpenLoop {
    /// Which group.
    fn group(&self) -> usize;

    /// When the next batch is to leave.
    fn due(&self) -> Due;

    /// Its time has come.
    fn hand_out(&mut self, core: &Core);

    /// How many batches are passed over at once where all that are due until then are.
    fn stride(&self, until_ns: u64) -> u32;

    /// The time of so many batches has come, and nobody sends them any more.
    fn pass_over(&mut self, batches: u32);

    /// How many batches may wait.
    fn waiting_max(&self) -> usize;

    /// How many do, in this turn of the core: each look of another sees what has changed in between.
    fn waiting(&self, turn: u64) -> Waiting;
}

/// One, and how far what waits is from its bound.
struct Bounded<L> {
    inner: L,
    /// For so many more there is room, at least.
    room: usize,
    /// When to look for room again.
    look_ns: u64,
    is_held_up: bool,
    waits_for_server: bool,
    /// Until when what was held up was held up for the server.
    excused_ns: u64,
}

impl<L: OpenLoop> Bounded<L> {
    fn new(inner: L) -> Self {
        Self { inner, room: 0, look_ns: 0, is_held_up: false, waits_for_server: false, excused_ns: 0 }
    }

    /// When there is something to do: the time of a batch, or a look for room.
    fn next_ns(&self) -> u64 {
        self.look_ns.max(self.inner.due().0)
    }

    /// Whether one more batch may be handed out.
    fn has_room(&mut self, now_ns: u64, turn: u64) -> bool {
        if self.room > 0 {
            return true;
        }
        let Waiting { batches, for_server } = self.inner.waiting(turn);
        if self.is_held_up && self.waits_for_server {
            self.excused_ns = now_ns;
        }
        self.room = self.inner.waiting_max().saturating_sub(batches);
        self.is_held_up = self.room == 0;
        self.look_ns = if self.is_held_up { now_ns + HELD_UP_LOOK_NS } else { 0 };
        // Some connection or other always has just been given what it waited for.
        self.waits_for_server = 2 * for_server > batches;
        !self.is_held_up
    }

    /// Notes how late batches are handed out.
    fn paced(&self, core: &Core, now_ns: u64, batches: u32) {
        let due_ns = self.inner.due().0.max(self.excused_ns);
        core.counts.borrow_mut().groups[self.inner.group()].paced.record_n(due_ns, now_ns, batches);
    }

    /// What was due before the end and was not handed out is late all the same.
    fn finish(mut self, core: &Core, (now_ns, turn): (u64, u64), end_ns: u64) {
        self.has_room(now_ns, turn);
        let until_ns = now_ns.min(end_ns);
        let batches = self.inner.stride(until_ns);
        while self.inner.due().0 < until_ns {
            core.unserved_n(self.inner.group(), self.inner.due(), now_ns, batches);
            self.paced(core, now_ns, batches);
            self.inner.pass_over(batches);
        }
    }
}

/// Which of several is next, by when each is due: the first of those to come. Those that are due already take turns: one that is
/// always behind would leave nothing to the others.
fn next_of(due_ns: impl ExactSizeIterator<Item = u64> + Clone, last: usize, now_ns: u64) -> Option<usize> {
    let count = due_ns.len();
    let after_last = |at: usize| (at + count - 1 - last % count) % count;
    due_ns.enumerate().min_by_key(|&(at, due_ns)| (due_ns.max(now_ns), after_last(at))).map(|(at, _)| at)
}

/// Hands out the times of all open loops to their connections in turn, and lets those of closed loops work, until the run
/// stops.
pub(crate) async fn follow<L: OpenLoop>(
    plan: &Plan,
    core: &Core,
    loops: impl IntoIterator<Item = L>,
    pacer: &mut Pacer,
    has_nobody_left: impl Fn() -> bool,
) {
    let end_ns = plan.duration.map_or(u64::MAX, |duration| duration.as_nanos() as u64);
    let mut loops: Vec<Bounded<L>> = loops.into_iter().map(Bounded::new).collect();
    let mut last = 0;
    while !check_end(plan, core, &has_nobody_left) {
        let Some(at) = next_of(loops.iter().map(Bounded::next_ns), last, core.clock.now_ns()) else {
            sleep(LOOK).await;
            continue;
        };
        last = at;
        let next = &mut loops[at];
        let next_ns = next.next_ns();
        pacer.wait_until(next_ns.min(end_ns), core.clock, || core.stopped()).await;
        if check_end(plan, core, &has_nobody_left) || next_ns >= end_ns {
            break;
        }
        let now_ns = core.clock.now_ns();
        if next.has_room(now_ns, pacer.turns()) {
            next.room -= 1;
            next.paced(core, now_ns, 1);
            next.inner.hand_out(core);
        }
    }
    let now_ns = core.clock.now_ns();
    loops.into_iter().for_each(|left| left.finish(core, (now_ns, pacer.turns()), end_ns));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that is always due, and how its batches wait.
    #[derive(Default)]
    struct Asked {
        waiting: Waiting,
    }

    impl OpenLoop for Asked {
        fn group(&self) -> usize {
            0
        }

        fn due(&self) -> Due {
            (5, 1)
        }

        fn hand_out(&mut self, _: &Core) {}

        fn stride(&self, _: u64) -> u32 {
            1
        }

        fn pass_over(&mut self, _: u32) {}

        fn waiting_max(&self) -> usize {
            10
        }

        fn waiting(&self, _: u64) -> Waiting {
            self.waiting
        }
    }

    /// Bug, found on reading: a load that was behind kept the one beside it from all of its times. Mechanism: whose time was the
    /// earliest was next. Fix: those that are due take turns.
    #[test]
    fn who_is_behind_leaves_others_their_turns() {
        let order = |due_ns: [u64; 3], now_ns| {
            let mut last = 0;
            [(); 6].map(|()| {
                last = next_of(due_ns.into_iter(), last, now_ns).unwrap();
                last
            })
        };
        assert_eq!(order([1, 90, 200], 100), [1, 0, 1, 0, 1, 0]);
        assert_eq!(order([1, 90, 100], 100), [1, 2, 0, 1, 2, 0]);
        assert_eq!(order([300, 90, 200], 100), [1; 6]);
        assert_eq!(order([300, 110, 200], 100), [1; 6], "none is due: the first to come is next");
        assert_eq!(next_of([].into_iter(), 0, 100), None);
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let mut bounded = Bounded::new(Asked::default());
        let hand_out = |bounded: &mut Bounded<Asked>, now_ns| {
            let mut count = 0;
            while bounded.has_room(now_ns, 0) {
                bounded.room -= 1;
                bounded.inner.waiting.batches += 1;
                count += 1;
            }
            count
        };
        assert_eq!((hand_out(&mut bounded, 100), bounded.next_ns()), (10, 100 + HELD_UP_LOOK_NS));
        assert_eq!(hand_out(&mut bounded, 200), 0);
        bounded.inner.waiting.batches = 7;
        assert_eq!(
            (bounded.has_room(300, 0), bounded.next_ns()),
            (true, 5),
            "it is due again as soon as there is room"
        );
        assert_eq!(hand_out(&mut bounded, 300), 3);
    }

    #[test]
    fn what_is_held_up_is_excused_for_the_server_alone() {
        let held_up = |for_server: [usize; 3]| {
            let mut bounded = Bounded::new(Asked::default());
            for (now_ns, for_server) in [100, 200, 300].into_iter().zip(for_server) {
                bounded.inner.waiting = Waiting { batches: 10, for_server };
                bounded.has_room(now_ns, 0);
            }
            bounded.excused_ns
        };
        assert_eq!((held_up([0, 0, 0]), held_up([4, 5, 10])), (0, 0), "what is seen last tells of what follows");
        assert_eq!((held_up([6, 6, 0]), held_up([6, 0, 0]), held_up([0, 6, 0])), (300, 200, 300));
    }
}
