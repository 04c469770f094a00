//! Tests of the two lanes: what is sent, one after the other, is cut into messages again.

use frame::proto::{Client, ClientEvent, Server, Violation};
use frame::{Sequence, ShardId};
use io::{Pool, Token};

use super::*;
use crate::inert::{Inert, Own};

/// Takes sends, and completes them when it is asked to.
struct Wire {
    pool: Pool,
    sent: Vec<u8>,
    in_flight: Option<(usize, Option<Vec<u8>>)>,
}

impl Own for Wire {
    fn submit(&mut self, op: Op, _token: Token) {
        assert!(self.in_flight.is_none(), "one send at a time");
        self.in_flight = Some(match op {
            Op::SendBytes { bytes, from, .. } => {
                self.sent.extend_from_slice(&bytes[from..]);
                (bytes.len() - from, Some(bytes))
            }
            Op::SendBuf { buf, from, to, .. } => {
                self.sent.extend_from_slice(&buf[from..to]);
                (to - from, None)
            }
            op => panic!("{op:?} is no send"),
        });
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }
}

struct Rig {
    wire: Inert<Wire>,
    outgoing: Outgoing,
    client: Client,
    at: usize,
}

const SOCKET: SocketId = SocketId(1);

impl Rig {
    fn new() -> Rig {
        let wire = Inert(Wire { pool: Pool::new(4 << 20).unwrap(), sent: Vec::new(), in_flight: None });
        let mut server = Server::new();
        let mut hello = Vec::new();
        let client = Client::new(&mut hello);
        server.step(&hello, &mut 0).unwrap();
        let mut outgoing = Outgoing::default();
        let limits = frame::proto::ServerLimits { window_bytes: 1, window_batches: 1 };
        server.welcome(&mut outgoing.control, RequestId(0), 1, limits);
        Rig { wire, outgoing, client, at: 0 }
    }

    /// Starts a send, if none is in flight, and completes it. Whether there was one.
    fn step(&mut self) -> bool {
        self.outgoing.flush(&mut self.wire, SOCKET, Peer::default());
        let Some((length, bytes)) = self.wire.in_flight.take() else { return false };
        assert!(self.outgoing.sent(&mut self.wire, (Some(SOCKET), Peer::default()), length as i32, bytes));
        true
    }

    /// Pushes one record a run, each of so many bytes of frame, under a request.
    fn push(&mut self, request: u64, runs: &[usize]) {
        let runs: Vec<(Buf, Range<usize>)> = runs
            .iter()
            .map(|&bytes| {
                let mut frame = Vec::new();
                frame::frame::encode(&mut frame, b"", None, &vec![7; bytes - frame::frame::HEADER_BYTES]).unwrap();
                let mut buf = self.wire.pool.take(frame.len().next_multiple_of(4096)).unwrap();
                buf[..frame.len()].copy_from_slice(&frame);
                (buf.freeze(), 0..frame.len())
            })
            .collect();
        let records = runs.len() as u32;
        let result = ReadResult {
            shard: ShardId(1),
            records,
            next: Sequence(2),
            tip: Sequence(2),
            tip_arrival_ms: 0,
            children: None,
            trim: Sequence(1),
            encrypted: false,
        };
        self.outgoing.send_records(RequestId(request), &result, Frames::Shared(runs), true);
    }

    fn pong(&mut self, request: u64) {
        Server::pong(&mut self.outgoing.control, RequestId(request));
    }

    /// What was sent until now: R for the records of a request, P for a pong, E for the end.
    fn said(&mut self) -> String {
        let mut said = String::new();
        while let Some(event) = self.client.step(&self.wire.sent, &mut self.at).unwrap() {
            match event {
                ClientEvent::ReadEnd(request) => said += &format!("R{request} "),
                ClientEvent::Pong(request) => said += &format!("P{request} "),
                ClientEvent::Error(..) => said += "E ",
                _ => {}
            }
        }
        said.trim_end().to_owned()
    }
}

/// Runs as they lie beside each other: sent from where they are, or copied.
const SHAPES: [&[usize]; 5] =
    [&[16 << 10], &[1 << 10], &[16 << 10, 1 << 10], &[1 << 10, 16 << 10], &[16 << 10, 9 << 10, 1 << 10]];

#[test]
fn control_goes_after_the_message_that_is_being_sent() {
    for shape in SHAPES {
        let mut rig = Rig::new();
        rig.step();
        for request in 1..=4 {
            rig.push(request, shape);
        }
        assert!(rig.step());
        rig.pong(9);
        while rig.step() {}
        let said = rig.said();
        let behind = said.split(' ').position(|word| word == "P9").unwrap();
        // Small messages go together.
        assert!(behind == 1 || shape == [1 << 10], "{shape:?}: {said}");
        assert_eq!(said.matches('R').count(), 4, "{shape:?}: {said}");
    }
}

#[test]
fn control_does_not_starve_while_more_is_pushed() {
    for shape in SHAPES {
        let mut rig = Rig::new();
        rig.push(1, shape);
        rig.step();
        rig.step();
        rig.pong(9);
        let mut steps = 0;
        while !rig.said().contains("P9") {
            rig.push(2, shape);
            assert!(rig.step());
            steps += 1;
            assert!(steps < 10, "{shape:?}");
        }
    }
}

#[test]
fn what_comes_behind_records_is_behind_control_too() {
    for shape in SHAPES {
        let mut rig = Rig::new();
        rig.push(1, shape);
        rig.step();
        rig.step();
        rig.push(2, shape);
        rig.pong(3);
        Server::violation(rig.outgoing.behind_records(), &Violation::Handshake);
        while rig.step() {}
        let said = rig.said();
        assert!(said.ends_with('E') && said.contains("P3"), "{shape:?}: {said}");
    }
}

#[test]
fn small_messages_go_together_up_to_a_piece() {
    let mut rig = Rig::new();
    rig.step();
    for request in 1..=200 {
        rig.push(request, &[1 << 10]);
    }
    rig.pong(999);
    assert!(rig.step());
    assert_eq!(rig.said(), "P999");
    let mut steps = 0;
    while rig.step() {
        steps += 1;
    }
    assert!((3..=5).contains(&steps), "{steps} sends for 200 KiB");
    assert_eq!(rig.said().matches('R').count(), 200);
    assert!(rig.outgoing.is_empty());
}

/// What is left of a message goes nowhere where the socket is closing: its number may be another's, on plain threads.
#[test]
fn a_message_is_not_gone_on_with_where_the_socket_is_closing() {
    let mut rig = Rig::new();
    rig.outgoing.flush(&mut rig.wire, SOCKET, Peer::default());
    let (length, bytes) = rig.wire.in_flight.take().unwrap();
    assert!(length > 1);
    assert!(!rig.outgoing.sent(&mut rig.wire, (None, Peer::default()), 1, bytes));
    assert!(rig.wire.in_flight.is_none());
}

#[test]
fn nothing_is_kept_of_who_is_idle() {
    let mut rig = Rig::new();
    rig.push(1, &[1 << 10; 100]);
    rig.outgoing.sending_since_ns = 5;
    while rig.step() {}
    rig.outgoing.rest(u64::MAX);
    let kept = rig.outgoing.control.capacity() + rig.outgoing.records.capacity() + rig.outgoing.spare.capacity();
    assert!(kept <= 3 * MESSAGES_KEPT_IDLE_BYTES, "{kept}");
}
