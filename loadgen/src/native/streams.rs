//! Makes the streams of a run, or finds those that it is to read, before anything is measured; and removes those that are the run's
//! alone afterwards.

use std::fmt;
use std::rc::Rc;
use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use frame::proto::{ClientEvent, ErrorCode, Failure, Read, Start, StreamDescription, Welcome};
use frame::{Quotas, Sequence, ShardId, StreamId};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::core::until;
use super::runtime::run_pinned;
use super::session::{Session, or_end, refused};
use super::walk::{THROTTLED_WAIT, passes_by_itself};
use super::{NativeError, Shard, Stream, Target};
use crate::units::parse_duration;

/// How long a time in a stream is asked for while the shard moves, or its quotas do not let the read through.
const ASKED_FOR_MAX: Duration = Duration::from_secs(30);

/// What a run writes to, or reads.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its streams.
    pub streams: Vec<Stream>,
    /// What the server said of itself.
    pub welcome: Welcome,
}

/// Where reading an existing stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With the oldest record.
    Oldest,
    /// With what comes from now on.
    Latest,
    /// At this number of each shard.
    Number(u64),
    /// With what arrived then or later: milliseconds since 1970.
    Time(u64),
}

impl fmt::Display for Begin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oldest => f.write_str("the oldest record"),
            Self::Latest => f.write_str("the newest record"),
            Self::Number(number) => write!(f, "number {number}"),
            Self::Time(ms) => match Timestamp::from_millisecond(*ms as i64) {
                Ok(time) => time.fmt(f),
                Err(_) => write!(f, "{ms} ms since 1970"),
            },
        }
    }
}

impl FromStr for Begin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ms = |at: SystemTime| {
            let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            Self::Time(since.as_millis() as u64)
        };
        match text {
            "oldest" | "TRIM_HORIZON" => return Ok(Self::Oldest),
            "latest" | "LATEST" => return Ok(Self::Latest),
            _ => {}
        }
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        if let Ok(ago) = parse_duration(text) {
            return Ok(ms(SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)));
        }
        let help = || {
            format!(
                "{text:?} is not a place in a stream; give oldest, latest, a sequence number, a time such as 2026-11-27T08:30:00Z, or how long ago, such as 10m"
            )
        };
        let at: Timestamp = text.parse().map_err(|_| help())?;
        if SystemTime::from(at) > SystemTime::now() + Duration::from_secs(1) {
            return Err(format!("{text:?} is in the future; give latest for what is to come"));
        }
        Ok(ms(at.into()))
    }
}

/// Makes each stream with these quotas, or finds it if it exists with as many shards, and gives it them, if there are any.
/// Records that are there already are not this run's: each shard's first number is the one it gives next.
pub fn prepare_streams(
    target: &Target,
    names: &[String],
    wanted: (u32, Option<Quotas>),
    core: usize,
) -> Result<Prepared, NativeError> {
    make_streams(target, names, wanted, core, |_| ())
}

/// The same; who has them made is told of each that is there now, also where a further one is refused.
pub fn make_streams(
    target: &Target,
    names: &[String],
    (shards, quotas): (u32, Option<Quotas>),
    core: usize,
    mut told: impl FnMut(&str) + Send,
) -> Result<Prepared, NativeError> {
    run_pinned(core, move || async move {
        let (mut session, welcome) = Session::open(target).await?;
        let mut streams = Vec::with_capacity(names.len());
        let mut request = Vec::new();
        for name in names {
            session.client.create_stream(&mut request, name, shards, quotas.unwrap_or(Quotas::NONE));
            request = session.send(request).await?;
            let made = match session.event().await? {
                ClientEvent::Stream(_, made) => made,
                ClientEvent::Error(_, failure) => {
                    return Err(refused(&format!("make stream {name} with {shards} shards"), failure));
                }
                other => return Err(session.unexpected(&other)),
            };
            told(name);
            let made = match quotas.filter(|quotas| *quotas != made.quotas) {
                Some(quotas) => set_quotas(&mut session, name, quotas).await?,
                None => made,
            };
            streams.push(stream_of(&made));
        }
        session.close();
        Ok(Prepared { streams, welcome })
    })?
}

/// What the API tells of a stream.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its name.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: Option<u64>,
    /// How many of its shards are open.
    pub shards: usize,
}

impl Told {
    /// How a stream of this name differs, if it does: then it is another one.
    fn differs(&self, found: &StreamDescription) -> Option<String> {
        let shards = found.shards.iter().filter(|shard| shard.children.is_none()).count();
        match self.created_ms {
            _ if shards != self.shards => Some(format!("it has {shards} open shards, and {} there", self.shards)),
            // What is told in seconds with a fraction may be off by one.
            Some(told) if told.abs_diff(found.created_ms) > 1 => {
                Some(format!("it was made at {}, and at {} there", Begin::Time(found.created_ms), Begin::Time(told)))
            }
            _ => None,
        }
    }
}

/// Gives streams that the API tells of these quotas, once all are known to be those, unless a person asks for the end.
pub fn change_quotas(
    target: &Target,
    streams: &[Told],
    quotas: Quotas,
    interrupted: &AtomicBool,
    core: usize,
) -> Result<(), NativeError> {
    run_pinned(core, || async {
        let over = || async {
            until(interrupted).await;
            NativeError::Interrupted
        };
        let (mut session, _) = Session::open_unless(target, target.address, over()).await?;
        let stream = Rc::clone(&session.stream);
        let change = async {
            for told in streams {
                let found = describe(&mut session, &told.name).await?;
                if let Some(differs) = told.differs(&found) {
                    let (target, stream) = (target.address, told.name.clone());
                    return Err(NativeError::OtherStream { target, stream, differs });
                }
            }
            for told in streams {
                set_quotas(&mut session, &told.name, quotas).await?;
            }
            session.close();
            Ok(())
        };
        or_end(&stream, over(), change).await?
    })?
}

