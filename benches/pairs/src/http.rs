//! A load over HTTP on one server: ours, limit (e), or an emulator. The generator is the same, and so is what it sends: signed
//! requests, which ours verifies.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use crate::bench::{Bench, KEY_ID, SECRET};
use crate::emulator::Emulator;
use crate::error::PairsError;
use crate::load::{self, READ_BACK_MB_PER_S, RECORDS_PER_S};
use crate::server::Server;
use crate::side::{Side, number};

/// Records a second that the reading back got by GetRecords.
pub(crate) const READ_RECORDS_PER_S: &str = "read back records/s";

/// Room on the disk for each byte of data: a PutRecord alone is padded to a block, and few come together.
const GROWTH: f64 = 1.2;

/// What a server of ours does with each request and record beside keeping it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Duties {
    pub(crate) verifies: bool,
    pub(crate) encrypts: bool,
}

impl Duties {
    /// As it is beyond loopback, unless a stream asks for more.
    pub(crate) const USUAL: Duties = Duties { verifies: true, encrypts: false };
}

/// A key's name, and the digits of it, which protect nothing.
const KEY_NAME: &str = "pairs";
const KEY_DIGITS: &str = "1f8a2e6b04c97d5330e1bd7268fa94c51f8a2e6b04c97d5330e1bd7268fa94c5";

/// One load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpLoad {
    /// As the generator names it.
    pub(crate) operation: &'static str,
    pub(crate) connections: u32,
    pub(crate) shards: u32,
    /// Records a second of an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) warmup_s: f64,
    /// Data and keys to write at most.
    pub(crate) bytes: u64,
    /// Of a server of ours.
    pub(crate) duties: Duties,
    /// Threads that answer there, or of limit (e), if not as many as it takes by itself.
    pub(crate) threads: Option<usize>,
}

/// Records of a PutRecords.
pub(crate) const BATCH_RECORDS: u32 = 500;

impl HttpLoad {
    /// A closed loop over 8 shards.
    pub(crate) fn new(bench: &Bench, operation: &'static str, connections: u32) -> Self {
        let (seconds, warmup_s) = (bench.seconds(), bench.warmup_s());
        let (bytes, duties) = (bench.bytes(), Duties::USUAL);
        Self { operation, connections, shards: 8, rate: None, seconds, warmup_s, bytes, duties, threads: None }
    }

    fn arguments(&self, url: &str) -> Vec<String> {
        let mut arguments = vec![
            format!("--endpoint={url}"),
            format!("--operation={}", self.operation),
            format!("--connections={}", self.connections),
            format!("--batch-records={BATCH_RECORDS}"),
            format!("--shards={}", self.shards),
            format!("--duration={}s", self.warmup_s + self.seconds),
            format!("--warmup={}s", self.warmup_s),
            format!("--bytes={}", self.bytes),
        ];
        arguments.extend(self.rate.map(|rate| format!("--rate={rate:.0}")));
        arguments
    }

    /// On a server of ours, whose directory goes with it: every acknowledgement durable, no quotas.
    pub(crate) fn on_server(&self, bench: &Bench) -> Result<Side, PairsError> {
        let threads = self.threads.map(|threads| format!("--gateway-threads={threads}"));
        on_server(bench, self.bytes, self.duties, threads.as_slice(), |server, directory| {
            let mut arguments = self.arguments(&format!("http://{}", server.door("http")));
            // Whose flushes are counted.
            arguments.push(format!("--dir={}", directory.display()));
            if self.duties.encrypts {
                arguments.push(format!("--encryption=alias/{KEY_NAME}"));
            }
            self.side(bench, &arguments, server.command())
        })
    }

    /// On limit (e), which keeps nothing to be read back.
    pub(crate) fn on_limit(&self, bench: &Bench) -> Result<Side, PairsError> {
        let mut arguments = vec![format!("--shards={}", self.shards), format!("--records={BATCH_RECORDS}")];
        arguments.extend(self.threads.map(|threads| format!("--threads={threads}")));
        let server = Server::limit_http(&bench.programs.limit, bench.path(), &arguments)?;
        let mut arguments = self.arguments(&format!("http://{}", server.door("http")));
        arguments.push("--no-read-back".to_owned());
        let loaded = self.side(bench, &arguments, server.command());
        server.kill();
        loaded
    }

    /// On an emulator.
    pub(crate) fn on_emulator(&self, bench: &Bench, emulator: Emulator, installed: &Path) -> Result<Side, PairsError> {
        let running = emulator.start(bench, installed)?;
        Ok(excused(self.side(bench, &self.arguments(&running.url()), &running.command)?))
    }

