//! What arrives in pieces: parts gather until their record is whole, and frames over several receives; they wait where there
//! is no room.
//!
//! A connection whose record finds no room keeps the first part where it was received, and is not heard until there is some:
//! what it sends meanwhile stays with it. Others go on.

use frame::Frame;
use frame::parts::{RunError, frames_bytes_max};
use frame::proto::{ServerEvent, Span, Violation};

use super::*;
use crate::connection::Held;
use crate::intake::Place;
use crate::limits::{GATHER_FREE_BYTES, LARGE_ARRIVES_NS};
use crate::router::Outline;

impl<I: Io> Reactor<I> {
    /// Takes up a frame of an append that is a part of a large record, or stands where one is due. A record begins if there
    /// is room for it, or if it was `admitted`; else its connection waits.
    #[cold]
    pub(super) fn part(
        &mut self,
        peer: Peer,
        received: Option<Received>,
        span: Span,
        admitted: bool,
    ) -> Result<(), Violation> {
        let Some(mut arriving) = self.connections[peer.slot].arriving else { return Ok(()) };
        let checked = self.check(arriving.stream);
        let connection = &mut self.connections[peer.slot];
        let input = received.map_or(&[][..], |received| self.io.received(received));
        let frame = Frame::parse(connection.server.bytes(&span, input)).map_err(Violation::Frame)?;
        let large = &mut self.intake.large;
        let Some(part) = frame.part() else {
            let cut = arriving.large.and_then(|number| large.cut(number));
            return Err(cut.map_or(Violation::Malformed("no part of a record"), Violation::Parts));
        };
        let number = match arriving.large {
            Some(number) => number,
            None if part.index > 0 => return Err(Violation::Parts(RunError::Index { due: 0, index: part.index })),
            None => {
                let bytes = frames_bytes_max(&frame, part);
                let has_room = large.fits(bytes) && (admitted || large.first_waiting().is_none());
                if checked.is_ok() && !has_room {
                    return self.hold(peer, Held { part: Some(span), bytes });
                }
                large.begin(Outline::of_large(&frame, part), checked.map(|_| bytes), self.io.mono_ns())
            }
        };
        arriving.large = Some(number);
        connection.arriving = Some(arriving);
        let is_whole = large.take(number, &frame, part).map_err(Violation::Parts)?;
        if large.refused(number).is_none() {
            if span == Span::Gathered {
                // What comes after the last part need not be so long.
                let spare = if is_whole { Vec::new() } else { large.spare() };
                large.keep(number, connection.server.take_gathered(spare));
            } else {
                large.keep_copy(number, connection.server.bytes(&span, input));
            }
        }
        if is_whole {
            self.record_is_whole(peer, number);
        }
        Ok(())
    }

