//! Made-up records: what the seed decides, and what stamps tell.

use std::collections::{HashMap, HashSet};

use super::*;

fn recipe(sizes: &str, keys: &str) -> Recipe {
    Recipe::new(sizes.parse().unwrap(), keys.parse().unwrap(), 42)
}

fn key_counts(keys: &str, records: usize) -> Vec<usize> {
    let mut lane = recipe("16", keys).lane(0);
    let mut counts = HashMap::<Vec<u8>, usize>::new();
    for _ in 0..records {
        *counts.entry(lane.record().key.to_vec()).or_default() += 1;
    }
    let mut counts: Vec<usize> = counts.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    counts
}

#[test]
fn the_seed_decides_everything() {
    let recipe = recipe("uniform:0..2KiB", "zipf:100,1.0");
    let (mut one, mut two, mut other) = (recipe.lane(1), recipe.lane(1), recipe.lane(2));
    let mut differ = 0;
    for _ in 0..1000 {
        let record = one.record();
        assert_eq!(record, two.record());
        differ += usize::from(record != other.record());
    }
    assert!(differ > 990);
}

#[test]
fn records_are_unique_and_recognised() {
    let recipe = recipe("100", "distinct");
    let contents = Contents::new(std::slice::from_ref(&recipe));
    let mut seen = HashSet::new();
    for lane in 0..3 {
        let mut lane = recipe.lane(lane);
        for _ in 0..10_000 {
            let record = lane.record();
            let data = record.data().concat();
            assert!(contents.origin(&data) == Origin::Own);
            assert!(seen.insert(data) && seen.insert(record.key.to_vec()));
        }
    }
    let mut lane = recipe.lane(0);
    let data = lane.record().data().concat();
    for byte in 0..data.len() {
        let mut changed = data.clone();
        changed[byte] ^= 1;
        let expected = match byte {
            1..4 => Origin::Foreign,
            // The time in the stamp is guarded by the record's checksum alone.
            4..10 => Origin::Own,
            _ => Origin::Wrong,
        };
        assert_eq!(contents.origin(&changed), expected, "byte {byte}");
    }
}

#[test]
fn groups_and_runs_are_told_apart() {
    let run = |id: u64| {
        let one = recipe("100", "distinct").of(RunId::new(id), 0);
        let beside = recipe("uniform:16..9000", "distinct").of(RunId::new(id), 1);
        (Contents::new(&[one.clone(), beside.clone()]), [one, beside])
    };
    let ((contents, recipes), (others, _)) = (run(0xff_ff_ff_01), run(2));
    for recipe in recipes {
        let mut lane = recipe.lane(LANES_MAX - 1);
        let data = lane.record().data().concat();
        assert_eq!((contents.origin(&data), others.origin(&data)), (Origin::Own, Origin::Foreign));
    }
    assert_eq!(contents.origin(b"too short"), Origin::Own);
}

#[test]
fn stamps_tell_when_a_record_was_meant_to_be_sent() {
    let mut lane = recipe("16", "distinct").lane(3);
    // Past the wrap of what a stamp has room for.
    let intended_us = (1 << 50) - 5;
    assert_eq!(Stamp::of(&lane.record().data().concat()).unwrap().age_us(intended_us), None);
    lane.intend(Some(intended_us));
    let stamp = Stamp::of(&lane.record().data().concat()).unwrap();
    assert_eq!(stamp.age_us(intended_us + 70), Some(70));
    assert_eq!(stamp.age_us(intended_us - 30), Some(-30));
}

#[test]
fn a_time_that_wraps_to_none_is_told_as_the_next() {
    let mut lane = recipe("16", "distinct").lane(3);
    lane.intend(Some(1 << 48));
    assert_eq!(Stamp::of(&lane.record().data().concat()).unwrap().age_us((1 << 48) + 5), Some(4));
}

#[test]
fn records_may_be_made_later_than_they_are_drawn() {
    let (mut one, mut two) = (recipe("uniform:0..900", "hot:0.5").lane(0), recipe("uniform:0..900", "hot:0.5").lane(0));
    let drawn: Vec<Drawn> = (0..100).map(|_| one.draw()).collect();
    for drawn in drawn {
        let (record, same) = (one.make(&drawn), two.record());
        assert_eq!((record, record.data().concat().len(), record.key), (same, drawn.bytes, drawn.key));
        let owned = one.make_owned(&drawn);
        assert_eq!(owned.data(0, owned.data_bytes()), record.data());
    }
}

#[test]
fn keys_are_hexadecimal() {
    for number in [0, 1, 0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210, u64::MAX, 0x9a9a_9a9a_0f0f_f0f0] {
        assert_eq!(hexadecimal(number), format!("{number:016x}").as_bytes());
    }
}

#[test]
fn sizes_follow_their_distribution() {
    let sizes = |text: &str| {
        let mut lane = recipe(text, "distinct").lane(0);
        let mut sizes: Vec<usize> = (0..20_001).map(|_| lane.record().data().concat().len()).collect();
        sizes.sort_unstable();
        sizes
    };
    assert!(sizes("7").iter().all(|&size| size == 7));
    let uniform = sizes("uniform:100..1100");
    assert!((uniform[0], uniform[20_000]) >= (100, 1090) && uniform[0] < 110 && uniform[20_000] <= 1100);
    assert!(uniform[10_000].abs_diff(600) < 30);
    let log_normal = sizes("lognormal:1000,1.0");
    assert!(log_normal[10_000].abs_diff(1000) < 50, "median {}", log_normal[10_000]);
    assert!(log_normal[16_827].abs_diff(2718) < 200, "one deviation up {}", log_normal[16_827]);
    let mean = log_normal.iter().sum::<usize>() as f64 / 20_001.0;
    let said = "lognormal:1000,1.0".parse::<Sizes>().unwrap().mean();
    assert!((mean / said - 1.0).abs() < 0.05, "{mean} {said}");
}

#[test]
fn keys_follow_their_distribution() {
    assert_eq!(key_counts("distinct", 10_000).len(), 10_000);
    let uniform = key_counts("uniform:10", 10_000);
    assert_eq!(uniform.len(), 10);
    assert!(uniform[0] < 1200 && uniform[9] > 800);
    let zipf = key_counts("zipf:1000,1.0", 100_000);
    let harmonic: f64 = (1..=1000).map(|k| 1.0 / f64::from(k)).sum();
    assert!((zipf[0] as f64 / (100_000.0 / harmonic) - 1.0).abs() < 0.05, "{}", zipf[0]);
    assert!((zipf[0] as f64 / zipf[1] as f64 - 2.0).abs() < 0.2);
    let hot = key_counts("hot:0.25", 10_000);
    assert!(hot[0].abs_diff(2500) < 150 && hot[1] == 1);
}

#[test]
fn nonsense_is_refused() {
    for text in ["", "x", "uniform:5", "uniform:9..3", "lognormal:1KiB", "lognormal:1KiB,-1", "11MiB"] {
        assert!(text.parse::<Sizes>().is_err(), "{text}");
    }
    for text in ["", "x", "uniform:0", "zipf:5", "zipf:5,x", "hot:2", "distinct:1"] {
        assert!(text.parse::<Keys>().is_err(), "{text}");
    }
}
