//! Many seeds, each a run of several lives: nothing acknowledged is lost, whatever happens to the process, the power and
//! the disk. A failure names the seed; `one_seed` replays it. `MILLSTREAM_FIRST_SEED` and `MILLSTREAM_SEEDS` choose others.

mod cores;

use std::collections::BTreeMap;
use std::sync::Mutex;

use sim::{Failure, Profile, Run, run};

#[derive(Default)]
struct Total {
    tally: BTreeMap<&'static str, u64>,
    acked: usize,
    unknown: usize,
    deaths: u64,
    failures: Vec<Failure>,
}

impl Total {
    fn add(&mut self, outcome: Result<Run, Failure>) {
        let run = match outcome {
            Ok(run) => run,
            Err(failure) => return self.failures.push(failure),
        };
        self.acked += run.acked;
        self.unknown += run.unknown;
        self.deaths += run.deaths;
        for (what, count) in run.trace.tally() {
            *self.tally.entry(what).or_default() += count;
        }
    }
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Runs the seeds; none may fail, and together they must have reached what is rare, if they are as many as usual.
fn check(profile: Profile, count: u64, must_hit: &[&str]) {
    // A panic within a run is told with its seed, once all have run.
    std::panic::set_hook(Box::new(|_| {}));
    let first = from_environment("MILLSTREAM_FIRST_SEED", 0);
    let (usual, count) = (count, from_environment("MILLSTREAM_SEEDS", count));
    let started = std::time::Instant::now();
    let total = Mutex::new(Total::default());
    cores::for_each(first..first + count, |seed| {
        let outcome = run(seed, profile);
        total.lock().expect("no worker panics").add(outcome);
    });
    let _ = std::panic::take_hook();
    let mut total = total.into_inner().expect("no worker panics");
    let Total { deaths, acked, unknown, .. } = total;
    let seconds = started.elapsed().as_secs_f64();
    println!("{profile:?}: {count} seeds, {deaths} deaths, {acked} acknowledged, {unknown} unknown, {seconds:.1} s");
    total.tally.iter().for_each(|(what, count)| println!("  {count:>9}  {what}"));
    total.failures.sort_by_key(|failure| failure.seed);
    total.failures.iter().for_each(|failure| println!("{failure}"));
    assert!(total.failures.is_empty(), "{} of {count} seeds failed", total.failures.len());
    let missed: Vec<_> = must_hit.iter().filter(|what| !total.tally.contains_key(*what)).collect();
    assert!(missed.is_empty() || count < usual, "{count} seeds never hit {missed:?}: the test is blind there");
}

/// What runs of every kind reach.
const EVERYWHERE: [&str; 49] = [
    "client: deaf",
    "client: garbage",
    "client: gone in mid-batch",
    "client: half-closed",
    "client: intrudes with a proof that it overheard",
    "client: intrudes with a secret of its own",
    "client: intrudes, and proves nothing",
    "client: large record",
    "client: parts that are no record's",
    "client: reset",
    "clock: jump",
    "disk: file cut",
    "disk: full",
    "disk: kept",
    "disk: lost",
    "disk: names lost",
    "disk: segment replaced",
    "disk: slow",
    "disk: torn",
    "engine: a closed shard read to its end",
    "engine: a closed shard was forgotten",
    "engine: a subscriber came to the end of a shard",
    "engine: died amid a move",
    "engine: encryption began",
    "engine: encryption ended",
    "engine: large record read",
    "engine: record that is not whole passed over",
    "engine: refused, checksum",
    "engine: refused, disk full",
    "engine: refused, quota",
    "engine: trimmed",
    "engine: refused while a shard was split or merged",
    "engine: a subscriber was told that its shard moved",
    "engine: shard moved",
    "engine: shard split",
    "engine: shards merged",
    "engine: split or merge refused",
    "network: accept ended",
    "network: accept failed",
    "network: no buffers",
    "network: receive ended",
    "network: short send",
    "numberer: lost its connection",
    "numberer: refused, quota",
    "numberer: refused, resharding",
    "numberer: told the original number",
    "recovery: clean",
    "recovery: cut",
    "recovery: several segments",
];

#[test]
fn crashes_lose_nothing() {
    let rare = ["disk: file blanked", "numberer: told the number that an ancestor gave"];
    check(Profile::Crash, 600, &[&EVERYWHERE[..], &rare].concat());
}

#[test]
fn faults_lose_nothing() {
    let faults = [
        "disk: allocation found no space",
        "disk: cancelled",
        "disk: flush failed",
        "disk: no space as segments are compacted",
        "disk: operation on names failed",
        "disk: read failed",
        "disk: short read",
        "disk: short write",
        "disk: write failed",
        "engine: not opened",
        "engine: refused, storage failed",
        "recovery: cut without a copy",
    ];
    check(Profile::Faults, 2000, &[&EVERYWHERE[..], &faults].concat());
}

#[test]
fn damage_is_noticed() {
    let damage = [
        "engine: called damaged",
        "engine: several called damaged at once",
        "recovery: damage",
        "recovery: header made again",
        "rot: bit flipped",
        "disk: place that can't be read",
        "rot: page misdirected",
        "rot: sectors zeroed",
    ];
    check(Profile::Damage, 600, &[&EVERYWHERE[..], &damage].concat());
}
