//! Makes the streams of a run, or finds those that exist, before anything is measured; and removes those that are the run's
//! alone afterwards.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use frame::{Sequence, ShardId, StreamId};
use tokio::select;
use tokio::time::{Instant, sleep};

use super::api::{
    CreateStream, DeleteStream, DescribedStream, ListShards, Nothing, Shards, StartStreamEncryption, StreamName,
    StreamSummary,
};
use super::born::Born;
use super::pipe::Pipe;
use super::raw::Raw;
use super::{Asked, HttpError};
use crate::native::{self, run_pinned, until};
use crate::verify::Number;

/// How long a stream may take to become active.
const ACTIVE_MAX: Duration = Duration::from_secs(300);

/// How often it is looked at, and asked again what was throttled.
const LOOK: Duration = Duration::from_millis(250);

/// How long what is throttled, or answered with the server's error, is asked again.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pages of a stream's shards at most, of up to a thousand each.
const PAGES_MAX: usize = 1000;

/// The streams of a run.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    pub(super) all: Vec<Stream>,
    /// Those of each group of producers, the main ones first; two may have the same.
    pub(super) groups: Vec<Vec<usize>>,
    /// What each shard of the run is, by the number that it has here: those that were there when it began.
    pub(super) shards: Vec<Shard>,
    /// Those that came to be since.
    born: Arc<Born>,
    /// Whether connections take several requests at a time.
    pub(super) takes_many: bool,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) arn: String,
    /// When it was made, if that is told, in milliseconds since 1970.
    created_ms: Option<u64>,
    /// Whether this run made it.
    pub(super) is_new: bool,
    /// The number of each shard, by its name.
    numbers: BTreeMap<String, ShardId>,
}

/// A shard of one of them.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    pub(super) stream: usize,
    pub(super) name: String,
}

impl Streams {
    /// The number of a stream's shard, also of one that is told for the first time.
    pub(super) fn number(&self, stream: usize, shard: &str) -> ShardId {
        let known = self.all[stream].numbers.get(shard).copied();
        known.unwrap_or_else(|| self.born.number(self.shards.len(), (stream, shard)))
    }

    /// With the shards that came to be by now.
    pub(super) fn grown(&self) -> Self {
        let mut grown = self.clone();
        grown.shards.extend(self.born.all());
        grown
    }

    /// A shard by its number.
    pub(super) fn shard(&self, number: ShardId) -> &Shard {
        &self.shards[number.0 as usize]
    }

    /// The name of the stream of a shard.
    pub(super) fn name_of(&self, shard: &Shard) -> &str {
        &self.all[shard.stream].name
    }

    /// Those of the main load alone, which are what is read meanwhile: they come first.
    pub(super) fn main(&self) -> Self {
        let groups: Vec<Vec<usize>> = self.groups.iter().take(1).cloned().collect();
        let count = groups.iter().flatten().max().map_or(0, |last| last + 1);
        let shards = self.shards.iter().take_while(|shard| shard.stream < count).cloned().collect();
        let (all, born) = (self.all[..count].to_vec(), Arc::clone(&self.born));
        Self { all, groups, shards, born, takes_many: self.takes_many }
    }

    /// Those of a group as the plan of a run has them: by their numbers here.
    pub fn planned(&self, group: usize) -> Vec<native::Stream> {
        let shard = |&number: &ShardId| native::Shard {
            id: number,
            oldest: Sequence(1),
            first: Sequence(1),
            tip: Sequence(1),
            reactor: 0,
            keys: None,
        };
        let stream = |&at: &usize| native::Stream {
            id: StreamId(at as u32),
            shards: self.all[at].numbers.values().map(shard).collect(),
        };
        self.groups[group].iter().map(stream).collect()
    }

    /// What was told of those that are written.
    pub fn told(&self) -> Vec<native::Told> {
        let told = |stream: &Stream| native::Told {
            name: stream.name.clone(),
            created_ms: stream.created_ms,
            shards: stream.numbers.len(),
        };
        self.all.iter().map(told).collect()
    }

