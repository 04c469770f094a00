//! Checks of a request's members against the model's bounds, told all at once in the service's words.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::ops::RangeInclusive;

use crate::error::{Error, ErrorKind};

/// As many as the service tells at once.
const TOLD_MAX: usize = 10;

/// Bytes of a value that are told.
const VALUE_BYTES_MAX: usize = 1024;

/// Tags of one request, and the characters of a key and a value.
const TAGS_MAX: usize = 200;
const TAG_KEY: RangeInclusive<usize> = 1..=128;
const TAG_VALUE: RangeInclusive<usize> = 0..=256;

/// Bytes of a record's data, by the model; a stream may take less.
const RECORD_DATA_MAX: usize = 10 << 20;

/// What was found wrong so far.
#[derive(Debug, Default)]
pub struct Checks {
    count: usize,
    told: Vec<String>,
}

impl Checks {
    /// Nothing is wrong yet.
    pub fn new() -> Checks {
        Checks::default()
    }

    /// A member that must be given.
    pub fn required<T>(&mut self, member: impl Display, value: Option<&T>) -> &mut Checks {
        if value.is_none() {
            self.tell(|| format!("Value null at '{member}' failed to satisfy constraint: Member must not be null"));
        }
        self
    }

    /// A text of so many characters.
    pub fn length(&mut self, member: impl Display, value: Option<&str>, least: usize, most: usize) -> &mut Checks {
        if let Some(value) = value {
            let length = value.chars().count();
            if length < least {
                self.note(value, &member, format_args!("Member must have length greater than or equal to {least}"));
            }
            if length > most {
                self.note(value, member, format_args!("Member must have length less than or equal to {most}"));
            }
        }
        self
    }

    /// A number within bounds.
    pub fn range(&mut self, member: impl Display, value: Option<i64>, least: i64, most: i64) -> &mut Checks {
        if let Some(value) = value {
            if value < least {
                self.note(value, &member, format_args!("Member must have value greater than or equal to {least}"));
            }
            if value > most {
                self.note(value, member, format_args!("Member must have value less than or equal to {most}"));
            }
        }
        self
    }

    /// A number that is not below a bound, for members that the model leaves open above.
    pub fn at_least(&mut self, member: impl Display, value: Option<i64>, least: i64) -> &mut Checks {
        self.range(member, value, least, i64::MAX)
    }

    /// A stream's name.
    pub fn stream_name(&mut self, value: Option<&str>) -> &mut Checks {
        self.name("streamName", value)
    }

    /// A name as streams, shards and consumers have them.
    pub fn name(&mut self, member: impl Display, value: Option<&str>) -> &mut Checks {
        self.pattern(&member, value, "[a-zA-Z0-9_.-]+", is_name);
        self.length(member, value, 1, 128)
    }

    /// One of these words.
    pub fn one_of(&mut self, member: impl Display, value: Option<&str>, words: &[&str]) -> &mut Checks {
        if let Some(value) = value.filter(|value| !words.contains(value)) {
            let words = words.join(", ");
            self.note(value, member, format_args!("Member must satisfy enum value set: [{words}]"));
        }
        self
    }

    /// A list of so many items.
    pub fn count(&mut self, member: impl Display, count: Option<usize>, least: usize, most: usize) -> &mut Checks {
        if let Some(count) = count {
            if count < least {
                self.note("[]", &member, format_args!("Member must have length greater than or equal to {least}"));
            }
            if count > most {
                self.note("[...]", member, format_args!("Member must have length less than or equal to {most}"));
            }
        }
        self
    }

    /// A list of so many texts of so many characters.
    pub fn texts(
        &mut self,
        member: impl Display,
        values: Option<&[String]>,
        counts: RangeInclusive<usize>,
        lengths: RangeInclusive<usize>,
    ) -> &mut Checks {
        let Some(values) = values else { return self };
        self.count(&member, Some(values.len()), *counts.start(), *counts.end());
        if !values.iter().all(|value| lengths.contains(&value.chars().count())) {
            let rule = format!("Member must satisfy constraint: {}", length_rule(&lengths));
            self.note(format_args!("[{}]", values.join(", ")), member, format_args!("{rule}"));
        }
        self
    }

