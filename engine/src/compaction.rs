//! Compaction: what lives of segments that are mostly dead, or short and many, is copied into one that takes their place.
//!
//! ```text
//!   a run is chosen -> NAME.new of the newest, allocated
//!     -> each segment in turn: its footer -> live extents in the order of their places: read, verified -> batches: written
//!     -> cut to its length -> footer, trailer, header -> flushed -> renamed over the newest -> directory flushed
//!     -> [in place] -> once nobody reads in the old ones: readers find the new one, the old ones are dropped
//! ```
//!
//! Numbers, checksums and order of what lives stay as they are, so a reader can't tell. The rename is what makes it count: until
//! it is durable the run is untouched, and from then on a start removes what is left of the others, by what the footer says
//! that it stands for. One operation is in flight, as the disk's scheduler allows; no flush but those of single writes and of
//! what is nearly flushed, so that batches beside it do not wait.

mod bars;
mod copy;
mod plan;

use std::ops::Range;
use std::sync::Arc;

use frame::segment::Footer;
use io::{Completion, DirId, FileId, FileOp, Io, Op, Payload, Token};

use self::bars::Bars;
use self::copy::Copy;
use crate::exchange::Flushes;
use crate::journal::{FooterCache, Refusals, Sealed, SegmentId, UNFINISHED, file_name, is_passing};
use crate::limits::{COMPACTION_RETRY_NS, LOOK_STEP_NS};
use crate::scheduler::Scheduler;
use crate::space::View;

use self::plan::copy_bytes_max;
pub(crate) use self::plan::{Entry, Live, Worth, choose, is_worth_it, join};

/// What is done next, or being done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Open,
    Allocate,
    /// Copying: whichever of the three that follow is next.
    Choose,
    Footer,
    Read,
    Write,
    /// The file is cut to its length; then footer, trailer and header.
    Cut,
    Seal,
    Sync,
    Rename,
    SyncDir,
    InPlace,
    /// It came to nothing: what was made is closed and removed.
    Close,
    Remove,
}

/// A run that is being compacted.
struct Job {
    run: Vec<Sealed>,
    dir: DirId,
    file: FileId,
    /// Bytes allocated for it.
    allocated: u64,
    copy: Copy,
    /// The footer that was read for the next segment of the run.
    footer: Option<Arc<Footer>>,
    stage: Stage,
    /// Whether an operation of this stage is in flight, and whether the scheduler knows of it.
    in_flight: bool,
    is_scheduled: bool,
    /// Whether it is to come to nothing, if it can: others are about to read the run.
    is_stopped: bool,
}

/// What has been done since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Compacted {
    /// Segments that others took the place of.
    pub segments: u64,
    /// Bytes of what was live in them, written again.
    pub written_bytes: u64,
    /// Bytes that the disk got back by it.
    pub freed_bytes: u64,
}

/// What a new segment takes the place of.
pub(crate) struct InPlace {
    /// The segments, oldest first.
    pub(crate) run: Vec<Sealed>,
    /// Where they and the new one lie.
    pub(crate) dir: DirId,
    /// The new one, of the newest one's number.
    pub(crate) sealed: Sealed,
    pub(crate) footer: Arc<Footer>,
}

/// What a step of compaction needs of its reactor.
pub(crate) struct Ground<'a> {
    pub(crate) footers: &'a mut FooterCache,
    pub(crate) view: View<'a>,
    pub(crate) segment_bytes: u32,
    /// Whether batches are being written; and whether none can be, for want of space.
    pub(crate) is_appending: bool,
    pub(crate) is_full: bool,
}

/// Compaction of one reactor's segments, one run at a time.
pub(crate) struct Compactor {
    token: Token,
    job: Option<Job>,
    bars: Bars,
    not_before_ns: u64,
    /// The state of [`Space`](crate::space::Space) in which there was nothing to do, and when that may end all the same.
    idle_at: Option<(u64, Option<u64>)>,
    refusals: Refusals,
    flushes: Arc<Flushes>,
    pub(crate) done: Compacted,
}

