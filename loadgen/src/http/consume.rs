//! Consumers beside the producers, or alone: subscribers, each of whom has all shards pushed by SubscribeToShard; readers that
//! ask each shard five times a second for what comes next, as often as the service lets; and readers that begin at the oldest
//! record again and again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use frame::ShardId;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::api::Place;
use super::batch::checksum;
use super::pipe::Pipe;
use super::push::{Followed, deregister, register};
use super::streams::Streams;
use super::walk::{Cursor, Seen, Sink, Whole, read_shard};
use super::{Asked, HttpError};
use crate::native::{Ages, Begin, By, Core, CorePlace, Plan, SILENCE_MAX, age_of, sleep_unless, unless_over};
use crate::recorder::BatchTimes;
use crate::verify::{Ledger, Number, Taken};
use crate::workload::{Contents, Origin};

/// How often a reader asks a shard for what comes next.
const POLL: Duration = Duration::from_millis(200);

/// How often the end of the producers is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// The highest number acknowledged in each shard, by all cores once they are done.
pub(super) struct Tips(Mutex<Vec<Number>>);

impl Tips {
    pub(super) fn new(shards: usize) -> Self {
        Self(Mutex::new(vec![Number::default(); shards]))
    }

    /// Takes in what one core was acknowledged.
    pub(super) fn add(&self, ledger: &Ledger) {
        let mut tips = self.0.lock().expect("no core panics while it adds");
        for (number, tip) in (0..).zip(tips.iter_mut()) {
            *tip = (*tip).max(ledger.last(ShardId(number)).unwrap_or_default());
        }
    }

    fn all(&self) -> Vec<Number> {
        self.0.lock().expect("no core panics while it adds").clone()
    }
}

/// What a consumer does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// It is pushed what comes.
    Pushed,
    /// It asks for what comes.
    Follow,
    /// It reads everything, again and again.
    CatchUp,
}

/// One consumer.
struct Consumer {
    kind: Kind,
    number: u32,
    core: Rc<Core>,
    /// What this run's producers make, if it is known.
    contents: Option<Contents>,
    /// Whether what it takes is what the run does, for nobody produces.
    counts_progress: bool,
    taken: RefCell<Taken>,
    /// What the last whole look at everything was given.
    earlier: RefCell<Option<Taken>>,
    ages: RefCell<Ages>,
    /// The last number of each shard.
    last: RefCell<Vec<Number>>,
    /// Shards of which it has everything that was there, once.
    level: RefCell<Vec<bool>>,
    asked_ns: Cell<u64>,
    /// Records since.
    records: Cell<u64>,
    /// When it was last given something.
    heard: Cell<Instant>,
    /// Whether it is to end.
    is_over: Cell<bool>,
}

impl Consumer {
    fn new(plan: &Plan, core: &Rc<Core>, contents: Option<&Contents>, kind: Kind, number: u32) -> Rc<Self> {
        let shards = plan.consumed_shards();
        let count = shards.ids().len();
        Rc::new(Self {
            kind,
            number,
            core: Rc::clone(core),
            contents: contents.cloned(),
            counts_progress: plan.producers.is_empty(),
            taken: RefCell::new(Taken::new(shards, plan.is_shared || plan.producers.is_empty())),
            earlier: RefCell::default(),
            ages: RefCell::default(),
            last: RefCell::new(vec![Number::default(); count]),
            level: RefCell::new(vec![false; count]),
            asked_ns: Cell::default(),
            records: Cell::default(),
            heard: Cell::new(Instant::now()),
            is_over: Cell::new(false),
        })
    }

    /// It has everything of a shard for now; the run hears when that is so of all.
    fn is_level(&self, shard: ShardId) {
        let mut level = self.level.borrow_mut();
        let was_level = std::mem::replace(&mut level[shard.0 as usize], true);
        if !was_level && level.iter().all(|&level| level) {
            self.core.shared.count_at_the_tip();
        }
    }

    /// Whether it was given everything up to there.
    fn has(&self, tips: &[Number]) -> bool {
        self.last.borrow().iter().zip(tips).all(|(last, tip)| last >= tip)
    }

