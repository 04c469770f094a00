//! The pool of segments, step by step, against a disk that the test plays.

use io::{Completion, Payload, Pool};

use super::numbers::SEGMENT_NUMBERS_END;
use super::*;
use crate::inert::{Inert, Own};

const EIO: i32 = -5;
const ENOMEM: i32 = -12;
const EDQUOT: i32 = -122;
const TOKENS: Tokens = Tokens { make: Token(1), zero: Token(2) };

/// Nothing completes but by the test's hand.
struct Played {
    pool: Pool,
    submitted: Vec<Token>,
    /// The last operation.
    op: Option<Op>,
}

impl Played {
    /// The result of the last operation, if it goes well.
    fn good(&self) -> i32 {
        match &self.op {
            Some(Op::Write { buf, .. }) => buf.len() as i32,
            _ => 0,
        }
    }

    fn is_flush(&self) -> bool {
        matches!(self.op, Some(Op::File(FileOp::Sync(_) | FileOp::SyncDir(_))))
    }
}

impl Own for Played {
    fn submit(&mut self, op: Op, token: Token) {
        self.submitted.push(token);
        self.op = Some(op);
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }
}

/// A pool that wants two segments, on a played disk; the first is made, and no zeros are in it yet.
fn one_ready() -> (Inert<Played>, Segments) {
    let mut io = Inert(Played { pool: Pool::new(4 << 20).unwrap(), submitted: Vec::new(), op: None });
    let blueprint = Blueprint {
        log_id: LogId([1; 16]),
        journal: JournalNumber(0),
        dir: DirId(0),
        epoch: Epoch(1),
        segment_bytes: 4 << 20,
    };
    let next_number = SegmentNumber(1);
    let stock = Stock { leftovers: Vec::new(), next_number, used_bytes: 0, target: 2, bytes_max: u64::MAX };
    let mut segments = Segments::new(blueprint, TOKENS, stock, Arc::new(Flushes::new(&[0])));
    while segments.ready.is_empty() {
        segments.advance(&mut io, false);
        assert_eq!(io.submitted.pop(), Some(TOKENS.make));
        make_step(&mut io, &mut segments);
    }
    (io, segments)
}

/// The step of making that was begun last goes well.
fn make_step(io: &mut Inert<Played>, segments: &mut Segments) {
    let good = completion(TOKENS.make, io.good());
    assert_eq!(segments.complete_make(io, &good), Ok(()));
}

fn completion(token: Token, result: i32) -> Completion {
    Completion { token, result, more: false, payload: Payload::None }
}

/// Bug: opening with `prewrite` never ended on a disk that failed; a power cut while opening showed it. Mechanism: zeroing
/// was given up and begun again, for ever, at full speed. Fix: the failure is told, and whoever asked gives up.
#[test]
fn a_failing_disk_is_told_from_zeroing() {
    let (mut io, mut segments) = one_ready();
    segments.retry_ns = Some(1);
    segments.advance(&mut io, true);
    assert_eq!(io.submitted.pop(), Some(TOKENS.zero));
    assert!(!segments.is_prepared());
    assert_eq!(segments.complete_zero(&mut io, &completion(TOKENS.zero, EIO), true), Err(EIO));
}

/// Bug: appends went on, and were acknowledged, after a flush of the disk had failed. Mechanism: where the flush was that of
/// a segment being made, only the making was given up, although batches that were written and not flushed may be gone with
/// it. Fix: the failure is told and poisons the journal. A full disk is not a failing one, but of a flush or a durable write the
/// two can't be told apart.
#[test]
fn a_failing_disk_is_told_from_making() {
    for result in [EIO, ENOSPC, ENOMEM, EDQUOT] {
        for steps in 0..5 {
            let (mut io, mut segments) = one_ready();
            segments.advance(&mut io, false);
            for _ in 0..steps {
                make_step(&mut io, &mut segments);
                segments.advance(&mut io, false);
            }
            let flushes = io.is_flush() || matches!(io.op, Some(Op::Write { durable: true, .. }));
            let told = if result == EIO || flushes { Err(result) } else { Ok(()) };
            assert_eq!(segments.complete_make(&mut io, &completion(TOKENS.make, result)), told, "step {steps}");
            assert_eq!(segments.flushes.has_failed(), io.is_flush(), "step {steps}");
        }
    }
}

