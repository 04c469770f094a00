//! Threads that are pushed what a shard takes in, through a [`Handle`].
//!
//! A follower is a guest whose host is a thread: a connection without a socket, with one subscription. It is told one lot of
//! messages at a time, and the next once it took that one; quotas, credit and catching up are those of any subscription.

use frame::proto::Subscribe;

use super::*;
use crate::connection::Host;
use crate::handle::{self, Follower, Hear};
use crate::limits::SUBSCRIPTIONS_MAX;

impl<I: Io> Reactor<I> {
    /// Begins to push to a thread.
    pub(super) fn follow(&mut self, slot: u32, subscribe: Subscribe, hear: Hear) {
        if self.followers.len() >= SUBSCRIPTIONS_MAX {
            let detail = format!("the server has up to {SUBSCRIPTIONS_MAX} subscriptions; end some");
            return self.fail(Asker::Call(slot), ErrorCode::Busy, &detail);
        }
        let connection = self.connections.take();
        let door = self.owners.own();
        let peer = {
            let begun = &mut self.connections[connection];
            begun.begin(None);
            begun.host = Some(Host::Thread(hear));
            Peer { slot: connection, life: begun.life }
        };
        self.followers.insert(peer);
        self.reply(slot, handle::Answer::Following(Follower { door, peer }));
        self.subscribe(peer, Follower::REQUEST, subscribe);
        self.make_dirty(peer);
    }

    /// A follower took what it was told last, and may be told so much in all.
    pub(super) fn follower_took(&mut self, peer: Peer, granted: u64) {
        if self.followers.contains(&peer) {
            self.connections[peer.slot].is_telling = false;
            self.grant(peer, Follower::REQUEST, frame::proto::Grant { granted });
            self.make_dirty(peer);
            self.push_again(peer);
        }
    }

    /// Tells a follower what was made for it.
    pub(super) fn tell_follower(&mut self, peer: Peer) {
        let connection = &mut self.connections[peer.slot];
        connection.ended.clear();
        if connection.is_telling || connection.outgoing.bytes() == 0 {
            return;
        }
        connection.is_telling = true;
        let (mut messages, records) = connection.outgoing.take();
        messages.extend_from_slice(&records);
        let is_heard = match &mut connection.host {
            Some(Host::Thread(hear)) => hear.hear(messages),
            _ => false,
        };
        if is_heard { self.push_again(peer) } else { self.unfollow(peer) }
    }

    /// Nobody follows any more.
    pub(super) fn unfollow(&mut self, peer: Peer) {
        if self.followers.remove(&peer) {
            self.end_guest(peer);
        }
    }

    /// All followers hear that the reactor stops: their threads are let go of.
    pub(super) fn end_followers(&mut self) {
        while let Some(&peer) = self.followers.first() {
            self.unfollow(peer);
        }
    }
}
