//! The decision table of recovery: what to make of a place that no intact batch of the chain starts at.
//!
//! | at the place | next segment continues | durability claimed past it | decision |
//! | --- | --- | --- | --- |
//! | remains or blank | yes | any | [`Decision::NextSegment`] |
//! | remains or blank | no | yes | [`Decision::Damaged`] |
//! | remains of a batch of this segment | no | no | [`Decision::CutTail`] |
//! | blank, or of an earlier life | no | no | [`Decision::CleanEnd`] |
//!
//! *Next segment continues*: its first batch is intact and chained to the last one accepted. *Claimed*: the superblock, or
//! an intact batch header later in the journal, says that something past the place was durable. A header is believed on
//! its own checksum, even where its payload is torn. Headers of earlier lives claim nothing new: what they called durable
//! was accepted before.

/// What lies at the place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Something of this segment that is not that: torn, damaged, or out of the chain.
    Remains,
    /// Zeros, another segment's leftovers, or a batch of an earlier life.
    Blank,
}

/// All that the decision depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Evidence {
    pub(crate) found: Found,
    pub(crate) next_segment_continues: bool,
    pub(crate) claimed: bool,
}

/// What recovery does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Decision {
    /// The segment was left here; go on in the next.
    NextSegment,
    /// What was here was durable: refuse the range, go on after it, tell the operator.
    Damaged,
    /// The log ends here. Copy the remains aside, then write over them; every shard skips numbers.
    CutTail,
    /// The log ends here.
    CleanEnd,
}

/// The table.
pub(crate) fn decide(evidence: Evidence) -> Decision {
    match evidence {
        Evidence { next_segment_continues: true, .. } => Decision::NextSegment,
        Evidence { claimed: true, .. } => Decision::Damaged,
        Evidence { found: Found::Remains, .. } => Decision::CutTail,
        Evidence { found: Found::Blank, .. } => Decision::CleanEnd,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durable_is_never_cut() {
        for found in [Found::Remains, Found::Blank] {
            let decision = decide(Evidence { found, next_segment_continues: false, claimed: true });
            assert_eq!(decision, Decision::Damaged);
        }
    }

    #[test]
    fn every_row() {
        let row = |found, next_segment_continues, claimed| decide(Evidence { found, next_segment_continues, claimed });
        assert_eq!(row(Found::Remains, true, true), Decision::NextSegment);
        assert_eq!(row(Found::Blank, true, false), Decision::NextSegment);
        assert_eq!(row(Found::Remains, false, false), Decision::CutTail);
        assert_eq!(row(Found::Blank, false, false), Decision::CleanEnd);
    }
}
