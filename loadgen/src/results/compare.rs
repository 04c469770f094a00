//! Compares results: the figures of each, ratios, where what produced them differs, and both curves in one plot.
//!
//! A side is one run, or a folder of several, of which the median stands, with the spread and the worst beside it. Void runs,
//! and those in which nothing was measured, are named, and have no part in figures and plots.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use comfy_table::{Cell, CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::Value;

use super::{ResultsError, name_of, read_json};
use crate::recorder::new_histogram;
use crate::report::histogram_log::{ALL, HistogramLog};
use crate::report::plot::{COLOURS, Line, latency_plot, throughput_plot};
use crate::report::{LeftOut, ResultFolder, json, of_runs, write_files};
use crate::run::tell::utc;
use crate::units::{show_bytes, show_count, show_ns, show_rate};

/// One of the things that are compared.
struct Side {
    name: String,
    runs: Vec<Run>,
}

struct Run {
    name: String,
    json: Value,
    /// Or why there is none.
    latency: Result<Histogram<u64>, String>,
}

/// How a figure is read off a result, shown, and which is better.
struct Figure {
    name: &'static str,
    of: fn(&Value) -> Option<f64>,
    show: fn(f64) -> String,
    more_is_better: bool,
}

const FIGURES: [Figure; 12] = [
    figure("throughput", |run| number(run, "/measured/bytes_per_s"), show_rate, true),
    figure("records/s", |run| number(run, "/measured/records_per_s"), |rate| show_count(rate as u64), true),
    figure("p50", |run| percentile(run, "/measured/latency_ns/at", 50.0), show_latency, false),
    figure("p99", |run| percentile(run, "/measured/latency_ns/at", 99.0), show_latency, false),
    figure("p99.9", |run| percentile(run, "/measured/latency_ns/at", 99.9), show_latency, false),
    figure("max", |run| percentile(run, "/measured/latency_ns/at", 100.0), show_latency, false),
    figure("end to end p99", |run| percentile(run, "/pushed/latency_ns/at", 99.0), show_latency, false),
    figure("pushed", |run| number(run, "/pushed/bytes_per_s"), show_rate, true),
    figure("refused", refused, |share| format!("{:.1} %", share * 100.0), false),
    figure("server CPU", server_cores, |cores| format!("{cores:.2} cores"), false),
    figure("server CPU a GB", cpu_a_gb, |seconds| format!("{seconds:.2} s"), false),
    figure("bytes a flush", bytes_a_flush, |bytes| show_bytes(bytes as u64), true),
];

const fn figure(
    name: &'static str,
    of: fn(&Value) -> Option<f64>,
    show: fn(f64) -> String,
    more_is_better: bool,
) -> Figure {
    Figure { name, of, show, more_is_better }
}

fn show_latency(ns: f64) -> String {
    show_ns(ns as u64)
}

fn number(run: &Value, path: &str) -> Option<f64> {
    run.pointer(path)?.as_f64()
}

fn percentile(run: &Value, path: &str, percent: f64) -> Option<f64> {
    let at = run.pointer(path)?.as_array()?;
    let ns = at.iter().find(|pair| pair[0].as_f64() == Some(percent))?[1].as_f64()?;
    // So an empty histogram has it.
    (ns > 0.0).then_some(ns)
}

fn server_cores(run: &Value) -> Option<f64> {
    let threads = run.pointer("/busy/server")?.as_array().filter(|threads| !threads.is_empty())?;
    Some(threads.iter().filter_map(|thread| thread["busy"].as_f64()).sum())
}

fn cpu_a_gb(run: &Value) -> Option<f64> {
    let gb_per_s = of_both_loads(run, "bytes_per_s")? / 1e9;
    (gb_per_s > 0.0).then_some(server_cores(run)? / gb_per_s)
}

fn bytes_a_flush(run: &Value) -> Option<f64> {
    let flushes = number(run, "/flushes/count").filter(|&flushes| flushes > 0.0)?;
    Some(of_both_loads(run, "bytes_total")? / flushes)
}

