//! What lives, by made-up footers: of streams 1 with shards 1 and 2, and 2 with shard 3.

use std::num::NonZeroU64;

use frame::segment::{FooterHead, FooterWriter, MOVES_ALL};
use frame::{Epoch, JournalNumber, LogId, Position, Quotas, Retention, SegmentNumber, Settings};
use io::FileId;

use super::*;
use crate::holdings::Holdings;
use crate::shards::Shards;

const LENGTH: u32 = 800;

fn id(number: u32) -> SegmentId {
    SegmentId { journal: JournalNumber(0), number: SegmentNumber(number) }
}

fn sealed(number: u32) -> Sealed {
    Sealed { segment: id(number), file: FileId(number), bytes: 4 << 20, footer_at: 1 << 20, footer_length: 4096 }
}

/// A footer with ten records of each of these shards, from a number on, in two extents, the last of which arrived at a time.
fn footer(number: u32, shards: &[(u32, u64)], arrival_ms: u64) -> Footer {
    footer_of(id(number), (1, 1), shards, arrival_ms)
}

/// The same of any journal's, sealed in a life after so many moves.
fn footer_of(segment: SegmentId, (life, moves): (u64, u32), shards: &[(u32, u64)], arrival_ms: u64) -> Footer {
    let mut writer = FooterWriter::default();
    writer.shard(ShardId::CATALOG, Sequence(1), Sequence(1), 0, []);
    for (at, &(shard, first)) in shards.iter().enumerate() {
        let extent = |nth: u32| PlacedExtent {
            offset: 4096 + (nth * 8 + at as u32) * 1024,
            length: LENGTH,
            count: 5,
            first_sequence: Sequence(first + u64::from(nth) * 5),
            arrival_ms: arrival_ms - u64::from(1 - nth),
        };
        writer.shard(ShardId(shard), Sequence(first), Sequence(first + 10), arrival_ms, [extent(0), extent(1)]);
    }
    let head = FooterHead {
        log_id: LogId([7; 16]),
        journal: segment.journal,
        position: Position::new(segment.number, 1 << 20),
        epoch: Epoch(life),
        last_checksum: 0,
        stands_for: 0,
        moves,
    };
    Footer::parse(writer.finish(&head, &[]).0).expect("it was just made")
}

struct Rig {
    space: Space,
    catalog: Catalog,
    shards: Shards,
    now_ms: Option<u64>,
    owners: Owners,
}

impl Rig {
    fn new(first: Retention, second: Retention) -> Rig {
        let mut catalog = Catalog::new();
        for (name, count, retention) in [("a", 2, first), ("b", 1, second)] {
            let settings = Settings { quotas: Quotas::NONE, retention };
            let command = catalog.plan_create(name, count, settings, std::sync::Arc::default(), 0).expect("legal");
            catalog.apply(&command).expect("follows");
        }
        let mut shards = Shards::new();
        shards.grow(4);
        for shard in 1..4 {
            shards.go_on(ShardId(shard), Sequence(1000), 0);
        }
        let owners = Owners::new(1, 0);
        Rig { space: Space::default(), catalog, shards, now_ms: Some(0), owners }
    }

    fn add(&mut self, number: u32) {
        self.space.add(sealed(number), true, 0);
    }

    fn look(&mut self, footer: &Footer) {
        let Rig { catalog, shards, now_ms, owners, .. } = self;
        let view = View { owners, catalog, shards, expiry_ms: *now_ms };
        let segment = SegmentId { journal: footer.head.journal, number: footer.head.position.segment() };
        self.space.look(segment, footer, &view, 0);
    }

    /// Shares out what is held, as one of the reactors that have said so much to these.
    fn share(&mut self, holdings: &Holdings) {
        let Rig { space, catalog, owners, .. } = self;
        let Some(held) = space.held_to_share() else { return };
        let limit = |stream| Some(catalog.stream(stream)?.retention.bytes?.get());
        let (may_stay, _) = holdings.share((owners.own(), 0), held, limit);
        space.apply_limits(may_stay);
    }

    /// Says what there is to say.
    fn tell(&mut self) -> Vec<(u32, u64)> {
        let Some(trims) = self.space.trims_to_tell() else { return Vec::new() };
        trims.iter().for_each(|trim| self.shards.trim(*trim));
        self.space.trims_told();
        trims.iter().map(|trim| (trim.shard.0, trim.to.0)).collect()
    }

