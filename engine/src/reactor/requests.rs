//! What clients ask for besides appends, and the answers.

use frame::proto::{
    Append, CreateStream as CreateRequest, DeleteStream, DescribeStream, ListStreams, MergeShards, MoveShard, Read,
    ServerEvent, ServerLimits, SetQuotas, SetRetention, ShardDescription, SplitShard, Start, StreamDescription,
    StreamList,
};
use frame::{Quotas, Retention, Settings};

use super::backlog::too_many_answers;
use super::moves::moved_detail;
use super::reshard::all_given;
use super::*;
use crate::catalog::{Annotation, AnnotationError, Change, CreateError, Resharding, Stream, StreamShard};
use crate::connection::Arriving;
use crate::handle;
use crate::limits::{LIST_STREAMS_MAX, READS_MAX, WINDOW_BATCHES};
use crate::reads::Found;
use crate::shards::Shard;

impl<I: Io> Reactor<I> {
    pub(super) fn request(&mut self, peer: Peer, event: ServerEvent) {
        if self.refuses_long_answer(peer, &event) {
            return;
        }
        if let Some(owner) = self.question_for(peer, &event) {
            return self.ask(peer, owner, event);
        }
        let epoch = self.epoch.0;
        let window_bytes = self.window_bytes();
        let connection = &mut self.connections[peer.slot];
        match event {
            ServerEvent::Hello(request) => {
                let limits = ServerLimits { window_bytes, window_batches: WINDOW_BATCHES };
                connection.server.offer(self.features);
                connection.server.tell_reactors(self.told_reactors);
                connection.server.welcome(&mut connection.outgoing.control, request, epoch, limits);
                self.make_dirty(peer);
            }
            ServerEvent::Challenge(request) => {
                connection.server.challenge(&mut connection.outgoing.control, request);
                self.make_dirty(peer);
            }
            ServerEvent::Ping(request) => {
                Server::pong(&mut connection.outgoing.control, request);
                self.make_dirty(peer);
            }
            ServerEvent::AppendBegin(request, append) => self.begin_append(peer, request, append),
            ServerEvent::AppendEnd { bytes, .. } => {
                let Some(arriving) = connection.arriving.take() else { return };
                if self.appends.end(arriving.append, bytes) {
                    self.append_done(arriving.append);
                }
            }
            ServerEvent::CreateStream(request, create) => self.create_stream(Asker::Peer(peer, request), &create),
            ServerEvent::SetQuotas(request, SetQuotas { name, quotas }) => {
                self.set_quotas(Asker::Peer(peer, request), &name, quotas);
            }
            ServerEvent::SplitShard(request, SplitShard { name, shard, at }) => {
                self.reshard(Asker::Peer(peer, request), &name, Change::Split { shard, at });
            }
            ServerEvent::MergeShards(request, MergeShards { name, shard, adjacent }) => {
                self.reshard(Asker::Peer(peer, request), &name, Change::Merge { shard, adjacent });
            }
            ServerEvent::MoveShard(request, MoveShard { name, shard, reactor }) => {
                self.reshard(Asker::Peer(peer, request), &name, Change::Move { shard, home: reactor });
            }
            ServerEvent::SetRetention(request, SetRetention { name, retention }) => {
                self.set_retention(Asker::Peer(peer, request), &name, |_| retention);
            }
            ServerEvent::DeleteStream(request, DeleteStream { name }) => {
                self.delete_stream(Asker::Peer(peer, request), &name);
            }
            ServerEvent::DescribeStream(request, DescribeStream { name }) => {
                self.answer_stream(Asker::Peer(peer, request), &name);
            }
            ServerEvent::ListStreams(request, list) => self.list_streams(peer, request, &list),
            ServerEvent::Read(request, read) => self.read(Asker::Peer(peer, request), (read, u32::MAX), Counts::Read),
            ServerEvent::Subscribe(request, subscribe) => self.subscribe(peer, request, subscribe),
            ServerEvent::Grant(request, grant) => self.grant(peer, request, grant),
            ServerEvent::Unsubscribe(request) => self.unsubscribe(peer, request),
            ServerEvent::Record(_) => {}
        }
    }

