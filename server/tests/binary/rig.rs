//! A server process on a directory of its own, commands beside it, and patience with both.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use frame::proto::{AckResult, StreamDescription};
use frame::{Sequence, ShardId, StreamId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use server::client::{Batch, Client, Timeouts};
use tempfile::TempDir;

/// More than anything here takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

const MILLSTREAM: &str = env!("CARGO_BIN_EXE_millstream");

/// Segments small enough that tests fill several, and nothing allocated that is not used.
pub(crate) const SMALL: [&str; 6] = ["--segment-bytes", "4MiB", "--segments-ready", "1", "--memory-bytes", "128MiB"];

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// The binary with `arguments`, none of this process's settings, an admin port of its own, and actions as often as a test asks.
pub(crate) fn millstream<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(MILLSTREAM);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MILLSTREAM_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).env("MILLSTREAM_ADMIN", "127.0.0.1:0").env("MILLSTREAM_API_RATES", "none");
    command
}

/// What `by` starts in place of itself is `command`, with its settings.
pub(crate) fn started_by(mut by: Command, command: &Command) -> Command {
    by.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => by.env(name, value),
            None => by.env_remove(name),
        };
    }
    by
}

/// The server as a shell starts it, behind some words of its own.
pub(crate) fn serve_in_shell(words: &str, data: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{words}; exec \"$0\" \"$@\"")]);
    started_by(shell, &serve(data, &[]))
}

/// What a finished command left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
}

impl Finished {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// Its output, after a good end.
    #[track_caller]
    pub(crate) fn good(self) -> Finished {
        assert!(self.status.success(), "{}\n{}\n{}", self.status, String::from_utf8_lossy(&self.out), self.err);
        self
    }

    /// Its one line on standard error, after a bad end.
    #[track_caller]
    pub(crate) fn refusal(self) -> String {
        assert_eq!(self.status.code(), Some(1), "{:?}", self);
        let line = self.err.trim_end();
        assert!(
            line.starts_with("millstream: ") && !line.contains('\n'),
            "not one line with the cause: {:?}",
            self.err
        );
        line.to_owned()
    }
}

/// Runs a command to its end, with `input` on its standard input.
pub(crate) fn run(mut command: Command, input: &[u8]) -> Finished {
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdin(Stdio::piped()).stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // A command that fails early does not read all of it.
        let _ = stdin.write_all(&input);
    });
    let status = wait(&mut child);
    writer.join().unwrap();
    let mut finished = Finished { status, out: Vec::new(), err: String::new() };
    out.rewind().unwrap();
    err.rewind().unwrap();
    out.read_to_end(&mut finished.out).unwrap();
    err.read_to_string(&mut finished.err).unwrap();
    finished
}

/// Waits for a process, and ends it when patience does.
#[track_caller]
pub(crate) fn wait(child: &mut Child) -> ExitStatus {
    let pid = Pid::from_child(child);
    let fd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    let limit = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).unwrap();
    if ready == 0 {
        child.kill().unwrap();
        let status = child.wait().unwrap();
        panic!("a process did not end within {PATIENCE:?}; killed: {status}");
    }
    child.wait().unwrap()
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where the Kinesis API is, if it is served.
    pub(crate) http: Option<SocketAddr>,
    /// Where metrics and health are, if they are served.
    pub(crate) admin: Option<SocketAddr>,
    /// Where each reactor is, if there are several.
    pub(crate) reactors: Vec<SocketAddr>,
    /// The certificate that the server made, if it did.
    pub(crate) certificate: Option<PathBuf>,
    log: PathBuf,
}

impl Server {
    /// On `data`, with small segments.
    #[track_caller]
    pub(crate) fn start(data: &Path) -> Server {
        Server::start_with(data, &[])
    }

    #[track_caller]
    pub(crate) fn start_with(data: &Path, more: &[&str]) -> Server {
        Server::start_command(data, serve(data, more))
    }

    /// Starts a command that becomes a server on `data`; its log goes to a file beside the directory.
    #[track_caller]
    pub(crate) fn start_command(data: &Path, command: Command) -> Server {
        Server::start_piped(data, command, Stdio::null())
    }

