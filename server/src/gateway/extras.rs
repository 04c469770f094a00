//! What the API keeps that the log has no use for: of a stream its consumers, tags and the like, of the account its settings.
//!
//! It lies in the log beside the stream, or beside all of them, as JSON. So it is as durable as the stream is, and goes with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use engine::Stream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::name::Place;
use wire::{Error, ErrorKind};

/// Tags, by their keys.
pub(super) type Tags = BTreeMap<String, String>;

/// All of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Extras {
    /// Who is registered to be pushed records, in the order of their names.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) consumers: Vec<Consumer>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) tags: Tags,
    /// Whether the stream is on demand; it is provisioned otherwise.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) on_demand: bool,
    /// Whether records are spread over the shards, whatever their keys are.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) spread: bool,
    /// What a stream on demand is to take in without growing first.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) warm_mibps: Option<u32>,
    /// How large a record may be, if that was ever set.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) record_kib_max: Option<u32>,
    /// Metrics of single shards that were asked for.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) metrics: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) policy: Option<String>,
    /// How many shards the stream is being brought to.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) scaling: Option<u32>,
    /// When that was asked for of late, in milliseconds since 1970.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) scaled_ms: Vec<u64>,
    /// When its mode was changed of late.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) switched_ms: Vec<u64>,
}

/// Who is registered to be pushed a stream's records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Consumer {
    pub(super) name: String,
    /// When it was registered, in milliseconds since 1970.
    pub(super) created_ms: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) tags: Tags,
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) policy: Option<String>,
}

/// What is kept of all accounts.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Accounts {
    /// Of the server's own.
    #[serde(flatten)]
    own: Account,
    /// Of the others, by account and region.
    #[serde(skip_serializing_if = "is_default")]
    others: BTreeMap<String, Account>,
}

/// What is kept of an account.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Account {
    /// The last time that it committed itself to pay for a least throughput.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) commitment: Option<Commitment>,
}

/// When the account is committed, in milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Commitment {
    pub(super) began_ms: u64,
    /// May lie ahead.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(super) ends_ms: Option<u64>,
}

impl Account {
    /// Whether it is committed.
    pub(super) fn is_committed(&self, now_ms: u64) -> bool {
        self.commitment.is_some_and(|commitment| commitment.lasts(now_ms))
    }
}

impl Commitment {
    /// Whether it is one still.
    pub(super) fn lasts(self, now_ms: u64) -> bool {
        self.ends_ms.is_none_or(|ends_ms| now_ms < ends_ms)
    }
}

impl Extras {
    /// What is kept of a stream.
    pub(super) fn of(stream: &Stream) -> Result<Extras, Error> {
        decode(&stream.annotation, || format!("stream {}", stream.name))
    }

    /// As it is kept; nothing if there is nothing.
    pub(super) fn encode(&self) -> Result<Arc<[u8]>, Error> {
        encode(self)
    }
}

impl Accounts {
    /// As they were kept.
    pub(super) fn decode(bytes: &[u8]) -> Result<Accounts, Error> {
        decode(bytes, || "the account".to_owned())
    }

    /// What is kept of one.
    pub(super) fn of(&self, own: &Place, place: &Place) -> Account {
        let other = || self.others.get(&key(place)).cloned().unwrap_or_default();
        if place == own { self.own.clone() } else { other() }
    }

    /// Keeps something else of one.
    pub(super) fn set(&mut self, own: &Place, place: &Place, account: Account) {
        if place == own {
            self.own = account;
        } else if is_default(&account) {
            self.others.remove(&key(place));
        } else {
            self.others.insert(key(place), account);
        }
    }

    /// As it is kept; nothing if there is nothing.
    pub(super) fn encode(&self) -> Result<Arc<[u8]>, Error> {
        encode(self)
    }
}

fn key(place: &Place) -> String {
    format!("{}/{}", place.account, place.region)
}

fn decode<T: Default + DeserializeOwned>(bytes: &[u8], what: impl FnOnce() -> String) -> Result<T, Error> {
    if bytes.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("What is kept beside {} can't be read: {error}", what());
        Error::new(ErrorKind::InternalFailure, message)
    })
}

fn encode<T: Default + PartialEq + Serialize>(kept: &T) -> Result<Arc<[u8]>, Error> {
    if is_default(kept) {
        return Ok(Arc::default());
    }
    let bytes = serde_json::to_vec(kept);
    bytes.map(Arc::from).map_err(|error| Error::new(ErrorKind::InternalFailure, error.to_string()))
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
