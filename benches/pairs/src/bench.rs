//! What all measurements share: the options, the programs, a directory that goes with us, and the wait for a steady disk.

use std::cell::{Cell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use devices::{Device, core_of_interrupts};
use serde::Serialize;
use serde_json::Value;

use crate::args::{Options, Target, Usual};
use crate::child;
use crate::cores::Cores;
use crate::error::PairsError;
use crate::flushes::Flushes;
use crate::point::{LimitPoint, ServerPoint};
use crate::programs::{Programs, source_tree};

/// No single run takes longer: 16 GiB at a tenth of a slow disk's rate, filled, written and read back.
const RUN_MAX: Duration = Duration::from_secs(1800);

/// The seconds of a measurement, unless told otherwise.
const SECONDS_DEFAULT: f64 = 5.0;

/// The bytes of a measurement, unless told otherwise: some seconds of a fast disk.
const BYTES_DEFAULT: u64 = 6 << 30;

/// How long the wait for a steady disk takes where it is.
const STEADY_S: f64 = 6.0;

/// The key that requests over HTTP are signed with. Emulators take any.
pub(crate) const KEY_ID: &str = "AKIAPAIRS";
pub(crate) const SECRET: &str = "a secret of no other use";

/// What the smoke run writes.
const BYTES_QUICK: u64 = 32 << 20;

/// What the wait for a steady disk found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Steadiness {
    /// Whether the last five one-second rates were within 10 % of the highest.
    pub(crate) steady: bool,
    pub(crate) rates_mb_per_s: Vec<f64>,
    /// Processes that wanted to run in the last minute.
    pub(crate) load_average: f64,
}

/// What all measurements share.
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) programs: Programs,
    /// The best points into pre-written space, once a sweep has found them.
    pub(crate) best: RefCell<Option<(ServerPoint, LimitPoint)>>,
    /// The machine and disk, as the load generator tells.
    pub(crate) machine: RefCell<Option<Value>>,
    /// Of the device that everything is written to.
    pub(crate) flushes: Flushes,
    /// Of the target that is measured.
    usual: Cell<Usual>,
    cores: Cell<Cores>,
    /// Those that it may be on.
    available: Vec<usize>,
    work: WorkDirectory,
    interrupted: Arc<AtomicBool>,
}

