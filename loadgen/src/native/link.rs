//! One connection that produces: a writer task that sends messages in order, and a reader task that takes their
//! acknowledgements. Both run on the core that owns the connection.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::Shutdown;
use std::rc::Rc;

use frame::StreamId;
use frame::proto::{Client, ClientEvent};
use tokio::sync::Notify;
use tokio_uring::buf::BoundedBuf;

use super::batch::{BatchLimits, Message, message_bytes};
use super::core::{Core, Due};
use super::missed::Missed;
use super::pace::outlasts;
use super::session::{Received, Session};
use super::socket::TcpStream;
use super::sorted::{Batch, Sorted, Waiter};
use super::ways::{Part, Way};
use super::{NativeError, Pace, Producers, Target};
use crate::recorder::BatchTimes;
use crate::verify::{InFlight, Ledger};

/// Bytes of a message that are written at once. The kernel copies them, and handles what the other end says of them, in one
/// go, which no other connection of the core can interrupt.
const SLICE_BYTES: usize = 64 << 10;

/// One producing connection.
pub(super) struct Link {
    pub(super) number: u32,
    /// Which of the run's groups of producers it belongs to.
    group: usize,
    stream: Rc<TcpStream>,
    pub(super) limits: BatchLimits,
    pace: Pace,
    bytes_max: u64,
    /// What it writes in turn.
    pub(super) parts: Vec<Part>,
    state: RefCell<State>,
    waits: Cell<Waits>,
    /// The writer waits here for room, credit, records, a due time, a message, or the end.
    wake: Rc<Notify>,
    /// A message was taken off the outbox, or an acknowledgement came.
    pub(super) progress: Notify,
}

/// What the writer waits for that is the server's to give, and since which turn of the core. Credit may lie unread, and a write for
/// which there is room takes no longer than a turn: it waits for the server once that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Nothing,
    Credit(u64),
    Room(u64),
}

impl Waits {
    /// Since when it is the server that is waited for, by this turn.
    fn for_server(self, turn: u64) -> Option<u64> {
        match self {
            Self::Credit(since) | Self::Room(since) if outlasts(since, turn) => Some(since),
            _ => None,
        }
    }
}

struct State {
    client: Client,
    in_flight: Option<InFlight>,
    outstanding: u32,
    /// Times of an open loop that have come.
    due: VecDeque<Due>,
    /// Those that came once it was gone.
    missed: Missed,
    /// What leaves at the next times of an open loop.
    ahead: VecDeque<Batch>,
    /// Messages of a person's own rows.
    outbox: VecDeque<Message>,
    next_part: usize,
    /// When the last acknowledgement came.
    acked_ns: u64,
    ended: bool,
}

impl Link {
    /// Connects. Returns what was received beyond the handshake for [`receive`].
    pub(super) async fn connect(
        target: &Target,
        (group, producers): (usize, &Producers),
        (first_number, way): (u32, Way),
        ledger: &Ledger,
    ) -> Result<(Rc<Self>, Received), NativeError> {
        let (session, welcome) = Session::open_at(target, way.address).await?;
        let number = first_number + way.number;
        let state = State {
            client: session.client,
            in_flight: Some(InFlight::new(number, ledger)),
            outstanding: 0,
            due: VecDeque::new(),
            missed: Missed::default(),
            ahead: VecDeque::new(),
            outbox: VecDeque::new(),
            next_part: 0,
            acked_ns: 0,
            ended: false,
        };
        let link = Self {
            number,
            group,
            stream: session.stream,
            limits: BatchLimits::new(producers.batch_records, &welcome),
            pace: producers.pace,
            bytes_max: producers.bytes_max,
            parts: way.parts,
            state: RefCell::new(state),
            waits: Cell::new(Waits::Nothing),
            wake: Rc::default(),
            progress: Notify::new(),
        };
        Ok((Rc::new(link), session.received))
    }

