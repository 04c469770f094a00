//! Tests of the buckets.

use super::*;
use crate::limits::QUOTA_PAUSE_NS;

const SECOND_NS: u64 = 1_000_000_000;
const SHARD: ShardId = ShardId(7);

/// What a shard takes in of records of `bytes` that come every `gap_ns`, up to `until_ns`.
fn taken(buckets: &mut Buckets, quotas: &Quotas, bytes: u64, gap_ns: u64, until_ns: u64) -> u64 {
    let times = (0..until_ns).step_by(gap_ns as usize);
    times.filter(|&now_ns| buckets.take_record(SHARD, quotas, bytes, now_ns).is_ok()).count() as u64
}

#[test]
fn a_burst_and_then_the_rate_to_the_byte() {
    // Odd sizes and times: nothing may be lost to rounding.
    for (bytes, gap_ns) in [(1, 833), (997, 10_007), (70_001, 1_000_003), (1 << 20, 1_000_003)] {
        let quotas = Quotas { write_records: None, ..Quotas::SERVICE };
        let mut buckets = Buckets::default();
        let records = taken(&mut buckets, &quotas, bytes, gap_ns, 11 * SECOND_NS);
        let last_ns = (11 * SECOND_NS - 1) / gap_ns * gap_ns;
        let may = u128::from(SECOND_NS + last_ns) * (1 << 20) / u128::from(SECOND_NS);
        let took = u128::from(records * bytes);
        assert!(
            took <= may && took + u128::from(bytes) > may - (u128::from(gap_ns) << 20) / 1_000_000_000 - 1,
            "{took} of {may}"
        );
        assert!(buckets.throttled.write_bytes > 0 && buckets.throttled.write_records == 0);
    }
}

#[test]
fn records_are_counted_by_themselves() {
    let mut buckets = Buckets::default();
    assert_eq!(taken(&mut buckets, &Quotas::SERVICE, 10, 100_000, 10 * SECOND_NS), 1000 + 9_999);
    assert!(buckets.throttled.write_records > 0 && buckets.throttled.write_bytes == 0);
}

#[test]
fn a_record_larger_than_the_burst_leaves_a_debt() {
    let mut buckets = Buckets::default();
    let ten_mib = 10 << 20;
    assert_eq!(buckets.take_record(SHARD, &Quotas::SERVICE, ten_mib, 0), Ok(()));
    assert_eq!(
        buckets.take_record(SHARD, &Quotas::SERVICE, ten_mib, 9 * SECOND_NS),
        Err(ErrorCode::WriteBytesExceeded)
    );
    // The debt is paid after nine seconds; a full bucket takes the next one a second later.
    assert_eq!(buckets.take_record(SHARD, &Quotas::SERVICE, 1, 9 * SECOND_NS + 1), Err(ErrorCode::WriteBytesExceeded));
    assert_eq!(buckets.take_record(SHARD, &Quotas::SERVICE, 1, 9 * SECOND_NS + 1000), Ok(()));
    assert_eq!(buckets.take_record(SHARD, &Quotas::SERVICE, ten_mib, 10 * SECOND_NS + 2000), Ok(()));
}

#[test]
fn an_answer_of_ten_mib_blocks_reads_for_five_seconds() {
    let mut buckets = Buckets::default();
    assert_eq!(buckets.begin_read(SHARD, &Quotas::SERVICE, 0), Ok(()));
    buckets.end_read(SHARD, &Quotas::SERVICE, 10 << 20, 0);
    assert_eq!(buckets.begin_read(SHARD, &Quotas::SERVICE, 5 * SECOND_NS - 1), Err(ErrorCode::ReadBytesExceeded));
    assert_eq!(buckets.begin_read(SHARD, &Quotas::SERVICE, 5 * SECOND_NS), Ok(()));
}

/// Bug: two applications that read from one shard refused each other, though both together read half of its bytes. Mechanism: a read
/// began only where the bucket was full. Fix: it begins where something is left; a debt alone is paid whole first.
#[test]
fn readers_within_the_rate_are_let_through() {
    let mut buckets = Buckets::default();
    for now_ns in (0..20 * SECOND_NS).step_by(250_000_000) {
        assert_eq!(buckets.begin_read(SHARD, &Quotas::SERVICE, now_ns), Ok(()), "{now_ns}");
        buckets.end_read(SHARD, &Quotas::SERVICE, 250_000, now_ns);
    }
    // 1.9 MB within a second.
    for bytes in [900_000, 999_000] {
        assert_eq!(buckets.begin_read(SHARD, &Quotas::SERVICE, 30 * SECOND_NS), Ok(()));
        buckets.end_read(SHARD, &Quotas::SERVICE, bytes, 30 * SECOND_NS);
    }
}

#[test]
fn reads_are_given_a_burst_and_then_the_rate() {
    for bytes in [5_000, 900_000, 1 << 20, 10 << 20] {
        let quotas = Quotas { reads: None, ..Quotas::SERVICE };
        let (mut buckets, mut given) = (Buckets::default(), 0);
        for now_ns in (0..10 * SECOND_NS).step_by(1_000_000) {
            if buckets.begin_read(SHARD, &quotas, now_ns).is_ok() {
                buckets.end_read(SHARD, &quotas, bytes, now_ns);
                given += bytes;
            }
        }
        // The last answer may be owed still.
        assert!((20 << 20..=(22 << 20) + bytes).contains(&given), "{given} by {bytes}");
    }
}

