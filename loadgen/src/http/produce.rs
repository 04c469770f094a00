//! Producing over HTTP, and reading meanwhile: a thread for each client core, each with its share of the connections.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use frame::limits::RECORD_BYTES_MAX;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, yield_now};
use tokio::{join, select};

use super::batch::{Batch, Ready, check_record_size, usual_records};
use super::consume::{Audience, Tips};
use super::pipe::Pipe;
use super::rows::feed;
use super::streams::Streams;
use super::unanswered::Unanswered;
use super::worker::{Job, Worker};
use super::{Asked, HttpError};
use crate::input::Rows;
use crate::native::{
    Core, CoreOutcome, CorePlace, Due, OpenLoop, Pace, Pacer, Plan, Produced, Producers, Shared, Stop, Turns, Waiting,
    follow, long_over, run_cores,
};
use crate::schedule::Schedule;
use crate::workload::{KEY_BYTES, Lane};

/// Times of an open loop that have come, and wait for a worker of one core, at most.
const TIMES_WAITING_MAX: usize = 1 << 18;

/// Bytes around a record in a body, about.
const AROUND_BYTES: usize = 32;

/// Runs as planned until it stops, and settles the fate of every record sent. A person's own rows are sent by the first core
/// alone.
pub fn produce(
    plan: &Plan,
    asked: &Asked,
    streams: &Streams,
    rows: Option<Box<Rows>>,
    shared: &Arc<Shared>,
) -> Result<Produced, HttpError> {
    let has_readers = plan.consumers.subscribers + plan.consumers.catch_up > 0;
    let read = streams.main();
    if let Some(stream) = read.all.iter().find(|stream| has_readers && !plan.producers.is_empty() && !stream.is_new) {
        return Err(HttpError::Beside { stream: stream.name.clone() });
    }
    // As many as the group that has the most connections.
    let connections = plan.producers.iter().map(|producers| producers.connections as usize).max();
    let connections = connections.unwrap_or(plan.cores.len());
    let cores = if rows.is_some() { 1 } else { plan.cores.len().min(connections) };
    let tips = Tips::new(streams.shards.len());
    let mut produced = run_cores(plan, &plan.cores[..cores], rows, shared, async |rows, place| {
        run_core(plan, asked, (streams, &read), (rows, &tips), shared, place).await
    })?;
    produced.shards_born = streams.grown().shards.len() - streams.shards.len();
    Ok::<_, HttpError>(produced)
}

async fn run_core(
    plan: &Plan,
    asked: &Asked,
    (streams, read): (&Streams, &Streams),
    (rows, tips): (Option<Box<Rows>>, &Tips),
    shared: &Arc<Shared>,
    place: &CorePlace<'_>,
) -> Result<CoreOutcome, HttpError> {
    let turns = Turns::default();
    let crews = Crew::connect_all(plan, asked, streams, (place, &turns)).await;
    let pacer = Pacer::new(&turns).map_err(HttpError::from);
    if crews.is_err() || pacer.is_err() {
        shared.stop(Stop::ConnectionsLost);
    }
    place.ready();
    let (crews, mut pacer) = (crews?, pacer?);
    let core = Rc::new(Core::begin(plan, shared, turns));
    core.until_begun().await;
    let contents = (rows.is_none() && !plan.producers.is_empty()).then(|| plan.contents());
    let audience = Audience::begin(plan, asked, read, &core, contents.as_ref(), place);
    let (tasks, input_error) = match rows {
        None => {
            let tasks: Vec<_> = crews.iter().map(|crew| Crew::write(crew, plan, &core)).collect();
            let loops = plan.producers.iter().zip(&crews);
            let loops = loops.filter_map(|(producers, crew)| CrewLoop::new(plan, producers, crew, place));
            follow(plan, &core, loops, &mut pacer, || crews.iter().all(|crew| crew.has_ended())).await;
            (tasks, Ok(None))
        }
        Some(rows) => {
            let tasks = Crew::write_ready(&crews[0], &core);
            let fed = feed(*rows, plan, &core, &crews[0], &mut pacer).await;
            (vec![tasks], fed)
        }
    };
    if input_error.is_err() {
        shared.stop(Stop::InputFault);
    }
    // All at once: none is to wait for the answers of another.
    let finish = |(crew, tasks): (Rc<Crew>, _)| {
        let core = Rc::clone(&core);
        tokio::task::spawn_local(async move { crew.finish(&core, tasks).await })
    };
    for finishing in crews.into_iter().zip(tasks).map(finish).collect::<Vec<_>>() {
        finishing.await.expect("waiting does not panic");
    }
    tips.add(&core.counts.borrow().ledger);
    shared.settle(place.part);
    let (subscribers, readers) = audience.finish(plan, &core, tips, place.parts).await;
    let counts = Rc::into_inner(core).expect("every task has ended").counts.into_inner();
    Ok(CoreOutcome { counts, subscribers, readers, input_error: input_error? })
}

