//! What other threads ask, through a [`Handle`]: taken up in turn with what connections send.

use std::sync::Arc;

use frame::proto::{AckResult, StreamList};
use frame::{Frame, Retention};

use super::*;
use crate::catalog::Change;
use crate::exchange::Wake;
use crate::handle::{Answer, Call, Handle, Outcome, OwnWaiting, Reply};
use crate::intake::Place;
use crate::limits::CALLS_IN_PROGRESS_MAX;
use crate::router::{Outline, Unrouted};

impl<I: Io> Reactor<I> {
    /// What other threads reach this reactor by, and other reactors wake it by: with several of them each needs one. `wake`
    /// makes its turn end if it sleeps.
    pub fn handle(&mut self, wake: impl Fn() + Send + Sync + 'static) -> Handle {
        let wake: Wake = Arc::new(wake);
        self.exchange().rung_by(self.owners.own(), Arc::clone(&wake));
        let waiting = Arc::clone(&self.waiting.get_or_insert_with(OwnWaiting::new).0);
        let shared = (Arc::clone(self.exchange()), self.clock.clone());
        Handle::new(self.owners.own(), shared, waiting, wake)
    }

    /// Takes up the calls that wait, while there is room for what they bring.
    pub(super) fn take_calls(&mut self) {
        // Those that come meanwhile have their turn in the next one.
        for _ in 0..self.calls_waiting() {
            if !self.may_take_call() {
                return;
            }
            let Some((call, reply)) = self.waiting.as_ref().and_then(|waiting| waiting.calls.pop()) else { return };
            self.take_call(call, reply);
        }
    }

    /// How many wait.
    pub(super) fn calls_waiting(&self) -> usize {
        self.waiting.as_ref().map_or(0, |waiting| waiting.calls.len())
    }

    /// Whether there is room for what a call brings.
    fn may_take_call(&self) -> bool {
        self.life == Life::Running && self.may_take_input() && self.callers.in_use() < CALLS_IN_PROGRESS_MAX
    }

    /// Whether a call waits that may be taken up now.
    pub(super) fn has_call(&self) -> bool {
        self.calls_waiting() > 0 && self.may_take_call()
    }

    fn take_call(&mut self, call: Call, reply: Reply) {
        let slot = self.callers.take();
        self.callers[slot].reply = Some(reply);
        let asker = Asker::Call(slot);
        match call {
            Call::CreateStream { name, shards, settings, annotation } => {
                self.create_new_stream(asker, &name, shards, settings, annotation);
            }
            Call::Annotate { stream: None, annotation } => self.annotate(asker, None, annotation),
            Call::Annotate { stream: Some(stream), annotation } => {
                self.change_stream(asker, stream, |this, name| this.annotate(asker, Some(name), annotation));
            }
            Call::Annotation => self.reply(slot, Answer::Annotation(Arc::clone(self.catalog.annotation()))),
            Call::SetQuotas { name, quotas } => self.set_quotas(asker, &name, quotas),
            Call::SplitShard { name, shard, at } => self.reshard(asker, &name, Change::Split { shard, at }),
            Call::MergeShards { name, shard, adjacent } => {
                self.reshard(asker, &name, Change::Merge { shard, adjacent });
            }
            Call::MoveShard { name, shard, reactor } => {
                self.reshard(asker, &name, Change::Move { shard, home: reactor });
            }
            Call::SetRetention { name, retention } => self.set_retention(asker, &name, |_| retention),
            Call::SetRetentionPeriod { stream, seconds } => {
                let change = |before| Retention { seconds, ..before };
                self.change_stream(asker, stream, |this, name| this.set_retention(asker, name, change));
            }
            Call::Encrypt { stream, key } => {
                self.change_stream(asker, stream, |this, name| this.encrypt(asker, name, key));
            }
            Call::DeleteStream { name } => self.delete_stream(asker, &name),
            Call::DescribeStream { name, from, limit } => self.describe_stream(slot, &name, from, limit),
            Call::Demand { name, .. } => self.tell_demand(slot, &name),
            Call::ListStreams(list) => {
                let StreamList { names, more } = self.names_of_streams(&list);
                let streams = names.iter().filter_map(|name| self.catalog.by_name(name));
                let answer = Answer::Streams(streams.map(|stream| stream.outline()).collect(), more);
                self.reply(slot, answer);
            }
            Call::Append { name, frames } => self.append_frames(slot, &name, frames),
            Call::Read { read, frames_max, counts } => self.read(asker, (read, frames_max), counts),
            Call::GiveBack { stream, shard, bytes } => {
                self.give_back(stream, shard, bytes);
                self.reply(slot, Answer::Done);
            }
            Call::Follow { subscribe, hear } => self.follow(slot, subscribe, hear),
            Call::Took { follower, granted } => {
                self.reply(slot, Answer::Done);
                self.follower_took(follower.peer, granted);
            }
            Call::Unfollow(follower) => {
                self.reply(slot, Answer::Done);
                self.unfollow(follower.peer);
            }
        }
    }

