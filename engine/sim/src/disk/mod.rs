//! Simulated data directories: files, names, operations in flight, and what a power cut leaves of them.
//!
//! ```text
//!   start ----latency, fault drawn----> in flight ----due: applied----> completion
//!                                           |
//!   power cut: each write in flight, and each one that was not flushed, is lost, kept or torn by sectors
//!   process killed: writes in flight are lost, kept or torn; what was not flushed stays so; what a failed flush lost
//!                   is not seen any more
//! ```
//!
//! Nothing takes effect before its completion, and no completion comes before the turn after its start. Operations in
//! flight complete in any order. What a correct engine never does is a panic here: unaligned operations, two writes in
//! flight to one place, files that are not open.

mod faults;
mod file;
mod files;
mod image;
mod mood;
mod names;
mod rot;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use frame::limits::BLOCK_BYTES;
use io::{Buf, BufMut, Completion, DirEntry, DirId, FileId, FileOp, Payload, Token};

use crate::dice::Dice;
use crate::errno;
use crate::trace::Trace;
pub use faults::DiskFaults;
use faults::{Faults, NO_SPACE_FOR_COPY, Outcome};
use file::File;
pub use files::Files;
use mood::Mood;
use names::{Inode, Names};
pub use rot::Rot;

/// Data directories that there can be.
pub(crate) const DIRECTORIES_MAX: usize = 3;

/// An operation of the disk.
#[derive(Debug)]
pub(crate) enum DiskOp {
    Write { file: FileId, offset: u64, buf: Buf, durable: bool },
    Read { file: FileId, offset: u64, buf: BufMut },
    File(FileOp),
}

#[derive(Debug)]
struct InFlight {
    token: Token,
    due_ns: u64,
    /// When it started, in ticks.
    started: u64,
    /// Changes of names before it started, in each directory.
    names: Vec<u64>,
    /// Whether its caller has been told that the power is gone.
    is_told: bool,
    /// Whether a flush that failed meanwhile, of whatever file, took it along: it completes, and is not on the disk.
    is_taken: bool,
    op: DiskOp,
    outcome: Outcome,
}

/// All data directories, and what is in flight to them.
#[derive(Debug)]
pub(crate) struct Disk {
    files: BTreeMap<Inode, File>,
    /// Of each directory.
    names: Vec<Names>,
    next_inode: Inode,
    /// The directory that each file was made in, number 0 excepted: each is a disk of its own.
    homes: BTreeMap<Inode, DirId>,
    open: Vec<Option<Inode>>,
    in_flight: Vec<InFlight>,
    faults: Faults,
    dice: Dice,
    /// Counts starts and completions, so that their order can be told.
    ticks: u64,
    capacity_bytes: u64,
    /// How many files can be open.
    pub(crate) open_max: usize,
}

impl Disk {
    /// Data directories, all empty.
    pub(crate) fn new(dice: Dice, faults: DiskFaults, capacity_bytes: u64) -> Disk {
        Disk {
            files: BTreeMap::new(),
            names: vec![Names::default(); DIRECTORIES_MAX],
            next_inode: 1,
            homes: BTreeMap::new(),
            open: Vec::new(),
            in_flight: Vec::new(),
            faults: Faults::new(faults),
            dice,
            ticks: 0,
            capacity_bytes,
            open_max: usize::MAX,
        }
    }

    /// Replaces faults and space; what was broken works again.
    pub(crate) fn set_faults(&mut self, faults: DiskFaults, capacity_bytes: u64) {
        self.faults = Faults::new(faults);
        self.capacity_bytes = capacity_bytes;
    }

    /// Starts an operation.
    pub(crate) fn start(&mut self, now_ns: u64, token: Token, op: DiskOp, trace: &mut Trace) {
        self.check(&op);
        self.ticks += 1;
        let outcome = self.outcome(&op, trace);
        let due_ns = now_ns + self.faults.latency_ns(&mut self.dice, trace);
        trace.step(now_ns, format_args!("disk: {:x} {} {outcome:?}", token.0, describe(&op)));
        let (started, names) = (self.ticks, self.names.iter().map(Names::changes).collect());
        self.in_flight.push(InFlight { token, due_ns, started, names, is_told: false, is_taken: false, op, outcome });
        self.take_along();
    }

