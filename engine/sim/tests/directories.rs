//! A log in several data directories: which belong together, whatever their order, and which don't.

use engine::limits::MEMORY_BYTES_MIN;
use engine::{Config, OpenError, Reactor, Recovered};
use io::{DirId, Pool};
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

#[test]
fn a_directory_that_is_missing_is_named() {
    let world = world();
    live(&world, &[0, 1, 2], 3).unwrap();
    let missing = |dirs: &[u32]| live(&world, dirs, 3).unwrap_err();
    assert_eq!(missing(&[0, 2]), OpenError::MissingDirectories { known: 3, missing: vec![1] });
    assert_eq!(missing(&[0]), OpenError::MissingDirectories { known: 3, missing: vec![1, 2] });
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
