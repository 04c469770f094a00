//! What the owner of a stream or consumer lets others do with it, as PutResourcePolicy was told it: a document of JSON.
//!
//! A statement with an element that is not understood allows nothing, and denies what it would deny without that element. So does
//! one with a resource that no stream can be.

use serde_json::{Map, Value};

use crate::credentials::{Verdict, matches, may_be_of_stream, of_own_partition};

/// Who asks.
pub(super) struct Principal<'a> {
    pub(super) account: &'a str,
    pub(super) arn: &'a str,
}

/// What a policy says of an action on its resource.
pub(super) fn judge(policy: &str, principal: &Principal<'_>, action: &str, arn: &str) -> Verdict {
    let policy: Map<String, Value> = serde_json::from_str(policy).unwrap_or_default();
    let mut verdict = Verdict::NotAllowed;
    for statement in many(policy.get("Statement")) {
        let Some(statement) = statement.as_object() else { continue };
        let is_understood =
            statement.keys().all(|name| ["Sid", "Effect", "Principal", "Action", "Resource"].contains(&name.as_str()));
        let is_deny = statement.get("Effect").and_then(Value::as_str) != Some("Allow");
        // What is missing of a statement says nothing in favour of anybody.
        let speaks = |name: &str, matches: &dyn Fn(&str) -> bool| match statement.get(name) {
            None => is_deny,
            Some(value) => many(Some(value)).iter().filter_map(|value| value.as_str()).any(matches),
        };
        let is_action = |pattern: &str| matches(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase());
        let is_resource = |pattern: &str| {
            let pattern = of_own_partition(pattern);
            matches(&pattern, arn) || is_deny && !may_be_of_stream(&pattern)
        };
        let applies = is_principal(statement.get("Principal"), principal, is_deny)
            && speaks("Action", &is_action)
            && speaks("Resource", &is_resource);
        match (applies, is_deny) {
            (true, true) => return Verdict::Denied,
            (true, false) if is_understood => verdict = Verdict::Allowed,
            _ => {}
        }
    }
    verdict
}

/// Whether somebody is one of those that are named.
fn is_principal(named: Option<&Value>, who: &Principal<'_>, if_missing: bool) -> bool {
    let Some(named) = named else { return if_missing };
    let named = match named {
        Value::Object(kinds) => many(kinds.get("AWS")),
        other => vec![other],
    };
    let root = format!("arn:aws:iam::{}:root", who.account);
    let names = named.iter().filter_map(|value| value.as_str());
    names.map(of_own_partition).any(|name| ["*", who.account, who.arn, &root].contains(&&*name))
}

/// A list, or the one that stands for it.
fn many(value: Option<&Value>) -> Vec<&Value> {
    match value {
        None => Vec::new(),
        Some(Value::Array(values)) => values.iter().collect(),
        Some(value) => vec![value],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";
    const ACCOUNT: &str = "111122223333";
    const USER: &str = "arn:aws:iam::111122223333:user/bob";

    fn judged(statements: Value) -> Verdict {
        let principal = Principal { account: ACCOUNT, arn: USER };
        judge(&json!({ "Statement": statements }).to_string(), &principal, "kinesis:PutRecord", ARN)
    }

    #[test]
    fn who_what_and_which_must_all_be_named() {
        let allow = |principal: Value, action: Value, resource: Value| {
            judged(json!({ "Effect": "Allow", "Principal": principal, "Action": action, "Resource": resource }))
        };
        let (who, what, which) = (json!({ "AWS": USER }), json!("kinesis:PutRecord"), json!(ARN));
        for principal in [json!("*"), json!({ "AWS": "*" }), json!({ "AWS": ["x", ACCOUNT] }), who.clone()] {
            assert_eq!(allow(principal.clone(), what.clone(), which.clone()), Verdict::Allowed, "{principal}");
        }
        let root = json!({ "AWS": "arn:aws:iam::111122223333:root" });
        assert_eq!(allow(root, json!(["kinesis:Get*", "kinesis:put*"]), json!(["*"])), Verdict::Allowed);
        for principal in [json!({ "AWS": "111122223334" }), json!({ "Service": "*" }), json!({}), json!(7), json!("x")]
        {
            assert_eq!(allow(principal.clone(), what.clone(), which.clone()), Verdict::NotAllowed, "{principal}");
        }
        let (who_there, which_there) = (USER.replace("aws", "aws-cn"), ARN.replace("aws", "aws-cn"));
        assert_eq!(allow(json!({ "AWS": who_there }), what.clone(), json!(which_there)), Verdict::Allowed);
        assert_eq!(allow(who.clone(), json!("kinesis:GetRecords"), which.clone()), Verdict::NotAllowed);
        assert_eq!(allow(who, what, json!(format!("{ARN}2"))), Verdict::NotAllowed);
    }

    #[test]
    fn a_denial_goes_before_and_what_is_not_understood_allows_nothing() {
        let statement = |effect: &str| json!({ "Effect": effect, "Principal": "*", "Action": "*", "Resource": "*" });
        let (allow, deny) = (statement("Allow"), statement("Deny"));
        assert_eq!(judged(json!([allow, deny])), Verdict::Denied);
        assert_eq!(judged(json!([deny, allow])), Verdict::Denied);
        let with = |mut statement: Value, name: &str| {
            statement[name] = json!({ "StringEquals": {} });
            statement
        };
        assert_eq!(judged(with(allow.clone(), "Condition")), Verdict::NotAllowed);
        assert_eq!(judged(json!([allow.clone(), with(deny, "Condition")])), Verdict::Denied);
        let not = json!({ "Effect": "Deny", "NotPrincipal": { "AWS": USER }, "Action": "*" });
        assert_eq!(judged(json!([allow, not])), Verdict::Denied);
        let of = |resource: &str| json!({ "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": resource });
        for (resource, verdict) in [
            (ARN.replace("aws", "aws-cn"), Verdict::Denied),
            (ARN.replace("stream", "streams"), Verdict::Denied),
            (format!("{ARN}2"), Verdict::Allowed),
        ] {
            assert_eq!(judged(json!([allow, of(&resource)])), verdict, "{resource}");
        }
        for odd in [json!([]), json!(null), json!("x"), json!([7]), json!({ "Effect": "Allow" })] {
            assert_eq!(judged(odd.clone()), Verdict::NotAllowed, "{odd}");
        }
        let principal = Principal { account: ACCOUNT, arn: USER };
        assert_eq!(judge("no JSON", &principal, "kinesis:PutRecord", ARN), Verdict::NotAllowed);
    }
}
