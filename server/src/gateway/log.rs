//! Calls on the engine, for tasks that wait for their answers; the engine's refusals as the API's errors.
//!
//! Streams are named here as callers do, within a place; what the log calls them is known to nobody else.

use std::num::NonZeroU32;
use std::sync::Arc;

use engine::demand::Demand;
use engine::{Answer, Call, Counts, Handle, Outcome, Stream, Time};
use frame::proto::{ErrorCode, Failure, ListStreams, Read, ReadResult, ShardDescription, Subscribe};
use frame::{Settings, ShardId, StreamId};
use io::Clock;
use tokio::sync::{Mutex, oneshot};
use wire::name::Place;
use wire::{Error, ErrorKind};

use super::body::BodyRoom;
use super::extras::{Account, Accounts, Extras};
use super::following::{Followers, Following};
use super::places;
use super::spread::Spread;

/// The log behind the gateway.
#[derive(Debug)]
pub(super) struct Log {
    handle: Handle,
    /// The server's own place.
    own: Place,
    /// One at a time looks at a stream, or at what is kept beside all of them, and changes it by that.
    changing: Mutex<()>,
    /// Which streams may have their records spread over their shards.
    spread: Spread,
    /// Who is pushed a shard's records.
    followers: Followers,
}

impl Log {
    pub(super) fn new(handle: Handle, own: Place) -> Log {
        Log { handle, own, changing: Mutex::new(()), spread: Spread::default(), followers: Followers::default() }
    }

    /// What time it is for the log, which goes by the same clocks of the kernel.
    pub(super) fn time(&self) -> Time {
        self.handle.time(Clock.wall_ms(), Clock.boottime_ms())
    }

    /// Makes a stream, with what is kept beside it.
    pub(super) async fn create(
        &self,
        place: &Place,
        name: &str,
        shards: u32,
        settings: Settings,
        extras: &Extras,
    ) -> Result<(), Error> {
        // Not while a stream of that name goes, whose note would take this one's along.
        let _alone = if extras.spread { Some(self.changing.lock().await) } else { None };
        let annotation = extras.encode()?;
        let is_new = self.note_spread(place, name, extras);
        let call = Call::CreateStream { name: self.stored(place, name), shards, settings, annotation };
        let error = match self.call(call).await {
            Ok(Answer::Stream(..)) => return Ok(()),
            Ok(answer) => refusal(place, name, answer),
            Err(error) => error,
        };
        // One that was there before may be spread.
        if is_new && error.kind != ErrorKind::ResourceInUse {
            self.spread.forget(&self.stored(place, name));
        }
        Err(error)
    }

    /// Changes what is kept beside a stream.
    pub(super) async fn change<T>(
        &self,
        place: &Place,
        name: &str,
        change: impl FnOnce(&Stream, &mut Extras) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let decide = |stream: &Stream, before: &Extras| {
            let mut extras = before.clone();
            let told = change(stream, &mut extras)?;
            if extras == *before {
                return Ok((told, None));
            }
            self.note_spread(place, name, &extras);
            Ok((told, Some(Call::Annotate { stream: Some(stream.stream), annotation: extras.encode()? })))
        };
        self.decide(place, name, decide).await
    }

    /// Has a stream's records kept for so many seconds, or for ever, as `decide` says.
    pub(super) async fn set_retention_period(
        &self,
        place: &Place,
        name: &str,
        decide: impl FnOnce(&Stream, &Extras) -> Result<Option<NonZeroU32>, Error>,
    ) -> Result<(), Error> {
        let decide = |stream: &Stream, extras: &Extras| {
            let seconds = decide(stream, extras)?;
            Ok(((), Some(Call::SetRetentionPeriod { stream: stream.stream, seconds })))
        };
        self.decide(place, name, decide).await
    }

    /// Has records of a stream encrypted with a key of the name that `decide` says, or not any more.
    pub(super) async fn encrypt(
        &self,
        place: &Place,
        name: &str,
        decide: impl FnOnce(&Stream, &Extras) -> Result<Option<Arc<str>>, Error>,
    ) -> Result<(), Error> {
        let decide = |stream: &Stream, extras: &Extras| {
            let key = decide(stream, extras)?;
            let is_another = key != stream.encryption;
            Ok(((), is_another.then_some(Call::Encrypt { stream: stream.stream, key })))
        };
        self.decide(place, name, decide).await
    }