/// What the load measured, and the load beside it, on which the server's work was spent as well.
fn of_both_loads(run: &Value, name: &str) -> Option<f64> {
    let beside = number(run, &format!("/beside/measured/{name}")).unwrap_or(0.0);
    Some(number(run, &format!("/measured/{name}"))? + beside)
}

/// The share of the records that were not let in.
fn refused(run: &Value) -> Option<f64> {
    let [refused, acknowledged, unknown] =
        ["refused", "acknowledged", "unknown"].map(|name| number(run, &format!("/verification/{name}")));
    let all = refused? + acknowledged? + unknown?;
    (all > 0.0).then_some(refused? / all)
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// Always true: this is no report of a run.
    pub compare: bool,
    /// The sides, and the runs of each.
    pub sides: Vec<(String, Vec<String>)>,
    /// How many runs of each are void: its figures are those of the others.
    pub void: Vec<usize>,
    /// And in how many nothing was measured: they are left out too.
    pub empty: Vec<usize>,
    /// Where what produced them differs, and what else must be known.
    pub warnings: Vec<String>,
    /// The figures.
    pub rows: Vec<Row>,
}

/// One figure of all sides.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Of each side, if it has one.
    pub sides: Vec<Option<Spread>>,
    /// Each further side's median by that of the first.
    pub ratios: Vec<Option<f64>>,
    /// The same of the worst.
    pub worst_ratios: Vec<Option<f64>>,
}

/// A figure of several runs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// The median; of an even number the worse of the two in the middle.
    pub median: f64,
    /// The worst.
    pub worst: f64,
    /// The best.
    pub best: f64,
    /// Of so many runs.
    pub runs: usize,
}

impl Spread {
    fn new(mut values: Vec<f64>, more_is_better: bool) -> Option<Self> {
        values.sort_by(|a, b| if more_is_better { b.total_cmp(a) } else { a.total_cmp(b) });
        let (&best, &worst) = values.first().zip(values.last())?;
        Some(Self { median: values[values.len() / 2], worst, best, runs: values.len() })
    }
}

/// Compares folders, and keeps the comparison in one of its own below `results`.
pub fn compare(folders: &[PathBuf], results: &Path) -> Result<(Comparison, ResultFolder), ResultsError> {
    let sides: Vec<Side> = folders.iter().map(|folder| Side::read(folder)).collect::<Result<_, _>>()?;
    let comparison = Comparison {
        compare: true,
        sides: sides
            .iter()
            .map(|side| (side.name.clone(), side.runs.iter().map(|run| run.name.clone()).collect()))
            .collect(),
        void: sides.iter().map(|side| side.left_out(LeftOut::Void)).collect(),
        empty: sides.iter().map(|side| side.left_out(LeftOut::Empty)).collect(),
        warnings: warnings(&sides),
        rows: FIGURES.iter().filter_map(|figure| row(figure, &sides)).collect(),
    };
    let files = [
        ("compare.json", json(&comparison).into_bytes()),
        ("compare.txt", comparison.table().into_bytes()),
        ("latency.svg", latency(&sides).into_bytes()),
        ("throughput.svg", throughput(&sides).into_bytes()),
    ];
    let names: Vec<&str> = sides.iter().map(|side| side.name.as_str()).collect();
    let what: String = format!("compare-{}", names.join("-")).chars().take(120).collect();
    let folder = write_files(results, &utc(SystemTime::now()), &what, &files).map_err(ResultsError::Folder)?;
    Ok((comparison, folder))
}

impl Side {
    /// One run, or all runs in a folder.
    fn read(folder: &Path) -> Result<Self, ResultsError> {
        let name = name_of(folder);
        if folder.join("result.json").exists() {
            return Ok(Self { name, runs: vec![Run::read(folder)?] });
        }
        let entries = std::fs::read_dir(folder).map_err(|_| ResultsError::NoResult(folder.to_owned()))?;
        let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        folders.retain(|path| path.join("result.json").exists());
        folders.sort();
        if folders.is_empty() {
            return Err(ResultsError::NoResult(folder.to_owned()));
        }
        Ok(Self { name, runs: folders.iter().map(|folder| Run::read(folder)).collect::<Result<_, _>>()? })
    }

