//! Tests of the deficit round robin. Records lie in spills, so that no receive is needed.

use frame::batch::Extent;
use frame::{Frame, Quotas, Sequence};
use io::{Op, Pool, Token};

use super::*;
use crate::buckets::Buckets;
use crate::catalog::{Annotation, Catalog, Command};
use crate::inert::{Inert, Own};
use crate::limits::LARGE_BYTES_MIN;
use crate::router::Outline;
use frame::proto::ErrorCode;

/// A clock and nothing else.
struct Clock(Pool);

impl Own for Clock {
    fn submit(&mut self, op: Op, _token: Token) {
        panic!("{op:?} is not the intake's");
    }

    fn pool(&self) -> &Pool {
        &self.0
    }

    fn wall_ms(&self) -> u64 {
        1
    }
}

struct Rig {
    io: Inert<Clock>,
    intake: Intake,
    appends: Appends,
    shards: Shards,
    producers: Producers,
    catalog: Catalog,
    buckets: Buckets,
}

impl Rig {
    fn new(shards: usize) -> Rig {
        let mut all = Shards::new();
        all.grow(shards);
        let intake = Intake::new(0, shards, LARGE_BYTES_MIN);
        let producers = Producers::within(1 << 20);
        let (mut catalog, buckets) = (Catalog::new(), Buckets::default());
        if shards > 1 {
            let made = catalog.plan_create("s", shards as u32 - 1, Quotas::NONE.into(), Annotation::default(), 1);
            catalog.apply(&made.unwrap()).unwrap();
        }
        let io = Inert(Clock(Pool::new(4096).unwrap()));
        Rig { io, intake, appends: Appends::new(), shards: all, producers, catalog, buckets }
    }

    fn push(&mut self, shard: u32, data_bytes: usize) {
        let mut bytes = Vec::new();
        frame::frame::encode(&mut bytes, b"key", None, &vec![7; data_bytes]).unwrap();
        let place = self.intake.spill(&bytes);
        self.intake.push(ShardId(shard), place, bytes.len(), CATALOG_APPEND, 0);
    }

    /// A record in parts of `each` bytes of data.
    fn push_large(&mut self, shard: u32, data_bytes: usize, each: usize) {
        let mut bytes = Vec::new();
        frame::parts::encode_cut(&mut bytes, b"key", None, [&vec![7; data_bytes]], each).unwrap();
        let large = self.intake.large.begin(Outline::default(), Ok(bytes.len()), 0);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let frame = Frame::parse(rest).unwrap();
            self.intake.large.take(large, &frame, frame.part().unwrap()).unwrap();
            self.intake.large.keep(large, rest[..frame.length()].to_vec());
            rest = &rest[frame.length()..];
        }
        let append = self.appends.begin(Default::default());
        self.appends.wait(append);
        self.intake.push(ShardId(shard), Place::Large(large), 0, append, 0);
    }

    /// Fills a batch of `bytes`; its extents.
    fn fill(&mut self, bytes: usize) -> Vec<Extent> {
        self.fill_with(bytes, true).0
    }

    /// Fills a batch of `bytes`; its extents, and where it leaves a record open.
    fn fill_with(&mut self, bytes: usize, may_take_part: bool) -> (Vec<Extent>, Option<(u32, u64)>) {
        let (mut buf, mut extents, mut shares, mut refused) = (vec![0; bytes], Vec::new(), Vec::new(), Vec::new());
        let mut writer = Writer::new(&mut buf, &mut extents);
        let (appends, shards) = (&mut self.appends, &mut self.shards);
        let (shares, refused, mut open) = (&mut shares, &mut refused, None);
        let (producers, catalog, buckets) = (&mut self.producers, &self.catalog, &mut self.buckets);
        let numbering = Numbering { producers, placed: &mut Vec::new(), catalog, buckets, now_ns: None };
        let vault = &mut Vault::new([0; 16]);
        let (writer, open_in, now_ms) = (&mut writer, &mut open, 0);
        let mut batch =
            Batch { writer, shares, refused, appends, shards, now_ms, may_take_part, open: open_in, numbering, vault };
        self.intake.fill(&mut self.io, &mut batch, bytes);
        (extents, open.map(|(shard, first)| (shard.0, first.0)))
    }

    /// Whether nothing of the room for large records is taken.
    fn has_all_room(&self) -> bool {
        self.intake.large.fits(LARGE_BYTES_MIN) && self.intake.large.queued_bytes() == 0
    }
}

