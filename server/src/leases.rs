//! Tables of leases, for consumers built on the KCL: the operations of DynamoDB that it uses, and no others.
//!
//! ```text
//!   gateway -- queue --> thread -- pipe --> process `millstream leases` -> dynoxide-rs -> SQLite: DIR/leases/
//! ```
//!
//! SQLite and an emulator of DynamoDB are much code that is not ours, some of it in C, and a panic ends a process here. So they
//! have one of their own: what they do wrong, or keep in memory, is not the log's. It is begun at the first request, and again
//! at the next one after it has ended; what it had answered is on disk. It ends with its input, so also when the server is
//! killed. The thread alone speaks with it; another ends it once it has had a question for too long, whether somebody still waits
//! for the answer or not.

#[cfg(feature = "leases")]
mod operations;
mod pipe;
#[cfg(feature = "leases")]
mod process;

use std::fs;
use std::io::{self, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;

pub(crate) use self::pipe::ANSWER_BYTES_MAX;
#[cfg(feature = "leases")]
pub use self::process::{LeasesArguments, run};

/// What the operations are called here, behind the prefix that names the service and its version.
pub(crate) const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// The operations that there are: those that the KCL uses, versions 1 to 3, and those by which people look at its tables.
const TARGETS: [&str; 18] = [
    "DynamoDB_20120810.BatchGetItem",
    "DynamoDB_20120810.BatchWriteItem",
    "DynamoDB_20120810.CreateTable",
    "DynamoDB_20120810.DeleteItem",
    "DynamoDB_20120810.DeleteTable",
    "DynamoDB_20120810.DescribeTable",
    "DynamoDB_20120810.GetItem",
    "DynamoDB_20120810.ListTables",
    "DynamoDB_20120810.ListTagsOfResource",
    "DynamoDB_20120810.PutItem",
    "DynamoDB_20120810.Query",
    "DynamoDB_20120810.Scan",
    "DynamoDB_20120810.TagResource",
    "DynamoDB_20120810.TransactWriteItems",
    "DynamoDB_20120810.UntagResource",
    "DynamoDB_20120810.UpdateContinuousBackups",
    "DynamoDB_20120810.UpdateItem",
    "DynamoDB_20120810.UpdateTable",
];

/// The folder of a data directory that they lie in.
pub(crate) const FOLDER: &str = "leases";

/// Requests that wait for the thread. The next is told to try again.
const WAITING_MAX: usize = 256;

/// A process that has had a question for so long is killed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the process has to close its file before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it then has to be gone. Where its disk hangs it never is.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// The names of all operations.
pub(crate) fn operations() -> impl Iterator<Item = &'static str> {
    TARGETS.iter().filter_map(|target| target.strip_prefix(TARGET_PREFIX))
}

/// The operation that a request's target names, if there is one.
pub(crate) fn named(target: &str) -> Option<&'static str> {
    TARGETS.into_iter().find(|known| cfg!(feature = "leases") && *known == target)
}

/// What is said to whoever asks for another.
pub(crate) fn not_served(operation: &str) -> String {
    if !cfg!(feature = "leases") {
        return "This server was built without tables of leases; build it with the cargo feature `leases`.".to_owned();
    }
    let names: Vec<&str> = operations().collect();
    format!(
        "{operation} is not served: tables of leases, for the KCL, are all that this server has of DynamoDB, by {}.",
        names.join(", ")
    )
}

/// What came of a request: an HTTP status, and a body of JSON.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// Too many wait.
    Busy,
    /// The process could not be begun, or ended: what it was asked for may have been done.
    Failed,
}

struct Question {
    operation: &'static str,
    region: String,
    body: Bytes,
    /// What the body takes of what there is for all.
    room: Box<dyn Send>,
    tell: oneshot::Sender<Result<Answer, NoAnswer>>,
}

/// The tables, as the gateway sees them.
#[derive(Debug)]
pub(crate) struct Leases {
    folder: PathBuf,
    /// The process that keeps those in a folder.
    program: fn(&Path) -> Command,
    answer_timeout: Duration,
    worker: Mutex<Option<(SyncSender<Question>, JoinHandle<()>)>>,
    running: Arc<Running>,
}

/// The process as those see it who do not wait for it.
#[derive(Debug, Default)]
struct Running {
    /// Its number, and since when it has had the question that it has. Nothing between two: its number may be another's then.
    asked: Mutex<Option<(Pid, Instant)>>,
    /// Whether nothing more is to be asked of it.
    stops: AtomicBool,
}

impl Running {
    fn asked(&self) -> MutexGuard<'_, Option<(Pid, Instant)>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it if it is asked something.
    fn kill(&self) {
        if let Some((pid, _)) = *self.asked() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }

    /// Ends it if it has been asked for so long. Tells after what time to look again.
    fn kill_if_late(&self, timeout: Duration) -> Duration {
        let asked = self.asked();
        let Some((pid, since)) = *asked else { return timeout };
        let left = timeout.saturating_sub(since.elapsed());
        if !left.is_zero() {
            return left;
        }
        tracing::error!(?timeout, "the process that keeps tables of leases does not answer; it is killed");
        let _ = kill_process(pid, Signal::KILL);
        timeout
    }
}

impl Leases {
    /// Those of a log that is open. They lie in its first directory, the one with the superblock, in whichever order all were
    /// named. Nothing is begun yet.
    pub(crate) fn of(directories: &[PathBuf]) -> Leases {
        let is_home = |directory: &&PathBuf| directory.join("superblock").is_file();
        let home = directories.iter().find(is_home).or(directories.first());
        let folder = home.map_or_else(PathBuf::new, |home| home.join(FOLDER));
        Leases::new(folder, program, ANSWER_TIMEOUT)
    }

