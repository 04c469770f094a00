//! Producing, and reading meanwhile: a thread for each client core, each with its share of the connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::core::{Core, Counts, SILENCE_MAX};
use super::feed::feed;
use super::follow::follow;
use super::link::{Link, receive};
use super::pace::{Pacer, Turns};
use super::runtime::run_here;
use super::shared::{Shared, Stop};
use super::sorted::Sorted;
use super::subscribe::{Audience, AudienceTook};
use super::ways::{Share, Spread};
use super::write::{Crew, LinkLoop, write_closed, write_open};
use super::{Consumed, Group, NativeError, Plan, Produced};
use crate::input::{InputError, Rows};
use crate::recorder::Recorder;
use crate::verify::Taken;
use crate::workload::KEY_BYTES;

/// How often a core looks at the clock and the stop sign while its connections work.
pub(super) const LOOK: Duration = Duration::from_millis(10);

/// What one core came to.
pub(crate) struct CoreOutcome {
    pub(crate) counts: Counts,
    /// What its subscribers were given, and its readers: each on its last look, and on the whole one before that.
    pub(crate) subscribers: Vec<Taken>,
    pub(crate) readers: Vec<(Taken, Option<Taken>)>,
    pub(crate) input_error: Option<InputError>,
}

/// Runs as planned until it stops, and settles the fate of every record sent.
///
/// A person's own rows take the place of what the first producers would make, and are sent by the first core alone: one
/// reader keeps them in order.
pub fn produce(plan: &Plan, rows: Option<Box<Rows>>, shared: &Arc<Shared>) -> Result<Produced, NativeError> {
    // As many as the group that is spread furthest has connections on.
    let spread = plan.producers.iter().map(|producers| Spread::new(plan, producers, rows.is_some()).cores);
    let cores = &plan.cores[..spread.max().unwrap_or(plan.cores.len())];
    run_cores(plan, cores, rows, shared, async |rows, place| run_core(plan, rows, shared, place).await)
}

/// Does `run` on a thread for each of these cores, the first of which has the rows, and sums up what they came to.
pub(crate) fn run_cores<E: From<NativeError> + Send>(
    plan: &Plan,
    cores: &[usize],
    rows: Option<Box<Rows>>,
    shared: &Arc<Shared>,
    run: impl AsyncFn(Option<Box<Rows>>, &CorePlace<'_>) -> Result<CoreOutcome, E> + Sync,
) -> Result<Produced, E> {
    let rows_out_of_order = rows.as_ref().map(|rows| rows.out_of_order_counter());
    let mut rows = vec![rows];
    rows.resize_with(cores.len(), || None);
    let ready = Barrier::new(cores.len());
    let outcomes: Vec<Result<CoreOutcome, E>> = thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .zip(rows)
            .enumerate()
            .map(|(part, (&core, rows))| {
                let place = CorePlace { part, parts: cores.len(), ready: &ready };
                let run = &run;
                let run = move || {
                    let outcome = run_here(core, run(rows, &place)).unwrap_or_else(|error| {
                        // Without its runtime the core never came to the barrier.
                        shared.stop(Stop::ConnectionsLost);
                        place.ready();
                        Err(error.into())
                    });
                    // Whatever kept it from sending: the others wait for it.
                    shared.settle(place.part);
                    outcome
                };
                thread::Builder::new().name(format!("load-{core}")).spawn_scoped(scope, run)
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread {
                Ok(thread) => thread.join().expect("a core's thread does not panic"),
                Err(source) => Err(NativeError::Thread(source).into()),
            })
            .collect()
    });
    shared.finish();
    let mut produced = merge(plan, outcomes, shared)?;
    produced.rows_out_of_order = rows_out_of_order.map_or(0, |count| count.load(Ordering::Relaxed));
    Ok(produced)
}

