//! Numbers of one producer that were refused and are to come again.

/// From the lowest to the highest of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Owed {
    /// The lowest that has not come again; once one has, nothing below it is due any more.
    from: u64,
    /// The highest.
    to: u64,
    /// Whether the lowest has come again: the others follow.
    is_resumed: bool,
}

impl Owed {
    /// Of the first that was refused.
    pub(crate) fn of(number: u64) -> Owed {
        Owed { from: number, to: number, is_resumed: false }
    }

    /// Once more was refused that might have been stored: the producer starts again there, or below.
    pub(crate) fn owing(self, number: u64) -> Owed {
        let from = if self.is_resumed { number } else { self.from.min(number) };
        Owed { from, to: self.to.max(number), is_resumed: false }
    }

    /// Whether a number may come now.
    pub(crate) fn lets_in(&self, number: u64) -> bool {
        if self.is_resumed { number <= self.to } else { number <= self.from }
    }

    /// Once a number was refused that may not come yet.
    pub(crate) fn refused(self, number: u64) -> Owed {
        Owed { to: self.to.max(number), ..self }
    }

    /// What is owed once a number has come.
    pub(crate) fn after(self, number: u64) -> Option<Owed> {
        if number < self.from {
            return Some(self);
        }
        (number < self.to).then_some(Owed { from: number + 1, is_resumed: true, ..self })
    }

    /// Whether the producer has yet to start again, and a number is below all that was refused.
    pub(crate) fn waits_from_above(&self, number: u64) -> bool {
        !self.is_resumed && number < self.from
    }
}
