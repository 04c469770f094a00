//! Policies of streams and consumers.

use serde_json::{Value, json};

use crate::gateway::{arn, good, refused, server};
use crate::rig::directory;

#[test]
fn policies_are_kept_as_they_were_given() {
    let directory = directory();
    let data = directory.path().join("data");
    let (running, api) = server(&data);
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let register = json!({ "StreamARN": arn("s"), "ConsumerName": "reader" });
    let consumer = good(api, "RegisterStreamConsumer", &register)["Consumer"]["ConsumerARN"].clone();
    let stream = json!(arn("s"));
    let policy = |api, resource: &Value| {
        let told = good(api, "GetResourcePolicy", &json!({ "ResourceARN": resource }));
        told["Policy"].as_str().unwrap().to_owned()
    };
    for resource in [&stream, &consumer] {
        assert_eq!(policy(api, resource), "{}", "there is none");
        let (kind, message) = refused(api, "DeleteResourcePolicy", &json!({ "ResourceARN": resource }));
        assert!(kind == "ResourceNotFoundException" && message.starts_with("No resource policy"), "{kind} {message}");
    }
    let (one, other) = (r#"{ "Version": "2012-10-17", "Statement": [] }"#, r#"{"Statement":[{"Effect":"Deny"}]}"#);
    good(api, "PutResourcePolicy", &json!({ "ResourceARN": stream, "Policy": one }));
    good(api, "PutResourcePolicy", &json!({ "ResourceARN": consumer, "Policy": other }));
    for (body, kind) in [
        (json!({ "ResourceARN": stream }), "ValidationException"),
        (json!({ "Policy": one }), "ValidationException"),
        (json!({ "ResourceARN": "s", "Policy": one }), "ValidationException"),
        (json!({ "ResourceARN": stream, "Policy": "allow" }), "InvalidArgumentException"),
        (json!({ "ResourceARN": stream, "Policy": "[]" }), "InvalidArgumentException"),
        (
            json!({ "ResourceARN": stream, "Policy": format!(r#"{{"a":"{}"}}"#, "x".repeat(200_000)) }),
            "LimitExceededException",
        ),
        (json!({ "ResourceARN": arn("gone"), "Policy": one }), "ResourceNotFoundException"),
        // Who is held against it could not read it.
        (
            json!({ "ResourceARN": stream, "Policy": format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200)) }),
            "InvalidArgumentException",
        ),
    ] {
        assert_eq!(refused(api, "PutResourcePolicy", &body).0, kind);
    }
    running.kill();
    let (running, api) = server(&data);
    assert_eq!((policy(api, &stream), policy(api, &consumer)), (one.to_owned(), other.to_owned()));
    good(api, "DeleteResourcePolicy", &json!({ "ResourceARN": stream }));
    running.stop();
    let (_running, api) = server(&data);
    assert_eq!((policy(api, &stream), policy(api, &consumer)), ("{}".to_owned(), other.to_owned()));
    for action in ["GetResourcePolicy", "DeleteResourcePolicy"] {
        assert_eq!(refused(api, action, &json!({ "ResourceARN": arn("gone") })).0, "ResourceNotFoundException");
        assert_eq!(refused(api, action, &json!({})).0, "ValidationException");
    }
}

/// Bug: a policy of 20 MB took 320 MB. Mechanism: it was read before its length was looked at, which the log does. Fix: it is looked
/// at before.
#[test]
fn a_policy_too_long_to_be_kept_is_not_read() {
    let directory = directory();
    let (_server, api) = server(&directory.path().join("data"));
    good(api, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let put = |policy: String| refused(api, "PutResourcePolicy", &json!({ "ResourceARN": arn("s"), "Policy": policy }));
    // What is no document tells whether it was read.
    let (kind, message) = put("[0".to_owned() + &",0".repeat(64 << 10));
    assert!(kind == "LimitExceededException" && message.contains("131072"), "{kind} {message}");
    assert_eq!(put("[0".to_owned() + &",0".repeat((64 << 10) - 1)).0, "InvalidArgumentException");
}
