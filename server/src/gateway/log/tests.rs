//! The log behind a reactor that takes a turn when it is told to.

use std::pin::pin;

use frame::{Quotas, Retention};
use serde_json::json;

use super::*;
use crate::gateway::body::Bodies;
use crate::gateway::rig::{Rig, ask, poll};

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

/// Bug, found on reading: of two IncreaseStreamRetentionPeriod at once, to 100 and to 50 hours, both could be answered, and 50 be left.
/// Mechanism: both had looked at the stream before either changed it. Fix: who looks at it to change it is alone.
#[test]
fn retention_is_not_decreased_by_who_increases_it() {
    let mut rig = Rig::new();
    let common = Arc::clone(&rig.common);
    rig.good("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let increase = async |hours| {
        let body = json!({ "StreamName": "s", "RetentionPeriodHours": hours });
        ask(&common, "IncreaseStreamRetentionPeriod", &body).await.map(drop).map_err(|error| error.kind)
    };
    let outcomes = rig.wait(async { tokio::join!(increase(100), increase(50)) });
    assert_eq!(outcomes, (Ok(()), Err(ErrorKind::InvalidArgument)));
    let described = rig.good("DescribeStream", &json!({ "StreamName": "s" }));
    assert_eq!(described["StreamDescription"]["RetentionPeriodHours"], 100);
}

/// The same of encryption, which was stopped of a stream that was UPDATING by then.
#[test]
fn encryption_is_not_stopped_of_a_stream_that_is_updated() {
    let mut rig = Rig::new();
    let common = Arc::clone(&rig.common);
    let log = &common.log;
    rig.good("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    rig.wait(log.encrypt(&log.own, "s", |_, _| Ok(Some("k".into())))).unwrap();
    let update = |_: &Stream, extras: &mut Extras| {
        extras.scaling = Some(2);
        Ok(())
    };
    let body = json!({ "StreamName": "s", "EncryptionType": "KMS", "KeyId": "k" });
    let both = async { tokio::join!(log.change(&log.own, "s", update), ask(&common, "StopStreamEncryption", &body)) };
    let (updated, stopped) = rig.wait(both);
    assert!(updated.is_ok());
    assert_eq!(stopped.err().map(|error| error.kind), Some(ErrorKind::ResourceInUse));
    let (stream, _) = rig.wait(log.describe(&log.own, "s", 0, 0)).unwrap();
    assert_eq!(stream.encryption.as_deref(), Some("k"));
}
