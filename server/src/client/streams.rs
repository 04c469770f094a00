//! Streams: made, changed, described, listed, deleted.

use frame::proto::StreamDescription;
use frame::{Quotas, RequestId, Retention, Settings, ShardId};

use super::{Answer, Client, ClientError, NAMES_AT_ONCE};

impl Client {
    /// Makes a stream, or finds it with the same number of shards; then its settings stay as they are. With quotas
    /// alone all of it is kept, for ever.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if it exists with another number, among others.
    pub fn create_stream(
        &mut self,
        name: &str,
        shards: u32,
        settings: impl Into<Settings>,
    ) -> Result<StreamDescription, ClientError> {
        let request = self.proto.create_stream(&mut self.out, name, shards, settings);
        self.stream_answer(request)
    }

    /// Gives a stream other quotas.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is none of that name, among others.
    pub fn set_quotas(&mut self, name: &str, quotas: Quotas) -> Result<StreamDescription, ClientError> {
        let request = self.proto.set_quotas(&mut self.out, name, quotas);
        self.stream_answer(request)
    }

    /// Splits a shard, so that the second child begins at a hash key. The children take records in when this returns.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is no such open shard, or the hash key is not within it, among others.
    pub fn split_shard(&mut self, name: &str, shard: ShardId, at: u128) -> Result<StreamDescription, ClientError> {
        let request = self.proto.split_shard(&mut self.out, name, shard, at);
        self.stream_answer(request)
    }

    /// Merges two shards whose hash ranges meet. Their child takes records in when this returns.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if they are not two open neighbours, among others.
    pub fn merge_shards(
        &mut self,
        name: &str,
        shard: ShardId,
        adjacent: ShardId,
    ) -> Result<StreamDescription, ClientError> {
        let request = self.proto.merge_shards(&mut self.out, name, shard, adjacent);
        self.stream_answer(request)
    }

    /// Moves a shard to another reactor, which takes its records in when this returns.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is no such open shard or reactor, or it is there already, among others.
    pub fn move_shard(&mut self, name: &str, shard: ShardId, reactor: u32) -> Result<StreamDescription, ClientError> {
        let request = self.proto.move_shard(&mut self.out, name, shard, reactor);
        self.stream_answer(request)
    }

    /// Has more or less of a stream kept.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is none of that name, among others.
    pub fn set_retention(&mut self, name: &str, retention: Retention) -> Result<StreamDescription, ClientError> {
        let request = self.proto.set_retention(&mut self.out, name, retention);
        self.stream_answer(request)
    }

    /// Deletes a stream, with all that is in it. It is gone when this returns.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is none of that name, among others.
    pub fn delete_stream(&mut self, name: &str) -> Result<(), ClientError> {
        let request = self.proto.delete_stream(&mut self.out, name);
        match self.answer(request)? {
            Answer::Deleted => Ok(()),
            _ => Err(ClientError::OtherAnswer),
        }
    }

    /// What a stream is.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if there is none of that name, among others.
    pub fn describe_stream(&mut self, name: &str) -> Result<StreamDescription, ClientError> {
        let request = self.proto.describe_stream(&mut self.out, name);
        self.stream_answer(request)
    }

    /// Names of all streams, in order.
    ///
    /// # Errors
    /// The connection's.
    pub fn list_streams(&mut self) -> Result<Vec<String>, ClientError> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map_or("", String::as_str);
            let request = self.proto.list_streams(&mut self.out, after, NAMES_AT_ONCE);
            let Answer::StreamList(list) = self.answer(request)? else { return Err(ClientError::OtherAnswer) };
            let more = list.more && !list.names.is_empty();
            names.extend(list.names);
            if !more {
                return Ok(names);
            }
        }
    }

    fn stream_answer(&mut self, request: RequestId) -> Result<StreamDescription, ClientError> {
        match self.answer(request)? {
            Answer::Stream(description) => Ok(description),
            _ => Err(ClientError::OtherAnswer),
        }
    }
}
