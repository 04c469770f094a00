//! What may block on a file system, on a thread of its own: open, allocate, cut, flush, rename, remove, list.
//!
//! Requests are carried out in the order in which they come. Only the freeing of a big file's space is spread out: freeing
//! 1 GiB at once kept the thread (and the file system's journal) busy for 0.7 s, so it goes in steps between other requests.
//! A removed name is gone at once all the same, and a request for a file that is being cut first finishes the cut. A removed
//! file that is still open keeps its contents until it is closed.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use rustix::fs::{
    AtFlags, Dir, FallocateFlags, FileType, Mode, OFlags, Stat, fallocate, fstat, fstatvfs, fsync, ftruncate, openat,
    renameat, statat, unlinkat,
};
use rustix::io::Errno;

use crate::affinity::leave_the_core;
use crate::bell::Bell;
use crate::directory::{DataDir, LOCK_NAME, is_file_name};
use crate::{DirEntry, FileOp};

/// Space freed in one step: about 0.4 ms of work, for which writes of other files wait as well.
const STEP_BYTES: u64 = 1 << 20;

/// Requests with the thread at a time. More wait on the reactor's thread.
const REQUESTS_MAX: usize = 64;

/// How long a dropped [`Files`] waits for its thread.
const END_WAIT: Duration = Duration::from_secs(5);

/// An open file. A request holds it open until it is answered.
pub(crate) type File = Arc<OwnedFd>;

/// A file operation that names its file by what it is.
pub(crate) enum Task {
    Open { name: String, create: bool },
    Close(File),
    Allocate { file: File, bytes: u64 },
    Blank { file: File, bytes: u64 },
    Truncate { file: File, bytes: u64 },
    Sync(File),
    SyncDir,
    Rename { from: String, to: String },
    Remove(String),
    List,
    FreeMib,
}

impl Task {
    /// The task of `op`, with `file` being the one that it names.
    pub(crate) fn new(op: FileOp, file: Option<File>) -> Option<Task> {
        Some(match op {
            FileOp::Open { name, create, .. } => Task::Open { name, create },
            FileOp::Close(_) => Task::Close(file?),
            FileOp::Allocate { bytes, .. } => Task::Allocate { file: file?, bytes },
            FileOp::Blank { bytes, .. } => Task::Blank { file: file?, bytes },
            FileOp::Truncate { bytes, .. } => Task::Truncate { file: file?, bytes },
            FileOp::Sync(_) => Task::Sync(file?),
            FileOp::SyncDir(_) => Task::SyncDir,
            FileOp::Rename { from, to, .. } => Task::Rename { from, to },
            FileOp::Remove { name, .. } => Task::Remove(name),
            FileOp::List(_) => Task::List,
            FileOp::FreeMib(_) => Task::FreeMib,
        })
    }

    fn file(&self) -> Option<&File> {
        match self {
            Task::Close(file) | Task::Sync(file) => Some(file),
            Task::Allocate { file, .. } | Task::Blank { file, .. } | Task::Truncate { file, .. } => Some(file),
            _ => None,
        }
    }
}

struct Request {
    key: u64,
    task: Task,
}

/// What came of a request.
pub(crate) struct Answer {
    /// The request's.
    pub(crate) key: u64,
    /// A count or a negative errno.
    pub(crate) result: i32,
    pub(crate) brings: Brings,
}

pub(crate) enum Brings {
    Nothing,
    File(File),
    Entries(Vec<DirEntry>),
}

/// The thread, seen from the reactor's. Never blocks, except when dropped.
pub(crate) struct Files {
    /// `None` when ending.
    requests: Option<Sender<Request>>,
    answers: Receiver<Answer>,
    waiting: VecDeque<Request>,
    /// Requests with the thread, unanswered: at most REQUESTS_MAX, so neither channel is ever full.
    asked: usize,
    thread: Option<JoinHandle<()>>,
}

