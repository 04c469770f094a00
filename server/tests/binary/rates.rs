//! How often actions may be asked for: by default as the service documents it, told to whoever asks more often, changed and lifted.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::admin::samples;
use crate::gateway::{arn, ask_on, connect, good};
use crate::rig::{Server, directory, serve};
use crate::signing::{Signer, credentials_file};

const OF_STREAM: &str = "Rate exceeded for stream s under account 000000000000.";
const OF_ACCOUNT: &str = "Rate exceeded for account 000000000000.";
const OF_SHARD: &str = "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000.";

/// A server with the rates that are the default with those flags.
fn server(data: &Path, more: &[&str]) -> (Server, SocketAddr) {
    let mut command = serve(data, more);
    command.env_remove("MILLSTREAM_API_RATES");
    let server = Server::start_command(data, command);
    let address = server.http.unwrap();
    (server, address)
}

/// Asks until the rate is met: how often it was not, and the error. It must hold all the while.
#[track_caller]
fn met(address: SocketAddr, action: &str, body: &Value, rate: u32) -> (u32, Value) {
    let (mut connection, began) = (connect(address), Instant::now());
    for allowed in 0.. {
        let (_, answer) = ask_on(&mut connection, action, body);
        if answer["message"].as_str().is_some_and(|message| message.starts_with("Rate exceeded")) {
            assert!(allowed >= rate, "{action}: refused after {allowed}");
            return (allowed, answer);
        }
        let most = f64::from(rate) * (1.0 + began.elapsed().as_secs_f64());
        assert!(f64::from(allowed) <= most, "{action}: {allowed} times in {:?}", began.elapsed());
    }
    unreachable!("it is refused or too often allowed");
}

#[test]
fn each_action_is_refused_past_its_rate_with_the_services_error() {
    let directory = directory();
    let data = directory.path().join("data");
    let (unlimited, address) = server(&data, &["--api-rates", "none"]);
    good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let registered = good(address, "RegisterStreamConsumer", &json!({ "StreamARN": arn("s"), "ConsumerName": "c" }));
    let consumer = &registered["Consumer"]["ConsumerARN"];
    unlimited.stop();
    // As the reference says, but for what one connection does not ask often enough.
    let (server, address) = server(&data, &["--api-rates", "service,ListShards=20"]);
    let s = json!({ "StreamName": "s" });
    let (by_arn, of_consumer) = (json!({ "StreamARN": arn("s") }), json!({ "ConsumerARN": consumer }));
    let unregistered = json!({ "StreamARN": arn("s"), "ConsumerName": "none" });
    let iterator = |shard| json!({ "StreamName": "s", "ShardId": shard, "ShardIteratorType": "LATEST" });
    let subscribe = |shard| {
        let position = json!({ "Type": "LATEST" });
        json!({ "ConsumerARN": consumer, "ShardId": shard, "StartingPosition": position, "DryRun": true })
    };
    let (first, limit) = ("shardId-000000000000", "LimitExceededException");
    // What is asked for need not succeed.
    let mut refused = Vec::new();
    for (action, body, rate, kind, message) in [
        ("AddTagsToStream", &s, 5, limit, OF_STREAM),
        ("CreateStream", &s, 5, limit, OF_STREAM),
        ("DescribeAccountSettings", &json!({}), 5, limit, OF_ACCOUNT),
        ("DescribeLimits", &json!({}), 1, limit, OF_ACCOUNT),
        ("DescribeStream", &s, 10, limit, OF_STREAM),
        ("DescribeStreamConsumer", &of_consumer, 20, limit, OF_STREAM),
        ("DescribeStreamSummary", &by_arn, 20, limit, OF_STREAM),
        ("GetShardIterator", &iterator(first), 5, "ProvisionedThroughputExceededException", OF_SHARD),
        ("ListShards", &s, 20, limit, OF_STREAM),
        ("ListStreamConsumers", &by_arn, 5, limit, OF_STREAM),
        ("ListStreams", &json!({}), 5, limit, OF_ACCOUNT),
        ("ListTagsForStream", &s, 5, limit, OF_STREAM),
        ("MergeShards", &s, 5, limit, OF_STREAM),
        ("RegisterStreamConsumer", &by_arn, 5, limit, OF_STREAM),
        ("RemoveTagsFromStream", &s, 5, limit, OF_STREAM),
        ("SplitShard", &s, 5, limit, OF_STREAM),
        ("SubscribeToShard", &subscribe(first), 1, limit, OF_SHARD),
        ("UpdateAccountSettings", &json!({}), 5, limit, OF_ACCOUNT),
        ("UpdateShardCount", &s, 10, limit, OF_STREAM),
        ("UpdateStreamWarmThroughput", &s, 5, limit, OF_STREAM),
        ("DeregisterStreamConsumer", &unregistered, 5, limit, OF_STREAM),
        ("DeleteStream", &json!({}), 5, limit, OF_ACCOUNT),
    ] {
        let (_, error) = met(address, action, body, rate);
        assert_eq!(error, json!({ "__type": kind, "message": message }), "{action}");
        refused.push(action);
    }
    let samples = samples(&server);
    for action in refused {
        let count = samples.get(&format!("millstream_http_throttles_total{{action=\"{action}\"}}"));
        assert_eq!(count, Some(&1.0), "{action}");
    }
    server.stop();
}

