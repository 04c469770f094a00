//! What catching up is held against: the lower of fio's sequential direct reads and limit (c) to one socket; beside ingest,
//! limit (d).

use std::collections::BTreeMap;

use serde_json::json;

use crate::bench::Bench;
use crate::error::PairsError;
use crate::fanout;
use crate::side::{MB_PER_S, SECONDS, Side, number};

/// fio's rate.
pub(crate) const FIO_MB_PER_S: &str = "fio read MB/s";
/// The rate of limit (c).
pub(crate) const SOCKET_MB_PER_S: &str = "one socket MB/s";

/// What limit (d) wrote meanwhile.
const WRITTEN_MB_PER_S: &str = "written MB/s";

/// Seconds of each budget of limit (d).
const MIXED_SECONDS: f64 = 1.5;

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
        format!("--cpus_allowed={}", bench.options.server_core),
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

/// Limit (d): the most that is read beside durable writes of so many megabytes a second.
pub(crate) fn beside(bench: &Bench, write_mb_per_s: f64) -> Result<Side, PairsError> {
    let bytes = if bench.options.quick { FILE_BYTES_QUICK } else { FILE_BYTES / 2 };
    bench.check_space(2 * bytes)?;
    let mut arguments = vec![
        "mixed".to_owned(),
        "--sweep".to_owned(),
        format!("--write-rate={:.0}", write_mb_per_s * 1e6),
        format!("--file-bytes={bytes}"),
        format!("--seconds={}", if bench.options.quick { 0.1 } else { MIXED_SECONDS }),
        format!("--core={}", bench.options.server_core),
        format!("--dir={}", bench.directory()),
    ];
    if bench.options.quick {
        arguments.push("--size=64k".to_owned());
    }
    let (command, detail) = bench.limit(&arguments)?;
    let missing = || PairsError::Result { command: command.clone(), missing: "reads/mb_per_s".to_owned() };
    let read = number(&detail, "/best/reads/mb_per_s").ok_or_else(missing)?;
    let written = number(&detail, "/best/writes/mb_per_s").ok_or_else(missing)?;
    let figures = BTreeMap::from([(MB_PER_S, read), (WRITTEN_MB_PER_S, written)]);
    Ok(Side { command, figures, marks: Vec::new(), detail })
}
