//! What the clients know: every attempt to append a record and what they were told of it, every stream, and every
//! sequence number that was ever given. What contradicts it is a breach.

mod lineage;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Range, RangeInclusive};

use frame::parts::Record;
use frame::proto::{Children, ErrorCode, ShardDescription, StreamDescription};
use frame::route::hash_key;
use frame::{Frame, Retention, Sequence, ShardId, StreamId};

use crate::record::{self, Recipe};
use lineage::Lineage;

/// No run takes so long, nor a clock that is wrong by an hour at most: what is kept for it does not expire.
const KEPT_SECONDS: u32 = 12 * 3600;

/// A promise of the engine that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    /// Which promise.
    pub rule: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Breach {
    pub(crate) fn new(rule: &'static str, detail: String) -> Breach {
        Breach { rule, detail }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.detail)
    }
}

/// What a client was told of an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Nothing: it may be stored or not.
    Unknown,
    /// It is durable, in this shard, under this number.
    Acked(ShardId, Sequence),
    /// It is not stored.
    Refused(ErrorCode),
}

/// One attempt to append one record.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) recipe: Recipe,
    pub(crate) stream: StreamId,
    pub(crate) hash_key: u128,
    /// Numbered over all lives. A connection's attempts have rising numbers.
    pub(crate) connection: u32,
    /// Its bytes differ from its checksum: it must be refused.
    pub(crate) is_spoiled: bool,
    pub(crate) outcome: Outcome,
    /// Where it was read once.
    pub(crate) read_at: Option<(ShardId, Sequence)>,
}

/// A record that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    /// The number of its first part.
    pub(crate) first: Sequence,
    pub(crate) sequence: Sequence,
    pub(crate) attempt: u64,
    pub(crate) arrival_ms: u64,
}

/// Everything that one shard had to give, from the first number on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    pub(crate) found: Vec<Found>,
    /// Parts that were given, those of records that are not whole as well: number and arrival.
    pub(crate) parts: Vec<(Sequence, u64)>,
    /// Numbers that the engine said are damaged.
    pub(crate) damaged: Vec<Range<Sequence>>,
    pub(crate) tip: Sequence,
    /// Numbers that an answer should have begun with, and did not: nobody has them, or they have expired.
    pub(crate) passed: Vec<Range<Sequence>>,
}

/// All that the clients of a run know.
#[derive(Debug, Default)]
pub(crate) struct Model {
    attempts: Vec<Attempt>,
    /// Those that were said to be in a shard, and those that were sent to a stream.
    by_shard: BTreeMap<ShardId, BTreeSet<u64>>,
    by_stream: BTreeMap<StreamId, Vec<u64>>,
    lineage: Lineage,
    /// How often each shard was to be moved.
    moves: BTreeMap<ShardId, u32>,
    given: BTreeMap<(ShardId, Sequence), u64>,
    tips: BTreeMap<ShardId, Sequence>,
    /// Where shards begin, as far as that was told.
    trims: BTreeMap<ShardId, Sequence>,
    /// Streams of which records expire in a run.
    expiring: BTreeSet<StreamId>,
    /// The engine said that the journal is damaged: a stream's making may have been lost.
    may_miss_streams: bool,
}

impl Model {
    /// An attempt is about to be made. `recipe` is given its number.
    pub(crate) fn submit(
        &mut self,
        stream: &StreamDescription,
        connection: u32,
        recipe: impl FnOnce(u64) -> Recipe,
        is_spoiled: bool,
    ) -> Recipe {
        let number = self.attempts.len() as u64;
        let recipe = recipe(number);
        let hash_key = recipe.explicit_hash.unwrap_or_else(|| hash_key(recipe.key().as_bytes()));
        let (stream, outcome, read_at) = (stream.stream, Outcome::Unknown, None);
        self.attempts.push(Attempt { recipe, stream, hash_key, connection, is_spoiled, outcome, read_at });
        self.by_stream.entry(stream).or_default().push(number);
        recipe
    }

