//! Reads by sequence number, or by time: from the cache of the tail where it reaches, else from the disk.
//!
//! ```text
//!   request -> plan: index of the open segment, or footers of sealed ones -> pieces, each in memory or on disk
//!           -> windows of segments, read as the scheduler allows -> frames verified -> answer
//! ```
//!
//! Only durable records are seen. What comes from the disk is believed only if its frames' checksums say so for this very
//! shard. A footer that is not in memory is read first, and the plan made again.

mod decrypt;
mod lost;
mod plan;
mod walk;
mod wanted;
mod windows;

use std::collections::VecDeque;
use std::sync::Arc;

use frame::proto::{ErrorCode, Failure, ReadResult};
use frame::segment::Footer;
use frame::{ShardId, StreamId};
use io::{Buf, BufMut, Io};

use self::lost::{damaged_footer, stop_at_damage};
use self::plan::{Outcome, Piece, Plan, Source};
use self::walk::{Bounds, Extent, RunEnd, walk};
pub(crate) use self::wanted::{Mark, Search, Wanted};
pub(crate) use self::windows::Key;
use self::windows::{Lack, Windows};
use crate::catalog::Catalog;
use crate::damage::Damage;
use crate::encryption::Vault;
use crate::handle::{Asker, Counts};
use crate::journal::{Journal, Sealed, SegmentId};
use crate::outgoing::Frames;
use crate::scheduler::Scheduler;
use crate::shards::Shards;
use crate::slots::Slots;
use crate::token::Peer;

/// One request. Reused.
#[derive(Debug, Default)]
pub(crate) struct Request {
    asker: Asker,
    stream: StreamId,
    counts: Counts,
    wanted: Option<Wanted>,
    /// The footer that is being read for it.
    footer: Option<Sealed>,
    plan: Plan,
    /// Whether whoever asked has gone.
    is_abandoned: bool,
    /// The window of each place of the plan, and how many of them are being read.
    windows: Vec<u32>,
    missing: usize,
}

/// What a read found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) result: ReadResult,
    /// Of the records, what quotas count.
    pub(crate) record_bytes: u64,
}

/// An answer: frames in these runs, or a refusal.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What was found, and the frames.
    Records(Found, Frames),
    /// What happened, and what to do.
    Failure(Failure),
}

/// An answer and who gets it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) asker: Asker,
    /// What was read.
    pub(crate) stream: StreamId,
    /// What quotas count of it.
    pub(crate) counts: Counts,
    pub(crate) answer: Answer,
}

/// What reads look at.
pub(crate) struct Sight<'a> {
    pub(crate) journal: &'a mut Journal,
    pub(crate) shards: &'a Shards,
    pub(crate) damage: &'a Damage,
    pub(crate) catalog: &'a Catalog,
    /// The time that retention goes by; none while nothing expires.
    pub(crate) expiry_ms: Option<u64>,
    pub(crate) vault: &'a mut Vault,
}

impl Sight<'_> {
    /// Records of a shard that arrived earlier have expired, wherever its trim point is.
    fn kept_since_ms(&self, shard: ShardId) -> u64 {
        let seconds = self.catalog.stream_of(shard).and_then(|stream| stream.retention.seconds);
        let since = self.expiry_ms.zip(seconds);
        since.map_or(0, |(now_ms, seconds)| now_ms.saturating_sub(u64::from(seconds.get()) * 1000))
    }
}

/// All read requests in progress.
#[derive(Debug)]
pub(crate) struct Reads {
    requests: Slots<Request>,
    /// The one that a subscriber makes, who does not wait here.
    attempt: Request,
    waiting: VecDeque<u32>,
    /// Those that lack windows, oldest first. Who needs none goes past them.
    lacking: VecDeque<u32>,
    windows: Windows,
    /// Requests whose windows were read, within a turn.
    heard: Vec<u32>,
}

impl Reads {
    /// Windows take up to `bytes` of the pool.
    pub(crate) fn new(bytes: usize) -> Reads {
        let (waiting, lacking) = (VecDeque::new(), VecDeque::new());
        let (attempt, windows) = (Request::default(), Windows::new(bytes));
        Reads { requests: Slots::new(), attempt, waiting, lacking, windows, heard: Vec::new() }
    }

