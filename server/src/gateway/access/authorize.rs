//! Whether a caller may do what it asks, with all that its request names; and whose streams it then works with.
//!
//! A request may name things in several members. Which of them its action heeds is the action's business: here each must be allowed.

use std::sync::Arc;

use engine::Stream;
use wire::iterator::{ShardIterator, ShardsPlace};
use wire::name::Place;
use wire::shape::Names;
use wire::{Error, ErrorKind};

use super::Caller;
use super::resource_policy::{self, Principal};
use crate::credentials::{Key, Verdict};
use crate::gateway::extras::Extras;
use crate::gateway::{Common, Shared};

/// What concerns an account as a whole, whatever the request names.
const OF_THE_ACCOUNT: [&str; 4] = ["DescribeAccountSettings", "DescribeLimits", "ListStreams", "UpdateAccountSettings"];

/// What the service lets others than the owner of a stream do with it, and with a consumer of it.
const SHARED_STREAM: [&str; 7] = [
    "DescribeStream",
    "DescribeStreamSummary",
    "GetRecords",
    "GetShardIterator",
    "ListShards",
    "PutRecord",
    "PutRecords",
];
const SHARED_CONSUMER: [&str; 2] = ["DescribeStreamConsumer", "SubscribeToShard"];

/// Something that a request names.
struct Resource {
    place: Place,
    stream: String,
    /// The name and the time, in seconds since 1970, of a consumer of it.
    consumer: Option<(String, u64)>,
}

impl Resource {
    fn of_arn(arn: &str) -> Option<Resource> {
        let place = Place::of_arn(arn)?;
        if let Some((stream, name, created_s)) = place.consumer_in(arn) {
            let (stream, consumer) = (stream.to_owned(), Some((name.to_owned(), created_s)));
            return Some(Resource { place, stream, consumer });
        }
        let stream = place.stream_of(None, Some(arn)).ok()?;
        Some(Resource { place, stream, consumer: None })
    }

    fn of_name(place: &Place, name: &str) -> Resource {
        Resource { place: place.clone(), stream: name.to_owned(), consumer: None }
    }

    /// The ARNs that policies are held against, its own first: written anew, as one thing may be written in several ways.
    fn arns(&self) -> Vec<String> {
        let stream = self.place.arn(&self.stream);
        match &self.consumer {
            Some((name, created_s)) => {
                vec![self.place.consumer_arn(&self.stream, name, created_s.saturating_mul(1000)), stream]
            }
            None => vec![stream],
        }
    }
}

/// What an action works with, once its caller may do it.
///
/// # Errors
/// It may not.
pub(crate) async fn authorize(
    common: &Arc<Common>,
    caller: Caller,
    action: &str,
    named: Names<'_>,
) -> Result<Arc<Shared>, Error> {
    let within = |place| Arc::new(Shared { common: Arc::clone(common), place });
    let Some(key) = &caller.key else { return Ok(within(caller.place)) };
    let full_action = format!("kinesis:{action}");
    if OF_THE_ACCOUNT.contains(&action) {
        judge(key, &full_action, &["*".to_owned()])?;
        return Ok(within(caller.place));
    }
    let arns = [named.stream_arn, named.consumer_arn, named.resource_arn];
    let mut resources: Vec<Resource> = arns.into_iter().flatten().filter_map(Resource::of_arn).collect();
    let token = named.next_token.and_then(ShardsPlace::decode);
    resources.extend(token.map(|token| Resource::of_name(&token.place, &token.name)));
    // Another's streams are worked with in that one's place. Another region is served elsewhere: the action says so.
    let place = resources.first().map(|resource| &resource.place).filter(|place| place.region == caller.place.region);
    let place = place.unwrap_or(&caller.place).clone();
    resources.extend(named.stream_name.map(|name| Resource::of_name(&place, name)));
    let iterator = named.shard_iterator.and_then(ShardIterator::decode);
    resources.extend(iterator.as_ref().map(|iterator| Resource::of_name(&place, &iterator.name)));
    // A consumer by its name is the one that is there by that name.
    if let (Some(consumer), Some(stream)) = (named.consumer_name, resources.first().map(|first| first.stream.clone())) {
        resources.extend(consumer_of(common, &place, &stream, consumer).await?);
    }
    for resource in &resources {
        judge(key, &full_action, &resource.arns())?;
        if resource.place.account != caller.place.account {
            judge_by_owner(common, key, action, resource).await?;
        }
    }
    if resources.is_empty() {
        judge(key, &full_action, &["*".to_owned()])?;
    }
    // Anybody can make an iterator: its numbers are the stream's of its name, or nobody's.
    if let Some(iterator) = iterator {
        let (stream, _) = common.log.describe(&place, &iterator.name, 0, 0).await?;
        if stream.stream.0 != iterator.stream {
            return Err(place.no_stream(&iterator.name));
        }
    }
    Ok(within(place))
}