/// What the server says of a stream.
async fn describe(session: &mut Session, name: &str) -> Result<StreamDescription, NativeError> {
    let mut request = Vec::new();
    session.client.describe_stream(&mut request, name);
    session.send(request).await?;
    match session.event().await? {
        ClientEvent::Stream(_, description) => Ok(description),
        ClientEvent::Error(_, failure) => Err(refused(&format!("describe stream {name}"), failure)),
        other => Err(session.unexpected(&other)),
    }
}

/// Removes streams, with everything in them.
pub fn remove_streams(target: &Target, names: &[String], core: usize) -> Result<(), NativeError> {
    run_pinned(core, || async {
        let (mut session, _) = Session::open(target).await?;
        for name in names {
            let mut request = Vec::new();
            session.client.delete_stream(&mut request, name);
            session.send(request).await?;
            match session.event().await? {
                ClientEvent::Deleted(_) => {}
                ClientEvent::Error(_, failure) if failure.code == ErrorCode::UnknownStream => {}
                ClientEvent::Error(_, failure) => return Err(refused(&format!("remove stream {name}"), failure)),
                other => return Err(session.unexpected(&other)),
            }
        }
        session.close();
        Ok(())
    })?
}

/// What a person is told of a stream of a run alone.
pub(crate) fn made(name: &str) -> String {
    format!("stream {name} is made for this run, and removed after it")
}

/// What a person is to do where streams could not be removed.
pub(crate) fn not_removed(error: &impl fmt::Display, names: &[String]) -> String {
    format!("{error}; remove {} yourself", names.join(", "))
}

/// Gives a stream that exists other quotas.
async fn set_quotas(session: &mut Session, name: &str, quotas: Quotas) -> Result<StreamDescription, NativeError> {
    let mut request = Vec::new();
    session.client.set_quotas(&mut request, name, quotas);
    session.send(request).await?;
    match session.event().await? {
        ClientEvent::Stream(_, stream) => Ok(stream),
        ClientEvent::Error(_, failure) => Err(refused(&format!("give stream {name} other quotas"), failure)),
        other => Err(session.unexpected(&other)),
    }
}

/// A stream whose shards begin with what comes next.
fn stream_of(description: &StreamDescription) -> Stream {
    let shard = |shard: &frame::proto::ShardDescription| {
        let tip = shard.tip.max(Sequence(1));
        let keys = shard.children.is_none().then_some((shard.hash_start, shard.hash_end));
        Shard { id: shard.shard, oldest: shard.trim.max(Sequence(1)), first: tip, tip, reactor: shard.reactor, keys }
    };
    Stream { id: StreamId(description.stream.0), shards: description.shards.iter().map(shard).collect() }
}

/// Finds streams that exist. Each shard's first number is where reading begins.
pub fn find_streams(target: &Target, names: &[String], begin: Begin, core: usize) -> Result<Prepared, NativeError> {
    run_pinned(core, || async {
        let (mut session, welcome) = Session::open(target).await?;
        let mut streams = Vec::with_capacity(names.len());
        for name in names {
            let mut stream = stream_of(&describe(&mut session, name).await?);
            for shard in &mut stream.shards {
                shard.first = match begin {
                    Begin::Oldest => shard.oldest,
                    Begin::Latest => shard.tip,
                    Begin::Number(number) => Sequence(number).max(shard.oldest),
                    Begin::Time(ms) => first_since(&mut session, (stream.id, shard.id), ms).await?,
                };
            }
            streams.push(stream);
        }
        session.close();
        Ok(Prepared { streams, welcome })
    })?
}

/// The number of the first record of a shard that arrived at a time or later; of the next one if there is none yet. Asked
/// again, for a while, where that may help.
async fn first_since(
    session: &mut Session,
    (stream, shard): (StreamId, ShardId),
    ms: u64,
) -> Result<Sequence, NativeError> {
    let until = Instant::now() + ASKED_FOR_MAX;
    loop {
        match ask_since(session, (stream, shard), ms).await? {
            Ok(first) => return Ok(first),
            Err(failure) if passes_by_itself(&failure) && Instant::now() < until => sleep(THROTTLED_WAIT).await,
            Err(failure) => return Err(refused("find a time in the stream", failure)),
        }
    }
}

/// Asks for it once; what the server refused comes back as such.
async fn ask_since(
    session: &mut Session,
    (stream, shard): (StreamId, ShardId),
    ms: u64,
) -> Result<Result<Sequence, Failure>, NativeError> {
    let mut request = Vec::new();
    session.client.read(&mut request, &Read { stream, shard, start: Start::Since(ms), bytes_max: 0 });
    session.send(request).await?;
    let (mut found, mut next) = (None, Sequence(1));
    loop {
        match session.event().await? {
            ClientEvent::ReadBegin(_, result) => next = result.next,
            ClientEvent::Record(span) => {
                let frame = frame::Frame::parse(session.bytes(&span)).ok();
                found = found.or(frame.map(|frame| frame.sequence()));
            }
            ClientEvent::ReadEnd(_) => return Ok(Ok(found.unwrap_or(next))),
            ClientEvent::Credit => {}
            ClientEvent::Error(_, failure) => return Ok(Err(failure)),
            other => return Err(session.unexpected(&other)),
        }
    }
}
