//! Another thread, as the gateway is one: it makes, fills, reads and deletes short-lived streams by calls, and remembers what
//! it was told over all lives. What contradicts that is a breach.

use std::sync::{Arc, Mutex, PoisonError};

use engine::{Answer, Call, Handle, Outcome, Stream};
use frame::proto::{ErrorCode, Failure, Read, Start};
use frame::{Frame, Sequence, ShardId};

use crate::dice::Dice;
use crate::model::Breach;
use crate::world::World;

/// Its streams.
const NAMES: [&str; 3] = ["short-0", "short-1", "short-2"];

/// How many runs have one.
const PROBABILITY: f64 = 0.3;

/// How likely it calls about a stream in a turn.
const CALLS: f64 = 0.05;

/// What is known of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Known {
    Absent,
    Present(Stream),
    /// A command's answer never came, or said that nobody knows.
    Either,
}

/// A record that was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Stored {
    shard: ShardId,
    sequence: Sequence,
    number: u64,
}

/// What was asked.
#[derive(Clone, Debug)]
enum Asked {
    Describe,
    Create,
    Delete,
    Append(Vec<u64>),
    Read(Stored),
}

/// Where an answer is put.
type Letterbox = Arc<Mutex<Option<Answer>>>;

#[derive(Debug)]
struct Subject {
    name: &'static str,
    known: Known,
    /// Whether this life has confirmed what is known.
    is_confirmed: bool,
    stored: Vec<Stored>,
    waiting: Option<(Asked, Letterbox)>,
}

/// The thread, over all lives.
#[derive(Debug)]
pub(crate) struct Caller {
    dice: Dice,
    handle: Option<Handle>,
    subjects: Vec<Subject>,
    /// Every stream that was ever told of.
    streams: Vec<Stream>,
    next_record: u64,
    /// Whether this life's journal failed: what is on disk is known in the next.
    is_poisoned: bool,
}

impl Caller {
    pub(crate) fn new(seed: u64) -> Caller {
        let mut dice = Dice::new(seed, 0, "caller");
        let names: &[&str] = if dice.chance(PROBABILITY) { &NAMES } else { &[] };
        let subject =
            |&name| Subject { name, known: Known::Absent, is_confirmed: false, stored: Vec::new(), waiting: None };
        let subjects = names.iter().map(subject).collect();
        Caller { dice, handle: None, subjects, streams: Vec::new(), next_record: 0, is_poisoned: false }
    }

    /// A life begins.
    pub(crate) fn begin(&mut self, handle: Handle) {
        self.handle = Some(handle);
        self.is_poisoned = false;
    }

    /// A life has ended: what was not answered may be true or not.
    pub(crate) fn end(&mut self) {
        self.handle = None;
        for subject in &mut self.subjects {
            subject.is_confirmed = false;
            if let Some((Asked::Create | Asked::Delete, _)) = subject.waiting.take() {
                subject.known = Known::Either;
            }
        }
    }

    /// Hears answers, and calls now and then.
    pub(crate) fn step(&mut self, world: &World, is_damaged: bool) -> Result<(), Breach> {
        for at in 0..self.subjects.len() {
            let subject = &mut self.subjects[at];
            let answer = subject.waiting.as_ref().and_then(|(_, letterbox)| take(letterbox));
            if let (Some(answer), Some((asked, _))) = (answer, subject.waiting.clone()) {
                subject.waiting = None;
                world.note(format_args!("{}: {asked:?}: {answer:?}", subject.name));
                self.hear(at, asked, answer, is_damaged)?;
            }
            if self.subjects[at].waiting.is_none() && self.dice.chance(CALLS) {
                self.call(at, world);
            }
        }
        Ok(())
    }

    fn call(&mut self, at: usize, world: &World) {
        let Some(handle) = &self.handle else { return };
        let subject = &mut self.subjects[at];
        let name = subject.name.to_owned();
        let (asked, call) = match &subject.known {
            _ if !subject.is_confirmed && !self.is_poisoned => {
                (Asked::Describe, Call::DescribeStream { name, from: 0, limit: 1 })
            }
            Known::Either => return,
            Known::Absent => {
                let shards = self.dice.within(1..=3) as u32;
                (Asked::Create, Call::CreateStream { name, shards })
            }
            Known::Present(stream) => {
                let read = (!subject.stored.is_empty()).then(|| *self.dice.pick(&subject.stored));
                match (self.dice.index(4), read) {
                    (0, _) => (Asked::Delete, Call::DeleteStream { name }),
                    (1, Some(stored)) => {
                        let Stored { shard, sequence, .. } = stored;
                        let start = Start::At(sequence);
                        let read = Read { stream: stream.stream, shard, start, bytes_max: 1 };
                        (Asked::Read(stored), Call::Read(read))
                    }
                    _ => {
                        let (mut numbers, mut frames) = (Vec::new(), Vec::new());
                        for _ in 0..self.dice.within(1..=5) {
                            let number = self.next_record;
                            self.next_record += 1;
                            let data = number.to_le_bytes();
                            frame::frame::encode(&mut frames, &data, None, &data).expect("it is small");
                            numbers.push(number);
                        }
                        (Asked::Append(numbers), Call::Append { name, frames })
                    }
                }
            }
        };
        let letterbox = Letterbox::default();
        let put = Arc::clone(&letterbox);
        let reply = move |answer| *put.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        if handle.call(call, reply).is_ok() {
            subject.waiting = Some((asked, letterbox));
            world.wake_at(world.now_ns());
        }
    }

