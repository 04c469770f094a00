//! One connection: the frame crate's state of the client's end, with a socket. One task owns it.
//!
//! [`Connection::next`] does all input and output, and loses nothing where it is dropped half-way, so that its owner may wait for
//! other things beside it. A server that is silent is asked for a sign of life before it is given up.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use frame::proto::{
    self, AckResult, ClientEvent, Failure, Fault, Nonce, Reactors, ReadResult, Span, Start, StreamDescription,
    StreamList, Subscribe, Welcome,
};
use frame::{Quotas, RequestId, Retention, Settings, ShardId, StreamId};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::ConnectError;
use crate::options::{Options, TIME_MAX};
use crate::stream::Stream;

/// Bytes taken from the socket at once.
const RECEIVE_BYTES: usize = 64 << 10;

/// What the server said to whom.
#[derive(Debug)]
pub(crate) enum Heard {
    Welcome,
    Answer(RequestId, Answer),
    /// Results of appends: of which, and a result for each index.
    Acks(Vec<(RequestId, Vec<(u32, AckResult)>)>),
    /// A push, its frames one after the other.
    Records(RequestId, ReadResult, Vec<u8>),
    Refused(RequestId, Failure),
}

/// What was asked for on it.
#[derive(Debug)]
pub(crate) enum Answer {
    Stream(StreamDescription),
    StreamList(StreamList),
    Deleted,
}

/// What is to be sent.
#[derive(Debug)]
struct Outbox {
    bytes: Vec<u8>,
    /// Of them, how many are sent: no more than are not.
    sent: usize,
}

impl Outbox {
    /// Where messages are added.
    fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn is_empty(&self) -> bool {
        self.rest().is_empty()
    }

    fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        // So each byte is moved once at most.
        if self.sent >= self.bytes.len() - self.sent {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }
}

/// A connection whose handshake is done.
pub(crate) struct Connection {
    stream: Stream,
    address: SocketAddr,
    proto: proto::Client,
    welcome: Option<Welcome>,
    input: Vec<u8>,
    /// The part of `input` that was received and not yet looked at.
    unread: Range<usize>,
    out: Outbox,
    silence: Duration,
    /// When silence has been too long.
    silent_at: Instant,
    /// Whether a sign of life was asked for.
    is_asked: bool,
    /// The push whose records are arriving.
    reading: Option<(RequestId, ReadResult, Vec<u8>)>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Where a server was found, and where its reactors are by its own word.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    reactors: Reactors,
}

impl Site {
    /// Of whose reactors nothing is known.
    pub(crate) fn at(address: SocketAddr) -> Site {
        Site { address, reactors: Reactors::default() }
    }

    /// Where the owner of a shard listens.
    pub(crate) fn owner(&self, reactor: u32) -> SocketAddr {
        self.reactors.port(reactor).map_or(self.address, |port| SocketAddr::new(self.address.ip(), port))
    }
}

impl Connection {
    /// Connects to the first place that answers: the `first`, or one of those that the options name.
    ///
    /// # Errors
    /// None does. Of the reasons the last that may pass is told, if any may.
    pub(crate) async fn open_any(first: Option<SocketAddr>, options: &Options) -> Result<Connection, ConnectError> {
        let others = options.addresses().filter(|address| Some(*address) != first);
        let mut failed: Option<ConnectError> = None;
        for address in first.into_iter().chain(others) {
            match Connection::open(address, options).await {
                Ok(connection) => return Ok(connection),
                Err(error) if failed.is_none() || error.fault() == Fault::Connection => failed = Some(error),
                Err(_) => {}
            }
        }
        Err(failed.expect("the options name one address at least"))
    }

    /// Connects and shakes hands.
    async fn open(address: SocketAddr, options: &Options) -> Result<Connection, ConnectError> {
        let refused = |source: io::Error| ConnectError::Connect { address, source: Arc::new(source) };
        let silence = options.silence.min(TIME_MAX);
        let all = async {
            let stream = Stream::connect(address, options.tls.as_ref()).await.map_err(refused)?;
            let mut out = Vec::new();
            let mut proto = proto::Client::new(&mut out);
            if let Some(secret) = &options.secret {
                let mut nonce = Nonce::default();
                getrandom(&mut nonce, GetRandomFlags::empty()).map_err(|errno| refused(errno.into()))?;
                proto.require(secret.clone(), nonce);
            }
            let mut connection = Connection {
                stream,
                address,
                proto,
                welcome: None,
                input: vec![0; RECEIVE_BYTES],
                unread: 0..0,
                out: Outbox { bytes: out, sent: 0 },
                silence,
                silent_at: Instant::now() + silence,
                is_asked: false,
                reading: None,
            };
            while connection.welcome.is_none() {
                connection.next().await?;
            }
            Ok(connection)
        };
        timeout(options.connect_timeout, all).await.unwrap_or_else(|_| Err(refused(ErrorKind::TimedOut.into())))
    }

