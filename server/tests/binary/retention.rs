//! Retention: what has expired is not read, who waits for it is told, and its space comes back.

use std::path::Path;
use std::time::{Duration, Instant};

use frame::proto::{AckResult, ErrorCode, Start, StreamDescription};
use frame::{Quotas, Retention, Sequence, Settings};
use serde_json::json;
use server::client::{Batch, Client};

use crate::gateway::{good, refused};
use crate::rig::{PATIENCE, Server, directory, millstream, run, store};

const RECORD_BYTES: usize = 50_000;

fn settings(seconds: u32) -> Settings {
    Settings { quotas: Quotas::NONE, retention: Retention::of_seconds(seconds) }
}

/// Stores so many records of 50 KB.
pub(crate) fn fill(client: &mut Client, stream: &StreamDescription, count: usize) {
    for _ in 0..count.div_ceil(20) {
        store(client, stream.stream, "k", vec![vec![7_u8; RECORD_BYTES]; 20]);
    }
}

pub(crate) fn segments(data: &Path) -> usize {
    let names = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".segment")).count()
}

/// Waits until something is so. Nobody tells when, so it is looked at again and again.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_subscriber_past_retention_is_told_and_the_space_comes_back() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let mut client = server.client();
    let kept = client.create_stream("kept", 1, Quotas::NONE).unwrap();
    store(&mut client, kept.stream, "k", ["first"]);
    let short = client.create_stream("short", 1, settings(1)).unwrap();
    let shard = short.shards[0].shard;
    // One that takes nothing for now.
    let mut late = server.client();
    let subscription = late.subscribe(short.stream, shard, Start::At(Sequence(1)), 0).unwrap();
    let begun = late.next_pushed().unwrap().unwrap().outcome.unwrap();
    assert_eq!((begun.result.next, begun.result.trim), (Sequence(1), Sequence(1)));
    // Six segments of 4 MiB, and a few records more.
    fill(&mut client, &short, 520);
    let most = segments(&data);
    assert!(most >= 6, "{most} segments");
    // Nothing is appended meanwhile, or it would take the space again.
    until("the trim point moves, and segments go", || {
        let described = client.describe_stream("short").unwrap();
        described.shards[0].trim > Sequence(400) && segments(&data) < most
    });
    let trim = client.describe_stream("short").unwrap().shards[0].trim;
    // Who asks for what has expired is given what comes next, and told where the shard begins.
    let records = client.read(short.stream, shard, Start::At(Sequence(1)), 1 << 20).unwrap();
    assert!(records.result.trim >= trim && records.result.next >= records.result.trim);
    assert!(records.iter().all(|frame| frame.sequence() >= trim));
    late.grant(subscription, 1 << 20).unwrap();
    let pushed = late.next_pushed().unwrap().unwrap().outcome.unwrap();
    assert!(pushed.result.trim >= trim && pushed.result.next >= pushed.result.trim, "{:?}", pushed.result);
    // What is kept without end lies in the oldest segment.
    let records = client.read(kept.stream, kept.shards[0].shard, Start::At(Sequence(1)), 1 << 20).unwrap();
    assert_eq!((records.iter().next().unwrap().data(), records.result.trim), (&b"first"[..], Sequence(1)));
    server.stop();
    // And so it is in the next life.
    let server = Server::start(&data);
    let mut client = server.client();
    assert!(client.describe_stream("short").unwrap().shards[0].trim >= trim);
    let records = client.read(kept.stream, kept.shards[0].shard, Start::At(Sequence(1)), 1 << 20).unwrap();
    assert_eq!(records.iter().next().unwrap().data(), b"first");
    server.stop();
    run(millstream(["inspect", data.to_str().unwrap(), "--verify"]), b"").good();
}

