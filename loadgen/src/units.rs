//! Bytes, durations and rates as people write and read them.

use std::fmt;
use std::time::Duration;

/// A number with a unit that can't be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseUnitError {
    text: String,
    expected: &'static str,
}

impl fmt::Display for ParseUnitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not {}", self.text, self.expected)
    }
}

impl std::error::Error for ParseUnitError {}

const BYTES: [(&str, f64); 10] = [
    ("", 1.0),
    ("B", 1.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1024.0),
    ("MiB", 1048576.0),
    ("GiB", 1073741824.0),
    ("TiB", 1099511627776.0),
];

const DURATIONS: [(&str, f64); 7] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

/// Reads `4GiB`, `1.5MB` or a plain number of bytes.
pub fn parse_bytes(text: &str) -> Result<u64, ParseUnitError> {
    parse(text, &BYTES, "a number of bytes; write 1000, 64KiB, 1.5MB or 4GiB").map(|bytes| bytes as u64)
}

/// Reads `15s`, `500ms` or `2m`.
pub fn parse_duration(text: &str) -> Result<Duration, ParseUnitError> {
    parse(text, &DURATIONS, "a duration; write 15s, 500ms or 2m").map(|ns| Duration::from_nanos(ns as u64))
}

/// Reads a count, such as `200000`, `200_000`, `200k` or `1.5M`.
pub fn parse_count(text: &str) -> Result<f64, ParseUnitError> {
    parse(text, &[("", 1.0), ("k", 1e3), ("M", 1e6)], "a number; write 200000, 200k or 1.5M")
}

fn parse(text: &str, units: &[(&str, f64)], expected: &'static str) -> Result<f64, ParseUnitError> {
    let error = || ParseUnitError { text: text.to_owned(), expected };
    let trimmed = text.trim();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(digits);
    let number: f64 = number.replace('_', "").parse().map_err(|_| error())?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(error)?;
    Ok(number * scale)
}

/// Bytes in binary units: `3.9 GiB`.
pub fn show_bytes(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{} {}", three_digits(value), units[unit]) }
}

/// Bytes a second in decimal units, as disks and networks are rated: `1.53 GB/s`.
pub fn show_rate(bytes_per_s: f64) -> String {
    match bytes_per_s {
        rate if rate >= 999.5e6 => format!("{} GB/s", three_digits(rate / 1e9)),
        rate if rate >= 999.5e3 => format!("{} MB/s", three_digits(rate / 1e6)),
        rate => format!("{} kB/s", three_digits(rate / 1e3)),
    }
}

/// A duration with three digits: `1.23 ms`.
pub fn show_ns(ns: u64) -> String {
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "us"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A count with a separator every three digits: `4,194,304`.
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn three_digits(value: f64) -> String {
    match value {
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        assert_eq!(parse_bytes("4GiB"), Ok(4 << 30));
        assert_eq!(parse_bytes("1.5 MB"), Ok(1_500_000));
        assert_eq!(parse_bytes("1_000"), Ok(1000));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        for text in ["", "GiB", "4Gib", "-1", "1.2.3"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert!(parse_duration("15").is_err(), "a duration needs its unit");
    }

    #[test]
    fn shows_three_digits() {
        assert_eq!(show_bytes(4 << 30), "4.00 GiB");
        assert_eq!(show_bytes(999), "999 B");
        assert_eq!(show_rate(1.534e9), "1.53 GB/s");
        assert_eq!(show_rate(409.6e6), "410 MB/s");
        assert_eq!(show_ns(1_234_567), "1.23 ms");
        assert_eq!(show_ns(99_960), "100 us");
        assert_eq!(show_count(4_194_304), "4,194,304");
        assert_eq!(show_count(12), "12");
    }
}
