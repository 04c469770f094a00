//! What is read or pushed, looked at frame by frame: checksums, content, and records in parts joined again.
//!
//! Only shards that are amid a record in parts take memory here, that of one record each.

use std::collections::BTreeMap;

use frame::parts::{Joiner, Record};
use frame::{Frame, ShardId};

use crate::workload::{Contents, Origin};

/// What a frame is.
pub(super) enum Look<'a> {
    /// A record, or the last part of one, and all of it is right.
    Sound(Record<'a>),
    /// The same of another run, as far as its checksums tell.
    Foreign(Record<'a>),
    /// Something of it is not right.
    Damaged,
    /// A part of a record that is not whole yet.
    Part,
}

/// Records in parts that are not whole, by their shard.
#[derive(Debug, Default)]
pub(super) struct Joiners(BTreeMap<ShardId, Joiner>);

impl Joiners {
    /// Takes a shard's next frame. A record is sound if it is what its checksums say, of this shard, and what this run's
    /// producers make, if that is known.
    #[inline]
    pub(super) fn take<'a>(&'a mut self, frame: &Frame<'a>, shard: ShardId, contents: Option<&Contents>) -> Look<'a> {
        if frame.verify_payload().is_err() || frame.verify_header(shard).is_err() {
            return Look::Damaged;
        }
        let record = if frame.is_part() || !self.0.is_empty() {
            self.0.entry(shard).or_default().push(frame)
        } else {
            Some(Record::of(frame))
        };
        let Some(record) = record else { return Look::Part };
        match contents.map_or(Origin::Own, |contents| contents.origin(record.data)) {
            Origin::Own => Look::Sound(record),
            Origin::Foreign => Look::Foreign(record),
            Origin::Wrong => Look::Damaged,
        }
    }
}
