//! Connections of the reactor: accepted, heard, answered, closed.

use frame::StreamId;
use frame::proto::{
    Append, CreateStream as CreateRequest, DescribeStream, ListStreams, Read, ServerEvent, ServerLimits,
    ShardDescription, Span, StreamDescription, StreamList, Violation,
};

use super::*;
use crate::catalog::{CreateError, Stream};
use crate::connection::Arriving;
use crate::intake::Place;
use crate::limits::{ACCEPT_RETRY_NS, LIST_STREAMS_MAX, SEND_CHECK_NS, SEND_TIMEOUT_NS, WINDOW_BATCHES, WINDOW_BYTES};
use crate::router::Unrouted;

/// The kernel's word that no receive buffer is free.
const ENOBUFS: i32 = 105;
/// The kernel's word that an operation was cancelled.
const ECANCELED: i32 = 125;

impl<I: Io> Reactor<I> {
    pub(super) fn accepted(&mut self, completion: &Completion) {
        self.accepting = completion.more;
        if completion.result < 0 {
            if completion.result != -ECANCELED && self.life == Life::Running {
                tracing::warn!(errno = -completion.result, "a connection could not be accepted; trying again soon");
                self.accept_after_ns = self.io.mono_ns() + ACCEPT_RETRY_NS;
            }
            return;
        }
        let socket = SocketId(completion.result.cast_unsigned());
        self.stats.connections += 1;
        let slot = self.connections.take();
        let connection = &mut self.connections[slot];
        connection.begin(socket);
        let peer = Peer { slot, life: connection.life };
        if self.connections.in_use() > CONNECTIONS_MAX || self.life != Life::Running {
            return self.close(peer);
        }
        self.receive(peer);
    }

    /// Bytes of a connection, its end, or its failure.
    pub(super) fn received(&mut self, peer: Peer, completion: Completion) {
        let received = match completion.payload {
            Payload::Received(received) => Some(received),
            _ => None,
        };
        if let Some(received) = received {
            self.intake.hold(received.buffer);
        }
        let known = self.connections.find(peer.slot).is_some_and(|connection| connection.life == peer.life);
        if !known {
            return self.drop_received(received);
        }
        let connection = &mut self.connections[peer.slot];
        connection.receiving = completion.more;
        let was_stopped = connection.is_stopping && completion.result == -ECANCELED;
        connection.is_stopping &= completion.more;
        if connection.phase != Phase::Live {
            self.drop_received(received);
            return self.finish_closing(peer);
        }
        match (completion.result, received) {
            (1.., Some(received)) => {
                connection.inbox.push_back(received);
                self.parse(peer);
                self.stop_receiving_when_full(peer);
                if !completion.more {
                    self.receive(peer);
                }
            }
            (0, _) => {
                // The client sends no more. What it sent before is still parsed and answered.
                connection.phase = Phase::HalfClosed;
                self.parse(peer);
            }
            (result, _) if result == -ENOBUFS => self.starved.push(peer),
            // If its input was parsed meanwhile, nothing else would begin it again.
            _ if was_stopped && connection.inbox.is_empty() => self.receive(peer),
            _ if was_stopped => {}
            _ => self.close(peer),
        }
    }

    fn drop_received(&mut self, received: Option<Received>) {
        if let Some(received) = received {
            self.intake.release(&mut self.io, received.buffer);
        }
    }

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
    fn parse(&mut self, peer: Peer) {
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
            if connection.is_behind() {
                connection.is_blocked = true;
                return;
            }
            if !may_take {
                if !connection.is_stalled {
                    connection.is_stalled = true;
                    self.stalled.push(peer);
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
            if self.intake.bytes() >= PENDING_BYTES_MAX || self.connections[peer.slot].is_behind() {
                return Ok(());
            }
            self.records_within(peer, received)?;
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
                Some(ServerEvent::Record(span)) => self.record(peer, received, &span)?,
                Some(event) => self.request(peer, event),
            }
        }
    }