    /// Adds a stream; its place.
    fn add(&mut self, name: &str, is_new: bool, (summary, shards): (StreamSummary, Vec<String>)) -> usize {
        let stream = self.all.len();
        let mut numbers = BTreeMap::new();
        for name in shards {
            numbers.insert(name.clone(), ShardId(self.shards.len() as u32));
            self.shards.push(Shard { stream, name });
        }
        let created = summary.stream_creation_timestamp.and_then(|told| told.as_f64());
        let created_ms = created.map(|seconds| (seconds.max(0.0) * 1000.0).round() as u64);
        self.all.push(Stream { name: name.to_owned(), arn: summary.stream_arn, created_ms, is_new, numbers });
        stream
    }
}

/// The streams that one group of producers writes, or that are read.
#[derive(Clone, Debug)]
pub struct Named {
    /// Their names.
    pub names: Vec<String>,
    /// With how many shards each is made, unless it is there; none where it is to be there.
    pub shards: Option<u32>,
    /// Whether they are the run's alone, and removed after it.
    pub are_removed: bool,
}

/// The streams that a run wants.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Those of each group.
    pub groups: &'a [Named],
    /// A person asks for the end.
    pub interrupted: &'a AtomicBool,
    /// Who is told what is made, and not removed.
    pub say: &'a (dyn Fn(&str) + Sync),
}

/// Makes each stream with so many shards, or finds it if it is there, with as many open ones. What was made is removed again where
/// not all can be, or is wanted no more, if the streams are to be removed at all.
pub fn prepare(asked: &Asked, wanted: Wanted<'_>, core: usize) -> Result<Streams, HttpError> {
    run_pinned(core, || async {
        let (pipe, has_made) = (Pipe::new(&asked.endpoint, 0), Cell::new(false));
        let prepared = select! {
            prepared = prepare_all(&pipe, wanted, asked.encryption.as_deref(), &has_made) => prepared,
            () = until(wanted.interrupted) => Err(HttpError::Interrupted),
        };
        let names = made_up(wanted.groups);
        if prepared.is_err() && !names.is_empty() {
            // Over a connection of its own: that one may be in the midst of an answer.
            let removed = remove_all(&Pipe::new(&asked.endpoint, 0), &names).await;
            if let Some(error) = removed.err().filter(|_| has_made.get()) {
                (wanted.say)(&native::not_removed(&error, &names));
            }
        }
        prepared
    })?
}

/// The names of the streams that are a run's alone.
pub fn made_up(groups: &[Named]) -> Vec<String> {
    groups.iter().filter(|group| group.are_removed).flat_map(|group| group.names.clone()).collect()
}

async fn prepare_all(
    pipe: &Pipe,
    Wanted { groups, say, .. }: Wanted<'_>,
    key: Option<&str>,
    has_made: &Cell<bool>,
) -> Result<Streams, HttpError> {
    let mut streams = Streams { takes_many: pipe.open().await?, ..Streams::default() };
    for &Named { ref names, shards, are_removed } in groups {
        let mut group = Vec::new();
        for name in names {
            let is_new = match shards {
                Some(shards) => create(pipe, name, shards).await?,
                None => false,
            };
            if is_new && are_removed {
                has_made.set(true);
                say(&native::made(name));
            }
            let known = streams.all.iter().position(|stream| stream.name == *name);
            let found = find(pipe, (name, shards), key.filter(|_| known.is_none())).await?;
            group.push(known.unwrap_or_else(|| streams.add(name, is_new, found)));
        }
        streams.groups.push(group);
    }
    Ok(streams)
}

/// What is told of a stream that is there, and its shards.
async fn find(
    pipe: &Pipe,
    (name, shards): (&str, Option<u32>),
    key: Option<&str>,
) -> Result<(StreamSummary, Vec<String>), HttpError> {
    let summary = until_active(pipe, name).await?;
    let (open, closed) = list_shards(pipe, name).await?;
    if let Some(wanted) = shards.filter(|&wanted| open.len() != wanted as usize) {
        return Err(HttpError::OtherShards { stream: name.to_owned(), found: open.len(), wanted });
    }
    if let Some(key) = key {
        encrypt(pipe, name, key).await?;
        until_active(pipe, name).await?;
    }
    // What was split or merged takes no more records, and may have some.
    Ok((summary, if shards.is_some() { open } else { [closed, open].concat() }))
}

/// Removes streams that were made for a run alone, with everything in them.
pub fn remove(asked: &Asked, names: &[String], core: usize) -> Result<(), HttpError> {
    run_pinned(core, || async { remove_all(&Pipe::new(&asked.endpoint, 0), names).await })?
}

