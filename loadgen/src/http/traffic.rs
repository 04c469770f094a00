//! What goes over a connection, seen from below HTTP: whether it is the server that is waited for, and whether a request has left.
//!
//! One thread owns it all. Answers may lie unread while the core is short of the processor, and nothing tells of them until they are read:
//! so the server is waited for only by those who still wait a whole turn of the core after all that was there was read. Over HTTP/2 others'
//! answers may come all the while.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::task::coop::has_budget_remaining;

use crate::native::{Turns, outlasts};

/// What is known of one connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    turns: Turns,
    /// In which turn something was read last.
    read: Cell<u64>,
    /// The last two turns in which it was asked for more, the later one first, and whether each left nothing unread.
    asked: Cell<[(u64, bool); 2]>,
}

impl Traffic {
    pub(super) fn new(turns: &Turns) -> Rc<Self> {
        Rc::new(Self { turns: turns.clone(), read: Cell::default(), asked: Cell::default() })
    }

    /// Since which turn it is the server that a request waits for, by this one. What was read in the turn before may not have reached
    /// whom it is for: where there was something, it tells of the turn before that.
    pub(super) fn for_server(&self, flight: &Flight, turn: u64) -> Option<u64> {
        let since = flight.since.get();
        let is_quiet = outlasts(since, turn) && outlasts(self.read.get(), turn);
        let is_left_out = outlasts(since + 1, turn) && self.was_drained(turn - 2);
        (is_quiet || is_left_out).then_some(since)
    }

    /// It was asked for more; whether there was nothing.
    fn asked(&self, is_drained: bool) {
        let (now, [last, before]) = (self.turns.now(), self.asked.get());
        self.asked.set([(now, is_drained), if last.0 == now { before } else { last }]);
    }

    /// Whether by the end of this turn all that had come was read.
    fn was_drained(&self, turn: u64) -> bool {
        self.asked.get().into_iter().find(|&(asked, _)| asked <= turn).is_some_and(|(_, is_drained)| is_drained)
    }
}

/// How far a request is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    /// Nothing of its body has left.
    #[default]
    Queued,
    Left,
    /// It never will.
    Withdrawn,
}

/// One request on its way.
#[derive(Debug, Default)]
pub(super) struct Flight {
    stage: Cell<Stage>,
    /// Since which turn it waits: for a connection, to leave, or for its answer.
    since: Cell<u64>,
}

impl Flight {
    /// It waits for something else from now on.
    pub(super) fn waits(&self, traffic: &Traffic) {
        self.since.set(traffic.turns.now());
    }

    /// Keeps it from leaving; `false` if it has. Without its body no server carries it out.
    pub(super) fn withdraw(&self) -> bool {
        let is_here = self.stage.get() != Stage::Left;
        if is_here {
            self.stage.set(Stage::Withdrawn);
        }
        is_here
    }
}

/// A request's body, which tells when it leaves.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: Option<Bytes>,
    flight: Rc<Flight>,
    traffic: Rc<Traffic>,
}

impl Outgoing {
    pub(super) fn new(bytes: Bytes, flight: &Rc<Flight>, traffic: &Rc<Traffic>) -> Self {
        Self { bytes: Some(bytes), flight: Rc::clone(flight), traffic: Rc::clone(traffic) }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        if self.flight.stage.get() == Stage::Withdrawn {
            return Poll::Ready(Some(Err(io::Error::other("the request is withdrawn"))));
        }
        self.flight.stage.set(Stage::Left);
        self.flight.waits(&self.traffic);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// A connection of which it is known when something was read, and when nothing was left.
pub(super) struct Watched<S> {
    inner: S,
    traffic: Rc<Traffic>,
}

impl<S> Watched<S> {
    pub(super) fn new(inner: S, traffic: Rc<Traffic>) -> Self {
        Self { inner, traffic }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Who has had its share of a turn is told that there is nothing.
        let has_share = has_budget_remaining();
        let polled = Pin::new(&mut self.inner).poll_read(context, into);
        self.traffic.asked(polled.is_pending() && has_share);
        ready!(polled)?;
        self.traffic.read.set(self.traffic.turns.now());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
#[path = "traffic_tests.rs"]
mod tests;
