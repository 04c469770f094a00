//! Subscribers beside the producers: each has every shard of the run pushed to it over a connection of its own to each of
//! their owners, from its first record on, and keeps an account of what it is given.
//!
//! They end when they have all that was acknowledged, or are pushed nothing for long. Where nobody produces they end where
//! the run does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use frame::proto::{Client, ClientEvent, ErrorCode, Read, ReadResult, Start, Subscribe};
use frame::{RequestId, Sequence, ShardId, StreamId};
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::catch_up::{Kind, ReaderTook, Reading};
use super::core::{Core, SILENCE_MAX, sleep_unless};
use super::session::{Received, Session};
use super::shared::Shared;
use super::socket::TcpStream;
use super::take::{Taker, Timing};
use super::walk::{THROTTLED_WAIT, passes_by_itself};
use super::{By, NativeError, Plan, Shard};
use crate::verify::Taken;
use crate::workload::Contents;

/// Bytes that may be on their way over one connection, of all its shards; but the least of one shard.
const CREDIT_BYTES: u64 = 8 << 20;
const SHARD_CREDIT_BYTES_MIN: u64 = 64 << 10;

/// How often the end of the producers is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// One shard that is pushed.
#[derive(Debug)]
pub(super) struct Followed {
    stream: StreamId,
    pub(super) shard: ShardId,
    /// What comes next.
    pub(super) next: Sequence,
    /// Bytes of frames granted and pushed, and what is granted at once.
    granted: u64,
    pushed: u64,
    window: u64,
}

impl Followed {
    /// Subscribes to each of `shards` from the number with it on.
    pub(super) fn begin(
        client: &mut Client,
        out: &mut Vec<u8>,
        shards: impl ExactSizeIterator<Item = (StreamId, ShardId, Sequence)>,
    ) -> BTreeMap<RequestId, Followed> {
        let granted = (CREDIT_BYTES / shards.len().max(1) as u64).max(SHARD_CREDIT_BYTES_MIN);
        let begin = |(stream, shard, next)| {
            let subscribe = Subscribe { stream, shard, start: Start::At(next), granted };
            let request = client.subscribe(out, &subscribe);
            (request, Followed { stream, shard, next, granted, pushed: 0, window: granted })
        };
        shards.map(begin).collect()
    }

    /// Subscribes again to what comes next, as the shard moved to another reactor, or what came before it is damaged.
    pub(super) fn go_on(self, client: &mut Client, out: &mut Vec<u8>) -> (RequestId, Followed) {
        let Followed { stream, shard, next, window, .. } = self;
        let subscribe = Subscribe { stream, shard, start: Start::At(next), granted: window };
        (client.subscribe(out, &subscribe), Followed { granted: window, pushed: 0, ..self })
    }

    /// A push with so many bytes of frames was taken. More is granted when half of what was is used up.
    pub(super) fn took(&mut self, request: RequestId, result: &ReadResult, bytes: usize, out: &mut Vec<u8>) {
        self.next = self.next.max(result.next);
        self.pushed += bytes as u64;
        if self.granted - self.pushed.min(self.granted) < self.window / 2 {
            self.granted = self.pushed + self.window;
            Client::grant(out, request, self.granted);
        }
    }
}

/// One connection of a subscriber.
struct Subscriber {
    number: u32,
    stalled: bool,
    /// Where it goes, and what it is pushed from there.
    address: SocketAddr,
    shards: Vec<(StreamId, Shard)>,
    /// What all connections of the subscriber were given.
    taker: Rc<RefCell<Taker>>,
    /// Whether what it takes is what the run does, for nobody produces.
    counts_progress: bool,
    stream: RefCell<Option<Rc<TcpStream>>>,
    state: RefCell<State>,
    /// Whoever writes holds it.
    writing: Mutex<()>,
    /// Something came, or the connection ended.
    progress: Notify,
}

struct State {
    client: Client,
    followed: BTreeMap<RequestId, Followed>,
    /// The push that is arriving, and bytes of its frames so far.
    arriving: Option<(RequestId, ReadResult, usize)>,
    /// Where each shard ends, once asked for; by which requests; and which are to be asked for.
    tips: BTreeMap<ShardId, Sequence>,
    asked: BTreeMap<RequestId, (StreamId, ShardId)>,
    to_ask: Vec<(StreamId, ShardId)>,
    /// Shards that are not where they were at the start yet, where that ends the run.
    behind: Option<usize>,
    ended: bool,
}

/// One core's consumers.
pub(super) struct Audience {
    subscribers: Vec<Rc<Subscriber>>,
    tasks: Vec<JoinHandle<()>>,
    followers: Vec<Reading>,
    readers: Vec<Reading>,
}

