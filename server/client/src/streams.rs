//! Streams: made, changed, described, listed, deleted.

use frame::proto::StreamDescription;
use frame::{Quotas, Retention, Settings, ShardId};

use crate::client::{Answered, Client};
use crate::connection::{Answer, Site};
use crate::error::RequestError;

/// Names asked for at once.
const NAMES_AT_ONCE: u32 = 100;

impl Client {
    /// Makes a stream, or finds it with the same number of shards; then its settings stay as they are. [`Quotas`] will do for
    /// settings: all of it is kept then.
    ///
    /// # Errors
    /// It exists with another number of shards, among others.
    pub async fn create_stream(
        &self,
        name: &str,
        shards: u32,
        settings: impl Into<Settings>,
    ) -> Result<StreamDescription, RequestError> {
        let settings = settings.into();
        stream(self.ask(|connection| connection.create_stream(name, shards, settings)).await?).map(|(stream, _)| stream)
    }

    /// What a stream is: its settings, and its shards with their hash ranges, in the order in which they were made.
    ///
    /// # Errors
    /// There is none of that name, among others.
    pub async fn describe_stream(&self, name: &str) -> Result<StreamDescription, RequestError> {
        Ok(self.describe(name).await?.0)
    }

    /// Names of all streams, in order.
    ///
    /// # Errors
    /// The connection's.
    pub async fn list_streams(&self) -> Result<Vec<String>, RequestError> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map_or("", String::as_str);
            let (answer, _) = self.ask(|connection| connection.list_streams(after, NAMES_AT_ONCE)).await?;
            let Answer::StreamList(list) = answer else { return Err(RequestError::OtherAnswer) };
            let is_last = !list.more || list.names.is_empty();
            names.extend(list.names);
            if is_last {
                return Ok(names);
            }
        }
    }

    /// Gives a stream other quotas.
    ///
    /// # Errors
    /// There is none of that name, among others.
    pub async fn set_quotas(&self, name: &str, quotas: Quotas) -> Result<StreamDescription, RequestError> {
        stream(self.ask(|connection| connection.set_quotas(name, quotas)).await?).map(|(stream, _)| stream)
    }

    /// Has more or less of a stream kept; what has expired stays gone.
    ///
    /// # Errors
    /// There is none of that name, among others.
    pub async fn set_retention(&self, name: &str, retention: Retention) -> Result<StreamDescription, RequestError> {
        stream(self.ask(|connection| connection.set_retention(name, retention)).await?).map(|(stream, _)| stream)
    }

    /// Splits a shard, so that the second child begins at the hash key `at`. The children take records in when this returns.
    ///
    /// # Errors
    /// There is no such open shard, or the hash key is not within it, among others. After [`RequestError::Connection`] it may
    /// have been split: [`Client::describe_stream`] tells.
    pub async fn split_shard(&self, name: &str, shard: ShardId, at: u128) -> Result<StreamDescription, RequestError> {
        stream(self.ask_once(|connection| connection.split_shard(name, shard, at)).await?).map(|(stream, _)| stream)
    }

    /// Merges two shards whose hash ranges meet. Their child takes records in when this returns.
    ///
    /// # Errors
    /// They are not two open neighbours, among others. After [`RequestError::Connection`] they may have been merged.
    pub async fn merge_shards(
        &self,
        name: &str,
        shard: ShardId,
        adjacent: ShardId,
    ) -> Result<StreamDescription, RequestError> {
        let merged = self.ask_once(|connection| connection.merge_shards(name, shard, adjacent)).await?;
        stream(merged).map(|(stream, _)| stream)
    }

    /// Moves a shard to another reactor, which takes its records in when this returns.
    ///
    /// # Errors
    /// There is no such open shard or reactor, or it is there already, among others. After [`RequestError::Connection`] it may
    /// have been moved.
    pub async fn move_shard(
        &self,
        name: &str,
        shard: ShardId,
        reactor: u32,
    ) -> Result<StreamDescription, RequestError> {
        stream(self.ask_once(|connection| connection.move_shard(name, shard, reactor)).await?).map(|(stream, _)| stream)
    }

    /// Deletes a stream, with all that is in it, at once and for good.
    ///
    /// # Errors
    /// There is none of that name, among others. After [`RequestError::Connection`] it may have been deleted.
    pub async fn delete_stream(&self, name: &str) -> Result<(), RequestError> {
        match self.ask_once(|connection| connection.delete_stream(name)).await? {
            (Answer::Deleted, _) => Ok(()),
            _ => Err(RequestError::OtherAnswer),
        }
    }

    /// A stream, and where it was described.
    pub(crate) async fn describe(&self, name: &str) -> Result<(StreamDescription, Site), RequestError> {
        stream(self.ask(|connection| connection.describe_stream(name)).await?)
    }
}

fn stream((answer, site): Answered) -> Result<(StreamDescription, Site), RequestError> {
    match answer {
        Answer::Stream(stream) => Ok((stream, site)),
        _ => Err(RequestError::OtherAnswer),
    }
}
