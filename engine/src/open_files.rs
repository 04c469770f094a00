//! How many segments the reactors have open, and how many more a move of a shard may have them open: so that moves stop well before
//! the process is out of descriptors, of which it needs some for each record that it takes in, each client, and each start.
//!
//! Each move leaves a short segment, which stays as long as anything in it lives. Nothing else makes segments faster than records come.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::OPEN_FILES_SHARE;

/// Sealed segments that a reactor has open, and those among them that it is to drop.
#[derive(Debug, Default)]
struct Open {
    known: AtomicUsize,
    kept: AtomicUsize,
}

/// Of all reactors. Each says its own.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    /// What the process may have open, whatever it is.
    max: usize,
    of: Box<[Open]>,
}

/// A move that might take more descriptors than segments may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Shortage {
    /// Segments that there are.
    segments: usize,
    /// What they might need, and what the process may have in all.
    wanted: usize,
    max: usize,
}

impl OpenFiles {
    pub(crate) fn new(reactors: usize, max: usize) -> OpenFiles {
        OpenFiles { max, of: (0..reactors).map(|_| Open::default()).collect() }
    }

    /// A reactor has so many sealed segments open, and keeps so many of them.
    pub(crate) fn publish(&self, own: usize, known: usize, kept: usize) {
        self.of[own].known.store(known, Ordering::Relaxed);
        self.of[own].kept.store(kept, Ordering::Relaxed);
    }

    /// That shards may be moved to these reactors, with the moves that have not ended. Each is lent all segments that it does not know;
    /// and a start opens each of them once, before all those are open that reactors share out.
    pub(crate) fn check_moves(&self, to: &BTreeSet<usize>) -> Result<(), Shortage> {
        let all = |of: fn(&Open) -> &AtomicUsize| self.of.iter().map(|open| of(open).load(Ordering::Relaxed)).sum();
        let (known, segments): (usize, usize) = (all(|open| &open.known), all(|open| &open.kept));
        let lent = to.iter().map(|&to| segments.saturating_sub(self.of[to].known.load(Ordering::Relaxed)));
        let lent: usize = lent.sum();
        let wanted = known + lent + segments;
        let max = self.max;
        if wanted > max / OPEN_FILES_SHARE { Err(Shortage { segments, wanted, max }) } else { Ok(()) }
    }
}

impl Shortage {
    /// What is wrong, and what to do.
    pub(crate) fn detail(&self) -> String {
        let Shortage { segments, wanted, max } = self;
        format!(
            "moving a shard leaves a segment more, of which there are {segments} by now: reactors and the next start might need \
             {wanted} open files for them, more than one in {OPEN_FILES_SHARE} of the {max} that the server may have; allow it more \
             (ulimit -Hn, LimitNOFILE=) and start it again, or keep less, or wait until more has expired, and move it again"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_stop_at_a_share_of_what_may_be_open() {
        let files = OpenFiles::new(3, 100 * OPEN_FILES_SHARE);
        let check = |to: &[usize]| files.check_moves(&to.iter().copied().collect());
        assert_eq!(check(&[1]), Ok(()));
        // 30 segments, of which the second reactor has borrowed ten. It is lent the other 15, the third one 25.
        files.publish(0, 15, 15);
        files.publish(1, 20, 10);
        files.publish(2, 5, 5);
        assert_eq!(check(&[1]), Ok(()), "40 + 10 + 30");
        assert_eq!(check(&[2]), Ok(()), "40 + 25 + 30");
        let shortage = check(&[1, 2]).expect_err("40 + 10 + 25 + 30");
        assert_eq!(shortage, Shortage { segments: 30, wanted: 105, max: 100 * OPEN_FILES_SHARE });
        files.publish(0, 18, 18);
        assert_eq!(check(&[1]), Ok(()), "43 + 13 + 33");
        let shortage = check(&[2]).expect_err("43 + 28 + 33");
        assert_eq!(shortage, Shortage { segments: 33, wanted: 104, max: 100 * OPEN_FILES_SHARE });
        assert!(shortage.detail().contains("LimitNOFILE"));
        assert_eq!(OpenFiles::new(2, usize::MAX).check_moves(&BTreeSet::from([1])), Ok(()));
    }
}
