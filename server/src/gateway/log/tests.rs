//! The log behind a reactor that takes a turn when it is told to.

use std::pin::pin;

use frame::{Quotas, Retention};

use super::*;
use crate::gateway::body::Bodies;
use crate::gateway::rig::{Rig, poll};

/// Bug, found on reading: who asked for something to be stored and left, again and again, filled the reactor's queue with up to 10 MiB
/// a call. Mechanism: a body's room went with its client. Fix: it goes with the call.
#[test]
fn an_append_keeps_its_room_until_it_is_answered() {
    const BYTES: usize = 1000;
    let mut rig = Rig::new();
    let common = Arc::clone(&rig.common);
    let log = &common.log;
    let bodies = Bodies::of(4 * BYTES, BYTES / 4);
    let room = || BodyRoom::begin(&bodies, BYTES, Some(BYTES));
    let mut held = room();
    assert!(held.try_hold(BYTES));
    {
        let append = log.append(&log.own, "s", Vec::new(), held);
        assert!(poll(pin!(append)).is_pending());
    }
    assert!(!room().try_hold(1), "it waits, though its caller is gone");
    let there_is_none = rig.wait(log.describe(&log.own, "s", 0, 0)).unwrap_err();
    assert_eq!(there_is_none.kind, ErrorKind::ResourceNotFound);
    assert!(room().try_hold(1), "it was answered");
}

/// Bug, found on reading: the name of each stream with records to spread that could not be made was kept for ever.
#[test]
fn a_stream_that_could_not_be_made_is_not_noted() {
    let mut rig = Rig::new();
    let common = Arc::clone(&rig.common);
    let log = &common.log;
    log.spread_is_complete();
    let mut create = |name, shards| {
        let extras = Extras { on_demand: true, spread: true, ..Extras::default() };
        let settings = Settings { quotas: Quotas::NONE, retention: Retention::NONE };
        let made = rig.wait(log.create(&log.own, name, shards, settings, &extras));
        made.map_err(|error| error.kind)
    };
    assert_eq!(create("large", u32::MAX), Err(ErrorKind::LimitExceeded));
    assert_eq!((create("s", 1), create("s", 1)), (Ok(()), Err(ErrorKind::ResourceInUse)));
    assert!(log.may_spread(&log.own, "s") && !log.may_spread(&log.own, "large"));
}
