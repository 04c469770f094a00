//! Drives a sweep: each step is a run of its own, on a server of its own if it is started here, verified like any other.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use super::measure::{Measurement, Run};
use super::place::{self, shorten};
use super::settle::Settled;
use super::tell::utc;
use super::{RunError, Status};
use crate::machine::Machine;
use crate::native::Stop;
use crate::options::Options;
use crate::output::print;
use crate::report::{self, Mark, Percentiles, RunReport};
use crate::sweep::{Next, Search, Step, SweepReport, Verdict, table, write_folder};
use crate::units::{show_count, show_ns};
use crate::workload::KEY_BYTES;

/// Where a sweep begins unless told, in records a second.
const RATE_DEFAULT: f64 = 10_000.0;

/// What is measured of each step unless told.
const STEP_DEFAULT: Duration = Duration::from_secs(5);

/// How many times longer the confirming run is.
const CONFIRMING: u32 = 3;

/// A step that got less than this share of its rate acknowledged has fallen behind.
const ACKNOWLEDGED_MIN: f64 = 0.95;

/// Room for more bytes than a step should send, so that its time ends it.
const BYTES_SPARE: f64 = 1.3;

/// A sweep under way.
struct Sweep<'a> {
    options: &'a Options,
    machine: &'a Machine,
    interrupted: &'a Arc<AtomicBool>,
    program: Option<&'a Path>,
    goal_ns: u64,
}

/// How one step ended.
enum Stepped {
    /// It came to something; there is no report where it could not begin.
    Done(Box<Step>, Option<Box<RunReport>>),
    /// Ctrl-C.
    Interrupted,
    /// Data is wrong: nothing further is tried.
    Void(Box<RunReport>),
}

/// Sweeps, keeps the result, and says how the command ends.
pub(super) fn sweep(
    options: &Options,
    settled: &Settled,
    machine: &Machine,
    interrupted: &Arc<AtomicBool>,
    program: Option<&Path>,
) -> Result<Status, RunError> {
    let goal_ns = options.p99.map_or(0, |goal| goal.as_nanos() as u64);
    let sweep = Sweep { options, machine, interrupted, program, goal_ns };
    let started = (utc(SystemTime::now()), place::command_line());
    let what = options.name.clone().unwrap_or_else(|| format!("sweep-p99-{}", show_ns(goal_ns)));
    let mut report = SweepReport::new(what, started, goal_ns, machine.clone());
    report.end_to_end = options.subscribers() > 0;
    let ended = sweep.run(&mut report)?;
    let folder = write_folder(&settled.results, &report).map_err(RunError::Folder)?;
    if options.json {
        print(report::json(&report));
    } else {
        print(table(&report));
        print(format_args!("result      {}", shorten(&folder.path).display()));
    }
    Ok(match (ended, report.highest) {
        (Status::Good, None) => Status::GoalMissed,
        (ended, _) => ended,
    })
}