#[test]
fn past_the_budget_appends_go_on_once_a_stream_is_deleted() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start_with(&data, &["--disk-bytes", "32MiB"]);
    let mut client = server.client();
    let full = client.create_stream("full", 1, Quotas::NONE).unwrap();
    let kept = client.create_stream("kept", 1, Quotas::NONE).unwrap();
    let mut batch = Batch::new();
    for _ in 0..20 {
        assert!(batch.push(b"k", &[7; RECORD_BYTES]).unwrap());
    }
    let is_refused = |results: &[AckResult]| results.contains(&AckResult::Refused(ErrorCode::DiskFull));
    until("the budget is used up", || is_refused(&client.append(full.stream, &batch).unwrap()));
    let refusal = client.create_stream("more", 1, Quotas::NONE).unwrap_err();
    assert_eq!(refusal.code(), Some(ErrorCode::DiskFull), "{refusal}");
    // As the API has it: by another door, into the same log.
    let http = server.http.unwrap();
    good(http, "DeleteStream", &json!({"StreamName": "full"}));
    until("appends go on by themselves", || !is_refused(&client.append(kept.stream, &batch).unwrap()));
    // Of what the budget allows the deleted stream had nearly all.
    let rounds = 10;
    (0..rounds).for_each(|_| until("there is room", || !is_refused(&client.append(kept.stream, &batch).unwrap())));
    server.stop();
}

#[test]
fn a_limit_in_bytes_holds() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let mut client = server.client();
    let address = server.address.to_string();
    let command = |arguments: &[&str]| {
        let all = ["streams", "--native", &address].into_iter().chain(arguments.iter().copied());
        run(millstream(all), b"").good().text().to_owned()
    };
    let made = command(&["create", "limited", "--bytes", "8MiB", "--quotas", "none"]);
    assert!(made.contains("kept 8388608 bytes at most"), "{made}");
    let stream = client.describe_stream("limited").unwrap();
    fill(&mut client, &stream, 600);
    until("what is too much goes", || {
        let shard = client.describe_stream("limited").unwrap().shards[0];
        // Up to a segment more than the limit is there.
        (shard.tip.0 - shard.trim.0) as usize * RECORD_BYTES <= 12 << 20 && segments(&data) <= 6
    });
    let changed = command(&["retention", "limited", "1h", "--bytes", "none"]);
    assert!(changed.contains("kept 1h\n"), "{changed}");
    server.stop();
}

#[test]
fn the_api_keeps_records_for_a_day_or_longer() {
    let directory = directory();
    let server = Server::start(&directory.path().join("data"));
    let http = server.http.unwrap();
    good(http, "CreateStream", &json!({"StreamName": "s", "ShardCount": 1}));
    let hours = || {
        let summary = good(http, "DescribeStreamSummary", &json!({"StreamName": "s"}));
        summary["StreamDescriptionSummary"]["RetentionPeriodHours"].as_u64().unwrap()
    };
    assert_eq!(hours(), 24);
    let wanted = |hours: i64| json!({"StreamName": "s", "RetentionPeriodHours": hours});
    good(http, "IncreaseStreamRetentionPeriod", &wanted(8760));
    assert_eq!(hours(), 8760);
    good(http, "DecreaseStreamRetentionPeriod", &wanted(48));
    good(http, "DecreaseStreamRetentionPeriod", &wanted(48));
    assert_eq!(hours(), 48);
    for (action, hours) in [
        ("IncreaseStreamRetentionPeriod", 24),
        ("IncreaseStreamRetentionPeriod", 8761),
        ("DecreaseStreamRetentionPeriod", 49),
        ("DecreaseStreamRetentionPeriod", 23),
        ("DecreaseStreamRetentionPeriod", -1),
    ] {
        let (kind, words) = refused(http, action, &wanted(hours));
        assert_eq!(kind, "InvalidArgumentException", "{action} {hours}: {words}");
    }
    let (missing, _) = refused(http, "IncreaseStreamRetentionPeriod", &json!({"StreamName": "s"}));
    assert_eq!(missing, "ValidationException");
    assert_eq!(hours(), 48);
    server.stop();
}
