//! Segments in which nothing lives, on their way off the disk; and the unused rest of those that were left early, which is cut alone.
//!
//! ```text
//!   rename to NAME.new -> directory sync -> [hidden]: no life will read it, whatever becomes of this one
//!     -> wanted by the pool: blanked there, and a segment again
//!     -> else cut, step by step as the disk's schedule allows -> name removed -> closed
//! ```
//!
//! One after the other, and after its name is durably another one's before any byte is touched: a crash leaves a whole segment or
//! a file that the next start removes. Freeing much at once keeps a file system busy for long: 1 GiB took 0.7 s.

use std::collections::VecDeque;
use std::sync::Arc;

use io::{Completion, DirId, FileId, FileOp, Io, Op, Token};

use super::names::{UNFINISHED, file_name};
use super::refusal::is_passing;
use super::{SegmentId, Spare};
use crate::exchange::Flushes;
use crate::limits::{ALLOCATE_RETRY_NS, FREE_BYTES, FREE_COSTS_BYTES};
use crate::scheduler::Scheduler;

/// A segment that nobody reads any more, or the end of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Doomed {
    pub(crate) segment: SegmentId,
    pub(crate) dir: DirId,
    pub(crate) file: FileId,
    pub(crate) bytes: u64,
    /// How much of it stays, under its name; 0: nothing.
    pub(crate) kept_bytes: u64,
    /// Whether it still has its name: another file has that of one that was compacted.
    pub(crate) is_named: bool,
}

impl Doomed {
    fn hidden_name(&self) -> String {
        file_name(self.segment.journal, self.segment.number) + UNFINISHED
    }

    /// What its space is that comes back.
    pub(crate) fn freed_bytes(&self) -> u64 {
        self.bytes - self.kept_bytes
    }

    fn cut(&self) -> Stage {
        Stage::Cut { left: self.freed_bytes(), is_cutting: false }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Rename,
    SyncDir,
    /// So many bytes are left to be cut. A step is in flight, or waits for the disk's schedule.
    Cut {
        left: u64,
        is_cutting: bool,
    },
    Remove,
    Close,
}

/// What became of one.
#[derive(Debug)]
pub(crate) enum Dropped {
    /// It is hidden, and the pool has a use for it.
    Spare(Spare),
    /// Its space is free.
    Freed(Doomed),
}

/// Segments being dropped, one at a time.
#[derive(Debug)]
pub(crate) struct Drops {
    token: Token,
    waiting: VecDeque<Doomed>,
    at: Option<(Doomed, Stage)>,
    /// The disk refused for now; not tried again before this time.
    retry_ns: u64,
    flushes: Arc<Flushes>,
}

impl Drops {
    pub(crate) fn new(token: Token, flushes: Arc<Flushes>) -> Drops {
        Drops { token, waiting: VecDeque::new(), at: None, retry_ns: 0, flushes }
    }

    /// Drops a segment, after those before it.
    pub(crate) fn add(&mut self, doomed: Doomed) {
        self.waiting.push_back(doomed);
    }

    /// How many are not off the disk yet.
    pub(crate) fn count(&self) -> usize {
        self.waiting.len() + usize::from(self.at.is_some())
    }

    /// Whether an operation is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.at.is_some_and(|(_, stage)| !matches!(stage, Stage::Cut { is_cutting: false, .. }))
    }

    pub(crate) fn is_flushing(&self) -> bool {
        self.at.is_some_and(|(_, stage)| stage == Stage::SyncDir)
    }

    /// When the next step may begin, if one waits for its time.
    pub(crate) fn next_ns(&self, scheduler: &Scheduler, now_ns: u64) -> Option<u64> {
        match self.at {
            _ if self.count() == 0 || self.is_busy() => None,
            _ if now_ns < self.retry_ns => Some(self.retry_ns),
            // The disk is with others, who are heard of.
            Some((_, Stage::Cut { .. })) => scheduler.retry_ns(now_ns),
            _ => Some(now_ns + 1),
        }
    }

    /// Begins what may begin now.
    pub(crate) fn advance(&mut self, io: &mut impl Io, scheduler: &mut Scheduler, is_appending: bool) {
        let now_ns = io.mono_ns();
        if self.is_busy() || now_ns < self.retry_ns {
            return;
        }
        let Some((doomed, stage)) = self.at else {
            let Some(doomed) = self.waiting.pop_front() else { return };
            if !doomed.is_named || doomed.kept_bytes > 0 {
                self.at = Some((doomed, doomed.cut()));
                return self.advance(io, scheduler, is_appending);
            }
            return self.go_on(io, doomed, Stage::Rename);
        };
        if let Stage::Cut { left, .. } = stage
            && scheduler.may_read(now_ns, is_appending)
        {
            scheduler.begin_read(FREE_COSTS_BYTES);
            self.go_on(io, doomed, Stage::Cut { left, is_cutting: true });
        }
    }