/// What one core's consumers were given.
#[derive(Debug, Default)]
pub(super) struct AudienceTook {
    pub(super) subscribers: Vec<Taken>,
    pub(super) readers: Vec<ReaderTook>,
}

impl Audience {
    /// Begins this core's share of the consumers.
    pub(super) fn begin(
        plan: &Plan,
        core: &Rc<Core>,
        contents: Option<&Contents>,
        (part, parts): (usize, usize),
    ) -> Audience {
        let asked = &plan.consumers;
        let mut audience =
            Audience { subscribers: Vec::new(), tasks: Vec::new(), followers: Vec::new(), readers: Vec::new() };
        let is_read = plan.producers.is_empty() && asked.by == By::Read;
        for number in (0..asked.subscribers + asked.stalled).skip(part).step_by(parts) {
            let is_stalled = number >= asked.subscribers;
            if is_read && !is_stalled {
                audience.followers.push(Reading::begin(plan, core, contents, (Kind::Follow, number)));
                continue;
            }
            let taken = Taken::new(plan.consumed_shards(), plan.is_shared || plan.producers.is_empty());
            let taker = Taker::new(contents.cloned(), Timing::Age, core.clock, taken);
            let taker = Rc::new(RefCell::new(taker));
            for owned in plan.target.by_owner(&asked.streams) {
                let subscriber = Rc::new(Subscriber::new(plan, (number, is_stalled), owned, Rc::clone(&taker)));
                let run = run(Rc::clone(&subscriber), plan.clone(), Rc::clone(core));
                audience.tasks.push(tokio::task::spawn_local(run));
                audience.subscribers.push(subscriber);
            }
        }
        for number in (0..asked.catch_up).skip(part).step_by(parts) {
            audience.readers.push(Reading::begin(plan, core, contents, (Kind::CatchUp, number)));
        }
        audience
    }

    /// Waits until each subscriber has all that was acknowledged on all cores, and returns what they were given. Where nobody
    /// produces, or wants to know, they end where they are, and soon after a person asks for the end.
    pub(super) async fn finish(self, plan: &Plan, core: &Core, cores: usize) -> AudienceTook {
        let is_held_against_account = !plan.producers.is_empty();
        while is_held_against_account && !self.subscribers.is_empty() && core.shared.settled() < cores {
            sleep(LOOK).await;
        }
        // All at once: where a server has fallen silent, it has to everybody.
        let level = |subscriber: &Rc<Subscriber>| {
            let (subscriber, shared) = (Rc::clone(subscriber), Arc::clone(&core.shared));
            tokio::task::spawn_local(async move {
                let level = if is_held_against_account { subscriber.become_level(&shared).await } else { Ok(()) };
                subscriber.shut_down();
                level.map_err(|reason| format!("subscriber {}: {reason}", subscriber.number))
            })
        };
        let levels: Vec<_> = self.subscribers.iter().map(level).collect();
        for level in levels {
            if let Err(reason) = level.await.expect("waiting does not panic") {
                core.counts.borrow_mut().lost.push(reason);
            }
        }
        for task in self.tasks {
            task.await.expect("a subscriber's task does not panic");
        }
        let given = self.subscribers.into_iter().filter(|subscriber| !subscriber.stalled);
        let takers: BTreeMap<u32, _> =
            given.map(|subscriber| (subscriber.number, Rc::clone(&subscriber.taker))).collect();
        let taken = |taker: Rc<RefCell<Taker>>| {
            Rc::into_inner(taker).map(RefCell::into_inner).expect("its tasks have ended").taken
        };
        let mut took = AudienceTook { subscribers: takers.into_values().map(taken).collect(), readers: Vec::new() };
        for follower in self.followers {
            took.subscribers.push(follower.finish().await.taken);
        }
        for reader in self.readers {
            took.readers.push(reader.finish().await);
        }
        took
    }
}

/// Subscribes, and takes what is pushed until the connection is shut down.
async fn run(subscriber: Rc<Subscriber>, plan: Plan, core: Rc<Core>) {
    sleep_unless(plan.consumers.after, || subscriber.state.borrow().ended).await;
    let begun = subscriber.begin(&plan).await;
    if subscriber.state.borrow().ended {
        // Nobody waits for it any more.
        return subscriber.shut_down();
    }
    let ended = match begun {
        Ok(received) if subscriber.stalled => {
            drop(received);
            return;
        }
        Ok(received) => subscriber.take_all(&core, received).await,
        Err(error) => error.to_string(),
    };
    let was_over = std::mem::replace(&mut subscriber.state.borrow_mut().ended, true);
    if !was_over {
        core.counts.borrow_mut().lost.push(format!("subscriber {}: {ended}", subscriber.number));
        core.shared.count_gone();
    }
    subscriber.progress.notify_one();
}

