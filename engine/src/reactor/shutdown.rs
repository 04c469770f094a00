//! The clean shutdown: no new input; what was taken in is made durable and acknowledged; the superblock says that all is.

use super::*;
use crate::limits::SHUTDOWN_NS;

impl<I: Io> Reactor<I> {
    /// Begins a clean shutdown: no new connections and no new input; what was received is made durable and acknowledged.
    pub fn shut_down(&mut self) {
        if self.life == Life::Running {
            self.life = Life::Stopping { deadline_ns: self.io.mono_ns() + SHUTDOWN_NS };
            self.reads.serve_requests_alone();
            self.disappoint_all(ErrorCode::ShuttingDown);
            self.end_followers();
            self.advance();
        }
    }

    /// Another reactor has ended: a shutdown does not wait for what it owed, or for who waits for that.
    pub fn wait_for_no_other(&mut self) {
        self.is_left_alone = true;
    }

    /// Goes on with a clean shutdown.
    pub(super) fn step_shutdown(&mut self) {
        let Life::Stopping { deadline_ns } = self.life else { return };
        let late = self.io.mono_ns() >= deadline_ns;
        let poisoned = self.journal.poisoned().is_some();
        let is_noting = self.store.as_ref().is_some_and(Store::is_writing);
        // Batches of the others wait for a flush of this one's, which would never be heard to have ended.
        let is_busy = is_noting || self.flushing() > 0;
        let is_at_rest = self.journal.is_settled() && !self.journal.wants_mark() && !is_busy;
        let settled = self.intake.is_empty() && (poisoned || is_at_rest);
        let served = self.reads.is_idle()
            && self.is_parted()
            && self.callers.in_use() == 0
            && self
                .connections
                .iter_mut()
                .all(|(_, c)| matches!(c.phase, Phase::Free | Phase::Closing) || c.is_answered());
        if !(late || (settled && (served || self.is_left_alone))) {
            return;
        }
        if let Some(store) = self.store.as_mut().filter(|_| settled && !poisoned) {
            let durable = self.journal.durable();
            let written = store.update(&mut self.io, &self.clock, |superblock| {
                superblock.durable = durable;
                superblock.clean = true;
            });
            if let Err(error) = written {
                tracing::warn!(%error, "the superblock could not be updated; the next start reads the journal's tail");
            }
        }
        self.life = Life::Stopped;
        self.exchange().stop(self.owners.own());
        if let Some(waiting) = &self.waiting {
            waiting.close();
        }
    }
}