    /// Holds what was taken against the look before.
    fn restart(&self) {
        let (mut taken, mut earlier) = (self.taken.borrow_mut(), self.earlier.borrow_mut());
        if let Some(earlier) = &*earlier {
            taken.misses(earlier);
        }
        *earlier = Some(taken.restart());
    }

    fn lost(&self, error: &HttpError) {
        let name = match self.kind {
            Kind::Pushed => "subscriber",
            Kind::Follow => "reader",
            Kind::CatchUp => "catch-up reader",
        };
        self.core.counts.borrow_mut().lost.push(format!("{name} {}: {error}", self.number));
        self.core.shared.count_gone();
    }

    /// Nobody knows whether a stream still has it.
    fn may_be_left(&self, what: &str) {
        self.core.counts.borrow_mut().lost.push(format!("subscriber {}: {what}", self.number));
    }
}

impl Sink for Consumer {
    fn take(&self, shard: ShardId, record: Whole<'_>) {
        let Whole { number, key, data, arrival_ms } = record;
        let (now_ns, mut taken) = (self.core.clock.now_ns(), self.taken.borrow_mut());
        self.records.set(self.records.get() + 1);
        self.last.borrow_mut()[shard.0 as usize] = number;
        let origin = self.contents.as_ref().map_or(Origin::Own, |contents| contents.origin(data));
        match origin {
            Origin::Own => taken.record(shard, number, checksum(key, data)),
            Origin::Foreign => taken.foreign(shard, number),
            Origin::Wrong => taken.damaged(shard, number),
        }
        if self.kind != Kind::CatchUp {
            let is_own = origin == Origin::Own;
            let age = is_own.then(|| age_of((data, arrival_ms), self.contents.is_some(), self.core.clock, now_ns));
            let bytes = (key.len() + data.len()) as u64;
            self.ages.borrow_mut().add(age.flatten(), bytes, now_ns, &mut self.core.counts.borrow_mut());
        }
    }

    fn unreadable(&self, shard: ShardId, from: Number, reason: String) {
        if !self.is_over() {
            self.taken.borrow_mut().unreadable(shard, from, reason);
        }
    }

    fn asked(&self) {
        self.asked_ns.set(self.core.clock.now_ns());
    }

    fn answered(&self, bytes: u64) {
        let (now_ns, records) = (self.core.clock.now_ns(), self.records.take());
        let mut counts = self.core.counts.borrow_mut();
        self.ages.borrow_mut().flush(now_ns, &mut counts);
        if records == 0 {
            return;
        }
        self.heard.set(Instant::now());
        if self.counts_progress {
            self.core.shared.count_acked(records, bytes);
        }
        if self.kind == Kind::CatchUp {
            let asked_ns = self.asked_ns.get();
            let times = BatchTimes { intended_ns: asked_ns, sent_ns: asked_ns, acked_ns: now_ns };
            counts.caught_up.acknowledged(times, records, bytes);
        }
    }

    fn is_over(&self) -> bool {
        let follows_producers = self.kind == Kind::Pushed && !self.counts_progress;
        let is_stopped = self.core.stopped() && !follows_producers;
        self.is_over.get() || is_stopped || self.core.shared.is_long_interrupted()
    }
}

/// What a consumer's task needs.
#[derive(Clone)]
struct Work {
    asked: Asked,
    streams: Streams,
    after: Duration,
    begin: Place,
}

