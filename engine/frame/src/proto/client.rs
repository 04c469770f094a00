//! The client's end of a native connection, without I/O.
//!
//! ```text
//!   new -> [greeting] ----------------------------Welcome--> [open] --violation or Error with request 0--> [closed]
//!                     \--Challenge--> [proving] --Proven--/
//! ```

use super::access::{Nonce, Secret, Side};
use super::decoder::{Decoder, Span, Unit};
use super::message::{
    AckBatch, Append, Challenge, Control, CreateStream, Credit, DeleteStream, Deleted, DescribeStream, Failure, Grant,
    Hello, Kind, ListStreams, MergeShards, MoveShard, Ping, Proof, Proven, Read, ReadResult, SetQuotas, SetRetention,
    SplitShard, StreamDescription, StreamList, Subscribe, Unsubscribe, Unsubscribed, Welcome,
};
use super::{VERSION, Violation};
use crate::id::{RequestId, ShardId, StreamId};
use crate::quotas::Quotas;
use crate::retention::{Retention, Settings};

/// What the server said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientEvent {
    /// The server wants a proof: send it by [`Client::prove`].
    Challenge,
    /// The server has proven that it knows the secret as well. Its Welcome follows.
    Proven,
    /// The handshake is done; appends may begin.
    Welcome(Welcome),
    /// The answer to CreateStream, SetQuotas, SetRetention, SplitShard, MergeShards, MoveShard or DescribeStream.
    Stream(RequestId, StreamDescription),
    /// The answer to DeleteStream.
    Deleted(RequestId),
    /// The answer to ListStreams.
    StreamList(RequestId, StreamList),
    /// Results of appends: walk them by [`Client::acks`]. Credit has been taken up.
    Ack(Span),
    /// More credit; it has been taken up.
    Credit,
    /// The answer to Read, or a push of a subscription, begins; its records follow.
    ReadBegin(RequestId, ReadResult),
    /// One frame of the read result; its length was checked, its contents were not.
    Record(Span),
    /// The read result is whole.
    ReadEnd(RequestId),
    /// Nothing more of this subscription follows.
    Unsubscribed(RequestId),
    /// The answer to Ping.
    Pong(RequestId),
    /// A request failed; with request 0, the connection did.
    Error(RequestId, Failure),
}

/// What both sides prove.
#[derive(Debug)]
struct Access {
    secret: Secret,
    nonce: Nonce,
    /// The server's nonce, once it asked.
    asked: Option<Nonce>,
    /// Whether the server has proven it.
    is_proven: bool,
}

/// The client's end of a native connection.
#[derive(Debug)]
pub struct Client {
    decoder: Decoder,
    welcomed: bool,
    access: Option<Access>,
    credit: Credit,
    /// Appends that may be unanswered.
    window_batches: u64,
    used: Credit,
    read: Option<(u32, u32)>,
    next_request: u64,
}

impl Client {
    /// A new connection; appends its Hello to `out`.
    pub fn new(out: &mut Vec<u8>) -> Client {
        let hello = Hello { version_min: VERSION, version_max: VERSION, features: 0 };
        hello.encode(out, RequestId(0));
        let (credit, used) = (Credit::default(), Credit::default());
        Client {
            decoder: Decoder::new(),
            welcomed: false,
            access: None,
            credit,
            window_batches: 0,
            used,
            read: None,
            next_request: 1,
        }
    }

    /// A client within the server's own process: there is no handshake, and it sends nothing.
    pub fn inside() -> Client {
        Client { welcomed: true, ..Client::new(&mut Vec::new()) }
    }

    /// Speaks only to a server that knows this secret. `nonce` was drawn for this connection. Before its first step.
    pub fn require(&mut self, secret: Secret, nonce: Nonce) {
        self.access = Some(Access { secret, nonce, asked: None, is_proven: false });
    }

    /// Answers a Challenge. `false` if this client has no secret.
    pub fn prove(&self, out: &mut Vec<u8>) -> bool {
        let Some(Access { secret, nonce, asked: Some(asked), .. }) = &self.access else { return false };
        Proof { nonce: *nonce, proof: secret.proof(Side::Client, asked, nonce) }.encode(out, RequestId(0));
        true
    }

