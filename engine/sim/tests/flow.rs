//! Flow: what is awaited does not wait behind records, and what all connections may send together fits.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;

use std::collections::BTreeMap;

use engine::limits::{PENDING_BYTES_MAX, PUSH_BYTES_MAX, PUSH_WAITING_BYTES_MAX, WINDOW_BYTES, WINDOWS_BYTES};
use frame::proto::{Client, ClientEvent, Start, Subscribe};
use frame::{Quotas, RequestId, Sequence, ShardId, StreamId};
use sim::{ConnectionId, NetworkFaults, Surroundings};

use bench::Bench;

/// More turns than any step here takes.
const TURNS_MAX: u32 = 1_000_000;

/// A client's end of a connection.
struct Peer {
    id: ConnectionId,
    proto: Client,
    stream: Option<(StreamId, ShardId)>,
    pongs: usize,
    /// Bytes of frames that came.
    taken: usize,
    /// Those that had come when the first pong did.
    taken_at_pong: usize,
    /// Bytes of each append that is not answered.
    unanswered: BTreeMap<RequestId, usize>,
    /// Bytes of those that are.
    answered: usize,
}

impl Bench {
    fn of(network: NetworkFaults) -> Bench {
        let surroundings =
            Surroundings { network, receive_buffers: 64, receive_buffer_bytes: 64 << 10, ..Surroundings::calm() };
        Bench::new(1, surroundings, (64 << 20, bench::small(64 << 20)), TURNS_MAX, |io| io)
    }

    /// A client that knows the one stream.
    fn connect(&mut self) -> Peer {
        let mut out = Vec::new();
        let mut proto = Client::new(&mut out);
        proto.create_stream(&mut out, "s", 1, Quotas::NONE);
        let id = self.world.connect();
        self.world.send(id, &out);
        let mut peer = Peer {
            id,
            proto,
            stream: None,
            pongs: 0,
            taken: 0,
            taken_at_pong: 0,
            unanswered: BTreeMap::new(),
            answered: 0,
        };
        self.turn_until(|bench| {
            bench.hear(&mut peer);
            peer.stream.is_some()
        });
        peer
    }

    /// Takes what has arrived.
    fn hear(&mut self, peer: &mut Peer) {
        let (mut said, mut at) = (Vec::new(), 0);
        assert_eq!(self.world.take(peer.id, &mut said), None, "no connection ends here");
        while let Some(event) = peer.proto.step(&said, &mut at).unwrap() {
            match event {
                ClientEvent::Stream(_, stream) => peer.stream = Some((stream.stream, stream.shards[0].shard)),
                ClientEvent::Record(span) => peer.taken += peer.proto.bytes(&span, &said).len(),
                ClientEvent::Ack(span) => {
                    for batch in peer.proto.acks(&span, &said) {
                        peer.answered += peer.unanswered.remove(&batch.request).unwrap();
                    }
                }
                ClientEvent::Pong(_) => {
                    if peer.pongs == 0 {
                        peer.taken_at_pong = peer.taken;
                    }
                    peer.pongs += 1;
                }
                _ => {}
            }
        }
    }

    fn say(&self, peer: &mut Peer, say: impl FnOnce(&mut Client, &mut Vec<u8>)) {
        let mut out = Vec::new();
        say(&mut peer.proto, &mut out);
        self.world.send(peer.id, &out);
    }

    /// Appends `records` of `bytes` each, if the credit allows it.
    fn append(&self, peer: &mut Peer, records: u32, bytes: usize) -> bool {
        let (mut frames, (stream, _)) = (Vec::new(), peer.stream.unwrap());
        (0..records).for_each(|_| frame::frame::encode(&mut frames, b"k", None, &vec![7; bytes]).unwrap());
        let may = peer.proto.may_append(frames.len() + 40);
        if may {
            let mut out = Vec::new();
            let request = peer.proto.append(&mut out, stream, records, &frames);
            peer.unanswered.insert(request, out.len());
            self.world.send(peer.id, &out);
        }
        may
    }
}

