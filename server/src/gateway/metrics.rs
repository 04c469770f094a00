//! PutMetricData: what the KCL, the KPL and other clients measure of themselves, kept for who reads `/metrics`.

mod kept;

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use flate2::read::GzDecoder;
use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, HeaderName, HeaderValue};
use hyper::{Method, Request, Response};
use uuid::Uuid;
use wire::metric_data::{self, Writing};
use wire::{Codec, Error, ErrorKind};

pub(crate) use self::kept::ClientMetrics;
use super::http::{self, Reply};
use super::xml::escaped;
use super::{Common, access, service};

/// The body of the largest request, as it travels and as it is read. It takes room for the latter.
const BODY_BYTES_MAX: usize = 1 << 20;
const UNPACKED_BYTES_MAX: usize = 4 << 20;

/// Requests that are read at once. The next wait.
pub(super) const READ_AT_ONCE_MAX: usize = 4;

/// What signatures are for, and the first word of actions.
const SERVICE: &str = "monitoring";
const ACTIONS: &str = "cloudwatch";

const OPERATION: &str = "PutMetricData";
/// What it is counted as.
const COUNTED: &str = "GraniteServiceVersion20100801.PutMetricData";

const PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");

/// The name by which it is counted, and the answer.
pub(super) async fn answer(
    common: &Arc<Common>,
    writing: Writing,
    id: Uuid,
    request: Request<Incoming>,
) -> (Option<&'static str>, Response<Reply>) {
    let named = service::metrics_operation(&request).to_owned();
    let mut response = match outcome(common, writing, &named, request).await {
        Ok(()) => {
            let body = match writing {
                Writing::Form => format!(
                    "<PutMetricDataResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\"><ResponseMetadata>\
                     <RequestId>{id}</RequestId></ResponseMetadata></PutMetricDataResponse>"
                )
                .into_bytes(),
                Writing::Json => b"{}".to_vec(),
                Writing::Cbor => vec![0xa0],
            };
            http::reply(200, content_type(writing), body, None)
        }
        Err(error) => {
            let body = match writing {
                Writing::Form => in_xml(&error, id),
                Writing::Json => error.body(Codec::Json),
                Writing::Cbor => error.body(Codec::Cbor),
            };
            http::refusal(&error, content_type(writing), body)
        }
    };
    if writing == Writing::Cbor {
        response.headers_mut().insert(PROTOCOL, HeaderValue::from_static("rpc-v2-cbor"));
    }
    (is_known(writing, &named).then_some(COUNTED), response)
}

fn content_type(writing: Writing) -> &'static str {
    match writing {
        Writing::Form => "text/xml",
        Writing::Json => "application/x-amz-json-1.0",
        Writing::Cbor => "application/cbor",
    }
}

/// A form names its operation within.
fn is_known(writing: Writing, named: &str) -> bool {
    writing == Writing::Form || named == OPERATION
}

fn in_xml(error: &Error, id: Uuid) -> Vec<u8> {
    let kind = if error.kind.status() < 500 { "Sender" } else { "Receiver" };
    let code = error.kind.name();
    let code = code.strip_suffix("Exception").unwrap_or(code);
    let message = escaped(&error.message);
    format!(
        "<ErrorResponse xmlns=\"http://monitoring.amazonaws.com/doc/2010-08-01/\"><Error><Type>{kind}</Type><Code>{code}</Code>\
         <Message>{message}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
    )
    .into_bytes()
}

async fn outcome(common: &Arc<Common>, writing: Writing, named: &str, request: Request<Incoming>) -> Result<(), Error> {
    let unknown = || {
        let message =
            "Of CloudWatch there is PutMetricData alone: what it brings is told at /metrics of the admin port.";
        Error::new(ErrorKind::UnknownOperation, message)
    };
    if request.method() != Method::POST || !is_known(writing, named) {
        return Err(unknown());
    }
    let packed = service::text(request.headers(), CONTENT_ENCODING.as_str()).to_owned();
    let (parts, body) = request.into_parts();
    let (caller, body, _held) = http::hear(common, &parts, SERVICE, (&common.bodies, body, BODY_BYTES_MAX)).await?;
    access::authorize_other(common, &caller.verified(&body)?, ACTIONS, OPERATION)?;
    let _turn = common.reading.acquire().await.expect("it is never closed");
    let body = unpacked(&packed, body)?;
    if writing == Writing::Form && !metric_data::is_form_of(&body, OPERATION) {
        return Err(unknown());
    }
    let data = metric_data::parse(writing, &body)?;
    common.client_metrics.add(data);
    Ok(())
}

/// A body as it was before it was packed, if it was.
fn unpacked(packed: &str, body: Bytes) -> Result<Bytes, Error> {
    match packed.trim() {
        "" | "identity" => Ok(body),
        "gzip" => {
            let mut unpacked = Vec::new();
            // A byte more than may be: then it is too long.
            let most = UNPACKED_BYTES_MAX as u64 + 1;
            GzDecoder::new(&*body).take(most).read_to_end(&mut unpacked).map_err(|error| {
                Error::new(ErrorKind::Serialization, format!("The body is not packed as gzip does it: {error}."))
            })?;
            if unpacked.len() > UNPACKED_BYTES_MAX {
                let message =
                    format!("The body of a request has at most {UNPACKED_BYTES_MAX} bytes once it is unpacked.");
                return Err(Error::new(ErrorKind::RequestTooLarge, message));
            }
            Ok(Bytes::from(unpacked))
        }
        _ => Err(Error::new(ErrorKind::Serialization, "A body is packed by gzip, or not at all.")),
    }
}
