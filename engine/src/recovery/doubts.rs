//! What may be lost, once all journals are known.
//!
//! Behind damage a journal can't tell what it had of any shard: all numbers from the one that was due on are in doubt, up to where
//! the shard goes on. But no number lies in two journals: what another one holds was never lost here. What nobody holds
//! stays damaged, also where numbers were skipped, as nobody knows which of them were given.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use frame::segment::PlacedExtent;
use frame::{Sequence, ShardId};
use io::Io;

use super::journal::{Journal, footer_of};
use super::replay::Replay;
use super::share::nexts;
use super::{OpenError, Recovered};
use crate::damage::DamagedRecords;
use crate::shards::Shard;

/// Decides it for every journal, and for all together.
pub(super) fn settle(io: &mut impl Io, found: &mut [Journal], recovered: &mut Recovered) -> Result<(), OpenError> {
    let nexts = nexts(found);
    for journal in found.iter_mut() {
        let doubts = doubts(journal, &nexts);
        journal.damage.records.extend(doubts);
    }
    let wanted: BTreeSet<ShardId> = found.iter().flat_map(damaged_shards).collect();
    if found.len() > 1 && !wanted.is_empty() {
        let all: Vec<Rows> = found.iter().map(|journal| Rows::of(io, journal, &wanted)).collect::<Result<_, _>>()?;
        for (at, journal) in found.iter_mut().enumerate() {
            let others = || all.iter().enumerate().filter(|&(other, _)| other != at).map(|(_, rows)| rows);
            let of_gaps = journal.gaps.iter_mut().map(|gap| &mut gap.records);
            for records in of_gaps.chain([&mut journal.damage.records]) {
                // Where a journal's own rows span a number, readers look for it there, and nowhere else.
                let (mut left, mut rest) = all[at].spans.part(std::mem::take(records));
                others().for_each(|other| rest = other.held.part(std::mem::take(&mut rest)).1);
                left.append(&mut rest);
                *records = left;
            }
        }
    }
    for journal in found {
        let gaps = std::mem::take(&mut journal.gaps);
        gaps.into_iter().filter(|gap| !gap.records.is_empty()).for_each(|gap| journal.damage.append(gap));
        journal.damage.settle();
        recovered.damage.append(journal.damage.clone());
    }
    recovered.damage.settle_records();
    Ok(())
}

/// What a journal may have lost at its end: of shards that have nothing after the damage, and of those that it does not know, as
/// all that it had of them may lie in the damage.
fn doubts(journal: &Journal, nexts: &[Shard]) -> Vec<DamagedRecords> {
    let replay = &journal.replay;
    let known = replay.doubtful().map(|(shard, from)| {
        // The catalog's shard has numbers of its own in each journal.
        let own = || replay.shards.find(shard).map_or(from, |known| Sequence(known.next.0 + journal.skip));
        let to = if shard == ShardId::CATALOG { own() } else { nexts[shard.0 as usize].next };
        DamagedRecords { shard, from, to }
    });
    let all = nexts.iter().enumerate().skip(replay.shards.len().max(1)).filter(|_| replay.has_lost);
    let unknown = all.map(|(shard, next)| {
        let shard = ShardId(shard as u32);
        DamagedRecords { shard, from: Shard::NEW.next, to: next.next }
    });
    known.chain(unknown).collect()
}

/// The shards of which records are called damaged in a journal.
fn damaged_shards(journal: &Journal) -> impl Iterator<Item = ShardId> + '_ {
    let records = journal.damage.records.iter().chain(journal.gaps.iter().flat_map(|gap| &gap.records));
    records.map(|records| records.shard).filter(|&shard| shard != ShardId::CATALOG)
}

/// What a journal's footers, and the index of its open segment, say of some shards.
#[derive(Default)]
struct Rows {
    /// The numbers of records that lie in it.
    held: Numbers,
    /// Those that lie between the first and the last of a row, where it has records.
    spans: Numbers,
}