fn bytes(extents: &[Extent]) -> usize {
    extents.iter().map(|extent| extent.length as usize).sum()
}

#[test]
fn a_batch_of_many_shards_is_full() {
    let mut rig = Rig::new(1001);
    for shard in (1..=1000).cycle().take(5000) {
        rig.push(shard, 1024);
    }
    let mut last = 0;
    for _ in 0..4 {
        let extents = rig.fill(256 << 10);
        assert!(bytes(&extents) > 240 << 10, "{} bytes in a batch of 256 KiB", bytes(&extents));
        assert_eq!(extents[0].shard.0, last + 1, "the next batch goes on where this one ended");
        last = extents.last().unwrap().shard.0
            - u32::from(rig.intake.active.front() == Some(&extents.last().unwrap().shard));
    }
}

#[test]
fn everything_goes_when_it_fits_one_extent_a_shard() {
    let mut rig = Rig::new(9);
    for shard in (1..=8).cycle().take(80) {
        rig.push(shard, 100);
    }
    let extents = rig.fill(256 << 10);
    assert_eq!(extents.len(), 8);
    assert!(extents.iter().all(|extent| extent.count == 10 && extent.first_sequence == Sequence(1)));
    assert!(rig.intake.is_empty());
}

#[test]
fn a_hot_shard_leaves_the_others_their_share_and_takes_the_rest() {
    let mut rig = Rig::new(5);
    for _ in 0..2000 {
        rig.push(1, 1024);
    }
    for shard in [2, 3, 4] {
        (0..10).for_each(|_| rig.push(shard, 1024));
    }
    let extents = rig.fill(256 << 10);
    let of = |shard: u32| extents.iter().filter(|e| e.shard.0 == shard).map(|e| e.count).sum::<u32>();
    assert_eq!((of(2), of(3), of(4)), (10, 10, 10));
    assert!(of(1) > 180, "{} of the hot shard", of(1));
}

#[test]
fn a_large_frame_gets_its_turn() {
    let mut rig = Rig::new(4);
    rig.push(1, 1 << 19);
    let mut batches = 0;
    loop {
        for shard in [2, 3] {
            (0..200).for_each(|_| rig.push(shard, 1024));
        }
        let bytes = frame::batch::batch_bytes(rig.intake.next_length(true).unwrap(), 1).max(256 << 10);
        batches += 1;
        if rig.fill(bytes).iter().any(|extent| extent.shard.0 == 1) {
            break;
        }
        assert!(batches < 10, "the large frame starves");
    }
}

#[test]
fn parts_go_one_a_batch_and_nothing_of_their_shard_between() {
    let mut rig = Rig::new(4);
    rig.push(1, 100);
    rig.push_large(1, 3000, 1000);
    rig.push(1, 100);
    rig.push_large(2, 3000, 1000);
    let mut seen = Vec::new();
    while rig.intake.next_length(true).is_some() {
        rig.push(3, 100);
        let (extents, open) = rig.fill_with(64 << 10, true);
        assert!(extents.iter().any(|extent| extent.shard.0 == 3), "others go along");
        let rows = extents.iter().filter(|extent| extent.shard.0 != 3);
        seen.push((rows.map(|e| (e.shard.0, e.first_sequence.0, e.count)).collect::<Vec<_>>(), open));
        assert!(seen.len() < 10, "{seen:?}");
    }
    let due = [
        (vec![(1, 1, 2)], Some((1, 2))),
        (vec![(2, 1, 1)], Some((2, 1))),
        (vec![(1, 3, 1)], Some((1, 2))),
        (vec![(2, 2, 1)], Some((2, 1))),
        (vec![(1, 4, 2)], None),
        (vec![(2, 3, 1)], None),
    ];
    assert_eq!(seen, due);
    assert!(rig.intake.is_empty() && rig.has_all_room());
}

