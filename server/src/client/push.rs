//! Subscriptions: records that come unasked.

use frame::proto::{self, Failure, Start, Subscribe};
use frame::{RequestId, ShardId, StreamId};

use super::{Client, ClientError, Heard, Records};

/// Records that were pushed, or why no more are.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// What [`Client::subscribe`] returned.
    pub subscription: RequestId,
    /// The records, which may be none; or why the subscription has ended. It has as well where the records name children: the
    /// shard is closed, and came to its end.
    pub outcome: Result<Records, Failure>,
}

impl Client {
    /// Has the records of a shard pushed from `start` on, `credit` bytes of frames at first: take them by
    /// [`Client::next_pushed`] and go on by [`Client::grant`].
    ///
    /// # Errors
    /// The connection's. What the server refuses is told by [`Client::next_pushed`].
    pub fn subscribe(
        &mut self,
        stream: StreamId,
        shard: ShardId,
        start: Start,
        credit: u64,
    ) -> Result<RequestId, ClientError> {
        let subscribe = Subscribe { stream, shard, start, granted: credit };
        let subscription = self.proto.subscribe(&mut self.out, &subscribe);
        self.subscriptions.insert(subscription, credit);
        self.flush()?;
        Ok(subscription)
    }

    /// Grants a subscription so many bytes more.
    ///
    /// # Errors
    /// The connection's.
    pub fn grant(&mut self, subscription: RequestId, bytes: u64) -> Result<(), ClientError> {
        let Some(granted) = self.subscriptions.get_mut(&subscription) else { return Ok(()) };
        *granted = granted.saturating_add(bytes);
        proto::Client::grant(&mut self.out, subscription, *granted);
        self.flush()
    }

    /// Ends a subscription. What was on its way may still come, then nothing.
    ///
    /// # Errors
    /// The connection's.
    pub fn unsubscribe(&mut self, subscription: RequestId) -> Result<(), ClientError> {
        proto::Client::unsubscribe(&mut self.out, subscription);
        self.flush()
    }

    /// The next records that are pushed, however long they take: a server that is silent is asked for a sign of life. `None`
    /// if no subscription goes on.
    ///
    /// # Errors
    /// The connection's.
    pub fn next_pushed(&mut self) -> Result<Option<Pushed>, ClientError> {
        let mut asked = false;
        loop {
            if let Some(pushed) = self.pushed.pop_front() {
                return Ok(Some(pushed));
            }
            if self.subscriptions.is_empty() {
                return Ok(None);
            }
            match self.hear() {
                Err(ClientError::Silent { .. }) if !asked => {
                    asked = true;
                    self.proto.ping(&mut self.out);
                    self.flush()?;
                }
                heard => asked &= matches!(heard?, Heard::Other),
            }
        }
    }
}
