//! A producer that numbers its records and goes on over all lives of a run: it loses connections, or leaves them behind, and
//! sends again what was not answered, in its order. Everything it was acknowledged is stored once, under the number that it
//! was told, and so is all the rest in the end.

use std::collections::{BTreeMap, VecDeque};

use frame::proto::{AckResult, ErrorCode, StreamDescription};
use frame::{Numbered, ProducerId, RecordNumber, RequestId, Sequence, ShardId, StreamId};

use crate::client::Intent;
use crate::dice::Dice;
use crate::link::{Heard, Link};
use crate::model::{Breach, Model, Outcome};
use crate::plan::Wish;
use crate::record::{DATA_BYTES_MIN, Recipe};
use crate::world::World;

/// Connections of one life, and times that all is sent again in it, before it waits for the next one.
const TRIES_MAX: u32 = 200;

/// Acknowledged records that may be sent again all the same: fewer than the engine knows the numbers of.
const ACKED_KEPT: usize = 40;

/// How long it waits once a shard has had enough.
const QUOTA_PAUSE_NS: u64 = 20_000_000;

/// Connections of such producers, as the model knows them. What one of them sends again may be newer in a parent than what is in a
/// child, of keys that another parent had.
pub(crate) const CONNECTIONS: std::ops::RangeInclusive<u32> = u32::MAX - 1000..=u32::MAX;

/// A record that was not acknowledged, or was a short while ago.
#[derive(Clone, Debug)]
struct Record {
    attempt: u64,
    stream: StreamId,
    frames: Vec<u8>,
    frames_count: u32,
    is_sent: bool,
}

/// A producer at work.
#[derive(Debug)]
pub(crate) struct Numberer {
    dice: Dice,
    /// As the model knows it: another one for each producer number.
    connection: u32,
    producer: ProducerId,
    next: u64,
    intent: Option<Intent>,
    link: Option<Link>,
    is_welcome: bool,
    /// Oldest first.
    pending: VecDeque<Record>,
    acked: VecDeque<Record>,
    /// The newest shard that stored a record of each hash key.
    newest: BTreeMap<(StreamId, u128), ShardId>,
    /// Attempts of each append that is not answered.
    asked: BTreeMap<RequestId, Vec<u64>>,
    /// Something was refused: nothing goes before all is answered, and then all that is pending goes again.
    rewinds: bool,
    batches_left: u32,
    tries_left: u32,
    next_step_ns: u64,
    is_done: bool,
}

impl Numberer {
    pub(crate) fn new(seed: u64) -> Numberer {
        Numberer {
            dice: Dice::new(seed, 0, "numberer"),
            connection: *CONNECTIONS.end(),
            producer: ProducerId(7),
            next: 1,
            intent: None,
            link: None,
            is_welcome: false,
            pending: VecDeque::new(),
            acked: VecDeque::new(),
            newest: BTreeMap::new(),
            asked: BTreeMap::new(),
            rewinds: false,
            batches_left: 0,
            tries_left: 0,
            next_step_ns: 0,
            is_done: true,
        }
    }

    /// A life begins in which it appends as much as is meant. What earlier ones left is sent first; unless it may be damaged:
    /// then it is given up, with the producer's number.
    pub(crate) fn begin(&mut self, intent: Intent, is_damaged: bool) {
        if is_damaged {
            self.pending.clear();
            self.acked.clear();
            self.connection -= 1;
            (self.producer, self.next) = (ProducerId(self.producer.0 + 1), 1);
        }
        (self.batches_left, self.tries_left) = (intent.batches, TRIES_MAX);
        self.intent = Some(intent);
        (self.next_step_ns, self.is_done) = (0, false);
    }

    /// The life is over, for it at least.
    pub(crate) fn end(&mut self, world: &World) {
        if let Some(mut link) = self.link.take() {
            link.leave(world, &mut self.dice);
        }
        self.forget_link();
        self.is_done = true;
    }

