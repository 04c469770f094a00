//! Tests of the superblock layout.

use super::*;

fn superblock(generation: u64) -> Superblock {
    Superblock {
        log_id: LogId([5; 16]),
        directories: 1,
        generation,
        epoch: Epoch(generation),
        durable: Position(77),
        segment_bytes: 4 << 20,
        clean: generation.is_multiple_of(2),
        wall_ms: 1,
        boottime_ms: 2,
        boot: 3,
    }
}

fn file(generations: [u64; COPIES]) -> Vec<u8> {
    generations.iter().flat_map(|&generation| superblock(generation).encode()).collect()
}

#[test]
fn the_newest_quorum_counts() {
    assert_eq!(Superblock::choose(&file([4, 4, 4, 4])), Ok(superblock(4)));
    assert_eq!(Superblock::choose(&file([5, 5, 4, 4])), Ok(superblock(5)));
    assert_eq!(Superblock::choose(&file([5, 4, 4, 4])), Ok(superblock(4)), "one copy alone was never promised");
    assert_eq!(Superblock::choose(&file([1, 2, 3, 4])), Err(SuperblockError::NoQuorum(4)));
    assert_eq!(Superblock::choose(&[0; FILE_BYTES]), Err(SuperblockError::NoQuorum(0)));
    assert_eq!(Superblock::choose(&[]), Err(SuperblockError::NoQuorum(0)));
}

#[test]
fn torn_updates_leave_a_quorum() {
    for torn in 0..2 {
        let mut bytes = file([5, 5, 4, 4]);
        bytes[torn * BLOCK_BYTES + 40] ^= 1;
        assert_eq!(Superblock::choose(&bytes), Ok(superblock(4)));
    }
    for torn in 2..4 {
        let mut bytes = file([5, 5, 5, 5]);
        bytes[torn * BLOCK_BYTES + 40] ^= 1;
        assert_eq!(Superblock::choose(&bytes), Ok(superblock(5)));
    }
}

#[test]
fn a_newer_version_is_named() {
    let mut raw = *Raw::ref_from_prefix(&superblock(1).encode()).expect("long enough").0;
    raw.version.set(9);
    raw.checksum.set(checksum(&raw));
    let mut bytes = file([1, 1, 1, 1]);
    bytes[..RAW_BYTES].copy_from_slice(raw.as_bytes());
    assert_eq!(Superblock::choose(&bytes), Err(SuperblockError::Version(9)));
}

/// Earlier builds left zeros where the boot is told, and read whatever is there.
#[test]
fn a_boot_that_is_not_known_is_zeros() {
    let unknown = Superblock { boot: 0, ..superblock(1) };
    assert_eq!(unknown.encode()[12..16], [0; 4]);
    assert_eq!(Superblock::decode(&unknown.encode()), Ok(Some(unknown)));
    assert_eq!(Superblock::decode(&superblock(1).encode()).map(|read| read.map(|read| read.boot)), Ok(Some(3)));
}
