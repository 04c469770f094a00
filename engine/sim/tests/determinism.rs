//! A seed is a run: the same seed gives the same trace, step by step, contents of writes included.

use sim::{Profile, run};

#[test]
fn a_seed_gives_the_same_trace_twice() {
    for profile in Profile::ALL {
        for seed in 0..50 {
            let hash = || run(seed, profile).unwrap_or_else(|failure| panic!("{failure}")).trace.hash();
            let (first, second) = (hash(), hash());
            assert_eq!(first, second, "seed {seed}, profile {profile:?}");
        }
    }
}

#[test]
fn seeds_differ() {
    let hashes: std::collections::BTreeSet<u64> = (0..50)
        .map(|seed| run(seed, Profile::Crash).unwrap_or_else(|failure| panic!("{failure}")).trace.hash())
        .collect();
    assert_eq!(hashes.len(), 50);
}