    /// Queues a request.
    pub(crate) fn add(&mut self, asker: Asker, stream: StreamId, wanted: Wanted, counts: Counts) {
        let slot = self.requests.take();
        let request = &mut self.requests[slot];
        (request.asker, request.stream, request.counts) = (asker, stream, counts);
        (request.wanted, request.footer, request.is_abandoned) = (Some(wanted), None, false);
        self.waiting.push_back(slot);
    }

    /// Whoever asked these has gone: what they need is not begun any more.
    pub(crate) fn abandon(&mut self, peer: Peer) {
        let asked = self.requests.iter_mut().map(|(_, request)| request);
        let asked = asked.filter(|request| matches!(request.asker, Asker::Peer(by, _) if by == peer));
        asked.for_each(|request| request.is_abandoned = true);
    }

    /// Answers at once what needs nothing from the disk that is not there. `Err`: it is being read, and [`Reads::complete`]
    /// tells when it is there, under this key.
    pub(crate) fn attempt(
        &mut self,
        io: &mut impl Io,
        sight: &mut Sight<'_>,
        wanted: &mut Wanted,
    ) -> Result<Answer, Key> {
        loop {
            let Reads { attempt, windows, .. } = self;
            let outcome = attempt.plan.make(wanted, sight, windows);
            match outcome {
                Outcome::Answer(answer) => return Ok(answer),
                Outcome::NeedFooter(sealed) => {
                    attempt.plan.need_footer(&sealed);
                    attempt.footer = Some(sealed);
                }
                Outcome::Ready => {}
            }
            let taken = windows.take_ready(&attempt.plan.places, &mut attempt.windows);
            attempt.plan.ahead.iter().for_each(|place| windows.read_ahead(io, place));
            if let Err(key) = taken {
                attempt.footer = None;
                attempt.plan.clear();
                return Err(key);
            }
            let answer = match attempt.footer.take() {
                Some(sealed) => take_footer(sight, windows, &attempt.windows, &sealed).err(),
                None => Some(attempt.answer(wanted, sight, windows)),
            };
            attempt.windows.drain(..).for_each(|window| windows.end_use(window));
            attempt.plan.clear();
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
    }

    /// Nobody waits for what is looked for under `key` any more.
    pub(crate) fn unwish(&mut self, key: Key) {
        self.windows.unwish(key);
    }

    /// Nobody waits for anything in a segment any more. Those who looked for what lies there look again.
    pub(crate) fn unwish_all(&mut self, segment: SegmentId) -> Vec<Key> {
        self.windows.unwish_all(segment)
    }

    /// From here on only what requests need is read.
    pub(crate) fn serve_requests_alone(&mut self) {
        self.windows.serve_requests_alone();
    }

    /// Requests in progress.
    pub(crate) fn in_progress(&self) -> usize {
        self.requests.in_use()
    }

    /// Bytes of the pool that windows hold, and may hold.
    pub(crate) fn held_bytes(&self) -> usize {
        self.windows.held_bytes()
    }

    /// The most of it.
    pub(crate) fn budget_bytes(&self) -> usize {
        self.windows.budget_bytes()
    }

    /// Whether no request is in progress, and nothing is being read ahead.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.in_use() == 0 && self.windows.is_quiet()
    }

    /// Whether the disk is to be read as soon as the scheduler allows.
    pub(crate) fn is_waiting(&self) -> bool {
        self.windows.is_waiting()
    }

    /// Lets go of a window that nobody needs now, so that its memory can be used again.
    pub(crate) fn evict(&mut self) -> bool {
        self.windows.evict()
    }

    /// Starts what memory and the disk's schedule allow, and answers what needs no disk.
    pub(crate) fn advance(
        &mut self,
        io: &mut impl Io,
        sight: &mut Sight<'_>,
        scheduler: &mut Scheduler,
        answered: &mut Vec<Answered>,
    ) {
        while let Some(&slot) = self.lacking.front() {
            if !self.start(io, sight, answered, slot) {
                break;
            }
            self.lacking.pop_front();
        }
        while let Some(slot) = self.waiting.pop_front() {
            if !self.start(io, sight, answered, slot) {
                self.lacking.push_back(slot);
            }
        }
        let is_appending = !sight.journal.is_quiet();
        self.windows.advance(io, scheduler, is_appending);
    }

