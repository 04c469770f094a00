//! Several accounts and regions of one server, kept apart; and what a key may do in its own and in others'.

use std::net::SocketAddr;

use serde_json::{Value, json};
use wire::iterator::ShardsPlace;

use crate::gateway::HELLO;
use crate::rig::{Server, directory, run};
use crate::signing::{Signer, credentials_file};

const OWN: Signer<'static> = signer("OWN");
const OTHER: Signer<'static> = signer("OTHER");
const WRITER: Signer<'static> = signer("WRITER");

const fn signer(key: &'static str) -> Signer<'static> {
    let (region, service) = ("us-east-1", "kinesis");
    Signer { key, secret: "secret", token: None, region, service, off_s: 0, in_query: false }
}

/// OWN and OTHER each have an account and all regions, WRITER has OTHER's account and may do little.
const KEYS: &str = r#"
[[key]]
id = "OWN"
secret = "secret"
regions = ["*"]

[[key]]
id = "OTHER"
secret = "secret"
user = "olga"
account = "111122223333"
regions = ["us-east-1", "eu-west-1"]

[[key]]
id = "WRITER"
secret = "secret"
user = "walter"
account = "111122223333"
[[key.policy]]
effect = "allow"
actions = ["kinesis:Put*", "kinesis:*Consumer", "kinesis:SubscribeToShard"]
streams = ["arn:aws:kinesis:*:*:stream/s*"]
[[key.policy]]
effect = "allow"
actions = ["kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:getrecords"]
streams = ["arn:aws:kinesis:us-east-1:111122223333:stream/s"]
[[key.policy]]
effect = "deny"
actions = ["kinesis:*"]
streams = ["arn:aws:kinesis:*:*:stream/secret"]
[[key.policy]]
effect = "deny"
actions = ["kinesis:DeregisterStreamConsumer"]
streams = ["arn:aws:kinesis:*:*:stream/s/consumer/audit:*"]
"#;

fn server(directory: &tempfile::TempDir) -> (Server, SocketAddr) {
    let file = credentials_file(directory.path(), KEYS);
    let more = ["--quotas", "none", "--credentials-file", file.to_str().unwrap()];
    let server = Server::start_with(&directory.path().join("data"), &more);
    let address = server.http.expect("the API is served");
    (server, address)
}

fn arn(region: &str, account: &str, stream: &str) -> String {
    format!("arn:aws:kinesis:{region}:{account}:stream/{stream}")
}

fn others(stream: &str) -> String {
    arn("us-east-1", "111122223333", stream)
}

/// The data of a stream's first shard, as somebody reads it.
fn read(signer: &Signer<'_>, address: SocketAddr, stream: &str) -> Vec<String> {
    let start = json!({ "StreamName": stream, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = signer.good(address, "GetShardIterator", &start)["ShardIterator"].clone();
    let page = signer.good(address, "GetRecords", &json!({ "ShardIterator": iterator }));
    page["Records"].as_array().unwrap().iter().map(|record| record["Data"].as_str().unwrap().to_owned()).collect()
}

fn names(signer: &Signer<'_>, address: SocketAddr, limit: u32) -> Vec<String> {
    let (mut all, mut body) = (Vec::new(), json!({ "Limit": limit }));
    loop {
        let page = signer.good(address, "ListStreams", &body);
        all.extend(page["StreamNames"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
        match page["NextToken"].as_str() {
            Some(token) => body = json!({ "Limit": limit, "NextToken": token }),
            None => return all,
        }
    }
}

#[test]
fn one_name_is_three_streams_in_three_places() {
    let directory = directory();
    let (server, address) = server(&directory);
    let places = [
        (OWN, "000000000000", "AAAA"),
        (OTHER, "111122223333", "BBBB"),
        (OTHER.at("eu-west-1"), "111122223333", "Q0ND"),
    ];
    for (signer, account, data) in places {
        for name in ["b", "s", "0", "z"] {
            signer.good(address, "CreateStream", &json!({ "StreamName": name, "ShardCount": 1 }));
        }
        let again = signer.refused(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
        assert_eq!(
            again,
            ("ResourceInUseException".to_owned(), format!("Stream s under account {account} already exists."))
        );
        signer.good(address, "PutRecord", &json!({ "StreamName": "s", "PartitionKey": "k", "Data": data }));
        let told = signer.good(address, "DescribeStreamSummary", &json!({ "StreamName": "s" }));
        let told = &told["StreamDescriptionSummary"];
        assert_eq!(
            (told["StreamName"].as_str(), told["StreamARN"].as_str()),
            (Some("s"), Some(&*arn(signer.region, account, "s")))
        );
        assert_eq!(signer.good(address, "DescribeLimits", &json!({}))["OpenShardCount"], 4);
    }
    for (signer, _, data) in places {
        assert_eq!(read(&signer, address, "s"), [data]);
        for limit in [1, 2, 3, 4, 100] {
            assert_eq!(names(&signer, address, limit), ["0", "b", "s", "z"], "{limit} at once");
        }
    }
    // Others' streams come after all of these.
    let first = places[2].0;
    for (limit, more) in [(3, true), (4, false), (100, false)] {
        assert_eq!(first.good(address, "ListStreams", &json!({ "Limit": limit }))["HasMoreStreams"], more, "{limit}");
    }
    assert_eq!(names(&OWN.at("eu-west-1"), address, 10), [""; 0]);
    // Settings of an account are of its region too.
    let commit = json!({ "MinimumThroughputBillingCommitment": { "Status": "ENABLED" } });
    OTHER.good(address, "UpdateAccountSettings", &commit);
    let status = |signer: &Signer<'_>| {
        let told = signer.good(address, "DescribeAccountSettings", &json!({}));
        told["MinimumThroughputBillingCommitment"]["Status"].as_str().unwrap().to_owned()
    };
    let told = places.map(|(signer, ..)| status(&signer));
    assert_eq!(told, ["DISABLED", "ENABLED", "DISABLED"]);
    // One goes, the others stay.
    OTHER.good(address, "DeleteStream", &json!({ "StreamName": "s" }));
    assert_eq!(names(&OTHER, address, 10), ["0", "b", "z"]);
    assert_eq!(
        (read(&OWN, address, "s"), read(&OTHER.at("eu-west-1"), address, "s")),
        (vec!["AAAA".to_owned()], vec!["Q0ND".to_owned()])
    );
    // Native clients see all, and whose each is.
    let told = run(server.command(["streams"]), b"").good();
    let told: Vec<&str> = told.text().lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(told.len(), 11, "{told:?}");
    assert!(told[0].starts_with("+111122223333/eu-west-1/0: stream "), "{told:?}");
    let told = run(server.command(["tail", "+111122223333/eu-west-1/s"]), b"").good();
    assert_eq!(told.text(), "CCC\n");
    server.stop();
}

/// What goes on in the background goes on in its place, over a restart too.
#[test]
fn streams_of_others_are_scaled_and_spread_as_ones_own() {
    let directory = directory();
    let (server_before, address) = server(&directory);
    let create = json!({ "StreamName": "s", "StreamModeDetails": { "StreamMode": "ON_DEMAND" }, "RecordDistributionStrategy": "AUTO" });
    OTHER.good(address, "CreateStream", &create);
    OTHER.good(address, "CreateStream", &json!({ "StreamName": "t", "ShardCount": 2 }));
    OWN.good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let scale = json!({ "StreamName": "t", "TargetShardCount": 4, "ScalingType": "UNIFORM_SCALING" });
    OTHER.good(address, "UpdateShardCount", &scale);
    server_before.kill();
    let (server, address) = server(&directory);
    let deadline = std::time::Instant::now() + crate::rig::PATIENCE;
    loop {
        let told = OTHER.good(address, "DescribeStreamSummary", &json!({ "StreamName": "t" }));
        let told = &told["StreamDescriptionSummary"];
        if (&told["StreamStatus"], &told["OpenShardCount"]) == (&json!("ACTIVE"), &json!(4)) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{told}: {}", server.log_text());
    }
    // No key is needed where records are spread, and one is in the stream of that name elsewhere.
    let record = json!({ "StreamName": "s", "Data": HELLO });
    OTHER.good(address, "PutRecord", &record);
    assert_eq!(OWN.refused(address, "PutRecord", &record).0, "ValidationException");
    server.stop();
}

#[test]
fn iterators_and_tokens_of_others_lead_nowhere() {
    let directory = directory();
    let (server, address) = server(&directory);
    for signer in [OWN, OTHER] {
        signer.good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 3 }));
        signer.good(address, "PutRecord", &json!({ "StreamName": "s", "PartitionKey": "k", "Data": HELLO }));
    }
    OTHER.good(address, "CreateStream", &json!({ "StreamName": "mine", "ShardCount": 1 }));
    let start = json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = OWN.good(address, "GetShardIterator", &start)["ShardIterator"].clone();
    let get = json!({ "ShardIterator": iterator });
    OWN.good(address, "GetRecords", &get);
    assert_eq!(OTHER.refused(address, "GetRecords", &get).0, "ResourceNotFoundException");
    let token = OWN.good(address, "ListShards", &json!({ "StreamName": "s", "MaxResults": 1 }))["NextToken"].clone();
    assert_eq!(OTHER.refused(address, "ListShards", &json!({ "NextToken": token })).0, "AccessDeniedException");
    // Nor does a token that was made by hand for a place that the caller may list, and that is none.
    let mut place = ShardsPlace::decode(token.as_str().unwrap()).unwrap();
    for region in ["eu-west-1", "us-east-1:000000000000:stream/mine"] {
        place.place.region = region.to_owned();
        let told = OWN.refused(address, "ListShards", &json!({ "NextToken": place.encode() }));
        assert_eq!(told.0, "ResourceNotFoundException", "{region}");
    }
    // What was made for a stream by hand, under the name of one that the caller may read.
    let forged = wire_iterator(iterator.as_str().unwrap(), "mine");
    assert_eq!(
        OTHER.refused(address, "GetRecords", &json!({ "ShardIterator": forged })).0,
        "ResourceNotFoundException"
    );
    // What names another's stream as the log does reaches it no more, in whatever it is hidden.
    let theirs = OTHER.good(address, "GetShardIterator", &start)["ShardIterator"].clone();
    let register = json!({ "StreamARN": others("s"), "ConsumerName": "reader" });
    let consumer = OTHER.good(address, "RegisterStreamConsumer", &register)["Consumer"]["ConsumerARN"].clone();
    let subscribe =
        |arn: &Value| json!({ "ConsumerARN": arn, "ShardId": "0", "StartingPosition": { "Type": "LATEST" } });
    assert_eq!(OTHER.request("SubscribeToShard", &subscribe(&consumer)).send(address).0, 200, "its own");
    assert_eq!(OWN.refused(address, "SubscribeToShard", &subscribe(&consumer)).0, "AccessDeniedException");
    let hidden = "+111122223333/us-east-1/s";
    let forged = wire_iterator(theirs.as_str().unwrap(), hidden);
    assert_eq!(OWN.refused(address, "GetRecords", &json!({ "ShardIterator": forged })).0, "ResourceNotFoundException");
    let (_, tail) = consumer.as_str().unwrap().split_once("/consumer/").unwrap();
    let hidden = json!(format!("{}/consumer/{tail}", arn("us-east-1", "000000000000", hidden)));
    for (action, body, kind) in [
        ("DescribeStreamConsumer", json!({ "ConsumerARN": hidden }), "ValidationException"),
        ("DeregisterStreamConsumer", json!({ "ConsumerARN": hidden }), "ValidationException"),
        ("ListTagsForResource", json!({ "ResourceARN": hidden }), "ResourceNotFoundException"),
        ("SubscribeToShard", subscribe(&hidden), "ValidationException"),
    ] {
        assert_eq!(OWN.refused(address, action, &body).0, kind, "{action}");
    }
    // ARNs of another region are another server's.
    let (kind, message) =
        OTHER.refused(address, "DescribeStream", &json!({ "StreamARN": arn("eu-west-1", "111122223333", "s") }));
    assert!(kind == "InvalidArgumentException" && message.contains("is not the ARN of a stream"), "{message}");
    let tags = json!({ "ResourceARN": arn("eu-west-1", "111122223333", "s") });
    assert_eq!(OTHER.refused(address, "ListTagsForResource", &tags).0, "ResourceNotFoundException");
    server.stop();
}

/// Bug: applications of one name in two regions passed over records. Mechanism: streams were a region's and tables of leases were not,
/// so each had the other's checkpoints. Fix: each region has a file of its own.
#[test]
fn tables_of_leases_are_a_regions() {
    let directory = directory();
    let (running, address) = server(&directory);
    let ask = |address, region, operation: &str, body: &Value| {
        let signer = Signer { service: "dynamodb", region, ..OWN };
        let target = format!("DynamoDB_20120810.{operation}");
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", &target)];
        signer.signed(&headers, body.to_string().as_bytes()).ask(address)
    };
    let create = json!({
        "TableName": "tab", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "leaseKey", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "leaseKey", "KeyType": "HASH" }],
    });
    let describe = json!({ "TableName": "tab" });
    assert_eq!(ask(address, "eu-west-1", "CreateTable", &create).0, 200);
    let (status, told) = ask(address, "us-east-1", "DescribeTable", &describe);
    assert!(status == 400 && told["__type"].to_string().contains("ResourceNotFoundException"), "{status} {told}");
    assert_eq!(ask(address, "us-east-1", "CreateTable", &create).0, 200, "it is another");
    let lease = |checkpoint| json!({ "leaseKey": { "S": "shardId-000000000000" }, "checkpoint": { "S": checkpoint } });
    let places = [("us-east-1", lease("1")), ("eu-west-1", lease("2"))];
    for (region, lease) in &places {
        let put = json!({ "TableName": "tab", "Item": lease });
        assert_eq!(ask(address, *region, "PutItem", &put).0, 200);
    }
    running.kill();
    let (running, address) = server(&directory);
    for (region, lease) in &places {
        let (status, told) = ask(address, *region, "Scan", &describe);
        assert_eq!((status, &told["Items"]), (200, &json!([lease])), "{region}");
    }
    let kept = directory.path().join("data/leases");
    assert!(kept.join("tables.sqlite").exists() && kept.join("tables-eu-west-1.sqlite").exists());
    running.stop();
}

