//! Windows: stretches of segments that are read from the disk, and kept for a while, for all who read there.
//!
//! ```text
//!   wish --memory--> queued --the scheduler allows--> reading --> ready: used, then idle until its memory is needed
//!                                                            \--> failed: told to those who wait, and forgotten
//! ```
//!
//! A request takes the windows that it needs into use until it is answered. Who reads on and on, a subscriber, only wishes
//! for the next one, comes back when it is there, and has those after it read ahead, if there is memory for them and the disk
//! has time. Most wishes are granted in the order of the journal, so that those who go the same way come together and share
//! what is read, and some by age, so that nobody waits for ever. A window is found by any stretch within it.

mod leave;
mod place;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use io::{Buf, BufMut, Io, Op};

pub(super) use self::place::Place;
use crate::journal::SegmentId;
use crate::limits::{READ_WINDOW_BYTES, READS_TRIED};
use crate::scheduler::Scheduler;
use crate::slots::Slots;
use crate::token;

#[derive(Debug, Default)]
enum State {
    #[default]
    Free,
    Queued(BufMut),
    Reading,
    Ready(Buf),
    Failed,
}

#[derive(Debug, Default)]
struct Window {
    place: Option<Place>,
    state: State,
    held_bytes: usize,
    /// Requests that need it and have not been answered.
    users: usize,
    /// Those of them that wait for it to be read.
    waiting: Vec<u32>,
    was_used: bool,
    /// How often it could not be read.
    failures: u32,
    /// Whether somebody who is no user waits for it to be read.
    is_awaited: bool,
    /// Whether it was wished for and has not been read.
    is_wish: bool,
    /// Its place among the idle.
    idle_since: u64,
}

/// Why a request can't have its windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lack {
    /// Others hold what windows may hold; some of it comes back.
    Windows,
    /// The pool has no memory.
    Memory,
}

/// A window that somebody waits for and nobody has read yet.
#[derive(Clone, Copy, Debug)]
struct Wish {
    place: Place,
    age: u64,
}

/// Of so many wishes one is granted by its age, the others by their place.
const WISHES_BY_AGE: u64 = 4;

/// No wish is granted while so many bytes are being read for others: who waits for what is there may wish again first.
const GRANTED_BYTES_MAX: usize = 2 << 20;

/// Where a window is looked for.
pub(crate) type Key = (SegmentId, u64);

/// All windows.
#[derive(Debug)]
pub(super) struct Windows {
    budget_bytes: usize,
    slots: Slots<Window>,
    by_place: BTreeMap<Key, u32>,
    wishes: BTreeMap<Key, Wish>,
    /// The same by age.
    ages: BTreeMap<u64, Key>,
    /// Wishes granted so far, and bytes of those that are being read.
    granted: u64,
    granted_bytes: usize,
    /// Ready ones that nobody needs now, longest unused first.
    idle: BTreeMap<u64, u32>,
    clock: u64,
    held_bytes: usize,
    in_flight: usize,
    /// Reads begun so far.
    begun: u64,
    /// To be read: for requests that wait, and ahead of them. What has been read since is passed over.
    wanted: VecDeque<u32>,
    ahead: VecDeque<u32>,
    /// Segments in which nothing more is begun.
    held_back: Vec<SegmentId>,
}

impl Windows {
    /// Bytes of the pool that they hold.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// And may hold.
    pub(super) fn budget_bytes(&self) -> usize {
        self.budget_bytes
    }

    pub(super) fn new(budget_bytes: usize) -> Windows {
        Windows {
            budget_bytes,
            slots: Slots::new(),
            by_place: BTreeMap::new(),
            wishes: BTreeMap::new(),
            ages: BTreeMap::new(),
            begun: 0,
            granted: 0,
            granted_bytes: 0,
            idle: BTreeMap::new(),
            clock: 0,
            held_bytes: 0,
            in_flight: 0,
            wanted: VecDeque::new(),
            ahead: VecDeque::new(),
            held_back: Vec::new(),
        }
    }

