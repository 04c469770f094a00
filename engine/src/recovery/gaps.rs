//! Numbers that nobody knows what became of, next to damage.

use frame::batch::Extent;
use frame::segment::Footer;
use frame::{Position, Sequence};

use crate::damage::{Damage, DamagedRecords, DamagedStretch};

/// What lies before an extent and was due. Tells whether it may be lost: where nothing is, it lies elsewhere, if
/// anywhere. A command says so, but in a compacted segment there is none.
pub(super) fn note_gap(damage: &mut Damage, extent: &Extent, due: Sequence) -> bool {
    let may_be_lost = extent.first_sequence > due && !damage.stretches.is_empty();
    if may_be_lost {
        damage.records.push(DamagedRecords { shard: extent.shard, from: due, to: extent.first_sequence });
    }
    may_be_lost
}

/// What lies between two footers that follow each other: numbers that the second says were given before it, and the first,
/// which was made of what is intact up to `intact_to`, does not know.
pub(super) fn note_gaps_between(before: &Footer, intact_to: Position, after: &Footer, damage: &mut Damage) {
    let known = damage.records.len();
    for row in after.shards() {
        let next = before.shard(row.shard).map_or(Sequence(1), |before| before.next);
        if row.first > next {
            damage.records.push(DamagedRecords { shard: row.shard, from: next, to: row.first });
        }
    }
    if damage.records.len() > known {
        damage.stretches.push(DamagedStretch { from: intact_to, to: before.head.position });
    }
}
