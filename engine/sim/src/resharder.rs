//! One more thread, which splits, merges and moves shards of all streams by calls, and has them encrypted or not any more, while they are
//! filled and read. What it does right must be done, what it does wrong on purpose must be refused.

use std::sync::{Arc, Mutex, PoisonError};

use engine::encryption::{KEY_BYTES, Key, Keyring};
use engine::limits::GENERATIONS_MAX;
use engine::{Answer, Call, Handle};
use frame::proto::{ErrorCode, Failure, ShardDescription};
use frame::{ShardId, StreamId};

use crate::caller;
use crate::dice::Dice;
use crate::model::{Breach, Model};
use crate::plan::NUMBERED_STREAM;
use crate::world::World;

/// How many runs have one.
const PROBABILITY: f64 = 0.5;

/// How likely it calls in a turn.
const CALLS: f64 = 0.01;

/// How likely what it calls for is about encryption, where that is asked for at all.
const ENCRYPTS: f64 = 0.4;

/// How the key is named.
const KEY: &str = "key";

/// Open shards of a stream past which it merges.
const OPEN_MAX: usize = 5;

/// What it means to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Change {
    Split(ShardId, u128),
    Merge(ShardId, ShardId),
    /// To a reactor.
    Move(ShardId, u32),
    /// Whether what is stored from here on is to be encrypted, of the whole stream.
    Encrypt(bool),
}

impl Change {
    /// Whether it makes new shards.
    fn reshards(self) -> bool {
        matches!(self, Change::Split(..) | Change::Merge(..))
    }
}

/// What was asked of a stream, by its place among the names.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Describe(usize),
    /// With the error that must come of it, if one must.
    Reshard(usize, Change, Option<ErrorCode>),
}

/// A stream.
#[derive(Clone, Debug)]
struct Subject {
    name: String,
    /// What is known of it since it was described: its number and its shards.
    known: Option<(StreamId, Vec<ShardDescription>)>,
    /// How often it may still be split or merged (moved, any time): not beyond what retries are known over, where records are numbered.
    left: usize,
    /// Whether something was begun that goes on by itself: then what is known may be so no more.
    is_unsettled: bool,
}

/// The thread, over all lives.
#[derive(Debug)]
pub(crate) struct Resharder {
    dice: Dice,
    handle: Option<Handle>,
    streams: Vec<Subject>,
    waiting: Option<(Asked, Arc<Mutex<Option<Answer>>>)>,
    is_resting: bool,
    encrypts: bool,
}

/// The key that it has streams encrypted with: the same over all lives.
pub(crate) fn keyring(seed: u64) -> Arc<Keyring> {
    let mut dice = Dice::new(seed, 0, "key");
    let mut secret = [0; KEY_BYTES];
    secret.chunks_exact_mut(16).for_each(|half| half.copy_from_slice(&dice.bytes()));
    let keyring = Keyring::default();
    keyring.replace(vec![Key { name: KEY.to_owned(), version: 1, secret }]).expect("there is one");
    Arc::new(keyring)
}

impl Resharder {
    pub(crate) fn new(seed: u64, mut names: Vec<String>) -> Resharder {
        let mut dice = Dice::new(seed, 0, "resharder");
        names.extend(caller::NAMES.map(str::to_owned));
        if !dice.chance(PROBABILITY) {
            names.clear();
        }
        let subject = |name| {
            let left = if name == NUMBERED_STREAM { GENERATIONS_MAX } else { usize::MAX };
            Subject { name, known: None, left, is_unsettled: false }
        };
        let streams = names.into_iter().map(subject).collect();
        let encrypts = Dice::new(seed, 0, "encrypts").chance(0.5);
        Resharder { dice, handle: None, streams, waiting: None, is_resting: false, encrypts }
    }

    /// A life begins.
    pub(crate) fn begin(&mut self, handle: Handle) {
        self.handle = Some(handle);
        self.is_resting = false;
    }

