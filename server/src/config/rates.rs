//! How often actions of the API may be asked for, as people write it: `service`, `none`, or what is to be other than that, such as
//! `service,CreateStream=50,ListShards=none`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::str::FromStr;

use frame::Rate;

use super::value::changed;

/// More a second than that are no limit.
const RATE_MAX: u32 = 1_000_000;

/// What the API's reference says of each action, in times a second. Of the others it says nothing, and what they cost the
/// quotas of shards bound.
const SERVICE: [(&str, u32); 22] = [
    ("AddTagsToStream", 5),
    ("CreateStream", 5),
    ("DeleteStream", 5),
    ("DeregisterStreamConsumer", 5),
    ("DescribeAccountSettings", 5),
    ("DescribeLimits", 1),
    ("DescribeStream", 10),
    ("DescribeStreamConsumer", 20),
    ("DescribeStreamSummary", 20),
    ("GetShardIterator", 5),
    ("ListShards", 1000),
    ("ListStreamConsumers", 5),
    ("ListStreams", 5),
    ("ListTagsForStream", 5),
    ("MergeShards", 5),
    ("RegisterStreamConsumer", 5),
    ("RemoveTagsFromStream", 5),
    ("SplitShard", 5),
    ("SubscribeToShard", 1),
    ("UpdateAccountSettings", 5),
    ("UpdateShardCount", 10),
    ("UpdateStreamWarmThroughput", 5),
];

/// How often actions may be asked for a second: of an account, or of the stream, the shard or the consumer that is meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiRates(BTreeMap<&'static str, NonZeroU32>);

impl ApiRates {
    /// As often as anybody likes.
    pub fn none() -> ApiRates {
        ApiRates(BTreeMap::new())
    }

    /// As the service documents them.
    pub fn service() -> ApiRates {
        let rate = |(action, rate)| Some((action, NonZeroU32::new(rate)?));
        ApiRates(SERVICE.into_iter().filter_map(rate).collect())
    }

    /// Of one action.
    pub(crate) fn of(&self, action: &str) -> Rate {
        self.0.get(action).copied()
    }

    fn change(&mut self, word: &str) -> Result<(), String> {
        let unknown = || {
            let names = SERVICE.map(|(action, _)| action).join(", ");
            format!("`{word}` is no rate; write service, none, or ACTION=NUMBER or ACTION=none with one of {names}")
        };
        let (name, value) = word.split_once('=').ok_or_else(unknown)?;
        let (action, _) = SERVICE.into_iter().find(|(action, _)| *action == name.trim()).ok_or_else(unknown)?;
        let value = value.trim();
        if value == "none" {
            self.0.remove(action);
            return Ok(());
        }
        let rate = value.parse().ok().filter(|rate: &NonZeroU32| rate.get() <= RATE_MAX);
        let rate = rate.ok_or_else(|| format!("{action}={value}: write a number from 1 to {RATE_MAX}, or none"))?;
        self.0.insert(action, rate);
        Ok(())
    }
}

impl FromStr for ApiRates {
    type Err = String;

    fn from_str(text: &str) -> Result<ApiRates, String> {
        changed(text, ApiRates::service, ApiRates::none, ApiRates::change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<ApiRates>();
        assert_eq!(read("service"), Ok(ApiRates::service()));
        assert_eq!(read("none"), Ok(ApiRates::none()));
        let changed = read("CreateStream=50, ListShards = none").unwrap();
        assert_eq!(
            ["CreateStream", "ListShards", "DescribeLimits"].map(|action| changed.of(action)),
            [NonZeroU32::new(50), None, NonZeroU32::new(1)]
        );
        let one = read("none,DescribeStream=1000000").unwrap();
        assert_eq!((one.0.len(), one.of("DescribeStream")), (1, NonZeroU32::new(RATE_MAX)));
        for (text, said) in [
            ("", "`` is no rate; write service, none, or ACTION=NUMBER"),
            ("CreateStream", "with one of AddTagsToStream, CreateStream"),
            ("CreateStream=5,none", "`none` is no rate"),
            ("PutRecord=5", "`PutRecord=5` is no rate"),
            ("ListShards=0", "ListShards=0: write a number from 1 to 1000000, or none"),
            ("ListShards=1000001", "a number from 1 to 1000000"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn actions_with_a_rate_are_actions() {
        let unknown = SERVICE.iter().find(|(action, _)| !crate::gateway::ACTIONS.contains(action));
        assert_eq!(unknown, None);
    }
}
