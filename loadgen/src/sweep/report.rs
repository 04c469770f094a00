//! What a sweep leaves behind: a table, JSON, a plot of latency by rate, in a folder of its own.

use std::fmt::Write;
use std::path::Path;

use comfy_table::{Cell, CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use super::{Sought, Step, Verdict};
use crate::machine::Machine;
use crate::report::plot::{BOUND, COLOURS, Line, rate_plot};
use crate::report::{FORMAT, FolderError, Load, Mark, ResultFolder, ServerReport, json, table_text, write_files};
use crate::units::{show_count, show_ns, show_rate};

/// Everything about a sweep.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SweepReport {
    /// The version of the layout.
    pub format: u32,
    /// Always true: this is no report of one run.
    pub sweep: bool,
    /// What ran, in a few words.
    pub what: String,
    /// When it started, in UTC.
    pub started: String,
    /// The command line.
    pub command: String,
    /// What must be known before any figure is believed.
    pub marks: Vec<Mark>,
    /// The p99 to hold.
    pub goal_ns: u64,
    /// Whether it counts from end to end, because there are subscribers.
    pub end_to_end: bool,
    /// The highest rate that held, in records a second.
    pub highest: Option<f64>,
    /// Whether a longer run confirmed it.
    pub confirmed: bool,
    /// What kept the rate from being higher.
    pub stopped_by: String,
    /// The steps in their order.
    pub steps: Vec<Step>,
    /// How the load was made, but for its rate.
    pub load: Option<Load>,
    /// The machine and the commit.
    pub machine: Machine,
    /// The server of the last step.
    pub server: Option<ServerReport>,
}

impl SweepReport {
    /// A sweep that has not begun.
    pub fn new(what: String, (started, command): (String, String), goal_ns: u64, machine: Machine) -> Self {
        Self {
            format: FORMAT,
            sweep: true,
            what,
            started,
            command,
            marks: Vec::new(),
            goal_ns,
            end_to_end: false,
            highest: None,
            confirmed: false,
            stopped_by: String::new(),
            steps: Vec::new(),
            load: None,
            machine,
            server: None,
        }
    }

    /// Takes what the search found, and why it ended if it did not come to its own end.
    pub fn conclude(&mut self, found: Sought, cut: Option<&str>) {
        self.highest = found.rate;
        self.confirmed = found.confirmed;
        self.stopped_by = match (found.stopped_by, cut) {
            (_, Some(cut)) => cut.to_owned(),
            (Some((rate, verdict)), None) => format!("at {} records/s: {}", show_count(rate as u64), verdict.text()),
            (None, None) => "nothing".to_owned(),
        };
        if let Some((_, Verdict::GeneratorLate)) = found.stopped_by {
            let why = "the generator was late at the next higher rate, which says nothing about the server".to_owned();
            self.marks.push(Mark::GeneratorBound(why));
        }
    }
}

/// The table for people.
pub fn table(report: &SweepReport) -> String {
    let mut text = String::new();
    for mark in &report.marks {
        let _ = writeln!(text, "** {}", mark.text());
    }
    let mut steps = Table::new();
    steps.load_style(presets::NOTHING);
    let names = ["rate", "records/s", "throughput", "p50", "p99", "p99.9", "end to end p99", "late", ""];
    steps.set_header(names.map(|name| Cell::new(name).set_alignment(CellAlignment::Right)));
    for step in &report.steps {
        let [p50, p99, p999] = step.acked_ns.map(show_ns);
        let verdict =
            if step.confirms { format!("confirming: {}", step.verdict.text()) } else { step.verdict.text().to_owned() };
        let cells = [
            show_count(step.rate as u64),
            show_count(step.records_per_s as u64),
            show_rate(step.bytes_per_s),
            p50,
            p99,
            p999,
            step.pushed_ns.map_or_else(|| "-".to_owned(), |pushed| show_ns(pushed[1])),
            format!("{:.2} %", step.late_share * 100.0),
        ];
        let cells = cells.map(|cell| Cell::new(cell).set_alignment(CellAlignment::Right));
        steps.add_row(cells.into_iter().chain([Cell::new(verdict)]));
    }
    for line in steps.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let confirmed = if report.confirmed { "confirmed by a longer run" } else { "not confirmed by a longer run" };
    let highest = match report.highest {
        Some(rate) => format!("{} records/s, {confirmed}", show_count(rate as u64)),
        None if report.marks.iter().any(|mark| matches!(mark, Mark::Partial(_))) => "none found so far".to_owned(),
        None => "no rate holds it".to_owned(),
    };
    let of = if report.end_to_end { "from end to end" } else { "to the acknowledgement" };
    let rows = [
        ("goal", format!("p99 {of} of at most {}", show_ns(report.goal_ns))),
        ("highest", highest),
        ("stopped by", report.stopped_by.clone()),
        ("commit", report.machine.commit.clone()),
    ];
    text + &table_text(&rows)
}

/// Writes the folder of a sweep.
pub fn write_folder(results: &Path, report: &SweepReport) -> Result<ResultFolder, FolderError> {
    let files = [
        ("result.json", json(report).into_bytes()),
        ("result.txt", format!("$ {}\n\n{}\n", report.command, table(report)).into_bytes()),
        ("sweep.svg", plot(report).into_bytes()),
    ];
    write_files(results, &report.started, &format!("{}-{}", report.machine.host, report.what), &files)
}

/// Latency by rate, with the goal.
fn plot(report: &SweepReport) -> String {
    let mut steps: Vec<&Step> = report.steps.iter().filter(|step| step.records_per_s > 0.0).collect();
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    let line = |name: &str, colour, ns: &dyn Fn(&Step) -> Option<u64>| {
        let points = steps.iter().filter_map(|step| Some((step.rate / 1e3, ns(step)? as f64 / 1e6)));
        Line { name: name.to_owned(), colour, points: points.filter(|point| point.1 > 0.0).collect() }
    };
    let goal_ms = report.goal_ns as f64 / 1e6;
    let goal = steps.iter().map(|step| (step.rate / 1e3, goal_ms)).collect();
    let mut lines = vec![
        Line { name: "goal".to_owned(), colour: BOUND, points: goal },
        line("p50 to the acknowledgement", COLOURS[4], &|step| Some(step.acked_ns[0])),
        line("p99 to the acknowledgement", COLOURS[0], &|step| Some(step.acked_ns[1])),
    ];
    if report.end_to_end {
        lines.push(line("p99 from end to end", COLOURS[2], &|step| Some(step.pushed_ns?[1])));
    }
    rate_plot(&format!("Latency by rate: {}", report.what), lines)
}
