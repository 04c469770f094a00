//! What a PutRecords of very many records waits for: nobody who reads, and nothing before it is known to be right.

use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wire::Codec;

use super::*;
use crate::gateway::access::Caller;
use crate::gateway::action::{self, Said};
use crate::gateway::rig::{Rig, poll};
use crate::gateway::{ANSWER_BYTES_IN_PROGRESS_MAX, OUTCOME_BYTES_IN_PROGRESS_MAX, PARSED_BYTES_IN_PROGRESS_MAX};

fn request(records: usize) -> Value {
    let record = json!({ "Data": "aGVsbG8=", "PartitionKey": "k" });
    json!({ "StreamName": "s", "Records": vec![record; records] })
}

/// What is answered within that time, if anything.
async fn within(rig: &mut Rig, body: &Value, time: Duration) -> Option<Result<Said, Error>> {
    let (common, body) = (std::sync::Arc::clone(&rig.common), body.to_string());
    let room = BodyRoom::begin(&common.bodies, body.len(), Some(body.len()));
    let caller = Caller { key: None, place: common.access.own().clone() };
    let mut answer = pin!(action::run(&common, caller, "PutRecords", Codec::Json, (body.as_bytes(), room)));
    let began = Instant::now();
    while began.elapsed() < time {
        if let Poll::Ready(said) = poll(answer.as_mut()) {
            return Some(said);
        }
        rig.settle().await;
    }
    None
}

const PATIENCE: Duration = Duration::from_secs(60);
const A_WHILE: Duration = Duration::from_millis(300);

/// Bug: with `--api-limits put-records=none` storing stood behind those who read, and they behind storing that had stalled. Mechanism:
/// outcomes of many records had room of the answers', taken before the request was checked. Fix: room of their own, just before
/// they are stored.
#[tokio::test]
async fn storing_many_records_waits_for_nobody_who_reads_and_what_is_wrong_for_nobody() {
    let mut rig = Rig::with("put-records=none".parse().unwrap());
    rig.good("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let read = rig.common.answers.take(ANSWER_BYTES_IN_PROGRESS_MAX as u32).await;
    let Some(Ok(Said::Body(answer, Some(room)))) = within(&mut rig, &request(501), PATIENCE).await else {
        panic!("it waits for those who read");
    };
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["Records"].as_array().unwrap().len(), 501);
    drop((read, room));
    // All of it is there again.
    let told = rig.common.outcomes.take(OUTCOME_BYTES_IN_PROGRESS_MAX as u32).await;
    let nobody_stores = rig.common.answers.take(ANSWER_BYTES_IN_PROGRESS_MAX as u32);
    drop(tokio::time::timeout(PATIENCE, nobody_stores).await.unwrap());
    let refusal = |said: Option<Result<Said, Error>>| said.unwrap().err().unwrap().kind;
    assert_eq!(refusal(within(&mut rig, &request(10_001), PATIENCE).await), ErrorKind::Validation);
    assert!(matches!(within(&mut rig, &request(500), PATIENCE).await, Some(Ok(Said::Body(_, None)))));
    assert!(within(&mut rig, &request(501), A_WHILE).await.is_none(), "its outcomes have no room");
    drop(told);
    // Who gave up let go of all that it had.
    let parsing = rig.common.parsing.acquire_many(PARSED_BYTES_IN_PROGRESS_MAX as u32);
    drop(tokio::time::timeout(PATIENCE, parsing).await.unwrap());
    assert!(within(&mut rig, &request(501), PATIENCE).await.unwrap().is_ok());
}

/// Records that are nothing but braces take many times that once they are read.
#[tokio::test]
async fn what_many_records_are_read_into_has_room() {
    let mut rig = Rig::with("put-records=none".parse().unwrap());
    rig.good("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let common = std::sync::Arc::clone(&rig.common);
    let taken = common.parsing.acquire_many(PARSED_BYTES_IN_PROGRESS_MAX as u32).await.unwrap();
    assert!(within(&mut rig, &request(501), A_WHILE).await.is_none());
    drop(taken);
    assert!(within(&mut rig, &request(501), PATIENCE).await.unwrap().is_ok());
    // Where no request has so many nobody waits for that.
    let mut rig = Rig::new();
    rig.good("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let common = std::sync::Arc::clone(&rig.common);
    let _taken = common.parsing.acquire_many(PARSED_BYTES_IN_PROGRESS_MAX as u32).await.unwrap();
    assert!(within(&mut rig, &request(500), PATIENCE).await.unwrap().is_ok());
}
