//! Produces a person's own rows: in their order, as fast as they may or at the times that they say.
//!
//! Rows of one key go over one connection, so that they stay in order. A batch closes when it is full or when the next
//! row is not due, or not there, yet.

use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout;
use xxhash_rust::xxh3::xxh3_64;

use super::batch::Message;
use super::core::{Core, Due};
use super::link::Link;
use super::pace::{Pacer, turn};
use super::produce::{all_ended, check_end};
use super::shared::Stop;
use super::{NativeError, Pace, Plan};
use crate::input::{InputError, Row, Rows};
use crate::schedule::Schedule;
use crate::workload::{KEY_BYTES, Lane};

/// Messages that may wait on one connection: enough to keep it busy, few enough to bound memory.
const WAITING_MAX: usize = 4;

/// Rows read ahead of an input that is read as a stream.
const ROWS_AHEAD: usize = 4096;

/// How often a wait looks at the clock and the stop sign.
const LOOK: Duration = Duration::from_millis(10);

/// Where rows go: connections, each with a batch under construction.
pub(crate) trait Outlets {
    /// Why a row can't be sent.
    type Error;

    /// A key for a row that brings none.
    fn key(&mut self) -> [u8; KEY_BYTES];

    /// Adds a row to the batch of its key's connection; `false` to stop.
    async fn add(&mut self, row: &Row, due_ns: Option<u64>) -> Result<bool, Self::Error>;

    /// Gives all batches to their connections, full or not.
    async fn hand_over_all(&mut self);

    /// Whether nothing is left to send.
    fn is_idle(&self) -> bool;

    /// Whether the run is over.
    fn is_over(&self) -> bool;
}

/// Sends all rows up to the end or a fault in them, which is returned.
pub(crate) async fn send_rows<O: Outlets>(
    rows: Rows,
    plan: &Plan,
    core: &Core,
    outlets: &mut O,
    pacer: &mut Pacer,
) -> Result<Option<InputError>, O::Error> {
    let mut source = RowSource::new(rows);
    let mut rhythm = Rhythm::new(plan);
    let mut row = Row::default();
    let fault = loop {
        match source.next(&mut row) {
            Next::Row => {}
            Next::NotYet => {
                outlets.hand_over_all().await;
                if outlets.is_over() {
                    return Ok(None);
                }
                source.wait().await;
                continue;
            }
            Next::Fault(error) => break Some(error),
            Next::End => break None,
        }
        let due_ns = rhythm.due_ns(&row);
        if let Some(due_ns) = due_ns.filter(|&due_ns| due_ns > core.clock.now_ns()) {
            outlets.hand_over_all().await;
            pacer.wait_until(due_ns, core.clock, || outlets.is_over()).await;
            if outlets.is_over() {
                count_left((source, rhythm), plan, core, (row, Some(due_ns))).await;
                return Ok(None);
            }
        }
        if row.key.is_empty() {
            row.key.extend_from_slice(&outlets.key());
        }
        if !outlets.add(&row, due_ns).await? {
            outlets.hand_over_all().await;
            count_left((source, rhythm), plan, core, (row, due_ns)).await;
            return Ok(None);
        }
    };
    outlets.hand_over_all().await;
    while !outlets.is_idle() && !outlets.is_over() {
        tokio::time::sleep(LOOK / 10).await;
    }
    core.shared.stop(if fault.is_some() { Stop::InputFault } else { Stop::InputEnd });
    Ok(fault)
}

/// For how long rows that are left are counted: a file that is sent again and again, faster than anybody takes it, has no end of them.
const COUNTED_FOR: Duration = Duration::from_secs(1);