fn merge<E>(plan: &Plan, outcomes: Vec<Result<CoreOutcome, E>>, shared: &Shared) -> Result<Produced, E> {
    let mut produced = Produced {
        groups: plan.producers.iter().map(|_| Group::new(plan)).collect(),
        ledger: plan.ledger(),
        lost: Vec::new(),
        stop: shared.stopped().unwrap_or(Stop::ConnectionsLost),
        shards_born: 0,
        pushed: None,
        caught_up: None,
        input_error: None,
        rows_out_of_order: 0,
    };
    let (mut pushed, mut caught_up) = (Consumed::new(plan.recorder()), Consumed::new(plan.recorder()));
    let (mut subscribers, mut readers) = (Vec::new(), Vec::new());
    if let Some(common) = shared.take_ledger() {
        produced.ledger.merge(common);
    }
    for outcome in outcomes {
        let CoreOutcome { counts, subscribers: took, readers: read, input_error } = outcome?;
        pushed.recorder.merge(counts.pushed);
        pushed.by_arrival += counts.by_arrival;
        pushed.before_sent += counts.before_sent;
        caught_up.recorder.merge(counts.caught_up);
        caught_up.passes += counts.passes;
        subscribers.extend(took);
        readers.extend(read);
        for (group, counted) in produced.groups.iter_mut().zip(counts.groups) {
            group.merge(counted);
        }
        produced.ledger.merge(counts.ledger);
        produced.lost.extend(counts.lost);
        produced.input_error = produced.input_error.or(input_error);
    }
    // Where what there was to send ended the run, the last acknowledgement is its end.
    if !matches!(produced.stop, Stop::Bytes | Stop::InputEnd | Stop::Tip) {
        let recorders = produced.groups.iter_mut().map(|group| &mut group.recorder).chain([&mut pushed.recorder]);
        recorders.for_each(|recorder| recorder.ran_until(shared.ran_ns()));
    }
    let is_held_against_account = !plan.producers.is_empty();
    for taken in subscribers {
        let compare = |taken: Taken| match is_held_against_account {
            // They were not given the time for the rest.
            true if shared.is_cut() || shared.has_left_behind() => taken.compare_so_far(&produced.ledger),
            true => taken.compare(&produced.ledger),
            false => taken.faults(),
        };
        pushed.add(taken, compare);
    }
    pushed.left_behind = shared.has_left_behind();
    for (taken, earlier) in readers {
        let compare = |taken: Taken| match is_held_against_account {
            true => taken.compare_so_far(&produced.ledger),
            false => taken.faults(),
        };
        caught_up.add(taken, compare);
        caught_up.faults.extend(earlier.map(compare));
    }
    produced.pushed = (plan.consumers.subscribers > 0).then_some(pushed);
    produced.caught_up = (plan.consumers.catch_up > 0).then_some(caught_up);
    Ok(produced)
}

impl Consumed {
    pub(crate) fn new(recorder: Recorder) -> Self {
        let (records, foreign, by_arrival, before_sent, passes) = (0, 0, 0, 0, 0);
        Self { recorder, records, foreign, by_arrival, before_sent, passes, left_behind: false, faults: Vec::new() }
    }

    fn add(&mut self, taken: Taken, compare: impl FnOnce(Taken) -> crate::verify::Faults) {
        self.records += taken.count();
        self.foreign += taken.count_foreign();
        self.faults.push(compare(taken));
    }
}

/// Which of the cores this is, and where they wait for one another.
pub(crate) struct CorePlace<'a> {
    pub(crate) part: usize,
    pub(crate) parts: usize,
    ready: &'a Barrier,
}

impl CorePlace<'_> {
    /// Waits until all cores are ready, or have said that they can't begin.
    pub(crate) fn ready(&self) {
        self.ready.wait();
    }
}

async fn run_core(
    plan: &Plan,
    rows: Option<Box<Rows>>,
    shared: &Arc<Shared>,
    place: &CorePlace<'_>,
) -> Result<CoreOutcome, NativeError> {
    let connected = connect(plan, rows.is_some(), place).await;
    let turns = Turns::default();
    let pacer = Pacer::new(&turns);
    if connected.is_err() || pacer.is_err() {
        shared.stop(Stop::ConnectionsLost);
    }
    place.ready();
    let (crews, received) = connected?;
    let mut pacer = pacer?;
    let core = Rc::new(Core::begin(plan, shared, turns));
    core.until_begun().await;
    let links: Vec<Rc<Link>> = crews.iter().flat_map(|crew| &crew.links).cloned().collect();
    let mut tasks: Vec<JoinHandle<()>> = links
        .iter()
        .zip(received)
        .map(|(link, received)| tokio::task::spawn_local(receive(Rc::clone(link), Rc::clone(&core), received)))
        .collect();
    let contents = (rows.is_none() && !plan.producers.is_empty()).then(|| plan.contents());
    let audience = Audience::begin(plan, &core, contents.as_ref(), (place.part, place.parts));
    let input_error = match rows {
        None => {
            tasks.extend(crews.iter().flat_map(|crew| write(crew, plan, &core)));
            let loops = plan.producers.iter().zip(&crews);
            let loops = loops.filter_map(|(producers, crew)| LinkLoop::new(plan, producers, crew, place.part));
            follow(plan, &core, loops, &mut pacer, || all_ended(&links)).await;
            Ok(None)
        }
        Some(rows) => {
            for link in &links {
                tasks.push(tokio::task::spawn_local(write_messages(Rc::clone(link), Rc::clone(&core))));
            }
            let mut lane = plan.producers[0].recipe.lane(0);
            feed(*rows, &mut lane, plan, &core, &links, &mut pacer).await
        }
    };
    if input_error.is_err() {
        shared.stop(Stop::InputFault);
    }
    finish(&core, &links, tasks).await;
    shared.settle(place.part);
    drop((crews, links));
    let AudienceTook { subscribers, readers } = audience.finish(plan, &core, place.parts).await;
    let counts = Rc::into_inner(core).expect("every task has ended").counts.into_inner();
    let readers = readers.into_iter().map(|reader| (reader.taken, reader.earlier)).collect();
    Ok(CoreOutcome { counts, subscribers, readers, input_error: input_error? })
}

