//! Merges what several generators measured at the same time into one result.
//!
//! Latencies are added up as histograms, so that a percentile is that of all records together, never a mean of percentiles.
//! What happened when is aligned by the wall clock of each host: clocks differ, so what is told over time is right to that
//! difference, and latency, which each generator measures by its own clock alone, is not touched by it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::{ResultsError, name_of, not_a_run, read_json};
use crate::goal::GoalOutcome;
use crate::recorder::new_histogram;
use crate::report::histogram_log::{ALL, HistogramLog, PUSHED, SERVICE};
use crate::report::plot::{BOUND, COLOURS, Line, latency_plot, throughput_plot};
use crate::report::{
    FORMAT, Mark, Measured, Percentiles, ResultFolder, RunReport, Throughput, VerificationReport, json, latency_rows,
    table_text, write_files,
};
use crate::run::Status;
use crate::run::place::command_line;
use crate::run::tell::utc;
use crate::units::{show_bytes, show_count, show_rate};
use crate::verify::FAULTS_TOLD_MAX;

/// Below this share of the longest window, the time that all have in common is told.
const COMMON_MIN: f64 = 0.95;

/// A result of several generators.
#[derive(Clone, Debug, Serialize)]
pub struct MergedReport {
    /// The version of the layout.
    pub format: u32,
    /// Always true: no single generator measured this.
    pub merged: bool,
    /// What it is, in a few words.
    pub what: String,
    /// When the first of them began, in UTC.
    pub started: String,
    /// The same in milliseconds since 1970.
    pub started_unix_ms: u64,
    /// The command line that merged.
    pub command: String,
    /// What must be known before any figure is believed.
    pub marks: Vec<Mark>,
    /// Seconds that all of them measured in common.
    pub common_s: f64,
    /// What was measured: records and histograms added up, rates too.
    pub measured: Measured,
    /// From end to end, of all subscribers together.
    pub pushed: Option<MergedPush>,
    /// What became of all records, each held against its own generator's account.
    pub verification: VerificationReport,
    /// Throughput over time, aligned by wall time.
    pub throughput: Throughput,
    /// What each generator told.
    pub sources: Vec<Source>,
}

/// What subscribers of all generators were pushed.
#[derive(Clone, Debug, Serialize)]
pub struct MergedPush {
    /// How many they were.
    pub subscribers: u32,
    /// Bytes a second that they took together.
    pub bytes_per_s: f64,
    /// From end to end.
    pub latency_ns: Percentiles,
}

/// One generator.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// The folder of its result.
    pub folder: String,
    /// Its host.
    pub host: String,
    /// The commit.
    pub commit: String,
    /// The server that it drove.
    pub server: String,
    /// When it began.
    pub started: String,
    /// Its command line.
    pub command: String,
    /// Its own marks.
    pub marks: Vec<Mark>,
    /// And its own goals.
    pub goals: Vec<GoalOutcome>,
    /// What it measured alone.
    pub measured: Measured,
}

/// A run that is merged.
struct Run {
    folder: PathBuf,
    report: RunReport,
    log: HistogramLog,
}

impl Run {
    fn read(folder: &Path) -> Result<Self, ResultsError> {
        let json = read_json(folder)?;
        if json.get("merged").is_some() {
            return Err(not_a_run(folder, "it was merged itself".to_owned()));
        }
        let report: RunReport = serde_json::from_value(json).map_err(|error| not_a_run(folder, error.to_string()))?;
        if report.started_unix_ms == 0 {
            return Err(not_a_run(folder, "it does not tell to the millisecond when it began".to_owned()));
        }
        let log = HistogramLog::read(&folder.join("latency.hlog")).map_err(|why| not_a_run(folder, why))?;
        if log.tagged(ALL).is_none() {
            return Err(not_a_run(folder, "its histogram log has no whole".to_owned()));
        }
        Ok(Self { folder: folder.to_owned(), report, log })
    }

    /// What it measured, in seconds since 1970.
    fn window(&self) -> (f64, f64) {
        let from = self.report.started_unix_ms as f64 / 1e3 + self.report.load.warmup_s;
        (from, from + self.report.measured.seconds)
    }
}

impl MergedReport {
    /// How the command ends: as the gravest of what was merged would by its marks and its goals.
    pub fn status(&self) -> Status {
        let marks = self.sources.iter().flat_map(|source| &source.marks).chain(&self.marks);
        let status = marks.clone().map(|mark| match mark {
            Mark::CutShort(_) => Status::NotRun,
            Mark::GeneratorLate(_) => Status::GeneratorLate,
            _ => Status::Good,
        });
        // As of one run, a void one says more than one that was cut short.
        if marks.clone().any(Mark::is_void) {
            return Status::Void;
        }
        let is_missed = self.sources.iter().flat_map(|source| &source.goals).any(|goal| !goal.met);
        let goals = if is_missed { Status::GoalMissed } else { Status::Good };
        status.fold(goals, Status::graver)
    }
}

