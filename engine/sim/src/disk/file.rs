//! One file: what reads see, what is certainly on stable storage, and the changes between the two.
//!
//! A change is volatile from its completion until a flush that was asked for after it; a power cut decides its fate.
//! A durable write is certain from its completion on. Changes are applied in the order of their completions, which is the
//! only one there is: two writes in flight never overlap, which the disk asserts.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;

use super::image::{Image, SECTOR_BYTES};
use super::mood::Mood;
use crate::dice::Dice;
use crate::trace::Trace;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: u64, bytes: Rc<[u8]> },
    Length(u64),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// A power cut decides.
    Volatile,
    /// On stable storage.
    Certain,
    /// Lost when a flush failed, although reads may still show it.
    Gone,
}

#[derive(Clone, Debug)]
struct Entry {
    change: Change,
    /// When it completed, in the disk's ticks.
    ended: u64,
    fate: Fate,
}

/// The contents and the length of one file.
#[derive(Clone, Debug, Default)]
pub(crate) struct File {
    now: Image,
    now_bytes: u64,
    safe: Image,
    safe_bytes: u64,
    log: VecDeque<Entry>,
    allocated_bytes: u64,
    /// Reads may show what a failed flush has lost.
    shows_lost: bool,
    /// Sectors that can't be read until they are written again.
    unreadable: BTreeSet<u64>,
}

impl File {
    pub(crate) fn length(&self) -> u64 {
        self.now_bytes
    }

    pub(crate) fn allocated_bytes(&self) -> u64 {
        self.allocated_bytes.max(self.now_bytes)
    }

