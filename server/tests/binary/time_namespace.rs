//! Restarts in another time namespace, where the boot clock jumps a day and the wall clock does not: nothing is removed until an
//! operator says which of them is right.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use frame::proto::StreamDescription;
use frame::{Quotas, Retention, Sequence, Settings};
use serde_json::{Value, json};
use server::client::Client;

use crate::gateway::{good, refused};
use crate::retention::{fill, segments, until};
use crate::rig::{Server, directory, serve, skip, started_by};

const DAY_S: u32 = 86_400;

/// Records are kept for longer than the hour that clocks may differ by, and not for as long as they jump.
const KEPT_S: u32 = 7200;

/// Less than clocks may differ by, and longer than closed shards are kept at least.
const LITTLE_S: u32 = 1200;
const KEPT_BRIEFLY_S: u32 = 100;

/// Records of 50 KB: several segments.
const RECORDS: usize = 400;

/// Whether processes can be started here whose boot clock is a day ahead; says why not.
fn can_jump() -> bool {
    let uptime_s = |command: &mut Command| -> Option<f64> {
        let said = command.output().ok().filter(|said| said.status.success())?;
        String::from_utf8(said.stdout).ok()?.split_whitespace().next()?.parse().ok()
    };
    let here_s = uptime_s(Command::new("cat").arg("/proc/uptime"));
    let there_s = uptime_s(Command::new("unshare").args(["--time", "--boottime", "86400", "cat", "/proc/uptime"]));
    // Both are hundredths of a second: what lies between may come out a little short of a day.
    let jumps = here_s.zip(there_s).is_some_and(|(here_s, there_s)| there_s - here_s > f64::from(DAY_S - 1));
    if !jumps {
        skip("no time namespace: run as root, on Linux 6.3 or newer, with `unshare` of util-linux");
    }
    jumps
}

/// A server whose boot clock is so far ahead of the machine's.
fn start(data: &Path, ahead_s: u32, more: &[&str]) -> Server {
    let mut unshare = Command::new("unshare");
    unshare.args(["--time", "--boottime", &ahead_s.to_string()]);
    Server::start_command(data, started_by(unshare, &serve(data, more)))
}

/// How many starts so far have said that nothing expires.
fn held(server: &Server) -> usize {
    server.log_text().matches("nothing expires until it agrees").count()
}

fn create(client: &mut Client, name: &str) -> StreamDescription {
    let settings = Settings { quotas: Quotas::NONE, retention: Retention::of_seconds(KEPT_S) };
    client.create_stream(name, 1, settings).unwrap()
}

/// How many records there are to read.
fn readable(client: &mut Client, stream: &StreamDescription) -> usize {
    let (mut from, mut count) = (Sequence(1), 0);
    loop {
        let records = client.read(stream.stream, stream.shards[0].shard, from, 4 << 20).unwrap();
        count += records.len();
        from = records.result.next;
        if from >= records.result.tip {
            return count;
        }
    }
}

#[test]
fn a_boot_clock_that_jumps_a_day_removes_nothing_until_it_is_said_to() {
    if !can_jump() {
        return;
    }
    let directory = directory();
    let data = directory.path().join("data");
    let server = start(&data, 0, &[]);
    let mut client = server.client();
    let [kept, brief] = ["kept", "brief"].map(|name| create(&mut client, name));
    fill(&mut client, &kept, 20);
    fill(&mut client, &brief, RECORDS);
    assert_eq!(held(&server), 0);
    server.stop();
    let full = segments(&data);

    // By its boot clock all of it has expired long ago. Another start is no reason to believe that.
    for life in 1..=2 {
        let server = start(&data, DAY_S, &[]);
        let mut client = server.client();
        assert_eq!(held(&server), life);
        // So has what is kept for a second.
        client.set_retention("brief", Retention::of_seconds(1)).unwrap();
        assert_eq!(readable(&mut client, &brief), RECORDS);
        fill(&mut client, &kept, 20);
        assert_eq!(readable(&mut client, &kept), 20 + 20 * life);
        assert!(segments(&data) >= full);
        server.kill();
    }

    // The jump back is one too.
    let server = start(&data, 0, &[]);
    let mut client = server.client();
    assert_eq!((readable(&mut client, &kept), readable(&mut client, &brief)), (60, RECORDS));
    assert_eq!(held(&server), 3);
    server.stop();

    let server = start(&data, 0, &["--accept-clock"]);
    let mut client = server.client();
    assert_eq!(held(&server), 3, "the clock is believed");
    until("what has expired is gone, and its space", || readable(&mut client, &brief) == 0 && segments(&data) < full);
    assert_eq!(readable(&mut client, &kept), 60);
    server.stop();
    // It stays so.
    let server = start(&data, 0, &[]);
    assert_eq!((held(&server), readable(&mut server.client(), &kept)), (3, 60));
    server.stop();
}

