//! What of each sealed segment lives, as one reactor sees it: by the footers, for the shards that it owns.
//!
//! ```text
//!   sealed, stream deleted, retention changed, a time has come --> [to be looked at] -- its footer --> lives, until a time
//!                                     trim points to be said <--/          \--> dead, at once or once they are said
//! ```
//!
//! A shard expires a segment at a time: its trim point moves past a segment once the newest of its records there has expired, or
//! is one too many for the stream's limit in bytes. What has expired before that, reads leave out by its time. So memory holds a
//! few numbers a segment, no footer is read but when something of it may have ended, and a trim point is seldom said.
//!
//! A segment is dropped by the reactor that keeps it, once that reactor and all others with records in it have found them dead.
//! While a shard moves, nothing of it is dead for anybody, and none of it expires.
//! Decides only; nothing here touches the disk.

mod limited;

use std::collections::{BTreeMap, BTreeSet};

use frame::segment::{Footer, PlacedExtent, ShardRow};
use frame::{JournalNumber, Sequence, ShardId, StreamId};

use crate::catalog::{Catalog, Stream};
use crate::compaction::{Entry as Compactable, Live};
use crate::holdings::Held;
use crate::journal::{Moment, Sealed, SegmentId};
use crate::limits::{LOOK_AGAIN_MS, LOOK_NS, LOOK_NS_MAX, LOOK_STEP_NS};
use crate::owners::Owners;
use crate::shards::Shards;
use crate::trims::{TRIMS_MAX, Trim};
use limited::Age;
pub(crate) use limited::ClosedShard;

/// One sealed segment.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) sealed: Sealed,
    /// Whether its footer was looked at.
    is_looked_at: bool,
    /// Whether records of this reactor's shards live in it.
    lives: bool,
    /// Other reactors that have records in it, a bit each. Those of a segment that another one keeps are its business.
    others: u64,
    /// Whether it is this reactor's to drop.
    is_kept: bool,
    /// When the next record of it expires.
    due_ms: u64,
    /// Bytes in it of streams that have a limit, and when it was sealed and the newest of those arrived.
    limited: Held,
    age: Age,
    /// How much of it lives.
    live: Live,
}

/// What a footer says of a reactor's records.
#[derive(Debug, Default)]
pub(crate) struct Look {
    lives: bool,
    due_ms: u64,
    limited: Held,
    arrival_ms: u64,
    trims: Vec<Trim>,
    live: Live,
}

/// What is known when a footer is looked at.
pub(crate) struct View<'a> {
    pub(crate) owners: &'a Owners,
    pub(crate) catalog: &'a Catalog,
    pub(crate) shards: &'a Shards,
    /// The time that retention goes by; none while nothing expires.
    pub(crate) expiry_ms: Option<u64>,
}

/// All sealed segments that concern one reactor.
#[derive(Debug, Default)]
pub(crate) struct Space {
    segments: BTreeMap<SegmentId, Known>,
    /// How many of them it is this reactor's to drop.
    kept: usize,
    due: BTreeSet<(u64, SegmentId)>,
    queue: BTreeSet<SegmentId>,
    /// Whether all is to be looked at once more, when all that is queued was and what came of it is said.
    looks_once_more: bool,
    /// How much of a stream with a limit may stay in a segment, where that is not all.
    allowed: BTreeMap<(SegmentId, StreamId), u64>,
    /// Trim points that were found and are not said yet; on their way to the disk; and segments that are dead once they are.
    found: BTreeMap<ShardId, Sequence>,
    is_telling: bool,
    awaiting: BTreeSet<SegmentId>,
    dead: BTreeSet<SegmentId>,
    /// Shards that are being moved.
    moving: BTreeSet<ShardId>,
    /// What is held of streams with a limit, and whether that is to be shared out again.
    held: Held,
    held_changed: bool,
    /// Closed shards of such streams, and what may hold records of each: of the own journal segments up to this one, of others those
    /// that were sealed by then.
    closed_by: BTreeMap<ShardId, (SegmentId, Moment)>,
    /// When what has become due is looked for again; and nothing is looked at before.
    next_look_ns: u64,
    not_before_ns: u64,
    /// How often what is known of segments has changed.
    changes: u64,
}

