//! Numbers that nobody knows what became of, next to damage.

use frame::batch::Extent;
use frame::segment::Footer;
use frame::{Position, Sequence};

use crate::damage::{Damage, DamagedRecords, DamagedStretch};

/// What lies before an extent and was due: it may be lost, if anything is.
pub(super) fn note_gap(damage: &mut Damage, extent: &Extent, due: Sequence) {
    if extent.first_sequence > due && !damage.stretches.is_empty() {
        damage.records.push(DamagedRecords { shard: extent.shard, from: due, to: extent.first_sequence });
    }
}

/// What lies between two footers that follow each other: numbers that the second says were given before it, and the first,
/// which was made of what is intact up to `intact_to`, does not know. They are damaged, unless other journals hold them.
pub(super) fn gap_between(before: &Footer, intact_to: Position, after: &Footer) -> Damage {
    let next = |shard| before.shard(shard).map_or(Sequence(1), |before| before.next);
    let gaps = after.shards().map(|row| DamagedRecords { shard: row.shard, from: next(row.shard), to: row.first });
    let records = gaps.filter(|records| records.from < records.to).collect();
    Damage { stretches: vec![DamagedStretch { from: intact_to, to: before.head.position }], records }
}