    /// A list of so many of these words.
    pub fn all_of(
        &mut self,
        member: impl Display,
        values: Option<&[String]>,
        most: usize,
        words: &[&str],
    ) -> &mut Checks {
        let Some(values) = values else { return self };
        self.count(&member, Some(values.len()), 1, most);
        if !values.iter().all(|value| words.contains(&value.as_str())) {
            let (values, words) = (values.join(", "), words.join(", "));
            let rule = format!("Member must satisfy constraint: [Member must satisfy enum value set: [{words}]]");
            self.note(format_args!("[{values}]"), member, format_args!("{rule}"));
        }
        self
    }

    /// Tags that are to be added.
    pub fn tags(&mut self, values: Option<&BTreeMap<String, String>>) -> &mut Checks {
        let Some(values) = values else { return self };
        self.count("tags", Some(values.len()), 1, TAGS_MAX);
        let told = || {
            let pairs: Vec<_> = values.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{{{}}}", pairs.join(", "))
        };
        if !values.keys().all(|key| TAG_KEY.contains(&key.chars().count())) {
            let rule = format!("Map keys must satisfy constraint: {}", length_rule(&TAG_KEY));
            self.note(told(), "tags", format_args!("{rule}"));
        }
        if !values.values().all(|value| TAG_VALUE.contains(&value.chars().count())) {
            let rule = format!("Map value must satisfy constraint: {}", length_rule(&TAG_VALUE));
            self.note(told(), "tags", format_args!("{rule}"));
        }
        self
    }

    /// Keys of tags that are to be removed.
    pub fn tag_keys(&mut self, values: Option<&[String]>) -> &mut Checks {
        self.required("tagKeys", values.as_ref()).texts("tagKeys", values, 1..=50, TAG_KEY)
    }

    /// The ARN of a stream, or of something that belongs to one.
    pub fn resource_arn(&mut self, value: Option<&str>) -> &mut Checks {
        let pattern = r"arn:aws.*:kinesis:.*:\d{12}:.*(stream|channel|queue)/\S+";
        self.required("resourceARN", value.as_ref()).arn("resourceARN", value, pattern, |resource| {
            ["stream/", "channel/", "queue/"].iter().any(|kind| is_named(resource, kind))
        })
    }

    /// The ARN of a stream.
    pub fn stream_arn(&mut self, value: Option<&str>) -> &mut Checks {
        let pattern = r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+";
        self.arn("streamARN", value, pattern, |resource| {
            resource.starts_with("stream/") && is_named(resource, "stream/")
        })
    }

    /// The ARN of a consumer of a stream.
    pub fn consumer_arn(&mut self, value: Option<&str>) -> &mut Checks {
        let pattern = r"^(arn):aws.*:kinesis:.*:\d{12}:.*stream\/[a-zA-Z0-9_.-]+\/consumer\/[a-zA-Z0-9_.-]+:[0-9]+";
        self.arn("consumerARN", value, pattern, |resource| {
            let parts = resource.split_once("stream/").and_then(|(_, rest)| rest.split_once("/consumer/"));
            let parts = parts.and_then(|(stream, rest)| Some((stream, rest.rsplit_once(':')?)));
            parts.is_some_and(|(stream, (name, at))| is_name(stream) && is_name(name) && is_digits(at))
        })
    }

    fn arn(
        &mut self,
        member: &str,
        value: Option<&str>,
        pattern: &str,
        is_resource: impl Fn(&str) -> bool,
    ) -> &mut Checks {
        self.length(member, value, 1, 2048);
        self.pattern(member, value, pattern, |arn| resource_of(arn).is_some_and(is_resource))
    }

    /// A number of so many digits after the first, or 0.
    pub fn number(&mut self, member: impl Display, value: Option<&str>, digits_more: usize) -> &mut Checks {
        let is_number =
            |text: &str| text == "0" || is_digits(text) && !text.starts_with('0') && text.len() <= digits_more + 1;
        self.pattern(member, value, format_args!(r"^(0|([1-9]\d{{0,{digits_more}}}))$"), is_number)
    }

