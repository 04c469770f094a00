//! Parts whose sides are made up: what is kept where one is stopped.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::args::{Options, Target};
use crate::programs::Programs;
use crate::report::{self, Verdict};
use crate::targets::Findings;

/// A bench of two pairs whose limit finds every disk unsteady at once, and that has no other program.
fn bench(within: &Path, interrupted: &Arc<AtomicBool>) -> Bench {
    let limit = within.join("limit");
    // Not written by this process: while it has the file open another thread's child may too, and then it can't be run.
    let script = "printf '#!/bin/sh\\necho {}\\n' > \"$0\" && chmod +x \"$0\"";
    assert!(Command::new("sh").args(["-c", script]).arg(&limit).status().expect("every Linux has sh").success());
    let (directory, results) = (within.join("work"), within.join("results"));
    let arguments = ["pairs", "latency", "--quick", "--keep", "--pairs=2"];
    let mut options = Options::parse_from(arguments);
    (options.dir, options.results) = (Some(directory), Some(results));
    let (millstream, load) = (within.join("no server"), within.join("no generator"));
    Bench::with(options, Programs { millstream, load, limit }, Arc::clone(interrupted)).expect("it can write there")
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("there is a place for it")
}

fn plan(title: &'static str) -> Plan {
    let measures = vec![Measure::ratio(title, "f, a by b", "f", Bound::AtLeast(0.5))];
    Plan { title, name_a: "a", name_b: "b", measures }
}

fn side() -> Result<Side, PairsError> {
    Ok(Side { command: "side".to_owned(), figures: [("f", 1.0)].into(), marks: Vec::new(), detail: json!({}) })
}

fn fails() -> Result<Side, PairsError> {
    Err(PairsError::Wire("it is gone".to_owned()))
}

/// Bug: what failed in the first pair of a part, or between parts, threw away every part that was finished, and so did Ctrl-C.
/// Mechanism: it was an error of the whole target, and so was that nobody could say any more what machine it is. Fix: it stops its
/// part, after which there is no further one, and what there is is written.
#[test]
fn finished_parts_are_kept_where_a_later_one_fails() {
    let within = temporary();
    let bench = bench(within.path(), &Arc::default());
    let mut parts = Parts::new(&bench);
    parts.add(|| run(&bench, plan("whole"), &mut side, &mut side));
    parts.add(|| run(&bench, plan("broken"), &mut side, &mut fails));
    parts.try_add("never", || unreachable!("one was stopped"));
    let parts = parts.all();
    assert_eq!(
        parts.iter().map(|part| (part.title, part.pairs.len())).collect::<Vec<_>>(),
        [("whole", 2), ("broken", 0)]
    );
    assert!(parts[0].reached() && !parts[0].is_void() && parts[1].is_void());
    assert!(parts[1].stopped.as_ref().is_some_and(|why| why.contains("it is gone")), "{parts:?}");

    let findings = Findings { goal: "a goal", notes: Vec::new(), sweeps: Vec::new(), parts };
    let verdict = report::write(&bench, Target::Latency, Timestamp::now(), findings).expect("it can write there");
    assert_eq!(verdict, Verdict::Void);
    let folder = std::fs::read_dir(within.path().join("results")).expect("it was made").next();
    let folder = folder.expect("one target, one folder").expect("nobody else changes it").path();
    let text = |name| std::fs::read_to_string(folder.join(name)).expect("every folder has one");
    let result: Value = serde_json::from_str(&text("result.json")).expect("it is JSON");
    assert!(result["machine"].is_null() && result["parts"][0]["pairs"][1]["a"]["figures"]["f"] == 1.0, "{result}");
    assert!(text("README.md").contains("Ended early") && text("whole.svg").contains("median"));
    assert!(!folder.join("broken.svg").exists(), "there is nothing to plot");
}

#[test]
fn what_fails_before_a_part_stops_it() {
    let within = temporary();
    let bench = bench(within.path(), &Arc::default());
    let mut parts = Parts::new(&bench);
    parts.try_add("swept", || Err(PairsError::Wire("it is gone".to_owned())));
    parts.add(|| unreachable!("one was stopped"));
    let parts = parts.all();
    assert!(parts.len() == 1 && parts[0].title == "swept" && parts[0].is_void(), "{parts:?}");
}

#[test]
fn rounds_before_one_that_fails_are_kept() {
    let within = temporary();
    let bench = bench(within.path(), &Arc::default());
    let mut sides = [side(), fails()].into_iter();
    let part = rounds(&bench, plan("rounds"), &mut || {
        let first = sides.next().expect("there are two rounds")?;
        Ok((first, side()?))
    });
    assert!(part.pairs.len() == 1 && part.is_void() && part.reached(), "{part:?}");
}

#[test]
fn nothing_is_measured_after_ctrl_c() {
    let within = temporary();
    let interrupted = Arc::default();
    let bench = bench(within.path(), &interrupted);
    let whole = run(&bench, plan("whole"), &mut side, &mut side);
    interrupted.store(true, Ordering::Relaxed);
    let part = run(&bench, plan("stopped"), &mut || unreachable!("it was stopped"), &mut side);
    assert!(!whole.is_void() && part.pairs.is_empty() && part.stopped == Some("stopped by a signal".to_owned()));
}
