//! Whether the stream holds what it acknowledged: every record, once, in its place, with its bytes, and nothing else.
//!
//! Every record sent ends in one of three ways: *acknowledged* with shard and sequence number, *refused*, or *unknown*,
//! when its connection ended first. [`InFlight`] follows the batches of one connection until then, [`Ledger`] keeps the
//! account, [`Readback`] compares it with what is read afterwards, and [`Taken`] with what a subscriber was pushed.
//!
//! The account of acknowledged records is, per shard, their numbers as runs and the sum of
//! XXH3(sequence, payload checksum): its memory does not grow with them, because a shard's numbers are consecutive. The
//! runs say exactly which numbers must be there, so a record is lost or one too many at a known place; the sum says that
//! each has the bytes that were acknowledged under its number. Unknown records are kept one by one.
//!
//! Order needs nothing in the records: the numbers acknowledged to one connection must rise, within a shard, in the order
//! in which it sent, and reading back proves that each number holds the record it was given to.

mod inflight;
mod number;
mod readback;
mod runs;
mod taken;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use frame::ShardId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use inflight::{Acked, InFlight, SentBatch, SentRecord};
pub use number::{DIGITS_MAX, Number};
pub use readback::{Readback, Verdict};
use runs::Runs;
pub use taken::Taken;

/// Faults told one by one; further ones are only counted.
pub const FAULTS_TOLD_MAX: usize = 20;

/// Refused records remembered, to call them by name if one is found in the stream. One beyond is still found out, as a
/// record that nothing accounts for.
pub const REFUSED_KEPT_MAX: usize = 1 << 20;

/// Shards of a run at most, with those that are born while it goes on: a record in one more is a fault.
pub const SHARDS_MAX: u32 = 1 << 20;

/// Something that a correct log never does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// An acknowledgement for a batch that isn't outstanding, or for a record it doesn't have.
    StrayAck {
        /// The connection.
        connection: u32,
        /// The request acknowledged.
        request: u64,
    },
    /// One record was acknowledged or refused twice.
    AnsweredTwice {
        /// The connection.
        connection: u32,
        /// The request.
        request: u64,
        /// The record's place in it.
        index: u32,
    },
    /// A number was given to two records.
    NumberGivenTwice {
        /// The shard.
        shard: ShardId,
        /// The number.
        sequence: Number,
    },
    /// A connection's later record got the lower number.
    OutOfOrder {
        /// The connection.
        connection: u32,
        /// The shard.
        shard: ShardId,
        /// The number of the record sent first.
        earlier: Number,
        /// The number of the record sent later.
        later: Number,
    },
    /// Acknowledged, and not there.
    Lost {
        /// The shard.
        shard: ShardId,
        /// The first number missing.
        first: Number,
        /// The last of the numbers missing one after another.
        last: Number,
    },
    /// All numbers are there, but some hold other bytes than were acknowledged under them.
    Changed {
        /// The shard.
        shard: ShardId,
    },
    /// A record's bytes differ from its own checksum.
    Damaged {
        /// The shard.
        shard: ShardId,
        /// Its number.
        sequence: Number,
    },
    /// Numbers that the server calls damaged, whether or not they were acknowledged.
    LostByServer {
        /// The shard.
        shard: ShardId,
        /// The first of them.
        first: Number,
        /// The last of them.
        last: Number,
    },
    /// A record that was refused is in the stream.
    RefusedPresent {
        /// The shard.
        shard: ShardId,
        /// Its number.
        sequence: Number,
    },
    /// A record that nobody was told of: a duplicate, or not from this run.
    Unaccounted {
        /// The shard.
        shard: ShardId,
        /// Its number.
        sequence: Number,
    },
    /// A record of another run, where nobody else was said to write.
    Foreign {
        /// The shard.
        shard: ShardId,
        /// Its number.
        sequence: Number,
    },
    /// Numbers did not rise while reading.
    NotRising {
        /// The shard.
        shard: ShardId,
        /// The number read before.
        before: Number,
        /// The number read after it.
        after: Number,
    },
    /// The server could not give the records from here on.
    Unreadable {
        /// The shard.
        shard: ShardId,
        /// From this number.
        from: Number,
        /// What it said.
        reason: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::StrayAck { connection, request } => {
                write!(f, "connection {connection}: an acknowledgement for request {request}, which is not outstanding")
            }
            Fault::AnsweredTwice { connection, request, index } => {
                write!(f, "connection {connection}: record {index} of request {request} was answered twice")
            }
            Fault::NumberGivenTwice { shard, sequence } => {
                write!(f, "shard {shard}: sequence {sequence} was given to two records")
            }
            Fault::OutOfOrder { connection, shard, earlier, later } => write!(
                f,
                "connection {connection}, shard {shard}: a record got sequence {later}, and one sent before it got {earlier}"
            ),
            Fault::Lost { shard, first, last } if first == last => {
                write!(f, "shard {shard}: sequence {first} was acknowledged and is not there")
            }
            Fault::Lost { shard, first, last } => {
                write!(f, "shard {shard}: sequences {first} to {last} were acknowledged and are not there")
            }
            Fault::Changed { shard } => {
                write!(f, "shard {shard}: the records differ from those acknowledged under their numbers")
            }
            Fault::Damaged { shard, sequence } => {
                write!(f, "shard {shard}: the record at sequence {sequence} differs from its own checksum")
            }
            Fault::LostByServer { shard, first, last } => {
                write!(f, "shard {shard}: sequences {first} to {last} are damaged, says the server")
            }
            Fault::RefusedPresent { shard, sequence } => {
                write!(f, "shard {shard}: the record at sequence {sequence} was refused and is there")
            }
            Fault::Unaccounted { shard, sequence } => write!(
                f,
                "shard {shard}: nothing accounts for the record at sequence {sequence}: a duplicate, or not from this run"
            ),
            Fault::Foreign { shard, sequence } => write!(
                f,
                "shard {shard}: the record at sequence {sequence} is of another run; if others write the stream too, say --shared"
            ),
            Fault::NotRising { shard, before, after } => {
                write!(f, "shard {shard}: sequence {after} was read after {before}")
            }
            Fault::Unreadable { shard, from, reason } => {
                write!(f, "shard {shard}: cannot be read from sequence {from} on: {reason}")
            }
        }
    }
}