/// Merges the results of folders, and keeps the merged one in a folder of its own below `results`.
pub fn merge(folders: &[PathBuf], results: &Path) -> Result<(MergedReport, ResultFolder), ResultsError> {
    let mut runs = Vec::new();
    for (at, folder) in folders.iter().enumerate() {
        let same = |other: &PathBuf| other.canonicalize().ok() == folder.canonicalize().ok();
        if folders[..at].iter().any(same) && folder.exists() {
            return Err(ResultsError::Twice(folder.clone()));
        }
        runs.push(Run::read(folder)?);
    }
    check_alike(&runs)?;
    let common_s = common_seconds(&runs)?;
    let merged = HistogramLog { started: started(&runs), intervals: intervals(&runs), whole: whole(&runs) };
    let report = report(&runs, &merged, common_s);
    let files = [
        ("result.json", json(&report).into_bytes()),
        ("result.txt", format!("$ {}\n\n{}\n", report.command, report.table()).into_bytes()),
        ("latency.hlog", merged.write(&report.what).into_bytes()),
        ("latency.svg", latency(&merged, &report).into_bytes()),
        ("throughput.svg", throughput(&runs, &report).into_bytes()),
    ];
    let folder = write_files(results, &report.started, &report.what, &files).map_err(ResultsError::Folder)?;
    Ok((report, folder))
}

/// Refuses to add up what is not of one kind.
fn check_alike(runs: &[Run]) -> Result<(), ResultsError> {
    for pair in runs.windows(2) {
        let unlike = |what| Err(ResultsError::Unlike(pair[0].folder.clone(), pair[1].folder.clone(), what));
        if pair[0].report.load.consumes != pair[1].report.load.consumes {
            return unlike("whether they produced or consumed");
        }
    }
    Ok(())
}

/// Seconds that all measured in common; refuses runs that have none.
fn common_seconds(runs: &[Run]) -> Result<f64, ResultsError> {
    let (mut from, mut to) = ((f64::MIN, 0), (f64::MAX, 0));
    for (at, run) in runs.iter().enumerate() {
        let window = run.window();
        from = if window.0 > from.0 { (window.0, at) } else { from };
        to = if window.1 < to.0 { (window.1, at) } else { to };
    }
    if from.0 >= to.0 {
        let (earlier, later) = (runs[to.1].folder.clone(), runs[from.1].folder.clone());
        return Err(ResultsError::Apart { earlier, later, gap_s: from.0 - to.0 });
    }
    Ok(to.0 - from.0)
}

