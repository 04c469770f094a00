//! Reads everything back: every stream that may exist, every shard from its first number on.

use std::collections::BTreeMap;
use std::ops::Range;

use frame::parts::Joiner;
use frame::proto::{ErrorCode, Failure, Read, ReadResult, Start, StreamDescription};
use frame::{RequestId, Sequence, ShardId};

use crate::client::take_up_records;
use crate::dice::Dice;
use crate::link::{Heard, Link};
use crate::model::{Breach, Model, Outcome, Reading};
use crate::world::World;

/// What is being read.
#[derive(Debug)]
struct Shard {
    stream: frame::StreamId,
    reading: Reading,
    joiner: Joiner,
    from: Sequence,
    /// Where it was known to begin before it was read.
    least_trim: Sequence,
}

#[derive(Clone, Debug)]
enum Asked {
    Stream(String),
    Read(ShardId),
    /// What arrived at this time or later.
    Since(ShardId, u64),
}

/// A client that reads everything once, a request at a time.
#[derive(Debug)]
pub(crate) struct Reader {
    link: Link,
    dice: Dice,
    is_welcome: bool,
    to_describe: Vec<String>,
    to_read: Vec<ShardId>,
    /// Of those read, which to ask for by time.
    to_date: Vec<ShardId>,
    shards: BTreeMap<ShardId, Shard>,
    asked: Option<(RequestId, Asked)>,
    is_done: bool,
}

impl Reader {
    pub(crate) fn new(world: &World, names: Vec<String>, dice: Dice) -> Reader {
        Reader {
            link: Link::open(world),
            dice,
            is_welcome: false,
            to_describe: names,
            to_read: Vec::new(),
            to_date: Vec::new(),
            shards: BTreeMap::new(),
            asked: None,
            is_done: false,
        }
    }

    /// Whether everything was read.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// What was read.
    pub(crate) fn into_readings(self) -> BTreeMap<ShardId, Reading> {
        self.shards.into_iter().map(|(number, shard)| (number, shard.reading)).collect()
    }

    /// Takes up what has arrived, and asks on.
    pub(crate) fn step(&mut self, world: &World, model: &mut Model) -> Result<(), Breach> {
        self.listen(world, model)?;
        if self.is_welcome && self.asked.is_none() && !self.is_done {
            self.ask(world);
        }
        Ok(())
    }

    /// Takes up what has arrived, and no more.
    pub(crate) fn listen(&mut self, world: &World, model: &mut Model) -> Result<(), Breach> {
        for heard in self.link.hear(world)? {
            self.take_up(world, model, heard)?;
        }
        Ok(())
    }

    fn ask(&mut self, world: &World) {
        if let Some(name) = self.to_describe.pop() {
            let request = self.link.say(world, |client, out| client.describe_stream(out, &name));
            self.asked = Some((request, Asked::Stream(name)));
            return;
        }
        let Some(&number) = self.to_read.last() else {
            return self.ask_by_time(world);
        };
        let shard = &self.shards[&number];
        let bytes_max = if self.dice.chance(0.2) { self.dice.skewed(1..=100_000) } else { 4 << 20 };
        let (stream, start, bytes_max) = (shard.stream, Start::At(shard.from), bytes_max as u32);
        let read = Read { stream, shard: number, start, bytes_max };
        let request = self.link.say(world, |client, out| client.read(out, &read));
        self.asked = Some((request, Asked::Read(number)));
    }

    /// Asks for what arrived at a time that a record of a shard did, or right after it.
    fn ask_by_time(&mut self, world: &World) {
        let Some(number) = self.to_date.pop() else {
            self.is_done = true;
            return self.link.reset(world);
        };
        let Some(shard) = self.shards.get(&number) else { return };
        if shard.reading.found.is_empty() || !shard.reading.damaged.is_empty() {
            return;
        }
        let since_ms = self.dice.pick(&shard.reading.found).arrival_ms + self.dice.within(0..=1);
        let (stream, start) = (shard.stream, Start::Since(since_ms));
        let bytes_max = self.dice.skewed(1..=100_000) as u32;
        let read = Read { stream, shard: number, start, bytes_max };
        let request = self.link.say(world, |client, out| client.read(out, &read));
        self.asked = Some((request, Asked::Since(number, since_ms)));
    }

