//! The two ways in which bodies are written: JSON 1.1, and the CBOR that the Java SDK prefers.
//!
//! They differ in two things beside the syntax. Bytes are base64 in JSON and byte strings in CBOR; a time is seconds with a
//! fraction in JSON, and whole milliseconds under tag 1 in CBOR, where the tag's own definition says seconds.

use std::fmt;
use std::io;

use base64::Engine;
use bytes::Bytes;
use ciborium::tag::{Accepted, Required};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Unexpected, Visitor};
use serde::ser::{Serialize, Serializer};

use crate::base64::BASE64;
use crate::error::{Error, ErrorKind};

/// Lists and maps within each other in a request of CBOR; the model has four. JSON has its library's bound, 128.
const DEPTH_MAX: usize = 32;

/// CBOR's tag of a time.
pub(crate) const TIME: u64 = 1;

/// Bytes that become base64 at once: as many digits as 1 KiB holds. Room for more would take longer to clear for each record
/// than it saves.
const PIECE_BYTES: usize = 768;

/// How a body is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    /// `application/x-amz-json-1.1`
    Json,
    /// `application/x-amz-cbor-1.1`
    Cbor,
}

impl Codec {
    /// The one that a content type names.
    pub fn of(content_type: &str) -> Option<Codec> {
        let name = content_type.split(';').next().unwrap_or_default().trim();
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match () {
            () if is(Codec::Json.content_type()) || is("application/json") => Some(Codec::Json),
            () if is(Codec::Cbor.content_type()) => Some(Codec::Cbor),
            () => None,
        }
    }

    /// What answers say they are.
    pub fn content_type(self) -> &'static str {
        match self {
            Codec::Json => "application/x-amz-json-1.1",
            Codec::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// It is not one.
    pub fn parse<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, Error> {
        let unreadable = |message: String| Error::new(ErrorKind::Serialization, message);
        // A list would be taken for the members in their order.
        let is_map = match self {
            Codec::Json => body.trim_ascii_start().starts_with(b"{"),
            Codec::Cbor => body.first().is_some_and(|first| first >> 5 == 5),
        };
        if !is_map {
            return Err(unreadable("The body of a request is a map of its members.".to_owned()));
        }
        match self {
            Codec::Json => serde_json::from_slice(body).map_err(|error| unreadable(error.to_string())),
            Codec::Cbor => {
                let mut rest = body;
                let parsed = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX);
                let parsed = parsed.map_err(|error| unreadable(told(&error)))?;
                if rest.is_empty() {
                    Ok(parsed)
                } else {
                    Err(unreadable("Something follows the body's end.".to_owned()))
                }
            }
        }
    }

    /// Writes an answer.
    pub fn write<T: Serialize>(self, answer: &T) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        self.write_to(&mut out, answer)?;
        Ok(out)
    }

    /// Writes an answer, or a part of one, behind what was written before.
    pub(crate) fn write_to<T: Serialize + ?Sized>(self, out: &mut impl io::Write, what: &T) -> Result<(), Error> {
        let unwritable = |message: String| Error::new(ErrorKind::InternalFailure, message);
        match self {
            Codec::Json => what
                .serialize(&mut serde_json::Serializer::with_formatter(out, Json))
                .map_err(|error| unwritable(error.to_string())),
            Codec::Cbor => ciborium::into_writer(what, out).map_err(|error| unwritable(error.to_string())),
        }
    }

    /// Bytes that something takes as it is written.
    pub(crate) fn length_of<T: Serialize + ?Sized>(self, what: &T) -> Result<usize, Error> {
        struct Count(usize);
        impl io::Write for Count {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += bytes.len();
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut count = Count(0);
        self.write_to(&mut count, what)?;
        Ok(count.0)
    }
}

/// JSON without spaces, in which bytes are base64. Its digits need no escapes, so they are not looked at again.
struct Json;

impl serde_json::ser::Formatter for Json {
    fn write_byte_array<W: io::Write + ?Sized>(&mut self, out: &mut W, bytes: &[u8]) -> io::Result<()> {
        let mut digits = [0; PIECE_BYTES / 3 * 4];
        out.write_all(b"\"")?;
        for piece in bytes.chunks(PIECE_BYTES) {
            let written = BASE64.encode_slice(piece, &mut digits).map_err(io::Error::other)?;
            out.write_all(&digits[..written])?;
        }
        out.write_all(b"\"")
    }
}

