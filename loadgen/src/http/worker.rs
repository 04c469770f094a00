//! One worker: sends one request at a time, and settles the fate of each of its records.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::select;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::api::{PutOutcome, Text};
use super::batch::Ready;
use super::error::is_servers;
use super::pipe::{ANSWER_BYTES_MAX, CallError, Pipe};
use super::streams::{Streams, number_of};
use super::traffic::Flight;
use super::unanswered::Unanswered;
use super::{Asked, HttpError};
use crate::native::{Core, Pace, SILENCE_MAX};
use crate::recorder::BatchTimes;
use crate::verify::{Fate, SentRecord};

/// How long a worker waits before it tries again to connect.
const RECONNECT_WAIT: Duration = Duration::from_millis(100);

/// After so many requests one after another whose fate is unknown, nothing more is expected of the endpoint.
const UNKNOWN_IN_A_ROW_MAX: u32 = 20;

/// Lost answers that a core tells in words.
const LOST_TOLD_MAX: usize = 20;

/// Who sends over a connection.
pub(super) struct Worker {
    /// Of which group of producers.
    group: usize,
    number: u32,
    pipe: Rc<Pipe>,
    /// Requests of a person's own rows.
    pub(super) outbox: RefCell<VecDeque<Ready>>,
    /// Something is in the outbox, or the run has stopped.
    pub(super) wake: Notify,
    /// Something was taken off the outbox, or answered.
    pub(super) progress: Notify,
    /// The answer under way is not waited for any longer.
    pub(super) given_up: Notify,
    is_busy: Cell<bool>,
    /// The request that was sent last.
    flight: RefCell<Rc<Flight>>,
    has_ended: Cell<bool>,
    unknown_in_a_row: Cell<u32>,
}

/// What all workers of a run know.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) asked: &'a Asked,
    pub(super) streams: &'a Streams,
    pub(super) unanswered: &'a RefCell<Unanswered>,
    pub(super) pace: Pace,
    pub(super) bytes_max: u64,
}

impl Worker {
    pub(super) fn new(group: usize, number: u32, pipe: Rc<Pipe>) -> Rc<Self> {
        Rc::new(Self {
            group,
            number,
            pipe,
            outbox: RefCell::default(),
            wake: Notify::new(),
            progress: Notify::new(),
            given_up: Notify::new(),
            is_busy: Cell::new(false),
            flight: RefCell::default(),
            has_ended: Cell::new(false),
            unknown_in_a_row: Cell::new(0),
        })
    }

    /// Whether it sends no more, for its connection is gone.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    /// Since which turn of the core it waits for the server, by this one; `None` if it does not.
    pub(super) fn for_server(&self, turn: u64) -> Option<u64> {
        self.is_busy.get().then(|| self.pipe.traffic.for_server(&self.flight.borrow(), turn)).flatten()
    }

    /// Whether nothing waits, and everything sent was answered.
    pub(super) fn is_idle(&self) -> bool {
        self.has_ended() || (!self.is_busy.get() && self.outbox.borrow().is_empty())
    }

    /// Sends one request, and settles what it carries; `false` to stop.
    pub(super) async fn send(&self, job: Job<'_>, core: &Core, mut ready: Ready) -> bool {
        if !core.shared.reserve(self.group, ready.content_bytes, job.bytes_max) {
            return false;
        }
        self.is_busy.set(true);
        let goes_on = self.send_now(job, core, &mut ready).await;
        self.is_busy.set(false);
        self.has_ended.set(self.has_ended() || !goes_on);
        self.progress.notify_one();
        goes_on
    }