    /// Numbers of streams and shards are never given twice, unless what gave them first was damaged.
    fn meet(&mut self, stream: Stream, is_damaged: bool) -> Result<(), Breach> {
        match self.streams.iter_mut().find(|known| collide(known, &stream)) {
            Some(known) if *known != stream && !is_damaged => {
                Err(Breach::new("calls", format!("{stream:?} after {known:?}")))
            }
            Some(known) => {
                *known = stream;
                Ok(())
            }
            None => {
                self.streams.push(stream);
                Ok(())
            }
        }
    }

    fn hear(&mut self, at: usize, asked: Asked, answer: Answer, is_damaged: bool) -> Result<(), Breach> {
        let subject = &mut self.subjects[at];
        let contradicts = |detail: String| Err(Breach::new("calls", detail));
        match (asked, answer) {
            (Asked::Describe, answer) => {
                let found = match answer {
                    Answer::Stream(stream, _) => Known::Present(stream),
                    Answer::Failed(Failure { code: ErrorCode::UnknownStream, .. }) => Known::Absent,
                    answer => return contradicts(format!("{}: {answer:?}", subject.name)),
                };
                if subject.known != found && subject.known != Known::Either && !is_damaged {
                    return contradicts(format!("{}: {:?} was told, now {found:?}", subject.name, subject.known));
                }
                if subject.known != found {
                    subject.stored.clear();
                }
                (subject.known, subject.is_confirmed) = (found.clone(), true);
                if let Known::Present(stream) = found {
                    self.meet(stream, is_damaged)?;
                }
            }
            (Asked::Create, Answer::Stream(stream, _)) => {
                subject.stored.clear();
                subject.known = Known::Present(stream.clone());
                self.meet(stream, is_damaged)?;
            }
            (Asked::Delete, Answer::Deleted) => subject.known = Known::Absent,
            (Asked::Append(numbers), Answer::Appended(stream, outcomes)) => {
                if subject.known != Known::Present(stream) || outcomes.len() != numbers.len() {
                    return contradicts(format!("{}: {} outcomes", subject.name, outcomes.len()));
                }
                for (number, outcome) in numbers.into_iter().zip(outcomes) {
                    if let Outcome::Durable { shard, sequence, .. } = outcome {
                        subject.stored.push(Stored { shard, sequence, number });
                    }
                }
            }
            (Asked::Read(Stored { sequence, number, .. }), Answer::Records(_, frames)) => {
                let frame = Frame::parse(&frames).ok();
                let is_it = |frame: &Frame<'_>| frame.sequence() == sequence && frame.data() == number.to_le_bytes();
                if !frame.as_ref().is_some_and(is_it) && !is_damaged {
                    return contradicts(format!("{}: record {number} is not at {sequence}", subject.name));
                }
            }
            (asked, Answer::Failed(Failure { code, detail })) => match (code, &asked) {
                (ErrorCode::StorageFailed, _) => {
                    self.is_poisoned = true;
                    if matches!(asked, Asked::Create | Asked::Delete) {
                        (subject.known, subject.is_confirmed) = (Known::Either, false);
                    }
                }
                (ErrorCode::DiskFull | ErrorCode::Busy, _) | (ErrorCode::Damaged, Asked::Read(_)) => {}
                _ => return contradicts(format!("{}: {asked:?}: {code}: {detail}", subject.name)),
            },
            (asked, answer) => return contradicts(format!("{}: {asked:?}: {answer:?}", subject.name)),
        }
        Ok(())
    }
}

/// Whether two streams share a number.
fn collide(one: &Stream, two: &Stream) -> bool {
    let end = |stream: &Stream| stream.first_shard.0 + stream.shards;
    one.stream == two.stream || (one.first_shard.0 < end(two) && two.first_shard.0 < end(one))
}

fn take(letterbox: &Letterbox) -> Option<Answer> {
    letterbox.lock().unwrap_or_else(PoisonError::into_inner).take()
}
