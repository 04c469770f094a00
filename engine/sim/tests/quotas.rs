//! Quotas to the byte and the record, in simulated time: what shards take in, give to those who read, and push, over ten
//! seconds in which more is asked of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use engine::limits::{MEMORY_BYTES_MIN, QUOTA_PAUSE_BEHIND_NS, READ_RESULT_BYTES_MAX};
use engine::{Config, Reactor};
use frame::proto::{AckResult, Client, ClientEvent, ErrorCode, Read, Start, StreamDescription, Subscribe};
use frame::{Frame, Quotas, Sequence, ShardId};
use io::Pool;
use sim::{ConnectionId, LISTENER, SimIo, Surroundings, Trace, World};

const SECOND_NS: u64 = 1_000_000_000;
const RUN_NS: u64 = 10 * SECOND_NS;

/// More turns than any step here takes.
const TURNS_MAX: u32 = 2_000_000;

struct Bench {
    world: World,
    reactor: Reactor<SimIo>,
    id: ConnectionId,
    proto: Client,
    stream: Option<StreamDescription>,
    /// Records that each shard took in.
    taken: BTreeMap<ShardId, u64>,
    refused: BTreeMap<u16, u64>,
    /// Bytes of data and keys, and read results, that were given.
    given: (u64, u64),
    /// What comes next.
    next: Sequence,
    /// Answers that have not come.
    waiting: usize,
}

impl Bench {
    fn new(shards: u32, quotas: Quotas) -> Bench {
        let surroundings = Surroundings { receive_buffers: 64, receive_buffer_bytes: 64 << 10, ..Surroundings::calm() };
        let world = World::new(1, Pool::new(64 << 20).unwrap(), surroundings, Trace::new(false));
        let config = Config { segment_bytes: 16 << 20, memory_bytes: MEMORY_BYTES_MIN, ..Config::default() };
        let (mut reactor, _) = Reactor::open(world.io(), config).unwrap();
        reactor.listen(LISTENER);
        let mut out = Vec::new();
        let proto = Client::new(&mut out);
        let id = world.connect();
        world.send(id, &out);
        let mut bench = Bench {
            world,
            reactor,
            id,
            proto,
            stream: None,
            taken: BTreeMap::new(),
            refused: BTreeMap::new(),
            given: (0, 0),
            next: Sequence(1),
            waiting: 0,
        };
        bench.ask(|proto, out| {
            proto.create_stream(out, "s", shards, quotas);
        });
        bench
    }

    /// Asks for something, and waits for the answer.
    fn ask(&mut self, say: impl FnOnce(&mut Client, &mut Vec<u8>)) {
        self.say(1, say);
        self.turn_until(|bench| bench.waiting == 0);
    }

    fn say(&mut self, answers: usize, say: impl FnOnce(&mut Client, &mut Vec<u8>)) {
        let mut out = Vec::new();
        say(&mut self.proto, &mut out);
        self.waiting += answers;
        self.world.send(self.id, &out);
    }

    fn turn_until(&mut self, mut is_there: impl FnMut(&mut Bench) -> bool) {
        for _ in 0..TURNS_MAX {
            if is_there(self) {
                return;
            }
            self.reactor.turn();
            assert!(!self.world.is_stuck(), "the reactor sleeps for good");
            self.hear();
        }
        panic!("it does not come");
    }

    /// Lets time pass.
    fn pass(&mut self, until_ns: u64) {
        self.world.wake_at(until_ns);
        self.turn_until(|bench| bench.world.now_ns() >= until_ns);
    }

    /// Takes what has arrived.
    fn hear(&mut self) {
        let (mut said, mut at) = (Vec::new(), 0);
        assert_eq!(self.world.take(self.id, &mut said), None, "no connection ends here");
        while let Some(event) = self.proto.step(&said, &mut at).unwrap() {
            match event {
                ClientEvent::Stream(_, stream) => {
                    self.waiting -= 1;
                    self.stream = Some(stream);
                }
                ClientEvent::Ack(span) => {
                    for batch in self.proto.acks(&span, &said) {
                        self.waiting -= 1;
                        for (_, result) in batch.results() {
                            match result {
                                AckResult::Durable(shard, _) => *self.taken.entry(shard).or_default() += 1,
                                AckResult::Throttled(code, _) => *self.refused.entry(code as u16).or_default() += 1,
                                AckResult::Refused(code) => panic!("{code}"),
                            }
                        }
                    }
                }
                ClientEvent::ReadBegin(_, result) => self.next = result.next,
                ClientEvent::Record(span) => {
                    let frame = Frame::parse(self.proto.bytes(&span, &said)).unwrap();
                    self.given.0 += frame.record_bytes() as u64;
                }
                ClientEvent::ReadEnd(_) => {
                    self.given.1 += 1;
                    self.waiting = self.waiting.saturating_sub(1);
                }
                ClientEvent::Error(_, failure) => {
                    *self.refused.entry(failure.code as u16).or_default() += 1;
                    self.waiting -= 1;
                }
                _ => {}
            }
        }
    }

