//! Emulators of the Kinesis API that come as packages, as `benches/emulators/install` puts them into one directory: each is
//! started alone, on a port of its own, and ended by its process. They are asked on loopback; kinesalite and kinesis-local have no
//! setting for it, and listen on all addresses meanwhile.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::bench::Bench;
use crate::child::{end, forget_settings, last_lines, shown};
use crate::error::PairsError;

/// How long it may take until it takes connections.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often that is tried.
const LOOK: Duration = Duration::from_millis(50);

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Emulator {
    /// ferrokinesis, in memory.
    Ferrokinesis,
    /// The same with its state directory, which it syncs.
    FerrokinesisState,
    /// ministack, in memory.
    Ministack,
    /// kinesalite, in memory.
    Kinesalite,
    /// kinesis-local, which is kinesis-mock, in memory.
    KinesisLocal,
    /// moto, in memory.
    Moto,
}

impl Emulator {
    /// As it is chosen, and as its plot is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ferrokinesis => "ferrokinesis",
            Self::FerrokinesisState => "ferrokinesis-state",
            Self::Ministack => "ministack",
            Self::Kinesalite => "kinesalite",
            Self::KinesisLocal => "kinesis-local",
            Self::Moto => "moto",
        }
    }

    /// Whether what it acknowledges is on the disk.
    pub(crate) fn syncs(self) -> bool {
        self == Self::FerrokinesisState
    }

    /// Its program, below the directory, and what it is told.
    fn command(self, installed: &Path, port: u16, state: &Path) -> Command {
        let program = |path: &str| Command::new(installed.join(path));
        let port = port.to_string();
        match self {
            Self::Ferrokinesis | Self::FerrokinesisState => {
                let mut command = program("bin/ferrokinesis");
                command.args(["--port", &port, "--create-stream-ms", "0", "--shard-limit", "100"]);
                if self.syncs() {
                    command.arg("--state-dir").arg(state);
                }
                command
            }
            Self::Ministack => {
                let mut command = program("python/bin/ministack");
                command.env("GATEWAY_PORT", port);
                command
            }
            Self::Kinesalite => {
                let mut command = program("node_modules/.bin/kinesalite");
                command.args(["--port", &port, "--createStreamMs", "0", "--shardLimit", "100"]);
                command
            }
            Self::KinesisLocal => {
                let mut command = program("node_modules/.bin/kinesis-local");
                command.env("KINESIS_MOCK_PLAIN_PORT", port).env("KINESIS_MOCK_TLS_PORT", free_port().to_string());
                command.env("LOG_LEVEL", "ERROR");
                command
            }
            Self::Moto => {
                let mut command = program("python/bin/moto_server");
                command.args(["-H", "127.0.0.1", "-p", &port]);
                command
            }
        }
    }

    /// Where it runs: in a directory that goes with us, unless it looks there for files of its own.
    fn place(self, installed: &Path, directory: &Path) -> PathBuf {
        match self {
            Self::KinesisLocal => installed.join("node_modules/kinesis-local"),
            _ => directory.to_owned(),
        }
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) fn start(self, bench: &Bench, installed: &Path) -> Result<Running, PairsError> {
        let directory = bench.path().join(self.name());
        let failed = |source| PairsError::File { path: directory.clone(), source };
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).map_err(failed)?;
        let log = File::create(directory.join("log")).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let port = free_port();
        let installed = &std::path::absolute(installed).map_err(failed)?;
        let mut command = self.command(installed, port, &directory.join("state"));
        command.current_dir(self.place(installed, &directory)).stdin(Stdio::null()).stdout(log).stderr(errors);
        let name = shown(&command).replace(&directory.display().to_string(), "DIR");
        let why = |source| PairsError::Start { name: format!("{} (see benches/emulators)", self.name()), source };
        forget_settings(&mut command);
        let child = command.spawn().map_err(why)?;
        let mut running = Running { child, port, command: format!("{name} ({})", version(installed, self)) };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let has_ended = running.child.try_wait().is_ok_and(|status| status.is_some());
            if has_ended || started.elapsed() > PATIENCE {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                let why = "took no connections".to_owned();
                return Err(PairsError::Failed { command: running.command.clone(), why, log: last_lines(&log) });
            }
            thread::sleep(LOOK);
        }
        Ok(running)
    }
}

/// One that runs, and ends with this.
pub(crate) struct Running {
    child: Child,
    port: u16,
    /// What it was started with, and its version.
    pub(crate) command: String,
}

impl Running {
    /// Where it serves the API.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// What was installed, as the script noted it.
fn version(installed: &Path, emulator: Emulator) -> String {
    let package = emulator.name().trim_end_matches("-state");
    let versions = fs::read_to_string(installed.join("versions")).unwrap_or_default();
    let line = versions.lines().find(|line| line.split(' ').next() == Some(package));
    line.map_or_else(|| format!("{package} of unknown version"), str::to_owned)
}

/// A port that nobody has now.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0));
    listener.and_then(|listener| listener.local_addr()).map_or(0, |address| address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_that_the_script_noted() {
        let installed = tempfile::tempdir().expect("there is a place for it");
        fs::write(installed.path().join("versions"), "moto 5.2.0\nferrokinesis 0.7.0\n").expect("it can be written");
        assert_eq!(version(installed.path(), Emulator::FerrokinesisState), "ferrokinesis 0.7.0");
        assert_eq!(version(installed.path(), Emulator::Kinesalite), "kinesalite of unknown version");
    }
}