/// Bug: a dropped segment's file that could not be flushed for want of space was given up, and appends went on, although the flush
/// may have let go of batches beside it.
#[test]
fn a_failing_flush_of_a_spare_is_told() {
    for result in [EIO, ENOSPC] {
        let (mut io, mut segments) = one_ready();
        segments.add_spare(Spare { name: "spare".to_owned() + UNFINISHED, file: FileId(7), bytes: 4 << 20 });
        segments.advance(&mut io, false);
        assert!(matches!(io.op, Some(Op::File(FileOp::Blank { .. }))));
        make_step(&mut io, &mut segments);
        assert!(io.is_flush());
        assert_eq!(segments.complete_make(&mut io, &completion(TOKENS.make, result)), Err(result));
        assert!(segments.flushes.has_failed());
    }
}

/// Bug: a data directory could not be opened again: a segment's header was damaged (simulator: faults, seed 657). Mechanism:
/// a short write of the header, while the segment was made, passed for a whole one. Fix: it is a failure, as every short
/// write: the file is given up, and the journal poisoned.
#[test]
fn a_short_write_of_a_header_is_a_failure() {
    for written in [0, 512, BLOCK_BYTES as i32 - 512] {
        let (mut io, mut segments) = one_ready();
        segments.advance(&mut io, false);
        while !matches!(io.op, Some(Op::Write { .. })) {
            make_step(&mut io, &mut segments);
        }
        assert_eq!(segments.complete_make(&mut io, &completion(TOKENS.make, written)), Err(0));
        assert!(matches!(io.op, Some(Op::File(FileOp::Close(_)))));
        make_step(&mut io, &mut segments);
        assert!(matches!(&io.op, Some(Op::File(FileOp::Remove { name, .. })) if name.ends_with(UNFINISHED)));
        make_step(&mut io, &mut segments);
        assert_eq!((segments.ready.len(), segments.is_busy()), (1, false));
    }
}

/// Bug: opening with `prewrite` never ended on a disk that had room for some of the segments wanted. Mechanism: it waited
/// for a segment that nobody was making. Fix: what can't be had now is not waited for.
#[test]
fn a_refused_segment_is_not_waited_for() {
    let (mut io, mut segments) = one_ready();
    segments.ready[0].prewritten = true;
    segments.advance(&mut io, true);
    assert_eq!(io.submitted.pop(), Some(TOKENS.make));
    assert!(!segments.is_prepared());
    assert_eq!(segments.complete_make(&mut io, &completion(TOKENS.make, ENOSPC)), Ok(()));
    assert!(segments.is_prepared());
}

/// Bug: an acknowledged batch could be lost when the flush of a segment being made failed (simulator: faults, seed 179).
/// Mechanism: the device lets go of its whole cache, the batch's own flush is good, and is heard of before the failure. Fix:
/// what is written beside a flush waits for the flush's outcome; it must know of each.
#[test]
fn every_flush_in_flight_is_known() {
    let (mut io, mut segments) = one_ready();
    let mut flushes = Vec::new();
    segments.advance(&mut io, false);
    while segments.is_busy() {
        assert_eq!(segments.is_flushing(), io.is_flush(), "{:?}", io.op);
        flushes.extend(io.is_flush().then_some("make"));
        make_step(&mut io, &mut segments);
        segments.advance(&mut io, false);
    }
    segments.advance(&mut io, true);
    while segments.is_busy() {
        assert_eq!(segments.is_flushing(), io.is_flush(), "{:?}", io.op);
        flushes.extend(io.is_flush().then_some("zero"));
        let good = completion(TOKENS.zero, io.good());
        assert_eq!(segments.complete_zero(&mut io, &good, true), Ok(()));
    }
    assert_eq!(flushes, ["make", "zero"]);
    assert!(!segments.is_flushing());
}

