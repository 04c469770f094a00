//! The table for people: what was measured first, then what it was measured on.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::{CatchUpReport, Measured, Percentiles, PushReport, RunReport};
use crate::units::{show_bytes, show_count, show_ns, show_rate};

/// The whole table, marks first.
pub fn table(report: &RunReport) -> String {
    let mut text = String::new();
    for mark in &report.marks {
        let _ = writeln!(text, "** {}", mark.text());
    }
    let mut latencies = Vec::new();
    if report.load.consumes {
        latencies.push(("end to end", &report.measured.latency_ns));
    } else {
        latencies.push(("latency", &report.measured.latency_ns));
        latencies.push(("service time", &report.measured.service_ns));
    }
    latencies.extend(report.beside.as_ref().map(|beside| ("beside", &beside.measured.latency_ns)));
    latencies.extend(report.pushed.as_ref().map(|pushed| ("end to end", &pushed.latency_ns)));
    latencies.extend(report.caught_up.as_ref().map(|caught_up| ("catch-up answers", &caught_up.answer_ns)));
    text.push_str(&latency_rows(&latencies));
    let rows = measured_rows(report).into_iter().chain(context_rows(report)).collect::<Vec<_>>();
    text.push_str(&table_text(&rows));
    text
}

/// Rows of a name and a value.
pub(crate) fn table_text(rows: &[(&str, String)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for (name, value) in rows {
        table.add_row(vec![Cell::new(name), Cell::new(value)]);
    }
    trimmed(&table)
}

/// The lines of a table without the blanks around it.
fn trimmed(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim_end().strip_prefix(' ').unwrap_or(line.trim_end()));
    }
    text
}

/// Several runs of one command side by side, with the median and the worst of each figure, void and empty runs left out of both.
pub fn summary(reports: &[RunReport]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["run", "throughput", "records/s", "p50", "p99", "p99.9", "max", "marks"]);
    let row = |name: &str, figures: &[Option<f64>], marks: usize| -> Vec<String> {
        let show = |(column, figure): (usize, &Option<f64>)| match (column, *figure) {
            (_, None) => "-".to_owned(),
            (0, Some(rate)) => show_rate(rate),
            (1, Some(rate)) => show_count(rate as u64),
            (_, Some(ns)) => show_ns(ns as u64),
        };
        let figures = figures.iter().enumerate().map(show);
        [name.to_owned()].into_iter().chain(figures).chain([marks.to_string()]).collect()
    };
    for (number, report) in (1..).zip(reports) {
        table.add_row(row(&format!("{number}"), &figures(report), report.marks.len()));
    }
    let left_out: Vec<LeftOut> = reports.iter().filter_map(RunReport::left_out).collect();
    let sound = || reports.iter().filter(|report| report.left_out().is_none());
    let all: Vec<[Option<f64>; 6]> = sound().map(figures).collect();
    // More is better for the first two, less for the others.
    let ranked = |column: usize| -> Vec<f64> {
        let mut values: Vec<f64> = all.iter().filter_map(|figures| figures[column]).collect();
        values.sort_by(|a, b| if column < 2 { b.total_cmp(a) } else { a.total_cmp(b) });
        values
    };
    let columns: Vec<Vec<f64>> = (0..6).map(ranked).collect();
    let marks = sound().filter(|report| !report.marks.is_empty()).count();
    let median: Vec<_> = columns.iter().map(|ranked| ranked.get(ranked.len() / 2).copied()).collect();
    let worst: Vec<_> = columns.iter().map(|ranked| ranked.last().copied()).collect();
    table.add_row(row("median", &median, marks));
    table.add_row(row("worst", &worst, marks));
    let of = match left_out.is_empty() {
        true => String::new(),
        false => format!("\nmedian and worst of {}", of_runs(reports.len(), &left_out)),
    };
    table.trim_fmt() + &of
}

/// Of a summary's row: bytes and records a second, and latencies, if there are any.
fn figures(report: &RunReport) -> [Option<f64>; 6] {
    let measured = &report.measured;
    let [p50, p99, p999, max] = [50.0, 99.0, 99.9, 100.0].map(|percent| {
        let latency = &measured.latency_ns;
        (!latency.is_empty()).then(|| latency.percentile_ns(percent) as f64)
    });
    [Some(measured.bytes_per_s), Some(measured.records_per_s), p50, p99, p999, max]
}

/// Why a run has no part in medians and worst figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// It is void.
    Void,
    /// Nothing was measured, as it was stopped before.
    Empty,
}

/// How many runs there are, and that some of them are left out.
pub(crate) fn of_runs(runs: usize, left_out: &[LeftOut]) -> String {
    let told =
        [(LeftOut::Void, "void"), (LeftOut::Empty, "in which nothing was measured")].map(|(why, name)| match left_out
            .iter()
            .filter(|&&left_out| left_out == why)
            .count()
        {
            0 => String::new(),
            1 => format!(", one {name}"),
            count => format!(", {count} {name}"),
        });
    let of = if left_out.is_empty() { String::new() } else { format!("{} of ", runs - left_out.len()) };
    format!("{of}{runs} runs{}", told.concat())
}