    /// The first record that is told by time must be the first one that arrived by then.
    fn check_time(
        &self,
        world: &World,
        model: &mut Model,
        (number, since_ms): (ShardId, u64),
        (result, frames): (&ReadResult, &[Vec<u8>]),
    ) -> Result<(), Breach> {
        let reading = &self.shards[&number].reading;
        let range = Sequence(1)..=model.tip(number);
        let told = take_up_records(model, &mut Joiner::new(), number, range, result, frames)?.first;
        let found = reading.found.iter().map(|found| (found.first, found.arrival_ms));
        let in_time = found.chain(reading.fragments()).filter(|&(_, arrival_ms)| arrival_ms >= since_ms);
        let due = in_time.map(|(first, _)| first).min();
        // What was due may have expired since it was read.
        let is_late = model.expires(number) && told.is_none_or(|told| due.is_some_and(|due| told > due));
        if told != due && !is_late {
            let detail = format!("shard {number} since {since_ms}: {told:?} is told, {due:?} is due");
            return Err(Breach::new("by time", detail));
        }
        world.count("engine: read by time");
        Ok(())
    }

    fn take_up(&mut self, world: &World, model: &mut Model, heard: Heard) -> Result<(), Breach> {
        match heard {
            Heard::Welcome => self.is_welcome = true,
            Heard::Stream(request, description) => {
                self.answered(request)?;
                model.described(&description)?;
                let has = |shard| description.shards.iter().any(|other| other.shard == shard);
                if description.shards.iter().flat_map(|shard| shard.parents()).any(|parent| !has(parent)) {
                    world.count("engine: a closed shard was forgotten");
                }
                self.add(model, &description);
            }
            Heard::Records(request, result, frames) => {
                let number = match self.answered(request)? {
                    Asked::Read(number) => number,
                    Asked::Since(number, since_ms) => {
                        return self.check_time(world, model, (number, since_ms), (&result, &frames));
                    }
                    Asked::Stream(name) => {
                        return Err(Breach::new("one answer", format!("records for stream {name}")));
                    }
                };
                let shard = self.shards.get_mut(&number).expect("it was asked for");
                model.check_trim(number, result.trim, shard.least_trim)?;
                let range = shard.from..=model.tip(number);
                let taken = take_up_records(model, &mut shard.joiner, number, range, &result, &frames)?;
                if taken.first.is_none() && result.next == shard.from && result.next < result.tip {
                    let detail =
                        format!("shard {number} gives nothing from {} on, and ends at {}", shard.from, result.tip);
                    return Err(Breach::new("readable", detail));
                }
                shard.reading.found.extend(taken.found);
                shard.reading.parts.extend(taken.parts);
                if result.trim > Sequence(1) {
                    world.count("engine: trimmed");
                }
                let begins = taken.first.unwrap_or(result.next);
                if begins > shard.from {
                    shard.reading.passed.push(shard.from..begins);
                }
                shard.reading.tip = result.tip;
                shard.from = result.next;
                if result.next == result.tip {
                    let is_told = result.children.is_some();
                    if model.has_ended(number) && !is_told {
                        return Err(Breach::new("lineage", format!("shard {number} ends at {result:?}, untold")));
                    }
                    if is_told {
                        world.count("engine: a closed shard read to its end");
                    }
                    count_parts(world, &shard.reading);
                    self.to_read.pop();
                }
            }
            Heard::Failed(request, failure) if request != RequestId(0) => match self.answered(request)? {
                Asked::Stream(name) if failure.code == ErrorCode::UnknownStream => model.missing(&name)?,
                Asked::Stream(name) => return Err(Breach::new("streams stay", format!("stream {name}: {failure}"))),
                Asked::Read(number) if failure.code == ErrorCode::Damaged => {
                    self.pass_damage(world, model, number, failure)?;
                }
                Asked::Read(_) | Asked::Since(..) if failure.code == ErrorCode::Busy => {}
                // Another life would make it again: here the disk gets well.
                Asked::Read(_) | Asked::Since(..) if failure.code == ErrorCode::StorageFailed => {
                    world.count("engine: a footer can't be read");
                    world.heal();
                }
                // It was closed, and has expired since it was told of.
                Asked::Read(number) | Asked::Since(number, _)
                    if failure.code == ErrorCode::UnknownShard && model.may_be_forgotten(number) =>
                {
                    world.count("engine: a closed shard was forgotten while it was read");
                    self.to_read.retain(|shard| *shard != number);
                    self.shards.remove(&number);
                    model.forgotten(number);
                }
                // It moves to another reactor: asked again.
                Asked::Read(_) if failure.code == ErrorCode::Resharding => {
                    world.count("engine: read asked where a shard is not");
                }
                Asked::Since(..) if failure.code == ErrorCode::Resharding => {}
                // The wall clock may have been set back since.
                Asked::Since(..) if failure.code == ErrorCode::InvalidArgument => {
                    world.count("sim: time in the future")
                }
                Asked::Since(number, _) => {
                    return Err(Breach::new("by time", format!("shard {number}: {failure}")));
                }
                Asked::Read(number) => {
                    let from = self.shards[&number].from;
                    return Err(Breach::new("readable", format!("shard {number} from {from}: {failure}")));
                }
            },
            other if world.is_dead() => world.note(format_args!("reader: {other:?}")),
            other => return Err(Breach::new("readable", format!("the reader was told {other:?}"))),
        }
        Ok(())
    }

