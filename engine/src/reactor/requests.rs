//! What clients ask for besides appends, and the answers.

use frame::proto::{
    Append, CreateStream as CreateRequest, DescribeStream, ListStreams, Read, ServerEvent, ServerLimits,
    ShardDescription, StreamDescription, StreamList,
};

use super::*;
use crate::catalog::{CreateError, Stream};
use crate::connection::Arriving;
use crate::limits::{LIST_STREAMS_MAX, WINDOW_BATCHES, WINDOW_BYTES};

impl<I: Io> Reactor<I> {
    pub(super) fn request(&mut self, peer: Peer, event: ServerEvent) {
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
}