    fn dead(&self) -> Vec<u32> {
        self.space.dead().map(|(known, _)| known.sealed.segment.number.0).collect()
    }
}

/// Bug, found on reading: live records that were compacted into a segment were dropped with it. Mechanism: the segment whose number it
/// has was found dead while it was copied, and counted as dead once the trim points were told, by when it was another. Fix: what is
/// forgotten awaits nothing.
#[test]
fn what_was_compacted_is_not_dead_as_it_was_before() {
    let mut rig = Rig::new(Retention::of_seconds(1), Retention::NONE);
    rig.add(1);
    rig.add(2);
    rig.now_ms = Some(20_000);
    rig.look(&footer(1, &[(3, 1)], 10_000));
    rig.look(&footer(2, &[(1, 1)], 10_000));
    // Its trim points are on their way to the disk while the two become one.
    let trims = rig.space.trims_to_tell().expect("all of the second has expired");
    rig.space.compacted(&[sealed(1), sealed(2)], sealed(2));
    trims.iter().for_each(|trim| rig.shards.trim(*trim));
    rig.space.trims_told();
    assert_eq!(rig.dead(), [0; 0], "it was not looked at");
    rig.look(&footer(2, &[(3, 1)], 10_000));
    assert_eq!((rig.tell(), rig.dead()), (vec![], vec![]));
}

/// Bug, found on reading: a segment whose footer could not be read once stayed until a stream was deleted. Mechanism: nothing said
/// when to look again. Fix: after a minute.
#[test]
fn what_could_not_be_read_is_looked_at_again() {
    let mut rig = Rig::new(Retention::of_seconds(1), Retention::NONE);
    rig.add(1);
    rig.now_ms = Some(20_000);
    assert!(rig.space.next_to_look_at(0, || rig.now_ms).is_some());
    rig.space.pass_over(id(1), rig.now_ms);
    rig.now_ms = Some(20_000 + LOOK_AGAIN_MS - 1);
    assert_eq!(rig.space.next_to_look_at(LOOK_NS, || rig.now_ms), None, "not at once");
    rig.now_ms = Some(20_000 + LOOK_AGAIN_MS);
    assert!(rig.space.next_to_look_at(2 * LOOK_NS, || rig.now_ms).is_some());
    rig.look(&footer(1, &[(1, 1)], 10_000));
    assert_eq!((rig.tell(), rig.dead()), (vec![(1, 11)], vec![1]));
}

#[test]
fn a_segment_lives_as_long_as_its_last_record() {
    let mut rig = Rig::new(Retention::of_seconds(1), Retention::of_seconds(5));
    rig.add(1);
    let footer = footer(1, &[(1, 1), (2, 1), (3, 1)], 10_000);
    rig.now_ms = Some(10_999);
    rig.look(&footer);
    assert_eq!((rig.tell(), rig.dead()), (vec![], vec![]));
    // Nothing is due before its time.
    assert_eq!(rig.space.next_to_look_at(0, || rig.now_ms), None);
    rig.now_ms = Some(11_000);
    assert!(rig.space.next_to_look_at(LOOK_NS, || rig.now_ms).is_some());
    rig.look(&footer);
    assert_eq!((rig.tell(), rig.dead()), (vec![(1, 11), (2, 11)], vec![]));
    rig.now_ms = Some(15_000);
    rig.look(&footer);
    assert_eq!(rig.dead(), [0; 0], "not before that is said");
    assert_eq!((rig.tell(), rig.dead()), (vec![(3, 11)], vec![1]));
    rig.space.forget(id(1));
    assert_eq!((rig.dead(), rig.space.next_ns(0, || rig.now_ms)), (vec![], None));
}

#[test]
fn without_a_clock_or_an_end_nothing_expires() {
    for (retention, now_ms) in [(Retention::of_seconds(1), None), (Retention::NONE, Some(u64::MAX - 1))] {
        let mut rig = Rig::new(retention, retention);
        rig.now_ms = now_ms;
        rig.add(1);
        rig.look(&footer(1, &[(1, 1), (3, 1)], 10_000));
        assert_eq!((rig.tell(), rig.dead()), (vec![], vec![]), "{retention:?}");
    }
}

