//! Which streams may have their records spread over their shards, so that a record for any other stream is stored without
//! asking first.
//!
//! It names too many rather than too few: who finds a stream here asks what is kept beside it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Spread {
    names: RwLock<BTreeSet<String>>,
    /// Whether those of the last life are among them.
    is_complete: AtomicBool,
}

impl Spread {
    /// Whether a stream may be one.
    pub(super) fn may_be(&self, name: &str) -> bool {
        !self.is_complete.load(Ordering::Acquire)
            || self.names.read().unwrap_or_else(PoisonError::into_inner).contains(name)
    }

    /// A stream is one, or is about to be. Whether it surely was not before.
    pub(super) fn note(&self, name: String) -> bool {
        let is_complete = self.is_complete.load(Ordering::Acquire);
        self.names.write().unwrap_or_else(PoisonError::into_inner).insert(name) && is_complete
    }

    /// A stream is no more.
    pub(super) fn forget(&self, name: &str) {
        self.names.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// All streams were noted.
    pub(super) fn complete(&self) {
        self.is_complete.store(true, Ordering::Release);
    }
}
