//! Tests of the deficit round robin. Records lie in spills, so that no receive is needed.

use frame::Sequence;
use frame::batch::Extent;
use io::{Completion, Op, Pool, Token, Wait};

use super::*;

/// A clock and nothing else.
struct Clock(Pool);

impl Io for Clock {
    fn submit(&mut self, op: Op, _token: Token) {
        panic!("{op:?} is not the intake's");
    }

    fn turn(&mut self, _wait: Wait, _completions: &mut Vec<Completion>) {}

    fn received(&self, received: Received) -> &[u8] {
        panic!("{received:?} was never received");
    }

    fn recycle(&mut self, received: Received) {
        panic!("{received:?} was never received");
    }

    fn receive_buffers(&self) -> usize {
        0
    }

    fn pool(&self) -> &Pool {
        &self.0
    }

    fn mono_ns(&self) -> u64 {
        0
    }

    fn wall_ms(&self) -> u64 {
        1
    }

    fn boottime_ms(&self) -> u64 {
        0
    }

    fn random(&mut self) -> [u8; 16] {
        [0; 16]
    }
}

struct Rig {
    io: Clock,
    intake: Intake,
    appends: Appends,
    shards: Shards,
}

impl Rig {
    fn new(shards: usize) -> Rig {
        let mut all = Shards::new();
        all.grow(shards);
        let intake = Intake::new(0, shards);
        Rig { io: Clock(Pool::new(4096).unwrap()), intake, appends: Appends::new(), shards: all }
    }

    fn push(&mut self, shard: u32, data_bytes: usize) {
        let mut bytes = Vec::new();
        frame::frame::encode(&mut bytes, b"key", None, &vec![7; data_bytes]).unwrap();
        let place = self.intake.spill(&bytes);
        self.intake.push(ShardId(shard), place, bytes.len(), CATALOG_APPEND, 0);
    }

    /// Fills a batch of `bytes`; its extents.
    fn fill(&mut self, bytes: usize) -> Vec<Extent> {
        let (mut buf, mut extents, mut shares, mut refused) = (vec![0; bytes], Vec::new(), Vec::new(), Vec::new());
        let mut writer = Writer::new(&mut buf, &mut extents);
        let (appends, shards) = (&mut self.appends, &mut self.shards);
        let mut batch = Batch { writer: &mut writer, shares: &mut shares, refused: &mut refused, appends, shards };
        self.intake.fill(&mut self.io, &mut batch, bytes);
        extents
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
        let bytes = frame::batch::batch_bytes(rig.intake.next_length().unwrap(), 1).max(256 << 10);
        batches += 1;
        if rig.fill(bytes).iter().any(|extent| extent.shard.0 == 1) {
            break;
        }
        assert!(batches < 10, "the large frame starves");
    }
}