    /// Appends one record of so many bytes of data and key to each shard, by its hash key.
    fn append(&mut self, record_bytes: usize, copies: usize) {
        let stream = self.stream.clone().unwrap();
        let (mut frames, mut records, data) = (Vec::new(), 0, vec![7; record_bytes - 1]);
        for shard in stream.shards.iter().flat_map(|shard| std::iter::repeat_n(shard, copies)) {
            let encoded = frame::parts::encode(&mut frames, b"k", Some(shard.hash_start), [&data]);
            records += encoded.unwrap().frames;
        }
        self.say(1, |proto, out| {
            proto.append(out, stream.stream, records, &frames);
        });
    }

    /// Appends every so often for the time of a run, and says when the first and the last record came at the latest.
    fn overload(&mut self, record_bytes: usize, copies: usize, gap_ns: u64) -> u64 {
        let begun_ns = self.world.now_ns();
        let mut next_ns = begun_ns;
        while next_ns < begun_ns + RUN_NS {
            self.pass(next_ns);
            self.append(record_bytes, copies);
            next_ns += gap_ns;
        }
        self.turn_until(|bench| bench.waiting == 0);
        self.world.now_ns() - begun_ns
    }

    fn first_shard(&self) -> ShardId {
        self.stream.as_ref().unwrap().shards[0].shard
    }

    /// Fills the one shard, and then gives it the service's quotas.
    fn fill(&mut self, bytes: usize) {
        for _ in 0..bytes / (32 * 1001) {
            self.append(1001, 32);
            self.turn_until(|bench| bench.waiting == 0);
        }
        self.ask(|proto, out| {
            proto.set_quotas(out, "s", Quotas::SERVICE);
        });
    }
}

fn rate(number: u32) -> frame::Rate {
    NonZeroU32::new(number)
}

/// That every shard took what its bucket held and what came into it, to the record: `took_ns` is the longest that may have
/// been, and between two attempts `gap_ns` passed and at most a millisecond on the way.
fn check_taken(bench: &Bench, per_record: u64, rate: u64, took_ns: u64, gap_ns: u64) {
    let came_in = |ns: u64| u128::from(rate) * u128::from(ns) / u128::from(SECOND_NS);
    for (shard, records) in &bench.taken {
        let took = u128::from(records * per_record);
        let most = u128::from(rate) + came_in(took_ns);
        let least = u128::from(rate) + came_in(RUN_NS - gap_ns - SECOND_NS / 1000) - u128::from(per_record);
        assert!((least..=most).contains(&took), "shard {shard}: {took}, not {least} to {most}");
    }
}

#[test]
fn one_shard_takes_its_bytes() {
    let mut bench = Bench::new(1, Quotas::SERVICE);
    let took_ns = bench.overload(5001, 2, 4_000_000);
    check_taken(&bench, 5001, 1 << 20, took_ns, 4_000_000);
    assert_eq!(bench.refused.keys().copied().collect::<Vec<_>>(), [ErrorCode::WriteBytesExceeded as u16]);
}

#[test]
fn many_shards_take_their_bytes() {
    let mut bench = Bench::new(64, Quotas { write_bytes: rate(16 << 10), ..Quotas::NONE });
    let took_ns = bench.overload(501, 1, 10_000_000);
    assert_eq!(bench.taken.len(), 64);
    check_taken(&bench, 501, 16 << 10, took_ns, 10_000_000);
}

#[test]
fn a_thousand_shards_take_their_records() {
    let mut bench = Bench::new(1000, Quotas { write_records: rate(10), ..Quotas::NONE });
    let took_ns = bench.overload(20, 1, 40_000_000);
    assert_eq!(bench.taken.len(), 1000);
    check_taken(&bench, 1, 10, took_ns, 40_000_000);
    assert_eq!(bench.refused.keys().copied().collect::<Vec<_>>(), [ErrorCode::WriteRecordsExceeded as u16]);
}

