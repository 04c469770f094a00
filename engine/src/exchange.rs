//! What the reactors of a process share: lanes between each two of them, a bell each, and what one publishes for all.
//!
//! ```text
//!   reactor a --[lane a to b: a few parcels]--> reactor b        a parcel a target and turn, whatever it carries
//!             <--[lane b to a: a few parcels]--
//! ```
//!
//! A lane is bounded. Where it is full the parcel stays with its sender and grows, within bounds of its own: what asks for
//! something counts against a limit until it was answered, and past that limit the sender takes no more input; answers are no
//! more than what was asked. Whoever takes a parcel needs no room in a lane for that: so two reactors that are full of each
//! other's parcels both empty their lanes in their next turns, and neither can wait for the other for good.
//!
//! Everything here is safe for all threads; all else of a reactor belongs to its own.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crossbeam::queue::ArrayQueue;
use frame::{Sequence, ShardId};
use io::{DirId, UNKNOWN_DISK};

use crate::holdings::Holdings;
use crate::limits::{PARCELS_PER_LANE_MAX, SHARDS_MAX};
use crate::open_files::OpenFiles;
use crate::peers::Parcel;

/// Makes a reactor's turn end if it sleeps.
pub(crate) type Wake = Arc<dyn Fn() + Send + Sync>;

/// Parcels from one reactor to another.
struct Lane {
    parcels: ArrayQueue<Parcel>,
    /// Whether the sender has a parcel that found no room.
    is_full: AtomicBool,
}

/// How a reactor is woken.
#[derive(Default)]
struct Bell {
    is_asleep: AtomicBool,
    wake: OnceLock<Wake>,
}

/// What all reactors of a process share.
pub(crate) struct Exchange {
    reactors: usize,
    lanes: Vec<Lane>,
    bells: Vec<Bell>,
    /// Which reactors have stopped.
    stopped: Box<[AtomicBool]>,
    tips: Tips,
    trims: Tips,
    homes: Table,
    pub(crate) holdings: Holdings,
    pub(crate) files: OpenFiles,
    pub(crate) flushes: Arc<Flushes>,
}

impl Exchange {
    /// Of so many reactors, whose data directories lie on these disks, of a process that may have so many files open.
    pub(crate) fn new(reactors: usize, disks: &[u64], files_max: usize) -> Exchange {
        let lane = |_| Lane { parcels: ArrayQueue::new(PARCELS_PER_LANE_MAX), is_full: AtomicBool::new(false) };
        Exchange {
            reactors,
            lanes: if reactors == 1 { Vec::new() } else { (0..reactors * reactors).map(lane).collect() },
            bells: (0..reactors).map(|_| Bell::default()).collect(),
            stopped: (0..reactors).map(|_| AtomicBool::new(false)).collect(),
            tips: Tips::new(reactors),
            trims: Tips::new(reactors),
            homes: Table::new(1, NO_HOME),
            holdings: Holdings::default(),
            files: OpenFiles::new(reactors, files_max),
            flushes: Arc::new(Flushes::new(disks)),
        }
    }

    /// How many reactors there are.
    pub(crate) fn reactors(&self) -> usize {
        self.reactors
    }

    fn lane(&self, from: usize, to: usize) -> &Lane {
        &self.lanes[from * self.reactors + to]
    }

    /// Hands a parcel over. It comes back if the lane is full: the sender is woken when it is not any more.
    pub(crate) fn send(&self, from: usize, to: usize, parcel: Parcel) -> Option<Parcel> {
        let lane = self.lane(from, to);
        let mut left = lane.parcels.push(parcel).err();
        if let Some(parcel) = left.take() {
            // Said first and tried again: a receiver that took one in between has seen it, or the lane has room now.
            lane.is_full.store(true, Ordering::SeqCst);
            left = lane.parcels.push(parcel).err();
        }
        if left.is_none() {
            lane.is_full.store(false, Ordering::SeqCst);
            self.wake(to);
        }
        left
    }

    /// Takes the oldest parcel on its way from one to another.
    pub(crate) fn receive(&self, from: usize, to: usize) -> Option<Parcel> {
        let lane = self.lane(from, to);
        let parcel = lane.parcels.pop()?;
        if lane.is_full.swap(false, Ordering::SeqCst) {
            self.wake(from);
        }
        Some(parcel)
    }

    /// Reactor `own` has stopped: it takes nothing any more, and nobody need wait for room to tell it anything.
    pub(crate) fn stop(&self, own: usize) {
        self.stopped[own].store(true, Ordering::SeqCst);
        self.wake_others(own);
    }