fn started(runs: &[Run]) -> SystemTime {
    let ms = runs.iter().map(|run| run.report.started_unix_ms).min().unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

/// How long after the first of them a run began.
fn offset(runs: &[Run], run: &Run) -> Duration {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(run.report.started_unix_ms);
    at.duration_since(started(runs)).unwrap_or_default()
}

/// Whole histograms under each tag, added up.
fn whole(runs: &[Run]) -> Vec<(String, Duration, Duration, Histogram<u64>)> {
    let mut all: Vec<(String, Duration, Duration, Histogram<u64>)> = Vec::new();
    for run in runs {
        let offset = offset(runs, run);
        for (tag, from, length, histogram) in &run.log.whole {
            let (from, to) = (offset + *from, offset + *from + *length);
            match all.iter_mut().find(|whole| whole.0 == *tag) {
                Some(whole) => {
                    let end = (whole.1 + whole.2).max(to);
                    whole.1 = whole.1.min(from);
                    whole.2 = end - whole.1;
                    whole.3.add(histogram).expect("all have the same bounds");
                }
                None => all.push((tag.clone(), from, *length, histogram.clone())),
            }
        }
    }
    all
}

/// Latency over time: the intervals of all runs, each added where most of it lies.
fn intervals(runs: &[Run]) -> Vec<(Duration, Duration, Histogram<u64>)> {
    let lengths = runs.iter().flat_map(|run| run.log.intervals.iter().map(|interval| interval.1));
    let Some(length) = lengths.max() else { return Vec::new() };
    let mut all: Vec<(Duration, Duration, Histogram<u64>)> = Vec::new();
    for run in runs {
        let offset = offset(runs, run);
        for (from, own, histogram) in &run.log.intervals {
            let middle = offset + *from + *own / 2;
            let at = (middle.as_nanos() / length.as_nanos().max(1)) as usize;
            while all.len() <= at {
                all.push((length * all.len() as u32, length, new_histogram()));
            }
            all[at].2.add(histogram).expect("all have the same bounds");
        }
    }
    all
}

fn report(runs: &[Run], merged: &HistogramLog, common_s: f64) -> MergedReport {
    let measured = measured(runs, merged);
    let reports = || runs.iter().map(|run| &run.report);
    let pushed = merged.tagged(PUSHED).map(|histogram| MergedPush {
        subscribers: reports().filter_map(|report| Some(report.pushed.as_ref()?.subscribers)).sum(),
        bytes_per_s: reports().filter_map(|report| Some(report.pushed.as_ref()?.bytes_per_s)).sum(),
        latency_ns: Percentiles::of(histogram),
    });
    MergedReport {
        format: FORMAT,
        merged: true,
        what: format!("merged-{}-generators", runs.len()),
        started: utc(merged.started),
        started_unix_ms: crate::run::tell::unix_ms(merged.started),
        command: command_line(),
        marks: marks(runs, common_s),
        common_s,
        measured,
        pushed,
        verification: verification(runs),
        throughput: over_time(runs),
        sources: runs.iter().map(source).collect(),
    }
}

fn measured(runs: &[Run], merged: &HistogramLog) -> Measured {
    let sum = |of: fn(&Measured) -> f64| runs.iter().map(|run| of(&run.report.measured)).sum::<f64>();
    let count = |of: fn(&Measured) -> u64| runs.iter().map(|run| of(&run.report.measured)).sum::<u64>();
    let from = runs.iter().map(|run| run.window().0).fold(f64::MAX, f64::min);
    let to = runs.iter().map(|run| run.window().1).fold(0.0, f64::max);
    let empty = new_histogram();
    Measured {
        seconds: to - from,
        records: count(|measured| measured.records),
        bytes: count(|measured| measured.bytes),
        records_per_s: sum(|measured| measured.records_per_s),
        bytes_per_s: sum(|measured| measured.bytes_per_s),
        records_total: count(|measured| measured.records_total),
        bytes_total: count(|measured| measured.bytes_total),
        batches_total: count(|measured| measured.batches_total),
        latency_ns: Percentiles::of(merged.tagged(ALL).unwrap_or(&empty)),
        service_ns: Percentiles::of(merged.tagged(SERVICE).unwrap_or(&empty)),
    }
}

fn marks(runs: &[Run], common_s: f64) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let void = runs.iter().filter(|run| run.report.marks.iter().any(|mark| matches!(mark, Mark::Void(_))));
    let void: Vec<String> = void.map(|run| name_of(&run.folder)).collect();
    if !void.is_empty() {
        marks.push(Mark::Void(format!("what was merged is void: {}", void.join(", "))));
    }
    let longest = runs.iter().map(|run| run.report.measured.seconds).fold(0.0, f64::max);
    if common_s < longest * COMMON_MIN {
        let why =
            format!("only {common_s:.1} of {longest:.1} s were measured by all, and rates are added up all the same");
        marks.push(Mark::Partial(why));
    }
    let marked = runs.iter().filter(|run| !run.report.marks.is_empty()).count();
    if marked > 0 && void.is_empty() {
        marks.push(Mark::Unobserved(format!("{marked} of the sources have marks of their own")));
    }
    marks
}

/// Each generator holds its own records against its own account; here is what all found.
fn verification(runs: &[Run]) -> VerificationReport {
    let mut all = VerificationReport::nothing(true);
    for run in runs {
        let own = &run.report.verification;
        all.good &= own.good;
        all.acknowledged += own.acknowledged;
        all.refused += own.refused;
        all.refused_by_reason.extend(own.refused_by_reason.iter().cloned());
        all.unknown += own.unknown;
        all.unknown_present += own.unknown_present;
        all.read += own.read;
        all.foreign += own.foreign;
        all.read_seconds = all.read_seconds.max(own.read_seconds);
        all.read_bytes_per_s += own.read_bytes_per_s;
        all.faults += own.faults;
        let name = name_of(&run.folder);
        all.faults_told.extend(own.faults_told.iter().map(|fault| format!("{name}: {fault}")));
    }
    all.faults_told.truncate(FAULTS_TOLD_MAX);
    all
}

