//! Segments made ahead of their use, so that a commit needs one flush and no metadata.
//!
//! ```text
//!   open NAME.new -> allocate -> header, durable -> [written] -> rename -> [named] -> directory sync -> [ready] -> open segment
//!                                                                                                         |
//!                                                   while idle: zeros written, fsync -> [ready, pre-written]
//!   a spare: blanked -> fsync -> header, as above
//! ```
//!
//! A flush on the file thread holds acknowledgements up, so there are few: the pool is refilled once half of it is used, and
//! one sync of the directory makes the names of all that were made durable, unless the writer waits. The header's durable
//! write makes the file's size and places durable too, as RWF_DSYNC says. As a batch, it waits for the flushes that it ran beside,
//! of whatever journal: one that fails may take it along. Until then the file has no name that a life would read.
//!
//! A segment is never zeroed beside a writer that needs the disk: that would double the bytes (see D5). When appends
//! outrun the pool, the writer goes on into allocated, unwritten space.

mod numbers;
mod zeros;

use std::collections::VecDeque;
use std::sync::Arc;

use frame::limits::BLOCK_BYTES;
use frame::segment::Header;
use frame::{Epoch, JournalNumber, LogId, SegmentNumber};
use io::{Buf, Completion, DirId, FileId, FileOp, Io, Op, Token};

use super::names::{UNFINISHED, file_name};
use super::refusal::{ENOSPC, EOPNOTSUPP, Refusals, is_passing};
use crate::exchange::Flushes;
use crate::limits::ALLOCATE_RETRY_NS;
use zeros::Zeroing;

/// Tokens of the pool's operations; it has at most one of each in flight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens {
    pub(crate) make: Token,
    pub(crate) zero: Token,
}

/// What every segment of a journal has in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blueprint {
    pub(crate) log_id: LogId,
    pub(crate) journal: JournalNumber,
    /// Where new ones are made.
    pub(crate) dir: DirId,
    pub(crate) epoch: Epoch,
    pub(crate) segment_bytes: u32,
}

/// A segment that can be written to at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) number: SegmentNumber,
    pub(crate) dir: DirId,
    pub(crate) file: FileId,
    pub(crate) bytes: u32,
    pub(crate) prewritten: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// How much room the disk has is asked.
    Measure,
    Open,
    Allocate,
    /// A dropped segment's file is made blank, and that flushed.
    Blank,
    Flush,
    Header,
    /// Its header is written, and there if the flushes that it ran beside are good.
    Written,
    Rename,
    /// Making failed; what was made is closed and removed.
    Close,
    Remove,
}

#[derive(Debug)]
struct Making {
    number: SegmentNumber,
    /// Its name, until it is renamed.
    name: String,
    file: FileId,
    stage: Stage,
}

/// The file of a dropped segment, under a name that no start reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Spare {
    pub(crate) name: String,
    pub(crate) file: FileId,
    pub(crate) bytes: u64,
}

/// Why no segment can be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shortage {
    /// One is being made.
    Making,
    /// The disk budget is used up, or the numbers are, or the disk is full.
    Full,
}

/// What a journal has of segments when it begins, and may have.
#[derive(Debug)]
pub(crate) struct Stock {
    /// Those that an earlier life made ready and never used.
    pub(crate) leftovers: Vec<Ready>,
    /// The number of the next one that is made.
    pub(crate) next_number: SegmentNumber,
    /// Bytes of all others.
    pub(crate) used_bytes: u64,
    /// How many to keep ready.
    pub(crate) target: usize,
    /// What all may take.
    pub(crate) bytes_max: u64,
}

/// Segments ready ahead of the open one.
#[derive(Debug)]
pub(crate) struct Segments {
    blueprint: Blueprint,
    tokens: Tokens,
    ready: VecDeque<Ready>,
    /// Made and named, and their names may not be durable yet.
    named: VecDeque<Ready>,
    making: Option<Making>,
    /// Dropped segments, to be made segments again.
    spares: VecDeque<Spare>,
    /// Whether the file system makes files blank.
    may_blank: bool,
    /// Whether room for one more is left on the disk, for compaction.
    keeps_reserve: bool,
    /// How many are being dropped.
    leaving: usize,
    /// Whether the directory is being synced. Nothing is made meanwhile, so it speaks of all that are named.
    syncing: bool,
    /// Whether the pool is being filled up.
    filling: bool,
    zeroing: Option<Zeroing>,
    zeros: Option<Buf>,
    next_number: SegmentNumber,
    /// How many to keep ready.
    target: usize,
    /// What all of the journal's may take, and take.
    bytes_max: u64,
    used_bytes: u64,
    /// The disk refused; not tried again before this time.
    retry_ns: Option<u64>,
    last_errno: i32,
    refusals: Refusals,
    /// Those of all journals.
    flushes: Arc<Flushes>,
}

