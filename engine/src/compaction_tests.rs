//! What becomes of a copy that can't be written.

use frame::{JournalNumber, SegmentNumber};

use super::*;

/// Bug: a short write of a copy, as of a file system that is nearly full, ended all appends until a restart. Mechanism: it was
/// taken for a disk that fails. Fix: the copy is given up, and made again later; what lives is still where it was.
#[test]
fn a_short_write_of_the_copy_is_tried_again() {
    for stage in [Stage::Write, Stage::Seal] {
        let segment = SegmentId { journal: JournalNumber(0), number: SegmentNumber(1) };
        let sealed = Sealed { segment, file: FileId(1), bytes: 1 << 20, footer_at: 4096, footer_length: 4096 };
        let mut job = Job {
            run: vec![sealed],
            dir: DirId(0),
            file: FileId(2),
            allocated: 1 << 20,
            copy: Copy::into(segment),
            footer: None,
            stage,
            in_flight: false,
            is_scheduled: false,
            is_stopped: false,
        };
        // Of so many bytes nothing is.
        let done = Completion { token: Token(0), result: 512, more: false, payload: Payload::None };
        assert!(matches!(job.take(done), Err(Failure::Refused)), "{stage:?}");
    }
}
