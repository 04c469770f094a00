//! Streams and shards: a state machine fed by commands, which travel in the journal as records of the catalog's own shard.
//!
//! A snapshot is the commands that make the same state. It lies in the footer of every sealed segment; what came after is
//! replayed from the tail. Applying is deterministic: identifiers are in the command, not drawn here.
//!
//! Numbers of streams and shards are never given twice: a snapshot ends with those that come next. With them stand the shards
//! of which nothing tells whose they are. Closed shards of which nothing is left are forgotten: their numbers are nobody's, and not
//! given again.
//!
//! The catalog's own journal is number 0. Every journal, that one among them, says with *go on* at which number a shard goes
//! on in it whose records before that lie in another journal; what the catalog knows does not change by it.

mod command;
mod damage;
mod forget;
mod go_on;
mod orphans;
mod reshard;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use frame::limits::{SHARDS_PER_STREAM_MAX, STREAM_NAME_BYTES_MAX, STREAM_NAME_PART_BYTES_MAX};
use frame::segment::Footer;
use frame::{Quotas, Retention, Settings, ShardId, StreamId};

pub(crate) use command::{Command, Create, FIXED_BYTES, add_to_snapshot, commands};
pub(crate) use go_on::{GO_ON_ROWS_MAX, GoOn};
pub(crate) use orphans::Orphans;
pub(crate) use reshard::{Change, Completion, ReshardError, Resharding};
pub(crate) use stream::{Closed, Stream, StreamShard};

use crate::limits::{
    ANNOTATION_BYTES_MAX, ANNOTATIONS_BYTES_MAX, KEY_NAME_BYTES_MAX, SHARDS_MAX, STREAM_NUMBERS_MAX, STREAMS_MAX,
};

/// What those who serve a stream to others keep beside it. The catalog gives it no meaning.
pub(crate) type Annotation = Arc<[u8]>;

/// How the key is named that a stream's records are encrypted with; none, if they are not.
pub(crate) type Encryption = Option<Arc<str>>;

/// Why a stream can't be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum CreateError {
    /// The caller: the name, or a part of it, has no or too many characters, or others than letters, digits and `_.-`.
    Name,
    /// The caller: no shards, or more than a stream may have.
    Shards,
    /// The caller: it exists, and was made with this many shards.
    Exists(u32),
    /// The data directory has all the streams that it may have, or has had.
    Full,
    /// It has given all numbers of shards that there are, or fewer are left than are wanted.
    AllGiven,
    /// There is no room for the annotation.
    Annotation(AnnotationError),
}

/// Why something can't be annotated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AnnotationError {
    /// The caller: it is longer than one may be.
    Long,
    /// The annotations of all streams together are as long as they may be.
    Full,
}

/// All streams.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Catalog {
    /// By identifier, which count from 1. Nothing where it was deleted, or the command that made it was damaged.
    streams: Vec<Option<Box<Stream>>>,
    by_name: BTreeMap<String, StreamId>,
    /// The stream that has each shard, by shard; 0 where none has.
    of_shards: Vec<StreamId>,
    next_shard: u32,
    orphans: Orphans,
    /// The log's own.
    annotation: Annotation,
    totals: Totals,
}

/// Of all streams, and of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Totals {
    /// Streams that there are.
    streams: usize,
    /// Of annotations, and names of keys.
    annotation_bytes: usize,
    /// Streams that are encrypted.
    encrypted: usize,
    snapshot_bytes: usize,
}

impl Totals {
    fn add(&mut self, stream: &Stream) {
        self.streams += 1;
        self.snapshot_bytes += stream.snapshot_bytes();
        self.annotation_bytes += stream.annotation.len() + key_bytes(&stream.encryption);
        self.encrypted += usize::from(stream.encryption.is_some());
    }

    fn remove(&mut self, stream: &Stream) {
        self.streams -= 1;
        self.snapshot_bytes -= stream.snapshot_bytes();
        self.annotation_bytes -= stream.annotation.len() + key_bytes(&stream.encryption);
        self.encrypted -= usize::from(stream.encryption.is_some());
    }
}