    /// Whether it has done what it can in this life.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether everything it ever sent was acknowledged.
    pub(crate) fn is_level(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes up what has arrived, and goes on.
    pub(crate) fn step(&mut self, world: &World, model: &mut Model) -> Result<(), Breach> {
        self.listen(world, model)?;
        let now_ns = world.now_ns();
        if self.is_done || now_ns < self.next_step_ns {
            return Ok(());
        }
        if (self.pending.is_empty() && self.batches_left == 0) || self.tries_left == 0 {
            self.end(world);
            return Ok(());
        }
        if self.link.as_ref().is_none_or(Link::is_over) {
            self.forget_link();
            self.link = Some(Link::open(world));
            world.count("numberer: connected");
            self.tries_left -= 1;
        } else if self.is_welcome && !self.waits_for_answers() {
            self.act(world, model);
        } else {
            return Ok(());
        }
        let pause_ns_max = self.intent.as_ref().map_or(1, |intent| intent.pause_ns_max);
        self.next_step_ns = now_ns + self.dice.skewed(1..=pause_ns_max);
        world.wake_at(self.next_step_ns);
        Ok(())
    }

    /// Whether nothing goes before more was answered.
    fn waits_for_answers(&self) -> bool {
        let in_flight_max = self.intent.as_ref().map_or(1, |intent| intent.in_flight_max);
        self.asked.len() >= in_flight_max || (self.rewinds && !self.asked.is_empty())
    }

    /// What was sent and not answered is as if it had never been sent.
    fn forget_link(&mut self) {
        self.link = None;
        self.is_welcome = false;
        self.asked.clear();
        self.rewinds = false;
        self.pending.iter_mut().for_each(|record| record.is_sent = false);
    }

    fn act(&mut self, world: &World, model: &mut Model) {
        let Some(intent) = self.intent.clone() else { return };
        if std::mem::take(&mut self.rewinds) {
            self.pending.iter_mut().for_each(|record| record.is_sent = false);
            self.tries_left -= 1;
            return;
        }
        if self.dice.chance(0.04) {
            return self.lose_connection(world);
        }
        if self.pending.iter().all(|record| record.is_sent) && self.batches_left > 0 {
            self.make_records(world, model, &intent);
        }
        self.send(world, &intent);
    }

    /// The connection is gone; or it is left behind, with what the server has not read.
    fn lose_connection(&mut self, world: &World) {
        if let Some(mut link) = self.link.take() {
            link.leave(world, &mut self.dice);
            world.count("numberer: lost its connection");
        }
        self.forget_link();
    }

    fn make_records(&mut self, world: &World, model: &mut Model, intent: &Intent) {
        let Wish { name, shards, settings } = self.dice.pick(&intent.streams).clone();
        let Some(stream) = model.stream(&name).cloned() else {
            if let Some(link) = &mut self.link {
                let request = link.say(world, |client, out| client.create_stream(out, &name, shards, settings));
                self.asked.insert(request, Vec::new());
                self.tries_left -= 1;
            }
            return;
        };
        self.batches_left -= 1;
        for _ in 0..self.dice.skewed(1..=intent.records_max) {
            let record = self.make_record(model, intent, &stream);
            self.pending.push_back(record);
        }
    }

    fn make_record(&mut self, model: &mut Model, intent: &Intent, stream: &StreamDescription) -> Record {
        let data_bytes = self.dice.skewed(DATA_BYTES_MIN as u64..=intent.data_bytes_max) as usize;
        let key = self.dice.within(0..=30) as u16;
        let explicit_hash = self.dice.chance(0.1).then(|| u128::from_le_bytes(self.dice.bytes()));
        let parts = if self.dice.chance(intent.large) { self.dice.within(2..=6) as usize } else { 1 };
        let recipe = |attempt| Recipe { attempt, key, explicit_hash, data_bytes, parts };
        let recipe = model.submit(stream, self.connection, recipe, false);
        // With gaps, as a producer's numbers have in each shard anyway.
        let number = RecordNumber(self.next + self.dice.index(3) as u64);
        self.next = number.0 + 1;
        let mut frames = Vec::new();
        recipe.encode_numbered(Some(Numbered { producer: self.producer, number }), &mut frames);
        let frames_count = recipe.frames() as u32;
        Record { attempt: recipe.attempt, stream: stream.stream, frames, frames_count, is_sent: false }
    }

    /// Sends what comes next, as far as it goes to one stream; or once more what was acknowledged.
    fn send(&mut self, world: &World, intent: &Intent) {
        let Some(link) = &mut self.link else { return };
        let again = self.dice.chance(0.05) && !self.acked.is_empty();
        let mut batch: Vec<&mut Record> = Vec::new();
        if again {
            let at = self.dice.index(self.acked.len());
            batch.extend(self.acked.get_mut(at));
        } else {
            let most = self.dice.skewed(1..=intent.records_max) as usize;
            let unsent = self.pending.iter_mut().filter(|record| !record.is_sent).take(most);
            for record in unsent {
                if batch.first().is_some_and(|first| first.stream != record.stream) {
                    break;
                }
                batch.push(record);
            }
        }
        let Some(stream) = batch.first().map(|record| record.stream) else { return };
        let frames: Vec<u8> = batch.iter().flat_map(|record| record.frames.iter().copied()).collect();
        if !link.client.may_append(frames.len() + frame::proto::HEADER_BYTES + frame::proto::APPEND_FIXED_BYTES) {
            return;
        }
        let frames_count = batch.iter().map(|record| record.frames_count).sum();
        let request = link.say(world, |client, out| client.append(out, stream, frames_count, &frames));
        batch.iter_mut().for_each(|record| record.is_sent = true);
        let attempts: Vec<u64> = batch.iter().map(|record| record.attempt).collect();
        world.note(format_args!("producer {} appends {attempts:?}", self.producer));
        self.asked.insert(request, attempts);
    }

    /// Takes up what has arrived, and no more.
    pub(crate) fn listen(&mut self, world: &World, model: &mut Model) -> Result<(), Breach> {
        let Some(mut link) = self.link.take() else { return Ok(()) };
        let heard = link.hear(world)?;
        self.link = Some(link);
        for heard in heard {
            match heard {
                Heard::Welcome => self.is_welcome = true,
                Heard::Stream(request, description) => {
                    self.asked.remove(&request);
                    model.described(&description)?;
                }
                Heard::Acked(request, results) => self.answered(world, model, request, &results)?,
                // Nobody knows what became of them, and nothing is taken before a restart; or a stream was not made.
                Heard::Failed(request, failure) => {
                    world.note(format_args!("producer {} is told: {failure}", self.producer));
                    let asked = self.asked.remove(&request);
                    if asked.is_some_and(|attempts| !attempts.is_empty()) {
                        self.tries_left = 0;
                    }
                }
                Heard::Records(..) | Heard::Pong(_) | Heard::Ended(_) => {}
            }
        }
        Ok(())
    }

    fn answered(
        &mut self,
        world: &World,
        model: &mut Model,
        request: RequestId,
        results: &[(u32, AckResult)],
    ) -> Result<(), Breach> {
        let attempts = self.asked.remove(&request).unwrap_or_default();
        if results.len() != attempts.len() {
            return Err(Breach::new("one answer", format!("{} results for {attempts:?}", results.len())));
        }
        for &(index, result) in results {
            let attempt = attempts[index as usize];
            match result {
                AckResult::Durable(shard, sequence) => self.stored(world, model, attempt, (shard, sequence))?,
                AckResult::Refused(code) | AckResult::Throttled(code, _) => {
                    world.note(format_args!("attempt {attempt} is refused: {code}"));
                    self.refused(world, model, attempt, code)?;
                }
            }
        }
        Ok(())
    }

    fn stored(
        &mut self,
        world: &World,
        model: &mut Model,
        attempt: u64,
        (shard, sequence): (ShardId, Sequence),
    ) -> Result<(), Breach> {
        let before = |model: &Model| match model.attempt(attempt).outcome {
            Outcome::Acked(shard, before) => Some((shard, before)),
            _ => model.attempt(attempt).read_at,
        };
        if before(model).is_some_and(|before| before != (shard, sequence) && model.may_be_forgotten(before.0)) {
            world.count("numberer: stored again what was forgotten");
            model.stored_anew(attempt);
        }
        let (before, known) = (before(model), model.attempt(attempt));
        if before.is_some_and(|before| before != (shard, sequence)) {
            let detail = format!("attempt {attempt} is at {before:?}, and its retry got {sequence} of shard {shard}");
            return Err(Breach::new("original number", detail));
        }
        let newest = self.newest.entry((known.stream, known.hash_key)).or_insert(shard);
        if before.is_some() {
            world.count("numberer: told the original number");
            if *newest > shard {
                world.count("numberer: told the number that an ancestor gave");
            }
        }
        *newest = shard.max(*newest);
        if !matches!(known.outcome, Outcome::Acked(..)) {
            model.acked(attempt, shard, sequence)?;
        }
        if let Some(at) = self.pending.iter().position(|record| record.attempt == attempt) {
            self.acked.extend(self.pending.remove(at));
        }
        if self.acked.len() > ACKED_KEPT {
            self.acked.pop_front();
        }
        Ok(())
    }

    fn refused(&mut self, world: &World, model: &Model, attempt: u64, code: ErrorCode) -> Result<(), Breach> {
        match code {
            // It was stored in a shard that is forgotten, or may have been.
            ErrorCode::NumberPassed if model.may_forget(model.attempt(attempt).stream) => {
                world.count("numberer: refused what was forgotten");
                self.pending.retain(|record| record.attempt != attempt);
                self.acked.retain(|record| record.attempt != attempt);
            }
            ErrorCode::OutOfOrder => world.count("numberer: refused, out of order"),
            ErrorCode::Resharding => world.count("numberer: refused, resharding"),
            ErrorCode::DiskFull => world.count("numberer: refused, disk full"),
            // It is to be a while before there is room for more.
            ErrorCode::WriteRecordsExceeded => {
                world.count("numberer: refused, quota");
                self.next_step_ns = world.now_ns() + QUOTA_PAUSE_NS;
                world.wake_at(self.next_step_ns);
            }
            ErrorCode::StorageFailed => self.tries_left = 0,
            ErrorCode::UnknownStream => {}
            code => {
                let detail = format!("attempt {attempt} of producer {}: {code}", self.producer);
                return Err(Breach::new("right refusal", detail));
            }
        }
        // Until it has come again nothing that is above it is taken in, although it was acknowledged before.
        if let Some(at) = self.acked.iter().position(|record| record.attempt == attempt) {
            let place = self.pending.partition_point(|record| record.attempt < attempt);
            self.acked.remove(at).into_iter().for_each(|record| self.pending.insert(place, record));
        }
        self.rewinds |= self.pending.iter().any(|record| record.attempt == attempt);
        Ok(())
    }
}
