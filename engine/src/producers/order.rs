//! Entries in the order in which they were used: each stands in several orders, which are lists through the entries.

use super::{Entry, NONE};
use crate::slots::Slots;

/// Those beside an entry in one order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    older: u32,
    newer: u32,
}

impl Default for Links {
    fn default() -> Links {
        Links { older: NONE, newer: NONE }
    }
}

/// One order. Its entries use the links number `AT`.
#[derive(Debug)]
pub(super) struct Order {
    oldest: u32,
    newest: u32,
    len: usize,
}

impl Default for Order {
    fn default() -> Order {
        Order { oldest: NONE, newest: NONE, len: 0 }
    }
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slot of the entry that was not used for longest. There is one.
    pub(super) fn oldest(&self) -> u32 {
        self.oldest
    }

    pub(super) fn newest(&self) -> u32 {
        self.newest
    }

    /// The slots from the oldest on.
    pub(super) fn iter<'a, const AT: usize>(
        &self,
        entries: &'a Slots<Entry>,
    ) -> impl Iterator<Item = u32> + use<'a, AT> {
        let mut next = self.oldest;
        std::iter::from_fn(move || {
            let slot = (next != NONE).then_some(next)?;
            next = entries[slot].links[AT].newer;
            Some(slot)
        })
    }

    /// Adds an entry as the newest.
    pub(super) fn push<const AT: usize>(&mut self, entries: &mut Slots<Entry>, slot: u32) {
        entries[slot].links[AT] = Links { older: self.newest, newer: NONE };
        match self.newest {
            NONE => self.oldest = slot,
            newest => entries[newest].links[AT].newer = slot,
        }
        self.newest = slot;
        self.len += 1;
    }

    /// Takes an entry out.
    pub(super) fn remove<const AT: usize>(&mut self, entries: &mut Slots<Entry>, slot: u32) {
        let Links { older, newer } = std::mem::take(&mut entries[slot].links[AT]);
        match older {
            NONE => self.oldest = newer,
            older => entries[older].links[AT].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => entries[newer].links[AT].older = older,
        }
        self.len -= 1;
    }
}