    pub(crate) fn attempt(&self, number: u64) -> &Attempt {
        &self.attempts[number as usize]
    }

    pub(crate) fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Attempts that were said to be in a shard, with their numbers, in the order in which they were made.
    pub(crate) fn attempts_in(&self, shard: ShardId) -> impl Iterator<Item = (u64, &Attempt)> {
        self.by_shard.get(&shard).into_iter().flatten().map(|&number| (number, self.attempt(number)))
    }

    /// Attempts that a shard's hash keys are those of, whether it was open then or not.
    pub(crate) fn attempts_for(&self, shard: ShardId) -> impl Iterator<Item = (u64, &Attempt)> {
        let known = self.lineage.shard(shard);
        let numbers = known.and_then(|(stream, _)| self.by_stream.get(&stream)).into_iter().flatten();
        let all = numbers.map(|&number| (number, self.attempt(number)));
        all.filter(move |(_, attempt)| known.is_some_and(|(_, shard)| shard.holds(attempt.hash_key)))
    }

    /// A shard, as far as it was told of.
    pub(crate) fn shard(&self, shard: ShardId) -> Option<&ShardDescription> {
        self.lineage.shard(shard).map(|(_, description)| description)
    }

    /// Acknowledged attempts are in shards that there are, those of a stream that is described.
    pub(crate) fn check_placed(&self, shards: &BTreeSet<ShardId>) -> Result<(), Breach> {
        let is_known = |stream: StreamId| self.lineage.streams().any(|known| known.stream == stream);
        let lost = self.by_shard.iter().find(|(shard, attempts)| {
            let of_known = attempts.first().is_some_and(|&number| is_known(self.attempt(number).stream));
            of_known && !shards.contains(shard)
        });
        lost.map_or(Ok(()), |(shard, attempts)| {
            Err(Breach::new("lineage", format!("nobody tells of shard {shard}, which holds {attempts:?}")))
        })
    }

    /// The engine acknowledges an attempt.
    pub(crate) fn acked(&mut self, number: u64, shard: ShardId, sequence: Sequence) -> Result<(), Breach> {
        let attempt = self.attempt(number);
        if attempt.is_spoiled {
            return Err(Breach::new(
                "refused",
                format!("attempt {number} is spoiled and was acknowledged at {sequence}"),
            ));
        }
        // One that is not known yet was just made: it is checked when it is read back.
        if self.lineage.shard(shard).is_some_and(|known| !is_of(attempt, known)) {
            return Err(Breach::new("routing", format!("{attempt:?} went to shard {shard}")));
        }
        let end = self.lineage.end(shard).filter(|_| !self.may_miss_streams);
        if let Some((end, _)) = end.filter(|&(end, _)| sequence >= end) {
            return Err(Breach::new("ends stay", format!("{sequence} of shard {shard}, which ended at {end}")));
        }
        if attempt.outcome != Outcome::Unknown {
            let detail = format!("attempt {number} was told {:?} and then {sequence}", attempt.outcome);
            return Err(Breach::new("one answer", detail));
        }
        self.give(shard, sequence, number)?;
        self.attempts[number as usize].outcome = Outcome::Acked(shard, sequence);
        self.by_shard.entry(shard).or_default().insert(number);
        Ok(())
    }

    /// Whether a shard takes in no more than so much a second.
    pub(crate) fn has_quotas(&self, shard: ShardId) -> bool {
        let of = self.lineage.shard(shard).map(|(stream, _)| stream);
        self.lineage.streams().any(|stream| Some(stream.stream) == of && stream.quotas.has_write_quotas())
    }

    /// The engine refuses an attempt, as its shard has had enough.
    pub(crate) fn throttled(&mut self, number: u64, code: ErrorCode) -> Result<(), Breach> {
        let of = self.attempt(number).stream;
        let limit =
            self.lineage.streams().find(|stream| stream.stream == of).and_then(|stream| stream.quotas.write_records);
        if limit.is_none() || code != ErrorCode::WriteRecordsExceeded {
            return Err(Breach::new("right refusal", format!("attempt {number}: {code} by a limit of {limit:?}")));
        }
        self.refused(number, code)
    }