impl Catalog {
    pub(crate) fn new() -> Catalog {
        let totals = Totals { streams: 0, annotation_bytes: 0, encrypted: 0, snapshot_bytes: 4 + FIXED_BYTES };
        let (streams, by_name, of_shards) = (Vec::new(), BTreeMap::new(), vec![StreamId(0)]);
        let (orphans, annotation) = (Orphans::default(), Annotation::default());
        Catalog { streams, by_name, of_shards, next_shard: 1, orphans, annotation, totals }
    }

    /// The command that would make a stream, or why none may.
    pub(crate) fn plan_create(
        &self,
        name: &str,
        shards: u32,
        Settings { quotas, retention }: Settings,
        annotation: Annotation,
        now_ms: u64,
    ) -> Result<Command, CreateError> {
        if !is_name(name) {
            return Err(CreateError::Name);
        }
        if shards == 0 || shards as usize > SHARDS_PER_STREAM_MAX {
            return Err(CreateError::Shards);
        }
        if let Some(stream) = self.by_name(name) {
            return Err(CreateError::Exists(stream.made_with()));
        }
        let has_all = self.totals.streams >= STREAMS_MAX || self.streams.len() >= STREAM_NUMBERS_MAX;
        if has_all {
            return Err(CreateError::Full);
        }
        if self.next_shard as usize + shards as usize > SHARDS_MAX {
            return Err(CreateError::AllGiven);
        }
        self.room_for((annotation.len(), 0), ANNOTATION_BYTES_MAX).map_err(CreateError::Annotation)?;
        Ok(Command::Create(Create {
            stream: StreamId(self.streams.len() as u32 + 1),
            name: name.to_owned(),
            first_shard: ShardId(self.next_shard),
            shards,
            created_ms: now_ms,
            quotas,
            retention,
            annotation,
        }))
    }

    /// The command that would give a stream other quotas; `None` if there is none of that name.
    pub(crate) fn plan_quotas(&self, name: &str, quotas: Quotas) -> Option<Command> {
        self.by_name(name).map(|stream| Command::SetQuotas(stream.stream, quotas))
    }

    /// The command that would have more or less of a stream kept; `None` if there is none of that name.
    pub(crate) fn plan_retention(&self, name: &str, change: impl FnOnce(Retention) -> Retention) -> Option<Command> {
        self.by_name(name).map(|stream| Command::SetRetention(stream.stream, change(stream.retention)))
    }

    /// The command that would annotate a stream, or, without a name, the log; `None` if there is none of that name.
    pub(crate) fn plan_annotation(
        &self,
        name: Option<&str>,
        annotation: Annotation,
    ) -> Result<Option<Command>, AnnotationError> {
        let (stream, before) = match name {
            None => (StreamId(0), &self.annotation),
            Some(name) => match self.by_name(name) {
                Some(stream) => (stream.stream, &stream.annotation),
                None => return Ok(None),
            },
        };
        self.room_for((annotation.len(), before.len()), ANNOTATION_BYTES_MAX)?;
        Ok(Some(Command::Annotate(stream, annotation)))
    }

    /// The command that would have a stream's records encrypted, or not any more; `None` if there is none of that name.
    pub(crate) fn plan_encryption(&self, name: &str, key: Encryption) -> Result<Option<Command>, AnnotationError> {
        let Some(stream) = self.by_name(name) else { return Ok(None) };
        self.room_for((key_bytes(&key), key_bytes(&stream.encryption)), KEY_NAME_BYTES_MAX)?;
        Ok(Some(Command::Encrypt(stream.stream, key)))
    }

