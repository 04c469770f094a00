//! Builds the bodies of PutRecord and PutRecords in place, and keeps what is needed to hold their answers against them.

use std::str::FromStr;

use frame::limits::LARGE_RECORD_BYTES_MAX;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::base64::encode;
use super::cbor::Writer;
use super::endpoint::Endpoint;
use super::pipe::Signed;
use super::{HttpError, Wire};
use crate::verify::SentRecord;
use crate::workload::{KEY_BYTES, Lane};

/// Records of one PutRecords.
pub const RECORDS_MAX: u32 = 500;

/// Data and keys of several records in one request. The service takes 10 MiB, others the 5 MiB that it took before.
const REQUEST_BYTES_MAX: usize = 5 << 20;

/// How records are stored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Operation {
    /// One a request.
    PutRecord,
    /// Up to [`RECORDS_MAX`] a request.
    #[default]
    PutRecords,
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "put-record" => Ok(Self::PutRecord),
            "put-records" => Ok(Self::PutRecords),
            other => Err(format!("{other:?} is not an operation; give put-record or put-records")),
        }
    }
}

impl Operation {
    /// The name by which the API knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PutRecord => "PutRecord",
            Self::PutRecords => "PutRecords",
        }
    }

    /// How many records a request has, of so many that are asked for.
    pub fn records(self, asked: u32) -> u32 {
        match self {
            Self::PutRecord => 1,
            Self::PutRecords => asked.min(RECORDS_MAX),
        }
    }
}

/// What a record is held to be by the verification: its key and its data.
pub(super) fn checksum(key: &[u8], data: &[u8]) -> u64 {
    xxh3_64_with_seed(data, xxh3_64(key))
}

/// A request under construction.
#[derive(Debug)]
pub(super) struct Batch {
    operation: Operation,
    wire: Wire,
    body: Vec<u8>,
    pub(super) records: Vec<SentRecord>,
    /// Bytes of data and keys.
    pub(super) content_bytes: u64,
    /// Which of the run's streams.
    pub(super) stream: usize,
    /// The oldest of its records' times.
    pub(super) intended_ns: u64,
    /// One record's data in one piece.
    data: Vec<u8>,
}

/// One that is ready to be sent.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) request: Signed,
    pub(super) records: Vec<SentRecord>,
    pub(super) content_bytes: u64,
    pub(super) stream: usize,
    pub(super) intended_ns: u64,
}

impl Batch {
    /// Begins one of about so many bytes to a stream.
    pub(super) fn begin(operation: Operation, wire: Wire, (stream, name): (usize, &str), bytes: usize) -> Self {
        let mut body = Vec::with_capacity(bytes);
        match (wire, operation) {
            (Wire::Json, _) => {
                body.extend_from_slice(b"{\"StreamName\":");
                put_text(&mut body, name.as_bytes());
                body.extend_from_slice(match operation {
                    Operation::PutRecord => b",",
                    Operation::PutRecords => b",\"Records\":[",
                });
            }
            (Wire::Cbor, Operation::PutRecord) => {
                Writer::new(&mut body).map(3).text("StreamName").text(name);
            }
            (Wire::Cbor, Operation::PutRecords) => {
                Writer::new(&mut body).map(2).text("StreamName").text(name).text("Records").list();
            }
        }
        let (records, data) = (Vec::new(), Vec::new());
        Self { operation, wire, body, records, content_bytes: 0, stream, intended_ns: u64::MAX, data }
    }

    /// Whether one more record of this size keeps within the API's limits, and those asked for.
    pub(super) fn has_room(&self, records_max: u32, bytes: usize) -> bool {
        has_room(self.records.len(), self.content_bytes as usize, records_max, bytes)
    }

    /// Adds a record.
    pub(super) fn push<const PIECES: usize>(&mut self, key: &[u8], data: [&[u8]; PIECES]) {
        self.data.clear();
        data.iter().for_each(|piece| self.data.extend_from_slice(piece));
        match self.wire {
            Wire::Json => self.put_json(key),
            Wire::Cbor => self.put_cbor(key),
        }
        let bytes = key.len() + self.data.len();
        self.records.push(SentRecord { checksum: checksum(key, &self.data), bytes: bytes as u32 });
        self.content_bytes += bytes as u64;
    }

    fn put_json(&mut self, key: &[u8]) {
        let body = &mut self.body;
        match (self.operation, self.records.is_empty()) {
            (Operation::PutRecord, _) => {}
            (Operation::PutRecords, true) => body.push(b'{'),
            (Operation::PutRecords, false) => body.extend_from_slice(b",{"),
        }
        body.extend_from_slice(b"\"Data\":\"");
        encode(&self.data, body);
        body.extend_from_slice(b"\",\"PartitionKey\":");
        put_text(body, key);
        body.push(b'}');
    }

    fn put_cbor(&mut self, key: &[u8]) {
        let mut writer = Writer::new(&mut self.body);
        if self.operation == Operation::PutRecords {
            writer.map(2);
        }
        writer.text("Data").bytes(&self.data).text("PartitionKey").text(&String::from_utf8_lossy(key));
    }

    /// Notes when a record was meant to leave: the batch counts from its oldest.
    pub(super) fn intend(&mut self, due_ns: u64) {
        self.intended_ns = self.intended_ns.min(due_ns);
    }

