//! Clients that ask a reactor for what another one has.
//!
//! ```text
//!   client -> host: its reactor --question--> owner: a guest, which is a connection without a socket
//!   client <- host <------messages, as they go to the client------ guest: one lot at a time, until the client took it
//! ```
//!
//! To the owner a guest is a client as any other: the bounds of what a connection may ask, hold and be pushed are its own. The
//! host passes on what the guest is told, and says when the client has room for more. What waits meanwhile is bounded over all guests:
//! past that, those that wait for their clients are pushed nothing, and refused what has a long answer, until these took what they were
//! told. So is what is on its way to a host that takes no parcels.

use frame::proto::{MergeShards, MoveShard, ServerEvent, SetQuotas, SetRetention, SplitShard};

use super::backlog::too_many_answers;
use super::*;
use crate::catalog::Change;
use crate::connection::Host;
use crate::limits::PUSH_WAITING_BYTES_MAX;
use crate::outgoing::Outgoing;
use crate::peers::{Ask, Question, Told};

impl<I: Io> Reactor<I> {
    // The host.

    /// Where an event has to go, if it is not this reactor's: to the owner of its shard, or of the names of streams.
    pub(super) fn question_for(&self, peer: Peer, event: &ServerEvent) -> Option<usize> {
        if self.peers.is_alone() {
            return None;
        }
        let connection = &self.connections[peer.slot];
        let owner = match event {
            ServerEvent::CreateStream(..)
            | ServerEvent::SetQuotas(..)
            | ServerEvent::SplitShard(..)
            | ServerEvent::MergeShards(..)
            | ServerEvent::MoveShard(..)
            | ServerEvent::SetRetention(..)
            | ServerEvent::DeleteStream(..)
            | ServerEvent::DescribeStream(..)
            | ServerEvent::ListStreams(..) => 0,
            ServerEvent::Read(_, read) => self.owners.of(read.shard),
            // One that goes on is refused by whoever serves it.
            ServerEvent::Subscribe(request, _) if connection.subscriptions.contains_key(request) => return None,
            ServerEvent::Subscribe(request, subscribe) => {
                connection.abroad.get(request).copied().unwrap_or(self.owners.of(subscribe.shard))
            }
            ServerEvent::Grant(request, _) | ServerEvent::Unsubscribe(request) => *connection.abroad.get(request)?,
            _ => return None,
        };
        (owner != self.owners.own()).then_some(owner)
    }

    /// Asks another reactor for a client.
    pub(super) fn ask(&mut self, peer: Peer, owner: usize, event: ServerEvent) {
        let connection = &mut self.connections[peer.slot];
        let (request, question) = match event {
            ServerEvent::CreateStream(request, create) => (request, Question::Create(create)),
            ServerEvent::SetQuotas(request, set) => (request, Question::SetQuotas(set)),
            ServerEvent::SplitShard(request, SplitShard { name, shard, at }) => {
                (request, Question::Reshard(name, Change::Split { shard, at }))
            }
            ServerEvent::MergeShards(request, MergeShards { name, shard, adjacent }) => {
                (request, Question::Reshard(name, Change::Merge { shard, adjacent }))
            }
            ServerEvent::MoveShard(request, MoveShard { name, shard, reactor }) => {
                (request, Question::Reshard(name, Change::Move { shard, home: reactor }))
            }
            ServerEvent::SetRetention(request, set) => (request, Question::SetRetention(set)),
            ServerEvent::DeleteStream(request, delete) => (request, Question::Delete(delete)),
            ServerEvent::DescribeStream(request, describe) => (request, Question::Describe(describe)),
            ServerEvent::ListStreams(request, list) => (request, Question::List(list)),
            ServerEvent::Read(request, read) => (request, Question::Read(read)),
            ServerEvent::Subscribe(request, subscribe) => {
                connection.abroad.insert(request, owner);
                (request, Question::Subscribe(subscribe))
            }
            ServerEvent::Grant(request, grant) => (request, Question::Grant(grant)),
            ServerEvent::Unsubscribe(request) => (request, Question::Unsubscribe),
            _ => return,
        };
        if !matches!(question, Question::Grant(_) | Question::Unsubscribe) {
            connection.reads += 1;
        }
        connection.visited |= 1 << owner;
        self.peers.links[owner].parcel.asks.push(Ask { peer, request, question });
    }