    /// Plans a request and takes the windows that it needs, again after each footer that is in a window already. `false` if it must
    /// wait for others to let go of theirs.
    fn start(&mut self, io: &mut impl Io, sight: &mut Sight<'_>, answered: &mut Vec<Answered>, slot: u32) -> bool {
        loop {
            let request = &mut self.requests[slot];
            let Some(wanted) = &mut request.wanted else { return true };
            if request.is_abandoned {
                self.finish(slot, busy(), answered);
                return true;
            }
            match request.plan.make(wanted, sight, &self.windows) {
                Outcome::Answer(answer) => {
                    self.finish(slot, answer, answered);
                    return true;
                }
                Outcome::NeedFooter(sealed) => {
                    request.plan.need_footer(&sealed);
                    request.footer = Some(sealed);
                }
                // Another request may have had its footer read.
                Outcome::Ready => request.footer = None,
            }
            if !request.plan.places.is_empty() && self.lacking.front().is_some_and(|&first| first != slot) {
                // What it holds of the tail is let go of while it waits.
                request.plan.clear();
                return false;
            }
            match self.windows.take(io, slot, &request.plan.places, &mut request.windows) {
                Err(Lack::Windows) => {
                    request.plan.clear();
                    return false;
                }
                Err(Lack::Memory) => {
                    self.finish(slot, busy(), answered);
                    return true;
                }
                Ok(missing) => request.missing = missing,
            }
            if request.missing > 0 || !self.go_on(sight, answered, slot) {
                return true;
            }
        }
    }

    /// A window could not be read, which may pass: whether it is read again.
    pub(crate) fn read_again(&mut self, window: u32, buf: BufMut) -> bool {
        self.windows.read_again(window, buf)
    }

    /// A window was read. Tells where those look for it who did not wait here.
    pub(crate) fn complete(
        &mut self,
        io: &mut impl Io,
        sight: &mut Sight<'_>,
        answered: &mut Vec<Answered>,
        (window, buf): (u32, Option<Buf>),
    ) -> Option<Key> {
        let mut heard = std::mem::take(&mut self.heard);
        let key = self.windows.complete(window, buf, &mut heard);
        for slot in heard.drain(..) {
            let request = &mut self.requests[slot];
            request.missing -= 1;
            if request.missing == 0 && self.go_on(sight, answered, slot) && !self.start(io, sight, answered, slot) {
                self.lacking.push_front(slot);
            }
        }
        self.heard = heard;
        key
    }

    /// All windows of a request were read. Whether it is to be planned again, as that was a footer.
    fn go_on(&mut self, sight: &mut Sight<'_>, answered: &mut Vec<Answered>, slot: u32) -> bool {
        let request = &mut self.requests[slot];
        let Some(wanted) = request.wanted else { return false };
        let Some(sealed) = request.footer.take() else {
            let answer = request.answer(&wanted, sight, &self.windows);
            self.finish(slot, answer, answered);
            return false;
        };
        if let Err(answer) = take_footer(sight, &self.windows, &request.windows, &sealed) {
            self.finish(slot, answer, answered);
            return false;
        }
        self.release_windows(slot);
        true
    }

    fn release_windows(&mut self, slot: u32) {
        let Reads { requests, windows, .. } = self;
        requests[slot].windows.drain(..).for_each(|window| windows.end_use(window));
    }

    fn finish(&mut self, slot: u32, answer: Answer, answered: &mut Vec<Answered>) {
        self.release_windows(slot);
        let request = &mut self.requests[slot];
        request.plan.clear();
        request.wanted = None;
        answered.push(Answered { asker: request.asker, stream: request.stream, counts: request.counts, answer });
        self.requests.release(slot);
    }
}