    /// Does something to the stream of a number, by its name. Where that stream is gone nothing is done to one that has the name since.
    fn change_stream(&mut self, asker: Asker, stream: StreamId, change: impl FnOnce(&mut Self, &str)) {
        match self.planned.stream(stream).map(|stream| stream.name.clone()) {
            Some(name) => change(self, &name),
            None => self.fail(asker, ErrorCode::UnknownStream, DELETED),
        }
    }

    fn describe_stream(&mut self, slot: u32, name: &str, from: u32, limit: u32) {
        let Some(stream) = self.shown(name) else { return self.fail_unknown(Asker::Call(slot), name) };
        let from = ShardId(stream.first_shard.0.saturating_add(from));
        let shards = self.describe_shards(stream).filter(|shard| shard.shard >= from).take(limit as usize).collect();
        let answer = Answer::Stream(stream.outline(), shards);
        self.reply(slot, answer);
    }

    fn give_back(&mut self, stream: StreamId, shard: ShardId, bytes: u64) {
        // A shard that has moved meanwhile has taken the debt along.
        if let Some(stream) = self.catalog.stream(stream).filter(|_| self.owners.is_own(shard)) {
            self.buckets.give_back(shard, &stream.quotas, bytes, self.io.mono_ns());
        }
    }

    fn tell_demand(&mut self, slot: u32, name: &str) {
        let asker = Asker::Call(slot);
        let Some(stream) = self.catalog.by_name(name) else { return self.fail_unknown(asker, name) };
        match self.watch.look(stream.stream, self.io.mono_ns()) {
            Some(demand) => self.reply(slot, Answer::Demand(demand)),
            None => self.fail(asker, ErrorCode::Busy, "as many streams are watched as may be; try again in a minute"),
        }
    }

    /// Takes in an append's frames, which stay where they lie until all of it is settled, but for parts of large records.
    fn append_frames(&mut self, slot: u32, name: &str, frames: Vec<u8>) {
        let asker = Asker::Call(slot);
        if self.fail_if_poisoned(asker) {
            return;
        }
        let Some(stream) = self.catalog.by_name(name) else { return self.fail_unknown(asker, name) };
        self.callers[slot].stream = Some(stream.outline());
        let stream = stream.stream;
        let batch = self.intake.keep_handed(frames);
        self.callers[slot].batch = Some(batch);
        let append = self.appends.begin(asker);
        let (mut index, mut offset) = (0, 0);
        while let Ok(frame) = Frame::parse(self.intake.handed(batch, offset)) {
            let (taken, length) = if frame.is_part() {
                // Out of the intake while it takes the parts in.
                let frames = self.intake.lift_handed(batch);
                let rest = frames.get(offset as usize..).unwrap_or_default();
                let (taken, after) = self.gather_parts(rest);
                let length = rest.len() - after.len();
                self.intake.put_handed(batch, frames);
                (taken, length)
            } else {
                (Ok((Place::Handed { batch, offset }, Outline::of(&frame))), frame.length())
            };
            match taken {
                Ok((place, outline)) => {
                    self.appends.wait(append);
                    self.route_one(Unrouted { stream, place, outline, append, index });
                }
                Err(code) => self.appends.refuse(append, index, code),
            }
            index += 1;
            offset += length as u32;
        }
        debug_assert!(self.intake.handed(batch, offset).is_empty(), "an append is made of whole frames");
        if self.appends.end(append, 0) {
            self.append_done(append);
        }
    }

    /// An append of a call is settled.
    pub(super) fn answer_append(&mut self, number: u32, slot: u32) {
        if let Some(batch) = self.callers[slot].batch.take() {
            self.intake.take_handed(batch);
        }
        let append = self.appends.find(number);
        if append.unknown {
            self.appends.release(number);
            return self.fail(Asker::Call(slot), ErrorCode::StorageFailed, UNKNOWN_FATE);
        }
        let stream = self.callers[slot].stream.as_ref().and_then(|stream| self.catalog.stream(stream.stream));
        // A stream that was deleted meanwhile has none that anybody could ask for.
        let made_ms = |shard| stream.and_then(|stream| stream.find(shard)).map_or(0, |shard| shard.created_ms);
        let mut outcomes = vec![Outcome::Refused(ErrorCode::StorageFailed); append.results.len()];
        for ((index, result), arrival_ms) in append.results.iter().zip(append.arrivals()) {
            outcomes[*index as usize] = match *result {
                AckResult::Durable(shard, sequence) => {
                    let made_ms = made_ms(shard);
                    Outcome::Durable { shard, made_ms, sequence, arrival_ms }
                }
                AckResult::Refused(code) => Outcome::Refused(code),
                AckResult::Throttled(code, shard) => Outcome::Throttled(code, shard),
            };
        }
        self.appends.release(number);
        if let Some(stream) = self.callers[slot].stream.take() {
            self.reply(slot, Answer::Appended(stream, outcomes));
        }
    }

    pub(super) fn reply(&mut self, slot: u32, answer: Answer) {
        let caller = &mut self.callers[slot];
        caller.stream = None;
        if let Some(reply) = caller.reply.take() {
            self.callers.release(slot);
            reply(answer);
        }
    }
}