    /// The data of a record.
    pub fn data(&mut self, member: impl Display, bytes: Option<usize>) -> &mut Checks {
        if let Some(bytes) = bytes.filter(|bytes| *bytes > RECORD_DATA_MAX) {
            let value = format_args!("java.nio.HeapByteBuffer[pos=0 lim={bytes} cap={bytes}]");
            self.note(value, member, format_args!("Member must have length less than or equal to {RECORD_DATA_MAX}"));
        }
        self
    }

    fn pattern(
        &mut self,
        member: impl Display,
        value: Option<&str>,
        pattern: impl Display,
        is_right: impl FnOnce(&str) -> bool,
    ) -> &mut Checks {
        if let Some(value) = value
            && !is_right(value)
        {
            self.note(value, member, format_args!("Member must satisfy regular expression pattern: {pattern}"));
        }
        self
    }

    fn note(&mut self, value: impl Display, member: impl Display, rule: std::fmt::Arguments<'_>) {
        self.tell(|| format!("Value '{}' at '{member}' failed to satisfy constraint: {rule}", shown(value)));
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what());
        }
    }

    /// All is well, or what is not.
    ///
    /// # Errors
    /// At least one check failed.
    pub fn done(&self) -> Result<(), Error> {
        let count = self.count;
        if count == 0 {
            return Ok(());
        }
        let errors = if count == 1 { "error" } else { "errors" };
        let told = self.told.join("; ");
        Err(Error::new(ErrorKind::Validation, format!("{count} validation {errors} detected: {told}")))
    }
}

/// A value as far as it is told.
fn shown(value: impl Display) -> String {
    let mut shown = Shown(String::new());
    if write!(shown, "{value}").is_err() {
        shown.0.push_str("...");
    }
    shown.0
}

/// Takes so much and no more.
struct Shown(String);

impl Write for Shown {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = VALUE_BYTES_MAX - self.0.len();
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room { Err(std::fmt::Error) } else { Ok(()) }
    }
}

/// What is said of texts in a list or a map.
fn length_rule(lengths: &RangeInclusive<usize>) -> String {
    let (least, most) = (lengths.start(), lengths.end());
    format!(
        "[Member must have length less than or equal to {most}, Member must have length greater than or equal to {least}]"
    )
}

/// What an ARN names, if it has the form of the service's.
fn resource_of(arn: &str) -> Option<&str> {
    let mut parts = arn.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let is_ours = next() == "arn" && next().starts_with("aws") && next() == "kinesis";
    let (_, account, resource) = (next(), next(), next());
    let is_account = account.len() == 12 && is_digits(account);
    (is_ours && is_account && !resource.contains(char::is_whitespace)).then_some(resource)
}

