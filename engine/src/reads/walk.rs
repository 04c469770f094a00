//! The frames of an extent: verified, and those picked out that are wanted.

use std::ops::{Range, RangeInclusive};

use frame::{Frame, Sequence, ShardId};

use super::Found;

/// Why a walk ended.
#[derive(Debug)]
pub(super) enum RunEnd {
    Whole,
    Enough,
    /// The next frame lies past the end asked for.
    AtEnd,
    /// A frame that is wanted is not what was written; `next` is the first intact one after it in the extent.
    Damaged {
        next: Option<Sequence>,
    },
}

/// The frames of an extent that are wanted.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) taken: Range<usize>,
    pub(super) end: RunEnd,
}

/// An extent as it was read, and what it must be.
pub(super) struct Extent<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) shard: ShardId,
    pub(super) numbers: &'a RangeInclusive<Sequence>,
    pub(super) verify: bool,
}

impl<'a> Extent<'a> {
    /// The frame at `at`, if it is intact; of one before `wanted` only the header must be. One of another number than the
    /// extent holds was written somewhere else, and ended up here.
    fn frame(&self, at: usize, wanted: Sequence) -> Option<Frame<'a>> {
        let frame =
            Frame::parse_stored(&self.bytes[at..]).ok().filter(|frame| self.numbers.contains(&frame.sequence()))?;
        let payload = || frame.sequence() < wanted || frame.verify_payload().is_ok();
        (!self.verify || (frame.verify_header(self.shard).is_ok() && payload())).then_some(frame)
    }

    /// The place and number of the first intact frame after the damaged one at `at`, which bears number `due`. The length
    /// that a damaged frame claims is believed only if its header is intact: else every place where a frame may begin is looked at.
    fn next_intact(&self, at: usize, due: Sequence) -> Option<(usize, Sequence)> {
        // What it carries, as whoever stored it chose, may look like frames that come after it.
        let header = self.frame(at, Sequence(u64::MAX)).filter(|frame| frame.sequence() == due);
        let from = header.map_or(at + 8, |frame| at + frame.length());
        let places = (from..self.bytes.len()).step_by(8);
        let mut frames = places.filter_map(|place| Some((place, self.frame(place, Sequence(0))?.sequence())));
        frames.find(|&(_, sequence)| sequence > due)
    }
}

/// Which frames are wanted, from a number on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// None from this number on.
    pub(super) end: Sequence,
    /// The first of them arrived no earlier.
    pub(super) since_ms: u64,
    /// No more than so many bytes, but one frame in any case.
    pub(super) bytes_max: usize,
    /// And no more frames in all that are found, but one in any case.
    pub(super) frames_max: u32,
}

/// Walks the frames of an extent, which begins before the end of `bounds`: passes over those before `found.result.next`, counts those
/// from there on within `bounds`, as far as all are encrypted, or none is.
pub(super) fn walk(extent: &Extent<'_>, found: &mut Found, bounds: &Bounds) -> Run {
    let Found { result, record_bytes } = found;
    let (mut at, mut start, mut due) = (0, None, *extent.numbers.start());
    while at < extent.bytes.len() {
        let Some(frame) = extent.frame(at, result.next).filter(|frame| frame.sequence() == due) else {
            match extent.next_intact(at, due) {
                // What is damaged lies before what is wanted.
                Some((place, sequence)) if start.is_none() && sequence <= result.next => {
                    (at, due) = (place, sequence);
                    continue;
                }
                next => {
                    let next = next.map(|(_, sequence)| sequence);
                    return Run { taken: start.unwrap_or(at)..at, end: RunEnd::Damaged { next } };
                }
            }
        };
        if frame.sequence() >= result.next && result.records == 0 && frame.arrival_ms() < bounds.since_ms {
            result.next = frame.sequence().next();
        } else if frame.sequence() >= result.next {
            if frame.sequence() >= bounds.end {
                return Run { taken: start.unwrap_or(at)..at, end: RunEnd::AtEnd };
            }
            let first = *start.get_or_insert(at);
            let is_full = at + frame.length() - first > bounds.bytes_max
                || result.records >= bounds.frames_max
                || frame.is_encrypted() != result.encrypted;
            if is_full && result.records > 0 {
                return Run { taken: first..at, end: RunEnd::Enough };
            }
            result.encrypted = frame.is_encrypted();
            result.records += 1;
            *record_bytes += frame.record_bytes() as u64;
            result.next = frame.sequence().next();
        }
        at += frame.length();
        due = due.next();
    }
    Run { taken: start.unwrap_or(at)..at, end: RunEnd::Whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARD: ShardId = ShardId(3);

    fn frame(number: u64, data: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        frame::frame::encode(&mut frame, b"key", None, data).unwrap();
        frame::frame::stamp(&mut frame, SHARD, Sequence(number), 77);
        frame
    }

    /// Found on reading: whoever read on behind a damaged record was given what that record's data looked like.
    #[test]
    fn what_a_damaged_record_carries_is_no_record() {
        let forged = frame(2, b"as another producer would");
        let frames = [frame(1, &forged.repeat(3)), frame(2, b"what was stored"), frame(3, b"and more")];
        let mut bytes = frames.concat();
        // Behind what looks like a frame.
        let at = frames[0].len() - 40;
        bytes[at] ^= 1;
        let numbers = Sequence(1)..=Sequence(3);
        let extent = Extent { bytes: &bytes, shard: SHARD, numbers: &numbers, verify: true };
        assert_eq!(extent.next_intact(0, Sequence(1)), Some((frames[0].len(), Sequence(2))));
        // Where the header is damaged as well there is nothing to go by.
        bytes[16] ^= 1;
        let extent = Extent { bytes: &bytes, shard: SHARD, numbers: &numbers, verify: true };
        assert!(extent.next_intact(0, Sequence(1)).is_some_and(|(_, sequence)| sequence == Sequence(2)));
    }
}
