//! What things are called: accounts, ARNs of streams, names of shards.

use std::fmt;

use serde::ser::{Serialize, Serializer};

use crate::digits;
use crate::error::{Error, ErrorKind};

const SHARD_PREFIX: &str = "shardId-";

/// Whether it is one: 12 digits.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether it may be one: 1 to 32 small letters, digits and hyphens.
pub fn is_region(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(is_legal)
}

/// Where a server says it is, or a caller: whose streams are meant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The region.
    pub region: String,
    /// The account, 12 digits.
    pub account: String,
}

impl Default for Place {
    fn default() -> Place {
        Place { region: "us-east-1".to_owned(), account: "000000000000".to_owned() }
    }
}

impl Place {
    /// The place that an ARN names, if it is one of this service.
    pub fn of_arn(arn: &str) -> Option<Place> {
        let mut parts = arn.splitn(6, ':');
        let mut next = || parts.next().unwrap_or_default();
        let is_ours = next() == "arn" && next().starts_with("aws") && next() == "kinesis";
        let (region, account) = (next(), next());
        let place = || Place { region: region.to_owned(), account: account.to_owned() };
        (is_ours && is_region(region) && is_account(account)).then(place)
    }

    /// A stream's ARN.
    pub fn arn(&self, stream: &str) -> String {
        format!("arn:aws:kinesis:{}:{}:stream/{stream}", self.region, self.account)
    }

    /// There is no such stream.
    pub fn no_stream(&self, stream: &str) -> Error {
        let message = format!("Stream {stream} under account {} not found.", self.account);
        Error::new(ErrorKind::ResourceNotFound, message)
    }

    /// There is such a stream already.
    pub fn exists(&self, stream: &str) -> Error {
        let message = format!("Stream {stream} under account {} already exists.", self.account);
        Error::new(ErrorKind::ResourceInUse, message)
    }

    /// The stream has no such shard.
    pub fn no_shard(&self, shard: &str, stream: &str) -> Error {
        let message = format!("Could not find shard {shard} in stream {stream} under account {}.", self.account);
        Error::new(ErrorKind::ResourceNotFound, message)
    }

    /// The name of the stream that a request means, by name, by ARN or by both.
    ///
    /// # Errors
    /// Neither is given, they disagree, or the ARN is not one of a stream of this account.
    pub fn stream_of(&self, name: Option<&str>, arn: Option<&str>) -> Result<String, Error> {
        let argument = |message: &str| Err(Error::new(ErrorKind::InvalidArgument, message));
        match (name, arn.map(|arn| (arn, self.stream_in(arn)))) {
            (Some(name), None) => Ok(name.to_owned()),
            (None, Some((_, Some(found)))) if !found.contains('/') => Ok(found.to_owned()),
            (Some(name), Some((_, Some(found)))) if name == found => Ok(name.to_owned()),
            (Some(_), Some((_, Some(_)))) => argument("StreamName and StreamARN are of different streams."),
            (_, Some((arn, _))) => {
                let message = format!("{arn} is not the ARN of a stream of account {}.", self.account);
                argument(&message)
            }
            (None, None) => argument("Either StreamName or StreamARN must be provided."),
        }
    }

    /// A consumer's ARN.
    pub fn consumer_arn(&self, stream: &str, consumer: &str, created_ms: u64) -> String {
        format!("{}/consumer/{consumer}:{}", self.arn(stream), created_ms / 1000)
    }

    /// The stream and the name in a consumer's ARN, and when it was registered, in seconds since 1970.
    pub fn consumer_in<'a>(&self, arn: &'a str) -> Option<(&'a str, &'a str, u64)> {
        let (stream, consumer) = self.stream_in(arn)?.split_once("/consumer/")?;
        let (name, created_s) = consumer.rsplit_once(':')?;
        Some((stream, name, created_s.parse().ok()?))
    }

    /// There is no such consumer.
    pub fn no_consumer(&self, arn: &str) -> Error {
        let message = format!("Consumer {arn} under account {} not found.", self.account);
        Error::new(ErrorKind::ResourceNotFound, message)
    }

    fn stream_in<'a>(&self, arn: &'a str) -> Option<&'a str> {
        let mut parts = arn.splitn(6, ':');
        let is_ours = parts.next() == Some("arn")
            && parts.next().is_some_and(|partition| partition.starts_with("aws"))
            && parts.next() == Some("kinesis")
            && parts.next() == Some(self.region.as_str())
            && parts.next() == Some(self.account.as_str());
        parts.next().filter(|_| is_ours)?.strip_prefix("stream/")
    }
}

