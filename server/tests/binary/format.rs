//! The disk format, version 1, is frozen: a data directory that was written when it was must open forever.
//!
//! `fixtures/format-1.pack` is such a directory, without the blocks of nothing but zeros; `fixtures/format-1.json` lists every
//! record in it. It was left by `kill -9`: a sealed segment, an open one and one made ahead; streams made, filled and deleted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Value, json};
use server::client::Client;
use xxhash_rust::xxh3::xxh3_64;

use crate::gateway::good;
use crate::rig::{Server, directory, millstream, run, store};

const BLOCK: usize = 4096;

/// Where the fixture lies, from the package's root.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// Names a directory to leave the directory of this build's format in, packed, with what it holds: for a version to come.
const LEAVE_IN: &str = "MILLSTREAM_FIXTURE";

/// A directory's files, without what a process holds, and without blocks of zeros.
///
/// ```text
///   name length (2) name | file length (8) | blocks (4) | block number (4) 4096 bytes, ... | the next file
/// ```
fn pack(data: &Path) -> Vec<u8> {
    let mut names: Vec<String> =
        fs::read_dir(data).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "lock");
    names.sort();
    let mut packed = Vec::new();
    for name in names {
        let bytes = fs::read(data.join(&name)).unwrap();
        let blocks: Vec<(usize, &[u8])> =
            bytes.chunks(BLOCK).enumerate().filter(|(_, block)| block.iter().any(|&byte| byte != 0)).collect();
        packed.extend_from_slice(&(name.len() as u16).to_le_bytes());
        packed.extend_from_slice(name.as_bytes());
        packed.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        packed.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
        for (number, block) in blocks {
            packed.extend_from_slice(&(number as u32).to_le_bytes());
            packed.extend_from_slice(block);
            packed.resize(packed.len() + BLOCK - block.len(), 0);
        }
    }
    packed
}

fn unpack(mut packed: &[u8], data: &Path) {
    fs::create_dir(data).unwrap();
    while !packed.is_empty() {
        let mut take = |bytes: usize| packed.split_off(..bytes).unwrap();
        let length = u16::from_le_bytes(take(2).try_into().unwrap());
        let name = std::str::from_utf8(take(usize::from(length))).unwrap();
        let file = File::create_new(data.join(name)).unwrap();
        let length = u64::from_le_bytes(take(8).try_into().unwrap());
        file.set_len(length).unwrap();
        for _ in 0..u32::from_le_bytes(take(4).try_into().unwrap()) {
            let at = u64::from(u32::from_le_bytes(take(4).try_into().unwrap())) * BLOCK as u64;
            let block = take(BLOCK);
            file.write_all_at(&block[..BLOCK.min((length - at) as usize)], at).unwrap();
        }
        file.sync_all().unwrap();
    }
}

/// Every record of every stream, as the native protocol gives it.
fn contents(client: &mut Client) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for name in client.list_streams().unwrap() {
        let stream = client.describe_stream(&name).unwrap();
        let mut shards = Vec::new();
        for shard in &stream.shards {
            let (mut records, mut from) = (Vec::new(), shard.trim);
            while from < shard.tip {
                let read = client.read(stream.stream, shard.shard, from, 1 << 20).unwrap();
                records.extend(read.iter().map(|frame| {
                    json!({
                        "sequence": frame.sequence().0,
                        "arrival_ms": frame.arrival_ms(),
                        "key": String::from_utf8_lossy(frame.key()),
                        "explicit_hash_key": frame.explicit_hash_key().map(|key| key.to_string()),
                        "bytes": frame.data().len(),
                        "xxh3": format!("{:016x}", xxh3_64(frame.data())),
                    })
                }));
                assert!(read.result.next > from, "no progress at {from}");
                from = read.result.next;
            }
            shards.push(json!({
                "shard": shard.shard.0,
                "hash_start": shard.hash_start.to_string(),
                "hash_end": shard.hash_end.to_string(),
                "records": records,
            }));
        }
        all.insert(name, json!({ "created_ms": stream.created_ms, "shards": shards }));
    }
    all
}

