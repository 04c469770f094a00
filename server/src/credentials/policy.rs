//! What a key may do: statements that allow or deny actions on streams. What a statement denies no other allows; what none
//! speaks of is not allowed.

use serde::Deserialize;

use super::arns::{may_be_of_stream, of_own_partition};
use crate::gateway::ACTIONS;
use crate::leases;

/// Whether a pattern is for an action of another service at the same port.
fn is_of_others(pattern: &str) -> bool {
    let mut actions = leases::operations().map(|operation| format!("dynamodb:{operation}"));
    actions.any(|action| is_action(pattern, &action)) || is_action(pattern, "cloudwatch:PutMetricData")
}

/// What a key may do.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub(crate) struct Policy(Vec<Statement>);

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    effect: Effect,
    /// Names with `*` and `?`, whatever their letters' case.
    actions: Vec<String>,
    /// ARNs with `*` and `?`.
    #[serde(default = "all")]
    streams: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Effect {
    Allow,
    Deny,
}

/// What a policy says of an action on a resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Allowed,
    /// A statement says no.
    Denied,
    /// None says yes.
    NotAllowed,
}

fn all() -> Vec<String> {
    vec!["*".to_owned()]
}

impl Policy {
    /// The policy as it is held against requests, if each pattern can match something: so that no slip of the pen allows less, or
    /// denies less, than was meant.
    pub(super) fn checked(mut self) -> Result<Policy, String> {
        for Statement { actions, streams, .. } in &mut self.0 {
            if actions.is_empty() || streams.is_empty() {
                return Err("a statement names at least one action, and * for all streams".to_owned());
            }
            let of_streams =
                |pattern: &str| ACTIONS.iter().any(|action| is_action(pattern, &format!("kinesis:{action}")));
            let is_one = |pattern: &str| of_streams(pattern) || is_of_others(pattern);
            if let Some(pattern) = actions.iter().find(|pattern| !is_one(pattern)) {
                return Err(format!("no action is called {pattern}; write for example kinesis:PutRecord or kinesis:*"));
            }
            let others = actions.iter().find(|pattern| !of_streams(pattern));
            if let Some(pattern) = others.filter(|_| streams.iter().any(|stream| stream != "*")) {
                return Err(format!("{pattern} has nothing to do with streams; write it in a statement without them"));
            }
            for pattern in streams.iter_mut() {
                *pattern = of_own_partition(pattern).into_owned();
            }
            let is_arn = |pattern: &str| pattern == "*" || pattern.starts_with("arn:") && may_be_of_stream(pattern);
            if let Some(pattern) = streams.iter().find(|pattern| !is_arn(pattern)) {
                let example = "arn:aws:kinesis:*:*:stream/orders";
                return Err(format!("{pattern} is neither * nor the ARN of a stream; write for example {example}"));
            }
        }
        Ok(self)
    }

    /// What it says of an action on what these ARNs are of: a stream, or a consumer and its stream.
    pub(crate) fn judge(&self, action: &str, arns: &[String]) -> Verdict {
        let speaks = |statement: &&Statement| {
            statement.actions.iter().any(|pattern| is_action(pattern, action))
                && statement.streams.iter().any(|pattern| arns.iter().any(|arn| matches(pattern, arn)))
        };
        let mut verdict = Verdict::NotAllowed;
        for statement in self.0.iter().filter(speaks) {
            match statement.effect {
                Effect::Deny => return Verdict::Denied,
                Effect::Allow => verdict = Verdict::Allowed,
            }
        }
        verdict
    }
}

fn is_action(pattern: &str, action: &str) -> bool {
    matches(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase())
}

/// Whether a text is what a pattern says, in which `*` is any characters and `?` any one.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut from) = (0, 0);
    // The last star, and how much of the text it stands for so far.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&letter) if letter == b'?' || letter == text[from] => (at, from) = (at + 1, from + 1),
            _ => match &mut star {
                Some((place, taken)) => {
                    *taken += 1;
                    (at, from) = (*place + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_wildcards() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "anything", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a*b*c", "aXbYbZc", true),
            ("?", "", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("abc", "abcd", false),
            ("*abc", "ababc", true),
            ("arn:*:stream/orders", "arn:aws:kinesis:us-east-1:000000000000:stream/orders", true),
            ("arn:*:stream/orders", "arn:aws:kinesis:us-east-1:000000000000:stream/orders2", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_denied_nothing_allows() {
        #[derive(Deserialize)]
        struct Held {
            policy: Policy,
        }
        let text = "[[policy]]\neffect = \"allow\"\nactions = [\"kinesis:put*\", \"kinesis:List*\"]\n\
                    [[policy]]\neffect = \"deny\"\nactions = [\"*\"]\nstreams = [\"arn:aws-cn:kinesis:*:*:stream/private*\"]\n\
                    [[policy]]\neffect = \"allow\"\nactions = [\"kinesis:SubscribeToShard\"]\n\
                    streams = [\"arn:aws:kinesis:*:*:stream/orders\"]\n";
        let Held { policy } = toml::from_str(text).unwrap();
        let policy = policy.checked().unwrap();
        let arn = |resource: &str| format!("arn:aws:kinesis:us-east-1:000000000000:stream/{resource}");
        let reader = [arn("orders/consumer/reader:1"), arn("orders")];
        let hidden = [arn("private/consumer/reader:1"), arn("private")];
        for (action, arns, expected) in [
            ("kinesis:PutRecord", &[arn("orders")][..], Verdict::Allowed),
            ("kinesis:PutRecords", &[arn("private")], Verdict::Denied),
            ("kinesis:ListStreams", &["*".to_owned()], Verdict::Allowed),
            ("kinesis:GetRecords", &[arn("orders")], Verdict::NotAllowed),
            ("kinesis:GetRecords", &[arn("private2")], Verdict::Denied),
            ("kinesis:SubscribeToShard", &reader, Verdict::Allowed),
            ("kinesis:SubscribeToShard", &hidden, Verdict::Denied),
            ("kinesis:SubscribeToShard", &[arn("other")], Verdict::NotAllowed),
        ] {
            assert_eq!(policy.judge(action, arns), expected, "{action} {arns:?}");
        }
        // A star is a text as any other to a pattern of ARNs.
        assert_eq!(policy.judge("kinesis:SubscribeToShard", &["*".to_owned()]), Verdict::NotAllowed);
    }
}
