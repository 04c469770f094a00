//! Times as signatures write them: `20150830T123600Z`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::tz::TimeZone;

const BASIC: &str = "%Y%m%dT%H%M%SZ";

/// Seconds since 1970 of a time, which a `Date` header may also write as HTTP does.
pub(super) fn seconds(text: &str) -> Option<i64> {
    if is_basic(text) {
        let time = DateTime::strptime(BASIC, text).ok()?;
        return Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second());
    }
    DateTimeParser::new().parse_timestamp(text).ok().map(Timestamp::as_second)
}

/// Whether it is written as it is signed.
pub(super) fn is_basic(text: &str) -> bool {
    let is_right = |(at, byte): (usize, u8)| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 16 && text.bytes().enumerate().all(is_right)
}

/// As it is signed.
pub(super) fn basic(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX).strftime(BASIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms_and_written_in_one() {
        for text in ["20150830T123600Z", "Sun, 30 Aug 2015 12:36:00 GMT"] {
            assert_eq!(seconds(text), Some(1_440_938_160), "{text}");
        }
        assert_eq!(basic(1_440_938_160), "20150830T123600Z");
        for text in ["", "20150830", "20150830T123600", "20151330T123600Z", "2015-08-30T12:36:00Z", "20150830 123600Z"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert_eq!(basic(i64::MAX).len(), 16);
    }
}
