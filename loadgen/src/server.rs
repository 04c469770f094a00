//! A server of our own: found or built beside this program, started on a directory that is removed afterwards.
//!
//! It reads the other end of a pipe that this process holds, and shuts down when that ends: so it does not stay when this
//! process is killed. Its log is locked while either of them lives. A directory whose log nobody locks is what a killed run
//! left, and the next start removes it.
//!
//! It is told by arguments alone, which the result shows: settings in this process's environment do not reach it.
//!
//! It runs in a process group of its own, so that Ctrl-C reaches the generator alone, which stops, verifies and then
//! ends the server.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::machine::commit_of;

/// How long a server may take to accept connections: it may fill segments first.
const READY_MAX: Duration = Duration::from_secs(120);

/// How long it may take to end.
const STOP_MAX: Duration = Duration::from_secs(60);

/// Lines of its log shown when it fails.
const LOG_LINES_SHOWN: usize = 12;

/// Its log, in its directory.
const LOG: &str = "server.log";

/// How names of directories begin that servers are started on.
const DIRECTORY_PREFIX: &str = "millstream-load-";

/// How a server is started.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// Where to make its directory.
    pub parent: PathBuf,
    /// Its core.
    pub core: usize,
    /// Whether any file system will do.
    pub not_durable: bool,
    /// Further arguments.
    pub arguments: Vec<String>,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    child: Child,
    directory: PathBuf,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    http: Option<SocketAddr>,
    command: String,
    commit: String,
    stopped: bool,
    /// Locked.
    _log: File,
}

/// Why there is no server, or why it did not end well.
#[derive(Debug)]
pub enum ServerError {
    /// Neither beside this program nor in a source tree.
    NotFound {
        /// Where it was looked for.
        beside: PathBuf,
    },
    /// The build failed.
    Build {
        /// The command.
        command: String,
    },
    /// A directory could not be made or a program not started.
    Start {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// It can have no directory of its own there.
    Directory {
        /// Where it was to be made.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It ended, or said nothing, before it accepted connections.
    NotReady {
        /// What happened.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// It did not end when told to, or not well.
    BadEnd {
        /// What happened.
        reason: String,
        /// The end of its log.
        log: String,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { beside } => write!(
                f,
                "no server at {}: build it with cargo build --release -p server, or name a running one with --target ADDR",
                beside.display()
            ),
            Self::Build { command } => write!(f, "{command} failed; its messages are above"),
            Self::Start { what, source } => write!(f, "cannot start {what}: {source}"),
            Self::Directory { path, source } => write!(
                f,
                "cannot make a directory for a server in {}: {source}; make it writable or name another one with --dir",
                path.display()
            ),
            // Its own line says what happened and what to change.
            Self::NotReady { log, .. } if own_words(log).is_some() => {
                write!(f, "the server did not start: {}", own_words(log).unwrap_or_default())
            }
            Self::NotReady { reason, log } => write!(f, "the server did not start: {reason}\n{log}"),
            Self::BadEnd { reason, log } => write!(f, "the server did not end well: {reason}\n{log}"),
        }
    }
}

impl std::error::Error for ServerError {}

/// What a server that refuses to start says last.
fn own_words(log: &str) -> Option<&str> {
    log.lines().last()?.strip_prefix("millstream: ")
}

/// Finds the server's program, and builds it where this program was run from its source tree.
pub fn find_server(say: impl Fn(&str)) -> Result<PathBuf, ServerError> {
    let own =
        std::env::current_exe().map_err(|source| ServerError::Start { what: "this program".to_owned(), source })?;
    // Tests run in a directory below.
    let beside = own.parent().unwrap_or(Path::new("."));
    let beside = if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside };
    let program = beside.join("millstream");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).parent().filter(|root| root.join("server/Cargo.toml").exists());
    // Whoever has just built all says so: alone it would be built anew, with other features of its libraries.
    let from_cargo = std::env::var_os("CARGO").is_some() && std::env::var_os("MILLSTREAM_BUILT").is_none();
    match source {
        Some(root) if from_cargo || !program.exists() => build(root, beside, program.exists(), say)?,
        _ => {}
    }
    if program.exists() { Ok(program) } else { Err(ServerError::NotFound { beside: program }) }
}

/// Keeps the settings in this process's environment from a program that it starts.
pub fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MILLSTREAM_")) {
        command.env_remove(name);
    }
}

/// Builds the server in the same profile as this program.
fn build(root: &Path, beside: &Path, quiet: bool, say: impl Fn(&str)) -> Result<(), ServerError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "server"]).current_dir(root).stdout(Stdio::null());
    let mut shown = "cargo build -p server".to_owned();
    if beside.ends_with("release") {
        command.arg("--release");
        shown = "cargo build --release -p server".to_owned();
    }
    if quiet {
        command.arg("--quiet");
    } else {
        say(&format!("building the server: {shown}"));
    }
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(ServerError::Build { command: shown }),
        Err(source) => Err(ServerError::Start { what: shown, source }),
    }
}

impl Server {
    /// Starts the program and waits until it accepts connections.
    pub fn start(program: &Path, spec: &ServerSpec) -> Result<Self, ServerError> {
        let directory = make_directory(&spec.parent)?;
        let started = Self::start_in(program, spec, &directory);
        if started.is_err() {
            let _ = fs::remove_dir_all(&directory);
        }
        started
    }