/// The connections of each group of producers, and what was received on each beyond the handshake.
type Connected = (Vec<Crew>, Vec<super::session::Received>);

/// Opens this core's share of the connections.
async fn connect(plan: &Plan, has_rows: bool, place: &CorePlace<'_>) -> Result<Connected, NativeError> {
    let ledger = plan.ledger();
    let (mut crews, mut received) = (Vec::new(), Vec::new());
    let mut first_number = 0;
    for (group, producers) in plan.producers.iter().enumerate() {
        let Share { ways, keys } = Spread::new(plan, producers, has_rows).share(place.part);
        let mut links = Vec::new();
        for way in ways {
            let (link, rest) = Link::connect(&plan.target, (group, producers), (first_number, way), &ledger).await?;
            if !has_rows {
                link.check_record_size(KEY_BYTES, producers.recipe.largest())?;
            }
            links.push(link);
            received.push(rest);
        }
        let sorted = || Rc::new(RefCell::new(Sorted::new(producers.recipe.lane(place.part), keys)));
        crews.push(Crew { group, links, sorted: (!has_rows).then(sorted) });
        first_number += producers.connections;
    }
    Ok((crews, received))
}

/// Begins to write made-up records.
fn write(crew: &Crew, plan: &Plan, core: &Rc<Core>) -> Vec<JoinHandle<()>> {
    let Some(sorted) = &crew.sorted else { return Vec::new() };
    let (ahead, writers) = (plan.builds_ahead(), crew.writers());
    let begin = |link: &Rc<Link>| {
        let (link, core, sorted) = (Rc::clone(link), Rc::clone(core), Rc::clone(sorted));
        match link.is_closed_loop() {
            true => tokio::task::spawn_local(write_closed(link, core, sorted, Rc::clone(&writers))),
            false => tokio::task::spawn_local(write_open(link, core, sorted, ahead)),
        }
    };
    crew.links.iter().map(begin).collect()
}

/// A writer of messages that were built elsewhere.
async fn write_messages(link: Rc<Link>, core: Rc<Core>) {
    while let Some(message) = link.next_message(&core).await {
        if !link.send(&core, message).await {
            return;
        }
    }
}

/// Whether the run is over: by its time, by what was taken, or because no connection is left.
pub(crate) fn check_end(plan: &Plan, core: &Core, has_nobody_left: impl FnOnce() -> bool) -> bool {
    if plan.duration.is_some_and(|duration| core.clock.now_ns() as u128 >= duration.as_nanos()) {
        core.shared.stop(Stop::Time);
    }
    let is_lost = match plan.producers.is_empty() {
        true => check_consumers(plan, core),
        false => has_nobody_left(),
    };
    if is_lost {
        core.shared.stop(Stop::ConnectionsLost);
    }
    core.stopped()
}

/// Whether all these connections are gone.
pub(super) fn all_ended(links: &[Rc<Link>]) -> bool {
    links.iter().all(|link| link.ended())
}

/// The same where nobody produces; whether all connections are lost.
fn check_consumers(plan: &Plan, core: &Core) -> bool {
    let (consumers, shared, count) = (&plan.consumers, &core.shared, core.consumers);
    if shared.progress().acked_bytes >= consumers.bytes_max {
        shared.stop(Stop::Bytes);
    }
    if consumers.to_the_tip && shared.at_the_tip() >= count {
        shared.stop(Stop::Tip);
    }
    shared.gone() >= count
}

/// Waits until all is answered that was sent on a connection, or nobody wants to know; `false` once nothing was for a while.
async fn all_is_answered(link: Rc<Link>, core: Rc<Core>) -> bool {
    let mut heard = Instant::now();
    while link.outstanding() > 0 && !core.shared.is_given_up() {
        if timeout(LOOK, link.progress.notified()).await.is_ok() {
            heard = Instant::now();
        }
        if heard.elapsed() >= SILENCE_MAX {
            return false;
        }
    }
    true
}

/// Waits for the acknowledgements that are still to come, ends the connections and settles what is left.
async fn finish(core: &Rc<Core>, links: &[Rc<Link>], tasks: Vec<JoinHandle<()>>) {
    links.iter().for_each(|link| link.nudge());
    // All at once: where a server has fallen silent, it has to everybody.
    let wait = |link| tokio::task::spawn_local(all_is_answered(Rc::clone(link), Rc::clone(core)));
    let waiting: Vec<_> = links.iter().map(wait).collect();
    for (link, waiting) in links.iter().zip(waiting) {
        if !waiting.await.expect("waiting does not panic") {
            let reason = format!("no acknowledgement for {} s", SILENCE_MAX.as_secs());
            core.counts.borrow_mut().lost.push(format!("connection {}: {reason}", link.number));
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