    fn go_on(&mut self, io: &mut impl Io, doomed: Doomed, stage: Stage) {
        self.at = Some((doomed, stage));
        let op = match stage {
            Stage::Rename => {
                let from = file_name(doomed.segment.journal, doomed.segment.number);
                FileOp::Rename { dir: doomed.dir, from, to: doomed.hidden_name() }
            }
            Stage::SyncDir => {
                self.flushes.begin(doomed.dir);
                FileOp::SyncDir(doomed.dir)
            }
            Stage::Cut { is_cutting: false, .. } => return,
            Stage::Cut { left, .. } => {
                FileOp::Truncate { file: doomed.file, bytes: doomed.kept_bytes + left.saturating_sub(FREE_BYTES) }
            }
            Stage::Remove => FileOp::Remove { dir: doomed.dir, name: doomed.hidden_name() },
            Stage::Close => FileOp::Close(doomed.file),
        };
        io.submit(Op::File(op), self.token);
    }

    /// A step has completed. `is_wanted` tells whether the pool has a use for a hidden file.
    ///
    /// # Errors
    /// The errno of a disk that fails.
    pub(crate) fn complete(
        &mut self,
        io: &mut impl Io,
        scheduler: &mut Scheduler,
        completion: &Completion,
        is_wanted: impl FnOnce(&Doomed) -> bool,
    ) -> Result<Option<Dropped>, i32> {
        let Some((doomed, stage)) = self.at.take() else { return Ok(None) };
        let result = completion.result;
        match stage {
            Stage::SyncDir => self.flushes.end(doomed.dir, result < 0),
            Stage::Cut { .. } => scheduler.end_read(),
            _ => {}
        }
        if result < 0 {
            return self.refused(io, doomed, stage, result);
        }
        let next = match stage {
            Stage::Rename => Stage::SyncDir,
            Stage::SyncDir if is_wanted(&doomed) => {
                let Doomed { file, bytes, .. } = doomed;
                return Ok(Some(Dropped::Spare(Spare { name: doomed.hidden_name(), file, bytes })));
            }
            Stage::SyncDir => doomed.cut(),
            Stage::Cut { left, .. } if left > FREE_BYTES => Stage::Cut { left: left - FREE_BYTES, is_cutting: false },
            Stage::Cut { .. } if doomed.kept_bytes > 0 => return Ok(Some(Dropped::Freed(doomed))),
            Stage::Cut { .. } if doomed.is_named => Stage::Remove,
            Stage::Cut { .. } => Stage::Close,
            Stage::Remove => Stage::Close,
            Stage::Close => return Ok(Some(Dropped::Freed(doomed))),
        };
        self.go_on(io, doomed, next);
        Ok(None)
    }

    /// The journal has failed: what was begun stays as it is, for the next start.
    pub(crate) fn abandon(&mut self, scheduler: &mut Scheduler) {
        match self.at.take() {
            Some((doomed, Stage::SyncDir)) => self.flushes.end(doomed.dir, false),
            Some((_, Stage::Cut { is_cutting: true, .. })) => scheduler.end_read(),
            _ => {}
        }
    }

    /// The disk refused a step, which is tried again if that says nothing about what was written: not if it is a flush.
    fn refused(&mut self, io: &impl Io, doomed: Doomed, stage: Stage, result: i32) -> Result<Option<Dropped>, i32> {
        tracing::warn!(errno = -result, segment = ?doomed.segment, "a segment could not be dropped");
        if !is_passing(result) {
            return Err(result);
        }
        self.retry_ns = io.mono_ns() + ALLOCATE_RETRY_NS;
        match stage {
            Stage::SyncDir => return Err(result),
            Stage::Rename => self.waiting.push_front(doomed),
            // A start removes what is left of it.
            Stage::Remove | Stage::Close => return Ok(Some(Dropped::Freed(doomed))),
            Stage::Cut { left, .. } => self.at = Some((doomed, Stage::Cut { left, is_cutting: false })),
        }
        Ok(None)
    }
}

#[cfg(test)]
#[path = "drops_tests.rs"]
mod tests;
