//! One shard that is pushed by SubscribeToShard, subscription after subscription: the service ends each after five minutes.

use std::time::Duration;

use bytes::Bytes;
use frame::ShardId;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep, timeout};

use super::api::{
    Consumer, ConsumerArn, Failure, Nothing, Place, PushedRecords, RegisterStreamConsumer, SubscribeToShard,
    ToldConsumer,
};
use super::event::{Event, Events};
use super::pipe::{ANSWER_BYTES_MAX, Pipe, Signed, refused};
use super::streams::{Streams, number_of, patiently, while_refused};
use super::walk::{Sink, take};
use super::{HttpError, Wire};
use crate::native::{SILENCE_MAX, unless_over};
use crate::verify::Number;

/// How often the end of the run is looked for.
const LOOK: Duration = Duration::from_millis(20);

/// How long a subscription waits that the one before it still holds up.
const WAIT: Duration = Duration::from_millis(500);

/// How long subscribing may fail.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a consumer may take to become active.
const ACTIVE_MAX: Duration = Duration::from_secs(60);

/// Registers a consumer of a stream, and waits until it is there. `arn`, what subscriptions name it by, is told before that: whoever
/// does not wait so long takes it off again.
pub(super) async fn register(
    pipe: &Pipe,
    stream_arn: &str,
    name: &str,
    arn: &mut Option<String>,
) -> Result<(), HttpError> {
    let request = RegisterStreamConsumer { stream_arn, consumer_name: name };
    let ask = || pipe.ask::<ToldConsumer>("RegisterStreamConsumer", &request, SILENCE_MAX);
    let Consumer { consumer_arn, mut consumer_status } = patiently(ask).await?.consumer;
    let consumer_arn = &*arn.insert(consumer_arn);
    let until = Instant::now() + ACTIVE_MAX;
    while consumer_status != "ACTIVE" {
        if Instant::now() >= until {
            let name = format!("consumer {name}");
            return Err(HttpError::NotActive { name, status: consumer_status, waited: ACTIVE_MAX });
        }
        sleep(WAIT).await;
        let request = ConsumerArn { consumer_arn };
        let ask = || pipe.ask::<ToldConsumer>("DescribeStreamConsumer", &request, SILENCE_MAX);
        consumer_status = patiently(ask).await?.consumer.consumer_status;
    }
    Ok(())
}

/// Takes a consumer off its stream, if it is there. One that is still being made may be refused that for a while.
pub(super) async fn deregister(pipe: &Pipe, consumer_arn: &str) -> Result<(), HttpError> {
    let request = ConsumerArn { consumer_arn };
    let passes = |error: &HttpError| error.is("ResourceInUseException") || error.passes_by_itself();
    let ask = || pipe.ask::<Nothing>("DeregisterStreamConsumer", &request, SILENCE_MAX);
    match while_refused(passes, ask).await {
        Err(error) if !error.is("ResourceNotFoundException") => Err(error),
        _ => Ok(()),
    }
}

/// How a subscription ended.
enum Ended {
    /// It is to be followed by another.
    Over,
    /// Nothing more comes of the shard, or is wanted.
    Done,
}

/// A shard that is followed.
pub(super) struct Followed<'a> {
    pub(super) pipe: &'a Pipe,
    pub(super) streams: &'a Streams,
    pub(super) consumer_arn: &'a str,
    pub(super) shard: ShardId,
    pub(super) place: Place,
    /// Whether this subscription has told something.
    pub(super) has_told: bool,
}

