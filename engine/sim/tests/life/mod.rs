//! One life of a log in a simulated world, asked as threads of its process ask it.

use std::sync::Arc;
use std::sync::mpsc::channel;

use engine::limits::MEMORY_BYTES_MIN;
use engine::{Answer, Call, Config, Counts, Handle, Outcome, Reactor, Recovered};
use frame::extension::Extensions;
use frame::proto::{Read, ShardDescription, Start};
use frame::{Frame, Numbered, ProducerId, Quotas, RecordNumber, Retention, Sequence, Settings, StreamId};
use sim::{Death, SimIo, Surroundings, World};

use crate::several;

/// Of each journal.
pub(crate) const SEGMENT_BYTES: u32 = 4 << 20;

/// More turns than anything here takes.
const TURNS_MAX: u32 = 100_000;

/// Whatever goes on by itself has ended long before.
const SETTLED_NS: u64 = 20_000_000_000;

/// One life of a log.
pub(crate) struct Life<'a> {
    world: &'a World,
    reactors: Vec<Reactor<SimIo>>,
    /// Of each reactor.
    pub(crate) handles: Vec<Handle>,
}

impl<'a> Life<'a> {
    /// One reactor. `None` if the life ends before it is open.
    pub(crate) fn open(world: &'a World) -> Option<Life<'a>> {
        Life::open_on(world, 1)
    }

    /// So many reactors.
    pub(crate) fn open_on(world: &'a World, reactors: usize) -> Option<Life<'a>> {
        Life::open_by(world, reactors, true)
    }

    /// Believes the wall clock, or only where it agrees with the time that has passed.
    pub(crate) fn open_by(world: &'a World, reactors: usize, accept_clock: bool) -> Option<Life<'a>> {
        Life::open_with(world, reactors, Config { accept_clock, segment_bytes: SEGMENT_BYTES, ..Config::default() })
    }

    /// With so many bytes a segment, and what else is said.
    pub(crate) fn open_with(world: &'a World, reactors: usize, config: Config) -> Option<Life<'a>> {
        let config = Config { memory_bytes: MEMORY_BYTES_MIN * reactors, segments_ready: 1, ..config };
        let opened = several::open(world, &config, reactors);
        if world.is_dead() {
            return None;
        }
        let mut reactors = opened.expect("nothing is damaged so that it can't be opened");
        let handles = reactors.iter_mut().enumerate().map(|(own, reactor)| reactor.handle(world.waker(own))).collect();
        Some(Life { world, reactors, handles })
    }

    fn turn(&mut self) {
        for reactor in &mut self.reactors {
            reactor.turn();
        }
    }

    /// `None` if the life ends before the answer comes.
    pub(crate) fn call(&mut self, call: Call) -> Option<Answer> {
        self.call_at(0, call)
    }

    /// Asks one of the reactors.
    pub(crate) fn call_at(&mut self, own: usize, call: Call) -> Option<Answer> {
        let (tell, answer) = channel();
        // Nobody waits any more once the life has ended.
        let tell = move |answer| drop(tell.send(answer));
        self.handles[own].call(call, tell).expect("there is room for a call");
        for _ in 0..TURNS_MAX {
            self.turn();
            if self.world.is_dead() {
                return None;
            }
            if let Ok(answer) = answer.try_recv() {
                return Some(answer);
            }
        }
        panic!("no answer comes");
    }

    /// A stream of one shard, of which so much is kept.
    pub(crate) fn create(&mut self, name: &str, retention: Retention) {
        let (name, settings) = (name.to_owned(), Settings { quotas: Quotas::NONE, retention });
        let answer = self.call(Call::CreateStream { name, shards: 1, settings, annotation: Arc::default() });
        assert!(matches!(answer, Some(Answer::Stream(..))), "{answer:?}");
    }

    /// Appends one record, whose shard is that of its key.
    pub(crate) fn append(&mut self, name: &str, key: &str, data: &[u8]) {
        let mut frames = Vec::new();
        frame::frame::encode(&mut frames, key.as_bytes(), None, data).expect("a record of that size is legal");
        self.append_frames(name, frames);
    }

    /// Appends a record that its producer numbered.
    pub(crate) fn append_numbered(&mut self, name: &str, number: u64) {
        let outcomes = self.append_all_numbered(name, 7, number..=number);
        assert!(matches!(outcomes[..], [Outcome::Durable { .. }]), "{outcomes:?}");
    }

    /// Appends records that a producer numbered. What became of them.
    pub(crate) fn append_all_numbered(
        &mut self,
        name: &str,
        producer: u64,
        numbers: impl IntoIterator<Item = u64>,
    ) -> Vec<Outcome> {
        let mut frames = Vec::new();
        for number in numbers {
            let numbered = Some(Numbered { producer: ProducerId(producer), number: RecordNumber(number) });
            let extensions = Extensions { numbered, ..Extensions::default() };
            frame::frame::encode_extended(&mut frames, b"key", &extensions, [b"data"]).expect("it is legal");
        }
        self.outcomes(name, frames)
    }

    fn append_frames(&mut self, name: &str, frames: Vec<u8>) {
        let outcomes = self.outcomes(name, frames);
        assert!(matches!(outcomes[..], [Outcome::Durable { .. }]), "{outcomes:?}");
    }

    fn outcomes(&mut self, name: &str, frames: Vec<u8>) -> Vec<Outcome> {
        let answer = self.call(Call::Append { name: name.to_owned(), frames });
        let Some(Answer::Appended(_, outcomes)) = answer else { panic!("{answer:?}") };
        outcomes
    }

    /// A stream's shards. `None` if the life ends meanwhile.
    pub(crate) fn describe(&mut self, name: &str) -> Option<(StreamId, Vec<ShardDescription>)> {
        let describe = Call::DescribeStream { name: name.to_owned(), from: 0, limit: 100 };
        let Answer::Stream(stream, shards) = self.call(describe)? else { panic!("the stream is there") };
        Some((stream.stream, shards))
    }

    /// All that is kept of a shard, by its numbers. `None` if the life ends meanwhile.
    pub(crate) fn read(&mut self, stream: StreamId, shard: &ShardDescription) -> Option<Vec<(Sequence, Vec<u8>)>> {
        let (mut found, mut next) = (Vec::new(), shard.trim);
        while next < shard.tip {
            let start = Start::At(next);
            let read = Call::Read {
                read: Read { stream, shard: shard.shard, start, bytes_max: 1 << 20 },
                frames_max: u32::MAX,
                counts: Counts::Nothing,
            };
            let owner = shard.reactor as usize;
            let Answer::Records(result, frames) = self.call_at(owner, read)? else { panic!("nothing is damaged") };
            let mut rest = &frames[..];
            while let Ok(frame) = Frame::parse(rest) {
                found.push((frame.sequence(), frame.data().to_vec()));
                rest = &rest[frame.length()..];
            }
            assert!(result.next > next);
            next = result.next;
        }
        Some(found)
    }

    /// Lets things take their course until nothing is left to do, or the life ends.
    pub(crate) fn settle(&mut self) {
        let until_ns = self.world.now_ns() + SETTLED_NS;
        for _ in 0..TURNS_MAX {
            if self.world.is_stuck() || self.world.is_dead() || self.world.now_ns() >= until_ns {
                return;
            }
            self.turn();
        }
        panic!("it does not come to rest");
    }

    pub(crate) fn end(self, death: Death) {
        self.world.die();
        drop(self.reactors);
        self.world.next_life(death, Surroundings::calm());
    }
}

/// Opens for one reactor, and ends at once: what was found.
pub(crate) fn recovered(world: &World) -> Recovered {
    let (segment_bytes, accept_clock) = (SEGMENT_BYTES, true);
    let config = Config { segment_bytes, memory_bytes: MEMORY_BYTES_MIN, accept_clock, ..Config::default() };
    let (_, recovered) = engine::open(&mut world.io(), &config, 1).expect("it can be opened");
    world.die();
    world.next_life(Death::PowerCut, Surroundings::calm());
    recovered
}
