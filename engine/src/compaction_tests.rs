//! What becomes of a copy that can't be written.

use frame::{JournalNumber, SegmentNumber};

use super::*;

/// Bug: a short write of a copy, as of a file system that is nearly full, ended all appends until a restart. Mechanism: it was
/// taken for a disk that fails. Fix: the copy is given up, and made again later; what lives is still where it was.
#[test]
fn a_short_write_of_the_copy_is_tried_again() {
    for stage in [Stage::Write, Stage::Seal] {
        // Of so many bytes nothing is.
        assert!(matches!(job_at(stage).take(completed(512)), Err(Failure::Refused)), "{stage:?}");
    }
}

/// Bug: acknowledged batches could be lost where a flush beside them failed for want of space. Mechanism: it counted as a full disk,
/// and was tried again, at once and for ever for the directory; but a thin volume and a quota say so that what was written is lost,
/// and the next flush is good. Fix: whatever flushes fails for good, and the journal with it.
#[test]
fn a_flush_that_fails_for_want_of_space_is_a_disk_that_fails() {
    for errno in [-12, -28, -122] {
        for stage in [Stage::Write, Stage::Seal, Stage::Sync, Stage::SyncDir] {
            assert!(matches!(job_at(stage).take(completed(errno)), Err(Failure::Disk)), "{stage:?}");
        }
        for stage in [Stage::Open, Stage::Allocate, Stage::Cut, Stage::Rename] {
            assert!(matches!(job_at(stage).take(completed(errno)), Err(Failure::Refused)), "{stage:?}");
        }
    }
}

/// Bug: one read that failed kept a segment from being compacted until a restart. Mechanism: what could not be read was left as it
/// is for good. Fix: for a minute, and twice as long each time.
#[test]
fn what_could_not_be_read_is_tried_again() {
    const MINUTE_NS: u64 = 60_000_000_000;
    let segment = job_at(Stage::Read).copy.newest();
    let mut compactor = Compactor::new(Token(0), Arc::new(Flushes::new(&[7])));
    let mut now_ns = 1;
    for minutes in [1, 2, 4, 8, 16, 32, 64, 64] {
        assert!(compactor.may_take(segment, now_ns));
        compactor.bar(segment, now_ns);
        compactor.rest(0, now_ns, 0);
        let until_ns = now_ns + minutes * MINUTE_NS;
        assert!(!compactor.may_take(segment, until_ns - 1) && !compactor.is_due(0, until_ns - 1), "{minutes} minutes");
        assert_eq!(compactor.next_ns(0, now_ns), Some(until_ns), "nothing else wakes the reactor");
        assert!(compactor.is_due(0, until_ns), "{minutes} minutes");
        now_ns = until_ns;
    }
    compactor.bar(segment, now_ns);
    compactor.forget(segment);
    assert!(compactor.may_take(segment, now_ns));
    compactor.rest(0, now_ns, 0);
    assert_eq!(compactor.next_ns(0, now_ns), None);
}

fn completed(result: i32) -> Completion {
    Completion { token: Token(0), result, more: false, payload: Payload::None }
}

fn job_at(stage: Stage) -> Job {
    let segment = SegmentId { journal: JournalNumber(0), number: SegmentNumber(1) };
    let sealed = Sealed { segment, file: FileId(1), bytes: 1 << 20, footer_at: 4096, footer_length: 4096 };
    Job {
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
    }
}