async fn remove_all(pipe: &Pipe, names: &[String]) -> Result<(), HttpError> {
    for name in names {
        let request = DeleteStream { stream_name: name, enforce_consumer_deletion: true };
        let ask = || pipe.ask::<Nothing>("DeleteStream", &request, pipe.endpoint.open_within);
        // One that is just being made is removed once it is.
        let is_made = |error: &HttpError| error.passes_by_itself() || error.is("ResourceInUseException");
        let removed = while_refused(is_made, ask).await;
        removed.map(drop).or_else(|error| if error.is("ResourceNotFoundException") { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

/// Asks again, for a while, where that may help.
pub(super) async fn patiently<A, F: Future<Output = Result<A, HttpError>>>(
    ask: impl FnMut() -> F,
) -> Result<A, HttpError> {
    while_refused(HttpError::passes_by_itself, ask).await
}

/// Asks again, for a while, where it is refused for a reason that passes.
pub(super) async fn while_refused<A, F: Future<Output = Result<A, HttpError>>>(
    passes: impl Fn(&HttpError) -> bool,
    mut ask: impl FnMut() -> F,
) -> Result<A, HttpError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(error @ HttpError::Refused { .. }) if passes(&error) && Instant::now() < until => {
                sleep(LOOK).await;
            }
            answered => return answered,
        }
    }
}

/// Makes a stream; whether it was not there before.
async fn create(pipe: &Pipe, name: &str, shards: u32) -> Result<bool, HttpError> {
    let request = CreateStream { stream_name: name, shard_count: shards };
    match patiently(|| pipe.ask::<Nothing>("CreateStream", &request, pipe.endpoint.open_within)).await {
        Ok(_) => Ok(true),
        Err(error) if error.is("ResourceInUseException") => Ok(false),
        Err(error) => Err(error),
    }
}

async fn encrypt(pipe: &Pipe, name: &str, key: &str) -> Result<(), HttpError> {
    let request = StartStreamEncryption { stream_name: name, encryption_type: "KMS", key_id: key };
    let ask = || pipe.ask::<Nothing>("StartStreamEncryption", &request, pipe.endpoint.open_within);
    patiently(ask).await.map(drop)
}

async fn until_active(pipe: &Pipe, name: &str) -> Result<StreamSummary, HttpError> {
    let until = Instant::now() + ACTIVE_MAX;
    loop {
        let request = StreamName { stream_name: name };
        let ask = || pipe.ask::<DescribedStream>("DescribeStreamSummary", &request, pipe.endpoint.open_within);
        let summary = patiently(ask).await?.stream_description_summary;
        match &*summary.stream_status {
            "ACTIVE" => return Ok(summary),
            _ if Instant::now() < until => sleep(LOOK).await,
            status => {
                let (name, status) = (format!("stream {name}"), status.to_owned());
                return Err(HttpError::NotActive { name, status, waited: ACTIVE_MAX });
            }
        }
    }
}

/// The names of a stream's shards, those that are open and those that are closed.
pub(super) async fn list_shards(pipe: &Pipe, name: &str) -> Result<(Vec<String>, Vec<String>), HttpError> {
    let (mut open, mut closed, mut token) = (Vec::new(), Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let stream_name = token.is_none().then_some(name);
        let request = ListShards { stream_name, next_token: token.as_deref() };
        let ask = || pipe.ask::<Shards>("ListShards", &request, pipe.endpoint.open_within);
        let page = patiently(ask).await?;
        for shard in page.shards {
            match shard.sequence_number_range.ending_sequence_number {
                None => open.push(shard.shard_id),
                Some(_) => closed.push(shard.shard_id),
            }
        }
        match page.next_token {
            Some(next) => token = Some(next),
            None => return Ok((open, closed)),
        }
    }
    let (url, what) = (pipe.endpoint.url().to_owned(), format!("more than {PAGES_MAX} pages of shards"));
    Err(HttpError::Garbage { url, operation: "ListShards", what })
}

/// A sequence number as the API tells it.
pub(super) fn number_of(text: &Raw<'_>) -> Result<Number, String> {
    let shown = || text.shown().chars().take(80).collect::<String>();
    Number::parse(text).ok_or_else(|| format!("{:?} is not a sequence number that can be held against others", shown()))
}
