//! An attempt is stored at most once.

use std::collections::BTreeSet;

use frame::ShardId;

use crate::model::{Breach, Reading};

pub(super) fn check(shard: ShardId, reading: &Reading) -> Result<(), Breach> {
    let mut seen = BTreeSet::new();
    match reading.found.iter().find(|found| !seen.insert(found.attempt)) {
        Some(again) => Err(Breach::new("at most once", format!("{again:?} of shard {shard} is there before"))),
        None => Ok(()),
    }
}
