//! Records pushed to subscribers, as they become durable and as credit and connection allow.

use frame::proto::{Children, Grant, ReadResult, Subscribe};

use super::*;
use crate::buckets::Bucket;
use crate::catalog::Closed;
use crate::limits::{
    PUSH_BYTES_MAX, PUSH_TURN_BYTES_MAX, PUSHES_PER_TURN_MAX, QUOTA_PAUSE_BEHIND_NS, QUOTA_PAUSE_NS, SUBSCRIPTIONS_MAX,
    SUBSCRIPTIONS_PER_CONNECTION_MAX, SUBSCRIPTIONS_PER_SHARD_MAX,
};
use crate::reads::Found;
use crate::shards::Shard;
use crate::subscriptions::Subscription;

impl<I: Io> Reactor<I> {
    /// Begins a subscription, and tells where.
    pub(super) fn subscribe(&mut self, peer: Peer, request: RequestId, subscribe: Subscribe) {
        let asker = Asker::Peer(peer, request);
        let Subscribe { stream, shard, start, granted } = subscribe;
        if !self.has_shard(asker, stream, shard) {
            return;
        }
        let Some(tip) = self.shards.find(shard).copied() else { return };
        let (next, since_ms) = match self.place(shard, start) {
            Ok(place) => place,
            Err(Failure { code, detail, .. }) => return self.fail(asker, code, &detail),
        };
        let known = &self.connections[peer.slot].subscriptions;
        if known.contains_key(&request) {
            return self.fail(asker, ErrorCode::InvalidArgument, "a subscription of this request number goes on");
        }
        let is_full = known.len() >= SUBSCRIPTIONS_PER_CONNECTION_MAX
            || self.subscriptions.len() >= SUBSCRIPTIONS_MAX
            || self.subscriptions.count_of(shard) >= SUBSCRIPTIONS_PER_SHARD_MAX;
        if is_full {
            let detail = format!(
                "a connection has up to {SUBSCRIPTIONS_PER_CONNECTION_MAX} subscriptions, a shard up to \
                 {SUBSCRIPTIONS_PER_SHARD_MAX}, and the server up to {SUBSCRIPTIONS_MAX}; end some"
            );
            return self.fail(asker, ErrorCode::Busy, &detail);
        }
        let (tip, tip_arrival_ms) = (tip.durable_next, tip.durable_arrival_ms);
        let trim = self.shards.first_kept(shard);
        let (children, encrypted) = (None, false);
        let mut result = ReadResult { shard, records: 0, next, tip, tip_arrival_ms, children, trim, encrypted };
        self.note_end(stream, &mut result);
        result.encode(&mut self.connections[peer.slot].outgoing.control, request, 0);
        self.make_dirty(peer);
        if result.children.is_some() {
            // It begins where a closed shard ended: that is all.
            return;
        }
        let quota = Bucket::empty(self.io.mono_ns());
        let slot = self.subscriptions.begin(Subscription::new(peer, request, (stream, shard), (next, since_ms), quota));
        self.connections[peer.slot].subscriptions.insert(request, slot);
        self.grant(peer, request, Grant { granted });
    }

    /// More credit for a subscription. One that ended meanwhile is no mistake of the client's.
    pub(super) fn grant(&mut self, peer: Peer, request: RequestId, grant: Grant) {
        let Some(&slot) = self.connections[peer.slot].subscriptions.get(&request) else { return };
        let subscription = self.subscriptions.find(slot);
        subscription.granted = subscription.granted.max(grant.granted);
        self.queue_if_due(peer, slot);
    }

    pub(super) fn unsubscribe(&mut self, peer: Peer, request: RequestId) {
        let connection = &mut self.connections[peer.slot];
        let Some(slot) = connection.subscriptions.remove(&request) else { return };
        Server::unsubscribed(connection.outgoing.behind_records(), request);
        connection.note_ended(request);
        self.end_one(peer, slot);
        self.make_dirty(peer);
    }

    /// Ends a subscription, and what was to be read for it alone.
    fn end_one(&mut self, peer: Peer, slot: u32) {
        let was_parked = self.subscriptions.is_parked(slot);
        if let Some(key) = self.subscriptions.end(slot) {
            self.reads.unwish(key);
        }
        self.connections[peer.slot].parked -= usize::from(was_parked);
        self.push_again(peer);
    }

    /// Records of a shard have become durable: its subscribers are due.
    pub(super) fn notify(&mut self, shard: ShardId) {
        let mut due = std::mem::take(&mut self.due);
        due.extend(self.subscriptions.due_of_shard(&self.shards, shard));
        self.queue_all(due);
    }

    fn queue_if_due(&mut self, peer: Peer, slot: u32) {
        if self.subscriptions.becomes_due(&self.shards, slot) {
            self.queue(peer, slot);
        }
    }

