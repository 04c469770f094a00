//! Connections of HTTP/1.1 that have fallen silent give back the memory that large requests took.
//!
//! The library reads into a buffer of each connection, which grows with what comes, to more than 100 KiB, and is kept. So one on
//! which much was received, and then nothing, is taken up anew: the library gives it back, with what it has read and not used,
//! and begins with a small buffer.
//!
//! And connections, of either version, whose clients take little of answers whose room others wait for: they are to end.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::room::Holding;

/// Bytes received at once from which on the buffer has grown.
const GROWN_BYTES: usize = 12 << 10;

/// How long nothing is received before a connection is silent.
const SILENCE: Duration = Duration::from_secs(2);

/// How often it is looked whether answers hold others up.
const LOOK: Duration = Duration::from_secs(1);

/// An answer, as its connection sees it.
pub(crate) trait Answer: Body {
    /// The room that it holds, if others may wait for that.
    fn holding(&self) -> Option<&Arc<Holding>> {
        None
    }
}

impl<D: Buf> Answer for Full<D> {}

/// What goes on at a connection, as far as it can be seen beside the library.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests from when they are handed over to when all of their answers is.
    in_progress: AtomicUsize,
    /// How often something was received.
    received: AtomicUsize,
    /// Whether something is to be sent that the other side has not taken.
    is_held_up: AtomicBool,
    /// Whether much was received at once, of which who waits for it is told once.
    has_grown: AtomicBool,
    grown: Notify,
    /// Answers that hold room.
    holding: Mutex<Vec<Weak<Holding>>>,
    /// There is one.
    holds: Notify,
}

impl Activity {
    /// So much was received at once.
    pub(super) fn received(&self, bytes: usize) {
        self.received.fetch_add(1, Ordering::Relaxed);
        if bytes >= GROWN_BYTES && !self.has_grown.swap(true, Ordering::Relaxed) {
            self.grown.notify_one();
        }
    }

    /// Something was sent, or could not be.
    pub(super) fn sent<T>(&self, sent: &Poll<T>) {
        self.is_held_up.store(sent.is_pending(), Ordering::Relaxed);
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Activity>) -> InProgress {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        InProgress(Arc::clone(self))
    }

    fn holding(&self) -> MutexGuard<'_, Vec<Weak<Holding>>> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An answer is about to be sent.
    pub(super) fn sends(&self, answer: &impl Answer) {
        if let Some(holding) = answer.holding() {
            let mut all = self.holding();
            all.retain(|known| known.strong_count() > 0);
            all.push(Arc::downgrade(holding));
            self.holds.notify_one();
        }
    }

    /// Waits until little of an answer is taken, and others wait for its room.
    pub(super) async fn holds_up_others(&self) {
        loop {
            let (mut is_any, mut holds_up) = (false, false);
            for holding in self.holding().iter().filter_map(Weak::upgrade) {
                (is_any, holds_up) = (true, holds_up || holding.holds_up_others());
            }
            match (is_any, holds_up) {
                (_, true) => return,
                (true, false) => sleep(LOOK).await,
                (false, false) => self.holds.notified().await,
            }
        }
    }

    /// Waits until much was received, and after that nothing for a while, with every request answered.
    pub(super) async fn falls_silent(&self) {
        self.grown.notified().await;
        loop {
            let before = self.received.load(Ordering::Relaxed);
            sleep(SILENCE).await;
            let is_busy = self.in_progress.load(Ordering::Relaxed) > 0 || self.is_held_up.load(Ordering::Relaxed);
            if !is_busy && self.received.load(Ordering::Relaxed) == before {
                self.has_grown.store(false, Ordering::Relaxed);
                return;
            }
        }
    }
}

/// A request in progress.
#[derive(Debug)]
pub(super) struct InProgress(Arc<Activity>);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, with which its request ends.
pub(super) struct Ending<B> {
    pub(super) body: B,
    pub(super) _request: InProgress,
}

impl<B: Body + Unpin> Body for Ending<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
