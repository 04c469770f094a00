//! A log in several data directories: which belong together, whatever their order, and which don't.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::channel;

use engine::limits::MEMORY_BYTES_MIN;
use engine::{Answer, Call, Config, Handle, OpenError, Outcome, Reactor, Recovered};
use frame::{Quotas, Retention, Settings};
use io::{Completion, DirId, FileOp, Io, Op, Pool, Received, Token, Wait};
use sim::{Death, SimIo, Surroundings, Trace, World};

fn world() -> World {
    World::new(3, Pool::new(16 << 20).expect("memory for the test"), Surroundings::calm(), Trace::default())
}

/// One life with these directories, and so many reactors.
fn live(world: &World, dirs: &[u32], reactors: usize) -> Result<(Recovered, Vec<DirId>), OpenError> {
    world.name_directories(dirs.to_vec());
    let memory_bytes = MEMORY_BYTES_MIN * reactors;
    let config = Config { segment_bytes: 4 << 20, memory_bytes, segments_ready: 1, ..Config::default() };
    let mut ios = world.ios(reactors).into_iter();
    let mut first = ios.next().expect("there is a reactor");
    let outcome = engine::open(&mut first, &config, reactors).and_then(|(seats, recovered)| {
        let ios = std::iter::once(first).chain(ios);
        let take = |(io, seat)| Reactor::<SimIo>::take(io, config.clone(), seat);
        let reactors = ios.zip(seats).map(take).collect::<Result<Vec<_>, _>>()?;
        Ok((recovered, reactors.iter().map(Reactor::directory).collect()))
    });
    world.die();
    world.next_life(Death::PowerCut, Surroundings::calm());
    outcome
}

#[test]
fn journals_are_spread_and_found_in_any_order() {
    let world = world();
    let (recovered, at) = live(&world, &[0], 2).unwrap();
    assert!(recovered.fresh);
    assert_eq!(at, [DirId(0), DirId(0)]);
    // One is added: the second journal's next segments go there, and its first ones stay where they are.
    let (recovered, at) = live(&world, &[1, 0], 2).unwrap();
    assert_eq!((recovered.fresh, recovered.segments), (false, 2));
    assert_eq!(at, [DirId(1), DirId(0)], "number 0 is the one with the superblock, however it is named");
    let (recovered, at) = live(&world, &[2, 0, 1], 3).unwrap();
    assert_eq!((recovered.fresh, recovered.segments), (false, 2));
    assert_eq!(at, [DirId(1), DirId(2), DirId(0)]);
    let (recovered, at) = live(&world, &[0, 1, 2], 1).unwrap();
    assert_eq!((recovered.segments, at.as_slice()), (3, [DirId(0)].as_slice()));
}

/// A disk that is not mounted leaves an empty directory.
#[test]
fn an_empty_directory_in_place_of_a_missing_one_is_told() {
    let world = world();
    live(&world, &[0, 1], 2).unwrap();
    let error = live(&world, &[0, 2], 2).unwrap_err();
    assert_eq!(error, OpenError::MissingDirectories { known: 2, missing: vec![1], empty: vec![DirId(1)] });
    assert!(error.to_string().contains("data directory 2 is empty: see that its disk is mounted"), "{error}");
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let world = world();
    live(&world, &[0, 1, 2], 3).unwrap();
    let missing = |dirs: &[u32]| live(&world, dirs, 3).unwrap_err();
    assert_eq!(missing(&[0, 2]), OpenError::MissingDirectories { known: 3, missing: vec![1], empty: Vec::new() });
    let both = OpenError::MissingDirectories { known: 3, missing: vec![1, 2], empty: Vec::new() };
    assert_eq!(missing(&[0]), both);
    let error = missing(&[2, 1]);
    assert!(matches!(error, OpenError::NoSuperblock { segments: 2 }), "{error}");
    assert!(error.to_string().contains("first directory"), "{error}");
    assert_eq!(live(&world, &[0, 1, 2], 3).unwrap().0.segments, 3, "nothing was changed by that");
}

#[test]
fn directories_of_two_logs_are_told_apart() {
    let world = world();
    live(&world, &[0, 1], 2).unwrap();
    live(&world, &[2], 1).unwrap();
    let error = live(&world, &[2, 1], 2).unwrap_err();
    assert_eq!(error, OpenError::ForeignDirectory { dir: DirId(1) });
    assert!(error.to_string().contains("directory 2 of those named belongs to another log"), "{error}");
    let error = live(&world, &[0, 1, 2], 2).unwrap_err();
    assert_eq!(error, OpenError::SeveralLogs { dirs: [DirId(0), DirId(2)] });
    live(&world, &[1, 0], 2).unwrap();
    live(&world, &[2], 1).unwrap();
}

