//! Writers of made-up records, and whoever hands them the times of an open loop.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use frame::limits::RECORD_BYTES_MAX;

use super::batch::Message;
use super::core::{Core, Due};
use super::follow::{OpenLoop, Waiting};
use super::link::Link;
use super::sorted::{Batch, Sorted};
use super::ways::{Part, Spread};
use super::{Pace, Plan, Producers};
use crate::schedule::Schedule;

/// Batches of an open loop that are handed out before their time, at most: so many may be built before it.
const AHEAD_MAX: usize = 256;

/// Records of a group's open loop whose time has come, and that wait on one core's connections, at most.
pub(super) const RECORDS_WAITING_MAX: usize = 1 << 18;

/// One core's connections of a group of producers.
pub(super) struct Crew {
    /// Of which group.
    pub(super) group: usize,
    pub(super) links: Vec<Rc<Link>>,
    /// What they send, if it is made up.
    pub(super) sorted: Option<Rc<RefCell<Sorted>>>,
}

/// How many connections still write each part of a core's streams.
pub(super) type Writers = Rc<RefCell<BTreeMap<(usize, usize), (Part, usize)>>>;

impl Crew {
    /// Counts who writes what.
    pub(super) fn writers(&self) -> Writers {
        let mut writers = BTreeMap::new();
        for &part in self.links.iter().flat_map(|link| &link.parts) {
            writers.entry((part.stream, part.owner)).or_insert((part, 0)).1 += 1;
        }
        Rc::new(RefCell::new(writers))
    }
}

/// A writer of a closed loop: builds a batch once it may be sent, so that it is still in the processor's cache when it is.
pub(super) async fn write_closed(link: Rc<Link>, core: Rc<Core>, sorted: Rc<RefCell<Sorted>>, writers: Writers) {
    while let Some(batch) = link.next_batch(&core, &sorted).await {
        let message = build(&link, &core, &sorted, &batch, Some(core.clock.now_ns())).await;
        if !link.send(&core, message).await {
            break;
        }
    }
    for part in &link.parts {
        if let Some((_, left)) = writers.borrow_mut().get_mut(&(part.stream, part.owner)) {
            *left -= 1;
            if *left == 0 {
                sorted.borrow_mut().close(*part);
            }
        }
    }
}

/// A writer of an open loop: builds each batch `ahead`, while it waits for its time, so that building makes none late. Where
/// somebody is to know when a record was meant to be sent, that is known before it is built.
pub(super) async fn write_open(link: Rc<Link>, core: Rc<Core>, sorted: Rc<RefCell<Sorted>>, ahead: bool) {
    let ahead = ahead && sorted.borrow_mut().lane().largest() <= RECORD_BYTES_MAX;
    while let Some(batch) = link.ahead(&core).await {
        let built = if ahead { Some(build(&link, &core, &sorted, &batch, None).await) } else { None };
        let Some(due_ns) = link.due(&core).await else { return };
        let mut message = match built {
            Some(built) => built,
            None => build(&link, &core, &sorted, &batch, Some(due_ns)).await,
        };
        message.intend(due_ns);
        if !link.send(&core, message).await {
            return;
        }
    }
}

/// Builds a message. Records that may be large are built in turns: others of the core have theirs meanwhile.
async fn build(link: &Link, core: &Core, sorted: &RefCell<Sorted>, batch: &Batch, intended_ns: Option<u64>) -> Message {
    let mut message = link.begin_message(core, batch.stream);
    let intended_us = intended_ns.map(|ns| core.clock.wall_us(ns));
    if sorted.borrow_mut().lane().largest() > RECORD_BYTES_MAX {
        for drawn in &batch.records {
            let record = {
                let mut sorted = sorted.borrow_mut();
                sorted.lane().intend(intended_us);
                sorted.lane().make_owned(drawn)
            };
            message.push_in_turns(&record).await.expect("generated records keep within the limits");
        }
        return message;
    }
    let mut sorted = sorted.borrow_mut();
    let lane = sorted.lane();
    lane.intend(intended_us);
    for drawn in &batch.records {
        let record = lane.make(drawn);
        message.push(&record.key, record.data()).expect("generated records keep within the limits");
    }
    message
}

/// The connections that write one part, in turn.
#[derive(Default)]
struct Turn {
    links: Vec<Rc<Link>>,
    next: usize,
}