/// Bug: once a command of the catalog was damaged, what was deleted was never dropped. Mechanism: whatever had no stream was kept,
/// as the command that made it might be lost. Fix: that is known of each shard.
#[test]
fn what_was_deleted_is_dead_and_what_nobody_made_is_not() {
    let mut rig = Rig::new(Retention::NONE, Retention::NONE);
    // Records of shard 4 were found.
    rig.catalog.reserve_shards(5);
    rig.shards.grow(5);
    rig.shards.go_on(ShardId(4), Sequence(1000), 0);
    let footers = [footer(1, &[(1, 1), (2, 1)], 10_000), footer(2, &[(1, 11), (4, 1)], 10_000)];
    let delete = rig.catalog.plan_delete("a").expect("it is there");
    rig.catalog.apply(&delete).expect("follows");
    for (footer, number) in footers.iter().zip(1..) {
        rig.add(number);
        rig.look(footer);
    }
    assert_eq!((rig.tell(), rig.dead()), (vec![], vec![1]));
}

#[test]
fn refused_trim_points_are_found_again() {
    let mut rig = Rig::new(Retention::of_seconds(1), Retention::NONE);
    rig.add(1);
    let footer = footer(1, &[(1, 1)], 10_000);
    rig.now_ms = Some(11_000);
    rig.look(&footer);
    assert!(rig.space.trims_to_tell().is_some());
    rig.space.trims_refused(5);
    assert_eq!((rig.dead(), rig.space.next_to_look_at(5, || rig.now_ms)), (vec![], None));
    assert!(rig.space.next_to_look_at(5 + LOOK_NS, || rig.now_ms).is_some());
    rig.look(&footer);
    assert_eq!((rig.tell(), rig.dead()), (vec![(1, 11)], vec![1]));
}

#[test]
fn of_a_stream_with_a_limit_the_oldest_go_first() {
    // Five extents of stream 1, in both of its shards; stream 2 has no limit.
    let bytes = NonZeroU64::new(5 * u64::from(LENGTH) + 10);
    let mut rig = Rig::new(Retention { seconds: None, bytes }, Retention::NONE);
    let footers = [(1, 1), (2, 11), (3, 21)].map(|(number, first)| footer(number, &[(1, first), (2, first)], 10_000));
    for (footer, number) in footers.iter().zip(1..) {
        rig.add(number);
        rig.look(footer);
    }
    assert_eq!(rig.tell(), [], "nobody has reckoned yet");
    let holdings = Holdings::default();
    rig.share(&holdings);
    for footer in &footers[..2] {
        rig.look(footer);
    }
    // The first segment's four, and the oldest three of the second's: the last extent of shard 2 stays.
    assert_eq!((rig.tell(), rig.dead()), (vec![(1, 21), (2, 16)], vec![1]));
    // It has settled.
    rig.share(&holdings);
    assert_eq!((rig.space.queue.len(), rig.tell()), (0, vec![]));
}

fn in_journal(journal: u32, number: u32) -> SegmentId {
    SegmentId { journal: JournalNumber(journal), number: SegmentNumber(number) }
}

/// Bug: of a shard that had come back to a journal far less than its stream's limit was left. Mechanism: whatever lay in the own journal
/// was taken for newer than what lay in another, so that this went, and with it, as it was newer, all before it. Fix: they go by when
/// they were sealed, which no clock tells: here it was turned back each time.
#[test]
fn what_came_to_another_journal_meanwhile_is_newer() {
    // A shard that was moved there and back; and one of a log with three reactors, one, and three again, of which this is the second.
    let there_and_back = [(in_journal(0, 1), (4, 1)), (in_journal(1, 1), (4, 2)), (in_journal(0, 2), (4, 3))];
    let other_reactors =
        [(in_journal(1, 1), (4, MOVES_ALL)), (in_journal(0, 1), (5, MOVES_ALL)), (in_journal(1, 2), (6, 1))];
    let earlier_builds = [(in_journal(1, 1), (4, 0)), (in_journal(0, 1), (5, 0)), (in_journal(1, 2), (6, 0))];
    for all in [there_and_back, other_reactors, earlier_builds] {
        let bytes = NonZeroU64::new(4 * u64::from(LENGTH));
        let mut rig = Rig::new(Retention { seconds: None, bytes }, Retention::NONE);
        let numbers = [1, 11, 21];
        let footers: Vec<Footer> = (all.iter().zip(numbers))
            .map(|(&(segment, sealed_at), first)| footer_of(segment, sealed_at, &[(1, first)], 90_000 - 1000 * first))
            .collect();
        for (&(segment, _), footer) in all.iter().zip(&footers) {
            rig.space.add(Sealed { segment, ..sealed(1) }, true, 0);
            rig.look(footer);
        }
        rig.share(&Holdings::default());
        let [(oldest, _), ..] = all;
        assert_eq!(rig.space.queue, BTreeSet::from([oldest]), "two extents are too many");
        rig.look(&footers[0]);
        assert_eq!((rig.tell(), rig.dead()), (vec![(1, 11)], vec![1]));
        rig.space.forget(oldest);
        rig.share(&Holdings::default());
        assert_eq!((rig.space.queue.len(), rig.tell()), (0, vec![]), "it has settled");
    }
}