    fn begin_append(&mut self, peer: Peer, request: RequestId, append: Append) {
        let number = self.appends.begin(Asker::Peer(peer, request));
        let connection = &mut self.connections[peer.slot];
        connection.appends += 1;
        self.appending += u64::from(!std::mem::replace(&mut connection.is_appending, true));
        let stream = self.catalog.stream(append.stream).map(|stream| stream.stream);
        connection.arriving = Some(Arriving { append: number, stream, records: 0, large: None });
    }

    /// Makes a stream, or finds that it is there as wanted.
    pub(super) fn create_stream(&mut self, asker: Asker, create: &CreateRequest) {
        match self.planned.by_name(&create.name).filter(|stream| stream.made_with() == create.shards) {
            None => {
                self.create_new_stream(asker, &create.name, create.shards, create.settings, Annotation::default());
            }
            Some(stream) => {
                let stream = stream.stream;
                match self.waiters_of(stream) {
                    None => self.answer_stream(asker, &create.name),
                    Some(waiters) => {
                        waiters.push(asker);
                        self.owe_command(asker);
                    }
                }
            }
        }
    }

    /// Makes a stream of a name that no other has.
    pub(super) fn create_new_stream(
        &mut self,
        asker: Asker,
        name: &str,
        shards: u32,
        settings: Settings,
        annotation: Annotation,
    ) {
        if self.fail_if_poisoned(asker) {
            return;
        }
        if self.has_no_room() {
            return self.fail(
                asker,
                ErrorCode::DiskFull,
                "free space on the disk, delete a stream, keep less of some, or raise the disk budget",
            );
        }
        match self.planned.plan_create(name, shards, settings, annotation, self.clock.arrival_ms(&self.io)) {
            Ok(Command::Create(create)) if !self.has_room_for(create.next_shard()) => {
                self.fail(asker, ErrorCode::TooManyShards, &self.no_room());
            }
            Ok(command) => self.plan(asker, command),
            Err(CreateError::Name) => {
                let detail = "a stream's name has 1 to 128 letters, digits, `_`, `.` or `-`";
                self.fail(asker, ErrorCode::InvalidArgument, detail);
            }
            Err(CreateError::Shards) => {
                self.fail(asker, ErrorCode::InvalidArgument, "a stream has 1 to 10000 shards");
            }
            Err(CreateError::Exists(shards)) => {
                let detail = format!("stream {name} exists with {shards} shards; choose another name");
                self.fail(asker, ErrorCode::StreamExists, &detail);
            }
            Err(CreateError::Full) => {
                let detail = "the data directory has all the streams that it may have; delete some, or use a new one";
                self.fail(asker, ErrorCode::InvalidArgument, detail);
            }
            Err(CreateError::AllGiven) => self.fail(asker, ErrorCode::TooManyShards, &all_given()),
            Err(CreateError::Annotation(error)) => self.refuse_annotation(asker, error),
        }
    }

    /// Keeps other bytes beside a stream, or, without a name, beside the log.
    pub(super) fn annotate(&mut self, asker: Asker, name: Option<&str>, annotation: Annotation) {
        match self.planned.plan_annotation(name, annotation) {
            Ok(command) => self.plan_of(asker, name.unwrap_or_default(), |_| command),
            Err(error) => self.refuse_annotation(asker, error),
        }
    }

    /// Has a stream's records encrypted, or not any more.
    pub(super) fn encrypt(&mut self, asker: Asker, name: &str, key: Encryption) {
        match self.planned.plan_encryption(name, key) {
            Ok(command) => self.plan_of(asker, name, |_| command),
            Err(error) => self.refuse_annotation(asker, error),
        }
    }

    fn refuse_annotation(&mut self, asker: Asker, error: AnnotationError) {
        let detail = match error {
            AnnotationError::Long => "more is to be kept beside the stream than may be",
            AnnotationError::Full => "as much is kept beside the streams of this data directory as may be; remove some",
        };
        self.fail(asker, ErrorCode::InvalidArgument, detail);
    }

    pub(super) fn delete_stream(&mut self, asker: Asker, name: &str) {
        self.plan_of(asker, name, |planned| planned.plan_delete(name));
    }

    /// Gives a stream other quotas, from when they are stored on.
    pub(super) fn set_quotas(&mut self, asker: Asker, name: &str, quotas: Quotas) {
        self.plan_of(asker, name, |planned| planned.plan_quotas(name, quotas));
    }

    /// Has more or less of a stream kept, from when that is stored on.
    pub(super) fn set_retention(&mut self, asker: Asker, name: &str, change: impl FnOnce(Retention) -> Retention) {
        self.plan_of(asker, name, |planned| planned.plan_retention(name, change));
    }

