//! Every start and every completion of the disk as a point of death, by power cut and by kill: not sampled, all of them, in
//! `MILLSTREAM_RUNS` runs in place of the usual number.

mod cores;

use std::ops::RangeFrom;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sim::{Cut, Death, Options, Profile, Run, run, run_with};

/// Runs whose every step is tried.
fn runs() -> usize {
    std::env::var("MILLSTREAM_RUNS").map_or(3, |runs| runs.parse().expect("MILLSTREAM_RUNS is a number"))
}

fn whole(seed: u64) -> Run {
    run(seed, Profile::Crash).unwrap_or_else(|failure| panic!("{failure}"))
}

/// All deaths of a run's lives but the last.
fn deaths(steps: &[u64]) -> impl Iterator<Item = Cut> {
    let lives = steps[..steps.len() - 1].iter().enumerate();
    lives.flat_map(|(life, &steps)| {
        let deaths = [Death::PowerCut, Death::Killed].into_iter();
        deaths.flat_map(move |death| (1..=steps).map(move |step| Cut { life: life as u64, step, death }))
    })
}

/// How often a run came to something.
fn times(run: &Run, what: &str) -> u64 {
    run.trace.tally().get(what).copied().unwrap_or(0)
}

/// Runs that are `wanted` and short, so that most of their steps are those of opening, making segments and shutting down: every
/// death of theirs is tried. How many that were, and how many of them amid a move.
fn try_all(seeds: RangeFrom<u64>, runs: usize, wanted: impl Fn(&Run) -> bool) -> (usize, u64) {
    let is_short = |run: &Run| {
        let steps: u64 = run.steps[..run.steps.len() - 1].iter().sum();
        run.acked > 20 && run.steps.len() >= 3 && (100..400).contains(&steps)
    };
    let all = seeds.map(|seed| (seed, whole(seed)));
    let short = all.filter(|(_, run)| is_short(run) && wanted(run)).take(runs);
    let cuts: Vec<(u64, Cut)> =
        short.flat_map(|(seed, run)| deaths(&run.steps).map(move |cut| (seed, cut)).collect::<Vec<_>>()).collect();
    let (tried, amid) = (AtomicUsize::new(0), AtomicU64::new(0));
    cores::for_each(cuts.into_iter(), |(seed, cut)| {
        let options = Options { prints: false, cut: Some(cut) };
        match run_with(seed, Profile::Crash, options, |io| io) {
            Ok(run) => amid.fetch_add(times(&run, "engine: died amid a move"), Ordering::Relaxed),
            Err(failure) => panic!("with {cut:?}: {failure}\n  (the replay needs that cut as well)"),
        };
        tried.fetch_add(1, Ordering::Relaxed);
    });
    println!("{tried:?} deaths, {amid:?} amid a move");
    (tried.into_inner(), amid.into_inner())
}

#[test]
fn death_at_every_step_loses_nothing() {
    let (tried, _) = try_all(0.., runs(), |_| true);
    assert!(tried >= 200 * runs(), "{tried}");
}

#[test]
fn death_at_every_step_of_moves_loses_nothing() {
    // Their last lives are let be, so few will do: from there on one is found soon.
    let moves_before_the_last = |run: &Run| run.moves[run.moves.len() - 2] > 0;
    let (tried, amid) = try_all(400.., 1, moves_before_the_last);
    assert!(tried >= 200 && amid >= 6, "{amid} of {tried}");
}
