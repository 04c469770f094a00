//! What catching up is held against: the lower of fio's sequential direct reads and limit (c) to one socket; beside ingest,
//! limit (d).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::bench::Bench;
use crate::error::PairsError;
use crate::fanout;
use crate::side::{MB_PER_S, SECONDS, Side, number};

/// fio's rate.
pub(crate) const FIO_MB_PER_S: &str = "fio read MB/s";
/// The rate of limit (c).
pub(crate) const SOCKET_MB_PER_S: &str = "one socket MB/s";

/// What limit (d) wrote meanwhile.
pub(crate) const WRITTEN_MB_PER_S: &str = "written MB/s";

/// Seconds of each budget of limit (d) while it is looked for which counts.
const SWEEP_SECONDS: f64 = 1.5;

/// What is measured then, by the budget that was best: the sweep's are some way apart.
const AROUND_BEST: [f64; 3] = [0.75, 1.0, 1.25];

/// The least of them, and how often half of it is tried.
const BUDGET_MIN: f64 = 100e6;
const LESS_MAX: usize = 2;

/// The part of its rate that limit (d) has to write.
const KEPT_MIN: f64 = 0.98;

/// Reads of fio in flight, each of 1 MiB: as many as the server's.
const DEPTH: u32 = 8;

/// Bytes that fio reads, over and over; it writes them before.
const FILE_BYTES: u64 = 2 << 30;
const FILE_BYTES_QUICK: u64 = 16 << 20;

pub(crate) fn run(bench: &Bench) -> Result<Side, PairsError> {
    let bytes = if bench.options.quick { FILE_BYTES_QUICK } else { FILE_BYTES };
    bench.check_space(bytes)?;
    let file = bench.path().join("fio.dat");
    let arguments = [
        "--name=read".to_owned(),
        format!("--filename={}", file.display()),
        format!("--size={bytes}"),
        "--rw=read".to_owned(),
        "--bs=1m".to_owned(),
        format!("--iodepth={DEPTH}"),
        "--ioengine=io_uring".to_owned(),
        "--direct=1".to_owned(),
        "--time_based=1".to_owned(),
        format!("--runtime={}", bench.seconds().ceil()),
        format!("--cpus_allowed={}", bench.cores().server),
    ];
    let read = bench.fio(&arguments);
    let _ = std::fs::remove_file(&file);
    let (command, found) = read?;
    let missing = || PairsError::Result { command: command.clone(), missing: "read/bw_bytes".to_owned() };
    let fio = number(&found, "/jobs/0/read/bw_bytes").ok_or_else(missing)? / 1e6;
    let socket = fanout::run(bench, 1)?;
    let by_socket = socket.figure(MB_PER_S);
    let figures = BTreeMap::from([
        (MB_PER_S, fio.min(by_socket)),
        (SECONDS, bench.seconds()),
        (FIO_MB_PER_S, fio),
        (SOCKET_MB_PER_S, by_socket),
    ]);
    let detail = json!({ "fio": found["jobs"][0]["read"]["bw_bytes"], "limit": socket.detail });
    Ok(Side { command: format!("{command}; {}", socket.command), figures, marks: Vec::new(), detail })
}

/// Limit (d): the most that is read beside durable writes of so many megabytes a second. A sweep finds about how much that is;
/// what is close to it is measured for longer, and what is less where the writes don't keep their rate beside that.
pub(crate) fn beside(bench: &Bench, write_mb_per_s: f64, seconds: f64) -> Result<Side, PairsError> {
    let (sweep_s, seconds) = if bench.options.quick { (0.1, 0.1) } else { (SWEEP_SECONDS, seconds) };
    let swept = mixed(bench, write_mb_per_s, &[], sweep_s)?;
    let mut budget = if swept.keeps(write_mb_per_s) { swept.budget } else { BUDGET_MIN };
    let mut around = mixed(bench, write_mb_per_s, &AROUND_BEST.map(|times| budget * times), seconds)?;
    for _ in 0..LESS_MAX {
        if around.keeps(write_mb_per_s) || bench.options.quick {
            break;
        }
        budget /= 2.0;
        around = mixed(bench, write_mb_per_s, &AROUND_BEST.map(|times| budget * times), seconds)?;
    }
    let mut marks = Vec::new();
    if !around.keeps(write_mb_per_s) && !bench.options.quick {
        let written = around.written_mb_per_s;
        marks.push(format!("void: limit (d) wrote {written:.0} MB/s of {write_mb_per_s:.0}, whatever it read beside"));
    }
    let figures = BTreeMap::from([(MB_PER_S, around.read_mb_per_s), (WRITTEN_MB_PER_S, around.written_mb_per_s)]);
    Ok(Side { command: around.command, figures, marks, detail: json!({ "sweep": swept.all, "around": around.all }) })
}

/// The best of some budgets of limit (d).
struct Mixed {
    command: String,
    budget: f64,
    read_mb_per_s: f64,
    written_mb_per_s: f64,
    all: Value,
}

impl Mixed {
    /// Whether it wrote as much as it was told to.
    fn keeps(&self, write_mb_per_s: f64) -> bool {
        self.written_mb_per_s >= KEPT_MIN * write_mb_per_s
    }
}

/// `limit mixed`, at the usual budgets or at some.
fn mixed(bench: &Bench, write_mb_per_s: f64, budgets: &[f64], seconds: f64) -> Result<Mixed, PairsError> {
    let bytes = if bench.options.quick { FILE_BYTES_QUICK } else { FILE_BYTES / 2 };
    bench.check_space(2 * bytes)?;
    let mut arguments = vec![
        "mixed".to_owned(),
        "--sweep".to_owned(),
        format!("--write-rate={:.0}", write_mb_per_s * 1e6),
        format!("--file-bytes={bytes}"),
        format!("--seconds={seconds}"),
        format!("--core={}", bench.cores().server),
        format!("--dir={}", bench.directory()),
    ];
    if !budgets.is_empty() {
        let budgets: Vec<_> = budgets.iter().map(|budget| format!("{budget:.0}")).collect();
        arguments.push(format!("--read-budget={}", budgets.join(",")));
    }
    if bench.options.quick {
        arguments.push("--size=64k".to_owned());
    }
    let (command, all) = bench.limit(&arguments)?;
    let need = |path: &str| {
        number(&all, path).ok_or_else(|| PairsError::Result { command: command.clone(), missing: path.to_owned() })
    };
    Ok(Mixed {
        budget: need("/best/read_budget")?,
        read_mb_per_s: need("/best/reads/mb_per_s")?,
        written_mb_per_s: need("/best/writes/mb_per_s")?,
        command,
        all,
    })
}
