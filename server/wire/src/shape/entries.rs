//! The records of one PutRecords, as they are read: their data lies end to end in a few pieces of memory, their texts in one.
//!
//! A request has hundreds of them, so none is allocated by itself, and no more are kept than a request may have.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::codec::decode;

/// Records of one request, by the service. Of what is more, only the number is known.
pub const RECORDS_DEFAULT: usize = 500;

/// The same where a server takes more: what is kept of each takes many times the least that it can be written as.
pub const RECORDS_MAX: usize = 10_000;

/// What is kept of a record beside its data and texts, in a list that is as long again where it grows, and half as long where it was.
pub const RECORD_KEPT_BYTES: usize = 3 * size_of::<Spans>();

/// Bytes of a piece of data, unless one record has more. What is there stays there: a piece that grew would be copied each time.
const PIECE_BYTES: usize = 64 << 10;

/// The records.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    data: Vec<Vec<u8>>,
    texts: String,
    kept: Vec<Spans>,
    count: usize,
}

/// Where the members of a record lie, of those that are given.
#[derive(Clone, Debug, Default)]
struct Spans {
    /// In which piece, and where there.
    data: Option<(usize, Range<usize>)>,
    partition_key: Option<Range<usize>>,
    explicit_hash_key: Option<Range<usize>>,
}

/// One record to be stored.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the members are the service model's")]
pub struct PutRecordsEntry<'a> {
    pub data: Option<&'a [u8]>,
    pub partition_key: Option<&'a str>,
    pub explicit_hash_key: Option<&'a str>,
}

impl Entries {
    /// How many were given.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Those that are kept, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = PutRecordsEntry<'_>> {
        self.kept.iter().map(|spans| PutRecordsEntry {
            data: spans.data.clone().map(|(piece, span)| &self.data[piece][span]),
            partition_key: spans.partition_key.clone().map(|span| &self.texts[span]),
            explicit_hash_key: spans.explicit_hash_key.clone().map(|span| &self.texts[span]),
        })
    }
}

/// The records of a request, of which no more are kept than the service takes.
pub(super) fn usual<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Entries>, D::Error> {
    deserializer.deserialize_option(Given(List { kept_max: RECORDS_DEFAULT }))
}

/// The same, of which more are.
pub(super) fn many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Entries>, D::Error> {
    deserializer.deserialize_option(Given(List { kept_max: RECORDS_MAX }))
}

struct List {
    kept_max: usize,
}

impl<'de> DeserializeSeed<'de> for List {
    type Value = Entries;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entries, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List {
    type Value = Entries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
        let mut entries = Entries::default();
        while entries.count < self.kept_max {
            let Some(spans) = list.next_element_seed(Entry(&mut entries))? else { return Ok(entries) };
            entries.kept.push(spans);
            entries.count += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            entries.count += 1;
        }
        Ok(entries)
    }
}

/// Reads a record into what there is of them.
struct Entry<'a>(&'a mut Entries);

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "PascalCase")]
enum Member {
    Data,
    PartitionKey,
    ExplicitHashKey,
    #[serde(other)]
    Unknown,
}

impl<'de> DeserializeSeed<'de> for Entry<'_> {
    type Value = Spans;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Spans, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = Spans;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Spans, A::Error> {
        let Entries { data, texts, .. } = self.0;
        let (mut at, mut partition_key, mut explicit_hash_key) = (None, None, None);
        while let Some(member) = map.next_key()? {
            match member {
                Member::Data => once(&mut at, "Data", || map.next_value_seed(Given(Data(data))))?,
                Member::PartitionKey => {
                    once(&mut partition_key, "PartitionKey", || map.next_value_seed(Given(Text(texts))))?;
                }
                Member::ExplicitHashKey => {
                    once(&mut explicit_hash_key, "ExplicitHashKey", || map.next_value_seed(Given(Text(texts))))?;
                }
                Member::Unknown => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(Spans {
            data: at.flatten(),
            partition_key: partition_key.flatten(),
            explicit_hash_key: explicit_hash_key.flatten(),
        })
    }
}

/// Reads a member, which may be there once, null or not.
fn once<T, E: Error>(member: &mut Option<T>, name: &'static str, read: impl FnOnce() -> Result<T, E>) -> Result<(), E> {
    if member.is_some() {
        return Err(E::duplicate_field(name));
    }
    *member = Some(read()?);
    Ok(())
}

/// Reads what may be null.
struct Given<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Given<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Given<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member")
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(deserializer).map(Some)
    }
}

/// Appends a record's data to that of others.
struct Data<'a>(&'a mut Vec<Vec<u8>>);