    /// The next event in `input` from `at`, which moves on; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The server broke the protocol: close.
    pub fn step(&mut self, input: &[u8], at: &mut usize) -> Result<Option<ClientEvent>, Violation> {
        let Some(unit) = self.decoder.step(input, at, Kind::server_bounds)? else { return Ok(None) };
        match unit {
            Unit::Fixed { kind, request, span, .. } => self.fixed(kind, request, span, input).map(Some),
            Unit::Frame(span) => {
                let (said, seen) = self.read.as_mut().ok_or(Violation::Malformed("a frame outside a read result"))?;
                *seen += 1;
                if *seen > *said {
                    return Err(Violation::FrameCount { said: *said as usize });
                }
                Ok(Some(ClientEvent::Record(span)))
            }
            Unit::End(request) => {
                let (said, seen) = self.read.take().ok_or(Violation::Malformed("the end of no read result"))?;
                if said != seen {
                    return Err(Violation::FrameCount { said: said as usize });
                }
                Ok(Some(ClientEvent::ReadEnd(request)))
            }
        }
    }

    fn fixed(&mut self, kind: Kind, request: RequestId, span: Span, input: &[u8]) -> Result<ClientEvent, Violation> {
        let fixed = self.decoder.bytes(&span, input);
        if !self.welcomed && !matches!(kind, Kind::Challenge | Kind::Proven | Kind::Welcome | Kind::Error) {
            return Err(Violation::Handshake);
        }
        Ok(match kind {
            Kind::Challenge if !self.welcomed => {
                let Challenge { nonce } = Challenge::decode(fixed)?;
                if let Some(access) = &mut self.access {
                    access.asked = Some(nonce);
                }
                ClientEvent::Challenge
            }
            Kind::Proven if !self.welcomed => {
                let Proven { proof } = Proven::decode(fixed)?;
                let access = self.access.as_mut().ok_or(Violation::Kind(kind as u8))?;
                let asked = access.asked.ok_or(Violation::Handshake)?;
                if !access.secret.verify(Side::Server, &asked, &access.nonce, &proof) {
                    return Err(Violation::Access);
                }
                access.is_proven = true;
                ClientEvent::Proven
            }
            Kind::Welcome => {
                if self.access.as_ref().is_some_and(|access| !access.is_proven) {
                    return Err(Violation::Unproven);
                }
                let welcome = Welcome::decode(fixed)?;
                if welcome.version != VERSION {
                    return Err(Violation::Version(welcome.version));
                }
                self.welcomed = true;
                self.credit = welcome.credit;
                self.window_batches = welcome.credit.batches;
                ClientEvent::Welcome(welcome)
            }
            Kind::Stream => ClientEvent::Stream(request, StreamDescription::decode(fixed)?),
            Kind::Deleted => Deleted::decode(fixed).map(|Deleted| ClientEvent::Deleted(request))?,
            Kind::StreamList => ClientEvent::StreamList(request, StreamList::decode(fixed)?),
            Kind::Ack => {
                let (credit, mut batches) = AckBatch::decode(fixed)?;
                while batches.next()?.is_some() {}
                self.take_credit(credit);
                ClientEvent::Ack(span)
            }
            Kind::Credit => {
                let credit = Credit::decode(fixed)?;
                self.take_credit(credit);
                ClientEvent::Credit
            }
            Kind::ReadResult => {
                let result = ReadResult::decode(fixed)?;
                self.read = Some((result.records, 0));
                ClientEvent::ReadBegin(request, result)
            }
            Kind::Unsubscribed => Unsubscribed::decode(fixed).map(|Unsubscribed| ClientEvent::Unsubscribed(request))?,
            Kind::Pong => ClientEvent::Pong(request),
            Kind::Error => ClientEvent::Error(request, Failure::decode(fixed)?),
            _ => return Err(Violation::Kind(kind as u8)),
        })
    }

    /// Totals only grow: an Ack that was overtaken by a newer one takes nothing back.
    fn take_credit(&mut self, credit: Credit) {
        self.credit.bytes = self.credit.bytes.max(credit.bytes);
        self.credit.batches = self.credit.batches.max(credit.batches);
    }

    /// The bytes of a span that the last step returned for this `input`.
    pub fn bytes<'a>(&'a self, span: &Span, input: &'a [u8]) -> &'a [u8] {
        self.decoder.bytes(span, input)
    }

