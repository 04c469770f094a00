//! What completes besides batches; and that the journal takes nothing more once any of it has failed.

use io::{Completion, Io};

use super::{Doomed, Journal};

impl Journal {
    /// A write that seals a segment has completed. Tells what is to be cut off the file of one that is sealed now.
    ///
    /// # Errors
    /// The errno, or 0 for a short write. The journal is poisoned from here on.
    pub(crate) fn complete_seal(&mut self, completion: &Completion) -> Result<Option<Doomed>, i32> {
        let outcome = self.sealer.complete(completion);
        let Some(seal) = self.poison_if(outcome)? else { return Ok(None) };
        self.footers.unpin(seal.segment());
        Ok(seal.rest(self.blueprint.dir))
    }

    /// A step of making a segment has completed.
    ///
    /// # Errors
    /// The errno of a disk that fails. The journal is poisoned from here on: a failed flush of any file may have taken
    /// batches along that were written and not flushed yet. For the same reason a segment that was being made when the
    /// journal was poisoned gets no name: what is in it may be gone.
    pub(crate) fn complete_make(&mut self, io: &mut impl Io, completion: &Completion) -> Result<(), i32> {
        if self.poisoned.is_some() {
            return Ok(());
        }
        let outcome = self.segments.complete_make(io, completion);
        self.poison_if(outcome)
    }

    /// A step of writing zeros ahead has completed.
    ///
    /// # Errors
    /// As of [`Journal::complete_make`].
    pub(crate) fn complete_zero(&mut self, io: &mut impl Io, completion: &Completion, idle: bool) -> Result<(), i32> {
        if self.poisoned.is_some() {
            return Ok(());
        }
        let outcome = self.segments.complete_zero(io, completion, idle);
        self.poison_if(outcome)
    }

    /// Another journal on the same disk has failed, and may have taken writes of this one along.
    pub(crate) fn poison(&mut self, errno: i32) {
        self.poisoned.get_or_insert(errno);
    }

    fn poison_if<T>(&mut self, outcome: Result<T, i32>) -> Result<T, i32> {
        if let Err(errno) = outcome {
            self.poisoned.get_or_insert(errno);
        }
        outcome
    }
}
