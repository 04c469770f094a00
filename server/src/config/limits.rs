//! Counts and sizes that the API holds its callers to, as people write them: `service`, `none`, or what is to be other than that,
//! such as `service,put-records=5000,tags=none`.

use std::str::FromStr;

use engine::limits::{SHARDS_MAX, STREAMS_MAX};
use frame::limits::SHARDS_PER_STREAM_MAX;
use wire::shape::{RECORDS_DEFAULT, RECORDS_MAX};

use super::value::{Bytes, changed};

/// Sizes below that let nothing through that anybody has.
const SIZE_MIN: usize = 1 << 10;

/// Of a PutRecords: the body has no more, whatever it is written in.
pub(crate) const PUT_RECORDS_BYTES_MAX: usize = 20 << 20;

/// Of the answer to a GetRecords, for which there is room by these.
pub(crate) const GET_RECORDS_MAX: usize = 100_000;
pub(crate) const GET_RECORDS_BYTES_MAX: usize = 32 << 20;

/// Consumers of a stream by the service, and of one on demand whose account has committed itself.
const CONSUMERS: usize = 20;
const CONSUMERS_COMMITTED: usize = 50;

/// As many as a stream has room for, beside which they are kept, if their names are not long.
const CONSUMERS_MAX: usize = 1000;

/// As many as the service's model lets an answer tell.
const TAGS_MAX: usize = 200;

/// Times in 24 hours by the service: of UpdateShardCount, and of a change of a stream's mode.
const SHARD_COUNTS_A_DAY: usize = 10;
const MODES_A_DAY: usize = 2;

/// As many as may be set, and are kept beside a stream.
pub(crate) const A_DAY_MAX: usize = 100;

/// How much there may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiLimits {
    /// Records of a PutRecords.
    pub(crate) put_records: usize,
    /// Data and keys of one.
    pub(crate) put_records_bytes: usize,
    /// Records that a GetRecords answers.
    pub(crate) get_records: usize,
    /// Data and keys of those. One record comes whatever its size.
    pub(crate) get_records_bytes: usize,
    /// Consumers of a stream, where it is said how many.
    consumers: Option<usize>,
    /// Tags of a stream or consumer.
    pub(crate) tags: usize,
    /// Open shards of an account in a region.
    pub(crate) shards: usize,
    /// Streams on demand of one.
    pub(crate) on_demand_streams: usize,
    /// How many times as many shards, or as few, an UpdateShardCount may ask for.
    pub(crate) shard_count_factor: usize,
    /// How often it may be asked for of a stream in 24 hours, where that is said.
    shard_counts_a_day: Option<usize>,
    /// How often a stream's mode may change in 24 hours, where that is said.
    modes_a_day: Option<usize>,
}

/// A limit as it is written.
struct Limit {
    name: &'static str,
    is_size: bool,
    /// The highest number that may be written.
    most: usize,
    /// What `none` means: that, or no bound at all.
    none: usize,
    set: fn(&mut ApiLimits, usize),
}

const fn count(name: &'static str, most: usize, set: fn(&mut ApiLimits, usize)) -> Limit {
    Limit { name, is_size: false, most, none: most, set }
}

const fn size(name: &'static str, most: usize, set: fn(&mut ApiLimits, usize)) -> Limit {
    Limit { name, is_size: true, most, none: most, set }
}

const fn a_day(name: &'static str, set: fn(&mut ApiLimits, usize)) -> Limit {
    Limit { name, is_size: false, most: A_DAY_MAX, none: usize::MAX, set }
}

const LIMITS: [Limit; 11] = [
    count("put-records", RECORDS_MAX, |limits, value| limits.put_records = value),
    size("put-records-bytes", PUT_RECORDS_BYTES_MAX, |limits, value| limits.put_records_bytes = value),
    count("get-records", GET_RECORDS_MAX, |limits, value| limits.get_records = value),
    size("get-records-bytes", GET_RECORDS_BYTES_MAX, |limits, value| limits.get_records_bytes = value),
    count("consumers", CONSUMERS_MAX, |limits, value| limits.consumers = Some(value)),
    count("tags", TAGS_MAX, |limits, value| limits.tags = value),
    count("shards", SHARDS_MAX, |limits, value| limits.shards = value),
    count("on-demand-streams", STREAMS_MAX, |limits, value| limits.on_demand_streams = value),
    count("shard-count-factor", SHARDS_PER_STREAM_MAX, |limits, value| limits.shard_count_factor = value),
    a_day("shard-counts-a-day", |limits, value| limits.shard_counts_a_day = Some(value)),
    a_day("modes-a-day", |limits, value| limits.modes_a_day = Some(value)),
];

impl ApiLimits {
    /// As the service documents them; of an account as much as the log has room for, as what it may have is agreed upon.
    pub fn service() -> ApiLimits {
        ApiLimits {
            put_records: RECORDS_DEFAULT,
            put_records_bytes: 10 << 20,
            get_records: 10_000,
            get_records_bytes: 10 << 20,
            consumers: None,
            tags: 50,
            shards: SHARDS_MAX,
            on_demand_streams: STREAMS_MAX,
            shard_count_factor: 2,
            shard_counts_a_day: None,
            modes_a_day: None,
        }
    }

    /// As much as there is room for.
    pub fn none() -> ApiLimits {
        let mut limits = ApiLimits::service();
        LIMITS.iter().for_each(|limit| (limit.set)(&mut limits, limit.none));
        limits
    }

    /// Consumers of a stream, which may be one on demand whose account has committed itself: that has more unless something else is
    /// said.
    pub(crate) fn consumers(&self, committed: bool) -> usize {
        self.consumers.unwrap_or(if committed { CONSUMERS_COMMITTED } else { CONSUMERS })
    }