/// Writes a directory that has something of everything, and ends its server by `kill -9`. What it holds.
fn write(data: &Path) -> BTreeMap<String, Value> {
    let server = Server::start_with(data, &["--quotas", "none"]);
    let http = server.http.unwrap();
    let mut client = server.client();
    let record = |stream: &str, key: &str, data: &str, hash_key: Option<&str>| {
        let mut record = json!({ "StreamName": stream, "PartitionKey": key, "Data": data });
        if let Some(hash_key) = hash_key {
            record["ExplicitHashKey"] = json!(hash_key);
        }
        good(http, "PutRecord", &record);
    };
    for (name, shards) in [("orders", 4), ("gone", 2), ("large", 1)] {
        good(http, "CreateStream", &json!({ "StreamName": name, "ShardCount": shards }));
    }
    for (key, data, hash_key) in [
        ("a", "aGVsbG8=", None),
        ("ключ", "", None),
        ("b", "AAECAwQFBgc=", Some("0")),
        ("c", "/////w==", Some("340282366920938463463374607431768211455")),
    ] {
        record("orders", key, data, hash_key);
        record("gone", key, data, hash_key);
    }
    let large = client.describe_stream("large").unwrap();
    for size in [(1 << 20) - 5, 1, 1 << 19, 700_000, 4096, (1 << 20) - 5, 65_536, 900_000, 800_000, 1_000_000, 999_999]
    {
        store(&mut client, large.stream, "large", [vec![0; size]]);
    }
    good(http, "DeleteStream", &json!({ "StreamName": "gone" }));
    good(http, "CreateStream", &json!({ "StreamName": "empty", "ShardCount": 3 }));
    for number in 0..40 {
        record("orders", &format!("key {number}"), "bGF0ZXI=", None);
    }
    let held = contents(&mut client);
    server.kill();
    held
}

#[track_caller]
fn assert_holds(data: &Path, held: &BTreeMap<String, Value>) {
    let verified = run(millstream(["inspect", data.to_str().unwrap(), "--verify"]), b"").good();
    assert!(verified.text().contains("orders"), "{}", verified.text());
    for _ in 0..2 {
        let server = Server::start(data);
        let mut client = server.client();
        assert_eq!(contents(&mut client), *held);
        server.stop();
    }
    // And it goes on from there.
    let server = Server::start(data);
    let mut client = server.client();
    let large = client.describe_stream("large").unwrap();
    let before = large.shards[0].tip;
    let places = store(&mut client, large.stream, "large", ["on it goes"]);
    assert!(places[0].1 >= before, "{places:?} after {before}");
    server.stop();
}

#[test]
fn a_directory_of_format_1_opens_forever() {
    let directory = directory();
    let data = directory.path().join("data");
    unpack(&fs::read(Path::new(FIXTURES).join("format-1.pack")).unwrap(), &data);
    let held = fs::read(Path::new(FIXTURES).join("format-1.json")).unwrap();
    let held: BTreeMap<String, Value> = serde_json::from_slice(&held).unwrap();
    let records: usize = held["large"]["shards"][0]["records"].as_array().unwrap().len();
    assert_eq!((held.keys().map(String::as_str).collect::<Vec<_>>(), records), (vec!["empty", "large", "orders"], 11));
    assert_holds(&data, &held);
}

#[test]
fn a_directory_of_this_build_comes_back_packed_or_not() {
    let directory = directory();
    let data = directory.path().join("data");
    let held = write(&data);
    let packed = pack(&data);
    if let Some(leave_in) = std::env::var_os(LEAVE_IN) {
        fs::write(Path::new(&leave_in).join("format-1.pack"), &packed).unwrap();
        fs::write(Path::new(&leave_in).join("format-1.json"), serde_json::to_vec_pretty(&held).unwrap()).unwrap();
    }
    let copy = directory.path().join("copy");
    unpack(&packed, &copy);
    assert_eq!(pack(&copy), packed);
    assert_holds(&copy, &held);
    assert_holds(&data, &held);
}
