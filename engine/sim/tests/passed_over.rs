//! Bug: a read that passed over many segments whose records had expired never ended, and overflowed the reactor's stack (found by
//! kills amid retention). Mechanism: it was planned anew from its first number after each footer that was read for it, and
//! the footers of all those segments are more than the cache of footers holds; those that a window still had were taken by recursion. Fix: it goes
//! on where it had come to, in a loop.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;

use frame::proto::{Client, ClientEvent, Read, ReadResult, Start, StreamDescription, Subscribe};
use frame::{Quotas, Retention, Sequence, Settings};
use sim::{ConnectionId, Surroundings};

use bench::Bench;

/// More turns than any step takes.
const TURNS_MAX: u32 = 100_000;

/// So many that a few footers fill their cache.
const SHARDS: u32 = 10_000;
const SEGMENT_BYTES: u32 = 4 << 20;
const SEGMENTS: usize = 40;

const RECORDS: u32 = 10;
const DATA_BYTES: usize = 100_000;

/// Between two looks for what has expired, of which there is one a second, of records that are kept for one second.
const EXPIRED_NS: u64 = 1_500_000_000;

/// A client's end of the connection, and what it has heard.
struct Peer {
    id: ConnectionId,
    proto: Client,
    stream: Option<StreamDescription>,
    acked: usize,
    results: Vec<ReadResult>,
}

impl Peer {
    fn hear(&mut self, bench: &Bench) {
        let (mut said, mut at) = (Vec::new(), 0);
        assert_eq!(bench.world.take(self.id, &mut said), None, "no connection ends here");
        while let Some(event) = self.proto.step(&said, &mut at).unwrap() {
            match event {
                ClientEvent::Stream(_, stream) => self.stream = Some(stream),
                ClientEvent::Ack(span) => self.acked += self.proto.acks(&span, &said).count(),
                ClientEvent::ReadBegin(_, result) => self.results.push(result),
                ClientEvent::Error(_, failure) => panic!("{failure}"),
                _ => {}
            }
        }
    }
}

/// Many segments of one shard, in a directory with so many streams like its own.
fn filled(streams: u32, retention: Retention) -> (Bench, Peer) {
    let surroundings = Surroundings { receive_buffers: 64, receive_buffer_bytes: 64 << 10, ..Surroundings::calm() };
    let mut bench = Bench::new(1, surroundings, (64 << 20, bench::small(SEGMENT_BYTES)), TURNS_MAX, |io| io);
    let mut out = Vec::new();
    let proto = Client::new(&mut out);
    let id = bench.world.connect();
    bench.world.send(id, &out);
    let mut peer = Peer { id, proto, stream: None, acked: 0, results: Vec::new() };
    for name in 0..streams {
        let mut out = Vec::new();
        let settings = Settings { quotas: Quotas::NONE, retention };
        peer.proto.create_stream(&mut out, &name.to_string(), SHARDS, settings);
        bench.world.send(id, &out);
        peer.stream = None;
        bench.turn_until(|bench| {
            peer.hear(bench);
            peer.stream.is_some()
        });
    }
    let stream = peer.stream.clone().unwrap();
    let mut frames = Vec::new();
    (0..RECORDS).for_each(|_| frame::frame::encode(&mut frames, b"k", Some(0), &[7; DATA_BYTES]).unwrap());
    for append in 0..SEGMENTS * SEGMENT_BYTES as usize / frames.len() {
        let mut out = Vec::new();
        peer.proto.append(&mut out, stream.stream, RECORDS, &frames);
        bench.world.send(peer.id, &out);
        bench.turn_until(|bench| {
            peer.hear(bench);
            peer.acked > append
        });
    }
    (bench, peer)
}

/// Bug: a read that searched among many segments began its search anew with each footer that was read for it, and never ended where
/// fewer footers had room than the search looks at. Fix: their rows are kept.
#[test]
fn a_search_ends_however_few_footers_there_is_room_for() {
    let (mut bench, mut peer) = filled(4, Retention::NONE);
    let stream = peer.stream.clone().unwrap();
    let (shard, records) = (stream.shards[0].shard, peer.acked as u64 * u64::from(RECORDS));
    // About one of each segment.
    for number in (1..=records).step_by(SEGMENT_BYTES as usize / DATA_BYTES) {
        let mut out = Vec::new();
        let start = Start::At(Sequence(number));
        peer.results.clear();
        peer.proto.read(&mut out, &Read { stream: stream.stream, shard, start, bytes_max: 1000 });
        bench.world.send(peer.id, &out);
        bench.turn_until(|bench| {
            peer.hear(bench);
            !peer.results.is_empty()
        });
        assert_eq!((peer.results[0].next, peer.results[0].records), (Sequence(number + 1), 1));
    }
}

#[test]
fn more_segments_than_there_is_room_for_their_footers_are_passed_over() {
    let (mut bench, mut peer) = filled(1, Retention::of_seconds(1));
    let stream = peer.stream.clone().unwrap();
    let expired_ns = bench.world.now_ns() + EXPIRED_NS;
    bench.world.wake_at(expired_ns);
    bench.turn_until(|bench| bench.world.now_ns() >= expired_ns);

    let (mut out, shard, start) = (Vec::new(), stream.shards[0].shard, Start::At(Sequence(1)));
    peer.proto.read(&mut out, &Read { stream: stream.stream, shard, start, bytes_max: 1000 });
    peer.proto.subscribe(&mut out, &Subscribe { stream: stream.stream, shard, start, granted: 1000 });
    bench.world.send(peer.id, &out);
    // The read is answered; so is the subscription, and then told where it goes on.
    bench.turn_until(|bench| {
        peer.hear(bench);
        let level = peer.results.iter().filter(|result| result.next == result.tip && result.records == 0);
        level.count() == 2
    });
    let trim = peer.results[0].trim;
    assert!(trim.0 < u64::from(RECORDS) * 10, "the trim point is at {trim}: there was little to be passed over");
}
