//! From an HTTP request to an action and back: what does not depend on the action.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, SemaphorePermit};
use tokio::time::timeout;
use wire::{Error, ErrorKind};

use super::{Shared, action};

/// The body of the largest request: 10 MiB of records in base64, with their keys.
const BODY_BYTES_MAX: usize = 20 << 20;

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

const JSON: &str = "application/x-amz-json-1.1";
const CBOR: &str = "application/x-amz-cbor-1.1";
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const TARGET_PREFIX: &str = "Kinesis_20131202.";
/// What requests count as that name no action of the API.
const NO_ACTION: &str = "unknown";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// An answer's body, and the room that it takes until it is sent.
#[derive(Debug)]
pub(super) struct Answer {
    bytes: Full<Bytes>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.bytes).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}

/// Answers one request.
pub(super) async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Answer> {
    let began = Instant::now();
    let action = action_of(request.headers());
    let mut response = match outcome(shared, action, request).await {
        Ok((body, room)) => {
            let mut response = respond(StatusCode::OK, JSON, body);
            response.body_mut()._room = room;
            response
        }
        Err(Refusal::Api(error)) => {
            let status = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            respond(status, JSON, error.json())
        }
        Err(Refusal::NotTheApi) => {
            respond(StatusCode::NOT_FOUND, "application/xml", b"<UnknownOperationException/>\n".to_vec())
        }
    };
    shared.requests.answered(action.unwrap_or(NO_ACTION), response.status().as_u16(), began.elapsed());
    let id = uuid::Uuid::new_v4().to_string();
    response.headers_mut().insert(REQUEST_ID, HeaderValue::try_from(id).expect("hexadecimal digits"));
    response
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
    shared: &Shared,
    action: Option<&str>,
    request: Request<Incoming>,
) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::NotTheApi);
    }
    let (head, body) = request.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let content_type = content_type.split(';').next().unwrap_or_default().trim();
    if content_type.eq_ignore_ascii_case(CBOR) {
        let message = "CBOR is not spoken here yet; have the client send JSON, for example by CBOR_ENABLED=false";
        return Err(Error::new(ErrorKind::Serialization, message).into());
    }
    if !content_type.eq_ignore_ascii_case(JSON) && !content_type.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::NotTheApi);
    }
    let Some(action) = action else {
        return Err(Error::new(ErrorKind::UnknownOperation, "").into());
    };
    let (body, _room) = receive(shared, body).await?;
    let Some(most) = action::long_answer_bytes(action) else {
        return Ok((action::run(shared, action, &body).await?, None));
    };
    let mut most = Arc::clone(&shared.answers).acquire_many_owned(most).await.expect("it is never closed");
    let answer = action::run(shared, action, &body).await?;
    let room = most.split(answer.len()).unwrap_or(most);
    Ok((answer, Some(room)))
}

/// The whole of a body, and the room that it takes.
async fn receive<'a>(shared: &'a Shared, body: Incoming) -> Result<(Bytes, SemaphorePermit<'a>), Error> {
    let too_large = || {
        let message = format!("The body of a request has at most {BODY_BYTES_MAX} bytes.");
        Error::new(ErrorKind::RequestTooLarge, message)
    };
    // A body of unknown length may be as long as any.
    let length = body.size_hint().upper().unwrap_or(BODY_BYTES_MAX as u64);
    let length =
        u32::try_from(length).ok().filter(|&length| length as usize <= BODY_BYTES_MAX).ok_or_else(too_large)?;
    let room = shared.bodies.acquire_many(length).await.expect("it is never closed");
    match timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok((body.to_bytes(), room)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Error::new(ErrorKind::Serialization, format!("The body did not arrive: {error}"))),
        Err(_) => Err(Error::new(ErrorKind::Serialization, "The body did not arrive in time.")),
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Answer> {
    let mut response = Response::new(Answer { bytes: Full::new(Bytes::from(body)), _room: None });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