    /// A life has ended: what was not answered may be true or not.
    pub(crate) fn end(&mut self, world: &World) {
        self.handle = None;
        self.streams.iter_mut().for_each(|stream| stream.known = None);
        if let Some((Asked::Reshard(at, change, _), _)) = self.waiting.take() {
            self.streams[at].is_unsettled = true;
            if let Change::Move(..) = change {
                world.count("engine: died amid a move");
            }
        }
    }

    /// It begins nothing more in this life.
    pub(crate) fn rest(&mut self) {
        self.is_resting = true;
    }

    /// Whether it waits for an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Hears its answer, or calls now and then.
    pub(crate) fn step(&mut self, world: &World, model: &mut Model, is_damaged: bool) -> Result<(), Breach> {
        let answer = self.waiting.as_ref().and_then(|(_, letterbox)| take(letterbox));
        if let (Some(answer), Some((asked, _))) = (answer, self.waiting.clone()) {
            self.waiting = None;
            world.note(format_args!("{asked:?}: {answer:?}"));
            self.hear(world, asked, answer, is_damaged)?;
        }
        let may_call = self.waiting.is_none() && !self.is_resting && !self.streams.is_empty();
        if may_call && self.dice.chance(CALLS) {
            self.call(world, model);
        }
        Ok(())
    }

    fn call(&mut self, world: &World, model: &mut Model) {
        let Some(handle) = &self.handle else { return };
        let at = self.dice.index(self.streams.len());
        let Subject { name, known, .. } = self.streams[at].clone();
        let (asked, call) = match known {
            None => (Asked::Describe(at), Call::DescribeStream { name, from: 0, limit: u32::MAX }),
            Some(_) if self.streams[at].left == 0 => return,
            Some((stream, shards)) => {
                // Those that the caller calls about are told as it knows them.
                let may_encrypt = self.encrypts && !caller::NAMES.contains(&name.as_str());
                let (change, error) = match may_encrypt && self.dice.chance(ENCRYPTS) {
                    true => (Change::Encrypt(self.dice.chance(0.6)), None),
                    false => choose(&mut self.dice, &shards, handle.reactors() as u32),
                };
                self.streams[at].left -= usize::from(change.reshards());
                let call = match change {
                    Change::Encrypt(is_to_be) => Call::Encrypt { stream, key: is_to_be.then(|| Arc::from(KEY)) },
                    Change::Move(shard, reactor) => Call::MoveShard { name, shard, reactor },
                    Change::Split(shard, at) => Call::SplitShard { name, shard, at },
                    Change::Merge(shard, adjacent) => Call::MergeShards { name, shard, adjacent },
                };
                (Asked::Reshard(at, change, error), call)
            }
        };
        let letterbox = Arc::new(Mutex::new(None));
        let put = Arc::clone(&letterbox);
        let reply = move |answer| *put.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        if handle.call(call, reply).is_ok() {
            if let Asked::Reshard(_, Change::Move(shard, _), None) = asked {
                model.moving(shard);
            }
            self.waiting = Some((asked, letterbox));
            world.wake_at(world.now_ns());
        }
    }

    fn hear(&mut self, world: &World, asked: Asked, answer: Answer, is_damaged: bool) -> Result<(), Breach> {
        let (Asked::Describe(at) | Asked::Reshard(at, ..)) = asked;
        let is_short_lived = caller::NAMES.contains(&self.streams[at].name.as_str());
        self.streams[at].known = None;
        let is_unsettled = self.streams[at].is_unsettled;
        match (asked, answer) {
            (Asked::Describe(at), Answer::Stream(stream, shards)) => {
                self.streams[at].known = Some((stream.stream, shards));
            }
            (Asked::Reshard(_, change, None), Answer::Stream(..)) => world.count(match change {
                Change::Split(..) => "engine: shard split",
                Change::Merge(..) => "engine: shards merged",
                Change::Move(..) => "engine: shard moved",
                Change::Encrypt(true) => "engine: encryption began",
                Change::Encrypt(false) => "engine: encryption ended",
            }),
            (_, Answer::Failed(Failure { code, .. })) if is_expected(code) => {
                self.streams[at].is_unsettled |= matches!(code, ErrorCode::DiskFull | ErrorCode::StorageFailed);
            }
            (_, Answer::Failed(Failure { code: ErrorCode::InvalidArgument, .. })) if is_unsettled => {}
            (Asked::Reshard(_, _, Some(error)), Answer::Failed(Failure { code, .. })) if code == error => {
                world.count("engine: split or merge refused");
            }
            // It was closed, and has expired since.
            (Asked::Reshard(_, _, Some(_)), Answer::Failed(Failure { code: ErrorCode::UnknownShard, .. })) => {}
            // Others delete it, and make it again.
            (_, Answer::Failed(Failure { code: ErrorCode::UnknownShard, .. })) if is_short_lived => {}
            (asked, answer) if !is_damaged => {
                return Err(Breach::new("resharding", format!("{asked:?}: {answer:?}")));
            }
            _ => {}
        }
        Ok(())
    }
}