impl Segments {
    pub(crate) fn new(blueprint: Blueprint, tokens: Tokens, stock: Stock, flushes: Arc<Flushes>) -> Segments {
        let Stock { leftovers, next_number, used_bytes, target, bytes_max } = stock;
        let ready_bytes: u64 = leftovers.iter().map(|ready| u64::from(ready.bytes)).sum();
        Segments {
            blueprint,
            tokens,
            used_bytes: used_bytes + ready_bytes,
            ready: leftovers.into(),
            named: VecDeque::new(),
            making: None,
            spares: VecDeque::new(),
            may_blank: true,
            keeps_reserve: false,
            leaving: 0,
            syncing: false,
            filling: true,
            zeroing: None,
            zeros: None,
            next_number,
            target,
            bytes_max,
            retry_ns: None,
            last_errno: 0,
            refusals: Refusals::default(),
            flushes,
        }
    }

    /// Takes the next segment for writing.
    pub(crate) fn take(&mut self) -> Result<Ready, Shortage> {
        match self.ready.front() {
            Some(front) if self.zeroing.as_ref().is_some_and(|zeroing| zeroing.number == front.number) => {
                // A zero in flight must not land on a batch: `complete_zero` stops, as the journal is no longer idle.
                Err(Shortage::Making)
            }
            Some(_) => self.ready.pop_front().ok_or(Shortage::Making),
            None if self.is_full() => Err(Shortage::Full),
            None => Err(Shortage::Making),
        }
    }

    /// Whether a segment can be taken at once.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether appends have nowhere to go.
    pub(crate) fn is_full(&self) -> bool {
        let is_freed = !self.spares.is_empty() || self.leaving > 0;
        let is_coming = self.making.is_some() || !self.named.is_empty() || (is_freed && self.has_numbers());
        self.ready.is_empty() && !is_coming && (!self.has_budget() || self.retry_ns.is_some())
    }

    /// How many are ready.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// What all of the journal's take.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Whether numbers are left for another.
    pub(crate) fn has_numbers(&self) -> bool {
        numbers::are_left(self.next_number)
    }

    /// Whether they, and the budget, have room for another.
    fn has_budget(&self) -> bool {
        self.has_numbers() && self.used_bytes.saturating_add(u64::from(self.blueprint.segment_bytes)) <= self.bytes_max
    }

    /// So many segments are being dropped: their space comes back.
    pub(crate) fn set_leaving(&mut self, leaving: usize) {
        self.leaving = leaving;
    }

    /// Whether the file of a dropped segment has a use here.
    pub(crate) fn wants_spare(&self) -> bool {
        let coming = self.named.len() + usize::from(self.making.is_some()) + self.spares.len();
        self.may_blank && self.ready.len() + coming < self.target.max(1)
    }

    /// Makes a segment of the file of a dropped one.
    pub(crate) fn add_spare(&mut self, spare: Spare) {
        self.spares.push_back(spare);
        self.retry_ns = None;
    }

    /// The space of a dropped segment is free; of one of another journal it may be used by this one from now on.
    pub(crate) fn freed(&mut self, bytes: u64, is_own: bool) {
        if is_own {
            self.used_bytes -= bytes;
        } else {
            self.bytes_max = self.bytes_max.saturating_add(bytes);
        }
        self.retry_ns = None;
    }

    /// A segment was compacted into one of so many bytes. What it was made of comes back when that is dropped.
    pub(crate) fn compacted(&mut self, bytes: u64, is_own: bool) {
        if is_own {
            self.used_bytes += bytes;
        } else {
            self.bytes_max = self.bytes_max.saturating_sub(bytes);
        }
    }

    /// From here on room for one more segment is left on the disk: without it, a full disk could not be compacted.
    pub(crate) fn keep_reserve(&mut self) {
        self.keeps_reserve = true;
    }

    /// Has the pool filled up now, however much of it is left.
    pub(crate) fn fill(&mut self) {
        self.filling = true;
    }