    fn queue(&mut self, peer: Peer, slot: u32) {
        self.connections[peer.slot].due.push_back(slot);
        self.push_again(peer);
    }

    /// Gives a connection a turn, if it has subscriptions that are due, and room.
    pub(super) fn push_again(&mut self, peer: Peer) {
        self.wait_for_way(peer);
        let Some(connection) = live(&mut self.connections, peer) else { return };
        if !connection.has_turn && connection.may_be_pushed_to(&self.backlog, &self.for_guests) {
            connection.has_turn = true;
            self.subscriptions.give_turn(peer);
        }
    }

    /// Goes on with subscriptions whose quotas have filled again.
    pub(super) fn end_pauses(&mut self) {
        if self.subscriptions.next_pause_ns().is_none() {
            return;
        }
        let now_ns = self.io.mono_ns();
        let mut due = std::mem::take(&mut self.due);
        self.subscriptions.end_pauses(now_ns, &mut due);
        self.queue_all(due);
    }

    /// A stream's quotas are others: whoever waits for them looks again.
    pub(super) fn look_at_quotas_again(&mut self, stream: StreamId) {
        let mut due = std::mem::take(&mut self.due);
        self.subscriptions.end_pauses_of(stream, &mut due);
        self.queue_all(due);
    }

    fn queue_all(&mut self, mut due: Vec<(u32, Peer)>) {
        for (slot, peer) in due.drain(..) {
            self.queue(peer, slot);
        }
        self.due = due;
    }

    /// Sends subscriptions that are due what there is for them, a connection after the other, until this turn has done enough.
    pub(super) fn push(&mut self) {
        let (mut pushes, mut bytes) = (0, 0);
        while self.life == Life::Running
            && pushes < PUSHES_PER_TURN_MAX
            && bytes < PUSH_TURN_BYTES_MAX
            && !self.backlog.is_over()
        {
            let Some(peer) = self.subscriptions.next_turn() else { return };
            self.wait_for_way(peer);
            let Some(connection) = live(&mut self.connections, peer) else { continue };
            connection.has_turn = false;
            if !connection.may_be_pushed_to(&self.backlog, &self.for_guests) {
                continue;
            }
            let Some(slot) = connection.due.pop_front() else { continue };
            if self.subscriptions.leave_queue(slot) {
                bytes += self.push_one(peer, slot);
                pushes += 1;
            }
            self.push_again(peer);
        }
    }

    /// Sends a subscription what comes next, or parks it until that was read. How many bytes of frames that were.
    fn push_one(&mut self, peer: Peer, slot: u32) -> usize {
        let sharers = self.subscriptions.due_count() + 1;
        let subscription = self.subscriptions.find(slot);
        let Subscription { stream, shard, next, since_ms, mark, search, granted, pushed, .. } = *subscription;
        let rate = self.catalog.stream(stream).and_then(|stream| stream.quotas.push_bytes);
        // It reads what was sealed, from the disk.
        let pause_ns = if mark.is_some() { QUOTA_PAUSE_BEHIND_NS } else { QUOTA_PAUSE_NS };
        let quota = match subscription.quota.bytes_left(rate, self.io.mono_ns(), pause_ns) {
            Ok(bytes) => bytes,
            Err(until_ns) => {
                self.buckets.throttled.pushes += 1;
                self.subscriptions.pause(slot, until_ns);
                return 0;
            }
        };
        let push_bytes_max = PUSH_BYTES_MAX.min(self.backlog.share());
        let bytes_max = (granted - pushed).min(quota).min(push_bytes_max as u64) as u32;
        let mut wanted = Wanted::new(shard, next, since_ms, bytes_max).going_on(sharers, (mark, search));
        let (reads, io, mut sight) = self.reading();
        let (Found { mut result, record_bytes }, frames) = match reads.attempt(io, &mut sight, &mut wanted) {
            Ok(Answer::Records(found, frames)) => (found, frames),
            Ok(Answer::Failure(failure)) => {
                self.end_subscription(slot, &failure);
                return 0;
            }
            Err(key) => {
                let subscription = self.subscriptions.find(slot);
                (subscription.next, subscription.mark) = (wanted.from(), wanted.mark());
                subscription.search = wanted.search();
                self.subscriptions.park(slot, key);
                self.connections[peer.slot].parked += 1;
                return 0;
            }
        };
        self.note_end(stream, &mut result);
        let share_frames = self.may_share_frames();
        let Some(connection) = live(&mut self.connections, peer) else { return 0 };
        let subscription = self.subscriptions.find(slot);
        (subscription.mark, subscription.search) = (wanted.mark(), wanted.search());
        subscription.quota.take(rate, record_bytes);
        if result.records > 0 {
            subscription.since_ms = 0;
        }
        let mut bytes = 0;
        // Without records: it is told of numbers that are passed over.
        if result.next > std::mem::replace(&mut subscription.next, result.next) {
            bytes = connection.outgoing.send_records(subscription.request, &result, frames, share_frames);
            subscription.pushed += bytes as u64;
            self.count_backlog(peer);
            self.make_dirty(peer);
        }
        if result.children.is_some() {
            self.forget_subscription(slot);
        } else {
            self.queue_if_due(peer, slot);
        }
        bytes
    }