impl Subscriber {
    fn new(
        plan: &Plan,
        (number, stalled): (u32, bool),
        (address, owned): (SocketAddr, Vec<(StreamId, Shard)>),
        taker: Rc<RefCell<Taker>>,
    ) -> Self {
        let shards = || owned.iter().map(|(_, shard)| shard);
        let state = State {
            client: Client::new(&mut Vec::new()),
            followed: BTreeMap::new(),
            arriving: None,
            tips: shards().filter(|_| plan.consumers.to_the_tip).map(|shard| (shard.id, shard.tip)).collect(),
            asked: BTreeMap::new(),
            to_ask: Vec::new(),
            behind: plan.consumers.to_the_tip.then(|| shards().filter(|shard| shard.first < shard.tip).count()),
            ended: false,
        };
        Self {
            number,
            stalled,
            address,
            shards: owned,
            taker,
            counts_progress: plan.producers.is_empty(),
            stream: RefCell::default(),
            state: RefCell::new(state),
            writing: Mutex::new(()),
            progress: Notify::new(),
        }
    }

    async fn begin(&self, plan: &Plan) -> Result<Received, NativeError> {
        let (mut session, _) = Session::open_at(&plan.target, self.address).await?;
        let mut out = Vec::new();
        let shards = self.shards.iter().map(|&(stream, shard)| (stream, shard.id, shard.first));
        let followed = Followed::begin(&mut session.client, &mut out, shards);
        session.send(out).await?;
        let mut state = self.state.borrow_mut();
        (state.client, state.followed) = (session.client, followed);
        *self.stream.borrow_mut() = Some(session.stream);
        Ok(session.received)
    }

    /// Takes events until the connection ends; why it did.
    async fn take_all(&self, core: &Core, mut received: Received) -> String {
        let Some(stream) = self.stream.borrow().clone() else { return "it is not connected".to_owned() };
        loop {
            let mut out = core.spare_buffer();
            out.clear();
            if let Err(reason) = self.take_events(core, &received, &mut out) {
                return reason;
            }
            self.progress.notify_one();
            if !out.is_empty() {
                let writing = self.writing.lock().await;
                let (written, buffer) = stream.write_all(out).await;
                drop(writing);
                if let Err(error) = written {
                    return format!("sending failed: {error}");
                }
                out = buffer;
            }
            core.keep_buffer(out);
            let (read, buffer) = stream.read(received.buffer).await;
            received = Received { buffer, filled: 0, at: 0 };
            match read {
                Ok(0) => return "the server closed it".to_owned(),
                Ok(bytes) => received.filled = bytes,
                Err(error) => return format!("receiving failed: {error}"),
            }
        }
    }

    fn take_events(&self, core: &Core, received: &Received, out: &mut Vec<u8>) -> Result<(), String> {
        let (input, mut at) = (&received.buffer[..received.filled], received.at);
        let now_ns = core.clock.now_ns();
        let (mut state, mut counts) = (self.state.borrow_mut(), core.counts.borrow_mut());
        let (state, mut taker) = (&mut *state, self.taker.borrow_mut());
        let (mut records, mut bytes) = (0, 0);
        while let Some(event) = state.client.step(input, &mut at).map_err(|violation| violation.to_string())? {
            match event {
                ClientEvent::ReadBegin(request, result) => state.arriving = Some((request, result, 0)),
                ClientEvent::Record(span) => {
                    let Some((_, result, frames_bytes)) = &mut state.arriving else {
                        return Err("a record of nothing".to_owned());
                    };
                    let frame = state.client.bytes(&span, input);
                    *frames_bytes += frame.len();
                    bytes += taker.take(result.shard, frame, now_ns, &mut counts)?;
                    records += 1;
                }
                ClientEvent::ReadEnd(_) => state.end_push(out),
                ClientEvent::Credit => {}
                ClientEvent::Error(RequestId(0), failure) => return Err(failure.to_string()),
                ClientEvent::Error(request, failure) => match (state.followed.remove(&request), &failure.damaged) {
                    (Some(followed), _) if failure.code == ErrorCode::Resharding => {
                        state.followed.extend([followed.go_on(&mut state.client, out)]);
                    }
                    (Some(followed), Some(numbers)) => {
                        taker.taken.lost(followed.shard, numbers.clone());
                        state.go_on_at(followed, numbers.end, out);
                    }
                    (Some(followed), None) => {
                        state.gives_up(&followed);
                        taker.taken.unreadable(followed.shard, followed.next, failure.to_string());
                    }
                    (None, _) => match state.asked.remove(&request) {
                        Some(shard) if passes_by_itself(&failure) => state.to_ask.push(shard),
                        _ => return Err(failure.to_string()),
                    },
                },
                other => return Err(format!("the server answered what was not asked: {other:?}")),
            }
        }
        taker.flush(now_ns, &mut counts);
        if self.counts_progress {
            core.shared.count_acked(records, bytes);
        }
        if state.behind == Some(0) {
            state.behind = None;
            core.shared.count_at_the_tip();
        }
        Ok(())
    }

