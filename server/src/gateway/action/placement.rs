//! How records find their shards: by their keys, or wherever, in streams whose records are spread.
//!
//! Only of a stream that may be one of those it is asked what is kept beside it.

use wire::{Error, ErrorKind};

use crate::gateway::Shared;
use crate::gateway::extras::Extras;

/// How one record does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placement {
    /// By the partition key, or the hash key that is given.
    ByKey,
    /// By chance. Keys mean nothing, and may be missing.
    Spread,
}

/// How a stream's records do.
pub(super) async fn of(shared: &Shared, name: &str, has_all_keys: bool) -> Result<Placement, Error> {
    if has_all_keys && !shared.log.may_spread(&shared.place, name) {
        return Ok(Placement::ByKey);
    }
    let (stream, _) = shared.log.describe(&shared.place, name, 0, 0).await?;
    Ok(if Extras::of(&stream)?.spread { Placement::Spread } else { Placement::ByKey })
}

impl Placement {
    /// The hash key that a record is placed by, if it is not its partition key's.
    pub(super) fn hash_key(self, explicit: Option<&str>) -> Result<Option<u128>, Error> {
        match self {
            Placement::ByKey => explicit.map(parse).transpose(),
            // The upper half of it is nothing but random, but for four bits in its middle.
            Placement::Spread => Ok(Some(uuid::Uuid::new_v4().as_u128())),
        }
    }
}

fn parse(text: &str) -> Result<u128, Error> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or_else(|| {
        let rule = "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1].";
        Error::new(ErrorKind::InvalidArgument, format!("{rule} Specified value was {text}"))
    })
}