    /// Whether as many are ready, and pre-written, as are wanted or as budget and disk allow now.
    pub(crate) fn is_prepared(&self) -> bool {
        let enough = self.ready.len() >= self.target || !self.has_budget() || self.retry_ns.is_some();
        enough && !self.is_busy() && !self.wants_zeros()
    }

    /// When the disk is to be asked again.
    pub(crate) fn retry_ns(&self) -> Option<u64> {
        self.retry_ns
    }

    /// What the disk said when it refused.
    pub(crate) fn last_errno(&self) -> i32 {
        self.last_errno
    }

    /// Starts what should be started. `idle` allows zeros to be written.
    pub(crate) fn advance(&mut self, io: &mut impl Io, idle: bool) {
        if self.retry_ns.is_some_and(|at| io.mono_ns() >= at) {
            self.retry_ns = None;
        }
        self.name_written(io);
        if self.making.is_none() && !self.syncing {
            self.begin_make(io);
        }
        if idle && self.zeroing.is_none() {
            self.begin_zero(io);
        }
    }

    /// Begins the next segment, or the sync that makes the names of those made durable.
    fn begin_make(&mut self, io: &mut impl Io) {
        let there = self.ready.len() + self.named.len();
        self.filling |= there <= self.target / 2;
        self.filling &= there < self.target;
        let is_spared = !self.spares.is_empty() && self.has_numbers();
        let may_make = self.filling && (self.has_budget() || is_spared) && self.retry_ns.is_none();
        let is_awaited = self.ready.is_empty() || !may_make;
        if is_awaited && !self.named.is_empty() && self.retry_ns.is_none() {
            self.syncing = true;
            self.flushes.begin(self.blueprint.dir);
            io.submit(Op::File(FileOp::SyncDir(self.blueprint.dir)), self.tokens.make);
        } else if may_make {
            let number = self.next_number;
            let dir = self.blueprint.dir;
            let (making, op) = if let Some(Spare { name, file, bytes }) = self.spares.pop_front() {
                (Making { number, name, file, stage: Stage::Blank }, FileOp::Blank { file, bytes })
            } else {
                self.used_bytes += u64::from(self.blueprint.segment_bytes);
                let name = self.unfinished_name(number);
                let (stage, op) = match self.keeps_reserve {
                    true => (Stage::Measure, FileOp::FreeMib(dir)),
                    false => (Stage::Open, FileOp::Open { dir, name: name.clone(), create: true }),
                };
                (Making { number, name, file: FileId(0), stage }, op)
            };
            self.making = Some(making);
            io.submit(Op::File(op), self.tokens.make);
        }
    }

    fn unfinished_name(&self, number: SegmentNumber) -> String {
        file_name(self.blueprint.journal, number) + UNFINISHED
    }

    /// A step of making has completed.
    ///
    /// # Errors
    /// The errno of a disk that fails, or 0 for a short write. A disk that is full, and a process out of memory or files,
    /// are asked again later, unless it is a flush that says so.
    pub(crate) fn complete_make(&mut self, io: &mut impl Io, completion: &Completion) -> Result<(), i32> {
        if std::mem::take(&mut self.syncing) {
            return self.complete_sync(completion);
        }
        let Some(mut making) = self.making.take() else { return Ok(()) };
        let (number, dir) = (making.number, self.blueprint.dir);
        let segment_bytes = u64::from(self.blueprint.segment_bytes);
        let is_short = matches!(making.stage, Stage::Header) && completion.result != BLOCK_BYTES as i32;
        let failed = completion.result < 0 || is_short;
        let errno = completion.result.min(0);
        let can_blank = !matches!(making.stage, Stage::Blank) || errno != EOPNOTSUPP;
        self.may_blank &= can_blank;
        let has_flushed = matches!(making.stage, Stage::Flush | Stage::Header);
        let is_passing = !has_flushed && is_passing(errno);
        if matches!(making.stage, Stage::Flush) {
            self.flushes.end(dir, failed);
        }
        let outcome = if failed && can_blank && !is_passing { Err(errno) } else { Ok(()) };
        let (stage, op) = match making.stage {
            Stage::Close => (Stage::Remove, Op::File(FileOp::Remove { dir, name: making.name.clone() })),
            Stage::Remove if self.last_errno == EOPNOTSUPP => {
                self.used_bytes -= segment_bytes;
                self.last_errno = 0;
                return outcome;
            }
            Stage::Remove => {
                self.give_up(io, self.last_errno);
                return outcome;
            }
            Stage::Open | Stage::Measure if failed => {
                self.give_up(io, errno);
                return outcome;
            }
            Stage::Measure if u64::from(completion.result.cast_unsigned()) << 20 < 2 * segment_bytes => {
                self.give_up(io, ENOSPC);
                return outcome;
            }
            Stage::Measure => {
                let name = making.name.clone();
                (Stage::Open, Op::File(FileOp::Open { dir, name, create: true }))
            }
            _ if failed => {
                self.last_errno = errno;
                (Stage::Close, Op::File(FileOp::Close(making.file)))
            }
            Stage::Open => {
                making.file = FileId(completion.result.cast_unsigned());
                (Stage::Allocate, Op::File(FileOp::Allocate { file: making.file, bytes: segment_bytes }))
            }
            Stage::Blank => {
                self.flushes.begin(dir);
                (Stage::Flush, Op::File(FileOp::Sync(making.file)))
            }
            Stage::Allocate | Stage::Flush => match self.header(io, number) {
                Some(buf) => (Stage::Header, Op::Write { file: making.file, offset: 0, buf, durable: true }),
                None => (Stage::Close, Op::File(FileOp::Close(making.file))),
            },
            Stage::Header | Stage::Written => {
                self.making = Some(Making { stage: Stage::Written, ..making });
                self.name_written(io);
                return outcome;
            }
            Stage::Rename => {
                let (file, bytes) = (making.file, self.blueprint.segment_bytes);
                self.named.push_back(Ready { number, dir, file, bytes, prewritten: false });
                self.refusals.end();
                self.next_number = SegmentNumber(number.0 + 1);
                numbers::tell(self.next_number);
                return outcome;
            }
        };
        making.stage = stage;
        self.making = Some(making);
        io.submit(op, self.tokens.make);
        outcome
    }

