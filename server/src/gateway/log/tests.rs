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

/// Bug, found on reading: what was decided about a stream was done to another, with the first one's consumers, tags and policy, where a
/// native client had made that under its name meanwhile. Mechanism: it was called for by name. Fix: by number.
#[test]
fn what_is_decided_about_a_stream_is_not_done_to_the_next_of_its_name() {
    let mut rig = Rig::new();
    let common = Arc::clone(&rig.common);
    let log = &common.log;
    rig.good("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1, "Tags": { "team": "first" } }));
    // As a native client does, which waits for nobody here.
    let make_another = || {
        let settings = Settings { quotas: Quotas::NONE, retention: Retention::NONE };
        let create = Call::CreateStream { name: "s".to_owned(), shards: 1, settings, annotation: Arc::default() };
        for call in [Call::DeleteStream { name: "s".to_owned() }, create] {
            log.handle.call(call, drop).unwrap();
        }
    };
    let tag = |_: &Stream, extras: &mut Extras| {
        make_another();
        extras.tags.insert("stage".to_owned(), "test".to_owned());
        Ok(())
    };
    let outcome = rig.wait(log.change(&log.own, "s", tag));
    assert_untouched(&mut rig, outcome);
    let keep = |_: &Stream, _: &Extras| {
        make_another();
        Ok(NonZeroU32::new(100))
    };
    let outcome = rig.wait(log.set_retention_period(&log.own, "s", keep));
    assert_untouched(&mut rig, outcome);
    let encrypt = |_: &Stream, _: &Extras| {
        make_another();
        Ok(Some("k".into()))
    };
    let outcome = rig.wait(log.encrypt(&log.own, "s", encrypt));
    assert_untouched(&mut rig, outcome);
}

#[track_caller]
fn assert_untouched(rig: &mut Rig, outcome: Result<(), Error>) {
    assert_eq!(outcome.unwrap_err().kind, ErrorKind::ResourceNotFound);
    let common = Arc::clone(&rig.common);
    let log = &common.log;
    // All that was called for before this is done with it.
    rig.wait(log.call(Call::Annotate { stream: None, annotation: Arc::default() })).unwrap();
    let (stream, _) = rig.wait(log.describe(&log.own, "s", 0, 0)).unwrap();
    assert_eq!((stream.annotation.len(), stream.retention, stream.encryption), (0, Retention::NONE, None));
}