/// However shards go from journal to journal, in however many lives, and whatever the clock says: what is newer of a shard comes first, and
/// what is newer in a journal.
#[test]
fn segments_are_in_an_order_of_all_shards_and_journals() {
    const JOURNALS: u64 = 3;
    for seed in 0..300_u64 {
        let limited = Retention { seconds: None, bytes: NonZeroU64::new(1) };
        let mut rig = Rig::new(limited, limited);
        let mut dice = seed;
        let mut draw = |bound: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (dice >> 33) % bound
        };
        // Of each journal what its open segment holds, and its number; of each shard its journal, next number, and last arrival.
        let mut open: [Vec<(u32, u64)>; 3] = Default::default();
        let mut numbers = [1; 3];
        let mut shards = [(0, 1, 1), (1, 1, 1), (2, 1, 1)];
        let (mut life, mut moves, mut reactors) = (1, 1, JOURNALS);
        let mut rows: BTreeMap<SegmentId, Vec<(u32, u64)>> = BTreeMap::new();
        let mut seal = |journal: usize, sealed_at, open: &mut Vec<(u32, u64)>, arrival_ms, rig: &mut Rig| {
            if open.is_empty() {
                return;
            }
            let segment = in_journal(journal as u32, numbers[journal]);
            numbers[journal] += 1;
            rig.space.add(Sealed { segment, ..sealed(1) }, true, 0);
            rig.look(&footer_of(segment, sealed_at, open, arrival_ms));
            rows.insert(segment, std::mem::take(open));
        };
        for _ in 0..120 {
            let at = draw(3) as usize;
            let (journal, next, arrival_ms) = &mut shards[at];
            match draw(12) {
                0 => {
                    seal(*journal, (life, moves), &mut open[*journal], *arrival_ms, &mut rig);
                    *journal = draw(reactors) as usize;
                    moves += 1;
                }
                1 => {
                    let was = life;
                    (life, moves, reactors) = (life + 1, 1, 1 + draw(JOURNALS));
                    for (shard, (journal, _, arrival_ms)) in shards.iter_mut().enumerate() {
                        let owner = if draw(2) == 0 { *journal } else { shard } % reactors as usize;
                        if owner != *journal {
                            seal(*journal, (was, MOVES_ALL), &mut open[*journal], *arrival_ms, &mut rig);
                        }
                        *journal = owner;
                    }
                }
                2 => seal(*journal, (life, moves), &mut open[*journal], *arrival_ms, &mut rig),
                _ if open[*journal].iter().any(|&(shard, _)| shard == at as u32 + 1) => {}
                _ => {
                    open[*journal].push((at as u32 + 1, *next));
                    open[*journal].sort_unstable();
                    (*next, *arrival_ms) = (*next + 10, (*arrival_ms).max(draw(1_000_000)));
                }
            }
        }
        let order = rig.space.newest_first();
        assert_eq!(order.len(), rows.len(), "seed {seed}");
        let (mut before, mut lowest) = (BTreeMap::new(), BTreeMap::new());
        for segment in order {
            let newer = before.insert(segment.journal, segment);
            assert!(newer.is_none_or(|newer| newer > segment), "seed {seed}: {segment:?} after {newer:?}");
            for &(shard, first) in &rows[&segment] {
                let newer = lowest.insert(shard, first);
                assert!(newer.is_none_or(|newer| newer > first), "seed {seed}: {first} of {shard} after {newer:?}");
            }
        }
    }
}

