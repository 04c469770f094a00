//! The real `millstream serve`, as a process: started, made ready, signalled, killed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// A server process. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    log: PathBuf,
}

impl Server {
    /// Starts a server on `directory`, with its log beside that, and does not wait for it.
    pub(crate) fn spawn(directory: &Path, arguments: &[String]) -> std::io::Result<Server> {
        let log = directory.with_extension("log");
        let errors = File::options().create(true).append(true).open(&log)?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_millstream"))
            .args([
                "serve",
                "--native",
                "127.0.0.1:0",
                "--http",
                "off",
                "--admin",
                "off",
                "--log-format",
                "plain",
                "--data",
            ])
            .arg(directory)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()?;
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Server { child, out, log })
    }

    /// Waits for the line that says where to connect. Fails with the server's last words if it ends before.
    pub(crate) fn ready(&mut self) -> Result<SocketAddr, String> {
        let mut line = String::new();
        let _ = self.out.read_line(&mut line);
        // Of several reactors the addresses of all follow.
        let address = line.strip_prefix("ready native=").and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        address
            .ok_or_else(|| format!("the server did not become ready, it said `{}`:\n{}", line.trim(), self.log_end()))
    }

    /// Asks for a clean shutdown.
    pub(crate) fn terminate(&self) {
        let _ = kill_process(self.pid(), Signal::TERM);
    }

    /// `kill -9`. Whether that ended it, and not it itself before.
    pub(crate) fn kill(&mut self) -> std::io::Result<bool> {
        self.child.kill()?;
        let status = self.child.wait()?;
        if status.signal() == Some(Signal::KILL.as_raw()) {
            return Ok(true);
        }
        assert!(status.success(), "the server ended with {status}:\n{}", self.log_end());
        Ok(false)
    }

    /// Waits for it to end by itself.
    pub(crate) fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait()
    }

    /// The end of its log.
    pub(crate) fn log_end(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
