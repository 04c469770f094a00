//! What callers of the Kinesis API send: bodies of each action in each way of writing, words that are handed back, signatures.
//!
//! ```text
//!   0 kind: modulo 4
//!     0 a body of JSON | 1 one of CBOR | 2 a word: 1 bit 0 its checksum repaired | 2 kind | 3 ...
//!     3 a signed request: method, space, path, then lines of headers, an empty one, the body
//! ```
//!
//! Nothing panics. What is read has no more bytes than were sent; a word that is understood says the same once it is written
//! again; and nobody without the secret makes a signed request say something else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wire::iterator::{ConsumersPlace, ShardIterator, ShardsPlace, StreamsPlace};
use wire::metric_data::{self, Writing};
use wire::name::{Place, ShardName};
use wire::sequence::SequenceNumber;
use wire::sigv4::{Claim, Head, Secret};
use wire::{Codec, shape};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Those of the published suite of signatures.
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SIGNED_AT_S: i64 = 1_440_938_160;
const SIGNED: [&str; 2] = [
    "POST /\ncontent-type:application/x-www-form-urlencoded\nhost:example.amazonaws.com\ncontent-length:13\n\
     x-amz-date:20150830T123600Z\n\
     x-amz-content-sha256:9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e\n\
     authorization:AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
     SignedHeaders=content-length;content-type;host;x-amz-content-sha256;x-amz-date, \
     Signature=d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b\n\nParam1=value1",
    "POST /?X-Amz-Algorithm=AWS4-HMAC-SHA256\
     &X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fservice%2Faws4_request&X-Amz-Date=20150830T123600Z\
     &X-Amz-SignedHeaders=content-length%3Bcontent-type%3Bhost&X-Amz-Expires=3600\
     &X-Amz-Signature=89a40deed0f26f9461242825a082d2222717248abc7ab41f552ad84a94ad46e9\n\
     content-type:application/x-www-form-urlencoded\nhost:example.amazonaws.com\ncontent-length:13\n\nParam1=value1",
];

/// What the checksum of a word begins with.
const WORD_SEED: u64 = u64::from_le_bytes(*b"token  1");

/// Judges one input.
pub fn run(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    match kind % 4 {
        0 => body(Codec::Json, rest),
        1 => body(Codec::Cbor, rest),
        2 => word(rest),
        _ => signed(rest),
    }
}

/// A body, taken for one of every action, and for metrics.
fn body(codec: Codec, bytes: &[u8]) {
    macro_rules! read_as {
        ($($shape:ident)*) => { $(let _ = codec.parse::<shape::$shape>(bytes);)* };
    }
    read_as!(AddTagsToStream CreateStream DeleteStream DescribeStream EnhancedMonitoring GetRecords GetShardIterator
        ListShards ListStreamConsumers ListStreams ListTagsForStream MergeShards PutRecord PutResourcePolicy
        RegisterStreamConsumer RemoveTagsFromStream RetentionPeriod SplitShard StreamEncryption SubscribeToShard
        TagResource UntagResource UpdateAccountSettings UpdateMaxRecordSize UpdateShardCount UpdateStreamMode
        UpdateStreamRecordDistributionStrategy UpdateStreamWarmThroughput);
    let usual = codec.parse::<shape::PutRecords>(bytes).map(|put| (put, shape::RECORDS_DEFAULT));
    let many = codec.parse::<shape::PutManyRecords>(bytes).map(|put| (put.into(), shape::RECORDS_MAX));
    for (put, kept_max) in [usual, many].into_iter().flatten() {
        let records = put.records.unwrap_or_default();
        let data = records.iter().filter_map(|record| record.data);
        assert!(data.map(<[u8]>::len).sum::<usize>() <= bytes.len(), "more data than was sent");
        assert_eq!(records.iter().len(), records.count().min(kept_max));
    }
    let writings = match codec {
        Codec::Json => [Writing::Json, Writing::Form],
        Codec::Cbor => [Writing::Cbor, Writing::Form],
    };
    for writing in writings {
        for (series, statistics) in metric_data::parse(writing, bytes).into_iter().flatten() {
            assert!(series.name.len() + series.namespace.len() <= bytes.len(), "longer names than were sent");
            assert!(statistics.count > 0.0 && statistics.min <= statistics.max, "{statistics:?}");
        }
    }
}

/// A word that the server gave, or a name that it knows.
fn word(bytes: &[u8]) {
    let Some((mode, bytes)) = bytes.split_first() else { return };
    let text = match mode & 1 {
        0 => String::from_utf8_lossy(bytes).into_owned(),
        _ => {
            let mut word = [&1_u64.to_be_bytes(), bytes].concat();
            word.extend_from_slice(&xxh3_64_with_seed(&word, WORD_SEED).to_le_bytes());
            STANDARD.encode(word)
        }
    };
    macro_rules! says_the_same {
        ($($place:ident)*) => { $(if let Some(place) = $place::decode(&text) {
            assert_eq!($place::decode(&place.encode()).as_ref(), Some(&place), "of {text}");
        })* };
    }
    says_the_same!(ShardIterator ShardsPlace StreamsPlace ConsumersPlace);
    if let Some(number) = SequenceNumber::parse(&text) {
        assert_eq!(SequenceNumber::parse(&number.to_string()), Some(number), "of {text}");
    }
    if let Some(name) = ShardName::parse(&text) {
        assert_eq!(ShardName::parse(&name.to_string()), Some(name), "of {text}");
    }
    if let Some(place) = Place::of_arn(&text) {
        assert_eq!(Place::of_arn(&place.arn("any")), Some(place.clone()), "of {text}");
        let _ = (place.stream_of(None, Some(&text)), place.consumer_in(&text));
    }
}

