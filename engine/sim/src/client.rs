//! One client of a life: makes streams, appends batches, reads, and misbehaves, as the dice say.

mod mischief;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use frame::parts::Joiner;
use frame::proto::{AckResult, Append, ErrorCode, Read, ReadResult, Start, StreamDescription};
use frame::{Frame, RequestId, Sequence, ShardId, StreamId};

use crate::dice::Dice;
use crate::link::{Heard, Intruder, Link};
use crate::model::{Breach, Found, Model, Outcome, frame_of};
use crate::plan::Wish;
use crate::record::{DATA_BYTES_MIN, Recipe};
use crate::world::World;

/// Times that a client asks for streams to be made before it gives up.
const STREAM_TRIES_MAX: u32 = 20;

/// What a client means to do.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// Streams that it uses, and how many shards each has.
    pub(crate) streams: Vec<Wish>,
    /// Batches that it appends.
    pub(crate) batches: u32,
    /// The most records of a batch.
    pub(crate) records_max: u64,
    /// The most bytes of a record's data.
    pub(crate) data_bytes_max: u64,
    /// Every record has the same size.
    pub(crate) fixed_size: bool,
    /// The most batches that wait for their acknowledgement.
    pub(crate) in_flight_max: usize,
    /// The longest pause between two batches.
    pub(crate) pause_ns_max: u64,
    /// How likely a step goes wrong on purpose.
    pub(crate) mischief: f64,
    /// How likely it reads instead of appending.
    pub(crate) reads: f64,
    /// How likely a record is cut into parts.
    pub(crate) large: f64,
}

#[derive(Debug)]
enum Asked {
    Stream,
    Append {
        first: u64,
        records: u32,
    },
    /// With where the shard was known to end.
    Read {
        shard: ShardId,
        from: Sequence,
        tip: Sequence,
    },
    Ping,
}

/// Attempts of one batch, and their frames.
#[derive(Debug)]
struct Batch {
    stream: StreamId,
    first: u64,
    records: u32,
    frames_count: u32,
    frames: Vec<u8>,
}

/// A client at work.
#[derive(Debug)]
pub(crate) struct LoadClient {
    link: Link,
    /// Numbered over all lives.
    number: u32,
    intent: Intent,
    dice: Dice,
    asked: BTreeMap<RequestId, Asked>,
    is_welcome: bool,
    batches_left: u32,
    /// Times that it asks for a stream.
    tries_left: u32,
    /// A batch that waits for credit.
    held: Option<Batch>,
    next_step_ns: u64,
    /// It does not read before this time.
    deaf_until_ns: u64,
    is_done: bool,
    intruders: Vec<Intruder>,
}

impl LoadClient {
    pub(crate) fn new(world: &World, number: u32, intent: Intent, dice: Dice) -> LoadClient {
        LoadClient {
            link: Link::open(world),
            number,
            batches_left: intent.batches,
            tries_left: STREAM_TRIES_MAX,
            intent,
            dice,
            asked: BTreeMap::new(),
            held: None,
            is_welcome: false,
            next_step_ns: 0,
            deaf_until_ns: 0,
            is_done: false,
            intruders: Vec::new(),
        }
    }