    /// Whether an annotation or a name of so many bytes has room once that before it is gone.
    fn room_for(&self, (bytes, before): (usize, usize), bytes_max: usize) -> Result<(), AnnotationError> {
        if bytes > bytes_max {
            return Err(AnnotationError::Long);
        }
        // One that grows no further is taken in any case, so that a full catalog can be made smaller.
        if bytes > before && self.totals.annotation_bytes - before + bytes > ANNOTATIONS_BYTES_MAX {
            return Err(AnnotationError::Full);
        }
        Ok(())
    }

    /// The command that would delete a stream; `None` if there is none of that name.
    pub(crate) fn plan_delete(&self, name: &str) -> Option<Command> {
        self.by_name(name).map(|stream| Command::Delete(stream.stream))
    }

    /// The command by which a shard begins to be split or moved, or two to be merged, or why they may not.
    pub(crate) fn plan_reshard(&self, name: &str, change: Change) -> Result<Command, ReshardError> {
        let stream = self.by_name(name).ok_or(ReshardError::UnknownStream)?;
        let resharding = stream.plan(change, ShardId(self.next_shard))?;
        if resharding.next_shard() > SHARDS_MAX { Err(ReshardError::AllGiven) } else { Ok(Command::Intend(resharding)) }
    }

    /// Applies a command that is durable. `None` if it does not follow from this state: the log is damaged.
    pub(crate) fn apply(&mut self, command: &Command) -> Option<()> {
        match command {
            Command::Create(create) => self.create(create),
            Command::SetQuotas(stream, quotas) => self.change(*stream, |stream| stream.quotas = *quotas),
            Command::SetRetention(stream, retention) => self.change(*stream, |stream| stream.retention = *retention),
            Command::Annotate(StreamId(0), annotation) => {
                self.annotate(annotation);
                Some(())
            }
            Command::Annotate(stream, annotation) => {
                self.change(*stream, |stream| stream.annotation = Arc::clone(annotation))
            }
            Command::Encrypt(stream, key) => self.change(*stream, |stream| stream.encryption = key.clone()),
            Command::Delete(stream) => self.delete(*stream),
            Command::Reserve { next_stream, next_shard, orphans } => {
                let known = STREAM_NUMBERS_MAX.min((next_stream.0 as usize).checked_sub(1)?);
                self.streams.resize(known.max(self.streams.len()), None);
                self.reserve_shards(SHARDS_MAX.min(next_shard.0 as usize));
                if let Some(orphans) = orphans {
                    self.orphans = orphans.clone();
                }
                Some(())
            }
            Command::GoOn(_) | Command::Trim(_) | Command::Producers(_) => Some(()),
            Command::Intend(resharding) => self.reshard(resharding, None),
            Command::Reshard(resharding, completion) => self.reshard(resharding, Some(completion)),
            Command::Forget(stream, shards) => self.forget(*stream, shards),
            Command::Shards(stream, shards) => self.keep(*stream, shards),
        }
    }

    fn reshard(&mut self, resharding: &Resharding, completion: Option<&Completion>) -> Option<()> {
        (resharding.next_shard() <= SHARDS_MAX).then(|| self.reserve_shards(resharding.next_shard()))?;
        self.change(resharding.stream, |stream| match completion {
            None => stream.intend(resharding),
            Some(completion) => stream.reshard(resharding, completion),
        })?;
        for child in resharding.first_child.0..resharding.next_shard() as u32 {
            // Not where damage took what they were to be made of.
            if self.stream(resharding.stream).is_some_and(|stream| stream.has(ShardId(child))) {
                self.of_shards[child as usize] = resharding.stream;
                self.orphans.remove(ShardId(child));
            }
        }
        Some(())
    }

    fn change(&mut self, stream: StreamId, change: impl FnOnce(&mut Stream)) -> Option<()> {
        // Nothing, where the command that made it was damaged.
        if let Some(stream) = self.streams.get_mut((stream.0 as usize).checked_sub(1)?)? {
            self.totals.remove(stream);
            change(stream);
            self.totals.add(stream);
        }
        Some(())
    }

