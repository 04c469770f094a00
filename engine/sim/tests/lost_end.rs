//! Bug: damage at the very end of a journal was told at one start and forgotten at the next, which passed over the lost numbers in
//! silence. Mechanism: what the life between had begun was chained to the last batch before the damage, so the next start took
//! the two for neighbours. Fix: that chain is broken.

use std::sync::mpsc::channel;

use engine::{Answer, Call, Config, Counts, Reactor, Recovered, Status};
use frame::batch::Header;
use frame::limits::BLOCK_BYTES;
use frame::proto::{ErrorCode, Read, ShardDescription, Start};
use frame::segment::FIRST_BATCH;
use frame::{Quotas, Sequence, StreamId};
use io::Pool;
use sim::{Death, Files, SimIo, Surroundings, Trace, World};

const NAME: &str = "short";
const FIRST: &str = "0000-0000000001.segment";
const BEFORE: u64 = 3;

struct Life {
    reactor: Reactor<SimIo>,
    handle: engine::Handle,
}

impl Life {
    fn open(world: &World) -> (Life, Recovered) {
        let memory_bytes = engine::limits::MEMORY_BYTES_MIN;
        let config = Config { segment_bytes: 4 << 20, memory_bytes, segments_ready: 1, ..Config::default() };
        let (mut reactor, recovered) = Reactor::open(world.io(), config).expect("the rest can be read");
        let handle = reactor.handle(world.waker(0));
        (Life { reactor, handle }, recovered)
    }

    fn call(&mut self, call: Call) -> Answer {
        let (tell, answer) = channel();
        let tell = move |answer| tell.send(answer).expect("somebody waits");
        self.handle.call(call, tell).expect("there is room for a call");
        for _ in 0..10_000 {
            self.reactor.turn();
            if let Ok(answer) = answer.try_recv() {
                return answer;
            }
        }
        panic!("no answer comes");
    }

    fn append(&mut self, data: &[u8]) {
        let mut frames = Vec::new();
        frame::frame::encode(&mut frames, b"key", None, data).expect("a record of that size is legal");
        let answer = self.call(Call::Append { name: NAME.to_owned(), frames });
        assert!(matches!(answer, Answer::Appended(..)), "{answer:?}");
    }

    fn shard(&mut self) -> (StreamId, ShardDescription) {
        let describe = Call::DescribeStream { name: NAME.to_owned(), from: 0, limit: 1 };
        let Answer::Stream(stream, mut shards) = self.call(describe) else { panic!("the stream is there") };
        (stream.stream, shards.remove(0))
    }

    /// One record's bytes, if it can be read.
    fn read(&mut self, number: u64) -> Result<Vec<u8>, ErrorCode> {
        let (stream, shard) = self.shard();
        let read = Read { stream, shard: shard.shard, start: Start::At(Sequence(number)), bytes_max: 1 };
        match self.call(Call::Read { read, frames_max: 1, counts: Counts::Nothing }) {
            Answer::Records(_, frames) => Ok(frame::Frame::parse(&frames).expect("a record comes").data().to_vec()),
            Answer::Failed(failure) => Err(failure.code),
            answer => panic!("{answer:?}"),
        }
    }

    fn end(self, world: &World) {
        world.die();
        drop(self);
        world.next_life(Death::PowerCut, Surroundings::calm());
    }
}

/// A log that was shut down, and of which the last record and the mark behind it are not what was written; nothing lies behind
/// its one segment.
fn without_its_end() -> Files {
    let pool = Pool::new(16 << 20).expect("memory for the test");
    let world = World::new(51, pool, Surroundings::calm(), Trace::default());
    let (mut life, _) = Life::open(&world);
    let create = Call::CreateStream {
        name: NAME.to_owned(),
        shards: 1,
        settings: Quotas::NONE.into(),
        annotation: <_>::default(),
    };
    assert!(matches!(life.call(create), Answer::Stream(..)));
    (0..=BEFORE).for_each(|number| life.append(&[number as u8; 100]));
    life.reactor.shut_down();
    while life.reactor.turn() == Status::Running {}
    life.end(&world);
    let mut files = world.files();
    let others: Vec<String> =
        files.names().filter(|name| name.ends_with(".segment") && *name != FIRST).map(str::to_owned).collect();
    others.iter().for_each(|name| files.remove(name));
    let (mut at, mut newest) = (u64::from(FIRST_BATCH), 0);
    while let Some(header) = Header::parse(&files.read(FIRST, at, BLOCK_BYTES)) {
        newest = if header.is_mark() { newest } else { at };
        at += header.length as u64;
    }
    assert!(newest > 0 && at > newest + BLOCK_BYTES as u64, "a mark follows the last record");
    files.write(FIRST, newest, &vec![0xa5; (at - newest) as usize]);
    files
}

#[test]
fn damage_at_the_end_is_told_at_every_start() {
    let files = without_its_end();
    let pool = Pool::new(16 << 20).expect("memory for the test");
    let world = World::new(52, pool, Surroundings::calm(), Trace::default());
    world.load(files);
    let lost = BEFORE + 1;
    let mut after = None;
    for start in 0..4 {
        let (mut life, recovered) = Life::open(&world);
        assert!(!recovered.damage.is_empty(), "start {start}: {recovered:?}");
        for number in 1..=BEFORE {
            assert_eq!(life.read(number), Ok(vec![number as u8 - 1; 100]), "start {start}");
        }
        assert_eq!(life.read(lost), Err(ErrorCode::Damaged), "start {start}");
        let tip = life.shard().1.tip.0;
        if let Some(after) = after {
            assert_eq!(life.read(after), Ok(vec![9; 100]), "start {start}");
        }
        life.append(&[9; 100]);
        after = Some(tip);
        life.end(&world);
    }
}