    /// Takes up the records of the append that is arriving which lie whole in the buffer: nearly all there are.
    fn records_within(&mut self, peer: Peer, received: Received) -> Result<(), Violation> {
        let poisoned = self.journal.poisoned().is_some();
        let connection = &mut self.connections[peer.slot];
        let Some(mut arriving) = connection.arriving else { return Ok(()) };
        let mut at = connection.at;
        loop {
            let connection = &mut self.connections[peer.slot];
            let input = self.io.received(received);
            let Some(range) = connection.server.frame_within(input, &mut at) else { break };
            let frame = Frame::parse(&input[range.clone()]).map_err(Violation::Frame)?;
            let checked = check(arriving.stream, &frame, poisoned);
            let length = frame.length();
            let place = Place::Received { buffer: received.buffer, offset: range.start as u32 };
            if checked.is_ok() {
                self.intake.hold(received.buffer);
            }
            self.take_in(&mut arriving, checked, place, length);
        }
        let connection = &mut self.connections[peer.slot];
        connection.at = at;
        connection.arriving = Some(arriving);
        Ok(())
    }

    /// One record that straddled two receives, and was gathered.
    fn record(&mut self, peer: Peer, received: Received, span: &Span) -> Result<(), Violation> {
        let poisoned = self.journal.poisoned().is_some();
        let connection = &mut self.connections[peer.slot];
        let Some(mut arriving) = connection.arriving else { return Ok(()) };
        let bytes = connection.server.bytes(span, self.io.received(received));
        let frame = Frame::parse(bytes).map_err(Violation::Frame)?;
        let checked = check(arriving.stream, &frame, poisoned);
        let length = frame.length();
        let place = if checked.is_ok() { self.intake.spill(bytes) } else { Place::NONE };
        self.take_in(&mut arriving, checked, place, length);
        self.connections[peer.slot].arriving = Some(arriving);
        Ok(())
    }

    /// Hands a record on to be routed, or notes that it is refused.
    fn take_in(&mut self, arriving: &mut Arriving, checked: Result<StreamId, ErrorCode>, place: Place, length: usize) {
        let (append, index) = (arriving.append, arriving.records);
        arriving.records += 1;
        match checked {
            Ok(stream) => {
                self.appends.wait(append);
                let record = Unrouted { stream, place, length, append, index };
                self.router.push(&self.io, &self.catalog, &mut self.intake, record);
            }
            Err(code) => {
                self.stats.refused += 1;
                self.appends.result(append, index, AckResult::Refused(code));
            }
        }
    }

    /// Queues what has gathered with its shards. Called once the input that there is has been parsed.
    pub(super) fn route(&mut self) {
        self.router.route(&self.io, &self.catalog, &mut self.intake);
    }

    fn request(&mut self, peer: Peer, event: ServerEvent) {
        let epoch = self.store.current.epoch.0;
        let connection = &mut self.connections[peer.slot];
        match event {
            ServerEvent::Hello(request) => {
                let limits = ServerLimits { window_bytes: WINDOW_BYTES, window_batches: WINDOW_BATCHES };
                connection.server.offer(self.features);
                connection.server.welcome(&mut connection.out, request, epoch, limits);
                self.make_dirty(peer);
            }
            ServerEvent::Ping(request) => {
                Server::pong(&mut connection.out, request);
                self.make_dirty(peer);
            }
            ServerEvent::AppendBegin(request, append) => self.begin_append(peer, request, append),
            ServerEvent::AppendEnd { bytes, .. } => {
                let Some(arriving) = connection.arriving.take() else { return };
                if self.appends.end(arriving.append, bytes) {
                    self.append_done(arriving.append);
                }
            }
            ServerEvent::CreateStream(request, create) => self.create_stream(peer, request, &create),
            ServerEvent::DescribeStream(request, DescribeStream { name }) => self.answer_stream(peer, request, &name),
            ServerEvent::ListStreams(request, list) => self.list_streams(peer, request, &list),
            ServerEvent::Read(request, read) => self.read(peer, request, read),
            ServerEvent::Record(_) => {}
        }
    }