#[test]
fn a_log_that_began_a_day_ahead_goes_on_by_the_wall_clock() {
    if !can_jump() {
        return;
    }
    let directory = directory();
    let data = directory.path().join("data");
    let server = start(&data, DAY_S, &[]);
    let mut client = server.client();
    let [kept, brief] = ["kept", "brief"].map(|name| create(&mut client, name));
    fill(&mut client, &kept, 20);
    fill(&mut client, &brief, RECORDS);
    let full = segments(&data);
    server.stop();
    // How far off this one is depends on how long ago the machine was booted; what is kept for two hours stays in any case.
    let server = start(&data, 0, &[]);
    assert_eq!(readable(&mut server.client(), &kept), 20);
    let so_far = held(&server);
    server.kill();
    // Once the wall clock was believed, it is known how the boot clock of this namespace stands to it.
    for more in [&["--accept-clock"][..], &[]] {
        let server = start(&data, DAY_S, more);
        let mut client = server.client();
        assert_eq!((held(&server), readable(&mut client, &kept)), (so_far, 20), "{more:?}");
        client.set_retention("brief", Retention::of_seconds(1)).unwrap();
        until("what has expired is gone, and its space", || {
            readable(&mut client, &brief) == 0 && segments(&data) < full
        });
        server.kill();
    }
}

/// The first life of a log with a stream of one shard.
fn begin(data: &Path) -> (Server, SocketAddr) {
    let server = start(data, 0, &[]);
    let http = server.http.unwrap();
    good(http, "CreateStream", &json!({"StreamName": "s", "ShardCount": 1}));
    (server, http)
}

fn put(http: SocketAddr, data: &str) {
    good(http, "PutRecord", &json!({"StreamName": "s", "PartitionKey": "k", "Data": data}));
}

/// Splits the first shard in the middle.
fn split(http: SocketAddr) {
    let middle = (1_u128 << 127).to_string();
    good(http, "SplitShard", &json!({"StreamName": "s", "ShardToSplit": named(0), "NewStartingHashKey": middle}));
}

fn named(number: u32) -> String {
    format!("shardId-{number:012}")
}

fn listed(http: SocketAddr) -> Vec<Value> {
    good(http, "ListShards", &json!({"StreamName": "s"}))["Shards"].as_array().unwrap().clone()
}

fn listed_at_horizon(http: SocketAddr) -> Vec<Value> {
    let horizon = json!({"StreamName": "s", "ShardFilter": {"Type": "AT_TRIM_HORIZON"}});
    good(http, "ListShards", &horizon)["Shards"].as_array().unwrap().clone()
}