    /// Asks where the shards end, and waits until all was pushed, or nobody wants to know.
    async fn become_level(&self, shared: &Shared) -> Result<(), String> {
        if self.stalled {
            return Ok(());
        }
        let mut asked = false;
        let asks_until = Instant::now() + SILENCE_MAX;
        loop {
            let stream = self.stream.borrow().clone();
            if let Some(stream) = stream {
                if !std::mem::replace(&mut asked, true) {
                    self.state.borrow_mut().ask_for_all_tips();
                } else if !self.state.borrow().to_ask.is_empty() {
                    if Instant::now() > asks_until {
                        return Err(format!("where its shards end was not told for {} s", SILENCE_MAX.as_secs()));
                    }
                    sleep(THROTTLED_WAIT).await;
                }
                let out = self.state.borrow_mut().ask_for_tips();
                let _writing = self.writing.lock().await;
                let (written, _) = stream.write_all(out).await;
                written.map_err(|error| format!("sending failed: {error}"))?;
            }
            if asked && self.state.borrow().is_level() || self.state.borrow().ended {
                return Ok(());
            }
            if shared.is_given_up() {
                shared.leave_behind();
                return Ok(());
            }
            let silent_since = Instant::now();
            while timeout(LOOK, self.progress.notified()).await.is_err() && !shared.is_given_up() {
                if silent_since.elapsed() >= SILENCE_MAX {
                    return Err(format!("nothing was pushed for {} s, and not all was", SILENCE_MAX.as_secs()));
                }
            }
        }
    }

    fn shut_down(&self) {
        self.state.borrow_mut().ended = true;
        if let Some(stream) = &*self.stream.borrow() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn end_push(&mut self, out: &mut Vec<u8>) {
        let Some((request, result, bytes)) = self.arriving.take() else { return };
        if let Some(followed) = self.followed.get_mut(&request) {
            let before = followed.next;
            followed.took(request, &result, bytes, out);
            let next = followed.next;
            self.came(result.shard, before..next);
        } else if self.asked.remove(&request).is_some() {
            self.tips.insert(result.shard, result.tip);
        }
    }

    /// A shard has come so much further.
    fn came(&mut self, shard: ShardId, numbers: Range<Sequence>) {
        if let Some(behind) = &mut self.behind {
            let tip = self.tips.get(&shard).copied().unwrap_or_default();
            *behind -= usize::from(numbers.start < tip && numbers.end >= tip);
        }
    }

    /// A shard goes on behind what is damaged.
    fn go_on_at(&mut self, mut followed: Followed, next: Sequence, out: &mut Vec<u8>) {
        let before = std::mem::replace(&mut followed.next, next);
        self.came(followed.shard, before..next);
        self.followed.extend([followed.go_on(&mut self.client, out)]);
    }

    /// A shard of which nothing more comes is waited for no longer.
    fn gives_up(&mut self, followed: &Followed) {
        if let Some(behind) = &mut self.behind {
            let tip = self.tips.get(&followed.shard).copied().unwrap_or_default();
            *behind -= usize::from(followed.next < tip);
        }
    }

    /// Where every shard ends is to be asked for.
    fn ask_for_all_tips(&mut self) {
        self.to_ask = self.followed.values().map(|followed| (followed.stream, followed.shard)).collect();
    }

    /// A read of what comes after the newest record of each shard that is to be asked for.
    fn ask_for_tips(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for (stream, shard) in std::mem::take(&mut self.to_ask) {
            let read = Read { stream, shard, start: Start::Latest, bytes_max: 0 };
            self.asked.insert(self.client.read(&mut out, &read), (stream, shard));
        }
        out
    }

    fn is_level(&self) -> bool {
        let mut followed = self.followed.values();
        followed.all(|followed| self.tips.get(&followed.shard).is_some_and(|&tip| followed.next >= tip))
    }
}
