//! Opening a large log after a clean end and after `kill -9` under full load, and the first append after that.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Findings, server_point};
use crate::bench::Bench;
use crate::child;
use crate::error::PairsError;
use crate::load::{self, Load, Space};
use crate::measure::{Bound, Compare, Measure};
use crate::pair::{self, Plan};
use crate::point::ServerPoint;
use crate::server::Server;
use crate::side::{Side, number};
use crate::units::show_bytes;

/// What is opened, where the disk allows it.
const BYTES: u64 = 10 << 30;

/// Room on the disk for what the load before each kill adds: it runs for a second or so.
const ADDED_BYTES: u64 = 4 << 30;

/// What that load may write: more than any disk takes until the kill.
const LOAD_BYTES: u64 = 64 << 30;

/// For how long before the kill it is looked whether something is flushed.
const LOOKED: Duration = Duration::from_millis(100);

/// Enough for one record with its key, too little for two.
const ONE_BYTES: u64 = 2000;

const CLEAN_OPEN_S: &str = "open s";
const KILLED_OPEN_S: &str = "open after kill s";
const FIRST_APPEND_S: &str = "kill to first append s";
const READ_S: &str = "read one segment s";

pub(super) fn run(bench: &Bench) -> Result<Findings, PairsError> {
    let pairs = u64::from(bench.pairs());
    let affordable = bench.affordable_bytes()?.saturating_sub(pairs * ADDED_BYTES) as f64 / 1.15;
    let bytes = match bench.options.quick {
        true => bench.bytes(),
        false => bench.options.bytes.unwrap_or(BYTES).min(affordable as u64),
    };
    let mut log = Log::fill(bench, bytes)?;
    let plan = Plan { title: "restart", name_a: "server", name_b: "limit", measures: measures() };
    let part = pair::run(bench, plan, &mut || log.reopen(), &mut || read_segment(bench));
    Ok(Findings {
        goal: "10 GiB of data (or what the disk allows) open in under 1 s plus the time that the limit program needs to read one segment; after kill -9 under full load the first append succeeds within 2 s.",
        notes: vec![
            format!("{} of data and keys were written before the first pair; every kill added what its load had written.", show_bytes(bytes)),
            "Opening counts from the start of the process to its line `ready`. The first append counts from the kill until a load generator, started at `ready`, has had one record acknowledged and read back, and has ended: an upper bound.".to_owned(),
        ],
        sweeps: Vec::new(),
        parts: vec![part],
    })
}

fn measures() -> Vec<Measure> {
    let open = |slug, title, figure_a| Measure {
        slug,
        title,
        figure_a,
        figure_b: READ_S,
        compare: Compare::Difference,
        bound: Bound::AtMost(1.0),
    };
    vec![
        open("open-clean", "seconds to open after a clean end, less one segment's read", CLEAN_OPEN_S),
        open("open-killed", "seconds to open after kill -9, less one segment's read", KILLED_OPEN_S),
        Measure {
            compare: Compare::First,
            bound: Bound::AtMost(2.0),
            ..open("first-append", "seconds from kill -9 to the first append", FIRST_APPEND_S)
        },
    ]
}

fn read_segment(bench: &Bench) -> Result<Side, PairsError> {
    let arguments = [
        "read".to_owned(),
        format!("--bytes={}", bench.segment_bytes()),
        format!("--core={}", bench.cores().server),
        format!("--dir={}", bench.directory()),
    ];
    let (command, detail) = bench.limit(&arguments)?;
    let seconds = number(&detail, "/figures/seconds")
        .ok_or_else(|| PairsError::Result { command: command.clone(), missing: "figures".to_owned() })?;
    Ok(Side { command, figures: BTreeMap::from([(READ_S, seconds)]), marks: Vec::new(), detail })
}

/// A data directory with much in it, and the server that has it open.
struct Log<'a> {
    bench: &'a Bench,
    load: Load,
    server: Option<Server>,
}

impl<'a> Log<'a> {
    fn fill(bench: &'a Bench, bytes: u64) -> Result<Self, PairsError> {
        let directory = bench.path().join("log");
        fs::create_dir_all(&directory).map_err(|source| PairsError::File { path: directory.clone(), source })?;
        let base = Load::new(bench, server_point(bench), Space::Allocated);
        let load = Load { seconds: 600.0, warmup_s: 0.0, bytes, ..base };
        let mut log = Self { bench, load, server: None };
        log.server = Some(log.start()?);
        bench.say(&format!("restart: writing {} to open", show_bytes(bytes)));
        let (command, result) = bench.load(&log.arguments(&log.load))?;
        load::side(command, result)?.sound()?;
        Ok(log)
    }

