//! What is on its way to a client, in two lanes: answers that are awaited, and records.
//!
//! ```text
//!   acknowledgements, credit, signs of life -> [control] -----\
//!   records, and what comes after them      -> [queue]  ------+--one send at a time--> socket
//! ```
//!
//! Between two pieces of whole messages, control goes first: an acknowledgement waits behind one message of records at most, or
//! behind small ones of [`PIECE_BYTES`] together. Within a lane the order is kept.

use std::collections::VecDeque;
use std::ops::Range;

use frame::RequestId;
use frame::proto::ReadResult;
use io::{Buf, Io, Op, SocketId};

use crate::limits::{
    MESSAGES_KEPT_BYTES, MESSAGES_KEPT_IDLE_BYTES, PIECE_BYTES, SHARED_BYTES_MIN, STALLED_NS, STALLED_NS_PER_KIB,
};
use crate::token::{self, Peer};

/// The frames of an answer.
#[derive(Debug)]
pub(crate) enum Frames {
    /// As they were written to the disk.
    Shared(Vec<(Buf, Range<usize>)>),
    /// Made for whoever asked, as they are encrypted on the disk.
    Made(Vec<u8>),
}

impl Frames {
    /// All of them, one behind the other.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        match self {
            Frames::Shared(runs) => {
                let runs: Vec<&[u8]> = runs.iter().map(|(buf, range)| &buf[range.clone()]).collect();
                runs.concat()
            }
            Frames::Made(bytes) => bytes,
        }
    }
}

/// Bytes of the queue, which are sent at once.
#[derive(Debug)]
struct Piece {
    contents: Contents,
    /// Whether a message ends with it.
    ends_message: bool,
}

#[derive(Debug)]
enum Contents {
    /// Messages made for this client.
    Bytes(Vec<u8>),
    /// Frames as they were written to the disk.
    Frames(Buf, Range<usize>),
}

impl Contents {
    fn len(&self) -> usize {
        match self {
            Contents::Bytes(bytes) => bytes.len(),
            Contents::Frames(_, range) => range.len(),
        }
    }

    /// What of it lies where it was read or written.
    fn shared_len(&self) -> usize {
        match self {
            Contents::Bytes(_) => 0,
            Contents::Frames(_, range) => range.len(),
        }
    }
}

/// A send in flight: the frames, if it is not messages, and how much of it was sent before.
#[derive(Debug)]
struct Sending {
    frames: Option<(Buf, Range<usize>)>,
    before: usize,
    /// Of messages: their bytes.
    copied_bytes: usize,
}

/// What waits to be sent to one client, and what is being sent. Reused.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// Messages that are awaited: they go before records.
    pub(crate) control: Vec<u8>,
    /// Messages behind the queue.
    records: Vec<u8>,
    queue: VecDeque<Piece>,
    queued_bytes: usize,
    /// Of them, those of frames that lie where they were read or written.
    shared_bytes: usize,
    spare: Vec<u8>,
    sending: Option<Sending>,
    /// Whether the message that is being sent goes on in the queue.
    is_within_message: bool,
    /// When the send in flight began.
    sending_since_ns: u64,
}

impl Outgoing {
    /// Drops what waits: nobody hears it any more.
    pub(crate) fn drop_waiting(&mut self) {
        *self = Outgoing { sending: self.sending.take(), ..Outgoing::default() };
    }

    /// Lets go of what it keeps for the next messages, if nothing was sent since `ns`.
    pub(crate) fn rest(&mut self, ns: u64) {
        if self.is_empty() && self.sending_since_ns < ns {
            let kept = [&mut self.control, &mut self.records, &mut self.spare];
            kept.into_iter().for_each(|bytes| bytes.shrink_to(MESSAGES_KEPT_IDLE_BYTES));
            self.queue.shrink_to(0);
        }
    }

    /// Bytes that wait to be sent.
    pub(crate) fn bytes(&self) -> usize {
        self.control.len() + self.records.len() + self.queued_bytes
    }

    /// Bytes that wait or are on their way, in memory of their own.
    pub(crate) fn copied_bytes(&self) -> usize {
        self.bytes() - self.shared_bytes + self.sending.as_ref().map_or(0, |sending| sending.copied_bytes)
    }

    /// Whether its client has taken less than a least rate by `ns` of what is on its way. How much it took is not known before all is.
    pub(crate) fn is_stalled_at(&self, ns: u64) -> bool {
        let due_ns = |bytes: usize| self.sending_since_ns + STALLED_NS + bytes as u64 * STALLED_NS_PER_KIB / 1024;
        self.sending.as_ref().is_some_and(|sending| due_ns(sending.copied_bytes - sending.before) < ns)
    }

    /// Since when nothing was taken.
    pub(crate) fn sending_since_ns(&self) -> u64 {
        self.sending_since_ns
    }

