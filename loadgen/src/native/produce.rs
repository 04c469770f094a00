//! Producing: a thread for each client core, each with its share of the connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use frame::StreamId;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::core::{Clock, Core, Counts};
use super::feed::feed;
use super::link::{Link, receive};
use super::pace::Pacer;
use super::runtime::run_here;
use super::shared::{Shared, Stop};
use super::subscribe::Group;
use super::{NativeError, Pace, Plan, Produced, Pushed, Source, all_shards};
use crate::input::{InputError, Rows};
use crate::recorder::Recorder;
use crate::schedule::{Lateness, Schedule};
use crate::verify::{Ledger, Shards, Taken};
use crate::workload::{KEY_BYTES, Lane, Recipe};

/// How long acknowledgements are waited for after the last batch, as long as none comes.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How often a core looks at the clock and the stop sign while its connections work.
const LOOK: Duration = Duration::from_millis(10);

/// What one core came to.
struct CoreOutcome {
    counts: Counts,
    /// What each of its subscribers was given.
    taken: Vec<Taken>,
    input_error: Option<InputError>,
}

/// What one core writes.
enum CoreSource {
    Generated(Recipe),
    Rows(Box<Rows>, Recipe),
}

/// Produces as planned until the run stops, and settles the fate of every record sent.
///
/// A person's own rows are produced by the first core alone: one reader keeps them in order.
pub fn produce(plan: &Plan, source: Source, shared: &Arc<Shared>) -> Result<Produced, NativeError> {
    let (mut sources, cores) = match source {
        Source::Generated(recipe) => {
            let cores = &plan.cores[..plan.cores.len().min(plan.connections as usize)];
            (cores.iter().map(|_| CoreSource::Generated(recipe.clone())).collect::<Vec<_>>(), cores)
        }
        Source::Rows(rows, recipe) => (vec![CoreSource::Rows(rows, recipe)], &plan.cores[..1]),
    };
    let rows_out_of_order = match &sources[0] {
        CoreSource::Rows(rows, _) => Some(rows.out_of_order_counter()),
        CoreSource::Generated(_) => None,
    };
    let ready = Barrier::new(cores.len());
    let outcomes: Vec<Result<CoreOutcome, NativeError>> = thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .enumerate()
            .map(|(part, &core)| {
                let source = sources.remove(0);
                let place = CorePlace { part, parts: cores.len(), ready: &ready };
                let run = move || {
                    let run = run_here(core, run_core(plan, source, shared, &place));
                    run.unwrap_or_else(|error| {
                        // Without its ring the core never came to the barrier.
                        shared.stop(Stop::ConnectionsLost);
                        place.ready.wait();
                        Err(error)
                    })
                };
                thread::Builder::new().name(format!("load-{core}")).spawn_scoped(scope, run)
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread {
                Ok(thread) => thread.join().expect("a core's thread does not panic"),
                Err(source) => Err(NativeError::Thread(source)),
            })
            .collect()
    });
    shared.finish();
    let mut produced = merge(plan, outcomes, shared)?;
    produced.rows_out_of_order = rows_out_of_order.map_or(0, |count| count.load(Ordering::Relaxed));
    Ok(produced)
}

fn merge(
    plan: &Plan,
    outcomes: Vec<Result<CoreOutcome, NativeError>>,
    shared: &Shared,
) -> Result<Produced, NativeError> {
    let mut produced = Produced {
        recorder: new_recorder(plan),
        ledger: new_ledger(plan),
        lateness: Lateness::default(),
        batches: 0,
        waited_for_credit: 0,
        lost: Vec::new(),
        stop: shared.stopped().unwrap_or(Stop::ConnectionsLost),
        pushed: None,
        input_error: None,
        rows_out_of_order: 0,
    };
    let (mut pushed, mut all_taken) = (new_recorder(plan), Vec::new());
    if let Some(common) = shared.take_ledger() {
        produced.ledger.merge(common);
    }
    for outcome in outcomes {
        let CoreOutcome { counts, taken, input_error } = outcome?;
        pushed.merge(counts.pushed);
        all_taken.extend(taken);
        produced.recorder.merge(counts.recorder);
        produced.ledger.merge(counts.ledger);
        produced.lateness.merge(&counts.lateness);
        produced.batches += counts.batches;
        produced.waited_for_credit += counts.waited_for_credit;
        produced.lost.extend(counts.lost);
        produced.input_error = produced.input_error.or(input_error);
    }
    if plan.subscribers.count > 0 {
        let records = all_taken.iter().map(Taken::count).sum();
        let faults = all_taken.into_iter().map(|taken| taken.compare(&produced.ledger)).collect();
        produced.pushed = Some(Pushed { recorder: pushed, records, faults });
    }
    Ok(produced)
}

