//! Compaction, with the process or the power gone at each of its steps: what lives is found in its order, once, and what was
//! mostly dead is short in the end.

mod cores;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;

use engine::limits::MEMORY_BYTES_MIN;
use engine::{Answer, Call, Config, Handle, Outcome, Reactor};
use frame::proto::{Read, Start};
use frame::{Frame, Quotas, Sequence};
use io::Pool;
use sim::{Death, SimIo, Surroundings, Trace, World};

const SEGMENT_BYTES: u32 = 4 << 20;

/// Records of each stream: of the one that stays they are a quarter of the bytes.
const RECORDS: u64 = 130;
const KEPT_BYTES: usize = 50_000;
const GONE_BYTES: usize = 150_000;

/// Counted where a start removes what a compacted segment stands for.
const REMOVED: &str = "disk: segment removed by its name";

/// Deaths are spread over so many threads.
const PARTS: usize = 4;

/// More turns than anything here takes.
const TURNS_MAX: u32 = 100_000;

/// Compaction has ended long before.
const SETTLED_NS: u64 = 20_000_000_000;

fn world() -> World {
    let pool = Pool::new(16 << 20).expect("memory for the test");
    World::new(11, pool, Surroundings::calm(), Trace::default())
}

/// One life of a log.
struct Life<'a> {
    world: &'a World,
    reactors: Vec<Reactor<SimIo>>,
    /// Of each reactor.
    handles: Vec<Handle>,
}