/// What may become of any call. What is under way may be so since an earlier life.
fn is_expected(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownStream
            | ErrorCode::StorageFailed
            | ErrorCode::DiskFull
            | ErrorCode::Busy
            | ErrorCode::Resharding
            | ErrorCode::ShuttingDown
    )
}

/// What to do next: mostly something that may be done, or with the error that it must come to.
fn choose(dice: &mut Dice, shards: &[ShardDescription], reactors: u32) -> (Change, Option<ErrorCode>) {
    let mut open: Vec<&ShardDescription> = shards.iter().filter(|shard| shard.children.is_none()).collect();
    open.sort_by_key(|shard| shard.hash_start);
    if dice.chance(0.1) {
        return mistake(dice, shards, &open, reactors);
    }
    let at = dice.index(open.len());
    let shard = open[at];
    if reactors > 1 && dice.chance(0.5) {
        let reactor = dice.within(0..=u64::from(reactors) - 1) as u32;
        let error = (reactor == shard.reactor).then_some(ErrorCode::InvalidArgument);
        return (Change::Move(shard.shard, reactor), error);
    }
    if open.len() > OPEN_MAX || (open.len() > 1 && dice.chance(0.5)) {
        let (one, two) = (open[at.min(open.len() - 2)], open[at.min(open.len() - 2) + 1]);
        let (one, two) = if dice.chance(0.5) { (one, two) } else { (two, one) };
        return (Change::Merge(one.shard, two.shard), None);
    }
    let width = shard.hash_end - shard.hash_start;
    let half = shard.hash_start + width / 2 + 1;
    let anywhere = shard.hash_start + 1 + u128::from_le_bytes(dice.bytes()) % width.max(1);
    match width {
        0 => (Change::Split(shard.shard, shard.hash_start), Some(ErrorCode::InvalidArgument)),
        _ => (Change::Split(shard.shard, if dice.chance(0.5) { half } else { anywhere }), None),
    }
}

fn mistake(
    dice: &mut Dice,
    shards: &[ShardDescription],
    open: &[&ShardDescription],
    reactors: u32,
) -> (Change, Option<ErrorCode>) {
    let shard = **dice.pick(open);
    let error = Some(ErrorCode::InvalidArgument);
    let closed = shards.iter().find(|shard| shard.children.is_some());
    match (dice.index(6), closed) {
        (0, Some(closed)) => (Change::Split(closed.shard, closed.hash_end), error),
        (1, Some(closed)) => (Change::Merge(closed.shard, shard.shard), error),
        (2, _) => (Change::Split(shard.shard, shard.hash_start), error),
        (4, Some(closed)) => (Change::Move(closed.shard, 0), error),
        (5, _) => (Change::Move(shard.shard, reactors), error),
        (3, _) => (Change::Split(ShardId(u32::MAX), 1), Some(ErrorCode::UnknownShard)),
        _ => (Change::Merge(shard.shard, shard.shard), error),
    }
}

fn take(letterbox: &Mutex<Option<Answer>>) -> Option<Answer> {
    letterbox.lock().unwrap_or_else(PoisonError::into_inner).take()
}
