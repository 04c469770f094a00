//! The files of a disk at rest, outside of any world: a test may read them, change them, and make a disk of them again.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Disk;
use super::file::File;

const PAGE_BYTES: u64 = 4096;

/// The first data directory, at rest. Copies share what neither of them has changed.
#[derive(Clone, Debug, Default)]
pub struct Files(BTreeMap<String, File>);

impl Files {
    /// The names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A file's length in bytes, or 0 if there is no such file.
    pub fn length(&self, name: &str) -> u64 {
        self.0.get(name).map_or(0, File::length)
    }

    /// Bytes of a file from `offset` on; fewer than asked for at its end.
    pub fn read(&self, name: &str, offset: u64, bytes: usize) -> Vec<u8> {
        let Some(file) = self.0.get(name) else { return Vec::new() };
        let mut out = vec![0; bytes.min(file.length().saturating_sub(offset) as usize)];
        file.read(offset, &mut out);
        out
    }

    /// Changes bytes of a file in their place. What lies past its end is dropped.
    pub fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) {
        let Some(file) = self.0.get_mut(name) else { return };
        let end = (offset + bytes.len() as u64).min(file.length());
        let Some(bytes) = end.checked_sub(offset).and_then(|length| bytes.get(..length as usize)) else { return };
        let first_page = offset / PAGE_BYTES * PAGE_BYTES;
        let mut pages = vec![0; (end.next_multiple_of(PAGE_BYTES) - first_page) as usize];
        let readable = pages.len().min((file.length() - first_page) as usize);
        file.read(first_page, &mut pages[..readable]);
        let at = (offset - first_page) as usize;
        pages[at..at + bytes.len()].copy_from_slice(bytes);
        file.damage(first_page, &pages);
    }

    /// Makes sectors of a file unreadable, until they are written again.
    pub fn unreadable(&mut self, name: &str, range: Range<u64>) {
        if let Some(file) = self.0.get_mut(name) {
            file.lose(range);
        }
    }

    /// Cuts a file, or extends it by zeros.
    pub fn set_length(&mut self, name: &str, bytes: u64) {
        if let Some(file) = self.0.get_mut(name) {
            file.set_length(bytes, 0);
            file.flush(u64::MAX);
        }
    }

    /// Takes a file away.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Puts a copy of one file in the place of another, or beside it.
    pub fn copy(&mut self, from: &str, to: &str) {
        if let Some(file) = self.0.get(from).cloned() {
            self.0.insert(to.to_owned(), file);
        }
    }
}

impl Disk {
    /// What is on the disk. Only between lives, after a power cut.
    pub(crate) fn files(&self) -> Files {
        Files(self.names[0].iter().map(|(name, inode)| (name.to_owned(), self.files[&inode].clone())).collect())
    }

    /// Puts files on a disk that is empty; all of it is on stable storage.
    pub(crate) fn load(&mut self, files: Files) {
        for (name, file) in files.0 {
            let inode = self.next_inode;
            self.next_inode += 1;
            self.files.insert(inode, file);
            self.names[0].put(&name, inode);
        }
        self.names[0].flush(u64::MAX);
    }
}
