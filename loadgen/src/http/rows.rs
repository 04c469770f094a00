//! Sends a person's own rows over HTTP: in their order, as fast as they may or at the times that they say.
//!
//! Rows of one key go to one worker, which has one request under way at a time, so that they stay in order. A request closes
//! when it is full or when the next row is not due, or not there, yet.

use std::time::Duration;

use tokio::time::timeout;
use xxhash_rust::xxh3::xxh3_64;

use super::HttpError;
use super::batch::{Batch, check_record_size};
use super::produce::Crew;
use crate::input::{InputError, Row, Rows};
use crate::native::{Core, Next, Pacer, Plan, Rhythm, RowSource, Stop, check_end};

/// Requests that may wait for one worker: enough to keep it busy, few enough to bound memory.
const WAITING_MAX: usize = 2;

/// How often a wait looks at the clock and the stop sign.
const LOOK: Duration = Duration::from_millis(10);

/// Sends all rows up to the end or a fault in them, which is returned.
pub(super) async fn feed(
    rows: Rows,
    plan: &Plan,
    core: &Core,
    crew: &Crew,
    pacer: &mut Pacer,
) -> Result<Option<InputError>, HttpError> {
    let mut source = RowSource::new(rows);
    let mut rhythm = Rhythm::new(plan);
    let mut feed = Feed { plan, core, crew, open: crew.workers.iter().map(|_| None).collect() };
    let mut row = Row::default();
    let fault = loop {
        match source.next(&mut row) {
            Next::Row => {}
            Next::NotYet => {
                feed.hand_over_all().await;
                if feed.is_over() {
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
            feed.hand_over_all().await;
            pacer.wait_until(due_ns, core.clock, || feed.is_over()).await;
        }
        if row.key.is_empty() {
            let mut lane = crew.lane.borrow_mut();
            row.key.extend_from_slice(&lane.as_mut().expect("producers have a recipe").key());
        }
        if !feed.add(&row, due_ns).await? {
            return Ok(None);
        }
    };
    feed.hand_over_all().await;
    while !crew.workers.iter().all(|worker| worker.is_idle()) && !feed.is_over() {
        tokio::time::sleep(LOOK / 10).await;
    }
    core.shared.stop(if fault.is_some() { Stop::InputFault } else { Stop::InputEnd });
    Ok(fault)
}

/// The requests under construction, one a worker.
struct Feed<'a> {
    plan: &'a Plan,
    core: &'a Core,
    crew: &'a Crew,
    open: Vec<Option<Batch>>,
}

impl Feed<'_> {
    fn is_over(&self) -> bool {
        check_end(self.plan, self.core, || self.crew.has_ended())
    }

    /// Adds a row to its worker's request; `false` to stop.
    async fn add(&mut self, row: &Row, due_ns: Option<u64>) -> Result<bool, HttpError> {
        check_record_size(row.key.len(), row.data.len())?;
        let Some(at) = self.worker_of(&row.key) else { return Ok(false) };
        let bytes = row.key.len() + row.data.len();
        let is_full = self.open[at].as_ref().is_some_and(|open| !self.crew.has_room(open, bytes));
        if is_full && !self.hand_over(at).await {
            return Ok(false);
        }
        let batch = self.open[at].get_or_insert_with(|| self.crew.begin(2 * bytes));
        batch.push(&row.key, [&row.data]);
        if let Some(due_ns) = due_ns {
            batch.intend(due_ns);
        }
        Ok(true)
    }

    /// The worker of a key; the next one whose connection is there if that one's is gone.
    fn worker_of(&self, key: &[u8]) -> Option<usize> {
        let count = self.crew.workers.len();
        let first = (xxh3_64(key) % count as u64) as usize;
        (first..first + count).map(|at| at % count).find(|&at| !self.crew.workers[at].has_ended())
    }

    /// Gives a request to its worker once there is room; `false` to stop.
    async fn hand_over(&mut self, at: usize) -> bool {
        let Some(batch) = self.open[at].take() else { return true };
        let worker = &self.crew.workers[at];
        while worker.outbox.borrow().len() >= WAITING_MAX {
            let _ = timeout(LOOK, worker.progress.notified()).await;
            if self.is_over() {
                return false;
            }
        }
        worker.outbox.borrow_mut().push_back(self.crew.close(batch));
        worker.wake.notify_one();
        !self.core.stopped()
    }

    async fn hand_over_all(&mut self) {
        for at in 0..self.open.len() {
            self.hand_over(at).await;
        }
    }
}
