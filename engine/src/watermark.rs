//! How far a journal has come, as distinct types whose order is asserted at every step.
//!
//! `appended >= written >= durable >= acked`. A batch is appended when it is closed and its write is queued, written when
//! its write completed, durable when it and all before it are on stable storage, acked when its acknowledgements are on
//! their way. And of a shard `trimmed <= durable`: what has expired was stored.

use frame::{Position, Sequence};

macro_rules! watermark {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
        pub(crate) struct $name(pub(crate) Position);
    };
}

watermark!(
    /// The end of the last batch that was closed.
    Appended
);
watermark!(
    /// The furthest end of a batch whose write completed; earlier ones may not have.
    Written
);
watermark!(
    /// The end of the last batch such that it and all before it are on stable storage.
    Durable
);
watermark!(
    /// The end of the last batch whose acknowledgements were handed to the connections.
    Acked
);

/// Records of a shard with lower numbers have expired.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Trimmed(Sequence);

impl Trimmed {
    /// Nothing has.
    pub(crate) const NONE: Trimmed = Trimmed(Sequence(1));

    /// The first number that is kept.
    pub(crate) fn first_kept(self) -> Sequence {
        self.0
    }

    /// What lies before `to` has expired, of what is durable up to `durable`. Once it has, it stays so.
    pub(crate) fn raise(&mut self, to: Sequence, durable: Sequence) {
        assert!(to <= durable, "what expires was stored");
        self.0 = self.0.max(to);
    }
}

/// The four marks of one journal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watermarks {
    appended: Appended,
    written: Written,
    durable: Durable,
    acked: Acked,
}

impl Watermarks {
    /// All at one place: after recovery everything found is durable.
    pub(crate) fn at(position: Position) -> Watermarks {
        Watermarks {
            appended: Appended(position),
            written: Written(position),
            durable: Durable(position),
            acked: Acked(position),
        }
    }

    pub(crate) fn append(&mut self, to: Position) {
        assert!(to > self.appended.0, "a batch ends after the one before it");
        self.appended = Appended(to);
        self.check();
    }

    pub(crate) fn write(&mut self, to: Position) {
        self.written = self.written.max(Written(to));
        self.check();
    }

    pub(crate) fn make_durable(&mut self, to: Position) {
        assert!(to > self.durable.0, "durability never goes back");
        self.durable = Durable(to);
        self.check();
    }

    pub(crate) fn ack(&mut self, to: Position) {
        assert!(to > self.acked.0, "acknowledgements go in order");
        self.acked = Acked(to);
        self.check();
    }

    pub(crate) fn durable(&self) -> Position {
        self.durable.0
    }

    fn check(&self) {
        let Watermarks { appended, written, durable, acked } = self;
        assert!(
            appended.0 >= written.0 && written.0 >= durable.0 && durable.0 >= acked.0,
            "watermarks out of order: {self:?}"
        );
    }
}