    /// Whether it has done all it meant to and waits for nothing, or its connection is over.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done || self.link.is_over()
    }

    /// Takes up what has arrived, and goes on.
    pub(crate) fn step(&mut self, world: &World, model: &mut Model) -> Result<(), Breach> {
        self.listen(world, model)?;
        let now_ns = world.now_ns();
        if self.deaf_until_ns > 0 && now_ns >= self.deaf_until_ns {
            self.deaf_until_ns = 0;
            world.set_reading(self.link.id, true);
        }
        if !self.is_welcome || self.is_done() || now_ns < self.next_step_ns {
            return Ok(());
        }
        if self.batches_left == 0 || self.tries_left == 0 {
            self.is_done = self.asked.is_empty();
            return Ok(());
        }
        if self.asked.len() >= self.intent.in_flight_max {
            return Ok(());
        }
        self.act(world, model);
        self.next_step_ns = now_ns + self.dice.skewed(1..=self.intent.pause_ns_max);
        world.wake_at(self.next_step_ns);
        Ok(())
    }

    /// Nobody looks after the connection any more.
    pub(crate) fn leave(&mut self, world: &World) {
        self.link.leave(world, &mut self.dice);
        self.intruders.iter().for_each(|intruder| intruder.leave(world));
    }

    /// Takes up what has arrived, and no more.
    pub(crate) fn listen(&mut self, world: &World, model: &mut Model) -> Result<(), Breach> {
        for heard in self.link.hear(world)? {
            self.take_up(world, model, heard)?;
        }
        self.intruders.iter_mut().try_for_each(|intruder| intruder.listen(world))
    }

    fn act(&mut self, world: &World, model: &mut Model) {
        if let Some(batch) = self.held.take() {
            return self.send_batch(world, batch);
        }
        let Wish { name, shards, settings } = self.dice.pick(&self.intent.streams).clone();
        let Some(stream) = model.stream(&name).cloned() else {
            let request = self.link.say(world, |client, out| client.create_stream(out, &name, shards, settings));
            self.asked.insert(request, Asked::Stream);
            self.tries_left -= 1;
            return;
        };
        if self.dice.chance(self.intent.mischief) && self.misbehave(world, model, &stream.shards[0].shard) {
            return;
        }
        if self.dice.chance(self.intent.reads) {
            let shard = self.dice.pick(&stream.shards).shard;
            let tip = model.tip(shard);
            let from = Sequence(if self.dice.chance(0.5) { tip.0 } else { self.dice.skewed(1..=tip.0) });
            return self.read(world, model, stream.stream, shard, from);
        }
        let batch = self.make_batch(world, model, &stream);
        self.send_batch(world, batch);
    }

    fn read(&mut self, world: &World, model: &Model, stream: StreamId, shard: ShardId, from: Sequence) {
        let bytes_max = self.dice.skewed(1..=2 << 20) as u32;
        let read = Read { stream, shard, start: Start::At(from), bytes_max };
        let request = self.link.say(world, |client, out| client.read(out, &read));
        let tip = model.tip(shard);
        self.asked.insert(request, Asked::Read { shard, from, tip });
    }

    fn make_batch(&mut self, world: &World, model: &mut Model, stream: &StreamDescription) -> Batch {
        let records = self.dice.skewed(1..=self.intent.records_max) as u32;
        let first = model.attempts().len() as u64;
        let (mut frames_count, mut frames) = (0, Vec::new());
        for _ in 0..records {
            let data_bytes = match self.intent.fixed_size {
                true => self.intent.data_bytes_max,
                false => self.dice.skewed(DATA_BYTES_MIN as u64..=self.intent.data_bytes_max),
            };
            let explicit_hash = self.dice.chance(0.1).then(|| u128::from_le_bytes(self.dice.bytes()));
            let key = self.dice.within(0..=30) as u16;
            let is_spoiled = self.dice.chance(self.intent.mischief / 10.0);
            let parts = if self.dice.chance(self.intent.large) { self.dice.within(2..=6) as usize } else { 1 };
            let recipe = |attempt| Recipe { attempt, key, explicit_hash, data_bytes: data_bytes as usize, parts };
            let start = frames.len();
            let recipe = model.submit(stream, self.number, recipe, is_spoiled);
            recipe.encode(&mut frames);
            frames_count += recipe.frames() as u32;
            if is_spoiled {
                // The payload's checksum, which the server compares, of one of its frames.
                let starts = frame_starts(&frames[start..]);
                frames[start + self.dice.pick(&starts) + 16] ^= 1;
            }
        }
        if frames_count > records {
            world.count("client: large record");
        }
        Batch { stream: stream.stream, first, records, frames_count, frames }
    }

    fn send_batch(&mut self, world: &World, batch: Batch) {
        let message_bytes = batch.frames.len() + frame::proto::HEADER_BYTES + frame::proto::APPEND_FIXED_BYTES;
        if !self.link.client.may_append(message_bytes) {
            world.count("client: no credit");
            self.held = Some(batch);
            return;
        }
        let Batch { stream, first, records, frames_count, frames } = batch;
        let request = self.link.say(world, |client, out| client.append(out, stream, frames_count, &frames));
        self.asked.insert(request, Asked::Append { first, records });
        self.batches_left -= 1;
        world.note(format_args!("client {} appends {first}..{}", self.number, first + u64::from(records)));
    }

    fn message(&mut self, stream: &StreamDescription, frames_count: u32, frames: &[u8]) -> Vec<u8> {
        let mut message = Vec::new();
        let request = self.link.client.next_request();
        let start = Append::begin(&mut message, request);
        message.extend_from_slice(frames);
        Append { stream: stream.stream, records: frames_count }.finish(&mut message, start);
        message
    }

    fn take_up(&mut self, world: &World, model: &mut Model, heard: Heard) -> Result<(), Breach> {
        match heard {
            Heard::Welcome => self.is_welcome = true,
            Heard::Stream(request, description) => {
                self.answered(request)?;
                model.described(&description)?;
            }
            Heard::Acked(request, results) => self.acked(world, model, request, &results)?,
            Heard::Records(request, result, frames) => self.records(model, request, &result, &frames)?,
            Heard::Pong(request) => {
                self.answered(request)?;
            }
            Heard::Failed(RequestId(0), failure) => {
                world.note(format_args!("client {} is told: {failure}", self.number));
                self.is_done = true;
            }
            Heard::Failed(request, failure) => {
                let asked = self.answered(request)?;
                world.note(format_args!("client {} is told {failure} of {asked:?}", self.number));
                if matches!(asked, Asked::Read { .. } if failure.code == ErrorCode::UnknownSequence) {
                    return Err(Breach::new("tips rise", format!("{asked:?}: {failure}")));
                }
            }
            Heard::Ended(end) => world.note(format_args!("client {}: {end:?}", self.number)),
        }
        Ok(())
    }

    fn answered(&mut self, request: RequestId) -> Result<Asked, Breach> {
        let asked = self.asked.remove(&request);
        asked.ok_or_else(|| Breach::new("one answer", format!("request {request} of client {}", self.number)))
    }

    fn acked(
        &mut self,
        world: &World,
        model: &mut Model,
        request: RequestId,
        results: &[(u32, AckResult)],
    ) -> Result<(), Breach> {
        let asked = self.answered(request)?;
        let Asked::Append { first, records } = asked else {
            return Err(Breach::new("one answer", format!("an acknowledgement of {asked:?}")));
        };
        world.note(format_args!("client {} has its answer to {first}..", self.number));
        for &(index, result) in results {
            if index >= records {
                return Err(Breach::new("one answer", format!("a result of record {index} of {records}")));
            }
            let number = first + u64::from(index);
            match result {
                AckResult::Durable(shard, sequence) => model.acked(number, shard, sequence)?,
                AckResult::Throttled(ErrorCode::Resharding, _) => {
                    world.count("engine: refused while a shard was split or merged");
                    model.refused(number, ErrorCode::Resharding)?;
                }
                AckResult::Throttled(code, _) => {
                    world.count("engine: refused, quota");
                    model.throttled(number, code)?;
                }
                AckResult::Refused(code) => {
                    world.count(match code {
                        ErrorCode::DiskFull => "engine: refused, disk full",
                        ErrorCode::StorageFailed => "engine: refused, storage failed",
                        ErrorCode::Checksum => "engine: refused, checksum",
                        _ => "engine: refused otherwise",
                    });
                    model.refused(number, code)?;
                }
            }
        }
        let unanswered = (first..first + u64::from(records)).find(|&n| model.attempt(n).outcome == Outcome::Unknown);
        match unanswered {
            Some(number) => Err(Breach::new("one answer", format!("attempt {number} is missing in its answer"))),
            None => Ok(()),
        }
    }

    fn records(
        &mut self,
        model: &mut Model,
        request: RequestId,
        result: &ReadResult,
        frames: &[Vec<u8>],
    ) -> Result<(), Breach> {
        let asked = self.answered(request)?;
        let Asked::Read { shard, from, tip } = asked else {
            return Err(Breach::new("one answer", format!("records for {asked:?}")));
        };
        take_up_records(model, &mut Joiner::new(), shard, from..=tip, result, frames).map(drop)
    }
}

