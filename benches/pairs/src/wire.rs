//! A client of the server in its smallest form, where each record's fate must be known when it is: makes streams, appends one
//! batch at a time, reads back. And what the server says of itself.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::Range;
use std::time::Duration;

use frame::proto::{AckResult, Client, ClientEvent, Failure, Read, ReadResult, StreamDescription};
use frame::{Frame, Quotas, Retention, Sequence, Settings, StreamId};

use crate::error::PairsError;

/// How long to wait for the server.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of a read's answer.
const READ_BYTES: u32 = 4 << 20;

/// What an answer over HTTP may take.
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// A connection.
pub(crate) struct Wire {
    socket: TcpStream,
    proto: Client,
    input: Vec<u8>,
    unread: Range<usize>,
    out: Vec<u8>,
}

/// What the server answers, or that it refuses.
pub(crate) type Answer<T> = Result<Result<T, Failure>, PairsError>;

impl Wire {
    /// Connects and shakes hands.
    pub(crate) fn connect(address: &str) -> Result<Self, PairsError> {
        let socket = connect(address)?;
        socket.set_nodelay(true).map_err(|error| lost(&error))?;
        let mut out = Vec::new();
        let proto = Client::new(&mut out);
        let mut wire = Self { socket, proto, input: vec![0; 256 << 10], unread: 0..0, out };
        wire.flush()?;
        match wire.hear()? {
            ClientEvent::Welcome(_) => Ok(wire),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes a stream without quotas.
    pub(crate) fn create(&mut self, name: &str, shards: u32, retention: Retention) -> Answer<StreamDescription> {
        self.proto.create_stream(&mut self.out, name, shards, Settings { quotas: Quotas::NONE, retention });
        self.flush()?;
        loop {
            match self.hear()? {
                ClientEvent::Stream(_, stream) => return Ok(Ok(stream)),
                ClientEvent::Error(_, failure) => return Ok(Err(failure)),
                ClientEvent::Credit => {}
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Appends records, as their frames, and waits for what became of each.
    pub(crate) fn append(&mut self, stream: StreamId, records: u32, frames: &[u8]) -> Answer<Vec<AckResult>> {
        self.proto.append(&mut self.out, stream, records, frames);
        self.flush()?;
        let mut results = vec![None; records as usize];
        while results.iter().any(Option::is_none) {
            match self.hear()? {
                ClientEvent::Ack(span) => {
                    let acks = self.proto.acks(&span, &self.input[..self.unread.end]);
                    for batch in acks {
                        for (index, result) in batch.results() {
                            if let Some(slot) = results.get_mut(index as usize) {
                                *slot = Some(result);
                            }
                        }
                    }
                }
                ClientEvent::Error(_, failure) => return Ok(Err(failure)),
                ClientEvent::Credit => {}
                other => return Err(unexpected(&other)),
            }
        }
        Ok(Ok(results.into_iter().flatten().collect()))
    }

    /// Reads all that the one shard of a stream has, checksums verified.
    pub(crate) fn read_all(&mut self, stream: &StreamDescription, mut each: impl FnMut(&Frame<'_>)) -> Answer<()> {
        let Some(shard) = stream.shards.first().map(|shard| shard.shard) else { return Ok(Ok(())) };
        let mut from = Sequence(1);
        loop {
            let read = Read { stream: stream.stream, shard, start: from.into(), bytes_max: READ_BYTES };
            self.proto.read(&mut self.out, &read);
            self.flush()?;
            let mut begun: Option<ReadResult> = None;
            let result = loop {
                match self.hear()? {
                    ClientEvent::ReadBegin(_, result) => begun = Some(result),
                    ClientEvent::Record(span) => {
                        let bytes = self.proto.bytes(&span, &self.input[..self.unread.end]);
                        let frame = Frame::parse(bytes).and_then(|frame| {
                            frame.verify_header(shard)?;
                            frame.verify_payload()?;
                            Ok(frame)
                        });
                        each(&frame.map_err(|error| PairsError::Wire(format!("a record was damaged: {error}")))?);
                    }
                    ClientEvent::ReadEnd(_) => break begun,
                    ClientEvent::Error(_, failure) => return Ok(Err(failure)),
                    ClientEvent::Credit => {}
                    other => return Err(unexpected(&other)),
                }
            };
            match result {
                Some(result) if result.next < result.tip && result.next > from => from = result.next,
                _ => return Ok(Ok(())),
            }
        }
    }

    fn flush(&mut self) -> Result<(), PairsError> {
        let sent = self.socket.write_all(&self.out);
        self.out.clear();
        sent.map_err(|error| lost(&error))
    }

    fn hear(&mut self) -> Result<ClientEvent, PairsError> {
        loop {
            let heard = self.proto.step(&self.input[..self.unread.end], &mut self.unread.start);
            if let Some(event) = heard.map_err(|violation| PairsError::Wire(violation.to_string()))? {
                return Ok(event);
            }
            self.unread = match self.socket.read(&mut self.input) {
                Ok(0) => return Err(lost(&ErrorKind::UnexpectedEof.into())),
                Ok(got) => 0..got,
                Err(error) if error.kind() == ErrorKind::Interrupted => 0..0,
                Err(error) => return Err(lost(&error)),
            };
        }
    }
}

/// What the server says of itself at one time.
pub(crate) struct Metrics(String);

impl Metrics {
    /// Asks for it.
    pub(crate) fn of(admin: &str) -> Result<Self, PairsError> {
        let mut socket = connect(admin)?;
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).map_err(|error| lost(&error))?;
        let mut answer = Vec::new();
        socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(|error| lost(&error))?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match answer.split_whitespace().nth(1) {
            Some("200") => Ok(Self(answer)),
            _ => Err(PairsError::Wire(format!("it answered over HTTP: {}", answer.trim().replace(['\r', '\n'], " ")))),
        }
    }

    /// The sum of a metric over its labels.
    pub(crate) fn sum(&self, name: &str) -> Result<f64, PairsError> {
        let values = self.0.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let values: Vec<f64> = values.filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect();
        match values.is_empty() {
            true => Err(PairsError::Wire(format!("the server has no metric {name}"))),
            false => Ok(values.iter().sum()),
        }
    }
}

/// A connection, whose other end has to answer in time.
pub(crate) fn connect(address: &str) -> Result<TcpStream, PairsError> {
    let socket = TcpStream::connect(address).map_err(|error| lost(&error))?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(|error| lost(&error))?;
    socket.set_write_timeout(Some(PATIENCE)).map_err(|error| lost(&error))?;
    Ok(socket)
}

pub(crate) fn lost(error: &std::io::Error) -> PairsError {
    PairsError::Wire(format!("the connection was lost: {error}"))
}

pub(crate) fn unexpected(event: &ClientEvent) -> PairsError {
    PairsError::Wire(format!("it said what was not asked for: {event:?}"))
}
