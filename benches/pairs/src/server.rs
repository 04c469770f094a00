//! A server of our own, for what the load generator can't do: kill it, and open its data again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::child::{end, forget_settings, last_lines, shown};
use crate::error::PairsError;

/// How long it may take until it accepts connections, or to end.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    command: String,
    /// Its doors, by their names in the line `ready`.
    doors: BTreeMap<String, String>,
    ready_s: f64,
}

impl Server {
    /// Starts it on `directory/data` and waits until it accepts connections. Its HTTP doors stay shut unless they are among the
    /// arguments.
    pub(crate) fn start(
        program: &Path,
        directory: &Path,
        core: usize,
        arguments: &[String],
    ) -> Result<Self, PairsError> {
        let mut command = Command::new(program);
        command.arg("serve").arg("--data").arg(directory.join("data"));
        // It goes when we do, however we end.
        command.args(["--until-stdin-ends", "--native=127.0.0.1:0", &format!("--core={core}")]).args(arguments);
        let is_shut = |door: &&str| !arguments.iter().any(|argument| argument.starts_with(door));
        command.args(["--http", "--admin"].into_iter().filter(is_shut).map(|door| format!("{door}=off")));
        Self::launch(command, directory)
    }

    /// Starts limit (e), which keeps nothing, and waits in the same way.
    pub(crate) fn limit_http(program: &Path, directory: &Path, arguments: &[String]) -> Result<Self, PairsError> {
        let mut command = Command::new(program);
        command.arg("http").args(arguments);
        Self::launch(command, directory)
    }

    fn launch(mut command: Command, directory: &Path) -> Result<Self, PairsError> {
        let log = directory.join("server.log");
        let file = File::create(&log).map_err(|source| PairsError::File { path: log.clone(), source })?;
        forget_settings(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let name = shown(&command).replace(&directory.display().to_string(), "DIR");
        let started = Instant::now();
        let mut child = command.spawn().map_err(|source| PairsError::Start { name: name.clone(), source })?;
        let output = child.stdout.take().expect("it was piped");
        let mut server = Self { child, log, command: name, doors: BTreeMap::new(), ready_s: 0.0 };
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send((Instant::now(), line));
            }
        });
        while let Ok((at, line)) = lines.recv_timeout(PATIENCE.saturating_sub(started.elapsed())) {
            if let Some(doors) = line.strip_prefix("ready ") {
                let doors = doors.split_whitespace().filter_map(|word| word.split_once('='));
                server.doors = doors.map(|(name, address)| (name.to_owned(), address.to_owned())).collect();
                server.ready_s = (at - started).as_secs_f64();
                return Ok(server);
            }
        }
        Err(server.failed("did not become ready"))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        self.door("native")
    }

    /// Where one of its doors is: `native`, `http` or `admin`.
    pub(crate) fn door(&self, name: &str) -> &str {
        self.doors.get(name).map_or("", String::as_str)
    }

    /// Seconds from its start until it accepted connections.
    pub(crate) fn ready_s(&self) -> f64 {
        self.ready_s
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The command, without its directory.
    pub(crate) fn command(&self) -> &str {
        &self.command
    }

    /// Ends it as a power cut of the process would: it gets no chance to do anything.
    pub(crate) fn kill(mut self) {
        end(&mut self.child);
    }

    /// Tells it to end and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), PairsError> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.failed(&format!("ended with {status}"))),
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                Err(source) => return Err(PairsError::Start { name: self.command.clone(), source }),
            }
        }
        Err(self.failed("did not end when it was told to"))
    }

    fn failed(&self, why: &str) -> PairsError {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        PairsError::Failed { command: self.command.clone(), why: why.to_owned(), log: last_lines(&log) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