/// A disk that has stopped answering: of the second directory no flush ends any more, once it hangs.
struct Hanging {
    io: SimIo,
    hangs: Rc<Cell<bool>>,
    held: Rc<Cell<u32>>,
}

impl Io for Hanging {
    fn submit(&mut self, op: Op, token: Token) {
        if self.hangs.get() && matches!(op, Op::File(FileOp::SyncDir(DirId(1)))) {
            return self.held.set(self.held.get() + 1);
        }
        self.io.submit(op, token);
    }

    fn turn(&mut self, wait: Wait, completions: &mut Vec<Completion>) {
        self.io.turn(wait, completions);
    }

    fn received(&self, received: Received) -> &[u8] {
        self.io.received(received)
    }

    fn recycle(&mut self, received: Received) {
        self.io.recycle(received);
    }

    fn receive_buffers(&self) -> usize {
        self.io.receive_buffers()
    }

    fn directories(&self) -> usize {
        self.io.directories()
    }

    fn pool(&self) -> &Pool {
        self.io.pool()
    }

    fn mono_ns(&self) -> u64 {
        self.io.mono_ns()
    }

    fn wall_ms(&self) -> u64 {
        self.io.wall_ms()
    }

    fn boottime_ms(&self) -> u64 {
        self.io.boottime_ms()
    }

    fn random(&mut self) -> [u8; 16] {
        self.io.random()
    }
}

fn append(name: &str) -> Call {
    let mut frames = Vec::new();
    frame::frame::encode(&mut frames, b"key", None, &[7; 100_000]).expect("a record of that size is legal");
    Call::Append { name: name.to_owned(), frames }
}

/// The answer to a call, if it comes within so many turns of both reactors.
fn ask(reactors: &mut [Reactor<Hanging>], handle: &Handle, call: Call) -> Option<Answer> {
    let (tell, answer) = channel();
    handle.call(call, move |answer| drop(tell.send(answer))).expect("there is room for a call");
    (0..200).find_map(|_| {
        for reactor in &mut *reactors {
            reactor.turn();
        }
        answer.try_recv().ok()
    })
}

/// Bug: where a disk hung in a flush, nothing was acknowledged on any other. Mechanism: a batch waited for the flushes of all data
/// directories. Fix: for those on its own disk.
#[test]
fn a_disk_that_hangs_holds_up_no_other() {
    let world = world();
    world.name_directories(vec![0, 1]);
    let config =
        Config { segment_bytes: 4 << 20, memory_bytes: 2 * MEMORY_BYTES_MIN, segments_ready: 1, ..Config::default() };
    let (hangs, held) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let hanging = |io| Hanging { io, hangs: Rc::clone(&hangs), held: Rc::clone(&held) };
    let mut ios = world.ios(2).into_iter().map(hanging);
    let mut first = ios.next().expect("there is a reactor");
    let (seats, _) = engine::open(&mut first, &config, 2).unwrap();
    let ios = std::iter::once(first).chain(ios);
    let take = |(io, seat)| Reactor::take(io, config.clone(), seat);
    let mut reactors = ios.zip(seats).map(take).collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(reactors.iter().map(Reactor::directory).collect::<Vec<_>>(), [DirId(0), DirId(1)]);
    let handles: Vec<Handle> =
        reactors.iter_mut().enumerate().map(|(own, reactor)| reactor.handle(world.waker(own))).collect();
    // The first shard is the second reactor's, the second one the first's.
    for name in ["there", "here"] {
        let settings = Settings { quotas: Quotas::NONE, retention: Retention::NONE };
        let create = Call::CreateStream { name: name.to_owned(), shards: 1, settings, annotation: Arc::default() };
        let answer = ask(&mut reactors, &handles[0], create);
        assert!(matches!(answer, Some(Answer::Stream(..))), "{answer:?}");
    }
    hangs.set(true);
    let acknowledged = |answer: Option<Answer>| match answer {
        Some(Answer::Appended(_, outcomes)) => matches!(outcomes[..], [Outcome::Durable { .. }]),
        _ => false,
    };
    // Until it makes its next segment.
    for _ in 0..100 {
        if held.get() == 0 {
            drop(ask(&mut reactors, &handles[1], append("there")));
        }
    }
    assert_eq!(held.get(), 1, "a flush hangs");
    let answer = ask(&mut reactors, &handles[0], append("here"));
    assert!(acknowledged(answer), "on the other disk");
    let answer = ask(&mut reactors, &handles[1], append("there"));
    assert!(!acknowledged(answer), "its outcome is to be known before");
    world.die();
    drop((reactors, handles));
    world.next_life(Death::PowerCut, Surroundings::calm());
}
