//! Simulated connections: the clients' ends are called by the test, the server's end by the engine's operations.
//!
//! Bytes travel in random pieces with random delays, in order. Receives need a buffer of the limited pool, and stop with
//! ENOBUFS when there is none. Sends may be short, and wait while the client does not read, up to the boundary's timeout. What a
//! correct engine never does is a panic here: two sends or receives at once on one connection, operations on a socket that is not
//! open.

mod buffers;
mod pipe;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use io::{Buf, Completion, Payload, SEND_TIMEOUT, SocketId, Token};

use crate::dice::Dice;
use crate::errno;
use crate::trace::Trace;
pub(crate) use buffers::Buffers;
pub use pipe::End;
use pipe::Pipe;

/// How the network behaves. Probabilities are per event.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct NetworkFaults {
    /// The longest delay of a piece of bytes.
    pub delay_ns_max: u64,
    /// A send takes fewer bytes than it could.
    pub send_short: f64,
    /// A receive ends although the connection goes on.
    pub receive_ends: f64,
    /// An accept ends although the listener goes on.
    pub accept_ends: f64,
    /// An accept fails for want of descriptors; the connection waits.
    pub accept_fails: f64,
    /// Bytes that a connection holds for a client that does not read.
    pub window_bytes: usize,
}

impl NetworkFaults {
    /// A network without malice.
    pub const CALM: NetworkFaults = NetworkFaults {
        delay_ns_max: 50_000,
        send_short: 0.0,
        receive_ends: 0.0,
        accept_ends: 0.0,
        accept_fails: 0.0,
        window_bytes: 1 << 20,
    };
}

/// A connection, as its client names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConnectionId {
    /// The reactor that it is to.
    pub(crate) reactor: usize,
    number: usize,
}

/// What the server sends.
#[derive(Debug)]
pub(crate) enum Outgoing {
    Bytes(Vec<u8>),
    Buf(Buf),
}

impl Outgoing {
    fn as_slice(&self) -> &[u8] {
        match self {
            Outgoing::Bytes(bytes) => bytes,
            Outgoing::Buf(buf) => buf,
        }
    }

    fn into_payload(self) -> Payload {
        match self {
            Outgoing::Bytes(bytes) => Payload::Bytes(bytes),
            Outgoing::Buf(_) => Payload::None,
        }
    }
}

#[derive(Debug)]
struct Sending {
    token: Token,
    due_ns: u64,
    outgoing: Outgoing,
    from: usize,
    to: usize,
}

#[derive(Debug, Default)]
struct Connection {
    to_server: Pipe,
    to_client: Pipe,
    /// Whether its client takes what arrives.
    is_read: bool,
    /// When its client took something last.
    taken_ns: u64,
    /// Whether its client has seen the end.
    is_over: bool,
    receive: Option<Token>,
    /// When the receive ends because it was stopped.
    stop_ns: Option<u64>,
    sending: Option<Sending>,
}

/// All connections of one life to one reactor.
#[derive(Debug)]
pub(crate) struct Network {
    reactor: usize,
    faults: NetworkFaults,
    dice: Dice,
    connections: Vec<Connection>,
    /// Connections that wait to be accepted.
    backlog: VecDeque<(u64, ConnectionId)>,
    accept: Option<Token>,
    sockets: Vec<Option<ConnectionId>>,
    /// Completions of closes, and of what they cancelled.
    ended: Vec<(u64, Completion)>,
}

impl Network {
    pub(crate) fn new(reactor: usize, dice: Dice, faults: NetworkFaults) -> Network {
        Network {
            reactor,
            faults,
            dice,
            connections: Vec::new(),
            backlog: VecDeque::new(),
            accept: None,
            sockets: Vec::new(),
            ended: Vec::new(),
        }
    }

    // The clients' ends.

