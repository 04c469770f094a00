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

/// Bug: short segments of which everything lives were never joined, so that moves of shards left more and more files. Mechanism: nothing was
/// compacted while little was dead. Fix: many that follow each other are.
#[test]
fn many_short_ones_are_joined_although_they_live() {
    let joined = |rows: &[(u32, u64)]| join(&entries(rows), u64::from(SEGMENT_BYTES), RUN_MAX);
    let (short, whole) = ((10, 8), (1000, 990));
    let many = |count: usize| vec![short; count];
    assert_eq!(joined(&many(COMPACTION_JOINED_MIN - 1)), None, "they are few");
    assert_eq!(joined(&many(COMPACTION_JOINED_MIN)), Some(0..COMPACTION_JOINED_MIN));
    assert_eq!(joined(&many(2 * RUN_MAX)), Some(0..RUN_MAX));
    assert_eq!(joined(&[vec![whole], many(9), vec![whole], many(10), vec![whole]].concat()), Some(11..21), "the most");
    let mut barred = entries(&many(2 * COMPACTION_JOINED_MIN - 1));
    barred[COMPACTION_JOINED_MIN - 1].may_move = false;
    assert_eq!(join(&barred, u64::from(SEGMENT_BYTES), RUN_MAX), None);
    // One that is more than all others together is not copied for them.
    assert_eq!(joined(&[vec![(90, 88)], many(7)].concat()), None);
    assert_eq!(joined(&[vec![(90, 88)], many(8)].concat()), Some(1..9));
    assert_eq!(joined(&[vec![(80, 78)], many(8)].concat()), Some(0..9));
}

/// However many short segments come, there are few, and no byte is copied often.
#[test]
fn joining_keeps_segments_few_and_copies_little() {
    const COMING: u32 = 5_000;
    let segment_bytes = u64::from(SEGMENT_BYTES);
    let (mut all, mut copied, mut most) = (Vec::new(), 0, 0);
    for number in 1..=COMING {
        all.push(entry(number, 10, 8));
        while let Some(run) = join(&all, segment_bytes, RUN_MAX) {
            let live: u64 = all[run.clone()].iter().map(|entry| entry.live.bytes).sum();
            copied += live;
            let blocks = (live / 4096) as u32;
            all.splice(run, [entry(number, blocks + 3, u64::from(blocks))]);
        }
        most = most.max(all.iter().filter(|entry| entry.is_short(segment_bytes)).count());
    }
    let written = u64::from(COMING) * 8 * 4096;
    assert!(most <= 2 * RUN_MAX, "there were {most} short ones");
    assert!(all.len() <= 2 * RUN_MAX + (written / (segment_bytes / COMPACTION_SHORT_SHARE)) as usize, "{}", all.len());
    // A file of 10 blocks is doubled four times before it is not short.
    assert!(copied <= 4 * written, "{copied} bytes were copied for {written}");
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

/// Bug, found on reading: the space that was asked for a copy was less than it took, so that a file system that is nearly full
/// ended it half-way. Mechanism: tables of extents were not counted, and a batch that the next extent does not fit is not full.
/// Fix: all of it is counted.
#[test]
fn space_is_asked_for_all_that_a_copy_takes() {
    let block = BLOCK_BYTES as u64;
    // Extents of one record each, and of just more than half a batch, of just what a batch holds, and of mixed lengths.
    let (target, half) = (BATCH_BYTES_TARGET, BATCH_BYTES_TARGET / 2);
    let kinds =
        [vec![64], vec![half], vec![half + 1, 100], vec![target - 4096], vec![target, 64], vec![1, 300_000, 9000]];
    for lengths in kinds {
        for count in [1, 2, 3, 50, 1001] {
            let (mut file, mut bytes, mut extents) = (block, 0, 0);
            let all = || lengths.iter().copied().cycle().take(count);
            for length in all() {
                if extents > 0 && batch_bytes(bytes + length, extents + 1) > BATCH_BYTES_TARGET {
                    file += batch_bytes(bytes, extents) as u64;
                    (bytes, extents) = (0, 0);
                }
                (bytes, extents) = (bytes + length, extents + 1);
            }
            file += batch_bytes(bytes, extents) as u64;
            let mut run = entry(1, 1000, 0);
            run.live = Live { bytes: all().sum::<usize>() as u64, extents: count };
            file += u64::from(run.sealed.footer_length) + block;
            assert!(copy_bytes_max(&[run]) >= file, "{count} extents of {lengths:?}: {file} bytes");
        }
    }
}
