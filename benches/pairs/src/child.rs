//! Runs one program to its end, within a time, and takes what it printed.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::PairsError;

/// How often it looks whether the program has ended.
const LOOK: Duration = Duration::from_millis(10);

/// After Ctrl-C, which reaches the program too, it has so long to clean up.
const CLEAN_UP: Duration = Duration::from_secs(60);

/// Lines of its log that are shown when it fails.
const LOG_LINES: usize = 12;

/// How a program ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    /// The end of what it said to people.
    pub(crate) log: String,
}

/// Runs a program and waits for it, `limit` at most.
pub(crate) fn run(command: &mut Command, limit: Duration, interrupted: &AtomicBool) -> Result<Ended, PairsError> {
    if interrupted.load(Ordering::Relaxed) {
        return Err(PairsError::Interrupted);
    }
    let failed = |name: String| move |source| PairsError::Start { name, source };
    let name = shown(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed(name.clone()))?;
    let output = drain(child.stdout.take().expect("it was piped"));
    let log = drain(child.stderr.take().expect("it was piped"));
    let mut deadline = Instant::now() + limit;
    let mut stopping = false;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed(name.clone()))? {
            break status;
        }
        if interrupted.load(Ordering::Relaxed) && !stopping {
            stopping = true;
            deadline = Instant::now() + CLEAN_UP;
        }
        if Instant::now() >= deadline {
            end(&mut child);
            return Err(PairsError::Endless { command: name, after_s: limit.as_secs() });
        }
        thread::sleep(LOOK);
    };
    let output = output.join().unwrap_or_default();
    let log = log.join().unwrap_or_default();
    if interrupted.load(Ordering::Relaxed) {
        return Err(PairsError::Interrupted);
    }
    Ok(Ended { status, output, log: last_lines(&log) })
}

/// Keeps the server's settings, and the load generator's, in this process's environment from a program: results tell of arguments
/// alone.
pub(crate) fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MILLSTREAM_")) {
        command.env_remove(name);
    }
}

/// Kills a program and takes its end.
pub(crate) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// The command as people would type it, the program by its name alone.
pub(crate) fn shown(command: &Command) -> String {
    let program = command.get_program();
    let name = std::path::Path::new(program).file_name().unwrap_or(program);
    let words = std::iter::once(name).chain(command.get_args()).map(OsStr::to_string_lossy);
    words.collect::<Vec<_>>().join(" ")
}

/// The last lines of a log.
pub(crate) fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

fn drain(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    static NEVER: AtomicBool = AtomicBool::new(false);

    #[test]
    fn what_a_program_prints_is_taken_apart_from_its_log() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let ended = run(&mut command, Duration::from_secs(60), &NEVER).expect("every Linux has sh");
        assert_eq!((ended.output.as_str(), ended.log.as_str(), ended.status.code()), ("out\n", "err", Some(3)));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let outcome = run(&mut command, Duration::from_millis(50), &NEVER);
        assert!(matches!(outcome, Err(PairsError::Endless { .. })));
    }
}