#[test]
fn a_part_that_has_to_wait_is_passed_over() {
    let mut rig = Rig::new(3);
    rig.push_large(1, 3000, 1000);
    assert_eq!((rig.intake.next_length(false), rig.intake.has_ordinary()), (None, false));
    assert_eq!(rig.intake.wanted_bytes(false), 0);
    rig.push(2, 100);
    assert_eq!((rig.intake.next_length(false), rig.intake.has_ordinary()), (Some(152), true));
    let (extents, open) = rig.fill_with(64 << 10, false);
    assert_eq!((extents.len(), extents[0].shard.0, open), (1, 2, None));
    assert_eq!(rig.intake.next_length(false), None);
    assert_eq!(rig.fill_with(64 << 10, true).1, Some((1, 1)));
}

#[test]
fn a_record_that_is_cut_short_gives_everything_back() {
    let mut rig = Rig::new(3);
    rig.push_large(1, 3000, 1000);
    rig.push(1, 100);
    rig.push_large(2, 2000, 1000);
    rig.fill(64 << 10);
    let mut refused = 0;
    rig.intake.drain(&mut rig.io, &mut rig.producers, false, |_, _| refused += 1);
    assert_eq!((refused, rig.intake.bytes()), (3, 0));
    assert!(rig.intake.is_empty() && rig.has_all_room());
    rig.push(1, 100);
    let extents = rig.fill(64 << 10);
    assert_eq!((extents[0].first_sequence, extents[0].count), (Sequence(2), 1), "what was stored keeps its number");
}

#[test]
fn a_spoiled_part_refuses_its_record_alone() {
    let mut rig = Rig::new(2);
    let mut bytes = Vec::new();
    frame::parts::encode_cut(&mut bytes, b"key", None, [&vec![7; 3000]], 1000).unwrap();
    let length = Frame::parse(&bytes).unwrap().length();
    bytes[length + 16] ^= 1;
    let large = rig.intake.large.begin(Outline::default(), Ok(bytes.len()), 0);
    bytes.chunks(length).for_each(|part| rig.intake.large.keep(large, part.to_vec()));
    let append = rig.appends.begin(Default::default());
    rig.appends.wait(append);
    rig.intake.push(ShardId(1), Place::Large(large), 0, append, 0);
    rig.push(1, 100);
    assert_eq!(rig.fill_with(64 << 10, true).1, Some((1, 1)));
    let (extents, open) = rig.fill_with(64 << 10, true);
    assert_eq!((extents[0].first_sequence, extents[0].count, open), (Sequence(2), 1, None));
    let results = &rig.appends.find(append).results;
    assert_eq!(results[..], [(0, frame::proto::AckResult::Refused(ErrorCode::Checksum))]);
    assert!(rig.intake.is_empty() && rig.has_all_room());
}

#[test]
fn what_waits_for_a_stream_that_is_deleted_is_refused() {
    let mut rig = Rig::new(3);
    rig.push(1, 100);
    rig.push_large(2, 300, 100);
    let (_, open) = rig.fill_with(10_000, true);
    assert_eq!(open, Some((2, 1)), "two parts are to come");
    rig.push_large(1, 150, 100);
    let stream = rig.catalog.by_name("s").unwrap().stream;
    rig.catalog.apply(&Command::Delete(stream)).unwrap();
    assert!(rig.fill(10_000).is_empty());
    assert!(rig.intake.is_empty() && rig.has_all_room());
}