/// Whether something of this kind is named.
fn is_named(resource: &str, kind: &str) -> bool {
    resource.split_once(kind).is_some_and(|(_, name)| !name.is_empty())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_is_told_at_once() {
        let mut checks = Checks::new();
        checks.stream_name(Some("a b")).range("limit", Some(0), 1, 10_000).required::<u8>("shardId", None);
        let error = checks.done().expect_err("three are wrong");
        assert_eq!(error.kind, ErrorKind::Validation);
        assert_eq!(
            error.message,
            "3 validation errors detected: \
             Value 'a b' at 'streamName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+; \
             Value '0' at 'limit' failed to satisfy constraint: \
             Member must have value greater than or equal to 1; \
             Value null at 'shardId' failed to satisfy constraint: Member must not be null"
        );
        assert_eq!(Checks::new().stream_name(Some("a.b-c_D9")).done(), Ok(()));
    }

    #[test]
    fn lists_and_maps_are_told_whole() {
        let tags = BTreeMap::from([(String::new(), "x".to_owned()), ("k".to_owned(), "v".repeat(257))]);
        let mut checks = Checks::new();
        checks.tags(Some(&tags)).tag_keys(Some(&["k".repeat(129)]));
        let error = checks.done().expect_err("three are wrong");
        for rule in
            ["Map keys must", "Map value must", "at 'tagKeys' failed to satisfy constraint: Member must satisfy"]
        {
            assert!(error.message.contains(rule), "{rule}: {error}");
        }
        assert!(error.message.starts_with("3 validation errors detected: Value '{=x, k=v"), "{error}");
        let metrics = ["IncomingBytes".to_owned(), "No".to_owned()];
        let error =
            Checks::new().all_of("m", Some(&metrics), 7, &["IncomingBytes"]).done().expect_err("one is not a word");
        assert!(error.message.contains("Value '[IncomingBytes, No]' at 'm'"), "{error}");
    }

    /// Bug: an error repeated the values of its request, however long they were, and no room was taken for it.
    #[test]
    fn long_values_are_told_in_part() {
        let long = "ä".repeat(1 << 20);
        let mut checks = Checks::new();
        checks.stream_name(Some(&long)).tag_keys(Some(&[long.clone(), String::new()]));
        let error = checks.done().expect_err("three are wrong");
        assert!(error.message.starts_with("3 validation errors detected: Value 'ää"), "{error}");
        assert!(error.message.contains("ä...' at 'streamName' failed") && error.message.len() < 4 * VALUE_BYTES_MAX);
        assert_eq!(Error::new(ErrorKind::Validation, "ä".repeat(1 << 20)).message.len(), 16 << 10);
        let just = "x".repeat(VALUE_BYTES_MAX);
        assert_eq!(shown(&just), just);
    }

    #[test]
    fn arns_of_streams_and_consumers_follow_theirs() {
        let stream = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
        let consumer = format!("{stream}/consumer/reader:1700000000");
        assert_eq!(Checks::new().stream_arn(Some(stream)).consumer_arn(Some(&consumer)).done(), Ok(()));
        for arn in [stream.replace("stream/", "queue/"), stream.replace(":stream", "stream"), String::new()] {
            assert!(Checks::new().stream_arn(Some(&arn)).done().is_err(), "{arn}");
        }
        for arn in [stream, &consumer.replace(":17", ":x"), &consumer.replace("reader", "re/ader"), "§ §"] {
            let error = Checks::new().consumer_arn(Some(arn)).done().expect_err(arn);
            assert!(error.message.contains("at 'consumerARN' failed"), "{error}");
        }
    }

    #[test]
    fn numbers_and_data_are_bounded() {
        for text in ["0", "1", "340282366920938463463374607431768211455"] {
            assert_eq!(Checks::new().number("n", Some(text), 38).done(), Ok(()), "{text}");
        }
        for text in ["", "00", "01", "-1", "+1", "1e3", "§", "1000000000000000000000000000000000000000"] {
            let error = Checks::new().number("n", Some(text), 38).done().expect_err(text);
            assert!(error.message.ends_with(r"pattern: ^(0|([1-9]\d{0,38}))$"), "{error}");
        }
        assert_eq!(Checks::new().data("data", Some(RECORD_DATA_MAX)).done(), Ok(()));
        let error = Checks::new().data("data", Some(RECORD_DATA_MAX + 1)).done().expect_err("a byte too many");
        assert!(
            error.message.contains("'java.nio.HeapByteBuffer[pos=0 lim=10485761 cap=10485761]' at 'data'"),
            "{error}"
        );
    }

    #[test]
    fn arns_of_resources_follow_the_models_pattern() {
        for arn in [
            "arn:aws:kinesis:us-east-1:000000000000:stream/orders",
            "arn:aws-cn:kinesis:cn-north-1:000000000000:stream/orders/consumer/c:1700000000",
            "arn:aws:kinesis:us-east-1:000000000000:queue/q",
        ] {
            assert_eq!(Checks::new().resource_arn(Some(arn)).done(), Ok(()), "{arn}");
        }
        for arn in [
            "orders",
            "arn:aws:s3:::bucket",
            "arn:aws:kinesis:us-east-1:12:stream/orders",
            "arn:aws:kinesis:us-east-1:000000000000:stream/",
            "arn:aws:kinesis:us-east-1:000000000000:stream/or ders",
        ] {
            let error = Checks::new().resource_arn(Some(arn)).done().expect_err(arn);
            assert!(error.message.contains("regular expression pattern: arn:aws"), "{error}");
        }
    }
}
