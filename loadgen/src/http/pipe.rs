//! One connection to an endpoint, made again when it has ended, and the requests that go over it.
//!
//! Servers end connections that were idle, or have answered enough: a request that was never sent is sent over a new one. One
//! that was is never repeated here, as it may have been carried out.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::api::{self, Failure};
use super::endpoint::{Endpoint, Sender, told};
use super::sign::{BodyHash, Signature};
use super::traffic::{Flight, Outgoing, Traffic};
use super::{HttpError, Wire, error};
use crate::native::Turns;

/// The most that an answer without records may have.
pub(super) const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Text of a body that is none of the API's, in an error.
const SHOWN_BYTES: usize = 80;

/// A request's body, ready to be sent.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) operation: &'static str,
    wire: Wire,
    body: Bytes,
    hash: BodyHash,
    signature: Signature,
    /// How far it is, each time that it is sent.
    pub(super) flight: Rc<Flight>,
}

impl Signed {
    pub(super) fn new(endpoint: &Endpoint, operation: &'static str, wire: Wire, body: Vec<u8>) -> Self {
        let hash = BodyHash::of(&body);
        let signature = sign(endpoint, operation, wire, &hash);
        Self { operation, wire, body: body.into(), hash, signature, flight: Rc::default() }
    }

    /// It is over without an answer: what has not left by now does not leave any more.
    pub(super) fn failed(&self, error: HttpError) -> CallError {
        CallError { error, may_be_done: !self.flight.withdraw() }
    }
}

fn sign(endpoint: &Endpoint, operation: &str, wire: Wire, hash: &BodyHash) -> Signature {
    let target = api::target(operation);
    let headers = [("content-type", wire.content_type()), ("host", endpoint.authority()), ("x-amz-target", &*target)];
    endpoint.signer.sign(&headers, hash)
}

/// Why a request has no answer that is of use.
#[derive(Debug)]
pub(super) struct CallError {
    pub(super) error: HttpError,
    /// Whether it may have been carried out all the same.
    pub(super) may_be_done: bool,
}

impl CallError {
    fn not_done(error: HttpError) -> Self {
        Self { error, may_be_done: false }
    }

    fn unknown(error: HttpError) -> Self {
        Self { error, may_be_done: true }
    }
}

/// What became of one attempt.
enum Failed {
    /// Nothing was sent.
    NotSent,
    Broken(String),
    TooLarge,
}

/// One connection.
pub(super) struct Pipe {
    pub(super) endpoint: Arc<Endpoint>,
    number: u32,
    /// Taken while it is used, where one request is all that goes over it at a time.
    sender: RefCell<Option<Sender>>,
    opening: Mutex<()>,
    pub(super) traffic: Rc<Traffic>,
    /// What is left of the memory of the last answer: all of it, once nothing of that is needed any more.
    answers: RefCell<BytesMut>,
}

impl Pipe {
    /// One that is made when it is first used. Connections are spread over the endpoint's addresses by their number.
    pub(super) fn new(endpoint: &Arc<Endpoint>, number: u32) -> Self {
        Self::in_turns(endpoint, number, &Turns::default())
    }

    /// The same of which it is told how many turns of the core it waits.
    pub(super) fn in_turns(endpoint: &Arc<Endpoint>, number: u32, turns: &Turns) -> Self {
        Self {
            endpoint: Arc::clone(endpoint),
            number,
            sender: RefCell::default(),
            opening: Mutex::default(),
            traffic: Traffic::new(turns),
            answers: RefCell::default(),
        }
    }

    /// Makes the connection unless it is there; whether several requests may be under way.
    pub(super) async fn open(&self) -> Result<bool, HttpError> {
        let sender = self.sender().await?;
        let takes_many = matches!(sender, Sender::Two(_));
        self.give_back(sender);
        Ok(takes_many)
    }