impl Files {
    pub(crate) fn start(directory: DataDir, bell: Arc<Bell>) -> std::io::Result<Files> {
        let (requests, inbox) = bounded(REQUESTS_MAX);
        let (outbox, answers) = bounded(REQUESTS_MAX);
        let worker = Worker { directory, inbox, outbox, bell, cuts: VecDeque::new(), open: Vec::new() };
        let thread = std::thread::Builder::new().name("millstream-file".to_owned()).spawn(move || worker.run())?;
        Ok(Files { requests: Some(requests), answers, waiting: VecDeque::new(), asked: 0, thread: Some(thread) })
    }

    pub(crate) fn ask(&mut self, key: u64, task: Task) {
        self.waiting.push_back(Request { key, task });
        self.hand_over();
    }

    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.asked -= 1;
        self.hand_over();
        Some(answer)
    }

    fn hand_over(&mut self) {
        let Some(requests) = &self.requests else { return };
        while self.asked < REQUESTS_MAX
            && let Some(request) = self.waiting.pop_front()
        {
            requests.send(request).expect("the thread ends after the sender is gone");
            self.asked += 1;
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.requests = None;
        let deadline = Instant::now() + END_WAIT;
        let end = loop {
            if let Err(end) = self.answers.recv_deadline(deadline) {
                break end;
            }
        };
        // The thread's end of the channel goes when it ends. A disk that hangs must not hang this thread too: then the other
        // one ends with its request, and keeps the directory locked until then.
        if end == RecvTimeoutError::Disconnected
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// Space to free from the end of a file: down to `to`, from `from`.
struct Cut {
    key: u64,
    file: File,
    from: u64,
    to: u64,
}

struct Worker {
    directory: DataDir,
    inbox: Receiver<Request>,
    outbox: Sender<Answer>,
    bell: Arc<Bell>,
    cuts: VecDeque<Cut>,
    /// Inode numbers of open files, one for each time they were opened.
    open: Vec<u64>,
}

/// What a request comes to, unless a cut has to end first.
type Done = Option<(i32, Brings)>;

impl Worker {
    fn run(mut self) {
        leave_the_core();
        loop {
            self.step();
            let request = match self.cuts.is_empty() {
                true => self.inbox.recv().map_err(|_| TryRecvError::Disconnected),
                false => self.inbox.try_recv(),
            };
            match request {
                Ok(request) => self.carry_out(request),
                Err(TryRecvError::Empty) => {}
                // What is left to free goes when the files are closed.
                Err(TryRecvError::Disconnected) => return,
            }
        }
    }

    fn carry_out(&mut self, Request { key, task }: Request) {
        if let Some(file) = task.file() {
            self.finish_cuts(file);
        }
        match self.perform(key, task) {
            Ok(Some((result, brings))) => self.answer(Answer { key, result, brings }),
            Ok(None) => {}
            Err(errno) => self.answer(Answer { key, result: -errno.raw_os_error(), brings: Brings::Nothing }),
        }
    }

    fn answer(&self, answer: Answer) {
        // The reactor may be gone; then nobody is waiting.
        let _ = self.outbox.send(answer);
        self.bell.ring();
    }

    fn perform(&mut self, key: u64, task: Task) -> Result<Done, Errno> {
        match task {
            Task::Open { name, create } => return self.open(&name, create),
            Task::Close(file) => return self.close(key, file),
            Task::Allocate { file, bytes } => fallocate(&file, FallocateFlags::empty(), 0, bytes)?,
            Task::Blank { file, bytes } => fallocate(&file, FallocateFlags::ZERO_RANGE, 0, bytes)?,
            Task::Truncate { file, bytes } => return self.truncate(key, file, bytes),
            Task::Sync(file) => fsync(&file)?,
            Task::SyncDir => fsync(self.directory.fd())?,
            Task::Rename { from, to } => {
                let directory = self.directory.fd();
                renameat(directory, checked(&from)?, directory, checked(&to)?)?;
            }
            Task::Remove(name) => return self.remove(key, &name),
            Task::List => return self.list(),
            Task::FreeMib => return self.free_mib(),
        }
        done(0)
    }

    fn open(&mut self, name: &str, create: bool) -> Result<Done, Errno> {
        let mut flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if create {
            flags |= OFlags::CREATE | OFlags::EXCL;
        }
        if self.directory.alignment().is_some() {
            flags |= OFlags::DIRECT;
        }
        let file = openat(self.directory.fd(), checked(name)?, flags, Mode::RUSR | Mode::WUSR)?;
        let stat = fstat(&file)?;
        if !is_regular(&stat) {
            return Err(Errno::INVAL);
        }
        self.open.push(stat.st_ino);
        Ok(Some((0, Brings::File(Arc::new(file)))))
    }

    fn close(&mut self, key: u64, file: File) -> Result<Done, Errno> {
        let stat = fstat(&file)?;
        if let Some(at) = self.open.iter().position(|&inode| inode == stat.st_ino) {
            self.open.swap_remove(at);
        }
        self.free_if_last(key, file, &stat)
    }

    fn remove(&mut self, key: u64, name: &str) -> Result<Done, Errno> {
        let directory = self.directory.fd();
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let opened = openat(directory, checked(name)?, flags, Mode::empty());
        unlinkat(directory, name, AtFlags::empty())?;
        match opened {
            Ok(file) => {
                let stat = fstat(&file)?;
                self.free_if_last(key, Arc::new(file), &stat)
            }
            Err(_) => done(0),
        }
    }

    /// Frees a file's space if nothing but `file` keeps it: no name and no other opening.
    fn free_if_last(&mut self, key: u64, file: File, stat: &Stat) -> Result<Done, Errno> {
        let kept = stat.st_nlink > 0 || self.open.contains(&stat.st_ino) || !is_regular(stat);
        if kept { done(0) } else { self.cut(Cut { key, file, from: size(stat), to: 0 }) }
    }

    fn truncate(&mut self, key: u64, file: File, bytes: u64) -> Result<Done, Errno> {
        let from = size(&fstat(&file)?);
        self.cut(Cut { key, file, from, to: bytes })
    }

    /// Cuts at once what is one step, else begins to.
    fn cut(&mut self, cut: Cut) -> Result<Done, Errno> {
        if cut.from.saturating_sub(cut.to) > STEP_BYTES {
            self.cuts.push_back(cut);
            return Ok(None);
        }
        ftruncate(&cut.file, cut.to)?;
        done(0)
    }

    /// Goes on with the oldest cut.
    fn step(&mut self) {
        let Some(mut cut) = self.cuts.pop_front() else { return };
        cut.from = cut.from.saturating_sub(STEP_BYTES).max(cut.to);
        let result = match ftruncate(&cut.file, cut.from) {
            Ok(()) if cut.from > cut.to => return self.cuts.push_front(cut),
            Ok(()) => 0,
            Err(errno) => -errno.raw_os_error(),
        };
        let key = cut.key;
        drop(cut);
        self.answer(Answer { key, result, brings: Brings::Nothing });
    }

    fn finish_cuts(&mut self, file: &File) {
        while self.cuts.iter().any(|cut| Arc::ptr_eq(&cut.file, file)) {
            self.step();
        }
    }

    fn list(&self) -> Result<Done, Errno> {
        let directory = self.directory.fd();
        let mut entries = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            // Every file of ours has a name in UTF-8; the lock is no business of the caller.
            let Some(name) = entry.file_name().to_str().ok().filter(|&name| name != LOCK_NAME) else { continue };
            match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if is_regular(&stat) => {
                    entries.push(DirEntry { name: name.to_owned(), bytes: size(&stat) });
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno),
            }
        }
        let count = i32::try_from(entries.len()).unwrap_or(i32::MAX);
        Ok(Some((count, Brings::Entries(entries))))
    }

    fn free_mib(&self) -> Result<Done, Errno> {
        let stat = fstatvfs(self.directory.fd())?;
        let mib = stat.f_bavail.saturating_mul(stat.f_frsize) >> 20;
        done(i32::try_from(mib).unwrap_or(i32::MAX))
    }
}

fn done(result: i32) -> Result<Done, Errno> {
    Ok(Some((result, Brings::Nothing)))
}

fn checked(name: &str) -> Result<&str, Errno> {
    if is_file_name(name) { Ok(name) } else { Err(Errno::INVAL) }
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

fn size(stat: &Stat) -> u64 {
    stat.st_size.cast_unsigned()
}
