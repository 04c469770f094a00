//! What streams take on a disk: one without expiry beside some of 60 s and others that are made and deleted, all in one journal.

mod account;
mod writer;

use std::collections::BTreeMap;
use std::ops::Add;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use self::account::{Account, Life};
use self::writer::{Writer, Written};
use super::Findings;
use crate::bench::Bench;
use crate::disk::Disk;
use crate::error::PairsError;
use crate::load::{Load, Space};
use crate::measure::{Bound, Measure, median};
use crate::pair::{Pair, Part, Taken};
use crate::point::ServerPoint;
use crate::server::Server;
use crate::side::{MB_PER_S, SECONDS, Side};
use crate::wire::{Metrics, Wire};

const DISK_BYTES: u64 = 8 << 30;
const SECONDS_MAX: f64 = 600.0;
const BYTES_MAX: u64 = 40 << 30;

/// Of all writers together: 40 GiB in a little less than ten minutes, so that 60 s of them are half of the disk.
const BYTES_PER_S: f64 = (70 << 20) as f64;

/// An 128th of the disk: whole ones are dropped, and all that is dead in others counts.
const SEGMENT_BYTES: u64 = 64 << 20;

/// Before, nothing has expired for long, and what is live is little beside a segment.
const SETTLED_S: f64 = 90.0;

/// What a load generator writes that is asked for what it knows of the machine.
const ONE_BYTES: u64 = 2000;

const WORST: &str = "worst disk by live";
const MEDIAN: &str = "median disk by live";
const REFUSED_S: &str = "refused s";
const GAP_S: &str = "longest s without a record stored";
const WRITTEN_GB: &str = "written GB";
const LIVE_GB: &str = "live GB";
const DISK_GB: &str = "disk GB";

/// One look at disk and account.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at_s: f64,
    disk_bytes: u64,
    /// Of those, in segments that are ready and were never written to.
    spare_bytes: u64,
    live_bytes: u64,
    written_bytes: u64,
    refused: u64,
    /// The longest time so far without a record being stored.
    gap_s: f64,
}

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let disk_bytes = if bench.options.quick { DISK_BYTES / 16 } else { DISK_BYTES };
    bench.check_space(disk_bytes)?;
    let before = bench.steady()?;
    // Dropped in the order server, disk, whatever happens.
    let disk = Disk::new(bench.path(), disk_bytes)?;
    let mut arguments = bench.server_arguments();
    if !arguments.iter().any(|argument| argument.starts_with("--segment-bytes")) {
        arguments.push(format!("--segment-bytes={SEGMENT_BYTES}"));
    }
    arguments.extend(["--http=127.0.0.1:0", "--admin=127.0.0.1:0"].map(str::to_owned));
    let server = Server::start(&bench.programs.millstream, disk.path(), bench.cores().server, &arguments)?;
    tell_machine(bench, &server, &disk)?;
    let (whole, without_spares) = measure(bench, &server, &disk)?;
    server.stop()?;
    let taken = |side| Taken { before: before.clone(), side };
    let pair = Pair { order: "AB", a: taken(whole), b: taken(without_spares) };
    let sum_up = |measure: Measure| {
        let value = measure.value(&pair.a.side, &pair.b.side);
        measure.sum_up(vec![value])
    };
    let measures = measures().into_iter().map(sum_up).collect();
    let names = ("server", "without spare segments");
    Ok(Findings {
        goal: "A stream without expiry beside streams of 60 s and streams created and deleted in a loop on an 8 GiB loop mount, for ten minutes or 40 GiB written: bytes on disk stay under 1.5 times the live bytes, and appends never stop for want of space that could be freed.",
        notes: vec![
            format!("Writers: one stream without expiry, 2 % of the bytes; four of 60 s, 78 %; one after the other made, written with 32 MiB and deleted, 20 %; {} MiB/s in all, records of 8 KiB in batches of 32. On disk, looked at once a second.", BYTES_PER_S as u64 >> 20),
            "Bytes on disk are all blocks that the file system has given away since it was made, as statvfs tells: files, files without a name, and its own tables for them. They include the segments that are held ready; beside it stands what it is without those.".to_owned(),
            "Live bytes are the frames (data, key and header) of acknowledged records that have not expired, of streams that are not deleted, by the account of their writers. Batches' headers and padding, footers and the catalog are not live.".to_owned(),
            format!("Counted once {SETTLED_S} s have passed. The worst ratio decides, not the median."),
        ],
        sweeps: Vec::new(),
        parts: vec![Part { title: "space", name_a: names.0, name_b: names.1, measures, stopped: None, pairs: vec![pair] }],
    })
}