impl Bench {
    /// Finds the programs and makes the directory.
    pub(crate) fn new(options: Options) -> Result<Self, PairsError> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted))
                .map_err(|source| PairsError::Start { name: "the signals' handler".to_owned(), source })?;
        }
        Self::with(options, Programs::find()?, interrupted)
    }

    /// The same with these programs, and what tells of Ctrl-C.
    pub(crate) fn with(options: Options, programs: Programs, interrupted: Arc<AtomicBool>) -> Result<Self, PairsError> {
        let available: Vec<usize> =
            core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
        let mut named = options.server_core.into_iter().chain(options.load_core);
        if let Some(core) = named.find(|core| !available.contains(core)) {
            return Err(PairsError::Core(core));
        }
        let work = WorkDirectory::new(options.dir.clone().unwrap_or_else(target_directory))?;
        let target = options.target;
        let (usual, cores) = (Cell::new(target.usual()), Cell::new(Cores { server: 0, load: 0 }));
        let (best, machine, flushes) = (RefCell::default(), RefCell::default(), Flushes::below(&work.path));
        let bench = Self { options, programs, best, machine, flushes, usual, cores, available, work, interrupted };
        bench.begin(target);
        Ok(bench)
    }

    /// Measures this target from now on.
    pub(crate) fn begin(&self, target: Target) {
        self.usual.set(target.usual());
        let device = if target.is_over_http() { None } else { Device::of(self.path()) };
        let disk = device.and_then(|device| core_of_interrupts(&device.disks));
        self.cores.set(Cores::choose((self.options.server_core, self.options.load_core), &self.available, disk));
    }

    /// The cores of both sides.
    pub(crate) fn cores(&self) -> Cores {
        self.cores.get()
    }

    /// Says what is going to be measured, and for how long: so many seconds a pair, beside so many waits for the disk.
    pub(crate) fn announce(&self, plan: &str, pair_s: f64, waits: u32) {
        let pairs = f64::from(self.pairs());
        let minutes = |wait_s: f64| pairs * (pair_s + f64::from(waits) * wait_s) / 60.0;
        let (usually, at_most) = (minutes(STEADY_S), minutes(self.steady_max_s().max(STEADY_S)));
        self.say(&format!(
            "{plan}; {pairs} times, about {usually:.0} minutes, {at_most:.0} where the disk is never steady"
        ));
    }

    /// A progress line.
    pub(crate) fn say(&self, text: &str) {
        eprintln!("pairs: {text}");
    }

    /// Whether Ctrl-C was pressed.
    pub(crate) fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// The directory that everything is written to.
    pub(crate) fn directory(&self) -> String {
        self.work.path.display().to_string()
    }

    /// The same as a path.
    pub(crate) fn path(&self) -> &Path {
        &self.work.path
    }

    /// Pairs of each measurement.
    pub(crate) fn pairs(&self) -> u32 {
        let usual = if self.options.quick { 1 } else { self.usual.get().pairs };
        self.options.pairs.unwrap_or(usual)
    }

    /// Seconds to wait for the disk at most.
    fn steady_max_s(&self) -> f64 {
        if self.options.quick { 0.1 } else { self.options.steady_max.unwrap_or(self.usual.get().steady_max_s) }
    }

    /// Seconds that are counted.
    pub(crate) fn seconds(&self) -> f64 {
        if self.options.quick { 0.3 } else { self.options.seconds.unwrap_or(SECONDS_DEFAULT) }
    }

    /// Seconds before them that are not.
    pub(crate) fn warmup_s(&self) -> f64 {
        if self.options.quick { 0.001 } else { 1.0 }
    }

    /// Bytes that a measurement writes at most.
    pub(crate) fn bytes(&self) -> u64 {
        self.options.bytes.unwrap_or(if self.options.quick { BYTES_QUICK } else { BYTES_DEFAULT })
    }

    /// The server's segment size.
    pub(crate) fn segment_bytes(&self) -> u64 {
        if self.options.quick { 8 << 20 } else { 256 << 20 }
    }

    /// What every server is told.
    pub(crate) fn server_arguments(&self) -> Vec<String> {
        let mut arguments = self.options.server_arg.clone();
        if self.options.quick {
            arguments.push(format!("--segment-bytes={}", self.segment_bytes()));
        }
        arguments
    }

    /// Where results are kept.
    pub(crate) fn results(&self) -> PathBuf {
        let root = source_tree().unwrap_or_else(|| PathBuf::from("."));
        let results = self.options.results.clone().unwrap_or_else(|| root.join("results"));
        if self.options.keep { results } else { results.join("local") }
    }

    /// Bytes that may still be written while so much stays free as was asked for.
    pub(crate) fn affordable_bytes(&self) -> Result<u64, PairsError> {
        Ok(self.free_bytes()?.saturating_sub(self.options.keep_free))
    }

    /// Refuses what would leave less free.
    pub(crate) fn check_space(&self, needed_bytes: u64) -> Result<(), PairsError> {
        let (free_bytes, keep_free) = (self.free_bytes()?, self.options.keep_free);
        if needed_bytes + keep_free <= free_bytes {
            return Ok(());
        }
        Err(PairsError::Space { needed_bytes, free_bytes, keep_free })
    }

    fn free_bytes(&self) -> Result<u64, PairsError> {
        let space = rustix::fs::statvfs(self.path())
            .map_err(|errno| PairsError::File { path: self.path().to_owned(), source: errno.into() })?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Waits until limit (a)'s one-second rate has been within 10 % for 5 s, but not for ever.
    pub(crate) fn steady(&self) -> Result<Steadiness, PairsError> {
        let (timeout_s, file_bytes) = (self.steady_max_s(), if self.options.quick { 16 << 20 } else { 1_u64 << 30 });
        // The written file is kept for the next wait, apart from what is measured.
        let directory = self.path().join("steady");
        fs::create_dir_all(&directory).map_err(|source| PairsError::File { path: directory.clone(), source })?;
        let arguments = [
            "steady".to_owned(),
            format!("--timeout-s={timeout_s}"),
            format!("--file-bytes={file_bytes}"),
            "--keep".to_owned(),
            format!("--core={}", self.cores().server),
            format!("--dir={}", directory.display()),
        ];
        let (_, found) = self.limit(&arguments)?;
        let rates = found["rates_mb_per_s"].as_array().into_iter().flatten().filter_map(Value::as_f64);
        let steadiness = Steadiness {
            steady: found["steady"] == true,
            rates_mb_per_s: rates.map(f64::round).collect(),
            load_average: load_average(),
        };
        if !steadiness.steady {
            self.say(&format!("the disk was not steady within {timeout_s} s; the pair is marked"));
        }
        Ok(steadiness)
    }

    /// Runs the limit program and returns its command and its result.
    pub(crate) fn limit(&self, arguments: &[String]) -> Result<(String, Value), PairsError> {
        let mut command = Command::new(&self.programs.limit);
        command.args(arguments).arg("--json");
        self.run(command)
    }

    /// Runs the load generator and returns its command and its result.
    pub(crate) fn load(&self, arguments: &[String]) -> Result<(String, Value), PairsError> {
        let mut command = self.load_command();
        command.args(arguments);
        let (command, result) = self.run(command)?;
        if self.machine.borrow().is_none() {
            let mut machine = result["machine"].clone();
            machine["disk"] = result["server"]["disk"].clone();
            *self.machine.borrow_mut() = Some(machine);
        }
        Ok((command, result))
    }

    /// What the machine and its disk are, by a short run of the load generator if none has told it yet.
    pub(crate) fn machine(&self) -> Result<Value, PairsError> {
        if self.machine.borrow().is_none() {
            let short =
                ["--duration=100ms", "--warmup=0s", "--bytes=16777216", "--server-arg=--segment-bytes=16777216"];
            let directory = format!("--dir={}", self.path().join("machine").display());
            self.load(&[short.map(str::to_owned).as_slice(), &[directory]].concat())?;
        }
        Ok(self.machine.borrow().clone().unwrap_or_default())
    }

    /// Runs the program of the service's SDK for Rust, which trusts a certificate, and returns its command and its result.
    pub(crate) fn rust_sdk(&self, arguments: &[String], certificate: &Path) -> Result<(String, Value), PairsError> {
        let program = self.options.rust_sdk.as_ref().ok_or_else(|| PairsError::Program {
            name: "rust-sdk",
            why: "build it with `cargo build --release --manifest-path server/sdk/rust/Cargo.toml --target-dir target/sdk`, and give \
                  --rust-sdk target/sdk/release/rust-sdk"
                .to_owned(),
        })?;
        let mut command = Command::new(program);
        command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET);
        command.args(arguments).env("AWS_CA_BUNDLE", certificate);
        self.run(command)
    }

    /// The load generator on its core, without what it is to do.
    pub(crate) fn load_command(&self) -> Command {
        let mut command = Command::new(&self.programs.load);
        child::forget_settings(&mut command);
        // Under cargo it would build the server once more.
        command.env_remove("CARGO");
        command.env("AWS_ACCESS_KEY_ID", KEY_ID).env("AWS_SECRET_ACCESS_KEY", SECRET).env_remove("AWS_SESSION_TOKEN");
        command.arg("--json").arg(format!("--cores={}", self.cores().load));
        command.arg(format!("--results={}", self.path().join("results").display()));
        command
    }

    /// Runs fio and returns its command and its result.
    pub(crate) fn fio(&self, arguments: &[String]) -> Result<(String, Value), PairsError> {
        let mut command = Command::new("fio");
        command.args(arguments).arg("--output-format=json");
        self.run(command)
    }

    fn run(&self, mut command: Command) -> Result<(String, Value), PairsError> {
        let shown = self.without_directory(&child::shown(&command));
        let ended = child::run(&mut command, RUN_MAX, &self.interrupted)?;
        // What was missed or void is told in the result; without one there is nothing to keep.
        match serde_json::from_str(&self.without_directory(&ended.output)) {
            Ok(result) => Ok((shown, result)),
            Err(_) => Err(PairsError::Failed { command: shown, why: ended.status.to_string(), log: ended.log }),
        }
    }

    /// A text without the directory that goes with us.
    pub(crate) fn without_directory(&self, text: &str) -> String {
        text.replace(&self.directory(), "DIR")
    }
}

/// A directory of this process alone, removed with everything in it.
struct WorkDirectory {
    path: PathBuf,
}

impl WorkDirectory {
    fn new(parent: PathBuf) -> Result<Self, PairsError> {
        let parent = std::path::absolute(&parent).unwrap_or(parent);
        let path = parent.join(format!("pairs-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|source| PairsError::File { path: path.clone(), source })?;
        Ok(Self { path })
    }
}

impl Drop for WorkDirectory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// The build's target directory where this program lies in one, else the system's for temporary files.
fn target_directory() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let within = own.ancestors().find(|path| path.join("CACHEDIR.TAG").exists());
    within.map_or_else(std::env::temp_dir, Path::to_owned)
}

fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(f64::NAN)
}