    /// Refuses records of which not even one fits the server's messages.
    pub(super) fn check_record_size(&self, key_bytes: usize, data_bytes: usize) -> Result<(), NativeError> {
        let (bytes, bytes_max) = (message_bytes(key_bytes, data_bytes), self.limits.one_record_bytes);
        if bytes > bytes_max { Err(NativeError::BatchTooLarge { bytes, bytes_max }) } else { Ok(()) }
    }

    /// The next of its streams.
    pub(super) fn next_stream(&self) -> StreamId {
        let mut state = self.state.borrow_mut();
        state.next_part += 1;
        self.parts[(state.next_part - 1) % self.parts.len()].id
    }

    /// Begins a message to a stream.
    pub(super) fn begin_message(&self, core: &Core, stream: StreamId) -> Message {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let batch = state.in_flight.as_mut().map(InFlight::spare).unwrap_or_default();
        Message::begin(core.spare_buffer(), batch, &mut state.client, stream)
    }

    /// Whether it sends whenever one of its batches is acknowledged.
    pub(super) fn is_closed_loop(&self) -> bool {
        matches!(self.pace, Pace::Closed { .. })
    }

    /// Whether a record still fits a message.
    pub(super) fn has_room(&self, message: &Message, key_bytes: usize, data_bytes: usize) -> bool {
        message.has_room(self.limits, key_bytes, data_bytes)
    }

    /// Adds what leaves at a time of an open loop that will come.
    pub(super) fn push_ahead(&self, batch: Batch) {
        let mut state = self.state.borrow_mut();
        if !state.ended {
            state.ahead.push_back(batch);
        }
        self.wake.notify_one();
    }

    /// Adds a time of an open loop that has come.
    pub(super) fn push_due(&self, due: Due) {
        let mut state = self.state.borrow_mut();
        match state.ended {
            false => state.due.push_back(due),
            true => state.missed.push(due),
        }
        self.wake.notify_one();
    }

    /// How many of those wait, and since which turn they do for the server.
    pub(super) fn look(&self, turn: u64) -> (usize, Option<u64>) {
        let state = self.state.borrow();
        // Of one that is gone they are told at the end.
        let batches = if state.ended { 0 } else { state.due.len() };
        (batches, self.waits.get().for_server(turn))
    }

    /// Adds a message of a person's own rows.
    pub(super) fn push_message(&self, message: Message) {
        self.state.borrow_mut().outbox.push_back(message);
        self.wake.notify_one();
    }