    /// A client's guests hear that it is gone, or that it wants to be pushed nothing more.
    pub(super) fn tell_guests(&mut self, peer: Peer, is_gone: bool) {
        let connection = &mut self.connections[peer.slot];
        connection.abroad.clear();
        let visited = connection.visited;
        if is_gone {
            (connection.visited, connection.untaken) = (0, 0);
        }
        for owner in self.peers.numbers().filter(|owner| visited & 1 << owner != 0) {
            let question = if is_gone { Question::Gone } else { Question::Silence };
            self.peers.links[owner].parcel.asks.push(Ask { peer, request: RequestId(0), question });
        }
    }

    /// Messages for a client.
    pub(super) fn hear_told(&mut self, from: usize, told: Told) {
        let Told { peer, control, records, answered, ended } = told;
        let Some(connection) = live(&mut self.connections, peer) else { return };
        connection.reads -= answered;
        for request in ended {
            connection.abroad.remove(&request);
        }
        let has_left_much = connection.outgoing.copied_bytes() > self.backlog.share();
        if !connection.has_said_last_words() {
            connection.outgoing.pass_on(&control, records);
        }
        connection.untaken |= 1 << from;
        self.count_backlog(peer);
        if self.backlog.is_far_over() && has_left_much {
            return self.close(peer);
        }
        self.make_dirty(peer);
        self.make_room_for_guests(peer);
        self.hear_again(peer);
    }

    /// Lets guests tell more, if their client has room for it.
    pub(super) fn make_room_for_guests(&mut self, peer: Peer) {
        let Some(connection) = live(&mut self.connections, peer) else { return };
        if connection.untaken == 0 || connection.outgoing.bytes() > PUSH_WAITING_BYTES_MAX {
            return;
        }
        let untaken = std::mem::take(&mut connection.untaken);
        for owner in self.peers.numbers().filter(|owner| untaken & 1 << owner != 0) {
            self.peers.links[owner].parcel.taken.push(peer);
        }
    }

    // The owner.

    /// Answers what a client of another reactor asks.
    pub(super) fn take_ask(&mut self, from: usize, ask: Ask) {
        let Ask { peer: host, request, question } = ask;
        if matches!(question, Question::Gone) {
            return self.guest_leaves(from, host);
        }
        let peer = self.guest(from, host);
        let asker = Asker::Peer(peer, request);
        let owed = self.connections[peer.slot].owed();
        self.wait_for_way(peer);
        let is_long = matches!(question, Question::Describe(_) | Question::List(_) | Question::Read(_));
        let must_wait = is_long && self.connections[peer.slot].must_wait(&self.for_guests);
        match question {
            _ if must_wait => {
                let Failure { code, detail, .. } = too_many_answers();
                self.fail(asker, code, &detail);
            }
            Question::Grant(grant) => return self.grant(peer, request, grant),
            Question::Unsubscribe => return self.unsubscribe(peer, request),
            Question::Silence => return self.end_subscriptions(peer),
            Question::Create(create) => self.create_stream(asker, &create),
            Question::SetQuotas(SetQuotas { name, quotas }) => self.set_quotas(asker, &name, quotas),
            Question::Reshard(name, change) => self.reshard(asker, &name, change),
            Question::SetRetention(SetRetention { name, retention }) => self.set_retention(asker, &name, |_| retention),
            Question::Delete(delete) => self.delete_stream(asker, &delete.name),
            Question::Describe(describe) => self.answer_stream(asker, &describe.name),
            Question::List(list) => self.list_streams(peer, request, &list),
            Question::Read(read) => self.read(asker, (read, u32::MAX), Counts::Read),
            Question::Subscribe(subscribe) => {
                self.subscribe(peer, request, subscribe);
                let connection = &mut self.connections[peer.slot];
                if !connection.subscriptions.contains_key(&request) {
                    connection.ended.push(request);
                }
            }
            Question::Gone => {}
        }
        let connection = &mut self.connections[peer.slot];
        if connection.owed() == owed {
            connection.answered += 1;
        }
        self.make_dirty(peer);
    }