/// Counts this row and those behind it that were due before the end, in batches as large as they may be: what came before them had
/// no answer yet. A person who asks for the end waits for no more of it.
async fn count_left(
    (mut source, mut rhythm): (RowSource, Rhythm),
    plan: &Plan,
    core: &Core,
    (mut row, mut due): (Row, Option<u64>),
) {
    let (now_ns, counted_by) = (core.clock.now_ns(), Instant::now() + COUNTED_FOR);
    let until_ns = plan.duration.map_or(now_ns, |duration| now_ns.min(duration.as_nanos() as u64));
    let (batch_records, mut batch) = (u64::from(plan.producers[0].batch_records), None::<Due>);
    let goes_on = || !core.shared.is_interrupted() && Instant::now() < counted_by;
    while let Some(due_ns) = due.filter(|&due_ns| due_ns < until_ns && goes_on()) {
        let (oldest_ns, records) = batch.take().unwrap_or((due_ns, 0));
        batch = Some((oldest_ns.min(due_ns), records + 1));
        if let Some(full) = batch.take_if(|(_, records)| *records >= batch_records) {
            core.unserved(0, full, now_ns);
            // Answers come meanwhile.
            turn().await;
        }
        let mut next = source.next(&mut row);
        if matches!(next, Next::NotYet) {
            let _ = timeout(COUNTED_FOR, source.wait()).await;
            next = source.next(&mut row);
        }
        due = if matches!(next, Next::Row) { rhythm.due_ns(&row) } else { None };
    }
    batch.into_iter().for_each(|rest| core.unserved(0, rest, now_ns));
}

/// Which of so many connections has the rows of a key; the next one that is there if that one is gone.
pub(crate) fn place_of(key: &[u8], count: usize, is_there: impl Fn(usize) -> bool) -> Option<usize> {
    let first = (xxh3_64(key) % count as u64) as usize;
    (first..first + count).map(|at| at % count).find(|&at| is_there(at))
}

/// Sends all rows over these connections.
pub(super) async fn feed(
    rows: Rows,
    lane: &mut Lane,
    plan: &Plan,
    core: &Core,
    links: &[Rc<Link>],
    pacer: &mut Pacer,
) -> Result<Option<InputError>, NativeError> {
    let mut feed = Feed { plan, core, links, lane, open: links.iter().map(|_| None).collect() };
    send_rows(rows, plan, core, &mut feed, pacer).await
}

/// When rows are due.
enum Rhythm {
    /// At once.
    Free,
    /// At their own times, so many times faster.
    Own { speed: f64 },
    /// A batch of them at each time of a schedule.
    Schedule { schedule: Box<Schedule>, due_ns: u64, batch_rows: u32, left: u32 },
}

impl Rhythm {
    fn new(plan: &Plan) -> Self {
        let producers = &plan.producers[0];
        match producers.pace {
            Pace::Closed { .. } => Self::Free,
            Pace::Replay { speed } => Self::Own { speed },
            Pace::Open { records_per_s, arrivals } => {
                let rate = records_per_s / f64::from(producers.batch_records);
                let schedule = Box::new(Schedule::new(arrivals, rate, plan.schedule_seed(0), 0, 1));
                Self::Schedule { schedule, due_ns: 0, batch_rows: producers.batch_records, left: 0 }
            }
        }
    }

    fn due_ns(&mut self, row: &Row) -> Option<u64> {
        match self {
            Self::Free => None,
            Self::Own { speed } => Some((row.after_us as f64 * 1e3 / *speed) as u64),
            Self::Schedule { schedule, due_ns, batch_rows, left } => {
                if *left == 0 {
                    *due_ns = schedule.next().expect("a schedule has no end");
                    *left = *batch_rows;
                }
                *left -= 1;
                Some(*due_ns)
            }
        }
    }
}

/// The messages under construction, one a connection.
struct Feed<'a> {
    plan: &'a Plan,
    core: &'a Core,
    links: &'a [Rc<Link>],
    lane: &'a mut Lane,
    open: Vec<Option<Message>>,
}

