//! What tests of the program need: servers of their own, directories, what a run says.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use loadgen::native::{Target, prepare_streams};
use loadgen::server::{Server, ServerSpec, find_server, forget_settings};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Where servers and results of these tests are made, on the disk of the build.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The server's program. Building it may take a minute where only other features of its libraries were built yet: it is done
/// once, before any test waits for what the program does.
pub(crate) fn server_program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| find_server(|_| {}).unwrap());
    &PROGRAM
}

/// The program with these arguments, and no warm-up.
pub(crate) fn load(scratch: &Path, arguments: &[&str]) -> Command {
    load_after("0s", scratch, arguments)
}

/// The same after a warm-up.
pub(crate) fn load_after(warmup: &str, scratch: &Path, arguments: &[&str]) -> Command {
    server_program();
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream-load"));
    forget_settings(&mut command);
    // It would have cargo look whether its server is the newest, which was done.
    command.env_remove("CARGO");
    command.args(["--json", "--warmup", warmup, "--results"]).arg(scratch.join("results"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it with a server of its own.
pub(crate) fn run(scratch: &Path, arguments: &[&str]) -> Output {
    load(scratch, arguments).arg("--dir").arg(scratch).args(SMALL_SERVER).output().unwrap()
}

/// A server that needs little room.
pub(crate) const SMALL: [&str; 2] = ["--segment-bytes=8MiB", "--segments-ready=1"];

/// And starts at once: the kernel makes every page of its memory first, which takes half a second of processor time for what it
/// has by default, and so ten seconds on a machine that is busy with other tests.
pub(crate) const LITTLE_MEMORY: &str = "--memory-bytes=128MiB";

/// The same, started by the program.
pub(crate) const SMALL_SERVER: [&str; 3] =
    ["--server-arg=--segment-bytes=8MiB", "--server-arg=--segments-ready=1", "--server-arg=--memory-bytes=128MiB"];

pub(crate) fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

pub(crate) fn message(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Marks that say how busy this machine is, or what can't be seen on it.
pub(crate) const OF_THE_MACHINE: [&str; 4] = ["disturbed", "generator-late", "generator-bound", "unobserved"];

/// The marks of a report, without those.
pub(crate) fn marks(report: &Value) -> Vec<String> {
    let marks = report["marks"].as_array().unwrap().iter().map(|mark| mark["mark"].as_str().unwrap().to_owned());
    marks.filter(|mark| !OF_THE_MACHINE.contains(&mark.as_str())).collect()
}

pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    entries.unwrap_or_default()
}

/// Says what is missing, in one line, past what the test harness captures. Where CI is set that is a failure.
pub(crate) fn skip(missing: &str) {
    assert!(std::env::var_os("CI").is_none(), "a skip is a failure where CI is set: {missing}");
    let _ = writeln!(std::io::stderr(), "skipped: {missing}");
}

/// A server of the test's own, and a stream on it that is watched from outside.
pub(crate) struct Watched {
    pub(crate) server: Server,
    pub(crate) core: usize,
}

impl Watched {
    pub(crate) fn start(scratch: &Path) -> Self {
        Self::start_with(scratch, &[LITTLE_MEMORY])
    }

    /// The same with these arguments, and its memory if they name it.
    pub(crate) fn start_with(scratch: &Path, more: &[&str]) -> Self {
        let core = core_affinity::get_core_ids().unwrap()[0].id;
        let arguments = SMALL.iter().chain(more).map(|argument| (*argument).to_owned()).collect();
        let spec = ServerSpec { parent: scratch.to_owned(), core, not_durable: false, arguments };
        Self { server: Server::start(server_program(), &spec).unwrap(), core }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Starts a load that would never end and waits until records are there.
    pub(crate) fn loaded(&self, scratch: &Path) -> Child {
        let address = self.address().to_string();
        let arguments =
            ["--target", &address, "--stream", "watched", "--shards", "1", "--duration", "1h", "--bytes", "1TiB"];
        let child = load(scratch, &arguments).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.records() < 1000 {
            assert!(Instant::now() < deadline, "no record came");
        }
        child
    }

    pub(crate) fn records(&self) -> u64 {
        let streams = prepare_streams(&Target::new(self.address()), &["watched".to_owned()], (1, None), self.core)
            .unwrap()
            .streams;
        streams[0].shards[0].tip.0
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid as i32).unwrap(), signal).unwrap();
}

/// What `there` finds, once it does.
pub(crate) fn wait_for<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} does not come");
        std::thread::yield_now();
    }
}

/// The server that a generator has started: its directory and its process.
pub(crate) fn servers(generator: u32) -> Option<(PathBuf, u32)> {
    let children = std::fs::read_to_string(format!("/proc/{generator}/task/{generator}/children")).ok()?;
    children.split_whitespace().find_map(|pid| {
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let mut arguments = command.split('\0').skip_while(|argument| *argument != "--data");
        let data = PathBuf::from(arguments.nth(1)?);
        Some((data.parent()?.to_owned(), pid.parse().ok()?))
    })
}

/// Whether a process runs: neither gone nor waiting to be collected.
pub(crate) fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Runs `work` on a thread to which, and to whose processes, io_uring is refused.
pub(crate) fn apart_from_io_uring<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    use seccompiler::{SeccompAction, SeccompFilter, TargetArch, apply_filter};
    /// The same on every architecture since Linux 5.1.
    const IO_URING_SETUP: i64 = 425;
    let arch: TargetArch = std::env::consts::ARCH.try_into().unwrap();
    // A filter is its thread's for good, and its children's.
    let apart = std::thread::spawn(move || {
        let rules = [(IO_URING_SETUP, vec![])].into_iter().collect();
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(1), arch).unwrap();
        let program: seccompiler::BpfProgram = filter.try_into().unwrap();
        apply_filter(&program).unwrap();
        work()
    });
    apart.join().unwrap()
}