fn measures() -> Vec<Measure> {
    vec![
        Measure::first("worst", "bytes on disk by live bytes, the worst", WORST, Bound::AtMost(1.5)),
        Measure::first("median", "bytes on disk by live bytes, the median", MEDIAN, Bound::AtMost(1.5)),
        Measure::first(
            "refused",
            "seconds in which records were refused for want of space",
            REFUSED_S,
            Bound::AtMost(0.0),
        ),
    ]
}

/// Has the load generator say what it knows of machine and disk, beside one record.
fn tell_machine(bench: &Bench, server: &Server, disk: &Disk) -> Result<(), PairsError> {
    let load = Load { shards: 1, bytes: ONE_BYTES, ..Load::new(bench, ServerPoint::new(1, 1, 1), Space::Allocated) };
    let mut arguments = load.arguments();
    arguments.extend([format!("--target={}", server.address()), format!("--dir={}", disk.path().display())]);
    bench.load(&arguments).map(drop)
}

/// Who writes how much.
fn writers(server: &Server) -> Vec<Writer> {
    let writer = |name: &str, life, share: f64| Writer {
        name: name.to_owned(),
        life,
        bytes_per_s: BYTES_PER_S * share,
        native: server.address().to_owned(),
        http: server.door("http").to_owned(),
    };
    let mut writers = vec![writer("kept", Life::Kept, 0.02), writer("deleted", Life::Deleted, 0.2)];
    writers.extend((0..4).map(|number| writer(&format!("expiring-{number}"), Life::Expiring, 0.78 / 4.0)));
    writers
}

/// Writes, looks once a second, and reads back at the end what is kept.
fn measure(bench: &Bench, server: &Server, disk: &Disk) -> Result<(Side, Side), PairsError> {
    let (account, stop) = (Account::new(), AtomicBool::new(false));
    let writers = writers(server);
    let (samples, ended) = thread::scope(|scope| {
        let start = |writer| {
            let (account, stop) = (&account, &stop);
            scope.spawn(move || Writer::run(writer, account, stop))
        };
        let threads: Vec<_> = writers.iter().map(start).collect();
        let looked = look(bench, server, disk, &account, || threads.iter().any(|thread| thread.is_finished()));
        stop.store(true, Ordering::Relaxed);
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("writers do not panic")).collect();
        (looked, ended)
    });
    let samples = samples?;
    let written = ended.into_iter().collect::<Result<Vec<Option<Written>>, _>>()?;
    let mut marks = Vec::new();
    let mut wire = Wire::connect(server.address())?;
    for written in written.into_iter().flatten().filter(|written| !written.numbers.is_empty()) {
        bench.say(&format!("space: reading back {} records", written.numbers.len()));
        let wrong = writer::missing(&mut wire, &written)?;
        marks.extend(wrong.map(|wrong| format!("void: {wrong}")));
    }
    let settled_s = if bench.options.quick { 0.0 } else { SETTLED_S };
    let settled: Vec<Sample> = samples.iter().copied().filter(|sample| sample.at_s > settled_s).collect();
    if settled.is_empty() {
        marks.push(format!("void: it ended before {settled_s} s had passed"));
    }
    let figures = |bytes: fn(&Sample) -> u64| figures(&samples, &settled, bytes);
    let rows: Vec<_> = samples.iter().map(Sample::row).collect();
    let detail = json!({"columns": "s, disk MiB, spare MiB, live MiB, written MiB, refused", "samples": rows});
    let whole =
        Side { command: server.command().to_owned(), figures: figures(|sample| sample.disk_bytes), marks, detail };
    let without_spares = Side {
        command: "the same".to_owned(),
        figures: figures(|sample| sample.disk_bytes.saturating_sub(sample.spare_bytes)),
        marks: Vec::new(),
        detail: json!({}),
    };
    Ok((whole, without_spares))
}

