//! Readers beside the producers, or alone: those that begin at the oldest record again and again, and those that ask for
//! what comes next. Each has a connection of its own on one core.

use std::cell::{Cell, RefCell};
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use frame::{Sequence, ShardId, StreamId};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::core::{Core, SILENCE_MAX, sleep_unless};
use super::session::{Session, Sessions};
use super::socket::TcpStream;
use super::take::{Taker, Timing};
use super::walk::{Sink, follow_shards, read_shard};
use super::{By, NativeError, Place, Plan, Shard};
use crate::recorder::BatchTimes;
use crate::verify::Taken;
use crate::workload::Contents;

/// How long a reader that has everything waits before it asks again.
const LEVEL_WAIT: Duration = Duration::from_millis(10);

/// What a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Everything from the oldest record on, again and again.
    CatchUp,
    /// What comes, from where this run begins.
    Follow,
}

/// One reader.
pub(super) struct Reader {
    kind: Kind,
    core: Rc<Core>,
    streams: RefCell<Vec<Rc<TcpStream>>>,
    taker: RefCell<Taker>,
    counts_progress: bool,
    /// What the last whole look at everything was given.
    earlier: RefCell<Option<Taken>>,
}

/// Its answers over one connection at a time.
struct Asking {
    reader: Rc<Reader>,
    /// When the answer under way was asked for.
    asked_ns: Cell<u64>,
    /// Records since.
    records: Cell<u64>,
}

/// What a reader was given: on its last look, and on the whole one before that, if it looked again and again.
#[derive(Debug)]
pub(super) struct ReaderTook {
    pub(super) taken: Taken,
    pub(super) earlier: Option<Taken>,
}

/// A reader at work.
pub(super) struct Reading {
    reader: Rc<Reader>,
    task: JoinHandle<()>,
}

impl Reading {
    /// Begins to read.
    pub(super) fn begin(
        plan: &Plan,
        core: &Rc<Core>,
        contents: Option<&Contents>,
        (kind, number): (Kind, u32),
    ) -> Self {
        let timing = if kind == Kind::Follow { Timing::Age } else { Timing::None };
        let reader = Rc::new(Reader {
            kind,
            core: Rc::clone(core),
            streams: RefCell::default(),
            taker: RefCell::new(new_taker(plan, core, contents, timing)),
            counts_progress: plan.producers.is_empty(),
            earlier: RefCell::default(),
        });
        let task = tokio::task::spawn_local(run(Rc::clone(&reader), plan.clone(), number));
        Self { reader, task }
    }

