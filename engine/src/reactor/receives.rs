//! Receiving: begun, stopped where input piles up, and begun again.
//!
//! All connections share the receive buffers. One whose input can't be parsed yet may hold a few of them and no more.

use super::*;

impl<I: Io> Reactor<I> {
    /// Starts what must always be running: accepting, and receives that ran out of buffers.
    pub(super) fn arm(&mut self) {
        let may_accept = !self.accepting && self.life == Life::Running && self.io.mono_ns() >= self.accept_after_ns;
        if let Some(listener) = self.listener.filter(|_| may_accept) {
            self.accepting = true;
            self.io.submit(Op::Accept(listener), token::ACCEPT);
        }
        if self.intake.held_buffers() < self.io.receive_buffers() {
            for peer in std::mem::take(&mut self.starved) {
                self.receive(peer);
            }
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
}