/// What is too much goes in proportion, and only once all that is held here is known.
#[test]
fn what_others_hold_counts() {
    let bytes = NonZeroU64::new(8 * u64::from(LENGTH));
    let mut rig = Rig::new(Retention { seconds: None, bytes }, Retention::NONE);
    rig.owners = Owners::new(2, 1);
    let stream = rig.catalog.stream_of(ShardId(1)).expect("it is there").stream;
    let holdings = Holdings::default();
    let other = |extents: u64| {
        let held = Held::from([(stream, extents * u64::from(LENGTH))]);
        holdings.share((0, 0), &held, |_| bytes.map(NonZeroU64::get)).0[&stream] / u64::from(LENGTH)
    };
    assert_eq!(other(6), 6);
    // Two extents of shard 1, which is this reactor's, in each of three segments.
    let footers = [(1, 1), (2, 11), (3, 21)].map(|(number, first)| footer(number, &[(1, first), (2, first)], 10_000));
    for (footer, number) in footers.iter().zip(1..) {
        rig.add(number);
        rig.look(footer);
    }
    rig.share(&holdings);
    // Four are too many, of which two are this one's.
    assert_eq!(rig.space.queue.len(), 1);
    rig.space.others_changed();
    assert!(rig.space.held_to_share().is_none(), "it does not know what it holds before it has looked");
    assert_eq!(other(6), 4);
    rig.look(&footers[0]);
    assert_eq!((rig.tell(), rig.dead()), (vec![(1, 11)], vec![1]));
    // The other has not dropped its two yet, and has said that it will.
    rig.share(&holdings);
    assert_eq!((rig.space.queue.len(), other(4)), (0, 4));
    rig.space.others_changed();
    assert_eq!(rig.space.next_ns(7, || None), Some(7), "it does not sleep");
    rig.share(&holdings);
    assert_eq!(rig.space.queue.len(), 0, "it has settled");
    // A segment that can't be read any more counts for nothing.
    rig.space.queue.insert(id(3));
    rig.space.pass_over(id(3), rig.now_ms);
    rig.share(&holdings);
    assert_eq!(other(8), 6);
}

/// What is on its way to the disk does not count any more; what was found and is not, is found again.
#[test]
fn while_trims_are_told_nothing_is_looked_at() {
    let mut rig = Rig::new(Retention::of_seconds(1), Retention::of_seconds(1));
    rig.now_ms = Some(20_000);
    rig.add(1);
    rig.look(&footer(1, &[(1, 1)], 10_000));
    assert!(rig.space.trims_to_tell().is_some());
    rig.space.look_at_all();
    assert_eq!(rig.space.next_to_look_at(0, || rig.now_ms), None);
    rig.space.trims_told();
    assert!(rig.space.next_to_look_at(LOOK_NS, || rig.now_ms).is_some());
}

/// Bug, found on reading: on a log of many segments nothing expired while streams were made, split or deleted all the time.
/// Mechanism: each such command began the look at all of them anew. Fix: what makes no record expire begins none, and a deletion
/// one more, after the one that is going on.
#[test]
fn a_look_ends_however_often_streams_are_deleted() {
    let mut rig = Rig::new(Retention::of_seconds(1), Retention::NONE);
    rig.now_ms = Some(20_000);
    (1..=3).for_each(|number| rig.add(number));
    let living = footer(3, &[(3, 1)], 10_000);
    for looked_at in [&footer(1, &[(1, 1)], 10_000), &footer(2, &[(1, 11)], 10_000), &living] {
        rig.space.look_once_more();
        rig.look(looked_at);
    }
    assert_eq!((rig.tell(), rig.dead()), (vec![(1, 21)], vec![1, 2]));
    let next = |rig: &mut Rig| rig.space.next_to_look_at(LOOK_NS, || rig.now_ms).map(|sealed| sealed.segment);
    assert_eq!(next(&mut rig), Some(id(3)));
    rig.look(&living);
    assert_eq!(next(&mut rig), None);
}

#[test]
fn who_keeps_a_segment_waits_for_all_who_have_records_in_it() {
    let mut rig = Rig::new(Retention::of_seconds(1), Retention::NONE);
    rig.owners = Owners::new(2, 0);
    rig.now_ms = Some(20_000);
    rig.space.add(sealed(1), true, 0b10);
    // Shard 1 is another reactor's.
    rig.look(&footer(1, &[(1, 1), (2, 1)], 10_000));
    assert_eq!((rig.tell(), rig.dead()), (vec![(2, 11)], vec![]));
    assert!(!rig.space.is_all_dead(id(1)));
    rig.space.released(id(1), 1);
    assert_eq!(rig.dead(), [1]);
    assert!(rig.space.is_all_dead(id(1)) && rig.space.is_among_newest(id(1)));
}

