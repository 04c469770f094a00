//! From an HTTP request to an action and back: what does not depend on the action.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use wire::{Codec, Error, ErrorKind, PIECE_BYTES, Pieces, event_stream, shape};

use super::access::Presented;
use super::action::{Events, Said};
use super::body::{BODY_BYTES_MAX, Bodies, BodyRoom, pass_over, receive};
use super::cors::{self, Page};
use super::service::Service;
use super::{Common, action, leases, metrics, sts};
use crate::http_server::Answer;
use crate::room::{Holding, Taken};

pub(super) const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const TARGET_PREFIX: &str = "Kinesis_20131202.";
/// What signatures are for.
const SERVICE: &str = "kinesis";
/// What requests count as that name no action of the API.
const NO_ACTION: &str = "unknown";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const EXTENDED_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");

/// An answer's body, and the room that it takes until it is sent.
#[derive(Debug)]
pub(super) struct Reply {
    contents: Contents,
    holding: Option<Arc<Holding>>,
}

#[derive(Debug)]
enum Contents {
    /// Handed on in pieces too, so that its room stays until the last is.
    Whole(Bytes),
    /// Written as they are sent.
    Records(Pieces<shape::Record>),
    /// Goes on until the sender is dropped.
    Events(Events),
}

impl Reply {
    fn empty() -> Reply {
        Reply { contents: Contents::Whole(Bytes::new()), holding: None }
    }
}

impl Answer for Reply {
    fn holding(&self) -> Option<&Arc<Holding>> {
        self.holding.as_ref()
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let piece = match &mut self.contents {
            Contents::Whole(rest) => {
                let piece = rest.split_to(rest.len().min(PIECE_BYTES));
                Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece))))
            }
            Contents::Records(pieces) => {
                Poll::Ready(pieces.next().map(|piece| piece.map(|bytes| Frame::data(bytes.into()))))
            }
            Contents::Events(events) => events.poll(context).map(|message| message.map(|bytes| Ok(Frame::data(bytes)))),
        };
        if let (Some(holding), Poll::Ready(Some(Ok(frame)))) = (&self.holding, &piece) {
            holding.hand_on(frame.data_ref().map_or(0, Bytes::len));
        }
        piece
    }

    fn is_end_stream(&self) -> bool {
        match &self.contents {
            Contents::Whole(rest) => rest.is_empty(),
            Contents::Records(pieces) => pieces.is_over(),
            Contents::Events(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.contents {
            Contents::Whole(rest) => SizeHint::with_exact(rest.len() as u64),
            Contents::Records(pieces) => SizeHint::with_exact(pieces.bytes() as u64),
            Contents::Events(_) => SizeHint::default(),
        }
    }
}

/// Answers one request.
pub(super) async fn answer(common: &Arc<Common>, request: Request<Incoming>) -> Response<Reply> {
    let began = Instant::now();
    let id = uuid::Uuid::new_v4();
    let (page, verifies) = (Page::of(&request), common.access.verifies());
    let (name, mut response) = match Service::of(&request) {
        _ if page.is_some() && !verifies => {
            pass_over(&common.passing_over, request.into_body()).await;
            let error = Error::new(ErrorKind::AccessDenied, cors::NO_PAGES);
            (None, refusal(&error, Codec::Json.content_type(), error.body(Codec::Json)))
        }
        _ if matches!(page, Some(Page::Asks(..))) => (None, Response::new(Reply::empty())),
        Service::Kinesis => kinesis(common, request).await,
        Service::Leases => leases::answer(common, request).await,
        Service::Metrics(writing) => metrics::answer(common, writing, id, request).await,
        Service::Identity => sts::answer(common, id, request).await,
    };
    common.requests.answered(name.unwrap_or(NO_ACTION), response.status().as_u16(), began.elapsed());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::try_from(id.to_string()).expect("hexadecimal digits"));
    // Some words of no meaning, as long as the service's.
    let extended = STANDARD.encode(id.as_bytes().repeat(4));
    headers.insert(EXTENDED_REQUEST_ID, HeaderValue::try_from(extended).expect("letters and digits"));
    if let Some(page) = page.filter(|_| verifies) {
        page.allow(headers);
    }
    response
}