    async fn send_now(&self, job: Job<'_>, core: &Core, ready: &mut Ready) -> bool {
        let sent_ns = core.clock.now_ns();
        match job.pace {
            Pace::Closed { .. } => ready.intended_ns = sent_ns,
            Pace::Open { .. } | Pace::Replay { .. } => {
                core.counts.borrow_mut().groups[self.group].lateness.record(ready.intended_ns, sent_ns);
            }
        }
        let until = Instant::now() + job.asked.endpoint.open_within;
        let answer = loop {
            let flight = Rc::<Flight>::default();
            ready.request.flight = Rc::clone(&flight);
            self.flight.replace(flight);
            let answer = select! {
                answer = self.pipe.call(&mut ready.request, ANSWER_BYTES_MAX, SILENCE_MAX) => Some(answer),
                () = self.given_up.notified() => None,
            };
            let given_up = || HttpError::GivenUp { url: self.pipe.endpoint.url().to_owned() };
            let answer = answer.unwrap_or_else(|| Err(ready.request.failed(given_up())));
            match answer {
                Err(CallError { error, may_be_done: false }) if !matches!(error, HttpError::Refused { .. }) => {
                    if core.stopped() || Instant::now() >= until {
                        if !matches!(job.pace, Pace::Closed { .. }) {
                            let (now_ns, records) = (core.clock.now_ns(), ready.records.len() as u64);
                            core.counts.borrow_mut().groups[self.group].recorder.unserved(
                                ready.intended_ns,
                                now_ns,
                                records,
                            );
                        }
                        self.tell(core, format!("connection {}: {error}", self.number));
                        return false;
                    }
                    sleep(RECONNECT_WAIT).await;
                }
                answer => break answer,
            }
        };
        let times = BatchTimes { intended_ns: ready.intended_ns, sent_ns, acked_ns: core.clock.now_ns() };
        let lost = match answer {
            Ok(body) => self.settle(job, core, ready, &body, times).err(),
            Err(CallError { error: HttpError::Refused { name, .. }, may_be_done: false }) => {
                settle_all(core, &ready.records, Fate::Refused(&name));
                None
            }
            Err(CallError { error, .. }) => {
                settle_unknown(job, core, &ready.records, times);
                if let HttpError::Silent { .. } | HttpError::GivenUp { .. } = error {
                    self.tell(core, format!("connection {}: {error}", self.number));
                    return false;
                }
                Some(error.to_string())
            }
        };
        let Some(reason) = lost else {
            self.unknown_in_a_row.set(0);
            return true;
        };
        self.tell(core, format!("connection {}: {reason}", self.number));
        self.unknown_in_a_row.set(self.unknown_in_a_row.get() + 1);
        self.unknown_in_a_row.get() < UNKNOWN_IN_A_ROW_MAX
    }

    /// Says once more that an answer was lost, unless that was said often.
    fn tell(&self, core: &Core, reason: String) {
        let lost = &mut core.counts.borrow_mut().lost;
        if lost.len() < LOST_TOLD_MAX {
            lost.push(reason);
        }
    }

    /// Settles the fates of a request's records by its answer; what of it says nothing of use.
    fn settle(&self, job: Job<'_>, core: &Core, ready: &Ready, body: &Bytes, times: BatchTimes) -> Result<(), String> {
        let outcomes = self.pipe.endpoint.wire.outcomes(job.asked.operation, body).map_err(|error| {
            settle_unknown(job, core, &ready.records, times);
            self.pipe.garbage(job.asked.operation.name(), &error, body).to_string()
        })?;
        let (mut records, mut bytes, mut unknown, mut odd) = (0, 0, 0, None);
        let mut counts = core.counts.borrow_mut();
        for (at, record) in ready.records.iter().enumerate() {
            let fate = outcomes.get(at).map_or_else(
                || Err("the answer tells of fewer records than were sent".to_owned()),
                |outcome| fate(job.streams, ready.stream, outcome),
            );
            let fate = fate.unwrap_or_else(|reason| {
                odd = Some(reason);
                Fate::Unknown
            });
            counts.ledger.settle(record.checksum, fate);
            match fate {
                Fate::Acknowledged(..) => {
                    records += 1;
                    bytes += u64::from(record.bytes);
                }
                Fate::Unknown => unknown += 1,
                Fate::Refused(_) => {}
            }
        }
        if unknown > 0 {
            job.unanswered.borrow_mut().add(times, unknown);
        }
        let group = &mut counts.groups[self.group];
        if records > 0 {
            group.batches += 1;
            group.recorder.acknowledged(times, records, bytes);
            core.shared.count_acked(records, bytes);
        }
        match odd {
            Some(reason) if records == 0 => Err(reason),
            Some(reason) => {
                drop(counts);
                self.tell(core, format!("connection {}: {reason}", self.number));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn settle_all(core: &Core, records: &[SentRecord], fate: Fate<'_>) {
    let ledger = &mut core.counts.borrow_mut().ledger;
    records.iter().for_each(|record| ledger.settle(record.checksum, fate));
}

/// No answer tells what became of these records.
fn settle_unknown(job: Job<'_>, core: &Core, records: &[SentRecord], times: BatchTimes) {
    settle_all(core, records, Fate::Unknown);
    job.unanswered.borrow_mut().add(times, records.len() as u64);
}

/// What an outcome says of its record. What the server failed at may be stored all the same.
fn fate<'a>(streams: &Streams, stream: usize, outcome: &'a PutOutcome<'_>) -> Result<Fate<'a>, String> {
    match (&outcome.error_code, &outcome.shard_id, &outcome.sequence_number) {
        (Some(Text(code)), _, _) if is_servers(code) => Err(format!("of a record the server says {code}")),
        (Some(Text(code)), _, _) => Ok(Fate::Refused(code)),
        (None, Some(Text(shard)), Some(number)) => {
            Ok(Fate::Acknowledged(streams.number(stream, shard), number_of(number)?))
        }
        _ => Err("an outcome with neither a number nor an error".to_owned()),
    }
}