/// Bug: a start found damaged headers on a disk that had damaged nothing (simulator: faults, seed 42439). Mechanism: a flush that
/// failed, of zeros in the segment before or of another journal, took along a header that was being written. The header's own
/// write was good, and heard of before the failure: so the file was named, with nothing in it. Fix: it is not named before every
/// flush that its header was written beside is known to be good, and never if one was not.
#[test]
fn no_name_before_the_header_is_certain() {
    for is_bad in [false, true] {
        let (mut io, mut segments) = one_ready();
        segments.advance(&mut io, false);
        while !matches!(io.op, Some(Op::Write { .. })) {
            make_step(&mut io, &mut segments);
        }
        let flushes = Arc::clone(&segments.flushes);
        flushes.begin(DirId(0));
        io.submitted.clear();
        make_step(&mut io, &mut segments);
        segments.advance(&mut io, false);
        assert!(io.submitted.is_empty() && segments.is_busy(), "{:?}", io.op);
        flushes.end(DirId(0), is_bad);
        segments.advance(&mut io, false);
        let is_named = matches!(&io.op, Some(Op::File(FileOp::Rename { to, .. })) if !to.ends_with(UNFINISHED));
        assert_eq!((is_named, io.submitted.len()), (!is_bad, usize::from(!is_bad)));
    }
}

/// The pool is refilled once half of it is used, and its names are made durable together, unless the writer waits.
#[test]
fn a_refill_costs_one_flush() {
    let (mut io, mut segments) = one_ready();
    segments.target = 8;
    let mut syncs = 0;
    let mut settle = |segments: &mut Segments| {
        let before = syncs;
        segments.advance(&mut io, false);
        while segments.is_busy() {
            syncs += usize::from(io.is_flush());
            make_step(&mut io, segments);
            segments.advance(&mut io, false);
        }
        syncs - before
    };
    assert_eq!((settle(&mut segments), segments.ready.len()), (1, 8));
    for left in [7, 6, 5] {
        let taken = segments.take().unwrap();
        assert_eq!(taken.number, SegmentNumber(8 - left));
        assert_eq!((settle(&mut segments), segments.ready.len()), (0, left as usize));
    }
    segments.take().unwrap();
    assert_eq!((settle(&mut segments), segments.ready.len()), (1, 8));
    segments.ready.clear();
    assert_eq!((settle(&mut segments), segments.ready.len()), (2, 8), "the first alone, as the writer waits");
    let numbers: Vec<u64> = segments.ready.iter().map(|ready| u64::from(ready.number.0)).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
}

/// Bug, found on reading: after 2^32 segments their numbers began anew, over those that are there. Mechanism: nothing looked how many are
/// left. Fix: the last is the last; appends find the disk full then.
#[test]
fn numbers_come_to_their_end() {
    let (mut io, mut segments) = one_ready();
    // The pool is not full: one more is made, which takes the last number.
    segments.next_number = SegmentNumber(SEGMENT_NUMBERS_END - 1);
    segments.fill();
    while segments.ready.len() < 2 {
        segments.advance(&mut io, false);
        assert!(io.submitted.pop().is_some());
        make_step(&mut io, &mut segments);
    }
    assert!(segments.take().is_ok() && segments.take().is_ok());
    segments.add_spare(Spare { name: "spare".to_owned(), file: FileId(9), bytes: 4 << 20 });
    segments.advance(&mut io, false);
    assert_eq!(io.submitted.pop(), None, "nothing is made any more");
    assert!(segments.is_full() && segments.is_prepared());
    assert_eq!(segments.take().err(), Some(Shortage::Full));
}
