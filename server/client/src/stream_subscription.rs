//! All of a stream's records, of all of its shards, through splits and merges.

use frame::proto::{ErrorCode, Start, StreamDescription};
use frame::{Sequence, ShardId};

use crate::client::Client;
use crate::connection::Site;
use crate::cursor::{Record, Told};
use crate::error::{RequestError, SubscribeError};
use crate::feed::Feed;
use crate::lineage::Lineage;
use crate::subscription::CREDIT_BYTES;

/// Credit of all shards together, as long as each has the least.
const STREAM_CREDIT_BYTES: u64 = 16 << 20;
const CREDIT_BYTES_MIN: u64 = 64 << 10;

/// Where a whole stream is begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StreamStart {
    /// At the oldest record of each shard that is kept.
    Oldest,
    /// Behind all that is stored when it is opened.
    Latest,
    /// At the first records that arrived then or later: milliseconds since 1970, not in the future.
    Since(u64),
}

/// The records of a stream: each shard's in their order, and none of a shard before all of those that it was split off or merged
/// from. See [`Client::subscribe_stream`](crate::Client::subscribe_stream).
#[derive(Debug)]
pub struct StreamSubscription {
    client: Client,
    name: String,
    feed: Feed,
    lineage: Lineage,
    /// Where shards are begun whose parents have ended.
    start: Start,
    credit_bytes: u64,
    /// May be read, and their owners are not known yet.
    unplaced: Vec<(ShardId, Start)>,
    /// A shard has expired while it was followed, with others maybe: what the stream has is to be looked at again.
    is_outdated: bool,
}

impl StreamSubscription {
    pub(crate) fn new(
        client: Client,
        start: StreamStart,
        stream: &StreamDescription,
        site: Site,
    ) -> StreamSubscription {
        let (lineage, first) = Lineage::of(stream);
        let (lineage, start, first) = match start {
            StreamStart::Oldest => (lineage, Start::At(Sequence(1)), begin(first, Start::At(Sequence(1)))),
            StreamStart::Since(ms) => (lineage, Start::Since(ms), begin(first, Start::Since(ms))),
            StreamStart::Latest => {
                let open = stream.shards.iter().filter(|shard| shard.children.is_none());
                let first = open.map(|shard| (shard.shard, Start::At(shard.tip))).collect();
                // What is closed has nothing new, and what is made from here on nothing that is old.
                (Lineage::of_open(stream), Start::At(Sequence(1)), first)
            }
        };
        let share = STREAM_CREDIT_BYTES / stream.shards.len().max(1) as u64;
        let credit_bytes = share.clamp(CREDIT_BYTES_MIN, CREDIT_BYTES);
        let feed = Feed::new(client.options().clone(), stream.stream);
        let name = stream.name.clone();
        let mut subscription = StreamSubscription {
            client,
            name,
            feed,
            lineage,
            start,
            credit_bytes,
            unplaced: first,
            is_outdated: false,
        };
        subscription.place(Some(stream), site);
        subscription
    }

    /// The next record of any shard, however long it takes. `None` once no shard is left to read, which all have told an error
    /// of. May be dropped and called again.
    ///
    /// # Errors
    /// As those of [`Subscription::next`](crate::Subscription::next), of one shard or connection: the others go on with the next
    /// call. What follows a shard that was refused, or came damaged, is not read.
    pub async fn next(&mut self) -> Result<Option<Record>, SubscribeError> {
        loop {
            if !self.unplaced.is_empty() || self.is_outdated {
                let (stream, site) = match self.client.describe(&self.name).await {
                    Ok((stream, site)) => (Some(stream), site),
                    Err(RequestError::Refused(failure)) if self.is_outdated => {
                        self.is_outdated = failure.code.may_pass();
                        return Err(SubscribeError::Refused(failure));
                    }
                    Err(RequestError::Connection(error)) if self.is_outdated => return Err(error.into()),
                    Err(_) => (None, Site::at(self.client.options().address)),
                };
                if let Some(stream) = stream.as_ref().filter(|_| self.is_outdated) {
                    self.unplaced.extend(begin(self.lineage.look_again(stream), self.start));
                    self.is_outdated = false;
                }
                self.place(stream.as_ref(), site);
            }
            match self.feed.next().await {
                Ok(Some((_, Told::Record(record)))) => return Ok(Some(record)),
                Ok(Some((shard, Told::Ended(children)))) => {
                    self.unplaced.extend(begin(self.lineage.end(shard, children), self.start));
                }
                Ok(None) => return Ok(None),
                // All of it has expired, and is passed over as other records are that have.
                Err(SubscribeError::Refused(failure)) if failure.code == ErrorCode::UnknownShard => {
                    self.is_outdated = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Follows what may be read, at its owners as far as they are known; the others hand on.
    fn place(&mut self, stream: Option<&StreamDescription>, site: Site) {
        for (shard, start) in std::mem::take(&mut self.unplaced) {
            let described = stream.and_then(|stream| stream.shards.iter().find(|other| other.shard == shard));
            let owner = site.owner(described.map_or(0, |described| described.reactor));
            self.feed.follow(shard, start, self.credit_bytes, owner);
        }
    }
}

fn begin(shards: Vec<ShardId>, start: Start) -> Vec<(ShardId, Start)> {
    shards.into_iter().map(|shard| (shard, start)).collect()
}
