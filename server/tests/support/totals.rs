//! What a run of a crash test comes to, in all its data directories together.

use std::fmt;
use std::path::Path;

/// Counts of one ledger, or of several.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Totals {
    /// Records acknowledged, those that were sent again once.
    pub(crate) acked: u64,
    /// Records compared for the first time, and again.
    pub(crate) compared: u64,
    /// Records whose fate was unknown, and that were found.
    pub(crate) unknown_found: u64,
    /// Acknowledgements that told once more where a numbered record is.
    pub(crate) told_again: u64,
    /// Splits and merges that were done.
    pub(crate) reshardings: u64,
    /// Records that were found to have expired.
    pub(crate) expired: u64,
    /// Segments that are gone.
    pub(crate) dropped_segments: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: Totals) {
        self.acked += other.acked;
        self.compared += other.compared;
        self.unknown_found += other.unknown_found;
        self.told_again += other.told_again;
        self.reshardings += other.reshardings;
        self.expired += other.expired;
        self.dropped_segments += other.dropped_segments;
    }

    /// Had it not all been at stake, a test would prove less than it says.
    pub(crate) fn assert_all_was_at_stake(&self) {
        assert!(self.reshardings > 0, "crashes are to come amid splits and merges");
        assert!(self.told_again > 0, "numbered records are to be sent again");
        assert!(self.expired > 0 && self.dropped_segments > 0, "crashes are to come as records expire: {self}");
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { acked, compared, unknown_found, told_again, reshardings, expired, dropped_segments } = self;
        write!(
            f,
            "{acked} records acknowledged, {compared} compared, {unknown_found} of unknown fate found, {told_again} told \
             again where they are; {reshardings} splits and merges; {expired} records expired, {dropped_segments} \
             segments dropped"
        )
    }
}

/// How many segments of the first journal are gone: those before the first one that is there.
pub(crate) fn dropped_segments(data: &Path) -> std::io::Result<u64> {
    let mut first = None;
    for entry in std::fs::read_dir(data)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("0000-")?.strip_suffix(".segment")?.parse().ok());
        first = number.into_iter().chain(first).min();
    }
    Ok(first.map_or(0, |first: u64| first - 1))
}