    /// How often an UpdateShardCount may be asked for of a stream in 24 hours; as often as anybody likes where the service's days are
    /// not held and nothing else is said.
    pub(crate) fn shard_counts_a_day(&self, holds_days: bool) -> usize {
        self.shard_counts_a_day.unwrap_or(if holds_days { SHARD_COUNTS_A_DAY } else { usize::MAX })
    }

    /// How often a stream's mode may change, likewise.
    pub(crate) fn modes_a_day(&self, holds_days: bool) -> usize {
        self.modes_a_day.unwrap_or(if holds_days { MODES_A_DAY } else { usize::MAX })
    }

    /// Whether an account may have fewer shards than the log has room for.
    pub(crate) fn hold_shards(&self) -> bool {
        self.shards < SHARDS_MAX
    }

    /// The same of streams on demand.
    pub(crate) fn hold_on_demand_streams(&self) -> bool {
        self.on_demand_streams < STREAMS_MAX
    }

    fn change(&mut self, word: &str) -> Result<(), String> {
        let unknown = || {
            let names = LIMITS.each_ref().map(|limit| limit.name).join(", ");
            format!("`{word}` is no limit; write service, none, or NAME=NUMBER or NAME=none with one of {names}")
        };
        let (name, value) = word.split_once('=').ok_or_else(unknown)?;
        let limit = LIMITS.iter().find(|limit| limit.name == name.trim()).ok_or_else(unknown)?;
        (limit.set)(self, limit.read(value.trim())?);
        Ok(())
    }
}

impl Limit {
    fn read(&self, text: &str) -> Result<usize, String> {
        if text == "none" {
            return Ok(self.none);
        }
        let (name, most) = (self.name, self.most);
        let (value, least) = if self.is_size {
            (text.parse::<Bytes>().ok().and_then(|bytes| usize::try_from(bytes.0).ok()), SIZE_MIN)
        } else {
            (text.parse().ok(), 1)
        };
        value.filter(|value| (least..=most).contains(value)).ok_or_else(|| match self.is_size {
            true => {
                let [least, most] = [least, most].map(|bytes| Bytes(bytes as u64));
                format!("{name}={text}: write a size from {least} to {most}, or none")
            }
            false => format!("{name}={text}: write a number from {least} to {most}, or none"),
        })
    }
}

impl FromStr for ApiLimits {
    type Err = String;

    fn from_str(text: &str) -> Result<ApiLimits, String> {
        changed(text, ApiLimits::service, ApiLimits::none, ApiLimits::change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<ApiLimits>();
        assert_eq!(read("service"), Ok(ApiLimits::service()));
        assert_eq!(read("none"), Ok(ApiLimits::none()));
        let changed = read("put-records=5000, put-records-bytes = 16MiB,tags=none,shard-counts-a-day=none").unwrap();
        let expected = ApiLimits {
            put_records: 5000,
            put_records_bytes: 16 << 20,
            tags: 200,
            shard_counts_a_day: Some(usize::MAX),
            ..ApiLimits::service()
        };
        assert_eq!(changed, expected);
        assert_eq!(read("none,get-records=1"), Ok(ApiLimits { get_records: 1, ..ApiLimits::none() }));
        for (text, said) in [
            ("", "`` is no limit; write service, none, or NAME=NUMBER"),
            ("put-records", "with one of put-records, put-records-bytes"),
            ("tags=5,none", "`none` is no limit"),
            ("Tags=5", "`Tags=5` is no limit"),
            ("put-records=0", "put-records=0: write a number from 1 to 10000, or none"),
            ("put-records=10001", "a number from 1 to 10000"),
            ("put-records=1e3", "a number from 1 to 10000"),
            ("put-records-bytes=1000", "put-records-bytes=1000: write a size from 1KiB to 20MiB, or none"),
            ("get-records-bytes=33MiB", "a size from 1KiB to 32MiB"),
            ("consumers=-1", "consumers=-1: write a number from 1 to 1000"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn each_name_is_of_a_limit_of_its_own() {
        let mut all = vec![ApiLimits::service()];
        for limit in &LIMITS {
            let (text, value) = if limit.is_size { ("1KiB", 1 << 10) } else { ("1", 1) };
            for (text, value) in [(text, value), ("none", limit.none)] {
                let mut expected = ApiLimits::service();
                (limit.set)(&mut expected, value);
                assert_eq!(format!("{}={text}", limit.name).parse(), Ok(expected), "{}={text}", limit.name);
            }
            let mut least = ApiLimits::service();
            (limit.set)(&mut least, value);
            assert!(!all.contains(&least), "{} changes what another does, or nothing", limit.name);
            all.push(least);
        }
    }

    #[test]
    fn what_the_service_allows_a_day_holds_where_rates_do_and_what_is_said_always() {
        let of = |text: &str| {
            let limits = text.parse::<ApiLimits>().unwrap();
            [true, false].map(|holds| (limits.shard_counts_a_day(holds), limits.modes_a_day(holds)))
        };
        assert_eq!(of("service"), [(10, 2), (usize::MAX, usize::MAX)]);
        assert_eq!(of("shard-counts-a-day=10,modes-a-day=2"), [(10, 2); 2]);
        assert_eq!(of("none"), [(usize::MAX, usize::MAX); 2]);
    }

    #[test]
    fn who_has_committed_itself_has_more_consumers_unless_it_is_said_how_many() {
        let of = |text: &str| [false, true].map(|committed| text.parse::<ApiLimits>().unwrap().consumers(committed));
        assert_eq!((of("service"), of("consumers=5"), of("none")), ([20, 50], [5, 5], [1000, 1000]));
        assert_eq!(of("consumers=20"), [20, 20]);
    }
}