/// One core's consumers.
pub(super) struct Audience {
    consumers: Vec<Rc<Consumer>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What subscribers were given, and readers: each on its last look, and on the whole one before that.
type Took = (Vec<Taken>, Vec<(Taken, Option<Taken>)>);

impl Audience {
    /// Begins this core's share of the consumers.
    pub(super) fn begin(
        plan: &Plan,
        asked: &Asked,
        streams: &Streams,
        core: &Rc<Core>,
        contents: Option<&Contents>,
        place: &CorePlace<'_>,
    ) -> Self {
        let wanted = &plan.consumers;
        let is_read = plan.producers.is_empty() && wanted.by == By::Read;
        let begin = match asked.from {
            _ if !plan.producers.is_empty() => Place::Oldest,
            Begin::Latest => Place::Latest,
            Begin::Time(ms) => Place::Since { seconds: ms as f64 / 1000.0 },
            Begin::Oldest | Begin::Number(_) => Place::Oldest,
        };
        let work = Work { asked: asked.clone(), streams: streams.clone(), after: wanted.after, begin };
        let kind = if is_read { Kind::Follow } else { Kind::Pushed };
        let subscribers = (0..wanted.subscribers).map(|number| (kind, number));
        let readers = (0..wanted.catch_up).map(|number| (Kind::CatchUp, number));
        let share = |number: u32| number as usize % place.parts == place.part;
        let mut audience = Self { consumers: Vec::new(), tasks: Vec::new() };
        for (kind, number) in subscribers.chain(readers).filter(|(_, number)| share(*number)) {
            let consumer = Consumer::new(plan, core, contents, kind, number);
            audience.tasks.push(tokio::task::spawn_local(run(Rc::clone(&consumer), work.clone())));
            audience.consumers.push(consumer);
        }
        audience
    }