    /// Opens a connection.
    pub(crate) fn connect(&mut self, now_ns: u64) -> ConnectionId {
        let id = ConnectionId { reactor: self.reactor, number: self.connections.len() };
        self.connections.push(Connection { is_read: true, ..Connection::default() });
        let due_ns = now_ns + self.dice.skewed(1..=self.faults.delay_ns_max);
        let due_ns = self.backlog.back().map_or(due_ns, |(before, _)| due_ns.max(*before));
        self.backlog.push_back((due_ns, id));
        id
    }

    /// Sends bytes to the server.
    pub(crate) fn client_send(&mut self, now_ns: u64, id: ConnectionId, bytes: &[u8]) {
        let connection = &mut self.connections[id.number];
        connection.to_server.send(now_ns, bytes, self.faults.delay_ns_max, &mut self.dice);
    }

    /// Sends no more; what the server sends still arrives.
    pub(crate) fn client_finish(&mut self, now_ns: u64, id: ConnectionId) {
        let connection = &mut self.connections[id.number];
        connection.to_server.end(now_ns, End::Finished, self.faults.delay_ns_max, &mut self.dice);
    }

    /// Drops the connection.
    pub(crate) fn client_reset(&mut self, now_ns: u64, id: ConnectionId) {
        let connection = &mut self.connections[id.number];
        connection.to_server.end(now_ns, End::Reset, self.faults.delay_ns_max, &mut self.dice);
        connection.to_client = Pipe::default();
        connection.to_client.end(now_ns, End::Reset, 1, &mut self.dice);
        connection.is_over = true;
    }

    /// Stops taking what arrives, or goes on.
    pub(crate) fn set_reading(&mut self, id: ConnectionId, is_read: bool) {
        self.connections[id.number].is_read = is_read;
    }

    /// Takes what has arrived, and the end if it has.
    pub(crate) fn client_take(&mut self, now_ns: u64, id: ConnectionId, out: &mut Vec<u8>) -> Option<End> {
        let connection = &mut self.connections[id.number];
        if !connection.is_read {
            return None;
        }
        if connection.to_client.take(now_ns, usize::MAX, out) > 0 {
            connection.taken_ns = now_ns;
        }
        let end = connection.to_client.ended(now_ns);
        connection.is_over |= end.is_some();
        end
    }

    /// Whether a client has something to take.
    pub(crate) fn client_due(&self, now_ns: u64) -> bool {
        self.connections.iter().filter_map(Connection::client_due_ns).any(|due_ns| due_ns <= now_ns)
    }

    /// The server is gone. What it had sent arrives, or not; then the connections end.
    pub(crate) fn hang_up(&mut self, now_ns: u64) {
        for connection in &mut self.connections {
            connection.is_read = true;
            let end = if self.dice.chance(0.5) { End::Finished } else { End::Reset };
            connection.to_client.end(now_ns, end, self.faults.delay_ns_max, &mut self.dice);
        }
    }

    // The server's end.

    pub(crate) fn accept(&mut self, token: Token) {
        assert!(self.accept.is_none(), "two accepts at once");
        self.accept = Some(token);
    }

    pub(crate) fn receive(&mut self, socket: SocketId, token: Token) {
        let connection = self.connection(socket);
        assert!(connection.receive.is_none(), "two receives at once on socket {}", socket.0);
        connection.receive = Some(token);
    }

    /// Ends a receive some time from now; until then it goes on.
    pub(crate) fn stop_receive(&mut self, now_ns: u64, socket: SocketId) {
        let due_ns = now_ns + self.dice.skewed(500..=20_000);
        let connection = self.connection(socket);
        if connection.receive.is_some() && connection.stop_ns.is_none() {
            connection.stop_ns = Some(due_ns);
        }
    }