    fn answered(&mut self, request: RequestId) -> Result<Asked, Breach> {
        let asked = self.asked.take().filter(|(asked, _)| *asked == request);
        asked.map(|(_, asked)| asked).ok_or_else(|| Breach::new("one answer", format!("request {request}")))
    }

    fn add(&mut self, model: &Model, description: &StreamDescription) {
        for shard in &description.shards {
            let reading = Reading { tip: shard.tip, ..Reading::default() };
            let (stream, least_trim) = (description.stream, model.trim(shard.shard));
            let state = Shard { stream, reading, joiner: Joiner::new(), from: Sequence(1), least_trim };
            self.shards.insert(shard.shard, state);
            self.to_read.push(shard.shard);
            self.to_date.push(shard.shard);
        }
    }

    /// Goes on right behind what is called damaged. Of one number, where more may be: at the next that the model knows of, which must
    /// be read, or be called damaged as well.
    fn pass_damage(&mut self, world: &World, model: &Model, number: ShardId, failure: Failure) -> Result<(), Breach> {
        let shard = self.shards.get_mut(&number).expect("it was asked for");
        let told = failure.damaged.filter(|told| told.start >= shard.from && told.end <= model.tip(number));
        let told = told.ok_or_else(|| {
            let detail =
                format!("shard {number} from {} on: which are damaged is not told: {}", shard.from, failure.detail);
            Breach::new("readable", detail)
        })?;
        world.count("engine: called damaged");
        world.note(format_args!("shard {number} is damaged at {told:?}"));
        let Range { start, end } = told;
        if start > shard.from {
            // As where an answer begins later than was asked for.
            shard.reading.passed.push(shard.from..start);
        }
        shard.reading.damaged.push(start..end);
        if end > start.next() {
            world.count("engine: several called damaged at once");
            shard.from = end;
            if end >= shard.reading.tip {
                self.to_read.pop();
            }
            return Ok(());
        }
        let known = model.attempts_in(number).filter_map(|(_, attempt)| {
            let acked = if let Outcome::Acked(at, sequence) = attempt.outcome { Some((at, sequence)) } else { None };
            let place = acked.or(attempt.read_at).filter(|(at, _)| *at == number);
            place.map(|(_, sequence)| *attempt.numbers(sequence).start())
        });
        let next = known.filter(|&sequence| sequence >= end).min();
        match next.filter(|&next| next < shard.reading.tip) {
            Some(next) => shard.from = next,
            None => {
                self.to_read.pop();
            }
        }
        Ok(())
    }
}

/// Notes what a shard has of large records.
fn count_parts(world: &World, reading: &Reading) {
    if reading.found.iter().any(|found| found.first < found.sequence) {
        world.count("engine: large record read");
    }
    if reading.fragments().next().is_some() {
        world.count("engine: record that is not whole passed over");
    }
}
