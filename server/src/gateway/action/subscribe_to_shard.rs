//! SubscribeToShard: records are pushed as they become durable, for five minutes or until the shard's end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use engine::Stream;
use frame::Sequence;
use frame::proto::{ErrorCode, Failure, ReadResult, ShardDescription, Start, Subscribe};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use wire::shape::{self, SubscribeToShardEvent};
use wire::validate::Checks;
use wire::{Codec, Error, ErrorKind, event_stream};

use super::position::{self, Position};
use super::{
    child_shards, consumer, end_if_dry, rate_exceeded, sequence_number, shard, shard_name, shard_of, told_record,
};
use crate::gateway::Shared;
use crate::gateway::extras::Extras;
use crate::gateway::following::{Following, Heard};
use crate::gateway::subscribers::Seat;

/// How long a subscription goes on.
const LIFETIME: Duration = Duration::from_secs(300);

/// Something is said at least so often.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// How long a last word waits for a client that takes nothing.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// A shard that can't be followed for the moment is tried again after this long.
const RETRY: Duration = Duration::from_millis(50);

/// For how long it is, without a record, where it is not known that this passes by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Events that wait to be sent: while one is sent, the next is made.
const EVENTS_WAITING_MAX: usize = 1;

pub(super) async fn run(shared: &Arc<Shared>, codec: Codec, input: shape::SubscribeToShard) -> Result<Events, Error> {
    let start = input.starting_position.unwrap_or_default();
    let mut checks = Checks::new();
    checks.required("consumerARN", input.consumer_arn.as_ref());
    checks.consumer_arn(input.consumer_arn.as_deref());
    checks.required("shardId", input.shard_id.as_ref()).name("shardId", input.shard_id.as_deref());
    checks.required("startingPosition.type", start.r#type.as_ref());
    checks.one_of("startingPosition.type", start.r#type.as_deref(), &position::TYPES);
    checks.number("startingPosition.sequenceNumber", start.sequence_number.as_deref(), 128);
    checks.done()?;
    let meant = consumer::by_arn(&shared.place, input.consumer_arn.as_deref().unwrap_or_default())?;
    let (stream, shard) = shard_of(shared, &meant.stream, input.shard_id.as_deref().unwrap_or_default()).await?;
    let extras = Extras::of(&stream)?;
    let consumer = &extras.consumers[meant.find(&shared.place, &extras)?];
    // As it is told: an ARN can be written in several ways.
    let arn = shared.place.consumer_arn(&stream.name, &consumer.name, consumer.created_ms);
    if !shared.rates.take("SubscribeToShard", (&arn, shard.shard.0)) {
        let message = rate_exceeded(&shared.place, &stream.name, shard_name(&stream, shard.shard));
        return Err(Error::new(ErrorKind::LimitExceeded, message));
    }
    let position = Position {
        kind: start.r#type.as_deref().unwrap_or_default(),
        number: start.sequence_number.as_deref(),
        time: start.timestamp,
        action: "SubscribeToShard",
    };
    let next = Sequence(position.find(shared, &stream, &shard).await?);
    end_if_dry(shared, &meant.stream, input.dry_run).await?;
    let seat = shared.subscribers.begin(&arn, shard.shard)?;
    // Who was deregistered meanwhile had no seat that could end.
    let (stream, _) = shared.log.describe(&shared.place, &stream.name, 0, 0).await?;
    meant.find(&shared.place, &Extras::of(&stream)?)?;
    let (events, coming) = mpsc::channel(EVENTS_WAITING_MAX);
    let (tell, taken) = watch::channel(false);
    let push = Box::new(Push {
        shared: Arc::clone(shared),
        codec,
        stream,
        shard,
        began: next,
        next,
        arrival_ms: position.arrival_ms(),
        is_behind: false,
        failure: None,
        patience: Patience::default(),
        events,
        taken,
    });
    let following = push.follow().await?;
    tokio::spawn(push.run(Box::new(following), seat));
    Ok(Events { coming, room: None, taken: tell })
}

/// An event, and the room that it takes until it is sent.
#[derive(Debug)]
struct Event {
    message: Bytes,
    room: Option<OwnedSemaphorePermit>,
}

/// A subscription's events, for whoever sends them.
#[derive(Debug)]
pub(in crate::gateway) struct Events {
    coming: mpsc::Receiver<Event>,
    /// Of the one that is being sent.
    room: Option<OwnedSemaphorePermit>,
    /// Whether all that there were are taken.
    taken: watch::Sender<bool>,
}

impl Events {
    /// The next one. Whoever asks has taken the last.
    pub(in crate::gateway) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let event = self.coming.poll_recv(context);
        self.room = None;
        self.taken.send_replace(event.is_pending());
        event.map(|event| {
            let Event { message, room } = event?;
            self.room = room;
            Some(message)
        })
    }
}

/// One subscription.
struct Push {
    shared: Arc<Shared>,
    codec: Codec,
    stream: Stream,
    shard: ShardDescription,
    /// Where it began.
    began: Sequence,
    /// The record that comes next, and when the last one arrived: of those given, or of those that it began behind.
    next: Sequence,
    arrival_ms: u64,
    /// Whether more had come by then.
    is_behind: bool,
    /// Why nothing comes behind what is told now.
    failure: Option<Failure>,
    patience: Patience,
    events: mpsc::Sender<Event>,
    /// Whether all of them are taken.
    taken: watch::Receiver<bool>,
}

/// With a shard that can't be followed for the moment. A record renews it.
#[derive(Default)]
struct Patience {
    /// When it ends, once something was tried again.
    ends: Option<Instant>,
}

impl Patience {
    /// Whether the shard is followed again after this. That a key is missing is told at once: it passes once somebody does something
    /// about it.
    fn holds(&mut self, code: ErrorCode, now: Instant) -> bool {
        match code {
            ErrorCode::Resharding | ErrorCode::ShuttingDown => true,
            ErrorCode::KeyMissing => false,
            code if code.is_read_quota() => true,
            code => code.may_pass() && now < *self.ends.get_or_insert(now + PATIENCE),
        }
    }
}

/// Why nothing more is pushed.
enum End {
    /// It is as it should be, or nobody listens.
    Clean,
    /// The client is told.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Failed(error)
    }
}

