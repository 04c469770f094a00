//! One shard's records as they become durable, over lost connections, until the shard ends.

use std::net::SocketAddr;

use frame::proto::Start;
use frame::{ShardId, StreamId};

use crate::cursor::{Record, Told};
use crate::error::SubscribeError;
use crate::feed::Feed;
use crate::options::Options;

/// Bytes of frames of one shard that may be on their way here or wait to be taken.
pub(crate) const CREDIT_BYTES: u64 = 1 << 20;

/// A shard's records, one after the other. See [`Client::subscribe`](crate::Client::subscribe).
#[derive(Debug)]
pub struct Subscription {
    feed: Feed,
    /// Once it has ended.
    children: Vec<ShardId>,
}

impl Subscription {
    pub(crate) fn new(
        options: Options,
        owner: SocketAddr,
        stream: StreamId,
        shard: ShardId,
        start: Start,
    ) -> Subscription {
        let mut feed = Feed::new(options, stream);
        feed.follow(shard, start, CREDIT_BYTES, owner);
        Subscription { feed, children: Vec::new() }
    }

    /// The next record, however long it takes. `None` at the end of a shard that was split or merged: its
    /// [`children`](Subscription::children) go on. May be dropped and called again.
    ///
    /// # Errors
    /// There is no next record; after [`SubscribeError::Connection`] there may be, after [`SubscribeError::Damaged`] behind what
    /// that names, and after a [`SubscribeError::Refused`] that may pass.
    pub async fn next(&mut self) -> Result<Option<Record>, SubscribeError> {
        Ok(match self.feed.next().await? {
            Some((_, Told::Record(record))) => Some(record),
            Some((_, Told::Ended(children))) => {
                self.children = children.shards().collect();
                None
            }
            None => None,
        })
    }

    /// The shards in which an ended one goes on, once all of its records were taken.
    pub fn children(&self) -> Vec<ShardId> {
        self.children.clone()
    }
}
