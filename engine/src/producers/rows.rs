//! The table as footers hold it: a command behind those of the catalog, which builds from before it refuse.
//!
//! ```text
//!   producers 0 version 1 | 1 kind 30 | 2 zeros | 4 rows | 8 zeros up to 24 | the rows
//!   row       0 shard | 4 runs | 8 producer | 16 highest number | 24 known from | the runs
//!   run       0 first number | 8 its sequence number | 16 count | 20 0
//! ```

use std::collections::BTreeMap;

use frame::limits::{RECORD_BYTES_MAX, SEQUENCE_MAX};
use frame::{ProducerId, ShardId};

use super::{ALL, NONE, Owed, Producers, Run};
use crate::catalog::{self, Command, FIXED_BYTES};
use crate::limits::RUNS_PER_PRODUCER_MAX;

pub(super) const ROW_BYTES: usize = 32;
pub(super) const RUN_BYTES: usize = 24;

/// Rows that one record has room for.
const RECORD_ROWS_BYTES_MAX: usize = RECORD_BYTES_MAX - FIXED_BYTES - 64;

const _: () = assert!(ROW_BYTES + RUNS_PER_PRODUCER_MAX * RUN_BYTES <= RECORD_ROWS_BYTES_MAX);

// What a batch adds to a footer is no more than the batch: a numbered record adds a row and a run at most.
const _: () = assert!(ROW_BYTES + RUN_BYTES <= frame::frame::HEADER_BYTES + frame::extension::NUMBERED_BYTES);

/// One producer in one shard, as it lies on disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) shard: ShardId,
    pub(crate) producer: ProducerId,
    /// The highest number that is durable.
    pub(crate) highest: u64,
    /// What is below this was stored or skipped, and nobody knows which.
    pub(crate) known_from: u64,
    /// By rising number.
    pub(crate) runs: Vec<Run>,
}

impl Producers {
    /// Bytes that the table adds to a footer at most, once a batch of so many bytes is written.
    pub(crate) fn footer_bytes_max(&self, batch_bytes: usize) -> usize {
        if !self.is_used {
            return 0;
        }
        let rows = self.by_name.len() * ROW_BYTES + self.runs.in_use() * RUN_BYTES;
        let most = self.entries_max * ROW_BYTES + self.runs_max * RUN_BYTES;
        4 + FIXED_BYTES + (rows + batch_bytes).min(most)
    }