/// Where each of these frames begins.
fn frame_starts(mut frames: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (Vec::new(), 0);
    while let Ok(frame) = Frame::parse(frames) {
        starts.push(at);
        at += frame.length();
        frames = &frames[frame.length()..];
    }
    starts
}

/// What a read result held.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Records that are whole now.
    pub(crate) found: Vec<Found>,
    /// Number and arrival of every frame that is a part.
    pub(crate) parts: Vec<(Sequence, u64)>,
    /// The first frame's number.
    pub(crate) first: Option<Sequence>,
}

/// Checks a read result by itself, and what it holds against the model. It was asked for from the start of `range` on, when
/// the shard was known to end at the end of it.
pub(crate) fn take_up_records(
    model: &mut Model,
    joiner: &mut Joiner,
    shard: ShardId,
    range: RangeInclusive<Sequence>,
    result: &ReadResult,
    frames: &[Vec<u8>],
) -> Result<Taken, Breach> {
    let from = *range.start();
    let wrong = |detail: String| Err(Breach::new("read result", detail));
    if result.shard != shard || result.next < from || result.next > result.tip {
        return wrong(format!("{result:?} for shard {shard} from {from}"));
    }
    let mut taken = Taken::default();
    let mut next = from;
    for bytes in frames {
        let frame = frame_of(shard, bytes)?;
        let sequence = frame.sequence();
        if sequence < next {
            return wrong(format!("{sequence} of shard {shard} where {next} was due"));
        }
        next = sequence.next();
        taken.first.get_or_insert(sequence);
        if frame.is_part() {
            taken.parts.push((sequence, frame.arrival_ms()));
        }
        if let Some(record) = joiner.push(&frame) {
            taken.found.push(model.read(shard, &record)?);
        }
    }
    if let Some(children) = result.children {
        if result.next != result.tip {
            return wrong(format!("{result:?} is said to be the end"));
        }
        model.told_end(shard, result.tip, children)?;
    }
    if result.next < next {
        return wrong(format!("{result:?} for shard {shard}, and the last record makes {next}"));
    }
    model.told_trim(shard, result.trim)?;
    model.told_tip(shard, result.tip, *range.end())?;
    Ok(taken)
}