    /// Likewise, with an input.
    #[track_caller]
    pub(crate) fn start_piped(data: &Path, mut command: Command, input: Stdio) -> Server {
        let log = data.with_extension("log");
        let err = File::options().create(true).append(true).open(&log).unwrap();
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(err).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let (told, ready) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(out).read_line(&mut line);
            let _ = told.send(line);
        });
        let line = ready.recv_timeout(PATIENCE).unwrap_or_default();
        let word = |name| line.split_whitespace().find_map(|word: &str| word.strip_prefix(name)?.strip_prefix('='));
        let address = |name| word(name).and_then(|word| word.parse().ok());
        let (Some(native), http, admin) = (address("native"), address("http"), address("admin")) else {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the server said {line:?}; its log: {}", std::fs::read_to_string(&log).unwrap_or_default());
        };
        let reactors =
            word("reactors").into_iter().flat_map(|all| all.split(',')).map(|word| word.parse().unwrap()).collect();
        let certificate = word("certificate").map(PathBuf::from);
        Server { child, address: native, http, admin, reactors, certificate, log }
    }

    pub(crate) fn client(&self) -> Client {
        self.client_at(self.address)
    }

    /// A client of one reactor.
    pub(crate) fn client_at(&self, address: SocketAddr) -> Client {
        Client::connect(address, Timeouts { connect: PATIENCE, answer: PATIENCE }).unwrap()
    }

    /// A command that asks this server.
    pub(crate) fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = millstream(arguments);
        command.args(["--native", &self.address.to_string()]);
        command
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// A clean shutdown.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.signal(Signal::INT);
        let status = wait(&mut self.child);
        assert!(status.success(), "{status}: {}", self.log_text());
    }

    /// Waits for an end that was asked for otherwise.
    #[track_caller]
    pub(crate) fn ended(mut self) {
        let status = wait(&mut self.child);
        assert!(status.success(), "{status}: {}", self.log_text());
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The most that was ever resident of it.
    pub(crate) fn peak_mib(&self) -> u64 {
        self.memory_kib("VmHWM:") >> 10
    }

    /// What is resident of it.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero())).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim();
        memory.strip_suffix(" kB").unwrap().parse().unwrap()
    }

    pub(crate) fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it is there and answers.
    #[track_caller]
    pub(crate) fn assert_well(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the server ended: {}", self.log_text());
        self.client().ping().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `millstream serve` on `data`, with small segments.
pub(crate) fn serve(data: &Path, more: &[&str]) -> Command {
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"]);
    command.arg(data).args(SMALL).args(more);
    command
}

/// What a server that can't start says in its one line.
#[track_caller]
pub(crate) fn refusal(data: &Path, more: &[&str]) -> String {
    run(serve(data, &[&["--log", "error"], more].concat()), b"").refusal()
}

/// Appends records under `key`, all of which must be stored. Returns where.
#[track_caller]
pub(crate) fn store<D: AsRef<[u8]>>(
    client: &mut Client,
    stream: StreamId,
    key: &str,
    records: impl IntoIterator<Item = D>,
) -> Vec<(ShardId, Sequence)> {
    let mut batch = Batch::new();
    for record in records {
        assert!(batch.push(key.as_bytes(), record.as_ref()).unwrap(), "one batch holds them");
    }
    let results = client.append(stream, &batch).unwrap();
    let durable = |result| match result {
        AckResult::Durable(shard, sequence) => (shard, sequence),
        AckResult::Refused(code) | AckResult::Throttled(code, _) => panic!("refused: {code}"),
    };
    results.into_iter().map(durable).collect()
}

/// Every record of a shard, with its number.
#[track_caller]
pub(crate) fn read_all(client: &mut Client, stream: &StreamDescription, shard: ShardId) -> Vec<(Sequence, Vec<u8>)> {
    let mut all: Vec<(Sequence, Vec<u8>)> = Vec::new();
    let mut from = Sequence(1);
    loop {
        let records = client.read(stream.stream, shard, from, 1 << 20).unwrap();
        all.extend(records.iter().map(|frame| (frame.sequence(), frame.data().to_vec())));
        if records.result.next >= records.result.tip {
            assert!(all.is_sorted_by(|(one, _), (two, _)| one < two), "numbers rise");
            return all;
        }
        assert!(records.result.next > from, "no progress at {from}");
        from = records.result.next;
    }
}

/// Runs `work` on a thread to which, and to whose processes, io_uring is refused.
pub(crate) fn apart_from_io_uring<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    use seccompiler::{SeccompAction, SeccompFilter, TargetArch, apply_filter};
    /// The same on all architectures.
    const IO_URING_SETUP: i64 = 425;
    let apart = std::thread::spawn(move || {
        let arch = TargetArch::try_from(std::env::consts::ARCH).unwrap();
        let (others, setup) = (SeccompAction::Allow, SeccompAction::Errno(1));
        let rules = [(IO_URING_SETUP, Vec::new())].into_iter().collect();
        let program: seccompiler::BpfProgram =
            SeccompFilter::new(rules, others, setup, arch).unwrap().try_into().unwrap();
        apply_filter(&program).unwrap();
        work()
    });
    apart.join().unwrap()
}

/// Says what is missing, in one line, past what the test harness captures. Where CI is set that is a failure.
pub(crate) fn skip(missing: &str) {
    assert!(std::env::var_os("CI").is_none(), "a skip is a failure where CI is set: {missing}");
    let _ = writeln!(std::io::stderr(), "skipped: {missing}");
}
