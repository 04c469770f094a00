//! Connections of the reactor: accepted, received from, sent to, closed.
//!
//! All connections share the receive buffers. One whose input can't be parsed yet may hold a few of them and no more.

use frame::proto::{Nonce, Violation};

use super::*;
use crate::limits::{
    ACCEPT_RETRY_NS, CONNECTIONS_CHECK_NS, CONNECTIONS_MAX, PROOF_TIMEOUT_NS, WINDOW_BYTES, WINDOW_BYTES_MIN,
    WINDOWS_BYTES,
};
use crate::outgoing::Outgoing;

/// The kernel's word that no receive buffer is free.
const ENOBUFS: i32 = 105;
/// The kernel's word that an operation was cancelled.
const ECANCELED: i32 = 125;

impl<I: Io> Reactor<I> {
    pub(super) fn accepted(&mut self, completion: &Completion) {
        self.accepting = completion.more;
        if completion.result < 0 {
            if completion.result != -ECANCELED && self.life == Life::Running {
                tracing::warn!(errno = -completion.result, "a connection could not be accepted; trying again soon");
                self.accept_after_ns = self.io.mono_ns() + ACCEPT_RETRY_NS;
            }
            return;
        }
        let socket = SocketId(completion.result.cast_unsigned());
        self.stats.connections += 1;
        let slot = self.connections.take();
        let connection = &mut self.connections[slot];
        connection.begin(Some(socket));
        let peer = Peer { slot, life: connection.life };
        if let Some(secret) = &self.secret {
            let mut nonce = Nonce::default();
            nonce.as_chunks_mut().0.iter_mut().for_each(|half| *half = self.io.random());
            connection.server.require(secret.clone(), nonce);
            connection.began_ns = self.io.mono_ns();
        }
        if self.clients() > CONNECTIONS_MAX || self.life != Life::Running {
            return self.close(peer);
        }
        self.receive(peer);
    }

    /// Bytes of a connection, its end, or its failure.
    pub(super) fn received(&mut self, peer: Peer, completion: Completion) {
        let received = match completion.payload {
            Payload::Received(received) => Some(received),
            _ => None,
        };
        if let Some(received) = received {
            self.intake.hold(received.buffer);
        }
        let known = self.connections.find(peer.slot).is_some_and(|connection| connection.life == peer.life);
        if !known {
            return self.drop_received(received);
        }
        let connection = &mut self.connections[peer.slot];
        connection.receiving = completion.more;
        let was_stopped = connection.is_stopping && completion.result == -ECANCELED;
        connection.is_stopping &= completion.more;
        if connection.phase != Phase::Live {
            self.drop_received(received);
            return self.finish_closing(peer);
        }
        match (completion.result, received) {
            (1.., Some(received)) => {
                connection.inbox.push_back(received);
                connection.heard = self.stats.turns;
                self.parse(peer);
                self.stop_receiving_when_full(peer);
                if !completion.more {
                    self.receive(peer);
                }
            }
            (0, _) => {
                // The client sends no more. What it sent before is still parsed and answered.
                if connection.phase == Phase::Live {
                    connection.phase = Phase::HalfClosed;
                }
                self.parse(peer);
            }
            (result, _) if result == -ENOBUFS => self.starved.push(peer),
            // If its input was parsed meanwhile, nothing else would begin it again.
            _ if was_stopped && connection.inbox.is_empty() => self.receive(peer),
            _ if was_stopped => {}
            _ => self.close(peer),
        }
    }

    fn drop_received(&mut self, received: Option<Received>) {
        if let Some(received) = received {
            self.intake.release(&mut self.io, received.buffer);
        }
    }

    /// Starts what must always be running: accepting, and receives that ran out of buffers.
    pub(super) fn arm(&mut self) {
        let may_accept = !self.accepting && self.life == Life::Running && self.io.mono_ns() >= self.accept_after_ns;
        if let Some(listener) = self.listener.filter(|_| may_accept) {
            self.accepting = true;
            self.io.submit(Op::Accept(listener), token::ACCEPT);
        }
        if self.intake.held_buffers() < self.io.receive_buffers() {
            // The first may take all buffers that there are: it is the one that has waited longest.
            let mut starved = std::mem::take(&mut self.starved);
            starved.sort_unstable_by_key(|peer| (self.connections.find(peer.slot).map(|known| known.heard), peer.slot));
            starved.drain(..).for_each(|peer| self.receive(peer));
            self.starved = starved;
        }
    }

