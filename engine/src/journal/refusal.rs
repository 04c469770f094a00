//! What it means that the disk refused a step on files.

/// What the disk refuses over and over is logged once in so long.
const REFUSAL_LOGGED_NS: u64 = 60_000_000_000;

/// The file system can't do that.
pub(super) const EOPNOTSUPP: i32 = -95;

/// The disk is full.
pub(super) const ENOSPC: i32 = -28;

/// Says which of the refusals that come at each retry are logged: those that are news, and one a minute.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// What was logged last, and when.
    logged: Option<(i32, u64)>,
}

impl Refusals {
    /// Whether this one is.
    pub(crate) fn is_logged(&mut self, errno: i32, now_ns: u64) -> bool {
        let is_news = self.logged.is_none_or(|(logged, at_ns)| logged != errno || now_ns >= at_ns + REFUSAL_LOGGED_NS);
        if is_news {
            self.logged = Some((errno, now_ns));
        }
        is_news
    }

    /// It went well: the next refusal is news.
    pub(crate) fn end(&mut self) {
        self.logged = None;
    }
}

/// Whether a refusal says nothing about what was written: EAGAIN, ENOMEM, ENFILE, EMFILE, ENOSPC, EDQUOT. Any other may
/// have taken writes of the journal along that were not flushed yet, so that their own flush succeeds in vain.
///
/// Of steps that flush nothing alone: those that open, allocate, cut, name or remove a file. A flush, and so a durable write,
/// reports by ENOSPC or EDQUOT that what was written before is lost (thin volumes, quotas, copy on write), and never again: each
/// of its errors counts as EIO does.
pub(crate) fn is_passing(result: i32) -> bool {
    matches!(-result, 11 | 12 | 23 | 24 | 28 | 122)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug: a full disk filled the log, two lines a second and reactor for days. Mechanism: each retry that was refused was logged.
    /// Fix: what is news is, and one a minute.
    #[test]
    fn what_is_refused_again_and_again_is_logged_once_a_minute() {
        let mut refusals = Refusals::default();
        let tries = |from_s: u64| (from_s * 2..(from_s + 120) * 2).map(|half_s| half_s * 500_000_000);
        assert_eq!(tries(0).filter(|&now_ns| refusals.is_logged(ENOSPC, now_ns)).count(), 2);
        assert!(!refusals.is_logged(ENOSPC, 119_900_000_000));
        assert!(refusals.is_logged(EOPNOTSUPP, 119_900_000_000), "it is another one");
        refusals.end();
        assert!(refusals.is_logged(EOPNOTSUPP, 119_950_000_000), "it went well meanwhile");
        assert_eq!(tries(120).filter(|&now_ns| refusals.is_logged(EOPNOTSUPP, now_ns)).count(), 1);
    }
}
