//! Streams as the API describes them, their deletion, and what belongs to the account.

use serde_json::{Value, json};

use crate::gateway::{arn, good, refused, server};
use crate::rig::directory;

#[test]
fn a_stream_is_described_with_its_shards_page_by_page() {
    let directory = directory();
    let (_server, api) = server(&directory.path().join("data"));
    good(api, "CreateStream", &json!({ "StreamName": "wide", "ShardCount": 130 }));
    let describe = |body: Value| good(api, "DescribeStream", &body)["StreamDescription"].clone();
    let first = describe(json!({ "StreamName": "wide" }));
    let shards = |page: &Value| page["Shards"].as_array().unwrap().clone();
    assert_eq!((shards(&first).len(), &first["HasMoreShards"]), (100, &json!(true)));
    let after = &shards(&first)[99]["ShardId"];
    let rest = describe(json!({ "StreamARN": arn("wide"), "ExclusiveStartShardId": after, "Limit": 10_000 }));
    assert_eq!((shards(&rest).len(), &rest["HasMoreShards"]), (30, &json!(false)));
    let all = good(api, "ListShards", &json!({ "StreamName": "wide" }))["Shards"].as_array().unwrap().clone();
    assert_eq!([shards(&first), shards(&rest)].concat(), all, "as they are listed");
    assert_eq!(shards(&describe(json!({ "StreamName": "wide", "Limit": 1 }))), all[..1]);

    // A closed one says where it ended, although its child is on no page with it.
    let middle = all[0]["HashKeyRange"]["EndingHashKey"].as_str().unwrap().parse::<u128>().unwrap() / 2;
    let split = json!({ "StreamName": "wide", "ShardToSplit": "0", "NewStartingHashKey": middle.to_string() });
    good(api, "SplitShard", &split);
    let closed = &shards(&describe(json!({ "StreamName": "wide", "Limit": 1 })))[0];
    assert!(closed["SequenceNumberRange"]["EndingSequenceNumber"].is_string(), "{closed}");

    let summary = &good(api, "DescribeStreamSummary", &json!({ "StreamName": "wide" }))["StreamDescriptionSummary"];
    for member in ["StreamName", "StreamARN", "StreamStatus", "RetentionPeriodHours", "StreamCreationTimestamp"] {
        assert_eq!(first[member], summary[member], "{member}");
    }
    for (body, kind) in [
        (json!({}), "InvalidArgumentException"),
        (json!({ "StreamName": "gone" }), "ResourceNotFoundException"),
        (json!({ "StreamName": "wide", "Limit": 0 }), "ValidationException"),
        (json!({ "StreamName": "wide", "Limit": 10_001 }), "ValidationException"),
        (json!({ "StreamName": "wide", "ExclusiveStartShardId": "x" }), "InvalidArgumentException"),
        (json!({ "StreamARN": arn("other"), "StreamName": "wide" }), "InvalidArgumentException"),
    ] {
        assert_eq!(refused(api, "DescribeStream", &body).0, kind, "{body}");
    }
}

#[test]
fn limits_count_what_there_is() {
    let directory = directory();
    let (_server, api) = server(&directory.path().join("data"));
    let counts = || {
        let limits = good(api, "DescribeLimits", &json!({}));
        let count = |name: &str| limits[name].as_u64().unwrap();
        assert_eq!((count("ShardLimit"), count("OnDemandStreamCountLimit")), (1_000_000, 100_000));
        (count("OpenShardCount"), count("OnDemandStreamCount"))
    };
    assert_eq!(counts(), (0, 0));
    // More than a page of streams.
    for number in 0..101 {
        let mode = if number == 100 { "ON_DEMAND" } else { "PROVISIONED" };
        let details = json!({ "StreamMode": mode });
        let create = json!({ "StreamName": format!("s{number}"), "ShardCount": 2, "StreamModeDetails": details });
        good(api, "CreateStream", &create);
    }
    assert_eq!(counts(), (202, 1));
    let merge = json!({ "StreamName": "s0", "ShardToMerge": "0", "AdjacentShardToMerge": "1" });
    good(api, "MergeShards", &merge);
    good(api, "DeleteStream", &json!({ "StreamName": "s100" }));
    assert_eq!(counts(), (199, 0), "closed shards don't count");
}