impl<'de> DeserializeSeed<'de> for Data<'_> {
    type Value = (usize, Range<usize>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let (pieces, mut start) = (self.0, 0);
        decode(deserializer, |bytes| {
            if pieces.last().is_none_or(|last| last.capacity() - last.len() < bytes) {
                pieces.push(Vec::with_capacity(bytes.max(PIECE_BYTES)));
            }
            let piece = pieces.last_mut().expect("there is one now");
            start = piece.len();
            piece
        })?;
        let piece = pieces.len() - 1;
        Ok((piece, start..pieces[piece].len()))
    }
}

/// Appends a text to others.
struct Text<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_string(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = Range<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let start = self.0.len();
        self.0.push_str(text);
        Ok(start..self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use serde_json::{Value, json};

    use super::*;
    use crate::Codec;
    use crate::base64::BASE64;
    use crate::shape::{PutManyRecords, PutRecords};

    fn read(records: &Value) -> Result<Entries, String> {
        let body = json!({"StreamName": "s", "Records": records}).to_string();
        let read = Codec::Json.parse::<PutRecords>(body.as_bytes()).map_err(|error| error.message)?;
        Ok(read.records.expect("they are given"))
    }

    #[test]
    fn each_has_what_it_was_given() {
        let entries = read(&json!([
            {"Data": "aGVsbG8=", "PartitionKey": "k\n\u{fc}"},
            {"ExplicitHashKey": "7", "Other": [{"Data": 1}], "PartitionKey": null, "Data": ""},
            {},
        ]))
        .expect("they can be read");
        let told: Vec<_> = entries.iter().map(|one| (one.data, one.partition_key, one.explicit_hash_key)).collect();
        let first = (Some(&b"hello"[..]), Some("k\n\u{fc}"), None);
        assert_eq!(told, [first, (Some(&[][..]), None, Some("7")), (None, None, None)]);
        assert_eq!(entries.count(), 3);
    }

    #[test]
    fn what_is_more_than_a_request_may_have_is_counted_and_not_kept() {
        let entries = read(&Value::from(vec![json!({"Data": "aGVsbG8=", "PartitionKey": "k"}); 700])).expect("a list");
        let bytes: usize = entries.data.iter().map(Vec::len).sum();
        let kept = RECORDS_DEFAULT;
        assert_eq!((entries.count(), entries.iter().len(), bytes), (700, kept, 5 * kept));
        // A server may take more.
        for (count, kept) in [(700, 700), (10_001, RECORDS_MAX)] {
            let body = json!({"Records": vec![json!({"Data": "aGVsbG8="}); count]}).to_string();
            let read = Codec::Json.parse::<PutManyRecords>(body.as_bytes()).expect("a list");
            let entries = read.records.expect("they are given");
            assert_eq!((entries.count(), entries.iter().len()), (count, kept));
        }
    }

    #[test]
    fn data_lies_in_pieces_that_are_never_copied() {
        let data: Vec<String> = (0..100).map(|at: usize| BASE64.encode(vec![at as u8; 1 + at * 97 % 5000])).collect();
        let large = BASE64.encode(vec![7; 3 * PIECE_BYTES]);
        let all: Vec<_> = data.iter().chain([&large]).map(|data| json!({"Data": data})).collect();
        let entries = read(&Value::from(all)).expect("they can be read");
        for (at, record) in entries.iter().take(100).enumerate() {
            assert_eq!(record.data, Some(&vec![at as u8; 1 + at * 97 % 5000][..]));
        }
        assert_eq!(entries.iter().last().and_then(|record| record.data), Some(&vec![7; 3 * PIECE_BYTES][..]));
        let room: Vec<_> = entries.data.iter().map(Vec::capacity).collect();
        assert!(room.len() == 5 && room[..4].iter().all(|&room| room == PIECE_BYTES), "{room:?}");
    }

    #[test]
    fn what_is_none_is_refused() {
        for records in [json!({}), json!([1]), json!([[]]), json!([null]), json!([{"Data": 1}]), json!([{"Data": "a"}])]
        {
            assert!(read(&records).is_err(), "{records}");
        }
        assert!(read(&json!([{"PartitionKey": 1}])).is_err() && read(&json!([{"Data": "a b="}])).is_err());
        for first in ["\"a\"", "null"] {
            let twice = format!("{{\"Records\": [{{\"PartitionKey\": {first}, \"PartitionKey\": \"b\"}}]}}");
            assert!(Codec::Json.parse::<PutRecords>(twice.as_bytes()).is_err(), "{twice}");
        }
    }
}