    /// Whether no read is in flight.
    pub(super) fn is_quiet(&self) -> bool {
        self.in_flight == 0
    }

    /// Whether windows wait for the scheduler.
    pub(super) fn is_waiting(&self) -> bool {
        !self.wanted.is_empty() || !self.ahead.is_empty() || !self.wishes.is_empty()
    }

    /// The place of a window that holds `range` of a segment; of a longer one than most, only if it begins there.
    pub(super) fn find(&self, segment: SegmentId, range: &Range<u64>) -> Option<Place> {
        let slot = self.find_slot(segment, range)?;
        self.slots[slot].place
    }

    fn find_slot(&self, segment: SegmentId, range: &Range<u64>) -> Option<u32> {
        let first = range.end.saturating_sub(READ_WINDOW_BYTES as u64).min(range.start);
        let mut near = self.by_place.range((segment, first)..=(segment, range.start)).rev().map(|(_, &slot)| slot);
        near.find(|&slot| self.slots[slot].place.is_some_and(|place| place.contains(segment, range)))
    }

    /// Takes a window for each of `places` into use by `request`, and has read what is not there. How many it must wait for.
    pub(super) fn take(
        &mut self,
        io: &mut impl Io,
        request: u32,
        places: &[Place],
        taken: &mut Vec<u32>,
    ) -> Result<usize, Lack> {
        debug_assert!(taken.is_empty());
        if places.iter().any(|place| self.held_back.contains(&place.segment)) {
            return Err(Lack::Windows);
        }
        let known: Vec<Option<u32>> =
            places.iter().map(|place| self.find_slot(place.segment, &(place.start..place.end))).collect();
        // In use before room is made for others.
        known.iter().flatten().for_each(|&slot| self.begin_use(slot));
        let mut own_bytes: usize = known.iter().flatten().map(|&slot| self.slots[slot].held_bytes).sum();
        for (place, &slot) in places.iter().zip(&known) {
            let slot = match slot.map_or_else(|| self.make(io, place, &mut own_bytes), Ok) {
                Ok(slot) => slot,
                Err(lack) => {
                    taken.drain(..).filter(|slot| !known.contains(&Some(*slot))).for_each(|slot| self.forget(slot));
                    known.iter().flatten().for_each(|&slot| self.end_use(slot));
                    return Err(lack);
                }
            };
            taken.push(slot);
        }
        let mut missing = 0;
        for &slot in &*taken {
            let window = &mut self.slots[slot];
            match window.state {
                State::Queued(_) => self.wanted.push_back(slot),
                State::Reading => {}
                State::Ready(_) | State::Failed | State::Free => continue,
            }
            window.waiting.push(request);
            missing += 1;
        }
        Ok(missing)
    }

    /// Takes the windows of `places` into use if all are there. Else wishes for the first that is not; where to wait for it.
    pub(super) fn take_ready(&mut self, places: &[Place], taken: &mut Vec<u32>) -> Result<(), Key> {
        debug_assert!(taken.is_empty());
        for place in places {
            let key = (place.segment, place.start);
            match self.find_slot(place.segment, &(place.start..place.end)) {
                Some(slot) if matches!(self.slots[slot].state, State::Ready(_) | State::Failed) => taken.push(slot),
                Some(slot) => {
                    taken.clear();
                    let window = &mut self.slots[slot];
                    let was_awaited = std::mem::replace(&mut window.is_awaited, true);
                    if matches!(window.state, State::Queued(_)) && !was_awaited {
                        self.wanted.push_back(slot);
                    }
                    return Err(window.place.map_or(key, |place| (place.segment, place.start)));
                }
                None => {
                    taken.clear();
                    self.wish(key, place);
                    return Err(key);
                }
            }
        }
        taken.iter().for_each(|&slot| self.begin_use(slot));
        Ok(())
    }

    fn wish(&mut self, key: Key, place: &Place) {
        self.clock += 1;
        let age = self.clock;
        let wish = self.wishes.entry(key).or_insert(Wish { place: *place, age });
        wish.place.end = wish.place.end.max(place.end);
        if wish.age == age {
            self.ages.insert(age, key);
        }
    }

