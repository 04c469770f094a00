//! The one action of another service: STS GetCallerIdentity, which tools that set things up ask for first. It is asked by a form, and
//! answered in XML. Nothing needs to allow it.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};
use uuid::Uuid;
use wire::sigv4::form_field;
use wire::{Error, ErrorKind};

use super::Common;
use super::access::Presented;
use super::http::{self, Reply};
use super::xml::escaped;

/// How it is asked.
pub(super) const REQUEST_TYPE: &str = "application/x-www-form-urlencoded";

/// What signatures are for.
const SERVICE: &str = "sts";

const CONTENT_TYPE: &str = "text/xml";

const ACTION: &str = "GetCallerIdentity";

const VERSION: &str = "2011-06-15";

/// The largest form.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The name by which it is counted, and the answer.
pub(super) async fn answer(
    common: &Arc<Common>,
    id: Uuid,
    request: Request<Incoming>,
) -> (Option<&'static str>, Response<Reply>) {
    let id = id.to_string();
    let answer = async {
        let (parts, body) = request.into_parts();
        let (caller, body, _held) = http::hear(common, &parts, SERVICE, (&common.bodies, body, BODY_BYTES_MAX)).await?;
        tell(caller, &body, &id)
    };
    let reply = match answer.await {
        Ok(body) => http::reply(200, CONTENT_TYPE, body, None),
        Err(error) => {
            let (status, body) = refusal(&error, &id);
            http::reply(status, CONTENT_TYPE, body, None)
        }
    };
    (Some(ACTION), reply)
}

/// Tells a caller who it is.
///
/// # Errors
/// The request is not theirs, or asks for something else.
fn tell(caller: Presented<'_>, body: &[u8], request_id: &str) -> Result<Vec<u8>, Error> {
    let caller = caller.verified(body)?;
    let action = form_field(body, "Action").unwrap_or_default();
    let version = form_field(body, "Version").unwrap_or_default();
    if action != ACTION || version != VERSION {
        let message = format!("Could not find operation {action} for version {version}");
        return Err(Error::new(ErrorKind::UnknownOperation, message));
    }
    let (arn, user) = caller.identity();
    let (arn, user, account) = (escaped(&arn), escaped(user), escaped(&caller.place.account));
    let answer = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/{VERSION}/\">\n  <GetCallerIdentityResult>\n    \
         <Arn>{arn}</Arn>\n    <UserId>{user}</UserId>\n    <Account>{account}</Account>\n  </GetCallerIdentityResult>\n  \
         <ResponseMetadata>\n    <RequestId>{request_id}</RequestId>\n  </ResponseMetadata>\n</GetCallerIdentityResponse>\n"
    );
    Ok(answer.into_bytes())
}

/// An error as STS tells it, and its status.
fn refusal(error: &Error, request_id: &str) -> (u16, Vec<u8>) {
    let (status, kind) = match error.kind.status() {
        400 if is_forbidden(error.kind) => (403, "Sender"),
        status if status < 500 => (status, "Sender"),
        status => (status, "Receiver"),
    };
    let (code, message) = (error.kind.query_code(), escaped(&error.message));
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/{VERSION}/\">\n  <Error>\n    <Type>{kind}</Type>\n    \
         <Code>{code}</Code>\n    <Message>{message}</Message>\n  </Error>\n  <RequestId>{request_id}</RequestId>\n</ErrorResponse>\n"
    );
    (status, body.into_bytes())
}

fn is_forbidden(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::MissingAuthenticationToken
            | ErrorKind::InvalidSignature
            | ErrorKind::UnrecognizedClient
            | ErrorKind::ExpiredToken
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_said_does_not_break_out() {
        let error = Error::new(ErrorKind::UnknownOperation, "Could not find operation <x>");
        let (status, body) = refusal(&error, "id");
        let body = String::from_utf8(body).unwrap();
        assert_eq!(status, 400);
        assert!(
            body.contains("<Code>InvalidAction</Code>") && body.contains("operation &lt;x&gt;</Message>"),
            "{body}"
        );
    }
}
