//! From partition key to shard: MD5 over 128-bit hash ranges, as Kinesis Data Streams routes.

use md5::{Digest, Md5};
use md5_many::Md5Many;

/// Keys that are hashed together, at most.
pub const KEYS_TOGETHER_MAX: usize = 64;

/// The hash key of a partition key: its MD5, read as a big-endian number.
pub fn hash_key(partition_key: &[u8]) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

/// Hashes several partition keys together, in the lanes of the processor's vector unit: one MD5 is a chain of steps that
/// wait for each other and takes 127 ns, of 16 together each takes 17.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher(Option<Md5Many>);

impl KeyHasher {
    /// What suits this processor. If it computed anything else than the plain MD5, routing would change from one machine
    /// to the next; so it is tried first, and not used where it does.
    pub fn new() -> KeyHasher {
        let hasher = KeyHasher(Some(Md5Many::new()));
        let text: Vec<u8> = (0..KEYS_TOGETHER_MAX as u8 * 3).collect();
        let keys: Vec<&[u8]> = (0..KEYS_TOGETHER_MAX).map(|at| &text[at..at + 2 * (at % KEYS_TOGETHER_MAX)]).collect();
        let mut hashes = [0; KEYS_TOGETHER_MAX];
        let agrees = (1..=keys.len()).all(|count| {
            let keys = &keys[keys.len() - count..];
            hasher.hash(keys, &mut hashes);
            keys.iter().zip(hashes).all(|(key, hash)| hash == hash_key(key))
        });
        if agrees { hasher } else { KeyHasher(None) }
    }

    /// The hash keys of `keys`, at most [`KEYS_TOGETHER_MAX`], in their order, at the start of `hashes`.
    ///
    /// # Panics
    /// If there are more keys, or more than room for hashes.
    pub fn hash(&self, keys: &[&[u8]], hashes: &mut [u128]) {
        assert!(keys.len() <= KEYS_TOGETHER_MAX && keys.len() <= hashes.len(), "{} keys", keys.len());
        match self.0 {
            Some(together) if keys.len() > 1 => {
                let mut digests = [[0; 16]; KEYS_TOGETHER_MAX];
                together.hash_many(keys, &mut digests[..keys.len()]);
                hashes.iter_mut().zip(&digests[..keys.len()]).for_each(|(hash, d)| *hash = u128::from_be_bytes(*d));
            }
            _ => hashes.iter_mut().zip(keys).for_each(|(hash, key)| *hash = hash_key(key)),
        }
    }
}

impl Default for KeyHasher {
    fn default() -> KeyHasher {
        KeyHasher::new()
    }
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
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn md5_is_read_big_endian() {
        // RFC 1321, test suite: MD5("a").
        assert_eq!(hash_key(b"a"), 0x0cc175b9c0f1b6a831c399e269772661);
    }

    #[test]
    fn this_machine_hashes_keys_together() {
        assert!(KeyHasher::new().0.is_some());
    }

    proptest! {
        #[test]
        fn together_is_as_one_by_one(keys in vec(vec(any::<u8>(), 0..300), 0..=KEYS_TOGETHER_MAX)) {
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            let mut hashes = vec![0; keys.len()];
            KeyHasher::new().hash(&keys, &mut hashes);
            prop_assert_eq!(hashes, keys.iter().map(|key| hash_key(key)).collect::<Vec<_>>());
        }
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
