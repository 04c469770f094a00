//! Answers that go on: messages of the event stream, one behind the other.
//!
//! ```text
//!   0 length of the message | 4 of its headers | 8 CRC32 of both | 12 headers | payload | CRC32 of all before
//! ```

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use serde::Serialize;

use crate::codec::Codec;
use crate::error::{Error, ErrorKind};

/// What the content type of such an answer is.
pub const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";

/// What payloads are called that are written like requests.
fn payload_type(codec: Codec) -> &'static str {
    match codec {
        Codec::Json => "application/json",
        Codec::Cbor => Codec::Cbor.content_type(),
    }
}

/// An event.
///
/// # Errors
/// It can't be written.
pub fn event<T: Serialize>(codec: Codec, name: &'static str, event: &T) -> Result<Vec<u8>, Error> {
    let headers = [(":message-type", "event"), (":event-type", name), (":content-type", payload_type(codec))];
    message(headers, codec.write(event)?)
}

/// The error that ends an answer.
///
/// # Errors
/// It can't be written.
pub fn exception(codec: Codec, error: &Error) -> Result<Vec<u8>, Error> {
    let name = error.kind.name();
    let headers = [(":message-type", "exception"), (":exception-type", name), (":content-type", payload_type(codec))];
    message(headers, error.body(codec))
}

fn message(headers: [(&'static str, &'static str); 3], payload: Vec<u8>) -> Result<Vec<u8>, Error> {
    let mut message = Message::new(payload);
    for (name, value) in headers {
        message = message.add_header(Header::new(name, HeaderValue::String(value.into())));
    }
    let mut out = Vec::new();
    write_message_to(&message, &mut out).map_err(|error| Error::new(ErrorKind::InternalFailure, error.to_string()))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the layout above, with a CRC from elsewhere.
    #[test]
    fn an_event_is_laid_out_as_documented() {
        let bytes = event(Codec::Json, "initial-response", &serde_json::json!({})).expect("it can be written");
        let number = |at: usize| u32::from_be_bytes(*bytes[at..].first_chunk().expect("within"));
        assert_eq!(number(0) as usize, bytes.len());
        let headers = number(4) as usize;
        assert_eq!(&bytes[12..12 + 22], b"\x0d:message-type\x07\x00\x05event");
        assert_eq!(&bytes[12 + headers..bytes.len() - 4], b"{}");
        assert_eq!(number(8), crc32(&bytes[..8]));
        assert_eq!(number(bytes.len() - 4), crc32(&bytes[..bytes.len() - 4]));
        let error = Error::new(ErrorKind::ResourceInUse, "taken over");
        let bytes = exception(Codec::Json, &error).expect("it can be written");
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("ResourceInUseException") && text.contains(r#""message":"taken over""#), "{text}");
    }

    /// Bit by bit, as the definition has it.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    }
}
