//! Ranges that recovery found damaged: refused to readers, while the rest stays readable.

pub use frame::segment::{DamagedRecords, DamagedStretch};

use frame::segment::{FooterWriter, damage_bytes};
use frame::{Sequence, ShardId};

use crate::limits::{DAMAGED_RANGES_MAX, DAMAGED_STRETCHES_MAX};

/// What recovery found damaged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Damage {
    /// In the journal.
    pub stretches: Vec<DamagedStretch>,
    /// By shard.
    pub records: Vec<DamagedRecords>,
}

impl Damage {
    /// Whether the record is damaged; if so, the first number after the damage.
    pub(crate) fn covers(&self, shard: ShardId, sequence: Sequence) -> Option<Sequence> {
        let covering = |r: &&DamagedRecords| r.shard == shard && (r.from..r.to).contains(&sequence);
        self.records.iter().find(covering).map(|records| records.to)
    }

    /// The first of the damaged records that end right before `sequence`, if there are such.
    pub(crate) fn ends_at(&self, shard: ShardId, sequence: Sequence) -> Option<Sequence> {
        self.records.iter().find(|r| r.shard == shard && r.to == sequence).map(|records| records.from)
    }

    /// The first damaged record of `shard` after `sequence`: one answer to a read never reaches over it.
    pub(crate) fn next_after(&self, shard: ShardId, sequence: Sequence) -> Option<Sequence> {
        self.records.iter().filter(|r| r.shard == shard && r.from > sequence).map(|r| r.from).min()
    }

    /// Adds what was found further on in the journal.
    pub(crate) fn append(&mut self, later: Damage) {
        self.stretches.extend(later.stretches);
        self.records.extend(later.records);
    }

    /// Puts it in order: what overlaps is joined, and what is too much for a footer. Of a shard with too many ranges those
    /// that lie closest become one, as refusing an intact record is better than passing over a lost one; of the stretches,
    /// which only the operator is told, the oldest are left out.
    pub(crate) fn settle(&mut self) {
        self.settle_records();
        self.stretches.sort_unstable();
        let all = std::mem::take(&mut self.stretches);
        for stretch in all {
            match self.stretches.last_mut() {
                Some(last) if stretch.from <= last.to => last.to = last.to.max(stretch.to),
                _ => self.stretches.push(stretch),
            }
        }
        let surplus = self.stretches.len().saturating_sub(DAMAGED_STRETCHES_MAX);
        self.stretches.drain(..surplus);
    }

    /// The same for the records alone: stretches of several journals have no order.
    pub(crate) fn settle_records(&mut self) {
        self.records.sort_unstable();
        let all = std::mem::take(&mut self.records);
        for shard in all.chunk_by(|one, other| one.shard == other.shard) {
            let mut joined = join(shard);
            while joined.len() > DAMAGED_RANGES_MAX {
                let gaps = joined.windows(2).map(|pair| pair[1].from.0 - pair[0].to.0).enumerate();
                let Some((closest, _)) = gaps.min_by_key(|&(_, gap)| gap) else { break };
                joined[closest].to = joined.remove(closest + 1).to;
            }
            self.records.append(&mut joined);
        }
    }

    /// Nothing before a shard's trim point is damaged any more: it has expired.
    pub(crate) fn expire(&mut self, first_kept: impl Fn(ShardId) -> Option<Sequence>) {
        self.records.retain_mut(|records| {
            records.from = records.from.max(first_kept(records.shard).unwrap_or(records.from));
            records.from < records.to
        });
    }

    /// Adds it to a footer.
    pub(crate) fn write(&self, writer: &mut FooterWriter) {
        self.records.iter().for_each(|records| writer.damaged_records(records));
        self.stretches.iter().for_each(|stretch| writer.damaged_stretch(stretch));
    }

    /// Bytes that it takes in a footer.
    pub(crate) fn footer_bytes(&self) -> usize {
        damage_bytes(self.records.len(), self.stretches.len())
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty() && self.records.is_empty()
    }
}

/// One shard's ranges, sorted, without those that overlap or touch.
fn join(sorted: &[DamagedRecords]) -> Vec<DamagedRecords> {
    let mut joined: Vec<DamagedRecords> = Vec::with_capacity(sorted.len());
    for records in sorted {
        match joined.last_mut() {
            Some(last) if records.from <= last.to => last.to = last.to.max(records.to),
            _ => joined.push(*records),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use frame::{Position, SegmentNumber};

    use super::*;

    fn records(shard: u32, from: u64, to: u64) -> DamagedRecords {
        DamagedRecords { shard: ShardId(shard), from: Sequence(from), to: Sequence(to) }
    }

    #[test]
    fn what_overlaps_is_joined() {
        let place = |offset| Position::new(SegmentNumber(1), offset);
        let stretch = |from, to| DamagedStretch { from: place(from), to: place(to) };
        let mut damage = Damage {
            stretches: vec![stretch(8192, 12_288), stretch(4096, 8192), stretch(4096, 8192), stretch(40_960, 45_056)],
            records: vec![
                records(2, 5, 9),
                records(1, 5, 9),
                records(2, 7, 12),
                records(2, 12, 13),
                records(2, 20, 21),
            ],
        };
        damage.settle();
        assert_eq!(damage.records, [records(1, 5, 9), records(2, 5, 13), records(2, 20, 21)]);
        assert_eq!(damage.stretches, [stretch(4096, 12_288), stretch(40_960, 45_056)]);
    }

    #[test]
    fn too_many_ranges_are_joined_and_none_is_left_out() {
        let many = DAMAGED_RANGES_MAX as u64 + 10;
        let all: Vec<DamagedRecords> = (0..many).map(|at| records(1, at * at * 3, at * at * 3 + 2)).collect();
        let mut damage = Damage { stretches: Vec::new(), records: all.clone() };
        damage.settle();
        assert_eq!(damage.records.len(), DAMAGED_RANGES_MAX);
        for range in all {
            assert!(damage.covers(range.shard, range.from).is_some_and(|to| to >= range.to));
        }
        let last = many - 1;
        assert_eq!(damage.records.last(), Some(&records(1, last * last * 3, last * last * 3 + 2)), "the closest are");
    }
}