/// Reads again and again, for the time of a run. What was given, and in how long.
fn read_on(bench: &mut Bench, bytes_max: u32) -> u64 {
    let (stream, shard) = (bench.stream.as_ref().unwrap().stream, bench.first_shard());
    let begun_ns = bench.world.now_ns();
    (bench.given, bench.next) = ((0, 0), Sequence(1));
    while bench.world.now_ns() < begun_ns + RUN_NS {
        let start = Start::At(bench.next);
        bench.ask(|proto, out| {
            proto.read(out, &Read { stream, shard, start, bytes_max });
        });
        let next_ns = bench.world.now_ns() + SECOND_NS / 1000;
        bench.pass(next_ns);
    }
    bench.world.now_ns() - begun_ns
}

#[test]
fn readers_together_get_their_bytes() {
    let mut bench = Bench::new(1, Quotas::NONE);
    bench.fill(26 << 20);
    let took_ns = read_on(&mut bench, u32::MAX);
    // What the bucket held, what came in, and an answer that is paid for later.
    let most = (2 << 20) + (2 << 20) * took_ns / SECOND_NS + READ_RESULT_BYTES_MAX as u64;
    // The last answer may have come just before the end, and is paid for after it; each waits for its turn of asking.
    let least = (2 << 20) * (RUN_NS - 30 * SECOND_NS / 1000) / SECOND_NS - READ_RESULT_BYTES_MAX as u64;
    assert!((least..=most).contains(&bench.given.0), "{} of {least} to {most}", bench.given.0);
    assert!(bench.refused[&(ErrorCode::ReadBytesExceeded as u16)] > 0);
}

#[test]
fn readers_together_have_their_reads() {
    let mut bench = Bench::new(1, Quotas::NONE);
    bench.fill(1 << 20);
    read_on(&mut bench, 1);
    assert!((5 + 49..=5 + 51).contains(&bench.given.1), "{} reads", bench.given.1);
    assert!(bench.refused[&(ErrorCode::ReadsExceeded as u16)] > 0);
}

#[test]
fn each_subscriber_gets_its_bytes() {
    let mut bench = Bench::new(1, Quotas::NONE);
    bench.fill(26 << 20);
    let (stream, shard) = (bench.stream.as_ref().unwrap().stream, bench.first_shard());
    bench.given = (0, 0);
    let begun_ns = bench.world.now_ns();
    for _ in 0..2 {
        bench.say(1, |proto, out| {
            let start = Start::At(Sequence(1));
            proto.subscribe(out, &Subscribe { stream, shard, start, granted: u64::MAX });
        });
    }
    bench.pass(begun_ns + RUN_NS);
    let came_in = |ns: u64| 2 * (2 << 20) * ns / SECOND_NS;
    let took_ns = bench.world.now_ns() - begun_ns;
    // Nothing is saved up at the beginning. A push is of what is there, and may go past it by a record.
    let most = came_in(took_ns) + 2 * 1001;
    let least = came_in(RUN_NS - QUOTA_PAUSE_BEHIND_NS);
    assert!((least..=most).contains(&bench.given.0), "{} of {least} to {most}", bench.given.0);
    assert!(bench.reactor.stats().throttled.pushes > 0);
    // Without quotas it goes on at once.
    bench.ask(|proto, out| {
        proto.set_quotas(out, "s", Quotas::NONE);
    });
    let all = 2 * bench.taken[&shard] * 1001;
    bench.turn_until(|bench| bench.given.0 == all);
    assert!(bench.world.now_ns() - begun_ns < RUN_NS + SECOND_NS);
}

#[test]
fn a_record_in_parts_is_charged_once_and_whole() {
    const RECORD_BYTES: usize = 5 << 20;
    let mut bench = Bench::new(1, Quotas { write_bytes: NonZeroU32::new(1 << 20), ..Quotas::NONE });
    let shard = bench.stream.clone().unwrap().shards[0].shard;
    let begun_ns = bench.world.now_ns();
    let append = |bench: &mut Bench| {
        bench.append(RECORD_BYTES, 1);
        bench.turn_until(|bench| bench.waiting == 0);
        (bench.taken[&shard], bench.refused.get(&(ErrorCode::WriteBytesExceeded as u16)).copied().unwrap_or(0))
    };
    assert_eq!(append(&mut bench), (1, 0), "a full bucket lets it through");
    // More than there is room for at once: what is refused gives its room back.
    for refused in 1..=20 {
        assert_eq!(append(&mut bench), (1, refused), "one answer, not one a part");
    }
    // It took what five seconds bring.
    bench.pass(begun_ns + 9 * SECOND_NS / 2);
    assert_eq!(append(&mut bench), (1, 21));
    bench.pass(begun_ns + 11 * SECOND_NS / 2);
    assert_eq!(append(&mut bench), (2, 21));
}
