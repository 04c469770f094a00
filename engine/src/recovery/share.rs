//! What all journals say together, shared out among the reactors of this life.
//!
//! A shard may have records in several journals, of lives in which other reactors owned it. It goes on where none of them has
//! given a number yet: at the highest next number that any journal says, in the journal of the reactor that owns it now. Where
//! that journal would not know the number by itself, its first batch says so (*go on*), durably, before any record. Until it
//! does, the next opening comes to the same numbers again: the journals that they follow from are not changed before.
//!
//! A journal's segment that holds records of shards which others own now is left and sealed: so every record of a shard lies
//! in sealed segments, or in its owner's journal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use frame::limits::BLOCK_BYTES;
use frame::segment::Footer;
use frame::{JournalNumber, SegmentNumber, Sequence, ShardId};
use io::FileId;

use super::directories::Directories;
use super::journal::{Journal, Pinned};
use super::{Recovered, Segment};
use crate::Config;
use crate::catalog::{Catalog, GO_ON_ROWS_MAX, GoOn};
use crate::clock::Clock;
use crate::damage::Damage;
use crate::exchange::Exchange;
use crate::journal::{Blueprint, Index, Ready, Seal, Sealed};
use crate::limits::{Memory, PRODUCERS_SEGMENT_SHARE};
use crate::owners::Owners;
use crate::producers::{self, Producers, Row};
use crate::shards::{Shard, Shards};
use crate::superblock::Store;
use crate::trims::Trim;

/// One reactor's part of a data directory that was opened: its journal, and what it needs of the others. Taken by
/// [`crate::Reactor::take`], on the thread that it is to run on.
pub struct Seat {
    pub(crate) owners: Owners,
    pub(crate) exchange: Arc<Exchange>,
    /// Where segments lie.
    pub(crate) directories: Arc<Directories>,
    pub(crate) blueprint: Blueprint,
    /// The catalog; a copy of it for all but the first.
    pub(crate) catalog: Catalog,
    /// How far shards have come in this journal.
    pub(crate) shards: Shards,
    pub(crate) index: Index,
    pub(crate) extents: usize,
    pub(crate) previous_checksum: u64,
    pub(crate) open: Option<(Segment, frame::Position)>,
    pub(crate) sealed: Vec<Sealed>,
    pub(crate) closed: Vec<Vec<Sealed>>,
    /// Sealed segments that are this reactor's to drop, and which others have records in them, a bit each.
    pub(crate) keeps: Vec<(Sealed, u64)>,
    pub(crate) pinned: Pinned,
    pub(crate) newest: Option<(crate::journal::SegmentId, Arc<Footer>)>,
    pub(crate) leftovers: Vec<Ready>,
    pub(crate) next_number: SegmentNumber,
    /// Bytes of all segments that the journal may have.
    pub(crate) bytes_max: u64,
    pub(crate) seals: Vec<Seal>,
    /// To be written after this reactor's first batch.
    pub(crate) late_seals: Vec<Seal>,
    /// To be written after the first batches of all reactors: of journals that have none any more.
    pub(crate) last_seals: Vec<Seal>,
    /// What is damaged in this journal, and in all.
    pub(crate) damage: Damage,
    pub(crate) all_damage: Damage,
    /// What the first batch says: how many numbers are skipped, and which shards go on.
    pub(crate) skip: u64,
    pub(crate) go_on: Vec<GoOn>,
    /// And from where shards are kept, as far as the journal would not tell.
    pub(crate) trims: Vec<Trim>,
    /// What producers have stored in its shards, as any journal tells; and what of that the reactor's own would not tell.
    pub(crate) producers: Producers,
    pub(crate) untold_producers: Vec<Row>,
    /// The superblock, which the first reactor keeps.
    pub(crate) store: Option<Store>,
    pub(crate) clock: Clock,
    pub(crate) epoch: frame::Epoch,
}

impl Seat {
    /// The files that it writes, reads and drops, by whoever opened them.
    pub(super) fn files(&self) -> impl Iterator<Item = FileId> + '_ {
        let sealed =
            self.sealed.iter().chain(self.closed.iter().flatten()).chain(self.keeps.iter().map(|(kept, _)| kept));
        let seals = self.seals.iter().chain(&self.late_seals).chain(&self.last_seals);
        let open = self.open.iter().map(|(segment, _)| segment.file);
        let ready = self.leftovers.iter().map(|ready| ready.file);
        sealed.map(|sealed| sealed.file).chain(seals.map(|seal| seal.file)).chain(open).chain(ready)
    }
}

