//! Another thread, as the gateway is one: it makes, fills, reads and deletes short-lived streams by calls, and remembers what
//! it was told over all lives. What contradicts that is a breach.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use engine::{Answer, Call, Counts, Handle, Outcome, Stream};
use frame::proto::{ErrorCode, Failure, Read, Start};
use frame::{Frame, Quotas, Sequence, ShardId};

use crate::dice::Dice;
use crate::model::Breach;
use crate::world::World;

/// Its streams.
pub(crate) const NAMES: [&str; 3] = ["short-0", "short-1", "short-2"];

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
    Create(Quotas),
    /// The stream as it is to be.
    SetQuotas(Stream),
    Delete,
    Append(Vec<u64>),
    Read(Stored),
}

impl Asked {
    /// Whether it changes the stream.
    fn is_change(&self) -> bool {
        matches!(self, Asked::Create(_) | Asked::SetQuotas(_) | Asked::Delete)
    }
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
            if subject.waiting.take().is_some_and(|(asked, _)| asked.is_change()) {
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
                let quotas = some_quotas(&mut self.dice);
                (
                    Asked::Create(quotas),
                    Call::CreateStream { name, shards, settings: quotas.into(), annotation: Arc::default() },
                )
            }
            Known::Present(stream) => {
                let read = (!subject.stored.is_empty()).then(|| *self.dice.pick(&subject.stored));
                match (self.dice.index(5), read) {
                    (4, _) => {
                        let quotas = some_quotas(&mut self.dice);
                        let set = Stream { quotas, ..stream.clone() };
                        (Asked::SetQuotas(set), Call::SetQuotas { name, quotas })
                    }
                    (0, _) => (Asked::Delete, Call::DeleteStream { name }),
                    (1, Some(stored)) => {
                        let Stored { shard, sequence, .. } = stored;
                        let start = Start::At(sequence);
                        let read = Read { stream: stream.stream, shard, start, bytes_max: 1 };
                        (Asked::Read(stored), Call::Read { read, frames_max: u32::MAX, counts: Counts::Read })
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
        let stream = Stream { quotas: Quotas::NONE, ..stream };
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
        let answer = whatever_is_open(answer);
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
            (Asked::Create(quotas), Answer::Stream(stream, _)) => {
                if stream.quotas != quotas {
                    return contradicts(format!("{stream:?} was to have {quotas:?}"));
                }
                subject.stored.clear();
                subject.known = Known::Present(stream.clone());
                self.meet(stream, is_damaged)?;
            }
            (Asked::SetQuotas(set), Answer::Stream(stream, _)) => {
                if stream != set {
                    return contradicts(format!("{stream:?} was to be {set:?}"));
                }
                subject.known = Known::Present(stream);
            }
            (Asked::Delete, Answer::Deleted) => subject.known = Known::Absent,
            (Asked::Append(numbers), Answer::Appended(stream, outcomes)) => {
                let has_quotas = stream.quotas.has_write_quotas();
                if subject.known != Known::Present(stream) || outcomes.len() != numbers.len() {
                    return contradicts(format!("{}: {} outcomes", subject.name, outcomes.len()));
                }
                for (number, outcome) in numbers.into_iter().zip(outcomes) {
                    match outcome {
                        Outcome::Durable { shard, sequence, .. } => {
                            subject.stored.push(Stored { shard, sequence, number });
                        }
                        Outcome::Throttled(code, shard) if !has_quotas && code != ErrorCode::Resharding => {
                            return contradicts(format!("shard {shard} without quotas: {code}"));
                        }
                        Outcome::Throttled(..) | Outcome::Refused(_) => {}
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
            (asked, Answer::Failed(Failure { code, detail, .. })) => match (code, &asked) {
                // A footer can't be read.
                (ErrorCode::StorageFailed, Asked::Read(_)) => {}
                (ErrorCode::StorageFailed, _) => {
                    self.is_poisoned = true;
                    if asked.is_change() {
                        (subject.known, subject.is_confirmed) = (Known::Either, false);
                    }
                }
                (ErrorCode::DiskFull | ErrorCode::Busy, _)
                | (ErrorCode::ReadBytesExceeded | ErrorCode::ReadsExceeded | ErrorCode::Resharding, Asked::Read(_))
                | (ErrorCode::Damaged, Asked::Read(_)) => {}
                _ => return contradicts(format!("{}: {asked:?}: {code}: {detail}", subject.name)),
            },
            (asked, answer) => return contradicts(format!("{}: {asked:?}: {answer:?}", subject.name)),
        }
        Ok(())
    }
}

/// Others split and merge its shards.
fn whatever_is_open(answer: Answer) -> Answer {
    let of = |stream: Stream| Stream { open_shards: stream.shards, ..stream };
    match answer {
        Answer::Stream(stream, shards) => Answer::Stream(of(stream), shards),
        Answer::Appended(stream, outcomes) => Answer::Appended(of(stream), outcomes),
        other => other,
    }
}

/// Mostly none; else so low that they are soon used up.
fn some_quotas(dice: &mut Dice) -> Quotas {
    if dice.chance(0.6) {
        return Quotas::NONE;
    }
    let mut rate = |most: u64| NonZeroU32::new(dice.within(0..=most) as u32);
    Quotas {
        write_bytes: rate(200),
        write_records: rate(20),
        read_bytes: rate(50),
        reads: rate(5),
        push_bytes: rate(50),
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