    /// Gathers the large record that a call's frames begin with, whose parts are all there: there is room for it now, or it is
    /// refused. The frames after it as well.
    pub(super) fn gather_parts<'a>(&mut self, mut frames: &'a [u8]) -> (Result<(Place, Outline), ErrorCode>, &'a [u8]) {
        let (large, now_ns) = (&mut self.intake.large, self.io.mono_ns());
        let mut begun = None;
        let refusal = loop {
            let frame = Frame::parse(frames).ok();
            let Some((frame, part)) = frame.and_then(|frame| Some((frame, frame.part()?))) else {
                break ErrorCode::InvalidArgument;
            };
            let (bytes, rest) = frames.split_at(frame.length());
            frames = rest;
            let number = *begun.get_or_insert_with(|| {
                let wanted = frames_bytes_max(&frame, part);
                let has_room = large.fits(wanted) && large.first_waiting().is_none();
                large.begin(Outline::of_large(&frame, part), has_room.then_some(wanted).ok_or(ErrorCode::Busy), now_ns)
            });
            let Ok(is_whole) = large.take(number, &frame, part) else { break ErrorCode::InvalidArgument };
            let refused = large.refused(number);
            if refused.is_none() {
                let mut kept = large.spare();
                kept.clear();
                kept.extend_from_slice(bytes);
                large.keep(number, kept);
            }
            match (is_whole, refused) {
                (false, _) => {}
                (true, Some(refusal)) => break refusal,
                (true, None) => return (Ok((Place::Large(number), large.outline(number))), frames),
            }
        };
        if let Some(number) = begun {
            large.forget(number);
        }
        (Err(refusal), frames)
    }

    /// The last part of a large record has come: from here on it is a record like others.
    fn record_is_whole(&mut self, peer: Peer, number: u32) {
        let Some(mut arriving) = self.connections[peer.slot].arriving else { return };
        arriving.large = None;
        let refused = self.intake.large.refused(number);
        let checked = refused.map_or_else(|| self.check(arriving.stream), Err);
        let outline = self.intake.large.outline(number);
        if checked.is_err() {
            self.intake.large.forget(number);
        }
        self.take_in(&mut arriving, checked, Place::Large(number), outline);
        self.connections[peer.slot].arriving = Some(arriving);
    }

    /// That an append does not end within a large record.
    pub(super) fn check_whole(&self, peer: Peer, event: &ServerEvent) -> Result<(), Violation> {
        let arriving = self.connections[peer.slot].arriving;
        match arriving.and_then(|arriving| arriving.large) {
            Some(large) if matches!(event, ServerEvent::AppendEnd { .. }) => {
                self.intake.large.cut(large).map_or(Ok(()), |cut| Err(Violation::Parts(cut)))
            }
            _ => Ok(()),
        }
    }

    /// Whether the connection that has waited longest for room may go on.
    pub(super) fn may_take_held(&self) -> bool {
        let Some(peer) = self.intake.large.first_waiting() else { return false };
        let connection = self.connections.find(peer.slot).filter(|connection| connection.life == peer.life);
        let held = connection.and_then(|connection| connection.held.as_ref());
        self.life == Life::Running && held.is_none_or(|held| self.intake.large.fits(held.bytes))
    }

    /// Goes on with connections whose large record found no room, in turn, as far as there is some.
    pub(super) fn take_held(&mut self) {
        while self.may_take_held()
            && let Some(peer) = self.intake.large.first_waiting()
        {
            self.intake.large.end_wait();
            let Some(connection) = live(&mut self.connections, peer) else { continue };
            let Some(held) = connection.held.take() else { continue };
            let received = connection.inbox.front().copied();
            let Some(span) = held.part else {
                self.begin_gathering(peer, held.bytes);
                self.parse(peer);
                continue;
            };
            match self.part(peer, received, span, true) {
                Ok(()) => self.parse(peer),
                Err(violation) => self.violated(peer, &violation),
            }
        }
    }

    /// Whether the next step of a connection's parser may gather what it gathers: if not, the connection waits for room.
    pub(super) fn may_gather(&mut self, peer: Peer, received: Received) -> Result<bool, Violation> {
        let connection = &mut self.connections[peer.slot];
        // A large record that has begun has room for all of it.
        let has_room = connection.gathering.is_some() || connection.arriving.is_some_and(|a| a.large.is_some());
        let input = self.io.received(received);
        let Some(bytes) = connection.server.frame_in_pieces(input, connection.at).filter(|_| !has_room) else {
            return Ok(true);
        };
        if bytes <= GATHER_FREE_BYTES {
            return Ok(true);
        }
        let large = &self.intake.large;
        if large.fits(bytes) && large.first_waiting().is_none() {
            self.begin_gathering(peer, bytes);
            return Ok(true);
        }
        self.hold(peer, Held { part: None, bytes }).map(|()| false)
    }

    /// Has a connection wait for room. What it has sent keeps receive buffers from others: so many waiting take half of them
    /// that the next is sent away.
    fn hold(&mut self, peer: Peer, held: Held) -> Result<(), Violation> {
        let connections = &mut self.connections;
        let waiting = self.intake.large.waiting();
        let buffers: usize = waiting.filter_map(|peer| Some(live(connections, peer)?.inbox.len())).sum();
        if buffers > self.io.receive_buffers() / 2 {
            return Err(Violation::Crowded);
        }
        self.intake.large.wait(peer);
        self.connections[peer.slot].held = Some(held);
        Ok(())
    }

    fn begin_gathering(&mut self, peer: Peer, bytes: usize) {
        self.intake.large.begin_gathering(bytes);
        self.connections[peer.slot].gathering = Some((bytes, self.io.mono_ns()));
    }

    /// A frame is whole, or never will be.
    pub(super) fn end_gathering(&mut self, peer: Peer) {
        if let Some((bytes, _)) = self.connections[peer.slot].gathering.take() {
            self.intake.large.end_gathering(bytes);
        }
    }

    /// Ends connections whose large record or frame does not become whole while others wait for its room.
    pub(super) fn end_slow_records(&mut self, now_ns: u64) {
        let limit_ns = now_ns.saturating_sub(LARGE_ARRIVES_NS);
        let large = &self.intake.large;
        let is_slow = |connection: &Connection| {
            let record = connection.arriving.and_then(|arriving| arriving.large).map(|number| large.began_ns(number));
            let frame = connection.gathering.map(|(_, began_ns)| began_ns);
            record.or(frame).is_some_and(|began_ns| large.holds_up_others(began_ns, limit_ns))
        };
        let slow: Vec<Peer> = self
            .connections
            .iter_mut()
            .filter(|(_, connection)| is_slow(connection))
            .map(|(slot, connection)| Peer { slot, life: connection.life })
            .collect();
        slow.into_iter().for_each(|peer| self.violated(peer, &Violation::Slow));
    }
}