    /// The durable part of the table: the longest unused come first, so that they go first in the next life as well.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let all = self.all.iter::<ALL>(&self.entries).filter(|&slot| !self.entries[slot].is_lent);
        all.filter_map(|slot| self.row(slot))
    }

    /// What is durable of a shard, wherever it is told of.
    pub(crate) fn rows_of(&self, shard: ShardId) -> impl Iterator<Item = Row> + '_ {
        let all = self.by_name.range((shard, ProducerId(0))..=(shard, ProducerId(u64::MAX)));
        all.filter_map(|(_, &slot)| self.row(slot))
    }

    /// The numbers that a shard waits for.
    pub(crate) fn owed_of(&self, shard: ShardId) -> Vec<(ProducerId, Owed)> {
        let all = self.by_name.range((shard, ProducerId(0))..=(shard, ProducerId(u64::MAX)));
        all.filter_map(|(&(_, producer), &slot)| Some((producer, self.entries[slot].owed?))).collect()
    }

    /// A shard that comes from another reactor waits for these numbers.
    pub(crate) fn owe_all(&mut self, shard: ShardId, owed: Vec<(ProducerId, Owed)>) {
        for (producer, owed) in owed {
            let slot = self.touch(shard, producer);
            self.entries[slot].owed = Some(owed);
        }
    }

    /// Adds it to a footer's snapshot, behind the catalog's commands; nothing, if there is none.
    pub(crate) fn add_to_snapshot(&self, snapshot: &mut Vec<u8>) {
        let rows: Vec<Row> = self.rows().collect();
        if !rows.is_empty() {
            catalog::add_to_snapshot(snapshot, &Command::Producers(rows));
        }
    }

    /// Takes up what a footer holds, or another journal knows.
    pub(crate) fn adopt(&mut self, row: Row) {
        let row = self.joined_with_known(row);
        self.take_up(row);
    }

    /// Takes up what another reactor knows of a shard and of those that it was made of, for children of that shard which this one
    /// owns. Footers do not tell of it: they have no room for what comes without a batch. With what was known here before it is no
    /// more of a producer than it has in one shard: else each move of the shard would push out what others stored since.
    pub(crate) fn borrow(&mut self, line: Vec<Row>) {
        let joined = line.into_iter().map(|row| self.joined_with_known(row)).collect();
        for row in newest_of(joined) {
            let (shard, producer) = (row.shard, row.producer);
            let is_lent = self.find(shard, producer).is_none_or(|slot| self.entries[slot].is_lent);
            self.take_up(row);
            if let Some(slot) = self.find(shard, producer) {
                self.entries[slot].is_lent = is_lent;
            }
        }
    }

    fn joined_with_known(&mut self, row: Row) -> Row {
        let known = self.find(row.shard, row.producer).and_then(|slot| self.row(slot));
        match known {
            Some(known) => known.joined(row),
            None => row,
        }
    }

    /// In the place of what was known of it.
    fn take_up(&mut self, row: Row) {
        self.is_used = true;
        if let Some(slot) = self.find(row.shard, row.producer) {
            self.drop_entry(slot);
        }
        let slot = self.touch(row.shard, row.producer);
        for run in row.runs {
            self.add_run(slot, run);
        }
        let entry = &mut self.entries[slot];
        (entry.highest, entry.durable) = (row.highest, row.highest);
        entry.known_from = entry.known_from.max(row.known_from);
    }

    /// What is durable of an entry, if anything is.
    fn row(&self, slot: u32) -> Option<Row> {
        let entry = &self.entries[slot];
        if entry.durable == 0 {
            return None;
        }
        let (mut runs, mut at) = (Vec::new(), entry.first_run);
        while at != NONE {
            let (run, next) = self.runs[at];
            runs.extend(run.below(entry.durable + 1));
            at = next;
        }
        let known_from = entry.known_from.min(entry.durable + 1);
        let (shard, producer) = (entry.shard, entry.producer);
        Some(Row { shard, producer, highest: entry.durable, known_from, runs })
    }
}

/// What all journals tell, a row for each shard and producer: where that stands whose highest number is the highest.
pub(crate) fn joined(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let (mut places, mut joined) = (BTreeMap::<(ShardId, ProducerId), usize>::new(), Vec::<Option<Row>>::new());
    for row in rows {
        let place = places.entry((row.shard, row.producer)).or_insert(joined.len());
        match joined.get_mut(*place).and_then(Option::take) {
            Some(known) if known.highest >= row.highest => joined[*place] = Some(known.joined(row)),
            known => {
                *place = joined.len();
                joined.push(Some(match known {
                    Some(known) => known.joined(row),
                    None => row,
                }));
            }
        }
    }
    joined.into_iter().flatten().collect()
}

/// Rows of a shard and of those that it was made of, with no more results of a producer than it has in one: its newest, by their
/// numbers. Only those can be asked for again that were in flight not long ago.
pub(crate) fn newest_of(mut rows: Vec<Row>) -> Vec<Row> {
    let mut of: BTreeMap<ProducerId, Vec<u64>> = BTreeMap::new();
    for row in &rows {
        of.entry(row.producer).or_default().extend(row.runs.iter().map(|run| run.number));
    }
    for row in &mut rows {
        let Some(numbers) = of.get_mut(&row.producer).filter(|numbers| numbers.len() > RUNS_PER_PRODUCER_MAX) else {
            continue;
        };
        let at = numbers.len() - RUNS_PER_PRODUCER_MAX;
        let (_, &mut kept_from, _) = numbers.select_nth_unstable(at);
        let older = row.runs.partition_point(|run| run.number < kept_from);
        if let Some(newest) = row.runs.drain(..older).next_back() {
            row.known_from = newest.end();
        }
    }
    rows
}

/// Rows as commands that are one record each.
pub(crate) fn records_of(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let (mut records, mut left) = (Vec::<Vec<Row>>::new(), 0);
    for row in rows {
        let bytes = ROW_BYTES + row.runs.len() * RUN_BYTES;
        if bytes > left {
            records.push(Vec::new());
            left = RECORD_ROWS_BYTES_MAX;
        }
        left -= bytes;
        records.last_mut().expect("one was begun").push(row);
    }
    records
}