impl Followed<'_> {
    /// Hands what is pushed to the sink until it is over; `level` hears when there is nothing more for now.
    pub(super) async fn follow(mut self, sink: &impl Sink, level: impl Fn(ShardId)) -> Result<(), HttpError> {
        let mut until = Instant::now() + PATIENCE;
        let mut last = Number::default();
        while !sink.is_over() {
            self.has_told = false;
            let Some(begun) = unless_over(self.subscribe(), || sink.is_over()).await else { return Ok(()) };
            let failed = match begun {
                Ok(body) => match self.take_all(body, sink, &level, &mut last).await {
                    Ok(Ended::Done) => return Ok(()),
                    Ok(Ended::Over) if self.has_told => {
                        until = Instant::now() + PATIENCE;
                        continue;
                    }
                    Ok(Ended::Over) => self.broken("the subscription ended at once".to_owned()),
                    Err(reason) => self.broken(reason),
                },
                Err(error) => error,
            };
            let is_held_up = failed.is("ResourceInUseException") || failed.passes_by_itself();
            if sink.is_over() || !is_held_up || Instant::now() >= until {
                return if sink.is_over() { Ok(()) } else { Err(failed) };
            }
            sleep(WAIT).await;
        }
        Ok(())
    }

    fn broken(&self, reason: String) -> HttpError {
        let url = self.pipe.endpoint.url().to_owned();
        HttpError::Broken { url, operation: "SubscribeToShard", reason }
    }

    async fn subscribe(&self) -> Result<Incoming, HttpError> {
        let shard = self.streams.shard(self.shard);
        let request = SubscribeToShard {
            consumer_arn: self.consumer_arn,
            shard_id: &shard.name,
            starting_position: self.place.clone().into(),
        };
        let body = serde_json::to_vec(&request).expect("a request is text and numbers");
        let mut signed = Signed::new(&self.pipe.endpoint, "SubscribeToShard", Wire::Json, body);
        let url = || self.pipe.endpoint.url().to_owned();
        let begun = timeout(SILENCE_MAX, self.pipe.begin(&mut signed)).await;
        let begun = begun.map_err(|_| HttpError::Silent { url: url(), waited: SILENCE_MAX })?;
        let (response, _) = begun.map_err(|failed| failed.error)?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let status = response.status();
        let body = timeout(SILENCE_MAX, Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect()).await;
        let body = body.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        Err(refused("SubscribeToShard", status, &body).error)
    }

    /// Takes the events of one subscription.
    async fn take_all(
        &mut self,
        mut body: Incoming,
        sink: &impl Sink,
        level: &impl Fn(ShardId),
        last: &mut Number,
    ) -> Result<Ended, String> {
        let (mut events, mut heard) = (Events::default(), Instant::now());
        while !sink.is_over() {
            let Ok(frame) = timeout(LOOK, body.frame()).await else {
                if heard.elapsed() > SILENCE_MAX {
                    return Err(format!("nothing was pushed for {} s", SILENCE_MAX.as_secs()));
                }
                continue;
            };
            let Some(frame) = frame else { return Ok(Ended::Over) };
            heard = Instant::now();
            let frame = frame.map_err(|error| super::endpoint::told(&error))?;
            events.push(frame.data_ref().map_or(&[][..], |data| data));
            while let Some(event) = events.next()? {
                match event {
                    Event::Records(payload) => {
                        if !self.took(&payload, sink, level, last)? {
                            return Ok(Ended::Done);
                        }
                    }
                    Event::Exception(name, body) => {
                        return Err(format!("{name}: {}", Failure::of(0, &body).message));
                    }
                    Event::Other => {}
                }
            }
        }
        Ok(Ended::Done)
    }

    /// Takes records that were pushed; whether more may come.
    fn took(
        &mut self,
        payload: &Bytes,
        sink: &impl Sink,
        level: &impl Fn(ShardId),
        last: &mut Number,
    ) -> Result<bool, String> {
        self.has_told = true;
        let pushed: PushedRecords<'_> =
            serde_json::from_slice(payload).map_err(|error| format!("an event that is none: {error}"))?;
        let taken = take(&pushed.records, self.shard, sink).and_then(|bytes| {
            sink.answered(bytes);
            pushed.records.last().map(|record| number_of(&record.sequence_number)).transpose()
        });
        match taken {
            Ok(number) => *last = number.unwrap_or(*last),
            Err(reason) => {
                sink.unreadable(self.shard, *last, reason);
                return Ok(false);
            }
        }
        if pushed.millis_behind_latest == 0 {
            level(self.shard);
        }
        match pushed.continuation_sequence_number {
            Some(number) => {
                self.place = Place::After { number };
                Ok(true)
            }
            None => {
                level(self.shard);
                Ok(false)
            }
        }
    }
}