    /// Asks, and reads the answer's shape.
    pub(super) async fn ask<A: DeserializeOwned>(
        &self,
        operation: &'static str,
        request: &impl Serialize,
        within: Duration,
    ) -> Result<A, HttpError> {
        let body = serde_json::to_vec(request).expect("a request is text and numbers");
        let answer = self.answer(operation, Wire::Json, body, within).await?;
        // Some answers are empty.
        let answer = if answer.is_empty() { Bytes::from_static(b"{}") } else { answer };
        serde_json::from_slice(&answer).map_err(|error| self.garbage(operation, &error, &answer))
    }

    /// Asks; the answer as it came.
    pub(super) async fn answer(
        &self,
        operation: &'static str,
        wire: Wire,
        body: Vec<u8>,
        within: Duration,
    ) -> Result<Bytes, HttpError> {
        let mut signed = Signed::new(&self.endpoint, operation, wire, body);
        let answer = self.call(&mut signed, api::answer_bytes_max(operation), within).await;
        answer.map_err(|failed| failed.error)
    }

    /// Sends a request and takes its answer, of so many bytes at most.
    pub(super) async fn call(
        &self,
        signed: &mut Signed,
        bytes_max: usize,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let operation = signed.operation;
        let exchange = async {
            let (response, sender) = self.begin(signed).await?;
            let status = response.status();
            let body = self.whole(response.into_body(), bytes_max).await;
            let body = body.map_err(|failed| self.failed(operation, bytes_max, failed))?;
            self.give_back(sender);
            Ok((status, body))
        };
        let answered = timeout(within, exchange).await;
        let answered = answered.unwrap_or_else(|_| Err(signed.failed(self.silent(within))));
        if answered.is_err() {
            self.forget();
        }
        let (status, body) = answered?;
        if status.is_success() { Ok(body) } else { Err(refused(operation, status, &body)) }
    }