impl<'a> Life<'a> {
    /// One reactor. `None` if the life ends before it is open.
    fn open(world: &'a World) -> Option<Life<'a>> {
        Life::open_on(world, 1)
    }

    /// So many reactors.
    fn open_on(world: &'a World, reactors: usize) -> Option<Life<'a>> {
        let (segment_bytes, memory_bytes) = (SEGMENT_BYTES, MEMORY_BYTES_MIN * reactors);
        let config = Config { segment_bytes, memory_bytes, segments_ready: 1, ..Config::default() };
        let mut ios = world.ios(reactors).into_iter();
        let mut first = ios.next().expect("there is a reactor");
        let opened = engine::open(&mut first, &config, reactors).and_then(|(seats, _)| {
            let ios = std::iter::once(first).chain(ios);
            ios.zip(seats).map(|(io, seat)| Reactor::take(io, config.clone(), seat)).collect::<Result<Vec<_>, _>>()
        });
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
    fn call(&mut self, call: Call) -> Option<Answer> {
        self.call_at(0, call)
    }

    /// Asks one of the reactors.
    fn call_at(&mut self, own: usize, call: Call) -> Option<Answer> {
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

    fn create(&mut self, name: &str) {
        let settings = Quotas::NONE.into();
        let answer =
            self.call(Call::CreateStream { name: name.to_owned(), shards: 1, settings, annotation: Arc::default() });
        assert!(matches!(answer, Some(Answer::Stream(..))), "{answer:?}");
    }

    fn delete(&mut self, name: &str) {
        let answer = self.call(Call::DeleteStream { name: name.to_owned() });
        assert!(matches!(answer, Some(Answer::Deleted)), "{answer:?}");
    }

    fn append(&mut self, name: &str, data: &[u8]) {
        let mut frames = Vec::new();
        frame::frame::encode(&mut frames, b"key", None, data).expect("a record of that size is legal");
        let answer = self.call(Call::Append { name: name.to_owned(), frames });
        let Some(Answer::Appended(_, outcomes)) = answer else { panic!("{answer:?}") };
        assert!(matches!(outcomes[..], [Outcome::Durable { .. }]), "{outcomes:?}");
    }

    /// All that is kept, by its numbers. `None` if the life ends meanwhile.
    fn read(&mut self) -> Option<Vec<(Sequence, Vec<u8>)>> {
        let describe = Call::DescribeStream { name: "kept".to_owned(), from: 0, limit: 1 };
        let Answer::Stream(stream, shards) = self.call(describe)? else { panic!("the stream is there") };
        let (mut found, mut next) = (Vec::new(), Sequence(1));
        while next < shards[0].tip {
            let (stream, shard, start) = (stream.stream, stream.first_shard, Start::At(next));
            let read = Call::Read {
                read: Read { stream, shard, start, bytes_max: 1 << 20 },
                frames_max: u32::MAX,
                counts: false,
            };
            let owner = shards[0].reactor as usize;
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
    fn settle(&mut self) {
        let until_ns = self.world.now_ns() + SETTLED_NS;
        for _ in 0..TURNS_MAX {
            if self.world.is_stuck() || self.world.is_dead() || self.world.now_ns() >= until_ns {
                return;
            }
            self.turn();
        }
        panic!("it does not come to rest");
    }

    fn end(self, death: Death) {
        self.world.die();
        drop(self.reactors);
        self.world.next_life(death, Surroundings::calm());
    }
}

fn data(number: u64) -> Vec<u8> {
    (0..KEPT_BYTES).map(|at| (number as usize * 31 + at) as u8).collect()
}

/// A data directory in which a stream of most bytes was deleted just now.
fn mostly_dead() -> sim::Files {
    let world = world();
    let mut life = Life::open(&world).expect("nothing ends it");
    ["kept", "gone"].into_iter().for_each(|name| life.create(name));
    for number in 0..RECORDS {
        life.append("kept", &data(number));
        life.append("gone", &[0; GONE_BYTES]);
    }
    life.delete("gone");
    life.end(Death::PowerCut);
    world.files()
}

fn check(found: &[(Sequence, Vec<u8>)]) {
    check_all(found, RECORDS);
}

fn check_all(found: &[(Sequence, Vec<u8>)], records: u64) {
    let numbers: Vec<u64> = found.iter().map(|(number, _)| number.0).collect();
    assert_eq!(numbers, (1..=records).collect::<Vec<u64>>());
    assert!((0..records).zip(found).all(|(number, (_, found))| *found == data(number)));
}

/// Bytes of all segments, and how many there are.
fn segments(files: &sim::Files) -> (u64, usize) {
    let segments: Vec<&str> = files.names().filter(|name| name.ends_with(".segment")).collect();
    (segments.iter().map(|name| files.length(name)).sum(), segments.len())
}

#[test]
fn death_at_every_step_loses_nothing() {
    let before = mostly_dead();
    let (bytes_before, count_before) = segments(&before);
    let whole = world();
    whole.load(before.clone());
    let mut life = Life::open(&whole).expect("nothing ends it");
    let opened = whole.steps();
    life.settle();
    let steps = whole.steps();
    check(&life.read().expect("nothing ends it"));
    life.end(Death::PowerCut);
    let (bytes, count) = segments(&whole.files());
    // The newest two and the pool stay as they are; of the others a quarter is left, in few files.
    let whole_bytes = 4 * u64::from(SEGMENT_BYTES);
    assert!(bytes <= whole_bytes + RECORDS * KEPT_BYTES as u64 * 5 / 4, "{bytes} bytes of {bytes_before} are left");
    assert!(count < count_before, "{count} files of {count_before} are left");
    assert!(steps - opened > 50, "{steps} steps, of which {opened} to open");
    println!("{bytes_before} bytes in {count_before} files, then {bytes} in {count}; {steps} steps");

    let removed = AtomicU64::new(0);
    let deaths = [Death::PowerCut, Death::Killed];
    let cuts = |part: usize| {
        let all = (opened..=steps).flat_map(|step| deaths.map(|death| (step, death)));
        all.skip(part).step_by(PARTS)
    };
    cores::for_each(0..PARTS, |part| {
        let before = mostly_dead();
        cuts(part).for_each(|(step, death)| {
            let world = world();
            world.load(before.clone());
            world.cut_at_step(step);
            if let Some(mut life) = Life::open(&world) {
                life.settle();
                life.end(death);
            } else {
                world.next_life(death, Surroundings::calm());
            }
            let mut life = Life::open(&world).expect("nothing ends it");
            check(&life.read().expect("nothing ends it"));
            life.settle();
            check(&life.read().expect("nothing ends it"));
            life.end(Death::PowerCut);
            let (then, _) = segments(&world.files());
            assert!(then <= bytes + u64::from(SEGMENT_BYTES), "{then} bytes are left, cut at step {step}");
            let tally = world.into_trace().tally().clone();
            removed.fetch_add(tally.get(REMOVED).copied().unwrap_or(0), Ordering::Relaxed);
        });
    });
    assert!(removed.into_inner() > 0, "no start has met what a compacted segment stands for");
}

/// What could not be read stays as it is, and is told to whoever reads it; the rest is compacted.
#[test]
fn what_is_damaged_stays_as_it_is() {
    let mut files = mostly_dead();
    let first = "0000-0000000001.segment";
    // In the data of the first records.
    files.write(first, 16 << 10, &[0xa5; 512]);
    let bytes_before = files.length(first);
    let (all_before, _) = segments(&files);
    let world = world();
    world.load(files);
    let mut life = Life::open(&world).expect("nothing ends it");
    life.settle();
    life.end(Death::PowerCut);
    assert_eq!(world.files().length(first), bytes_before);
    assert!(segments(&world.files()).0 < all_before - 2 * u64::from(SEGMENT_BYTES));
}

/// A shard has its older records in another journal, as another reactor owned it then. The footer of a compacted segment is
/// damaged: what it told of that is nowhere else, and none of the older records is passed over.
#[test]
fn a_damaged_footer_hides_no_other_journal() {
    let world = world();
    let mut life = Life::open(&world).expect("nothing ends it");
    ["kept", "other", "gone"].into_iter().for_each(|name| life.create(name));
    (0..RECORDS).for_each(|number| life.append("kept", &data(number)));
    life.end(Death::PowerCut);
    let mut life = Life::open_on(&world, 2).expect("nothing ends it");
    for number in RECORDS..2 * RECORDS {
        life.append("kept", &data(number));
        life.append("gone", &[0; GONE_BYTES]);
    }
    life.delete("gone");
    life.settle();
    life.end(Death::PowerCut);
    let mut files = world.files();
    let oldest = files.names().filter(|name| name.starts_with("0001")).min();
    let compacted = oldest.expect("the second reactor has a journal").to_owned();
    let length = files.length(&compacted);
    assert!(length < u64::from(SEGMENT_BYTES), "{compacted} was not compacted");
    files.write(&compacted, length - 4096 - 512, &[0xa5; 512]);
    world.load(files);
    let mut life = Life::open_on(&world, 2).expect("nothing ends it");
    check_all(&life.read().expect("nothing ends it"), 2 * RECORDS);
    life.end(Death::PowerCut);
}

/// A disk that is full of what was deleted: records are taken again once it is compacted, for which room is kept.
#[test]
fn a_full_disk_is_compacted() {
    let files = mostly_dead();
    // With the newest two and the pool all that there is, and what is kept for compaction.
    let capacity_bytes = segments(&files).0 + u64::from(SEGMENT_BYTES) + (1 << 20);
    let world = World::new(
        12,
        Pool::new(16 << 20).expect("memory for the test"),
        Surroundings { capacity_bytes, ..Surroundings::calm() },
        Trace::default(),
    );
    world.load(files);
    let mut life = Life::open(&world).expect("nothing ends it");
    // Twice as much as the disk had room for.
    for number in RECORDS..2 * RECORDS {
        life.settle();
        life.append("kept", &data(number));
    }
    life.end(Death::PowerCut);
}
