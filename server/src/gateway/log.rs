//! Calls on the engine, for tasks that wait for their answers; the engine's refusals as the API's errors.

use engine::demand::Demand;
use engine::{Answer, Call, Handle, Outcome, Stream};
use frame::proto::{ErrorCode, Failure, ListStreams, Read, ReadResult, ShardDescription, Subscribe};
use frame::{Retention, Settings, ShardId};
use tokio::sync::{Mutex, oneshot};
use wire::name::Place;
use wire::{Error, ErrorKind};

use super::extras::{Account, Extras};
use super::following::Following;
use super::spread::Spread;

/// The log behind the gateway.
#[derive(Debug)]
pub(super) struct Log {
    handle: Handle,
    /// What is kept beside streams is changed by one at a time.
    changing: Mutex<()>,
    /// Which streams may have their records spread over their shards.
    pub(super) spread: Spread,
}

impl Log {
    pub(super) fn new(handle: Handle) -> Log {
        Log { handle, changing: Mutex::new(()), spread: Spread::default() }
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
        self.spread.note(name, extras);
        let annotation = extras.encode()?;
        match self.call(Call::CreateStream { name: name.to_owned(), shards, settings, annotation }).await? {
            Answer::Stream(..) => Ok(()),
            answer => Err(refusal(place, name, answer)),
        }
    }

    /// Has more or less of a stream kept.
    pub(super) async fn set_retention(&self, place: &Place, name: &str, retention: Retention) -> Result<(), Error> {
        match self.call(Call::SetRetention { name: name.to_owned(), retention }).await? {
            Answer::Stream(..) => Ok(()),
            answer => Err(refusal(place, name, answer)),
        }
    }

    /// Changes what is kept beside a stream.
    pub(super) async fn change<T>(
        &self,
        place: &Place,
        name: &str,
        change: impl FnOnce(&Stream, &mut Extras) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let _alone = self.changing.lock().await;
        let (stream, _) = self.describe(place, name, 0, 0).await?;
        let before = Extras::of(&stream)?;
        let mut extras = before.clone();
        let told = change(&stream, &mut extras)?;
        if extras != before {
            self.spread.note(name, &extras);
            let call = Call::Annotate { name: Some(name.to_owned()), annotation: extras.encode()? };
            let answer = self.call(call).await?;
            if !matches!(answer, Answer::Stream(..)) {
                return Err(refusal(place, name, answer));
            }
        }
        Ok(told)
    }

