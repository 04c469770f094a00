//! The server's side: one run of `millstream-load`, which starts the server, verifies what it wrote, and prints JSON.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::bench::Bench;
use crate::error::PairsError;
use crate::point::ServerPoint;
use crate::side::{MB_PER_S, P50_US, P99_US, P999_US, SECONDS, STOLEN_PERCENT, Side, number};

/// Records a second, all shards together.
pub(crate) const RECORDS_PER_S: &str = "records/s";
/// Processor time of the reactor and its kernel workers for each record.
pub(crate) const CPU_NS_PER_RECORD: &str = "cpu ns/record";
/// Busy time of all processors, with whatever, for each record.
pub(crate) const MACHINE_NS_PER_RECORD: &str = "machine ns/record";
/// The same for each gigabyte of data and keys.
pub(crate) const MACHINE_S_PER_GB: &str = "machine s/GB";
/// Batches of an open loop that left later than they may, and those by all.
pub(crate) const LATE_BATCHES: &str = "late batches";
pub(crate) const LATE_PERCENT: &str = "late %";
/// How busy the reactor's core was with it.
pub(crate) const REACTOR_BUSY: &str = "reactor busy";
/// How busy the generator's core was with it.
pub(crate) const LOAD_BUSY: &str = "load busy";

/// What the reading back came to.
pub(crate) const READ_BACK_MB_PER_S: &str = "read back MB/s";
/// What all subscribers together were pushed.
pub(crate) const PUSHED_MB_PER_S: &str = "pushed MB/s";
/// From the intended time of a record to its being taken.
pub(crate) const PUSHED_P50_US: &str = "pushed p50 us";
/// The same, the 99th percentile.
pub(crate) const PUSHED_P99_US: &str = "pushed p99 us";
/// The same less [`PUSH_MARGIN_US`], by the 99th percentile of the acknowledgements of the same run.
pub(crate) const PUSHED_BY_ACK: &str = "pushed by acked";

/// What a push may take beyond its part of an acknowledgement.
const PUSH_MARGIN_US: f64 = 100.0;

/// Where the latency of acknowledgements is.
const ACKED: &str = "/measured/latency_ns/at";

/// The largest record's data: ten MiB with its key.
pub(crate) const LARGE_BYTES: u64 = (10 << 20) - 64;

/// A record of 1 KiB with its header and key takes this many times its data on disk.
const DISK_GROWTH: f64 = 1.10;

/// The space that a side writes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// Zeros were written to it before.
    Written,
    /// It was only allocated.
    Allocated,
}

impl Space {
    /// The word of the limit program for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Allocated => "allocated",
        }
    }
}

/// One run of the load generator on a server of its own.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) point: ServerPoint,
    pub(crate) record_bytes: u64,
    pub(crate) shards: u32,
    /// Records a second of an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) warmup_s: f64,
    /// Data and keys to write at most.
    pub(crate) bytes: u64,
    pub(crate) space: Space,
    /// Bytes on disk for each byte of data: small batches pad to whole blocks.
    pub(crate) growth: f64,
    pub(crate) subscribers: Subscribers,
    /// A second load from the same generator, in its words.
    pub(crate) beside: Option<String>,
    pub(crate) reactors: u32,
    /// Whether the generator has a second thread, on the server's first core.
    pub(crate) is_on_both_cores: bool,
}

/// Who has pushed to it what is written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Subscribers {
    pub(crate) count: u32,
    /// How many more never take anything.
    pub(crate) stalled: u32,
    /// When they begin, with the first record.
    pub(crate) after_s: f64,
    /// Whether the reading back is done as one of them.
    pub(crate) read_back: bool,
}

impl Load {
    /// Records of 1 KiB over 8 shards in a closed loop.
    pub(crate) fn new(bench: &Bench, point: ServerPoint, space: Space) -> Self {
        Self {
            point,
            record_bytes: 1024,
            shards: 8,
            rate: None,
            seconds: bench.seconds(),
            warmup_s: bench.warmup_s(),
            bytes: bench.bytes(),
            space,
            growth: DISK_GROWTH,
            subscribers: Subscribers::default(),
            beside: None,
            reactors: 1,
            is_on_both_cores: false,
        }
    }

    /// Segments of each reactor that hold all that is written.
    fn segments(&self, bench: &Bench) -> u64 {
        (self.bytes as f64 * self.growth / f64::from(self.reactors)) as u64 / bench.segment_bytes() + 2
    }

    /// Room on the disk that the run takes: the pool is made full again behind the writer.
    fn disk_bytes(&self, bench: &Bench) -> u64 {
        let times = match self.space {
            Space::Written => 2,
            Space::Allocated => 1,
        };
        (times * self.segments(bench) + 2) * u64::from(self.reactors) * bench.segment_bytes()
    }