impl Push {
    /// Both are boxed: a task has room for what it holds wherever that is handed on.
    async fn run(mut self: Box<Push>, following: Box<Following>, seat: Seat) {
        let (events, subscribers) = (self.events.clone(), self.shared.subscribers.clone());
        let ended = Instant::now() + LIFETIME;
        let end = tokio::select! {
            end = self.push(following, ended) => end,
            // Who takes nothing holds it no longer either.
            () = tokio::time::sleep_until(ended + SEND_TIMEOUT) => End::Clean,
            () = events.closed() => End::Clean,
            () = subscribers.stopped() => End::Clean,
            error = seat.taken() => End::Failed(error),
        };
        if let End::Failed(error) = end
            && let Ok(message) = event_stream::exception(self.codec, &error)
        {
            let _ =
                tokio::time::timeout(SEND_TIMEOUT, events.send(Event { message: message.into(), room: None })).await;
        }
    }

    /// Pushes until the end.
    async fn push(&mut self, mut following: Box<Following>, ended: Instant) -> End {
        if let Err(end) = self.say("initial-response", BTreeMap::<&str, &str>::new()).await {
            return end;
        }
        loop {
            // None is made before the last one is being sent.
            if self.events.reserve().await.is_err() {
                return End::Clean;
            }
            let told = match self.next_event(&mut following, ended).await {
                Ok(Some(event)) => {
                    let goes_on = event.continuation_sequence_number.is_some();
                    self.say("SubscribeToShardEvent", event).await.map(|()| goes_on)
                }
                Ok(None) => Ok(false),
                Err(end) => Err(end),
            };
            match told {
                Ok(true) => {}
                Ok(false) => return End::Clean,
                Err(end) => return end,
            }
        }
    }