    /// Has `decide` look at a stream, and say what is told and called for. Nobody else decides meanwhile. Native clients may change
    /// the stream, or make another of its name, to which nothing is done then: it is called for by the stream's number.
    async fn decide<T>(
        &self,
        place: &Place,
        name: &str,
        decide: impl FnOnce(&Stream, &Extras) -> Result<(T, Option<Call>), Error>,
    ) -> Result<T, Error> {
        let _alone = self.changing.lock().await;
        let (stream, _) = self.describe(place, name, 0, 0).await?;
        let (told, call) = decide(&stream, &Extras::of(&stream)?)?;
        if let Some(call) = call {
            let answer = self.call(call).await?;
            if !matches!(answer, Answer::Stream(..)) {
                return Err(refusal(place, name, answer));
            }
        }
        Ok(told)
    }

    /// What is kept of an account in its region.
    pub(super) async fn account(&self, place: &Place) -> Result<Account, Error> {
        Ok(self.accounts(place).await?.of(&self.own, place))
    }

    async fn accounts(&self, place: &Place) -> Result<Accounts, Error> {
        match self.call(Call::Annotation).await? {
            Answer::Annotation(kept) => Accounts::decode(&kept),
            answer => Err(refusal(place, "", answer)),
        }
    }

    /// Changes what is kept of the account, and tells it.
    pub(super) async fn change_account(
        &self,
        place: &Place,
        change: impl FnOnce(&mut Account),
    ) -> Result<Account, Error> {
        let _alone = self.changing.lock().await;
        let mut accounts = self.accounts(place).await?;
        let before = accounts.of(&self.own, place);
        let mut account = before.clone();
        change(&mut account);
        if account != before {
            accounts.set(&self.own, place, account.clone());
            let call = Call::Annotate { stream: None, annotation: accounts.encode()? };
            let answer = self.call(call).await?;
            if !matches!(answer, Answer::Annotation(_)) {
                return Err(refusal(place, "", answer));
            }
        }
        Ok(account)
    }

    /// Has a shard's records pushed.
    pub(super) async fn follow(&self, subscribe: Subscribe) -> Result<Following, Error> {
        Following::begin((&self.handle, &self.followers), subscribe).await
    }

    /// Removes a stream, if it may go as it is. Returns what was kept beside it.
    pub(super) async fn delete(
        &self,
        place: &Place,
        name: &str,
        may_go: impl FnOnce(&Extras) -> Result<(), Error>,
    ) -> Result<Extras, Error> {
        // Not while that changes by which it may go.
        let _alone = self.changing.lock().await;
        let (stream, _) = self.describe(place, name, 0, 0).await?;
        let extras = Extras::of(&stream)?;
        may_go(&extras)?;
        match self.call(Call::DeleteStream { name: self.stored(place, name) }).await? {
            Answer::Deleted => {
                self.spread.forget(&self.stored(place, name));
                Ok(extras)
            }
            answer => Err(refusal(place, name, answer)),
        }
    }

    /// A stream, and up to `limit` of its shards from number `from` on.
    pub(super) async fn describe(
        &self,
        place: &Place,
        name: &str,
        from: u32,
        limit: u32,
    ) -> Result<(Stream, Vec<ShardDescription>), Error> {
        match self.call(Call::DescribeStream { name: self.stored(place, name), from, limit }).await? {
            Answer::Stream(stream, shards) => Ok((called(stream, name), shards)),
            answer => Err(refusal(place, name, answer)),
        }
    }

    /// What was asked of a stream's shards since the last time.
    pub(super) async fn demand(&self, place: &Place, name: &str) -> Result<Demand, Error> {
        let mut all = Demand::default();
        for reactor in 0..self.handle.reactors() {
            match self.call(Call::Demand { name: self.stored(place, name), reactor }).await? {
                Answer::Demand(demand) => all += demand,
                answer => return Err(refusal(place, name, answer)),
            }
        }
        Ok(all)
    }

    /// Splits a shard.
    pub(super) async fn split(&self, place: &Place, name: &str, shard: ShardId, at: u128) -> Result<(), Error> {
        let call = Call::SplitShard { name: self.stored(place, name), shard, at };
        reshard_answer(place, name, self.call(call).await?)
    }

    /// Merges two shards.
    pub(super) async fn merge(
        &self,
        place: &Place,
        name: &str,
        shard: ShardId,
        adjacent: ShardId,
    ) -> Result<(), Error> {
        let call = Call::MergeShards { name: self.stored(place, name), shard, adjacent };
        reshard_answer(place, name, self.call(call).await?)
    }

