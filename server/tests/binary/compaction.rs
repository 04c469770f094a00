//! Compaction: what lives of segments that are mostly dead is made into fewer, whoever reads meanwhile, and is found after kills.

use std::path::Path;
use std::time::{Duration, Instant};

use frame::Quotas;
use frame::proto::Start;
use frame::{Frame, Sequence};
use serde_json::json;

use crate::gateway::good;
use crate::rig::{PATIENCE, Server, directory, millstream, read_all, run, store};

const ROUNDS: u8 = 60;
const KEPT_BYTES: usize = 100_000;
const GONE_BYTES: usize = 900_000;

/// Credit for one record.
const CREDIT: u64 = KEPT_BYTES as u64 + 1000;

/// Bytes of all segments on the disk.
fn bytes(data: &Path) -> u64 {
    let entries = std::fs::read_dir(data).unwrap().map(|entry| entry.unwrap());
    let segments = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".segment"));
    // One may go while it is looked at.
    segments.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

fn inspect(data: &Path) -> String {
    run(millstream(["inspect", data.to_str().unwrap(), "--verify"]), b"").good().text().to_owned()
}

#[test]
fn what_lives_is_made_short_and_found_by_all() {
    let directory = directory();
    let data = directory.path().join("data");
    let server = Server::start(&data);
    let mut client = server.client();
    let kept = client.create_stream("kept", 1, Quotas::NONE).unwrap();
    let gone = client.create_stream("gone", 1, Quotas::NONE).unwrap();
    for round in 0..ROUNDS {
        store(&mut client, kept.stream, "k", [vec![round; KEPT_BYTES]]);
        store(&mut client, gone.stream, "k", [vec![round; GONE_BYTES]]);
    }
    let shard = kept.shards[0].shard;
    // A subscriber that takes one record after the other, from before to after.
    let mut slow = server.client();
    let subscription = slow.subscribe(kept.stream, shard, Start::At(Sequence(1)), CREDIT).unwrap();
    let mut pushed = Vec::new();
    let mut take = |pushed: &mut Vec<u8>| {
        let push = slow.next_pushed().unwrap().unwrap().outcome.unwrap();
        pushed.extend(push.iter().map(|frame: Frame<'_>| frame.data()[0]));
        slow.grant(subscription, CREDIT).unwrap();
    };
    while pushed.len() < 5 {
        take(&mut pushed);
    }
    let before = bytes(&data);
    good(server.http.unwrap(), "DeleteStream", &json!({"StreamName": "gone"}));
    let started = Instant::now();
    // Of 57 MB 6 live; the newest two sealed segments, the open one and two that are ready stay as they are.
    while bytes(&data) > 30_000_000 {
        assert!(started.elapsed() < PATIENCE, "{} bytes of {before} after {PATIENCE:?}", bytes(&data));
        if pushed.len() < usize::from(ROUNDS) / 2 {
            take(&mut pushed);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    while pushed.len() < usize::from(ROUNDS) {
        take(&mut pushed);
    }
    assert_eq!(pushed, (0..ROUNDS).collect::<Vec<u8>>());
    let check = |server: &Server| {
        let found = read_all(&mut server.client(), &kept, shard);
        let expected = (0..ROUNDS).map(|round| (Sequence(u64::from(round) + 1), vec![round; KEPT_BYTES]));
        assert!(found.into_iter().eq(expected));
    };
    check(&server);
    server.kill();
    let found = inspect(&data);
    assert!(found.contains(": compacted, ") && found.contains("everything was read and is whole"), "{found}");
    let server = Server::start(&data);
    check(&server);
    server.stop();
    let found = inspect(&data);
    assert!(found.contains("everything was read and is whole"), "{found}");
}
