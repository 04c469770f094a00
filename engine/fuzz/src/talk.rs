//! A reactor on a simulated disk, and one client that talks to it, a request at a time.

use std::collections::BTreeMap;

use engine::{Config, OpenError, Reactor, Recovered, Status};
use frame::proto::{AckResult, Client, ClientEvent, Failure, Read, ReadResult, Start, StreamDescription};
use frame::{RequestId, Sequence, ShardId, StreamId};
use sim::{ConnectionId, LISTENER, SimIo, World};

/// Turns until an answer at most: more means that it never comes.
const TURNS_MAX: usize = 100_000;

/// How the engine runs here: small segments, little memory.
pub(crate) fn config() -> Config {
    Config {
        segment_bytes: 4 << 20,
        memory_bytes: engine::limits::MEMORY_BYTES_MIN,
        segments_ready: 1,
        writes_in_flight: 2,
        batch_bytes: 64 << 10,
        ..Config::default()
    }
}

/// A read result with its frames, or why there is none.
pub(crate) type Answer = Result<(ReadResult, Vec<Vec<u8>>), Failure>;

/// One life of a reactor, from a client's side.
pub(crate) struct Talk {
    world: World,
    reactor: Reactor<SimIo>,
    id: ConnectionId,
    client: Client,
    heard: BTreeMap<RequestId, Heard>,
    reading: Option<(ReadResult, Vec<Vec<u8>>)>,
}

/// An answer to a request.
#[derive(Debug)]
enum Heard {
    Stream(StreamDescription),
    Acked(Vec<(u32, AckResult)>),
    Records(ReadResult, Vec<Vec<u8>>),
    Failed(Failure),
}

impl Talk {
    /// Opens the data directory that lies in `world`, and connects.
    pub(crate) fn open(world: &World) -> Result<(Talk, Recovered), OpenError> {
        let (mut reactor, recovered) = Reactor::open(world.io(), config())?;
        reactor.listen(LISTENER);
        let id = world.connect();
        let mut hello = Vec::new();
        let client = Client::new(&mut hello);
        world.send(id, &hello);
        let world = world.clone();
        Ok((Talk { world, reactor, id, client, heard: BTreeMap::new(), reading: None }, recovered))
    }

    /// Makes a stream, or finds it.
    pub(crate) fn create_stream(&mut self, name: &str, shards: u32) -> Result<StreamDescription, Failure> {
        let request = self.say(|client, out| client.create_stream(out, name, shards, frame::Quotas::NONE));
        match self.answer(request) {
            Heard::Stream(description) => Ok(description),
            Heard::Failed(failure) => Err(failure),
            other => panic!("an answer to something else: {other:?}"),
        }
    }

    /// Sends an append, and does not wait.
    pub(crate) fn append(&mut self, stream: StreamId, records: u32, frames: &[u8]) -> RequestId {
        self.say(|client, out| client.append(out, stream, records, frames))
    }

    /// Waits for the results of an append.
    pub(crate) fn acked(&mut self, request: RequestId) -> Result<Vec<(u32, AckResult)>, Failure> {
        match self.answer(request) {
            Heard::Acked(results) => Ok(results),
            Heard::Failed(failure) => Err(failure),
            other => panic!("an answer to something else: {other:?}"),
        }
    }

    /// Reads a shard from a number on.
    pub(crate) fn read(&mut self, stream: StreamId, shard: ShardId, from: Sequence) -> Answer {
        let read = Read { stream, shard, start: Start::At(from), bytes_max: 1 << 20 };
        let request = self.say(|client, out| client.read(out, &read));
        match self.answer(request) {
            Heard::Records(result, frames) => Ok((result, frames)),
            Heard::Failed(failure) => Err(failure),
            other => panic!("an answer to something else: {other:?}"),
        }
    }

    /// Lets `passed_ns` pass.
    pub(crate) fn idle(&mut self, passed_ns: u64) {
        let until_ns = self.world.now_ns() + passed_ns;
        self.world.wake_at(until_ns);
        while self.world.now_ns() < until_ns {
            self.reactor.turn();
        }
    }

    /// Lets the reactor work until the world ends, or for so many turns.
    pub(crate) fn turns(&mut self, count: usize) {
        for _ in 0..count {
            if self.world.is_dead() {
                return;
            }
            self.reactor.turn();
        }
    }

    /// Ends the life by a clean shutdown.
    pub(crate) fn shut_down(mut self) {
        self.reactor.shut_down();
        let mut turns = 0;
        while self.reactor.turn() == Status::Running {
            turns += 1;
            assert!(turns < TURNS_MAX, "the shutdown does not end");
        }
        self.world.die();
    }

    /// Ends the life where it is.
    pub(crate) fn die(self) {
        self.world.die();
    }

    fn say(&mut self, write: impl FnOnce(&mut Client, &mut Vec<u8>) -> RequestId) -> RequestId {
        let mut out = Vec::new();
        let request = write(&mut self.client, &mut out);
        self.world.send(self.id, &out);
        request
    }

    /// Turns the reactor until the answer is there. Answers to other requests are kept.
    fn answer(&mut self, request: RequestId) -> Heard {
        for _ in 0..TURNS_MAX {
            if let Some(heard) = self.heard.remove(&request) {
                return heard;
            }
            assert!(!self.world.is_stuck(), "the reactor sleeps for good, and a client waits");
            self.reactor.turn();
            self.hear();
        }
        panic!("no answer after {TURNS_MAX} turns");
    }

    fn hear(&mut self) {
        let mut input = Vec::new();
        let end = self.world.take(self.id, &mut input);
        let mut at = 0;
        while let Some(event) = self.client.step(&input, &mut at).expect("the server keeps to the protocol") {
            match event {
                ClientEvent::Stream(request, description) => self.keep(request, Heard::Stream(description)),
                ClientEvent::Ack(span) => {
                    let acks = self.client.acks(&span, &input);
                    let acks = acks.map(|batch| (batch.request, Heard::Acked(batch.results().collect())));
                    self.heard.extend(acks);
                }
                ClientEvent::ReadBegin(_, result) => self.reading = Some((result, Vec::new())),
                ClientEvent::Record(span) => {
                    let bytes = self.client.bytes(&span, &input).to_vec();
                    self.reading.as_mut().expect("records lie within a result").1.push(bytes);
                }
                ClientEvent::ReadEnd(request) => {
                    let (result, frames) = self.reading.take().expect("what ends has begun");
                    self.keep(request, Heard::Records(result, frames));
                }
                ClientEvent::Error(request, failure) => self.keep(request, Heard::Failed(failure)),
                ClientEvent::Welcome(_)
                | ClientEvent::Credit
                | ClientEvent::Pong(_)
                | ClientEvent::StreamList(..)
                | ClientEvent::Deleted(_)
                | ClientEvent::Challenge
                | ClientEvent::Proven
                | ClientEvent::Unsubscribed(_) => {}
            }
        }
        assert!(end.is_none(), "the server hangs up: {end:?}");
    }

    fn keep(&mut self, request: RequestId, heard: Heard) {
        assert!(request.0 > 0, "the connection failed: {heard:?}");
        self.heard.insert(request, heard);
    }
}