    /// What is kept of the account.
    pub(super) async fn account(&self, place: &Place) -> Result<Account, Error> {
        match self.call(Call::Annotation).await? {
            Answer::Annotation(kept) => Account::decode(&kept),
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
        let before = self.account(place).await?;
        let mut account = before.clone();
        change(&mut account);
        if account != before {
            let call = Call::Annotate { name: None, annotation: account.encode()? };
            let answer = self.call(call).await?;
            if !matches!(answer, Answer::Annotation(_)) {
                return Err(refusal(place, "", answer));
            }
        }
        Ok(account)
    }

    /// Has a shard's records pushed.
    pub(super) async fn follow(&self, subscribe: Subscribe) -> Result<Following, Error> {
        Following::begin(&self.handle, subscribe, async |call| self.call(call).await).await
    }

    /// Removes a stream, if it may go as it is. Returns what was kept beside it.
    pub(super) async fn delete(
        &self,
        place: &Place,
        name: &str,
        may_go: impl FnOnce(&Extras) -> Result<(), Error>,
    ) -> Result<Extras, Error> {
        // Not while something is written down of it, which would be of the next stream of that name.
        let _alone = self.changing.lock().await;
        let (stream, _) = self.describe(place, name, 0, 0).await?;
        let extras = Extras::of(&stream)?;
        may_go(&extras)?;
        match self.call(Call::DeleteStream { name: name.to_owned() }).await? {
            Answer::Deleted => {
                self.spread.forget(name);
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
        match self.call(Call::DescribeStream { name: name.to_owned(), from, limit }).await? {
            Answer::Stream(stream, shards) => Ok((stream, shards)),
            answer => Err(refusal(place, name, answer)),
        }
    }

    /// What was asked of a stream's shards since the last time.
    pub(super) async fn demand(&self, place: &Place, name: &str) -> Result<Demand, Error> {
        let mut all = Demand::default();
        for reactor in 0..self.handle.reactors() {
            match self.call(Call::Demand { name: name.to_owned(), reactor }).await? {
                Answer::Demand(demand) => all += demand,
                answer => return Err(refusal(place, name, answer)),
            }
        }
        Ok(all)
    }

    /// Splits a shard.
    pub(super) async fn split(&self, place: &Place, name: &str, shard: ShardId, at: u128) -> Result<(), Error> {
        let call = Call::SplitShard { name: name.to_owned(), shard, at };
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
        let call = Call::MergeShards { name: name.to_owned(), shard, adjacent };
        reshard_answer(place, name, self.call(call).await?)
    }

    /// Streams after a name, and whether there are more.
    pub(super) async fn list(&self, place: &Place, after: String, limit: u32) -> Result<(Vec<Stream>, bool), Error> {
        match self.call(Call::ListStreams(ListStreams { limit, after })).await? {
            Answer::Streams(streams, more) => Ok((streams, more)),
            answer => Err(refusal(place, "", answer)),
        }
    }

    /// Has `each` look at every stream.
    pub(super) async fn each(
        &self,
        place: &Place,
        mut each: impl FnMut(&Stream) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut after = String::new();
        loop {
            let (streams, more) = self.list(place, after, engine::limits::LIST_STREAMS_MAX).await?;
            streams.iter().try_for_each(&mut each)?;
            match streams.last().filter(|_| more) {
                Some(last) => after = last.name.clone(),
                None => return Ok(()),
            }
        }
    }

    /// Appends frames.
    pub(super) async fn append(
        &self,
        place: &Place,
        name: &str,
        frames: Vec<u8>,
    ) -> Result<(Stream, Vec<Outcome>), Error> {
        match self.call(Call::Append { name: name.to_owned(), frames }).await? {
            Answer::Appended(stream, outcomes) => Ok((stream, outcomes)),
            answer => Err(refusal(place, name, answer)),
        }
    }

    /// Reads frames. It is one of the reads that the shard's quotas allow, if it `counts`.
    pub(super) async fn read(
        &self,
        place: &Place,
        name: &str,
        read: Read,
        counts: bool,
    ) -> Result<(ReadResult, Vec<u8>), Unread> {
        match self.call(Call::Read { read, counts }).await.map_err(Unread::Refused)? {
            Answer::Records(result, frames) => Ok((result, frames)),
            Answer::Failed(Failure { code, .. }) if code.is_read_quota() => Err(Unread::RateExceeded),
            answer => Err(Unread::Refused(refusal(place, name, answer))),
        }
    }

    async fn call(&self, call: Call) -> Result<Answer, Error> {
        let (sender, receiver) = oneshot::channel();
        let reply = move |answer| {
            // Nobody, if the caller is gone.
            let _ = sender.send(answer);
        };
        self.handle.call(call, reply).map_err(|full| Error::new(THROTTLED, full.to_string()))?;
        receiver.await.map_err(|_| Error::new(ErrorKind::InternalFailure, "The server is shutting down."))
    }
}

/// Why a read has no answer.
#[derive(Debug)]
pub(super) enum Unread {
    /// Throttled: the shard's quotas are used up.
    RateExceeded,
    /// All else.
    Refused(Error),
}

impl Unread {
    /// The API's error; `rate_exceeded` says of which shard.
    pub(super) fn error(self, rate_exceeded: impl FnOnce() -> String) -> Error {
        match self {
            Unread::RateExceeded => Error::new(THROTTLED, rate_exceeded()),
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
        Answer::Failed(Failure { code: ErrorCode::Resharding, detail }) => {
            Err(Error::new(ErrorKind::ResourceInUse, detail))
        }
        Answer::Failed(Failure { code: ErrorCode::InvalidArgument, detail }) => {
            Err(Error::new(ErrorKind::InvalidArgument, detail))
        }
        answer => Err(refusal(place, name, answer)),
    }
}

/// The API's error for what the engine said instead of an answer.
fn refusal(place: &Place, name: &str, answer: Answer) -> Error {
    let Answer::Failed(Failure { code, detail }) = answer else {
        return Error::new(ErrorKind::InternalFailure, "Internal service failure.");
    };
    match code {
        ErrorCode::UnknownStream => place.no_stream(name),
        ErrorCode::StreamExists => {
            let message = format!("Stream {name} under account {} already exists.", place.account);
            Error::new(ErrorKind::ResourceInUse, message)
        }
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
        | ErrorCode::ShuttingDown => ErrorKind::InternalFailure,
    }
}
