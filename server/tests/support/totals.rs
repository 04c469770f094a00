//! What a run of a crash test comes to, in all its data directories together.

use std::fmt;

/// So many crashes can't all miss the moments when what lives is copied.
const CRASHES_AMID_COMPACTION: u64 = 200;

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
    /// Splits and merges that were done, and moves from one reactor to another.
    pub(crate) reshardings: u64,
    pub(crate) moves: u64,
    /// Records that were found to have expired.
    pub(crate) expired: u64,
    /// Segments that are gone.
    pub(crate) dropped_segments: u64,
    /// Segments that were made of what lived of others, and ends of lives that came as one was being made.
    pub(crate) compacted_segments: u64,
    pub(crate) amid_compaction: u64,
}

impl Totals {
    pub(crate) fn add(&mut self, other: Totals) {
        self.acked += other.acked;
        self.compared += other.compared;
        self.unknown_found += other.unknown_found;
        self.told_again += other.told_again;
        self.reshardings += other.reshardings;
        self.moves += other.moves;
        self.expired += other.expired;
        self.dropped_segments += other.dropped_segments;
        self.compacted_segments += other.compacted_segments;
        self.amid_compaction += other.amid_compaction;
    }

    /// Had it not all been at stake, a test would prove less than it says.
    pub(crate) fn assert_all_was_at_stake(&self, crashes: u64) {
        assert!(self.reshardings > 0, "crashes are to come amid splits and merges");
        assert!(self.told_again > 0, "numbered records are to be sent again");
        assert!(self.expired > 0 && self.dropped_segments > 0, "crashes are to come as records expire: {self}");
        assert!(self.compacted_segments > 0, "crashes are to come between compactions: {self}");
        let came_amid = self.amid_compaction > 0 || crashes < CRASHES_AMID_COMPACTION;
        assert!(came_amid, "crashes are to come amid compaction: {self}");
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { acked, compared, unknown_found, told_again, reshardings, moves, .. } = self;
        let Totals { expired, dropped_segments, compacted_segments, amid_compaction, .. } = self;
        write!(
            f,
            "{acked} records acknowledged, {compared} compared, {unknown_found} of unknown fate found, {told_again} told \
             again where they are; {reshardings} splits and merges, {moves} moves; {expired} records expired, \
             {dropped_segments} segments dropped, {compacted_segments} compacted, {amid_compaction} crashes amid that"
        )
    }
}