/// The sum of all rates over time: each point of a run is spread over the points that it lies in.
fn over_time(runs: &[Run]) -> Throughput {
    let point_s = runs.iter().map(|run| run.report.throughput.point_s).fold(0.001, f64::max);
    let (mut bytes_per_s, mut records_per_s) = (Vec::new(), Vec::new());
    for run in runs {
        let (offset_s, own) = (offset(runs, run).as_secs_f64(), &run.report.throughput);
        add_rates(&mut bytes_per_s, point_s, (offset_s, own.point_s), &own.bytes_per_s);
        add_rates(&mut records_per_s, point_s, (offset_s, own.point_s), &own.records_per_s);
    }
    Throughput { point_s, bytes_per_s, records_per_s }
}

fn add_rates(sums: &mut Vec<f64>, point_s: f64, (offset_s, own_s): (f64, f64), rates: &[f64]) {
    for (at, rate) in rates.iter().enumerate() {
        let (mut from, to) = (offset_s + at as f64 * own_s, offset_s + (at + 1) as f64 * own_s);
        while to - from > 1e-9 {
            // A place a hair before a point's end belongs to the next.
            let point = ((from + 1e-9) / point_s) as usize;
            let end = to.min((point + 1) as f64 * point_s);
            if sums.len() <= point {
                sums.resize(point + 1, 0.0);
            }
            sums[point] += rate * (end - from) / point_s;
            from = end;
        }
    }
}

fn source(run: &Run) -> Source {
    let report = &run.report;
    Source {
        folder: name_of(&run.folder),
        host: report.machine.host.clone(),
        commit: report.machine.commit.clone(),
        server: report.server.address.clone(),
        started: report.started.clone(),
        command: report.command.clone(),
        marks: report.marks.clone(),
        goals: report.goals.clone(),
        measured: report.measured.clone(),
    }
}

impl MergedReport {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut text = format!("** merged from {} generators, whose clocks may differ\n", self.sources.len());
        text.extend(self.marks.iter().map(|mark| format!("** {}\n", mark.text())));
        let measured = &self.measured;
        let mut latencies = vec![("latency", &measured.latency_ns), ("service time", &measured.service_ns)];
        latencies.extend(self.pushed.as_ref().map(|pushed| ("end to end", &pushed.latency_ns)));
        let names: Vec<String> = self.sources.iter().map(|source| source.host.clone()).collect();
        latencies.extend(names.iter().map(String::as_str).zip(self.sources.iter().map(|s| &s.measured.latency_ns)));
        text.push_str(&latency_rows(&latencies));
        let rate = |measured: &Measured| {
            let records_per_s = show_count(measured.records_per_s as u64);
            format!("{}, {records_per_s} records/s", show_rate(measured.bytes_per_s))
        };
        let found = &self.verification;
        let good = if found.good { ": each once, in order, unchanged" } else { ": NOT as acknowledged" };
        let mut rows = vec![
            (
                "throughput",
                format!(
                    "{} over {:.1} s, {:.1} s of them all together",
                    rate(measured),
                    measured.seconds,
                    self.common_s
                ),
            ),
            ("in all", format!("{} records, {}", show_count(measured.records_total), show_bytes(measured.bytes_total))),
            ("verified", format!("{} of {} records{good}", show_count(found.read), show_count(found.acknowledged))),
        ];
        for source in &self.sources {
            let Source { folder, host, commit, server, started, .. } = source;
            rows.push((
                "source",
                format!("{folder}: {}\n{host} to {server}, from {started}, commit {commit}", rate(&source.measured)),
            ));
            rows.extend(source.marks.iter().map(|mark| ("", mark.text())));
        }
        text + &table_text(&rows)
    }
}

fn latency(merged: &HistogramLog, report: &MergedReport) -> String {
    let curves = [
        ("service time, from the submission", BOUND, merged.tagged(SERVICE)),
        ("latency of all records together", COLOURS[0], merged.tagged(ALL)),
        ("end to end, to subscribers", COLOURS[2], merged.tagged(PUSHED)),
    ];
    let curves = curves.into_iter().filter_map(|(name, colour, histogram)| Some(Line::curve(name, colour, histogram?)));
    latency_plot(&format!("Latency by percentile: {}", report.what), curves.collect())
}

fn throughput(runs: &[Run], report: &MergedReport) -> String {
    let mut lines = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let own = &run.report.throughput;
        let offset_s = offset(runs, run).as_secs_f64();
        let mut line =
            Line::rate(&name_of(&run.folder), COLOURS[1 + at % (COLOURS.len() - 1)], own.point_s, &own.bytes_per_s);
        line.points.iter_mut().for_each(|point| point.0 += offset_s);
        lines.push(line);
    }
    let all = &report.throughput;
    lines.push(Line::rate("all together", COLOURS[0], all.point_s, &all.bytes_per_s));
    throughput_plot(&format!("Throughput over time: {}", report.what), 0.0, lines)
}