    /// The engine refuses an attempt.
    pub(crate) fn refused(&mut self, number: u64, code: ErrorCode) -> Result<(), Breach> {
        let attempt = &mut self.attempts[number as usize];
        if attempt.outcome != Outcome::Unknown {
            let detail = format!("attempt {number} was told {:?} and then refused: {code}", attempt.outcome);
            return Err(Breach::new("one answer", detail));
        }
        if code == ErrorCode::Checksum && !attempt.is_spoiled {
            let detail = format!("attempt {number} (spoiled: {}) was refused: {code}", attempt.is_spoiled);
            return Err(Breach::new("right refusal", detail));
        }
        attempt.outcome = Outcome::Refused(code);
        Ok(())
    }

    /// A record was read from a shard: which attempt it is, and whether that can be.
    pub(crate) fn read(&mut self, shard: ShardId, record: &Record<'_>) -> Result<Found, Breach> {
        let foreign = |detail: String| Breach::new("nothing else", detail);
        let sequence = record.sequence;
        let number = record::attempt_of(record).filter(|&number| number < self.attempts.len() as u64);
        let number = number.ok_or_else(|| foreign(format!("shard {shard}, record {sequence}: nobody's")))?;
        let attempt = self.attempt(number);
        let is_its_own = self.lineage.shard(shard).is_none_or(|known| is_of(attempt, known));
        if !is_its_own || !attempt.recipe.is(record) {
            return Err(foreign(format!("shard {shard}, record {sequence} is not attempt {number} as it was made")));
        }
        let acked_at =
            if let Outcome::Acked(shard, sequence) = attempt.outcome { Some((shard, sequence)) } else { None };
        let is_another =
            |before: &(ShardId, Sequence)| *before != (shard, sequence) && !self.may_be_forgotten(before.0);
        if attempt.read_at.or(acked_at).is_some_and(|before| is_another(&before)) {
            let detail = format!("shard {shard}, record {sequence} is {attempt:?}");
            return Err(Breach::new("at most once", detail));
        }
        self.give(shard, sequence, number)?;
        self.attempts[number as usize].read_at = Some((shard, sequence));
        self.by_shard.entry(shard).or_default().insert(number);
        Ok(Found { first: record.first, sequence, attempt: number, arrival_ms: record.arrival_ms })
    }

    /// A number of a shard belongs to this attempt from now on.
    fn give(&mut self, shard: ShardId, sequence: Sequence, number: u64) -> Result<(), Breach> {
        let owner = *self.given.entry((shard, sequence)).or_insert(number);
        if owner != number {
            let detail = format!("record {sequence} of shard {shard} was attempt {owner} and is now attempt {number}");
            return Err(Breach::new("numbers are given once", detail));
        }
        Ok(())
    }

    /// The engine says where a shard ends, in answer to a request that was made when it was known to end at `least`.
    pub(crate) fn told_tip(&mut self, shard: ShardId, tip: Sequence, least: Sequence) -> Result<(), Breach> {
        if tip < least {
            return Err(Breach::new("tips rise", format!("shard {shard} ended at {least} and now ends at {tip}")));
        }
        let end = self.lineage.end(shard).filter(|_| !self.may_miss_streams);
        if let Some((end, _)) = end.filter(|&(end, _)| tip > end) {
            return Err(Breach::new("ends stay", format!("shard {shard} ended at {end} and now ends at {tip}")));
        }
        let known = self.tips.entry(shard).or_insert(tip);
        *known = tip.max(*known);
        Ok(())
    }