    /// All of an answer's body, of so many bytes at most, where those of the one before it lay, if nothing of that is needed any
    /// more: to be given new pages for each would cost as much as to read it.
    async fn whole(&self, body: Incoming, bytes_max: usize) -> Result<Bytes, Failed> {
        let mut whole = self.answers.take();
        whole.reserve(body.size_hint().lower().min(bytes_max as u64) as usize);
        let mut body = Limited::new(body, bytes_max);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| match error.is::<http_body_util::LengthLimitError>() {
                true => Failed::TooLarge,
                false => Failed::Broken(error.to_string()),
            })?;
            // Trailers mean nothing here.
            if let Ok(data) = frame.into_data() {
                whole.extend_from_slice(&data);
            }
        }
        let answer = whole.split().freeze();
        self.answers.replace(whole);
        Ok(answer)
    }

    /// Sends a request, over a new connection if the one there is has ended; the head of its answer.
    pub(super) async fn begin(&self, signed: &mut Signed) -> Result<(Response<Incoming>, Sender), CallError> {
        for _ in 0..2 {
            signed.flight.waits(&self.traffic);
            let mut sender = self.sender().await.map_err(CallError::not_done)?;
            signed.flight.waits(&self.traffic);
            let request = self.request(&sender, signed);
            match send(&mut sender, request).await {
                Ok(response) => return Ok((response, sender)),
                Err(Failed::NotSent) => self.forget(),
                Err(Failed::Broken(reason)) => return Err(signed.failed(self.broken(signed.operation, reason))),
                Err(failed) => return Err(self.failed(signed.operation, 0, failed)),
            }
        }
        Err(self.failed(signed.operation, 0, Failed::NotSent))
    }

    fn request(&self, sender: &Sender, signed: &mut Signed) -> Request<Outgoing> {
        if !signed.signature.is_fresh() {
            signed.signature = sign(&self.endpoint, signed.operation, signed.wire, &signed.hash);
        }
        let signature = &signed.signature;
        let request = match sender {
            Sender::One(_) => Request::post("/").header(HOST, self.endpoint.authority()),
            Sender::Two(_) => Request::post(self.endpoint.uri()),
        };
        let mut request = request
            .header(CONTENT_TYPE, signed.wire.content_type())
            .header("x-amz-target", api::target(signed.operation))
            .header("x-amz-date", &signature.date)
            .header(AUTHORIZATION, &signature.authorization);
        if let Some(token) = &signature.token {
            request = request.header("x-amz-security-token", token);
        }
        let body = Outgoing::new(signed.body.clone(), &signed.flight, &self.traffic);
        request.body(body).expect("addresses were checked, and credentials are words")
    }

    async fn sender(&self) -> Result<Sender, HttpError> {
        // Who asks for the same connection meanwhile waits for it.
        let _opening = self.opening.lock().await;
        let there = match &mut *self.sender.borrow_mut() {
            Some(Sender::Two(sender)) if !sender.is_closed() => Some(Sender::Two(sender.clone())),
            place => place.take().filter(|sender| matches!(sender, Sender::One(sender) if !sender.is_closed())),
        };
        let sender = match there {
            Some(sender) => sender,
            None => self.endpoint.connect(self.number, &self.traffic).await?,
        };
        if let Sender::Two(sender) = &sender {
            *self.sender.borrow_mut() = Some(Sender::Two(sender.clone()));
        }
        Ok(sender)
    }

    /// Its request has an answer: it may be used again.
    fn give_back(&self, sender: Sender) {
        if let Sender::One(_) = sender {
            *self.sender.borrow_mut() = Some(sender);
        }
    }

    /// What there is of the connection is of no use any more, unless others go on over it.
    fn forget(&self) {
        let mut place = self.sender.borrow_mut();
        if !matches!(&*place, Some(Sender::Two(sender)) if !sender.is_closed()) {
            *place = None;
        }
    }

    fn silent(&self, waited: Duration) -> HttpError {
        HttpError::Silent { url: self.endpoint.url().to_owned(), waited }
    }

    fn broken(&self, operation: &'static str, reason: String) -> HttpError {
        HttpError::Broken { url: self.endpoint.url().to_owned(), operation, reason }
    }

    fn failed(&self, operation: &'static str, bytes_max: usize, failed: Failed) -> CallError {
        let url = self.endpoint.url().to_owned();
        match failed {
            Failed::NotSent => {
                CallError::not_done(self.broken(operation, "it ends before anything is sent".to_owned()))
            }
            Failed::Broken(reason) => CallError::unknown(self.broken(operation, reason)),
            Failed::TooLarge => {
                let what = format!("an answer of more than {bytes_max} bytes");
                CallError::unknown(HttpError::Garbage { url, operation, what })
            }
        }
    }

    /// An answer that is not what was asked for.
    pub(super) fn garbage(&self, operation: &'static str, error: &dyn fmt::Display, answer: &[u8]) -> HttpError {
        let shown = String::from_utf8_lossy(answer.get(..SHOWN_BYTES).unwrap_or(answer)).into_owned();
        let what = format!("{error}, in {shown:?}");
        HttpError::Garbage { url: self.endpoint.url().to_owned(), operation, what }
    }
}

async fn send(sender: &mut Sender, request: Request<Outgoing>) -> Result<Response<Incoming>, Failed> {
    let sent = match sender {
        Sender::One(sender) => {
            sender.ready().await.map_err(|_| Failed::NotSent)?;
            sender.try_send_request(request).await
        }
        Sender::Two(sender) => {
            sender.ready().await.map_err(|_| Failed::NotSent)?;
            sender.try_send_request(request).await
        }
    };
    sent.map_err(|mut failed| match failed.take_message() {
        Some(_) => Failed::NotSent,
        None => Failed::Broken(told(failed.error())),
    })
}

/// What an answer other than a good one says.
pub(super) fn refused(operation: &'static str, status: StatusCode, body: &[u8]) -> CallError {
    let Failure { name, message } = Failure::of(status.as_u16(), body);
    let may_be_done = status.is_server_error() || error::is_servers(&name);
    CallError { error: HttpError::Refused { operation, name, message }, may_be_done }
}