    /// The guest that stands for a client of another reactor.
    fn guest(&mut self, from: usize, host: Peer) -> Peer {
        if let Some(&peer) = self.guests.get(&(from, host)) {
            return peer;
        }
        let slot = self.connections.take();
        let connection = &mut self.connections[slot];
        connection.begin(None);
        connection.host = Some(Host::Reactor(from, host));
        let peer = Peer { slot, life: connection.life };
        self.guests.insert((from, host), peer);
        peer
    }

    /// A guest's client is gone.
    fn guest_leaves(&mut self, from: usize, host: Peer) {
        if let Some(peer) = self.guests.remove(&(from, host)) {
            self.end_guest(peer);
        }
    }

    /// Ends a guest's connection.
    pub(super) fn end_guest(&mut self, peer: Peer) {
        self.end_subscriptions(peer);
        self.abandon_reads(peer);
        let connection = &mut self.connections[peer.slot];
        connection.phase = Phase::Free;
        // What was not passed on yet is not for whoever has the slot next.
        connection.outgoing = Outgoing::default();
        self.count_backlog(peer);
        self.connections[peer.slot].host = None;
        // What is still being read for it, or written, finds nobody.
        self.connections.release(peer.slot);
    }

    /// A client has taken what its guest was told last: it may be told more.
    pub(super) fn told_was_taken(&mut self, from: usize, host: Peer) {
        let Some(&peer) = self.guests.get(&(from, host)) else { return };
        self.connections[peer.slot].is_telling = false;
        self.make_dirty(peer);
        self.push_again(peer);
    }

    /// Passes on to a guest's host what was made for it.
    pub(super) fn tell_host(&mut self, peer: Peer) {
        let Some(Host::Reactor(from, host)) = self.connections[peer.slot].host else { return self.tell_follower(peer) };
        let connection = &mut self.connections[peer.slot];
        if connection.is_telling || connection.is_untold || !connection.has_news() {
            return;
        }
        let link = &mut self.peers.links[from];
        // Behind those that wait already.
        if !link.may_tell() || !link.untold.is_empty() {
            return link.wait(peer, connection);
        }
        self.tell_now(peer, from, host);
    }

    fn tell_now(&mut self, peer: Peer, from: usize, host: Peer) {
        let (link, connection) = (&mut self.peers.links[from], &mut self.connections[peer.slot]);
        connection.is_telling = true;
        let (control, records) = connection.outgoing.take();
        let told = Told {
            peer: host,
            control,
            records,
            answered: std::mem::take(&mut connection.answered),
            ended: std::mem::take(&mut connection.ended),
        };
        link.tell(told);
        self.push_again(peer);
    }

    /// Where too much waits for guests, so does one that waits for nothing else while the way to its host is full.
    pub(super) fn wait_for_way(&mut self, peer: Peer) {
        if !self.for_guests.is_over() {
            return;
        }
        let Some(connection) = live(&mut self.connections, peer) else { return };
        let Some(Host::Reactor(from, _)) = connection.host else { return };
        let link = &mut self.peers.links[from];
        if !link.may_tell() {
            link.wait(peer, connection);
        }
    }

    /// Goes on with guests whose hosts were not told as too much was on its way there: who has waited longest is first.
    pub(super) fn go_on_telling(&mut self) {
        if !self.peers.may_tell() {
            return;
        }
        for at in 0..self.peers.links.len() {
            while self.peers.links[at].may_tell()
                && let Some(peer) = self.peers.links[at].untold.pop_front()
            {
                let Some(connection) = live(&mut self.connections, peer) else { continue };
                connection.is_untold = false;
                match connection.host {
                    Some(Host::Reactor(from, host)) if connection.has_news() && !connection.is_telling => {
                        self.tell_now(peer, from, host);
                    }
                    _ => self.push_again(peer),
                }
                self.count_backlog(peer);
            }
        }
    }
}