    /// What is to be said next: records, or after a while that there are none. Nothing when the time is up.
    async fn next_event(
        &mut self,
        following: &mut Following,
        ended: Instant,
    ) -> Result<Option<SubscribeToShardEvent>, End> {
        if let Some(failure) = self.failure.take() {
            *following = self.go_on(failure).await?;
        }
        let mut records = Vec::new();
        let mut place = None;
        let silent = Instant::now() + SILENCE_MAX;
        // All of what was told at once is one event.
        while records.is_empty() || following.has_more() {
            let (made_s, name) = (self.shard.created_ms / 1000, shard_name(&self.stream, self.shard.shard));
            let heard = timeout_at(
                silent.min(ended),
                following.next(|record, encrypted| {
                    let contents = (Bytes::copy_from_slice(record.key), Bytes::copy_from_slice(record.data));
                    records.push(told_record((made_s, name), record, contents, encrypted));
                }),
            );
            match heard.await {
                Ok(Heard::Place(result)) => {
                    (self.next, self.is_behind) = (result.next, result.next < result.tip);
                    if !self.is_behind {
                        self.arrival_ms = self.arrival_ms.max(result.tip_arrival_ms);
                    }
                    place = Some(result);
                    // The first says where it begins, and a last one where it goes on.
                    if result.children.is_some() {
                        break;
                    }
                }
                Ok(Heard::Within(first)) => {
                    self.next = first;
                    *following = self.follow().await?.going_on();
                }
                Ok(Heard::Ended(failure)) if self.patience.holds(failure.code, Instant::now()) => {
                    *following = self.follow_again(ended).await?;
                    // That may go on for long.
                    match Instant::now() {
                        now if now >= ended => return Ok(None),
                        now if now >= silent => break,
                        _ => {}
                    }
                }
                // Records that came before it are told first.
                Ok(Heard::Ended(failure)) if !records.is_empty() => {
                    self.failure = Some(failure);
                    break;
                }
                Ok(Heard::Ended(failure)) => {
                    *following = self.go_on(failure).await?;
                    // There may be many, one by one.
                    if Instant::now() >= silent {
                        break;
                    }
                }
                Err(_) if Instant::now() >= ended => return Ok(None),
                Err(_) => break,
            }
        }
        if let Some(last) = records.last() {
            self.patience = Patience::default();
            self.arrival_ms = last.approximate_arrival_timestamp.ms;
        }
        self.event(records, place).await.map(Some).map_err(End::Failed)
    }

    async fn event(
        &self,
        records: Vec<shape::Record>,
        place: Option<ReadResult>,
    ) -> Result<SubscribeToShardEvent, Error> {
        // Of who was given nothing yet, what comes next may be as old as anything that is kept.
        let time = self.shared.log.time();
        let given_ms = self.arrival_ms.max(self.shard.created_ms).max(shard::horizon_ms(&self.stream, &time));
        let millis_behind_latest = if self.is_behind { time.arrival_ms.saturating_sub(given_ms).max(1) } else { 0 };
        let child_shards = match place.and_then(|place| place.children) {
            Some(children) => {
                let Stream { name, first_shard, .. } = &self.stream;
                Some(child_shards(&self.shared, (name, *first_shard), children).await?.0)
            }
            None => None,
        };
        let name = shard_name(&self.stream, self.shard.shard);
        let arrival_ms = self.arrival_ms.max(self.shard.created_ms);
        // A reader goes on after it.
        let last = sequence_number(self.shard.created_ms / 1000, name, self.next.0.saturating_sub(1), arrival_ms);
        let continuation_sequence_number = child_shards.is_none().then_some(last);
        Ok(SubscribeToShardEvent { records, continuation_sequence_number, millis_behind_latest, child_shards })
    }

    async fn say<T: serde::Serialize>(&mut self, name: &'static str, event: T) -> Result<(), End> {
        let message = event_stream::event(self.codec, name, &event)?;
        // It may wait long for the client; what it was made of need not.
        drop(event);
        // While one is sent the next is made, if there is room for it. Who takes all that there is waits for nobody else.
        let room = Arc::clone(&self.shared.events).try_acquire_many_owned(message.len() as u32).ok();
        if room.is_none() {
            // That nobody is there to take them is found out by sending.
            let _ = self.taken.wait_for(|taken| *taken).await;
        }
        self.events.send(Event { message: message.into(), room }).await.map_err(|_| End::Clean)
    }

    async fn follow(&self) -> Result<Following, Error> {
        let (stream, shard) = (self.stream.stream, self.shard.shard);
        self.shared.log.follow(Subscribe { stream, shard, start: Start::At(self.next), granted: 0 }).await
    }

    /// Goes on behind damaged records, if readers do. Who began behind them, within a record in parts, does without that record.
    async fn go_on(&mut self, failure: Failure) -> Result<Following, Error> {
        let place = sequence_number(self.shard.created_ms / 1000, shard_name(&self.stream, self.shard.shard), 0, 0);
        let is_before = failure.damaged.as_ref().is_some_and(|numbers| numbers.end <= self.began);
        self.next = match is_before {
            true => self.began,
            false => self.shared.damaged.go_on(&self.stream.name, (self.shard.shard, place), failure)?,
        };
        Ok(self.follow().await?.going_on())
    }

    /// Goes on after something that may pass by itself, such as a move of the shard.
    async fn follow_again(&self, ended: Instant) -> Result<Following, End> {
        tokio::time::sleep_until((Instant::now() + RETRY).min(ended)).await;
        self.follow().await.map_err(End::Failed)
    }
}

#[cfg(test)]
#[path = "subscribe_to_shard/tests.rs"]
mod tests;