    /// Nobody waits for what was wished for any more.
    pub(super) fn unwish(&mut self, key: Key) {
        if let Some(wish) = self.wishes.remove(&key) {
            self.ages.remove(&wish.age);
        }
    }

    /// Nobody waits for anything in a segment any more: where those who did looked for it.
    pub(super) fn unwish_all(&mut self, segment: SegmentId) -> Vec<Key> {
        let keys = self.wishes.range((segment, 0)..=(segment, u64::MAX)).map(|(&key, _)| key);
        let keys: Vec<Key> = keys.collect();
        keys.iter().for_each(|&key| self.unwish(key));
        keys
    }

    /// From here on only what requests need is read. What was to be read ahead is forgotten: requests need its memory.
    pub(super) fn serve_requests_alone(&mut self) {
        self.wishes.clear();
        self.ages.clear();
        while let Some(slot) = self.ahead.pop_front() {
            let window = &self.slots[slot];
            if window.users == 0 && matches!(window.state, State::Queued(_)) {
                self.forget(slot);
            }
        }
    }

    /// Queues the window of a wish, if there are any and there is room.
    fn grant_wish(&mut self, io: &mut impl Io) -> Option<u32> {
        let is_free = |key: &&Key| !self.held_back.contains(&key.0);
        let (by_place, by_age) = (self.wishes.keys().find(is_free).copied(), self.ages.values().find(is_free).copied());
        let is_by_age = self.granted.is_multiple_of(WISHES_BY_AGE);
        let order = if is_by_age { [by_age, by_place] } else { [by_place, by_age] };
        // The other one may fit where the first does not.
        order.into_iter().flatten().find_map(|key| self.grant(io, key))
    }

    fn grant(&mut self, io: &mut impl Io, key: Key) -> Option<u32> {
        if self.granted_bytes >= GRANTED_BYTES_MAX {
            return None;
        }
        let place = self.wishes.get(&key)?.place;
        // A request may have had the same read meanwhile, or be about to: that ends the wait as well.
        let same = self.by_place.get(&key).and_then(|&slot| self.slots[slot].place);
        if same.is_some_and(|same| same.end >= place.end) {
            self.unwish(key);
            return None;
        }
        let slot = self.make(io, &place, &mut 0).ok()?;
        self.granted += 1;
        self.unwish(key);
        let window = &mut self.slots[slot];
        (window.users, window.is_wish, window.is_awaited) = (0, true, true);
        self.granted_bytes += window.held_bytes;
        Some(slot)
    }

    /// Makes a window in use by one, which has `own_bytes` of others, if there is room for it. Who has all that is held may
    /// go past the budget: nobody would let go of any.
    fn make(&mut self, io: &mut impl Io, place: &Place, own_bytes: &mut usize) -> Result<u32, Lack> {
        while self.held_bytes > *own_bytes && self.held_bytes + place.held_bytes() > self.budget_bytes {
            if !self.evict() {
                return Err(Lack::Windows);
            }
        }
        let buf = loop {
            match io.pool().take(place.bytes()) {
                Some(buf) => break buf,
                None if self.evict() => {}
                None => return Err(Lack::Memory),
            }
        };
        *own_bytes += place.held_bytes();
        Ok(self.add(place, buf, 1))
    }

    /// Has a place read that somebody is about to come to, if there is memory for it that nobody needs. Not while others
    /// wait for what comes before: they are to catch up.
    pub(super) fn read_ahead(&mut self, io: &mut impl Io, place: &Place) {
        let is_there = self.find_slot(place.segment, &(place.start..place.end)).is_some();
        let is_held_back = self.held_back.contains(&place.segment);
        let is_behind = self.wishes.first_key_value().is_none_or(|(&first, _)| (place.segment, place.start) < first);
        if is_there || is_held_back || !is_behind {
            return;
        }
        while self.held_bytes + place.held_bytes() > self.budget_bytes {
            // Only what was used: others that were read ahead are about to be.
            let was_used = self.idle.first_key_value().is_some_and(|(_, &oldest)| self.slots[oldest].was_used);
            if !was_used || !self.evict() {
                return;
            }
        }
        if let Some(buf) = io.pool().take(place.bytes()) {
            let slot = self.add(place, buf, 0);
            self.ahead.push_back(slot);
        }
    }