    pub(super) fn receive(&mut self, peer: Peer) {
        let Some(connection) = live(&mut self.connections, peer) else { return };
        let may_receive = connection.phase == Phase::Live && !connection.receiving && !connection.is_full();
        let Some(socket) = connection.socket.filter(|_| may_receive) else { return };
        connection.receiving = true;
        self.io.submit(Op::Receive(socket), token::receive(peer));
    }

    /// Stops receiving from a connection whose input piles up: the buffers are everybody's. It begins again when that input
    /// has been parsed; what the client sends meanwhile stays with it.
    pub(super) fn stop_receiving_when_full(&mut self, peer: Peer) {
        let Some(connection) = live(&mut self.connections, peer) else { return };
        let may_stop = connection.is_full() && connection.receiving && !connection.is_stopping;
        if let Some(socket) = connection.socket.filter(|_| may_stop) {
            connection.is_stopping = true;
            self.io.submit(Op::StopReceive(socket), token::receive(peer));
        }
    }

    /// Connections that have a socket.
    pub(super) fn clients(&self) -> usize {
        self.connections.in_use() - self.guests.len() - self.followers.len()
    }

    pub(super) fn make_dirty(&mut self, peer: Peer) {
        let connection = &mut self.connections[peer.slot];
        if !connection.is_dirty {
            connection.is_dirty = true;
            self.dirty.push(peer);
        }
    }

