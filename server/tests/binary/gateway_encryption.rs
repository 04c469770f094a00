//! Streams that are encrypted on disk: what lies there, what is told, and what becomes of them without their keys.

use std::fs;
use std::iter::{once, repeat_n};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::client::{Client, Options, Sequence, ShardId, SubscribeError};
use base64::Engine;
use frame::proto::ErrorCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::fan_out::{Events, SHARD};
use crate::gateway::{HELLO, arn, ask, good, records, refused};
use crate::reshard::streams;
use crate::retention::until;
use crate::rig::{PATIENCE, Server, directory, millstream, read_all, refusal, run, store};

/// What must not be found on disk: of key and data, that what tells of it is not found by chance.
const KEY: &str = "the-partition-key-that-nobody-reads";
const DATA: &[u8] = b"the text that must not lie on the disk as it is";

/// A server with a directory of keys.
pub(crate) struct Rig {
    directory: TempDir,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let rig = Rig { directory: directory() };
        fs::create_dir(rig.keys()).unwrap();
        fs::set_permissions(rig.keys(), fs::Permissions::from_mode(0o700)).unwrap();
        rig
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn keys(&self) -> PathBuf {
        self.directory.path().join("keys")
    }

    /// Puts a key there, whole at once.
    pub(crate) fn put_key(&self, name: &str, byte: u8) {
        let (hidden, path) = (self.keys().join(format!(".{name}")), self.keys().join(name));
        fs::write(&hidden, format!("{byte:02x}").repeat(32)).unwrap();
        fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(hidden, path).unwrap();
    }

    pub(crate) fn start(&self) -> (Server, SocketAddr) {
        let keys = self.keys();
        let more = ["--quotas", "none", "--key-directory", keys.to_str().unwrap()];
        let server = Server::start_with(&self.data(), &more);
        let api = server.http.expect("the API is served");
        (server, api)
    }

    /// Whether any file of the data directory holds these bytes.
    fn lies_on_disk(&self, bytes: &[u8]) -> bool {
        holds(&self.data(), bytes)
    }
}

fn holds(path: &Path, bytes: &[u8]) -> bool {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().any(|entry| holds(&entry.unwrap().path(), bytes));
    }
    let file = fs::read(path).unwrap();
    file.windows(bytes.len()).any(|window| window[0] == bytes[0] && window == bytes)
}