    fn side(&self, bench: &Bench, arguments: &[String], server: &str) -> Result<Side, PairsError> {
        let (command, detail) = bench.load(arguments)?;
        Ok(read_back(load::side(format!("{}; {command}", bench.without_directory(server)), detail)?))
    }
}

/// A side with what reading back got a second. Where something was not as acknowledged there is no such figure: what is missing was
/// waited for meanwhile, and what is read twice cost nothing to find.
fn read_back(mut side: Side) -> Side {
    let of = |path: &str| number(&side.detail, path).unwrap_or(f64::NAN);
    let (read, seconds, faults) =
        (of("/verification/read"), of("/verification/read_seconds"), of("/verification/faults"));
    if faults > 0.0 {
        side.figures.remove(READ_BACK_MB_PER_S);
    } else if read > 0.0 && seconds > 0.0 {
        side.figures.insert(READ_RECORDS_PER_S, read / seconds);
    }
    side
}

/// An emulator's side. What it lost is told, and does not make the pair void: it is not what is measured. That it stored nothing
/// does, for nothing can be compared with it.
fn excused(mut side: Side) -> Side {
    if side.figure(RECORDS_PER_S) > 0.0 {
        for mark in &mut side.marks {
            if let Some(why) = mark.strip_prefix("void: ") {
                *mark = format!("the emulator: {why}");
            }
        }
    }
    side
}

/// Measures something on a server of ours, whose directory goes with it: every acknowledgement durable, no quotas, space for so
/// many bytes of data.
pub(crate) fn on_server(
    bench: &Bench,
    bytes: u64,
    duties: Duties,
    more: &[String],
    measure: impl FnOnce(&Server, &Path) -> Result<Side, PairsError>,
) -> Result<Side, PairsError> {
    let segments = (bytes as f64 * GROWTH) as u64 / bench.segment_bytes() + 2;
    bench.check_space((2 * segments + 2) * bench.segment_bytes())?;
    let directory = bench.path().join("http");
    let failed = |source| PairsError::File { path: directory.clone(), source };
    fs::create_dir_all(&directory).map_err(failed)?;
    let mut arguments = bench.server_arguments();
    if duties.verifies {
        let credentials = directory.join("credentials");
        write_secret(&credentials, &format!("[[key]]\nid = \"{KEY_ID}\"\nsecret = \"{SECRET}\"\n")).map_err(failed)?;
        arguments.push(format!("--credentials-file={}", credentials.display()));
    }
    if duties.encrypts {
        let keys = directory.join("keys");
        fs::DirBuilder::new().mode(0o700).create(&keys).map_err(failed)?;
        write_secret(&keys.join(KEY_NAME), KEY_DIGITS).map_err(failed)?;
        arguments.push(format!("--key-directory={}", keys.display()));
    }
    arguments.push(format!("--segments-ready={segments}"));
    arguments.extend(["--http=127.0.0.1:0", "--quotas=none", "--prewrite"].map(str::to_owned));
    arguments.extend_from_slice(more);
    let server = Server::start(&bench.programs.millstream, &directory, bench.cores().server, &arguments)?;
    let measured = measure(&server, &directory);
    // What it would still write is not wanted.
    server.kill();
    fs::remove_dir_all(&directory).map_err(failed)?;
    measured
}

/// Writes what nobody else may read.
fn write_secret(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Bug, found on reading: an emulator that lost records was read slowly. Mechanism: what is missing is waited for, up to ten
    /// seconds of each shard, and that was time of the reading. Fix: a side with faults has no such figure.
    #[test]
    fn what_was_lost_and_waited_for_makes_no_reading_slow() {
        let side = |faults: u64| Side {
            command: String::new(),
            figures: [(READ_BACK_MB_PER_S, 5.0)].into(),
            marks: Vec::new(),
            detail: json!({"verification": {"read": 500, "read_seconds": 10.0, "faults": faults}}),
        };
        let sound = read_back(side(0));
        assert_eq!((sound.figure(READ_RECORDS_PER_S), sound.figure(READ_BACK_MB_PER_S)), (50.0, 5.0));
        assert!(read_back(side(3)).figures.is_empty());
    }

    /// Bug: an emulator that stored nothing was beaten infinitely. Mechanism: none of its void marks made a pair void, not even
    /// that of a run without a record. Fix: where nothing was stored they do.
    #[test]
    fn an_emulator_is_excused_for_what_it_lost_but_not_for_doing_nothing() {
        let side = |records_per_s| Side {
            command: String::new(),
            figures: [(RECORDS_PER_S, records_per_s)].into(),
            marks: vec!["void: 3 records are gone".to_owned()],
            detail: Value::Null,
        };
        let lossy = excused(side(1000.0));
        assert!(!lossy.is_void() && lossy.marks == ["the emulator: 3 records are gone"]);
        assert!(excused(side(0.0)).is_void());
    }
}