    fn delete(&mut self, stream: StreamId) -> Option<()> {
        // The same.
        if let Some(stream) = self.streams.get_mut((stream.0 as usize).checked_sub(1)?)?.take() {
            self.by_name.remove(&stream.name);
            stream.shards().for_each(|shard| self.of_shards[shard.shard.0 as usize] = StreamId(0));
            let to_come = stream.intents().iter().flat_map(|intent| intent.children().shards());
            to_come.for_each(|child| self.orphans.remove(child));
            self.totals.remove(&stream);
        }
        Some(())
    }

    /// The log has another annotation.
    fn annotate(&mut self, annotation: &Annotation) {
        let bytes = |annotation: &Annotation| match annotation.len() {
            0 => 0,
            length => 4 + FIXED_BYTES + length,
        };
        let Totals { snapshot_bytes, annotation_bytes, .. } = &mut self.totals;
        *snapshot_bytes = *snapshot_bytes - bytes(&self.annotation) + bytes(annotation);
        *annotation_bytes = *annotation_bytes - self.annotation.len() + annotation.len();
        self.annotation = Arc::clone(annotation);
    }

    fn create(&mut self, command: &Create) -> Option<()> {
        let Create { stream, name, first_shard, shards, .. } = command;
        let follows = (self.streams.len() + 1..=STREAM_NUMBERS_MAX).contains(&(stream.0 as usize))
            && (self.next_shard..SHARDS_MAX as u32).contains(&first_shard.0)
            && (1..=SHARDS_PER_STREAM_MAX).contains(&(*shards as usize))
            && !self.by_name.contains_key(name);
        if !follows {
            return None;
        }
        self.streams.resize(stream.0 as usize - 1, None);
        let made = Stream::new(command);
        self.totals.add(&made);
        self.streams.push(Some(Box::new(made)));
        self.by_name.insert(name.clone(), *stream);
        self.reserve_shards(first_shard.0 as usize);
        self.next_shard = first_shard.0 + shards;
        self.of_shards.resize(self.next_shard as usize, *stream);
        Some(())
    }

    pub(crate) fn stream(&self, stream: StreamId) -> Option<&Stream> {
        self.streams.get((stream.0 as usize).checked_sub(1)?)?.as_deref()
    }

    /// All of them.
    pub(crate) fn streams(&self) -> impl Iterator<Item = &Stream> {
        self.streams.iter().flatten().map(Box::as_ref)
    }