#[test]
fn answers_go_before_records_that_wait() {
    let mut bench = Bench::of(NetworkFaults { window_bytes: 16 << 10, ..NetworkFaults::CALM });
    let (mut producer, mut subscriber) = (bench.connect(), bench.connect());
    for _ in 0..40 {
        assert!(bench.append(&mut producer, 100, 1000));
        bench.turn_until(|bench| {
            bench.hear(&mut producer);
            producer.unanswered.is_empty()
        });
    }
    bench.world.set_reading(subscriber.id, false);
    let (stream, shard) = subscriber.stream.unwrap();
    bench.say(&mut subscriber, |proto, out| {
        let start = Start::At(Sequence(1));
        proto.subscribe(out, &Subscribe { stream, shard, start, granted: u64::MAX });
    });
    // All that may wait does, while the producer is served many times.
    for _ in 0..20 {
        bench.append(&mut producer, 1, 10);
        bench.turn_until(|bench| {
            bench.hear(&mut producer);
            producer.unanswered.is_empty()
        });
    }
    bench.say(&mut subscriber, |proto, out| {
        proto.ping(out);
    });
    bench.append(&mut subscriber, 1, 10);
    bench.append(&mut producer, 1, 10);
    bench.turn_until(|bench| {
        bench.hear(&mut producer);
        producer.unanswered.is_empty()
    });
    bench.world.set_reading(subscriber.id, true);
    bench.turn_until(|bench| {
        bench.hear(&mut subscriber);
        subscriber.pongs == 1 && subscriber.unanswered.is_empty() && subscriber.taken > 40 * 100 * 1000
    });
    let at_most = PUSH_BYTES_MAX + 2000;
    assert!(at_most < PUSH_WAITING_BYTES_MAX && subscriber.taken_at_pong <= at_most, "{}", subscriber.taken_at_pong);
}

#[test]
fn many_who_append_share_what_all_may_send() {
    const CLIENTS: usize = 16;
    let mut bench = Bench::of(NetworkFaults::CALM);
    let mut clients: Vec<Peer> = (0..CLIENTS).map(|_| bench.connect()).collect();
    let mut observer = bench.connect();
    let unanswered = |peer: &Peer| peer.unanswered.values().sum::<usize>();
    let (mut rounds, mut most, mut settled_rounds) = (0, 0, 0);
    while settled_rounds < 200 {
        for client in &mut clients {
            bench.hear(client);
            // As much as it may.
            while bench.append(client, 10, 20_000) {}
        }
        bench.reactor.turn();
        rounds += 1;
        // What each was granted when it was alone has been used up.
        if clients.iter().all(|client| client.answered > WINDOW_BYTES as usize * 5 / 4) {
            settled_rounds += 1;
            most = most.max(clients.iter().map(unanswered).sum());
        }
        if rounds % 100 == 0 {
            bench.say(&mut observer, |proto, out| {
                proto.ping(out);
            });
        }
        bench.hear(&mut observer);
    }
    // Once each has been answered, all that is on its way fits, with room for those who come.
    let fair = WINDOWS_BYTES as usize / CLIENTS;
    assert!(most < PENDING_BYTES_MAX && most > CLIENTS * fair / 2, "{most} bytes unanswered");
    assert!(fair <= WINDOW_BYTES as usize / 4 && observer.pongs >= 3, "{}", observer.pongs);
    // One who is alone again may send as much as ever.
    let mut last = clients.pop().unwrap();
    for mut client in clients {
        bench.turn_until(|bench| {
            bench.hear(&mut client);
            client.unanswered.is_empty()
        });
    }
    for _ in 0..3 {
        bench.append(&mut last, 1, 10);
        bench.turn_until(|bench| {
            bench.hear(&mut last);
            last.unanswered.is_empty()
        });
    }
    assert_eq!(last.proto.credit_left().bytes, WINDOW_BYTES);
}