    /// A flush of the device that fails lets go of what is in the device's cache, whatever file of the directory it belongs to: also
    /// of writes whose own flush comes after it, and is good. It fails as soon as it starts, here; its caller hears of it later.
    fn take_along(&mut self) {
        let fails = |op: &InFlight| {
            matches!(op.op, DiskOp::File(FileOp::Sync(_) | FileOp::SyncDir(_)))
                && matches!(op.outcome, Outcome::Failed(_))
        };
        let Some(failing) = self.in_flight.last().filter(|op| fails(op)) else { return };
        let (started, dir) = (failing.started, self.dir_of(&failing.op));
        let is_beside = |op: &InFlight| op.started < started && self.dir_of(&op.op) == dir;
        let beside: Vec<usize> = (0..self.in_flight.len()).filter(|&at| is_beside(&self.in_flight[at])).collect();
        for at in beside {
            let op = &mut self.in_flight[at];
            op.is_taken |= matches!(op.op, DiskOp::Write { durable: true, .. }) && self.dice.chance(0.5);
        }
    }

    /// Where a write or flush goes.
    fn dir_of(&self, op: &DiskOp) -> DirId {
        match op {
            DiskOp::File(FileOp::SyncDir(dir)) => *dir,
            DiskOp::Write { file, .. } | DiskOp::Read { file, .. } | DiskOp::File(FileOp::Sync(file)) => {
                self.homes.get(&self.inode(*file)).copied().unwrap_or(DirId(0))
            }
            DiskOp::File(_) => DirId(0),
        }
    }