impl Outlets for Feed<'_> {
    type Error = NativeError;

    fn key(&mut self) -> [u8; KEY_BYTES] {
        self.lane.key()
    }

    async fn add(&mut self, row: &Row, due_ns: Option<u64>) -> Result<bool, NativeError> {
        let at = place_of(&row.key, self.links.len(), |at| !self.links[at].ended());
        let Some(at) = at else { return Ok(false) };
        let link = &self.links[at];
        link.check_record_size(row.key.len(), row.data.len())?;
        let full = self.open[at].as_ref().is_some_and(|open| !link.has_room(open, row.key.len(), row.data.len()));
        if full && !self.hand_over(at).await {
            return Ok(false);
        }
        let link = &self.links[at];
        let message = self.open[at].get_or_insert_with(|| link.begin_message(self.core, link.next_stream()));
        message.push(&row.key, [&row.data]).expect("reading the rows bounded key and data");
        if let Some(due_ns) = due_ns {
            message.intend(due_ns);
        }
        Ok(true)
    }

    async fn hand_over_all(&mut self) {
        for at in 0..self.open.len() {
            self.hand_over(at).await;
        }
    }

    fn is_idle(&self) -> bool {
        self.links.iter().all(|link| link.idle())
    }

    fn is_over(&self) -> bool {
        check_end(self.plan, self.core, || all_ended(self.links))
    }
}

impl Feed<'_> {
    /// Gives a message to its connection once there is room, or the run is over; `false` to stop.
    async fn hand_over(&mut self, at: usize) -> bool {
        let Some(message) = self.open[at].take() else { return true };
        let link = &self.links[at];
        while link.waiting() >= WAITING_MAX && !self.is_over() {
            let _ = timeout(LOOK, link.progress.notified()).await;
        }
        link.push_message(message);
        !self.core.stopped()
    }
}

/// Rows, from memory or from a thread of their own, so that no slow read holds up the core.
enum RowSource {
    Memory(Box<Rows>),
    Thread { rows: mpsc::Receiver<Result<Row, InputError>>, waited: Option<Result<Row, InputError>>, ended: bool },
}

/// What a look for the next row found.
enum Next {
    Row,
    NotYet,
    End,
    Fault(InputError),
}

impl RowSource {
    fn new(mut rows: Rows) -> Self {
        if rows.in_memory() {
            return Self::Memory(Box::new(rows));
        }
        let (sender, receiver) = mpsc::channel(ROWS_AHEAD);
        let read = move || {
            loop {
                let mut row = Row::default();
                let next = match rows.read(&mut row) {
                    Ok(true) => Ok(row),
                    Ok(false) => return,
                    Err(error) => Err(error),
                };
                let fault = next.is_err();
                if sender.blocking_send(next).is_err() || fault {
                    return;
                }
            }
        };
        thread::Builder::new().name("rows".to_owned()).spawn(read).expect("the system has room for one more thread");
        Self::Thread { rows: receiver, waited: None, ended: false }
    }

    /// Looks for the next row without waiting.
    fn next(&mut self, row: &mut Row) -> Next {
        let found = match self {
            Self::Memory(rows) => match rows.read(row) {
                Ok(true) => return Next::Row,
                Ok(false) => return Next::End,
                Err(error) => return Next::Fault(error),
            },
            Self::Thread { ended: true, .. } => return Next::End,
            Self::Thread { rows, waited, .. } => match waited.take().map_or_else(|| rows.try_recv(), Ok) {
                Ok(found) => found,
                Err(mpsc::error::TryRecvError::Empty) => return Next::NotYet,
                Err(mpsc::error::TryRecvError::Disconnected) => return Next::End,
            },
        };
        match found {
            Ok(next) => {
                *row = next;
                Next::Row
            }
            Err(error) => Next::Fault(error),
        }
    }

    /// Waits for a row for a while.
    async fn wait(&mut self) {
        if let Self::Thread { rows, waited, ended } = self
            && let Ok(received) = timeout(LOOK, rows.recv()).await
        {
            *ended = received.is_none();
            *waited = received;
        }
    }
}