/// What is wrong with a body of CBOR.
fn told<T: fmt::Debug>(error: &ciborium::de::Error<T>) -> String {
    match error {
        ciborium::de::Error::Io(_) => "The body ends too early.".to_owned(),
        ciborium::de::Error::Syntax(at) => format!("The body is not CBOR at byte {at}."),
        ciborium::de::Error::Semantic(_, words) => words.clone(),
        ciborium::de::Error::RecursionLimitExceeded => "The body is nested too deeply.".to_owned(),
    }
}

/// Bytes. Only a [`Codec`] writes them as base64 where that is due.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Blob(
    /// The bytes.
    pub Bytes,
);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        let mut bytes = Vec::new();
        decode(deserializer, |_| &mut bytes)?;
        Ok(Blob(bytes.into()))
    }
}

/// Appends the bytes that come next to those that `place` gives, which is told how many they are at most.
pub(crate) fn decode<'de, 'a, D: Deserializer<'de>>(
    deserializer: D,
    place: impl FnOnce(usize) -> &'a mut Vec<u8>,
) -> Result<(), D::Error> {
    struct Digits<F>(F);
    impl<'a, F: FnOnce(usize) -> &'a mut Vec<u8>> Visitor<'_> for Digits<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("base64")
        }

        fn visit_bytes<E: serde::de::Error>(self, digits: &[u8]) -> Result<(), E> {
            let bytes = self.0(digits.len().div_ceil(4) * 3);
            BASE64.decode_vec(digits, bytes).map_err(|error| E::custom(format_args!("not base64: {error}")))
        }
    }
    struct Contents<F>(F);
    impl<'a, F: FnOnce(usize) -> &'a mut Vec<u8>> Visitor<'_> for Contents<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<(), E> {
            self.0(bytes.len()).extend_from_slice(bytes);
            Ok(())
        }
    }
    if deserializer.is_human_readable() {
        // As bytes: what is no digit is refused anyhow, so it need not be held to be text before.
        deserializer.deserialize_bytes(Digits(place))
    } else {
        deserializer.deserialize_byte_buf(Contents(place))
    }
}

/// Text that stays where it was read. What is no text in it is written as what stands for such.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Text(
    /// Its bytes.
    pub Bytes,
);

impl Text {
    /// Whether it has no characters.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_str(&String::from_utf8_lossy(&self.0)),
        }
    }
}

/// A time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timestamp {
    /// Milliseconds since 1970; what is before that is as 1970.
    pub ms: u64,
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_f64(self.ms as f64 / 1e3)
        } else {
            Required::<u64, TIME>(self.ms).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        if deserializer.is_human_readable() {
            Ok(Timestamp { ms: (f64::deserialize(deserializer)? * 1e3).round() as u64 })
        } else {
            let Accepted(Number(ms)) = Accepted::<Number, TIME>::deserialize(deserializer)?;
            Ok(Timestamp { ms: ms as u64 })
        }
    }
}