    /// Whether a reactor has stopped.
    pub(crate) fn has_stopped(&self, reactor: usize) -> bool {
        self.stopped[reactor].load(Ordering::SeqCst)
    }

    /// How reactor `own` is woken, from here on.
    pub(crate) fn rung_by(&self, own: usize, wake: Wake) {
        // Whoever set it first wakes the same reactor.
        let _ = self.bells[own].wake.set(wake);
    }

    /// Reactor `own` is about to sleep, keeps parcels for the reactors `keeps_for`, and waits for flushes in these directories.
    /// `false` if something waits for it, a parcel need not wait by now, or the flushes have ended in one.
    pub(crate) fn may_sleep(
        &self,
        own: usize,
        mut keeps_for: impl Iterator<Item = usize>,
        mut waits_for: impl Iterator<Item = DirId>,
    ) -> bool {
        // Said first and looked then: a sender that sees it not said has put its parcel where it is seen now, a receiver has
        // unmarked the lane that it made room in, or said that it has stopped, and one whose flush has ended has counted it off.
        self.bells[own].is_asleep.store(true, Ordering::SeqCst);
        let has_room = keeps_for.any(|to| self.has_stopped(to) || !self.lane(own, to).is_full.load(Ordering::SeqCst));
        let has_waited = waits_for.any(|dir| !self.flushes.is_running(dir));
        let is_empty = |from| from == own || self.lane(from, own).parcels.is_empty();
        !has_room && !has_waited && (0..self.reactors).all(is_empty)
    }

    /// It is awake.
    pub(crate) fn woke(&self, own: usize) {
        self.bells[own].is_asleep.store(false, Ordering::Relaxed);
    }

    fn wake(&self, reactor: usize) {
        let bell = &self.bells[reactor];
        std::sync::atomic::fence(Ordering::SeqCst);
        if bell.is_asleep.swap(false, Ordering::SeqCst)
            && let Some(wake) = bell.wake.get()
        {
            wake();
        }
    }

    /// Wakes all but one.
    pub(crate) fn wake_others(&self, own: usize) {
        (0..self.reactors).filter(|&other| other != own).for_each(|other| self.wake(other));
    }

    /// A shard's durable records end before this number now. Its owner says so.
    pub(crate) fn publish(&self, shard: ShardId, tip: Sequence) {
        self.tips.publish(shard, tip);
    }

    /// Where a shard's durable records end, as its owner published.
    pub(crate) fn tip(&self, shard: ShardId) -> Sequence {
        self.tips.find(shard)
    }

    /// A shard is kept from this number on. Its owner says so.
    pub(crate) fn publish_trim(&self, shard: ShardId, first_kept: Sequence) {
        self.trims.publish(shard, first_kept);
    }

    /// From which number on a shard is kept, as its owner published.
    pub(crate) fn trim(&self, shard: ShardId) -> Sequence {
        self.trims.find(shard)
    }

    /// A shard was moved.
    pub(crate) fn publish_home(&self, shard: ShardId, home: u32) {
        self.homes.publish(shard, u64::from(home));
    }

    /// The reactor to ask for a shard, for who is none. It may have been moved since: then that one says so.
    pub(crate) fn owner(&self, shard: ShardId) -> usize {
        let home = self.homes.find(shard);
        (if home == NO_HOME { shard.0 as usize } else { home as usize }) % self.reactors
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({} reactors)", self.reactors)
    }
}

/// Shards of one chunk of a table of tips.
const CHUNK_SHARDS: usize = 4096;

/// Of a shard that was never moved.
const NO_HOME: u64 = u64::MAX;

/// Where each shard ends, or begins: a table for each reactor, of the shards that are its own until they are moved. The tables of
/// two share no cache line.
struct Tips(Vec<Table>);

impl Tips {
    fn new(reactors: usize) -> Tips {
        Tips((0..reactors).map(|_| Table::new(reactors, 1)).collect())
    }

    fn of(&self, shard: ShardId) -> &Table {
        &self.0[shard.0 as usize % self.0.len()]
    }

    fn publish(&self, shard: ShardId, tip: Sequence) {
        self.of(shard).publish(shard, tip.0);
    }

    fn find(&self, shard: ShardId) -> Sequence {
        Sequence(self.of(shard).find(shard))
    }
}

/// A number for each shard of so many.
struct Table {
    stride: usize,
    none: u64,
    chunks: Box<[OnceLock<Box<[AtomicU64]>>]>,
}

