//! Records pushed to subscribers, as they become durable and as credit and connection allow.

use frame::proto::{Grant, Read, ReadResult, Start, Subscribe};

use super::*;
use crate::limits::{
    PUSH_WAITING_BYTES_MAX, READ_RESULT_BYTES_MAX, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_PER_CONNECTION_MAX,
};
use crate::subscriptions::{State, Subscription};

impl<I: Io> Reactor<I> {
    /// Begins a subscription, and tells where.
    pub(super) fn subscribe(&mut self, peer: Peer, request: RequestId, subscribe: Subscribe) {
        let asker = Asker::Peer(peer, request);
        let Subscribe { stream, shard, start, granted } = subscribe;
        if !self.has_shard(asker, stream, shard) {
            return;
        }
        let Some(tip) = self.shards.find(shard).copied() else { return };
        let next = match start {
            Start::At(from) => from.max(Sequence(1)),
            Start::Latest => tip.durable_next,
        };
        if next > tip.durable_next {
            let last = tip.durable_next.0 - 1;
            let detail = format!("shard {shard} has records up to {last}; {next} was never given");
            return self.fail(asker, ErrorCode::UnknownSequence, &detail);
        }
        let known = &self.connections[peer.slot].subscriptions;
        if known.contains_key(&request) {
            return self.fail(asker, ErrorCode::InvalidArgument, "a subscription of this request number goes on");
        }
        if known.len() >= SUBSCRIPTIONS_PER_CONNECTION_MAX || self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let detail = format!(
                "a connection has up to {SUBSCRIPTIONS_PER_CONNECTION_MAX} subscriptions, and the server up to \
                 {SUBSCRIPTIONS_MAX}; end some"
            );
            return self.fail(asker, ErrorCode::Busy, &detail);
        }
        let subscription = Subscription { peer, request, stream, shard, next, granted, pushed: 0, state: State::Idle };
        let slot = self.subscriptions.begin(subscription);
        let connection = &mut self.connections[peer.slot];
        connection.subscriptions.insert(request, slot);
        let (tip, tip_arrival_ms) = (tip.durable_next, tip.durable_arrival_ms);
        ReadResult { shard, records: 0, next, tip, tip_arrival_ms }.encode(&mut connection.out, request, 0);
        self.make_dirty(peer);
        self.subscriptions.wake(&self.shards, slot);
    }

    /// More credit for a subscription. One that ended meanwhile is no mistake of the client's.
    pub(super) fn grant(&mut self, peer: Peer, request: RequestId, grant: Grant) {
        let Some(&slot) = self.connections[peer.slot].subscriptions.get(&request) else { return };
        let subscription = self.subscriptions.find(slot);
        subscription.granted = subscription.granted.max(grant.granted);
        self.subscriptions.wake(&self.shards, slot);
    }

    pub(super) fn unsubscribe(&mut self, peer: Peer, request: RequestId) {
        let connection = &mut self.connections[peer.slot];
        let Some(slot) = connection.subscriptions.remove(&request) else { return };
        Server::unsubscribed(&mut connection.out, request);
        self.subscriptions.end(slot);
        self.make_dirty(peer);
    }

    /// Reads for every subscription that is due and whose connection has room.
    pub(super) fn push(&mut self) {
        if self.subscriptions.is_empty() || self.life != Life::Running {
            return;
        }
        self.subscriptions.wake_put_off(&self.shards);
        while let Some(slot) = self.subscriptions.next_due() {
            let subscription = self.subscriptions.find(slot);
            let (peer, stream, shard, from) =
                (subscription.peer, subscription.stream, subscription.shard, subscription.next);
            let credit = subscription.granted - subscription.pushed;
            let Some(connection) = live(&mut self.connections, peer) else { continue };
            if connection.outgoing_bytes() > PUSH_WAITING_BYTES_MAX {
                connection.pushes_wait = true;
                continue;
            }
            let bytes_max = credit.min(READ_RESULT_BYTES_MAX as u64) as u32;
            self.subscriptions.read(slot);
            self.reads.add(Asker::Push(slot), Read { stream, shard, from, bytes_max });
        }
    }

    /// A connection has taken some of what it is sent.
    pub(super) fn push_again(&mut self, peer: Peer) {
        let Some(connection) = live(&mut self.connections, peer) else { return };
        if connection.pushes_wait && connection.outgoing_bytes() <= PUSH_WAITING_BYTES_MAX {
            connection.pushes_wait = false;
            for &slot in connection.subscriptions.values() {
                self.subscriptions.wake(&self.shards, slot);
            }
        }
    }

    /// Sends what was read for a subscription.
    pub(super) fn pushed(&mut self, slot: u32, answer: Answer, share_frames: bool) {
        if !self.subscriptions.read_done(slot) {
            return;
        }
        let subscription = self.subscriptions.find(slot);
        let (peer, request) = (subscription.peer, subscription.request);
        match answer {
            Answer::Failure(failure) if failure.code == ErrorCode::Busy => self.subscriptions.put_off(slot),
            Answer::Failure(failure) => self.end_subscription(slot, &failure),
            Answer::Records(result, runs) => {
                // Without records: it is told of numbers that recovery skipped.
                let is_ahead = result.next > std::mem::replace(&mut subscription.next, result.next);
                if let Some(connection) = live(&mut self.connections, peer).filter(|_| is_ahead) {
                    subscription.pushed += connection.send_records(request, &result, runs, share_frames) as u64;
                    self.make_dirty(peer);
                }
                self.subscriptions.wake(&self.shards, slot);
            }
        }
    }

    /// Ends a subscription that can't go on, and says why.
    fn end_subscription(&mut self, slot: u32, failure: &Failure) {
        let subscription = self.subscriptions.find(slot);
        let (peer, request) = (subscription.peer, subscription.request);
        self.subscriptions.end(slot);
        if let Some(connection) = live(&mut self.connections, peer) {
            connection.subscriptions.remove(&request);
            Server::failure(&mut connection.out, request, failure);
            self.make_dirty(peer);
        }
    }

    /// Ends all subscriptions of a connection, which is not told.
    pub(super) fn end_subscriptions(&mut self, peer: Peer) {
        for slot in std::mem::take(&mut self.connections[peer.slot].subscriptions).into_values() {
            self.subscriptions.end(slot);
        }
    }

    /// Ends the subscriptions of streams that are gone.
    pub(super) fn end_orphaned(&mut self) {
        let catalog = &self.catalog;
        let detail = "the stream was deleted".to_owned();
        let failure = Failure { code: ErrorCode::UnknownStream, detail };
        for slot in self.subscriptions.of_streams(|stream| catalog.stream(stream).is_none()) {
            self.end_subscription(slot, &failure);
        }
    }
}