/// Faults in the order in which they were found, the first ones in full.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Faults {
    told: Vec<Fault>,
    count: u64,
}

impl Faults {
    /// Counts one more.
    pub fn push(&mut self, fault: Fault) {
        self.count += 1;
        if self.told.len() < FAULTS_TOLD_MAX {
            self.told.push(fault);
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first ones.
    pub fn told(&self) -> &[Fault] {
        &self.told
    }

    fn merge(&mut self, other: Faults) {
        self.count += other.count;
        self.told.extend(other.told);
        self.told.truncate(FAULTS_TOLD_MAX);
    }
}

/// The shards of a run's streams, numbered from 0 so that accounts are found without a search.
#[derive(Clone, Debug)]
pub struct Shards {
    ids: Vec<ShardId>,
    /// Slot by shard, counted from the lowest shard.
    slots: Vec<Option<u32>>,
    lowest: u32,
}

impl Shards {
    /// `ids` are the shards of all streams written.
    pub fn new(mut ids: Vec<ShardId>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        let lowest = ids.first().map_or(0, |shard| shard.0);
        let mut slots = vec![None; ids.last().map_or(0, |highest| (highest.0 - lowest) as usize + 1)];
        for (slot, shard) in (0..).zip(&ids) {
            slots[(shard.0 - lowest) as usize] = Some(slot);
        }
        Self { ids, slots, lowest }
    }

    /// All of them, rising.
    pub fn ids(&self) -> &[ShardId] {
        &self.ids
    }

    /// Adds those that follow the highest, up to this one: so where two have grown one is the beginning of the other.
    fn grow_to(&mut self, shard: ShardId) {
        let next = self.ids.last().map_or(self.lowest, |highest| highest.0 + 1);
        for number in next..=shard.0 {
            self.slots.push(Some(self.ids.len() as u32));
            self.ids.push(ShardId(number));
        }
    }

    fn slot(&self, shard: ShardId) -> Option<usize> {
        let at = shard.0.checked_sub(self.lowest)? as usize;
        self.slots.get(at).copied().flatten().map(|slot| slot as usize)
    }
}

/// The acknowledged records of one shard.
#[derive(Clone, Debug, Default)]
struct Account {
    runs: Runs,
    count: u64,
    sum: u64,
}

/// A record whose fate nobody knows.
#[derive(Clone, Copy, Debug)]
struct Unknown {
    connection: u32,
    /// Its place among all records that its connection sent.
    order: u64,
    checksum: u64,
}

/// What was acknowledged on a connection that broke: what its unknown records must fit between.
#[derive(Clone, Debug)]
struct Broken {
    connection: u32,
    /// The highest number acknowledged in each shard slot before the records below.
    floors: Vec<Number>,
    /// Slot, order and number of those acknowledged among the unknown ones.
    between: Vec<(usize, u64, Number)>,
}

/// How one record ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate<'a> {
    /// Stored, as it was said, in this shard under this number.
    Acknowledged(ShardId, Number),
    /// Not stored, and why.
    Refused(&'a str),
    /// Nobody knows.
    Unknown,
}

/// The account of everything sent.
#[derive(Clone, Debug)]
pub struct Ledger {
    shards: Shards,
    accounts: Vec<Account>,
    refused: BTreeMap<u64, u64>,
    refusals: BTreeMap<Cow<'static, str>, u64>,
    unknown: Vec<Unknown>,
    broken: Vec<Broken>,
    /// Whether others write the same shards.
    is_shared: bool,
    faults: Faults,
}

impl Ledger {
    /// An empty account of these shards.
    pub fn new(shards: Shards) -> Self {
        let accounts = vec![Account::default(); shards.ids.len()];
        Self {
            shards,
            accounts,
            refused: BTreeMap::new(),
            refusals: BTreeMap::new(),
            unknown: Vec::new(),
            broken: Vec::new(),
            is_shared: false,
            faults: Faults::default(),
        }
    }

    /// The shards it keeps.
    pub fn shards(&self) -> &Shards {
        &self.shards
    }

    /// Records acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.accounts.iter().map(|account| account.count).sum()
    }

    /// The lowest number acknowledged in a shard.
    pub fn first(&self, shard: ShardId) -> Option<Number> {
        Some(self.accounts[self.shards.slot(shard)?].runs.as_slice().first()?.0)
    }

    /// The highest.
    pub fn last(&self, shard: ShardId) -> Option<Number> {
        Some(self.accounts[self.shards.slot(shard)?].runs.as_slice().last()?.1)
    }

    /// Records refused, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (&str, u64)> {
        self.refusals.iter().map(|(reason, &count)| (&**reason, count))
    }