    /// Its runs that say something.
    fn sound(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.left_out().is_none())
    }

    /// How many of its runs are left out for this reason.
    fn left_out(&self, why: LeftOut) -> usize {
        self.runs.iter().filter(|run| run.left_out() == Some(why)).count()
    }

    /// The latency of all of them together.
    fn latency(&self) -> Histogram<u64> {
        let mut all = new_histogram();
        for latency in self.sound().filter_map(|run| run.latency.as_ref().ok()) {
            all.add(latency).expect("all have the same bounds");
        }
        all
    }
}

impl Run {
    fn read(folder: &Path) -> Result<Self, ResultsError> {
        let json = read_json(folder)?;
        let log = HistogramLog::read(&folder.join("latency.hlog"));
        let whole = |log: HistogramLog| log.tagged(ALL).cloned().ok_or_else(|| "its log has no line of all".to_owned());
        Ok(Self { name: name_of(folder), json, latency: log.and_then(whole) })
    }

    fn left_out(&self) -> Option<LeftOut> {
        let mut marks = self.json["marks"].as_array().into_iter().flatten();
        match () {
            () if marks.any(|mark| mark["mark"] == "void") => Some(LeftOut::Void),
            () if number(&self.json, "/measured/records") == Some(0.0) => Some(LeftOut::Empty),
            () => None,
        }
    }
}

fn row(figure: &Figure, sides: &[Side]) -> Option<Row> {
    let spread = |side: &Side| {
        let values: Vec<f64> = side.sound().filter_map(|run| (figure.of)(&run.json)).collect();
        Spread::new(values, figure.more_is_better)
    };
    let sides: Vec<Option<Spread>> = sides.iter().map(spread).collect();
    let (first, others) = sides.split_first()?;
    let ratio = |value: fn(&Spread) -> f64| -> Vec<Option<f64>> {
        let by = |other: &Option<Spread>| {
            let by = first.as_ref().map(value).filter(|&by| by > 0.0)?;
            Some(value(other.as_ref()?) / by)
        };
        others.iter().map(by).collect()
    };
    let (ratios, worst_ratios) = (ratio(|spread| spread.median), ratio(|spread| spread.worst));
    sides.iter().any(Option::is_some).then(|| Row { name: figure.name.to_owned(), sides, ratios, worst_ratios })
}

/// What should be the same of runs that are compared, where it is told.
const SAME: [(&str, &str); 11] = [
    ("commit", "/machine/commit"),
    ("host", "/machine/host"),
    ("processor", "/machine/cpu"),
    ("cores", "/machine/cores"),
    ("kernel", "/machine/kernel"),
    ("disk", "/server/disk/file_system"),
    ("device", "/server/disk/device"),
    ("server's cores", "/server/cores"),
    ("durable", "/server/is_durable"),
    ("server's io", "/server/io"),
    ("generator's io", "/load/io"),
];