    /// What each connection may have unacknowledged: its share of what all may.
    pub(super) fn window_bytes(&self) -> u64 {
        (WINDOWS_BYTES / self.appending.max(1)).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES)
    }

    /// Sends what was made for connections in this turn, and closes those that are done. To close one may settle what others are
    /// told: they come last.
    pub(super) fn flush(&mut self) {
        let window_bytes = self.window_bytes();
        self.go_on_telling();
        let mut next = 0;
        while let Some(&peer) = self.dirty.get(next) {
            next += 1;
            self.flush_one(peer, window_bytes);
        }
        self.dirty.clear();
    }

    fn flush_one(&mut self, peer: Peer, window_bytes: u64) {
        let Some(connection) = self.connections.find(peer.slot).filter(|c| c.life == peer.life) else { return };
        let phase = connection.phase;
        let connection = &mut self.connections[peer.slot];
        connection.is_dirty = false;
        if matches!(phase, Phase::Free | Phase::Closing) {
            return;
        }
        if connection.host.is_some() {
            self.tell_host(peer);
            return self.count_backlog(peer);
        }
        connection.acknowledge(&mut self.appends, window_bytes);
        let has_ended = connection.is_appending && connection.appends == 0;
        connection.is_appending &= !has_ended;
        self.appending -= u64::from(has_ended);
        connection.say_last_words();
        connection.flush(&mut self.io, peer);
        let is_served = connection.is_served() && connection.inbox.is_empty();
        self.count_backlog(peer);
        let is_ending = matches!(phase, Phase::HalfClosed | Phase::LastWords);
        if is_ending && is_served {
            self.close(peer);
        }
    }

    pub(super) fn sent(&mut self, peer: Peer, completion: Completion) {
        let bytes = match completion.payload {
            Payload::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        let known = self.connections.find(peer.slot).is_some_and(|connection| connection.life == peer.life);
        if !known {
            return;
        }
        let connection = &mut self.connections[peer.slot];
        // What is closing may be another connection's socket by now.
        let socket = connection.socket.filter(|_| connection.phase != Phase::Closing);
        let there = connection.outgoing.sent(&mut self.io, (socket, peer), completion.result, bytes);
        if connection.phase == Phase::Closing {
            return self.finish_closing(peer);
        }
        if !there {
            return self.close(peer);
        }
        self.make_dirty(peer);
        self.push_again(peer);
        self.make_room_for_guests(peer);
        self.hear_again(peer);
    }

    /// Goes on with a connection that had too many answers to take, once it took some.
    pub(super) fn hear_again(&mut self, peer: Peer) {
        let Some(connection) = live(&mut self.connections, peer) else { return };
        if connection.is_blocked && !connection.is_behind(&self.backlog) {
            connection.is_blocked = false;
            self.parse(peer);
        }
    }

    /// Closes connections that have not proven themselves for too long; those that are idle keep no buffers.
    pub(super) fn check_connections(&mut self) {
        let now = self.io.mono_ns();
        if now < self.connections_check_ns {
            return;
        }
        self.connections_check_ns = now + CONNECTIONS_CHECK_NS;
        let unproven = now.saturating_sub(PROOF_TIMEOUT_NS);
        let idle_since = now.saturating_sub(CONNECTIONS_CHECK_NS);
        self.connections.iter_mut().for_each(|(_, connection)| connection.outgoing.rest(idle_since));
        let gone: Vec<Peer> = self
            .connections
            .iter_mut()
            .filter(|(_, connection)| connection.is_unproven_since(unproven))
            .map(|(slot, connection)| Peer { slot, life: connection.life })
            .collect();
        gone.into_iter().for_each(|peer| self.close(peer));
        self.end_slow_records(now);
        self.end_stalled(now);
    }

    /// The client broke the protocol: it is heard no more, answered what it asked before, and told.
    pub(super) fn violated(&mut self, peer: Peer, violation: &Violation) {
        tracing::debug!(%violation, slot = peer.slot, "a client broke the protocol");
        self.drop_inbox(peer);
        self.abandon_arriving(peer);
        self.end_subscriptions(peer);
        self.end_gathering(peer);
        self.tell_guests(peer, false);
        if let Some(connection) = live(&mut self.connections, peer) {
            connection.end_with(violation);
            self.make_dirty(peer);
        }
    }

    pub(super) fn drop_inbox(&mut self, peer: Peer) {
        while let Some(received) = self.connections[peer.slot].inbox.pop_front() {
            self.intake.release(&mut self.io, received.buffer);
        }
        self.connections[peer.slot].at = 0;
    }

    /// An append that will never be whole: its records that were taken are stored, and nobody is told.
    pub(super) fn abandon_arriving(&mut self, peer: Peer) {
        let connection = &mut self.connections[peer.slot];
        connection.held = None;
        if let Some(arriving) = connection.arriving.take() {
            connection.appends -= 1;
            if let Some(large) = arriving.large {
                self.intake.large.forget(large);
            }
            if self.appends.abandon(arriving.append) {
                self.appends.release(arriving.append);
            }
        }
    }

    /// Ends a connection: what it was owed is dropped, what it appended is stored.
    pub(super) fn close(&mut self, peer: Peer) {
        let connection = &mut self.connections[peer.slot];
        if matches!(connection.phase, Phase::Free | Phase::Closing) {
            return;
        }
        let Some(socket) = connection.socket else { return };
        // Records that wait for their keys to be hashed are held against what was refused before them, which is forgotten here.
        self.route();
        let connection = &mut self.connections[peer.slot];
        connection.phase = Phase::Closing;
        connection.outgoing.drop_waiting();
        self.count_backlog(peer);
        self.abandon_reads(peer);
        let connection = &mut self.connections[peer.slot];
        for number in std::mem::take(&mut connection.done) {
            self.appends.release(number);
        }
        self.appending -= u64::from(std::mem::take(&mut connection.is_appending));
        self.end_subscriptions(peer);
        self.tell_guests(peer, true);
        self.drop_inbox(peer);
        self.abandon_arriving(peer);
        self.end_gathering(peer);
        self.gates.forget(peer);
        self.io.submit(Op::Close(socket), token::close(peer));
    }

    pub(super) fn closed(&mut self, peer: Peer) {
        let known = self.connections.find(peer.slot).is_some_and(|connection| connection.life == peer.life);
        if known {
            self.connections[peer.slot].socket = None;
            self.finish_closing(peer);
        }
    }

    /// Frees the slot once the socket is closed and nothing is in flight on it.
    pub(super) fn finish_closing(&mut self, peer: Peer) {
        let connection = &mut self.connections[peer.slot];
        let over = connection.phase == Phase::Closing
            && connection.socket.is_none()
            && !connection.receiving
            && !connection.outgoing.is_sending();
        if over {
            connection.phase = Phase::Free;
            connection.outgoing = Outgoing::default();
            self.count_backlog(peer);
            self.connections.release(peer.slot);
        }
    }
}