/// Shares out what was found.
pub(super) fn out(
    config: &Config,
    owners: &Owners,
    mut found: Vec<Journal>,
    disks: &[u64],
    (directories, store, clock): (Directories, Store, Clock),
    recovered: &mut Recovered,
) -> Vec<Seat> {
    let directories = Arc::new(directories);
    let (owners, reactors) = (|own| owners.seen_by(own), owners.reactors());
    let nexts = nexts(&found);
    let count = nexts.len();
    forget_what_is_gone(&mut found, recovered);
    let trims = trims(&found);
    for damage in found.iter_mut().map(|journal| &mut journal.damage).chain([&mut recovered.damage]) {
        damage.expire(|shard| trims.get(&shard).copied());
    }
    // Before the catalog is taken, which is in the footer that its journal gets by that.
    leave_what_others_read(&mut found, &owners(0), &nexts);
    let mut catalog = std::mem::replace(&mut found[0].replay.catalog, Catalog::new());
    catalog.reserve_shards(count);
    let mut producers = producers(config, &found, &owners(0), count, &catalog);
    let mut needed = Needed::of(&found, &owners(0));
    let budget = Budget::of(config, &found, reactors);
    let mut keeps: Vec<Vec<(Sealed, u64)>> = (0..reactors).map(|own| kept_by(&found, &owners(own))).collect();
    let mut closed_last: Vec<Seal> = Vec::new();
    for journal in &mut found {
        if journal.blueprint.journal.0 as usize >= reactors {
            closed_last.extend(std::mem::take(&mut journal.replay.seals));
            closed_last.extend(journal.late_seal.take());
        }
    }
    let pinned = all_pinned(&found);
    let epoch = store.current.epoch;
    let mut store = Some(store);
    let exchange = Arc::new(Exchange::new(reactors, disks, config.files_max));
    catalog.homes().for_each(|(shard, home)| exchange.publish_home(shard, home));
    let seats = found.into_iter().take(reactors).enumerate().map(|(own, mut journal)| {
        let go_on = go_on(&journal, &owners(own), &nexts);
        let trims = untold(&journal, &owners(own), &trims);
        let producers = producers.remove(0);
        let untold_producers = untold_producers(&journal, &owners(own), &producers);
        // Of other journals' footers those that are not on disk are held in memory by all.
        let mut own_pinned = journal.pinned.clone();
        own_pinned.extend(pinned.iter().map(|(segment, footer)| (*segment, Arc::clone(footer))));
        journal.replay.shards.grow(count);
        journal.replay.index.grow(count);
        Seat {
            owners: owners(own),
            exchange: Arc::clone(&exchange),
            directories: Arc::clone(&directories),
            blueprint: journal.blueprint,
            catalog: catalog.clone(),
            extents: if journal.open.is_some() { journal.replay.extents } else { 0 },
            previous_checksum: journal.replay.checksum,
            shards: journal.replay.shards,
            index: journal.replay.index,
            open: journal.open,
            sealed: journal.sealed.into_values().collect(),
            closed: needed.take(own),
            keeps: std::mem::take(&mut keeps[own]),
            pinned: own_pinned,
            newest: journal.newest,
            leftovers: journal.leftovers,
            next_number: journal.next_number,
            bytes_max: budget.of_journal(own),
            seals: journal.replay.seals,
            late_seals: journal.late_seal.into_iter().collect(),
            last_seals: if own == 0 { std::mem::take(&mut closed_last) } else { Vec::new() },
            damage: journal.damage,
            all_damage: recovered.damage.clone(),
            skip: journal.skip,
            go_on,
            trims,
            producers,
            untold_producers,
            store: store.take(),
            clock: clock.clone(),
            epoch,
        }
    });
    seats.collect()
}