    /// Sends a command of a stream to the journal, if there is one of that name.
    fn plan_of(&mut self, asker: Asker, name: &str, plan: impl FnOnce(&Catalog) -> Option<Command>) {
        if self.fail_if_poisoned(asker) {
            return;
        }
        match plan(&self.planned) {
            Some(command) => self.plan(asker, command),
            None => self.fail_unknown(asker, name),
        }
    }

    /// Sends a command to the journal, as a record of the catalog's shard; its asker is told once it is true.
    pub(super) fn plan(&mut self, asker: Asker, command: Command) {
        self.store(command, vec![asker]);
        self.owe_command(asker);
    }

    /// Has a command written, which `waiters` wait for.
    pub(super) fn store(&mut self, command: Command, waiters: Vec<Asker>) {
        let mut bytes = Vec::new();
        let encoded = frame::frame::encode(&mut bytes, b"catalog", None, &command.encode());
        debug_assert!(encoded.is_ok(), "a command is far below a record's limit");
        let applied = self.planned.apply(&command);
        debug_assert!(applied.is_some(), "it was planned against this very catalog");
        let place = self.intake.spill(&bytes);
        self.intake.push(ShardId::CATALOG, place, bytes.len(), CATALOG_APPEND, 0);
        self.pending.push_back(Pending { command, waiters });
    }

    /// A connection waits for a command.
    fn owe_command(&mut self, asker: Asker) {
        if let Asker::Peer(peer, _) = asker {
            self.connections[peer.slot].commands += 1;
        }
    }

    /// Whoever waited for a command is about to be told.
    pub(super) fn settle_command(&mut self, asker: Asker) {
        if let Asker::Peer(peer, _) = asker
            && let Some(connection) = live(&mut self.connections, peer)
        {
            connection.commands -= 1;
            connection.answered += usize::from(connection.host.is_some());
        }
    }

    /// A command has become true.
    pub(super) fn answer_command(&mut self, asker: Asker, command: &Command) {
        match (asker, command) {
            (_, Command::Create(create)) => self.answer_stream(asker, &create.name),
            (
                _,
                &(Command::SetQuotas(stream, _)
                | Command::SetRetention(stream, _)
                | Command::Encrypt(stream, _)
                | Command::Annotate(stream @ StreamId(1..), _)),
            )
            | (_, &Command::Reshard(Resharding { stream, .. }, _)) => {
                match self.catalog.stream(stream).map(|stream| stream.name.clone()) {
                    Some(name) => self.answer_stream(asker, &name),
                    None => self.fail(asker, ErrorCode::UnknownStream, DELETED),
                }
            }
            (Asker::Call(slot), Command::Annotate(StreamId(0), annotation)) => {
                self.reply(slot, handle::Answer::Annotation(Arc::clone(annotation)));
            }
            (Asker::Call(slot), _) => self.reply(slot, handle::Answer::Deleted),
            (Asker::Peer(peer, request), Command::Delete(_)) => {
                let Some(connection) = live(&mut self.connections, peer) else { return };
                Server::deleted(&mut connection.outgoing.control, request);
                self.make_dirty(peer);
            }
            (Asker::Peer(..) | Asker::Reactor(_), _) => {}
        }
    }

    pub(super) fn answer_stream(&mut self, asker: Asker, name: &str) {
        let Some(stream) = self.shown(name) else { return self.fail_unknown(asker, name) };
        match asker {
            Asker::Reactor(_) => {}
            Asker::Call(slot) => {
                let answer = handle::Answer::Stream(stream.outline(), Vec::new());
                self.reply(slot, answer);
            }
            Asker::Peer(peer, request) => {
                let description = StreamDescription {
                    stream: stream.stream,
                    name: stream.name.clone(),
                    created_ms: stream.created_ms,
                    quotas: stream.quotas,
                    retention: stream.retention,
                    shards: self.describe_shards(stream).collect(),
                };
                if let Some(connection) = live(&mut self.connections, peer) {
                    Server::stream(&mut connection.outgoing.control, request, &description);
                    self.make_dirty(peer);
                }
            }
        }
    }

    /// The stream of a name, once every reactor knows it.
    pub(super) fn shown(&self, name: &str) -> Option<&Stream> {
        self.catalog.by_name(name).filter(|stream| !self.is_hidden(stream.stream))
    }

