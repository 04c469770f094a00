//! Many seeds, each a run of several lives: nothing acknowledged is lost, whatever happens to the process, the power and
//! the disk. A failure names the seed; `one_seed` replays it.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sim::{Failure, Profile, run};

#[derive(Default)]
struct Total {
    tally: BTreeMap<&'static str, u64>,
    acked: usize,
    unknown: usize,
    deaths: u64,
    steps: u64,
    failures: Vec<Failure>,
}

/// Runs the seeds on all cores.
fn run_all(profile: Profile, seeds: std::ops::Range<u64>) -> Total {
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Total::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) {
                        return;
                    }
                    let outcome = run(seed, profile);
                    let mut total = total.lock().expect("no thread panics while it counts");
                    match outcome {
                        Ok(run) => {
                            total.acked += run.acked;
                            total.unknown += run.unknown;
                            total.deaths += run.deaths;
                            total.steps += run.trace.steps();
                            for (what, count) in run.trace.tally() {
                                *total.tally.entry(what).or_default() += count;
                            }
                        }
                        Err(failure) => total.failures.push(failure),
                    }
                }
            });
        }
    });
    total.into_inner().expect("no thread panics while it counts")
}

fn check(profile: Profile, count: u64, must_hit: &[&str]) {
    // A panic within a run is told with its seed, once all have run.
    std::panic::set_hook(Box::new(|_| {}));
    let first = std::env::var("MILLSTREAM_FIRST_SEED").map_or(0, |first| first.parse().expect("a number"));
    let count = std::env::var("MILLSTREAM_SEEDS").map_or(count, |count| count.parse().expect("a number"));
    let started = std::time::Instant::now();
    let mut total = run_all(profile, first..first + count);
    println!(
        "{profile:?}: {count} seeds, {} deaths, {} records acknowledged, {} unknown, {} steps, {:.1} s",
        total.deaths,
        total.acked,
        total.unknown,
        total.steps,
        started.elapsed().as_secs_f64()
    );
    total.tally.iter().for_each(|(what, count)| println!("  {count:>9}  {what}"));
    total.failures.sort_by_key(|failure| failure.seed);
    for failure in &total.failures {
        println!("{failure}");
    }
    assert!(
        total.failures.is_empty(),
        "{} of {count} seeds failed; the first: {}",
        total.failures.len(),
        total.failures[0]
    );
    for what in must_hit {
        assert!(total.tally.contains_key(what), "{count} seeds never hit `{what}`: the test is blind there");
    }
}

#[test]
fn crashes_lose_nothing() {
    check(Profile::Crash, 1000, &["disk: torn", "disk: lost", "disk: kept"]);
}

#[test]
fn faults_lose_nothing() {
    check(Profile::Faults, 1000, &["disk: write failed"]);
}

#[test]
fn damage_is_noticed() {
    check(Profile::Damage, 500, &["recovery: damage"]);
}