/// What producers have stored, by the reactors that own the shards now. A shard's records may lie in several journals, each of
/// which tells of its own; and goes on to do so, also of shards that others own now: until their owner has sealed a segment,
/// nobody else tells of it on disk. Shards that others own now are lent to whoever owns children of them.
///
/// Where there is no room, what was taken up first goes first: what the owner does not use; then what closed shards have, in the
/// order in which they were closed; and in the end what those have that are written to. So what journals tell of one producer is
/// joined before, and what is lent goes shard by shard, not with those that a shard was made of.
fn producers(config: &Config, found: &[Journal], owners: &Owners, shards: usize, catalog: &Catalog) -> Vec<Producers> {
    let memory = Memory::share(config.memory_bytes / owners.reactors());
    let footer_bytes = found[0].blueprint.segment_bytes as usize / PRODUCERS_SEGMENT_SHARE;
    let empty = || Producers::within(memory.producer_bytes.min(footer_bytes));
    let mut producers: Vec<Producers> = (0..owners.reactors()).map(|_| empty()).collect();
    let of = |journal: &Journal| journal.blueprint.journal.0 as usize;
    let all = found.iter().flat_map(|journal| journal.replay.producers.rows().map(move |row| (of(journal), row)));
    let rows: Vec<(usize, Row)> = all.filter(|(_, row)| (row.shard.0 as usize) < shards).collect();
    for (own, row) in rows.iter().filter(|(own, row)| *own < owners.reactors() && owners.of(row.shard) != *own) {
        producers[*own].adopt(row.clone());
    }
    let mut lent: BTreeMap<ShardId, BTreeSet<usize>> = BTreeMap::new();
    // Shards are numbered as they are made, so by their children's numbers it is known which was closed first.
    let mut first_children: BTreeMap<ShardId, ShardId> = BTreeMap::new();
    for stream in catalog.streams() {
        first_children
            .extend(stream.closed().filter_map(|(shard, closed)| Some((shard, closed.children.shards().min()?))));
        for child in stream.descendants() {
            for ancestor in stream.ancestors(child.shard) {
                lent.entry(ancestor).or_default().insert(owners.of(child.shard));
            }
        }
    }
    let mut joined = producers::joined(rows.into_iter().map(|(_, row)| row));
    joined.sort_by_key(|row| first_children.get(&row.shard).map_or((true, None), |&child| (false, Some(child))));
    for row in joined {
        let owner = owners.of(row.shard);
        for &to in lent.get(&row.shard).into_iter().flatten().filter(|&&to| to != owner) {
            producers[to].borrow(vec![row.clone()]);
        }
        producers[owner].adopt(row);
    }
    producers
}

/// What producers have stored in the owner's shards and its journal does not tell.
fn untold_producers(journal: &Journal, owners: &Owners, producers: &Producers) -> Vec<Row> {
    let told: BTreeMap<_, Row> = journal.replay.producers.rows().map(|row| ((row.shard, row.producer), row)).collect();
    let own = producers.rows().filter(|row| owners.is_own(row.shard));
    own.filter(|row| told.get(&(row.shard, row.producer)) != Some(row)).collect()
}

/// Has journals leave segments that hold records of shards which others own now; also of those that come back to a journal
/// after they had gone on elsewhere, as the open segment tells the numbers from its first on: the last opening left it, and
/// ended before its seal was on disk.
fn leave_what_others_read(found: &mut [Journal], owners: &Owners, nexts: &[Shard]) {
    let skip = found.iter().map(|journal| journal.skip).max().unwrap_or(0);
    for journal in found {
        let own = journal.blueprint.journal.0 as usize;
        let goes_on_elsewhere: Vec<bool> = journal
            .replay
            .shards
            .iter()
            .map(|(shard, known)| known.next.0 + skip < nexts[shard.0 as usize].next.0)
            .collect();
        let is_foreign = |shard: ShardId| owners.of(shard) != own || goes_on_elsewhere[shard.0 as usize];
        // What is called damaged of shards that a journal doesn't know must be on disk before it knows them.
        let is_over = own >= owners.reactors() || journal.replay.has_lost;
        journal.leave_if(is_over, |shard| shard != ShardId::CATALOG && is_foreign(shard));
    }
}

/// Where each shard goes on, by its number: past all that any journal knows, and past what may have been given and was cut or
/// damaged, in whichever journal that was. Which one a shard's newest records were in need not be known for that.
pub(super) fn nexts(found: &[Journal]) -> Vec<Shard> {
    let known = found.iter().map(|journal| journal.replay.shards.len().max(journal.replay.catalog.shard_count()));
    let count = known.max().unwrap_or(1);
    let skip = found.iter().map(|journal| journal.skip).max().unwrap_or(0);
    let mut nexts = vec![Shard::NEW; count];
    for journal in found {
        for (shard, known) in journal.replay.shards.iter() {
            let next = &mut nexts[shard.0 as usize];
            *next = Shard::at(next.next.max(known.next), next.arrival_ms.max(known.arrival_ms));
        }
    }
    let skipped = |next: Shard| Shard::at(Sequence(next.next.0 + skip), next.arrival_ms);
    nexts.into_iter().map(skipped).collect()
}

