//! The one action of another service: STS GetCallerIdentity, which tools that set things up ask for first. It is asked by a form, and
//! answered in XML. Nothing needs to allow it.

use hyper::StatusCode;
use wire::sigv4::form_field;
use wire::{Error, ErrorKind};

use super::access::Presented;

/// How it is asked.
pub(super) const REQUEST_TYPE: &str = "application/x-www-form-urlencoded";

/// What signatures are for.
pub(super) const SERVICE: &str = "sts";

pub(super) const CONTENT_TYPE: &str = "text/xml";

pub(super) const ACTION: &str = "GetCallerIdentity";

const VERSION: &str = "2011-06-15";

/// Tells a caller who it is.
///
/// # Errors
/// The request is not theirs, or asks for something else.
pub(super) fn answer(caller: Presented<'_>, body: &[u8], request_id: &str) -> Result<Vec<u8>, Error> {
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
pub(super) fn refusal(error: &Error, request_id: &str) -> (StatusCode, Vec<u8>) {
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
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body.into_bytes())
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

/// Text as XML has it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' | '\r' => out.push(letter),
            // XML has no word for these.
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_said_does_not_break_out() {
        assert_eq!(escaped("a<b>&\u{0}c\n"), "a&lt;b&gt;&amp;\u{fffd}c\n");
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