impl Compactor {
    pub(crate) fn new(token: Token, flushes: Arc<Flushes>) -> Compactor {
        let (bars, refusals, done) = (Bars::default(), Refusals::default(), Compacted::default());
        Compactor { token, job: None, bars, not_before_ns: 0, idle_at: None, refusals, flushes, done }
    }

    /// Whether another run is to be looked for, as things stand.
    pub(crate) fn is_due(&self, changes: u64, now_ns: u64) -> bool {
        let is_idle = self.idle_at.is_some_and(|(at, until_ns)| at == changes && until_ns.is_none_or(|at| now_ns < at));
        self.job.is_none() && !is_idle && now_ns >= self.not_before_ns
    }

    /// Whether a run is being compacted.
    pub(crate) fn is_busy(&self) -> bool {
        self.job.is_some()
    }

    /// Whether a segment may be part of a run, as far as is known here.
    pub(crate) fn may_take(&self, segment: SegmentId, now_ns: u64) -> bool {
        !self.bars.hold(segment, now_ns)
    }

    /// A segment is gone.
    pub(crate) fn forget(&mut self, segment: SegmentId) {
        self.bars.forget(segment);
    }

    /// Whether a segment is part of the run that is being compacted.
    pub(crate) fn holds(&self, segment: SegmentId) -> bool {
        self.job.as_ref().is_some_and(|job| job.run.iter().any(|sealed| sealed.segment == segment))
    }

    /// There is nothing to do until something changes, or what could not be read may be by now; and it is not looked for within
    /// `pause_ns`.
    pub(crate) fn rest(&mut self, changes: u64, now_ns: u64, pause_ns: u64) {
        self.idle_at = Some((changes, self.bars.next_end_ns(now_ns)));
        self.not_before_ns = now_ns + pause_ns;
    }

    /// Begins to compact a run, all of which lies in `dir`.
    pub(crate) fn begin(&mut self, entries: &[Entry], dir: DirId, segment_bytes: u64) {
        let run: Vec<Sealed> = entries.iter().map(|entry| entry.sealed).collect();
        let Some(newest) = run.last().map(|newest| newest.segment) else { return };
        (self.not_before_ns, self.idle_at) = (0, None);
        // The file is cut to its length at the end.
        let allocated = copy_bytes_max(entries).min(segment_bytes);
        self.job = Some(Job {
            run,
            dir,
            file: FileId(0),
            allocated,
            copy: Copy::into(newest),
            footer: None,
            stage: Stage::Open,
            in_flight: false,
            is_scheduled: false,
            is_stopped: false,
        });
    }

    /// Gives up what is being copied, as others are about to read the run, unless it is there already.
    pub(crate) fn stop(&mut self) {
        if let Some(job) = &mut self.job {
            job.is_stopped = true;
        }
    }