/// What journals tell of shards that were deleted or forgotten is of no use.
fn forget_what_is_gone(found: &mut [Journal], recovered: &mut Recovered) {
    let catalog = &found[0].replay.catalog;
    // Those that the catalog has not heard of are not.
    let all = (0..catalog.shard_count()).map(|shard| ShardId(shard as u32));
    let are_gone: Vec<bool> = all.map(|shard| shard != ShardId::CATALOG && !catalog.keeps(shard)).collect();
    let is_kept = |shard: ShardId| !are_gone.get(shard.0 as usize).is_some_and(|&is_gone| is_gone);
    for journal in found {
        let Journal { replay, damage, .. } = journal;
        replay.shards.trims(|shard| !is_kept(shard)).iter().for_each(|trim| replay.shards.forget_trim(trim.shard));
        let told: BTreeSet<ShardId> = replay.producers.rows().map(|row| row.shard).collect();
        told.into_iter().filter(|&shard| !is_kept(shard)).for_each(|shard| replay.producers.forget(shard));
        damage.records.retain(|records| is_kept(records.shard));
    }
    recovered.damage.records.retain(|records| is_kept(records.shard));
}

/// From where each shard is kept that was ever trimmed, whichever journal says so.
fn trims(found: &[Journal]) -> BTreeMap<ShardId, Sequence> {
    let mut trims = BTreeMap::new();
    for Trim { shard, to } in found.iter().flat_map(|journal| journal.replay.shards.trims(|_| true)) {
        let known = trims.entry(shard).or_insert(to);
        *known = to.max(*known);
    }
    trims
}

/// Those of the owner's shards that its journal does not tell.
fn untold(journal: &Journal, owners: &Owners, trims: &BTreeMap<ShardId, Sequence>) -> Vec<Trim> {
    let told = |shard| journal.replay.shards.trimmed_to(shard);
    let untold = trims.iter().filter(|&(&shard, &to)| owners.of(shard) == owners.own() && told(shard) < to);
    untold.map(|(&shard, &to)| Trim { shard, to }).collect()
}

/// The sealed segments that are a reactor's to drop, and which others have records in each.
fn kept_by(found: &[Journal], owners: &Owners) -> Vec<(Sealed, u64)> {
    let kept = found.iter().filter(|journal| owners.keeper(journal.blueprint.journal) == owners.own());
    let all =
        kept.flat_map(|journal| journal.sealed.values().map(|sealed| (*sealed, journal.users_of(sealed, owners))));
    all.map(|(sealed, users)| (sealed, users & !(1 << owners.own()))).collect()
}

/// What the first batch of a journal must say of its shards: all that it would not tell by itself. The rows that count at once
/// come first, and fit one batch.
fn go_on(journal: &Journal, owners: &Owners, nexts: &[Shard]) -> Vec<GoOn> {
    let (known, skip) = (&journal.replay.shards, journal.skip);
    // A shard that a journal knows nothing of does not skip when it is replayed: there is nothing to tell of it.
    let told = |shard: ShardId| {
        known.find(shard).map_or(Shard::NEW, |known| Shard::at(Sequence(known.next.0 + skip), known.arrival_ms))
    };
    let differs = |shard: ShardId, next: &Shard| {
        let told = told(shard);
        told.next != next.next || told.arrival_ms != next.arrival_ms
    };
    let all = || nexts.iter().enumerate().skip(1).map(|(at, next)| (ShardId(at as u32), next));
    // Once the batch is durable that says the others skip, nothing else tells of what was cut. So what it does not say of by
    // itself must be in it: shards that this journal knows nothing of, and those that it would have skip, from what it knows,
    // past where another one has them, and not as far as they skip.
    let is_urgent = |shard: ShardId, next: &Shard| {
        let is_unknown = known.find(shard).is_none();
        skip > 0 && differs(shard, next) && (is_unknown || told(shard).next.0 + skip > next.next.0)
    };
    let mut rows = Vec::new();
    all().filter(|&(shard, next)| is_urgent(shard, next)).for_each(|(shard, next)| add(&mut rows, shard, next));
    if rows.len() > GO_ON_ROWS_MAX {
        let next = nexts.iter().map(|shard| shard.next).max().unwrap_or(Shard::NEW.next);
        let arrival_ms = nexts.iter().map(|shard| shard.arrival_ms).max().unwrap_or(0);
        return vec![GoOn { shard: ShardId(1), shards: nexts.len() as u32 - 1, next, arrival_ms }];
    }
    let is_own = |shard| owners.of(shard) == owners.own();
    let rest = all().filter(|&(shard, next)| is_own(shard) && differs(shard, next) && !is_urgent(shard, next));
    rest.for_each(|(shard, next)| add(&mut rows, shard, next));
    rows
}