#[test]
fn a_rate_is_of_one_account_stream_shard_or_consumer() {
    let directory = directory();
    let rates = "none,ListShards=1,GetShardIterator=1,SubscribeToShard=1,DescribeStreamConsumer=1";
    let (server, address) = server(&directory.path().join("data"), &["--api-rates", rates]);
    for name in ["s", "t"] {
        good(address, "CreateStream", &json!({ "StreamName": name, "ShardCount": 2 }));
    }
    let register = |stream: &str, name: &str| {
        let made = good(address, "RegisterStreamConsumer", &json!({ "StreamARN": arn(stream), "ConsumerName": name }));
        made["Consumer"]["ConsumerARN"].clone()
    };
    let [one, other, of_t] = [("s", "one"), ("s", "other"), ("t", "one")].map(|(stream, name)| register(stream, name));
    // Whoever met the rate of one, another is as free as ever.
    met(address, "ListShards", &json!({ "StreamName": "s" }), 1);
    good(address, "ListShards", &json!({ "StreamName": "t" }));
    met(address, "DescribeStreamConsumer", &json!({ "ConsumerARN": one }), 1);
    good(address, "DescribeStreamConsumer", &json!({ "ConsumerARN": of_t }));
    let iterator = |shard| json!({ "StreamName": "s", "ShardId": shard, "ShardIteratorType": "LATEST" });
    met(address, "GetShardIterator", &iterator("0"), 1);
    good(address, "GetShardIterator", &iterator("1"));
    let subscribe = |consumer: &Value, shard| {
        let position = json!({ "Type": "LATEST" });
        json!({ "ConsumerARN": consumer, "ShardId": shard, "StartingPosition": position, "DryRun": true })
    };
    met(address, "SubscribeToShard", &subscribe(&one, "0"), 1);
    for (consumer, shard) in [(&one, "1"), (&other, "0")] {
        let (_, answer) = ask_on(&mut connect(address), "SubscribeToShard", &subscribe(consumer, shard));
        assert_eq!(answer["__type"], "DryRunOperationException", "{answer}");
    }
    server.stop();
}

#[test]
fn accounts_and_regions_have_rates_of_their_own() {
    let directory = directory();
    let keys = "[[key]]\nid = \"A\"\nsecret = \"secret\"\nregions = [\"*\"]\n\n\
                [[key]]\nid = \"B\"\nsecret = \"secret\"\naccount = \"111122223333\"\n";
    let file = credentials_file(directory.path(), keys);
    let more = ["--api-rates", "none,ListStreams=1", "--credentials-file", file.to_str().unwrap()];
    let (server, address) = server(&directory.path().join("data"), &more);
    let signer = |key| {
        let (region, service) = ("us-east-1", "kinesis");
        Signer { key, secret: "secret", token: None, region, service, off_s: 0, in_query: false }
    };
    let (_, error) = (0..1000)
        .map(|_| signer("A").ask(address, "ListStreams", &json!({})))
        .find(|(status, _)| *status == 400)
        .expect("a thousand signed requests take longer than a second, or meet the rate");
    assert_eq!(error["message"], OF_ACCOUNT);
    signer("A").at("eu-west-1").good(address, "ListStreams", &json!({}));
    signer("B").good(address, "ListStreams", &json!({}));
    server.stop();
}

#[test]
fn rates_are_the_services_unless_the_server_is_told_otherwise() {
    let directory = directory();
    let data = directory.path().join("data");
    let limits = json!({});
    let (usual, address) = server(&data, &[]);
    met(address, "DescribeLimits", &limits, 1);
    usual.stop();
    // Who wants no quotas wants no rates, unless they are named.
    for more in [&["--quotas", "none"][..], &["--api-rates", "none"], &["--api-rates", "service,DescribeLimits=none"]] {
        let (lifted, address) = server(&data, more);
        let mut connection = connect(address);
        for _ in 0..100 {
            assert_eq!(ask_on(&mut connection, "DescribeLimits", &limits).0, 200, "{more:?}");
        }
        lifted.stop();
    }
    let (changed, address) = server(&data, &["--quotas", "none", "--api-rates", "DescribeLimits=3"]);
    met(address, "DescribeLimits", &limits, 3);
    changed.stop();
}
