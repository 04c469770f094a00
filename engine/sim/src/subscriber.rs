//! A client that has all shards of a stream pushed while others append: what it gets must be in order, durable, and all there
//! is.

use std::collections::{BTreeMap, BTreeSet};

use frame::parts::Joiner;
use frame::proto::{Client, ErrorCode, ReadResult, Start, Subscribe};
use frame::{RequestId, Sequence, ShardId, StreamId};

use crate::client::take_up_records;
use crate::dice::Dice;
use crate::link::{Heard, Link};
use crate::model::{Breach, Model, Outcome};
use crate::world::World;

/// Granted at once at most.
const GRANTED_BYTES_MAX: u64 = 200_000;

/// A shard being followed.
#[derive(Debug)]
struct Followed {
    stream: StreamId,
    shard: ShardId,
    /// Where it began, once that was told.
    from: Option<Sequence>,
    next: Sequence,
    tip: Sequence,
    granted: u64,
    pushed: u64,
    got: BTreeSet<Sequence>,
    joiner: Joiner,
    /// The first number of a record of which the last parts were missing at the shard's end.
    exposed: Option<Sequence>,
    /// Where it was to begin, and what arrived before is not for it.
    start: Start,
    since_ms: u64,
    /// Whether it was answered; and whether it goes on from `next`, as the shard moved to another reactor.
    is_begun: bool,
    goes_on: bool,
    is_over: bool,
}

/// A subscriber of one stream for one life.
#[derive(Debug)]
pub(crate) struct Subscriber {
    link: Link,
    dice: Dice,
    stream: String,
    is_welcome: bool,
    asked: Option<RequestId>,
    followed: BTreeMap<RequestId, Followed>,
}

impl Subscriber {
    pub(crate) fn new(world: &World, stream: String, dice: Dice) -> Subscriber {
        let (link, followed) = (Link::open(world), BTreeMap::new());
        Subscriber { link, dice, stream, is_welcome: false, asked: None, followed }
    }

    /// Asks for what there is, and grants credit where it is used up.
    pub(crate) fn ask(&mut self, world: &World) {
        if !self.is_welcome || self.link.is_over() {
            return;
        }
        if self.followed.is_empty() && self.asked.is_none() {
            let name = self.stream.clone();
            self.asked = Some(self.link.say(world, |client, out| client.describe_stream(out, &name)));
        }
        for (&request, followed) in &mut self.followed {
            if !followed.is_over && followed.pushed >= followed.granted {
                followed.granted = followed.pushed + self.dice.skewed(1..=GRANTED_BYTES_MAX);
                self.link.say(world, |_, out| Client::grant(out, request, followed.granted));
            }
        }
    }

    /// Nobody looks after the connection any more.
    pub(crate) fn leave(&mut self, world: &World) {
        self.link.leave(world, &mut self.dice);
    }

    /// Takes up what has arrived, and no more.
    pub(crate) fn listen(&mut self, world: &World, model: &mut Model) -> Result<(), Breach> {
        for heard in self.link.hear(world)? {
            self.take_up(world, model, heard)?;
        }
        Ok(())
    }

    /// Whether it has all that was acknowledged, as far as it can.
    pub(crate) fn is_level(&self, model: &Model) -> bool {
        let has_all =
            |followed: &Followed| followed.next >= model.tip(followed.shard) && !model.has_ended(followed.shard);
        let level = |followed: &Followed| followed.is_over || has_all(followed);
        self.link.is_over() || self.followed.values().all(level)
    }

    /// Checks that nothing acknowledged was left out.
    pub(crate) fn check(&self, world: &World, model: &Model) -> Result<(), Breach> {
        for followed in self.followed.values() {
            let Some(from) = followed.from else { continue };
            for (_, attempt) in model.attempts_in(followed.shard) {
                let Outcome::Acked(shard, sequence) = attempt.outcome else { continue };
                let is_due =
                    shard == followed.shard && from <= *attempt.numbers(sequence).start() && sequence < followed.next;
                if is_due && !followed.got.contains(&sequence) && !model.expires(followed.shard) {
                    let Followed { shard, next, .. } = followed;
                    let detail = format!("shard {shard}, {from} to {next}: {sequence} was acknowledged and not pushed");
                    return Err(Breach::new("pushed", detail));
                }
            }
            if !followed.got.is_empty() {
                world.count("engine: pushed");
            }
        }
        Ok(())
    }

    fn follows(&self, shard: ShardId) -> bool {
        self.followed.values().any(|followed| followed.shard == shard)
    }

    /// Follows a shard that ends here, as far as is known.
    fn follow(&mut self, world: &World, (stream, shard): (StreamId, ShardId), start: Start, tip: Sequence) {
        let since_ms = if let Start::Since(ms) = start { ms } else { 0 };
        let granted = self.dice.skewed(1..=GRANTED_BYTES_MAX) - 1;
        let subscribe = Subscribe { stream, shard, start, granted };
        let request = self.link.say(world, |client, out| client.subscribe(out, &subscribe));
        let followed = Followed {
            stream,
            shard,
            from: None,
            next: Sequence(1),
            tip,
            granted,
            pushed: 0,
            got: BTreeSet::new(),
            joiner: Joiner::new(),
            exposed: None,
            start,
            since_ms,
            is_begun: false,
            goes_on: false,
            is_over: false,
        };
        self.followed.insert(request, followed);
    }