    /// The load itself, in the words of the load generator.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            format!("--connections={}", self.point.connections),
            format!("--inflight={}", self.point.inflight),
            format!("--batch-records={}", self.point.batch_records),
            format!("--record-bytes={}", self.record_bytes),
            format!("--shards={}", self.shards),
            format!("--duration={}s", self.warmup_s + self.seconds),
            format!("--warmup={}s", self.warmup_s),
            format!("--bytes={}", self.bytes),
        ];
        arguments.extend(self.beside.as_ref().map(|beside| format!("--beside={beside}")));
        arguments.extend(self.rate.map(|rate| format!("--rate={rate:.0}")));
        let Subscribers { count, stalled, after_s, read_back } = self.subscribers;
        if count > 0 {
            arguments.push(format!("--subscribers={count}"));
            arguments.push(format!("--stalled={stalled}"));
            arguments.push(format!("--subscribe-after={after_s}s"));
        }
        if read_back {
            arguments.push("--read-back=push".to_owned());
        }
        arguments
    }

    /// What the server is told beyond its directory, address and core.
    pub(crate) fn server_arguments(&self, bench: &Bench) -> Vec<String> {
        let mut arguments = bench.server_arguments();
        if self.space == Space::Written {
            arguments.push("--prewrite".to_owned());
            arguments.push(format!("--segments-ready={}", self.segments(bench)));
        }
        arguments.extend(self.point.writes.map(|writes| format!("--writes-in-flight={writes}")));
        arguments.extend(self.point.batch_bytes.map(|bytes| format!("--batch-bytes={bytes}")));
        if self.reactors > 1 {
            arguments.push(format!("--reactors={}", self.reactors));
        }
        arguments
    }

    /// Runs it.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Side, PairsError> {
        bench.check_space(self.disk_bytes(bench))?;
        let mut arguments = self.arguments();
        arguments.push(format!("--server-core={}", bench.cores().server));
        if self.is_on_both_cores && bench.cores().server != bench.cores().load {
            // Beside the core that every generator has.
            arguments.push(format!("--cores={}", bench.cores().server));
        }
        arguments.extend(self.server_arguments(bench).iter().map(|argument| format!("--server-arg={argument}")));
        arguments.push(format!("--dir={}", bench.directory()));
        let (command, detail) = bench.load(&arguments)?;
        side(command, detail)
    }
}

/// Reads the load generator's result.
pub(crate) fn side(command: String, mut detail: Value) -> Result<Side, PairsError> {
    let need = |path: &str| {
        number(&detail, path).ok_or_else(|| PairsError::Result { command: command.clone(), missing: path.to_owned() })
    };
    let records_per_s = need("/measured/records_per_s")?;
    // A run too short for two samples has no busy times, which is not the same as none busy.
    let busy = |group: &str, is_meant: fn(&str) -> bool| -> f64 {
        let threads = detail.pointer(group).and_then(Value::as_array).filter(|threads| !threads.is_empty());
        threads.map_or(f64::NAN, |threads| {
            let meant = threads.iter().filter(|thread| thread["thread"].as_str().is_some_and(is_meant));
            meant.filter_map(|thread| thread["busy"].as_f64()).fold(0.0, |sum, busy| sum + busy)
        })
    };
    let reactor = busy("/busy/server", |name| name.starts_with("reactor") || name == "io_uring workers");
    // The generator's own threads are seen whenever anything is.
    let was_seen =
        detail.pointer("/busy/generator").and_then(Value::as_array).is_some_and(|threads| !threads.is_empty());
    let machine = if was_seen { need("/busy/machine")? * need("/machine/cores")? } else { f64::NAN };
    let by = |cores: f64, each_s: f64| if each_s > 0.0 { cores / each_s * 1e9 } else { f64::NAN };
    let per_record = |cores: f64| by(cores, records_per_s);
    let bytes_per_s = need("/measured/bytes_per_s")?;
    let mut figures = BTreeMap::from([
        (MB_PER_S, bytes_per_s / 1e6),
        (SECONDS, number(&detail, "/measured/seconds").unwrap_or(f64::NAN)),
        (RECORDS_PER_S, records_per_s),
        (P50_US, percentile_us(&detail, ACKED, 50.0).unwrap_or(f64::NAN)),
        (P99_US, percentile_us(&detail, ACKED, 99.0).unwrap_or(f64::NAN)),
        (P999_US, percentile_us(&detail, ACKED, 99.9).unwrap_or(f64::NAN)),
        (CPU_NS_PER_RECORD, per_record(reactor)),
        (MACHINE_NS_PER_RECORD, per_record(machine)),
        (MACHINE_S_PER_GB, by(machine, bytes_per_s)),
        (REACTOR_BUSY, reactor),
        (LOAD_BUSY, busy("/busy/generator", |name| name.starts_with("load-"))),
        (READ_BACK_MB_PER_S, number(&detail, "/verification/read_bytes_per_s").map_or(f64::NAN, |rate| rate / 1e6)),
    ]);
    if let Some(bytes_per_s) = number(&detail, "/pushed/bytes_per_s") {
        let pushed = |percent| percentile_us(&detail, "/pushed/latency_ns/at", percent).unwrap_or(f64::NAN);
        figures.insert(PUSHED_MB_PER_S, bytes_per_s / 1e6);
        figures.insert(PUSHED_P50_US, pushed(50.0));
        figures.insert(PUSHED_P99_US, pushed(99.0));
        figures.insert(PUSHED_BY_ACK, (pushed(99.0) - PUSH_MARGIN_US) / figures[P99_US]);
    }
    if let (Some(late), Some(batches)) = (number(&detail, "/late/late"), number(&detail, "/late/batches")) {
        figures.insert(LATE_BATCHES, late);
        figures.insert(LATE_PERCENT, if batches > 0.0 { late / batches * 100.0 } else { f64::NAN });
    }
    let stolen = detail.pointer("/busy/stolen").and_then(Value::as_object).filter(|cores| !cores.is_empty());
    if let Some(stolen) = stolen {
        let shares = stolen.values().filter_map(Value::as_f64);
        figures.insert(STOLEN_PERCENT, shares.sum::<f64>() / stolen.len() as f64 * 100.0);
    }
    // What this load could not see is not told.
    figures.retain(|_, figure| !figure.is_nan());
    let mut marks: Vec<String> = detail["marks"].as_array().into_iter().flatten().map(mark).collect();
    if records_per_s == 0.0 {
        marks.push("void: nothing was acknowledged after the warm-up; more --bytes make it longer".to_owned());
    }
    if let Some(detail) = detail.as_object_mut() {
        detail.remove("throughput");
    }
    Ok(Side { command, figures, marks, detail })
}

