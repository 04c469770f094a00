//! What one consumer keeps of what it is given: an account, and how old records were when they came.
//!
//! Made-up records tell when they were meant to be sent. Others are as old as their arrival at the server says, in whole
//! milliseconds; so are those of a stream that somebody else writes, unless what stands where a generator's stamp would
//! is a time shortly before that arrival. Records that were there before the run are counted, and not timed. One that comes before it
//! was sent, by this host's clock, shows that clocks differ: it counts as taking no time, and the run says so.

use std::collections::BTreeMap;

use frame::{Frame, Sequence, ShardId};

use super::core::{Clock, Counts};
use super::join::{Joiners, Look};
use crate::recorder::BatchTimes;
use crate::verify::Taken;
use crate::workload::{Contents, Stamp};

/// A stamp is believed if its time lies at most so long before the record's arrival, or after it, where clocks differ.
const STAMP_BEFORE_ARRIVAL_US_MAX: i64 = 60_000_000;
const STAMP_AFTER_ARRIVAL_US_MAX: i64 = 1_000_000;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timing {
    /// Nothing.
    None,
    /// How old records are when they come.
    Age,
}

/// One consumer's.
#[derive(Debug)]
pub(super) struct Taker {
    /// What this run's producers make, if it is known.
    contents: Option<Contents>,
    timing: Timing,
    clock: Clock,
    /// The first number of this run in each shard, where those before it are read too.
    firsts: BTreeMap<ShardId, Sequence>,
    joiners: Joiners,
    pub(super) taken: Taken,
    ages: Ages,
}

/// Counts records by how old they were when they came, those of one age together.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    run: Run,
}

/// Records of one age, to be counted together.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    age: Option<Age>,
    records: u64,
    bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age {
    /// None of a record that is not sent yet, by this host's clock.
    us: Option<u64>,
    by_arrival: bool,
}

impl Taker {
    pub(super) fn new(contents: Option<Contents>, timing: Timing, clock: Clock, taken: Taken) -> Self {
        let (firsts, joiners, ages) = (BTreeMap::new(), Joiners::default(), Ages::default());
        Self { contents, timing, clock, firsts, joiners, taken, ages }
    }

    /// Reads what was there before the run, too.
    pub(super) fn with_earlier(mut self, firsts: impl Iterator<Item = (ShardId, Sequence)>) -> Self {
        self.firsts = firsts.collect();
        self
    }

    /// Takes one frame, which came at `now_ns`; bytes of data, and the key's with the last of a record.
    pub(super) fn take(
        &mut self,
        shard: ShardId,
        bytes: &[u8],
        now_ns: u64,
        counts: &mut Counts,
    ) -> Result<u64, String> {
        let frame = Frame::parse(bytes).map_err(|error| format!("a frame that is none: {error}"))?;
        let is_earlier = self.firsts.get(&shard).is_some_and(|&first| frame.sequence() < first);
        let (contents, timing, clock) = (self.contents.as_ref(), self.timing, self.clock);
        // Nothing is known of what others made before.
        let known = contents.filter(|_| !is_earlier);
        let mut age = None;
        match self.joiners.take(&frame, shard, known) {
            Look::Part => return Ok(frame.data().len() as u64),
            Look::Sound(record) if is_earlier => self.taken.earlier(shard, record.sequence),
            Look::Sound(record) => {
                self.taken.record(shard, record.sequence, record.checksum);
                if timing == Timing::Age {
                    age = age_of((record.data, record.arrival_ms), contents.is_some(), clock, now_ns);
                }
            }
            Look::Foreign(record) => self.taken.foreign(shard, record.sequence),
            Look::Damaged => self.taken.damaged(shard, frame.sequence()),
        }
        let record_bytes = frame.record_bytes() as u64;
        if timing == Timing::Age {
            self.ages.add(age, record_bytes, now_ns, counts);
        }
        Ok(record_bytes)
    }

    /// Counts what was taken of one age: once before waiting for more.
    pub(super) fn flush(&mut self, now_ns: u64, counts: &mut Counts) {
        self.ages.flush(now_ns, counts);
    }
}

impl Ages {
    /// Counts one more record, which came at `now_ns`.
    pub(crate) fn add(&mut self, age: Option<Age>, record_bytes: u64, now_ns: u64, counts: &mut Counts) {
        if self.run.age != age {
            self.flush(now_ns, counts);
            self.run.age = age;
        }
        self.run.records += 1;
        self.run.bytes += record_bytes;
    }

    /// Counts what was added: once before waiting for more.
    pub(crate) fn flush(&mut self, now_ns: u64, counts: &mut Counts) {
        let Run { age, records, bytes } = std::mem::take(&mut self.run);
        if records == 0 {
            return;
        }
        match age {
            Some(Age { us, by_arrival }) => {
                let intended_ns = now_ns.saturating_sub(us.unwrap_or_default().saturating_mul(1000));
                let times = BatchTimes { intended_ns, sent_ns: intended_ns, acked_ns: now_ns };
                counts.pushed.acknowledged(times, records, bytes);
                counts.by_arrival += if by_arrival { records } else { 0 };
                counts.before_sent += if us.is_none() { records } else { 0 };
            }
            None => counts.pushed.counted(now_ns, records, bytes),
        }
    }
}

/// How old a record is, if it came to the server since the run began.
pub(crate) fn age_of((data, arrival_ms): (&[u8], u64), is_ours: bool, clock: Clock, now_ns: u64) -> Option<Age> {
    let now_us = clock.wall_us(now_ns);
    let arrival_us = arrival_ms.saturating_mul(1000);
    let stamp = Stamp::of(data);
    let is_stamp = |stamp: &Stamp| {
        let likely = -STAMP_AFTER_ARRIVAL_US_MAX..=STAMP_BEFORE_ARRIVAL_US_MAX;
        stamp.age_us(arrival_us).is_some_and(|before_us| likely.contains(&before_us))
    };
    let stamp = stamp.filter(|stamp| is_ours || (arrival_us >= clock.start_us && is_stamp(stamp)));
    if let Some(age_us) = stamp.and_then(|stamp| stamp.age_us(now_us)) {
        return Some(Age { us: u64::try_from(age_us).ok(), by_arrival: false });
    }
    (arrival_us >= clock.start_us).then(|| Age { us: now_us.checked_sub(arrival_us), by_arrival: true })
}

#[cfg(test)]
#[path = "take_tests.rs"]
mod tests;