impl Table {
    /// Of one shard in `stride`. `none` where nothing was published.
    fn new(stride: usize, none: u64) -> Table {
        let chunks = (SHARDS_MAX / stride).div_ceil(CHUNK_SHARDS) + 1;
        Table { stride, none, chunks: (0..chunks).map(|_| OnceLock::new()).collect() }
    }

    fn publish(&self, shard: ShardId, number: u64) {
        let at = shard.0 as usize / self.stride;
        let new = || (0..CHUNK_SHARDS).map(|_| AtomicU64::new(self.none)).collect();
        self.chunks[at / CHUNK_SHARDS].get_or_init(new)[at % CHUNK_SHARDS].store(number, Ordering::Release);
    }

    fn find(&self, shard: ShardId) -> u64 {
        let at = shard.0 as usize / self.stride;
        let chunk = self.chunks.get(at / CHUNK_SHARDS).and_then(OnceLock::get);
        chunk.map_or(self.none, |chunk| chunk[at % CHUNK_SHARDS].load(Ordering::Acquire))
    }
}

/// What is said of a failure that another reactor met on the same disk.
pub(crate) const EIO: i32 = 5;

/// Flushes of files and directories, by whatever reactor: a batch waits for the outcome of those on its disk that it ran
/// beside, as a segment's header does before the segment has a name; and the failure of one is everybody's.
#[derive(Debug)]
pub(crate) struct Flushes {
    /// Of each data directory, the first that lies on the same disk.
    disks: Box<[usize]>,
    /// By that one.
    running: Box<[AtomicU32]>,
    failed: AtomicBool,
}

impl Flushes {
    /// Of data directories that lie on these disks.
    pub(crate) fn new(disks: &[u64]) -> Flushes {
        // Where one may be any of them, all are one.
        let is_known = !disks.contains(&UNKNOWN_DISK);
        let first = |disk: &u64| disks.iter().position(|other| other == disk).filter(|_| is_known).unwrap_or(0);
        Flushes {
            disks: disks.iter().map(first).collect(),
            running: disks.iter().map(|_| AtomicU32::new(0)).collect(),
            failed: AtomicBool::new(false),
        }
    }

    fn running(&self, dir: DirId) -> &AtomicU32 {
        &self.running[self.disks[dir.0 as usize]]
    }

    /// One begins, of a directory or of a file there.
    pub(crate) fn begin(&self, dir: DirId) {
        self.running(dir).fetch_add(1, Ordering::SeqCst);
    }

    /// One has ended. With `is_bad`, writes of any journal that were not flushed yet may be gone.
    pub(crate) fn end(&self, dir: DirId, is_bad: bool) {
        if is_bad {
            self.fail();
        }
        self.running(dir).fetch_sub(1, Ordering::SeqCst);
    }

    /// A journal's write has failed, or a flush.
    pub(crate) fn fail(&self) {
        self.failed.store(true, Ordering::SeqCst);
    }

    /// Whether one is in flight on the disk of a directory.
    pub(crate) fn is_running(&self, dir: DirId) -> bool {
        self.running(dir).load(Ordering::SeqCst) > 0
    }

    /// Whether what was written there before is there, as far as these go: none runs, and none has failed. Asked in this order, as
    /// one that fails says so before it ends.
    pub(crate) fn are_good(&self, dir: DirId) -> bool {
        !self.is_running(dir) && !self.has_failed()
    }

    /// Whether any failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: DirId = DirId(0);

    fn nothing<T>() -> std::iter::Empty<T> {
        std::iter::empty()
    }

