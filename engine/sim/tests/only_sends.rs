//! A client that only sends: what it can't be answered yet stays with it, and does not take the others' receive buffers.
//!
//! Bug: one client that asked and never read could hold every receive buffer until it was closed, 30 s later; nobody else
//! was heard so long. Mechanism: its input was not parsed any more, for it was behind with its answers, but it was still
//! received. Fix: past a bound of buffers that wait to be parsed the receive is stopped, and begins again when they are.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;

use engine::limits::{INBOX_BUFFERS_MAX, OUTGOING_BYTES_MAX};
use frame::proto::{Client, ClientEvent};
use sim::{ConnectionId, NetworkFaults, Surroundings};

use bench::Bench;

/// Few, so that one connection could take them all.
const RECEIVE_BUFFERS: u16 = 16;

/// More turns than any step here takes.
const TURNS_MAX: u32 = 100_000;

/// A client's end of a connection.
struct Peer {
    id: ConnectionId,
    proto: Client,
    pongs: usize,
}

impl Bench {
    fn of(seed: u64, network: NetworkFaults) -> Bench {
        let surroundings = Surroundings {
            network,
            receive_buffers: RECEIVE_BUFFERS,
            receive_buffer_bytes: 4096,
            ..Surroundings::calm()
        };
        Bench::new(seed, surroundings, (16 << 20, bench::small(4 << 20)), TURNS_MAX, |io| io)
    }

    fn connect(&mut self) -> Peer {
        let mut hello = Vec::new();
        let proto = Client::new(&mut hello);
        let id = self.world.connect();
        self.world.send(id, &hello);
        let mut peer = Peer { id, proto, pongs: 0 };
        self.turn_until(|bench| bench.hear(&mut peer) > 0);
        peer
    }

    /// Takes what has arrived. How many messages that were.
    fn hear(&mut self, peer: &mut Peer) -> usize {
        let (mut said, mut at, mut events) = (Vec::new(), 0, 0);
        assert_eq!(self.world.take(peer.id, &mut said), None, "no connection ends here");
        while let Some(event) = peer.proto.step(&said, &mut at).unwrap() {
            peer.pongs += usize::from(matches!(event, ClientEvent::Pong(_)));
            events += 1;
        }
        events
    }

    /// Sends so many pings at once.
    fn ping(&self, peer: &mut Peer, count: usize) {
        let mut bytes = Vec::new();
        for _ in 0..count {
            peer.proto.ping(&mut bytes);
        }
        self.world.send(peer.id, &bytes);
    }
}

#[test]
fn who_only_sends_does_not_take_the_others_buffers() {
    let malice = NetworkFaults { receive_ends: 0.05, send_short: 0.2, window_bytes: 10_000, ..NetworkFaults::CALM };
    let (mut stops, mut longest_ns) = (0, 0);
    for (seed, network) in (0..6).map(|seed| (seed, if seed % 2 == 0 { NetworkFaults::CALM } else { malice })) {
        let mut bench = Bench::of(seed, network);
        let (mut deaf, mut other) = (bench.connect(), bench.connect());
        bench.world.set_reading(deaf.id, false);
        // A buffer's worth at a time, far beyond what may wait for a client that does not read.
        let pings = OUTGOING_BYTES_MAX / 24 * 3 / 2;
        let mut sent = 0;
        while sent < pings {
            bench.ping(&mut deaf, 170);
            sent += 170;
            let asked_ns = bench.world.now_ns();
            bench.ping(&mut other, 1);
            let due = other.pongs + 1;
            bench.turn_until(|bench| {
                bench.hear(&mut other);
                other.pongs == due
            });
            longest_ns = longest_ns.max(bench.world.now_ns() - asked_ns);
        }
        // Once it listens, it is answered to the last.
        bench.world.set_reading(deaf.id, true);
        bench.turn_until(|bench| {
            bench.hear(&mut deaf);
            deaf.pongs == sent
        });
        drop(bench.reactor);
        let trace = bench.world.into_trace();
        stops += trace.tally().get("network: receive stopped").copied().unwrap_or(0);
        assert!(usize::from(RECEIVE_BUFFERS) > 2 * INBOX_BUFFERS_MAX);
    }
    assert!(stops > 0, "no receive was ever stopped");
    assert!(longest_ns < 1_000_000_000, "a ping waited {longest_ns} ns for its answer");
}