/// Adds a shard to the last row, if it follows it and goes on with the same numbers.
fn add(rows: &mut Vec<GoOn>, shard: ShardId, next: &Shard) {
    let (next, arrival_ms) = (next.next, next.arrival_ms);
    match rows.last_mut() {
        Some(last) if last.shard.0 + last.shards == shard.0 && (last.next, last.arrival_ms) == (next, arrival_ms) => {
            last.shards += 1;
        }
        _ => rows.push(GoOn { shard, shards: 1, next, arrival_ms }),
    }
}

/// Footers that are not on disk, of segments that others than their journal's reactor may read.
fn all_pinned(found: &[Journal]) -> Pinned {
    if found.len() == 1 {
        return Pinned::new();
    }
    let all = found.iter().flat_map(|journal| &journal.pinned);
    all.map(|(segment, footer)| (*segment, Arc::clone(footer))).collect()
}

/// By reactor and journal, the sealed segments of other journals that hold records of the reactor's shards.
struct Needed(Vec<BTreeMap<JournalNumber, Vec<Sealed>>>);

impl Needed {
    fn of(found: &[Journal], owners: &Owners) -> Needed {
        let mut needed = vec![BTreeMap::new(); owners.reactors()];
        for journal in found.iter().filter(|_| found.len() > 1) {
            for sealed in journal.sealed.values() {
                let users = journal.users_of(sealed, owners);
                for (reactor, lists) in needed.iter_mut().enumerate() {
                    let is_own = journal.blueprint.journal.0 as usize == reactor;
                    if !is_own && users & 1 << reactor != 0 {
                        let list: &mut Vec<Sealed> = lists.entry(journal.blueprint.journal).or_default();
                        list.push(*sealed);
                    }
                }
            }
        }
        Needed(needed)
    }

    fn take(&mut self, reactor: usize) -> Vec<Vec<Sealed>> {
        std::mem::take(&mut self.0[reactor]).into_values().collect()
    }
}

/// Which reactors own shards that have records in a segment, a bit each.
pub(super) fn users(footer: &Footer, owners: &Owners) -> u64 {
    let held = footer.shards().filter(|row| row.extents > 0 && row.shard != ShardId::CATALOG);
    held.fold(0, |users, row| users | 1 << owners.of(row.shard))
}

const _: () = assert!(crate::limits::REACTORS_MAX <= u64::BITS as usize);

/// What each journal's segments may take: what they take, and an equal share of what the budget leaves, in whole segments.
struct Budget {
    used_bytes: Vec<u64>,
    free: u64,
    segment_bytes: u64,
}

impl Budget {
    fn of(config: &Config, found: &[Journal], reactors: usize) -> Budget {
        let segment_bytes = u64::from(found[0].blueprint.segment_bytes).max(BLOCK_BYTES as u64);
        let used = |journal: &Journal| -> u64 {
            let sealed = journal.sealed.values().map(|sealed| u64::from(sealed.bytes));
            let open = journal.open.iter().map(|(segment, _)| u64::from(segment.bytes));
            sealed.chain(open).chain(journal.leftovers.iter().map(|ready| u64::from(ready.bytes))).sum()
        };
        let all: u64 = found.iter().map(used).sum();
        let free = config.disk_bytes.saturating_sub(all) / segment_bytes;
        Budget { used_bytes: found.iter().take(reactors).map(used).collect(), free, segment_bytes }
    }

    fn of_journal(&self, own: usize) -> u64 {
        let (at, reactors) = (own as u64, self.used_bytes.len() as u64);
        let share = self.free / reactors + u64::from(at < self.free % reactors);
        self.used_bytes[own].saturating_add(share.saturating_mul(self.segment_bytes))
    }
}