    /// What the server said of itself.
    pub(crate) fn welcome(&self) -> &Welcome {
        self.welcome.as_ref().expect("none is handed out before its handshake")
    }

    /// Where it leads.
    pub(crate) fn site(&self) -> Site {
        Site { address: self.address, reactors: self.welcome().reactors }
    }

    pub(crate) fn create_stream(&mut self, name: &str, shards: u32, settings: Settings) -> RequestId {
        self.proto.create_stream(self.out.end(), name, shards, settings)
    }

    pub(crate) fn describe_stream(&mut self, name: &str) -> RequestId {
        self.proto.describe_stream(self.out.end(), name)
    }

    pub(crate) fn list_streams(&mut self, after: &str, limit: u32) -> RequestId {
        self.proto.list_streams(self.out.end(), after, limit)
    }

    pub(crate) fn set_quotas(&mut self, name: &str, quotas: Quotas) -> RequestId {
        self.proto.set_quotas(self.out.end(), name, quotas)
    }

    pub(crate) fn set_retention(&mut self, name: &str, retention: Retention) -> RequestId {
        self.proto.set_retention(self.out.end(), name, retention)
    }

    pub(crate) fn split_shard(&mut self, name: &str, shard: ShardId, at: u128) -> RequestId {
        self.proto.split_shard(self.out.end(), name, shard, at)
    }

    pub(crate) fn merge_shards(&mut self, name: &str, shard: ShardId, adjacent: ShardId) -> RequestId {
        self.proto.merge_shards(self.out.end(), name, shard, adjacent)
    }

    pub(crate) fn move_shard(&mut self, name: &str, shard: ShardId, reactor: u32) -> RequestId {
        self.proto.move_shard(self.out.end(), name, shard, reactor)
    }

    pub(crate) fn delete_stream(&mut self, name: &str) -> RequestId {
        self.proto.delete_stream(self.out.end(), name)
    }

    /// Whether there is credit for an append of so many bytes of frames.
    pub(crate) fn may_append(&self, frames_bytes: usize) -> bool {
        self.proto.may_append(proto::HEADER_BYTES + proto::APPEND_FIXED_BYTES + frames_bytes)
    }

    pub(crate) fn append(&mut self, stream: StreamId, count: u32, frames: &[u8]) -> RequestId {
        self.proto.append(self.out.end(), stream, count, frames)
    }

    pub(crate) fn subscribe(&mut self, stream: StreamId, shard: ShardId, start: Start, granted: u64) -> RequestId {
        self.proto.subscribe(self.out.end(), &Subscribe { stream, shard, start, granted })
    }

    pub(crate) fn grant(&mut self, subscription: RequestId, granted: u64) {
        proto::Client::grant(self.out.end(), subscription, granted);
        // At once, as its owner may take what is here for long before it waits.
        self.send();
    }

    pub(crate) fn unsubscribe(&mut self, subscription: RequestId) {
        proto::Client::unsubscribe(self.out.end(), subscription);
    }

    /// Sends what there is to send and waits for the next thing that concerns this connection's owner. May be dropped and called
    /// again.
    ///
    /// # Errors
    /// The connection can't be used any more.
    pub(crate) async fn next(&mut self) -> Result<Heard, ConnectError> {
        loop {
            let input = &self.input[..self.unread.end];
            match self.proto.step(input, &mut self.unread.start).map_err(ConnectError::Violation)? {
                Some(event) => {
                    if let Some(heard) = self.take(event)? {
                        return Ok(heard);
                    }
                }
                None => self.exchange().await?,
            }
        }
    }