    fn start(&self) -> Result<Server, PairsError> {
        let (core, directory) = (self.bench.cores().server, self.bench.path().join("log"));
        let arguments = self.load.server_arguments(self.bench);
        Server::start(&self.bench.programs.millstream, &directory, core, &arguments)
    }

    fn arguments(&self, load: &Load) -> Vec<String> {
        let address = self.server.as_ref().map_or("", Server::address);
        let mut arguments = load.arguments();
        arguments.push(format!("--target={address}"));
        arguments.push(format!("--dir={}", self.bench.directory()));
        arguments
    }

    /// Ends it cleanly and opens it, kills it under full load and opens it, appends.
    fn reopen(&mut self) -> Result<Side, PairsError> {
        self.server.take().expect("there is one between two measurements").stop()?;
        let clean = self.start()?;
        let (clean_s, command) = (clean.ready_s(), clean.command().to_owned());
        self.server = Some(clean);

        let mut loading = self.load_in_background()?;
        thread::sleep(Duration::from_secs_f64(self.bench.seconds().min(1.0)));
        let done = || [self.bench.flushes.now(), self.bench.flushes.sectors_written()];
        let before = done();
        thread::sleep(if self.bench.options.quick { Duration::ZERO } else { LOOKED });
        let is_idle = !self.bench.options.quick && stood_still(before, done());
        let went_on = matches!(loading.try_wait(), Ok(None));
        let killed = Instant::now();
        self.server.take().expect("it was started above").kill();
        child::end(&mut loading);
        let server = self.start()?;
        let killed_s = server.ready_s();
        self.server = Some(server);
        self.append_one()?;
        let first_append_s = killed.elapsed().as_secs_f64();

        let mut marks = Vec::new();
        if !went_on {
            marks.push("void: the load had ended before the kill".to_owned());
        }
        if is_idle {
            marks.push("void: nothing was written just before the kill, so it was not under load".to_owned());
        }
        let figures =
            BTreeMap::from([(CLEAN_OPEN_S, clean_s), (KILLED_OPEN_S, killed_s), (FIRST_APPEND_S, first_append_s)]);
        Ok(Side { command, figures, marks, detail: json!({}) })
    }

    fn load_in_background(&self) -> Result<Child, PairsError> {
        let load = Load { bytes: LOAD_BYTES, ..self.load.clone() };
        let mut command = self.bench.load_command();
        command.args(self.arguments(&load)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map_err(|source| PairsError::Start { name: "millstream-load".to_owned(), source })
    }

    fn append_one(&self) -> Result<(), PairsError> {
        let one =
            Load { point: ServerPoint::new(1, 1, 1), shards: 1, bytes: ONE_BYTES, seconds: 10.0, ..self.load.clone() };
        let (command, result) = self.bench.load(&self.arguments(&one))?;
        match (result["verification"]["good"].as_bool(), number(&result, "/measured/records_total")) {
            (Some(true), Some(records)) if records >= 1.0 => Ok(()),
            _ => Err(PairsError::Failed { command, why: "appended nothing".to_owned(), log: result.to_string() }),
        }
    }
}

/// Whether a device that counts something, flushes or sectors written, did nothing of it between two looks.
fn stood_still(before: [Option<u64>; 2], after: [Option<u64>; 2]) -> bool {
    before == after && before.into_iter().flatten().any(|count| count > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bug, found on reading: on a fast disk the server was killed when it had nothing to do. Mechanism: the load had written its
    /// bytes by then, and read them back. Fix: it has more than it can write, and a server that flushes nothing makes the pair void.
    #[test]
    fn a_server_without_load_is_found_out_where_the_device_counts() {
        let stood = |before, after| stood_still([before, Some(900)], [after, Some(900)]);
        assert!(stood(Some(7), Some(7)) && stood(Some(0), Some(0)) && !stood(Some(7), Some(8)));
        assert!(!stood_still([None; 2], [None; 2]) && !stood_still([Some(0); 2], [Some(0); 2]));
    }

    /// Bug, found on reading: a pair was void on a disk that stores without flushes. Mechanism: one that had counted a flush once, and
    /// was sent none under load, was taken for idle. Fix: what is written counts as well.
    #[test]
    fn a_disk_that_stores_without_flushes_is_not_idle() {
        assert!(!stood_still([Some(7), Some(900)], [Some(7), Some(1700)]));
    }
}
