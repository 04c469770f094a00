//! What it means that the disk refused a step on files.

/// The file system can't do that.
pub(super) const EOPNOTSUPP: i32 = -95;

/// The disk is full.
pub(super) const ENOSPC: i32 = -28;

/// Whether a refusal says nothing about what was written: EAGAIN, ENOMEM, ENFILE, EMFILE, ENOSPC, EDQUOT. Any other may
/// have taken writes of the journal along that were not flushed yet, so that their own flush succeeds in vain.
///
/// Of steps that flush nothing alone: those that open, allocate, cut, name or remove a file. A flush, and so a durable write,
/// reports by ENOSPC or EDQUOT that what was written before is lost (thin volumes, quotas, copy on write), and never again: each
/// of its errors counts as EIO does.
pub(crate) fn is_passing(result: i32) -> bool {
    matches!(-result, 11 | 12 | 23 | 24 | 28 | 122)
}
