//! What clients have sent: parsed, checked, and records on their way to their shards.

use frame::Frame;
use frame::proto::{ServerEvent, Span, Violation};

use super::*;
use crate::connection::Arriving;
use crate::intake::Place;
use crate::limits::{ANNOUNCED_MAX, PENDING_BYTES_MAX};
use crate::router::{Onward, Outline, Unrouted};

impl<I: Io> Reactor<I> {
    /// Goes on with connections whose input had to wait.
    pub(super) fn parse_stalled(&mut self) {
        if self.stalled.is_empty() || !self.may_take_input() {
            return;
        }
        for peer in std::mem::take(&mut self.stalled) {
            if let Some(connection) = live(&mut self.connections, peer) {
                connection.is_stalled = false;
                self.parse(peer);
            }
        }
    }

    /// Parses what a connection has sent, as far as there is room for it.
    pub(super) fn parse(&mut self, peer: Peer) {
        loop {
            let may_take = self.may_take_input();
            let stopping = self.life != Life::Running;
            let Some(connection) = live(&mut self.connections, peer) else { return };
            if stopping {
                // What is not parsed by now was never taken in: its sender learns that from the end of the connection.
                return;
            }
            if connection.phase == Phase::LastWords {
                return self.drop_inbox(peer);
            }
            if connection.held.is_some() {
                return;
            }
            let Some(&received) = connection.inbox.front() else {
                if connection.phase == Phase::HalfClosed {
                    // No more comes: an append that is not whole never will be.
                    self.abandon_arriving(peer);
                    self.make_dirty(peer);
                }
                // Receiving may have stopped while the inbox was full.
                self.receive(peer);
                return;
            };
            if connection.is_behind(&self.backlog) {
                connection.is_blocked = true;
                return;
            }
            if !may_take {
                if !connection.is_stalled {
                    connection.is_stalled = true;
                    self.stalled.push(peer);
                    self.stats.held_up += u64::from(!self.peers.have_room());
                }
                return;
            }
            if let Err(violation) = self.parse_received(peer, received) {
                return self.violated(peer, &violation);
            }
        }
    }

    /// Parses one receive buffer to its end, or until there is no room.
    fn parse_received(&mut self, peer: Peer, received: Received) -> Result<(), Violation> {
        loop {
            if !self.may_take_input() || self.connections[peer.slot].is_behind(&self.backlog) {
                return Ok(());
            }
            self.records_within(peer, received)?;
            if self.connections[peer.slot].held.is_some() || !self.may_gather(peer, received)? {
                return Ok(());
            }
            let connection = &mut self.connections[peer.slot];
            let input = self.io.received(received);
            let mut at = connection.at;
            let event = connection.server.step(input, &mut at)?;
            connection.at = at;
            match event {
                None => {
                    connection.inbox.pop_front();
                    connection.at = 0;
                    self.intake.release(&mut self.io, received.buffer);
                    return Ok(());
                }
                Some(ServerEvent::Record(span)) => {
                    self.record(peer, received, span)?;
                    self.end_gathering(peer);
                    if self.connections[peer.slot].held.is_some() {
                        return Ok(());
                    }
                }
                Some(event) => {
                    self.check_whole(peer, &event)?;
                    self.request(peer, event);
                }
            }
        }
    }

    /// Takes up the records of the append that is arriving which lie whole in the buffer: nearly all there are.
    fn records_within(&mut self, peer: Peer, received: Received) -> Result<(), Violation> {
        let Some(mut arriving) = self.connections[peer.slot].arriving else { return Ok(()) };
        let checked = self.check(arriving.stream);
        let connection = &mut self.connections[peer.slot];
        let mut at = connection.at;
        loop {
            let connection = &mut self.connections[peer.slot];
            let input = self.io.received(received);
            let Some(range) = connection.server.frame_within(input, &mut at) else { break };
            let frame = Frame::parse(&input[range.clone()]).map_err(Violation::Frame)?;
            if frame.is_part() || arriving.large.is_some() {
                (connection.at, connection.arriving) = (at, Some(arriving));
                self.part(peer, Some(received), Span::Input(range), false)?;
                return Ok(());
            }
            let outline = Outline::of(&frame);
            let place = Place::Received { buffer: received.buffer, offset: range.start as u32 };
            if checked.is_ok() {
                self.intake.hold(received.buffer);
            }
            self.take_in(&mut arriving, checked, place, outline);
        }
        let connection = &mut self.connections[peer.slot];
        connection.at = at;
        connection.arriving = Some(arriving);
        Ok(())
    }