    fn new(folder: PathBuf, program: fn(&Path) -> Command, answer_timeout: Duration) -> Leases {
        Leases { folder, program, answer_timeout, worker: Mutex::default(), running: Arc::default() }
    }

    /// Has an operation carried out, unless whoever asks has left before its turn. `region` is empty for the server's own. A body keeps
    /// its room as long as it waits, also where whoever asked has left.
    pub(crate) async fn ask(
        &self,
        operation: &'static str,
        region: String,
        (body, room): (Bytes, impl Send + 'static),
    ) -> Result<Answer, NoAnswer> {
        let (tell, told) = oneshot::channel();
        let question = Question { operation, region, body, room: Box::new(room), tell };
        match self.sender().map_err(|_| NoAnswer::Failed)?.try_send(question) {
            Ok(()) => told.await.unwrap_or(Err(NoAnswer::Failed)),
            Err(TrySendError::Full(_)) => Err(NoAnswer::Busy),
            Err(TrySendError::Disconnected(_)) => Err(NoAnswer::Failed),
        }
    }

    /// The way to the thread, which is started if there is none yet, with the one that looks after the process.
    fn sender(&self) -> io::Result<SyncSender<Question>> {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((sender, _)) = &*worker {
            return Ok(sender.clone());
        }
        let (sender, questions) = sync_channel(WAITING_MAX);
        let (served, ended) = mpsc::channel();
        let (running, timeout) = (Arc::clone(&self.running), self.answer_timeout);
        std::thread::Builder::new().name("leases-watch".to_owned()).spawn(move || watch(&running, timeout, &ended))?;
        let (folder, program, running) = (self.folder.clone(), self.program, Arc::clone(&self.running));
        let work = move || {
            let _served: mpsc::Sender<()> = served;
            serve((&folder, program), &questions, &running);
        };
        let thread = std::thread::Builder::new().name("leases".to_owned()).spawn(work)?;
        *worker = Some((sender.clone(), thread));
        Ok(sender)
    }

    /// Waits until what is being done is done and the file closed, and not for ever. To be called once nobody asks any more.
    pub(crate) fn stop(&self) {
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = worker {
            self.running.stops.store(true, Ordering::SeqCst);
            drop(sender);
            if !is_finished_within(&thread, END_TIMEOUT) {
                self.running.kill();
                if !is_finished_within(&thread, KILL_TIMEOUT) {
                    tracing::error!("the process that keeps tables of leases does not end; it is left to itself");
                    return;
                }
            }
            let _ = thread.join();
        }
    }
}

fn is_finished_within(thread: &JoinHandle<()>, timeout: Duration) -> bool {
    let deadline = Instant::now() + timeout;
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    thread.is_finished()
}

/// Looks after the process until nobody is served any more.
fn watch(running: &Running, timeout: Duration, ended: &Receiver<()>) {
    let mut wait = timeout;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        wait = running.kill_if_late(timeout);
    }
}

/// The thread: answers one question after the other, until nobody can ask.
fn serve((folder, program): (&Path, fn(&Path) -> Command), questions: &Receiver<Question>, running_one: &Running) {
    let mut process: Option<Process> = None;
    let mut last_failure = String::new();
    for Question { operation, region, body, room, tell } in questions {
        if running_one.stops.load(Ordering::SeqCst) {
            let _ = tell.send(Err(NoAnswer::Failed));
            continue;
        }
        if tell.is_closed() {
            continue;
        }
        let begun = match process.take() {
            Some(running) => Ok(running),
            None => Process::begin(folder, program(folder)),
        };
        let asked = begun.and_then(|mut running| {
            *running_one.asked() = Some((Pid::from_child(&running.child), Instant::now()));
            let answer = running.ask(operation, &region, &body);
            // If there is none it is waited for from here on.
            *running_one.asked() = None;
            Ok((answer?, running))
        });
        // Before the answer is: whoever hears it finds the room free.
        drop((body, room));
        let failure = match &asked {
            Ok((answer, _)) if answer.status >= 500 => String::from_utf8_lossy(&answer.body).into_owned(),
            Ok(_) => String::new(),
            Err(error) => format!("the process that keeps them failed: {error}; the next request begins it again"),
        };
        // What fails for one fails for everybody who asks: it is told once.
        if !failure.is_empty() && failure != last_failure {
            tracing::error!(folder = %folder.display(), failure, "tables of leases can't be used; the log goes on");
        }
        last_failure = failure;
        let answer = asked.map_err(|_| NoAnswer::Failed).map(|(answer, running)| {
            process = Some(running);
            answer
        });
        // Whoever asked may be gone.
        let _ = tell.send(answer);
    }
}

/// The program that runs, also where its file has been replaced since.
fn program(folder: &Path) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("leases").arg(folder);
    command
}

/// The process, and the pipes to it. Dropping it ends it.
struct Process {
    child: Child,
    /// `None` once it is told to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn begin(folder: &Path, mut program: Command) -> io::Result<Process> {
        make(folder)?;
        let mut child = program
            // What a terminal sends to the server is not for it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Process { child, input, output: BufReader::new(output) })
    }

    fn ask(&mut self, operation: &str, region: &str, body: &[u8]) -> io::Result<Answer> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        pipe::write_question(input, operation, region, body)?;
        input.flush()?;
        pipe::read_answer(&mut self.output)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.input = None;
        let deadline = Instant::now() + END_TIMEOUT;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Makes the folder if it is missing, its name made durable.
fn make(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => fs::File::open(folder.parent().unwrap_or(folder))?.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "leases/tests.rs"]
mod tests;