    /// The engine says where a shard begins; of what is kept nothing expires. An answer may be overtaken by a later one.
    pub(crate) fn told_trim(&mut self, shard: ShardId, trim: Sequence) -> Result<(), Breach> {
        if trim > Sequence(1) && !self.expires(shard) {
            return Err(Breach::new("kept", format!("shard {shard} begins at {trim}, and nothing of it expires")));
        }
        let known = self.trims.entry(shard).or_insert(trim);
        *known = trim.max(*known);
        Ok(())
    }

    /// The same, in answer to a request that was made when it was known to begin at `least`: that never falls.
    pub(crate) fn check_trim(&self, shard: ShardId, trim: Sequence, least: Sequence) -> Result<(), Breach> {
        if trim >= least || self.may_miss_streams {
            return Ok(());
        }
        Err(Breach::new("trim points rise", format!("shard {shard} began at {least} and begins at {trim}")))
    }

    /// A shard is to be moved: it refuses records meanwhile.
    pub(crate) fn moving(&mut self, shard: ShardId) {
        *self.moves.entry(shard).or_default() += 1;
    }

    /// How often a shard was to be moved.
    pub(crate) fn moves(&self, shard: ShardId) -> u32 {
        self.moves.get(&shard).copied().unwrap_or(0)
    }

    /// Where a shard begins, as far as it was told.
    pub(crate) fn trim(&self, shard: ShardId) -> Sequence {
        self.trims.get(&shard).copied().unwrap_or(Sequence(1))
    }

    /// Whether records of a shard may be gone: the oldest.
    pub(crate) fn expires(&self, shard: ShardId) -> bool {
        let told_of = self.lineage.shard(shard).map(|(stream, _)| stream);
        let sent_to = || self.attempts_in(shard).next().map(|(_, attempt)| attempt.stream);
        told_of.or_else(sent_to).is_none_or(|stream| self.expiring.contains(&stream))
    }

    /// The end of a shard, as far as it was told.
    pub(crate) fn tip(&self, shard: ShardId) -> Sequence {
        self.tips.get(&shard).copied().unwrap_or(Sequence(1))
    }

    /// The engine describes a stream, which it thereby says is stored.
    pub(crate) fn described(&mut self, description: &StreamDescription) -> Result<(), Breach> {
        let gone = self.lineage.described(description, self.may_miss_streams)?;
        self.forget(gone);
        if expires(&description.retention) {
            self.expiring.insert(description.stream);
        }
        for shard in &description.shards {
            self.told_trim(shard.shard, shard.trim)?;
            self.told_tip(shard.shard, shard.tip, Sequence(1))?;
        }
        Ok(())
    }

    /// A shard is said not to be there. Whether it may have been forgotten: it was closed, and its records expire.
    pub(crate) fn may_be_forgotten(&self, shard: ShardId) -> bool {
        self.expires(shard) && (self.lineage.end(shard).is_some() || self.lineage.shard(shard).is_none())
    }

    /// Whether what a stream's producers have stored may be forgotten, with closed shards.
    pub(crate) fn may_forget(&self, stream: StreamId) -> bool {
        self.expiring.contains(&stream) && self.lineage.was_resharded(stream)
    }

    /// A record that was stored in a shard that is forgotten was sent once more, and is a new one.
    pub(crate) fn stored_anew(&mut self, number: u64) {
        let attempt = &mut self.attempts[number as usize];
        (attempt.outcome, attempt.read_at) = (Outcome::Unknown, None);
    }

    /// It was.
    pub(crate) fn forgotten(&mut self, shard: ShardId) {
        self.lineage.forget_shard(shard);
        self.forget(vec![shard]);
    }

    /// A reader is told that a shard has ended.
    pub(crate) fn told_end(&mut self, shard: ShardId, end: Sequence, children: Children) -> Result<(), Breach> {
        self.lineage.ended(shard, (end, children), self.may_miss_streams)
    }

    /// Whether a shard is known to have ended.
    pub(crate) fn has_ended(&self, shard: ShardId) -> bool {
        self.lineage.end(shard).is_some() && !self.may_miss_streams
    }

    /// A stream, if it is known to be stored.
    pub(crate) fn stream(&self, name: &str) -> Option<&StreamDescription> {
        self.lineage.stream(name)
    }

