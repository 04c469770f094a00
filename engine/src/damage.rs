//! Ranges that recovery found damaged: refused to readers, while the rest stays readable.

use frame::{Position, Sequence, ShardId};

/// Records of one shard that are gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DamagedRecords {
    /// Whose.
    pub shard: ShardId,
    /// The first.
    pub from: Sequence,
    /// The one after the last.
    pub to: Sequence,
}

/// A stretch of the journal that is damaged although it was durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DamagedStretch {
    /// Where it starts.
    pub from: Position,
    /// The next intact batch, or the end of the segment.
    pub to: Position,
}

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

    /// The first damaged record of `shard` after `sequence`: one answer to a read never reaches over it.
    pub(crate) fn next_after(&self, shard: ShardId, sequence: Sequence) -> Option<Sequence> {
        self.records.iter().filter(|r| r.shard == shard && r.from > sequence).map(|r| r.from).min()
    }

    /// Adds what was found further on in the journal.
    pub(crate) fn append(&mut self, later: Damage) {
        self.stretches.extend(later.stretches);
        self.records.extend(later.records);
    }

    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.stretches.is_empty() && self.records.is_empty()
    }
}