impl Request {
    /// Makes the answer out of what was read: verified, from the first frame wanted, up to the bytes wanted.
    fn answer(&self, wanted: &Wanted, sight: &mut Sight<'_>, windows: &Windows) -> Answer {
        let &Wanted { shard, from, since_ms, bytes_max, frames_max, .. } = wanted;
        let (tip, tip_arrival_ms) =
            sight.shards.find(shard).map_or((from, 0), |shard| (shard.durable_next, shard.durable_arrival_ms));
        let trim = sight.shards.first_kept(shard);
        let since_ms = since_ms.max(sight.kept_since_ms(shard));
        let (next, children, encrypted) = (from, None, false);
        let result = ReadResult { shard, records: 0, next, tip, tip_arrival_ms, children, trim, encrypted };
        let mut found = Found { result, record_bytes: 0 };
        // Of a closed shard what is called damaged may reach past its end.
        let end = sight.damage.next_after(shard, from).unwrap_or(tip).min(tip);
        let mut runs = Vec::new();
        let (mut bytes, mut stop) = (0, None);
        let end_of = |piece: &Piece| piece.numbers.end().next();
        for piece in &self.plan.pieces {
            // What lies before it was skipped, or has expired, or is damaged.
            found.result.next = found.result.next.max(*piece.numbers.start()).min(end);
            if *piece.numbers.start() >= end {
                break;
            }
            let (buf, range, verify) = match &piece.source {
                Source::Memory(buf, range) => (buf, range.clone(), false),
                Source::Disk { place, range } => match windows.contents(self.windows[*place]) {
                    Some((buf, start)) => (buf, (range.start - start) as usize..(range.end - start) as usize, true),
                    None => {
                        // Where others were to be read with it, it may be one of them that can't be.
                        let is_alone = self.plan.places[*place].is_of(range);
                        stop = Some(("the disk did not read them", is_alone.then(|| end_of(piece))));
                        break;
                    }
                },
            };
            let extent = Extent { bytes: &buf[range.clone()], shard, numbers: &piece.numbers, verify };
            let bounds = Bounds { end, since_ms, bytes_max: bytes_max.saturating_sub(bytes), frames_max };
            let run = walk(&extent, &mut found, &bounds);
            if !run.taken.is_empty() {
                bytes += run.taken.len();
                runs.push((buf.clone(), range.start + run.taken.start..range.start + run.taken.end));
            }
            match run.end {
                RunEnd::Whole => {}
                RunEnd::Enough => break,
                RunEnd::AtEnd => {
                    found.result.next = end;
                    break;
                }
                RunEnd::Damaged { next } => {
                    // None after it is intact: all up to the end are not.
                    stop = Some(("they differ from their checksums", Some(next.unwrap_or_else(|| end_of(piece)))));
                    break;
                }
            }
        }
        // What was read before damage is good, and so is that numbers are passed over; the damage is told when it is asked for by
        // itself.
        if let Some((why, next)) = stop.filter(|_| found.result.records == 0 && found.result.next == from) {
            return stop_at_damage(shard, from..next.map_or(from.next(), |next| next.min(end)), why);
        }
        if found.result.encrypted {
            return decrypt::decrypt(sight.vault, found, &runs);
        }
        if found.result.records == 0 && self.plan.pieces.is_empty() {
            // Nothing lies between `from` and the tip but numbers that recovery skipped, or what arrived too early.
            found.result.next = end;
        }
        Answer::Records(found, Frames::Shared(runs))
    }
}

/// Keeps a footer that was read. `Err`: it is damaged.
fn take_footer(sight: &mut Sight<'_>, windows: &Windows, taken: &[u32], sealed: &Sealed) -> Result<(), Answer> {
    // Another request may have had it read as well.
    if sight.journal.footers.find(sealed.segment).is_some() {
        return Ok(());
    }
    let bytes = taken.first().and_then(|&window| windows.contents(window));
    let footer = bytes.and_then(|(buf, start)| {
        let from = (u64::from(sealed.footer_at) - start) as usize;
        Footer::parse(buf.get(from..from + sealed.footer_length as usize)?.to_vec())
    });
    let footer = footer.ok_or_else(|| damaged_footer(sealed.segment))?;
    sight.journal.footers.insert(sealed.segment, Arc::new(footer));
    Ok(())
}

fn busy() -> Answer {
    failure(ErrorCode::Busy, "memory for reads is used up; try again".to_owned())
}

fn failure(code: ErrorCode, detail: String) -> Answer {
    Answer::Failure(Failure::new(code, detail))
}
