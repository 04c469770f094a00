//! The clients' ends of connections, as the test holds them.

use frame::proto::{NONCE_BYTES, Nonce, Secret};

use super::World;
use crate::network::{ConnectionId, End};

impl World {
    /// What clients must know from here on to be heard, if anything.
    pub fn require(&self, secret: Option<Secret>) {
        self.inner.borrow_mut().secret = secret;
    }

    pub(crate) fn secret(&self) -> Option<Secret> {
        self.inner.borrow().secret.clone()
    }

    /// A client's random bytes, which the server must not have seen before.
    pub(crate) fn nonce(&self) -> Nonce {
        let mut nonce = [0; NONCE_BYTES];
        let mut inner = self.inner.borrow_mut();
        nonce.chunks_exact_mut(16).for_each(|half| half.copy_from_slice(&inner.dice.bytes()));
        nonce
    }

    /// Opens a client's connection, to any reactor.
    pub fn connect(&self) -> ConnectionId {
        let mut inner = self.inner.borrow_mut();
        let reactors = inner.seats.len();
        let reactor = if reactors == 1 { 0 } else { inner.dice.index(reactors) };
        drop(inner);
        self.connect_to(reactor)
    }

    /// Opens a client's connection to one reactor.
    pub fn connect_to(&self, reactor: usize) -> ConnectionId {
        let mut inner = self.inner.borrow_mut();
        let now_ns = inner.clock.mono_ns();
        inner.seats[reactor].network.connect(now_ns)
    }

    /// Sends a client's bytes.
    pub fn send(&self, id: ConnectionId, bytes: &[u8]) {
        let mut inner = self.inner.borrow_mut();
        let now_ns = inner.clock.mono_ns();
        inner.seats[id.reactor].network.client_send(now_ns, id, bytes);
    }

    /// Takes what has arrived for a client, and the end if it has.
    pub fn take(&self, id: ConnectionId, out: &mut Vec<u8>) -> Option<End> {
        let mut inner = self.inner.borrow_mut();
        let now_ns = inner.clock.mono_ns();
        let before = out.len();
        let end = inner.seats[id.reactor].network.client_take(now_ns, id, out);
        inner.taken_bytes += (out.len() - before) as u64;
        end
    }

    /// Bytes that clients have taken so far.
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.inner.borrow().taken_bytes
    }

    /// A client sends no more, but still reads.
    pub fn finish(&self, id: ConnectionId) {
        let mut inner = self.inner.borrow_mut();
        let now_ns = inner.clock.mono_ns();
        inner.seats[id.reactor].network.client_finish(now_ns, id);
    }

    /// A client is gone.
    pub fn reset(&self, id: ConnectionId) {
        let mut inner = self.inner.borrow_mut();
        let now_ns = inner.clock.mono_ns();
        inner.seats[id.reactor].network.client_reset(now_ns, id);
    }

    /// A client stops reading, or goes on.
    pub fn set_reading(&self, id: ConnectionId, is_read: bool) {
        self.inner.borrow_mut().seats[id.reactor].network.set_reading(id, is_read);
    }

    /// After a death: lets what was on its way to the clients arrive, or not.
    pub fn hang_up(&self) {
        let mut inner = self.inner.borrow_mut();
        let now_ns = inner.clock.mono_ns();
        inner.seats.iter_mut().for_each(|seat| seat.network.hang_up(now_ns));
        inner.clock.advance(60_000_000_000);
    }
}
