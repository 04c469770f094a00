//! The search against servers made up: each a rule of what holds at which rate.

use super::*;

/// Searches until it is done; the rates in order, and what was found.
fn search(first: f64, mut server: impl FnMut(f64, bool) -> Verdict) -> (Vec<f64>, Sought) {
    let (mut search, mut rates) = (Search::new(first), Vec::new());
    loop {
        match search.next() {
            Next::Try(rate) => {
                rates.push(rate);
                let verdict = server(rate, false);
                search.tried(rate, verdict);
            }
            Next::Confirm(rate) => {
                rates.push(rate);
                let verdict = server(rate, true);
                search.confirmed(rate, verdict);
            }
            Next::Done => return (rates, search.found()),
        }
        assert!(rates.len() < 60, "it does not end: {rates:?}");
    }
}

fn up_to(limit: f64) -> impl Fn(f64, bool) -> Verdict {
    move |rate, _| if rate <= limit { Verdict::Held } else { Verdict::AboveGoal }
}

#[test]
fn the_highest_rate_is_found_from_above_and_below() {
    for limit in [1.5, 999.0, 10_000.0, 77_777.0, 3_000_000.0] {
        let (rates, found) = search(10_000.0, up_to(limit));
        let Some(rate) = found.rate else {
            assert!(limit < 10.0, "{limit}: {found:?}");
            continue;
        };
        assert!(rate <= limit && rate * 1.061 > limit, "{limit}: {found:?} after {rates:?}");
        assert!(found.confirmed && found.stopped_by.unwrap().1 == Verdict::AboveGoal);
        assert!(rates.len() < 22, "{rates:?}");
    }
}

#[test]
fn no_rate_that_holds_is_no_rate() {
    let (rates, found) = search(1000.0, |_, _| Verdict::Refused);
    assert_eq!((found.rate, found.confirmed), (None, false));
    assert_eq!(found.stopped_by.unwrap().1, Verdict::Refused);
    assert!(rates.len() <= 11 && *rates.last().unwrap() < 2.0, "{rates:?}");
}

#[test]
fn a_late_generator_is_tried_once_more_and_then_named() {
    let mut late = 0;
    let (_, found) = search(1000.0, |rate, _| match rate {
        rate if rate < 5000.0 => Verdict::Held,
        _ => {
            late += 1;
            Verdict::GeneratorLate
        }
    });
    assert!(late >= 2 && found.rate.is_some_and(|rate| rate < 5000.0 && rate > 4700.0), "{late} {found:?}");
    assert_eq!(found.stopped_by.unwrap().1, Verdict::GeneratorLate);
    // Late once, and in time when tried again: not counted.
    let mut first = true;
    let (rates, found) = search(1000.0, |rate, confirms| {
        if rate == 2000.0 && std::mem::take(&mut first) {
            return Verdict::GeneratorLate;
        }
        up_to(3000.0)(rate, confirms)
    });
    assert_eq!(rates[1..3], [2000.0, 2000.0]);
    assert!(found.rate.unwrap() > 2800.0 && found.stopped_by.unwrap().1 == Verdict::AboveGoal);
}

#[test]
fn what_a_longer_run_takes_back_is_not_the_highest() {
    let server = |rate: f64, confirms: bool| up_to(if confirms { 6000.0 } else { 8000.0 })(rate, confirms);
    let (rates, found) = search(1000.0, server);
    assert!(found.confirmed && found.rate.unwrap() <= 6000.0, "{found:?} after {rates:?}");
}

#[test]
fn what_is_never_confirmed_ends_too() {
    let server = |rate: f64, confirms: bool| if confirms { Verdict::AboveGoal } else { up_to(8000.0)(rate, false) };
    let (_, found) = search(1000.0, server);
    assert!(!found.confirmed, "{found:?}");
    let mut cut = Search::new(1000.0);
    assert_eq!(cut.last(), Next::Done);
    cut.tried(1000.0, Verdict::Held);
    assert_eq!(cut.last(), Next::Confirm(1000.0));
}
