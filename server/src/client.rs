//! A small blocking client of the native protocol, for the commands around the log and for tests.
//!
//! One thread owns a [`Client`]. Requests are answered one at a time; appends may be many in flight, within the credit that
//! the server grants: [`Client::send`] sends one and [`Client::next_appended`] takes results in the order in which they
//! come. Every record read is checked against its checksums before it is handed out.

mod batch;
mod error;
mod push;
mod socket;
mod streams;

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use frame::proto::{
    self, AckResult, ClientEvent, Failure, Nonce, Read, ReadResult, Secret, Span, Start, StreamDescription, StreamList,
    Welcome,
};
use frame::{Frame, RequestId, ShardId, StreamId};
use rustix::rand::{GetRandomFlags, getrandom};
use rustls::pki_types::ServerName;

pub use batch::Batch;
pub use error::ClientError;
pub use frame::proto::Fault;
pub use push::Pushed;
use socket::Socket;
pub use socket::Trust;

/// Bytes taken from the socket at once.
const RECEIVE_BYTES: usize = 64 << 10;

/// Names asked for at once.
const NAMES_AT_ONCE: u32 = 100;

/// How long to wait for the server.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the connection to be made.
    pub connect: Duration,
    /// For the next bytes of an answer, or for room to send.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts { connect: Duration::from_secs(5), answer: Duration::from_secs(30) }
    }
}

/// What became of one append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Appended {
    /// What [`Client::send`] returned for it.
    pub request: RequestId,
    /// A result a record, in their order; or why nobody knows.
    pub outcome: Result<Vec<AckResult>, Failure>,
}

/// The answer to a read: frames whose checksums are right. A record in parts may go on in the next answer: a
/// [`Joiner`](frame::parts::Joiner) puts it together.
#[derive(Clone, Debug)]
pub struct Records {
    /// Where to go on, and where the shard's end is.
    pub result: ReadResult,
    frames: Vec<u8>,
}

impl Records {
    /// The frames, by rising sequence number.
    pub fn iter(&self) -> impl Iterator<Item = Frame<'_>> {
        let mut rest = &self.frames[..];
        std::iter::from_fn(move || {
            let frame = Frame::parse(rest).ok()?;
            rest = &rest[frame.length()..];
            Some(frame)
        })
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.result.records as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A connection to a server.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    address: SocketAddr,
    timeouts: Timeouts,
    proto: proto::Client,
    welcome: Welcome,
    input: Vec<u8>,
    /// The part of `input` that was received and not yet looked at.
    unread: std::ops::Range<usize>,
    out: Vec<u8>,
    /// Appends without all of their results, with those that came.
    outstanding: BTreeMap<RequestId, Partial>,
    appended: VecDeque<Appended>,
    /// The read whose records are arriving.
    reading: Option<Records>,
    /// What each subscription was granted in all.
    subscriptions: BTreeMap<RequestId, u64>,
    pushed: VecDeque<Pushed>,
}

/// Results of an append that came so far.
#[derive(Debug)]
struct Partial {
    results: Vec<Option<AckResult>>,
    missing: usize,
}

/// An answer to a request other than an append.
#[derive(Debug)]
enum Answer {
    Stream(StreamDescription),
    StreamList(StreamList),
    Deleted,
    Records(Records),
    Pong,
}

/// One step of what the server says.
enum Heard {
    Answer(RequestId, Result<Answer, Failure>),
    Other,
}

impl Client {
    /// Connects and shakes hands.
    ///
    /// # Errors
    /// Nobody is there, or somebody who does not speak the protocol.
    pub fn connect(address: SocketAddr, timeouts: Timeouts) -> Result<Client, ClientError> {
        Client::connect_with(address, timeouts, None, None)
    }