#[test]
fn what_is_given_back_is_not_owed() {
    let mut buckets = Buckets::default();
    assert_eq!(buckets.begin_read(SHARD, &Quotas::SERVICE, 0), Ok(()));
    buckets.end_read(SHARD, &Quotas::SERVICE, 3 << 20, 0);
    buckets.give_back(SHARD, &Quotas::SERVICE, 3 << 19, 0);
    assert_eq!(buckets.begin_read(SHARD, &Quotas::SERVICE, 0), Ok(()));
    // No more than it holds.
    buckets.give_back(SHARD, &Quotas::SERVICE, u64::MAX, 0);
    buckets.end_read(SHARD, &Quotas::SERVICE, 2 << 20, 0);
    assert_eq!(buckets.begin_read(SHARD, &Quotas::SERVICE, 0), Err(ErrorCode::ReadBytesExceeded));
}

/// Who could not pay it back would be refused for ever.
#[test]
fn a_debt_under_a_lower_rate_is_paid() {
    let mut buckets = Buckets::default();
    assert_eq!(buckets.begin_read(SHARD, &Quotas::SERVICE, 0), Ok(()));
    buckets.end_read(SHARD, &Quotas::SERVICE, 3 << 20, 0);
    let quotas = Quotas { read_bytes: NonZeroU32::new(1 << 20), ..Quotas::SERVICE };
    assert_eq!(buckets.begin_read(SHARD, &quotas, 2 * SECOND_NS - 1), Err(ErrorCode::ReadBytesExceeded));
    assert_eq!(buckets.begin_read(SHARD, &quotas, 2 * SECOND_NS), Ok(()));
}

#[test]
fn five_reads_a_second() {
    let mut buckets = Buckets::default();
    let reads = (0..10 * SECOND_NS).step_by(10_000_000);
    let let_through = reads.filter(|&now_ns| buckets.begin_read(SHARD, &Quotas::SERVICE, now_ns).is_ok()).count();
    assert_eq!(let_through, 5 + 49);
    assert!(buckets.throttled.reads > 0 && buckets.throttled.read_bytes == 0);
}

#[test]
fn a_subscriber_waits_for_more_than_a_byte() {
    let rate = NonZeroU32::new(2 << 20);
    let mut bucket = Bucket::empty(0);
    assert_eq!(bucket.bytes_left(rate, 0, QUOTA_PAUSE_NS), Err(QUOTA_PAUSE_NS));
    assert_eq!(bucket.bytes_left(rate, 5 * SECOND_NS, QUOTA_PAUSE_NS), Ok(2 << 20), "a burst, and no more");
    bucket.take(rate, (2 << 20) + 100);
    let Err(until_ns) = bucket.bytes_left(rate, 5 * SECOND_NS, QUOTA_PAUSE_NS) else { panic!("there is a debt") };
    assert!((1..QUOTA_PAUSE_NS).contains(&(until_ns - 5 * SECOND_NS - QUOTA_PAUSE_NS)), "{until_ns}");
    assert!(bucket.bytes_left(rate, until_ns, QUOTA_PAUSE_NS).is_ok_and(|bytes| bytes >= 20_000));
    assert_eq!(bucket.bytes_left(None, 0, QUOTA_PAUSE_NS), Ok(u64::MAX));
}

#[test]
fn shards_that_are_gone_are_forgotten() {
    let mut buckets = Buckets::default();
    assert!((0..1000).all(|_| buckets.take_record(SHARD, &Quotas::SERVICE, 1, 0).is_ok()));
    buckets.forget(SHARD);
    buckets.forget(ShardId(SHARD.0 + 4));
    assert!(buckets.of_shard.iter().all(Option::is_none));
}

#[test]
fn quotas_that_come_later_begin_full_and_owe_nothing() {
    let mut buckets = Buckets::default();
    let late = 100 * SECOND_NS;
    assert!((0..5_000).all(|_| buckets.take_record(SHARD, &Quotas::NONE, 1 << 20, 0).is_ok()));
    let records = (0..5_000).filter(|_| buckets.take_record(SHARD, &Quotas::SERVICE, 1, late).is_ok()).count();
    assert_eq!(records, 1000);
    assert!((0..5_000).all(|_| buckets.take_record(SHARD, &Quotas::NONE, 1 << 20, late).is_ok()));
}

#[test]
fn the_highest_rate_and_the_longest_time_do_not_overflow() {
    let rate = NonZeroU32::new(u32::MAX);
    let quotas = Quotas { write_bytes: rate, write_records: rate, read_bytes: rate, reads: rate, push_bytes: rate };
    let mut buckets = Buckets::default();
    let burst = u64::from(u32::MAX);
    assert_eq!(buckets.take_record(SHARD, &quotas, burst, 0), Ok(()));
    assert_eq!(buckets.take_record(SHARD, &quotas, burst, 1), Err(ErrorCode::WriteBytesExceeded));
    assert_eq!(buckets.take_record(SHARD, &quotas, u64::MAX, u64::MAX - 1), Ok(()));
    assert_eq!(buckets.take_record(SHARD, &quotas, 1, u64::MAX), Err(ErrorCode::WriteBytesExceeded));
    // A clock that goes back gives nothing.
    assert_eq!(buckets.take_record(SHARD, &quotas, 1, 0), Err(ErrorCode::WriteBytesExceeded));
}