fn mark(mark: &Value) -> String {
    let text = |name: &str| mark[name].as_str().unwrap_or_default().to_owned();
    format!("{}: {}", text("mark"), text("why"))
}

/// The latency at a percentile, from the intended send time.
fn percentile_us(detail: &Value, path: &str, percent: f64) -> Option<f64> {
    let at = detail.pointer(path)?.as_array()?;
    let found = at.iter().find(|pair| pair[0].as_f64() == Some(percent))?;
    Some(found[1].as_f64()? / 1e3)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_of_the_load_generator_is_read() {
        let detail = json!({
            "marks": [{"mark": "void", "why": "2 faults"}],
            "machine": {"cores": 2},
            "measured": {
                "records_per_s": 1e6, "bytes_per_s": 116e6,
                "latency_ns": {"at": [[50.0, 2000], [99.0, 9000], [99.9, 10_000]]},
            },
            "busy": {
                "server": [
                    {"thread": "reactor-0", "busy": 0.3}, {"thread": "io_uring workers", "busy": 0.1},
                    {"thread": "signals", "busy": 0.5},
                ],
                "generator": [{"thread": "load-1", "busy": 0.6}],
                "machine": 0.75,
                "stolen": {"0": 0.02, "1": 0.04},
            },
            "late": {"batches": 2000, "late": 5, "threshold_ns": 100_000, "max_ns": 300_000},
            "throughput": {"bytes_per_s": [1, 2, 3]},
        });
        let side = side("millstream-load".to_owned(), detail).expect("it is whole");
        assert_eq!(side.figure(MB_PER_S), 116.0);
        assert_eq!([P50_US, P99_US, P999_US].map(|name| side.figure(name)), [2.0, 9.0, 10.0]);
        assert!((side.figure(CPU_NS_PER_RECORD) - 400.0).abs() < 1e-6, "reactor and workers, nobody else");
        assert!((side.figure(MACHINE_NS_PER_RECORD) - 1500.0).abs() < 1e-6);
        assert!((side.figure(MACHINE_S_PER_GB) - 1.5 / 0.116).abs() < 1e-6);
        assert_eq!((side.figure(LATE_BATCHES), side.figure(LATE_PERCENT)), (5.0, 0.25));
        assert!((side.figure(STOLEN_PERCENT) - 3.0).abs() < 1e-6);
        assert!(side.is_void() && side.detail.get("throughput").is_none());
    }

    #[test]
    fn busy_times_that_were_not_seen_are_no_numbers() {
        let detail = json!({
            "machine": {"cores": 2}, "measured": {"records_per_s": 1e6, "bytes_per_s": 1e9},
            "busy": {"server": [], "generator": [], "machine": 0.0},
        });
        let side = side("millstream-load".to_owned(), detail).expect("it is whole");
        assert!(side.figure(CPU_NS_PER_RECORD).is_nan() && side.figure(MACHINE_S_PER_GB).is_nan());
    }

    #[test]
    fn a_result_without_figures_is_refused() {
        let outcome = side("millstream-load".to_owned(), json!({}));
        assert!(matches!(outcome, Err(PairsError::Result { .. })));
    }
}