    /// The engine says that the journal is damaged.
    pub(crate) fn told_damage(&mut self) {
        self.may_miss_streams = true;
    }

    /// A stream is not there, which only damage may do. Then its shards are gone with all their records, and a stream that
    /// is made later may be given their numbers: the engine can't know that they were ever given.
    pub(crate) fn missing(&mut self, name: &str) -> Result<(), Breach> {
        if self.lineage.stream(name).is_some() && !self.may_miss_streams {
            return Err(Breach::new("streams stay", format!("stream {name} is gone")));
        }
        let gone = self.lineage.forget(name);
        self.forget(gone);
        Ok(())
    }

    fn forget(&mut self, shards: Vec<ShardId>) {
        for shard in shards {
            self.given.retain(|(owner, _), _| *owner != shard);
            self.by_shard.remove(&shard);
            self.moves.remove(&shard);
            self.tips.remove(&shard);
            self.trims.remove(&shard);
        }
    }

    /// The number of a stream, if it is known to be stored.
    pub(crate) fn stream_ids(&self) -> impl Iterator<Item = StreamId> + '_ {
        self.lineage.streams().map(|stream| stream.stream)
    }
}

/// Whether records may expire within a run.
fn expires(&Retention { seconds, bytes }: &Retention) -> bool {
    bytes.is_some() || seconds.is_some_and(|seconds| seconds.get() < KEPT_SECONDS)
}

/// What a server gave as a frame of a shard.
pub(crate) fn frame_of(shard: ShardId, bytes: &[u8]) -> Result<Frame<'_>, Breach> {
    let foreign = |detail: String| Breach::new("nothing else", detail);
    let frame = Frame::parse(bytes).map_err(|error| foreign(format!("shard {shard}: not a frame: {error}")))?;
    let checked = frame.verify_header(shard).and_then(|()| frame.verify_payload());
    checked.map_err(|error| foreign(format!("shard {shard}, frame {}: {error}", frame.sequence())))?;
    Ok(frame)
}

/// Whether a shard's stream is an attempt's, and its hash keys hold the attempt's.
fn is_of(attempt: &Attempt, (stream, shard): (StreamId, &ShardDescription)) -> bool {
    attempt.stream == stream && shard.holds(attempt.hash_key)
}

impl Attempt {
    /// The numbers that it has, if its own is `sequence`: those of its parts.
    pub(crate) fn numbers(&self, sequence: Sequence) -> RangeInclusive<Sequence> {
        Sequence(sequence.0 + 1 - self.recipe.frames())..=sequence
    }
}

impl Reading {
    /// Whether one of these numbers was called damaged.
    pub(crate) fn is_damaged(&self, numbers: &RangeInclusive<Sequence>) -> bool {
        self.damaged.iter().any(|damaged| damaged.start <= *numbers.end() && *numbers.start() < damaged.end)
    }

    /// Parts that belong to no record that is whole.
    pub(crate) fn fragments(&self) -> impl Iterator<Item = (Sequence, u64)> + '_ {
        let is_whole = |number: Sequence| {
            let at = self.found.partition_point(|found| found.sequence < number);
            self.found.get(at).is_some_and(|found| found.first <= number)
        };
        self.parts.iter().copied().filter(move |&(number, _)| !is_whole(number))
    }

    /// Whether an answer began behind one of these numbers, although it was asked for: a record's parts may expire amid its reading.
    pub(crate) fn was_passed_over(&self, numbers: &RangeInclusive<Sequence>) -> bool {
        self.passed.iter().any(|passed| passed.start <= *numbers.end() && numbers.start() < &passed.end)
    }

    /// The record of this number. Records are in the order of their numbers.
    pub(crate) fn at(&self, sequence: Sequence) -> Option<&Found> {
        let at = self.found.binary_search_by_key(&sequence, |found| found.sequence).ok()?;
        self.found.get(at)
    }
}