    /// A shard moved to another reactor: what comes next is pushed from there.
    fn follow_on(&mut self, world: &World, mut followed: Followed) {
        let is_located = followed.from.is_some();
        let start = if is_located { Start::At(followed.next) } else { followed.start };
        let granted = self.dice.skewed(1..=GRANTED_BYTES_MAX) - 1;
        let subscribe = Subscribe { stream: followed.stream, shard: followed.shard, start, granted };
        let request = self.link.say(world, |client, out| client.subscribe(out, &subscribe));
        (followed.granted, followed.pushed) = (granted, 0);
        (followed.is_begun, followed.goes_on) = (false, is_located);
        self.followed.insert(request, followed);
    }

    fn take_up(&mut self, world: &World, model: &mut Model, heard: Heard) -> Result<(), Breach> {
        match heard {
            Heard::Welcome => self.is_welcome = true,
            Heard::Stream(_, description) => {
                model.described(&description)?;
                for shard in &description.shards {
                    let from = self.dice.skewed(1..=shard.tip.0);
                    let start = match self.dice.index(4) {
                        0 => Start::Latest,
                        1 => Start::Since(world.wall_ms().saturating_sub(self.dice.skewed(1..=10_000))),
                        _ => Start::At(Sequence(shard.tip.0 - from + 1)),
                    };
                    self.follow(world, (description.stream, shard.shard), start, shard.tip);
                }
            }
            Heard::Records(request, result, frames) => {
                let Some(followed) = self.followed.get_mut(&request).filter(|followed| !followed.is_over) else {
                    return Err(Breach::new("pushed", format!("{result:?} for request {request}")));
                };
                let begins = !std::mem::replace(&mut followed.is_begun, true);
                if begins && followed.goes_on {
                    if result.next != followed.next.max(result.trim) {
                        return Err(Breach::new("moved", format!("{result:?} goes on from {followed:?}")));
                    }
                } else if begins {
                    // By time: not known before the first push.
                    followed.from = (followed.since_ms == 0).then_some(result.next);
                    followed.next = result.next;
                } else if is_uncalled_for(followed, &result) {
                    return Err(Breach::new("pushed", format!("{result:?} uncalled for: {followed:?}")));
                }
                let range = followed.next..=followed.tip;
                let shard = followed.shard;
                let found = take_up_records(model, &mut followed.joiner, shard, range, &result, &frames)?.found;
                if let Some(early) = found.iter().find(|record| Some(record.first) == followed.exposed) {
                    return Err(Breach::new("whole", format!("parts of {early:?} were shown before its last")));
                }
                if result.next >= result.tip {
                    followed.exposed = followed.joiner.waits_from().or(followed.exposed);
                }
                if let Some(early) = found.iter().find(|record| record.arrival_ms < followed.since_ms) {
                    return Err(Breach::new("pushed", format!("{early:?} is too early: {followed:?}")));
                }
                followed.from = followed.from.or(found.first().map(|record| record.first));
                followed.got.extend(found.iter().map(|record| record.sequence));
                followed.pushed += frames.iter().map(|frame| frame.len() as u64).sum::<u64>();
                (followed.next, followed.tip) = (result.next, result.tip);
                if let Some(children) = result.children {
                    world.count("engine: a subscriber came to the end of a shard");
                    followed.is_over = true;
                    let stream = followed.stream;
                    for child in children.shards().filter(|child| !self.follows(*child)).collect::<Vec<_>>() {
                        self.follow(world, (stream, child), Start::At(Sequence(1)), Sequence(1));
                    }
                }
            }
            Heard::Failed(request, failure) if request != RequestId(0) => {
                if self.asked.take_if(|asked| *asked == request && failure.code == ErrorCode::UnknownStream).is_some() {
                    // Its maker has not come to it yet.
                    return Ok(());
                }
                if failure.code == ErrorCode::Resharding
                    && let Some(followed) = self.followed.remove(&request)
                {
                    world.count("engine: a subscriber was told that its shard moved");
                    self.follow_on(world, followed);
                    return Ok(());
                }
                let is_gone = |followed: &mut Followed| {
                    failure.code == ErrorCode::UnknownShard && model.may_be_forgotten(followed.shard)
                };
                if self.followed.get_mut(&request).is_some_and(is_gone) {
                    world.count("engine: a subscriber came to a shard that was forgotten");
                    self.followed.remove(&request);
                    return Ok(());
                }
                // The wall clock may have been set back since it was asked.
                let is_late = |followed: &Followed| failure.code == ErrorCode::InvalidArgument && followed.since_ms > 0;
                let known = self.followed.get_mut(&request);
                let known = known.filter(|known| is_lost(failure.code) || is_late(known));
                let known = known.ok_or_else(|| Breach::new("pushed", format!("request {request}: {failure}")))?;
                known.is_over = true;
                world.count(match failure.code {
                    code if is_lost(code) => "engine: a push found damage",
                    _ => "sim: time in the future",
                });
            }
            Heard::Ended(_) => {}
            other if world.is_dead() => world.note(format_args!("subscriber: {other:?}")),
            other => return Err(Breach::new("pushed", format!("the subscriber was told {other:?}"))),
        }
        Ok(())
    }
}

/// Whether a push has nothing new, or comes without credit. That a closed shard has ended needs neither.
fn is_uncalled_for(followed: &Followed, result: &ReadResult) -> bool {
    let is_end = result.children.is_some() && result.records == 0 && result.next >= followed.next;
    !is_end && (result.next <= followed.next || followed.pushed >= followed.granted)
}

/// Whether what comes next can't be read, or where it lies.
fn is_lost(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Damaged | ErrorCode::StorageFailed)
}