    /// Names the file whose header is there for certain.
    fn name_written(&mut self, io: &mut impl Io) {
        let is_certain = self.waits_for_flush() && self.flushes.are_good(self.blueprint.dir);
        let Some(making) = self.making.as_mut().filter(|_| is_certain) else { return };
        making.stage = Stage::Rename;
        let (from, to) = (making.name.clone(), file_name(self.blueprint.journal, making.number));
        io.submit(Op::File(FileOp::Rename { dir: self.blueprint.dir, from, to }), self.tokens.make);
    }

    /// Whether a header that is written waits for flushes.
    pub(crate) fn waits_for_flush(&self) -> bool {
        self.making.as_ref().is_some_and(|making| matches!(making.stage, Stage::Written))
    }

    /// The directory sync has completed: the names are durable.
    fn complete_sync(&mut self, completion: &Completion) -> Result<(), i32> {
        self.flushes.end(self.blueprint.dir, completion.result < 0);
        if completion.result < 0 {
            return Err(completion.result);
        }
        self.ready.append(&mut self.named);
        Ok(())
    }

    fn give_up(&mut self, io: &impl Io, errno: i32) {
        self.used_bytes -= u64::from(self.blueprint.segment_bytes);
        self.refused(io, errno);
    }

    fn refused(&mut self, io: &impl Io, errno: i32) {
        if self.refusals.is_logged(errno, io.mono_ns()) {
            tracing::warn!(
                errno = -errno,
                "no segment could be made ahead; appends are refused once the last one is full"
            );
        }
        self.last_errno = errno;
        self.retry_ns = Some(io.mono_ns() + ALLOCATE_RETRY_NS);
    }

    fn header(&self, io: &impl Io, segment: SegmentNumber) -> Option<Buf> {
        let Blueprint { log_id, journal, epoch, segment_bytes, .. } = self.blueprint;
        let mut buf = io.pool().take(BLOCK_BYTES)?;
        let header = Header { log_id, journal, segment, epoch, file_bytes: u64::from(segment_bytes) };
        buf.copy_from_slice(&header.encode());
        Some(buf.freeze())
    }

    /// Flushes of this journal, and of others.
    pub(crate) fn flushes(&self) -> &Flushes {
        &self.flushes
    }

    /// Whether a flush of a file or of the directory is in flight.
    pub(crate) fn is_flushing(&self) -> bool {
        let is_made_blank = self.making.as_ref().is_some_and(|making| matches!(making.stage, Stage::Flush));
        is_made_blank || self.syncing || self.zeroing.as_ref().is_some_and(|zeroing| zeroing.syncing)
    }

    /// Whether an operation of the pool is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        self.making.is_some() || self.syncing || self.zeroing.is_some()
    }
}

#[cfg(test)]
#[path = "segments_tests.rs"]
mod tests;