/// While a shard moves, nothing of it is dead for anybody, nor said to be; and its next owner is known to the keeper before that.
#[test]
fn of_a_shard_that_moves_everything_lives() {
    let mut rig = Rig::new(Retention::of_seconds(1), Retention::NONE);
    rig.owners = Owners::new(2, 0);
    rig.now_ms = Some(20_000);
    rig.space.add(sealed(1), true, 0);
    // Shard 1 is another reactor's, and moves here.
    let footer = footer(1, &[(1, 1), (2, 1)], 10_000);
    rig.look(&footer);
    assert_eq!((rig.tell(), rig.dead()), (vec![(2, 11)], vec![1]));
    rig.space.begin_move(ShardId(1));
    assert_eq!(rig.dead(), [0; 0], "it is looked at again");
    rig.look(&footer);
    assert_eq!((rig.tell(), rig.dead()), (vec![], vec![]));
    assert_eq!(rig.space.lend_all(1).collect::<Vec<_>>(), [sealed(1)]);
    rig.space.end_moves(|_| true);
    rig.space.end_moves(|shard| shard != ShardId(1));
    rig.owners.move_all(std::iter::once((ShardId(1), 0)));
    rig.look(&footer);
    assert_eq!((rig.tell(), rig.dead()), (vec![(1, 11)], vec![]), "it was lent");
    rig.space.released(id(1), 1);
    assert_eq!(rig.dead(), [1]);
}

fn now() -> Moment {
    Moment::of(&footer(1, &[], 0).head)
}

/// Numbers that recovery skipped lie in no segment: a shard that ended behind some is trimmed past its records alone.
#[test]
fn a_closed_shard_is_trimmed_to_its_end_once_nothing_of_its_stream_is_as_old() {
    let limited = Retention { seconds: None, bytes: NonZeroU64::new(1 << 20) };
    let mut rig = Rig::new(limited, Retention::NONE);
    let end = Trim { shard: ShardId(1), to: Sequence(900) };
    let closed = ClosedShard { stream: StreamId(1), end, is_unsealed: false };
    rig.add(1);
    rig.space.trim_emptied((id(2), now()), &[closed]);
    assert_eq!(rig.tell(), [], "the segment was not looked at");
    rig.look(&footer(1, &[(1, 1)], 10_000));
    rig.space.trim_emptied((id(3), now()), &[closed]);
    assert_eq!(rig.tell(), [], "it lives there");
    // What lives of it is moved into a segment that was not there when it was closed.
    rig.add(3);
    rig.look(&footer(3, &[(2, 1)], 10_000));
    rig.space.compacted(&[sealed(1), sealed(3)], sealed(3));
    rig.look(&footer(3, &[(1, 1), (2, 1)], 10_000));
    rig.add(4);
    rig.look(&footer(4, &[(2, 11)], 10_000));
    rig.space.trim_emptied((id(5), now()), &[closed]);
    assert_eq!(rig.tell(), [], "it lives there");
    rig.space.pass_over(id(3), Some(0));
    rig.space.trim_emptied((id(5), now()), &[closed]);
    assert_eq!(rig.tell(), [], "it may live there");
    rig.space.forget(id(3));
    rig.space.trim_emptied((id(5), now()), &[ClosedShard { is_unsealed: true, ..closed }]);
    assert_eq!(rig.tell(), [], "it may be in no segment that is known");
    rig.space.trim_emptied((id(5), now()), &[closed]);
    assert_eq!(rig.tell(), [(1, 900)], "what there is of the stream is newer");
}

/// Bug: a closed shard was kept as long as anything of its stream lived in another journal, however new that was. Mechanism: whatever lay
/// there was taken for older. Fix: what was sealed since the shard was known to be closed is newer.
#[test]
fn what_came_to_another_journal_since_says_nothing_of_a_closed_shard() {
    let limited = Retention { seconds: None, bytes: NonZeroU64::new(1 << 20) };
    let end = Trim { shard: ShardId(1), to: Sequence(900) };
    let closed = ClosedShard { stream: StreamId(1), end, is_unsealed: false };
    for (moves, expected) in [(1, vec![]), (2, vec![(1, 900)])] {
        let mut rig = Rig::new(limited, Retention::NONE);
        rig.space.trim_emptied((id(2), now()), &[ClosedShard { is_unsealed: true, ..closed }]);
        let segment = in_journal(1, 1);
        rig.space.add(Sealed { segment, ..sealed(1) }, true, 0);
        rig.look(&footer_of(segment, (1, moves), &[(2, 1)], 10_000));
        rig.space.trim_emptied((id(3), now()), &[closed]);
        assert_eq!(rig.tell(), expected, "after {moves} moves");
    }
}
