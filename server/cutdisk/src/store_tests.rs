//! What the store keeps and drops, without a kernel.

use super::*;

const DISK_BYTES: usize = 64 * SECTOR_BYTES;

fn store(seed: u64) -> Store {
    Store::new(DISK_BYTES, CACHE_BYTES_MAX, seed)
}

fn sectors(fill: u8, count: usize) -> Vec<u8> {
    vec![fill; count * SECTOR_BYTES]
}

/// The first byte of every sector.
fn contents(store: &mut Store) -> Vec<u8> {
    let all = store.read(0..DISK_BYTES);
    all.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect()
}

#[test]
fn a_flush_makes_what_was_complete_durable_and_nothing_else() {
    let mut store = store(1);
    store.write(0, &sectors(1, 2));
    store.flush();
    store.write(SECTOR_BYTES, &sectors(2, 2));
    assert_eq!(contents(&mut store)[..4], [1, 2, 2, 0]);
    let cut = store.cut(Profile::Nothing);
    assert_eq!((cut.writes_pending, cut.sectors_dropped), (1, 2));
    assert_eq!(contents(&mut store)[..4], [1, 1, 0, 0]);
}

#[test]
fn every_profile_keeps_what_it_says() {
    for seed in 0..200 {
        for profile in Profile::ALL {
            let mut store = store(seed);
            for write in 0..8_u8 {
                store.write(usize::from(write) * 8 * SECTOR_BYTES, &sectors(write + 1, 8));
            }
            let before = contents(&mut store);
            let cut = store.cut(profile);
            let after = contents(&mut store);
            let kept: Vec<bool> = after.iter().map(|&byte| byte != 0).collect();
            let count = kept.iter().filter(|&&kept| kept).count();
            assert_eq!(cut.sectors_kept, count as u64);
            assert_eq!(cut.sectors_dropped, 64 - count as u64);
            let torn = |write: &[bool]| write.contains(&true) && write.contains(&false);
            let writes_torn = kept.chunks(8).filter(|write| torn(write)).count();
            assert_eq!(cut.writes_torn, writes_torn as u64);
            let whole = |index: usize| after[index] == 0 || after[index] == before[index];
            assert!((0..64).all(whole));
            match profile {
                Profile::Nothing => assert_eq!(count, 0),
                Profile::Everything => assert_eq!(count, 64),
                Profile::Sectors => {}
                Profile::Writes => assert_eq!(writes_torn, 0),
                Profile::Prefix => assert!(kept[..count].iter().all(|&kept| kept)),
                Profile::Oldest => assert!(count <= 8 && kept[..count].iter().all(|&kept| kept)),
                Profile::Newest => {
                    assert!(count <= 8 && kept[64 - count..].iter().all(|&kept| kept));
                }
            }
        }
    }
}

#[test]
fn every_profile_comes_up_in_every_round() {
    let mut store = store(7);
    for _ in 0..5 {
        let round: Vec<_> = (0..2 * Profile::ALL.len()).map(|_| store.draw()).collect();
        for profile in Profile::ALL {
            assert!(round.contains(&(profile, false)) && round.contains(&(profile, true)));
        }
    }
}

#[test]
fn an_older_version_of_a_sector_can_survive_a_newer_one() {
    let survivors: Vec<u8> = (0..100)
        .map(|seed| {
            let mut store = store(seed);
            store.write(0, &sectors(1, 1));
            store.write(0, &sectors(2, 1));
            store.cut(Profile::Sectors);
            contents(&mut store)[0]
        })
        .collect();
    assert!((0..=2).all(|version| survivors.contains(&version)));
}

#[test]
fn after_a_failed_flush_the_data_is_gone_although_the_next_one_succeeds() {
    let mut store = store(1);
    store.write(0, &sectors(1, 2));
    store.fail_flush();
    store.write(SECTOR_BYTES, &sectors(2, 1));
    store.flush();
    assert_eq!(contents(&mut store)[..2], [1, 2]);
    store.cut(Profile::Everything);
    assert_eq!(contents(&mut store)[..2], [0, 2]);
}

#[test]
fn a_full_cache_writes_out_its_oldest_and_loses_only_its_newest() {
    let mut store = Store::new(DISK_BYTES, 8 * SECTOR_BYTES, 1);
    for write in 0..20_u8 {
        store.write(usize::from(write) * SECTOR_BYTES, &sectors(write + 1, 1));
    }
    assert!(store.counters.destages > 0);
    let expected: Vec<u8> = (1..=20).collect();
    assert_eq!(contents(&mut store)[..20], expected);
    let cut = store.cut(Profile::Nothing);
    assert!(cut.sectors_pending > 0 && cut.sectors_pending <= 8);
    let left = 20 - cut.sectors_pending as usize;
    let after = contents(&mut store);
    assert_eq!(after[..left], expected[..left]);
    assert!(after[left..].iter().all(|&byte| byte == 0));
}

#[test]
fn the_same_seed_keeps_the_same_sectors() {
    let run = |seed| {
        let mut store = store(seed);
        store.write(0, &sectors(9, 64));
        let (profile, _) = store.draw();
        (store.cut(profile), contents(&mut store))
    };
    assert_eq!(run(3), run(3));
    assert!((4..20).any(|seed| run(seed) != run(3)));
}