    /// Whether the newest name of the run may be the new segment's, and readers are not at that yet.
    pub(crate) fn is_renaming(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_renaming)
    }

    /// Whether a flush that batches wait for is in flight.
    pub(crate) fn is_flushing(&self) -> bool {
        self.job.as_ref().is_some_and(Job::is_flushing)
    }

    /// When the next step may begin, if no completion tells.
    pub(crate) fn next_ns(&self, changes: u64, now_ns: u64) -> Option<u64> {
        let soon_ns = self.not_before_ns.max(now_ns + LOOK_STEP_NS);
        match (&self.job, self.idle_at) {
            (Some(job), _) => (!job.in_flight).then_some(soon_ns),
            (None, Some((at, until_ns))) if at == changes => until_ns.map(|until_ns| until_ns.max(soon_ns)),
            (None, _) => Some(soon_ns),
        }
    }

    /// Begins what may begin now.
    pub(crate) fn advance(&mut self, io: &mut impl Io, scheduler: &mut Scheduler, ground: &mut Ground<'_>) {
        let now_ns = io.mono_ns();
        while let Some(job) = self.job.as_mut().filter(|job| !job.in_flight && now_ns >= self.not_before_ns) {
            if job.is_stopped && !job.is_renaming() && !job.is_ending() {
                self.give_up(now_ns);
                continue;
            }
            // A flush that fails may take along what is written beside it, of whatever file. What lives is still in the run.
            if job.stage == Stage::Rename && !self.flushes.are_good(job.dir) {
                return;
            }
            let moves_bytes = matches!(job.stage, Stage::Footer | Stage::Read | Stage::Write | Stage::Seal);
            if moves_bytes && !ground.is_full && !scheduler.may_read(now_ns, ground.is_appending) {
                return;
            }
            match job.next(io, ground) {
                Next::Op(op) => {
                    let bytes = match &op {
                        Op::Read { buf, .. } => buf.len(),
                        Op::Write { buf, .. } => buf.len(),
                        _ => 0,
                    };
                    (job.in_flight, job.is_scheduled) = (true, bytes > 0);
                    if job.is_scheduled {
                        scheduler.begin_read(bytes);
                    }
                    if job.is_flushing() {
                        self.flushes.begin(job.dir);
                    }
                    return io.submit(op, self.token);
                }
                Next::Step => {}
                Next::Wait => return,
                Next::Unfit(segment) => self.bar(segment, now_ns),
            }
        }
    }

    /// An operation has completed.
    ///
    /// # Errors
    /// The errno of a disk that fails.
    pub(crate) fn complete(&mut self, io: &impl Io, scheduler: &mut Scheduler, done: Completion) -> Result<(), i32> {
        let Some(job) = self.job.as_mut().filter(|job| job.in_flight) else { return Ok(()) };
        let result = done.result;
        if job.is_scheduled {
            scheduler.end_read();
        }
        if job.is_flushing() {
            self.flushes.end(job.dir, result < 0);
        }
        job.in_flight = false;
        match job.take(done) {
            Ok(()) => {}
            Err(Failure::Ended) => self.job = None,
            Err(Failure::Unfit(segment)) => self.bar(segment, io.mono_ns()),
            Err(Failure::Refused) => {
                let newest = job.copy.newest();
                if self.refusals.is_logged(result.min(0), io.mono_ns()) {
                    tracing::warn!(errno = -result.min(0), segment = ?newest, "segments could not be compacted; it is tried again");
                }
                self.give_up(io.mono_ns() + COMPACTION_RETRY_NS);
            }
            Err(Failure::Disk) => return Err(result),
        }
        Ok(())
    }

    /// The journal has failed: what was begun stays as it is, for the next start.
    pub(crate) fn abandon(&mut self, scheduler: &mut Scheduler) {
        let Some(job) = self.job.take().filter(|job| job.in_flight) else { return };
        if job.is_scheduled {
            scheduler.end_read();
        }
        if job.is_flushing() {
            self.flushes.end(job.dir, false);
        }
    }

    /// The segments that a new one has taken the place of on disk, while readers may still look into them.
    pub(crate) fn replaced(&self) -> Option<&[Sealed]> {
        self.job.as_ref().filter(|job| job.stage == Stage::InPlace).map(|job| job.run.as_slice())
    }

    /// The same, once nobody does: from here on there is the new one.
    pub(crate) fn take_in_place(&mut self) -> Option<InPlace> {
        let Job { run, dir, file, copy, .. } = self.job.take_if(|job| job.stage == Stage::InPlace)?;
        run.iter().for_each(|old| self.bars.forget(old.segment));
        self.refusals.end();
        let (sealed, footer) = copy.finish(file)?;
        let run_bytes: u64 = run.iter().map(|old| u64::from(old.bytes)).sum();
        self.done.segments += run.len() as u64;
        self.done.written_bytes += u64::from(sealed.bytes);
        self.done.freed_bytes += run_bytes.saturating_sub(u64::from(sealed.bytes));
        Some(InPlace { run, dir, sealed, footer })
    }

    fn bar(&mut self, segment: SegmentId, now_ns: u64) {
        let seconds = self.bars.add(segment, now_ns) / 1_000_000_000;
        tracing::warn!(
            ?segment,
            seconds,
            "a segment stays as it is for now: what lives in it can't be read, or is not as it was written"
        );
        self.give_up(now_ns);
    }

    /// What was made is removed; nothing is begun before the time.
    fn give_up(&mut self, until_ns: u64) {
        (self.not_before_ns, self.idle_at) = (until_ns, None);
        if let Some(job) = &mut self.job {
            job.stage = if job.stage == Stage::Open { Stage::Remove } else { Stage::Close };
        }
    }
}