    pub(crate) fn send(
        &mut self,
        now_ns: u64,
        socket: SocketId,
        token: Token,
        outgoing: Outgoing,
        from: usize,
        to: usize,
    ) {
        assert!(from < to && to <= outgoing.as_slice().len(), "a send of nothing on socket {}", socket.0);
        let due_ns = now_ns + self.dice.skewed(500..=20_000);
        let connection = self.connection(socket);
        assert!(connection.sending.is_none(), "two sends at once on socket {}", socket.0);
        connection.sending = Some(Sending { token, due_ns, outgoing, from, to });
    }

    /// Closes a connection; what is in flight on it completes as cancelled, before or after.
    pub(crate) fn close(&mut self, now_ns: u64, socket: SocketId, token: Token) {
        let delay_ns_max = self.faults.delay_ns_max;
        let connection = self.connection(socket);
        let (receive, sending) = (connection.receive.take(), connection.sending.take());
        connection.stop_ns = None;
        let unread = connection.to_server.bytes() > 0;
        let id = self.sockets[socket.0 as usize].take().expect("it was open");
        let end = if unread { End::Reset } else { End::Finished };
        self.connections[id.number].to_client.end(now_ns, end, delay_ns_max, &mut self.dice);
        let cancelled = |token, payload| Completion { token, result: errno::CANCELLED, more: false, payload };
        let mut ended: Vec<Completion> = Vec::new();
        ended.extend(receive.map(|token| cancelled(token, Payload::None)));
        ended.extend(sending.map(|sending| cancelled(sending.token, sending.outgoing.into_payload())));
        ended.push(Completion { token, result: 0, more: false, payload: Payload::None });
        for completion in ended {
            self.ended.push((now_ns + self.dice.skewed(500..=20_000), completion));
        }
    }