    /// Messages waiting to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.state.borrow().outbox.len()
    }

    /// Whether everything sent has its answer and nothing waits.
    pub(super) fn idle(&self) -> bool {
        let state = self.state.borrow();
        state.ended || (state.outstanding == 0 && state.outbox.is_empty())
    }

    /// Batches sent without an answer.
    pub(super) fn outstanding(&self) -> u32 {
        let state = self.state.borrow();
        if state.ended { 0 } else { state.outstanding }
    }

    /// Whether the connection is gone.
    pub(super) fn ended(&self) -> bool {
        self.state.borrow().ended
    }

    /// Lets the writer look at the stop sign.
    pub(super) fn nudge(&self) {
        self.wake.notify_one();
    }

    /// Ends the connection from this side: both tasks end by themselves then, with nothing left in the ring.
    pub(super) fn shut_down(&self) {
        self.state.borrow_mut().ended = true;
        let _ = self.stream.shutdown(Shutdown::Both);
        self.wake.notify_one();
    }

    /// Waits for room in a closed loop, and for records; `None` to stop.
    pub(super) async fn next_batch(&self, core: &Core, sorted: &RefCell<Sorted>) -> Option<Batch> {
        let waiter = Waiter { number: self.number, wake: &self.wake };
        self.until(core, |state| {
            let has_room = matches!(self.pace, Pace::Closed { inflight } if state.outstanding < inflight);
            let take = || sorted.borrow_mut().take(&self.parts, &mut state.next_part, self.limits, waiter);
            has_room.then(take).flatten()
        })
        .await
    }

    /// Waits for what leaves at the next time of an open loop; `None` to stop.
    pub(super) async fn ahead(&self, core: &Core) -> Option<Batch> {
        self.until(core, |state| state.ahead.pop_front()).await
    }

    /// Waits for that time; `None` to stop.
    pub(super) async fn due(&self, core: &Core) -> Option<u64> {
        self.until(core, |state| state.due.pop_front()).await.map(|(due_ns, _)| due_ns)
    }

    /// Waits for a message in the outbox, and for room in a closed loop; `None` to stop.
    pub(super) async fn next_message(&self, core: &Core) -> Option<Message> {
        let message = self
            .until(core, |state| match self.pace {
                Pace::Closed { inflight } if state.outstanding >= inflight => None,
                _ => state.outbox.pop_front(),
            })
            .await;
        self.progress.notify_one();
        message
    }

    async fn until<T>(&self, core: &Core, mut ready: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        loop {
            if core.stopped() || self.ended() {
                return None;
            }
            if let Some(found) = ready(&mut self.state.borrow_mut()) {
                return Some(found);
            }
            self.wake.notified().await;
        }
    }

    /// Sends one message as soon as there is credit for it; `false` to stop.
    pub(super) async fn send(&self, core: &Core, mut message: Message) -> bool {
        let (length, mut waited_from_ns) = (message.bytes.len(), None);
        if !self.state.borrow().client.may_append(length) {
            waited_from_ns = Some(core.clock.now_ns());
            core.counts.borrow_mut().groups[self.group].waited_for_credit += 1;
            let credit = self.until(core, |state| {
                let has_credit = state.client.may_append(length);
                // What was given and is too little is waited for anew.
                if !has_credit && self.waits.get() == Waits::Nothing {
                    self.waits.set(Waits::Credit(core.turns.now()));
                }
                has_credit.then_some(())
            });
            let credit = credit.await;
            self.waits.set(Waits::Nothing);
            if credit.is_none() {
                self.state.borrow_mut().outbox.push_front(message);
                return false;
            }
        }
        if !core.shared.reserve(self.group, message.content_bytes, self.bytes_max) {
            return false;
        }
        message.finish();
        let Message { bytes, mut batch, .. } = message;
        batch.sent_ns = core.clock.now_ns();
        match self.pace {
            // It was meant to leave when there was room for it: the wait for credit is the server's.
            Pace::Closed { .. } => batch.intended_ns = waited_from_ns.unwrap_or(batch.sent_ns),
            Pace::Open { .. } | Pace::Replay { .. } => {
                core.counts.borrow_mut().groups[self.group].lateness.record(batch.intended_ns, batch.sent_ns);
            }
        }
        {
            let mut state = self.state.borrow_mut();
            state.client.appended(length);
            state.outstanding += 1;
            state.in_flight.as_mut().expect("taken only after the writer ended").sent(batch);
        }
        match self.write(core, bytes).await {
            Ok(bytes) => core.keep_buffer(bytes),
            Err(error) => {
                self.end(core, format!("sending failed: {error}"));
                return false;
            }
        }
        true
    }

    /// Writes a message, a slice at a time: what others of this core are to send meanwhile does not wait for all of it.
    async fn write(&self, core: &Core, mut bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
        let (mut at, length) = (0, bytes.len());
        while at < length {
            let end = length.min(at + SLICE_BYTES);
            self.waits.set(Waits::Room(core.turns.now()));
            let (written, slice) = self.stream.write_all(bytes.slice(at..end)).await;
            self.waits.set(Waits::Nothing);
            written?;
            (bytes, at) = (slice.into_inner(), end);
        }
        Ok(bytes)
    }

    /// Marks the connection as gone, once.
    fn end(&self, core: &Core, reason: String) {
        let ended = std::mem::replace(&mut self.state.borrow_mut().ended, true);
        if !ended {
            core.counts.borrow_mut().lost.push(format!("connection {}: {reason}", self.number));
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        self.wake.notify_one();
        self.progress.notify_one();
    }

    /// Settles what is left once both tasks have ended, and what was due and never sent.
    pub(super) fn settle(&self, core: &Core) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let now_ns = core.clock.now_ns();
        // It waited for what was under way before it.
        let until_ns = if state.outstanding > 0 { now_ns } else { state.acked_ns.max(core.shared.ran_ns()) };
        let messages = state.outbox.drain(..).filter(|_| !self.is_closed_loop());
        let messages = messages.map(|message| (message.batch.intended_ns, message.batch.records.len() as u64));
        for due in messages.chain(state.due.drain(..)) {
            core.unserved(self.group, due, until_ns);
        }
        state.missed.tell(core, self.group, until_ns);
        let mut counts = core.counts.borrow_mut();
        if let Some(in_flight) = state.in_flight.take() {
            for (times, records) in in_flight.unanswered(now_ns) {
                counts.groups[self.group].recorder.unanswered(times, records);
            }
            in_flight.ended(&mut counts.ledger);
        }
    }

    /// Takes the events in `received` from `at` on. An error ends the connection.
    fn take_events(&self, core: &Core, input: &[u8], mut at: usize) -> Result<(), String> {
        let acked_ns = core.clock.now_ns();
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        loop {
            match state.client.step(input, &mut at).map_err(|violation| violation.to_string())? {
                None => return Ok(()),
                Some(ClientEvent::Credit) => {
                    if let Waits::Credit(_) = self.waits.get() {
                        self.waits.set(Waits::Nothing);
                    }
                    self.wake.notify_one();
                }
                Some(ClientEvent::Ack(span)) => {
                    state.acked_ns = acked_ns;
                    let mut counts = core.counts.borrow_mut();
                    let in_flight = state.in_flight.as_mut().expect("taken only after the reader ended");
                    for batch in state.client.acks(&span, input) {
                        let acked = in_flight.acknowledged(batch.request.0, batch.results(), &mut counts.ledger);
                        let (intended_ns, sent_ns) = (acked.intended_ns, acked.sent_ns);
                        let times = BatchTimes { intended_ns, sent_ns, acked_ns };
                        if acked.records > 0 {
                            counts.groups[self.group].recorder.acknowledged(times, acked.records, acked.bytes);
                            core.shared.count_acked(acked.records, acked.bytes);
                        }
                        counts.groups[self.group].batches += u64::from(acked.stored);
                        if acked.complete {
                            state.outstanding = state.outstanding.saturating_sub(1);
                        }
                    }
                    core.trim_ledger(&mut counts);
                    self.wake.notify_one();
                    self.progress.notify_one();
                }
                Some(ClientEvent::Error(_, failure)) => return Err(failure.to_string()),
                Some(other) => return Err(format!("the server answered what was not asked: {other:?}")),
            }
        }
    }
}