#[test]
fn the_accounts_settings_are_kept() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server(&data);
    let member = "MinimumThroughputBillingCommitment";
    let told = |api| good(api, "DescribeAccountSettings", &json!({}))[member].clone();
    let update = |api, status: &str| {
        let answer = good(api, "UpdateAccountSettings", &json!({ member: { "Status": status } }));
        assert_eq!(answer[member], told(api), "it is answered with what is kept");
        answer[member].clone()
    };
    assert_eq!(told(api), json!({ "Status": "DISABLED" }));
    assert_eq!(update(api, "DISABLED"), json!({ "Status": "DISABLED" }));
    for (body, kind) in [
        (json!({}), "ValidationException"),
        (json!({ member: {} }), "ValidationException"),
        (json!({ member: { "Status": "MAYBE" } }), "ValidationException"),
        (json!({ member: "ENABLED" }), "SerializationException"),
    ] {
        assert_eq!(refused(api, "UpdateAccountSettings", &body).0, kind, "{body}");
    }
    assert_eq!(told(api), json!({ "Status": "DISABLED" }), "nothing of that is kept");
    let enabled = update(api, "ENABLED");
    assert_eq!(enabled["Status"], "ENABLED");
    let seconds = |name: &str| enabled[name].as_f64().unwrap();
    assert_eq!((seconds("EarliestAllowedEndAt") - seconds("StartedAt")).round(), 86_400.0);
    assert_eq!(update(api, "ENABLED"), enabled, "it began when it began");
    running.kill();
    let (running, api) = server(&data);
    assert_eq!(told(api), enabled);
    let ending = update(api, "DISABLED");
    assert_eq!(ending["Status"], "ENABLED_UNTIL_EARLIEST_ALLOWED_END");
    assert_eq!(ending["StartedAt"], enabled["StartedAt"]);
    running.stop();
    let (_running, api) = server(&data);
    assert_eq!(told(api), ending);
    assert_eq!(update(api, "ENABLED"), enabled, "its end is taken back");
}

#[test]
fn a_stream_with_consumers_is_deleted_with_them_or_not_at_all() {
    let directory = directory();
    let (_server, api) = server(&directory.path().join("data"));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let register = json!({ "StreamARN": arn("s"), "ConsumerName": "reader" });
    let consumer = good(api, "RegisterStreamConsumer", &register)["Consumer"]["ConsumerARN"].clone();
    let summary =
        || good(api, "DescribeStreamSummary", &json!({ "StreamName": "s" }))["StreamDescriptionSummary"].clone();
    assert_eq!(summary()["ConsumerCount"], 1);
    for enforce in [json!(null), json!(false)] {
        let delete = json!({ "StreamName": "s", "EnforceConsumerDeletion": enforce });
        let (kind, message) = refused(api, "DeleteStream", &delete);
        assert!(kind == "ResourceInUseException" && message.contains("EnforceConsumerDeletion"), "{kind} {message}");
        assert_eq!(summary()["ConsumerCount"], 1, "it is there still");
    }
    good(api, "DeleteStream", &json!({ "StreamARN": arn("s"), "EnforceConsumerDeletion": true }));
    let gone = json!({ "ConsumerARN": consumer });
    assert_eq!(refused(api, "DescribeStreamConsumer", &gone).0, "ResourceNotFoundException");
    // One of the same name has none of it.
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    assert_eq!(summary()["ConsumerCount"], 0);
    good(api, "DeleteStream", &json!({ "StreamName": "s" }));
    assert_eq!(refused(api, "DeleteStream", &json!({ "StreamName": "s" })).0, "ResourceNotFoundException");
}
