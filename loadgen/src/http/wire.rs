//! How records are written on their way to an endpoint and back: in JSON, or in CBOR as the SDK for Java does.
//!
//! Everything else is asked in JSON: it costs next to nothing.

use std::str::FromStr;

use super::api::{GetRecords, PutOutcome, PutOutcomes, Records};
use super::batch::Operation;
use super::cbor::{self, CborError, Writer};

/// How records are written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Wire {
    /// `application/x-amz-json-1.1`: data is in base64.
    #[default]
    Json,
    /// `application/x-amz-cbor-1.1`: data is as it is.
    Cbor,
}

impl FromStr for Wire {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "cbor" => Ok(Self::Cbor),
            other => Err(format!("{other:?} is not a way to write records; give json or cbor")),
        }
    }
}

/// Why an answer could not be read.
type Unreadable = Box<dyn std::error::Error>;

impl Wire {
    /// The name for the result.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Cbor => "CBOR",
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// Asks for records.
    pub(super) fn get_records(self, shard_iterator: &str, limit: u32) -> Vec<u8> {
        match self {
            Self::Json => {
                serde_json::to_vec(&GetRecords { shard_iterator, limit }).expect("a request is text and numbers")
            }
            Self::Cbor => {
                let mut body = Vec::new();
                let mut writer = Writer::new(&mut body);
                writer.map(2).text("ShardIterator").text(shard_iterator).text("Limit").number(limit.into());
                body
            }
        }
    }

    /// Records that were asked for.
    pub(super) fn records(self, answer: &[u8]) -> Result<Records<'_>, Unreadable> {
        match self {
            Self::Json => Ok(serde_json::from_slice(answer)?),
            Self::Cbor => cbor::records(answer).map_err(CborError::into),
        }
    }

    /// What became of the records of a request.
    pub(super) fn outcomes(self, operation: Operation, answer: &[u8]) -> Result<Vec<PutOutcome<'_>>, Unreadable> {
        match (self, operation) {
            (Self::Json, Operation::PutRecord) => Ok(vec![serde_json::from_slice(answer)?]),
            (Self::Json, Operation::PutRecords) => Ok(serde_json::from_slice::<PutOutcomes<'_>>(answer)?.records),
            (Self::Cbor, Operation::PutRecord) => Ok(vec![cbor::put_outcome(answer)?]),
            (Self::Cbor, Operation::PutRecords) => Ok(cbor::put_outcomes(answer)?),
        }
    }
}