/// The consumer of a stream that has a name; none if there is none, which the action tells.
async fn consumer_of(common: &Arc<Common>, place: &Place, stream: &str, name: &str) -> Result<Option<Resource>, Error> {
    let described = match common.log.describe(place, stream, 0, 0).await {
        Ok((described, _)) => described,
        Err(error) if error.kind == ErrorKind::ResourceNotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let consumers = Extras::of(&described)?.consumers;
    let found = consumers.into_iter().find(|consumer| consumer.name == name);
    Ok(found.map(|found| Resource {
        place: place.clone(),
        stream: stream.to_owned(),
        consumer: Some((found.name, found.created_ms / 1000)),
    }))
}

/// That a caller may use one of the other services, as IAM calls them: what those keep is the server's own account's.
///
/// # Errors
/// It may not.
pub(crate) fn authorize_other(common: &Common, caller: &Caller, service: &str, operation: &str) -> Result<(), Error> {
    let Some(key) = &caller.key else { return Ok(()) };
    let action = format!("{service}:{operation}");
    if key.account != common.access.own().account {
        return told(Verdict::NotAllowed, key, &action, "*", "", "resource-based policy");
    }
    judge(key, &action, &["*".to_owned()])
}

/// That a key's own policy lets it.
fn judge(key: &Key, action: &str, arns: &[String]) -> Result<(), Error> {
    let verdict = key.policy.as_ref().map_or(Verdict::Allowed, |policy| policy.judge(action, arns));
    told(verdict, key, action, &arns[0], "an identity-based policy", "identity-based policy")
}

/// That the owner of a stream lets somebody of another account.
async fn judge_by_owner(common: &Arc<Common>, key: &Key, action: &str, resource: &Resource) -> Result<(), Error> {
    let shared = if resource.consumer.is_some() { &SHARED_CONSUMER[..] } else { &SHARED_STREAM };
    let policy = match common.log.describe(&resource.place, &resource.stream, 0, 0).await {
        Ok((stream, _)) if shared.contains(&action) => policy_of(&stream, resource)?,
        // As if it were not shared: nobody hears of other's streams whether they are there.
        Ok(_) => None,
        Err(error) if error.kind == ErrorKind::ResourceNotFound => None,
        Err(error) => return Err(error),
    };
    let (action, arns) = (format!("kinesis:{action}"), resource.arns());
    let principal = Principal { account: &key.account, arn: &key.user_arn() };
    let judged = policy.map(|policy| resource_policy::judge(&policy, &principal, &action, &arns[0]));
    let verdict = judged.unwrap_or(Verdict::NotAllowed);
    told(verdict, key, &action, &arns[0], "a resource-based policy", "resource-based policy")
}

/// The policy that lies beside a stream or a consumer.
fn policy_of(stream: &Stream, resource: &Resource) -> Result<Option<String>, Error> {
    let extras = Extras::of(stream)?;
    let Some((name, created_s)) = &resource.consumer else { return Ok(extras.policy) };
    let is_meant = |consumer: &crate::gateway::extras::Consumer| {
        consumer.name == *name && consumer.created_ms / 1000 == *created_s
    };
    Ok(extras.consumers.into_iter().find(is_meant).and_then(|consumer| consumer.policy))
}

/// A verdict in the service's words.
fn told(verdict: Verdict, key: &Key, action: &str, arn: &str, denies: &str, allows: &str) -> Result<(), Error> {
    let because = match verdict {
        Verdict::Allowed => return Ok(()),
        Verdict::Denied => format!("with an explicit deny in {denies}"),
        Verdict::NotAllowed => format!("because no {allows} allows the {action} action"),
    };
    let user = key.user_arn();
    let message = format!("User: {user} is not authorized to perform: {action} on resource: {arn} {because}");
    Err(Error::new(ErrorKind::AccessDenied, message))
}