/// A shard's name: its place in its stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardName(
    /// Counted within the stream.
    pub u32,
);

impl ShardName {
    /// Characters that one has.
    pub(crate) const LENGTH: usize = 20;

    /// Reads a name in its long or a short form: `shardId-000000000003`, `x-3`, `3`.
    pub fn parse(text: &str) -> Option<ShardName> {
        let digits = text.rsplit('-').next().unwrap_or(text);
        let number = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        (number <= i32::MAX as u32).then_some(ShardName(number))
    }

    /// Its characters in ASCII.
    pub(crate) fn text(self) -> [u8; ShardName::LENGTH] {
        let mut text = *b"shardId-000000000000";
        let number = u64::from(self.0);
        let (high, low) = text[SHARD_PREFIX.len()..].split_at_mut(4);
        high.copy_from_slice(&digits::eight(number / digits::END)[4..]);
        low.copy_from_slice(&digits::eight(number % digits::END));
        text
    }
}

impl fmt::Display for ShardName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SHARD_PREFIX}{:012}", self.0)
    }
}

impl Serialize for ShardName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(str::from_utf8(&self.text()).expect("letters and digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_found_by_name_or_arn() {
        let place = Place::default();
        let arn = place.arn("orders");
        assert_eq!(arn, "arn:aws:kinesis:us-east-1:000000000000:stream/orders");
        assert_eq!(place.stream_of(Some("orders"), None).as_deref(), Ok("orders"));
        assert_eq!(place.stream_of(None, Some(&arn)).as_deref(), Ok("orders"));
        assert_eq!(place.stream_of(Some("orders"), Some(&arn)).as_deref(), Ok("orders"));
        for (name, arn) in [(Some("other"), Some(arn.as_str())), (None, None), (None, Some("arn:aws:s3:::bucket"))] {
            assert_eq!(place.stream_of(name, arn).map_err(|error| error.kind), Err(ErrorKind::InvalidArgument));
        }
    }

    #[test]
    fn arns_name_a_place() {
        let place = Place { region: "eu-west-1".to_owned(), account: "111122223333".to_owned() };
        for arn in [
            place.arn("s"),
            place.consumer_arn("s", "c", 7000),
            "arn:aws-cn:kinesis:eu-west-1:111122223333:x".to_owned(),
        ] {
            assert_eq!(Place::of_arn(&arn), Some(place.clone()), "{arn}");
        }
        for arn in [
            "",
            "arn:aws:s3:eu-west-1:111122223333:stream/s",
            "arn:aws:kinesis:EU:111122223333:stream/s",
            "arn:aws:kinesis::111122223333:stream/s",
            "arn:aws:kinesis:eu-west-1:11112222333:stream/s",
            "arn:aws:kinesis:eu-west-1:+11112222333:stream/s",
        ] {
            assert_eq!(Place::of_arn(arn), None, "{arn}");
        }
    }

    #[test]
    fn shards_have_long_and_short_names() {
        for text in ["shardId-000000000003", "x-3", "3"] {
            assert_eq!(ShardName::parse(text), Some(ShardName(3)), "{text}");
        }
        for text in ["", "shardId-", "shardId-+3", "shardId-99999999999", "x"] {
            assert_eq!(ShardName::parse(text), None, "{text}");
        }
        for number in [0, 3, 12_345, u32::MAX] {
            let name = ShardName(number);
            assert_eq!(name.to_string(), format!("shardId-{number:012}"));
            assert_eq!(serde_json::to_string(&name).expect("text"), format!("\"{name}\""));
        }
    }
}