    /// One record that straddled two receives, and was gathered.
    fn record(&mut self, peer: Peer, received: Received, span: Span) -> Result<(), Violation> {
        let connection = &self.connections[peer.slot];
        let Some(mut arriving) = connection.arriving else { return Ok(()) };
        let bytes = connection.server.bytes(&span, self.io.received(received));
        let frame = Frame::parse(bytes).map_err(Violation::Frame)?;
        if frame.is_part() || arriving.large.is_some() {
            return self.part(peer, Some(received), span, false);
        }
        let checked = self.check(arriving.stream);
        let outline = Outline::of(&frame);
        let place = match checked {
            Ok(_) if span == Span::Gathered => {
                let server = &mut self.connections[peer.slot].server;
                self.intake.keep_gathered(|spare| server.take_gathered(spare))
            }
            Ok(_) => self.intake.spill(bytes),
            Err(_) => Place::NONE,
        };
        self.take_in(&mut arriving, checked, place, outline);
        self.connections[peer.slot].arriving = Some(arriving);
        Ok(())
    }

    /// Hands a record on to be routed, or notes that it is refused.
    pub(super) fn take_in(
        &mut self,
        arriving: &mut Arriving,
        checked: Result<StreamId, ErrorCode>,
        place: Place,
        outline: Outline,
    ) {
        let (append, index) = (arriving.append, arriving.records);
        arriving.records += 1;
        match checked {
            Ok(stream) => {
                self.appends.wait(append);
                let record = Unrouted { stream, place, outline, append, index };
                self.route_one(record);
            }
            Err(code) => {
                self.stats.refused += 1;
                self.appends.refuse(append, index, code);
            }
        }
    }

    /// Queues what has gathered with its shards. Called once the input that there is has been parsed.
    pub(super) fn route(&mut self) {
        let (router, io, mut onward) = self.onward();
        router.route(io, &mut onward);
        self.settle_refused();
    }

    /// Hands a record to the router.
    pub(super) fn route_one(&mut self, record: Unrouted) {
        let (router, io, mut onward) = self.onward();
        router.push(io, &mut onward, record);
    }

    /// The router, and all that it needs.
    fn onward(&mut self) -> (&mut Router, &mut I, Onward<'_>) {
        let Reactor {
            router,
            io,
            catalog,
            owners,
            buckets,
            watch,
            intake,
            appends,
            refused,
            peers,
            journal,
            gates,
            ..
        } = self;
        let producers = &mut journal.producers;
        let links = &mut peers.links;
        (router, io, Onward { catalog, owners, buckets, watch, producers, gates, intake, appends, refused, links })
    }

    /// Whether records may be taken in.
    pub(super) fn may_take_input(&self) -> bool {
        self.intake.bytes() < PENDING_BYTES_MAX && self.peers.have_room() && self.announcing.len() < ANNOUNCED_MAX
    }

    /// The stream that records of an append go to, or why they are refused at once: it may be gone since the append began.
    /// Payloads are verified when they are copied.
    pub(super) fn check(&self, stream: Option<StreamId>) -> Result<StreamId, ErrorCode> {
        let stream = stream.filter(|&stream| self.catalog.stream(stream).is_some()).ok_or(ErrorCode::UnknownStream)?;
        if self.journal.poisoned().is_some() { Err(ErrorCode::StorageFailed) } else { Ok(stream) }
    }
}
