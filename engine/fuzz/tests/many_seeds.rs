//! Every target over its corpus, then over many seeds. A failure names the seed and keeps the input; `one_seed` replays
//! either. The canary must be found, or the others prove nothing.

use std::path::Path;
use std::time::Instant;

use fuzz::{CANARY, Found, Session, TARGETS, Target};

/// After so many failures a run ends.
const SHOWN_MAX: usize = 5;

fn open(target: Target) -> Session {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    Session::open(target, &corpus, Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("the corpus is there")
}

fn seeds(target: Target) -> u64 {
    std::env::var("MILLSTREAM_FUZZ_SEEDS").map_or(target.seeds, |seeds| seeds.parse().expect("a number"))
}

fn check(name: &str) {
    let target = TARGETS.into_iter().find(|target| target.name == name).expect("a target's name");
    let session = open(target);
    let started = Instant::now();
    let entries = session.replay().unwrap_or_else(|found| panic!("{found}"));
    let starts = (target.starts)().len();
    assert!(entries >= starts, "the corpus has {entries} entries of {starts}: cargo run -p fuzz --example corpus");
    let first = std::env::var("MILLSTREAM_FUZZ_FIRST").map_or(0, |first| first.parse().expect("a number"));
    let broken = (first..first + seeds(target)).filter_map(|seed| session.seed(seed).err());
    let broken: Vec<Box<Found>> = broken.take(SHOWN_MAX).collect();
    let elapsed_s = started.elapsed().as_secs_f64();
    println!("{name}: {entries} entries, {} seeds, {elapsed_s:.1} s", seeds(target));
    broken.iter().for_each(|found| println!("{found}"));
    assert!(broken.is_empty(), "promises are broken; the first: {}", broken[0]);
}

#[test]
fn frame() {
    check("frame");
}

#[test]
fn wire() {
    check("wire");
}

#[test]
fn api() {
    check("api");
}

#[test]
fn segment() {
    check("segment");
}

#[test]
fn recovery() {
    check("recovery");
}

#[test]
fn recovery_meets_every_outcome() {
    use fuzz::recovery::{Outcome, outcome};
    let session = open(TARGETS.into_iter().find(|target| target.name == "recovery").expect("a target's name"));
    let mut tally = std::collections::BTreeMap::new();
    for seed in 0..150 {
        *tally.entry(outcome(&session.input(seed))).or_insert(0) += 1;
    }
    println!("{tally:?}");
    use Outcome::*;
    for met in [Refused, Damaged, Cut, ReadRefused, Whole, NotWhole, Lied] {
        assert!(tally.contains_key(&met), "never {met:?}: the target is blind there: {tally:?}");
    }
}

#[test]
fn the_canary_is_found() {
    let session = open(CANARY);
    session.replay().expect("its corpus is decoded rightly");
    let found = (0..CANARY.seeds).find_map(|seed| session.seed(seed).err());
    let found = found.expect("a planted bug is found within its budget");
    assert!(found.message.contains("out of range"), "not the planted bug: {found}");
    let kept = std::fs::read_to_string(&found.file).expect("its input was kept");
    assert_eq!(fuzz::from_hex(&kept), Some(found.input.clone()));
    assert!(std::panic::catch_unwind(|| (CANARY.run)(&found.input)).is_err(), "the kept input shows it again");
}