/// A header of percentiles, and a row for each of several latencies.
pub(crate) fn latency_rows(latencies: &[(&str, &Percentiles)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let at = latencies.first().map_or(&[][..], |(_, percentiles)| &percentiles.at);
    let header = at.iter().map(|(percent, _)| {
        let name = if *percent == 100.0 { "max".to_owned() } else { format!("p{percent}") };
        Cell::new(name).set_alignment(CellAlignment::Right)
    });
    table.set_header([Cell::new("")].into_iter().chain([Cell::new("mean")]).chain(header));
    for (name, percentiles) in latencies {
        let values = percentiles.at.iter().map(|(_, ns)| *ns);
        let show = |ns| if percentiles.is_empty() { "-".to_owned() } else { show_ns(ns) };
        let cells = [percentiles.mean as u64].into_iter().chain(values).map(|ns| Cell::new(show(ns)));
        let cells = cells.map(|cell| cell.set_alignment(CellAlignment::Right));
        table.add_row([Cell::new(*name)].into_iter().chain(cells));
    }
    trimmed(&table)
}

fn measured_rows(report: &RunReport) -> Vec<(&'static str, String)> {
    let measured = &report.measured;
    let mut rows = vec![("throughput", throughput(measured))];
    if report.load.consumes {
        rows.push(("taken", taken_row(report)));
    } else {
        rows.push((
            "written",
            format!(
                "{} records, {}, in {} batches",
                show_count(measured.records_total),
                show_bytes(measured.bytes_total),
                show_count(measured.batches_total)
            ),
        ));
    }
    rows.extend(report.beside.as_ref().map(|beside| ("beside", throughput(&beside.measured))));
    rows.extend(report.pushed.as_ref().map(|pushed| ("pushed", pushed_row(pushed))));
    rows.extend(report.caught_up.as_ref().map(|caught_up| ("caught up", caught_up_row(caught_up))));
    if !report.load.consumes {
        rows.push(("verified", verified(report)));
        rows.push(("flushes", flushes(report)));
    }
    rows.push(("busy", busy(report)));
    rows.extend(report.server_figures.as_ref().map(|figures| ("server says", figures.describe())));
    if let Some(late) = &report.late {
        let share = if late.batches == 0 { 0.0 } else { late.late as f64 / late.batches as f64 * 100.0 };
        rows.push((
            "lateness",
            format!(
                "{} of {} batches ({share:.2} %) left more than {} late, the latest {}",
                show_count(late.late),
                show_count(late.batches),
                show_ns(late.threshold_ns),
                show_ns(late.max_ns)
            ),
        ));
    }
    for goal in &report.goals {
        let met = if goal.met { "met" } else { "MISSED" };
        rows.push(("goal", format!("{}: {met}, measured {}", goal.goal, goal.measured)));
    }
    rows
}

fn throughput(measured: &Measured) -> String {
    format!(
        "{}, {} records/s over {:.1} s",
        show_rate(measured.bytes_per_s),
        show_count(measured.records_per_s as u64),
        measured.seconds
    )
}

fn taken_row(report: &RunReport) -> String {
    let mut text = format!(
        "{} records, {}, by {}",
        show_count(report.measured.records_total),
        show_bytes(report.measured.bytes_total),
        report.load.by
    );
    if report.verification.good {
        text.push_str(": in order, unchanged");
    }
    for fault in &report.verification.faults_told {
        let _ = write!(text, "\n{fault}");
    }
    text
}

fn caught_up_row(caught_up: &CatchUpReport) -> String {
    let mut text = format!(
        "{} records to {} reader(s) from the beginning on, at {}, {} time(s) to the newest",
        show_count(caught_up.records_total),
        caught_up.readers,
        show_rate(caught_up.bytes_per_s),
        caught_up.passes
    );
    if caught_up.faults == 0 {
        text.push_str(": in order, unchanged, nothing left out");
    }
    for fault in &caught_up.faults_told {
        let _ = write!(text, "\n{fault}");
    }
    text
}

fn pushed_row(pushed: &PushReport) -> String {
    let mut text = format!(
        "{} records to {} subscriber(s), at {}",
        show_count(pushed.records_total),
        pushed.subscribers,
        show_rate(pushed.bytes_per_s)
    );
    if pushed.faults == 0 {
        text.push_str(": to each all, in order, unchanged");
    }
    if pushed.foreign > 0 {
        let _ = write!(text, "\n{} of other runs with them", show_count(pushed.foreign));
    }
    if pushed.by_arrival > 0 {
        let _ = write!(text, "\n{} timed from their arrival, in whole ms", show_count(pushed.by_arrival));
    }
    for fault in &pushed.faults_told {
        let _ = write!(text, "\n{fault}");
    }
    text
}

fn verified(report: &RunReport) -> String {
    let found = &report.verification;
    let mut text = format!(
        "{} of {} acknowledged records read back at {}",
        show_count(found.read.min(found.acknowledged)),
        show_count(found.acknowledged),
        show_rate(found.read_bytes_per_s)
    );
    if found.good && found.read == 0 && found.acknowledged > 0 {
        text = format!("{} acknowledged records, none of them read back", show_count(found.acknowledged));
    } else if found.good {
        text.push_str(": each once, in order, unchanged");
    }
    if found.refused > 0 {
        let reasons: Vec<String> =
            found.refused_by_reason.iter().map(|(reason, count)| format!("{reason} {}", show_count(*count))).collect();
        let _ = write!(text, "\n{} refused ({})", show_count(found.refused), reasons.join(", "));
    }
    if found.unknown > 0 {
        let (unknown, present) = (show_count(found.unknown), show_count(found.unknown_present));
        let _ = write!(text, "\n{unknown} of unknown fate, {present} of them there");
    }
    if found.foreign > 0 {
        let _ = write!(text, "\n{} of other runs beside them", show_count(found.foreign));
    }
    for fault in &found.faults_told {
        let _ = write!(text, "\n{fault}");
    }
    let untold = found.faults.saturating_sub(found.faults_told.len() as u64);
    if untold > 0 {
        let _ = write!(text, "\nand {} further faults", show_count(untold));
    }
    text
}

fn flushes(report: &RunReport) -> String {
    match (report.flushes.count, report.flushes.per_batch) {
        (Some(count), Some(per_batch)) => {
            format!("{} of the device, {per_batch:.2} an acknowledged batch", show_count(count))
        }
        _ => "not counted here".to_owned(),
    }
}

fn busy(report: &RunReport) -> String {
    let show = |threads: &[crate::machine::BusyThread]| -> String {
        let shown: Vec<String> = threads
            .iter()
            .filter(|thread| thread.busy >= 0.005)
            .take(4)
            .map(|thread| format!("{} {:.0} %", thread.thread, thread.busy * 100.0))
            .collect();
        if shown.is_empty() { "not seen".to_owned() } else { shown.join(", ") }
    };
    format!(
        "server: {}\ngenerator: {}\nmachine: {} of {} cores{}{}",
        show(&report.busy.server),
        show(&report.busy.generator),
        report.busy.machine.map_or_else(|| "not seen".to_owned(), |busy| format!("{:.0} %", busy * 100.0)),
        report.machine.cores,
        report
            .load
            .cores
            .iter()
            .filter_map(|core| Some(format!(", core {core} {:.0} %", report.busy.cores.get(core)? * 100.0)))
            .collect::<String>(),
        match report.busy.stolen() {
            stolen if stolen < 0.005 => String::new(),
            stolen => format!(", {:.0} % taken by the hypervisor", stolen * 100.0),
        }
    )
}

fn context_rows(report: &RunReport) -> Vec<(&'static str, String)> {
    let load = &report.load;
    let mut shape = load.kind.clone();
    if let Some(rate) = load.records_per_s {
        let _ = write!(shape, " at {} records/s", show_count(rate as u64));
    }
    let _ = write!(shape, ": {} stream(s) of {} shard(s)", load.streams, load.shards);
    if !load.consumes {
        let _ = write!(shape, ", {} connection(s), {} records a batch", load.connections, load.batch_records);
    }
    if let Some(inflight) = load.inflight {
        let _ = write!(shape, ", {inflight} in flight");
    }
    if load.quotas != "none" {
        let _ = write!(shape, ", quotas {}", load.quotas);
    }
    if let Some(key) = &load.encryption {
        let _ = write!(shape, ", encrypted with {key}");
    }
    let [subscribers, stalled, catch_up] = load.consumers;
    for (count, name) in [(subscribers, "subscriber(s)"), (stalled, "stalled"), (catch_up, "catch-up reader(s)")] {
        if count > 0 {
            let _ = write!(shape, ", {count} {name}");
        }
    }
    if let Some(beside) = &load.beside {
        let _ = write!(shape, "\nbeside it: {beside}");
    }
    let records = match &load.input {
        _ if load.consumes => "what is there".to_owned(),
        Some(input) => format!("{input}, keyed by {}", load.keys),
        None => format!("{}, keys {}, seed {}", load.record_bytes, load.keys, load.seed),
    };
    let machine = &report.machine;
    let cores: Vec<String> = load.cores.iter().map(ToString::to_string).collect();
    vec![
        ("load", shape),
        ("records", records),
        (
            "machine",
            format!(
                "{}, {} cores, {}, Linux {}",
                machine.cpu,
                machine.cores,
                show_bytes(machine.memory_bytes),
                machine.kernel
            ),
        ),
        ("disk", report.server.disk.as_ref().map_or_else(|| "not seen from here".to_owned(), |disk| disk.describe())),
        (
            "placement",
            format!(
                "generator on core {}, io {}, {}; server on {}, io {}{}",
                cores.join(","),
                load.io,
                load.protocol,
                report.server.cores.as_deref().unwrap_or("cores of its own choice"),
                report.server.io,
                match report.server.reactors {
                    1 => String::new(),
                    reactors => format!(", {reactors} reactors, route {}", load.route),
                }
            ),
        ),
        (
            "commit",
            match report.server.commit.as_ref().filter(|&commit| *commit != machine.commit) {
                Some(server) => format!("{}, server {server}", machine.commit),
                None => machine.commit.clone(),
            },
        ),
    ]
}