fn encrypt(api: SocketAddr, action: &str, stream: &str, key: &str) {
    good(api, action, &json!({ "StreamName": stream, "EncryptionType": "KMS", "KeyId": key }));
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn put(api: SocketAddr, stream: &str, data: &str) -> Value {
    good(api, "PutRecord", &json!({ "StreamName": stream, "PartitionKey": KEY, "Data": data }))
}

fn told(records: Vec<(String, String)>) -> Vec<String> {
    records.into_iter().map(|(_, data)| data).collect()
}

/// What is told of each record of a stream's only shard: whether it is encrypted.
fn types(api: SocketAddr, stream: &str) -> Vec<Value> {
    let start = json!({ "StreamName": stream, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON" });
    let mut iterator = good(api, "GetShardIterator", &start)["ShardIterator"].clone();
    let mut types = Vec::new();
    loop {
        let page = good(api, "GetRecords", &json!({ "ShardIterator": iterator, "Limit": 20 }));
        let records = page["Records"].as_array().unwrap();
        types.extend(records.iter().map(|record| record.get("EncryptionType").cloned().unwrap_or_default()));
        if records.is_empty() {
            return types;
        }
        iterator = page["NextShardIterator"].clone();
    }
}

fn create(api: SocketAddr, stream: &str) {
    good(api, "CreateStream", &json!({ "StreamName": stream, "ShardCount": 1 }));
}

#[test]
fn what_is_encrypted_lies_nowhere_as_it_is_and_is_read_after_a_crash() {
    let rig = Rig::new();
    rig.put_key("mine", 1);
    let (server, api) = rig.start();
    create(api, "s");
    create(api, "plain");
    let data = base64(DATA);
    put(api, "s", HELLO);
    encrypt(api, "StartStreamEncryption", "s", "alias/mine");
    for (action, part) in
        [("DescribeStream", "StreamDescription"), ("DescribeStreamSummary", "StreamDescriptionSummary")]
    {
        let told = &good(api, action, &json!({ "StreamName": "s" }))[part];
        assert_eq!((&told["EncryptionType"], &told["KeyId"]), (&json!("KMS"), &json!("alias/mine")), "{told}");
    }
    assert!(rig.lies_on_disk(KEY.as_bytes()), "of the record before: it is looked for rightly");
    // The record before is of the same key, so other ones are looked for.
    let key = "a-key-of-what-is-encrypted";
    let body = json!({ "StreamName": "s", "PartitionKey": key, "Data": data });
    for _ in 0..50 {
        assert_eq!(good(api, "PutRecord", &body)["EncryptionType"], "KMS");
    }
    let large = DATA.repeat(70_000);
    let body = json!({ "Records": [{ "PartitionKey": key, "Data": data }], "StreamName": "s" });
    assert_eq!(good(api, "PutRecords", &body)["EncryptionType"], "KMS");
    assert_eq!(put(api, "plain", HELLO).get("EncryptionType"), None);
    // In parts, by a client of the other protocol.
    let mut client = server.client();
    let stream = client.describe_stream("s").unwrap();
    store(&mut client, stream.stream, key, [&large]);
    let shard = stream.shards[0].shard;
    let before = read_all(&mut client, &stream, shard);
    let bytes = before.iter().skip(52).map(|(_, part)| part.len()).sum::<usize>();
    assert_eq!((before.len() > 53, bytes), (true, large.len()), "it is in parts");
    drop(client);
    server.kill();
    assert!(!rig.lies_on_disk(DATA) && !rig.lies_on_disk(&DATA[..20]), "the data lies there as it is");
    assert!(!rig.lies_on_disk(key.as_bytes()), "the partition key lies there as it is");
    let inspected = run(millstream(["inspect", rig.data().to_str().unwrap(), "--verify"]), b"").good();
    assert!(inspected.text().contains("of them encrypted"), "{}", inspected.text());

    let (server, api) = rig.start();
    let mut client = server.client();
    assert_eq!(read_all(&mut client, &stream, shard), before);
    let expected: Vec<String> = once(HELLO.to_owned()).chain(repeat_n(data.clone(), 51)).collect();
    assert_eq!(told(records(api, "s"))[..52], expected);
    assert_eq!(
        good(api, "PutRecord", &json!({ "StreamName": "s", "PartitionKey": key, "Data": data }))["EncryptionType"],
        "KMS"
    );
    encrypt(api, "StopStreamEncryption", "s", "alias/mine");
    put(api, "s", HELLO);
    let encrypted = repeat_n(json!("KMS"), types(api, "s").len() - 2);
    let expected: Vec<Value> = once(Value::Null).chain(encrypted).chain(once(Value::Null)).collect();
    // With the large one, which is one record here, and that of this life.
    assert_eq!(expected.len(), 1 + 51 + 1 + 1 + 1);
    assert_eq!(types(api, "s"), expected);
    server.stop();
    assert!(!rig.lies_on_disk(&DATA[..20]), "what was stored after the start lies there as it is");
}

#[test]
fn keys_are_rotated_while_it_runs_and_old_ones_read_what_they_encrypted() {
    let rig = Rig::new();
    rig.put_key("mine.1", 1);
    let (server, api) = rig.start();
    create(api, "s");
    encrypt(api, "StartStreamEncryption", "s", "mine");
    put(api, "s", HELLO);
    rig.put_key("mine.2", 2);
    rig.put_key("other", 3);
    until("the new key is there", || {
        let body = json!({ "StreamName": "s", "EncryptionType": "KMS", "KeyId": "arn:aws:kms:us-east-1:0:key/other" });
        ask(api, "StartStreamEncryption", &body).0 == 200
    });
    encrypt(api, "StartStreamEncryption", "s", "mine");
    put(api, "s", HELLO);
    assert_eq!(told(records(api, "s")), [HELLO; 2]);
    encrypt(api, "StopStreamEncryption", "s", "mine");
    let summary = good(api, "DescribeStreamSummary", &json!({ "StreamName": "s" }));
    let summary = &summary["StreamDescriptionSummary"];
    assert_eq!((&summary["EncryptionType"], summary.get("KeyId")), (&json!("NONE"), None));
    put(api, "s", HELLO);
    assert_eq!(told(records(api, "s")), [HELLO; 3]);
    server.stop();

    // Without the first version nothing is lost but what it encrypted, until it is back.
    fs::remove_file(rig.keys().join("mine.1")).unwrap();
    let (server, api) = rig.start();
    let start = json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = good(api, "GetShardIterator", &start)["ShardIterator"].clone();
    let (kind, message) = refused(api, "GetRecords", &json!({ "ShardIterator": iterator }));
    assert!(kind == "KMSNotFoundException" && message.contains("key directory"), "{kind} {message}");
    let refused = run(server.command(["tail", "s"]), b"").refusal();
    assert!(refused.contains("key directory"), "{refused}");
    rig.put_key("mine.1", 1);
    until("the old key is back", || ask(api, "GetRecords", &json!({ "ShardIterator": iterator })).0 == 200);
    assert_eq!(told(records(api, "s")), [HELLO; 3]);
}

#[test]
fn without_the_key_nothing_is_stored_as_it_is() {
    let rig = Rig::new();
    rig.put_key("mine", 1);
    let (server, api) = rig.start();
    create(api, "s");
    let unknown = json!({ "StreamName": "s", "EncryptionType": "KMS", "KeyId": "alias/mine2" });
    assert_eq!(refused(api, "StartStreamEncryption", &unknown).0, "KMSNotFoundException");
    encrypt(api, "StartStreamEncryption", "s", "mine");
    put(api, "s", HELLO);
    server.stop();
    let server = Server::start_with(&rig.data(), &["--quotas", "none"]);
    let api = server.http.unwrap();
    let body = json!({ "StreamName": "s", "PartitionKey": "never-stored", "Data": HELLO });
    assert_eq!(refused(api, "PutRecord", &body).0, "KMSNotFoundException");
    let body = json!({ "StreamName": "s", "Records": [{ "PartitionKey": "never-stored", "Data": HELLO }] });
    assert_eq!(refused(api, "PutRecords", &body).0, "KMSNotFoundException");
    server.stop();
    assert!(!rig.lies_on_disk(b"never-stored"));
    let (_server, api) = rig.start();
    put(api, "s", HELLO);
    assert_eq!(told(records(api, "s")), [HELLO; 2]);
}

/// Bug, found on reading: whoever read what lies before a record that can't be read got nothing of it, for ever. Mechanism: a page is
/// made by several reads, of which one that failed made the whole page fail. Fix: what was found is the page.
#[test]
fn what_lies_before_a_missing_key_is_read() {
    let rig = Rig::new();
    rig.put_key("mine", 1);
    let (server, api) = rig.start();
    create(api, "s");
    put(api, "s", HELLO);
    encrypt(api, "StartStreamEncryption", "s", "mine");
    put(api, "s", "QUFB");
    server.stop();
    let server = Server::start_with(&rig.data(), &["--quotas", "none"]);
    let api = server.http.unwrap();
    let start = json!({ "StreamName": "s", "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = good(api, "GetShardIterator", &start)["ShardIterator"].clone();
    let page = good(api, "GetRecords", &json!({ "ShardIterator": iterator }));
    let found = page["Records"].as_array().unwrap();
    assert!(found.len() == 1 && found[0]["Data"] == HELLO, "{page}");
    assert!(page["MillisBehindLatest"].as_u64().unwrap() > 0, "{page}");
    let body = json!({ "ShardIterator": page["NextShardIterator"] });
    assert_eq!(refused(api, "GetRecords", &body).0, "KMSNotFoundException");
    server.stop();
}

/// Bug, found on reading: a subscription to what can't be decrypted asked for it for ever, fifty times a second, and told nobody.
/// Mechanism: patience began anew whenever the server began the subscription, which it does before it finds out. Fix: records
/// renew it, and time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_is_told_that_the_key_is_missing() {
    let rig = Rig::new();
    rig.put_key("mine", 1);
    let (server, api) = rig.start();
    create(api, "s");
    encrypt(api, "StartStreamEncryption", "s", "mine");
    put(api, "s", HELLO);
    server.stop();
    let server = Server::start_with(&rig.data(), &["--quotas", "none"]);
    let patience = Duration::from_millis(300);
    let client = Client::connect(Options { patience, ..Options::new(server.address) }).await.unwrap();
    let mut subscription = client.subscribe("s", ShardId(1), Sequence(1)).await.unwrap();
    let told = timeout(PATIENCE, subscription.next()).await.expect("its patience ends");
    assert!(
        matches!(&told, Err(SubscribeError::Refused(failure)) if failure.code == ErrorCode::KeyMissing),
        "{told:?}"
    );
    server.stop();
}

/// Bug, found on reading: the same over HTTP, twenty times a second for five minutes. Mechanism: what may pass was tried again at once,
/// and that a key is missing passes once somebody does something about it. Fix: it is told.
#[test]
fn a_subscriber_of_the_api_is_told_that_the_key_is_missing() {
    let rig = Rig::new();
    rig.put_key("mine", 1);
    let (server, api) = rig.start();
    create(api, "s");
    let register = json!({ "StreamARN": arn("s"), "ConsumerName": "reader" });
    let consumer = good(api, "RegisterStreamConsumer", &register)["Consumer"]["ConsumerARN"].clone();
    put(api, "s", HELLO);
    encrypt(api, "StartStreamEncryption", "s", "mine");
    put(api, "s", HELLO);
    server.stop();
    let server = Server::start_with(&rig.data(), &["--quotas", "none"]);
    let start = json!({ "Type": "TRIM_HORIZON" });
    let mut events = Events::begin(server.http.unwrap(), consumer.as_str().unwrap(), SHARD, &start);
    // What lies before it is pushed.
    assert_eq!(events.records(1).0[0]["Data"], HELLO);
    let told = (0..2).find_map(|_| events.next().filter(|(kind, _)| kind != "SubscribeToShardEvent"));
    let (kind, told) = told.expect("it is told");
    assert!(kind == "KMSNotFoundException" && told.to_string().contains("key directory"), "{kind} {told}");
    assert_eq!(events.next(), None);
    server.stop();
}

#[test]
fn a_key_directory_that_is_no_good_is_refused() {
    let rig = Rig::new();
    rig.put_key("mine.x", 1);
    let keys = rig.keys();
    let told = refusal(&rig.data(), &["--key-directory", keys.to_str().unwrap()]);
    assert!(told.contains("mine.x") && told.contains("not called as a key is"), "{told}");
}

#[test]
fn a_stream_that_is_encrypted_is_moved_and_split() {
    let rig = Rig::new();
    rig.put_key("mine", 1);
    let mut command = millstream(["serve", "--native", "127.0.0.1:0", "--http", "127.0.0.1:0", "--quotas", "none"]);
    command.args(["--segment-bytes", "4MiB", "--segments-ready", "1", "--reactors", "2", "--data"]).arg(rig.data());
    command.arg("--key-directory").arg(rig.keys());
    let server = Server::start_command(&rig.data(), command);
    let api = server.http.expect("the API is served");
    create(api, "s");
    encrypt(api, "StartStreamEncryption", "s", "mine");
    let mut client = server.client();
    let stream = client.describe_stream("s").unwrap();
    let shard = stream.shards[0].shard;
    for _ in 0..20 {
        put(api, "s", &base64(DATA));
    }
    let to = 1 - stream.shards[0].reactor;
    streams(&server, &["move", "s", &shard.to_string(), &to.to_string()]).good();
    // While it moves it takes nothing in.
    let put_again = |api: SocketAddr| {
        let body = json!({ "StreamName": "s", "PartitionKey": KEY, "Data": HELLO });
        until("it takes records in again", || ask(api, "PutRecord", &body).0 == 200);
    };
    put_again(api);
    let mut expected = vec![base64(DATA); 20];
    expected.push(HELLO.to_owned());
    assert_eq!(told(records(api, "s")), expected);
    server.kill();
    assert!(!rig.lies_on_disk(KEY.as_bytes()));
    // With another number of reactors the shard goes on in another journal.
    let (server, api) = rig.start();
    put(api, "s", HELLO);
    expected.push(HELLO.to_owned());
    assert_eq!(told(records(api, "s")), expected);
    good(api, "SplitShard", &json!({ "StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": "77" }));
    assert_eq!(told(records(api, "s"))[..22], expected);
    put_again(api);
    server.stop();
    assert!(!rig.lies_on_disk(KEY.as_bytes()));
}

/// Of 36 MB a tenth lives: the segments that hold it are made into fewer.
#[test]
fn what_is_encrypted_is_compacted_without_its_key() {
    const ROUNDS: u8 = 40;
    let rig = Rig::new();
    rig.put_key("mine", 1);
    let (server, api) = rig.start();
    create(api, "kept");
    create(api, "gone");
    encrypt(api, "StartStreamEncryption", "kept", "mine");
    let mut client = server.client();
    let (kept, gone) = (client.describe_stream("kept").unwrap(), client.describe_stream("gone").unwrap());
    let text = |round: u8| [DATA, &[round]].concat().repeat(2_000);
    for round in 0..ROUNDS {
        store(&mut client, kept.stream, KEY, [text(round)]);
        store(&mut client, gone.stream, "k", [vec![round; 800_000]]);
    }
    drop(client);
    server.stop();
    let server = Server::start(&rig.data());
    good(server.http.unwrap(), "DeleteStream", &json!({ "StreamName": "gone" }));
    let inspect = || run(millstream(["inspect", rig.data().to_str().unwrap(), "--verify"]), b"");
    until("segments are compacted", || String::from_utf8_lossy(&inspect().out).contains(": compacted, "));
    server.stop();
    let found = inspect().good();
    assert!(found.text().contains(": compacted, ") && found.text().contains("of them encrypted"), "{}", found.text());
    assert!(!rig.lies_on_disk(&DATA[..20]) && !rig.lies_on_disk(KEY.as_bytes()));
    let (server, _) = rig.start();
    let read = read_all(&mut server.client(), &kept, kept.shards[0].shard);
    assert!(read.into_iter().map(|(_, data)| data).eq((0..ROUNDS).map(text)));
}

/// A bit of what lies on the disk is turned over: what it is of is refused, and all else is read.
#[test]
fn a_ciphertext_that_was_changed_is_damage() {
    let rig = Rig::new();
    rig.put_key("mine", 1);
    let (server, api) = rig.start();
    create(api, "s");
    encrypt(api, "StartStreamEncryption", "s", "mine");
    let mut client = server.client();
    let stream = client.describe_stream("s").unwrap();
    let sizes = [50_000, 50_001, 50_002];
    for size in sizes {
        store(&mut client, stream.stream, KEY, [vec![b'd'; size]]);
    }
    drop(client);
    server.stop();
    let segment = rig.data().join("0000-0000000001.segment");
    let mut bytes = fs::read(&segment).unwrap();
    // By the lengths of key and data in its header the second one's frame is found.
    let header = [&50_001_u32.to_le_bytes()[..], &(KEY.len() as u16).to_le_bytes()].concat();
    let at = bytes.windows(6).position(|window| window == header).expect("lengths are readable") - 8;
    bytes[at + 30_000] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let (server, _) = rig.start();
    let mut client = server.client();
    let shard = stream.shards[0].shard;
    let read = |client: &mut server::client::Client, from| {
        let found = client.read(stream.stream, shard, frame::Sequence(from), 1 << 20);
        found.map(|records| records.iter().map(|frame| frame.data().len()).collect::<Vec<usize>>())
    };
    assert_eq!(read(&mut client, 1).unwrap(), [50_000]);
    let refused = read(&mut client, 2).unwrap_err();
    assert!(format!("{refused}").contains("damaged") || format!("{refused}").contains("checksums"), "{refused}");
    assert_eq!(read(&mut client, 3).unwrap(), [50_002]);
}
