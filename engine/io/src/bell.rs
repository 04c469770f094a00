//! Waking a reactor from another thread: an eventfd that its turn waits for.
//!
//! A bell that has rung stays rung until the reactor hushes it, and ringing it meanwhile costs no system call. Whoever rings
//! does so after handing over what the reactor shall find, and the reactor hushes before it looks: nothing is missed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

pub(crate) struct Bell {
    eventfd: OwnedFd,
    rung: AtomicBool,
}

impl Bell {
    pub(crate) fn new() -> std::io::Result<Arc<Bell>> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Arc::new(Bell { eventfd, rung: AtomicBool::new(false) }))
    }

    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // The counter is never read: each write is an event for the poll. It would take 2^64 of them to fail.
            let _ = rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes());
        }
    }

    /// From here on the next ring is heard. Sees what everybody who rang before handed over.
    pub(crate) fn hush(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}

/// Wakes a reactor from another thread. Clones wake the same one.
#[derive(Clone)]
pub struct Waker {
    bell: Arc<Bell>,
}

impl Waker {
    pub(crate) fn new(bell: Arc<Bell>) -> Waker {
        Waker { bell }
    }

    /// Makes the reactor's turn bring a completion of [`Token::WAKE`](crate::Token::WAKE). Several calls may make one.
    pub fn wake(&self) {
        self.bell.ring();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Waker")
    }
}
