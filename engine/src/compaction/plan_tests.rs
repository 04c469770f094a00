//! Runs of made-up segments of 1,000 blocks each.

use frame::{JournalNumber, SegmentNumber};
use io::FileId;

use super::*;
use crate::journal::SegmentId;

const SEGMENT_BYTES: u32 = 4_096_000;
const RUN_MAX: usize = 16;

/// A segment of so many blocks, of which so many live.
fn entry(number: u32, blocks: u32, live: u64) -> Entry {
    let segment = SegmentId { journal: JournalNumber(0), number: SegmentNumber(number) };
    let bytes = blocks * 4096;
    let sealed = Sealed { segment, file: FileId(number), bytes, footer_at: bytes - 8192, footer_length: 4096 };
    Entry { sealed, live: Live { bytes: live * 4096, extents: 10 }, may_move: true }
}

fn entries(rows: &[(u32, u64)]) -> Vec<Entry> {
    (1..).zip(rows).map(|(number, &(blocks, live))| entry(number, blocks, live)).collect()
}

fn chosen(entries: &[Entry]) -> Option<Range<usize>> {
    let segment_bytes = u64::from(SEGMENT_BYTES);
    is_worth_it(entries, segment_bytes, Worth::Usual)
        .then(|| choose(entries, segment_bytes, Worth::Usual, RUN_MAX))
        .flatten()
}

#[test]
fn nothing_is_done_while_most_lives() {
    assert_eq!(chosen(&[]), None);
    assert_eq!(chosen(&entries(&[(1000, 990), (1000, 100), (1000, 990), (1000, 990)])), None);
    assert_eq!(chosen(&entries(&[(1000, 760), (1000, 760)])), None, "none is worth it");
}

#[test]
fn the_emptiest_is_taken_with_neighbours_that_are_sparse() {
    let all = entries(&[(1000, 990), (1000, 300), (1000, 20), (1000, 200), (1000, 990)]);
    assert_eq!(chosen(&all), Some(1..4));
    assert_eq!(chosen(&entries(&[(1000, 500), (1000, 20), (1000, 500)])), Some(1..3), "as far as they fit");
    assert_eq!(chosen(&entries(&[(1000, 20), (1000, 990), (1000, 20), (1000, 20)])), Some(0..1), "but not past others");
}

#[test]
fn short_ones_are_joined() {
    let all = entries(&[(1000, 900), (60, 58), (80, 78), (1000, 20), (60, 58), (1000, 900)]);
    assert_eq!(chosen(&all), Some(1..5));
}

#[test]
fn what_may_not_move_stays() {
    let mut all = entries(&[(1000, 20), (1000, 20), (1000, 20)]);
    all[1].may_move = false;
    assert_eq!(chosen(&all), Some(0..1));
    all[0].may_move = false;
    assert_eq!(chosen(&all), Some(2..3));
    all[2].may_move = false;
    assert_eq!(chosen(&all), None);
}

#[test]
fn a_run_has_bounds() {
    let all = entries(&[(1000, 1); 2 * RUN_MAX]);
    assert_eq!(chosen(&all).map(|run| run.len()), Some(RUN_MAX));
    assert_eq!(choose(&all, u64::from(SEGMENT_BYTES), Worth::Usual, 1), Some(0..1));
    let mut all = entries(&[(60_000, 20), (60_000, 20)]);
    all.iter_mut().for_each(|entry| entry.live.extents = EXTENTS_PER_SEGMENT_MAX);
    assert_eq!(choose(&all, 256 << 20, Worth::Usual, RUN_MAX), Some(0..1));
}

#[test]
fn on_a_full_disk_less_is_worth_it() {
    let all = entries(&[(1000, 990), (1000, 850), (1000, 850)]);
    let segment_bytes = u64::from(SEGMENT_BYTES);
    assert!(!is_worth_it(&all, segment_bytes, Worth::Usual) && is_worth_it(&all, segment_bytes, Worth::Full));
    assert_eq!(choose(&all, segment_bytes, Worth::Full, RUN_MAX), Some(1..2), "both do not fit one");
}