    /// Records whose fate is unknown.
    pub fn unknown(&self) -> u64 {
        self.unknown.len() as u64
    }

    /// Pairs of numbers that the account takes: past a few thousand it is time to merge it into the shared one.
    pub fn runs(&self) -> usize {
        self.accounts.iter().map(|account| account.runs.as_slice().len()).sum()
    }

    /// Counts a fault found outside.
    pub fn fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Others write the same shards: their records are no faults.
    pub fn share(&mut self) {
        self.is_shared = true;
    }

    /// An empty account of the same shards.
    pub fn emptied(&self) -> Self {
        Self { is_shared: self.is_shared, ..Self::new(self.shards.clone()) }
    }

    /// Keeps the shards that follow, up to this one, as well: they were born during the run.
    pub fn grow_to(&mut self, shard: ShardId) {
        self.shards.grow_to(shard);
        self.accounts.resize_with(self.shards.ids.len(), Account::default);
    }

    /// Takes in what another core accounted for.
    pub fn merge(&mut self, other: Ledger) {
        if let Some(&highest) = other.shards.ids.last() {
            self.grow_to(highest);
        }
        for ((mine, theirs), &shard) in self.accounts.iter_mut().zip(other.accounts).zip(&self.shards.ids) {
            mine.count += theirs.count;
            mine.sum = mine.sum.wrapping_add(theirs.sum);
            if let Some(twice) = mine.runs.merge(theirs.runs) {
                self.faults.push(Fault::NumberGivenTwice { shard, sequence: twice });
            }
        }
        for (checksum, count) in other.refused {
            self.remember_refused(checksum, count);
        }
        for (reason, count) in other.refusals {
            *self.refusals.entry(reason).or_default() += count;
        }
        self.unknown.extend(other.unknown);
        self.broken.extend(other.broken);
        self.faults.merge(other.faults);
    }

    fn add_acknowledged(&mut self, slot: usize, sequence: Number, checksum: u64) {
        let account = &mut self.accounts[slot];
        account.count += 1;
        account.sum = account.sum.wrapping_add(digest(sequence, checksum));
        if !account.runs.insert(sequence) {
            let shard = self.shards.ids[slot];
            self.faults.push(Fault::NumberGivenTwice { shard, sequence });
        }
    }

    /// Takes the fate of a record by itself, where nothing says in which order a connection's records are stored, and shards are
    /// numbered one after another as they are told.
    pub fn settle(&mut self, checksum: u64, fate: Fate<'_>) {
        if let Fate::Acknowledged(shard, _) = fate
            && shard.0 < SHARDS_MAX
        {
            self.grow_to(shard);
        }
        match fate {
            Fate::Unknown => self.unknown.push(Unknown { connection: 0, order: 0, checksum }),
            Fate::Refused(reason) => self.add_refused(reason, checksum),
            Fate::Acknowledged(shard, sequence) => match self.shards.slot(shard) {
                Some(slot) => self.add_acknowledged(slot, sequence, checksum),
                None => self.faults.push(Fault::Unaccounted { shard, sequence }),
            },
        }
    }

    fn add_refused(&mut self, reason: &str, checksum: u64) {
        match self.refusals.get_mut(reason) {
            Some(count) => *count += 1,
            None => drop(self.refusals.insert(Cow::Owned(reason.to_owned()), 1)),
        }
        self.remember_refused(checksum, 1);
    }

    fn remember_refused(&mut self, checksum: u64, count: u64) {
        if self.refused.len() < REFUSED_KEPT_MAX || self.refused.contains_key(&checksum) {
            *self.refused.entry(checksum).or_default() += count;
        }
    }
}

/// What a record adds to its shard's sum. `checksum` covers the payload: key, data and their lengths.
fn digest(sequence: Number, checksum: u64) -> u64 {
    xxh3_64_with_seed(&checksum.to_le_bytes(), sequence.folded())
}

#[cfg(test)]
mod tests;