    /// Waits for its last answer, unless nobody wants to know; what it was given of its kind.
    pub(super) async fn finish(self) -> ReaderTook {
        let shared = &self.reader.core.shared;
        sleep_unless(SILENCE_MAX, || self.task.is_finished() || shared.is_cut()).await;
        if !self.task.is_finished() {
            for stream in &*self.reader.streams.borrow() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        self.task.await.expect("a reader does not panic");
        let reader = Rc::into_inner(self.reader).expect("its task has ended");
        ReaderTook { taken: reader.taker.into_inner().taken, earlier: reader.earlier.into_inner() }
    }
}

fn new_taker(plan: &Plan, core: &Core, contents: Option<&Contents>, timing: Timing) -> Taker {
    let taken = Taken::new(plan.consumed_shards(), plan.is_shared || plan.producers.is_empty());
    let taker = Taker::new(contents.cloned(), timing, core.clock, taken);
    match timing {
        Timing::Age => taker,
        Timing::None => taker.with_earlier(firsts(plan)),
    }
}

/// Where this run begins in each shard.
fn firsts(plan: &Plan) -> impl Iterator<Item = (ShardId, Sequence)> {
    let shards = plan.consumers.streams.iter().flat_map(|stream| &stream.shards);
    shards.map(|shard| (shard.id, shard.first))
}

async fn run(reader: Rc<Reader>, plan: Plan, number: u32) {
    sleep_unless(plan.consumers.after, || reader.is_over()).await;
    let ended = match reader.kind {
        Kind::CatchUp => catch_up(&reader, &plan).await,
        Kind::Follow => follow(&reader, &plan).await,
    };
    if let Err(error) = ended
        && !reader.is_over()
    {
        let name = if reader.kind == Kind::CatchUp { "catch-up reader" } else { "reader" };
        reader.core.counts.borrow_mut().lost.push(format!("{name} {number}: {error}"));
        reader.core.shared.count_gone();
    }
}

/// Reads everything there is, and begins again, over new connections.
async fn catch_up(reader: &Rc<Reader>, plan: &Plan) -> Result<(), NativeError> {
    while !reader.is_over() {
        reader.streams.borrow_mut().clear();
        match plan.consumers.by {
            By::Read => read_all(reader, plan).await?,
            By::Push => follow_all(reader, plan).await?,
        }
        if reader.is_over() {
            return Ok(());
        }
        reader.core.counts.borrow_mut().passes += 1;
        reader.restart();
        // An empty stream is not asked for without end.
        sleep(LEVEL_WAIT).await;
    }
    Ok(())
}

/// Reads shard after shard.
async fn read_all(reader: &Rc<Reader>, plan: &Plan) -> Result<(), NativeError> {
    let (asking, mut sessions) = (Asking::new(reader), Sessions::new(plan.target.clone()));
    for (address, stream, shard) in plan.target.shards(&plan.consumers.streams) {
        let session = sessions.at(address).await?;
        reader.note(session);
        read_shard(session, (stream, shard.id, shard.oldest), &asking).await?;
    }
    sessions.close();
    Ok(())
}

/// Has all shards pushed, those of each owner over a connection of its own.
async fn follow_all(reader: &Rc<Reader>, plan: &Plan) -> Result<(), NativeError> {
    let owners = plan.target.by_owner(&plan.consumers.streams).into_iter();
    let follow = |(address, shards): (SocketAddr, Vec<(StreamId, Shard)>)| {
        let (asking, target) = (Asking::new(reader), plan.target.clone());
        let places = shards.into_iter().map(|(stream, shard)| (stream, shard.id, shard.oldest)).collect();
        tokio::task::spawn_local(async move {
            let (mut session, _) = Session::open_at(&target, address).await?;
            asking.reader.note(&session);
            follow_shards(&mut session, places, &asking).await?;
            session.close();
            Ok(())
        })
    };
    let mut outcome = Ok(());
    for task in owners.map(follow).collect::<Vec<_>>() {
        outcome = outcome.and(task.await.expect("a reader does not panic"));
    }
    outcome
}

/// Asks for what comes next, shard after shard.
async fn follow(reader: &Rc<Reader>, plan: &Plan) -> Result<(), NativeError> {
    let streams = &plan.consumers.streams;
    let place = |(address, stream, shard): (SocketAddr, StreamId, Shard)| (address, (stream, shard.id, shard.first));
    let mut places: Vec<(SocketAddr, Place)> = plan.target.shards(streams).map(place).collect();
    let tips: Vec<Sequence> = streams.iter().flat_map(|stream| stream.shards.iter().map(|shard| shard.tip)).collect();
    let (asking, mut sessions) = (Asking::new(reader), Sessions::new(plan.target.clone()));
    let mut is_level = false;
    while !reader.is_over() {
        let mut has_moved = false;
        for (address, place) in &mut places {
            let session = sessions.at(*address).await?;
            reader.note(session);
            let next = read_shard(session, *place, &asking).await?;
            has_moved |= next > place.2;
            place.2 = next;
        }
        if !is_level && places.iter().zip(&tips).all(|((_, place), &tip)| place.2 >= tip) {
            is_level = true;
            reader.core.shared.count_at_the_tip();
        }
        if !has_moved {
            sleep(LEVEL_WAIT).await;
        }
    }
    sessions.close();
    Ok(())
}

impl Reader {
    /// Holds what was taken against the look before.
    fn restart(&self) {
        let (mut taker, mut earlier) = (self.taker.borrow_mut(), self.earlier.borrow_mut());
        if let Some(earlier) = &*earlier {
            taker.taken.misses(earlier);
        }
        *earlier = Some(taker.taken.restart());
    }

    /// Notes a connection, to end it if it falls silent.
    fn note(&self, session: &Session) {
        let mut streams = self.streams.borrow_mut();
        if !streams.iter().any(|stream| Rc::ptr_eq(stream, &session.stream)) {
            streams.push(Rc::clone(&session.stream));
        }
    }

    fn is_over(&self) -> bool {
        self.core.stopped()
    }
}

impl Asking {
    fn new(reader: &Rc<Reader>) -> Self {
        Self { reader: Rc::clone(reader), asked_ns: Cell::default(), records: Cell::default() }
    }
}

impl Sink for Asking {
    fn take(&self, shard: ShardId, frame: &[u8]) -> Result<u64, String> {
        self.records.set(self.records.get() + 1);
        let core = &self.reader.core;
        let (now_ns, mut counts) = (core.clock.now_ns(), core.counts.borrow_mut());
        self.reader.taker.borrow_mut().take(shard, frame, now_ns, &mut counts)
    }

    fn lost(&self, shard: ShardId, numbers: Range<Sequence>) {
        if !self.is_over() {
            self.reader.taker.borrow_mut().taken.lost(shard, numbers);
        }
    }

    fn unreadable(&self, shard: ShardId, from: Sequence, reason: String) {
        if !self.is_over() {
            self.reader.taker.borrow_mut().taken.unreadable(shard, from, reason);
        }
    }

    fn asked(&self) {
        self.asked_ns.set(self.reader.core.clock.now_ns());
    }

    fn answered(&self, bytes: u64) {
        let (reader, core) = (&self.reader, &self.reader.core);
        let (now_ns, records) = (core.clock.now_ns(), self.records.take());
        let mut counts = core.counts.borrow_mut();
        reader.taker.borrow_mut().flush(now_ns, &mut counts);
        if reader.counts_progress {
            core.shared.count_acked(records, bytes);
        }
        if reader.kind == Kind::CatchUp && records > 0 {
            let asked_ns = self.asked_ns.get();
            let times = BatchTimes { intended_ns: asked_ns, sent_ns: asked_ns, acked_ns: now_ns };
            counts.caught_up.acknowledged(times, records, bytes);
        }
    }

    fn is_over(&self) -> bool {
        self.reader.is_over()
    }
}
