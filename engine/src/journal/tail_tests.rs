//! Tests of the cache of the tail: what it keeps follows those who read near it.

use frame::SegmentNumber;
use io::Pool;

use super::*;

const BATCH: usize = 1 << 20;
const BUDGET: usize = 64 << 20;

struct Writer {
    pool: Pool,
    tail: Tail,
    at: u32,
}

impl Writer {
    fn new() -> Writer {
        let pool = Pool::new(2 * BUDGET).expect("memory for a pool");
        Writer { pool, tail: Tail::new(BUDGET), at: 0 }
    }

    fn write(&mut self, batches: usize) {
        for _ in 0..batches {
            let buf = self.pool.take(BATCH).expect("the cache keeps within its budget").freeze();
            self.tail.push(place(self.at), buf);
            self.at += BATCH as u32;
        }
    }

    /// Reads what was written `back` batches before the newest.
    fn read(&mut self, back: u32) -> bool {
        let position = place(self.at - (back + 1) * BATCH as u32 + 100);
        self.tail.asked(position);
        self.tail.find(position).is_some_and(|(_, offset)| offset == 100)
    }
}

fn place(at: u32) -> Position {
    Position::new(SegmentNumber(1), at)
}

#[test]
fn with_no_reader_little_is_kept() {
    let mut writer = Writer::new();
    writer.write(200);
    assert_eq!(writer.tail.held_bytes(), TAIL_KEPT_BYTES_MIN);
    assert!(writer.read(0));
}

#[test]
fn a_reader_that_comes_too_late_makes_it_keep_more() {
    let mut writer = Writer::new();
    writer.write(100);
    assert!(!writer.read(40), "it was let go of");
    for _ in 0..8 {
        writer.write(10);
        writer.read(40);
    }
    assert!(writer.read(40));
    assert!(writer.tail.held_bytes() > 40 * BATCH && writer.tail.held_bytes() <= BUDGET);
}

#[test]
fn what_is_needed_stays_and_what_is_not_goes() {
    let mut writer = Writer::new();
    writer.write(100);
    for _ in 0..100 {
        writer.write(10);
        writer.read(40);
    }
    assert!(writer.read(40), "a steady reader keeps what it needs");
    writer.write(10 * BUDGET / BATCH);
    assert_eq!(writer.tail.held_bytes(), TAIL_KEPT_BYTES_MIN, "nobody reads any more");
}

#[test]
fn one_that_reads_from_the_beginning_changes_nothing() {
    let mut writer = Writer::new();
    writer.write(200);
    for _ in 0..50 {
        assert!(!writer.read(190));
        writer.write(1);
    }
    assert_eq!(writer.tail.held_bytes(), TAIL_KEPT_BYTES_MIN);
}