/// An iterator as another, of a stream of this name.
fn wire_iterator(word: &str, name: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use xxhash_rust::xxh3::xxh3_64_with_seed;
    let mut bytes = STANDARD.decode(word).unwrap();
    // Up to the name, which is followed by a checksum.
    bytes.truncate(8 + 1 + 4 * 8 + 3 * 4);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&xxh3_64_with_seed(&bytes, u64::from_le_bytes(*b"token  1")).to_le_bytes());
    STANDARD.encode(bytes)
}

fn denied(user: &str, action: &str, resource: &str, because: &str) -> (String, String) {
    let message = format!(
        "User: arn:aws:iam::{user} is not authorized to perform: kinesis:{action} on resource: {resource} {because}"
    );
    ("AccessDeniedException".to_owned(), message)
}

#[test]
fn a_key_does_what_its_policy_allows() {
    let directory = directory();
    let (server, address) = server(&directory);
    for name in ["s", "s2", "secret", "other"] {
        OTHER.good(address, "CreateStream", &json!({ "StreamName": name, "ShardCount": 1 }));
    }
    let walter = "111122223333:user/walter";
    let put = |stream: &str| json!({ "StreamName": stream, "PartitionKey": "k", "Data": HELLO });
    let none = |action: &str| format!("because no identity-based policy allows the kinesis:{action} action");
    for stream in ["s", "s2"] {
        WRITER.good(address, "PutRecord", &put(stream));
    }
    let records = json!({ "StreamARN": others("s"), "Records": [{ "PartitionKey": "k", "Data": HELLO }] });
    WRITER.good(address, "PutRecords", &records);
    assert_eq!(read(&WRITER, address, "s").len(), 2);
    let explicit = "with an explicit deny in an identity-based policy";
    // A consumer is the same one by its name.
    for name in ["audit", "free"] {
        let register = json!({ "StreamARN": others("s"), "ConsumerName": name });
        let arn = OTHER.good(address, "RegisterStreamConsumer", &register)["Consumer"]["ConsumerARN"].clone();
        if name == "audit" {
            let resource = arn.as_str().unwrap();
            let told = WRITER.refused(address, "DeregisterStreamConsumer", &json!({ "ConsumerARN": arn }));
            assert_eq!(told, denied(walter, "DeregisterStreamConsumer", resource, explicit));
            assert_eq!(WRITER.refused(address, "DeregisterStreamConsumer", &register), told);
        } else {
            WRITER.good(address, "DeregisterStreamConsumer", &register);
        }
    }
    let reference = |name: &str| json!({ "StreamName": name });
    let both = json!({ "StreamName": "s", "StreamARN": others("secret"), "PartitionKey": "k", "Data": HELLO });
    let partition = json!({ "StreamARN": "arn:aws-cn:kinesis:us-east-1:111122223333:stream/secret", "PartitionKey": "k", "Data": HELLO });
    let start = |name: &str| json!({ "StreamName": name, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    for (action, body, resource, because) in [
        ("PutRecord", put("other"), others("other"), none("PutRecord")),
        ("PutRecord", put("secret"), others("secret"), explicit.to_owned()),
        // However it is named.
        ("PutRecord", both, others("secret"), explicit.to_owned()),
        ("PutRecord", partition, others("secret"), explicit.to_owned()),
        ("GetShardIterator", start("s2"), others("s2"), none("GetShardIterator")),
        ("DeleteStream", reference("s"), others("s"), none("DeleteStream")),
        ("CreateStream", reference("new"), others("new"), none("CreateStream")),
        ("ListStreams", json!({}), "*".to_owned(), none("ListStreams")),
        // A name does not make it a question about a stream.
        ("ListStreams", reference("s"), "*".to_owned(), none("ListStreams")),
        ("DescribeLimits", json!({}), "*".to_owned(), none("DescribeLimits")),
        // Nor does what names nothing.
        ("PutRecord", json!({ "StreamARN": "s", "Data": HELLO }), "*".to_owned(), none("PutRecord")),
    ] {
        let told = WRITER.refused(address, action, &body);
        assert_eq!(told, denied(walter, action, &resource, &because), "{action} {body}");
    }
    // Iterators and tokens are held against the policy as well.
    let iterator = OTHER.good(address, "GetShardIterator", &start("s2"))["ShardIterator"].clone();
    let told = WRITER.refused(address, "GetRecords", &json!({ "ShardIterator": iterator }));
    assert_eq!(told, denied(walter, "GetRecords", &others("s2"), &none("GetRecords")));
    let under_another = wire_iterator(iterator.as_str().unwrap(), "s");
    let told = WRITER.refused(address, "GetRecords", &json!({ "ShardIterator": under_another }));
    assert_eq!(told.0, "ResourceNotFoundException");
    // Consumers are of their stream.
    let register = |stream: &str| json!({ "StreamARN": others(stream), "ConsumerName": "reader" });
    let consumer = WRITER.good(address, "RegisterStreamConsumer", &register("s"))["Consumer"]["ConsumerARN"].clone();
    WRITER.good(address, "DescribeStreamConsumer", &json!({ "ConsumerARN": consumer }));
    let hidden = OTHER.good(address, "RegisterStreamConsumer", &register("secret"))["Consumer"]["ConsumerARN"].clone();
    let subscribe = json!({ "ConsumerARN": hidden, "ShardId": "0", "StartingPosition": { "Type": "LATEST" } });
    let told = WRITER.refused(address, "SubscribeToShard", &subscribe);
    assert_eq!(told, denied(walter, "SubscribeToShard", hidden.as_str().unwrap(), explicit));
    server.stop();
}

#[test]
fn others_do_what_the_owner_lets_them() {
    let directory = directory();
    let (server, address) = server(&directory);
    let olga = "111122223333:user/olga";
    OWN.good(address, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 2 }));
    let mine = arn("us-east-1", "000000000000", "s");
    let put = json!({ "StreamARN": mine, "PartitionKey": "k", "ExplicitHashKey": "0", "Data": HELLO });
    let none = |action: &str| format!("because no resource-based policy allows the kinesis:{action} action");
    assert_eq!(OTHER.refused(address, "PutRecord", &put), denied(olga, "PutRecord", &mine, &none("PutRecord")));
    // One that is not there sounds the same.
    let gone = arn("us-east-1", "000000000000", "gone");
    let told = OTHER.refused(address, "PutRecord", &json!({ "StreamARN": gone, "PartitionKey": "k", "Data": HELLO }));
    assert_eq!(told, denied(olga, "PutRecord", &gone, &none("PutRecord")));
    let policy = |effect: &str, actions: &Value| {
        let statement =
            json!({ "Effect": effect, "Principal": { "AWS": "111122223333" }, "Action": actions, "Resource": mine });
        json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
    };
    let shared =
        policy("Allow", &json!(["kinesis:Put*", "kinesis:Get*", "kinesis:ListShards", "kinesis:DeleteStream"]));
    OWN.good(address, "PutResourcePolicy", &json!({ "ResourceARN": mine, "Policy": shared }));
    OTHER.good(address, "PutRecord", &put);
    WRITER.good(address, "PutRecord", &put);
    assert_eq!(read(&OWN, address, "s").len(), 2);
    let start = json!({ "StreamARN": mine, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = OTHER.good(address, "GetShardIterator", &start)["ShardIterator"].clone();
    let page = OTHER.good(address, "GetRecords", &json!({ "ShardIterator": iterator, "StreamARN": mine }));
    assert_eq!(page["Records"].as_array().unwrap().len(), 2);
    // A token tells whose stream it is.
    let page = OTHER.good(address, "ListShards", &json!({ "StreamARN": mine, "MaxResults": 1 }));
    let page = OTHER.good(address, "ListShards", &json!({ "NextToken": page["NextToken"] }));
    assert_eq!(page["Shards"][0]["ShardId"], "shardId-000000000001");
    // Not what the service lets nobody share, nor what its own policy does not allow.
    let told = OTHER.refused(address, "DeleteStream", &json!({ "StreamARN": mine }));
    assert_eq!(told, denied(olga, "DeleteStream", &mine, &none("DeleteStream")));
    let told = WRITER.refused(address, "GetShardIterator", &start);
    assert!(told.1.contains("because no identity-based policy allows"), "{told:?}");
    OWN.good(address, "PutResourcePolicy", &json!({ "ResourceARN": mine, "Policy": policy("Deny", &json!("*")) }));
    let told = OTHER.refused(address, "PutRecord", &put);
    assert_eq!(told, denied(olga, "PutRecord", &mine, "with an explicit deny in a resource-based policy"));
    // A consumer has a policy of its own.
    let register = json!({ "StreamARN": mine, "ConsumerName": "reader" });
    let consumer = OWN.good(address, "RegisterStreamConsumer", &register)["Consumer"]["ConsumerARN"].clone();
    let describe = json!({ "ConsumerARN": consumer });
    let told = OTHER.refused(address, "DescribeStreamConsumer", &describe);
    assert_eq!(
        told,
        denied(olga, "DescribeStreamConsumer", consumer.as_str().unwrap(), &none("DescribeStreamConsumer"))
    );
    let statement = json!({ "Effect": "Allow", "Principal": "*", "Action": "kinesis:DescribeStreamConsumer", "Resource": consumer });
    let policy = json!({ "Statement": statement }).to_string();
    OWN.good(address, "PutResourcePolicy", &json!({ "ResourceARN": consumer, "Policy": policy }));
    let told = OTHER.good(address, "DescribeStreamConsumer", &describe);
    assert_eq!(told["ConsumerDescription"]["StreamARN"], mine.as_str());
    server.stop();
}

#[test]
fn callers_are_told_who_they_are() {
    let directory = directory();
    let (signed, address) = server(&directory);
    let ask = b"Action=GetCallerIdentity&Version=2011-06-15";
    let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
    let sts = Signer { service: "sts", ..OTHER };
    let text = |(status, body): (u16, Vec<u8>)| (status, String::from_utf8(body).unwrap());
    let (status, told) = text(sts.signed(&headers, ask).send(address));
    assert_eq!(status, 200, "{told}");
    for part in [
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">",
        "<Arn>arn:aws:iam::111122223333:user/olga</Arn>",
        "<UserId>OTHER</UserId>",
        "<Account>111122223333</Account>",
        "<ResponseMetadata>\n    <RequestId>",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let changed = sts.signed(&headers, ask).with("host", Some("there"));
    let nobody = Signer { key: "NOBODY", ..sts };
    for (request, status, code) in [
        (changed, 403, "SignatureDoesNotMatch"),
        (nobody.signed(&headers, ask), 403, "InvalidClientTokenId"),
        (OTHER.signed(&headers, ask), 403, "SignatureDoesNotMatch"),
        (sts.signed(&headers, ask).with("authorization", None), 403, "MissingAuthenticationToken"),
        (sts.signed(&headers, ask).with("authorization", Some("AWS4-HMAC-SHA256 x")), 400, "IncompleteSignature"),
        (sts.signed(&headers, b"Action=AssumeRole&Version=2011-06-15"), 400, "InvalidAction"),
        (sts.signed(&headers, b""), 400, "InvalidAction"),
        (sts.signed(&headers, &[b'&'; 60_000]), 400, "InvalidAction"),
        (sts.signed(&headers, &[b'['; 60_000]), 400, "InvalidAction"),
        (sts.signed(&headers, b"Action=%ff%&Action&Version=%00"), 400, "InvalidAction"),
        (sts.signed(&headers, &[b'a'; 70_000]), 413, "RequestEntityTooLargeException"),
    ] {
        let (told_status, told) = text(request.send(address));
        assert_eq!(told_status, status, "{code}: {told}");
        assert!(
            told.contains(&format!("<Code>{code}</Code>")) && told.contains("<Type>Sender</Type>"),
            "{code}: {told}"
        );
    }
    signed.stop();
    // Where nobody signs, all are in the server's own account.
    let open = Server::start_with(&directory.path().join("open"), &["--account", "444455556666"]);
    let (status, told) = text(sts.signed(&headers, ask).with("authorization", None).send(open.http.unwrap()));
    assert!(status == 200 && told.contains("<Account>444455556666</Account>"), "{status} {told}");
    assert!(told.contains("<Arn>arn:aws:iam::444455556666:root</Arn>"), "{told}");
    open.stop();
}