    /// The shards of a stream, in their order.
    pub(super) fn describe_shards<'a>(&'a self, stream: &'a Stream) -> impl Iterator<Item = ShardDescription> + 'a {
        stream.shards().filter(|shard| !self.reshardings.hides(shard.shard)).map(|described| {
            let StreamShard { shard, hash_start, hash_end, parent, adjacent_parent, created_ms, .. } = described;
            let closed = described.closed.filter(|closed| !self.reshardings.is_news(closed.children.first));
            let (trim, tip) = if self.owners.is_own(shard) {
                let tip = self.shards.find(shard).map_or(Sequence(1), |shard| shard.durable_next);
                (self.shards.first_kept(shard), tip)
            } else {
                (self.exchange().trim(shard), self.exchange().tip(shard))
            };
            let reactor = self.owners.of(shard) as u32;
            let tip = closed.map_or(tip, |closed| closed.end);
            ShardDescription {
                shard,
                reactor,
                hash_start,
                hash_end,
                trim: trim.min(tip),
                tip,
                parent,
                adjacent_parent,
                created_ms,
                children: closed.map(|closed| closed.children),
            }
        })
    }

    pub(super) fn list_streams(&mut self, peer: Peer, request: RequestId, list: &ListStreams) {
        let answer = self.names_of_streams(list);
        let connection = &mut self.connections[peer.slot];
        Server::stream_list(&mut connection.outgoing.control, request, &answer);
        self.make_dirty(peer);
    }

    pub(super) fn names_of_streams(&self, list: &ListStreams) -> StreamList {
        let limit = list.limit.clamp(1, LIST_STREAMS_MAX) as usize;
        let names = self.catalog.names_after(&list.after).filter(|name| self.shown(name).is_some());
        let mut names: Vec<String> = names.take(limit + 1).map(str::to_owned).collect();
        let more = names.len() > limit;
        names.truncate(limit);
        StreamList { names, more }
    }

    /// Whether there is this shard of this stream, at this reactor; the asker is told if not.
    pub(super) fn has_shard(&mut self, asker: Asker, stream: StreamId, shard: ShardId) -> bool {
        let Some(stream) = self.catalog.stream(stream) else {
            let detail = "there is no stream of that number; list the streams there are";
            self.fail(asker, ErrorCode::UnknownStream, detail);
            return false;
        };
        if !stream.has(shard) {
            let detail = format!("stream {} has no shard {shard}; describe it to see its shards", stream.name);
            self.fail(asker, ErrorCode::UnknownShard, &detail);
            return false;
        }
        if !self.owners.is_own(shard) {
            self.fail(asker, ErrorCode::Resharding, &moved_detail(shard));
            return false;
        }
        true
    }

    /// Looks for records, in so many frames at most.
    pub(super) fn read(&mut self, asker: Asker, (read, frames_max): (Read, u32), counts: Counts) {
        if !self.has_shard(asker, read.stream, read.shard) {
            return;
        }
        let (from, since_ms) = match self.place(read.shard, read.start) {
            Ok(place) => place,
            Err(Failure { code, detail, .. }) => return self.fail(asker, code, &detail),
        };
        let quotas = self.catalog.stream(read.stream).map(|stream| stream.quotas);
        if let Some(quotas) = quotas.filter(|quotas| counts == Counts::Read && quotas.has_read_quotas())
            && let Err(code) = self.buckets.begin_read(read.shard, &quotas, self.io.mono_ns())
        {
            return self.fail(asker, code, "wait a moment, or give the stream other quotas");
        }
        if self.reads.in_progress() >= READS_MAX {
            return self.fail(asker, ErrorCode::Busy, "many reads wait for the disk; ask again in a moment");
        }
        if let Asker::Peer(peer, _) = asker {
            self.connections[peer.slot].reads += 1;
        }
        let wanted = Wanted::new(read.shard, from, since_ms, read.bytes_max).of_frames(frames_max);
        self.reads.add(asker, read.stream, wanted, counts);
    }

