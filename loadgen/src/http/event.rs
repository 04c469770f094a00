//! Messages of an event stream, out of bytes as they come.

use aws_smithy_eventstream::frame::read_message_from;
use aws_smithy_types::event_stream::Message;
use bytes::{Bytes, BytesMut};

/// The most that one message may have: the service's have 10 MiB of data in base64 at most.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Takes bytes, and gives messages.
#[derive(Default)]
pub(super) struct Events {
    bytes: BytesMut,
}

/// What a message is.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// Records.
    Records(Bytes),
    /// An error that ends the stream: its name, and its body.
    Exception(String, Bytes),
    /// Nothing that matters.
    Other,
}

impl Events {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message, if it is whole.
    pub(super) fn next(&mut self) -> Result<Option<Event>, String> {
        // Its first four bytes are its length.
        let Some(length) = self.bytes.first_chunk::<4>().map(|length| u32::from_be_bytes(*length) as usize) else {
            return Ok(None);
        };
        if !(16..=MESSAGE_BYTES_MAX).contains(&length) {
            return Err(format!("a message of {length} bytes, and 16 to {MESSAGE_BYTES_MAX} are taken"));
        }
        if self.bytes.len() < length {
            return Ok(None);
        }
        let message = read_message_from(self.bytes.split_to(length));
        message.map(|message| Some(event(&message))).map_err(|error| format!("the event stream is damaged: {error}"))
    }
}

fn event(message: &Message) -> Event {
    let header = |name: &str| {
        let header = message.headers().iter().find(|header| header.name().as_str() == name)?;
        header.value().as_string().ok().map(|value| value.as_str().to_owned())
    };
    let name = |of: &str| header(of).unwrap_or_default();
    match &*name(":message-type") {
        "event" if name(":event-type") == "SubscribeToShardEvent" => Event::Records(message.payload().clone()),
        "event" => Event::Other,
        "exception" => Event::Exception(name(":exception-type"), message.payload().clone()),
        _ => Event::Exception(name(":error-code"), message.payload().clone()),
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_eventstream::frame::write_message_to;
    use aws_smithy_types::event_stream::{Header, HeaderValue};

    use super::*;

    fn written(kind: &'static str, of: &'static str, name: &'static str, payload: &'static str) -> Vec<u8> {
        let header = |name: &'static str, value: &'static str| Header::new(name, HeaderValue::String(value.into()));
        let message = Message::new(payload).add_header(header(":message-type", kind)).add_header(header(of, name));
        let mut bytes = Vec::new();
        write_message_to(&message, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn messages_come_whole_however_bytes_do() {
        let mut bytes = written("event", ":event-type", "initial-response", "{}");
        bytes.extend(written("event", ":event-type", "SubscribeToShardEvent", "{1}"));
        bytes.extend(written("exception", ":exception-type", "ResourceInUseException", "{2}"));
        for step in [1, 7, bytes.len()] {
            let (mut events, mut seen) = (Events::default(), Vec::new());
            for piece in bytes.chunks(step) {
                events.push(piece);
                while let Some(event) = events.next().unwrap() {
                    seen.push(event);
                }
            }
            let exception = Event::Exception("ResourceInUseException".to_owned(), Bytes::from_static(b"{2}"));
            assert_eq!(seen, [Event::Other, Event::Records(Bytes::from_static(b"{1}")), exception], "{step}");
        }
    }

    #[test]
    fn damage_and_what_would_never_fit_end_it() {
        let mut bytes = written("event", ":event-type", "SubscribeToShardEvent", "{1}");
        *bytes.last_mut().unwrap() ^= 1;
        let mut events = Events::default();
        events.push(&bytes);
        assert!(events.next().unwrap_err().contains("damaged"));
        let mut events = Events::default();
        events.push(&[0x7f, 0, 0, 0]);
        assert!(events.next().unwrap_err().contains("are taken"));
    }
}