/// Looks at disk and account once a second until the time is up, enough is written, or a writer has ended.
fn look(
    bench: &Bench,
    server: &Server,
    disk: &Disk,
    account: &Account,
    has_ended: impl Fn() -> bool,
) -> Result<Vec<Sample>, PairsError> {
    let (seconds, every_s) = match bench.options.quick {
        true => (2.0, 0.2),
        false => (bench.options.seconds.unwrap_or(SECONDS_MAX), 1.0),
    };
    let bytes = bench.options.bytes.unwrap_or(BYTES_MAX);
    let started = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    for number in 1_u32.. {
        let due = started + Duration::from_secs_f64(every_s * f64::from(number));
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if bench.interrupted() {
            return Err(PairsError::Interrupted);
        }
        let metrics = Metrics::of(server.door("admin"))?;
        let spare_bytes = metrics.sum("millstream_segments_ready")? * metrics.sum("millstream_segment_bytes")?;
        let disk_bytes = disk.used_bytes()?;
        let sum = account.sum();
        let sample = Sample {
            at_s: started.elapsed().as_secs_f64(),
            disk_bytes,
            spare_bytes: spare_bytes as u64,
            live_bytes: sum.live_bytes,
            written_bytes: sum.written_bytes,
            refused: sum.refused,
            gap_s: sum.gap.as_secs_f64(),
        };
        samples.push(sample);
        if number.is_multiple_of(10) {
            let [_, disk, _, live, written, refused] = sample.row();
            bench.say(&format!(
                "space: {:.0} s: {written:.0} MiB written, {live:.0} live, {disk:.0} on disk ({:.2}), {refused:.0} refused",
                sample.at_s,
                disk / live,
            ));
        }
        if sample.at_s >= seconds || sample.written_bytes >= bytes || has_ended() {
            break;
        }
    }
    Ok(samples)
}

/// What all samples come to, where `bytes` are those on disk.
fn figures(samples: &[Sample], settled: &[Sample], bytes: fn(&Sample) -> u64) -> BTreeMap<&'static str, f64> {
    let ratios: Vec<f64> = settled.iter().map(|sample| bytes(sample) as f64 / sample.live_bytes as f64).collect();
    let (first, last) = (samples.iter(), samples.iter().skip(1));
    let refused_s = first
        .zip(last)
        .filter(|(before, after)| after.refused > before.refused)
        .map(|(before, after)| after.at_s - before.at_s)
        .fold(0.0, f64::add);
    let mut figures = BTreeMap::from([
        (WORST, ratios.iter().copied().fold(f64::NAN, f64::max)),
        (MEDIAN, median(&ratios)),
        (REFUSED_S, refused_s),
    ]);
    if let Some(end) = samples.last() {
        figures.extend([
            (GAP_S, end.gap_s),
            (SECONDS, end.at_s),
            (MB_PER_S, end.written_bytes as f64 / end.at_s / 1e6),
            (WRITTEN_GB, end.written_bytes as f64 / 1e9),
            (LIVE_GB, end.live_bytes as f64 / 1e9),
            (DISK_GB, bytes(end) as f64 / 1e9),
        ]);
    }
    figures
}

impl Sample {
    /// A row of the result: seconds, and whole MiB.
    fn row(&self) -> [f64; 6] {
        let mib = |bytes: u64| (bytes >> 20) as f64;
        let Sample { at_s, disk_bytes, spare_bytes, live_bytes, written_bytes, refused, .. } = *self;
        [at_s.round(), mib(disk_bytes), mib(spare_bytes), mib(live_bytes), mib(written_bytes), refused as f64]
    }
}