/// What a job does next.
enum Next {
    Op(Op),
    /// It has come to another stage.
    Step,
    /// For memory, or for readers.
    Wait,
    /// What lives in this segment is not as it should be.
    Unfit(SegmentId),
}

/// Why an operation did not do what it was to.
enum Failure {
    /// What was made is removed.
    Ended,
    /// What lives in this segment can't be read.
    Unfit(SegmentId),
    /// The disk is full, say, which may also make a write short: what lives is still where it was.
    Refused,
    Disk,
}

impl Job {
    fn name(&self) -> String {
        let SegmentId { journal, number } = self.copy.newest();
        file_name(journal, number)
    }

    fn is_renaming(&self) -> bool {
        matches!((self.stage, self.in_flight), (Stage::Rename, true) | (Stage::SyncDir | Stage::InPlace, _))
    }

    /// Whether what was made is being removed.
    fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Close | Stage::Remove)
    }

    fn is_flushing(&self) -> bool {
        self.in_flight && matches!(self.stage, Stage::Sync | Stage::SyncDir)
    }

    /// The segment of the run that is being read.
    fn source(&self) -> Sealed {
        self.run[self.copy.taken_up().min(self.run.len() - 1)]
    }

    /// The next operation.
    fn next(&mut self, io: &impl Io, ground: &mut Ground<'_>) -> Next {
        let (file, dir, unfinished) = (self.file, self.dir, self.name() + UNFINISHED);
        let op = match self.stage {
            Stage::Open => FileOp::Open { dir, name: unfinished, create: true },
            Stage::Allocate => FileOp::Allocate { file, bytes: self.allocated },
            Stage::Choose => return self.choose(ground),
            Stage::Footer => {
                let Sealed { file, footer_at, footer_length, .. } = self.source();
                return read(io, file, u64::from(footer_at)..u64::from(footer_at + footer_length));
            }
            Stage::Read => {
                let (file, range) = self.copy.next_read();
                return read(io, file, range);
            }
            Stage::Write => {
                let Some(buf) = io.pool().take(self.copy.batch_bytes()) else { return Next::Wait };
                let (offset, buf) = self.copy.close_batch(buf);
                return Next::Op(Op::Write { file, offset, buf, durable: true });
            }
            Stage::Cut => FileOp::Truncate { file, bytes: u64::from(self.copy.file_bytes()) },
            Stage::Seal => {
                let (offset, bytes) = self.copy.next_of_seal();
                let Some(mut buf) = io.pool().take(bytes.len()) else { return Next::Wait };
                buf.copy_from_slice(bytes);
                return Next::Op(Op::Write { file, offset, buf: buf.freeze(), durable: true });
            }
            Stage::Sync => FileOp::Sync(file),
            Stage::Rename => FileOp::Rename { dir, from: unfinished, to: self.name() },
            Stage::SyncDir => FileOp::SyncDir(dir),
            Stage::InPlace => return Next::Wait,
            Stage::Close => FileOp::Close(file),
            Stage::Remove => FileOp::Remove { dir, name: unfinished },
        };
        Next::Op(Op::File(op))
    }

    /// Goes on with copying, or ends it.
    fn choose(&mut self, ground: &mut Ground<'_>) -> Next {
        let next_of_run = self.run.get(self.copy.taken_up()).copied();
        if self.copy.is_batch_full() || (self.copy.has_batch() && self.copy.is_read() && next_of_run.is_none()) {
            self.stage = Stage::Write;
        } else if !self.copy.is_read() {
            self.stage = Stage::Read;
        } else if let Some(sealed) = next_of_run {
            match self.footer.take().or_else(|| ground.footers.find(sealed.segment)) {
                Some(footer) => self.copy.take_up(&sealed, footer, &ground.view),
                None => self.stage = Stage::Footer,
            }
        } else if self.copy.seal() && self.copy.file_bytes() <= ground.segment_bytes {
            debug_assert!(u64::from(self.copy.file_bytes()) <= self.allocated, "all of its space was asked for");
            self.stage = Stage::Cut;
        } else {
            return Next::Unfit(self.copy.newest());
        }
        Next::Step
    }

    /// An operation has completed: what comes next.
    fn take(&mut self, done: Completion) -> Result<(), Failure> {
        let length = if done.result < 0 { return self.refused(done.result) } else { done.result.cast_unsigned() };
        self.stage = match self.stage {
            Stage::Open => {
                self.file = FileId(length);
                Stage::Allocate
            }
            Stage::Footer => {
                let footer = whole(&done).and_then(|bytes| Footer::parse(bytes.to_vec()));
                self.footer = Some(Arc::new(footer.ok_or(Failure::Unfit(self.source().segment))?));
                Stage::Choose
            }
            Stage::Read => {
                let source = self.copy.source();
                whole(&done).and_then(|bytes| self.copy.gather(bytes)).ok_or(Failure::Unfit(source))?;
                Stage::Choose
            }
            Stage::Write => {
                self.copy.written(length).ok_or(Failure::Refused)?;
                Stage::Choose
            }
            Stage::Seal => {
                let is_sealed = self.copy.written_of_seal(length).ok_or(Failure::Refused)?;
                if is_sealed { Stage::Sync } else { Stage::Seal }
            }
            Stage::Allocate | Stage::Choose => Stage::Choose,
            Stage::Cut => Stage::Seal,
            Stage::Sync => Stage::Rename,
            Stage::Rename => Stage::SyncDir,
            Stage::SyncDir | Stage::InPlace => Stage::InPlace,
            Stage::Close => Stage::Remove,
            Stage::Remove => return Err(Failure::Ended),
        };
        Ok(())
    }

    /// The disk refused a step.
    fn refused(&mut self, result: i32) -> Result<(), Failure> {
        match self.stage {
            Stage::Footer => Err(Failure::Unfit(self.source().segment)),
            Stage::Read => Err(Failure::Unfit(self.copy.source())),
            Stage::Open | Stage::Allocate | Stage::Cut => Err(Failure::Refused),
            Stage::Rename if is_passing(result) => Err(Failure::Refused),
            Stage::Close => {
                self.stage = Stage::Remove;
                Ok(())
            }
            // A start removes it.
            Stage::Remove => Err(Failure::Ended),
            _ => Err(Failure::Disk),
        }
    }
}

fn read(io: &impl Io, file: FileId, range: Range<u64>) -> Next {
    let buf = io.pool().take((range.end - range.start) as usize);
    buf.map_or(Next::Wait, |buf| Next::Op(Op::Read { file, offset: range.start, buf }))
}

/// What was read, if it was all that was asked for.
fn whole(done: &Completion) -> Option<&[u8]> {
    match &done.payload {
        Payload::Buf(buf) if done.result.cast_unsigned() as usize == buf.len() => Some(buf),
        _ => None,
    }
}

#[cfg(test)]
#[path = "compaction_tests.rs"]
mod tests;
