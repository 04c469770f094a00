//! What readers are told of records that can't be read: which they are, and where to go on.

use std::ops::Range;

use frame::proto::{ErrorCode, Failure};
use frame::{Sequence, ShardId};

use super::Answer;
use crate::journal::SegmentId;

/// Records that are wanted are damaged.
pub(super) fn stop_at_damage(shard: ShardId, numbers: Range<Sequence>, why: &str) -> Answer {
    let Range { start, end } = numbers;
    let range = format!("{start} to {}", end.0 - 1);
    let detail = format!("records {range} of shard {shard} can't be read: {why}; check the disk, read on from {end}");
    Answer::Failure(Failure::damaged(numbers, detail))
}

/// Nobody knows where records lie under it. They are no more lost than the footer, which a start makes again.
pub(super) fn damaged_footer(segment: SegmentId) -> Answer {
    let SegmentId { journal, number } = segment;
    let what = format!("the footer of segment {number} of journal {journal} can't be read");
    Answer::Failure(Failure::new(ErrorCode::StorageFailed, format!("{what}; restart to have it made again")))
}