    fn start_in(program: &Path, spec: &ServerSpec, directory: &Path) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Start { what: program.display().to_string(), source };
        let log = locked_log(directory).map_err(failed)?;
        let inherited = log.try_clone().map_err(failed)?;
        let mut command = Command::new(program);
        forget_settings(&mut command);
        command.arg("serve").arg("--data").arg(directory.join("data"));
        if !spec.arguments.iter().any(|argument| argument.starts_with("--http=")) {
            command.args(["--http", "off"]);
        }
        command.args([
            "--native",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--core",
            &spec.core.to_string(),
            "--until-stdin-ends",
        ]);
        if spec.not_durable {
            command.arg("--not-durable");
        }
        command.args(&spec.arguments);
        let shown: Vec<String> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        // The child keeps this end of the pipe for us: dropped with it, or by the kernel.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(inherited).process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let output = child.stdout.take().expect("it was piped");
        let shown = format!("millstream {}", shown.join(" ").replace(&directory.display().to_string(), "TEMPORARY"));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let directory = directory.to_owned();
        let (admin, http) = (None, None);
        let commit = commit_of(program);
        let mut server =
            Self { child, directory, address, admin, http, command: shown, commit, stopped: false, _log: log };
        let lines = read_lines(output);
        let deadline = Instant::now() + READY_MAX;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(address) = told(&line, "native") {
                        (server.address, server.admin, server.http) =
                            (address, told(&line, "admin"), told(&line, "http"));
                        return Ok(server);
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let reason = format!("no word from it in {} s", READY_MAX.as_secs());
                    return Err(ServerError::NotReady { reason, log: server.log_end() });
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let reason = match server.child.wait() {
                        Ok(status) => format!("it ended with {status}"),
                        Err(error) => error.to_string(),
                    };
                    server.stopped = true;
                    return Err(ServerError::NotReady { reason, log: server.log_end() });
                }
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves its figures, if it does.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Where it serves the Kinesis API, if it was told to.
    pub fn http(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The directory that holds everything of it.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The commit that its program was built from.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// The command that started it, without where its directory is.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Tells it to end, waits until it has, and removes its directory.
    pub fn stop(mut self) -> Result<(), ServerError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), ServerError> {
        if self.stopped {
            return Ok(());
        }
        self.stopped = true;
        self.signal(Signal::INT);
        let deadline = Instant::now() + STOP_MAX;
        let outcome = loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => break Ok(()),
                Ok(Some(status)) => break Err(format!("it ended with {status}")),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Ok(None) => {
                    self.signal(Signal::KILL);
                    let _ = self.child.wait();
                    break Err(format!(
                        "it went on for {} s after it was told to end, and was killed",
                        STOP_MAX.as_secs()
                    ));
                }
                Err(error) => break Err(error.to_string()),
            }
        };
        outcome.map_err(|reason| ServerError::BadEnd { reason, log: self.log_end() })
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        let log = fs::read_to_string(self.directory.join(LOG)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.end();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// An address that the line tells by which a server says that it is ready.
fn told(line: &str, name: &str) -> Option<SocketAddr> {
    let mut words = line.strip_prefix("ready ")?.split_whitespace().filter_map(|word| word.split_once('='));
    words.find(|(found, _)| *found == name)?.1.parse().ok()
}

/// The log of a server in `directory`, locked for as long as anybody has it open.
fn locked_log(directory: &Path) -> io::Result<File> {
    let (unlocked, path) = (directory.join("server.log.new"), directory.join(LOG));
    let log = File::create(&unlocked)?;
    // Fresh and ours, so nobody else has a lock. Under its own name only now: who looks for leftovers finds it locked.
    log.lock()?;
    fs::rename(unlocked, path)?;
    Ok(log)
}

/// Removes the directories of runs that were killed, and says so. One whose server still ends is left to the next start.
pub fn remove_leftovers(parent: &Path, say: impl Fn(&str)) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(DIRECTORY_PREFIX);
        let Some(log) = File::open(path.join(LOG)).ok().filter(|_| is_ours) else { continue };
        if log.try_lock().is_err() {
            continue;
        }
        match fs::remove_dir_all(&path) {
            Ok(()) => say(&format!("removed {}, which a killed run had left", path.display())),
            Err(error) => say(&format!("a killed run left {}; remove it: {error}", path.display())),
        }
    }
}

/// A new directory below `parent`, of this process alone.
fn make_directory(parent: &Path) -> Result<PathBuf, ServerError> {
    let failed = |source| ServerError::Directory { path: parent.to_owned(), source };
    fs::create_dir_all(parent).map_err(failed)?;
    for attempt in 0.. {
        let path = parent.join(format!("{DIRECTORY_PREFIX}{}-{attempt}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(failed(source)),
        }
    }
    unreachable!("there is a number that no directory has")
}

/// Lines as they come, until the other end is closed; it is read to its end, so that the server never blocks on it.
fn read_lines(output: impl io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_ready_tells_its_addresses() {
        let line = "ready native=127.0.0.1:4570 http=off admin=127.0.0.1:4580 reactors=127.0.0.1:4570,127.0.0.1:4571";
        let address = |name| told(line, name).map(|address| address.port());
        assert_eq!((address("native"), address("admin"), address("http")), (Some(4570), Some(4580), None));
        assert_eq!(told("preparing native=127.0.0.1:1", "native"), None);
    }
}