    fn add(&mut self, place: &Place, buf: BufMut, users: usize) -> u32 {
        let slot = self.slots.take();
        let held_bytes = place.held_bytes();
        self.held_bytes += held_bytes;
        let window = &mut self.slots[slot];
        (window.place, window.held_bytes, window.users) = (Some(*place), held_bytes, users);
        window.state = State::Queued(buf);
        (window.was_used, window.is_awaited, window.failures) = (users > 0, false, 0);
        debug_assert!(window.waiting.is_empty());
        // One of the same start is too short: whoever uses it knows its slot.
        if let Some(short) = self.by_place.insert((place.segment, place.start), slot)
            && self.slots[short].users == 0
            && matches!(self.slots[short].state, State::Ready(_) | State::Failed)
        {
            self.idle.remove(&self.slots[short].idle_since);
            self.forget(short);
        }
        slot
    }

    /// Starts reads while the scheduler allows, beside appends or not.
    pub(super) fn advance(&mut self, io: &mut impl Io, scheduler: &mut Scheduler, is_appending: bool) {
        while self.is_waiting() && scheduler.may_read(io.mono_ns(), is_appending) {
            let Some(slot) = self.next_to_read(io) else { return };
            let window = &mut self.slots[slot];
            let Some(place) = window.place else { continue };
            match std::mem::take(&mut window.state) {
                State::Queued(buf) => {
                    window.state = State::Reading;
                    (self.in_flight, self.begun) = (self.in_flight + 1, self.begun + 1);
                    scheduler.begin_read(buf.len());
                    io.submit(Op::Read { file: place.file, offset: place.start, buf }, token::window(slot));
                }
                state => window.state = state,
            }
        }
    }

    /// The next window in turn: what requests need, what is wished for, and what lies ahead all have theirs.
    fn next_to_read(&mut self, io: &mut impl Io) -> Option<u32> {
        match self.begun % 4 {
            1 => self.grant_wish(io).or_else(|| self.wanted.pop_front()).or_else(|| self.ahead.pop_front()),
            3 => self.ahead.pop_front().or_else(|| self.wanted.pop_front()).or_else(|| self.grant_wish(io)),
            _ => self.wanted.pop_front().or_else(|| self.grant_wish(io)).or_else(|| self.ahead.pop_front()),
        }
    }

    /// A window could not be read, which may pass: whether it is read again.
    pub(super) fn read_again(&mut self, slot: u32, buf: BufMut) -> bool {
        let window = &mut self.slots[slot];
        window.failures += 1;
        let is_again = window.failures < READS_TRIED;
        if is_again {
            window.state = State::Queued(buf);
            self.in_flight -= 1;
            self.wanted.push_front(slot);
        }
        is_again
    }

    /// A window was read, whole if there is a buffer. Adds those who waited for it to `heard`; tells where others look for it.
    pub(super) fn complete(&mut self, slot: u32, buf: Option<Buf>, heard: &mut Vec<u32>) -> Option<Key> {
        self.in_flight -= 1;
        let window = &mut self.slots[slot];
        if std::mem::take(&mut window.is_wish) {
            self.granted_bytes -= window.held_bytes;
        }
        heard.append(&mut window.waiting);
        window.state = buf.map_or(State::Failed, State::Ready);
        let (key, is_awaited) = (window.place.map(|place| (place.segment, place.start)), window.is_awaited);
        if window.users == 0 {
            self.rest(slot, is_awaited);
        }
        key
    }

    /// What a window holds, and where that lies; nothing if it could not be read.
    pub(super) fn contents(&self, slot: u32) -> Option<(&Buf, u64)> {
        let window = &self.slots[slot];
        match (&window.state, window.place) {
            (State::Ready(buf), Some(place)) => Some((buf, place.start)),
            _ => None,
        }
    }

