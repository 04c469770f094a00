//! What is counted: reactors on one thread, each with clients that append in rounds, to shards of its own or of the next one.
//!
//! In a round each client appends one batch and waits for its acknowledgement; so what a reactor has to do in a turn is the same
//! however many there are.

use engine::limits::MEMORY_BYTES_MIN;
use engine::{Config, Handle, Reactor, Status};
use frame::Quotas;
use frame::proto::{AckResult, Client, ClientEvent, StreamDescription};
use frame::route::hash_key;
use io::{Completion, Io, Op, Pool, Received, Token, Wait};
use sim::{ConnectionId, LISTENER, NetworkFaults, SimIo, Surroundings, Trace, World};

/// Of each reactor.
const SHARDS: u32 = 8;
const CLIENTS: usize = 4;
const KEYS: usize = 1000;

/// More turns than any round takes.
const TURNS_MAX: u32 = 100_000;

/// Where clients' records go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// To the reactor that they are connected to.
    Own,
    /// To the next one, which it hands them to.
    Handed,
}

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Own => "own",
            Way::Handed => "handed",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Way> {
        [Way::Own, Way::Handed].into_iter().find(|way| way.name() == name)
    }
}

/// How much of what is done.
pub(crate) struct Load {
    pub(crate) reactors: usize,
    pub(crate) way: Way,
    /// Of each reactor.
    pub(crate) records: u64,
    /// Of each append.
    pub(crate) batch_records: usize,
    pub(crate) data_bytes: usize,
}

impl Load {
    /// Does it.
    ///
    /// # Panics
    /// If a record is not stored, or goes another way than it is meant to.
    pub(crate) fn run(&self) {
        let mut bench = Bench::new(self.reactors);
        let mut clients: Vec<Appender> = (0..self.reactors * CLIENTS)
            .map(|number| Appender::new(&bench.world, number % self.reactors, number / self.reactors))
            .collect();
        let shards = SHARDS * self.reactors as u32;
        bench.until(&mut clients, |client| client.is_welcome);
        clients.iter_mut().for_each(|client| client.ask(&bench.world, shards));
        bench.until(&mut clients, |client| client.stream.is_some());
        clients.iter_mut().for_each(|client| client.make_batch(self));
        let rounds = self.records / (CLIENTS * self.batch_records) as u64;
        for _ in 0..rounds {
            clients.iter_mut().for_each(|client| client.append(&bench.world));
            bench.until(&mut clients, |client| client.acked == client.sent);
        }
        let each = rounds * (CLIENTS * self.batch_records) as u64;
        for (number, reactor) in bench.reactors.iter().enumerate() {
            let handed = if self.way == Way::Handed { each } else { 0 };
            assert_eq!(reactor.stats().handed, handed, "records that reactor {number} has handed on");
        }
    }
}

/// The reactors and their world.
struct Bench {
    world: World,
    reactors: Vec<Reactor<Watched>>,
    _handle: Handle,
}

impl Bench {
    fn new(reactors: usize) -> Bench {
        // What is sent is there at once: else it would depend on the world's dice how much comes in a turn.
        let network = NetworkFaults { delay_ns_max: 1, window_bytes: 16 << 20, ..NetworkFaults::CALM };
        let surroundings =
            Surroundings { network, receive_buffers: 64, receive_buffer_bytes: 64 << 10, ..Surroundings::calm() };
        let pool = Pool::new(32 << 20).expect("there is memory for the reactors");
        let world = World::new(1, pool, surroundings, Trace::new(false));
        let memory_bytes = reactors * MEMORY_BYTES_MIN;
        let config = Config { segment_bytes: 64 << 20, memory_bytes, ..Config::default() };
        let mut ios = world.ios(reactors);
        let (seats, _) = engine::open(&mut ios[0], &config, reactors).expect("the disk is good and empty");
        let taken = ios.into_iter().map(Watched).zip(seats);
        let mut reactors: Vec<Reactor<Watched>> = taken
            .map(|(io, seat)| Reactor::take(io, config.clone(), seat).expect("there is memory for a reactor"))
            .collect();
        let handles = reactors.iter_mut().enumerate().map(|(number, reactor)| {
            reactor.listen(LISTENER);
            reactor.handle(world.waker(number))
        });
        let handle = Handle::join(handles.collect());
        Bench { world, reactors, _handle: handle }
    }

    /// Turns the reactors that have something to do until every client has what it waits for.
    fn until(&mut self, clients: &mut [Appender], has: impl Fn(&Appender) -> bool) {
        for _ in 0..TURNS_MAX {
            let ready = (0..self.reactors.len()).filter(|&number| self.world.may_run(number));
            let ready: Vec<usize> = ready.collect();
            // Where none has, the turn of any lets time go on.
            for number in if ready.is_empty() { vec![0] } else { ready } {
                engine_turn(&mut self.reactors[number]);
            }
            assert!(!self.world.is_stuck(), "all sleep, and clients wait");
            clients.iter_mut().for_each(|client| client.hear(&self.world));
            if clients.iter().all(&has) {
                return;
            }
        }
        panic!("it does not come");
    }
}

