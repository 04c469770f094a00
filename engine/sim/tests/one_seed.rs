//! One seed, with everything that happens printed: `MILLSTREAM_SEED=n MILLSTREAM_PROFILE=Crash`. Without a seed it takes
//! number 0.

use sim::{Options, Profile, run_with};

#[test]
fn one_seed() {
    let seed = std::env::var("MILLSTREAM_SEED").ok();
    let number = seed.as_ref().map_or(0, |seed| seed.parse().expect("MILLSTREAM_SEED is a number"));
    let name = std::env::var("MILLSTREAM_PROFILE").unwrap_or_else(|_| "Crash".to_owned());
    let profile = Profile::ALL.into_iter().find(|profile| format!("{profile:?}") == name);
    let profile = profile.unwrap_or_else(|| panic!("MILLSTREAM_PROFILE is one of {:?}", Profile::ALL));
    match run_with(number, profile, Options { prints: seed.is_some(), cut: None }, |io| io) {
        Ok(run) => println!("seed {number}: {} acknowledged, trace {:016x}", run.acked, run.trace.hash()),
        Err(failure) => panic!("{failure}"),
    }
}
