//! From an HTTP request to an action and back: what does not depend on the action.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit, mpsc};
use wire::{Codec, Error, ErrorKind, event_stream};

use super::access::Presented;
use super::action::Said;
use super::body::{pass_over, receive};
use super::{Common, access, action, sts};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const TARGET_PREFIX: &str = "Kinesis_20131202.";
/// What signatures are for.
const SERVICE: &str = "kinesis";
/// What requests count as that name no action of the API.
const NO_ACTION: &str = "unknown";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const EXTENDED_REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-id-2");

/// An answer's body, and the room that it takes until it is sent.
#[derive(Debug)]
pub(super) struct Answer {
    contents: Contents,
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Debug)]
enum Contents {
    Whole(Full<Bytes>),
    /// Goes on until the sender is dropped.
    Events(mpsc::Receiver<Bytes>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.contents {
            Contents::Whole(bytes) => Pin::new(bytes).poll_frame(context),
            Contents::Events(events) => {
                events.poll_recv(context).map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.contents, Contents::Whole(bytes) if bytes.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.contents {
            Contents::Whole(bytes) => bytes.size_hint(),
            Contents::Events(_) => SizeHint::default(),
        }
    }
}

/// Answers one request.
pub(super) async fn answer(common: &Arc<Common>, request: Request<Incoming>) -> Response<Answer> {
    let began = Instant::now();
    let id = uuid::Uuid::new_v4();
    let (action, mut response) = if is_sts(&request) {
        (Some(sts::ACTION), tell_identity(common, request, &id.to_string()).await)
    } else {
        let action = action_of(request.headers());
        (action, act(common, action, request).await)
    };
    common.requests.answered(action.unwrap_or(NO_ACTION), response.status().as_u16(), began.elapsed());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, HeaderValue::try_from(id.to_string()).expect("hexadecimal digits"));
    // Some words of no meaning, as long as the service's.
    let extended = STANDARD.encode(id.as_bytes().repeat(4));
    headers.insert(EXTENDED_REQUEST_ID, HeaderValue::try_from(extended).expect("letters and digits"));
    response
}

/// Answers one of the API's own.
async fn act(common: &Arc<Common>, action: Option<&str>, request: Request<Incoming>) -> Response<Answer> {
    let codec = codec_of(request.headers());
    match outcome(common, action, codec, request).await {
        Ok((Said::Body(body), room)) => {
            let mut response = respond(StatusCode::OK, codec.unwrap_or(Codec::Json).content_type(), body);
            response.body_mut()._room = room;
            response
        }
        Ok((Said::Events(events), _)) => {
            let mut response = respond(StatusCode::OK, event_stream::CONTENT_TYPE, Vec::new());
            response.body_mut().contents = Contents::Events(events);
            response
        }
        Err(Refusal::Api(error)) => {
            let status = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let codec = codec.unwrap_or(Codec::Json);
            respond(status, codec.content_type(), error.body(codec))
        }
        Err(Refusal::NotTheApi) => {
            respond(StatusCode::NOT_FOUND, "application/xml", b"<UnknownOperationException/>\n".to_vec())
        }
    }
}

/// Whether a request is STS's: a form, and no action of the API.
fn is_sts(request: &Request<Incoming>) -> bool {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form =
        content_type.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(sts::REQUEST_TYPE));
    is_form && request.method() == Method::POST && !request.headers().contains_key(TARGET)
}

/// Answers one of STS.
async fn tell_identity(common: &Arc<Common>, request: Request<Incoming>, id: &str) -> Response<Answer> {
    let answer = async {
        let _place = common.room.try_acquire().map_err(|_| busy())?;
        let (parts, body) = request.into_parts();
        let (caller, body, _room) = hear(common, &parts, body, sts::SERVICE).await?;
        sts::answer(caller, &body, id)
    };
    match answer.await {
        Ok(body) => respond(StatusCode::OK, sts::CONTENT_TYPE, body),
        Err(error) => {
            let (status, body) = sts::refusal(&error, id);
            respond(status, sts::CONTENT_TYPE, body)
        }
    }
}

fn busy() -> Error {
    Error::new(ErrorKind::ServiceUnavailable, "The server has all the requests it takes; try again.")
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

/// The body of an answer, and its room.
async fn outcome(
    common: &Arc<Common>,
    action: Option<&str>,
    codec: Option<Codec>,
    request: Request<Incoming>,
) -> Result<(Said, Option<OwnedSemaphorePermit>), Refusal> {
    let _place = common.room.try_acquire().map_err(|_| busy())?;
    let Some(codec) = codec.filter(|_| request.method() == Method::POST) else { return Err(Refusal::NotTheApi) };
    let Some(action) = action else {
        return Err(Error::new(ErrorKind::UnknownOperation, "").into());
    };
    let (parts, body) = request.into_parts();
    let (caller, body, _room) = hear(common, &parts, body, SERVICE).await?;
    let shared = access::authorize(common, caller.verified(&body)?, action, codec, &body).await?;
    let Some(most) = action::long_answer_bytes(action) else {
        return Ok((action::run(&shared, action, codec, &body).await?, None));
    };
    let mut most = Arc::clone(&common.answers).acquire_many_owned(most).await.expect("it is never closed");
    let answer = action::run(&shared, action, codec, &body).await?;
    let room = match &answer {
        Said::Body(body) => most.split(body.len()).unwrap_or(most),
        Said::Events(_) => most,
    };
    Ok((answer, Some(room)))
}

/// Who a request of a service says to be from, and its body with the room that it takes. Nobody's body has room.
async fn hear<'a, 'b>(
    common: &'a Common,
    parts: &'b Parts,
    body: Incoming,
    service: &str,
) -> Result<(Presented<'b>, Bytes, SemaphorePermit<'a>), Error> {
    match common.access.caller(parts, service) {
        Ok(caller) => {
            let (body, room) = receive(&common.bodies, body).await?;
            Ok((caller, body, room))
        }
        Err(error) => {
            pass_over(body).await;
            Err(error)
        }
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Answer> {
    let mut response = Response::new(Answer { contents: Contents::Whole(Full::new(Bytes::from(body))), _room: None });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