/// Adds rows to a command.
pub(crate) fn encode(rows: &[Row], out: &mut Vec<u8>) {
    rows.iter().for_each(|row| row.encode(out));
}

/// The rows of a command; none if they are not so many, or contradict themselves.
pub(crate) fn decode(mut bytes: &[u8], count: usize) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    for _ in 0..count {
        let (row, behind) = Row::decode(bytes)?;
        rows.push(row);
        bytes = behind;
    }
    bytes.is_empty().then_some(rows)
}

impl Row {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.shard.0.to_le_bytes());
        out.extend_from_slice(&(self.runs.len() as u32).to_le_bytes());
        let longs = [self.producer.0, self.highest, self.known_from];
        out.extend(longs.iter().flat_map(|long| long.to_le_bytes()));
        for run in &self.runs {
            out.extend([run.number, run.sequence, u64::from(run.count)].iter().flat_map(|long| long.to_le_bytes()));
        }
    }

    fn decode(bytes: &[u8]) -> Option<(Row, &[u8])> {
        let (fixed, rest) = bytes.split_first_chunk::<ROW_BYTES>()?;
        let (longs, _) = fixed.as_chunks::<8>();
        let [both, producer, highest, known_from] = [0, 1, 2, 3].map(|at| u64::from_le_bytes(longs[at]));
        let count = (both >> 32) as usize;
        if count > RUNS_PER_PRODUCER_MAX || !(1..SEQUENCE_MAX).contains(&highest) || producer == 0 {
            return None;
        }
        let (runs, rest) = rest.split_at_checked(count * RUN_BYTES)?;
        let (runs, _) = runs.as_chunks::<RUN_BYTES>();
        let runs: Vec<Run> = runs.iter().map(Run::decode).collect::<Option<_>>()?;
        let mut end = 0;
        for run in &runs {
            if run.number < end || run.number < known_from {
                return None;
            }
            end = run.end();
        }
        let row = Row { shard: ShardId(both as u32), producer: ProducerId(producer), highest, known_from, runs };
        (end <= highest + 1 && known_from <= highest + 1).then_some((row, rest))
    }

    /// What two journals know of one producer, together. The shard may have gone from one to the other and back, so each may
    /// know what the other does not, and both what the first told when it left the shard. Who has more of it, and has not forgotten the
    /// producer since, knows all from where it knows anything: so where that begins within what the other knows, or right behind it,
    /// nothing between is unknown.
    fn joined(self, other: Row) -> Row {
        let (older, newer) = if self.highest < other.highest { (&self, &other) } else { (&other, &self) };
        let reaches_back = newer.known_from > 0 || newer.runs.first().is_some_and(|run| run.number <= older.highest);
        let known_from = match newer.known_from {
            from if reaches_back && from <= older.highest + 1 => from.min(older.known_from),
            from => from.max(older.known_from),
        };
        let mut all = [self.runs, other.runs].concat();
        all.sort_by_key(|run| run.number);
        let (mut runs, mut end) = (Vec::new(), known_from);
        for run in all {
            runs.extend(run.from(end));
            end = end.max(run.end());
        }
        Row { highest: self.highest.max(other.highest), known_from, runs, ..self }
    }
}

impl Run {
    /// The part of it below a number.
    fn below(&self, number: u64) -> Option<Run> {
        let count = number.checked_sub(self.number)?.min(u64::from(self.count)) as u32;
        (count > 0).then_some(Run { count, ..*self })
    }

    /// The part of it from a number on.
    fn from(&self, number: u64) -> Option<Run> {
        let skipped = number.saturating_sub(self.number);
        let count = u64::from(self.count).checked_sub(skipped)? as u32;
        let (number, sequence) = (self.number + skipped, self.sequence + skipped);
        (count > 0).then_some(Run { number, sequence, count })
    }

    fn decode(bytes: &[u8; RUN_BYTES]) -> Option<Run> {
        let (longs, _) = bytes.as_chunks::<8>();
        let [number, sequence, count] = [0, 1, 2].map(|at| u64::from_le_bytes(longs[at]));
        let count = u32::try_from(count).ok().filter(|&count| count > 0)?;
        let is_legal = number > 0 && number.checked_add(u64::from(count)).is_some() && sequence < SEQUENCE_MAX;
        is_legal.then_some(Run { number, sequence, count })
    }
}