    fn begin_use(&mut self, slot: u32) {
        let window = &mut self.slots[slot];
        if window.users == 0 && matches!(window.state, State::Ready(_) | State::Failed) {
            self.idle.remove(&window.idle_since);
        }
        window.users += 1;
        window.was_used = true;
    }

    /// A request needs a window no more.
    pub(super) fn end_use(&mut self, slot: u32) {
        let window = &mut self.slots[slot];
        window.users -= 1;
        if window.users == 0 {
            self.rest(slot, false);
        }
    }

    /// Nobody needs a window now. One that failed is kept for who waits for it, until that was told.
    fn rest(&mut self, slot: u32, is_awaited: bool) {
        let window = &self.slots[slot];
        let Some(place) = window.place else { return };
        let is_current = self.by_place.get(&(place.segment, place.start)) == Some(&slot);
        match window.state {
            State::Ready(_) | State::Failed
                if is_current && (is_awaited || matches!(window.state, State::Ready(_))) =>
            {
                self.clock += 1;
                self.slots[slot].idle_since = self.clock;
                self.idle.insert(self.clock, slot);
            }
            State::Ready(_) | State::Failed => self.forget(slot),
            State::Free | State::Queued(_) | State::Reading => {}
        }
    }

    /// Forgets the window that was unused longest. `false` if all are needed.
    pub(super) fn evict(&mut self) -> bool {
        let Some((_, slot)) = self.idle.pop_first() else { return false };
        self.forget(slot);
        true
    }

    fn forget(&mut self, slot: u32) {
        let window = &mut self.slots[slot];
        window.state = State::Free;
        self.held_bytes -= std::mem::take(&mut window.held_bytes);
        if let Some(place) = window.place.take() {
            let key = (place.segment, place.start);
            if self.by_place.get(&key) == Some(&slot) {
                self.by_place.remove(&key);
            }
        }
        self.slots.release(slot);
    }
}

#[cfg(test)]
mod tests {
    use frame::{JournalNumber, SegmentNumber};
    use io::{FileId, Pool};

    use super::*;
    use crate::inert::{Inert, Own};

    struct Memory(Pool);

    impl Own for Memory {
        fn submit(&mut self, op: Op, _token: io::Token) {
            panic!("{op:?} is not expected");
        }

        fn pool(&self) -> &Pool {
            &self.0
        }
    }

    const SEGMENT: SegmentId = SegmentId { journal: JournalNumber(0), number: SegmentNumber(3) };
    const NEXT: SegmentId = SegmentId { number: SegmentNumber(4), ..SEGMENT };

    fn place(start: u64, end: u64) -> Place {
        Place { segment: SEGMENT, file: FileId(1), start, end }
    }

    /// Bug, found on reading: a footer of more than a window ended the reactor. Mechanism: the range of places that may hold a
    /// stretch began behind the stretch. Fix: it begins no later.
    #[test]
    fn a_stretch_is_found_in_whatever_holds_it() {
        let (pool, mut windows) = (Pool::new(16 << 20).expect("memory"), Windows::new(64 << 20));
        let long = place(0, 3 << 20);
        assert_eq!(windows.find(SEGMENT, &(long.start..long.end)), None);
        for place in [long, place(4096, 8192), place(1 << 20, (1 << 20) + 65_536)] {
            windows.add(&place, pool.take(place.bytes()).expect("there is some"), 0);
        }
        assert_eq!(windows.find(SEGMENT, &(long.start..long.end)), Some(long));
        assert_eq!(windows.find(SEGMENT, &(5000..8192)), Some(place(4096, 8192)));
        // Behind one that begins nearer, and is too short.
        assert_eq!(windows.find(SEGMENT, &(5000..9000)), Some(long));
        assert_eq!(
            windows.find(SEGMENT, &((1 << 20) + 4096..(1 << 20) + 8192)).map(|place| place.start),
            Some(1 << 20)
        );
        assert_eq!(windows.find(NEXT, &(5000..8192)), None);
    }