    /// Whether nothing waits and nothing is on its way.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0 && self.sending.is_none()
    }

    /// Whether a send is in flight.
    pub(crate) fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// Where messages are made that may not come before records that wait.
    pub(crate) fn behind_records(&mut self) -> &mut Vec<u8> {
        &mut self.records
    }

    /// Queues the records of a read; returns the bytes of their frames. Where frames may not be shared they are copied, and
    /// where they are few.
    pub(crate) fn send_records(
        &mut self,
        request: RequestId,
        result: &ReadResult,
        frames: Frames,
        share_frames: bool,
    ) -> usize {
        let runs = match frames {
            Frames::Shared(runs) => runs,
            Frames::Made(made) => {
                result.encode(&mut self.records, request, made.len());
                self.records.extend_from_slice(&made);
                if self.records.len() >= PIECE_BYTES {
                    self.enqueue_records(true);
                }
                return made.len();
            }
        };
        let bytes = runs.iter().map(|(_, range)| range.len()).sum();
        let is_shared = |range: &Range<usize>| share_frames && range.len() >= SHARED_BYTES_MIN;
        let is_in_pieces = runs.iter().any(|(_, range)| is_shared(range));
        if is_in_pieces {
            // Whole messages before it end where they end.
            self.enqueue_records(true);
        }
        result.encode(&mut self.records, request, bytes);
        for (buf, range) in runs {
            if is_shared(&range) {
                self.enqueue_records(false);
                self.enqueue(Contents::Frames(buf, range), false);
            } else {
                self.records.extend_from_slice(&buf[range]);
            }
        }
        if self.records.len() >= if is_in_pieces { 1 } else { PIECE_BYTES } {
            self.enqueue_records(true);
        } else if is_in_pieces && let Some(last) = self.queue.back_mut() {
            last.ends_message = true;
        }
        bytes
    }

    /// Queues what another reactor made for this client: whole messages of both lanes.
    pub(crate) fn pass_on(&mut self, control: &[u8], records: Vec<u8>) {
        self.control.extend_from_slice(control);
        if !records.is_empty() {
            self.enqueue_records(true);
            self.enqueue(Contents::Bytes(records), true);
        }
    }

    /// Takes all that waits, of each lane, where another reactor sends it.
    pub(crate) fn take(&mut self) -> (Vec<u8>, Vec<u8>) {
        let control = std::mem::take(&mut self.control);
        if self.queue.is_empty() {
            return (control, std::mem::take(&mut self.records));
        }
        let mut records = Vec::with_capacity(self.bytes());
        for Piece { contents, .. } in self.queue.drain(..) {
            match contents {
                Contents::Bytes(bytes) => records.extend_from_slice(&bytes),
                Contents::Frames(buf, range) => records.extend_from_slice(&buf[range]),
            }
        }
        records.append(&mut self.records);
        (self.queued_bytes, self.shared_bytes) = (0, 0);
        (control, records)
    }

    fn enqueue_records(&mut self, ends_message: bool) {
        if self.records.is_empty() {
            return;
        }
        let messages = std::mem::replace(&mut self.records, std::mem::take(&mut self.spare));
        self.enqueue(Contents::Bytes(messages), ends_message);
    }

    fn enqueue(&mut self, contents: Contents, ends_message: bool) {
        self.queued_bytes += contents.len();
        self.shared_bytes += contents.shared_len();
        self.queue.push_back(Piece { contents, ends_message });
    }

    /// Starts the next send, if none is in flight.
    pub(crate) fn flush(&mut self, io: &mut impl Io, socket: SocketId, peer: Peer) {
        if self.sending.is_some() {
            return;
        }
        if !self.is_within_message && !self.control.is_empty() {
            let bytes = std::mem::replace(&mut self.control, std::mem::take(&mut self.spare));
            return self.begin(io, socket, peer, Contents::Bytes(bytes));
        }
        if self.queue.is_empty() {
            self.enqueue_records(true);
        }
        let Some(Piece { contents, ends_message }) = self.queue.pop_front() else { return };
        self.queued_bytes -= contents.len();
        self.shared_bytes -= contents.shared_len();
        self.is_within_message = !ends_message;
        self.begin(io, socket, peer, contents);
    }

    fn begin(&mut self, io: &mut impl Io, socket: SocketId, peer: Peer, contents: Contents) {
        self.sending_since_ns = io.mono_ns();
        match contents {
            Contents::Bytes(bytes) => {
                self.sending = Some(Sending { frames: None, before: 0, copied_bytes: bytes.len() });
                io.submit(Op::SendBytes { socket, bytes, from: 0 }, token::send(peer));
            }
            Contents::Frames(buf, range) => {
                self.sending = Some(Sending { frames: Some((buf.clone(), range.clone())), before: 0, copied_bytes: 0 });
                io.submit(Op::SendBuf { socket, buf, from: range.start, to: range.end }, token::send(peer));
            }
        }
    }

    /// A send has completed; the rest of it, if it was short, is sent. `false` if the client is gone.
    pub(crate) fn sent(
        &mut self,
        io: &mut impl Io,
        (socket, peer): (Option<SocketId>, Peer),
        result: i32,
        bytes: Option<Vec<u8>>,
    ) -> bool {
        let Some(Sending { frames, before, copied_bytes }) = self.sending.take() else { return true };
        let Some(socket) = socket.filter(|_| result > 0) else { return false };
        let sent = before + result.unsigned_abs() as usize;
        self.sending_since_ns = io.mono_ns();
        match (frames, bytes) {
            (Some((buf, range)), _) if sent < range.len() => {
                let (from, to) = (range.start + sent, range.end);
                self.sending = Some(Sending { frames: Some((buf.clone(), range)), before: sent, copied_bytes });
                io.submit(Op::SendBuf { socket, buf, from, to }, token::send(peer));
            }
            (None, Some(bytes)) if sent < bytes.len() => {
                self.sending = Some(Sending { frames: None, before: sent, copied_bytes });
                io.submit(Op::SendBytes { socket, bytes, from: sent }, token::send(peer));
            }
            (None, Some(mut bytes)) => {
                bytes.clear();
                bytes.shrink_to(MESSAGES_KEPT_BYTES);
                self.spare = bytes;
            }
            _ => {}
        }
        true
    }
}

#[cfg(test)]
#[path = "outgoing_tests.rs"]
mod tests;