    /// A closed shard may be shown to have ended: those who have come to its end hear of it.
    pub(super) fn end_level(&mut self, stream: StreamId, shard: ShardId) {
        let Some(tip) = self.shards.find(shard).copied() else { return };
        let children = self.children_of(stream, shard);
        if children.is_none() {
            return;
        }
        for slot in self.subscriptions.level_at(shard, tip.durable_next) {
            let next = self.subscriptions.find(slot).next;
            self.end_at(slot, next, &tip, children);
        }
    }

    /// A closed shard is about to be forgotten, of which nothing is kept: those who are within it pass to its end, and hear of it.
    pub(super) fn end_pushes_of_closed(&mut self, shard: ShardId, closed: &Closed) {
        let Some(tip) = self.shards.find(shard).copied() else { return };
        for slot in self.subscriptions.of_shard(shard) {
            self.end_at(slot, closed.end, &tip, Some(closed.children));
        }
    }

    /// Ends a subscription where its shard ended.
    fn end_at(&mut self, slot: u32, next: Sequence, tip: &Shard, children: Option<Children>) {
        let Subscription { peer, request, shard, .. } = *self.subscriptions.find(slot);
        self.forget_subscription(slot);
        let Some(connection) = live(&mut self.connections, peer) else { return };
        let (tip, tip_arrival_ms) = (tip.durable_next, tip.durable_arrival_ms);
        let trim = self.shards.first_kept(shard);
        let encrypted = false;
        let result = ReadResult { shard, records: 0, next, tip, tip_arrival_ms, children, trim, encrypted };
        result.encode(connection.outgoing.behind_records(), request, 0);
        self.make_dirty(peer);
    }

    /// Ends a subscription that was told so, or is about to be.
    fn forget_subscription(&mut self, slot: u32) {
        let subscription = self.subscriptions.find(slot);
        let (peer, request) = (subscription.peer, subscription.request);
        self.end_one(peer, slot);
        if let Some(connection) = live(&mut self.connections, peer) {
            connection.subscriptions.remove(&request);
            connection.note_ended(request);
        }
    }

    pub(super) fn window_read(&mut self, slot: u32, completion: Completion) {
        self.scheduler.end_read();
        let whole = match completion.payload {
            Payload::Buf(buf) if completion.result.cast_unsigned() as usize == buf.len() => Some(buf.freeze()),
            Payload::Buf(buf) => match self.reads.read_again(slot, buf) {
                true => return,
                false => None,
            },
            _ => None,
        };
        let mut answered = std::mem::take(&mut self.answered);
        let (reads, io, mut sight) = self.reading();
        let key = reads.complete(io, &mut sight, &mut answered, (slot, whole));
        self.answered = answered;
        if let Some(key) = key {
            self.unpark(key);
        }
    }

    /// What subscriptions are parked for was read.
    pub(super) fn unpark(&mut self, key: Key) {
        let mut due = std::mem::take(&mut self.due);
        self.subscriptions.unpark(key, &mut due);
        for (slot, peer) in due.drain(..) {
            self.connections[peer.slot].parked -= 1;
            self.queue(peer, slot);
        }
        self.due = due;
    }

    /// Ends a subscription that can't go on, and says why.
    pub(super) fn end_subscription(&mut self, slot: u32, failure: &Failure) {
        let Subscription { peer, request, .. } = *self.subscriptions.find(slot);
        self.forget_subscription(slot);
        if let Some(connection) = live(&mut self.connections, peer) {
            Server::failure(connection.outgoing.behind_records(), request, failure);
            self.make_dirty(peer);
        }
    }

    /// Ends all subscriptions of a connection, which is not told.
    pub(super) fn end_subscriptions(&mut self, peer: Peer) {
        let connection = &mut self.connections[peer.slot];
        for slot in connection.due.drain(..) {
            self.subscriptions.leave_queue(slot);
        }
        for slot in std::mem::take(&mut connection.subscriptions).into_values() {
            self.end_one(peer, slot);
        }
    }

    /// Ends the subscriptions of streams that are gone.
    pub(super) fn end_orphaned(&mut self) {
        let catalog = &self.catalog;
        let failure = Failure::new(ErrorCode::UnknownStream, "the stream was deleted");
        for slot in self.subscriptions.of_streams(|stream| catalog.stream(stream).is_none()) {
            self.end_subscription(slot, &failure);
        }
    }
}