    #[test]
    fn a_wish_is_for_all_who_wait_there() {
        let mut windows = Windows::new(64 << 20);
        let mut taken = Vec::new();
        let key = (SEGMENT, 4096);
        assert_eq!(windows.take_ready(&[place(4096, 8192)], &mut taken), Err(key));
        assert_eq!(windows.take_ready(&[place(4096, 12_288)], &mut taken), Err(key));
        assert_eq!((windows.wishes.len(), windows.wishes[&key].place.end), (1, 12_288));
        // In the order of the journal, but now and then by age.
        assert_eq!(windows.take_ready(&[place(0, 4096)], &mut taken), Err((SEGMENT, 0)));
        assert_eq!((windows.wishes.keys().next(), windows.ages.values().next()), (Some(&(SEGMENT, 0)), Some(&key)));
        windows.unwish(key);
        assert_eq!((windows.wishes.len(), windows.ages.len()), (1, 1));
        windows.unwish((SEGMENT, 0));
        assert!(!windows.is_waiting());
    }

    /// Bug, found on reading: a compacted copy did not take the place of what it was made of as long as readers went on there, so that
    /// nothing could be moved or freed. Mechanism: it waits for a moment in which nothing is read there, and new reads began before
    /// the last had ended. Fix: who comes then waits.
    #[test]
    fn nothing_is_begun_where_readers_are_held_back() {
        let mut windows = Windows::new(64 << 20);
        let mut io = Inert(Memory(Pool::new(16 << 20).expect("memory")));
        let next = Place { segment: NEXT, ..place(0, 4096) };
        let (mut used, mut taken) = (Vec::new(), Vec::new());
        assert_eq!(windows.take(&mut io, 0, &[place(0, 4096)], &mut used), Ok(1));
        windows.hold_back(&[SEGMENT]);
        assert!(!windows.rests(SEGMENT) && windows.rests(NEXT));
        // Requests, also for what is there; wishes, of which those for other segments are granted; and what lies ahead.
        assert_eq!(windows.take(&mut io, 1, &[place(0, 4096)], &mut taken), Err(Lack::Windows));
        assert_eq!(windows.take(&mut io, 1, &[next], &mut taken), Ok(1));
        windows.read_ahead(&mut io, &place(1 << 20, 2 << 20));
        assert_eq!(windows.take_ready(&[place(8192, 12_288)], &mut Vec::new()), Err((SEGMENT, 8192)));
        assert_eq!(windows.grant_wish(&mut io), None);
        let after = Place { segment: NEXT, ..place(8192, 12_288) };
        assert_eq!(windows.take_ready(&[after], &mut Vec::new()), Err((NEXT, 8192)));
        assert!(windows.grant_wish(&mut io).is_some_and(|slot| windows.slots[slot].place == Some(after)));
        // What was begun comes to its end.
        let slot = used[0];
        windows.slots[slot].state = State::Reading;
        windows.in_flight += 1;
        windows.complete(slot, None, &mut Vec::new());
        windows.end_use(slot);
        assert!(windows.rests(SEGMENT));
        windows.hold_back(&[]);
        assert!(windows.grant_wish(&mut io).is_some());
    }

    /// Bug, found on reading: a request could wait until the shutdown's time was up. Mechanism: windows that were to be read
    /// ahead, which nobody read any more, kept the memory that it needed. Fix: they are forgotten.
    #[test]
    fn what_is_not_read_ahead_any_more_holds_no_memory() {
        let (pool, mut windows) = (Pool::new(16 << 20).expect("memory"), Windows::new(64 << 20));
        let mut io = Inert(Memory(pool));
        windows.read_ahead(&mut io, &place(0, 1 << 20));
        windows.read_ahead(&mut io, &place(1 << 20, 2 << 20));
        let mut taken = Vec::new();
        assert_eq!(windows.take(&mut io, 0, &[place(0, 1 << 20)], &mut taken), Ok(1));
        windows.serve_requests_alone();
        assert_eq!((windows.held_bytes(), windows.wanted.len()), (1 << 20, 1));
    }
}