    /// Waits until each subscriber has all that was acknowledged on all cores, and returns what they were given. Where nobody
    /// produces, or wants to know, they end where they are, and soon after a person asks for the end.
    pub(super) async fn finish(self, plan: &Plan, core: &Core, tips: &Tips, cores: usize) -> Took {
        let is_held_against_account = !plan.producers.is_empty();
        let subscribers = || self.consumers.iter().filter(|consumer| consumer.kind == Kind::Pushed);
        if is_held_against_account && subscribers().next().is_some() {
            while core.shared.settled() < cores {
                sleep(LOOK).await;
            }
            let tips = tips.all();
            subscribers().for_each(|subscriber| subscriber.heard.set(Instant::now()));
            for subscriber in subscribers() {
                let is_silent = || subscriber.heard.get().elapsed() >= SILENCE_MAX;
                while !subscriber.has(&tips) && !is_silent() && !core.shared.is_given_up() {
                    sleep(LOOK).await;
                }
                if !subscriber.has(&tips) && core.shared.is_given_up() {
                    core.shared.leave_behind();
                }
                subscriber.is_over.set(true);
            }
        }
        self.consumers.iter().for_each(|consumer| consumer.is_over.set(true));
        for task in self.tasks {
            task.await.expect("a consumer does not panic");
        }
        let (mut subscribers, mut readers) = (Vec::new(), Vec::new());
        for consumer in self.consumers {
            let consumer = Rc::into_inner(consumer).expect("its tasks have ended");
            let taken = consumer.taken.into_inner();
            match consumer.kind {
                Kind::Pushed | Kind::Follow => subscribers.push(taken),
                Kind::CatchUp => readers.push((taken, consumer.earlier.into_inner())),
            }
        }
        (subscribers, readers)
    }
}

async fn run(consumer: Rc<Consumer>, work: Work) {
    sleep_unless(work.after, || consumer.is_over()).await;
    let pipe = Rc::new(Pipe::new(&work.asked.endpoint, consumer.number));
    let ended = match consumer.kind {
        Kind::Pushed => be_pushed(&consumer, &work, &pipe).await,
        Kind::Follow => follow(&consumer, &work, &pipe).await,
        Kind::CatchUp => catch_up(&consumer, &work, &pipe).await,
    };
    if let Err(error) = ended
        && !consumer.is_over()
    {
        consumer.lost(&error);
    }
}

fn cursors(work: &Work) -> Vec<Cursor> {
    let count = work.streams.shards.len() as u32;
    (0..count).map(|number| Cursor::new(ShardId(number), work.begin.clone())).collect()
}

/// Asks for what comes next, shard after shard.
async fn follow(consumer: &Consumer, work: &Work, pipe: &Pipe) -> Result<(), HttpError> {
    let mut cursors = cursors(work);
    while !consumer.is_over() && !cursors.is_empty() {
        let (next_look, mut has_moved, mut ended) = (Instant::now() + POLL, false, Vec::new());
        for cursor in &mut cursors {
            let seen = cursor.look(pipe, &work.streams, consumer).await?;
            has_moved |= seen == Seen::Some;
            if seen != Seen::Some {
                consumer.is_level(cursor.shard);
            }
            if seen == Seen::End {
                ended.push(cursor.shard);
            }
        }
        cursors.retain(|cursor| !ended.contains(&cursor.shard));
        while !has_moved && Instant::now() < next_look && !consumer.is_over() {
            sleep(LOOK).await;
        }
    }
    Ok(())
}

/// Reads everything there is, and begins again.
async fn catch_up(consumer: &Consumer, work: &Work, pipe: &Pipe) -> Result<(), HttpError> {
    while !consumer.is_over() {
        for cursor in cursors(work) {
            read_shard(pipe, &work.streams, cursor, consumer).await?;
        }
        if consumer.is_over() {
            return Ok(());
        }
        consumer.core.counts.borrow_mut().passes += 1;
        consumer.restart();
        // An empty stream is not asked for without end.
        sleep(POLL).await;
    }
    Ok(())
}

/// Registers itself with each stream, follows all shards, and takes itself off again.
async fn be_pushed(consumer: &Rc<Consumer>, work: &Work, pipe: &Rc<Pipe>) -> Result<(), HttpError> {
    let mut arns = Vec::new();
    let mut outcome = match register_with_all(consumer, work, pipe, &mut arns).await {
        Ok(true) => Ok(()),
        Ok(false) => {
            take_off(consumer, pipe, arns).await;
            return Ok(());
        }
        Err(error) => Err(error),
    };
    if outcome.is_ok() {
        let follow = |(number, shard): (u32, &super::streams::Shard)| {
            let (consumer, work, arn) = (Rc::clone(consumer), work.clone(), arns[shard.stream].clone());
            tokio::task::spawn_local(async move {
                let pipe = Pipe::new(&work.asked.endpoint, number);
                let (streams, place) = (&work.streams, work.begin.clone());
                let followed = Followed {
                    pipe: &pipe,
                    streams,
                    consumer_arn: &arn,
                    shard: ShardId(number),
                    place,
                    has_told: false,
                };
                followed.follow(&*consumer, |shard| consumer.is_level(shard)).await
            })
        };
        for task in (0..).zip(&work.streams.shards).map(follow).collect::<Vec<_>>() {
            outcome = outcome.and(task.await.expect("a subscription does not panic"));
        }
    }
    take_off(consumer, pipe, arns).await;
    outcome
}

/// Registers itself with each stream, and notes as whom, whether or not it comes to be active; `false` if nobody wants it any more.
async fn register_with_all(
    consumer: &Consumer,
    work: &Work,
    pipe: &Pipe,
    arns: &mut Vec<String>,
) -> Result<bool, HttpError> {
    let name = format!("millstream-load-{}-{}", std::process::id(), consumer.number);
    let is_unwanted = || consumer.is_over() || consumer.core.shared.is_interrupted();
    for stream in &work.streams.all {
        if consumer.is_over() {
            return Ok(false);
        }
        let mut arn = None;
        let registered = unless_over(register(pipe, &stream.arn, &name, &mut arn), is_unwanted).await;
        match (arn, &registered) {
            (Some(arn), _) => arns.push(arn),
            (
                None,
                None | Some(Err(HttpError::Silent { .. } | HttpError::Broken { .. } | HttpError::Garbage { .. })),
            ) => {
                consumer.may_be_left(&format!("{name} may be left on its stream {}", stream.name));
            }
            (None, _) => {}
        }
        match registered {
            Some(registered) => registered?,
            None => return Ok(false),
        }
    }
    Ok(true)
}

/// Takes itself off all these streams at once.
async fn take_off(consumer: &Rc<Consumer>, pipe: &Rc<Pipe>, arns: Vec<String>) {
    let begin = |arn: String| {
        let (consumer, pipe) = (Rc::clone(consumer), Rc::clone(pipe));
        tokio::task::spawn_local(async move {
            match unless_over(deregister(&pipe, &arn), || consumer.core.shared.is_interrupted()).await {
                Some(Ok(())) => {}
                Some(Err(error)) => consumer.may_be_left(&format!("{arn} may be left on its stream: {error}")),
                None => consumer.may_be_left(&format!("{arn} may be left on its stream")),
            }
        })
    };
    for task in arns.into_iter().map(begin).collect::<Vec<_>>() {
        task.await.expect("taking itself off does not panic");
    }
}
