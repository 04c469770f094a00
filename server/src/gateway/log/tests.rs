//! The log behind a reactor that takes a turn when it is told to.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use engine::{Config, Reactor};
use frame::{Quotas, Retention};
use io::{DataDir, IoConfig, SystemIo, Threads};
use tempfile::TempDir;

use super::*;
use crate::gateway::body::Bodies;

/// A reactor that takes a turn when it is told to, and the log that it serves.
struct Rig {
    log: Log,
    reactor: Reactor<Threads>,
    _directory: TempDir,
}

impl Rig {
    fn new() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let io = Threads::start(IoConfig::new(vec![DataDir::open(directory.path(), true).unwrap()])).unwrap();
        let config = Config { segment_bytes: 4 << 20, segments_ready: 1, ..Config::default() };
        let (mut reactor, _) = Reactor::open(io, config).unwrap();
        let log = Log::new(reactor.handle(|| {}), Place::default());
        Rig { log, reactor, _directory: directory }
    }

    /// Waits for what needs turns.
    fn wait<T>(reactor: &mut Reactor<Threads>, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(done) = poll(future.as_mut()) {
                return done;
            }
            reactor.turn();
        }
    }
}

fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Bug, found on reading: who asked for something to be stored and left, again and again, filled the reactor's queue with up to 10 MiB
/// a call. Mechanism: a body's room went with its client. Fix: it goes with the call.
#[test]
fn an_append_keeps_its_room_until_it_is_answered() {
    const BYTES: usize = 1000;
    let mut rig = Rig::new();
    let bodies = Bodies::of(4 * BYTES, BYTES / 4);
    let room = || BodyRoom::begin(&bodies, BYTES, Some(BYTES));
    let mut held = room();
    assert!(held.try_hold(BYTES));
    {
        let append = rig.log.append(&rig.log.own, "s", Vec::new(), held);
        assert!(poll(pin!(append)).is_pending());
    }
    assert!(!room().try_hold(1), "it waits, though its caller is gone");
    let there_is_none = Rig::wait(&mut rig.reactor, rig.log.describe(&rig.log.own, "s", 0, 0)).unwrap_err();
    assert_eq!(there_is_none.kind, ErrorKind::ResourceNotFound);
    assert!(room().try_hold(1), "it was answered");
}

/// Bug, found on reading: the name of each stream with records to spread that could not be made was kept for ever.
#[test]
fn a_stream_that_could_not_be_made_is_not_noted() {
    let Rig { log, mut reactor, _directory } = Rig::new();
    log.spread_is_complete();
    let mut create = |name, shards| {
        let extras = Extras { on_demand: true, spread: true, ..Extras::default() };
        let settings = Settings { quotas: Quotas::NONE, retention: Retention::NONE };
        let made = Rig::wait(&mut reactor, log.create(&log.own, name, shards, settings, &extras));
        made.map_err(|error| error.kind)
    };
    assert_eq!(create("large", u32::MAX), Err(ErrorKind::LimitExceeded));
    assert_eq!((create("s", 1), create("s", 1)), (Ok(()), Err(ErrorKind::ResourceInUse)));
    assert!(log.may_spread(&log.own, "s") && !log.may_spread(&log.own, "large"));
}
