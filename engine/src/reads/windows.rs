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

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use frame::SegmentNumber;
use io::{Buf, BufMut, FileId, Io, Op};

use crate::limits::READ_WINDOW_BYTES;
use crate::scheduler::Scheduler;
use crate::slots::Slots;
use crate::token;

/// A stretch of a segment, in whole blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) segment: SegmentNumber,
    pub(super) file: FileId,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Place {
    pub(super) fn bytes(&self) -> usize {
        (self.end - self.start) as usize
    }

    pub(super) fn contains(&self, segment: SegmentNumber, range: &Range<u64>) -> bool {
        self.segment == segment && self.start <= range.start && range.end <= self.end
    }
}

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
pub(crate) type Key = (SegmentNumber, u64);

/// All windows.
#[derive(Debug)]
pub(super) struct Windows {
    budget_bytes: usize,
    slots: Slots<Window>,
    by_place: BTreeMap<Key, u32>,
    wishes: BTreeMap<Key, Wish>,
    /// Wishes granted so far, and bytes of those that are being read.
    granted: u64,
    granted_bytes: usize,
    /// Ready ones that nobody needs now, longest unused first.
    idle: BTreeMap<u64, u32>,
    clock: u64,
    held_bytes: usize,
    in_flight: usize,
    /// To be read: for requests that wait, and ahead of them. What has been read since is passed over.
    wanted: VecDeque<u32>,
    ahead: VecDeque<u32>,
}

impl Windows {
    pub(super) fn new(budget_bytes: usize) -> Windows {
        Windows {
            budget_bytes,
            slots: Slots::new(),
            by_place: BTreeMap::new(),
            wishes: BTreeMap::new(),
            granted: 0,
            granted_bytes: 0,
            idle: BTreeMap::new(),
            clock: 0,
            held_bytes: 0,
            in_flight: 0,
            wanted: VecDeque::new(),
            ahead: VecDeque::new(),
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
    pub(super) fn find(&self, segment: SegmentNumber, range: &Range<u64>) -> Option<Place> {
        let slot = self.find_slot(segment, range)?;
        self.slots[slot].place
    }

    fn find_slot(&self, segment: SegmentNumber, range: &Range<u64>) -> Option<u32> {
        let first = (segment, range.end.saturating_sub(READ_WINDOW_BYTES as u64));
        let mut near = self.by_place.range(first..=(segment, range.start)).rev().map(|(_, &slot)| slot);
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
                    let place = self.slots[slot].place.unwrap_or(*place);
                    return Err((place.segment, place.start));
                }
                None => {
                    taken.clear();
                    self.clock += 1;
                    let wish = self.wishes.entry(key).or_insert(Wish { place: *place, age: self.clock });
                    wish.place.end = wish.place.end.max(place.end);
                    return Err(key);
                }
            }
        }
        taken.iter().for_each(|&slot| self.begin_use(slot));
        Ok(())
    }

    /// Queues the window of a wish, if there are any and there is room.
    fn grant_wish(&mut self, io: &mut impl Io) -> Option<u32> {
        let by_age = |(_, wish): &(&Key, &Wish)| wish.age;
        if self.granted_bytes >= GRANTED_BYTES_MAX {
            return None;
        }
        let is_by_age = self.granted.is_multiple_of(WISHES_BY_AGE);
        let first = if is_by_age { self.wishes.iter().min_by_key(by_age) } else { self.wishes.iter().next() };
        let (&key, &Wish { place, .. }) = first?;
        let slot = self.make(io, &place, &mut 0).ok()?;
        self.granted += 1;
        self.wishes.remove(&key);
        let window = &mut self.slots[slot];
        (window.users, window.is_wish) = (0, true);
        self.granted_bytes += window.held_bytes;
        Some(slot)
    }

    /// Makes a window in use by one, which has `own_bytes` of others, if there is room for it. Who has all that is held may
    /// go past the budget: nobody would let go of any.
    fn make(&mut self, io: &mut impl Io, place: &Place, own_bytes: &mut usize) -> Result<u32, Lack> {
        while self.held_bytes > *own_bytes && self.held_bytes + place.bytes() > self.budget_bytes {
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
        *own_bytes += place.bytes();
        Ok(self.add(place, buf, 1))
    }

    /// Has a place read that somebody is about to come to, if there is memory for it that nobody needs. Not while others
    /// wait for what comes before: they are to catch up.
    pub(super) fn read_ahead(&mut self, io: &mut impl Io, place: &Place) {
        let is_there = self.find_slot(place.segment, &(place.start..place.end)).is_some();
        let is_behind = self.wishes.first_key_value().is_none_or(|(&first, _)| (place.segment, place.start) < first);
        if is_there || !is_behind {
            return;
        }
        while self.held_bytes + place.bytes() > self.budget_bytes {
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
        let held_bytes = buf.len();
        self.held_bytes += held_bytes;
        let window = &mut self.slots[slot];
        (window.place, window.held_bytes, window.users) = (Some(*place), held_bytes, users);
        window.state = State::Queued(buf);
        window.was_used = users > 0;
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

    /// Starts reads while the scheduler allows.
    pub(super) fn advance(&mut self, io: &mut impl Io, scheduler: &mut Scheduler) {
        while self.is_waiting() && scheduler.may_read(io.mono_ns()) {
            let next = self.wanted.pop_front().or_else(|| self.grant_wish(io)).or_else(|| self.ahead.pop_front());
            let Some(slot) = next else { return };
            let window = &mut self.slots[slot];
            let Some(place) = window.place else { continue };
            match std::mem::take(&mut window.state) {
                State::Queued(buf) => {
                    window.state = State::Reading;
                    self.in_flight += 1;
                    scheduler.begin_read(buf.len());
                    io.submit(Op::Read { file: place.file, offset: place.start, buf }, token::window(slot));
                }
                state => window.state = state,
            }
        }
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
        if window.users == 0 {
            self.rest(slot, true);
        }
        self.slots[slot].place.map(|place| (place.segment, place.start))
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

    /// Nobody needs a window now. One that was just read may be waited for: a failed one is kept until that was told.
    fn rest(&mut self, slot: u32, is_new: bool) {
        let window = &self.slots[slot];
        let Some(place) = window.place else { return };
        let is_current = self.by_place.get(&(place.segment, place.start)) == Some(&slot);
        match window.state {
            State::Ready(_) | State::Failed if is_current && (is_new || matches!(window.state, State::Ready(_))) => {
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
