//! A subscription's patience, and its end, in time that passes when a test says so.

use aws_smithy_eventstream::frame::read_message_from;
use serde_json::{Value, json};
use tokio::time::advance;

use super::*;
use crate::gateway::action::Said;
use crate::gateway::rig::{Rig, poll};

const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// The next that is said: its kind, and it. Nothing at the end.
async fn said(rig: &mut Rig, events: &mut Events) -> Poll<Option<(String, Value)>> {
    rig.settle().await;
    let next = poll(std::pin::pin!(std::future::poll_fn(|context| events.poll(context))));
    next.map(|message| {
        let message = read_message_from(&mut message?).unwrap();
        let is_kind = |name: &str| [":event-type", ":exception-type"].contains(&name);
        let kind = message.headers().iter().find(|header| is_kind(header.name().as_str())).unwrap();
        let kind = kind.value().as_string().unwrap().as_str().to_owned();
        Some((kind, serde_json::from_slice(message.payload()).unwrap()))
    })
}

#[tokio::test(start_paused = true)]
async fn after_five_minutes_it_ends_without_an_error_and_says_where_to_go_on() {
    let mut rig = Rig::new();
    rig.good("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let arn = rig.common.access.own().arn("s");
    let consumer = rig.good("RegisterStreamConsumer", &json!({ "StreamARN": arn, "ConsumerName": "reader" }));
    let start = json!({ "Type": "TRIM_HORIZON" });
    let subscribe =
        json!({ "ConsumerARN": consumer["Consumer"]["ConsumerARN"], "ShardId": "0", "StartingPosition": start });
    let Said::Events(mut events) = rig.ask("SubscribeToShard", &subscribe).unwrap() else { panic!("it goes on") };
    assert!(matches!(said(&mut rig, &mut events).await, Poll::Ready(Some((kind, _))) if kind == "initial-response"));
    let (began, mut count) = (Instant::now(), 0);
    while began.elapsed() < FIVE_MINUTES - SILENCE_MAX {
        advance(SILENCE_MAX).await;
        while let Poll::Ready(next) = said(&mut rig, &mut events).await {
            next.expect("its time is not up");
            count += 1;
        }
    }
    assert!(count > 50, "{count} signs of life");
    let stored = rig.good("PutRecord", &json!({ "StreamName": "s", "PartitionKey": "k", "Data": "AAAA" }));
    let (kind, last) = loop {
        if let Poll::Ready(next) = said(&mut rig, &mut events).await {
            break next.expect("its time is not up");
        }
    };
    assert_eq!((kind.as_str(), &last["Records"][0]["PartitionKey"]), ("SubscribeToShardEvent", &json!("k")));
    assert_eq!(last["ContinuationSequenceNumber"], stored["SequenceNumber"]);
    let moment = Duration::from_millis(10);
    advance(SILENCE_MAX - moment).await;
    assert_eq!(said(&mut rig, &mut events).await, Poll::Pending, "some of its time is left");
    advance(2 * moment).await;
    assert_eq!(said(&mut rig, &mut events).await, Poll::Ready(None));
}

#[test]
fn patience_ends_unless_it_is_known_to_pass() {
    let (mut patience, begin) = (Patience::default(), Instant::now());
    let mut holds = |code, after| patience.holds(code, begin + after);
    assert!(!holds(ErrorCode::KeyMissing, Duration::ZERO) && !holds(ErrorCode::Damaged, Duration::ZERO));
    assert!(holds(ErrorCode::Busy, LIFETIME) && holds(ErrorCode::StorageFailed, LIFETIME + PATIENCE / 2));
    assert!(!holds(ErrorCode::Busy, LIFETIME + PATIENCE), "it began with the first");
    for code in [ErrorCode::Resharding, ErrorCode::ShuttingDown, ErrorCode::ReadsExceeded] {
        assert!(holds(code, LIFETIME + PATIENCE), "{code}");
    }
}