    /// The number, and the time, from which on a reader of `shard` is given records.
    pub(super) fn place(&self, shard: ShardId, start: Start) -> Result<(Sequence, u64), Failure> {
        let tip = self.shards.find(shard).copied().unwrap_or(Shard::NEW);
        let first_kept = self.shards.first_kept(shard);
        match start {
            Start::At(from) => tip.check_given(shard, from).map(|()| (from.max(first_kept), 0)),
            Start::Latest => Ok((tip.durable_next, 0)),
            // What is past by either clock may be asked for.
            Start::Since(ms) if ms > self.io.wall_ms().max(self.clock.arrival_ms(&self.io)).max(tip.arrival_ms) => {
                let detail = format!("{ms} ms since 1970 is in the future; begin at the newest record");
                Err(Failure::new(ErrorCode::InvalidArgument, detail))
            }
            Start::Since(ms) => Ok((first_kept, ms)),
        }
    }

    /// Sends the answers of finished reads.
    pub(super) fn answer_reads(&mut self) {
        if self.answered.is_empty() {
            return;
        }
        let share_frames = self.may_share_frames();
        let mut answered = std::mem::take(&mut self.answered);
        for Answered { asker, stream, counts, mut answer } in answered.drain(..) {
            if let Answer::Records(Found { result, .. }, _) = &mut answer {
                let shard = result.shard;
                self.note_end(stream, result);
                // It may have moved while it was read, and its segments been let go of.
                if !self.owners.is_own(shard) {
                    answer = Answer::Failure(Failure::new(ErrorCode::Resharding, moved_detail(shard)));
                }
                // Or been forgotten, with where it began.
                if self.catalog.stream(stream).is_some_and(|stream| !stream.has(shard)) {
                    let detail = format!("shard {shard} has expired; describe its stream to see what goes on");
                    answer = Answer::Failure(Failure::new(ErrorCode::UnknownShard, detail));
                }
            }
            if let Answer::Records(Found { result, record_bytes }, _) = &answer
                && let Some(quotas) = self.catalog.stream(stream).map(|stream| stream.quotas)
                && (counts != Counts::Nothing && quotas.has_read_quotas())
            {
                self.buckets.end_read(result.shard, &quotas, *record_bytes, self.io.mono_ns());
            }
            match asker {
                Asker::Peer(peer, request) => self.answer_read(peer, request, answer, share_frames),
                Asker::Call(slot) => {
                    let answer = match answer {
                        Answer::Failure(failure) => handle::Answer::Failed(failure),
                        Answer::Records(Found { result, .. }, frames) => {
                            handle::Answer::Records(result, frames.into_bytes())
                        }
                    };
                    self.reply(slot, answer);
                }
                Asker::Reactor(_) => {}
            }
        }
        self.answered = answered;
    }

    fn answer_read(&mut self, peer: Peer, request: RequestId, answer: Answer, share_frames: bool) {
        self.wait_for_way(peer);
        let Some(connection) = live(&mut self.connections, peer) else { return };
        connection.reads -= 1;
        connection.answered += usize::from(connection.host.is_some());
        match answer {
            Answer::Failure(failure) => Server::failure(&mut connection.outgoing.control, request, &failure),
            Answer::Records(..) if self.backlog.is_over() || connection.must_wait(&self.for_guests) => {
                Server::failure(&mut connection.outgoing.control, request, &too_many_answers());
            }
            Answer::Records(Found { result, .. }, frames) => {
                connection.outgoing.send_records(request, &result, frames, share_frames);
            }
        }
        self.count_backlog(peer);
        self.make_dirty(peer);
        self.hear_again(peer);
    }

    /// Whether the journal takes nothing more; the asker is told so.
    pub(super) fn fail_if_poisoned(&mut self, asker: Asker) -> bool {
        let is_poisoned = self.journal.poisoned().is_some();
        if is_poisoned {
            self.fail(asker, ErrorCode::StorageFailed, "a write failed; restart the server");
        }
        is_poisoned
    }

    pub(super) fn fail_unknown(&mut self, asker: Asker, name: &str) {
        let detail = format!("there is no stream {name}; create it, or list the streams there are");
        self.fail(asker, ErrorCode::UnknownStream, &detail);
    }

    pub(super) fn fail(&mut self, asker: Asker, code: ErrorCode, detail: &str) {
        let failure = Failure::new(code, detail);
        match asker {
            Asker::Reactor(_) => {}
            Asker::Call(slot) => self.reply(slot, handle::Answer::Failed(failure)),
            Asker::Peer(peer, request) => {
                if let Some(connection) = live(&mut self.connections, peer) {
                    Server::failure(&mut connection.outgoing.control, request, &failure);
                    self.make_dirty(peer);
                }
            }
        }
    }
}