    /// Fills `out` from `offset` on; how many bytes there were.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let length = (out.len() as u64).min(self.now_bytes.saturating_sub(offset)) as usize;
        self.now.read(offset, &mut out[..length]);
        length
    }

    /// A write has completed at tick `ended`. A durable one also makes the length certain that it needs.
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8], durable: bool, ended: u64) {
        let end = offset + bytes.len() as u64;
        if end > self.now_bytes {
            self.set_length(end, ended);
        }
        self.unreadable.retain(|sector| !(offset..end).contains(sector));
        self.now.write(offset, bytes);
        if durable && self.log.is_empty() {
            return self.safe.share(&self.now, offset, bytes.len() as u64);
        }
        if durable && end > self.certain_bytes() {
            self.log.iter_mut().filter(|entry| matches!(entry.change, Change::Length(_))).for_each(Entry::settle);
        }
        let fate = if durable { Fate::Certain } else { Fate::Volatile };
        self.log.push_back(Entry { change: Change::Write { offset, bytes: bytes.into() }, ended, fate });
        self.fold();
    }

    /// The length has changed at tick `ended`.
    pub(crate) fn set_length(&mut self, bytes: u64, ended: u64) {
        self.now.cut(bytes.min(self.now_bytes));
        self.unreadable.split_off(&bytes);
        self.now_bytes = bytes;
        self.allocated_bytes = bytes;
        self.log.push_back(Entry { change: Change::Length(bytes), ended, fate: Fate::Volatile });
    }

    /// A flush that started at tick `started` has completed: what was complete by then is certain.
    pub(crate) fn flush(&mut self, started: u64) {
        self.log.iter_mut().filter(|entry| entry.ended < started).for_each(Entry::settle);
        self.fold();
    }

    /// A flush that started at tick `started` has failed, and the disk let go of some of what it had: it is gone,
    /// whatever a later flush says. Reads may still show it, in this life.
    pub(crate) fn flush_failed(&mut self, started: u64, dice: &mut Dice) {
        let dropped = *dice.pick(&[0.0, 0.5, 1.0]);
        for entry in self.log.iter_mut().filter(|entry| entry.ended < started && entry.fate == Fate::Volatile) {
            if matches!(entry.change, Change::Write { .. }) && dice.chance(dropped) {
                entry.fate = Fate::Gone;
                self.shows_lost = true;
            }
        }
        if dice.chance(0.5) {
            self.show_what_is_left();
        }
    }

    /// The newest write is gone, although it completed.
    pub(crate) fn lose_newest(&mut self) {
        if let Some(newest) = self.log.back_mut() {
            newest.fate = Fate::Gone;
            self.shows_lost = true;
        }
        self.fold();
    }

    /// The process that had the file open is gone: whoever opens it next reads what the disk has.
    pub(crate) fn reopen(&mut self) {
        if self.shows_lost {
            self.show_what_is_left();
        }
    }

    /// Power is cut. `in_flight` are writes that had started.
    pub(crate) fn cut_power(&mut self, in_flight: &[(u64, &[u8])], mood: Mood, dice: &mut Dice, trace: &mut Trace) {
        for entry in std::mem::take(&mut self.log) {
            match (entry.fate, entry.change) {
                (Fate::Gone, _) => {}
                (Fate::Certain, change) => self.settle(change),
                (Fate::Volatile, Change::Length(bytes)) => {
                    if mood.keeps(dice) {
                        self.settle(Change::Length(bytes));
                    }
                }
                (Fate::Volatile, Change::Write { offset, bytes }) => {
                    for run in mood.kept(bytes.len(), dice, trace) {
                        self.safe.write(offset + run.start as u64, &bytes[run]);
                    }
                }
            }
        }
        for (offset, bytes) in in_flight {
            for run in mood.kept(bytes.len(), dice, trace) {
                self.safe.write(offset + run.start as u64, &bytes[run]);
            }
        }
        self.safe.cut(self.safe_bytes);
        self.now = self.safe.clone();
        self.shows_lost = false;
        self.now_bytes = self.safe_bytes;
        self.allocated_bytes = self.safe_bytes;
    }

    /// Damages what is stored, behind everybody's back. Only for a file without pending changes.
    pub(crate) fn damage(&mut self, offset: u64, bytes: &[u8]) {
        assert!(self.log.is_empty(), "damage is done between lives");
        self.safe.write(offset, bytes);
        self.now = self.safe.clone();
    }

    /// From now on reads of these bytes fail, until they are written again, whole sectors of them.
    pub(crate) fn lose(&mut self, range: Range<u64>) {
        let sector = SECTOR_BYTES as u64;
        self.unreadable.extend((range.start / sector * sector..range.end).step_by(SECTOR_BYTES));
    }

    /// Whether reads of these bytes succeed.
    pub(crate) fn is_readable(&self, offset: u64, bytes: usize) -> bool {
        self.unreadable.range(offset..offset + bytes as u64).next().is_none()
    }

    /// Offsets of pages that hold anything but zeros.
    pub(crate) fn written_pages(&self) -> Vec<u64> {
        self.now.written_pages().collect()
    }

    /// The length that a power cut would leave at least.
    fn certain_bytes(&self) -> u64 {
        let certain = self.log.iter().filter(|entry| entry.fate == Fate::Certain);
        certain.fold(self.safe_bytes, |bytes, entry| match entry.change {
            Change::Length(changed) => changed,
            Change::Write { .. } => bytes,
        })
    }

    /// Applies the changes at the front whose fate is known.
    fn fold(&mut self) {
        while self.log.front().is_some_and(|entry| entry.fate != Fate::Volatile) {
            let Some(entry) = self.log.pop_front() else { return };
            if entry.fate == Fate::Certain {
                self.settle(entry.change);
            }
        }
    }

    fn settle(&mut self, change: Change) {
        match change {
            Change::Write { offset, bytes } => self.safe.write(offset, &bytes),
            Change::Length(bytes) => {
                self.safe.cut(bytes.min(self.safe_bytes));
                self.safe_bytes = bytes;
            }
        }
    }

    fn show_what_is_left(&mut self) {
        let mut shown = File { safe: self.safe.clone(), safe_bytes: self.safe_bytes, ..File::default() };
        for entry in self.log.iter().filter(|entry| entry.fate != Fate::Gone) {
            shown.settle(entry.change.clone());
        }
        self.now = shown.safe;
        self.shows_lost = false;
    }
}

impl Entry {
    fn settle(&mut self) {
        if self.fate == Fate::Volatile {
            self.fate = Fate::Certain;
        }
    }
}