    /// The batches of an Ack whose span the last step returned for this `input`.
    pub fn acks<'a>(&'a self, span: &Span, input: &'a [u8]) -> impl Iterator<Item = AckBatch<'a>> + 'a {
        let decoded = AckBatch::decode(self.decoder.bytes(span, input));
        let mut batches = decoded.ok().map(|(_, batches)| batches);
        std::iter::from_fn(move || batches.as_mut()?.next().ok().flatten())
    }

    /// Whether an Append message of `bytes` may be sent now: there is credit, or none is unanswered.
    pub fn may_append(&self, bytes: usize) -> bool {
        let has_credit = self.used.batches < self.credit.batches && self.used.bytes + bytes as u64 <= self.credit.bytes;
        // Each answer gives the credit of one back.
        let is_alone = self.credit.batches >= self.used.batches + self.window_batches;
        self.welcomed && (has_credit || is_alone)
    }

    /// What may be sent although others are unanswered.
    pub fn credit_left(&self) -> Credit {
        let bytes = self.credit.bytes.saturating_sub(self.used.bytes);
        Credit { bytes, batches: self.credit.batches.saturating_sub(self.used.batches) }
    }

    /// Counts an Append message of `bytes`, which the caller built by [`Append`] and is about to send.
    pub fn appended(&mut self, bytes: usize) {
        self.used.bytes += bytes as u64;
        self.used.batches += 1;
    }

    /// A request number that this connection has not used.
    pub fn next_request(&mut self) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        request
    }

    /// Asks for a stream to be made. With quotas alone all of it is kept, for ever.
    pub fn create_stream(
        &mut self,
        out: &mut Vec<u8>,
        name: &str,
        shards: u32,
        settings: impl Into<Settings>,
    ) -> RequestId {
        self.request(out, &CreateStream { name: name.to_owned(), shards, settings: settings.into() })
    }

    /// Asks for a stream to have other quotas.
    pub fn set_quotas(&mut self, out: &mut Vec<u8>, name: &str, quotas: Quotas) -> RequestId {
        self.request(out, &SetQuotas { name: name.to_owned(), quotas })
    }

    /// Asks for a shard to be split, so that the second child begins at a hash key.
    pub fn split_shard(&mut self, out: &mut Vec<u8>, name: &str, shard: ShardId, at: u128) -> RequestId {
        self.request(out, &SplitShard { name: name.to_owned(), shard, at })
    }

    /// Asks for two shards to be merged.
    pub fn merge_shards(&mut self, out: &mut Vec<u8>, name: &str, shard: ShardId, adjacent: ShardId) -> RequestId {
        self.request(out, &MergeShards { name: name.to_owned(), shard, adjacent })
    }

    /// Asks for a shard to be moved to another reactor.
    pub fn move_shard(&mut self, out: &mut Vec<u8>, name: &str, shard: ShardId, reactor: u32) -> RequestId {
        self.request(out, &MoveShard { name: name.to_owned(), shard, reactor })
    }

    /// Asks for more or less of a stream to be kept.
    pub fn set_retention(&mut self, out: &mut Vec<u8>, name: &str, retention: Retention) -> RequestId {
        self.request(out, &SetRetention { name: name.to_owned(), retention })
    }

    /// Deletes a stream, with all that is in it.
    pub fn delete_stream(&mut self, out: &mut Vec<u8>, name: &str) -> RequestId {
        self.request(out, &DeleteStream { name: name.to_owned() })
    }

    /// Asks what a stream is.
    pub fn describe_stream(&mut self, out: &mut Vec<u8>, name: &str) -> RequestId {
        self.request(out, &DescribeStream { name: name.to_owned() })
    }

    /// Asks for names after `after`.
    pub fn list_streams(&mut self, out: &mut Vec<u8>, after: &str, limit: u32) -> RequestId {
        self.request(out, &ListStreams { after: after.to_owned(), limit })
    }

    /// Asks for records.
    pub fn read(&mut self, out: &mut Vec<u8>, read: &Read) -> RequestId {
        self.request(out, read)
    }

    /// Asks for a shard's records to be pushed.
    pub fn subscribe(&mut self, out: &mut Vec<u8>, subscribe: &Subscribe) -> RequestId {
        self.request(out, subscribe)
    }

    /// Grants the subscription of this request more credit: `granted` bytes of frames in all.
    pub fn grant(out: &mut Vec<u8>, subscription: RequestId, granted: u64) {
        Grant { granted }.encode(out, subscription);
    }

    /// Asks for the end of the subscription of this request.
    pub fn unsubscribe(out: &mut Vec<u8>, subscription: RequestId) {
        Unsubscribe.encode(out, subscription);
    }

    /// Asks for a sign of life.
    pub fn ping(&mut self, out: &mut Vec<u8>) -> RequestId {
        self.request(out, &Ping)
    }

    /// Appends one Append message to `out`, made of frames that were encoded before, and counts it.
    pub fn append(&mut self, out: &mut Vec<u8>, stream: StreamId, records: u32, frames: &[u8]) -> RequestId {
        let request = self.next_request();
        let start = Append::begin(out, request);
        out.extend_from_slice(frames);
        Append { stream, records }.finish(out, start);
        self.appended(out.len() - start);
        request
    }

    fn request(&mut self, out: &mut Vec<u8>, message: &impl Control) -> RequestId {
        let request = self.next_request();
        message.encode(out, request);
        request
    }
}