    /// Sends and receives, once there is something to.
    async fn exchange(&mut self) -> Result<(), ConnectError> {
        self.send();
        let ready = tokio::select! {
            biased;
            ready = self.stream.ready(!self.out.is_empty()) => ready,
            () = sleep_until(self.silent_at) => return self.silent(),
        };
        ready.map_err(|source| self.lost(source))?;
        match self.stream.try_read(&mut self.input) {
            Ok(0) => Err(self.lost(ErrorKind::UnexpectedEof.into())),
            Ok(bytes) => {
                self.unread = 0..bytes;
                (self.silent_at, self.is_asked) = (Instant::now() + self.silence, false);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                Err(ConnectError::Untrusted { address: self.address, source: Arc::new(error) })
            }
            Err(error) => Err(self.lost(error)),
        }
    }

    /// Sends what the socket has room for. A failure to do so is told by the next read, behind what the server may have said
    /// before it closed.
    fn send(&mut self) {
        while !self.out.is_empty() {
            match self.stream.try_write(self.out.rest()) {
                Ok(bytes) => self.out.sent(bytes),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.out.clear();
        let _ = self.stream.try_flush();
    }

    /// Nothing was heard for too long while somebody waited for it.
    fn silent(&mut self) -> Result<(), ConnectError> {
        if std::mem::replace(&mut self.is_asked, true) {
            return Err(ConnectError::Silent { address: self.address, waited: self.silence });
        }
        if self.welcome.is_some() {
            self.proto.ping(self.out.end());
        }
        self.silent_at = Instant::now() + self.silence;
        Ok(())
    }

    fn lost(&self, source: io::Error) -> ConnectError {
        ConnectError::Lost { address: self.address, source: Arc::new(source) }
    }

    fn take(&mut self, event: ClientEvent) -> Result<Option<Heard>, ConnectError> {
        Ok(match event {
            ClientEvent::Challenge => {
                if !self.proto.prove(self.out.end()) {
                    return Err(ConnectError::NoSecret { address: self.address });
                }
                None
            }
            ClientEvent::Welcome(welcome) => {
                self.welcome = Some(welcome);
                Some(Heard::Welcome)
            }
            ClientEvent::Stream(request, stream) => Some(Heard::Answer(request, Answer::Stream(stream))),
            ClientEvent::StreamList(request, list) => Some(Heard::Answer(request, Answer::StreamList(list))),
            ClientEvent::Deleted(request) => Some(Heard::Answer(request, Answer::Deleted)),
            ClientEvent::Ack(span) => Some(self.acks(&span)),
            ClientEvent::ReadBegin(request, result) => {
                self.reading = Some((request, result, Vec::new()));
                None
            }
            ClientEvent::Record(span) => {
                let bytes = self.proto.bytes(&span, &self.input[..self.unread.end]);
                if let Some((_, _, frames)) = &mut self.reading {
                    frames.extend_from_slice(bytes);
                }
                None
            }
            ClientEvent::ReadEnd(_) => {
                self.reading.take().map(|(request, result, frames)| Heard::Records(request, result, frames))
            }
            ClientEvent::Error(RequestId(0), failure) => return Err(ConnectError::Ended(failure)),
            ClientEvent::Error(request, failure) => Some(Heard::Refused(request, failure)),
            // Credit alone may be what an owner waits for.
            ClientEvent::Credit => Some(Heard::Acks(Vec::new())),
            ClientEvent::Proven | ClientEvent::Pong(_) | ClientEvent::Unsubscribed(_) => None,
        })
    }

    fn acks(&self, span: &Span) -> Heard {
        let batches = self.proto.acks(span, &self.input[..self.unread.end]);
        Heard::Acks(batches.map(|batch| (batch.request, batch.results().collect())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug, found on reading: a producer whose link was slower than itself took more memory all the time. Mechanism: what was sent was
    /// let go of when all was, and more came before. Fix: it is let go of as it is sent.
    #[test]
    fn what_is_sent_is_let_go_of_although_more_always_waits() {
        const PIECE: usize = 1000;
        let mut out = Outbox { bytes: vec![0; 10 * PIECE], sent: 0 };
        let mut next = 0_u8;
        for _ in 0..10_000 {
            out.end().extend([next; PIECE]);
            next = next.wrapping_add(1);
            out.sent(PIECE);
            assert_eq!(out.rest().len(), 10 * PIECE);
            assert!(out.bytes.len() <= 2 * out.rest().len());
        }
        // In order.
        let first = next.wrapping_sub(10);
        assert!(out.rest().chunks(PIECE).zip(0..).all(|(piece, nth)| piece == [first.wrapping_add(nth); PIECE]));
    }
}
