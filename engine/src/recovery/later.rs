//! What the segments behind the one that is replayed tell of it.

use frame::batch::Header;
use frame::segment::FIRST_BATCH;
use frame::{Epoch, Position};
use io::Io;

use super::{AtPlace, OpenError, Scan, Segment};
use crate::journal::Blueprint;

/// What they tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Later {
    /// Whether the first batch of the next one continues the chain.
    pub(super) continues: bool,
    /// What they claim to be durable. If the next one continues, that is not looked for.
    pub(super) claimed: Position,
    /// Where the first batch of the next one should be, if it can't be read: it may be of this chain.
    pub(super) hidden: Option<Position>,
}

impl Later {
    /// Looks at the segments that follow. Whether the next one continues its header tells, also where the rest of the batch is
    /// torn: that one may say that all before its segment is durable, which is then all there was. Any batch may claim, since
    /// the first may be damaged as well, or say no more than what was durable when it was written.
    pub(super) fn look(
        io: &mut impl Io,
        blueprint: &Blueprint,
        segments: &[Segment],
        epoch: Epoch,
        continues: impl Fn(&Header) -> bool,
    ) -> Result<Later, OpenError> {
        let mut later = Later::default();
        for (at, segment) in segments.iter().enumerate() {
            let mut scan = Scan::new(blueprint.log_id, blueprint.journal, *segment);
            if at == 0 {
                let first = scan.at(io, FIRST_BATCH, &mut Vec::new())?;
                if let AtPlace::Intact(header) | AtPlace::HeaderOnly(header) = first
                    && continues(&header)
                {
                    return Ok(Later { continues: true, ..later });
                }
                let is_hidden = scan.unreadable_from(FIRST_BATCH) == Some(FIRST_BATCH);
                later.hidden = is_hidden.then_some(Position::new(segment.number, FIRST_BATCH));
            }
            later.claimed = later.claimed.max(scan.look_through(io, epoch)?.claimed);
        }
        Ok(later)
    }
}
