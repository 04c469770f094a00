//! Places to go on from, as opaque words: in a shard, and in a list.
//!
//! A word carries all that going on needs, so that the server keeps nothing for it.

use crate::name::Place;
use crate::token::{Fields, Kind, open, seal};

/// How long a place is good.
pub const LIFETIME_MS: u64 = 300_000;

/// The model's bound on iterators.
const TEXT_BYTES_MAX: usize = 512;

/// A place in a shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardIterator {
    /// Makes two of the same place differ.
    pub nonce: u64,
    /// When it was made, in milliseconds since 1970.
    pub made_ms: u64,
    /// The number of the record that comes next.
    pub from: u64,
    /// When the shard was made, in seconds since 1970.
    pub shard_made_s: u64,
    /// The stream's number.
    pub stream: u32,
    /// The shard's number.
    pub shard: u32,
    /// The shard, counted within its stream.
    pub shard_index: u32,
    /// The stream's name.
    pub name: String,
}

impl ShardIterator {
    /// As a word.
    pub fn encode(&self) -> String {
        let longs = [self.nonce, self.made_ms, self.from, self.shard_made_s].map(u64::to_le_bytes);
        let shorts = [self.stream, self.shard, self.shard_index].map(u32::to_le_bytes);
        seal(Kind::ShardIterator, &[longs.as_flattened(), shorts.as_flattened(), self.name.as_bytes()].concat())
    }

    /// Reads a word, which may stand in quotes; `None` if it is none of these.
    pub fn decode(text: &str) -> Option<ShardIterator> {
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let bytes = open(Kind::ShardIterator, text)?;
        let mut fields = Fields(&bytes);
        Some(ShardIterator {
            nonce: fields.long()?,
            made_ms: fields.long()?,
            from: fields.long()?,
            shard_made_s: fields.long()?,
            stream: fields.short()?,
            shard: fields.short()?,
            shard_index: fields.short()?,
            name: fields.text()?.to_owned(),
        })
    }
}

/// A place in the shards of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShardsPlace {
    /// Whose stream it is.
    pub place: Place,
    /// When it was made, in milliseconds since 1970.
    pub made_ms: u64,
    /// The stream's number.
    pub stream: u32,
    /// The shard that comes next, counted within the stream.
    pub from: u32,
    /// The time that the filter speaks of, in milliseconds since 1970.
    pub since_ms: u64,
    /// Which shards are wanted; nothing for all.
    pub filter: String,
    /// The stream's name.
    pub name: String,
}

impl ShardsPlace {
    /// As a word.
    pub fn encode(&self) -> String {
        let longs = [self.made_ms, self.since_ms].map(u64::to_le_bytes);
        let shorts = [self.stream, self.from].map(u32::to_le_bytes);
        // None of them has a space in it.
        let text = [&*self.filter, &self.place.region, &self.place.account, &self.name].join(" ");
        seal(Kind::ListShards, &[longs.as_flattened(), shorts.as_flattened(), text.as_bytes()].concat())
    }

    /// Reads a word; `None` if it is none of these.
    pub fn decode(text: &str) -> Option<ShardsPlace> {
        let bytes = open(Kind::ListShards, text)?;
        let mut fields = Fields(&bytes);
        let (made_ms, since_ms) = (fields.long()?, fields.long()?);
        let (stream, from) = (fields.short()?, fields.short()?);
        let mut words = fields.text()?.split(' ').map(str::to_owned);
        let mut word = || words.next();
        let (filter, place) = (word()?, Place { region: word()?, account: word()? });
        Some(ShardsPlace { place, made_ms, stream, from, since_ms, filter, name: word()? })
    }
}

/// A place in the names of all streams.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamsPlace {
    /// When it was made, in milliseconds since 1970.
    pub made_ms: u64,
    /// The last name that was told.
    pub after: String,
}

impl StreamsPlace {
    /// As a word.
    pub fn encode(&self) -> String {
        seal(Kind::ListStreams, &[&self.made_ms.to_le_bytes(), self.after.as_bytes()].concat())
    }

    /// Reads a word; `None` if it is none of these.
    pub fn decode(text: &str) -> Option<StreamsPlace> {
        let bytes = open(Kind::ListStreams, text)?;
        let mut fields = Fields(&bytes);
        Some(StreamsPlace { made_ms: fields.long()?, after: fields.text()?.to_owned() })
    }
}

/// A place in the consumers of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConsumersPlace {
    /// When it was made, in milliseconds since 1970.
    pub made_ms: u64,
    /// The stream's number.
    pub stream: u32,
    /// The last name that was told.
    pub after: String,
}

impl ConsumersPlace {
    /// As a word.
    pub fn encode(&self) -> String {
        let fields = [&self.made_ms.to_le_bytes()[..], &self.stream.to_le_bytes(), self.after.as_bytes()];
        seal(Kind::ListStreamConsumers, &fields.concat())
    }

    /// Reads a word; `None` if it is none of these.
    pub fn decode(text: &str) -> Option<ConsumersPlace> {
        let bytes = open(Kind::ListStreamConsumers, text)?;
        let mut fields = Fields(&bytes);
        Some(ConsumersPlace { made_ms: fields.long()?, stream: fields.short()?, after: fields.text()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> ShardIterator {
        ShardIterator {
            nonce: 1,
            made_ms: 1_700_000_000_123,
            from: u64::MAX - 1,
            shard_made_s: 1_699_999_999,
            stream: 2,
            shard: 77,
            shard_index: 3,
            name: "x".repeat(128),
        }
    }

    #[test]
    fn they_come_back_in_quotes_or_not() {
        let word = some().encode();
        assert!(word.len() <= TEXT_BYTES_MAX, "{}", word.len());
        assert_eq!(ShardIterator::decode(&word), Some(some()));
        assert_eq!(ShardIterator::decode(&format!("\"{word}\"")), Some(some()));
    }

    #[test]
    fn what_was_changed_or_is_of_another_kind_is_none() {
        let word = some().encode();
        for at in 0..word.len() {
            let mut changed = word.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("letters");
            assert_eq!(ShardIterator::decode(&changed), None, "letter {at}");
            assert_eq!(ShardIterator::decode(&word[..at]), None, "cut at {at}");
        }
        assert_eq!(ShardIterator::decode(&"A".repeat(4096)), None);
        let shards = ShardsPlace {
            place: Place::default(),
            made_ms: 1,
            stream: 2,
            from: 3,
            since_ms: 4,
            filter: "AT_LATEST".to_owned(),
            name: "orders".to_owned(),
        };
        assert_eq!(ShardsPlace::decode(&shards.encode()), Some(shards.clone()));
        assert_eq!((ShardIterator::decode(&shards.encode()), StreamsPlace::decode(&shards.encode())), (None, None));
        let streams = StreamsPlace { made_ms: 1, after: "orders".to_owned() };
        assert_eq!(StreamsPlace::decode(&streams.encode()), Some(streams));
        let consumers = ConsumersPlace { made_ms: 1, stream: 2, after: "reader".to_owned() };
        assert_eq!(ConsumersPlace::decode(&consumers.encode()), Some(consumers));
    }
}
