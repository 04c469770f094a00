//! Counts and sizes of the API: by default the service's, with its errors; raised, lowered and lifted by the server's settings.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ciborium::Value as Cbor;
use serde_json::{Map, Value, json};

use crate::gateway::{HELLO, arn, ask_in, connect, good, refused};
use crate::rig::{Server, directory, serve};

/// A server without quotas, and with these limits if there are any.
fn server(data: &Path, limits: Option<&str>) -> (Server, SocketAddr) {
    let mut arguments = vec!["--quotas", "none"];
    arguments.extend(limits.iter().flat_map(|limits| ["--api-limits", limits]));
    let server = Server::start_with(data, &arguments);
    let address = server.http.unwrap();
    (server, address)
}

/// The limits of a server, if it has other than the service's, and what is looked at there.
type Case<'a> = (Option<&'a str>, &'a dyn Fn(SocketAddr));

/// One after the other, on the same data.
fn each(data: &Path, cases: &[Case<'_>]) {
    for (limits, look) in cases {
        let (server, api) = server(data, *limits);
        look(api);
        server.stop();
    }
}

fn validation(rule: &str) -> (String, String) {
    ("ValidationException".to_owned(), format!("1 validation error detected: {rule}"))
}

/// So many records, each of so many bytes with its key, numbered from there.
fn entries(first: usize, count: usize, bytes: usize) -> Value {
    let entry = |at: usize| {
        let mut data = format!("{at:08}").into_bytes();
        data.resize(bytes - 1, at as u8);
        json!({ "Data": BASE64_STANDARD.encode(data), "PartitionKey": "k" })
    };
    Value::Array((first..first + count).map(entry).collect())
}

#[track_caller]
fn put(api: SocketAddr, stream: &str, records: &Value) {
    let outcomes = good(api, "PutRecords", &json!({ "StreamName": stream, "Records": records }));
    assert_eq!(
        (&outcomes["FailedRecordCount"], outcomes["Records"].as_array().unwrap().len()),
        (&json!(0), records.as_array().unwrap().len())
    );
}

/// All records of a stream's shard, page by page.
fn pages(api: SocketAddr, stream: &str, limit: Option<usize>) -> Vec<Vec<Vec<u8>>> {
    let start = json!({ "StreamName": stream, "ShardId": "0", "ShardIteratorType": "TRIM_HORIZON" });
    let mut iterator = good(api, "GetShardIterator", &start)["ShardIterator"].clone();
    let mut pages = Vec::new();
    loop {
        let page = good(api, "GetRecords", &json!({ "ShardIterator": iterator, "Limit": limit }));
        let data = |record: &Value| BASE64_STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
        pages.push(page["Records"].as_array().unwrap().iter().map(data).collect());
        if page["MillisBehindLatest"] == 0 {
            return pages;
        }
        iterator = page["NextShardIterator"].clone();
    }
}

/// That the records of all pages are those that [`entries`] made from 0 on.
#[track_caller]
fn assert_all(pages: &[Vec<Vec<u8>>], count: usize) {
    let numbers: Vec<usize> =
        pages.iter().flatten().map(|data| std::str::from_utf8(&data[..8]).unwrap().parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(0..count), "{} records, not {count} in their order", numbers.len());
}

#[test]
fn a_put_records_has_as_many_records_as_it_may() {
    let directory = directory();
    let too_many = |api, records: usize, most: usize| {
        let refusal = refused(api, "PutRecords", &json!({ "StreamName": "s", "Records": entries(0, records, 9) }));
        let rule = format!(
            "Value '[...]' at 'records' failed to satisfy constraint: Member must have length less than or equal to {most}"
        );
        assert_eq!(refusal, validation(&rule));
    };
    each(
        &directory.path().join("data"),
        &[
            (None, &|api| {
                good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
                too_many(api, 501, 500);
                put(api, "s", &entries(0, 500, 9));
            }),
            (Some("put-records=2000"), &|api| {
                too_many(api, 2001, 2000);
                put(api, "s", &entries(500, 2000, 9));
            }),
            (Some("none"), &|api| {
                too_many(api, 10_001, 10_000);
                put(api, "s", &entries(2500, 10_000, 9));
                assert_all(&pages(api, "s", None), 12_500);
            }),
            (Some("service,put-records=3"), &|api| {
                too_many(api, 4, 3);
                put(api, "s", &entries(12_500, 3, 9));
                assert_all(&pages(api, "s", None), 12_503);
            }),
        ],
    );
}

#[test]
fn a_put_records_has_as_many_bytes_as_it_may() {
    const MIB: usize = 1 << 20;
    let directory = directory();
    let too_much = |api, records: &Value, most: usize| {
        let (kind, message) = refused(api, "PutRecords", &json!({ "StreamName": "s", "Records": records }));
        let told = format!("at most {most} bytes of data and keys");
        assert!(kind == "InvalidArgumentException" && message.contains(&told), "{kind} {message}");
    };
    each(
        &directory.path().join("data"),
        &[
            (None, &|api| {
                good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
                too_much(api, &entries(0, 11, MIB), 10 * MIB);
                put(api, "s", &entries(0, 10, MIB));
            }),
            (Some("put-records-bytes=14MiB"), &|api| {
                too_much(api, &entries(0, 56, MIB / 4 + 1), 14 * MIB);
                put(api, "s", &entries(10, 14, MIB));
            }),
            // In CBOR a body holds nearly as much as it is.
            (Some("put-records-bytes=none"), &|api| {
                let entry = |at: usize| {
                    let mut data = format!("{at:08}").into_bytes();
                    data.resize(MIB - 1, 7);
                    let text = |text: &str| Cbor::Text(text.to_owned());
                    Cbor::Map(vec![(text("Data"), Cbor::Bytes(data)), (text("PartitionKey"), text("k"))])
                };
                let records = Cbor::Array((24..43).map(entry).collect());
                let request = [("StreamName", Cbor::Text("s".to_owned())), ("Records", records)];
                let request = request.map(|(name, value)| (Cbor::Text(name.to_owned()), value));
                let mut body = Vec::new();
                ciborium::into_writer(&Cbor::Map(request.to_vec()), &mut body).unwrap();
                let (status, answer) = ask_in(&mut connect(api), "cbor", "PutRecords", &body);
                assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
                assert_all(&pages(api, "s", None), 43);
            }),
            (Some("put-records-bytes=1MiB"), &|api| {
                too_much(api, &entries(0, 2, MIB / 2 + 1), MIB);
                put(api, "s", &entries(43, 2, MIB / 2));
                assert_all(&pages(api, "s", None), 45);
            }),
        ],
    );
}

#[test]
fn a_page_of_records_is_as_long_as_it_may_be() {
    let directory = directory();
    // No page is longer, and all that there is comes. One that gets nowhere within its time is shorter: so a longer one than others
    // may be comes at last.
    let as_long_as = |api, limit: Option<usize>, longer: usize, most: usize| {
        crate::retention::until("a page is longer", || {
            let pages = pages(api, "s", limit);
            assert_all(&pages, 12_000);
            let longest = pages.iter().map(Vec::len).max().unwrap();
            assert!(longest <= most, "{longest} of {most}");
            longest > longer
        });
    };
    let too_many = |api, limit: usize, most: usize| {
        let rule = format!(
            "Value '{limit}' at 'limit' failed to satisfy constraint: Member must have value less than or equal to {most}"
        );
        assert_eq!(refused(api, "GetRecords", &json!({ "ShardIterator": "x", "Limit": limit })), validation(&rule));
    };
    each(
        &directory.path().join("data"),
        &[
            (Some("put-records=6000"), &|api| {
                good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
                put(api, "s", &entries(0, 6000, 9));
                put(api, "s", &entries(6000, 6000, 9));
                too_many(api, 10_001, 10_000);
                as_long_as(api, None, 5000, 10_000);
            }),
            (Some("get-records=11000"), &|api| {
                too_many(api, 11_001, 11_000);
                as_long_as(api, Some(11_000), 10_000, 11_000);
            }),
            (Some("get-records=none"), &|api| {
                too_many(api, 100_001, 100_000);
                as_long_as(api, None, 11_000, 12_000);
            }),
            (Some("get-records=5000"), &|api| {
                too_many(api, 5001, 5000);
                as_long_as(api, None, 0, 5000);
            }),
        ],
    );
}

#[test]
fn a_page_of_records_is_as_large_as_it_may_be() {
    const MIB: usize = 1 << 20;
    let directory = directory();
    // As above, in bytes.
    let as_large_as = |api, larger: usize, most: usize| {
        crate::retention::until("a page is larger", || {
            let pages = pages(api, "s", None);
            assert_all(&pages, 18);
            let size = |page: &Vec<Vec<u8>>| page.iter().map(|data| data.len() + 1).sum::<usize>();
            let largest = pages.iter().map(size).max().unwrap();
            assert!(largest <= most, "{largest} of {most}");
            largest > larger
        });
    };
    each(
        &directory.path().join("data"),
        &[
            (None, &|api| {
                good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
                put(api, "s", &entries(0, 9, MIB));
                put(api, "s", &entries(9, 9, MIB));
                as_large_as(api, 2 * MIB, 10 * MIB);
            }),
            (Some("get-records-bytes=16MiB"), &|api| {
                as_large_as(api, 10 * MIB, 16 * MIB);
            }),
            (Some("get-records-bytes=none"), &|api| as_large_as(api, 16 * MIB, 18 * MIB)),
            (Some("get-records-bytes=2MiB"), &|api| as_large_as(api, MIB, 2 * MIB)),
            // One comes whatever it has.
            (Some("get-records-bytes=1KiB"), &|api| as_large_as(api, 0, MIB)),
        ],
    );
}

#[test]
fn a_stream_has_as_many_consumers_as_it_may() {
    let directory = directory();
    let register = |name: usize| json!({ "StreamARN": arn("s"), "ConsumerName": format!("c{name:03}") });
    let filled = |api, from: usize, most: usize| {
        (from..most).for_each(|name| drop(good(api, "RegisterStreamConsumer", &register(name))));
        let refusal = refused(api, "RegisterStreamConsumer", &register(most));
        assert_eq!(
            refusal,
            ("LimitExceededException".to_owned(), format!("This stream has at most {most} consumers."))
        );
        let (mut token, mut seen) = (Value::Null, BTreeSet::new());
        loop {
            let page = good(api, "ListStreamConsumers", &json!({ "StreamARN": arn("s"), "NextToken": token }));
            seen.extend(page["Consumers"].as_array().unwrap().iter().map(|told| told["ConsumerName"].to_string()));
            token = page["NextToken"].clone();
            if token.is_null() {
                return assert_eq!(seen.len(), most);
            }
        }
    };
    each(
        &directory.path().join("data"),
        &[
            (Some("consumers=2"), &|api| {
                good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
                filled(api, 0, 2);
            }),
            (None, &|api| filled(api, 2, 20)),
            (Some("consumers=120"), &|api| filled(api, 20, 120)),
        ],
    );
}

#[test]
fn a_stream_has_as_many_tags_as_it_may() {
    let directory = directory();
    let tags = |from: usize, to: usize| {
        json!({
            "StreamName": "s",
            "Tags": (from..to).map(|at| (format!("k{at:03}"), json!("v"))).collect::<Map<_, _>>()
        })
    };
    let filled = |api, from: usize, most: usize| {
        let too_many = format!(
            "Failed to add tags to stream s under account 000000000000 because it cannot have more than {most} tags associated with it."
        );
        let refusal = refused(api, "AddTagsToStream", &tags(from, most + 1));
        assert_eq!(refusal, ("InvalidArgumentException".to_owned(), too_many));
        good(api, "AddTagsToStream", &tags(from, most));
        let all = good(api, "ListTagsForResource", &json!({ "ResourceARN": arn("s") }));
        assert_eq!(all["Tags"].as_array().unwrap().len(), most);
        let (mut after, mut seen) = (None, 0);
        loop {
            let page = good(api, "ListTagsForStream", &json!({ "StreamName": "s", "ExclusiveStartTagKey": after }));
            let page_tags = page["Tags"].as_array().unwrap();
            seen += page_tags.len();
            after = page_tags.last().map(|tag| tag["Key"].clone());
            if page["HasMoreTags"] == false {
                return assert_eq!(seen, most);
            }
        }
    };
    each(
        &directory.path().join("data"),
        &[
            (Some("tags=3"), &|api| {
                good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
                filled(api, 0, 3);
            }),
            (None, &|api| filled(api, 3, 50)),
            (Some("tags=120"), &|api| filled(api, 50, 120)),
        ],
    );
}

#[test]
fn an_account_has_as_many_shards_and_streams_on_demand_as_it_may() {
    let directory = directory();
    let data = directory.path().join("data");
    let create = |name: &str, shards: u32| json!({ "StreamName": name, "ShardCount": shards });
    let past = |now: u32, limit: u32, more: u32| {
        let message = format!(
            "This request would exceed the shard limit for the account 000000000000 in us-east-1. Current shard count for the account: \
             {now}. Limit: {limit}. Number of additional shards that would have resulted from this request: {more}. Refer to the AWS \
             Service Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how to \
             request higher limits."
        );
        ("LimitExceededException".to_owned(), message)
    };
    let half = (1_u128 << 126).to_string();
    let split = json!({ "StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": half });
    let count =
        |shards: u32| json!({ "StreamName": "s", "TargetShardCount": shards, "ScalingType": "UNIFORM_SCALING" });
    let limited =
        json!({ "ShardLimit": 4, "OpenShardCount": 2, "OnDemandStreamCount": 0, "OnDemandStreamCountLimit": 1 });
    let on_demand =
        |name: &str| json!({ "StreamName": name, "ShardCount": 1, "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    let switch = json!({ "StreamARN": arn("s"), "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    each(
        &data,
        &[
            (Some("shards=4,on-demand-streams=1"), &|api| {
                good(api, "CreateStream", &create("s", 2));
                assert_eq!(good(api, "DescribeLimits", &json!({})), limited);
                assert_eq!(refused(api, "CreateStream", &create("t", 3)), past(2, 4, 3));
                assert_eq!(refused(api, "CreateStream", &json!({ "StreamName": "t" })), past(2, 4, 4));
                // Who makes sure that a stream is there hears that it is, room or not.
                let there = "Stream s under account 000000000000 already exists.";
                let exists = || ("ResourceInUseException".to_owned(), there.to_owned());
                assert_eq!(refused(api, "CreateStream", &create("s", 3)), exists());
                assert_eq!(refused(api, "CreateStream", &create("s", 1)), exists());
                good(api, "CreateStream", &create("t", 1));
                assert_eq!(refused(api, "UpdateShardCount", &count(4)), past(3, 4, 2));
                good(api, "SplitShard", &split);
                let split = json!({ "StreamName": "s", "ShardToSplit": "1", "NewStartingHashKey": (3_u128 << 126).to_string() });
                assert_eq!(refused(api, "SplitShard", &split), past(4, 4, 1));
                // What is merged or deleted makes room, and to have fewer is always allowed.
                good(api, "DeleteStream", &json!({ "StreamName": "t" }));
                good(api, "CreateStream", &on_demand("t"));
                let told = "Account 000000000000 has at most 1 streams in On-Demand mode.";
                let refusal = ("LimitExceededException".to_owned(), told.to_owned());
                assert_eq!(refused(api, "UpdateStreamMode", &switch), refusal);
                good(api, "DeleteStream", &json!({ "StreamName": "t" }));
                good(api, "UpdateStreamMode", &switch);
                assert_eq!(refused(api, "CreateStream", &on_demand("t")), refusal);
                assert_eq!(refused(api, "CreateStream", &on_demand("s")), exists());
            }),
            // As much as there is room for.
            (None, &|api| {
                good(api, "CreateStream", &on_demand("t"));
                let limits = good(api, "DescribeLimits", &json!({}));
                assert_eq!(
                    (&limits["ShardLimit"], &limits["OnDemandStreamCountLimit"]),
                    (&json!(1_000_000), &json!(100_000))
                );
            }),
        ],
    );
}

/// Many at once get no more than there is.
#[test]
fn an_account_that_is_asked_for_many_streams_at_once_keeps_to_its_shards() {
    let directory = directory();
    let (server, api) = server(&directory.path().join("data"), Some("shards=5"));
    let made: usize = std::thread::scope(|scope| {
        let create = |at: usize| {
            move || {
                let body = json!({ "StreamName": format!("s{at}"), "ShardCount": 1 });
                usize::from(crate::gateway::ask(api, "CreateStream", &body).0 == 200)
            }
        };
        let all: Vec<_> = (0..20).map(|at| scope.spawn(create(at))).collect();
        all.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!((made, &good(api, "DescribeLimits", &json!({}))["OpenShardCount"]), (5, &json!(5)));
    server.stop();
}

#[test]
fn a_streams_shards_are_counted_anew_by_as_much_and_as_often_as_they_may() {
    let directory = directory();
    let start = |name: &str, limits: &str| {
        let arguments = ["--quotas", "none", "--api-rates", "none,DescribeLimits=1", "--api-limits", limits];
        let server = Server::start_with(&directory.path().join(name), &arguments);
        let api = server.http.unwrap();
        good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
        (server, api)
    };
    let count = |api, shards: u32| {
        let body = json!({ "StreamName": "s", "TargetShardCount": shards, "ScalingType": "UNIFORM_SCALING" });
        let answer = crate::gateway::ask(api, "UpdateShardCount", &body);
        let active = || {
            let told = good(api, "DescribeStreamSummary", &json!({ "StreamName": "s" }));
            told["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
        };
        crate::retention::until("it is ACTIVE", active);
        (answer.0, answer.1["message"].as_str().unwrap_or_default().to_owned())
    };
    let mode = |api, mode: &str| {
        let body = json!({ "StreamARN": arn("s"), "StreamModeDetails": { "StreamMode": mode } });
        crate::gateway::ask(api, "UpdateStreamMode", &body)
    };

    let (usual, api) = start("usual", "service");
    let told = count(api, 3);
    assert!(
        told.0 == 400 && told.1.starts_with("UpdateShardCount cannot scale up over double your current"),
        "{told:?}"
    );
    assert_eq!(mode(api, "ON_DEMAND").0, 200);
    assert_eq!(mode(api, "PROVISIONED").0, 200);
    assert_eq!(mode(api, "ON_DEMAND").1["__type"], "LimitExceededException");
    usual.stop();

    let (raised, api) = start("raised", "shard-count-factor=8,shard-counts-a-day=12,modes-a-day=none");
    assert_eq!(count(api, 8), (200, String::new()));
    let told = count(api, 65);
    assert!(
        told.0 == 400 && told.1.starts_with("UpdateShardCount cannot scale up over 8 times your current"),
        "{told:?}"
    );
    for round in 0..11 {
        assert_eq!(count(api, 1 + round % 2), (200, String::new()));
    }
    let told = count(api, 2);
    assert_eq!(told, (400, "UpdateShardCount is possible 12 times in 24 hours for stream s.".to_owned()));
    for _ in 0..2 {
        assert_eq!((mode(api, "ON_DEMAND").0, mode(api, "PROVISIONED").0), (200, 200));
    }
    raised.stop();

    let (lowered, api) = start("lowered", "shard-count-factor=1,modes-a-day=1");
    let told = count(api, 2);
    assert!(told.0 == 400 && told.1.contains("over 1 times your current open shard count"), "{told:?}");
    assert_eq!((mode(api, "ON_DEMAND").0, mode(api, "PROVISIONED").0), (200, 400));
    lowered.stop();

    // Where there are no rates at all, what is said of days holds nevertheless.
    let (said, api) = server(&directory.path().join("said"), Some("shard-counts-a-day=3,modes-a-day=1"));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    for shards in [2, 1, 2] {
        assert_eq!(count(api, shards), (200, String::new()));
    }
    let told = count(api, 1);
    assert_eq!(told, (400, "UpdateShardCount is possible 3 times in 24 hours for stream s.".to_owned()));
    assert_eq!(mode(api, "ON_DEMAND").0, 200);
    assert_eq!(mode(api, "PROVISIONED").1["__type"], "LimitExceededException");
    said.stop();

    // And nothing does where nothing is said.
    let (free, api) = server(&directory.path().join("free"), Some("tags=60"));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    for round in 0..12 {
        assert_eq!(count(api, 2 - round % 2), (200, String::new()));
    }
    for _ in 0..2 {
        assert_eq!((mode(api, "ON_DEMAND").0, mode(api, "PROVISIONED").0), (200, 200));
    }
    free.stop();
}

#[test]
fn limits_come_from_the_file_and_the_environment_too() {
    let directory = directory();
    let data = directory.path().join("data");
    let file = directory.path().join("settings.toml");
    fs::write(&file, "api-limits = \"put-records=2\"").unwrap();
    let too_many = |api, records: usize| {
        let body =
            json!({ "StreamName": "s", "Records": vec![json!({ "Data": HELLO, "PartitionKey": "k" }); records] });
        refused(api, "PutRecords", &body).1
    };
    for (environment, more, most) in [
        (None, &[][..], 2),
        (Some("put-records=3"), &[][..], 3),
        (Some("put-records=3"), &["--api-limits", "put-records=4"], 4),
    ] {
        let mut command = serve(&data, &[&["--config", file.to_str().unwrap()], more].concat());
        if let Some(environment) = environment {
            command.env("MILLSTREAM_API_LIMITS", environment);
        }
        let server = Server::start_command(&data, command);
        let told = too_many(server.http.unwrap(), most + 1);
        assert!(told.ends_with(&format!("less than or equal to {most}")), "{told}");
        server.stop();
    }
}