/// A request as it comes.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    query: &'a str,
    headers: Vec<(String, &'a str)>,
    body: &'a str,
}

impl<'a> Request<'a> {
    fn read(text: &'a str) -> Option<Request<'a>> {
        let (head, body) = text.split_once("\n\n")?;
        let (line, headers) = head.split_once('\n')?;
        let (method, target) = line.split_once(' ')?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = headers.lines().filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        Some(Request { method, path, query, headers, body })
    }

    fn head(&self) -> Head<'_> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        Head { method: self.method, path: self.path, query: self.query, headers }
    }

    fn is_verified(&self) -> bool {
        let head = self.head();
        let Ok(claim) = Claim::parse(&head) else { return false };
        let is_in_time = claim.check("service", |region| region == "us-east-1", SIGNED_AT_S).is_ok();
        claim.verify(&head, &Secret::new(SECRET.to_owned()), self.body.as_bytes()).is_ok()
            && is_in_time
            && claim.key == "AKIDEXAMPLE"
    }

    /// All of a header's values, each without spaces around.
    fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value.trim_ascii()).collect()
    }
}

/// A signed request, or what became of one.
fn signed(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(request) = Request::read(text) else { return };
    if !request.is_verified() {
        return;
    }
    let says_as_much = |made: &Request<'_>| {
        (made.method, made.body) == (request.method, request.body)
            && ["host", "x-amz-date"].iter().all(|name| made.values(name) == request.values(name))
    };
    let is_one = SIGNED.iter().filter_map(|text| Request::read(text)).any(|made| says_as_much(&made));
    assert!(is_one, "signed, though nobody signed it");
}

/// Inputs to start from.
pub fn starts() -> Vec<(&'static str, Vec<u8>)> {
    let put = br#"{"StreamName":"s","Records":[{"Data":"YWJj","PartitionKey":"k","ExplicitHashKey":"17"}]}"#;
    let metrics = br#"{"Namespace":"n","MetricData":[{"MetricName":"m","Values":[1.5,2],"Counts":[1,3],"Unit":"Count",
        "Timestamp":1.5e9,"Dimensions":[{"Name":"a","Value":"b"}]}]}"#;
    let form = b"Action=PutMetricData&Namespace=n&MetricData.member.1.MetricName=m&MetricData.member.1.Value=1.5\
        &MetricData.member.1.Dimensions.member.1.Name=a&MetricData.member.1.Dimensions.member.1.Value=b";
    let shards =
        br#"{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/s","ShardFilter":{"Type":"AT_TIMESTAMP",
        "Timestamp":1.7e9},"MaxResults":7,"Tags":{"a":"b"},"StreamModeDetails":{"StreamMode":"ON_DEMAND"}}"#;
    let cbor = b"\xbf\x6aStreamName\x61s\x64Data\x43abc\x6cPartitionKey\x61k\xff";
    let cbor_records = b"\xa2\x6aStreamName\x61s\x67Records\x81\xa2\x64Data\x43abc\x6cPartitionKey\x61k";
    let iterator = ShardIterator {
        nonce: 1,
        made_ms: 2,
        from: 3,
        shard_made_s: 4,
        stream: 5,
        shard: 6,
        shard_index: 7,
        name: "s".to_owned(),
    };
    let opened = STANDARD.decode(iterator.encode()).expect("a word is base64");
    let number = SequenceNumber { shard_made_s: 1, shard: 2, number: 3, arrival_s: 4 }.to_string();
    let arn = b"arn:aws:kinesis:us-east-1:000000000000:stream/s/consumer/c:1700000000";
    vec![
        ("json-put-records", [&[0], &put[..]].concat()),
        ("json-metrics", [&[0], &metrics[..]].concat()),
        ("json-shards", [&[0], &shards[..]].concat()),
        ("form-metrics", [&[0], &form[..]].concat()),
        ("cbor-put-record", [&[1], &cbor[..]].concat()),
        ("cbor-put-records", [&[1], &cbor_records[..]].concat()),
        ("word-iterator", [&[2, 0], iterator.encode().as_bytes()].concat()),
        ("word-iterator-repaired", [&[2, 1], &opened[8..opened.len() - 8]].concat()),
        ("word-sequence", [&[2, 0], number.as_bytes()].concat()),
        ("word-shard", [&[2, 0], &b"shardId-000000000017"[..]].concat()),
        ("word-consumer", [&[2, 0], &arn[..]].concat()),
        ("signed-header", [&[3], SIGNED[0].as_bytes()].concat()),
        ("signed-query", [&[3], SIGNED[1].as_bytes()].concat()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_verified() {
        for text in SIGNED {
            assert!(Request::read(text).is_some_and(|request| request.is_verified()), "{text}");
        }
    }

    #[test]
    fn starting_points_reach_what_lies_behind_the_first_check() {
        let starts = starts();
        let body = |name: &str| &starts.iter().find(|(other, _)| *other == name).expect("a start").1[1..];
        let put = Codec::Json.parse::<shape::PutRecords>(body("json-put-records")).expect("a request");
        assert_eq!(put.records.expect("records").count(), 1);
        let put = Codec::Cbor.parse::<shape::PutRecords>(body("cbor-put-records")).expect("a request");
        assert_eq!(put.records.expect("records").count(), 1);
        assert!(Codec::Cbor.parse::<shape::PutRecord>(body("cbor-put-record")).expect("a request").data.is_some());
        assert_eq!(metric_data::parse(Writing::Json, body("json-metrics")).expect("metrics").len(), 1);
        assert_eq!(metric_data::parse(Writing::Form, body("form-metrics")).expect("metrics").len(), 1);
    }
}