    /// When the next operation completes.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        self.in_flight.iter().map(|op| op.due_ns).min()
    }

    /// Completes the operation that is due first, if it is due.
    pub(crate) fn complete(&mut self, now_ns: u64, trace: &mut Trace) -> Option<Completion> {
        let first = (0..self.in_flight.len()).min_by_key(|&at| self.in_flight[at].due_ns)?;
        if self.in_flight[first].due_ns > now_ns {
            return None;
        }
        let done = self.in_flight.remove(first);
        self.ticks += 1;
        let token = done.token;
        let (result, payload) = self.apply(done, trace);
        trace.step(now_ns, format_args!("disk: {:x} -> {result}", token.0));
        Some(Completion { token, result, more: false, payload })
    }

    /// The operations whose callers still wait, when nothing completes any more.
    pub(crate) fn take_waiting(&mut self) -> Vec<Token> {
        let waiting = self.in_flight.iter_mut().filter(|op| !op.is_told);
        let tell = |op: &mut InFlight| {
            op.is_told = true;
            op.token
        };
        waiting.map(tell).collect()
    }

    /// Power is cut. What is left is the disk of the next life, with nothing open.
    pub(crate) fn cut_power(&mut self, trace: &mut Trace) {
        let mood = Mood::draw(&mut self.dice);
        let in_flight = self.apply_file_ops_at_death(trace);
        let empty = Vec::new();
        let mut writes: BTreeMap<Inode, Vec<(u64, &[u8])>> = BTreeMap::new();
        for (inode, offset, buf) in &in_flight {
            writes.entry(*inode).or_default().push((*offset, buf));
        }
        for (inode, file) in &mut self.files {
            file.cut_power(writes.get(inode).unwrap_or(&empty), mood, &mut self.dice, trace);
        }
        for names in &mut self.names {
            let volatile = names.volatile();
            let kept = match mood {
                Mood::Lose => 0,
                Mood::Keep => volatile,
                Mood::Each | Mood::Tear => self.dice.index(volatile + 1),
            };
            if kept < volatile {
                trace.count("disk: names lost");
            }
            names.cut_power(kept);
        }
        let named: Vec<Inode> = self.names.iter().flat_map(Names::iter).map(|(_, inode)| inode).collect();
        self.files.retain(|inode, _| named.contains(inode));
    }

    /// The process is killed; the machine goes on, and with it what was not flushed.
    pub(crate) fn kill(&mut self, trace: &mut Trace) {
        for (inode, offset, buf) in self.apply_file_ops_at_death(trace) {
            self.ticks += 1;
            for run in mood::remains(buf.len(), &mut self.dice, trace) {
                let file = self.files.get_mut(&inode).expect("an open file exists");
                file.write(offset + run.start as u64, &buf[run], false, self.ticks);
            }
        }
        self.files.values_mut().for_each(File::reopen);
    }

    /// Some of the operations on files in flight take effect; all end. Returns the writes.
    fn apply_file_ops_at_death(&mut self, trace: &mut Trace) -> Vec<(Inode, u64, Buf)> {
        let mut in_flight = std::mem::take(&mut self.in_flight);
        self.dice.shuffle(&mut in_flight);
        let mut writes = Vec::new();
        for op in in_flight {
            match op.op {
                DiskOp::Write { file, offset, buf, .. } => writes.push((self.inode(file), offset, buf)),
                DiskOp::File(_) if self.dice.chance(0.5) => {
                    self.apply(op, trace);
                }
                _ => {}
            }
        }
        self.open.clear();
        writes
    }

    fn inode(&self, file: FileId) -> Inode {
        let inode = self.open.get(file.0 as usize).copied().flatten();
        inode.unwrap_or_else(|| panic!("the engine used file {}, which is not open", file.0))
    }

    fn file(&mut self, file: FileId) -> &mut File {
        let inode = self.inode(file);
        self.files.get_mut(&inode).expect("an open file exists")
    }

    /// What the kernel would refuse, or leave undefined.
    fn check(&self, op: &DiskOp) {
        let (file, offset, length) = match op {
            DiskOp::Write { file, offset, buf, .. } => (*file, *offset, buf.len() as u64),
            DiskOp::Read { file, offset, buf } => (*file, *offset, buf.len() as u64),
            DiskOp::File(_) => return,
        };
        let block = BLOCK_BYTES as u64;
        assert!(
            offset.is_multiple_of(block) && length.is_multiple_of(block) && length > 0,
            "direct I/O of {length} bytes at {offset} is not aligned"
        );
        let inode = self.inode(file);
        for other in &self.in_flight {
            let (DiskOp::Write { file: to, offset: at, buf, .. }, DiskOp::Write { .. }) = (&other.op, op) else {
                continue;
            };
            let apart = offset + length <= *at || at + buf.len() as u64 <= offset;
            assert!(apart || self.inode(*to) != inode, "two writes in flight overlap at {offset} and {at}");
        }
    }

    fn outcome(&mut self, op: &DiskOp, trace: &mut Trace) -> Outcome {
        let inode = match op {
            DiskOp::Write { file, .. } | DiskOp::Read { file, .. } | DiskOp::File(FileOp::Sync(file)) => {
                self.inode(*file)
            }
            DiskOp::File(_) => 0,
        };
        let is_copy = matches!(op, DiskOp::File(FileOp::Allocate { file, .. }) if self.is_copy(*file));
        let (dice, faults) = (&mut self.dice, &mut self.faults);
        match op {
            DiskOp::Write { buf, .. } => faults.write(inode, buf.len(), dice, trace),
            DiskOp::Read { buf, .. } => faults.read(inode, buf.len(), dice, trace),
            DiskOp::File(FileOp::Sync(_) | FileOp::SyncDir(_)) => faults.sync(inode, dice, trace),
            DiskOp::File(FileOp::Allocate { .. } | FileOp::Blank { .. }) => faults.allocate(is_copy, dice, trace),
            DiskOp::File(FileOp::Close(_) | FileOp::FreeMib(_)) => Outcome::Good,
            DiskOp::File(_) => faults.names(dice, trace),
        }
    }

    /// Lets an operation take effect, as far as its outcome says.
    fn apply(&mut self, done: InFlight, trace: &mut Trace) -> (i32, Payload) {
        match done.op {
            DiskOp::Write { file, offset, buf, durable } => {
                let durable = durable && !done.is_taken;
                let result = self.apply_write(file, offset, &buf, durable, done.started, done.outcome, trace);
                if done.is_taken && done.outcome == Outcome::Good {
                    trace.count("disk: durable write taken by a flush");
                    self.file(file).lose_newest();
                }
                (result, Payload::None)
            }
            DiskOp::Read { file, offset, mut buf } => {
                let result = match done.outcome {
                    Outcome::Failed(errno) | Outcome::Nothing(errno) => errno,
                    _ if !self.file(file).is_readable(offset, buf.len()) => {
                        trace.count("disk: place that can't be read");
                        errno::IO
                    }
                    Outcome::Good => self.file(file).read(offset, &mut buf) as i32,
                    Outcome::Short(bytes) => self.file(file).read(offset, &mut buf[..bytes]) as i32,
                };
                (result, Payload::Buf(buf))
            }
            DiskOp::File(op) => match done.outcome {
                Outcome::Good | Outcome::Short(_) => self.apply_file_op(op, done.started, &done.names, trace),
                Outcome::Failed(errno) => {
                    self.fail_file_op(op, done.started, &done.names, trace);
                    (errno, Payload::None)
                }
                Outcome::Nothing(errno) => (errno, Payload::None),
            },
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one operation")]
    fn apply_write(
        &mut self,
        file: FileId,
        offset: u64,
        bytes: &[u8],
        durable: bool,
        started: u64,
        outcome: Outcome,
        trace: &mut Trace,
    ) -> i32 {
        let ended = self.ticks;
        let flushes_more = durable && self.dice.chance(0.5);
        let (runs, durable, result) = match outcome {
            Outcome::Good => (std::iter::once(0..bytes.len()).collect(), durable, bytes.len() as i32),
            Outcome::Short(length) => (std::iter::once(0..length).collect(), false, length as i32),
            Outcome::Failed(errno) => (mood::remains(bytes.len(), &mut self.dice, trace), false, errno),
            Outcome::Nothing(errno) => (Vec::new(), false, errno),
        };
        let file = self.file(file);
        for run in runs.into_iter().filter(|run| !run.is_empty()) {
            file.write(offset + run.start as u64, &bytes[run], durable, ended);
        }
        if flushes_more && durable {
            file.flush(started);
        }
        result
    }

    fn apply_file_op(&mut self, op: FileOp, started: u64, names: &[u64], trace: &mut Trace) -> (i32, Payload) {
        let ended = self.ticks;
        let result = match op {
            FileOp::Open { dir, name, create } => self.open_file(dir, &name, create),
            FileOp::Close(file) => {
                self.inode(file);
                self.open[file.0 as usize] = None;
                0
            }
            FileOp::Allocate { file, bytes } => self.allocate(file, bytes, trace),
            FileOp::Blank { file, bytes } => {
                trace.count("disk: file blanked");
                self.file(file).set_length(0, ended);
                self.file(file).set_length(bytes, ended);
                0
            }
            FileOp::Truncate { file, bytes } => {
                trace.count("disk: file cut");
                self.file(file).set_length(bytes, ended);
                0
            }
            FileOp::Sync(file) => {
                self.file(file).flush(started);
                if self.dice.chance(0.5) {
                    // A journal commits everything that came before; nobody may rely on it.
                    self.names.iter_mut().zip(names).for_each(|(own, &before)| own.flush(before));
                }
                0
            }
            FileOp::SyncDir(dir) => {
                self.names[dir.0 as usize].flush(names[dir.0 as usize]);
                0
            }
            FileOp::Rename { dir, from, to } => {
                if to.ends_with(".segment") && self.names[dir.0 as usize].find(&to).is_some() {
                    trace.count("disk: segment replaced");
                }
                if self.names[dir.0 as usize].rename(&from, &to) { 0 } else { errno::NO_ENTRY }
            }
            FileOp::Remove { dir, name } => {
                if name.ends_with(".segment") {
                    trace.count("disk: segment removed by its name");
                }
                if self.names[dir.0 as usize].remove(&name) { 0 } else { errno::NO_ENTRY }
            }
            FileOp::List(dir) => return (0, Payload::Entries(self.list(dir))),
            FileOp::FreeMib(_) => (self.capacity_bytes.saturating_sub(self.used_bytes()) >> 20) as i32,
        };
        (result, Payload::None)
    }

    /// A failed operation may have taken effect all the same.
    fn fail_file_op(&mut self, op: FileOp, started: u64, names: &[u64], trace: &mut Trace) {
        match op {
            FileOp::Sync(file) => {
                let inode = self.inode(file);
                let file = self.files.get_mut(&inode).expect("an open file exists");
                file.flush_failed(started, &mut self.dice);
            }
            FileOp::Rename { .. } | FileOp::Remove { .. } | FileOp::SyncDir(_) if self.dice.chance(0.5) => {
                self.apply_file_op(op, started, names, trace);
            }
            _ => {}
        }
    }

    fn open_file(&mut self, dir: DirId, name: &str, create: bool) -> i32 {
        if self.open.iter().flatten().count() >= self.open_max {
            return errno::TOO_MANY_FILES;
        }
        let names = &mut self.names[dir.0 as usize];
        let inode = match (names.find(name), create) {
            (Some(_), true) => return errno::EXISTS,
            (None, false) => return errno::NO_ENTRY,
            (Some(inode), false) => inode,
            (None, true) => {
                let inode = self.next_inode;
                self.next_inode += 1;
                self.files.insert(inode, File::default());
                self.homes.insert(inode, dir);
                names.put(name, inode);
                inode
            }
        };
        let slot = self.open.iter().position(Option::is_none).unwrap_or(self.open.len());
        self.open.resize(self.open.len().max(slot + 1), None);
        self.open[slot] = Some(inode);
        slot as i32
    }

    fn allocate(&mut self, file: FileId, bytes: u64, trace: &mut Trace) -> i32 {
        let more = bytes.saturating_sub(self.file(file).allocated_bytes());
        if self.used_bytes() + more > self.capacity_bytes {
            trace.count("disk: full");
            if self.is_copy(file) {
                trace.count(NO_SPACE_FOR_COPY);
            }
            return errno::NO_SPACE;
        }
        let ended = self.ticks;
        let file = self.file(file);
        if bytes > file.length() {
            file.set_length(bytes, ended);
        }
        0
    }

    /// Whether a file is to take the place of a segment that is there.
    fn is_copy(&self, file: FileId) -> bool {
        let inode = self.inode(file);
        self.names.iter().any(|names| {
            let mut unfinished = names.iter().filter(|&(_, named)| named == inode);
            unfinished.any(|(name, _)| name.strip_suffix(".new").is_some_and(|name| names.find(name).is_some()))
        })
    }

    fn used_bytes(&self) -> u64 {
        self.files.values().map(File::allocated_bytes).sum()
    }

    /// A directory, in no particular order.
    fn list(&mut self, dir: DirId) -> Vec<DirEntry> {
        let entry =
            |(name, inode): (&str, Inode)| DirEntry { name: name.to_owned(), bytes: self.files[&inode].length() };
        let mut entries: Vec<DirEntry> = self.names[dir.0 as usize].iter().map(entry).collect();
        self.dice.shuffle(&mut entries);
        entries
    }
}

fn describe(op: &DiskOp) -> String {
    match op {
        DiskOp::Write { file, offset, buf, durable } => {
            let how = if *durable { "durable write" } else { "write" };
            format!("{how} file {} at {offset}, {} bytes", file.0, buf.len())
        }
        DiskOp::Read { file, offset, buf } => format!("read file {} at {offset}, {} bytes", file.0, buf.len()),
        DiskOp::File(op) => format!("{op:?}"),
    }
}