impl Space {
    /// A sealed segment that may hold records of this reactor's shards. `others` have records in it as well.
    pub(crate) fn add(&mut self, sealed: Sealed, is_kept: bool, others: u64) {
        self.changes += 1;
        let segment = sealed.segment;
        let live = Live { bytes: u64::from(sealed.footer_at), extents: 0 };
        let (due_ms, limited, age) = (u64::MAX, Held::new(), Age::default());
        let known = Known { sealed, is_looked_at: false, lives: true, others, is_kept, due_ms, limited, age, live };
        let was = self.segments.insert(segment, known);
        self.kept = self.kept + usize::from(is_kept) - usize::from(was.is_some_and(|was| was.is_kept));
        self.queue.insert(segment);
    }

    /// How many segments are known, and how many of them it is this reactor's to drop.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.segments.len(), self.kept)
    }

    pub(crate) fn knows(&self, segment: SegmentId) -> bool {
        self.segments.contains_key(&segment)
    }

    /// A stream was deleted: everything is looked at once more, after what is being looked at, and told, now. It begins no look
    /// anew, so that one ends however often streams are deleted.
    pub(crate) fn look_once_more(&mut self) {
        self.looks_once_more = true;
    }

    /// Everything is looked at again: more or less is kept of a stream.
    pub(crate) fn look_at_all(&mut self) {
        self.looks_once_more = false;
        self.queue_all();
        // What was found and is not on its way to the disk is found again, if it still holds.
        self.found.clear();
        self.awaiting.clear();
        self.allowed.clear();
        self.held_changed = true;
    }

    fn queue_all(&mut self) {
        self.queue.extend(self.segments.keys().filter(|segment| !self.dead.contains(*segment)));
    }

    /// The next segment to look at, if it is time for one.
    pub(crate) fn next_to_look_at(&mut self, now_ns: u64, expiry_ms: impl FnOnce() -> Option<u64>) -> Option<Sealed> {
        // What is on its way to the disk would be found once more, and count as held until then.
        if self.is_telling {
            return None;
        }
        if self.looks_once_more && self.queue.is_empty() && self.found.is_empty() {
            self.looks_once_more = false;
            self.queue_all();
        }
        if self.queue.is_empty() && now_ns >= self.next_look_ns {
            let expiry_ms = if self.due.is_empty() { None } else { expiry_ms() };
            while let Some(&(due_ms, segment)) = self.due.first()
                && expiry_ms.is_some_and(|now_ms| due_ms <= now_ms)
            {
                self.due.pop_first();
                self.queue.insert(segment);
            }
            self.next_look_ns = now_ns + LOOK_NS;
        }
        let segment = self.queue.first().filter(|_| now_ns >= self.not_before_ns)?;
        self.segments.get(segment).map(|known| known.sealed)
    }

    /// When there is something to look at next, if anything.
    pub(crate) fn next_ns(&self, now_ns: u64, expiry_ms: impl FnOnce() -> Option<u64>) -> Option<u64> {
        if !self.queue.is_empty() || self.looks_once_more {
            return Some(self.not_before_ns.max(now_ns + LOOK_STEP_NS));
        }
        if self.held_changed {
            return Some(now_ns);
        }
        let (due_ms, _) = self.due.first()?;
        let until_ns =
            expiry_ms().map_or(LOOK_NS_MAX, |now_ms| due_ms.saturating_sub(now_ms).saturating_mul(1_000_000));
        Some(self.next_look_ns.max(now_ns.saturating_add(until_ns.min(LOOK_NS_MAX))))
    }

    /// A segment's footer can't be read: what is in it stays, and it is looked at again after a while, as the disk may read it then.
    /// `expiry_ms` is the time that retention goes by.
    pub(crate) fn pass_over(&mut self, segment: SegmentId, expiry_ms: Option<u64>) {
        self.queue.remove(&segment);
        if let Some(known) = self.segments.get_mut(&segment) {
            self.due.remove(&(known.due_ms, segment));
            known.is_looked_at = false;
            known.due_ms = expiry_ms.map_or(0, |now_ms| now_ms + LOOK_AGAIN_MS);
            self.due.insert((known.due_ms, segment));
        }
        // As of who owned what when it was read last, which may be another's by now.
        self.hold(segment, Held::new());
    }

    /// Takes account of what a segment holds of streams with a limit.
    fn hold(&mut self, segment: SegmentId, limited: Held) {
        let Some(known) = self.segments.get_mut(&segment).filter(|known| known.limited != limited) else { return };
        self.held_changed = true;
        for (&stream, &bytes) in &limited {
            *self.held.entry(stream).or_default() += bytes;
        }
        for (stream, bytes) in std::mem::replace(&mut known.limited, limited) {
            if let Some(held) = self.held.get_mut(&stream) {
                *held -= bytes;
            }
        }
        self.held.retain(|_, held| *held > 0);
    }

    /// Looks at a footer.
    pub(crate) fn look(&mut self, segment: SegmentId, footer: &Footer, view: &View<'_>, now_ns: u64) {
        self.queue.remove(&segment);
        self.changes += 1;
        self.not_before_ns = self.not_before_ns.max(now_ns + LOOK_STEP_NS);
        let Some(known) = self.segments.get_mut(&segment) else { return };
        let allowed = |stream| self.allowed.get(&(segment, stream)).copied();
        let Look { lives, due_ms, limited, arrival_ms, trims, live } = view.look(footer, allowed, &self.moving);
        self.due.remove(&(known.due_ms, segment));
        (known.is_looked_at, known.lives, known.due_ms, known.live) = (true, lives, due_ms, live);
        known.age = (Moment::of(&footer.head), arrival_ms);
        self.hold(segment, limited);
        if due_ms < u64::MAX {
            self.due.insert((due_ms, segment));
        }
        if !lives && trims.is_empty() {
            self.dead.insert(segment);
        } else if !lives {
            self.awaiting.insert(segment);
        }
        for Trim { shard, to } in trims {
            let found = self.found.entry(shard).or_insert(to);
            *found = to.max(*found);
        }
    }

    /// Trim points to be said durably, once all that was to be looked at was.
    pub(crate) fn trims_to_tell(&mut self) -> Option<Vec<Trim>> {
        if self.is_telling || !self.queue.is_empty() || self.found.is_empty() {
            return None;
        }
        self.is_telling = true;
        let rest = self.found.keys().nth(TRIMS_MAX).copied();
        let rest = rest.map_or_else(BTreeMap::new, |first| self.found.split_off(&first));
        let found = std::mem::replace(&mut self.found, rest);
        Some(found.into_iter().map(|(shard, to)| Trim { shard, to }).collect())
    }

    /// They are durable.
    pub(crate) fn trims_told(&mut self) {
        self.is_telling = false;
        if self.found.is_empty() {
            self.dead.append(&mut self.awaiting);
        }
    }

    /// They could not be stored now.
    pub(crate) fn trims_refused(&mut self, now_ns: u64) {
        self.is_telling = false;
        self.awaiting.clear();
        self.look_at_all();
        self.not_before_ns = now_ns + LOOK_NS;
    }

    /// Whether trim points are on their way to the disk.
    pub(crate) fn is_telling(&self) -> bool {
        self.is_telling
    }

    /// A shard is being moved. What was found of it does not count: everything is looked at again.
    pub(crate) fn begin_move(&mut self, shard: ShardId) {
        self.moving.insert(shard);
        self.found.clear();
        self.awaiting.clear();
        self.dead.clear();
        self.look_at_all();
    }

    /// Whether shards are being moved.
    pub(crate) fn is_moving(&self) -> bool {
        !self.moving.is_empty()
    }

    /// Shards are not moved any more, but for those that are as wanted.
    pub(crate) fn end_moves(&mut self, goes_on: impl Fn(ShardId) -> bool) {
        let count = self.moving.len();
        self.moving.retain(|&shard| goes_on(shard));
        if self.moving.len() < count {
            self.look_at_all();
        }
    }

    /// Another reactor is to read all segments that this one keeps: none is dropped before it has released it.
    pub(crate) fn lend_all(&mut self, to: usize) -> impl Iterator<Item = Sealed> + '_ {
        self.segments.values_mut().filter(|known| known.is_kept).map(move |known| {
            known.others |= 1 << to;
            known.sealed
        })
    }

    /// The segments that it is this reactor's to drop.
    pub(crate) fn kept(&self) -> impl Iterator<Item = Sealed> + '_ {
        self.segments.values().filter(|known| known.is_kept).map(|known| known.sealed)
    }

    /// Another reactor's records in a segment are dead.
    pub(crate) fn released(&mut self, segment: SegmentId, by: usize) {
        self.changes += 1;
        if let Some(known) = self.segments.get_mut(&segment) {
            known.others &= !(1 << by);
        }
    }

    /// Dead segments: those that others keep, and those that nobody has records in. The oldest first.
    pub(crate) fn dead(&self) -> impl Iterator<Item = (&Known, bool)> {
        let known = self.dead.iter().filter_map(|segment| self.segments.get(segment));
        known.filter(|known| !known.is_kept || known.others == 0).map(|known| (known, known.is_kept))
    }

    /// Whether every segment of a journal is dead for everybody.
    pub(crate) fn is_all_dead(&self, segment: SegmentId) -> bool {
        let of_journal = self.segments.iter().filter(|(other, _)| other.journal == segment.journal);
        of_journal.clone().all(|(other, known)| self.dead.contains(other) && known.others == 0)
    }

    /// Whether it is one of the newest two of its journal.
    pub(crate) fn is_among_newest(&self, segment: SegmentId) -> bool {
        let newer = self.segments.keys().filter(|other| other.journal == segment.journal && **other > segment);
        newer.count() < 2
    }

    /// Rises with whatever changes of what is known.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether all that is known to be dead is said to be.
    pub(crate) fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.found.is_empty() && !self.is_telling && self.awaiting.is_empty()
    }

    /// All segments of a journal but those that are about to go, the oldest first; and whether nobody else has records there.
    pub(crate) fn compactable(&self, journal: JournalNumber) -> Vec<Compactable> {
        let leaves = |known: &Known| known.is_kept && known.others == 0 && self.dead.contains(&known.sealed.segment);
        let stays = |known: &&Known| known.sealed.segment.journal == journal && !leaves(known);
        let entry = |known: &Known| {
            let may_move = known.lives && known.is_kept && known.others == 0;
            Compactable { sealed: known.sealed, live: known.live, may_move }
        };
        self.segments.values().filter(stays).map(entry).collect()
    }

    /// What lived of a run of segments is in the newest of them alone from now on, which is looked at anew.
    pub(crate) fn compacted(&mut self, run: &[Sealed], sealed: Sealed) {
        run.iter().for_each(|old| self.forget(old.segment));
        self.closed_shards_moved(run, sealed.segment);
        self.add(sealed, true, 0);
    }

    /// A segment is gone.
    pub(crate) fn forget(&mut self, segment: SegmentId) {
        self.changes += 1;
        self.hold(segment, Held::new());
        if let Some(known) = self.segments.remove(&segment) {
            self.due.remove(&(known.due_ms, segment));
            self.kept -= usize::from(known.is_kept);
        }
        self.dead.remove(&segment);
        self.awaiting.remove(&segment);
        self.queue.remove(&segment);
        self.allowed.retain(|(of, _), _| *of != segment);
    }
}

