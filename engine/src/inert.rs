//! An `Io` in which nothing happens, for tests of parts: each says what it has of its own, and plays the rest by hand.

use std::ops::{Deref, DerefMut};

use io::{Completion, Io, Op, Pool, Received, Token, Wait};

/// What a test has of an `Io`.
pub(crate) trait Own {
    /// An operation is begun.
    fn submit(&mut self, op: Op, token: Token);

    /// Its memory.
    fn pool(&self) -> &Pool;

    fn mono_ns(&self) -> u64 {
        0
    }

    fn wall_ms(&self) -> u64 {
        0
    }

    fn boottime_ms(&self) -> u64 {
        0
    }

    fn boot(&self) -> u32 {
        0
    }
}

/// The `Io` of what a test has.
pub(crate) struct Inert<T>(pub(crate) T);

impl<T> Deref for Inert<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Inert<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Own> Io for Inert<T> {
    fn submit(&mut self, op: Op, token: Token) {
        self.0.submit(op, token);
    }

    fn turn(&mut self, _wait: Wait, _completions: &mut Vec<Completion>) {}

    fn received(&self, received: Received) -> &[u8] {
        panic!("{received:?} was never received");
    }

    fn recycle(&mut self, received: Received) {
        panic!("{received:?} was never received");
    }

    fn receive_buffers(&self) -> usize {
        0
    }

    fn directories(&self) -> usize {
        1
    }

    fn pool(&self) -> &Pool {
        self.0.pool()
    }

    fn mono_ns(&self) -> u64 {
        self.0.mono_ns()
    }

    fn wall_ms(&self) -> u64 {
        self.0.wall_ms()
    }

    fn boottime_ms(&self) -> u64 {
        self.0.boottime_ms()
    }

    fn boot(&self) -> u32 {
        self.0.boot()
    }

    fn random(&mut self) -> [u8; 16] {
        [0; 16]
    }
}