fn warnings(sides: &[Side]) -> Vec<String> {
    let runs = || sides.iter().flat_map(|side| &side.runs);
    let mut found = Vec::new();
    let mut differ = |name: &str, of: &dyn Fn(&Value) -> Option<Value>| {
        let told: BTreeSet<String> = runs().filter_map(|run| of(&run.json)).map(|value| shown(&value)).collect();
        if told.len() > 1 {
            let each: Vec<String> = sides
                .iter()
                .map(|side| {
                    let own: BTreeSet<String> =
                        side.runs.iter().filter_map(|run| of(&run.json)).map(|value| shown(&value)).collect();
                    format!("{} {}", side.name, own.into_iter().collect::<Vec<_>>().join(" and "))
                })
                .collect();
            found.push(format!("the {name} differs: {}", each.join(", ")));
        }
    };
    for (name, path) in SAME {
        differ(name, &|run| run.pointer(path).filter(|value| !value.is_null()).cloned());
    }
    let loads = runs().filter_map(|run| run.json.get("load")?.as_object());
    let options: BTreeSet<String> = loads.flat_map(|load| load.keys().cloned()).collect();
    for option in options {
        differ(&option.replace('_', " "), &|run| run.get("load")?.get(&option).cloned());
    }
    for run in runs() {
        if let Err(why) = &run.latency {
            found.push(format!("{}: it is not in the latency curve: {why}", run.name));
        }
        for mark in run.json["marks"].as_array().into_iter().flatten() {
            found.push(format!("{}: {}: {}", run.name, shown(&mark["mark"]), shown(&mark["why"])));
        }
    }
    found
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Comparison {
    /// The table for people, warnings first.
    pub fn table(&self) -> String {
        let mut text: String = self.warnings.iter().map(|warning| format!("** {warning}\n")).collect();
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let right = |text: &str| Cell::new(text).set_alignment(CellAlignment::Right);
        let left_out = self.void.iter().zip(&self.empty).map(|(&void, &empty)| {
            let void = std::iter::repeat_n(LeftOut::Void, void);
            void.chain(std::iter::repeat_n(LeftOut::Empty, empty)).collect::<Vec<_>>()
        });
        let names = self.sides.iter().zip(left_out).map(|((name, runs), left_out)| match (runs.len(), &left_out[..]) {
            (1, []) => name.clone(),
            (runs, left_out) => format!("{name}, {}", of_runs(runs, left_out)),
        });
        let ratios = (1..self.sides.len()).map(|at| match self.sides.len() {
            2 => "second by first".to_owned(),
            _ => format!("column {} by first", at + 1),
        });
        let header: Vec<Cell> = names.chain(ratios).map(|name| right(&name)).collect();
        table.set_header([Cell::new("")].into_iter().chain(header));
        for row in &self.rows {
            let show = FIGURES
                .iter()
                .find(|figure| figure.name == row.name)
                .map_or(show_rate as fn(f64) -> String, |figure| figure.show);
            let sides = row.sides.iter().map(|side| match side {
                None => "-".to_owned(),
                Some(Spread { median, runs: 1, .. }) => show(*median),
                Some(Spread { median, worst, best, .. }) => {
                    format!("{} ({} to {})", show(*median), show(*best), show(*worst))
                }
            });
            let has_repeats = row.sides.iter().flatten().any(|side| side.runs > 1);
            let ratios = row.ratios.iter().zip(&row.worst_ratios).map(|(ratio, worst)| match (ratio, worst) {
                (Some(ratio), Some(worst)) if has_repeats => format!("{ratio:.3}, worst {worst:.3}"),
                (Some(ratio), _) => format!("{ratio:.3}"),
                (None, _) => "-".to_owned(),
            });
            let cells: Vec<Cell> = sides.chain(ratios).map(|text| right(&text)).collect();
            table.add_row([Cell::new(&row.name)].into_iter().chain(cells));
        }
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        if self.sides.iter().any(|(_, runs)| runs.len() > 1) {
            text.push_str("medians, with the best and the worst run; ratios of medians and of the worst\n");
        }
        text
    }
}

fn colour(at: usize) -> plotters::style::RGBColor {
    COLOURS[at % COLOURS.len()]
}

fn latency(sides: &[Side]) -> String {
    let curve = |(at, side): (usize, &Side)| Line::curve(&side.name, colour(at), &side.latency());
    latency_plot("Latency by percentile", sides.iter().enumerate().map(curve).collect())
}

/// The throughput over time of each side's run in the middle.
fn throughput(sides: &[Side]) -> String {
    let line = |(at, side): (usize, &Side)| {
        let mut runs: Vec<&Run> = side.sound().collect();
        let rate = |run: &Run| number(&run.json, "/measured/bytes_per_s").unwrap_or_default();
        runs.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
        let run = runs.get(runs.len() / 2)?;
        let points = run.json.pointer("/throughput/bytes_per_s").and_then(Value::as_array);
        let points: Vec<f64> = points.into_iter().flatten().filter_map(Value::as_f64).collect();
        let point_s = number(&run.json, "/throughput/point_s").unwrap_or(0.1);
        Some(Line::rate(&side.name, colour(at), point_s, &points))
    };
    throughput_plot("Throughput over time", 0.0, sides.iter().enumerate().filter_map(line).collect())
}
