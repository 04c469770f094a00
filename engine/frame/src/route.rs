//! From partition key to shard: MD5 over 128-bit hash ranges, as Kinesis Data Streams routes.

use md5::{Digest, Md5};

/// The hash key of a partition key: its MD5, read as a big-endian number.
pub fn hash_key(partition_key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

/// The inclusive range of hash keys of shard `index` of `count` equal ones. The last takes what division leaves.
///
/// # Panics
/// If `count` is 0 or `index` is not below it.
pub fn even_range(index: usize, count: usize) -> (u128, u128) {
    assert!(index < count, "shard {index} of {count}");
    let width = even_width(count);
    let start = width * index as u128;
    let end = if index + 1 == count { u128::MAX } else { start + (width - 1) };
    (start, end)
}

/// Hash keys in each of `count` equal ranges; for one range one less than all, so that it fits.
fn even_width(count: usize) -> u128 {
    let count = count as u128;
    let width = u128::MAX / count;
    if u128::MAX % count == count - 1 && count > 1 { width + 1 } else { width }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_is_read_big_endian() {
        // RFC 1321, test suite: MD5("a").
        assert_eq!(hash_key(b"a"), 0x0cc175b9c0f1b6a831c399e269772661);
    }

    #[test]
    fn ranges_cover_everything_once() {
        for count in [1, 2, 3, 7, 8, 1000, 10_000] {
            let mut expected = 0_u128;
            for index in 0..count {
                let (start, end) = even_range(index, count);
                assert_eq!(start, expected, "shard {index} of {count}");
                assert!(end >= start);
                expected = end.wrapping_add(1);
            }
            assert_eq!(expected, 0, "the last of {count} ends at the last hash key");
        }
    }

    #[test]
    fn two_shards_meet_in_the_middle() {
        assert_eq!(even_range(0, 2), (0, (1 << 127) - 1));
        assert_eq!(even_range(1, 2), (1 << 127, u128::MAX));
    }
}