/// A number of either kind.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }

            fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Number, E> {
                let unexpected = || E::invalid_value(Unexpected::Float(number), &self);
                number.is_finite().then_some(Number(number)).ok_or_else(unexpected)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sequence::SequenceNumber;
    use crate::shape::{GetShardIterator, PutRecords, Record};

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn content_types_name_them() {
        assert_eq!(Codec::of("application/x-amz-json-1.1"), Some(Codec::Json));
        assert_eq!(Codec::of("Application/JSON; charset=utf-8"), Some(Codec::Json));
        assert_eq!(Codec::of("application/x-amz-cbor-1.1"), Some(Codec::Cbor));
        assert_eq!((Codec::of("text/plain"), Codec::of("")), (None, None));
    }

    /// As the Java SDK writes a request: maps and lists of no stated length, bytes as they are.
    #[test]
    fn what_the_java_sdk_writes_is_read() {
        let mut body = vec![0xbf];
        let text = |body: &mut Vec<u8>, text: &str| {
            body.push(0x60 | text.len() as u8);
            body.extend_from_slice(text.as_bytes());
        };
        text(&mut body, "StreamName");
        text(&mut body, "orders");
        text(&mut body, "Records");
        body.extend_from_slice(&[0x9f, 0xbf]);
        text(&mut body, "Data");
        body.extend_from_slice(&[0x43, 1, 2, 0xff]);
        text(&mut body, "PartitionKey");
        text(&mut body, "k");
        text(&mut body, "Unknown");
        body.extend_from_slice(&[0x82, 0xc1, 0x00, 0xf6]);
        body.extend_from_slice(&[0xff, 0xff, 0xff]);
        let parsed: PutRecords = Codec::Cbor.parse(&body).expect("it is whole");
        assert_eq!(parsed.stream_name.as_deref(), Some("orders"));
        let records = parsed.records.expect("they are given");
        let data: Vec<_> = records.iter().map(|record| record.data).collect();
        assert_eq!(data, [Some(&[1, 2, 0xff][..])]);
        for length in 0..body.len() {
            assert!(Codec::Cbor.parse::<PutRecords>(&body[..length]).is_err(), "{length} of {} bytes", body.len());
        }
        body.push(0);
        assert!(Codec::Cbor.parse::<PutRecords>(&body).is_err(), "something follows");
    }

    #[test]
    fn times_are_whole_milliseconds_under_tag_1() {
        let record = Record {
            sequence_number: SequenceNumber {
                shard_made_s: 1_700_000_000,
                shard: 0,
                number: 7,
                arrival_s: 1_700_000_000,
            },
            approximate_arrival_timestamp: Timestamp { ms: 1_700_000_000_123 },
            data: Blob(vec![0, 255].into()),
            partition_key: Text(Bytes::from_static(b"k")),
            encryption_type: None,
        };
        let written = hex(&Codec::Cbor.write(&record).expect("it can be"));
        assert!(written.contains("c11b0000018bcfe5687b"), "a tag and an integer: {written}");
        assert!(written.contains("4200ff"), "bytes: {written}");
        let json = String::from_utf8(Codec::Json.write(&record).expect("it can be")).expect("text");
        assert!(json.contains(r#""ApproximateArrivalTimestamp":1700000000.123,"Data":"AP8=""#), "{json}");
        for (written, ms) in [("c11b0000018bcfe5687b", 1_700_000_000_123), ("1a00010000", 65_536), ("c120", 0)] {
            let mut body = vec![0xa1, 0x69];
            body.extend_from_slice(b"Timestamp");
            body.extend((0..written.len() / 2).map(|at| u8::from_str_radix(&written[2 * at..2 * at + 2], 16).unwrap()));
            let parsed: GetShardIterator = Codec::Cbor.parse(&body).expect(written);
            assert_eq!(parsed.timestamp, Some(Timestamp { ms }), "{written}");
        }
        let parsed: GetShardIterator = Codec::Json.parse(br#"{"Timestamp": 1700000000.123}"#).expect("a number");
        assert_eq!(parsed.timestamp, Some(Timestamp { ms: 1_700_000_000_123 }));
    }

    /// Neither depth nor a length that is only claimed costs anything.
    #[test]
    fn bombs_are_refused() {
        let deep = [&b"\xa1\x61x"[..], &[0x81; 100_000]].concat();
        assert!(Codec::Cbor.parse::<PutRecords>(&deep).is_err());
        let deep = format!("{{\"x\": {}", "[".repeat(100_000));
        assert!(Codec::Json.parse::<PutRecords>(deep.as_bytes()).is_err());
        for claimed in [
            &b"\xa1\x67Records\x9b\xff\xff\xff\xff\xff\xff\xff\xff"[..],
            b"\xa1\x6aStreamName\x7b\x7f\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(Codec::Cbor.parse::<PutRecords>(claimed).is_err());
        }
        for body in [&b""[..], b"[]", b"\x80", b"null", b"7"] {
            assert!(Codec::Json.parse::<PutRecords>(body).is_err() && Codec::Cbor.parse::<PutRecords>(body).is_err());
        }
    }
}