/// One core's workers of a group of producers, and what they send.
pub(super) struct Crew {
    group: usize,
    asked: Asked,
    streams: Streams,
    pub(super) workers: Vec<Rc<Worker>>,
    pace: Pace,
    records_max: u32,
    /// How many a request has, on average.
    records_usual: f64,
    bytes_max: u64,
    pub(super) lane: RefCell<Lane>,
    /// Which of the streams is written next.
    turn: Cell<usize>,
    /// Times of an open loop that have come.
    due: RefCell<VecDeque<u64>>,
    /// One has, or the run has stopped.
    came: Notify,
    /// Workers that wait for one.
    idle: Cell<usize>,
    /// What was sent and no answer tells of.
    unanswered: RefCell<Unanswered>,
}

impl Crew {
    /// Makes this core's share of the connections of each group.
    async fn connect_all(
        plan: &Plan,
        asked: &Asked,
        streams: &Streams,
        place: (&CorePlace<'_>, &Turns),
    ) -> Result<Vec<Rc<Self>>, HttpError> {
        let (mut crews, mut first_number) = (Vec::new(), 0);
        for (group, producers) in plan.producers.iter().enumerate() {
            crews.push(Self::connect((group, producers), asked, streams, (first_number, place)).await?);
            first_number += producers.connections * asked.inflight(streams, group);
        }
        Ok(crews)
    }

    async fn connect(
        (group, producers): (usize, &Producers),
        asked: &Asked,
        streams: &Streams,
        (first_number, (place, turns)): (u32, (&CorePlace<'_>, &Turns)),
    ) -> Result<Rc<Self>, HttpError> {
        let each = asked.inflight(streams, group);
        let mut workers = Vec::new();
        for number in (0..producers.connections).skip(place.part).step_by(place.parts) {
            let pipe = Rc::new(Pipe::in_turns(&asked.endpoint, number, turns));
            pipe.open().await?;
            let worker = |at| Worker::new(group, first_number + number * each + at, Rc::clone(&pipe));
            workers.extend((0..each).map(worker));
        }
        check_record_size(KEY_BYTES, producers.recipe.largest())?;
        let records_max = asked.operation.records(producers.batch_records);
        Ok(Rc::new(Self {
            group,
            asked: asked.clone(),
            streams: streams.clone(),
            workers,
            pace: producers.pace,
            records_max,
            records_usual: usual_records(records_max, &mut producers.recipe.lane(place.part)),
            bytes_max: producers.bytes_max,
            lane: RefCell::new(producers.recipe.lane(place.part)),
            turn: Cell::new(place.part),
            due: RefCell::default(),
            came: Notify::new(),
            idle: Cell::new(0),
            unanswered: RefCell::default(),
        }))
    }

    pub(super) fn job(&self) -> Job<'_> {
        let Self { asked, streams, unanswered, pace, bytes_max, .. } = self;
        Job { asked, streams, unanswered, pace: *pace, bytes_max: *bytes_max }
    }

    /// Begins a request of about so many bytes to the next stream.
    pub(super) fn begin(&self, bytes: usize) -> Batch {
        let all = &self.streams.groups[self.group];
        let stream = all[self.turn.get() % all.len()];
        self.turn.set(self.turn.get() + 1);
        Batch::begin(self.asked.operation, self.asked.endpoint.wire, (stream, &self.streams.all[stream].name), bytes)
    }

    pub(super) fn has_room(&self, batch: &Batch, bytes: usize) -> bool {
        batch.has_room(self.records_max, bytes)
    }

    pub(super) fn close(&self, batch: Batch) -> Ready {
        batch.finish(&self.asked.endpoint)
    }

    /// Whether nobody sends any more.
    pub(super) fn has_ended(&self) -> bool {
        self.workers.iter().all(|worker| worker.has_ended())
    }

    /// Begins to write made-up records.
    fn write(crew: &Rc<Self>, plan: &Plan, core: &Rc<Core>) -> Vec<JoinHandle<()>> {
        let ahead = plan.builds_ahead();
        let begin = |worker: &Rc<Worker>| {
            let (crew, worker, core) = (Rc::clone(crew), Rc::clone(worker), Rc::clone(core));
            match crew.pace {
                Pace::Closed { .. } => tokio::task::spawn_local(write_closed(crew, worker, core, ahead)),
                Pace::Open { .. } | Pace::Replay { .. } => {
                    tokio::task::spawn_local(write_open(crew, worker, core, ahead))
                }
            }
        };
        crew.workers.iter().map(begin).collect()
    }

    /// Begins to write what is put in the workers' outboxes.
    fn write_ready(crew: &Rc<Self>, core: &Rc<Core>) -> Vec<JoinHandle<()>> {
        let begin = |worker: &Rc<Worker>| {
            let (crew, worker, core) = (Rc::clone(crew), Rc::clone(worker), Rc::clone(core));
            tokio::task::spawn_local(async move {
                while !core.stopped() {
                    let ready = worker.outbox.borrow_mut().pop_front();
                    let Some(ready) = ready else {
                        worker.wake.notified().await;
                        continue;
                    };
                    if !worker.send(crew.job(), &core, ready).await {
                        return;
                    }
                }
            })
        };
        crew.workers.iter().map(begin).collect()
    }

    /// Makes a request's records, all meant to be sent at a time of the run, if that is known.
    fn build(&self, core: &Core, intended_ns: Option<u64>) -> Ready {
        let mut lane = self.lane.borrow_mut();
        lane.intend(intended_ns.map(|ns| core.clock.wall_us(ns)));
        let each = (lane.largest().min(RECORD_BYTES_MAX) + KEY_BYTES).div_ceil(3) * 4 + AROUND_BYTES;
        let mut batch = self.begin(each * self.records_max.min(16) as usize);
        for _ in 0..self.records_max {
            let drawn = lane.draw();
            let record = lane.make(&drawn);
            batch.push(&record.key, record.data());
            if !batch.has_room(self.records_max, KEY_BYTES + lane.largest()) {
                break;
            }
        }
        self.close(batch)
    }

    /// A time has come. Whoever is idle takes it; if nobody is, it waits for an answer to one of the requests under way.
    fn hand_out(&self, core: &Core, due_ns: u64) {
        let waiting = self.due.borrow().len();
        if waiting >= self.idle.get() {
            core.counts.borrow_mut().groups[self.group].waited_for_credit += 1;
        }
        self.due.borrow_mut().push_back(due_ns);
        self.came.notify_one();
    }

    /// A batch that is to leave then.
    fn due(&self, due_ns: u64) -> Due {
        (due_ns, self.records_usual.round() as u64)
    }

    /// Waits for a time of an open loop; `None` to stop.
    async fn next_due(&self, core: &Core) -> Option<u64> {
        loop {
            if core.stopped() {
                // Its worker would be free now.
                let due_ns = self.due.borrow_mut().pop_front();
                due_ns.into_iter().for_each(|due_ns| core.unserved(self.group, self.due(due_ns), core.clock.now_ns()));
                return None;
            }
            if let Some(due_ns) = self.due.borrow_mut().pop_front() {
                return Some(due_ns);
            }
            self.idle.set(self.idle.get() + 1);
            self.came.notified().await;
            self.idle.set(self.idle.get() - 1);
        }
    }

    /// Waits for the answers that are still to come: each has its time, and less once a person asks for the end. What was due and
    /// never sent counts until then.
    async fn finish(&self, core: &Core, tasks: Vec<JoinHandle<()>>) {
        self.came.notify_waiters();
        self.workers.iter().for_each(|worker| worker.wake.notify_one());
        let mut answered = pin!(async {
            for task in tasks {
                task.await.expect("a worker does not panic");
            }
        });
        select! {
            () = &mut answered => {}
            () = long_over(|| core.shared.is_interrupted()) => {
                self.workers.iter().for_each(|worker| worker.given_up.notify_one());
                answered.await;
            }
        }
        let now_ns = core.clock.now_ns();
        let ready = self.workers.iter().flat_map(|worker| worker.outbox.take());
        let ready = ready.filter(|_| !matches!(self.pace, Pace::Closed { .. }));
        let ready = ready.map(|ready| (ready.intended_ns, ready.records.len() as u64));
        for due in self.due.take().into_iter().map(|due_ns| self.due(due_ns)).chain(ready) {
            core.unserved(self.group, due, now_ns);
        }
        let recorder = &mut core.counts.borrow_mut().groups[self.group].recorder;
        self.unanswered.take().tell(recorder, now_ns);
    }
}

/// A worker of a closed loop: sends whenever its last request is answered, and builds and signs the next `ahead`, while it waits
/// for that, so that the server does not wait for it.
async fn write_closed(crew: Rc<Crew>, worker: Rc<Worker>, core: Rc<Core>, ahead: bool) {
    let mut built = None;
    while !core.stopped() {
        let ready = built.take().unwrap_or_else(|| crew.build(&core, Some(core.clock.now_ns())));
        let build = async {
            // Not before this one is on its way.
            yield_now().await;
            ahead.then(|| crew.build(&core, None))
        };
        let (goes_on, next) = join!(worker.send(crew.job(), &core, ready), build);
        if !goes_on {
            return;
        }
        built = next;
    }
}

/// A worker of an open loop: builds and signs each request `ahead`, while it waits for a time, so that this makes none late.
/// Where somebody is to know when a record was meant to be sent, that is known before it is built.
async fn write_open(crew: Rc<Crew>, worker: Rc<Worker>, core: Rc<Core>, ahead: bool) {
    loop {
        let built = ahead.then(|| crew.build(&core, None));
        let Some(due_ns) = crew.next_due(&core).await else { return };
        let mut ready = built.unwrap_or_else(|| crew.build(&core, Some(due_ns)));
        ready.intended_ns = due_ns;
        if !worker.send(crew.job(), &core, ready).await {
            return;
        }
    }
}

/// One core's part of an open loop: whoever is idle takes the next time.
struct CrewLoop {
    crew: Rc<Crew>,
    schedule: Schedule,
    due_ns: u64,
}

impl CrewLoop {
    /// `None` of a closed loop, or without a connection.
    fn new(plan: &Plan, producers: &Producers, crew: &Rc<Crew>, place: &CorePlace<'_>) -> Option<Self> {
        let Pace::Open { records_per_s, arrivals } = producers.pace else { return None };
        let parts = place.parts.min(producers.connections as usize);
        if place.part >= parts {
            return None;
        }
        let (rate, seed) = (records_per_s / crew.records_usual, plan.schedule_seed(crew.group));
        let mut schedule = Schedule::new(arrivals, rate, seed, place.part as u64, parts as u64);
        let due_ns = schedule.next_of(1.0);
        Some(Self { crew: Rc::clone(crew), schedule, due_ns })
    }
}

impl OpenLoop for CrewLoop {
    fn group(&self) -> usize {
        self.crew.group
    }

    fn due(&self) -> Due {
        self.crew.due(self.due_ns)
    }

    fn hand_out(&mut self, core: &Core) {
        self.crew.hand_out(core, self.due_ns);
        self.pass_over(1);
    }

    fn stride(&self, until_ns: u64) -> u32 {
        self.schedule.stride(until_ns)
    }

    fn pass_over(&mut self, batches: u32) {
        self.due_ns = self.schedule.next_of(f64::from(batches));
    }

    fn waiting_max(&self) -> usize {
        TIMES_WAITING_MAX
    }

    /// What waits does so for whichever worker is free next: for the server as far as the workers do.
    fn waiting(&self, turn: u64, before: u64) -> Waiting {
        let workers = self.crew.workers.iter().filter(|worker| !worker.has_ended());
        share(self.crew.due.borrow().len(), workers.map(|worker| worker.for_server(turn)), before)
    }
}

/// Divides what waits among those who are to send it, each of whom waits for the server since a turn of the core, or does not.
fn share(batches: usize, workers: impl Iterator<Item = Option<u64>>, before: u64) -> Waiting {
    let (mut count, mut for_server, mut still) = (0, 0, 0);
    for since in workers {
        count += 1;
        for_server += usize::from(since.is_some());
        still += usize::from(since.is_some_and(|since| since <= before));
    }
    // Where nobody is left nothing of it is sent, whoever has the processor.
    let part = |part: usize| (batches * part).checked_div(count).unwrap_or(batches);
    Waiting { batches, for_server: part(for_server), still: part(still) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_does_so_for_the_server_as_far_as_workers_do() {
        let shares = |workers: &[Option<u64>]| {
            let Waiting { batches, for_server, still } = share(1000, workers.iter().copied(), 7);
            (batches, for_server, still)
        };
        assert_eq!(shares(&[None, Some(7), Some(8), Some(9)]), (1000, 750, 250));
        assert_eq!(shares(&[None; 3]), (1000, 0, 0), "each has an answer to read, or a request to make");
        assert_eq!(shares(&[]), (1000, 1000, 1000));
    }
}
