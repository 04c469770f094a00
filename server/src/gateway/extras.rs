//! What the API keeps of a stream that the log has no use for: its consumers, tags and the like.
//!
//! It lies beside the stream in the log, as JSON. So it is as durable as the stream is, and goes with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine::Stream;
use serde::{Deserialize, Serialize};
use wire::{Error, ErrorKind};

/// Tags, by their keys.
pub(super) type Tags = BTreeMap<String, String>;

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Extras {
    /// Who is registered to be pushed records, in the order of their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) consumers: Vec<Consumer>,
    #[serde(skip_serializing_if = "Tags::is_empty")]
    pub(super) tags: Tags,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
}

/// Who is registered to be pushed a stream's records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Consumer {
    pub(super) name: String,
    /// When it was registered, in milliseconds since 1970.
    pub(super) created_ms: u64,
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub(super) tags: Tags,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<String>,
}

impl Extras {
    /// What is kept of a stream.
    pub(super) fn of(stream: &Stream) -> Result<Extras, Error> {
        if stream.annotation.is_empty() {
            return Ok(Extras::default());
        }
        serde_json::from_slice(&stream.annotation).map_err(|error| {
            let message = format!("What is kept beside stream {} can't be read: {error}", stream.name);
            Error::new(ErrorKind::InternalFailure, message)
        })
    }

    /// As it is kept; nothing if there is nothing.
    pub(super) fn encode(&self) -> Result<Arc<[u8]>, Error> {
        if *self == Extras::default() {
            return Ok(Arc::default());
        }
        let bytes = serde_json::to_vec(self);
        bytes.map(Arc::from).map_err(|error| Error::new(ErrorKind::InternalFailure, error.to_string()))
    }
}