/// A stream goes on from what is left of it, and who comes late with an iterator is told that the shard is not there.
#[test]
fn a_closed_shard_of_which_all_has_expired_is_forgotten() {
    if !can_jump() {
        return;
    }
    let directory = directory();
    let data = directory.path().join("data");
    let (server, http) = begin(&data);
    put(http, "b2xk");
    let wanted = |number| json!({"StreamName": "s", "ShardId": named(number), "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = good(http, "GetShardIterator", &wanted(0))["ShardIterator"].clone();
    split(http);
    server.client().set_retention("s", Retention::of_seconds(KEPT_BRIEFLY_S)).unwrap();
    assert_eq!(listed(http).len(), 3);
    server.stop();

    // Not further ahead than clocks may differ by.
    let server = start(&data, LITTLE_S, &[]);
    let http = server.http.unwrap();
    until("it is forgotten", || server.client().describe_stream("s").unwrap().shards.len() == 2);
    let records = json!({"ShardIterator": iterator});
    let stays = |http| {
        let shards = listed(http);
        assert_eq!(shards.len(), 2);
        assert!(shards.iter().all(|shard| shard["ParentShardId"] == json!(named(0))), "they say what they are made of");
        assert_eq!(listed_at_horizon(http).len(), 2);
        assert_eq!(refused(http, "GetShardIterator", &wanted(0)).0, "ResourceNotFoundException");
        assert_eq!(refused(http, "GetRecords", &records).0, "ResourceNotFoundException");
        let after = json!({"StreamName": "s", "ExclusiveStartShardId": named(0), "Limit": 1});
        let described = good(http, "DescribeStream", &after)["StreamDescription"].clone();
        assert_eq!((&described["Shards"][0]["ShardId"], &described["HasMoreShards"]), (&json!(named(1)), &json!(true)));
    };
    stays(http);
    // What more is kept brings nothing back, nor another start.
    good(http, "IncreaseStreamRetentionPeriod", &json!({"StreamName": "s", "RetentionPeriodHours": 48}));
    put(http, "bmV3");
    stays(http);
    server.kill();
    let server = start(&data, LITTLE_S, &[]);
    let http = server.http.unwrap();
    stays(http);
    let merge = json!({"StreamName": "s", "ShardToMerge": named(1), "AdjacentShardToMerge": named(2)});
    good(http, "MergeShards", &merge);
    assert_eq!(listed(http).last().unwrap()["ShardId"], json!(named(3)), "numbers go on");
    server.stop();
}

/// Bug: while the log held everything, closed shards went from the lists, and a consumer that began at the trim horizon passed over
/// their records. Mechanism: the gateway went by the wall clock alone. Fix: it goes by the log's time.
#[test]
fn closed_shards_are_listed_while_everything_is_held() {
    if !can_jump() {
        return;
    }
    let directory = directory();
    let data = directory.path().join("data");
    let (server, http) = begin(&data);
    put(http, "b2xk");
    split(http);
    server.client().set_retention("s", Retention::of_seconds(1)).unwrap();
    until("the closed one has expired", || listed(http).len() == 2);
    server.stop();

    // A stream that expired in part is kept as it is from here on.
    let server = start(&data, DAY_S, &[]);
    let http = server.http.unwrap();
    assert_eq!((held(&server), listed(http).len()), (1, 3));
    assert_eq!(listed_at_horizon(http)[0]["ShardId"], json!(named(0)));
    let described = good(http, "DescribeStream", &json!({"StreamName": "s"}));
    assert_eq!(described["StreamDescription"]["Shards"].as_array().unwrap().len(), 3);
    let wanted = json!({"StreamName": "s", "ShardId": named(0), "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = good(http, "GetShardIterator", &wanted)["ShardIterator"].clone();
    let read = good(http, "GetRecords", &json!({"ShardIterator": iterator}));
    assert_eq!(read["Records"].as_array().unwrap().len(), 1, "it is not in any list, and there");
    server.stop();
}

/// Bug: times and numbers that the server itself had given were refused as those of the future, and nobody was ever behind. Mechanism and
/// fix as above: by the wall clock records came later than now.
#[test]
fn what_is_dated_ahead_of_the_wall_clock_is_past() {
    if !can_jump() {
        return;
    }
    let directory = directory();
    let data = directory.path().join("data");
    begin(&data).0.stop();

    // The log's clock is ahead of the wall clock, by less than they may differ by.
    let server = start(&data, LITTLE_S, &[]);
    let http = server.http.unwrap();
    let mut put = json!({"StreamName": "s", "PartitionKey": "k", "Data": "b2xk"});
    let number = good(http, "PutRecord", &put)["SequenceNumber"].clone();
    put["SequenceNumberForOrdering"] = number;
    good(http, "PutRecord", &put);
    let stored = Instant::now();
    let start_at = |kind: &str, time: Option<f64>| json!({"StreamName": "s", "ShardId": "0", "ShardIteratorType": kind, "Timestamp": time});
    let first = |http, start: &Value| {
        let iterator = good(http, "GetShardIterator", start)["ShardIterator"].clone();
        good(http, "GetRecords", &json!({"ShardIterator": iterator, "Limit": 1}))
    };
    let horizon = start_at("TRIM_HORIZON", None);
    let arrival_s = first(http, &horizon)["Records"][0]["ApproximateArrivalTimestamp"].as_f64().unwrap();
    let wall_s = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!(arrival_s > wall_s + f64::from(LITTLE_S) / 2.0, "it is not dated ahead: {arrival_s}");
    assert_eq!(first(http, &start_at("AT_TIMESTAMP", Some(arrival_s)))["Records"].as_array().unwrap().len(), 1);
    until("time has passed", || stored.elapsed().as_millis() > 100);
    let behind_ms = first(http, &horizon)["MillisBehindLatest"].as_u64().unwrap();
    assert!(behind_ms >= 100, "who reads the first of two is behind by {behind_ms} ms");
    let later = start_at("AT_TIMESTAMP", Some(arrival_s + f64::from(LITTLE_S)));
    assert_eq!(refused(http, "GetShardIterator", &later).0, "InvalidArgumentException");
    server.stop();
}