    /// Connects to a server that is to know a secret, and proves that this client does; over TLS where it is to be
    /// trusted under a name.
    ///
    /// # Errors
    /// As of [`Client::connect`], or the secret is another one, or the server is not to be trusted.
    pub fn connect_with(
        address: SocketAddr,
        timeouts: Timeouts,
        secret: Option<Secret>,
        trust: Option<(&Trust, ServerName<'static>)>,
    ) -> Result<Client, ClientError> {
        let refused = |source| ClientError::Connect { address, source };
        let socket = TcpStream::connect_timeout(&address, timeouts.connect).map_err(refused)?;
        socket.set_nodelay(true).map_err(refused)?;
        socket.set_read_timeout(Some(timeouts.answer)).map_err(refused)?;
        socket.set_write_timeout(Some(timeouts.answer)).map_err(refused)?;
        let socket = match trust {
            None => Socket::Clear(socket),
            Some((trust, name)) => Socket::secure(socket, trust, name).map_err(|source| match source.kind() {
                ErrorKind::InvalidData => ClientError::Untrusted { address, source },
                _ => refused(source),
            })?,
        };
        let mut out = Vec::new();
        let mut proto = proto::Client::new(&mut out);
        if let Some(secret) = secret {
            let mut nonce = Nonce::default();
            getrandom(&mut nonce, GetRandomFlags::empty()).map_err(|errno| refused(errno.into()))?;
            proto.require(secret, nonce);
        }
        let nothing = Welcome {
            version: 0,
            reactors: proto::Reactors::default(),
            features: 0,
            epoch: 0,
            append_bytes_max: 0,
            append_records_max: 0,
            credit: proto::Credit::default(),
        };
        let mut client = Client {
            socket,
            address,
            timeouts,
            proto,
            welcome: nothing,
            input: vec![0; RECEIVE_BYTES],
            unread: 0..0,
            out,
            outstanding: BTreeMap::new(),
            appended: VecDeque::new(),
            reading: None,
            subscriptions: BTreeMap::new(),
            pushed: VecDeque::new(),
        };
        client.flush()?;
        while client.welcome.version == 0 {
            client.hear()?;
        }
        Ok(client)
    }

    /// What the server said of itself: its epoch and limits.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Frames of a shard from `start` on: at most `bytes_max` of frames, at least one if there is one.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for what was never given or is damaged, among others.
    pub fn read(
        &mut self,
        stream: StreamId,
        shard: ShardId,
        start: impl Into<Start>,
        bytes_max: u32,
    ) -> Result<Records, ClientError> {
        let start = start.into();
        let request = self.proto.read(&mut self.out, &Read { stream, shard, start, bytes_max });
        match self.answer(request)? {
            Answer::Records(records) => Ok(records),
            _ => Err(ClientError::OtherAnswer),
        }
    }

    /// Asks for a sign of life and waits for it.
    ///
    /// # Errors
    /// The connection's.
    pub fn ping(&mut self) -> Result<(), ClientError> {
        let request = self.proto.ping(&mut self.out);
        match self.answer(request)? {
            Answer::Pong => Ok(()),
            _ => Err(ClientError::OtherAnswer),
        }
    }

    /// Sends a batch without waiting for its results; waits for credit if there is none.
    ///
    /// # Errors
    /// The connection's.
    pub fn send(&mut self, stream: StreamId, batch: &Batch) -> Result<RequestId, ClientError> {
        if batch.is_empty() {
            return Err(ClientError::EmptyBatch);
        }
        while !self.proto.may_append(batch.message_bytes()) {
            self.hear()?;
        }
        let request = self.proto.append(&mut self.out, stream, batch.frame_count(), batch.frames());
        let count = batch.len() as usize;
        self.outstanding.insert(request, Partial { results: vec![None; count], missing: count });
        self.flush()?;
        Ok(request)
    }

    /// The next append whose results are known; `None` if none is outstanding.
    ///
    /// # Errors
    /// The connection's. What is [`Client::outstanding`] then may or may not have been stored.
    pub fn next_appended(&mut self) -> Result<Option<Appended>, ClientError> {
        loop {
            if let Some(appended) = self.appended.pop_front() {
                return Ok(Some(appended));
            }
            if self.outstanding.is_empty() {
                return Ok(None);
            }
            self.hear()?;
        }
    }

    /// Sends a batch and waits for its results, a result a record, however many frames that takes.
    ///
    /// # Errors
    /// The connection's, or the server's word that nobody knows. Appends sent before keep their results for
    /// [`Client::next_appended`].
    pub fn append(&mut self, stream: StreamId, batch: &Batch) -> Result<Vec<AckResult>, ClientError> {
        let request = self.send(stream, batch)?;
        loop {
            if let Some(at) = self.appended.iter().position(|appended| appended.request == request) {
                let appended = self.appended.remove(at).expect("it was just found there");
                return appended.outcome.map_err(ClientError::Refused);
            }
            self.hear()?;
        }
    }

    /// Appends whose results have not all come, oldest first.
    pub fn outstanding(&self) -> impl Iterator<Item = RequestId> + '_ {
        self.outstanding.keys().copied()
    }

    /// Sends what was made and waits for the answer to `request`.
    fn answer(&mut self, request: RequestId) -> Result<Answer, ClientError> {
        self.flush()?;
        loop {
            match self.hear()? {
                Heard::Answer(of, answer) if of == request => return answer.map_err(ClientError::Refused),
                // Of a sign of life that was asked for before, and was not needed.
                Heard::Answer(_, Ok(Answer::Pong)) | Heard::Other => {}
                Heard::Answer(..) => return Err(ClientError::OtherAnswer),
            }
        }
    }

    fn flush(&mut self) -> Result<(), ClientError> {
        let sent = self.socket.write_all(&self.out).and_then(|()| self.socket.flush());
        self.out.clear();
        match sent {
            Ok(()) => Ok(()),
            // The server may have said why before it closed: that is worth more than the broken pipe.
            Err(error) if !is_timeout(&error) => Err(self.last_words().unwrap_or_else(|| self.lost(error))),
            Err(error) => Err(self.lost(error)),
        }
    }

