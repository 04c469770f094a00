//! A start whose journal ends in a full segment, on a disk that refuses to give it another.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use engine::limits::MEMORY_BYTES_MIN;
use engine::{Config, OpenError, Reactor};
use frame::batch::{Head, Header, Writer};
use frame::limits::BLOCK_BYTES;
use frame::segment::FIRST_BATCH;
use io::{Completion, FileOp, Io, Op, Payload, Pool, Received, Token, Wait};
use sim::{Death, SimIo, Surroundings, Trace, World};

const SEGMENT_BYTES: u32 = 4 << 20;
const FULL: &str = "0000-0000000001.segment";
const NEXT: &str = "0000-0000000002.segment";
const EIO: i32 = 5;

/// A world in which no file can be given another name.
struct Nameless {
    io: SimIo,
    refused: Vec<Completion>,
}

impl Io for Nameless {
    fn submit(&mut self, op: Op, token: Token) {
        match op {
            Op::File(FileOp::Rename { .. }) => {
                self.refused.push(Completion { token, result: -EIO, more: false, payload: Payload::None });
            }
            op => self.io.submit(op, token),
        }
    }

    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) {
        self.io.turn(if self.refused.is_empty() { wait } else { Wait::No }, completions);
        completions.append(&mut self.refused);
    }

    fn received(&self, received: Received) -> &[u8] {
        self.io.received(received)
    }

    fn recycle(&mut self, received: Received) {
        self.io.recycle(received);
    }

    fn receive_buffers(&self) -> usize {
        self.io.receive_buffers()
    }

    fn directories(&self) -> usize {
        self.io.directories()
    }

    fn pool(&self) -> &Pool {
        self.io.pool()
    }

    fn mono_ns(&self) -> u64 {
        self.io.mono_ns()
    }

    fn wall_ms(&self) -> u64 {
        self.io.wall_ms()
    }

    fn boottime_ms(&self) -> u64 {
        self.io.boottime_ms()
    }

    fn random(&mut self) -> [u8; 16] {
        self.io.random()
    }
}

fn world() -> World {
    World::new(7, Pool::new(16 << 20).unwrap(), Surroundings::calm(), Trace::default())
}

fn config() -> Config {
    Config { segment_bytes: SEGMENT_BYTES, memory_bytes: MEMORY_BYTES_MIN, segments_ready: 1, ..Config::default() }
}

/// Marks that follow the first batch of a segment, until there is room for no other and a footer.
fn marks(first: &Header) -> Vec<u8> {
    let (mut bytes, mut previous_checksum) = (Vec::new(), first.checksum);
    let mut position = first.head.position.advance(first.length as u32);
    while position.offset() + 3 * BLOCK_BYTES as u32 <= SEGMENT_BYTES {
        let (mut block, mut extents) = (vec![0; BLOCK_BYTES], Vec::new());
        let head = Head { position, flags: 0, previous_checksum, durable: position, skip: 0, ..first.head };
        (_, previous_checksum) = Writer::new(&mut block, &mut extents).finish(&head);
        bytes.append(&mut block);
        position = position.advance(BLOCK_BYTES as u32);
    }
    bytes
}

/// Bug: opening never ended where the last segment was full and the next one could not be made. Mechanism: the failure poisons the
/// journal, which then makes no segment any more, and the first batch of the life waited for one. Fix: it is said instead, as
/// of every other failure before that batch is durable.
#[test]
fn a_start_that_gets_no_segment_says_so() {
    let filled = world();
    let reactor = Reactor::open(filled.io(), config()).unwrap().0;
    filled.die();
    drop(reactor);
    filled.next_life(Death::PowerCut, Surroundings::calm());
    let mut files = filled.files();
    let first = Header::parse(&files.read(FULL, u64::from(FIRST_BATCH), BLOCK_BYTES)).unwrap();
    files.write(FULL, u64::from(FIRST_BATCH) + first.length as u64, &marks(&first));
    files.remove(NEXT);
    let world = world();
    world.load(files);
    let opened = Reactor::open(Nameless { io: world.io(), refused: Vec::new() }, config()).map(drop);
    assert!(matches!(opened, Err(OpenError::Io { errno, .. }) if errno == EIO), "{opened:?}");
    world.die();
    world.next_life(Death::Killed, Surroundings::calm());
    let (_, recovered) = Reactor::open(world.io(), config()).unwrap();
    assert!(recovered.damage.is_empty() && recovered.cuts.is_empty(), "{recovered:?}");
}