fn new_recorder(plan: &Plan) -> Recorder {
    let end_ns = plan.duration.map_or(u64::MAX, |duration| duration.as_nanos() as u64);
    Recorder::new(plan.warmup.as_nanos() as u64, end_ns)
}

fn new_ledger(plan: &Plan) -> Ledger {
    let shards = all_shards(&plan.streams).map(|(_, shard, _)| shard);
    Ledger::new(Shards::new(shards.collect()))
}

/// Which of the cores this is, and where they wait for one another.
struct CorePlace<'a> {
    part: usize,
    parts: usize,
    ready: &'a Barrier,
}

async fn run_core(
    plan: &Plan,
    source: CoreSource,
    shared: &Arc<Shared>,
    place: &CorePlace<'_>,
) -> Result<CoreOutcome, NativeError> {
    let connected = connect(plan, &source, place).await;
    let pacer = Pacer::new();
    if connected.is_err() || pacer.is_err() {
        shared.stop(Stop::ConnectionsLost);
    }
    place.ready.wait();
    let (links, mut received) = connected?;
    let mut pacer = pacer?;
    let core = Rc::new(Core {
        clock: Clock(shared.begin()),
        shared: Arc::clone(shared),
        bytes_max: plan.bytes_max,
        counts: RefCell::new(Counts::new(new_recorder(plan), new_ledger(plan))),
        spare: RefCell::default(),
    });
    let mut tasks: Vec<JoinHandle<()>> = links
        .iter()
        .zip(received.drain(..))
        .map(|(link, received)| tokio_uring::spawn(receive(Rc::clone(link), Rc::clone(&core), received)))
        .collect();
    let recipe = match &source {
        CoreSource::Generated(recipe) => Some(recipe.clone()),
        CoreSource::Rows(..) => None,
    };
    let subscribers = Group::begin(plan, &core, recipe.as_ref(), (place.part, place.parts));
    let input_error = match source {
        CoreSource::Generated(recipe) => {
            let lane = Rc::new(RefCell::new(recipe.lane(place.part as u32)));
            let largest = recipe.largest();
            for link in &links {
                let (link, core, lane) = (Rc::clone(link), Rc::clone(&core), Rc::clone(&lane));
                let ahead = !link.is_closed_loop() && plan.subscribers.count == 0;
                tasks.push(tokio_uring::spawn(write_generated(link, core, lane, largest, ahead)));
            }
            match plan.pace {
                Pace::Open { records_per_s, arrivals } => {
                    let rate = records_per_s / f64::from(plan.batch_records);
                    let (part, parts) = (place.part as u64, place.parts as u64);
                    let schedule = Schedule::new(arrivals, rate, plan.seed, part, parts);
                    follow(schedule, plan, &core, &links, &mut pacer).await;
                }
                Pace::Closed { .. } | Pace::Replay { .. } => watch(plan, &core, &links).await,
            }
            Ok(None)
        }
        CoreSource::Rows(rows, recipe) => {
            for link in &links {
                tasks.push(tokio_uring::spawn(write_messages(Rc::clone(link), Rc::clone(&core))));
            }
            let mut lane = recipe.lane(0);
            feed(*rows, &mut lane, plan, &core, &links, &mut pacer).await
        }
    };
    if input_error.is_err() {
        shared.stop(Stop::InputFault);
    }
    finish(&core, &links, tasks).await;
    shared.settle();
    let taken = subscribers.finish(&core, place.parts).await;
    let counts = Rc::into_inner(core).expect("every task has ended").counts.into_inner();
    Ok(CoreOutcome { counts, taken, input_error: input_error? })
}

type Connected = (Vec<Rc<Link>>, Vec<super::session::Received>);