    /// Streams of a place after a name, and whether there are more.
    pub(super) async fn list(&self, place: &Place, after: &str, limit: u32) -> Result<(Vec<Stream>, bool), Error> {
        let mut after = places::after(&self.own, place, after);
        let (mut theirs, limit) = (Vec::new(), limit as usize);
        loop {
            // One more than is asked for says whether there are more: what comes next may be others'.
            let (streams, more) = self.page(after, engine::limits::LIST_STREAMS_MAX).await?;
            let last = streams.last().map(|last| last.name.clone()).unwrap_or_default();
            theirs.extend(streams.into_iter().filter_map(|stream| {
                let (whose, name) = places::told(&self.own, &stream.name)?;
                (whose == *place).then(|| called(stream.clone(), name))
            }));
            // Those of a place stand together, but for names among them that are none.
            let more = more && places::is_among(&self.own, place, &last);
            if theirs.len() > limit || !more {
                let more = theirs.len() > limit;
                theirs.truncate(limit);
                return Ok((theirs, more));
            }
            after = last;
        }
    }

    /// Has `each` look at every stream of a place.
    pub(super) async fn each(
        &self,
        place: &Place,
        mut each: impl FnMut(&Stream) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let (streams, more) = self.list(place, &after, engine::limits::LIST_STREAMS_MAX).await?;
            streams.iter().try_for_each(&mut each)?;
            match streams.last().filter(|_| more) {
                Some(last) => after = last.name.clone(),
                None => return Ok(()),
            }
        }
    }

    /// Has `each` look at every stream of all places.
    pub(super) async fn each_of_all(&self, mut each: impl FnMut(Place, Stream)) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let (streams, more) = self.page(after, engine::limits::LIST_STREAMS_MAX).await?;
            let last = streams.last().map(|last| last.name.clone());
            for mut stream in streams {
                if let Some((place, name)) = places::told(&self.own, &stream.name) {
                    stream.name = name.to_owned();
                    each(place, stream);
                }
            }
            match last.filter(|_| more) {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }

    /// Streams after one, by the log's names.
    async fn page(&self, after: String, limit: u32) -> Result<(Vec<Stream>, bool), Error> {
        match self.call(Call::ListStreams(ListStreams { limit, after })).await? {
            Answer::Streams(streams, more) => Ok((streams, more)),
            answer => Err(refusal(&self.own, "", answer)),
        }
    }

    /// Whether a stream may have its records spread over its shards.
    pub(super) fn may_spread(&self, place: &Place, name: &str) -> bool {
        self.spread.may_be(&self.stored(place, name))
    }

    /// A stream has, or is about to have, this beside it. Whether its records are spread, and surely were not before.
    pub(super) fn note_spread(&self, place: &Place, name: &str, extras: &Extras) -> bool {
        extras.spread && self.spread.note(self.stored(place, name))
    }

    /// All streams were noted.
    pub(super) fn spread_is_complete(&self) {
        self.spread.complete();
    }

    fn stored(&self, place: &Place, name: &str) -> String {
        places::stored(&self.own, place, name)
    }

    /// Appends frames. What they were made of has its room until the reactor has answered, also where the caller is gone by then:
    /// they wait in its queue.
    pub(super) async fn append(
        &self,
        place: &Place,
        name: &str,
        frames: Vec<u8>,
        room: BodyRoom,
    ) -> Result<(Stream, Vec<Outcome>), Error> {
        match self.call_holding(Call::Append { name: self.stored(place, name), frames }, room).await? {
            Answer::Appended(stream, outcomes) => Ok((called(stream, name), outcomes)),
            answer => Err(refusal(place, name, answer)),
        }
    }

    /// Reads frames, so many at most.
    pub(super) async fn read(
        &self,
        place: &Place,
        name: &str,
        (read, frames_max): (Read, usize),
        counts: Counts,
    ) -> Result<(ReadResult, Vec<u8>), Unread> {
        let frames_max = u32::try_from(frames_max).unwrap_or(u32::MAX);
        match self.call(Call::Read { read, frames_max, counts }).await.map_err(Unread::Refused)? {
            Answer::Records(result, frames) => Ok((result, frames)),
            Answer::Failed(Failure { code, .. }) if code.is_read_quota() => Err(Unread::RateExceeded),
            Answer::Failed(failure) if failure.code == ErrorCode::Damaged => Err(Unread::Damaged(failure)),
            Answer::Failed(Failure { code: ErrorCode::InvalidArgument, .. }) => Err(Unread::Ahead),
            answer => Err(Unread::Refused(refusal(place, name, answer))),
        }
    }

    /// So many bytes that were read are given to nobody.
    pub(super) fn give_back(&self, stream: StreamId, shard: ShardId, bytes: u64) {
        // Where the reactor has too many calls, they stay counted.
        let _ = self.handle.call(Call::GiveBack { stream, shard, bytes }, drop);
    }

    async fn call(&self, call: Call) -> Result<Answer, Error> {
        self.call_holding(call, ()).await
    }

    /// Holds something until there is an answer, or can be none.
    async fn call_holding(&self, call: Call, held: impl Send + 'static) -> Result<Answer, Error> {
        let (sender, receiver) = oneshot::channel();
        let reply = move |answer| {
            // Nobody, if the caller is gone.
            let _ = sender.send((answer, held));
        };
        self.handle.call(call, reply).map_err(|full| Error::new(THROTTLED, full.to_string()))?;
        let (answer, _held) =
            receiver.await.map_err(|_| Error::new(ErrorKind::InternalFailure, "The server is shutting down."))?;
        Ok(answer)
    }
}