    /// Closes it, and signs it.
    pub(super) fn finish(mut self, endpoint: &Endpoint) -> Ready {
        self.end();
        let Self { operation, wire, body, records, content_bytes, stream, intended_ns, .. } = self;
        let request = Signed::new(endpoint, operation.name(), wire, body);
        Ready { request, records, content_bytes, stream, intended_ns }
    }

    fn end(&mut self) {
        match (self.operation, self.wire) {
            (Operation::PutRecord, _) => {}
            (Operation::PutRecords, Wire::Json) => self.body.extend_from_slice(b"]}"),
            (Operation::PutRecords, Wire::Cbor) => Writer::new(&mut self.body).end(),
        }
    }
}

/// Refuses a record that is more than the API takes.
pub(super) fn check_record_size(key_bytes: usize, data_bytes: usize) -> Result<(), HttpError> {
    let (bytes, bytes_max) = (key_bytes + data_bytes, LARGE_RECORD_BYTES_MAX);
    if bytes > bytes_max { Err(HttpError::RecordTooLarge { bytes, bytes_max }) } else { Ok(()) }
}

fn put_text(body: &mut Vec<u8>, text: &[u8]) {
    serde_json::to_writer(body, &*String::from_utf8_lossy(text)).expect("memory takes everything");
}

fn has_room(count: usize, content_bytes: usize, records_max: u32, bytes: usize) -> bool {
    count == 0 || (count < records_max as usize && content_bytes + bytes <= REQUEST_BYTES_MAX)
}

/// How many records a request has, on average: where they are large, fewer than it may.
pub(super) fn usual_records(records_max: u32, lane: &mut Lane) -> f64 {
    const REQUESTS: usize = 100;
    let largest = KEY_BYTES + lane.largest();
    let mut records = 0;
    for _ in 0..REQUESTS {
        let (mut count, mut bytes) = (0, 0);
        while has_room(count, bytes, records_max, largest) {
            (count, bytes) = (count + 1, bytes + KEY_BYTES + lane.draw().bytes);
        }
        records += count;
    }
    records as f64 / REQUESTS as f64
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(operation: Operation, records: &[(&str, &[u8])]) -> Value {
        serde_json::from_slice(&body(operation, Wire::Json, records)).unwrap()
    }

    fn body(operation: Operation, wire: Wire, records: &[(&str, &[u8])]) -> Vec<u8> {
        let mut batch = Batch::begin(operation, wire, (0, "a \"name\""), 100);
        records.iter().for_each(|(key, data)| batch.push(key.as_bytes(), [&data[..1], &data[1..]]));
        batch.end();
        batch.body
    }

    #[test]
    fn bodies_are_what_the_api_reads() {
        let one = written(Operation::PutRecord, &[("key\n\"", b"hello")]);
        assert_eq!(one, json!({"StreamName": "a \"name\"", "Data": "aGVsbG8=", "PartitionKey": "key\n\""}));
        let two = written(Operation::PutRecords, &[("k", b"hello"), ("ü", b"\xff\x00")]);
        let records = json!([{"Data": "aGVsbG8=", "PartitionKey": "k"}, {"Data": "/wA=", "PartitionKey": "ü"}]);
        assert_eq!(two, json!({"StreamName": "a \"name\"", "Records": records}));
    }

    /// Held against the bytes that the standard gives.
    #[test]
    fn bodies_in_cbor_have_data_as_it_is() {
        let one = body(Operation::PutRecord, Wire::Cbor, &[("k", b"\xff\x00")]);
        assert_eq!(one, b"\xa3\x6aStreamName\x68a \"name\"\x64Data\x42\xff\x00\x6cPartitionKey\x61k");
        let two = body(Operation::PutRecords, Wire::Cbor, &[("k", b"hello"), ("\u{fc}", &[7; 300])]);
        let records = [&b"\xa2\x64Data\x45hello\x6cPartitionKey\x61k\xa2\x64Data\x59\x01\x2c"[..], &[7; 300]].concat();
        let head = b"\xa2\x6aStreamName\x68a \"name\"\x67Records\x9f";
        assert_eq!(two, [&head[..], &records, b"\x6cPartitionKey\x62\xc3\xbc\xff"].concat());
    }

    #[test]
    fn batches_close_at_the_limits() {
        let mut batch = Batch::begin(Operation::PutRecords, Wire::Json, (0, "s"), 0);
        assert!(batch.has_room(2, 10 << 20), "the first record always fits");
        batch.push(b"k", [&[0; 100]]);
        assert!(batch.has_room(2, REQUEST_BYTES_MAX - 101) && !batch.has_room(2, REQUEST_BYTES_MAX - 100));
        batch.push(b"k", [&[0; 100]]);
        assert!(!batch.has_room(2, 1) && batch.has_room(3, 1));
        assert!(check_record_size(16, LARGE_RECORD_BYTES_MAX - 16).is_ok());
        assert!(check_record_size(17, LARGE_RECORD_BYTES_MAX - 16).is_err());
        assert_eq!((Operation::PutRecord.records(250), Operation::PutRecords.records(9000)), (1, 500));
    }

    #[test]
    fn a_record_is_held_to_its_key_and_its_data() {
        let sum = checksum(b"ab", b"c");
        assert!(sum != checksum(b"a", b"bc") && sum != checksum(b"ab", b"d") && sum == checksum(b"ab", b"c"));
    }
}