impl Sweep<'_> {
    /// Tries rate after rate.
    fn run(&self, report: &mut SweepReport) -> Result<Status, RunError> {
        let mut search = Search::new(self.options.rate.unwrap_or(RATE_DEFAULT));
        let (begun, mut status, mut cut) = (Instant::now(), Status::Good, None);
        loop {
            let steps = report.steps.len() as u32;
            let bound = match () {
                () if steps >= self.options.sweep_steps => Some("the bound of --sweep-steps"),
                () if begun.elapsed() >= self.options.sweep_time => Some("the bound of --sweep-time"),
                () => None,
            };
            // Past a bound nothing follows but one longer run, so that what was found is confirmed or taken back.
            let next = match (bound, cut) {
                (Some(bound), None) => {
                    cut = Some(bound);
                    search.last()
                }
                (Some(_), Some(_)) => Next::Done,
                (None, _) => search.next(),
            };
            let (rate, confirms) = match next {
                Next::Try(rate) => (rate, false),
                Next::Confirm(rate) => (rate, true),
                Next::Done => break,
            };
            let stepped = match self.step(rate, confirms) {
                // There is nothing to keep yet.
                Err(error) if report.steps.is_empty() => return Err(error),
                Err(error) => {
                    report.marks.push(Mark::Partial(error.to_string()));
                    (status, cut) = (Status::NotRun, Some("a step that could not be run"));
                    break;
                }
                Ok(stepped) => stepped,
            };
            match stepped {
                Stepped::Done(step, run) => {
                    self.say(&step);
                    let verdict = step.verdict;
                    report.steps.push(*step);
                    if let Some(run) = run {
                        (report.load, report.server) = (Some(run.load), Some(run.server));
                    }
                    if confirms { search.confirmed(rate, verdict) } else { search.tried(rate, verdict) }
                }
                Stepped::Interrupted => {
                    report.marks.push(Mark::Partial("stopped by a signal".to_owned()));
                    cut = Some("a signal");
                    // What was found until then is told, and marked.
                    if search.found().rate.is_none() {
                        status = Status::NotRun;
                    }
                    break;
                }
                Stepped::Void(run) => {
                    report.marks.extend(run.marks);
                    (status, cut) = (Status::Void, Some("a step whose data is wrong"));
                    break;
                }
            }
        }
        report.conclude(search.found(), cut);
        if let Some(load) = &mut report.load {
            load.records_per_s = None;
        }
        Ok(status)
    }

    /// One run at a rate, with its verdict.
    fn step(&self, rate: f64, confirms: bool) -> Result<Stepped, RunError> {
        let mut options = self.options.clone();
        let times = if confirms { CONFIRMING } else { 1 };
        let warmup = options.warmup.unwrap_or(super::settle::WARMUP_DEFAULT);
        let duration = warmup + self.options.duration.unwrap_or(STEP_DEFAULT) * times;
        let bytes_per_s = rate * (options.record_bytes.mean() + KEY_BYTES as f64);
        options.rate = Some(rate);
        options.duration = Some(duration);
        options.bytes = Some((bytes_per_s * duration.as_secs_f64() * BYTES_SPARE) as u64 + (64 << 20));
        let settled = Settled::new(&options)?;
        let run = Run { options: &options, settled: &settled, machine: self.machine, interrupted: self.interrupted };
        let measured = match run.measure(self.program) {
            Ok(measured) => measured,
            Err(RunError::Space { .. }) => return Ok(Stepped::Done(Box::new(no_room(rate, confirms)), None)),
            Err(error) => return Err(error),
        };
        let report = &measured.report;
        let pushed = report.pushed.as_ref().map_or(0, |pushed| pushed.faults);
        let caught_up = report.caught_up.as_ref().map_or(0, |caught_up| caught_up.faults);
        if report.verification.faults + pushed + caught_up > 0 {
            return Ok(Stepped::Void(Box::new(measured.report)));
        }
        if self.interrupted.load(Ordering::Relaxed) || measured.produced.stop == Stop::Interrupted {
            return Ok(Stepped::Interrupted);
        }
        let step = self.judge(rate, confirms, &measured);
        Ok(Stepped::Done(Box::new(step), Some(Box::new(measured.report))))
    }

    fn judge(&self, rate: f64, confirms: bool, measured: &Measurement) -> Step {
        let (report, group) = (&measured.report, &measured.produced.groups[0]);
        let percentiles = |of: &Percentiles| [50.0, 99.0, 99.9].map(|percent| of.percentile_ns(percent));
        // Late is what is late by the goal's measure: less than that neither makes nor breaks it.
        let paced = group.paced.judge(self.goal_ns);
        let mut step = Step {
            rate,
            confirms,
            verdict: Verdict::Held,
            records_per_s: report.measured.records_per_s,
            bytes_per_s: report.measured.bytes_per_s,
            acked_ns: percentiles(&report.measured.latency_ns),
            pushed_ns: report.pushed.as_ref().map(|pushed| percentiles(&pushed.latency_ns)),
            refused: report.verification.refused,
            late_share: paced.share(),
            seconds: report.measured.seconds,
        };
        step.verdict = match () {
            () if measured.status == Status::Void || !measured.produced.lost.is_empty() => Verdict::Lost,
            () if step.refused > 0 => Verdict::Refused,
            () if paced.marks_run() => Verdict::GeneratorLate,
            () if step.p99_ns() > self.goal_ns => Verdict::AboveGoal,
            () if is_behind(&step) => Verdict::Behind,
            () => Verdict::Held,
        };
        step
    }

    /// A progress line.
    fn say(&self, step: &Step) {
        let confirming = if step.confirms { "confirming " } else { "" };
        eprintln!(
            "{confirming}{} records/s: p99 {}, {}",
            show_count(step.rate as u64),
            show_ns(step.p99_ns()),
            step.verdict.text()
        );
    }
}

/// Whether so much less was acknowledged than was due that it can't have been on its way at the end.
fn is_behind(step: &Step) -> bool {
    let on_its_way = step.rate * step.acked_ns[1] as f64 / 1e9;
    step.records_per_s * step.seconds + on_its_way < step.rate * step.seconds * ACKNOWLEDGED_MIN
}

/// A step that could not begin.
fn no_room(rate: f64, confirms: bool) -> Step {
    Step {
        rate,
        confirms,
        verdict: Verdict::NoRoom,
        records_per_s: 0.0,
        bytes_per_s: 0.0,
        acked_ns: [0; 3],
        pushed_ns: None,
        refused: 0,
        late_share: 0.0,
        seconds: 0.0,
    }
}