/// A stream under the name that callers have for it.
fn called(stream: Stream, name: &str) -> Stream {
    Stream { name: name.to_owned(), ..stream }
}

/// Why a read has no answer.
#[derive(Debug)]
pub(super) enum Unread {
    /// Throttled: the shard's quotas are used up.
    RateExceeded,
    /// What comes next is damaged.
    Damaged(Failure),
    /// The time that it was to begin at is yet to come.
    Ahead,
    /// All else.
    Refused(Error),
}

impl Unread {
    /// The API's error; `rate_exceeded` says of which shard.
    pub(super) fn error(self, rate_exceeded: impl FnOnce() -> String) -> Error {
        match self {
            Unread::RateExceeded => Error::new(THROTTLED, rate_exceeded()),
            Unread::Damaged(Failure { code, detail, .. }) => Error::new(kind(code), detail),
            Unread::Ahead => Error::new(ErrorKind::InvalidArgument, "The time to begin at is yet to come."),
            Unread::Refused(error) => error,
        }
    }
}

/// What a caller is told that should try again later.
pub(super) const THROTTLED: ErrorKind = ErrorKind::ProvisionedThroughputExceeded;

/// What a split or merge came to.
fn reshard_answer(place: &Place, name: &str, answer: Answer) -> Result<(), Error> {
    match answer {
        Answer::Stream(..) => Ok(()),
        Answer::Failed(Failure { code: ErrorCode::Resharding, detail, .. }) => {
            Err(Error::new(ErrorKind::ResourceInUse, detail))
        }
        Answer::Failed(Failure { code: ErrorCode::InvalidArgument, detail, .. }) => {
            Err(Error::new(ErrorKind::InvalidArgument, detail))
        }
        answer => Err(refusal(place, name, answer)),
    }
}

/// The API's error for what the engine said instead of an answer.
fn refusal(place: &Place, name: &str, answer: Answer) -> Error {
    let Answer::Failed(Failure { code, detail, .. }) = answer else {
        return Error::new(ErrorKind::InternalFailure, "Internal service failure.");
    };
    match code {
        ErrorCode::UnknownStream => place.no_stream(name),
        ErrorCode::StreamExists => place.exists(name),
        _ => Error::new(kind(code), detail),
    }
}

/// The API's error for a code of the engine.
pub(super) fn kind(code: ErrorCode) -> ErrorKind {
    match code {
        ErrorCode::UnknownStream | ErrorCode::UnknownShard => ErrorKind::ResourceNotFound,
        ErrorCode::StreamExists => ErrorKind::ResourceInUse,
        // The gateway checks names and numbers: what is left is a stream too many.
        ErrorCode::InvalidArgument | ErrorCode::TooManyShards => ErrorKind::LimitExceeded,
        ErrorCode::UnknownSequence => ErrorKind::InvalidArgument,
        ErrorCode::KeyMissing => ErrorKind::KmsNotFound,
        ErrorCode::DiskFull
        | ErrorCode::Busy
        | ErrorCode::WriteBytesExceeded
        | ErrorCode::WriteRecordsExceeded
        | ErrorCode::ReadBytesExceeded
        | ErrorCode::ReadsExceeded
        | ErrorCode::Resharding => THROTTLED,
        // The gateway numbers nothing.
        ErrorCode::OutOfOrder | ErrorCode::StoredBefore | ErrorCode::NumberPassed => ErrorKind::InternalFailure,
        ErrorCode::Protocol
        | ErrorCode::Checksum
        | ErrorCode::StorageFailed
        | ErrorCode::Damaged
        | ErrorCode::AccessDenied
        | ErrorCode::TlsRequired
        | ErrorCode::ShuttingDown => ErrorKind::InternalFailure,
    }
}

#[cfg(test)]
#[path = "log/tests.rs"]
mod tests;
