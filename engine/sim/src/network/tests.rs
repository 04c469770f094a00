//! The network by itself: order, ends, buffers and windows.

use super::*;

const MALICE: NetworkFaults = NetworkFaults {
    delay_ns_max: 1_000_000,
    send_short: 0.5,
    receive_ends: 0.2,
    accept_ends: 0.5,
    accept_fails: 0.3,
    window_bytes: 1000,
};

const TIMEOUT_NS: u64 = SEND_TIMEOUT.as_nanos() as u64;

struct Bench {
    network: Network,
    buffers: Buffers,
    trace: Trace,
    now_ns: u64,
}

impl Bench {
    fn new(seed: u64) -> Bench {
        let network = Network::new(0, Dice::new(seed, 0, "network"), MALICE);
        Bench { network, buffers: Buffers::new(2, 100), trace: Trace::default(), now_ns: 0 }
    }

    fn next(&mut self) -> Vec<Completion> {
        self.now_ns = self.now_ns.max(self.network.next_due_ns().expect("something is due"));
        let mut completions = Vec::new();
        self.network.complete(self.now_ns, &mut self.buffers, &mut completions, &mut self.trace);
        completions
    }

    fn accepted(&mut self) -> (ConnectionId, SocketId) {
        let id = self.network.connect(self.now_ns);
        loop {
            self.network.accept = Some(Token(1));
            if let Some(completion) = self.next().into_iter().find(|completion| completion.result >= 0) {
                return (id, SocketId(completion.result as u32));
            }
        }
    }
}

#[test]
fn bytes_arrive_in_order_whatever_happens() {
    for seed in 0..50 {
        let mut bench = Bench::new(seed);
        let (id, socket) = bench.accepted();
        let sent: Vec<u8> = (0..5000_u32).map(|number| number as u8).collect();
        sent.chunks(777).for_each(|chunk| bench.network.client_send(bench.now_ns, id, chunk));
        bench.network.client_finish(bench.now_ns, id);
        let (mut got, mut held) = (Vec::new(), Vec::new());
        bench.network.receive(socket, Token(2));
        loop {
            let mut ended = false;
            for completion in bench.next() {
                match completion.payload {
                    Payload::Received(received) => {
                        got.extend_from_slice(bench.buffers.bytes(received));
                        held.push(received);
                    }
                    _ if completion.result == 0 => ended = true,
                    _ => assert_eq!(completion.result, errno::NO_BUFFERS),
                }
                if !completion.more && !ended {
                    held.drain(..).for_each(|received| bench.buffers.recycle(received));
                    bench.network.receive(socket, Token(2));
                }
            }
            if ended {
                break;
            }
        }
        assert_eq!(got, sent, "seed {seed}");
    }
}

#[test]
fn sends_wait_for_a_client_that_does_not_read() {
    let mut bench = Bench::new(7);
    let (id, socket) = bench.accepted();
    bench.network.set_reading(id, false);
    let sent: Vec<u8> = (0..5000_u32).map(|number| number as u8).collect();
    let (mut from, mut got, mut stalled) = (0, Vec::new(), false);
    while from < sent.len() {
        let outgoing = Outgoing::Bytes(sent.clone());
        bench.network.send(bench.now_ns, socket, Token(3), outgoing, from, sent.len());
        if bench.network.next_due_ns().is_some_and(|due_ns| due_ns >= bench.now_ns + TIMEOUT_NS) {
            stalled = true;
            bench.network.set_reading(id, true);
        }
        loop {
            let completions = bench.next();
            bench.network.client_take(bench.now_ns, id, &mut got);
            if let Some(completion) = completions.first() {
                from += completion.result as usize;
                break;
            }
        }
    }
    while got.len() < sent.len() {
        bench.next();
        bench.network.client_take(bench.now_ns, id, &mut got);
    }
    assert!(stalled, "a full window stops sends");
    assert_eq!(got, sent);
}

#[test]
fn sends_fail_where_the_client_has_taken_nothing_for_the_timeout() {
    let mut bench = Bench::new(8);
    let (id, socket) = bench.accepted();
    bench.network.set_reading(id, false);
    let began_ns = bench.now_ns;
    let result = loop {
        bench.network.send(bench.now_ns, socket, Token(3), Outgoing::Bytes(vec![7; 700]), 0, 700);
        let completion = std::iter::repeat_with(|| bench.next()).flatten().next().unwrap();
        if completion.result < 0 {
            break completion.result;
        }
    };
    assert_eq!(result, errno::TIMED_OUT);
    assert!((TIMEOUT_NS..2 * TIMEOUT_NS).contains(&(bench.now_ns - began_ns)));
}

#[test]
fn a_close_cancels_what_is_in_flight() {
    let mut bench = Bench::new(3);
    let (id, socket) = bench.accepted();
    bench.network.receive(socket, Token(4));
    bench.network.send(bench.now_ns, socket, Token(5), Outgoing::Bytes(vec![1; 10]), 0, 10);
    bench.network.close(bench.now_ns, socket, Token(6));
    let mut results = Vec::new();
    while results.len() < 3 {
        results.extend(bench.next().into_iter().map(|completion| (completion.token.0, completion.result)));
    }
    results.sort();
    assert_eq!(results, [(4, errno::CANCELLED), (5, errno::CANCELLED), (6, 0)]);
    let mut out = Vec::new();
    bench.now_ns += 1_000_000_000;
    assert_eq!(bench.network.client_take(bench.now_ns, id, &mut out), Some(End::Finished));
    assert_eq!(out, []);
}

#[test]
fn a_reset_reaches_the_server() {
    let mut bench = Bench::new(4);
    let (id, socket) = bench.accepted();
    bench.network.receive(socket, Token(7));
    bench.network.client_reset(bench.now_ns, id);
    let completion = bench.next().pop().expect("the receive ends");
    assert_eq!((completion.result, completion.more), (errno::RESET, false));
    bench.network.send(bench.now_ns, socket, Token(8), Outgoing::Bytes(vec![1]), 0, 1);
    let completion = bench.next().pop().expect("the send fails");
    assert!([errno::PIPE, errno::RESET].contains(&completion.result));
}

#[test]
fn a_stopped_receive_ends_once_and_loses_nothing() {
    let mut stopped = 0;
    for seed in 0..20 {
        let mut bench = Bench::new(seed);
        let (id, socket) = bench.accepted();
        let sent: Vec<u8> = (0..3000_u32).map(|number| number as u8).collect();
        sent.chunks(300).for_each(|chunk| bench.network.client_send(bench.now_ns, id, chunk));
        let mut got = Vec::new();
        while got.len() < sent.len() {
            bench.network.receive(socket, Token(2));
            bench.network.stop_receive(bench.now_ns, socket);
            let mut ends = false;
            while !ends {
                for completion in bench.next() {
                    assert!(!ends, "seed {seed}: {completion:?} after the end");
                    if let Payload::Received(received) = completion.payload {
                        got.extend_from_slice(bench.buffers.bytes(received));
                        bench.buffers.recycle(received);
                    }
                    stopped += u32::from(completion.result == errno::CANCELLED);
                    ends = !completion.more;
                }
            }
        }
        assert_eq!(got, sent, "seed {seed}");
    }
    assert!(stopped > 20, "{stopped} receives were stopped");
}