impl Turn {
    /// The next one; of those that are gone only where no other is left.
    fn next(&mut self) -> Rc<Link> {
        let count = self.links.len();
        let mut all = self.next..self.next + count;
        let at = all.find(|at| !self.links[at % count].ended()).unwrap_or(self.next);
        self.next = at + 1;
        Rc::clone(&self.links[at % count])
    }
}

/// The times of one group's open loop, and whose turn is next.
pub(super) struct LinkLoop {
    group: usize,
    schedule: Schedule,
    due_ns: u64,
    sorted: Rc<RefCell<Sorted>>,
    /// Who writes each part.
    turns: BTreeMap<(usize, usize), Turn>,
    /// Who has the next batches, in the order of their times, and how many records each has.
    ahead: VecDeque<(Rc<Link>, usize)>,
    ahead_max: usize,
    /// Who sends, each once.
    links: Vec<Rc<Link>>,
    batch_records: f64,
}

impl LinkLoop {
    /// `None` of a closed loop, or without a connection.
    pub(super) fn new(plan: &Plan, producers: &Producers, crew: &Crew, part: usize) -> Option<Self> {
        let Pace::Open { records_per_s, arrivals } = producers.pace else { return None };
        let sorted = Rc::clone(crew.sorted.as_ref().filter(|_| !crew.links.is_empty())?);
        let batch_records = f64::from(producers.batch_records);
        let cores = Spread::new(plan, producers, false).cores;
        let (rate, seed) = (records_per_s / batch_records, plan.schedule_seed(crew.group));
        let schedule = Schedule::new(arrivals, rate, seed, part as u64, cores as u64);
        let mut turns = BTreeMap::<_, Turn>::new();
        for link in &crew.links {
            for part in &link.parts {
                turns.entry((part.stream, part.owner)).or_default().links.push(Rc::clone(link));
            }
        }
        let ahead_max = crew.links.len().min(AHEAD_MAX);
        let (group, links, ahead) = (crew.group, crew.links.clone(), VecDeque::new());
        let mut hand = Self { group, schedule, due_ns: 0, sorted, turns, ahead, ahead_max, links, batch_records };
        hand.prepare();
        hand.pass_over(1);
        Some(hand)
    }

    /// Hands batches out before their time.
    fn prepare(&mut self) {
        while self.ahead.len() < self.ahead_max {
            let limits = self.turns.values().next().expect("there is a connection").links[0].limits;
            let (stream, owner, batch) = self.sorted.borrow_mut().next(limits);
            let turn = self.turns.get_mut(&(stream, owner)).expect("every part has a connection on its core");
            let link = turn.next();
            let records = batch.records.len();
            link.push_ahead(batch);
            self.ahead.push_back((link, records));
        }
    }

    fn next_records(&self) -> usize {
        self.ahead.front().expect("there is always one ahead").1
    }
}

impl OpenLoop for LinkLoop {
    fn group(&self) -> usize {
        self.group
    }

    fn due(&self) -> Due {
        (self.due_ns, self.next_records() as u64)
    }

    fn hand_out(&mut self, _: &Core) {
        let due = self.due();
        let (link, _) = self.ahead.pop_front().expect("there is always one ahead");
        link.push_due(due);
        self.prepare();
        self.pass_over(1);
    }

    fn stride(&self, until_ns: u64) -> u32 {
        self.schedule.stride(until_ns)
    }

    fn pass_over(&mut self, batches: u32) {
        self.due_ns = self.schedule.next_of(f64::from(batches) * self.next_records() as f64 / self.batch_records);
    }

    /// Of all connections together, and many times what waits for one that stalls for a moment. Where one stalls until all of it is its own,
    /// it holds up the others.
    fn waiting_max(&self) -> usize {
        (RECORDS_WAITING_MAX / self.batch_records as usize).max(1)
    }

    fn waiting(&self, turn: u64, before: u64) -> Waiting {
        let mut waiting = Waiting::default();
        for link in &self.links {
            let (batches, for_server_since) = link.look(turn);
            waiting.batches += batches;
            if let Some(since) = for_server_since {
                waiting.for_server += batches;
                waiting.still += if since <= before { batches } else { 0 };
            }
        }
        waiting
    }
}
