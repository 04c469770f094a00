//! The server's end of a native connection, without I/O.
//!
//! ```text
//!   new -> [await Hello] --Hello----------------------> [open] --violation--> [closed]
//!                        \--Hello--> [await Proof] --Proof--/
//! ```

use std::ops::{Range, RangeInclusive};

use super::access::{Nonce, PROOF_BYTES, Secret, Side};
use super::decoder::{Decoder, Span, Unit};
use super::message::{
    Append, Challenge, Control, CreateStream, Credit, DeleteStream, Deleted, DescribeStream, ErrorCode, Failure, Grant,
    Hello, Kind, ListStreams, MergeShards, MoveShard, Ping, Pong, Proof, Proven, Reactors, Read, SetQuotas,
    SetRetention, SplitShard, Subscribe, Unsubscribe, Unsubscribed, Welcome,
};
use super::{APPEND_FIXED_BYTES, HEADER_BYTES, VERSION, Violation};
use crate::id::RequestId;
use crate::limits::{APPEND_BYTES_MAX, APPEND_RECORDS_MAX};

/// What a server grants to one connection.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Bytes of appends that may be unacknowledged.
    pub window_bytes: u64,
    /// Appends that may be unacknowledged.
    pub window_batches: u64,
}

/// What a client asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ServerEvent {
    /// The handshake: answer by [`Server::welcome`].
    Hello(RequestId),
    /// A Hello, where a secret is needed: answer by [`Server::challenge`].
    Challenge(RequestId),
    /// Make a stream.
    CreateStream(RequestId, CreateStream),
    /// Other quotas for a stream.
    SetQuotas(RequestId, SetQuotas),
    /// Split a shard.
    SplitShard(RequestId, SplitShard),
    /// Merge two shards.
    MergeShards(RequestId, MergeShards),
    /// Move a shard to another reactor.
    MoveShard(RequestId, MoveShard),
    /// Keep more or less of a stream.
    SetRetention(RequestId, SetRetention),
    /// Delete a stream.
    DeleteStream(RequestId, DeleteStream),
    /// Describe a stream.
    DescribeStream(RequestId, DescribeStream),
    /// List streams.
    ListStreams(RequestId, ListStreams),
    /// Read a shard.
    Read(RequestId, Read),
    /// Push a shard's records.
    Subscribe(RequestId, Subscribe),
    /// More credit for a subscription.
    Grant(RequestId, Grant),
    /// End a subscription. Answer by [`Server::unsubscribed`].
    Unsubscribe(RequestId),
    /// Are you there? Answer by [`Server::pong`].
    Ping(RequestId),
    /// An append begins; its records follow.
    AppendBegin(RequestId, Append),
    /// One frame of the append; its length was checked, its contents were not.
    Record(Span),
    /// The append is whole, and had as many records as it said. `bytes` of credit are to be given back after its ack.
    AppendEnd {
        /// Which.
        request: RequestId,
        /// Its message's bytes.
        bytes: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct OpenAppend {
    said: u32,
    seen: u32,
    bytes: u64,
}

/// What a client has to prove, and how far it has come.
#[derive(Debug)]
struct Access {
    secret: Secret,
    nonce: Nonce,
    /// The request of its Hello.
    asked: Option<RequestId>,
    /// This side's own proof, once the client's was right.
    proof: Option<[u8; PROOF_BYTES]>,
}

/// The server's end of a native connection.
#[derive(Debug)]
pub struct Server {
    decoder: Decoder,
    greeted: bool,
    access: Option<Box<Access>>,
    features: u64,
    reactors: Reactors,
    granted: Credit,
    used: Credit,
    settled: Credit,
    limits: ServerLimits,
    append: Option<OpenAppend>,
}

impl Server {
    /// A connection that has just been accepted.
    pub fn new() -> Server {
        Server {
            decoder: Decoder::new(),
            greeted: false,
            access: None,
            features: 0,
            reactors: Reactors::default(),
            granted: Credit::default(),
            used: Credit::default(),
            settled: Credit::default(),
            limits: ServerLimits { window_bytes: 0, window_batches: 0 },
            append: None,
        }
    }

    /// Nobody is heard who does not know this secret. `nonce` was drawn for this connection. Before its first step.
    pub fn require(&mut self, secret: Secret, nonce: Nonce) {
        self.access = Some(Box::new(Access { secret, nonce, asked: None, proof: None }));
    }

    /// Whether the client has not proven yet what it has to.
    pub fn awaits_proof(&self) -> bool {
        self.access.is_some() && !self.greeted
    }

    /// The next event in `input` from `at`, which moves on; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The client broke the protocol: tell it by [`Server::violation`], then close.
    pub fn step(&mut self, input: &[u8], at: &mut usize) -> Result<Option<ServerEvent>, Violation> {
        let Some(unit) = self.decoder.step(input, at, Kind::client_bounds)? else { return Ok(None) };
        match unit {
            Unit::Fixed { kind, request, frames_bytes, span } => {
                if !self.greeted && !matches!(kind, Kind::Hello | Kind::Proof) {
                    return Err(Violation::Handshake);
                }
                self.fixed(kind, request, frames_bytes, &span, input).map(Some)
            }
            Unit::Frame(span) => {
                let append = self.append.as_mut().ok_or(Violation::Malformed("a frame outside an append"))?;
                append.seen += 1;
                if append.seen > append.said {
                    return Err(Violation::FrameCount { said: append.said as usize });
                }
                Ok(Some(ServerEvent::Record(span)))
            }
            Unit::End(request) => {
                let append = self.append.take().ok_or(Violation::Malformed("the end of no append"))?;
                if append.seen != append.said {
                    return Err(Violation::FrameCount { said: append.said as usize });
                }
                Ok(Some(ServerEvent::AppendEnd { request, bytes: append.bytes }))
            }
        }
    }

    /// The next frame of the append that is open, if it lies whole in `input` from `at`, which moves on: the short way for
    /// [`ServerEvent::Record`]. With `None` nothing has changed, and [`Server::step`] goes on.
    #[inline]
    pub fn frame_within(&mut self, input: &[u8], at: &mut usize) -> Option<Range<usize>> {
        let append = self.append.as_mut().filter(|append| append.seen < append.said)?;
        let frame = self.decoder.frame_within(input, at)?;
        append.seen += 1;
        Some(frame)
    }

    /// The bytes of a span that the last step returned for this `input`.
    pub fn bytes<'a>(&'a self, span: &Span, input: &'a [u8]) -> &'a [u8] {
        self.decoder.bytes(span, input)
    }

    /// The length of the next frame of the append that is open, if `input` from `at` does not hold the rest of it: the next step
    /// gathers it.
    pub fn frame_in_pieces(&self, input: &[u8], at: usize) -> Option<usize> {
        self.decoder.frame_in_pieces(input, at)
    }

    /// The gathered bytes of the span that the last step returned, for `spare`, whose memory is used for the next ones. This
    /// connection does not have them any more.
    pub fn take_gathered(&mut self, spare: Vec<u8>) -> Vec<u8> {
        self.decoder.take_gathered(spare)
    }

    fn fixed(
        &mut self,
        kind: Kind,
        request: RequestId,
        frames_bytes: usize,
        span: &Span,
        input: &[u8],
    ) -> Result<ServerEvent, Violation> {
        let fixed = self.decoder.bytes(span, input);
        Ok(match kind {
            Kind::Hello => {
                let hello = Hello::decode(fixed)?;
                let spoken: RangeInclusive<u16> = hello.version_min..=hello.version_max;
                if !spoken.contains(&VERSION) {
                    return Err(Violation::Version(hello.version_max));
                }
                if self.greeted || self.access.as_ref().is_some_and(|access| access.asked.is_some()) {
                    return Err(Violation::Kind(kind as u8));
                }
                match &mut self.access {
                    Some(access) => {
                        access.asked = Some(request);
                        ServerEvent::Challenge(request)
                    }
                    None => {
                        self.greeted = true;
                        ServerEvent::Hello(request)
                    }
                }
            }
            Kind::Proof => {
                let Proof { nonce, proof } = Proof::decode(fixed)?;
                let access = self.access.as_mut().filter(|_| !self.greeted).ok_or(Violation::Kind(kind as u8))?;
                let request = access.asked.ok_or(Violation::Handshake)?;
                if !access.secret.verify(Side::Client, &access.nonce, &nonce, &proof) {
                    return Err(Violation::Access);
                }
                access.proof = Some(access.secret.proof(Side::Server, &access.nonce, &nonce));
                self.greeted = true;
                ServerEvent::Hello(request)
            }
            Kind::CreateStream => ServerEvent::CreateStream(request, CreateStream::decode(fixed)?),
            Kind::SetQuotas => ServerEvent::SetQuotas(request, SetQuotas::decode(fixed)?),
            Kind::SplitShard => ServerEvent::SplitShard(request, SplitShard::decode(fixed)?),
            Kind::MergeShards => ServerEvent::MergeShards(request, MergeShards::decode(fixed)?),
            Kind::MoveShard => ServerEvent::MoveShard(request, MoveShard::decode(fixed)?),
            Kind::SetRetention => ServerEvent::SetRetention(request, SetRetention::decode(fixed)?),
            Kind::DeleteStream => ServerEvent::DeleteStream(request, DeleteStream::decode(fixed)?),
            Kind::DescribeStream => ServerEvent::DescribeStream(request, DescribeStream::decode(fixed)?),
            Kind::ListStreams => ServerEvent::ListStreams(request, ListStreams::decode(fixed)?),
            Kind::Read => ServerEvent::Read(request, Read::decode(fixed)?),
            Kind::Ping => Ping::decode(fixed).map(|Ping| ServerEvent::Ping(request))?,
            Kind::Subscribe => ServerEvent::Subscribe(request, Subscribe::decode(fixed)?),
            Kind::Grant => ServerEvent::Grant(request, Grant::decode(fixed)?),
            Kind::Unsubscribe => Unsubscribe::decode(fixed).map(|Unsubscribe| ServerEvent::Unsubscribe(request))?,
            Kind::Append => {
                let append = Append::decode(fixed)?;
                self.begin_append(append, frames_bytes)?;
                ServerEvent::AppendBegin(request, append)
            }
            _ => return Err(Violation::Kind(kind as u8)),
        })
    }

    fn begin_append(&mut self, append: Append, frames_bytes: usize) -> Result<(), Violation> {
        if append.records == 0 || append.records as usize > APPEND_RECORDS_MAX {
            return Err(Violation::FrameCount { said: append.records as usize });
        }
        let bytes = (HEADER_BYTES + APPEND_FIXED_BYTES + frames_bytes) as u64;
        let is_alone = self.used.batches == self.settled.batches && self.limits.window_batches > 0;
        self.used.bytes += bytes;
        self.used.batches += 1;
        if !is_alone && (self.used.bytes > self.granted.bytes || self.used.batches > self.granted.batches) {
            return Err(Violation::Credit);
        }
        self.append = Some(OpenAppend { said: append.records, seen: 0, bytes });
        Ok(())
    }

    /// What the answer to Hello will say of this server: [`FEATURE_NOT_DURABLE`](super::FEATURE_NOT_DURABLE),
    /// [`FEATURE_THREADS`](super::FEATURE_THREADS).
    pub fn offer(&mut self, features: u64) {
        self.features = features;
    }

    /// What the answer to Hello will say of this server's reactors.
    pub fn tell_reactors(&mut self, reactors: Reactors) {
        self.reactors = reactors;
    }

    /// Answers a Hello where a secret is needed.
    pub fn challenge(&self, out: &mut Vec<u8>, request: RequestId) {
        if let Some(access) = &self.access {
            Challenge { nonce: access.nonce }.encode(out, request);
        }
    }

    /// Answers a Hello, with the first credit.
    pub fn welcome(&mut self, out: &mut Vec<u8>, request: RequestId, epoch: u64, limits: ServerLimits) {
        self.limits = limits;
        self.granted = Credit { bytes: limits.window_bytes, batches: limits.window_batches };
        let welcome = Welcome {
            version: VERSION,
            reactors: self.reactors,
            features: self.features,
            epoch,
            append_bytes_max: APPEND_BYTES_MAX as u32,
            append_records_max: APPEND_RECORDS_MAX as u32,
            credit: self.granted,
        };
        if let Some(proof) = self.access.as_ref().and_then(|access| access.proof) {
            Proven { proof }.encode(out, request);
        }
        welcome.encode(out, request);
    }

    /// Counts an append of so many bytes as answered.
    pub fn settled(&mut self, bytes: u64) {
        self.settled.bytes += bytes;
        self.settled.batches += 1;
    }

    /// Lets so many bytes be unanswered from now on, and returns the totals for the message that says so. What was granted
    /// before stays granted.
    pub fn grant(&mut self, window_bytes: u64) -> Credit {
        self.granted.bytes = self.granted.bytes.max(self.settled.bytes + window_bytes);
        self.granted.batches = self.settled.batches + self.limits.window_batches;
        self.granted
    }

    /// Answers a Ping.
    pub fn pong(out: &mut Vec<u8>, request: RequestId) {
        Pong.encode(out, request);
    }

    /// Answers an Unsubscribe.
    pub fn unsubscribed(out: &mut Vec<u8>, request: RequestId) {
        Unsubscribed.encode(out, request);
    }

    /// Answers CreateStream, SetQuotas, SetRetention, SplitShard, MergeShards, MoveShard or DescribeStream.
    pub fn stream(out: &mut Vec<u8>, request: RequestId, description: &super::StreamDescription) {
        description.encode(out, request);
    }

    /// Answers DeleteStream.
    pub fn deleted(out: &mut Vec<u8>, request: RequestId) {
        Deleted.encode(out, request);
    }

    /// Answers ListStreams.
    pub fn stream_list(out: &mut Vec<u8>, request: RequestId, list: &super::StreamList) {
        list.encode(out, request);
    }

    /// Answers any request with an error.
    pub fn failure(out: &mut Vec<u8>, request: RequestId, failure: &Failure) {
        failure.encode(out, request);
    }

    /// Tells the client why its connection is closed.
    pub fn violation(out: &mut Vec<u8>, violation: &Violation) {
        let code = match violation {
            Violation::Slow | Violation::Crowded => ErrorCode::Busy,
            Violation::Access => ErrorCode::AccessDenied,
            _ => ErrorCode::Protocol,
        };
        Failure::new(code, violation.to_string()).encode(out, RequestId(0));
    }
}

impl Default for Server {
    fn default() -> Server {
        Server::new()
    }
}
