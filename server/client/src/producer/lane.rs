//! The task that sends: batches within the server's credit, answers, retries in order, lost connections made again.
//!
//! ```text
//!   input -> waiting -> sent -> answered
//!               ^         | refused for now, or the connection was lost
//!               +- again <+   (all of it at once, in order, when nothing is under way)
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use frame::limits::{APPEND_BYTES_MAX, APPEND_RECORDS_MAX};
use frame::proto::{APPEND_FIXED_BYTES, AckResult, ErrorCode, Failure, Fault, HEADER_BYTES};
use frame::{RequestId, StreamId};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until};

use super::record::Record;
use super::{Appended, ProducerOptions};
use crate::connection::{Connection, Heard};
use crate::error::{AppendError, ConnectError, RequestError};
use crate::options::{Backoff, Options, TIME_MAX};

/// What an append adds to its frames.
const MESSAGE_BYTES: usize = HEADER_BYTES + APPEND_FIXED_BYTES;

/// What happened longer ago than this says nothing of an attempt that is made now.
const FRUITLESS_MAX: Duration = Duration::from_secs(1);

pub(super) enum Input {
    Record(Record),
    /// Somebody waits for room: look at [`Signals::hurry`].
    Hurry,
}

/// What a producer and its lanes tell each other.
#[derive(Default, Debug)]
pub(super) struct Signals {
    /// A record was stored in another shard than it was sent for.
    pub(super) is_stale: AtomicBool,
    /// How many wait for room, or until nothing is under way: while there are any, no record waits for others to gather.
    pub(super) hurry: AtomicUsize,
}

/// What there is to do next.
enum Next {
    Heard(Result<Heard, ConnectError>),
    Input(Option<Input>),
    /// Time to send.
    Due,
}

/// An append that is not answered: its records until their results come, in the order of their indices.
struct Sent {
    records: Vec<Option<Record>>,
    missing: usize,
}

pub(super) struct Lane {
    /// Where the owner listens.
    address: SocketAddr,
    options: Options,
    linger: Duration,
    batch_bytes: usize,
    is_numbered: bool,
    stream: StreamId,
    input: UnboundedReceiver<Input>,
    signals: Arc<Signals>,
    connection: Option<Connection>,
    /// Attempts to make one since anything was heard.
    attempts: Backoff,
    /// Whether anything was heard over the last one, and how that ended if not.
    has_heard: bool,
    fruitless: Option<(ConnectError, Instant)>,
    /// Not sent, in order.
    waiting: VecDeque<Record>,
    waiting_bytes: usize,
    sent: BTreeMap<RequestId, Sent>,
    /// To be sent again, once nothing is under way, and why.
    again: Vec<(Record, AppendError)>,
    /// When that is.
    again_at: Option<Instant>,
    retries: Backoff,
    /// Nothing more is appended.
    is_closed: bool,
}

impl Lane {
    pub(super) fn new(
        address: SocketAddr,
        (options, producer): (Options, ProducerOptions),
        stream: StreamId,
        input: UnboundedReceiver<Input>,
        signals: Arc<Signals>,
    ) -> Lane {
        let (attempts, retries) = (Backoff::new(options.patience), Backoff::new(options.patience));
        Lane {
            address,
            options,
            linger: producer.linger.min(TIME_MAX),
            batch_bytes: producer.batch_bytes.min(APPEND_BYTES_MAX - MESSAGE_BYTES),
            is_numbered: producer.name.is_some(),
            stream,
            input,
            signals,
            connection: None,
            attempts,
            has_heard: false,
            fruitless: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            sent: BTreeMap::new(),
            again: Vec::new(),
            again_at: None,
            retries,
            is_closed: false,
        }
    }

    /// Sends until nothing more is appended and all is answered, or a record with a number is given up, so that none can follow.
    pub(super) async fn run(mut self, failure: Arc<OnceLock<AppendError>>) {
        let Err(error) = self.send_all().await else { return };
        // First the reason, then the door: who finds it shut finds out why.
        let _ = failure.set(error.clone());
        self.input.close();
        while let Ok(input) = self.input.try_recv() {
            self.take_input(Some(input));
        }
        match error {
            // What there is no way to is there for none.
            AppendError::Connection(_) | AppendError::NoNumbers => self.fail_all(&error),
            error => {
                self.again.drain(..).for_each(|(record, reason)| record.answer(Err(reason)));
                let sent = std::mem::take(&mut self.sent).into_values().flat_map(|sent| sent.records).flatten();
                let cause = Arc::new(error);
                sent.chain(self.waiting.drain(..)).for_each(|record| record.give_up(&cause));
            }
        }
    }

