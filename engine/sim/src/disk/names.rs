//! The directory: names are volatile until it is flushed. A power cut keeps the changes up to some point, as a journaling
//! file system does.

use std::collections::{BTreeMap, VecDeque};

/// Which file a name stands for.
pub(crate) type Inode = u32;

#[derive(Clone, Debug)]
enum Change {
    Put(String, Inode),
    Move(String, String),
    Drop(String),
}

/// Names as they are, as they certainly are, and the changes between.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    now: BTreeMap<String, Inode>,
    safe: BTreeMap<String, Inode>,
    log: VecDeque<Change>,
    /// Changes that are certain, in all.
    settled: u64,
}

impl Names {
    pub(crate) fn find(&self, name: &str) -> Option<Inode> {
        self.now.get(name).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Inode)> {
        self.now.iter().map(|(name, &inode)| (name.as_str(), inode))
    }

    pub(crate) fn put(&mut self, name: &str, inode: Inode) {
        self.change(Change::Put(name.to_owned(), inode));
    }

    /// Renames, replacing what was there. `false` if there is no such name.
    pub(crate) fn rename(&mut self, from: &str, to: &str) -> bool {
        let exists = self.now.contains_key(from);
        if exists {
            self.change(Change::Move(from.to_owned(), to.to_owned()));
        }
        exists
    }

    /// Removes a name. `false` if there is none.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let exists = self.now.contains_key(name);
        if exists {
            self.change(Change::Drop(name.to_owned()));
        }
        exists
    }

    /// Changes so far, for [`Names::flush`].
    pub(crate) fn changes(&self) -> u64 {
        self.settled + self.log.len() as u64
    }

    /// Changes that a power cut might undo.
    pub(crate) fn volatile(&self) -> usize {
        self.log.len()
    }

    /// The first `changes` of all changes are certain.
    pub(crate) fn flush(&mut self, changes: u64) {
        while self.settled < changes {
            let Some(change) = self.log.pop_front() else { return };
            apply(&mut self.safe, change);
            self.settled += 1;
        }
    }

    /// Power is cut; the first `kept` of the volatile changes survive.
    pub(crate) fn cut_power(&mut self, kept: usize) {
        self.flush(self.settled + kept as u64);
        self.log.clear();
        self.now = self.safe.clone();
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.now, change.clone());
        self.log.push_back(change);
    }
}

fn apply(names: &mut BTreeMap<String, Inode>, change: Change) {
    match change {
        Change::Put(name, inode) => {
            names.insert(name, inode);
        }
        Change::Move(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
        Change::Drop(name) => {
            names.remove(&name);
        }
    }
}