impl View<'_> {
    /// What a footer says of this reactor's records.
    fn look(&self, footer: &Footer, allowed: impl Fn(StreamId) -> Option<u64>, moving: &BTreeSet<ShardId>) -> Look {
        let mut look = Look { due_ms: u64::MAX, ..Look::default() };
        let mut limited: BTreeMap<StreamId, Vec<(ShardRow, Sequence)>> = BTreeMap::new();
        for row in footer.shards() {
            if row.extents > 0 && moving.contains(&row.shard) {
                look.lives = true;
                continue;
            }
            let Some(trimmed_to) = self.lives_from(&row) else { continue };
            let Some(stream) = self.catalog.stream_of(row.shard) else {
                look.lives = true;
                continue;
            };
            let expires_ms = expires_ms(stream, &row);
            if self.expiry_ms.is_some_and(|now_ms| expires_ms <= now_ms) {
                look.trims.push(Trim { shard: row.shard, to: row.next });
            } else if stream.retention.bytes.is_some() {
                look.due_ms = look.due_ms.min(expires_ms);
                look.arrival_ms = look.arrival_ms.max(row.arrival_ms);
                limited.entry(stream.stream).or_default().push((row, trimmed_to));
            } else {
                (look.lives, look.due_ms) = (true, look.due_ms.min(expires_ms));
            }
        }
        for (stream, rows) in limited {
            self.look_at_limited(footer, &rows, stream, allowed(stream), &mut look);
        }
        look.live = self.measure(footer, &look.trims);
        look
    }

    /// From which number on a shard's records in a segment live, if any do.
    pub(crate) fn lives_from(&self, row: &ShardRow) -> Option<Sequence> {
        let trimmed_to = self.shards.trimmed_to(row.shard);
        let is_own = row.shard != ShardId::CATALOG && self.owners.is_own(row.shard);
        let lives = row.extents > 0 && is_own && row.next > trimmed_to;
        (lives && self.catalog.keeps(row.shard)).then_some(trimmed_to)
    }

    /// How much of a segment lives once `trims` are said. Extents are looked at one by one only where some do not.
    fn measure(&self, footer: &Footer, trims: &[Trim]) -> Live {
        let said: BTreeMap<ShardId, Sequence> = trims.iter().map(|trim| (trim.shard, trim.to)).collect();
        let kept_from = |row: &ShardRow| {
            let from = self.lives_from(row)?;
            let from = said.get(&row.shard).map_or(from, |&said| said.max(from));
            (from < row.next).then_some(from)
        };
        let rows = footer.shards().filter(|row| row.extents > 0 && row.shard != ShardId::CATALOG);
        let rows: Vec<(ShardRow, Option<Sequence>)> = rows.map(|row| (row, kept_from(&row))).collect();
        if rows.iter().all(|(row, from)| from.is_some_and(|from| from <= row.first)) {
            let extents = rows.iter().map(|(row, _)| row.extents as usize).sum();
            return Live { bytes: u64::from(footer.head.position.offset()), extents };
        }
        let kept = rows.iter().filter_map(|(row, from)| Some((row, (*from)?)));
        let extents =
            kept.flat_map(|(row, from)| footer.extents(row).filter(move |extent| extent.last_sequence() >= from));
        extents.fold(Live::default(), |live, extent| Live {
            bytes: live.bytes + u64::from(extent.length),
            extents: live.extents + 1,
        })
    }

    /// Of a stream with a limit the newest extents stay, as far as they are `allowed`.
    fn look_at_limited(
        &self,
        footer: &Footer,
        rows: &[(ShardRow, Sequence)],
        stream: StreamId,
        allowed: Option<u64>,
        look: &mut Look,
    ) {
        let mut extents: Vec<(ShardId, PlacedExtent)> = Vec::new();
        for (row, trimmed_to) in rows {
            let kept = footer.extents(row).filter(|extent| extent.last_sequence() >= *trimmed_to);
            extents.extend(kept.map(|extent| (row.shard, extent)));
        }
        extents.sort_unstable_by_key(|(_, extent)| std::cmp::Reverse(extent.offset));
        let (mut bytes, mut kept_from) = (0, u32::MAX);
        for (_, extent) in &extents {
            let more = bytes + u64::from(extent.length);
            if allowed.is_some_and(|allowed| more > allowed) {
                break;
            }
            (bytes, kept_from) = (more, extent.offset);
        }
        for (row, trimmed_to) in rows {
            let first = extents.iter().rev().find(|(shard, extent)| *shard == row.shard && extent.offset >= kept_from);
            let to = first.map_or(row.next, |(_, extent)| extent.first_sequence);
            if to > *trimmed_to && allowed.is_some() {
                look.trims.push(Trim { shard: row.shard, to });
            }
        }
        if bytes > 0 {
            look.lives = true;
            look.limited.insert(stream, bytes);
        }
    }
}

/// When the last of a shard's records in a segment expires.
fn expires_ms(stream: &Stream, row: &ShardRow) -> u64 {
    let seconds = stream.retention.seconds;
    seconds.map_or(u64::MAX, |seconds| row.arrival_ms.saturating_add(u64::from(seconds.get()) * 1000))
}

#[cfg(test)]
#[path = "space_tests.rs"]
mod tests;
