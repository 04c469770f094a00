//! The numbers of a journal's segments: 32 bits, of which none is given twice.

use frame::SegmentNumber;

/// A journal's segments have numbers below this one. At 1 GB/s those of 4 MiB last for half a year, and are never given twice.
pub(super) const SEGMENT_NUMBERS_END: u32 = u32::MAX;

/// From here on it is warned that they come to their end, each time that so many were given.
const SEGMENT_NUMBERS_WARNED: u32 = SEGMENT_NUMBERS_END / 10 * 9;

/// How often.
const SEGMENT_NUMBERS_STEP: u32 = 1 << 16;

/// Whether `next` may be given.
pub(super) fn are_left(next: SegmentNumber) -> bool {
    next.0 < SEGMENT_NUMBERS_END
}

/// Says, now and then, that they come to their end.
pub(super) fn tell(SegmentNumber(next): SegmentNumber) {
    let left = SEGMENT_NUMBERS_END.saturating_sub(next);
    if left == 0 {
        tracing::error!("all numbers of segments are used up: appends are refused; go on in a new data directory");
    } else if next >= SEGMENT_NUMBERS_WARNED && next.is_multiple_of(SEGMENT_NUMBERS_STEP) {
        tracing::warn!(
            left,
            "numbers of segments come to their end; go on in a new data directory, with larger segments"
        );
    }
}
