//! Sends a person's own rows over HTTP: in their order, as fast as they may or at the times that they say.
//!
//! Rows of one key go to one worker, which has one request under way at a time, so that they stay in order. A request closes
//! when it is full or when the next row is not due, or not there, yet.

use std::time::Duration;

use tokio::time::timeout;

use super::HttpError;
use super::batch::{Batch, check_record_size};
use super::produce::Crew;
use crate::input::{InputError, Row, Rows};
use crate::native::{Core, Outlets, Pacer, Plan, check_end, place_of, send_rows};
use crate::workload::KEY_BYTES;

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
    let mut feed = Feed { plan, core, crew, open: crew.workers.iter().map(|_| None).collect() };
    send_rows(rows, plan, core, &mut feed, pacer).await
}

/// The requests under construction, one a worker.
struct Feed<'a> {
    plan: &'a Plan,
    core: &'a Core,
    crew: &'a Crew,
    open: Vec<Option<Batch>>,
}

impl Outlets for Feed<'_> {
    type Error = HttpError;

    fn key(&mut self) -> [u8; KEY_BYTES] {
        self.crew.lane.borrow_mut().key()
    }

    async fn add(&mut self, row: &Row, due_ns: Option<u64>) -> Result<bool, HttpError> {
        check_record_size(row.key.len(), row.data.len())?;
        let workers = &self.crew.workers;
        let at = place_of(&row.key, workers.len(), |at| !workers[at].has_ended());
        let Some(at) = at else { return Ok(false) };
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

    async fn hand_over_all(&mut self) {
        for at in 0..self.open.len() {
            self.hand_over(at).await;
        }
    }

    fn is_idle(&self) -> bool {
        self.crew.workers.iter().all(|worker| worker.is_idle())
    }

    fn is_over(&self) -> bool {
        check_end(self.plan, self.core, || self.crew.has_ended())
    }
}

impl Feed<'_> {
    /// Gives a request to its worker once there is room, or the run is over; `false` to stop.
    async fn hand_over(&mut self, at: usize) -> bool {
        let Some(batch) = self.open[at].take() else { return true };
        let worker = &self.crew.workers[at];
        while worker.outbox.borrow().len() >= WAITING_MAX && !self.is_over() {
            let _ = timeout(LOOK, worker.progress.notified()).await;
        }
        worker.outbox.borrow_mut().push_back(self.crew.close(batch));
        worker.wake.notify_one();
        !self.core.stopped()
    }
}
