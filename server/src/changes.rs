//! Files that are read again when they change: once they stay as they are, as whoever writes them may not have done.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What tells two states of a file apart: device, inode, length and both times of change; nothing if it is not there.
pub(crate) type Stamp = Option<[i64; 7]>;

pub(crate) fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    let (device, inode, bytes) = (file.dev() as i64, file.ino() as i64, file.len() as i64);
    Some([device, inode, bytes, file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()])
}

/// Looks at the state of a file, or of several, from time to time.
pub(crate) struct Changes<S> {
    used: Option<S>,
    seen: Option<S>,
    /// Why what was read last is no good.
    failure: Option<String>,
}

impl<S: Clone + PartialEq> Changes<S> {
    /// Of what is in use in this state; in none that is known, if it is to be read again once.
    pub(crate) fn since(used: Option<S>) -> Self {
        Self { used: used.clone(), seen: used, failure: None }
    }

    /// Whether it is to be read again: it is in another state than what is in use, and was at the last look.
    pub(crate) fn look(&mut self, now: S) -> bool {
        let is_settled = self.seen.as_ref() == Some(&now);
        self.seen = Some(now.clone());
        if !is_settled || self.used.as_ref() == Some(&now) {
            return false;
        }
        self.used = Some(now);
        true
    }

    /// What was read is no good, now: it is read again at the next look. Whether that is news.
    pub(crate) fn failed(&mut self, error: &impl ToString) -> bool {
        self.used = None;
        let failure = Some(error.to_string());
        let is_news = failure != self.failure;
        self.failure = failure;
        is_news
    }

    /// What was read is in use.
    pub(crate) fn succeeded(&mut self) {
        self.failure = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_is_read_once_and_only_when_it_stays() {
        let mut changes = Changes::since(Some(1));
        let looks: Vec<bool> = [1, 2, 3, 3, 3, 1, 3, 3, 1, 1].into_iter().map(|now| changes.look(now)).collect();
        assert_eq!(looks, [false, false, false, true, false, false, false, false, false, true]);
        let mut unknown = Changes::since(None);
        assert_eq!([1, 1, 1].map(|now| unknown.look(now)), [false, true, false]);
    }

    #[test]
    fn what_is_no_good_is_read_again_and_told_once() {
        let mut changes = Changes::since(Some(1));
        assert_eq!([2, 2].map(|now| changes.look(now)), [false, true]);
        assert!(changes.failed(&"too many open files"));
        assert!(changes.look(2) && !changes.failed(&"too many open files"));
        assert!(changes.look(2) && changes.failed(&"no key"));
        assert!(changes.look(2));
        changes.succeeded();
        assert!(!changes.look(2));
    }
}