/// Answers a request for streams: its action, if it is one of the API's, and what came of it.
async fn kinesis(common: &Arc<Common>, request: Request<Incoming>) -> (Option<&'static str>, Response<Reply>) {
    let action = action_of(request.headers());
    let codec = codec_of(request.headers());
    let response = match outcome(common, action, codec, request).await {
        Ok(Said::Body(body, room)) => reply(200, codec.unwrap_or(Codec::Json).content_type(), body, room),
        Ok(Said::Records(pieces, bytes, room)) => {
            let room = room.map(|room| room.needed(bytes + 2 * PIECE_BYTES));
            respond(200, codec.unwrap_or(Codec::Json).content_type(), Contents::Records(pieces), room)
        }
        Ok(Said::Events(events)) => respond(200, event_stream::CONTENT_TYPE, Contents::Events(events), None),
        Err(Refusal::Api(error)) => {
            let codec = codec.unwrap_or(Codec::Json);
            refusal(&error, codec.content_type(), error.body(codec))
        }
        Err(Refusal::NotTheApi) => reply(404, "application/xml", b"<UnknownOperationException/>\n".to_vec(), None),
    };
    (action, response)
}

/// A place among the requests at once.
fn place(common: &Common) -> Result<OwnedSemaphorePermit, Error> {
    let busy = || Error::new(ErrorKind::ServiceUnavailable, "The server has all the requests it takes; try again.");
    Arc::clone(&common.room).try_acquire_owned().map_err(|_| busy())
}

/// How a request is written, and its answer will be.
fn codec_of(headers: &HeaderMap) -> Option<Codec> {
    Codec::of(headers.get(CONTENT_TYPE)?.to_str().ok()?)
}

/// The action that a request names, if the API has it: what a client makes up is kept nowhere.
fn action_of(headers: &HeaderMap) -> Option<&'static str> {
    action::named(headers.get(TARGET)?.to_str().ok()?.strip_prefix(TARGET_PREFIX)?)
}

/// Why there is no answer.
enum Refusal {
    /// The API's own error.
    Api(Error),
    /// Whoever asks does not speak this API.
    NotTheApi,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Api(error)
    }
}

/// What is answered.
async fn outcome(
    common: &Arc<Common>,
    action: Option<&'static str>,
    codec: Option<Codec>,
    request: Request<Incoming>,
) -> Result<Said, Refusal> {
    let Some(codec) = codec.filter(|_| request.method() == Method::POST) else { return Err(Refusal::NotTheApi) };
    let Some(action) = action else {
        return Err(Error::new(ErrorKind::UnknownOperation, "").into());
    };
    let (parts, body) = request.into_parts();
    let (caller, body, (place, room)) = hear(common, &parts, SERVICE, (&common.bodies, body, BODY_BYTES_MAX)).await?;
    let caller = caller.verified(&body)?;
    common.rates.of_account(&caller.place, action, codec, &body)?;
    if !action::changes_streams(action) {
        return Ok(action::run(common, caller, action, codec, (&body, room)).await?);
    }
    // It comes to its end although its client may leave: what it has begun would stay half done.
    let common = Arc::clone(common);
    let change = tokio::spawn(async move {
        let _place = place;
        action::run(&common, caller, action, codec, (&body, room)).await
    });
    let failed = |error| Error::new(ErrorKind::InternalFailure, format!("The server failed: {error}"));
    Ok(change.await.unwrap_or_else(|error| Err(failed(error)))?)
}

/// What a request takes until it is answered: a place, and room for its body.
type Held = (OwnedSemaphorePermit, BodyRoom);

/// Who a request of a service says to be from, its body, of so many bytes at most, and what it takes. Whoever has no key takes
/// nothing.
pub(super) async fn hear<'a>(
    common: &Common,
    parts: &'a Parts,
    service: &str,
    (bodies, mut body, bytes_max): (&Arc<Bodies>, Incoming, usize),
) -> Result<(Presented<'a>, Bytes, Held), Error> {
    let heard = async {
        let caller = common.access.caller(parts, service)?;
        let place = place(common)?;
        let (bytes, room) = receive(bodies, &mut body, bytes_max).await?;
        Ok((caller, bytes, (place, room)))
    };
    let heard = heard.await;
    // What it took is given back by now.
    if let Err(Error { kind, .. }) = &heard
        && *kind != ErrorKind::Serialization
    {
        pass_over(&common.passing_over, body).await;
    }
    heard
}

/// A service's error as an answer.
pub(super) fn refusal(error: &Error, content_type: &'static str, body: Vec<u8>) -> Response<Reply> {
    reply(error.kind.status(), content_type, body, None)
}

/// An answer, and the room that it takes until it is sent: more than it needs is given back.
pub(super) fn reply(status: u16, content_type: &'static str, body: Vec<u8>, room: Option<Taken>) -> Response<Reply> {
    let room = room.map(|room| room.needed(body.len()));
    respond(status, content_type, Contents::Whole(Bytes::from(body)), room)
}

fn respond(status: u16, content_type: &'static str, contents: Contents, room: Option<Taken>) -> Response<Reply> {
    let holding = room.map(|room| Arc::new(Holding::begin(room)));
    let mut response = Response::new(Reply { contents, holding });
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
