//! The world as a reactor sees it: the [`Io`] of simulation.

use io::{Completion, Io, Op, Pool, Received, Token, Wait};

use super::{Buffers, World};

/// The world as a reactor sees it.
#[derive(Debug)]
pub struct SimIo {
    pub(super) world: World,
    pub(super) number: usize,
    pub(super) pool: Pool,
    pub(super) buffers: Buffers,
}

impl Io for SimIo {
    fn submit(&mut self, op: Op, token: Token) {
        self.world.inner.borrow_mut().seats[self.number].queue.push((op, token));
    }

    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) {
        self.world.inner.borrow_mut().turn(self.number, wait, &mut self.buffers, completions);
    }

    fn received(&self, received: Received) -> &[u8] {
        self.buffers.bytes(received)
    }

    fn recycle(&mut self, received: Received) {
        self.buffers.recycle(received);
    }

    fn receive_buffers(&self) -> usize {
        self.buffers.count()
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn mono_ns(&self) -> u64 {
        self.world.inner.borrow().clock.mono_ns()
    }

    fn wall_ms(&self) -> u64 {
        self.world.inner.borrow().clock.wall_ms()
    }

    fn boottime_ms(&self) -> u64 {
        self.world.inner.borrow().clock.boottime_ms()
    }

    fn random(&mut self) -> [u8; 16] {
        self.world.inner.borrow_mut().dice.bytes()
    }
}
