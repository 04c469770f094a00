//! A table of reusable entries: what is released keeps its buffers for the next user.

use std::ops::{Index, IndexMut};

/// Entries by number. Numbers are reused; the caller tells lives apart by a generation of its own where that matters.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    entries: Vec<T>,
    free: Vec<u32>,
}

impl<T: Default> Slots<T> {
    pub(crate) fn new() -> Slots<T> {
        Slots { entries: Vec::new(), free: Vec::new() }
    }

    /// A free entry's number; its contents are those of its last user.
    pub(crate) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.entries.push(T::default());
            // Room to release all of them, so that releasing never allocates.
            self.free.reserve(self.entries.len());
            self.entries.len() as u32 - 1
        })
    }

    /// Gives an entry back.
    pub(crate) fn release(&mut self, number: u32) {
        debug_assert!((number as usize) < self.entries.len());
        self.free.push(number);
    }

    pub(crate) fn in_use(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn find(&self, number: u32) -> Option<&T> {
        self.entries.get(number as usize)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.entries.iter_mut().enumerate().map(|(number, entry)| (number as u32, entry))
    }
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.entries[number as usize]
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.entries[number as usize]
    }
}