    /// Shards that were moved, and their homes since.
    pub(crate) fn homes(&self) -> impl Iterator<Item = (ShardId, u32)> + '_ {
        self.streams().flat_map(Stream::homes)
    }

    /// The stream that has a shard; nothing if it was deleted, or the command that made it was damaged.
    pub(crate) fn stream_of(&self, shard: ShardId) -> Option<&Stream> {
        self.stream(*self.of_shards.get(shard.0 as usize)?)
    }

    /// Whether records of a shard are kept: those of a stream, and those of which nothing tells whose they are.
    pub(crate) fn keeps(&self, shard: ShardId) -> bool {
        self.stream_of(shard).is_some() || self.orphans.contains(shard)
    }

    /// Whether records of any stream are encrypted.
    pub(crate) fn has_encryption(&self) -> bool {
        self.totals.encrypted > 0
    }

    /// The log's own annotation.
    pub(crate) fn annotation(&self) -> &Annotation {
        &self.annotation
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Stream> {
        self.by_name.get(name).and_then(|&stream| self.stream(stream))
    }

    /// Names after `after`, in order.
    pub(crate) fn names_after<'a>(&'a self, after: &'a str) -> impl Iterator<Item = &'a str> {
        let from = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        self.by_name.range::<str, _>(from).map(|(name, _)| name.as_str())
    }

    /// Shards in all, the catalog's own included: their identifiers are below this.
    pub(crate) fn shard_count(&self) -> usize {
        self.next_shard as usize
    }

    /// Never gives shard numbers below `count` to new streams: they were given, and nothing tells yet whose they are.
    pub(crate) fn reserve_shards(&mut self, count: usize) {
        self.orphans.push(self.next_shard..count as u32);
        self.next_shard = self.next_shard.max(count as u32);
        self.of_shards.resize(self.next_shard as usize, StreamId(0));
    }

    /// Bytes of [`Catalog::snapshot`].
    pub(crate) fn snapshot_bytes(&self) -> usize {
        self.totals.snapshot_bytes + self.orphans.len() * orphans::RANGE_BYTES
    }

    /// Commands that make this state.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let reserve = Command::Reserve {
            next_stream: StreamId(self.streams.len() as u32 + 1),
            next_shard: ShardId(self.next_shard),
            orphans: Some(self.orphans.clone()),
        };
        // Numbers count up while shards are made, so what makes them stands in their order, and what is reserved comes last.
        // What is left of streams that have forgotten shards comes behind that, in no such order.
        let mut commands: Vec<(ShardId, Command)> = Vec::with_capacity(self.streams.len() + 1);
        let mut left: Vec<Command> = Vec::new();
        for stream in self.streams.iter().flatten() {
            commands.push((stream.first_shard, Command::Create(stream.create())));
            let encrypt = |key: &Arc<str>| Command::Encrypt(stream.stream, Some(Arc::clone(key)));
            commands.extend(stream.encryption.as_ref().map(|key| (stream.first_shard, encrypt(key))));
            let reshardings = stream.reshardings().map(|(resharding, completion)| {
                let command = match completion {
                    None => Command::Intend(resharding),
                    Some(completion) => Command::Reshard(resharding, completion),
                };
                (resharding.first_child, command)
            });
            match stream.left() {
                None => commands.extend(reshardings),
                Some(shards) => left.extend(std::iter::once(shards).chain(reshardings.map(|(_, command)| command))),
            }
        }
        commands.sort_by_key(|(shard, _)| *shard);
        let mut out = Vec::with_capacity(self.snapshot_bytes());
        let annotation =
            (!self.annotation.is_empty()).then(|| Command::Annotate(StreamId(0), Arc::clone(&self.annotation)));
        let commands = commands.into_iter().map(|(_, command)| command).chain(left);
        for command in commands.chain(annotation).chain([reserve]) {
            add_to_snapshot(&mut out, &command);
        }
        out
    }

    /// The state that a snapshot describes; `None` if it is not one.
    pub(crate) fn restore(snapshot: &[u8]) -> Option<Catalog> {
        let mut catalog = Catalog::new();
        commands(snapshot).try_for_each(|command| catalog.apply(&command?))?;
        Some(catalog)
    }

    /// The state that a footer's snapshot describes. Earlier builds did not tell orphans: where no command may be lost all that
    /// have no stream were deleted.
    pub(crate) fn of_footer(footer: &Footer) -> Option<Catalog> {
        let mut catalog = Catalog::restore(footer.catalog())?;
        let tells = |command| matches!(command, Command::Reserve { orphans: Some(_), .. });
        let may_be_lost = footer.damaged_records().any(|records| records.shard == ShardId::CATALOG);
        if !may_be_lost && !commands(footer.catalog()).flatten().any(tells) {
            catalog.orphans = Orphans::default();
        }
        Some(catalog)
    }
}

fn key_bytes(key: &Encryption) -> usize {
    key.as_ref().map_or(0, |name| name.len())
}

/// Whether a stream may be called so. After a `+` a name has several parts, with `/` between them: so whoever serves the streams
/// of many has names for each that no other has, and that stand together in the order of names.
fn is_name(name: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let is_part = |part: &str| (1..=STREAM_NAME_PART_BYTES_MAX).contains(&part.len()) && part.bytes().all(is_legal);
    match name.strip_prefix('+') {
        None => is_part(name),
        Some(parts) => name.len() <= STREAM_NAME_BYTES_MAX && parts.split('/').all(is_part),
    }
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
