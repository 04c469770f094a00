//! Files of the data directories by their numbers, and what the file threads are asked about them: the same for every [`Io`].
//!
//! A file is in use until it is closed and every operation on it has ended; a close waits for those that began before it.
//! Belongs to the reactor's thread, and never blocks it.
//!
//! [`Io`]: crate::Io

use std::sync::Arc;

use crate::bell::Bell;
use crate::files::{Answer, Brings, File, Files, Task};
use crate::slab::Slab;
use crate::{Completion, DataDir, DirId, FileId, FileOp, Payload, Token};

/// An open file. In use until closed and every operation on it has ended.
struct OpenFile {
    dir: DirId,
    /// `None` once the file thread has it for closing.
    file: Option<File>,
    in_flight: u32,
    closing: Option<Token>,
}

/// What a file thread was asked and has not answered.
struct Asked {
    token: Token,
    file: Option<u32>,
    closes: bool,
}

/// What an operation is about.
enum Subject {
    File(FileId),
    Names(DirId),
}

fn subject(op: &FileOp) -> Subject {
    match op {
        FileOp::Close(file) | FileOp::Sync(file) => Subject::File(*file),
        FileOp::Allocate { file, .. } | FileOp::Blank { file, .. } | FileOp::Truncate { file, .. } => {
            Subject::File(*file)
        }
        FileOp::Open { dir, .. } | FileOp::Rename { dir, .. } | FileOp::Remove { dir, .. } => Subject::Names(*dir),
        FileOp::SyncDir(dir) | FileOp::List(dir) | FileOp::FreeMib(dir) => Subject::Names(*dir),
    }
}

/// The files, and the thread of each data directory.
pub(crate) struct OpenFiles {
    files: Slab<OpenFile>,
    asked: Slab<Asked>,
    threads: Vec<Files>,
    /// The disk of each.
    disks: Vec<u64>,
    bell: Arc<Bell>,
}

impl OpenFiles {
    /// Starts a file thread for each directory. Each rings `bell` when it has answered.
    pub(crate) fn start(data_dirs: Vec<DataDir>, bell: Arc<Bell>) -> std::io::Result<OpenFiles> {
        let disks = data_dirs.iter().map(DataDir::disk).collect();
        let start = |directory| Files::start(directory, Arc::clone(&bell));
        let threads = data_dirs.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(OpenFiles { files: Slab::with_capacity(64), asked: Slab::with_capacity(64), threads, disks, bell })
    }

    /// What the file threads ring.
    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// How many data directories there are.
    pub(crate) fn directories(&self) -> usize {
        self.threads.len()
    }

    /// The disk of a data directory.
    pub(crate) fn disk(&self, dir: DirId) -> u64 {
        self.disks[dir.0 as usize]
    }

    /// Counts one more operation on a file, if it is open.
    pub(crate) fn enter(&mut self, FileId(number): FileId) -> Option<&File> {
        let open = self.files.get_mut(number).filter(|file| file.closing.is_none())?;
        open.in_flight += 1;
        open.file.as_ref()
    }

    /// Counts one operation less, and closes the file if it was the last one that a close waits for.
    pub(crate) fn leave(&mut self, number: u32) {
        let file = self.files.get_mut(number).expect("a file stays while operations are in flight on it");
        file.in_flight -= 1;
        if let (0, Some(token)) = (file.in_flight, file.closing) {
            self.close_now(number, token);
        }
    }

    /// Begins an operation.
    ///
    /// # Errors
    /// The errno with which it is refused.
    pub(crate) fn begin(&mut self, op: FileOp, token: Token) -> Result<(), i32> {
        let number = match subject(&op) {
            Subject::File(FileId(number)) => number,
            Subject::Names(dir) => return self.begin_on_names(dir, op, token),
        };
        let entry = self.files.get_mut(number).filter(|file| file.closing.is_none()).ok_or(libc::EBADF)?;
        if matches!(op, FileOp::Close(_)) {
            entry.closing = Some(token);
            // Else the last operation to end closes it: one still queued must not find its descriptor reused.
            if entry.in_flight == 0 {
                self.close_now(number, token);
            }
            return Ok(());
        }
        entry.in_flight += 1;
        let dir = entry.dir;
        let task = Task::new(op, entry.file.clone()).expect("the file is open");
        self.ask(dir, task, Asked { token, file: Some(number), closes: false });
        Ok(())
    }

    /// Begins an operation on names of a directory.
    fn begin_on_names(&mut self, dir: DirId, op: FileOp, token: Token) -> Result<(), i32> {
        if dir.0 as usize >= self.threads.len() {
            return Err(libc::ENOENT);
        }
        let task = Task::new(op, None).expect("it names no open file");
        self.ask(dir, task, Asked { token, file: None, closes: false });
        Ok(())
    }

    /// Hands a file that nothing is in flight on to the file thread, for closing.
    fn close_now(&mut self, number: u32, token: Token) {
        let file = self.files.get_mut(number).expect("it stays until it is closed");
        let dir = file.dir;
        let file = file.file.take().expect("it is closed once");
        self.ask(dir, Task::Close(file), Asked { token, file: Some(number), closes: true });
    }

    fn ask(&mut self, dir: DirId, task: Task, asked: Asked) {
        let key = self.asked.insert(asked);
        self.threads[dir.0 as usize].ask(u64::from(key), task);
    }

    /// Takes in what the file threads have answered.
    pub(crate) fn take_answers(&mut self, completions: &mut Vec<Completion>) {
        while let Some((dir, answer)) = self.next_answer() {
            let Asked { token, file, closes } =
                self.asked.remove(answer.key as u32).expect("an answer belongs to what was asked");
            let (result, payload) = match answer.brings {
                Brings::Nothing => (answer.result, Payload::None),
                Brings::Entries(entries) => (answer.result, Payload::Entries(entries)),
                Brings::File(file) => {
                    let open = OpenFile { dir, file: Some(file), in_flight: 0, closing: None };
                    (self.files.insert(open).cast_signed(), Payload::None)
                }
            };
            match file {
                Some(file) if closes => drop(self.files.remove(file)),
                Some(file) => self.leave(file),
                None => {}
            }
            completions.push(Completion { token, result, more: false, payload });
        }
    }

    fn next_answer(&mut self) -> Option<(DirId, Answer)> {
        (0..).zip(&mut self.threads).find_map(|(dir, files)| Some((DirId(dir), files.answer()?)))
    }
}