    /// An exchange whose first reactor has found no room in its lane to the other, and how often that one was woken.
    fn full() -> (Exchange, Arc<AtomicU32>) {
        let exchange = Exchange::new(2, &[7], usize::MAX);
        let woken = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&woken);
        let wake = move || {
            count.fetch_add(1, Ordering::SeqCst);
        };
        exchange.rung_by(0, Arc::new(wake));
        for _ in 0..PARCELS_PER_LANE_MAX {
            assert!(exchange.send(0, 1, Parcel::default()).is_none());
        }
        let left = exchange.send(0, 1, Parcel { applied: 7, ..Parcel::default() });
        assert_eq!(left.map(|parcel| parcel.applied), Some(7));
        (exchange, woken)
    }

    /// A full lane gives the parcel back, and its sender is woken once there is room.
    #[test]
    fn who_found_no_room_hears_of_it() {
        let (exchange, woken) = full();
        assert!(exchange.may_sleep(0, std::iter::once(1), nothing()), "nothing waits for it");
        assert!(exchange.receive(0, 1).is_some());
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        // Nobody else found it full: the next parcel taken wakes nobody.
        assert!(exchange.may_sleep(0, nothing(), nothing()) && exchange.receive(0, 1).is_some());
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(!exchange.may_sleep(1, nothing(), nothing()), "parcels wait for it");
    }

    /// Bug: a reactor could sleep on a parcel although its lane had room: what it owed came with whatever woke it next. Mechanism:
    /// the receiver made room, and rang the bell, after the parcel had found none and before its sender had said that it sleeps.
    /// Fix: who keeps a parcel looks once more after it has said so, as for what waits for it.
    #[test]
    fn who_has_room_by_now_does_not_sleep() {
        let (exchange, woken) = full();
        assert!(exchange.receive(0, 1).is_some());
        assert_eq!(woken.load(Ordering::SeqCst), 0, "it is awake");
        assert!(!exchange.may_sleep(0, std::iter::once(1), nothing()), "nobody wakes it any more");
    }

    #[test]
    fn who_keeps_a_parcel_hears_that_its_receiver_has_stopped() {
        let (exchange, woken) = full();
        assert!(exchange.may_sleep(0, std::iter::once(1), nothing()));
        exchange.stop(1);
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(!exchange.may_sleep(0, std::iter::once(1), nothing()), "nobody wakes it any more");
    }

    /// Bug: a reactor could sleep on although the flush of another that its batch waited for had ended: the batch was acknowledged
    /// at whatever woke it next. Mechanism: the flush ended, and the bell was rung, after the reactor had looked whether one runs and
    /// before it had said that it sleeps. Fix: it looks once more after it has said so, as it does for parcels.
    #[test]
    fn who_waits_for_a_flush_that_has_ended_does_not_sleep() {
        let exchange = Exchange::new(2, &[7], usize::MAX);
        exchange.flushes.begin(DIR);
        assert!(exchange.may_sleep(0, nothing(), std::iter::once(DIR)), "it will be woken");
        exchange.woke(0);
        exchange.flushes.end(DIR, false);
        exchange.wake_others(1);
        assert!(!exchange.may_sleep(0, nothing(), std::iter::once(DIR)), "nobody wakes it any more");
        assert!(exchange.may_sleep(0, nothing(), nothing()));
    }

    /// One that has failed stays known after its end.
    #[test]
    fn flushes_are_good_once_all_have_ended_well() {
        let flushes = Flushes::new(&[7]);
        assert!(flushes.are_good(DIR));
        flushes.begin(DIR);
        assert!(!flushes.are_good(DIR), "one runs");
        flushes.end(DIR, false);
        assert!(flushes.are_good(DIR));
        flushes.begin(DIR);
        flushes.end(DIR, true);
        assert!(!flushes.are_good(DIR), "one has failed, and none runs");
    }

    /// Directories on one disk wait for each other's, and all hear of a failure.
    #[test]
    fn flushes_are_those_of_a_disk() {
        let flushes = Flushes::new(&[7, 8, 7]);
        flushes.begin(DirId(2));
        assert_eq!([0, 1, 2].map(|dir| flushes.are_good(DirId(dir))), [false, true, false]);
        flushes.begin(DirId(0));
        flushes.end(DirId(2), false);
        assert_eq!([0, 1, 2].map(|dir| flushes.are_good(DirId(dir))), [false, true, false]);
        flushes.end(DirId(0), true);
        assert_eq!([0, 1, 2].map(|dir| flushes.are_good(DirId(dir))), [false; 3]);
    }

    #[test]
    fn tips_are_found_as_they_were_published() {
        let exchange = Exchange::new(3, &[7], usize::MAX);
        for shard in [0, 1, 2, 3, 4095, 4096, 12_287, 12_288, SHARDS_MAX as u32 - 1].map(ShardId) {
            assert_eq!(exchange.tip(shard), Sequence(1), "nothing is stored in {shard}");
            exchange.publish(shard, Sequence(u64::from(shard.0) + 2));
        }
        assert_eq!(exchange.tip(ShardId(4096)), Sequence(4098));
        assert_eq!(exchange.tip(ShardId(12_288)), Sequence(12_290));
        assert_eq!(exchange.tip(ShardId(5)), Sequence(1));
    }

    #[test]
    fn a_shard_is_asked_for_where_it_was_moved_to() {
        let exchange = Exchange::new(3, &[7], usize::MAX);
        let moved = ShardId(SHARDS_MAX as u32 - 1);
        exchange.publish_home(moved, 4);
        exchange.publish_home(ShardId(6), 2);
        assert_eq!([moved, ShardId(6), ShardId(7)].map(|shard| exchange.owner(shard)), [1, 2, 1]);
    }
}