    fn begin_append(&mut self, peer: Peer, request: RequestId, append: Append) {
        let number = self.appends.begin(peer, request);
        let connection = &mut self.connections[peer.slot];
        connection.appends += 1;
        let stream = self.catalog.stream(append.stream).map(|stream| stream.stream);
        connection.arriving = Some(Arriving { append: number, stream, records: 0 });
    }

    fn create_stream(&mut self, peer: Peer, request: RequestId, create: &CreateRequest) {
        let same = |stream: &Stream| stream.shard_count() == create.shards;
        if self.catalog.by_name(&create.name).is_some_and(same) {
            return self.answer_stream(peer, request, &create.name);
        }
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.command.name == create.name)
            && pending.command.shards == create.shards
        {
            return pending.waiters.push((peer, request));
        }
        if self.journal.poisoned().is_some() {
            return self.fail(peer, request, ErrorCode::StorageFailed, "a write failed; restart the server");
        }
        match self.planned.plan_create(&create.name, create.shards, self.io.wall_ms()) {
            Ok(command) => self.plan(peer, request, command),
            Err(CreateError::Name) => {
                let detail = "a stream's name has 1 to 128 letters, digits, `_`, `.` or `-`";
                self.fail(peer, request, ErrorCode::InvalidArgument, detail);
            }
            Err(CreateError::Shards) => {
                self.fail(peer, request, ErrorCode::InvalidArgument, "a stream has 1 to 10000 shards");
            }
            Err(CreateError::Exists(shards)) => {
                let detail = format!("stream {} exists with {shards} shards; choose another name", create.name);
                self.fail(peer, request, ErrorCode::StreamExists, &detail);
            }
            Err(CreateError::Full) => {
                let detail = "the data directory has all the streams or shards that it may have";
                self.fail(peer, request, ErrorCode::InvalidArgument, detail);
            }
        }
    }

    /// Sends a command to the journal, as a record of the catalog's shard.
    fn plan(&mut self, peer: Peer, request: RequestId, command: CreateStream) {
        let mut bytes = Vec::new();
        let encoded = frame::frame::encode(&mut bytes, b"catalog", None, &command.encode());
        debug_assert!(encoded.is_ok(), "a command is far below a record's limit");
        let applied = self.planned.apply(&command);
        debug_assert!(applied.is_some(), "it was planned against this very catalog");
        let place = self.intake.spill(&bytes);
        self.intake.push(ShardId::CATALOG, place, bytes.len(), CATALOG_APPEND, 0);
        self.pending.push_back(Pending { command, waiters: vec![(peer, request)] });
    }

    pub(super) fn answer_stream(&mut self, peer: Peer, request: RequestId, name: &str) {
        let Some(stream) = self.catalog.by_name(name) else {
            let detail = format!("there is no stream {name}; create it, or list the streams there are");
            return self.fail(peer, request, ErrorCode::UnknownStream, &detail);
        };
        let shards = stream.shards().map(|(shard, hash_start, hash_end)| {
            let tip = self.shards.find(shard).map_or(Sequence(1), |shard| shard.durable_next);
            ShardDescription { shard, hash_start, hash_end, trim: Sequence(1), tip }
        });
        let description = StreamDescription {
            stream: stream.stream,
            name: stream.name.clone(),
            created_ms: stream.created_ms,
            shards: shards.collect(),
        };
        if let Some(connection) = live(&mut self.connections, peer) {
            Server::stream(&mut connection.out, request, &description);
            self.make_dirty(peer);
        }
    }

    fn list_streams(&mut self, peer: Peer, request: RequestId, list: &ListStreams) {
        let limit = list.limit.clamp(1, LIST_STREAMS_MAX) as usize;
        let mut names: Vec<String> = self.catalog.names_after(&list.after).take(limit + 1).map(str::to_owned).collect();
        let more = names.len() > limit;
        names.truncate(limit);
        let answer = StreamList { names, more };
        let connection = &mut self.connections[peer.slot];
        Server::stream_list(&mut connection.out, request, &answer);
        self.make_dirty(peer);
    }

    fn read(&mut self, peer: Peer, request: RequestId, read: Read) {
        let Some(stream) = self.catalog.stream(read.stream) else {
            return self.fail(
                peer,
                request,
                ErrorCode::UnknownStream,
                "there is no stream of that number; list the streams there are",
            );
        };
        if !stream.has(read.shard) {
            let detail = format!("stream {} has no shard {}; describe it to see its shards", stream.name, read.shard);
            return self.fail(peer, request, ErrorCode::UnknownShard, &detail);
        }
        self.connections[peer.slot].reads += 1;
        self.reads.add(peer, request, read);
    }

    /// Sends the answers of finished reads.
    pub(super) fn answer_reads(&mut self) {
        if self.answered.is_empty() {
            return;
        }
        // Slow readers may not keep the memory that appends need: past a share of it they get copies.
        let pool = self.io.pool();
        let share_frames = pool.used_bytes() - self.journal.cache.held_bytes() < pool.capacity_bytes() / 4;
        let mut answered = std::mem::take(&mut self.answered);
        for Answered { peer, request, answer } in answered.drain(..) {
            let Some(connection) = live(&mut self.connections, peer) else { continue };
            connection.reads -= 1;
            match answer {
                Answer::Failure(failure) => Server::failure(&mut connection.out, request, &failure),
                Answer::Records(result, runs) => {
                    let bytes = runs.iter().map(|(_, range)| range.len()).sum();
                    result.encode(&mut connection.out, request, bytes);
                    for (buf, range) in runs {
                        if share_frames {
                            connection.send_frames(buf, range);
                        } else {
                            connection.out.extend_from_slice(&buf[range]);
                        }
                    }
                }
            }
            self.make_dirty(peer);
            self.hear_again(peer);
        }
        self.answered = answered;
    }

    pub(super) fn fail(&mut self, peer: Peer, request: RequestId, code: ErrorCode, detail: &str) {
        if let Some(connection) = live(&mut self.connections, peer) {
            let failure = Failure { code, detail: detail.to_owned() };
            Server::failure(&mut connection.out, request, &failure);
            self.make_dirty(peer);
        }
    }

    /// The client broke the protocol: it is told, and heard no more.
    fn violated(&mut self, peer: Peer, violation: &Violation) {
        tracing::debug!(%violation, slot = peer.slot, "a client broke the protocol");
        self.drop_inbox(peer);
        self.abandon_arriving(peer);
        if let Some(connection) = live(&mut self.connections, peer) {
            Server::violation(&mut connection.out, violation);
            connection.phase = Phase::LastWords;
            self.make_dirty(peer);
        }
    }

    fn drop_inbox(&mut self, peer: Peer) {
        while let Some(received) = self.connections[peer.slot].inbox.pop_front() {
            self.intake.release(&mut self.io, received.buffer);
        }
        self.connections[peer.slot].at = 0;
    }

    /// An append that will never be whole: its records that were taken are stored, and nobody is told.
    fn abandon_arriving(&mut self, peer: Peer) {
        let connection = &mut self.connections[peer.slot];
        if let Some(arriving) = connection.arriving.take() {
            connection.appends -= 1;
            if self.appends.abandon(arriving.append) {
                self.appends.release(arriving.append);
            }
        }
    }

    pub(super) fn make_dirty(&mut self, peer: Peer) {
        let connection = &mut self.connections[peer.slot];
        if !connection.is_dirty {
            connection.is_dirty = true;
            self.dirty.push(peer);
        }
    }

    /// Sends what was made for connections in this turn, and closes those that are done.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for peer in dirty.drain(..) {
            let Some(connection) = self.connections.find(peer.slot).filter(|c| c.life == peer.life) else { continue };
            let phase = connection.phase;
            let connection = &mut self.connections[peer.slot];
            connection.is_dirty = false;
            if matches!(phase, Phase::Free | Phase::Closing) {
                continue;
            }
            connection.acknowledge(&mut self.appends);
            connection.flush(&mut self.io, peer);
            let told = !connection.is_sending() && connection.outgoing_bytes() == 0;
            let done = match phase {
                Phase::LastWords => told,
                Phase::HalfClosed => connection.is_served() && connection.inbox.is_empty(),
                _ => false,
            };
            if done {
                self.close(peer);
            }
        }
        self.dirty = dirty;
    }

    pub(super) fn sent(&mut self, peer: Peer, completion: Completion) {
        let bytes = match completion.payload {
            Payload::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        let known = self.connections.find(peer.slot).is_some_and(|connection| connection.life == peer.life);
        if !known {
            return;
        }
        let connection = &mut self.connections[peer.slot];
        let there = connection.sent(&mut self.io, peer, completion.result, bytes);
        if connection.phase == Phase::Closing {
            return self.finish_closing(peer);
        }
        if !there {
            return self.close(peer);
        }
        self.make_dirty(peer);
        self.hear_again(peer);
    }

    /// Goes on with a connection that had too many answers to take, once it took some.
    fn hear_again(&mut self, peer: Peer) {
        let Some(connection) = live(&mut self.connections, peer) else { return };
        if connection.is_blocked && !connection.is_behind() {
            connection.is_blocked = false;
            self.parse(peer);
        }
    }

    /// Closes connections that have taken nothing of what they are sent for too long.
    pub(super) fn close_unheard(&mut self) {
        let now = self.io.mono_ns();
        if now < self.send_check_ns {
            return;
        }
        self.send_check_ns = now + SEND_CHECK_NS;
        let limit = now.saturating_sub(SEND_TIMEOUT_NS);
        let gone: Vec<Peer> = self
            .connections
            .iter_mut()
            .filter(|(_, connection)| connection.sends_since_before(limit))
            .map(|(slot, connection)| Peer { slot, life: connection.life })
            .collect();
        gone.into_iter().for_each(|peer| self.close(peer));
    }

    /// Ends a connection: what it was owed is dropped, what it appended is stored.
    pub(super) fn close(&mut self, peer: Peer) {
        let connection = &mut self.connections[peer.slot];
        if matches!(connection.phase, Phase::Free | Phase::Closing) {
            return;
        }
        let Some(socket) = connection.socket else { return };
        connection.phase = Phase::Closing;
        for number in std::mem::take(&mut connection.done) {
            self.appends.release(number);
        }
        self.drop_inbox(peer);
        self.abandon_arriving(peer);
        self.io.submit(Op::Close(socket), token::close(peer));
    }

    pub(super) fn closed(&mut self, peer: Peer) {
        let known = self.connections.find(peer.slot).is_some_and(|connection| connection.life == peer.life);
        if known {
            self.connections[peer.slot].socket = None;
            self.finish_closing(peer);
        }
    }

    /// Frees the slot once the socket is closed and nothing is in flight on it.
    fn finish_closing(&mut self, peer: Peer) {
        let connection = &mut self.connections[peer.slot];
        let over = connection.phase == Phase::Closing
            && connection.socket.is_none()
            && !connection.receiving
            && !connection.is_sending();
        if over {
            connection.phase = Phase::Free;
            self.connections.release(peer.slot);
        }
    }
}

/// The stream that a record goes to, or why it is refused.
fn check(stream: Option<StreamId>, frame: &Frame<'_>, poisoned: bool) -> Result<StreamId, ErrorCode> {
    let stream = stream.ok_or(ErrorCode::UnknownStream)?;
    if frame.verify_payload().is_err() {
        return Err(ErrorCode::Checksum);
    }
    if poisoned { Err(ErrorCode::StorageFailed) } else { Ok(stream) }
}