/// Counted.
#[inline(never)]
fn engine_turn(reactor: &mut Reactor<Watched>) -> Status {
    reactor.turn()
}

/// Not counted, as all that follows: the world's own work, and what it checks.
#[inline(never)]
fn world_turn(io: &mut SimIo, wait: Wait, completions: &mut Vec<Completion>) {
    io.turn(wait, completions);
}

#[inline(never)]
fn world_submit(io: &mut SimIo, op: Op, token: Token) {
    io.submit(op, token);
}

#[inline(never)]
fn world_received(io: &SimIo, received: Received) -> &[u8] {
    io.received(received)
}

#[inline(never)]
fn world_recycle(io: &mut SimIo, received: Received) {
    io.recycle(received);
}

/// The simulated `Io`, whose own work is told from the engine's.
struct Watched(SimIo);

impl Io for Watched {
    fn submit(&mut self, op: Op, token: Token) {
        world_submit(&mut self.0, op, token);
    }

    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) {
        world_turn(&mut self.0, wait, completions);
    }

    fn received(&self, received: Received) -> &[u8] {
        world_received(&self.0, received)
    }

    fn recycle(&mut self, received: Received) {
        world_recycle(&mut self.0, received);
    }

    fn receive_buffers(&self) -> usize {
        self.0.receive_buffers()
    }

    fn directories(&self) -> usize {
        self.0.directories()
    }

    fn pool(&self) -> &Pool {
        self.0.pool()
    }

    fn mono_ns(&self) -> u64 {
        self.0.mono_ns()
    }

    fn wall_ms(&self) -> u64 {
        self.0.wall_ms()
    }

    fn boottime_ms(&self) -> u64 {
        self.0.boottime_ms()
    }

    fn random(&mut self) -> [u8; 16] {
        self.0.random()
    }
}

/// A client, which sends one batch again and again.
struct Appender {
    id: ConnectionId,
    reactor: usize,
    /// Among those of its reactor.
    place: usize,
    proto: Client,
    is_welcome: bool,
    stream: Option<StreamDescription>,
    frames: Vec<u8>,
    batch_records: u32,
    sent: u64,
    acked: u64,
}

impl Appender {
    fn new(world: &World, reactor: usize, place: usize) -> Appender {
        let mut out = Vec::new();
        let proto = Client::new(&mut out);
        let id = world.connect_to(reactor);
        world.send(id, &out);
        Appender {
            id,
            reactor,
            place,
            proto,
            is_welcome: false,
            stream: None,
            frames: Vec::new(),
            batch_records: 0,
            sent: 0,
            acked: 0,
        }
    }

    /// Asks for the stream, which is made by whoever asks first.
    fn ask(&mut self, world: &World, shards: u32) {
        let mut out = Vec::new();
        self.proto.create_stream(&mut out, "counted", shards, Quotas::NONE);
        world.send(self.id, &out);
    }

    /// Of keys of all shards that are owned by the reactor which the records are for.
    fn make_batch(&mut self, load: &Load) {
        let stream = self.stream.as_ref().expect("it was asked for");
        let owner = match load.way {
            Way::Own => self.reactor,
            Way::Handed => (self.reactor + 1) % load.reactors,
        };
        let owned = |key: &String| {
            let hash_key = hash_key(key.as_bytes());
            stream.shards.iter().any(|shard| shard.holds(hash_key) && shard.reactor as usize == owner)
        };
        let keys: Vec<String> = (0..).map(|number| format!("key-{number:012}")).filter(owned).take(KEYS).collect();
        let data = vec![7; load.data_bytes];
        for key in keys.iter().cycle().skip(self.place * load.batch_records).take(load.batch_records) {
            frame::frame::encode(&mut self.frames, key.as_bytes(), None, &data).expect("it is a small record");
            self.batch_records += 1;
        }
    }

    fn append(&mut self, world: &World) {
        let mut out = Vec::new();
        assert!(self.proto.may_append(self.frames.len() + 64), "one batch is always within the window");
        let stream = self.stream.as_ref().expect("it was asked for").stream;
        self.proto.append(&mut out, stream, self.batch_records, &self.frames);
        self.sent += 1;
        world.send(self.id, &out);
    }

    /// Takes what has arrived.
    fn hear(&mut self, world: &World) {
        let (mut said, mut at) = (Vec::new(), 0);
        assert_eq!(world.take(self.id, &mut said), None, "no connection ends here");
        while let Some(event) = self.proto.step(&said, &mut at).expect("the server keeps to the protocol") {
            match event {
                ClientEvent::Welcome(_) => self.is_welcome = true,
                ClientEvent::Stream(_, stream) => self.stream = Some(stream),
                ClientEvent::Ack(span) => {
                    for batch in self.proto.acks(&span, &said) {
                        let is_stored = |(_, result)| matches!(result, AckResult::Durable(..));
                        assert!(batch.results().all(is_stored), "nothing is in the way");
                        self.acked += 1;
                    }
                }
                ClientEvent::Error(_, failure) => panic!("{failure}"),
                _ => {}
            }
        }
    }
}