/// Opens this core's share of the connections.
async fn connect(plan: &Plan, source: &CoreSource, place: &CorePlace<'_>) -> Result<Connected, NativeError> {
    let ledger = new_ledger(plan);
    let (mut links, mut received) = (Vec::new(), Vec::new());
    for number in (0..plan.connections).skip(place.part).step_by(place.parts) {
        let streams = streams_of(plan, number);
        let (link, rest) = Link::connect(plan.target, number, streams, plan.batch_records, plan.pace, &ledger).await?;
        if let CoreSource::Generated(recipe) = source {
            link.check_record_size(KEY_BYTES, recipe.largest())?;
        }
        links.push(link);
        received.push(rest);
    }
    Ok((links, received))
}

/// The streams that a connection writes: its share of them, or one where connections are more.
fn streams_of(plan: &Plan, number: u32) -> Vec<StreamId> {
    let streams = plan.streams.iter().map(|stream| stream.id);
    let (connections, number) = (plan.connections as usize, number as usize);
    if plan.streams.len() > connections {
        streams.skip(number).step_by(connections).collect()
    } else {
        vec![plan.streams[number % plan.streams.len()].id]
    }
}

/// A writer of made-up records. An open loop builds each batch `ahead`, while it waits for its time, so that building makes
/// none late; a closed loop once it may be sent, so that it is still in the processor's cache when it is. Where subscribers
/// are to know when a record was meant to be sent, that is known before it is built.
async fn write_generated(link: Rc<Link>, core: Rc<Core>, lane: Rc<RefCell<Lane>>, largest: usize, ahead: bool) {
    let build = |intended_ns: u64| {
        let mut message = link.begin_message(&core);
        let mut lane = lane.borrow_mut();
        lane.intend((intended_ns / 1000) as u32);
        while link.has_room(&message, KEY_BYTES, largest) {
            let record = lane.record();
            message.push(&record.key, record.data()).expect("generated records keep within the limits");
        }
        message
    };
    loop {
        let built = ahead.then(|| build(0));
        let Some(due) = link.turn(&core).await else { return };
        let mut message = built.unwrap_or_else(|| build(due.unwrap_or_else(|| core.clock.now_ns())));
        if let Some(due_ns) = due {
            message.intend(due_ns);
        }
        if !link.send(&core, message).await {
            return;
        }
    }
}

/// A writer of messages that were built elsewhere.
async fn write_messages(link: Rc<Link>, core: Rc<Core>) {
    while let Some(message) = link.next_message(&core).await {
        if !link.send(&core, message).await {
            return;
        }
    }
}

/// Hands out the times of an open loop to the connections in turn.
async fn follow(schedule: Schedule, plan: &Plan, core: &Core, links: &[Rc<Link>], pacer: &mut Pacer) {
    let end_ns = plan.duration.map_or(u64::MAX, |duration| duration.as_nanos() as u64);
    for (due_ns, link) in schedule.zip(links.iter().cycle()) {
        pacer.wait_until(due_ns.min(end_ns), core.clock, || core.stopped()).await;
        if check_end(plan, core, links) || due_ns >= end_ns {
            return;
        }
        link.push_due(due_ns);
    }
}

/// Lets the connections of a closed loop work until the run stops.
async fn watch(plan: &Plan, core: &Core, links: &[Rc<Link>]) {
    while !check_end(plan, core, links) {
        sleep(LOOK).await;
    }
}

/// Whether the run is over, by its time or because no connection is left.
pub(super) fn check_end(plan: &Plan, core: &Core, links: &[Rc<Link>]) -> bool {
    if plan.duration.is_some_and(|duration| core.clock.now_ns() as u128 >= duration.as_nanos()) {
        core.shared.stop(Stop::Time);
    }
    if links.iter().all(|link| link.ended()) {
        core.shared.stop(Stop::ConnectionsLost);
    }
    core.stopped()
}

/// Waits for the acknowledgements that are still to come, ends the connections and settles what is left.
async fn finish(core: &Rc<Core>, links: &[Rc<Link>], tasks: Vec<JoinHandle<()>>) {
    links.iter().for_each(|link| link.nudge());
    for link in links {
        while link.outstanding() > 0 {
            if timeout(SILENCE_MAX, link.progress.notified()).await.is_err() {
                let reason = format!("no acknowledgement for {} s", SILENCE_MAX.as_secs());
                core.counts.borrow_mut().lost.push(format!("connection {}: {reason}", link.number));
                break;
            }
        }
    }
    for link in links {
        link.shut_down();
    }
    for task in tasks {
        task.await.expect("a connection's task does not panic");
    }
    for link in links {
        link.settle(core);
    }
}
