//! What a target leaves behind: JSON of every pair, a page for people, a plot of each measure, in a folder of its own.

mod folder;
mod page;
mod plot;

use std::path::Path;

use jiff::{Timestamp, Unit};
use serde::Serialize;
use serde_json::Value;

use crate::args::Target;
use crate::bench::Bench;
use crate::error::PairsError;
use crate::pair::Part;
use crate::sweep::Sweep;
use crate::targets::Findings;
use crate::units::show;

/// The version of the JSON's layout.
const FORMAT: u32 = 1;

/// How a target ended, the gravest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// No measure has a bound.
    Measured,
    /// The median of every measure keeps its bound.
    Reached,
    /// One does not.
    Missed,
    /// A run was void, or there are fewer pairs than asked for.
    Void,
    /// There is no result.
    NotRun,
}

impl Verdict {
    /// The exit status.
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::Measured | Self::Reached => 0,
            Self::NotRun => 1,
            Self::Void => 2,
            Self::Missed => 3,
        }
    }

    fn text(self, quick: bool) -> &'static str {
        match self {
            _ if quick => "a smoke run, whose figures mean nothing",
            Self::Measured => "measured",
            Self::Reached => "reached",
            Self::Missed => "missed",
            Self::Void => "void: see the marks",
            Self::NotRun => "not run",
        }
    }
}

/// Everything about one target.
#[derive(Debug, Serialize)]
struct Report {
    format: u32,
    target: String,
    verdict: Verdict,
    goal: &'static str,
    started: String,
    ended: String,
    command: String,
    /// Says that the figures mean nothing.
    quick: bool,
    machine: Value,
    notes: Vec<String>,
    sweeps: Vec<Sweep>,
    parts: Vec<Part>,
}

/// Writes the folder and says where it is.
pub(crate) fn write(
    bench: &Bench,
    target: Target,
    started: Timestamp,
    findings: Findings,
) -> Result<Verdict, PairsError> {
    let Findings { goal, notes, sweeps, parts } = findings;
    let verdict = verdict(&parts);
    let second = |time: Timestamp| time.round(Unit::Second).unwrap_or(time).to_string();
    let report = Report {
        format: FORMAT,
        target: target.name(),
        verdict,
        goal,
        started: second(started),
        ended: second(Timestamp::now()),
        command: command_line(bench),
        quick: bench.options.quick,
        // Known from what was measured, or asked for now, which may fail as that did.
        machine: bench.machine().unwrap_or_default(),
        notes,
        sweeps,
        parts,
    };
    let folder = folder::write(&bench.results(), &report)?;
    for part in &report.parts {
        for measured in &part.measures {
            println!(
                "{}: {}: median {}, worst {}, to reach {}: {}",
                report.target,
                measured.measure.title,
                show(measured.median),
                show(measured.worst),
                measured.measure.bound.text(),
                measured.measure.bound.outcome(measured.reached),
            );
        }
    }
    let here = std::env::current_dir().unwrap_or_default();
    println!(
        "{}: {}: {}",
        report.target,
        verdict.text(bench.options.quick),
        folder.strip_prefix(&here).unwrap_or(&folder).display()
    );
    Ok(verdict)
}

fn verdict(parts: &[Part]) -> Verdict {
    if parts.iter().any(Part::is_void) {
        Verdict::Void
    } else if parts.iter().all(Part::is_unbound) {
        Verdict::Measured
    } else if parts.iter().all(Part::reached) {
        Verdict::Reached
    } else {
        Verdict::Missed
    }
}

/// The command line, the program by its name alone and directories left out.
fn command_line(bench: &Bench) -> String {
    let line = std::iter::once("pairs".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ");
    let options = &bench.options;
    let built = options.rust_sdk.as_deref().and_then(Path::parent);
    let named = [options.dir.as_deref(), options.results.as_deref(), options.emulators.as_deref(), built];
    named.into_iter().flatten().fold(line, |line, path| line.replace(&path.display().to_string(), "DIR"))
}