/// The reader task: takes acknowledgements until the connection ends.
pub(super) async fn receive(link: Rc<Link>, core: Rc<Core>, mut received: Received) {
    loop {
        let input = &received.buffer[..received.filled];
        if let Err(reason) = link.take_events(&core, input, received.at) {
            link.end(&core, reason);
            return;
        }
        let (read, buffer) = link.stream.read(received.buffer).await;
        received = Received { buffer, filled: 0, at: 0 };
        match read {
            Ok(0) => return link.end(&core, "the server closed it".to_owned()),
            Ok(bytes) => received.filled = bytes,
            Err(error) => return link.end(&core, format!("receiving failed: {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug, found on reading: a generator short of the processor was told to have kept up. Mechanism: each write that was under way, and
    /// each wait for credit that lay unread, was taken for one that waits for the server. Fix: those are that outlast a turn.
    #[test]
    fn a_wait_is_for_the_server_if_it_outlasts_a_turn() {
        for waits in [Waits::Room(7), Waits::Credit(7)] {
            let looks = [7, 8, 9, 12].map(|turn| waits.for_server(turn));
            assert_eq!(looks, [None, None, Some(7), Some(7)], "{waits:?}");
        }
        assert_eq!(Waits::Nothing.for_server(9), None);
    }
}
