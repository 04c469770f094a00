//! Reads a row's time, in a format that is named or guessed from the first row.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// How times are written. A time without an offset is taken as UTC.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TimeFormat {
    /// `2001-01-01T00:47:00Z`, with or without offset, seconds and `T`.
    Iso8601,
    /// A number since 1970, with so many microseconds to its unit.
    Unix(UnixUnit),
    /// A pattern of `strptime`, such as `%Y/%m/%d %H:%M`.
    Pattern(String),
}

/// The unit of a time written as a number since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnixUnit {
    /// Seconds, possibly with a fraction.
    Seconds,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
}

/// Patterns tried, after ISO 8601, when no format is given. None of them leaves open which number is the month.
const PATTERNS_KNOWN: [&str; 6] = [
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
    "%Y/%m/%d",
    "%Y%m%dT%H%M%S",
    "%d/%b/%Y:%H:%M:%S %z",
    "%a, %d %b %Y %H:%M:%S %z",
];

impl FromStr for TimeFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "iso8601" => Ok(Self::Iso8601),
            "unix-s" => Ok(Self::Unix(UnixUnit::Seconds)),
            "unix-ms" => Ok(Self::Unix(UnixUnit::Milliseconds)),
            "unix-us" => Ok(Self::Unix(UnixUnit::Microseconds)),
            "unix-ns" => Ok(Self::Unix(UnixUnit::Nanoseconds)),
            pattern if pattern.contains('%') => Ok(Self::Pattern(pattern.to_owned())),
            other => Err(format!(
                "{other:?} is not a time format; give iso8601, unix-s, unix-ms, unix-us, unix-ns or a strptime pattern such as '%Y/%m/%d %H:%M'"
            )),
        }
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iso8601 => "iso8601",
            Self::Unix(UnixUnit::Seconds) => "unix-s",
            Self::Unix(UnixUnit::Milliseconds) => "unix-ms",
            Self::Unix(UnixUnit::Microseconds) => "unix-us",
            Self::Unix(UnixUnit::Nanoseconds) => "unix-ns",
            Self::Pattern(pattern) => pattern,
        })
    }
}

impl TimeFormat {
    /// The format that reads `text`, if one is known.
    pub fn guess(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse::<f64>() {
            // Seconds stay below 1e11 until the year 5138, milliseconds above it since 1973.
            return Some(Self::Unix(match number.abs() {
                n if n < 1e11 => UnixUnit::Seconds,
                n if n < 1e14 => UnixUnit::Milliseconds,
                n if n < 1e17 => UnixUnit::Microseconds,
                _ => UnixUnit::Nanoseconds,
            }));
        }
        let patterns = PATTERNS_KNOWN.iter().map(|&pattern| Self::Pattern(pattern.to_owned()));
        std::iter::once(Self::Iso8601).chain(patterns).find(|format| format.parse_us(text).is_some())
    }

    /// Reads a time, in microseconds since 1970; `None` if it isn't one.
    pub fn parse_us(&self, text: &str) -> Option<i64> {
        match self {
            Self::Iso8601 => match text.parse::<Timestamp>() {
                Ok(timestamp) => Some(timestamp.as_microsecond()),
                Err(_) => utc_us(text.parse::<DateTime>().ok()?),
            },
            Self::Unix(unit) => unix_us(text, *unit),
            Self::Pattern(pattern) => {
                let parts = strtime::parse(pattern, text).ok()?;
                if let Ok(timestamp) = parts.to_timestamp() {
                    return Some(timestamp.as_microsecond());
                }
                let date_time = parts.to_datetime().ok().or_else(|| Some(parts.to_date().ok()?.at(0, 0, 0, 0)))?;
                utc_us(date_time)
            }
        }
    }
}

fn utc_us(date_time: DateTime) -> Option<i64> {
    Some(TimeZone::UTC.to_timestamp(date_time).ok()?.as_microsecond())
}

fn unix_us(text: &str, unit: UnixUnit) -> Option<i64> {
    let (numerator, denominator) = match unit {
        UnixUnit::Seconds => (1_000_000, 1),
        UnixUnit::Milliseconds => (1_000, 1),
        UnixUnit::Microseconds => (1, 1),
        UnixUnit::Nanoseconds => (1, 1_000),
    };
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.checked_mul(numerator)? / denominator);
    }
    let us = text.parse::<f64>().ok()? * numerator as f64 / denominator as f64;
    (us.is_finite() && us.abs() < 9e18).then_some(us.round() as i64)
}