    /// When the next thing happens, on either side.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        let accept = self.backlog.front().filter(|_| self.accept.is_some()).map(|(due_ns, _)| *due_ns);
        let ended = self.ended.iter().map(|(due_ns, _)| *due_ns);
        let window_bytes = self.faults.window_bytes;
        let connections = self.connections.iter().flat_map(|connection| {
            [
                connection.receive_due_ns(),
                connection.stop_ns,
                connection.send_due_ns(window_bytes),
                connection.client_due_ns(),
            ]
        });
        connections.flatten().chain(accept).chain(ended).min()
    }

    /// Completes what is due on the server's end.
    pub(crate) fn complete(
        &mut self,
        now_ns: u64,
        buffers: &mut Buffers,
        completions: &mut Vec<Completion>,
        trace: &mut Trace,
    ) {
        let before = completions.len();
        self.complete_accepts(now_ns, completions, trace);
        for id in 0..self.connections.len() {
            self.complete_send(now_ns, id, completions, trace);
            self.complete_receive(now_ns, id, buffers, completions, trace);
        }
        while let Some(at) = self.ended.iter().position(|(due_ns, _)| *due_ns <= now_ns) {
            completions.push(self.ended.remove(at).1);
        }
        for completion in &completions[before..] {
            trace.step(now_ns, format_args!("network: {:x} -> {}", completion.token.0, completion.result));
        }
    }

    fn complete_accepts(&mut self, now_ns: u64, completions: &mut Vec<Completion>, trace: &mut Trace) {
        while let (Some(token), Some(&(due_ns, id))) = (self.accept, self.backlog.front()) {
            if due_ns > now_ns {
                return;
            }
            if self.dice.chance(self.faults.accept_fails) {
                trace.count("network: accept failed");
                self.accept = None;
                let (result, payload) = (errno::TOO_MANY_FILES, Payload::None);
                return completions.push(Completion { token, result, more: false, payload });
            }
            self.backlog.pop_front();
            let socket = self.sockets.iter().position(Option::is_none).unwrap_or(self.sockets.len());
            self.sockets.resize(self.sockets.len().max(socket + 1), None);
            self.sockets[socket] = Some(id);
            let more = !self.dice.chance(self.faults.accept_ends);
            if !more {
                trace.count("network: accept ended");
                self.accept = None;
            }
            completions.push(Completion { token, result: socket as i32, more, payload: Payload::None });
        }
    }

    fn complete_send(&mut self, now_ns: u64, id: usize, completions: &mut Vec<Completion>, trace: &mut Trace) {
        let connection = &mut self.connections[id];
        if connection.send_due_ns(self.faults.window_bytes).is_none_or(|due_ns| due_ns > now_ns) {
            return;
        }
        let Some(sending) = connection.sending.take() else { return };
        let token = sending.token;
        if connection.to_client.has_ended() {
            let payload = sending.outgoing.into_payload();
            let result = if self.dice.chance(0.5) { errno::PIPE } else { errno::RESET };
            return completions.push(Completion { token, result, more: false, payload });
        }
        let space = self.faults.window_bytes - connection.to_client.bytes();
        if space == 0 {
            trace.count("network: send timed out");
            let payload = sending.outgoing.into_payload();
            return completions.push(Completion { token, result: errno::TIMED_OUT, more: false, payload });
        }
        let mut length = (sending.to - sending.from).min(space);
        if length > 1 && self.dice.chance(self.faults.send_short) {
            trace.count("network: short send");
            length = self.dice.skewed(1..=length as u64 - 1) as usize;
        }
        let bytes = &sending.outgoing.as_slice()[sending.from..sending.from + length];
        connection.to_client.send(now_ns, bytes, self.faults.delay_ns_max, &mut self.dice);
        let payload = sending.outgoing.into_payload();
        completions.push(Completion { token, result: length as i32, more: false, payload });
    }

    fn complete_receive(
        &mut self,
        now_ns: u64,
        id: usize,
        buffers: &mut Buffers,
        completions: &mut Vec<Completion>,
        trace: &mut Trace,
    ) {
        let connection = &mut self.connections[id];
        while let Some(token) = connection.receive {
            let (result, payload) = if connection.stop_ns.is_some_and(|due_ns| due_ns <= now_ns) {
                trace.count("network: receive stopped");
                connection.receive = None;
                (errno::CANCELLED, Payload::None)
            } else if connection.to_server.due_ns().is_none_or(|due_ns| due_ns > now_ns) {
                return;
            } else if let Some(end) = connection.to_server.ended(now_ns) {
                connection.receive = None;
                (if end == End::Finished { 0 } else { errno::RESET }, Payload::None)
            } else if let Some(received) = buffers.fill(|most, out| connection.to_server.take(now_ns, most, out)) {
                if self.dice.chance(self.faults.receive_ends) {
                    trace.count("network: receive ended");
                    connection.receive = None;
                }
                (received.length as i32, Payload::Received(received))
            } else {
                trace.count("network: no buffers");
                connection.receive = None;
                (errno::NO_BUFFERS, Payload::None)
            };
            if connection.receive.is_none() {
                connection.stop_ns = None;
            }
            completions.push(Completion { token, result, more: connection.receive.is_some(), payload });
        }
    }

    fn connection(&mut self, socket: SocketId) -> &mut Connection {
        let id = self.sockets.get(socket.0 as usize).copied().flatten();
        let id = id.unwrap_or_else(|| panic!("the engine used socket {}, which is not open", socket.0));
        &mut self.connections[id.number]
    }
}

impl Connection {
    fn receive_due_ns(&self) -> Option<u64> {
        self.receive.and_then(|_| self.to_server.due_ns())
    }

    fn send_due_ns(&self, window_bytes: usize) -> Option<u64> {
        let sending = self.sending.as_ref()?;
        let has_space = self.to_client.has_ended() || self.to_client.bytes() < window_bytes;
        let timeout_ns = sending.due_ns.max(self.taken_ns) + SEND_TIMEOUT.as_nanos() as u64;
        Some(if has_space { sending.due_ns } else { timeout_ns })
    }

    fn client_due_ns(&self) -> Option<u64> {
        self.to_client.due_ns().filter(|_| self.is_read && !self.is_over)
    }
}