    async fn send_all(&mut self) -> Result<(), AppendError> {
        loop {
            while let Ok(input) = self.input.try_recv() {
                self.take_input(Some(input));
            }
            let is_idle = self.waiting.is_empty() && self.again.is_empty() && self.sent.is_empty();
            if is_idle && self.is_closed {
                return Ok(());
            }
            if self.connection.is_none() && !is_idle {
                self.connect().await?;
            }
            self.fill()?;
            match self.next().await {
                Next::Heard(Ok(heard)) => {
                    if !std::mem::replace(&mut self.has_heard, true) {
                        self.attempts.reset();
                    }
                    self.take_heard(heard)?;
                }
                Next::Heard(Err(error)) => self.take_lost(&error),
                Next::Input(input) => self.take_input(input),
                Next::Due => {}
            }
        }
    }

    /// Waits for what comes first.
    async fn next(&mut self) -> Next {
        let due = if self.again.is_empty() { self.lingers_until() } else { self.again_at };
        let connection = &mut self.connection;
        let heard = async {
            match connection {
                Some(connection) => connection.next().await,
                None => std::future::pending().await,
            }
        };
        let due = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            heard = heard => Next::Heard(heard),
            input = self.input.recv(), if !self.is_closed => Next::Input(input),
            () = due => Next::Due,
        }
    }

    fn take_input(&mut self, input: Option<Input>) {
        match input {
            Some(Input::Record(mut record)) => {
                record.due += self.linger;
                self.waiting_bytes += record.frames.len();
                self.waiting.push_back(record);
            }
            Some(Input::Hurry) => {}
            None => self.is_closed = true,
        }
    }

    /// Until when the records wait for others; nothing where they don't.
    fn lingers_until(&self) -> Option<Instant> {
        let is_hurried = self.is_closed || self.signals.hurry.load(Ordering::Acquire) > 0;
        let gathers = !is_hurried && self.waiting_bytes < self.batch_bytes;
        self.waiting.front().map(|first| first.due).filter(|due| gathers && *due > Instant::now())
    }

    /// Sends what is due and has credit.
    fn fill(&mut self) -> Result<(), AppendError> {
        if !self.again.is_empty() && !self.take_again()? {
            return Ok(());
        }
        while !self.waiting.is_empty() && self.lingers_until().is_none() {
            let Some(connection) = &mut self.connection else { return Ok(()) };
            let welcome = connection.welcome();
            let frames_bytes_max = (welcome.append_bytes_max as usize).saturating_sub(MESSAGE_BYTES);
            let bytes_max = self.batch_bytes.min(frames_bytes_max);
            let frames_max = APPEND_RECORDS_MAX.min(welcome.append_records_max as usize) as u32;
            let (mut records, mut bytes, mut frames) = (0, 0, 0);
            for record in &self.waiting {
                let (bytes_with, frames_with) = (bytes + record.frames.len(), frames + record.frame_count);
                if records > 0 && (bytes_with > bytes_max || frames_with > frames_max) {
                    break;
                }
                (records, bytes, frames) = (records + 1, bytes_with, frames_with);
            }
            if !connection.may_append(bytes) {
                return Ok(());
            }
            let records: Vec<Option<Record>> = self.waiting.drain(..records).map(Some).collect();
            self.waiting_bytes -= bytes;
            let mut joined = Vec::with_capacity(bytes);
            records.iter().flatten().for_each(|record| joined.extend_from_slice(&record.frames));
            let request = connection.append(self.stream, frames, &joined);
            let missing = records.len();
            self.sent.insert(request, Sent { records, missing });
        }
        Ok(())
    }

    /// Puts what is to be sent again before all that waits, if its time has come.
    fn take_again(&mut self) -> Result<bool, AppendError> {
        if !self.sent.is_empty() {
            return Ok(false);
        }
        self.again.sort_by_key(|(record, _)| record.number);
        match self.again_at {
            None => match self.retries.pause() {
                Some(pause) => {
                    self.again_at = Some(Instant::now() + pause);
                    return Ok(false);
                }
                None => {
                    // Those that follow a number were refused for its sake.
                    if let Some((_, reason)) = self.again.first().filter(|_| self.is_numbered) {
                        return Err(reason.clone());
                    }
                    self.retries.reset();
                    self.again.drain(..).for_each(|(record, reason)| record.answer(Err(reason)));
                    return Ok(true);
                }
            },
            Some(at) if at > Instant::now() => return Ok(false),
            Some(_) => self.again_at = None,
        }
        for (mut record, _) in self.again.drain(..).rev() {
            record.due = Instant::now();
            self.waiting_bytes += record.frames.len();
            self.waiting.push_front(record);
        }
        Ok(true)
    }

    /// Fails once a record with a number was refused for good; all that was heard has been told then.
    fn take_heard(&mut self, heard: Heard) -> Result<(), AppendError> {
        let mut outcome = Ok(());
        match heard {
            Heard::Acks(batches) => {
                for (request, results) in batches {
                    let Some(mut sent) = self.sent.remove(&request) else { continue };
                    for (index, result) in results {
                        let record = sent.records.get_mut(index as usize).and_then(Option::take);
                        if let Some(record) = record {
                            sent.missing -= 1;
                            outcome = outcome.and(self.take_result(record, result));
                        }
                    }
                    if sent.missing > 0 {
                        self.sent.insert(request, sent);
                    }
                }
            }
            Heard::Refused(request, failure) => {
                let sent = self.sent.remove(&request);
                for record in sent.into_iter().flat_map(|sent| sent.records).flatten() {
                    outcome = outcome.and(self.take_failure(record, &failure));
                }
            }
            _ => {}
        }
        outcome
    }

    fn take_result(&mut self, record: Record, result: AckResult) -> Result<(), AppendError> {
        match result {
            AckResult::Durable(shard, sequence) => {
                self.retries.reset();
                if shard != record.shard && !self.is_numbered {
                    self.signals.is_stale.store(true, Ordering::Release);
                }
                record.answer(Ok(Appended { shard, sequence: Some(sequence) }));
            }
            AckResult::Throttled(ErrorCode::StoredBefore, shard) => {
                self.retries.reset();
                record.answer(Ok(Appended { shard, sequence: None }));
            }
            AckResult::Throttled(ErrorCode::NumberPassed, _) | AckResult::Refused(ErrorCode::NumberPassed) => {
                let number = record.number;
                record.answer(Err(AppendError::NumberPassed { number }));
            }
            AckResult::Throttled(code, _) => self.again.push((record, AppendError::Refused(code))),
            AckResult::Refused(code) if self.is_numbered && code.may_pass() => {
                self.again.push((record, AppendError::Refused(code)));
            }
            AckResult::Refused(code) => {
                let error = AppendError::Refused(code);
                record.answer(Err(error.clone()));
                // What follows a number that was refused is refused as well, until it has come again.
                if self.is_numbered {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Of a whole append nobody knows, or it was refused as one.
    fn take_failure(&mut self, record: Record, failure: &Failure) -> Result<(), AppendError> {
        // Only a caller's fault says that nothing was stored.
        let error = match failure.code.fault() {
            Fault::Caller => AppendError::Refused(failure.code),
            _ => AppendError::Unknown(RequestError::Refused(failure.clone())),
        };
        if self.is_numbered && failure.code.may_pass() {
            self.again.push((record, error));
            return Ok(());
        }
        record.answer(Err(error.clone()));
        if self.is_numbered { Err(error) } else { Ok(()) }
    }

    /// The connection is lost: what is under way is sent again if it has numbers, and of the rest nobody knows.
    fn take_lost(&mut self, error: &ConnectError) {
        self.connection = None;
        self.fruitless = (!self.has_heard).then(|| (error.clone(), Instant::now()));
        let error = AppendError::Unknown(error.clone().into());
        for sent in std::mem::take(&mut self.sent).into_values() {
            for record in sent.records.into_iter().flatten() {
                if self.is_numbered {
                    self.again.push((record, error.clone()));
                } else {
                    record.answer(Err(error.clone()));
                }
            }
        }
    }

    /// Makes a connection, to the owner or to wherever else the server may be, which hands records on. One that was lost before anything
    /// was heard over it is an attempt that failed.
    async fn connect(&mut self) -> Result<(), AppendError> {
        loop {
            let opened = match self.fruitless.take() {
                Some((lost, at)) if at.elapsed() < FRUITLESS_MAX => Err(lost),
                // There was nothing to send since.
                Some(_) => {
                    self.attempts.reset();
                    continue;
                }
                None => Connection::open_any(Some(self.address), &self.options).await,
            };
            let error = match opened {
                Ok(connection) if self.is_numbered && !connection.welcome().takes_numbers() => {
                    return Err(AppendError::NoNumbers);
                }
                Ok(connection) => {
                    (self.connection, self.has_heard) = (Some(connection), false);
                    return Ok(());
                }
                Err(error) => error,
            };
            match self.attempts.pause_after(error.fault()) {
                Some(pause) => sleep(pause).await,
                None if self.is_numbered => return Err(AppendError::Connection(error)),
                None => {
                    self.fail_all(&AppendError::Connection(error));
                    return Ok(());
                }
            }
        }
    }

    fn fail_all(&mut self, error: &AppendError) {
        let sent = std::mem::take(&mut self.sent).into_values().flat_map(|sent| sent.records).flatten();
        let again = self.again.drain(..).map(|(record, _)| record);
        let all = sent.chain(again).chain(self.waiting.drain(..));
        all.for_each(|record| record.answer(Err(error.clone())));
        self.waiting_bytes = 0;
        self.again_at = None;
        self.attempts.reset();
        self.retries.reset();
    }
}
