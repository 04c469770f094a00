//! Streams on demand: a shard that much comes to is split where that lies, and it is told which shard and key are hot.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::admin::samples;
use crate::gateway::{ask_on, connect, good};
use crate::rig::{Server, directory, millstream};

/// It takes three looks of five seconds, one before them and one that may just have been missed.
const PATIENCE: Duration = Duration::from_secs(60);

/// More than enough to make a shard hot, on a machine that is busy with other things too.
const RECORDS: usize = 300;
const PAUSE: Duration = Duration::from_millis(100);

fn open(address: std::net::SocketAddr, stream: &str) -> Vec<(u128, u128)> {
    let shards = good(address, "ListShards", &json!({ "StreamName": stream }))["Shards"].clone();
    let key = |shard: &Value, which: &str| shard["HashKeyRange"][which].as_str().unwrap().parse::<u128>().unwrap();
    let shards = shards.as_array().unwrap().iter();
    let open = shards.filter(|shard| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null());
    open.map(|shard| (key(shard, "StartingHashKey"), key(shard, "EndingHashKey"))).collect()
}

#[test]
fn a_hot_shard_is_split_where_its_records_lie() {
    let directory = directory();
    let data = directory.path().join("data");
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "127.0.0.1:0", "--reactors", "2"]);
    command.args(["--segment-bytes", "4MiB", "--segments-ready", "1", "--data"]).arg(&data);
    let server = Server::start_command(&data, command);
    let address = server.http.unwrap();
    let made = json!({ "StreamName": "orders", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    good(address, "CreateStream", &made);
    good(address, "CreateStream", &json!({ "StreamName": "other", "ShardCount": 4 }));
    let before = open(address, "orders");
    assert_eq!(before.len(), 4);
    // All of it in the upper half of the second shard, 4 records of 10 under one key: under half of it, so a split helps.
    let (start, end) = before[1];
    let middle = start + (end - start) / 2;
    let place = |number: usize| middle + (end - middle) / RECORDS as u128 * number as u128;
    let record = |number: usize| {
        let key = if number % 10 < 4 { "hot".to_owned() } else { format!("key {number}") };
        json!({ "Data": "AAAA", "PartitionKey": key, "ExplicitHashKey": place(number).to_string() })
    };
    let records: Vec<Value> = (0..RECORDS).map(record).collect();
    let mut connection = connect(address);
    let started = Instant::now();
    let after = loop {
        for stream in ["orders", "other"] {
            let put = json!({ "StreamName": stream, "Records": records });
            assert_eq!(ask_on(&mut connection, "PutRecords", &put).0, 200);
        }
        let after = open(address, "orders");
        if after.len() > before.len() {
            break after;
        }
        assert!(started.elapsed() < PATIENCE, "nothing was split; the server's log: {}", server.log_text());
        std::thread::sleep(PAUSE);
    };
    let made: Vec<_> = after.iter().filter(|shard| !before.contains(shard)).collect();
    assert!(made.iter().all(|(from, to)| start <= *from && *to <= end), "{made:?} within {start} to {end}");
    let at = made.iter().map(|(from, _)| *from).max().unwrap();
    assert!(middle < at && at < end, "split at {at}, where the records lie between {middle} and {end}");
    assert_eq!(open(address, "other").len(), 4, "a provisioned stream is its owner's to split");
    let told = samples(&server);
    let labels = "{account=\"000000000000\",region=\"us-east-1\",stream=\"orders\",shard=\"shardId-000000000001\"}";
    let (shard, key) = (
        told.get(&format!("millstream_hot_shard{labels}")),
        "millstream_hot_key{account=\"000000000000\",region=\"us-east-1\",stream=\"orders\",key=\"hot\"}",
    );
    let shares = [shard, told.get(key)].map(|share| *share.unwrap_or_else(|| panic!("{told:?}")));
    assert!(shares.iter().all(|share| (0.1..5.0).contains(share)), "{shares:?}");
    assert!(!told.keys().any(|name| name.contains("hot_shard") && name.contains("other")), "{told:?}");
    server.stop();
}