    /// The failure that the server sent before it ended the connection, if it did.
    fn last_words(&mut self) -> Option<ClientError> {
        loop {
            match self.hear() {
                Ok(_) => {}
                Err(error @ ClientError::Ended(_)) => return Some(error),
                Err(_) => return None,
            }
        }
    }

    fn lost(&self, source: std::io::Error) -> ClientError {
        let unanswered = self.outstanding.len();
        if is_timeout(&source) {
            ClientError::Silent { address: self.address, waited: self.timeouts.answer, unanswered }
        } else {
            ClientError::Lost { address: self.address, unanswered, source }
        }
    }

    /// Takes in the next thing that the server says, waiting for it.
    fn hear(&mut self) -> Result<Heard, ClientError> {
        loop {
            let input = &self.input[..self.unread.end];
            if let Some(event) = self.proto.step(input, &mut self.unread.start).map_err(ClientError::Violation)? {
                return self.take(event);
            }
            let got = loop {
                match self.socket.read(&mut self.input) {
                    Ok(0) => break Err(ErrorKind::UnexpectedEof.into()),
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            self.unread = 0..got.map_err(|error| self.lost(error))?;
        }
    }

    fn take(&mut self, event: ClientEvent) -> Result<Heard, ClientError> {
        match event {
            ClientEvent::Welcome(welcome) => self.welcome = welcome,
            ClientEvent::Challenge => {
                if !self.proto.prove(&mut self.out) {
                    return Err(ClientError::NoSecret { address: self.address });
                }
                self.flush()?;
            }
            ClientEvent::Credit | ClientEvent::Proven => {}
            ClientEvent::Ack(span) => self.take_acks(&span),
            ClientEvent::Stream(request, stream) => return Ok(Heard::Answer(request, Ok(Answer::Stream(stream)))),
            ClientEvent::Deleted(request) => return Ok(Heard::Answer(request, Ok(Answer::Deleted))),
            ClientEvent::StreamList(request, list) => return Ok(Heard::Answer(request, Ok(Answer::StreamList(list)))),
            ClientEvent::Pong(request) => return Ok(Heard::Answer(request, Ok(Answer::Pong))),
            ClientEvent::ReadBegin(_, result) => self.reading = Some(Records { result, frames: Vec::new() }),
            ClientEvent::Record(span) => self.take_record(&span)?,
            ClientEvent::ReadEnd(request) => {
                let records = self.reading.take().ok_or(ClientError::OtherAnswer)?;
                if self.subscriptions.contains_key(&request) {
                    if records.result.children.is_some() {
                        // A closed shard has ended, and with it what was to be had of it.
                        self.subscriptions.remove(&request);
                    }
                    self.pushed.push_back(Pushed { subscription: request, outcome: Ok(records) });
                    return Ok(Heard::Other);
                }
                return Ok(Heard::Answer(request, Ok(Answer::Records(records))));
            }
            ClientEvent::Unsubscribed(request) => drop(self.subscriptions.remove(&request)),
            ClientEvent::Error(RequestId(0), failure) => return Err(ClientError::Ended(failure)),
            ClientEvent::Error(request, failure) => {
                if self.subscriptions.remove(&request).is_some() {
                    self.pushed.push_back(Pushed { subscription: request, outcome: Err(failure) });
                    return Ok(Heard::Other);
                }
                if self.outstanding.remove(&request).is_none() {
                    return Ok(Heard::Answer(request, Err(failure)));
                }
                self.appended.push_back(Appended { request, outcome: Err(failure) });
            }
        }
        Ok(Heard::Other)
    }

    fn take_acks(&mut self, span: &Span) {
        for batch in self.proto.acks(span, &self.input[..self.unread.end]) {
            let Some(partial) = self.outstanding.get_mut(&batch.request) else { continue };
            for (index, result) in batch.results() {
                if let Some(slot) = partial.results.get_mut(index as usize).filter(|slot| slot.is_none()) {
                    *slot = Some(result);
                    partial.missing -= 1;
                }
            }
            if partial.missing == 0
                && let Some(partial) = self.outstanding.remove(&batch.request)
            {
                let results = partial.results.into_iter().flatten().collect();
                self.appended.push_back(Appended { request: batch.request, outcome: Ok(results) });
            }
        }
    }

    fn take_record(&mut self, span: &Span) -> Result<(), ClientError> {
        let bytes = self.proto.bytes(span, &self.input[..self.unread.end]);
        let records = self.reading.as_mut().ok_or(ClientError::OtherAnswer)?;
        let shard = records.result.shard;
        let checked = Frame::parse(bytes).and_then(|frame| {
            frame.verify_header(shard)?;
            frame.verify_payload()
        });
        checked.map_err(|error| ClientError::Corrupt { shard, error })?;
        records.frames.extend_from_slice(bytes);
        Ok(())
    }
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