impl Rows {
    fn of(io: &mut impl Io, journal: &Journal, wanted: &BTreeSet<ShardId>) -> Result<Rows, OpenError> {
        let mut rows = Rows::default();
        for sealed in journal.sealed.values() {
            let footer = match journal.pinned.get(&sealed.segment) {
                Some(footer) => Some(Arc::clone(footer)),
                None => footer_of(io, sealed)?.map(Arc::new),
            };
            let Some(footer) = footer else { continue };
            for row in footer.shards().filter(|row| row.extents > 0 && wanted.contains(&row.shard)) {
                rows.add(row.shard, row.first..row.next, footer.extents(&row));
            }
        }
        let Replay { index, shards, .. } = &journal.replay;
        for &shard in wanted.iter().filter(|&&shard| index.extents(shard).next().is_some()) {
            let first = index.first_sequence(shard).unwrap_or(Shard::NEW.next);
            let next = shards.find(shard).map_or(first, |known| known.next);
            rows.add(shard, first..next, index.extents(shard));
        }
        rows.held.settle();
        rows.spans.settle();
        Ok(rows)
    }

    fn add(&mut self, shard: ShardId, span: Range<Sequence>, extents: impl Iterator<Item = PlacedExtent>) {
        self.spans.add(shard, span);
        extents.for_each(|extent| self.held.add(shard, extent.first_sequence..extent.last_sequence().next()));
    }
}

/// Ranges of numbers, by shard.
#[derive(Default)]
struct Numbers(BTreeMap<ShardId, Vec<Range<Sequence>>>);

impl Numbers {
    fn add(&mut self, shard: ShardId, numbers: Range<Sequence>) {
        let ranges = self.0.entry(shard).or_default();
        match ranges.last_mut() {
            Some(last) if last.end == numbers.start => last.end = numbers.end,
            _ => ranges.push(numbers),
        }
    }

    /// Puts them in order. Not before that they can be asked.
    fn settle(&mut self) {
        for ranges in self.0.values_mut() {
            ranges.sort_unstable_by_key(|range| range.start);
            ranges.dedup_by(|later, range| {
                let is_joined = later.start <= range.end;
                range.end = if is_joined { range.end.max(later.end) } else { range.end };
                is_joined
            });
        }
    }

    /// Parts records into those of these numbers, and the rest.
    fn part(&self, records: Vec<DamagedRecords>) -> (Vec<DamagedRecords>, Vec<DamagedRecords>) {
        let (mut among, mut rest) = (Vec::new(), Vec::new());
        for DamagedRecords { shard, mut from, to } in records {
            let ranges = self.0.get(&shard).map_or(&[][..], |ranges| ranges);
            let first = ranges.partition_point(|range| range.end <= from);
            for range in ranges[first..].iter().take_while(|range| range.start < to) {
                let (start, end) = (range.start.max(from), range.end.min(to));
                rest.push(DamagedRecords { shard, from, to: start });
                among.push(DamagedRecords { shard, from: start, to: end });
                from = end;
            }
            rest.push(DamagedRecords { shard, from, to });
        }
        rest.retain(|records| records.from < records.to);
        (among, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(&(from, to): &(u64, u64)) -> Range<Sequence> {
        Sequence(from)..Sequence(to)
    }

    #[test]
    fn records_are_parted_where_numbers_begin_and_end() {
        let mut numbers = Numbers::default();
        [(30, 40), (10, 15), (15, 20), (12, 14), (50, 51)].iter().for_each(|at| numbers.add(ShardId(1), range(at)));
        numbers.settle();
        let part = |shard, from, to| {
            let records = DamagedRecords { shard: ShardId(shard), from: Sequence(from), to: Sequence(to) };
            let all = |records: Vec<DamagedRecords>| records.iter().map(|r| (r.from.0, r.to.0)).collect::<Vec<_>>();
            let (among, rest) = numbers.part(vec![records]);
            (all(among), all(rest))
        };
        let whole = (vec![(10, 20), (30, 40), (50, 51)], vec![(1, 10), (20, 30), (40, 50), (51, 100)]);
        assert_eq!(part(1, 1, 100), whole);
        assert_eq!(part(1, 12, 35), (vec![(12, 20), (30, 35)], vec![(20, 30)]));
        assert_eq!(part(1, 10, 20), (vec![(10, 20)], vec![]));
        assert_eq!(part(1, 40, 50), (vec![], vec![(40, 50)]));
        assert_eq!(part(1, 51, 60), (vec![], vec![(51, 60)]));
        assert_eq!(part(2, 1, 100), (vec![], vec![(1, 100)]));
    }
}
